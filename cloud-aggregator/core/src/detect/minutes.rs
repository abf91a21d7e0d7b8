//! Rules on readings: how many readings of each minute are beyond the limits.
//!
//! Invariant: counts are sums, so they do not depend on the order in which records come; a minute that has its readings
//! judges the same on live batches as when it settles, its condition aside.

use serde::{Deserialize, Serialize};
use windlass_shared::catalogue::{Catalogue, Channel};
use windlass_shared::id::{RecordId, SeqRange};
use windlass_shared::pane::Sources;
use windlass_shared::record::{Batch, Block, QualityMark};
use windlass_shared::time::{EventTime, MINUTE_US};
use windlass_shared::window::WindowKind;

use super::alert::{AlertEvent, Direction, Level};
use super::book::{Origin, Scene};
use super::chain::{Chain, index};
use super::config::{Rule, RuleKind};
use super::observe::{Quote, breach, holds_live};
use super::plan::{Plan, Resolved};
use super::track::{Beyond, beyond};
use crate::task::Live;

/// Minutes and rules with breaching readings; the oldest leave first.
const MINUTES_MAX: usize = 4_096;
/// Readings of one minute beyond a rule's limits on one side.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Count {
    /// Beyond the limit nearer to normal.
    any: u32,
    /// Beyond the alarm limit.
    alarm: u32,
    /// Furthest from normal.
    worst: f64,
    first: EventTime,
    last: EventTime,
}

impl Chain {
    /// Holds the readings of a new batch against the rules on readings.
    #[allow(clippy::too_many_arguments)] // a batch, what it means, and where to say it
    pub(crate) fn live(
        &mut self,
        scene: &Scene,
        plan: &Plan,
        catalogue: &Catalogue,
        live: &Live,
        id: &RecordId,
        batch: &Batch,
        out: &mut Vec<AlertEvent>,
    ) {
        let mut touched = Vec::new();
        for block in batch.blocks.iter().filter(|b| !b.flags.suspect) {
            for (at, column) in block.columns.iter().enumerate() {
                for (rule, band) in plan.on_readings(column.channel) {
                    let from = column.at as usize;
                    let raw = &batch.raw[from..from + block.times.len()];
                    if raw.iter().all(|r| (band.least..=band.greatest).contains(r)) {
                        continue;
                    }
                    let Some(channel) = catalogue.channel(column.channel) else {
                        continue;
                    };
                    self.count(plan, *rule, channel, batch, block, at, &mut touched);
                }
            }
        }
        if touched.is_empty() {
            return;
        }
        touched.sort_unstable();
        touched.dedup();
        let state = plan.state_slot().and_then(|s| Some(live.counting(s)?.raw));
        let sources = Sources(vec![(id.epoch, vec![SeqRange::one(id.seq)])]);
        for key in touched {
            let (start, at, _) = key;
            if start <= self.last[index(WindowKind::Minute)] {
                continue; // the revision of that minute judges it
            }
            let Some((rule, resolved)) = plan.rule(usize::from(at)) else {
                continue;
            };
            if holds_live(rule, resolved, plan, catalogue, live) {
                let quote = Quote {
                    kind: WindowKind::Minute,
                    start,
                    revision: 0,
                    sources: &sources,
                    state,
                    origin: Origin::Live,
                };
                self.judge_minute(scene, rule, resolved, catalogue, key, &quote, out);
            }
        }
    }

    /// Counts the readings of one column that are beyond a rule's limits.
    #[allow(clippy::too_many_arguments)] // one column of one block of one batch
    fn count(
        &mut self,
        plan: &Plan,
        at: u16,
        channel: &Channel,
        batch: &Batch,
        block: &Block,
        column: usize,
        touched: &mut Vec<(EventTime, u16, Direction)>,
    ) {
        let Some((
            Rule {
                kind: RuleKind::Threshold(t),
                ..
            },
            _,
        )) = plan.rule(usize::from(at))
        else {
            return;
        };
        let c = block.columns[column];
        for row in 0..block.times.len() {
            let raw = batch.raw[c.at as usize + row];
            let value = if c.float {
                f64::from_bits(raw as u64)
            } else {
                channel.value(raw)
            };
            let on = |limits: &Option<_>, d| Some((beyond(value, limits.as_ref()?, d)?.0, d));
            let found = on(&t.high, Direction::High).or_else(|| on(&t.low, Direction::Low));
            let Some((level, direction)) = found else {
                continue;
            };
            let marked =
                |q: &&QualityMark| usize::from(q.column) == column && q.row as usize == row;
            if block
                .quality
                .iter()
                .find(marked)
                .is_some_and(|q| !q.quality.counts())
            {
                continue;
            }
            let time = block.times.at(row);
            let key = (time.floor_to(MINUTE_US), at, direction);
            self.add(key, level, value, time);
            touched.push(key);
        }
    }

    fn add(&mut self, key: (EventTime, u16, Direction), level: Level, value: f64, time: EventTime) {
        let count = self.minutes.entry(key).or_insert(Count {
            any: 0,
            alarm: 0,
            worst: value,
            first: time,
            last: time,
        });
        count.any = count.any.saturating_add(1);
        count.alarm = count.alarm.saturating_add(u32::from(level == Level::Alarm));
        count.worst = match key.2 {
            Direction::High => count.worst.max(value),
            Direction::Low => count.worst.min(value),
        };
        count.first = count.first.min(time);
        count.last = count.last.max(time);
        if self.minutes.len() > MINUTES_MAX {
            self.minutes.pop_first();
        }
    }

    /// Raises or confirms what a minute's breaching readings say; false when they are too few.
    #[allow(clippy::too_many_arguments)] // the rule, its minute, and where to say it
    pub(super) fn judge_minute(
        &mut self,
        scene: &Scene,
        rule: &Rule,
        resolved: Resolved,
        catalogue: &Catalogue,
        key: (EventTime, u16, Direction),
        quote: &Quote,
        out: &mut Vec<AlertEvent>,
    ) -> bool {
        let (RuleKind::Threshold(t), Some(count)) = (&rule.kind, self.minutes.get(&key)) else {
            return false;
        };
        if count.any < t.persistence {
            return false;
        }
        let direction = key.2;
        let limits = match direction {
            Direction::High => t.high,
            Direction::Low => t.low,
        };
        let Some(limits) = limits else { return false };
        let alarm = limits.alarm.filter(|_| count.alarm >= t.persistence);
        let (level, limit) = match (alarm, limits.warning) {
            (Some(limit), _) => (Level::Alarm, limit),
            (None, Some(limit)) => (Level::Warning, limit),
            (None, None) => return false,
        };
        let (worst, first, last) = (count.worst, count.first, count.last);
        let found = Beyond {
            level,
            direction,
            value: worst,
            limit,
            score: None,
            first,
        };
        let breach = breach(rule, resolved, catalogue, &found, last, quote);
        self.book.breach(scene, &breach, out);
        true
    }
}
