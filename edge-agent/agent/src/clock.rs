//! The only place of the agent that reads clocks: wall time labels readings, monotonic time orders what the core waits for.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use windlass_edge_core::Now;
use windlass_shared::time::{MonoTime, WallTime};

/// 2024-01-01T00:00:00Z: a wall clock that is earlier was never set (no battery, no network time yet).
const UNSET_BEFORE_US: i64 = 1_704_067_200 * 1_000_000;

/// Both clocks; monotonic time counts from the start of the process.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Monotonic time is 0 now.
    #[allow(clippy::disallowed_methods)] // this module owns the clocks
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// What both clocks say.
    #[allow(clippy::disallowed_methods)] // this module owns the clocks
    pub fn now(&self) -> Now {
        let wall = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(d) => i64::try_from(d.as_micros()).unwrap_or(i64::MAX),
            Err(_) => 0, // before 1970: as unset as 1970 itself
        };
        let mono = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        Now {
            wall: WallTime(wall),
            mono: MonoTime(mono),
        }
    }

    /// The runtime's name for a monotonic time.
    pub fn instant(&self, at: MonoTime) -> tokio::time::Instant {
        // capped: adding centuries to an instant overflows
        const FAR_US: u64 = 365 * 86_400 * 1_000_000;
        tokio::time::Instant::from_std(self.start + Duration::from_micros(at.0.min(FAR_US)))
    }
}

/// Has anyone set this wall clock?
pub fn is_set(wall: WallTime) -> bool {
    wall.0 >= UNSET_BEFORE_US
}

/// What the system's time service says: systemd-timesyncd leaves a file when it has synchronised. `None`: no such service.
pub fn synchronised() -> Option<bool> {
    let dir = std::path::Path::new("/run/systemd/timesync");
    dir.is_dir().then(|| dir.join("synchronized").exists())
}
