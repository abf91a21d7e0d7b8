//! The status document of a turbine, and how often it is written.
//!
//! Invariant: when a document is written depends on log time and on the turbine's entries alone.

use serde::{Deserialize, Serialize};
use windlass_shared::catalogue::{Catalogue, Channel, RateGroup, Raw};
use windlass_shared::id::{ChannelId, TurbineId};
use windlass_shared::record::{Batch, Block, Column, Header, Quality};
use windlass_shared::time::{EventTime, LogTime, SECOND_US, WallTime};

use super::turbine::{Moment, Turbine};
use crate::detect::Plan;
use crate::output::{LiveValue, STATUS_VERSION, StatusDoc};

/// Log time after which what is not urgent is written on a tick, microseconds.
const PATIENCE_US: i64 = SECOND_US;
/// Open alerts in a document; the alerts topic has all of them.
const STATUS_ALERTS_MAX: usize = 8;

/// When the next document is due.
///
/// What an operator watches waits only for the last document that was written for such a reason: one that a tick brought
/// just before must not hold it back until the next tick.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Pace {
    /// The last document.
    written: Option<LogTime>,
    /// The last one that something urgent asked for.
    urgent_written: Option<LogTime>,
    dirty: bool,
    urgent: bool,
    ticked: bool,
}

impl Pace {
    /// Something changed that can wait for a tick.
    pub(super) fn mark(&mut self) {
        self.dirty = true;
    }
    /// Something changed that an operator watches.
    pub(super) fn mark_urgent(&mut self) {
        self.urgent = true;
    }
    /// A tick came: what waits may go.
    pub(super) fn tick(&mut self) {
        self.ticked = true;
    }
    /// Nothing waits to be written.
    pub(super) fn rests(&self) -> bool {
        !self.dirty && !self.urgent
    }
    /// Is a document due? Says so once.
    pub(super) fn due(&mut self, now: LogTime, every_us: i64) -> bool {
        let ticked = std::mem::take(&mut self.ticked);
        let (last, wait) = match (self.urgent, self.dirty && ticked) {
            (true, _) => (self.urgent_written, every_us),
            (false, true) => (self.written, every_us.max(PATIENCE_US)),
            (false, false) => return false,
        };
        let due = last.is_none_or(|at| now >= at.plus_us(wait));
        if due {
            *self = Self {
                written: Some(now),
                urgent_written: match (self.urgent, ticked) {
                    (true, false) => Some(now),
                    // it was due before the tick, and holds back nothing that comes after it
                    (true, true) => Some(now.plus_us(-wait)),
                    (false, _) => self.urgent_written,
                },
                ..Self::default()
            };
        }
        due
    }
}

/// Newest reading of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Newest {
    pub channel: ChannelId,
    pub time: EventTime,
    /// As in [`Batch::raw`].
    pub raw: i64,
    pub quality: Quality,
}

/// What is newest of a turbine.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Live {
    /// By the plan's slot.
    newest: Vec<Option<Newest>>,
    pub event_time: Option<EventTime>,
    pub fast_event_time: Option<EventTime>,
    pub slice_committed_at: Option<WallTime>,
}

impl Live {
    /// Newest reading of a tracked channel, if its number counts.
    pub(crate) fn counting(&self, slot: usize) -> Option<&Newest> {
        let newest = self.newest.get(slot)?.as_ref()?;
        newest.quality.counts().then_some(newest)
    }

    /// The slots mean other channels from here on.
    pub(super) fn forget(&mut self) {
        self.newest.clear();
    }

    pub(crate) fn take(&mut self, plan: &Plan, batch: &Batch, header: &Header) {
        self.newest.resize(plan.tracked().len(), None);
        let mut on_time = None;
        for block in &batch.blocks {
            if block.flags.suspect {
                continue;
            }
            let Some((row, time)) = newest_row(block) else {
                continue;
            };
            if !block.flags.late {
                on_time = on_time.max(Some(time));
            }
            for (index, column) in block.columns.iter().enumerate() {
                if let Some(slot) = plan.slot(column.channel) {
                    self.put(slot, reading(batch, block, index, *column, row, time));
                }
            }
        }
        self.event_time = self.event_time.max(on_time);
        if batch.rate_group == RateGroup::Fast && on_time.is_some() {
            // a backlog's old slices say nothing of how live the turbine is
            if on_time >= self.fast_event_time {
                self.slice_committed_at = Some(header.committed_at);
            }
            self.fast_event_time = self.fast_event_time.max(on_time);
        }
    }

