//! What the console says of turbines beyond their documents: how fresh, how urgent, whether a link is down, and which
//! silences are one alarm.
//!
//! Invariants: pure functions of documents and of a time that is passed in; a silent turbine is never shown as zero; a
//! farm's cut is one alarm, however many turbines it silences.

mod link;
mod need;
mod power;

pub use link::{Backlog, FarmLink, LinkAlarm, LinkKind, LinkState, Silence, alarms, farm_link};
pub use need::{AlertTally, Urgency, need};
pub use power::{
    IEC_PARTIAL_PERFORMANCE, Limit, Situation, iec_name, limit, setpoint_source_name, states_of,
};

use windlass_shared::time::{EventTime, WallTime};

/// How new a turbine's newest fast reading is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fresh {
    /// Within the time that the settings allow.
    Live,
    /// Older than that.
    Stale,
    /// Nothing has come yet.
    Never,
}

impl Fresh {
    /// By the newest reading's event time and the wall clock. A reading from the future is as live as one from now.
    pub fn of(newest: Option<EventTime>, now: WallTime, stale_after_us: i64) -> Self {
        match age_us(newest, now) {
            None => Self::Never,
            Some(age) if age > stale_after_us => Self::Stale,
            Some(_) => Self::Live,
        }
    }
    /// As in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Stale => "stale",
            Self::Never => "never",
        }
    }
}

/// How long ago the newest reading was taken, at least 0, microseconds.
pub fn age_us(newest: Option<EventTime>, now: WallTime) -> Option<i64> {
    newest.map(|t| now.0.saturating_sub(t.0).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_by_the_age_of_the_newest_reading() {
        let now = WallTime(100_000_000);
        let at = |us| Some(EventTime(us));
        assert_eq!(Fresh::of(None, now, 30_000_000), Fresh::Never);
        assert_eq!(Fresh::of(at(70_000_000), now, 30_000_000), Fresh::Live);
        assert_eq!(Fresh::of(at(69_999_999), now, 30_000_000), Fresh::Stale);
        assert_eq!(Fresh::of(at(200_000_000), now, 30_000_000), Fresh::Live);
        assert_eq!(age_us(at(200_000_000), now), Some(0));
        assert_eq!(age_us(Some(EventTime(i64::MIN)), now), Some(i64::MAX));
    }
}
