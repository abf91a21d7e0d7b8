//! Log time: the append times stored with a partition's entries, made monotone.
//!
//! Invariants: it never goes back; one writer with a wrong clock cannot move it by more than [`JUMP_US`] on its own
//! unless it insists for [`JUMP_CONFIRMATIONS`] entries in a row.

use serde::{Deserialize, Serialize};
use windlass_shared::time::{LogTime, MINUTE_US, WallTime};

/// A step ahead by more than this needs confirmation, microseconds.
pub const JUMP_US: i64 = MINUTE_US;
/// So many entries in a row confirm a jump when there is only one writer.
pub const JUMP_CONFIRMATIONS: u32 = 10;

/// A jump that waits for confirmation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Pending {
    writer: u32,
    least: i64,
    entries: u32,
}

/// The clock of one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogClock {
    now: LogTime,
    pending: Option<Pending>,
}

impl Default for LogClock {
    fn default() -> Self {
        Self {
            now: LogTime::MIN,
            pending: None,
        }
    }
}

impl LogClock {
    /// The time so far; [`LogTime::MIN`] before the first entry.
    pub fn now(&self) -> LogTime {
        self.now
    }

    /// Takes the append time of the next entry, and says what time it is now.
    pub fn advance(&mut self, raw: WallTime, writer: u32) -> LogTime {
        let first = self.now == LogTime::MIN;
        if first || raw.0 <= self.now.0.saturating_add(JUMP_US) {
            self.pending = None;
            self.now = self.now.max(LogTime(raw.0));
            return self.now;
        }
        let pending = match self.pending {
            Some(p) if p.writer != writer => {
                return self.jump(p.least.min(raw.0));
            }
            Some(p) => Pending {
                writer,
                least: p.least.min(raw.0),
                entries: p.entries + 1,
            },
            None => Pending {
                writer,
                least: raw.0,
                entries: 1,
            },
        };
        if pending.entries >= JUMP_CONFIRMATIONS {
            return self.jump(pending.least);
        }
        self.pending = Some(pending);
        self.now
    }

    fn jump(&mut self, to: i64) -> LogTime {
        self.pending = None;
        self.now = LogTime(to);
        self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(steps: &[(i64, u32)]) -> Vec<i64> {
        let mut clock = LogClock::default();
        steps
            .iter()
            .map(|(t, w)| clock.advance(WallTime(*t * 1_000_000), *w).0 / 1_000_000)
            .collect()
    }

    #[test]
    fn it_never_goes_back() {
        assert_eq!(run(&[(100, 1), (90, 1), (101, 1)]), [100, 100, 101]);
    }

    #[test]
    fn another_writer_confirms_a_jump_at_the_lesser_time() {
        assert_eq!(
            run(&[(0, 1), (7_000, 1), (6_000, 2), (6_001, 1)]),
            [0, 0, 6_000, 6_001]
        );
    }

    #[test]
    fn one_writer_needs_ten_in_a_row() {
        let mut steps = vec![(0, 1)];
        steps.extend((0..9).map(|i| (500 + i, 1)));
        steps.push((1, 1)); // breaks the row
        steps.extend((0..10).map(|i| (600 + i, 1)));
        let times = run(&steps);
        assert_eq!(times[..10], [0; 10]);
        assert_eq!(times[10..20], [1; 10]);
        assert_eq!(times[20], 600);
    }

    #[test]
    fn a_minute_needs_no_confirmation() {
        assert_eq!(
            run(&[(0, 1), (60, 1), (121, 1), (120, 1)]),
            [0, 60, 60, 120]
        );
    }
}
