//! `windlass-fleet`: the demo, the replay of real data, the generator and the benchmarks, as `cargo xtask` starts them.

use std::io::{IsTerminal, Write, stderr, stdin};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use windlass_fleet::{bench_edge, bench_fleet, demo, generate, ledger, load, replay, run};

/// Runs small fleets of real processes.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A small fleet with faults on the way; ends with a ledger.
    Demo {
        /// How long traffic runs, minutes, at least 2.
        #[arg(long, default_value_t = 2.0)]
        minutes: f64,
        /// How many turbines.
        #[arg(long, default_value_t = 6)]
        turbines: u16,
        /// Where to write the JSON report.
        #[arg(long)]
        report: Option<PathBuf>,
        /// Keep the run's folder.
        #[arg(long)]
        keep: bool,
        /// Let fleet and console run on after the report until Enter or Ctrl-C; so it is on a terminal unless said otherwise.
        #[arg(long, overrides_with = "no_stay")]
        stay: bool,
        /// End after the report.
        #[arg(long)]
        no_stay: bool,
        /// Port of the console, instead of 8480 or a free one.
        #[arg(long)]
        console_port: Option<u16>,
    },
    /// Real data through an agent, MQTT and the aggregator; every value is looked up in the lake.
    ReplayData {
        /// Folder of the files.
        #[arg(long)]
        data: PathBuf,
        /// Keep the run's folder.
        #[arg(long)]
        keep: bool,
    },
    /// An agent with one turbine of 300 channels at 1 Hz: memory, CPU, bytes on the uplink and on the disk, as JSON.
    BenchEdge {
        /// How long to measure, minutes.
        #[arg(long, default_value_t = 2.0)]
        minutes: f64,
    },
    /// The whole fleet at once on this machine: rate, latency, CPU by role, memory, and that nothing is lost.
    BenchFleet(bench_fleet::Options),
    /// Seconds or ten-minute records of a scenario's fleet in event time, with the ground truth beside them.
    Generate(generate::Options),
    /// A scenario's fleet at wall time with real agents and outboxes; networks and machines are disturbed as it says.
    Run(run::Options),
    /// How many readings the model makes per second of CPU time.
    BenchGenerate(generate::bench::Options),
    /// A whole fleet over real MQTT connections from this process, with outboxes in memory.
    Load(load::Options),
    /// The rows of an outbox, as the rig reads them from inside a mount namespace.
    #[command(hide = true)]
    Rows {
        /// The outbox.
        outbox: PathBuf,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Demo {
            minutes,
            turbines,
            report,
            keep,
            stay,
            no_stay,
            console_port,
        } => demo::run(&demo::Options {
            minutes,
            turbines,
            report,
            keep,
            stay: stay || (!no_stay && stdin().is_terminal() && stderr().is_terminal()),
            console_port,
        }),
        Command::BenchEdge { minutes } => bench_edge::run(minutes),
        Command::BenchFleet(options) => bench_fleet::run(&options),
        Command::Generate(options) => generate::run(&options),
        Command::Run(options) => run::run(&options),
        Command::BenchGenerate(options) => generate::bench::run(&options),
        Command::Load(options) => load::run(&options),
        Command::Rows { outbox } => rows(&outbox),
        Command::ReplayData { data, keep } => replay::run(&data, keep),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A line for each row: level, and bytes in hexadecimal digits.
fn rows(outbox: &Path) -> Result<bool> {
    let mut terminal = std::io::stdout().lock();
    for (level, bytes) in ledger::outbox::rows(outbox)? {
        writeln!(terminal, "{level} {}", ledger::lake::hex(&bytes))?;
    }
    Ok(true)
}
