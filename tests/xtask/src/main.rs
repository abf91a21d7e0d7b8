//! The project's commands. `cargo xtask test` and `cargo xtask demo` are all that a newcomer needs.
//!
//! Invariants: what is missing is set up or named in one line; a failure ends in a non-zero exit code; no process is
//! left behind.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod console;
mod run;
mod setup;
mod test;
mod tester;

/// Builds, tests and shows Windlass. Set `WINDLASS_OFFLINE=1` to keep it from installing system packages.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Formatting, lints, every test of every crate, the simulation, real processes killed: ends with `N passed, N failed`.
    Test,
    /// A small fleet with real agents, outboxes, broker and aggregator, with faults on the way; ends with a ledger.
    ///
    /// Exits 1 if a reading is lost or doubled beyond the recorded evictions, an injected fault is missed, or more than
    /// one alarm is false. `docs/demo.md` says how alarms are matched to faults.
    Demo(Demo),
    /// Replays real data through a real agent, MQTT and the aggregator, and looks every value up in the lake.
    ///
    /// DIR holds `homer_scada_10min_july2023.csv`, `nab/machine_temperature_system_failure.csv` and, beside the latter,
    /// the labels as `machine_temperature_system_failure.labels.json`.
    ReplayData {
        /// Where the data is.
        #[arg(long)]
        data: PathBuf,
        /// Keep the run's folder and name it.
        #[arg(long)]
        keep: bool,
    },
    /// The simulation alone, for as many seeds as there is time for.
    Sim {
        /// How many seeds.
        #[arg(long, default_value_t = 3_000)]
        seeds: u64,
        /// The first one. A failure prints its seed: `--from SEED --seeds 1` runs it again.
        #[arg(long, default_value_t = 1)]
        from: u64,
    },
    /// Speed and size, in an optimised build.
    Bench {
        #[command(subcommand)]
        what: Bench,
    },
    /// The operations console alone, into `cloud-aggregator/console/dist`; nothing is done when its sources are unchanged.
    Console,
    /// Installs what the tests need, and nothing else.
    Setup,
}

#[derive(clap::Args)]
struct Demo {
    /// How long traffic runs, minutes, at least 2; draining the backlogs comes on top.
    #[arg(long, default_value_t = 2.0)]
    minutes: f64,
    /// How many turbines, at least 4.
    #[arg(long, default_value_t = 6)]
    turbines: u16,
    /// Where to write the JSON report.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Keep the run's folder and name it.
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
}

#[derive(Subcommand)]
enum Bench {
    /// CPU per reading of the aggregator's path, by stage: `windlass-cloud bench --json`.
    Cloud,
    /// The whole fleet on this machine, 540,000 readings a second: rate, latency, CPU by role, memory, the highest rate.
    Fleet {
        /// How long to measure, minutes.
        #[arg(long, default_value_t = 10.0)]
        minutes: f64,
        /// Only the fleet itself, no larger ones.
        #[arg(long)]
        no_steps: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// An agent with one 300-channel turbine at 1 Hz: memory, CPU, bytes on the uplink and on the disk.
    Edge {
        /// How long to measure, minutes.
        #[arg(long, default_value_t = 2.0)]
        minutes: f64,
    },
}

fn main() -> ExitCode {
    match dispatch(Arguments::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<bool> {
    match command {
        Command::Test => test::all(),
        Command::Setup => {
            setup::ensure(setup::FOR_TESTS)?;
            tester::ensure()?;
            Ok(true)
        }
        Command::Console => console::build().map(|()| true),
        Command::Demo(demo) => {
            setup::ensure(setup::FOR_BUILD)?;
            console::build()?;
            let minutes = demo.minutes.to_string();
            let turbines = demo.turbines.to_string();
            let mut args = vec!["demo", "--minutes", &minutes, "--turbines", &turbines];
            let report = demo.report.as_deref().map(absolute).transpose()?;
            if let Some(path) = &report {
                args.extend(["--report", path.as_str()]);
            }
            let port = demo.console_port.map(|p| p.to_string());
            if let Some(port) = &port {
                args.extend(["--console-port", port.as_str()]);
            }
            let flags = [
                ("--keep", demo.keep),
                ("--stay", demo.stay),
                ("--no-stay", demo.no_stay),
            ];
            args.extend(flags.iter().filter(|f| f.1).map(|f| f.0));
            run::binaries("dev")?;
            run::become_built("windlass-fleet", "dev", &args)
        }
        Command::ReplayData { data, keep } => {
            setup::ensure(setup::FOR_BUILD)?;
            let data = absolute(&data)?;
            let mut args = vec!["replay-data", "--data", data.as_str()];
            if keep {
                args.push("--keep");
            }
            run::binaries("dev")?;
            run::built("windlass-fleet", "dev", &args)
        }
        Command::Sim { seeds, from } => {
            setup::ensure(setup::FOR_BUILD)?;
            run::binaries("dev")?;
            let (seeds, from) = (seeds.to_string(), from.to_string());
            run::built(
                "windlass-simulation",
                "dev",
                &["--seeds", &seeds, "--from", &from],
            )
        }
        Command::Bench { what } => {
            setup::ensure(setup::FOR_BUILD)?;
            run::binaries("release")?;
            match what {
                Bench::Cloud => run::built("windlass-cloud", "release", &["bench", "--json"]),
                Bench::Fleet {
                    minutes,
                    no_steps,
                    json,
                } => {
                    let minutes = minutes.to_string();
                    let mut args = vec!["bench-fleet", "--minutes", &minutes];
                    args.extend(no_steps.then_some("--no-steps"));
                    args.extend(json.then_some("--json"));
                    run::built("windlass-fleet", "release", &args)
                }
                Bench::Edge { minutes } => {
                    let minutes = minutes.to_string();
                    run::built(
                        "windlass-fleet",
                        "release",
                        &["bench-edge", "--minutes", &minutes],
                    )
                }
            }
        }
    }
}

fn absolute(path: &std::path::Path) -> Result<String> {
    Ok(std::path::absolute(path)?.to_string_lossy().into_owned())
}
