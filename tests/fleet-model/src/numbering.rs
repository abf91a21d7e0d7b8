//! Rows as wire records with epochs, seqs, stamps and chain, as a gateway that was never cut off would have sent them.
//!
//! Invariants: seq 1 is the Open, the last record a Seal; a batch has one class and one rate group; a record's frontier
//! passes no reading that is still to come; the bytes are a function of the rows, the seed and the turbine.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_shared::catalogue::{Catalogue, Class, RateGroup, Raw};
use windlass_shared::id::{Epoch, RecordId, Seq, TurbineId};
use windlass_shared::record::{
    Batch, Block, Body, Column, Flags, Head, Header, Open, Quality, QualityMark, Record, Seal,
    Stamps, Times,
};
use windlass_shared::time::{EventTime, WallTime};
use windlass_shared::wire;

use crate::noise::{key_of, mix};
use crate::turbine::Due;

type Readings = Vec<(i64, Quality)>;

/// Readings that wait for the end of their slice.
#[derive(Clone, Debug, Default)]
struct Slice {
    ends: i64,
    first: i64,
    /// By position in the catalogue: times, and readings beside them.
    columns: BTreeMap<u16, (Vec<EventTime>, Readings)>,
}

/// Numbers the readings of one turbine in one epoch.
#[derive(Clone, Debug)]
pub struct Numbering {
    turbine: TurbineId,
    catalogue: Arc<Catalogue>,
    epoch: Epoch,
    seq: Seq,
    ceiling: EventTime,
    frontier: EventTime,
    head: Head,
    slices: BTreeMap<(RateGroup, Class), Slice>,
}

impl Numbering {
    /// Begins an epoch at `begins`; its Open goes to `out`.
    pub fn new(
        turbine: TurbineId,
        catalogue: Arc<Catalogue>,
        seed: u64,
        begins: EventTime,
        out: &mut Vec<Vec<u8>>,
    ) -> Self {
        let key = mix(key_of(seed, turbine.as_str()), begins.0 as u64);
        let mut epoch = [0; 16];
        epoch[..8].copy_from_slice(&key.to_be_bytes());
        epoch[8..].copy_from_slice(&mix(key, 1).to_be_bytes());
        let mut numbering = Self {
            turbine,
            catalogue,
            epoch: Epoch(epoch),
            seq: Seq(0),
            ceiling: EventTime::MIN,
            frontier: begins,
            head: Head::default(),
            slices: BTreeMap::new(),
        };
        let open = Open {
            predecessor: None,
            oldest_held: numbering.epoch,
            not_before: begins,
            agent_version: concat!("windlass-fleet ", env!("CARGO_PKG_VERSION")).into(),
        };
        numbering.record(begins, EventTime::MIN, begins, Body::Open(open), out);
        numbering
    }

    /// Takes a row; records that it closes go to `out`. A row stands for `period_us`.
    pub fn add(&mut self, due: &Due, period_us: i64, out: &mut Vec<Vec<u8>>) {
        self.close(due.at, out);
        let mut bad = due.bad.iter().peekable();
        for (i, (position, raw)) in due.channels.iter().zip(due.raw).enumerate() {
            let channel = &self.catalogue.channels[usize::from(*position)];
            let quality = bad
                .next_if(|(at, _)| usize::from(*at) == i)
                .map_or(Quality::Good, |(_, q)| *q);
            let slice = self
                .slices
                .entry((channel.rate_group, channel.class))
                .or_default();
            if slice.columns.is_empty() {
                let length = channel.rate_group.slice_us().max(1);
                slice.first = due.at.0;
                slice.ends = (due.at.0 - due.at.0.rem_euclid(length) + length)
                    .max(if length == 1 { 0 } else { due.at.0 + period_us });
            }
            let (times, readings) = slice.columns.entry(*position).or_default();
            times.push(due.at);
            readings.push((*raw, quality));
        }
        // events go at once
        let event = |k: &(RateGroup, Class)| k.0 == RateGroup::Event;
        let at_once: Vec<_> = self.slices.keys().copied().filter(event).collect();
        for key in at_once {
            self.emit(key, due.at, out);
        }
    }

    /// Everything that waits, and a Seal: `ends` is behind the last row.
    pub fn finish(mut self, ends: EventTime, out: &mut Vec<Vec<u8>>) {
        self.close(EventTime::MAX, out);
        let seal = Seal {
            upto: self.seq,
            head: self.head,
            signature: Vec::new(),
        };
        self.record(ends, EventTime::MIN, ends, Body::Seal(seal), out);
    }

