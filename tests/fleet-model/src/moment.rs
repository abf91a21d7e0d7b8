//! Times and durations as scenario files write them.
//!
//! A moment is absolute (`2026-01-03T10:00:00Z`) or counted from where the run begins (`36h`, `2d 30min`), so that one
//! scenario serves a history and a live run.

use jiff::Timestamp;
use windlass_shared::time::EventTime;

/// For messages.
pub const MOMENT: &str = "a time such as \"2026-01-03T10:00:00Z\", or \"36h\" after the beginning";
/// For messages.
pub const DURATION: &str = "a duration such as \"90s\", \"10min\", \"36h\" or \"2d 12h\"";

/// A time in a scenario.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// Microseconds after the run's beginning.
    After(i64),
    /// This time.
    At(EventTime),
}

impl Moment {
    /// Reads one.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(us) = duration(text) {
            return Some(Self::After(us));
        }
        timestamp(text).map(Self::At)
    }

    /// The time in a run that begins at `begins`.
    pub fn resolve(self, begins: EventTime) -> EventTime {
        match self {
            Self::After(us) => begins.plus_us(us),
            Self::At(time) => time,
        }
    }

    /// Is this surely not before `other`? Moments of different kinds cannot be compared without a beginning.
    pub fn surely_not_before(self, other: Self) -> bool {
        match (self, other) {
            (Self::After(a), Self::After(b)) => a >= b,
            (Self::At(a), Self::At(b)) => a >= b,
            _ => false,
        }
    }
}

/// RFC 3339.
pub fn timestamp(text: &str) -> Option<EventTime> {
    let at: Timestamp = text.parse().ok()?;
    Some(EventTime(at.as_microsecond()))
}

/// Microseconds of `2d 12h`, `90s`, `10min`, `250ms`; never negative.
pub fn duration(text: &str) -> Option<i64> {
    let mut sum: i64 = 0;
    let mut parts = 0;
    for part in text.split_whitespace() {
        let digits = part.find(|c: char| !c.is_ascii_digit())?;
        let n: i64 = part[..digits].parse().ok()?;
        let unit: i64 = match &part[digits..] {
            "ms" => 1_000,
            "s" => 1_000_000,
            "min" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000,
            _ => return None,
        };
        sum = sum.checked_add(n.checked_mul(unit)?)?;
        parts += 1;
    }
    (parts > 0).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read() {
        let begins = EventTime(1_000_000);
        for (text, us) in [
            ("90s", 91_000_000),
            ("2d 12h", 216_001_000_000),
            ("0s", 1_000_000),
            ("1970-01-01T00:00:05Z", 5_000_000),
            ("1970-01-01T01:00:05+01:00", 5_000_000),
        ] {
            let moment = Moment::parse(text).map(|m| m.resolve(begins).0);
            assert_eq!(moment, Some(us), "{text}");
        }
        for text in ["", "5", "-3s", "3 s", "soon", "5y", "99999999999999d"] {
            assert_eq!(Moment::parse(text), None, "{text}");
        }
    }
}
