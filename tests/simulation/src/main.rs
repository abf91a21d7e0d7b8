//! Plays seeds of the simulation: many in a row, or one again.

use std::process::ExitCode;

use clap::Parser;
use windlass_simulation::run_seed;
use windlass_simulation::runner::play;

/// Deterministic simulation of Windlass. Exit codes: 0 every seed held, 1 a seed failed or a fault kind never occurred,
/// 2 wrong usage.
#[derive(Parser)]
#[command(name = "windlass-simulation")]
struct Args {
    /// How many seeds to play.
    #[arg(long, default_value_t = 300)]
    seeds: u64,
    /// First seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Play this seed only, and print all that it did.
    #[arg(long)]
    seed: Option<u64>,
    /// Do not fail when a fault kind never occurred (so it is anyway below 100 seeds).
    #[arg(long)]
    few: bool,
    /// End with the first seed that fails.
    #[arg(long)]
    stop_at_failure: bool,
}

#[allow(clippy::print_stdout)] // the command's output
fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(seed) = args.seed {
        return match run_seed(seed) {
            Ok(outcome) => {
                println!("{outcome:#?}");
                ExitCode::SUCCESS
            }
            Err(why) => {
                println!("seed {seed}: {why}");
                ExitCode::FAILURE
            }
        };
    }
    let total = play(args.from, args.seeds, args.stop_at_failure, |seed, why| {
        println!("seed {seed} failed: {why}\n  again: cargo xtask sim --from {seed} --seeds 1");
    });
    let missing = if args.few || args.seeds < 100 {
        Vec::new()
    } else {
        total.missing()
    };
    println!(
        "{} seeds held, {} failed; {} records, {} epochs, {} lost, {} readings placed, {} untimed, {} window results ({} exact), {:.0} h of virtual time",
        total.held,
        total.failed.len(),
        total.records,
        total.epochs,
        total.lost,
        total.placed,
        total.untimed,
        total.results,
        total.exact,
        total.hours
    );
    println!("faults: {:?}", total.faults.0);
    if !missing.is_empty() {
        println!("these faults never occurred, so the set proves nothing about them: {missing:?}");
    }
    println!("{} passed, {} failed", total.held, total.failed.len());
    if total.failed.is_empty() && missing.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
