//! How fast a file is replayed: at once, or in step with a clock.
//!
//! Invariant: a row is due when the clock has moved as far from the first row's moment as its own time has, divided by the
//! factor; a time that jumps back is due at once.

use windlass_shared::time::{EventTime, MonoTime};

/// A replay's speed.
#[derive(Clone, Debug)]
pub struct Pace {
    factor: Option<f64>,
    begun: Option<(MonoTime, EventTime)>,
}

impl Pace {
    /// As fast as it can be recorded.
    pub fn unbounded() -> Self {
        Self {
            factor: None,
            begun: None,
        }
    }

    /// So many seconds of the file in a second of the clock. A factor that is not above zero counts as unbounded.
    pub fn real_time(factor: f64) -> Self {
        Self {
            factor: (factor > 0.0 && factor.is_finite()).then_some(factor),
            begun: None,
        }
    }

    /// Is a row that was complete at `time` due? If not: when.
    pub fn due(&mut self, now: MonoTime, time: EventTime) -> Result<(), MonoTime> {
        let Some(factor) = self.factor else {
            return Ok(());
        };
        let (start, first) = *self.begun.get_or_insert((now, time));
        let ahead = time.0.saturating_sub(first.0).max(0);
        // rounded up: never early
        let at = start.plus_us((ahead as f64 / factor).ceil() as u64);
        if at <= now { Ok(()) } else { Err(at) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_clock() {
        let mut pace = Pace::real_time(600.0);
        let minute = 60_000_000;
        assert_eq!(pace.due(MonoTime(5), EventTime(100 * minute)), Ok(()));
        let later = EventTime(110 * minute);
        assert_eq!(pace.due(MonoTime(6), later), Err(MonoTime(1_000_005)));
        assert_eq!(pace.due(MonoTime(1_000_005), later), Ok(()));
        // a clock that jumps back
        assert_eq!(pace.due(MonoTime(6), EventTime(3)), Ok(()));
        assert_eq!(Pace::unbounded().due(MonoTime(0), later), Ok(()));
        assert_eq!(Pace::real_time(0.0).due(MonoTime(0), later), Ok(()));
    }
}
