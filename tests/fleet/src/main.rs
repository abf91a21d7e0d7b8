//! `windlass-fleet`: the demo and the replay of real data, as `cargo xtask` starts them.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use windlass_fleet::{demo, replay};

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
        /// How long traffic runs, minutes.
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
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Demo {
            minutes,
            turbines,
            report,
            keep,
        } => demo::run(&demo::Options {
            minutes,
            turbines,
            report,
            keep,
        }),
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
