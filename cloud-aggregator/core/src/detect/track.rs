//! The state of each rule along one chain of windows in event-time order, and its verdict on the next window.
//!
//! Invariant: the verdicts depend on the sequence of observations alone. A fork is a clone.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use windlass_shared::time::EventTime;

use super::alert::{Direction, Level};
use super::config::{Limits, Rule, RuleKind, Score, Sides, Threshold, Transform};

/// A normal distribution's standard deviation over its median absolute deviation.
const SIGMA_OF_MAD: f64 = 1.482_602_218_505_602;

/// What a rule sees of a window.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Observation {
    pub rule: u16,
    /// In the channel's unit.
    pub value: f64,
    /// The turbine was in normal operation throughout.
    pub normal: bool,
}

/// A breach that has persisted.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Beyond {
    pub level: Level,
    pub direction: Direction,
    pub value: f64,
    pub limit: f64,
    pub score: Option<f64>,
    /// Start of the first window of it.
    pub first: EventTime,
}

/// What a rule says of a window.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Judgement {
    /// Nothing that would begin or end a breach.
    Nothing,
    /// Normal again.
    Normal,
    /// Beyond the limits for long enough.
    Breach(Beyond),
}

/// The state of one rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct RuleState {
    /// Windows in a row beyond the limits on one side, and where they began.
    run: u32,
    run_first: EventTime,
    side: Option<Direction>,
    /// The run has persisted.
    breached: bool,
    baseline: Baseline,
}

/// The values of the last normal windows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Baseline {
    /// In the order they came, from `next` on around.
    ring: Vec<f64>,
    next: usize,
    /// The same, ascending.
    sorted: Vec<f64>,
    /// Values that are too new to be in it, the oldest first.
    waiting: VecDeque<f64>,
}

impl Baseline {
    /// A normal value: it counts once `s.lag` more have come.
    fn learn(&mut self, value: f64, s: &Score) {
        self.waiting.push_back(value);
        if self.waiting.len() > s.lag
            && let Some(value) = self.waiting.pop_front()
        {
            self.push(value, s.baseline);
        }
    }

    fn push(&mut self, value: f64, len_max: usize) {
        if self.ring.len() < len_max {
            self.ring.push(value);
        } else {
            let old = std::mem::replace(&mut self.ring[self.next], value);
            self.next = (self.next + 1) % len_max;
            let at = self.sorted.partition_point(|x| x.total_cmp(&old).is_lt());
            self.sorted.remove(at);
        }
        let at = self.sorted.partition_point(|x| x.total_cmp(&value).is_lt());
        self.sorted.insert(at, value);
    }

    fn median(&self) -> f64 {
        let n = self.sorted.len();
        f64::midpoint(self.sorted[(n - 1) / 2], self.sorted[n / 2])
    }

    /// Median of the distances to the median: walks outwards from it.
    fn deviation(&self, median: f64) -> f64 {
        let s = &self.sorted;
        let n = s.len();
        let mut right = s.partition_point(|x| x.total_cmp(&median).is_lt());
        let mut left = right;
        let (mut lower, mut upper) = (0.0, 0.0);
        for rank in 0..=n / 2 {
            let below = left.checked_sub(1).map(|i| median - s[i]);
            let above = s.get(right).map(|x| x - median);
            let distance = match (below, above) {
                (Some(b), Some(a)) if b < a => {
                    left -= 1;
                    b
                }
                (_, Some(a)) => {
                    right += 1;
                    a
                }
                (Some(b), None) => {
                    left -= 1;
                    b
                }
                (None, None) => break,
            };
            if rank == (n - 1) / 2 {
                lower = distance;
            }
            upper = distance;
        }
        f64::midpoint(lower, upper)
    }
}

/// Level and limit of a value on one side.
pub(super) fn beyond(value: f64, limits: &Limits, direction: Direction) -> Option<(Level, f64)> {
    let past = |limit: f64| match direction {
        Direction::High => value > limit,
        Direction::Low => value < limit,
    };
    let alarm = limits.alarm.filter(|l| past(*l));
    alarm.map(|l| (Level::Alarm, l)).or_else(|| {
        limits
            .warning
            .filter(|l| past(*l))
            .map(|l| (Level::Warning, l))
    })
}

/// The limit nearer to normal.
pub(super) fn nearest(limits: &Limits) -> f64 {
    limits.warning.or(limits.alarm).unwrap_or(f64::NAN)
}

/// Is a value that is beyond no limit still within the hysteresis of one?
pub(super) fn held(value: f64, threshold: &Threshold, side: Direction) -> bool {
    let limits = match side {
        Direction::High => &threshold.high,
        Direction::Low => &threshold.low,
    };
    let Some(limits) = limits else { return false };
    match side {
        Direction::High => value > nearest(limits) - threshold.hysteresis,
        Direction::Low => value < nearest(limits) + threshold.hysteresis,
    }
}

