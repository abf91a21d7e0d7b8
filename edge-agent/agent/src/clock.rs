//! The only place of the agent that reads clocks: wall time labels readings, monotonic time orders what the core waits for.
//!
//! Monotonic time counts from the boot, sleep included, so that a process that starts anew goes on with it. While nobody
//! has set the wall clock, the wall time given out is the monotonic time: every label made of it counts from the boot, and
//! what is labelled so can be placed once the clock is set.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::ClockId;
use windlass_edge_core::{CLOCK_SET_FROM, Now};
use windlass_shared::id::BootId;
use windlass_shared::time::{MonoTime, WallTime};

/// Where the kernel says which boot this is.
const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";
/// Names another file for it: tests play a reboot.
const BOOT_ID_VARIABLE: &str = "WINDLASS_BOOT_ID_FILE";

/// Both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clock;

impl Clock {
    /// What both clocks say.
    #[allow(clippy::disallowed_methods)] // this module owns the clocks
    pub fn now(self) -> Now {
        let mono = since_boot();
        let wall = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(d) => i64::try_from(d.as_micros()).unwrap_or(i64::MAX),
            Err(_) => 0, // before 1970: as unset as 1970 itself
        };
        let wall = if is_set(WallTime(wall)) {
            wall
        } else {
            i64::try_from(mono.0).unwrap_or(i64::MAX)
        };
        Now {
            wall: WallTime(wall),
            mono,
        }
    }

    /// The runtime's name for a monotonic time.
    #[allow(clippy::disallowed_methods)] // this module owns the clocks
    pub fn instant(self, at: MonoTime) -> tokio::time::Instant {
        // capped: adding centuries to an instant overflows
        const FAR_US: u64 = 365 * 86_400 * 1_000_000;
        let wait = at.since_us(since_boot()).min(FAR_US);
        tokio::time::Instant::from_std(Instant::now() + Duration::from_micros(wait))
    }
}

fn since_boot() -> MonoTime {
    let t = rustix::time::clock_gettime(ClockId::Boottime);
    let us = i128::from(t.tv_sec) * 1_000_000 + i128::from(t.tv_nsec) / 1_000;
    MonoTime(u64::try_from(us).unwrap_or(0))
}

/// Has anyone set this wall clock?
pub fn is_set(wall: WallTime) -> bool {
    wall >= CLOCK_SET_FROM
}

/// Which boot of the system this is. `None`: the kernel does not say; then each process is a boot of its own, and what it
/// recorded without a clock cannot be placed by the next one.
pub fn boot_id() -> Option<BootId> {
    let file = std::env::var_os(BOOT_ID_VARIABLE);
    let file = file.as_deref().map_or(Path::new(BOOT_ID_FILE), Path::new);
    let found = std::fs::read_to_string(file)
        .map_err(|e| e.to_string())
        .and_then(|text| {
            parse_boot_id(&text).ok_or_else(|| format!("found `{}`, expected a UUID", text.trim()))
        });
    found
        .inspect_err(|error| {
            tracing::warn!(file = %file.display(), error, "the boot has no name: what is recorded without a clock may stay untimed");
        })
        .ok()
}

fn parse_boot_id(text: &str) -> Option<BootId> {
    let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
    let epoch: windlass_shared::id::Epoch = digits.parse().ok()?;
    Some(BootId(epoch.0))
}

/// What the system's time service says: systemd-timesyncd leaves a file when it has synchronised. `None`: no such service.
pub fn synchronised() -> Option<bool> {
    let dir = Path::new("/run/systemd/timesync");
    dir.is_dir().then(|| dir.join("synchronized").exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_boot_id_is_read() {
        let id = parse_boot_id("0f5a3c1e-9b7d-4e21-8c66-0123456789ab\n").unwrap();
        assert_eq!(id.to_string(), "0f5a3c1e9b7d4e218c660123456789ab");
        assert_eq!(parse_boot_id("none"), None);
        assert_eq!(parse_boot_id(""), None);
    }

    #[test]
    fn a_wait_is_measured_from_now() {
        let now = Clock.now();
        let soon = Clock.instant(now.mono.plus_us(60_000_000));
        let wait = soon.duration_since(Clock.instant(MonoTime(0)));
        assert!(
            wait <= Duration::from_mins(1) && wait > Duration::from_secs(50),
            "{wait:?}"
        );
    }
}