    fn put(&mut self, slot: usize, reading: Newest) {
        let held = &mut self.newest[slot];
        if held.is_none_or(|h| reading.time >= h.time) {
            *held = Some(reading);
        }
    }
}

/// The last row with the latest time.
fn newest_row(block: &Block) -> Option<(usize, EventTime)> {
    use windlass_shared::record::Times;
    match &block.times {
        Times::Regular { n, .. } => {
            let row = (*n as usize).checked_sub(1)?;
            Some((row, block.times.at(row)))
        }
        Times::Listed(times) => times.iter().copied().enumerate().max_by_key(|(_, t)| *t),
    }
}

fn reading(
    batch: &Batch,
    block: &Block,
    index: usize,
    column: Column,
    row: usize,
    time: EventTime,
) -> Newest {
    let mark = block
        .quality
        .iter()
        .find(|q| usize::from(q.column) == index && q.row as usize == row);
    Newest {
        channel: column.channel,
        time,
        raw: batch.raw[column.at as usize + row],
        quality: mark.map_or(Quality::Good, |q| q.quality),
    }
}

impl Turbine {
    pub(super) fn document(&self, id: &TurbineId, moment: &Moment) -> StatusDoc {
        let known = self
            .speaks
            .and_then(|hash| Some((moment.fleet.catalogue(hash)?, moment.plans.of(hash)?)));
        let frontier = self.coverage().frontier();
        StatusDoc {
            v: STATUS_VERSION,
            turbine: id.clone(),
            farm: self.farm.clone(),
            gateway: self.gateway.clone(),
            position: moment.offset,
            log_time: moment.now,
            event_time: self.live.event_time,
            fast_event_time: self.live.fast_event_time,
            slice_committed_at: self.live.slice_committed_at,
            frontier: (frontier != EventTime::MIN).then_some(frontier),
            iec_state: known.and_then(|(_, plan)| {
                let slot = plan.state_slot()?;
                Some(self.live.counting(slot)?.raw)
            }),
            values: known.map_or_else(Vec::new, |(catalogue, plan)| {
                values(&self.live.newest, catalogue, plan)
            }),
            coverage: self.summary,
            counts: self.counts,
            windows: self.window_counts,
            alerts: self.chain.open(STATUS_ALERTS_MAX),
        }
    }
}

/// The number of a raw value.
fn number(channel: &Channel, raw: i64) -> f64 {
    match channel.raw {
        Raw::Int => channel.value(raw),
        Raw::Float => f64::from_bits(raw as u64),
    }
}

fn values(newest: &[Option<Newest>], catalogue: &Catalogue, plan: &Plan) -> Vec<LiveValue> {
    let shown = newest.iter().take(plan.shown());
    let value = |n: &Newest| {
        let channel = catalogue.channel(n.channel)?;
        Some(LiveValue {
            channel: channel.name.clone(),
            value: n.quality.counts().then(|| number(channel, n.raw)),
            time: n.time,
            quality: n.quality,
        })
    };
    shown.flatten().filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY_US: i64 = 200_000;

    fn at(ms: i64) -> LogTime {
        LogTime(1_790_000_000_000_000 + ms * 1_000)
    }

    #[test]
    fn a_document_that_a_tick_brought_does_not_hold_back_what_an_operator_watches() {
        let mut pace = Pace::default();
        pace.mark_urgent();
        assert!(pace.due(at(-10), EVERY_US));
        pace.mark();
        assert!(!pace.due(at(500), EVERY_US), "it waits for a tick");
        pace.tick();
        assert!(pace.due(at(1_000), EVERY_US), "more than a second later");
        pace.mark_urgent();
        assert!(pace.due(at(1_005), EVERY_US), "5 ms after the tick");
        pace.mark_urgent();
        assert!(!pace.due(at(1_010), EVERY_US), "too soon");
        pace.tick();
        assert!(
            pace.due(at(2_000), EVERY_US),
            "what waited goes with the tick"
        );
        pace.mark_urgent();
        assert!(pace.due(at(2_005), EVERY_US), "and holds back nothing");
    }

    #[test]
    fn urgent_documents_keep_their_distance_and_none_is_forgotten() {
        let mut pace = Pace::default();
        let mut written = Vec::new();
        // and again after a pause: nothing is said twice
        for ms in (0..2_000).step_by(10) {
            if ms < 1_000 {
                pace.mark_urgent();
            }
            if ms == 1_500 {
                pace.tick();
            }
            if pace.due(at(ms), EVERY_US) {
                written.push(ms);
            }
        }
        assert_eq!(written, [0, 200, 400, 600, 800, 1_000]);
        assert!(pace.rests());
    }
}
