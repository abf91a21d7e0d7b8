//! The command line: what can be asked, and with which exit code it is answered.

mod deadletter;
mod lake;
mod status;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::bench;
use crate::config::{Config, ConfigError};
use crate::lake::Lake;
use crate::replay::{ReplayArgs, ReplayError};
use crate::run::{self, Role};

/// Exit codes, for scripts and service files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Done; for `run`: told to stop, and stopped cleanly.
    Done = 0,
    /// Failed; the message says why. Starting again recovers from what is durable.
    Failed = 1,
    /// A wrong command line or configuration: starting again does not help.
    Usage = 2,
    /// `replay`: the range is not exact; the verdict says what is missing.
    NotExact = 3,
    /// `replay`: the evidence contradicts itself.
    NotProven = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A command that did not succeed.
#[derive(Debug)]
pub struct Failure {
    /// For the shell.
    pub exit: Exit,
    /// For people.
    pub error: anyhow::Error,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        let exit = if error.is::<ConfigError>() {
            Exit::Usage
        } else {
            Exit::Failed
        };
        Self { exit, error }
    }
}

const EXIT_CODES: &str = "Exit codes: 0 done (run: stopped cleanly), 1 failed (starting again recovers), \
2 wrong command line or configuration, 3 replay: the range is not exact, 4 replay, lake verify: the evidence contradicts itself.";

/// The Windlass aggregator: from MQTT to status, alerts and the lake, every reading counted once.
#[derive(Parser, Debug)]
#[command(name = "windlass-cloud", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// Log lines as JSON
    #[arg(long, global = true)]
    log_json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run roles until SIGTERM
    Run {
        /// The configuration, windlass-cloud.toml
        #[arg(long)]
        config: PathBuf,
        /// Some of broker, ingest, process, serve, lake, console (default: all)
        #[arg(long, value_delimiter = ',', value_parser = parse_role)]
        roles: Vec<Role>,
    },
    /// What is stored of the turbines, and where every reader of the log is; works while the service runs
    Status {
        /// The configuration, windlass-cloud.toml
        #[arg(long)]
        config: PathBuf,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// What could not be counted, and why
    Deadletter {
        /// The configuration, windlass-cloud.toml
        #[arg(long, global = true, default_value = "windlass-cloud.toml")]
        config: PathBuf,
        #[command(subcommand)]
        what: deadletter::What,
    },
    /// Every reading of a turbine in a range of event time, from the lake, with the proof of what is missing
    Replay {
        /// The configuration, windlass-cloud.toml
        #[arg(long)]
        config: PathBuf,
        #[command(flatten)]
        args: ReplayArgs,
    },
    /// The lake itself
    Lake {
        /// The configuration, windlass-cloud.toml
        #[arg(long, global = true, default_value = "windlass-cloud.toml")]
        config: PathBuf,
        #[command(subcommand)]
        what: lake::What,
    },
    /// How much CPU a reading costs, from bytes to result
    Bench {
        /// For programs
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        args: bench::BenchArgs,
    },
}

fn parse_role(name: &str) -> Result<Role, String> {
    Role::parse(name).ok_or_else(|| {
        let known: Vec<_> = Role::ALL.iter().map(|r| r.as_str()).collect();
        format!("expected one of {}", known.join(", "))
    })
}

/// Log lines go to stderr; `RUST_LOG` chooses which.
pub fn start_logging(cli: &Cli) {
    let quiet = if matches!(cli.command, Command::Run { .. }) {
        "info,rumqttc=error"
    } else {
        "warn"
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(quiet));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    if cli.log_json {
        lines.json().init();
    } else {
        lines.init();
    }
}

/// The message of a failure, with its causes.
#[allow(clippy::print_stderr)] // the command line's own output
pub fn report(failure: &Failure) {
    eprintln!("windlass-cloud: {:#}", failure.error);
}

/// Does what was asked.
pub fn execute(cli: Cli) -> Result<Exit, Failure> {
    match cli.command {
        Command::Run { config, roles } => {
            let config = load(&config)?;
            let roles = if roles.is_empty() {
                Role::ALL.to_vec()
            } else {
                roles
            };
            install_tls()?;
            runtime()?
                .block_on(run::run(config, &roles, None))
                .map_err(anyhow::Error::from)?;
        }
        Command::Status { config, json } => status::print(&load(&config)?, json)?,
        Command::Deadletter { config, what } => deadletter::execute(&load(&config)?, &what)?,
        Command::Replay { config, args } => return replay(&load(&config)?, &args),
        Command::Lake { config, what } => return lake::execute(&load(&config)?, &what),
        Command::Bench { json, args } => bench::print(&args, json)?,
    }
    Ok(Exit::Done)
}

fn replay(config: &Config, args: &ReplayArgs) -> Result<Exit, Failure> {
    let fail = |e: ReplayError| Failure {
        exit: if e.exit_code() == crate::replay::EXIT_USAGE {
            Exit::Usage
        } else {
            Exit::Failed
        },
        error: e.into(),
    };
    let request = args.request().map_err(|e| fail(e.into()))?;
    let lake = Lake::open(&config.lake.url).map_err(|e| fail(e.into()))?;
    let verdict = runtime()?
        .block_on(crate::replay::run(
            &lake,
            &request,
            &mut std::io::stdout().lock(),
        ))
        .map_err(fail)?;
    Ok(match verdict.exit_code() {
        0 => Exit::Done,
        crate::replay::EXIT_NOT_PROVEN => Exit::NotProven,
        _ => Exit::NotExact,
    })
}

pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

fn load(path: &Path) -> Result<Config, Failure> {
    Config::load(path).map_err(|e| anyhow::Error::from(e).into())
}

/// rustls has one cryptography provider for the process.
fn install_tls() -> anyhow::Result<()> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another TLS provider is installed already"))
}
