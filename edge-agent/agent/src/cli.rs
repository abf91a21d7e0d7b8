//! The command line: what `windlass-edge` can be asked, and what its exit codes mean.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// How the process ends; documented in `--help`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Did what was asked.
    Ok = 0,
    /// Something failed while running (disk, commit, port).
    Failed = 1,
    /// The command line or the configuration is wrong; nothing was started.
    Usage = 2,
    /// Whom we asked does not answer: no agent behind the status socket, no broker behind the uplink.
    Unreachable = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

const EXIT_CODES: &str = "\
Exit codes:
  0  ok
  1  failed while running: disk, commit of unknown outcome, port taken
  2  command line or configuration is wrong; nothing was started
  3  not reachable: no agent behind the socket, no broker behind the uplink";

const EXAMPLES: &str = "\
Examples:
  windlass-edge check --config /etc/windlass/edge.toml --connect
  windlass-edge run --config /etc/windlass/edge.toml
  windlass-edge status --json
  windlass-edge outbox inspect --config /etc/windlass/edge.toml --turbine T001

Any key of the configuration can be set from the environment: WINDLASS_EDGE__UPLINK__URL sets uplink.url.";

/// The Windlass edge agent: records every reading in a durable outbox and forwards it until the cloud has it.
#[derive(Parser, Debug)]
#[command(name = "windlass-edge", version, about, after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Record and forward until SIGTERM.
    #[command(after_help = "Example:\n  windlass-edge run --config /etc/windlass/edge.toml")]
    Run(ConfigArg),
    /// Ask the running agent how it is; works without any network.
    #[command(
        after_help = "Example:\n  windlass-edge status --config /etc/windlass/edge.toml\n\nExits with 3 when no agent answers; with --config it then reads the outbox itself."
    )]
    Status(StatusArgs),
    /// Check configuration, profiles, certificates and disk without starting anything.
    #[command(
        after_help = "Example:\n  windlass-edge check --config /etc/windlass/edge.toml --connect"
    )]
    Check(CheckArgs),
    /// Look into an outbox.
    Outbox {
        /// What to do with it.
        #[command(subcommand)]
        command: OutboxCommand,
    },
}

/// The configuration file.
#[derive(Args, Debug)]
pub struct ConfigArg {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// `status`.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// Print one JSON document instead of text.
    #[arg(long)]
    pub json: bool,
    /// Socket of the running agent [default: the one of --config, else /run/windlass/edge.sock].
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Configuration file: names the socket, and the outbox to read when no agent runs.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Print one JSON document instead of text.
    #[arg(long)]
    pub json: bool,
    /// Also try a TCP connection (and the TLS handshake) to the broker.
    #[arg(long)]
    pub connect: bool,
}

/// `outbox ...`.
#[derive(Subcommand, Debug)]
pub enum OutboxCommand {
    /// Print what an outbox holds, read-only; safe beside a running agent.
    #[command(
        after_help = "Examples:\n  windlass-edge outbox inspect --config /etc/windlass/edge.toml\n  windlass-edge outbox inspect --path /var/lib/windlass/outbox.db --turbine T001 --json"
    )]
    Inspect(InspectArgs),
}

/// `outbox inspect`.
#[derive(Args, Debug)]
pub struct InspectArgs {
    /// Configuration file that names the outbox.
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "path",
        conflicts_with = "path"
    )]
    pub config: Option<PathBuf>,
    /// The outbox file itself.
    #[arg(long, value_name = "PATH")]
    pub path: Option<PathBuf>,
    /// Only this turbine.
    #[arg(long, value_name = "ID")]
    pub turbine: Option<String>,
    /// List every record (with --json one JSON object per line) instead of a summary by epoch.
    #[arg(long)]
    pub records: bool,
    /// Print JSON instead of text.
    #[arg(long)]
    pub json: bool,
}