impl RuleState {
    /// Takes the next window of the chain.
    pub(super) fn judge(&mut self, rule: &Rule, start: EventTime, o: &Observation) -> Judgement {
        match &rule.kind {
            RuleKind::Threshold(t) => self.judge_threshold(t, start, o),
            RuleKind::Score(s) => self.judge_score(s, start, o),
        }
    }

    fn judge_threshold(&mut self, t: &Threshold, start: EventTime, o: &Observation) -> Judgement {
        let on = |limits: &Option<Limits>, direction| {
            let (level, limit) = beyond(o.value, limits.as_ref()?, direction)?;
            Some((level, limit, direction))
        };
        let found = on(&t.high, Direction::High).or_else(|| on(&t.low, Direction::Low));
        let Some((level, limit, direction)) = found else {
            if self.breached && self.side.is_some_and(|side| held(o.value, t, side)) {
                return Judgement::Nothing;
            }
            return self.normal();
        };
        let first = self.extend(start, direction);
        self.persisted(t.persistence, level, direction, o.value, limit, None, first)
    }

    fn judge_score(&mut self, s: &Score, start: EventTime, o: &Observation) -> Judgement {
        let value = match s.transform {
            Transform::None => o.value,
            Transform::Log if o.value > 0.0 => libm::log(o.value),
            Transform::Log => return Judgement::Nothing,
        };
        if !o.normal {
            return Judgement::Nothing;
        }
        if self.baseline.sorted.len() < s.minimum {
            self.baseline.learn(value, s);
            return Judgement::Nothing;
        }
        let median = self.baseline.median();
        let sigma = (SIGMA_OF_MAD * self.baseline.deviation(median)).max(s.spread_min);
        let z = (value - median) / sigma;
        let (size, direction, sign) = if z < 0.0 {
            (-z, Direction::Low, -1.0)
        } else {
            (z, Direction::High, 1.0)
        };
        let watched = match s.sides {
            Sides::Both => true,
            Sides::High => direction == Direction::High,
            Sides::Low => direction == Direction::Low,
        };
        let found = beyond(size, &s.limits, Direction::High).filter(|_| watched);
        let Some((level, limit)) = found else {
            self.baseline.learn(value, s);
            return self.normal();
        };
        let first = self.extend(start, direction);
        if s.relearn_after > 0 && self.run >= s.relearn_after {
            self.baseline = Baseline::default();
            return self.normal();
        }
        let limit = median + sign * limit * sigma;
        let limit = match s.transform {
            Transform::None => limit,
            Transform::Log => libm::exp(limit),
        };
        self.persisted(
            s.persistence,
            level,
            direction,
            o.value,
            limit,
            Some(z),
            first,
        )
    }

    /// One more window beyond the limits; says where the run began.
    fn extend(&mut self, start: EventTime, direction: Direction) -> EventTime {
        if self.side == Some(direction) && self.run > 0 {
            self.run = self.run.saturating_add(1);
        } else {
            self.run = 1;
            self.run_first = start;
            self.side = Some(direction);
            self.breached = false;
        }
        self.run_first
    }

    #[allow(clippy::too_many_arguments)] // the fields of a breach
    fn persisted(
        &mut self,
        persistence: u32,
        level: Level,
        direction: Direction,
        value: f64,
        limit: f64,
        score: Option<f64>,
        first: EventTime,
    ) -> Judgement {
        if self.run < persistence {
            return Judgement::Nothing;
        }
        self.breached = true;
        Judgement::Breach(Beyond {
            level,
            direction,
            value,
            limit,
            score,
            first,
        })
    }

    fn normal(&mut self) -> Judgement {
        self.run = 0;
        self.side = None;
        self.breached = false;
        Judgement::Normal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_deviation_are_those_of_the_last_values() {
        let mut b = Baseline::default();
        let mut kept: Vec<f64> = Vec::new();
        let mut x = 17_u64;
        for _ in 0..500 {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let value = ((x >> 33) % 40) as f64;
            b.push(value, 31);
            kept.push(value);
            if kept.len() > 31 {
                kept.remove(0);
            }
            let middle = |mut v: Vec<f64>| {
                v.sort_by(f64::total_cmp);
                f64::midpoint(v[(v.len() - 1) / 2], v[v.len() / 2])
            };
            let median = middle(kept.clone());
            let deviation = middle(kept.iter().map(|v| (v - median).abs()).collect());
            assert_eq!(b.median(), median);
            assert_eq!(b.deviation(median), deviation);
        }
    }
}
