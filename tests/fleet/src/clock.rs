//! The rig's clock, and the only place that waits.
//!
//! Invariant: nobody waits for time to pass; everybody waits for a condition, with a bound after which the run fails and
//! says what did not happen.
#![allow(clippy::disallowed_methods)] // this is the file that reads clocks and sleeps between two looks at a condition

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use windlass_shared::time::WallTime;

/// Between two looks at a condition, milliseconds.
const LOOK_EVERY_MS: u64 = 20;

/// What the machine's wall clock says.
pub fn wall() -> WallTime {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    WallTime(since.as_micros() as i64)
}

/// Looks until `condition` gives something; fails after `bound` with what was waited for.
pub fn until<T>(
    what: &str,
    bound: Duration,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = condition()? {
            return Ok(found);
        }
        if begun.elapsed() > bound {
            bail!("waited {} s in vain: {what}", bound.as_secs());
        }
        pause(Duration::from_millis(LOOK_EVERY_MS));
    }
}

/// A moment to let others work, in a loop that ends by a condition.
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Time since a start.
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        Self(Instant::now())
    }
    /// So far.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
