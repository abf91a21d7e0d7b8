//! The only place of this crate that reads a clock: everything else is told what time it is.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use windlass_shared::time::{MonoTime, WallTime};

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Monotonic time starts here.
    #[allow(clippy::disallowed_methods)] // the shell's one clock
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }
    /// Since [`Clock::start`].
    pub fn mono(&self) -> MonoTime {
        MonoTime(self.start.elapsed().as_micros() as u64)
    }
    /// What the wall clock says.
    #[allow(clippy::disallowed_methods)] // the shell's one clock
    pub fn wall(&self) -> WallTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        WallTime(since.map_or(0, |d| d.as_micros() as i64))
    }
}
