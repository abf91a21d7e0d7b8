//! One channel of an open pane, dense: 32 bytes for what most channels need, a box for the rest.

use serde::{Deserialize, Serialize};

use super::aggregate::{add_state, step};
use super::{Aggregate, ChannelAggregate, Origin, Point, Rows};
use crate::catalogue::{Channel, Kind};
use crate::id::ChannelId;

/// A channel's readings of one minute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) enum Slot {
    #[default]
    Empty,
    /// Analogue and rms, as long as the numbers fit.
    Narrow {
        bad: u16,
        n: u32,
        min: i32,
        max: i32,
        sum: i64,
        sum_sq: u64,
    },
    /// The same where they do not.
    Wide(Box<Wide>),
    /// Angle.
    Circular {
        bad: u32,
        n: u32,
        cos: i64,
        sin: i64,
    },
    /// State.
    States(Box<States>),
    /// Setpoint.
    Latest(Box<Latest>),
    /// Counter: all its readings in order, since increments need neighbours.
    Counter(Box<Points>),
    /// Event.
    Codes(Box<Points>),
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Wide {
    pub(super) n: u64,
    pub(super) bad: u64,
    pub(super) sum: i128,
    pub(super) sum_sq: i128,
    pub(super) min: i64,
    pub(super) max: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct States {
    pub(super) bad: u64,
    pub(super) counts: Vec<(i64, u64)>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Latest {
    pub(super) n: u64,
    pub(super) bad: u64,
    pub(super) last: Option<Point>,
    pub(super) min: i64,
    pub(super) max: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Points {
    pub(super) bad: u64,
    /// In order.
    pub(super) points: Vec<Point>,
}

impl Rows<'_> {
    fn points(&self, origin: Origin) -> impl Iterator<Item = Point> + '_ {
        self.raw.iter().enumerate().map(move |(i, raw)| {
            let row = self
                .only
                .map_or(self.range.start + i, |rows| rows[i] as usize);
            Point {
                at: self.block.times.at(row),
                epoch: origin.epoch,
                seq: origin.seq,
                index: self.at + row as u32,
                raw: *raw,
            }
        })
    }
}

impl Slot {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Analogue | Kind::Rms => Self::Narrow {
                bad: 0,
                n: 0,
                min: i32::MAX,
                max: i32::MIN,
                sum: 0,
                sum_sq: 0,
            },
            Kind::Angle => Self::Circular {
                bad: 0,
                n: 0,
                cos: 0,
                sin: 0,
            },
            Kind::State => Self::States(Box::default()),
            Kind::Setpoint => Self::Latest(Box::default()),
            Kind::Counter => Self::Counter(Box::default()),
            Kind::Event => Self::Codes(Box::default()),
        }
    }

    /// Gives an empty slot the form that its channel needs.
    #[inline]
    pub(super) fn begin(&mut self, kind: Kind) {
        if matches!(self, Self::Empty) {
            *self = Self::of(kind);
        }
    }

    /// Adds readings; returns how many counted and how many did not.
    #[inline]
    pub(super) fn add(&mut self, channel: &Channel, origin: Origin, rows: &Rows<'_>) -> (u64, u64) {
        self.begin(channel.kind);
        let len = rows.raw.len() as u64;
        match (&mut *self, channel.kind) {
            (Self::Narrow { .. } | Self::Wide(_), Kind::Analogue | Kind::Rms) => {
                self.add_sums(rows.raw);
            }
            (Self::Circular { n, cos, sin, .. }, Kind::Angle) => {
                *n = n.saturating_add(rows.raw.len() as u32);
                let (c, s) = circular(channel, rows.raw);
                *cos += c;
                *sin += s;
            }
            (Self::States(states), Kind::State) => {
                for run in rows.raw.chunk_by(|a, b| a == b) {
                    add_state(&mut states.counts, run[0], run.len() as u64);
                }
            }
            (Self::Latest(latest), Kind::Setpoint) => latest.add(rows.points(origin)),
            (Self::Counter(points), Kind::Counter) | (Self::Codes(points), Kind::Event) => {
                points.add(rows.points(origin));
            }
            _ => {
                self.add_bad(len);
                return (0, len);
            }
        }
        (len, 0)
    }

    pub(super) fn add_bad(&mut self, more: u64) {
        if more == 0 {
            return;
        }
        match self {
            Self::Empty => self.widen().bad += more,
            Self::Narrow { bad, .. } => match u64::from(*bad) + more {
                fits @ 0..=0xffff => *bad = fits as u16,
                _ => self.widen().bad += more,
            },
            Self::Circular { bad, .. } => {
                *bad = bad.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
            }
            Self::Wide(wide) => wide.bad += more,
            Self::States(states) => states.bad += more,
            Self::Latest(latest) => latest.bad += more,
            Self::Counter(points) | Self::Codes(points) => points.bad += more,
        }
    }

    #[inline]
    fn add_sums(&mut self, raw: &[i64]) {
        if let Self::Narrow {
            n,
            min,
            max,
            sum,
            sum_sq,
            ..
        } = self
        {
            if let [one] = raw
                && let Ok(v) = i32::try_from(*one)
                && let Some(sq) = sum_sq.checked_add(one.unsigned_abs() * one.unsigned_abs())
                && let Some(total) = sum.checked_add(*one)
                && let Some(count) = n.checked_add(1)
            {
                (*n, *sum, *sum_sq) = (count, total, sq);
                (*min, *max) = ((*min).min(v), (*max).max(v));
                return;
            }
            if raw.is_empty() {
                return;
            }
            if let Some(t) = tally(raw)
                && let Some(sq) = sum_sq.checked_add(t.sum_sq)
                && let Some(total) = sum.checked_add(t.sum)
                && let Some(count) = n.checked_add(raw.len() as u32)
            {
                (*n, *sum, *sum_sq) = (count, total, sq);
                (*min, *max) = ((*min).min(t.min), (*max).max(t.max));
                return;
            }
        }
        let wide = self.widen();
        for v in raw {
            wide.min = if wide.n == 0 { *v } else { wide.min.min(*v) };
            wide.max = if wide.n == 0 { *v } else { wide.max.max(*v) };
            wide.n += 1;
            let v = i128::from(*v);
            wide.sum += v;
            wide.sum_sq = wide.sum_sq.saturating_add(v * v);
        }
    }

    /// Turns sums into wide ones.
    fn widen(&mut self) -> &mut Wide {
        let wide = match self {
            Self::Wide(_) => None,
            Self::Narrow {
                bad,
                n,
                min,
                max,
                sum,
                sum_sq,
            } => {
                let any = *n > 0;
                Some(Wide {
                    n: u64::from(*n),
                    bad: u64::from(*bad),
                    sum: i128::from(*sum),
                    sum_sq: i128::from(*sum_sq),
                    min: if any { i64::from(*min) } else { 0 },
                    max: if any { i64::from(*max) } else { 0 },
                })
            }
            _ => Some(Wide::default()),
        };
        if let Some(wide) = wide {
            *self = Self::Wide(Box::new(wide));
        }
        match self {
            Self::Wide(wide) => wide,
            _ => unreachable!("made wide in the lines above"),
        }
    }

    /// The common case of merging, in place; `false`: not this case.
    #[inline]
    pub(super) fn fold_sums(&self, into: &mut ChannelAggregate) -> bool {
        let (
            Self::Narrow {
                bad,
                n,
                min,
                max,
                sum,
                sum_sq,
            },
            Aggregate::Sums {
                sum: to_sum,
                sum_sq: to_sq,
                min: to_min,
                max: to_max,
            },
        ) = (self, &mut into.value)
        else {
            return matches!(self, Self::Empty);
        };
        into.n += u64::from(*n);
        into.bad += u64::from(*bad);
        *to_sum += i128::from(*sum);
        *to_sq = to_sq.saturating_add(i128::from(*sum_sq));
        // without readings `min` and `max` are out of the way
        *to_min = (*to_min).min(if *n > 0 { i64::from(*min) } else { i64::MAX });
        *to_max = (*to_max).max(if *n > 0 { i64::from(*max) } else { i64::MIN });
        true
    }

    /// Memory held outside of the slot itself.
    pub(super) fn boxed_bytes(&self) -> usize {
        match self {
            Self::Empty | Self::Narrow { .. } | Self::Circular { .. } => 0,
            Self::Wide(_) => size_of::<Wide>(),
            Self::States(s) => size_of::<States>() + s.counts.capacity() * size_of::<(i64, u64)>(),
            Self::Latest(_) => size_of::<Latest>(),
            Self::Counter(p) | Self::Codes(p) => {
                size_of::<Points>() + p.points.capacity() * size_of::<Point>()
            }
        }
    }

    /// What a result says of it; `None` without readings.
    pub(super) fn aggregate(
        &self,
        channel: ChannelId,
        modulus: Option<i64>,
    ) -> Option<ChannelAggregate> {
        let (n, bad, value) = match self {
            Self::Empty => return None,
            Self::Narrow {
                bad,
                n,
                min,
                max,
                sum,
                sum_sq,
            } => (
                u64::from(*n),
                u64::from(*bad),
                Aggregate::Sums {
                    sum: i128::from(*sum),
                    sum_sq: i128::from(*sum_sq),
                    min: i64::from(*min),
                    max: i64::from(*max),
                },
            ),
            Self::Wide(w) => (
                w.n,
                w.bad,
                Aggregate::Sums {
                    sum: w.sum,
                    sum_sq: w.sum_sq,
                    min: w.min,
                    max: w.max,
                },
            ),
            Self::Circular { bad, n, cos, sin } => (
                u64::from(*n),
                u64::from(*bad),
                Aggregate::Circular {
                    cos: *cos,
                    sin: *sin,
                },
            ),
            Self::States(s) => (
                s.counts.iter().map(|(_, n)| n).sum(),
                s.bad,
                Aggregate::States(s.counts.clone()),
            ),
            Self::Latest(l) => (
                l.n,
                l.bad,
                l.last.map_or(Aggregate::Nothing, |last| Aggregate::Latest {
                    last,
                    min: l.min,
                    max: l.max,
                }),
            ),
            Self::Counter(p) => (p.points.len() as u64, p.bad, p.delta(modulus)),
            Self::Codes(p) => (
                p.points.len() as u64,
                p.bad,
                Aggregate::Codes(p.points.clone()),
            ),
        };
        (n + bad > 0).then_some(ChannelAggregate {
            channel,
            n,
            bad,
            value: if n == 0 { Aggregate::Nothing } else { value },
        })
    }
}

