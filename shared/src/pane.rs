//! The aggregate of every channel over one minute. Sums of integers, so that the order of arrival leaves no trace.
//!
//! Invariants: each reading of a record is added at most once (the caller dedupes records); what a pane says is a
//! function of the set of readings added. A channel keeps its kind and its scale under its id through all versions of a
//! catalogue; a reading that breaks this counts as bad.

mod aggregate;
mod pack;
mod slot;
mod sources;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::catalogue::{Catalogue, Channel};
use crate::id::{ChannelId, Epoch, Seq};
use crate::record::{Batch, Block, Column, Times};
use crate::time::{EventTime, MINUTE_US};
pub use aggregate::{Aggregate, ChannelAggregate, Point, merge_channels};
pub(crate) use pack::Packed;
use slot::Slot;
pub use sources::Sources;

/// What became of a batch's readings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Added {
    /// Readings that count in aggregates.
    pub counted: u64,
    /// Readings that do not, because of their quality or because they do not fit the channel.
    pub bad: u64,
    /// Those of both that the gateway marked late.
    pub late: u64,
    /// Readings marked suspect: in no pane.
    pub suspect: u64,
    /// Readings of channels that the catalogue does not have: in no pane.
    pub unknown: u64,
}

impl Added {
    pub(crate) fn join(&mut self, other: Self) {
        self.counted += other.counted;
        self.bad += other.bad;
        self.late += other.late;
        self.suspect += other.suspect;
        self.unknown += other.unknown;
    }
}

/// One minute of one turbine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pane {
    /// Its start; it ends a minute later.
    pub start: EventTime,
    /// Readings that the gateway marked late.
    late: u64,
    sources: Sources,
    /// Channels by id, those without readings too; `slots` goes along.
    ids: Vec<ChannelId>,
    slots: Vec<Slot>,
}

/// Where a row comes from; with its index the identity of a reading.
#[derive(Clone, Copy)]
struct Origin {
    epoch: Epoch,
    seq: Seq,
}

/// Rows of a column that count, with their fixed-point values.
struct Rows<'a> {
    block: &'a Block,
    at: u32,
    /// `None`: all of `range`.
    only: Option<&'a [u32]>,
    range: Range<usize>,
    raw: &'a [i64],
}

impl Pane {
    /// An empty pane.
    pub fn new(start: EventTime) -> Self {
        Self {
            start,
            late: 0,
            sources: Sources::default(),
            ids: Vec::new(),
            slots: Vec::new(),
        }
    }

    /// Adds the readings of `batch` that belong to this minute (not the suspect ones).
    pub fn add(&mut self, catalogue: &Catalogue, epoch: Epoch, seq: Seq, batch: &Batch) -> Added {
        let mut added = Added::default();
        for block in &batch.blocks {
            if block.flags.suspect {
                continue;
            }
            by_minute(&block.times, |minute, rows| {
                if minute == self.start {
                    added.join(self.add_rows(catalogue, epoch, seq, batch, block, rows));
                }
            });
        }
        added
    }

    /// Adds some rows of a block, all of which belong to this minute.
    pub(crate) fn add_rows(
        &mut self,
        catalogue: &Catalogue,
        epoch: Epoch,
        seq: Seq,
        batch: &Batch,
        block: &Block,
        rows: Range<usize>,
    ) -> Added {
        if self.ids.is_empty() {
            self.ids.extend(catalogue.channels.iter().map(|c| c.id));
            self.slots.resize_with(self.ids.len(), Slot::default);
        }
        let mut added = Added::default();
        let mut scratch = Scratch::default();
        let origin = Origin { epoch, seq };
        for (c, column) in block.columns.iter().enumerate() {
            let Some(at) = catalogue.position(column.channel) else {
                added.unknown += rows.len() as u64;
                continue;
            };
            let channel = &catalogue.channels[at];
            let slot = self.slot(at, column.channel);
            let from = column.at as usize;
            let Some(raw) = batch.raw.get(from + rows.start..from + rows.end) else {
                continue; // not from `wire::decode`, which checks this
            };
            let marked = !block.quality.is_empty() && scratch.marked(block, c, rows.clone());
            let clean = !column.float && !marked;
            let (counted, bad) = if clean {
                slot.add(
                    channel,
                    origin,
                    &Rows {
                        block,
                        at: column.at,
                        only: None,
                        range: rows.clone(),
                        raw,
                    },
                )
            } else {
                let bad = scratch.filter(channel, *column, rows.clone(), raw);
                slot.begin(channel.kind);
                slot.add_bad(bad);
                let (counted, more) = slot.add(
                    channel,
                    origin,
                    &Rows {
                        block,
                        at: column.at,
                        only: Some(&scratch.rows),
                        range: rows.clone(),
                        raw: &scratch.raw,
                    },
                );
                (counted, bad + more)
            };
            added.counted += counted;
            added.bad += bad;
        }
        if added.counted + added.bad > 0 {
            self.sources.add(epoch, seq);
        }
        if block.flags.late {
            added.late = added.counted + added.bad;
            self.late += added.late;
        }
        added
    }