    /// Emits slices that end at or before `now`.
    fn close(&mut self, now: EventTime, out: &mut Vec<Vec<u8>>) {
        let mut ended: Vec<(i64, i64, (RateGroup, Class))> = self
            .slices
            .iter()
            .filter(|(_, s)| s.ends <= now.0)
            .map(|(k, s)| (s.ends, s.first, *k))
            .collect();
        ended.sort_unstable();
        for (ends, _, key) in ended {
            self.emit(key, EventTime(ends.min(now.0)), out);
        }
    }

    /// Numbers one slice; `now`: readings from here on are still to come.
    fn emit(&mut self, key: (RateGroup, Class), now: EventTime, out: &mut Vec<Vec<u8>>) {
        let Some(slice) = self.slices.remove(&key) else {
            return;
        };
        let latest = slice
            .columns
            .values()
            .filter_map(|(t, _)| t.last())
            .max()
            .copied();
        let waiting = self.slices.values().map(|s| s.first).min().unwrap_or(now.0);
        let bound = EventTime(waiting.min(now.0));
        let batch = self.batch(key, slice);
        let latest = latest.unwrap_or(EventTime::MIN);
        self.record(now, latest, bound, Body::Batch(batch), out);
    }

    fn batch(&self, (rate_group, class): (RateGroup, Class), slice: Slice) -> Batch {
        let mut blocks: BTreeMap<Vec<EventTime>, Vec<(u16, Readings)>> = BTreeMap::new();
        for (position, (times, readings)) in slice.columns {
            blocks.entry(times).or_default().push((position, readings));
        }
        let mut raw = Vec::new();
        let blocks = blocks
            .into_iter()
            .map(|(times, columns)| self.block(times, &columns, &mut raw))
            .collect();
        Batch {
            catalogue: self.catalogue.hash,
            class,
            rate_group,
            blocks,
            raw,
        }
    }

    fn block(
        &self,
        times: Vec<EventTime>,
        columns: &[(u16, Readings)],
        raw: &mut Vec<i64>,
    ) -> Block {
        let mut quality = Vec::new();
        let mut listed = Vec::with_capacity(columns.len());
        for (index, (position, readings)) in columns.iter().enumerate() {
            let channel = &self.catalogue.channels[usize::from(*position)];
            listed.push(Column {
                channel: channel.id,
                float: channel.raw == Raw::Float,
                at: raw.len() as u32,
            });
            for (row, (value, found)) in readings.iter().enumerate() {
                raw.push(*value);
                if *found != Quality::Good {
                    quality.push(QualityMark {
                        column: index as u16,
                        row: row as u32,
                        quality: *found,
                    });
                }
            }
        }
        Block {
            flags: Flags::default(),
            times: regular(times),
            columns: listed,
            quality,
        }
    }

    fn record(
        &mut self,
        now: EventTime,
        latest: EventTime,
        bound: EventTime,
        body: Body,
        out: &mut Vec<Vec<u8>>,
    ) {
        let stamps = Stamps {
            prev_ceiling: self.ceiling,
            ceiling: self.ceiling.max(latest),
            frontier: self.frontier.max(bound),
        };
        self.seq = self.seq.next();
        let record = Record {
            header: Header {
                id: RecordId {
                    turbine: self.turbine.clone(),
                    epoch: self.epoch,
                    seq: self.seq,
                },
                stamps,
                committed_at: WallTime(now.0.max(self.frontier.0)),
                prev_head: self.head,
            },
            body,
        };
        let bytes = wire::encode(&record);
        self.ceiling = stamps.ceiling;
        self.frontier = stamps.frontier;
        self.head = wire::next_head(&self.head, &wire::hash(&bytes));
        out.push(bytes);
    }
}

fn regular(times: Vec<EventTime>) -> Times {
    let period_us = match times.as_slice() {
        [a, b, ..] => b.0 - a.0,
        _ => 0,
    };
    let even = times
        .windows(2)
        .all(|w| w[1].0 - w[0].0 == period_us && period_us > 0);
    if even {
        Times::Regular {
            start: times[0],
            period_us,
            n: times.len() as u32,
        }
    } else {
        Times::Listed(times)
    }
}
