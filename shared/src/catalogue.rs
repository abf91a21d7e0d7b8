//! The channel catalogue: what a turbine's channels are called, and how a raw integer becomes a value.
//!
//! Invariants: channels are sorted by id and ids are unique; `value = (raw * scale_num + offset_num) / scale_den` with
//! one correctly rounded division, so that a decimal text that fits the scale comes back as the same `f64`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::id::ChannelId;
use crate::settings::Problem;

mod profile;
mod rules;
mod scale;

pub use profile::parse;
pub use scale::FIXED_MAX;

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

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Analogue,
        Self::Angle,
        Self::Counter,
        Self::State,
        Self::Event,
        Self::Setpoint,
        Self::Rms,
    ];
    /// As in profiles and results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Analogue => "analogue",
            Self::Angle => "angle",
            Self::Counter => "counter",
            Self::State => "state",
            Self::Event => "event",
            Self::Setpoint => "setpoint",
            Self::Rms => "rms",
        }
    }
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

impl Class {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Compliance, Self::Condition, Self::Diagnostic];
    /// As in profiles and results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Compliance => "compliance",
            Self::Condition => "condition",
            Self::Diagnostic => "diagnostic",
        }
    }
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
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Fast, Self::Slow, Self::Event];
    /// As in profiles and results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Slow => "slow",
            Self::Event => "event",
        }
    }
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

impl Raw {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Int, Self::Float];
    /// As in profiles and results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Float => "float",
        }
    }
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

impl std::fmt::Display for CatalogueHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A versioned list of channels. [`parse`] reads one from a profile, [`Catalogue::new`] makes one from channels.
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
    /// Position in `channels` by id; [`NO_POSITION`] where there is no such channel.
    positions: Vec<u16>,
    /// Positions in `channels`, sorted by name.
    by_name: Vec<u16>,
}

/// A catalogue holds at most this many channels, so that a position fits 16 bits with one value to spare.
pub const CHANNELS_MAX: usize = 4_096;
const NO_POSITION: u16 = u16::MAX;

impl Catalogue {
    /// Checks the channels against the rules of their kinds, all mistakes at once, and names the content.
    pub fn new(name: &str, version: u32, mut channels: Vec<Channel>) -> Result<Self, Vec<Problem>> {
        let problems = rules::check(name, version, &channels);
        if !problems.is_empty() {
            return Err(problems);
        }
        channels.sort_by_key(|c| c.id);
        let ids = channels.last().map_or(0, |c| usize::from(c.id.0) + 1);
        let mut positions = vec![NO_POSITION; ids];
        for (at, channel) in channels.iter().enumerate() {
            positions[usize::from(channel.id.0)] = at as u16;
        }
        let mut by_name: Vec<u16> = (0..channels.len() as u16).collect();
        by_name.sort_by(|a, b| {
            channels[usize::from(*a)]
                .name
                .cmp(&channels[usize::from(*b)].name)
        });
        Ok(Self {
            name: name.into(),
            version,
            hash: hash(name, version, &channels),
            channels,
            positions,
            by_name,
        })
    }

    /// Where in [`Catalogue::channels`] a channel is, in constant time.
    #[inline]
    pub fn position(&self, id: ChannelId) -> Option<usize> {
        match self.positions.get(usize::from(id.0)) {
            None | Some(&NO_POSITION) => None,
            Some(at) => Some(usize::from(*at)),
        }
    }

    /// The channel with this id.
    #[inline]
    pub fn channel(&self, id: ChannelId) -> Option<&Channel> {
        self.position(id).map(|at| &self.channels[at])
    }

    /// The channel with this name.
    pub fn by_name(&self, name: &str) -> Option<&Channel> {
        let at = self
            .by_name
            .binary_search_by(|at| self.channels[usize::from(*at)].name.as_str().cmp(name))
            .ok()?;
        Some(&self.channels[usize::from(self.by_name[at])])
    }

    /// Readings that all channels together have in a second, those on change left out.
    pub fn readings_per_s(&self) -> f64 {
        self.channels
            .iter()
            .filter(|c| c.period_us > 0)
            .map(|c| crate::time::SECOND_US as f64 / c.period_us as f64)
            .sum()
    }
}

/// The first 8 bytes of the SHA-256 of the canonical form: a line for the catalogue, then one for each channel by id, the
/// fields separated by tabs, each line ended by a line feed.
fn hash(name: &str, version: u32, channels: &[Channel]) -> CatalogueHash {
    let mut text = format!("windlass-catalogue 1\t{name}\t{version}\n");
    for c in channels {
        // writing to a String does not fail
        writeln!(
            text,
            "{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}",
            c.id.0,
            c.name,
            c.unit,
            c.kind.as_str(),
            c.raw.as_str(),
            c.scale_num,
            c.scale_den,
            c.offset_num,
            c.period_us,
            c.class.as_str(),
            c.rate_group.as_str(),
            c.modulus.map_or_else(|| "-".into(), |m| m.to_string()),
        )
        .ok();
    }
    let digest: [u8; 32] = Sha256::digest(text).into();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    CatalogueHash(u64::from_be_bytes(first))
}

/// The catalogues that a process knows: several versions of a profile live side by side.
#[derive(Clone, Debug, Default)]
pub struct CatalogueSet {
    by_hash: BTreeMap<CatalogueHash, Arc<Catalogue>>,
}

impl CatalogueSet {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }
    /// Adds one; the same content twice is one.
    pub fn insert(&mut self, catalogue: Arc<Catalogue>) {
        self.by_hash.insert(catalogue.hash, catalogue);
    }
    /// The catalogue that a batch speaks of.
    pub fn get(&self, hash: CatalogueHash) -> Option<&Arc<Catalogue>> {
        self.by_hash.get(&hash)
    }
    /// The newest version of a profile.
    pub fn latest(&self, name: &str) -> Option<&Arc<Catalogue>> {
        self.iter()
            .filter(|c| c.name == name)
            .max_by_key(|c| c.version)
    }
    /// All of them, by hash.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Catalogue>> {
        self.by_hash.values()
    }
}

impl FromIterator<Catalogue> for CatalogueSet {
    fn from_iter<I: IntoIterator<Item = Catalogue>>(catalogues: I) -> Self {
        let mut set = Self::new();
        for catalogue in catalogues {
            set.insert(Arc::new(catalogue));
        }
        set
    }
}

#[cfg(test)]
mod tests;