    /// The slot of a channel, which is most likely where the catalogue has the channel.
    fn slot(&mut self, guess: usize, id: ChannelId) -> &mut Slot {
        let at = if self.ids.get(guess) == Some(&id) {
            guess
        } else {
            self.ids.binary_search(&id).unwrap_or_else(|at| {
                self.ids.insert(at, id);
                self.slots.insert(at, Slot::default());
                at
            })
        };
        &mut self.slots[at]
    }

    /// Readings that the gateway marked late.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// Which records its readings came from.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Memory held, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.ids.capacity() * size_of::<ChannelId>()
            + self.slots.capacity() * size_of::<Slot>()
            + self.slots.iter().map(Slot::boxed_bytes).sum::<usize>()
    }

    /// One aggregate for each channel that had a reading, by channel id.
    pub fn channels(&self, catalogue: &Catalogue) -> Vec<ChannelAggregate> {
        let mut out = Vec::new();
        self.fold_into(&mut out, catalogue);
        out
    }

    /// Adds what it says to aggregates of other panes, which are sorted by channel and stay so.
    pub(crate) fn fold_into(&self, into: &mut Vec<ChannelAggregate>, catalogue: &Catalogue) {
        if into.is_empty() {
            into.reserve_exact(self.slots.len());
        }
        let mut at = 0;
        for (id, slot) in self.ids.iter().zip(&self.slots) {
            // most often the next one
            while into.get(at).is_some_and(|c| c.channel < *id) {
                at += 1;
            }
            let known = into.get_mut(at).filter(|c| c.channel == *id);
            if let Some(known) = known {
                if slot.fold_sums(known) {
                    continue;
                }
                let modulus = catalogue.channel(*id).and_then(|c| c.modulus);
                if let Some(aggregate) = slot.aggregate(*id, modulus) {
                    known.merge(&aggregate, modulus);
                }
            } else {
                let modulus = match slot {
                    Slot::Counter(_) => catalogue.channel(*id).and_then(|c| c.modulus),
                    _ => None,
                };
                if let Some(aggregate) = slot.aggregate(*id, modulus) {
                    into.insert(at, aggregate);
                }
            }
        }
    }
}

/// The rows of a column that count, where not all do or where they need converting.
#[derive(Default)]
struct Scratch {
    rows: Vec<u32>,
    raw: Vec<i64>,
    /// Rows of the current column that do not count.
    bad: Vec<u32>,
}

impl Scratch {
    /// Collects the rows of column `c` that do not count; are there any?
    fn marked(&mut self, block: &Block, c: usize, rows: Range<usize>) -> bool {
        self.bad.clear();
        self.bad.extend(
            block
                .quality
                .iter()
                .filter(|m| usize::from(m.column) == c && !m.quality.counts())
                .map(|m| m.row)
                .filter(|row| rows.contains(&(*row as usize))),
        );
        !self.bad.is_empty()
    }

    /// Fills `rows` and `raw` with what counts; returns how many do not.
    fn filter(
        &mut self,
        channel: &Channel,
        column: Column,
        rows: Range<usize>,
        raw: &[i64],
    ) -> u64 {
        self.rows.clear();
        self.raw.clear();
        for (row, raw) in rows.clone().zip(raw) {
            let row = row as u32;
            let value = if self.bad.contains(&row) {
                None
            } else if column.float {
                channel.fixed(f64::from_bits(*raw as u64))
            } else {
                Some(*raw)
            };
            if let Some(value) = value {
                self.rows.push(row);
                self.raw.push(value);
            }
        }
        self.bad.clear();
        (rows.len() - self.rows.len()) as u64
    }
}

/// Calls `f` with each stretch of consecutive rows that belong to one minute.
pub(crate) fn by_minute(times: &Times, mut f: impl FnMut(EventTime, Range<usize>)) {
    let n = times.len();
    if n == 0 {
        return;
    }
    let (min, max) = crate::coverage::time_bounds(times);
    let minute = min.floor_to(MINUTE_US);
    if max.0.saturating_sub(minute.0) < MINUTE_US {
        f(minute, 0..n);
        return;
    }
    let mut from = 0;
    while from < n {
        let minute = times.at(from).floor_to(MINUTE_US);
        let inside = |t: EventTime| t >= minute && t.0.saturating_sub(minute.0) < MINUTE_US;
        let mut to = from + 1;
        while to < n && inside(times.at(to)) {
            to += 1;
        }
        f(minute, from..to);
        from = to;
    }
}
