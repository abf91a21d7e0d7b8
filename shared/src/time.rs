//! Time: who said it is part of the type.
//!
//! All times are microseconds since 1970-01-01T00:00:00Z. Nothing here reads a clock.

use serde::{Deserialize, Serialize};

/// Microseconds in a second.
pub const SECOND_US: i64 = 1_000_000;
/// Microseconds in a minute: the length of a pane.
pub const MINUTE_US: i64 = 60 * SECOND_US;

macro_rules! time_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
        pub struct $name(pub i64);

        impl $name {
            /// Later than any time.
            pub const MAX: Self = Self(i64::MAX);
            /// Earlier than any time: "none yet".
            pub const MIN: Self = Self(i64::MIN);
            /// This time moved by `us` microseconds, saturating.
            #[must_use]
            pub fn plus_us(self, us: i64) -> Self {
                Self(self.0.saturating_add(us))
            }
            /// The start of the slot of `len_us` that holds this time (slots are aligned to 1970-01-01).
            #[must_use]
            pub fn floor_to(self, len_us: i64) -> Self {
                Self(self.0.saturating_sub(self.0.rem_euclid(len_us)))
            }
        }
    };
}

time_type!(
    /// When a reading was taken, by the gateway's clock or the file's.
    EventTime
);
time_type!(
    /// When the log appended a record, made monotone: the only clock of the partition task.
    LogTime
);
time_type!(
    /// What a machine's wall clock says.
    WallTime
);

/// Microseconds of a clock that never goes back, from an arbitrary start (a process, a boot, a simulation).
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct MonoTime(pub u64);

impl MonoTime {
    /// This time plus `us` microseconds, saturating.
    #[must_use]
    pub fn plus_us(self, us: u64) -> Self {
        Self(self.0.saturating_add(us))
    }
    /// Microseconds from `earlier` to this time, 0 when `earlier` is later.
    pub fn since_us(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
