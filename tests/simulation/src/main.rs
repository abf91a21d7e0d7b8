//! Plays seeds of the simulation: many in a row, or one again.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;
use windlass_simulation::faults::Counts;
use windlass_simulation::run_seed;

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
    /// Play this seed only, and print what it did.
    #[arg(long)]
    seed: Option<u64>,
    /// Do not fail when a fault kind never occurred (for a handful of seeds).
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
    let next = AtomicU64::new(args.from);
    let total = Mutex::new(Total::default());
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| play(&next, &args, &total));
        }
    });
    let total = total
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let missing = if args.few {
        Vec::new()
    } else {
        total.faults.missing()
    };
    println!(
        "{} seeds held, {} failed; {} records, {} epochs, {} lost, {} window results ({} exact), {:.0} h of virtual time",
        total.held,
        total.failed.len(),
        total.records,
        total.epochs,
        total.lost,
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

#[derive(Default)]
struct Total {
    held: u64,
    failed: Vec<u64>,
    faults: Counts,
    records: usize,
    epochs: usize,
    lost: usize,
    results: usize,
    exact: usize,
    hours: f64,
}

#[allow(clippy::print_stdout)] // the command's output
fn play(next: &AtomicU64, args: &Args, total: &Mutex<Total>) {
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= args.from + args.seeds {
            return;
        }
        let played = std::panic::catch_unwind(|| run_seed(seed))
            .unwrap_or_else(|_| Err("it panicked".into()));
        let mut total = total
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        match played {
            Ok(o) => {
                total.held += 1;
                total.faults.merge(&o.faults);
                total.records += o.records;
                total.epochs += o.epochs;
                total.lost += o.lost;
                total.results += o.results;
                total.exact += o.exact;
                total.hours += o.virtual_us as f64 / 3.6e9;
            }
            Err(why) => {
                println!("seed {seed} failed: {why}\n  again: cargo xtask sim --seed {seed}");
                total.failed.push(seed);
                if args.stop_at_failure {
                    next.store(u64::MAX / 2, Ordering::Relaxed);
                }
            }
        }
    }
}
