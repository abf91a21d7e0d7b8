//! The channel catalogue: what a turbine's channels are called, and how a raw integer becomes a value.
//!
//! Invariants: channels are sorted by id and ids are unique; `value = (raw * scale_num + offset_num) / scale_den` with
//! one correctly rounded division, so that a decimal text that fits the scale comes back as the same `f64`.

use serde::{Deserialize, Serialize};

use crate::id::ChannelId;

/// What a channel measures decides how it is aggregated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Mean, standard deviation, minimum, maximum.
    Analogue,
    /// Circular mean; the unit is degrees.
    Angle,
    /// Delta, with roll-over at the modulus.
    Counter,
    /// Time in each state; each reading stands for one period.
    State,
    /// Codes on, off and reset: counted, never averaged.
    Event,
    /// As a state, but a quantity: the last value counts.
    Setpoint,
    /// Energy mean: root of the mean of the squares.
    Rms,
}

/// What may be lost when the disk is full; ordered from the last to leave to the first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// State, setpoints, power, alarms: never thinned, evicted only when nothing else is left.
    Compliance,
    /// Condition monitoring.
    Condition,
    /// First to be thinned.
    Diagnostic,
}

/// When a channel's readings are sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RateGroup {
    /// Slices of 1 s.
    Fast,
    /// Slices of 10 s.
    Slow,
    /// At once.
    Event,
}

impl RateGroup {
    /// Length of a slice in microseconds; 0 for [`RateGroup::Event`], which has none.
    pub fn slice_us(self) -> i64 {
        match self {
            Self::Fast => crate::time::SECOND_US,
            Self::Slow => 10 * crate::time::SECOND_US,
            Self::Event => 0,
        }
    }
}

/// How a raw value is carried.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Raw {
    /// A scaled integer: lossless.
    Int,
    /// A full `f64`; aggregated in fixed point at the channel's resolution, which is `scale_num / scale_den`.
    Float,
}

/// One measured quantity of one turbine.
#[derive(Clone, PartialEq, Debug)]
pub struct Channel {
    /// Number in the catalogue.
    pub id: ChannelId,
    /// Name, snake case, unique.
    pub name: String,
    /// Unit as UCUM or plain text, for display.
    pub unit: String,
    /// How it is aggregated.
    pub kind: Kind,
    /// How its value is carried.
    pub raw: Raw,
    /// Numerator of the scale.
    pub scale_num: i64,
    /// Denominator of the scale, positive.
    pub scale_den: i64,
    /// Offset numerator, over `scale_den`.
    pub offset_num: i64,
    /// Sampling period in microseconds; 0: on change.
    pub period_us: i64,
    /// What may be lost.
    pub class: Class,
    /// When it is sent.
    pub rate_group: RateGroup,
    /// Counters: the raw value after which it starts again at 0.
    pub modulus: Option<i64>,
}

/// Which catalogue a batch speaks of: the first 8 bytes of the SHA-256 of its canonical form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct CatalogueHash(pub u64);

/// A versioned list of channels.
#[derive(Clone, PartialEq, Debug)]
pub struct Catalogue {
    /// Profile name, for example `onshore-3mw`.
    pub name: String,
    /// Counts up when a channel changes.
    pub version: u32,
    /// Names this content.
    pub hash: CatalogueHash,
    /// Sorted by id.
    pub channels: Vec<Channel>,
}
