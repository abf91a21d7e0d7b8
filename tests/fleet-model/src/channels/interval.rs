//! Statistics that a controller keeps itself and tells when their interval ends, as a SCADA system's ten-minute values.
//!
//! Invariants: an interval holds the physics' steps from its beginning to before its end, and is told at its end; the first
//! one begins with the run and may be short; whoever skips readings does not change what is kept.

use windlass_shared::catalogue::Channel;

use super::{Beat, Errors, Plan, Row};
use crate::noise::{Normals, mix};
use crate::signal::Signals;
use crate::statistic::{Fold, Statistic, Sum};

/// Channels whose intervals have one length.
#[derive(Debug)]
pub struct Interval {
    /// Its period is the interval's length.
    pub(super) beat: Beat,
    folds: Vec<Fold>,
}

impl Interval {
    pub(super) fn add(
        all: &mut Vec<Self>,
        position: u16,
        channel: &Channel,
        (row, statistic): (&Row, Statistic),
    ) {
        let length = channel.period_us;
        let at = all.iter().position(|i| i.beat.period_us == length);
        let at = at.unwrap_or_else(|| {
            all.push(Self {
                beat: Beat::new(length, false),
                folds: Vec::new(),
            });
            all.len() - 1
        });
        all[at].beat.add(position, channel, row);
        all[at]
            .folds
            .push(Fold::new(channel, Some(statistic), length));
    }
}

/// What one turbine's controller keeps.
#[derive(Clone, Debug, Default)]
pub struct Intervals {
    kept: Vec<Kept>,
    /// Last step that is in them.
    at_us: Option<i64>,
    scratch: Vec<i64>,
}

#[derive(Clone, Debug)]
struct Kept {
    sums: Vec<Sum>,
    /// End of the interval before, and its values.
    told: Option<(i64, Vec<i64>)>,
}

impl Intervals {
    /// Nothing yet.
    pub fn new(plan: &Plan) -> Self {
        let kept = plan.intervals.iter().map(|i| Kept {
            sums: vec![Sum::default(); i.folds.len()],
            told: None,
        });
        Self {
            kept: kept.collect(),
            ..Self::default()
        }
    }

    /// Takes the step of the physics at `at_us`; `key`: of the turbine's sensors. A step is taken once.
    pub fn keep(
        &mut self,
        (plan, errors): (&Plan, &Errors),
        normals: &Normals,
        signals: &Signals,
        (at_us, key): (i64, u64),
    ) {
        if self.at_us.replace(at_us) == Some(at_us) {
            return;
        }
        let moment = mix(key, at_us as u64);
        let all = plan.intervals.iter().zip(&errors.intervals);
        for ((interval, errors), kept) in all.zip(&mut self.kept) {
            if at_us % interval.beat.period_us == 0 {
                let values = kept.sums.iter().zip(&interval.folds);
                let values = values.map(|(sum, fold)| sum.value(fold)).collect();
                let any = kept.sums.iter().any(|s| s.n > 0);
                kept.told = any.then_some((at_us, values));
                kept.sums.fill(Sum::default());
            }
            self.scratch.clear();
            let beat = &interval.beat;
            beat.read(errors, normals, signals, moment, &mut self.scratch);
            beat.mend(errors, signals, &mut self.scratch);
            let folds = interval.folds.iter();
            for ((sum, fold), raw) in kept.sums.iter_mut().zip(folds).zip(&self.scratch) {
                sum.add(*raw, fold);
            }
        }
    }

    /// Adds what ended at `at_us`.
    pub fn tell(&self, plan: &Plan, at_us: i64, channels: &mut Vec<u16>, raw: &mut Vec<i64>) {
        for (interval, kept) in plan.intervals.iter().zip(&self.kept) {
            if let Some((_, values)) = kept.told.as_ref().filter(|t| t.0 == at_us) {
                channels.extend_from_slice(&interval.beat.channels);
                raw.extend_from_slice(values);
            }
        }
    }
}
