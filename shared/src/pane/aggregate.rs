//! What an aggregate says, in a form that merges.
//!
//! Invariant: merging is exact and, for parts that are disjoint sets of readings, gives the aggregate of their union.
//! The one exception is a counter whose late readings fall between earlier ones *and* meet a reset or more than one
//! roll-over there: an increment needs its neighbours, which a merged aggregate no longer has.

use serde::{Deserialize, Serialize};

use crate::catalogue::{Catalogue, Channel, Kind};
use crate::id::{ChannelId, Epoch, Seq};
use crate::time::EventTime;

/// One reading of a channel with its identity. Points are ordered by event time, then by identity: a total order that
/// does not depend on arrival.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Point {
    /// When.
    pub at: EventTime,
    /// From which epoch.
    pub epoch: Epoch,
    /// From which record.
    pub seq: Seq,
    /// Which reading of the record.
    pub index: u32,
    /// Raw value.
    pub raw: i64,
}

/// One channel over one window, in the channel's raw units. Which fields mean something depends on the kind.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ChannelAggregate {
    /// Which channel.
    pub channel: ChannelId,
    /// Readings that counted.
    pub n: u64,
    /// Readings that did not, because of their quality.
    pub bad: u64,
    /// What the kind calls for.
    pub value: Aggregate,
}

/// An aggregate by kind, exact, mergeable.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Aggregate {
    /// No reading counted.
    Nothing,
    /// Analogue and rms: sums over raw values.
    Sums {
        /// Sum.
        sum: i128,
        /// Sum of squares, saturating.
        sum_sq: i128,
        /// Least.
        min: i64,
        /// Greatest.
        max: i64,
    },
    /// Angle: sums of cosine and sine in units of 2^-30.
    Circular {
        /// Sum of cosines.
        cos: i64,
        /// Sum of sines.
        sin: i64,
    },
    /// Counter: increments from reading to reading in order, roll-over taken out (see [`step`]).
    Delta {
        /// Raw increments.
        delta: i128,
        /// Earliest reading.
        first: Point,
        /// Latest reading.
        last: Point,
    },
    /// State: how many readings each state had, by state; each stands for one period.
    States(Vec<(i64, u64)>),
    /// Setpoint: latest, least and greatest.
    Latest {
        /// Latest reading.
        last: Point,
        /// Least.
        min: i64,
        /// Greatest.
        max: i64,
    },
    /// Event: every code, in order.
    Codes(Vec<Point>),
}

/// Increment of a counter from one raw value to the next. A fall by more than half of the modulus is a roll-over; any
/// other fall is a reset, after which the counter has counted from 0.
pub fn step(from: i64, to: i64, modulus: Option<i64>) -> i128 {
    let (from, to) = (i128::from(from), i128::from(to));
    match modulus.map(i128::from) {
        _ if to >= from => to - from,
        Some(m) if (from - to) * 2 > m && from - to <= m => to - from + m,
        _ => to.max(0),
    }
}

impl Aggregate {
    /// Takes in the aggregate of other readings of the same channel.
    pub fn merge(&mut self, other: &Self, modulus: Option<i64>) {
        match (&mut *self, other) {
            (_, Self::Nothing) => {}
            (Self::Nothing, _) => *self = other.clone(),
            (
                Self::Sums {
                    sum,
                    sum_sq,
                    min,
                    max,
                },
                Self::Sums {
                    sum: sum2,
                    sum_sq: sum_sq2,
                    min: min2,
                    max: max2,
                },
            ) => {
                *sum += sum2;
                *sum_sq = sum_sq.saturating_add(*sum_sq2);
                *min = (*min).min(*min2);
                *max = (*max).max(*max2);
            }
            (
                Self::Circular { cos, sin },
                Self::Circular {
                    cos: cos2,
                    sin: sin2,
                },
            ) => {
                *cos += cos2;
                *sin += sin2;
            }
            (
                Self::Delta { delta, first, last },
                Self::Delta {
                    delta: delta2,
                    first: first2,
                    last: last2,
                },
            ) => {
                (*delta, *first, *last) =
                    merge_deltas((*delta, *first, *last), (*delta2, *first2, *last2), modulus);
            }
            (Self::States(a), Self::States(b)) => {
                for (state, n) in b {
                    add_state(a, *state, *n);
                }
            }
            (
                Self::Latest { last, min, max },
                Self::Latest {
                    last: last2,
                    min: min2,
                    max: max2,
                },
            ) => {
                *last = (*last).max(*last2);
                *min = (*min).min(*min2);
                *max = (*max).max(*max2);
            }
            (Self::Codes(a), Self::Codes(b)) => {
                let sorted = a.last() < b.first();
                a.extend(b);
                if !sorted {
                    a.sort_unstable();
                }
            }
            _ => {} // another kind under the same id: see the module's invariants
        }
    }
}

type Delta = (i128, Point, Point);

fn merge_deltas(a: Delta, b: Delta, modulus: Option<i64>) -> Delta {
    let (a, b) = if a.1 <= b.1 { (a, b) } else { (b, a) };
    if a.2 < b.1 {
        // one after the other
        (a.0 + step(a.2.raw, b.1.raw, modulus) + b.0, a.1, b.2)
    } else if b.2 <= a.2 {
        a // what lies inside adds nothing to a counter that only counts up
    } else {
        (a.0 + step(a.2.raw, b.2.raw, modulus), a.1, b.2)
    }
}

