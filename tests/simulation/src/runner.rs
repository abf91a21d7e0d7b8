//! Plays many seeds side by side and adds up what they did.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::faults::{Counts, Fault};
use crate::run_seed;

/// What a set of seeds did.
#[derive(Debug, Default)]
pub struct Total {
    /// Seeds that held.
    pub held: u64,
    /// Seeds that did not, and why.
    pub failed: Vec<(u64, String)>,
    /// Faults that struck.
    pub faults: Counts,
    /// Records committed on gateways.
    pub records: usize,
    /// Epochs begun.
    pub epochs: usize,
    /// Records declared lost.
    pub lost: usize,
    /// Readings that waited for a clock and got their time.
    pub placed: u64,
    /// Readings that no clock ever saw.
    pub untimed: u64,
    /// Window results that became visible.
    pub results: usize,
    /// Those that were exact.
    pub exact: usize,
    /// Virtual time, hours.
    pub hours: f64,
}

impl Total {
    /// Fault kinds that never occurred: the set proves nothing about them.
    pub fn missing(&self) -> Vec<Fault> {
        self.faults.missing()
    }
}

/// Plays seeds `from..from + n` on all cores; ends with the first that fails if `stop_at_failure`. `say` is called for each
/// failure.
pub fn play(from: u64, n: u64, stop_at_failure: bool, say: impl Fn(u64, &str) + Sync) -> Total {
    let next = AtomicU64::new(from);
    let total = Mutex::new(Total::default());
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + n {
                        return;
                    }
                    if !one(seed, &total, &say) && stop_at_failure {
                        next.store(u64::MAX / 2, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    total
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Plays a seed; a panic of the code under test is a failure of the seed.
fn one(seed: u64, total: &Mutex<Total>, say: &impl Fn(u64, &str)) -> bool {
    let played =
        std::panic::catch_unwind(|| run_seed(seed)).unwrap_or_else(|_| Err("it panicked".into()));
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
            total.placed += o.placed;
            total.untimed += o.untimed;
            total.results += o.results;
            total.exact += o.exact;
            total.hours += o.virtual_us as f64 / 3.6e9;
            true
        }
        Err(why) => {
            say(seed, &why);
            total.failed.push((seed, why));
            false
        }
    }
}