impl Latest {
    fn add(&mut self, points: impl Iterator<Item = Point>) {
        for p in points {
            if self.n == 0 {
                (self.min, self.max) = (p.raw, p.raw);
            }
            self.n += 1;
            self.min = self.min.min(p.raw);
            self.max = self.max.max(p.raw);
            self.last = self.last.max(Some(p));
        }
    }
}

impl Points {
    fn add(&mut self, points: impl Iterator<Item = Point>) {
        for p in points {
            if self.points.last().is_none_or(|last| *last < p) {
                self.points.push(p);
            } else {
                let at = self.points.partition_point(|x| *x < p);
                self.points.insert(at, p);
            }
        }
    }

    fn delta(&self, modulus: Option<i64>) -> Aggregate {
        let (Some(first), Some(last)) = (self.points.first(), self.points.last()) else {
            return Aggregate::Nothing;
        };
        Aggregate::Delta {
            delta: self
                .points
                .windows(2)
                .map(|w| step(w[0].raw, w[1].raw, modulus))
                .sum(),
            first: *first,
            last: *last,
        }
    }
}

struct Tally {
    min: i32,
    max: i32,
    sum: i64,
    sum_sq: u64,
}

/// Sums of a column if they certainly fit.
fn tally(raw: &[i64]) -> Option<Tally> {
    let (mut min, mut max) = (i64::MAX, i64::MIN);
    for v in raw {
        min = min.min(*v);
        max = max.max(*v);
    }
    let (min, max) = (i32::try_from(min).ok()?, i32::try_from(max).ok()?);
    let greatest = u64::from(min.unsigned_abs().max(max.unsigned_abs()));
    (greatest * greatest).checked_mul(raw.len() as u64)?;
    let (mut sum, mut sum_sq) = (0i64, 0u64);
    for v in raw {
        sum = sum.wrapping_add(*v);
        sum_sq = sum_sq.wrapping_add((*v as u64).wrapping_mul(*v as u64));
    }
    Some(Tally {
        min,
        max,
        sum,
        sum_sq,
    })
}

/// Sums of cosines and sines in units of 2^-30.
fn circular(channel: &Channel, raw: &[i64]) -> (i64, i64) {
    const UNIT: f64 = (1u64 << 30) as f64;
    let turn = i128::from(channel.scale_den) * 360;
    let (mut cos, mut sin) = (0, 0);
    for run in raw.chunk_by(|a, b| a == b) {
        // reduced as an integer, so that the same direction has the same sine however many turns it has
        let angle = (i128::from(run[0]) * i128::from(channel.scale_num)
            + i128::from(channel.offset_num))
        .rem_euclid(turn);
        let radians = angle as f64 / channel.scale_den as f64 * (std::f64::consts::PI / 180.0);
        let (s, c) = libm::sincos(radians);
        let times = run.len() as i64;
        cos += (c * UNIT).round() as i64 * times;
        sin += (s * UNIT).round() as i64 * times;
    }
    (cos, sin)
}