pub(super) fn add_state(states: &mut Vec<(i64, u64)>, state: i64, n: u64) {
    match states.binary_search_by_key(&state, |(s, _)| *s) {
        Ok(at) => states[at].1 += n,
        Err(at) => states.insert(at, (state, n)),
    }
}

/// Takes `other` into `into`; both are sorted by channel, and so is the result.
pub fn merge_channels(
    into: &mut Vec<ChannelAggregate>,
    other: Vec<ChannelAggregate>,
    catalogue: &Catalogue,
) {
    if into.is_empty() {
        *into = other;
        return;
    }
    let mut at = 0;
    for c in other {
        // most often the next one
        while into.get(at).is_some_and(|x| x.channel < c.channel) {
            at += 1;
        }
        match into.get_mut(at) {
            Some(x) if x.channel == c.channel => {
                let modulus = match x.value {
                    Aggregate::Delta { .. } => catalogue.channel(c.channel).and_then(|c| c.modulus),
                    _ => None,
                };
                x.merge(&c, modulus);
            }
            _ => into.insert(at, c),
        }
    }
}

impl ChannelAggregate {
    /// Takes in the aggregate of other readings of the same channel.
    pub fn merge(&mut self, other: &Self, modulus: Option<i64>) {
        self.n += other.n;
        self.bad += other.bad;
        self.value.merge(&other.value, modulus);
    }

    /// The channel's headline number in its unit: mean, circular mean (degrees in 0..360), delta, longest state (the
    /// least of equals), last setpoint, count of codes, root mean square. `None` when no reading counted.
    pub fn headline(&self, catalogue: &Catalogue) -> Option<f64> {
        let channel = catalogue.channel(self.channel)?;
        match &self.value {
            Aggregate::Nothing | Aggregate::Circular { cos: 0, sin: 0 } => None,
            Aggregate::Sums { .. } if channel.kind == Kind::Rms => self.rms(channel),
            Aggregate::Sums { .. } => self.mean(catalogue),
            Aggregate::Circular { cos, sin } => {
                let degrees =
                    libm::atan2(*sin as f64, *cos as f64) * (180.0 / std::f64::consts::PI);
                Some(if degrees < 0.0 {
                    degrees + 360.0
                } else {
                    degrees
                })
            }
            Aggregate::Delta { delta, .. } => {
                Some((delta * i128::from(channel.scale_num)) as f64 / channel.scale_den as f64)
            }
            Aggregate::States(states) => states
                .iter()
                .max_by_key(|(state, n)| (*n, std::cmp::Reverse(*state)))
                .map(|(state, _)| channel.value(*state)),
            Aggregate::Latest { last, .. } => Some(channel.value(last.raw)),
            Aggregate::Codes(codes) => Some(codes.len() as f64),
        }
    }

    /// Arithmetic mean of an analogue or rms channel, in its unit.
    pub fn mean(&self, catalogue: &Catalogue) -> Option<f64> {
        let channel = catalogue.channel(self.channel)?;
        let Aggregate::Sums { sum, .. } = &self.value else {
            return None;
        };
        let n = self.n as f64;
        let (num, den) = (channel.scale_num as f64, channel.scale_den as f64);
        (self.n > 0).then(|| {
            let offset = i128::from(channel.offset_num) * i128::from(self.n);
            match sum
                .checked_mul(i128::from(channel.scale_num))
                .and_then(|s| s.checked_add(offset))
            {
                Some(total) => total as f64 / (den * n),
                None => (*sum as f64 / n * num + channel.offset_num as f64) / den,
            }
        })
    }

    /// Standard deviation (of the population) of an analogue or rms channel, in its unit.
    pub fn std(&self, catalogue: &Catalogue) -> Option<f64> {
        let channel = catalogue.channel(self.channel)?;
        let Aggregate::Sums { sum, sum_sq, .. } = &self.value else {
            return None;
        };
        let n = self.n as f64;
        (self.n > 0).then(|| {
            // n * sum of squares - square of the sum: exact where 128 bits hold it
            let spread = match (
                sum_sq.checked_mul(i128::from(self.n)),
                sum.checked_mul(*sum),
            ) {
                (Some(a), Some(b)) => (a - b) as f64,
                _ => *sum_sq as f64 * n - *sum as f64 * *sum as f64,
            };
            let scale = (channel.scale_num as f64 / channel.scale_den as f64).abs();
            spread.max(0.0).sqrt() / n * scale
        })
    }

    /// Least and greatest value of a channel that has them, in its unit.
    pub fn min_max(&self, catalogue: &Catalogue) -> Option<(f64, f64)> {
        let channel = catalogue.channel(self.channel)?;
        let (Aggregate::Sums { min, max, .. } | Aggregate::Latest { min, max, .. }) = &self.value
        else {
            return None;
        };
        let (a, b) = (channel.value(*min), channel.value(*max));
        Some((a.min(b), a.max(b)))
    }

    /// Root of the mean of the squares of the values, offset included.
    fn rms(&self, channel: &Channel) -> Option<f64> {
        let Aggregate::Sums { sum, sum_sq, .. } = &self.value else {
            return None;
        };
        let n = self.n as f64;
        let (num, off) = (channel.scale_num as f64, channel.offset_num as f64);
        (self.n > 0).then(|| {
            let mean_sq =
                (*sum_sq as f64 * num * num + 2.0 * num * off * *sum as f64) / n + off * off;
            mean_sq.max(0.0).sqrt() / channel.scale_den as f64
        })
    }
}
