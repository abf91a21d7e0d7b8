//! What a turbine's gateway would send: records of the realistic profile with right stamps and chain, from a seed.
//!
//! Fast channels go every second, slow ones every ten; the values walk as sensors do. Used by the benchmark and by tests,
//! which need bytes that are like the field's without an agent.

use std::sync::Arc;

use windlass_shared::catalogue::{Catalogue, Channel, Class, Kind, RateGroup, Raw};
use windlass_shared::id::{Epoch, RecordId, Seq, TurbineId};
use windlass_shared::record::{
    Batch, Block, Body, Column, Flags, Head, Header, Open, Predecessor, Record, Stamps, Times,
};
use windlass_shared::time::{EventTime, SECOND_US, WallTime};
use windlass_shared::wire;

/// Seconds in a slow slice.
const SLOW_S: i64 = 10;

/// A record and its bytes.
#[derive(Clone, Debug)]
pub struct Sent {
    /// As a model.
    pub record: Record,
    /// As they travel.
    pub bytes: Vec<u8>,
}

impl Sent {
    /// Readings in it.
    pub fn readings(&self) -> u64 {
        match &self.record.body {
            Body::Batch(batch) => batch.raw.len() as u64,
            _ => 0,
        }
    }
}

/// One run of one turbine's gateway.
#[derive(Clone, Debug)]
pub struct Load {
    catalogue: Arc<Catalogue>,
    turbine: TurbineId,
    epoch: Epoch,
    seed: u64,
    values: Vec<i64>,
    /// Slow readings since the slice began, by channel position.
    slice: Vec<Vec<i64>>,
    start: EventTime,
    second: i64,
    seq: u64,
    ceiling: EventTime,
    frontier: EventTime,
    head: Head,
}

impl Load {
    /// Begins at `start`, which is taken down to ten seconds.
    pub fn new(
        catalogue: Arc<Catalogue>,
        turbine: TurbineId,
        epoch: Epoch,
        start: EventTime,
    ) -> Self {
        let seed = turbine
            .as_str()
            .bytes()
            .fold(u64::from(epoch.0[0]) + 1, |s, b| {
                s.wrapping_mul(31).wrapping_add(b.into())
            });
        let values = catalogue.channels.iter().map(usual).collect();
        let start = start.floor_to(SLOW_S * SECOND_US);
        Self {
            slice: vec![Vec::new(); catalogue.channels.len()],
            catalogue,
            turbine,
            epoch,
            seed,
            values,
            start,
            second: 0,
            seq: 0,
            ceiling: EventTime::MIN,
            frontier: start,
            head: Head::default(),
        }
    }

    /// The next run on the same disk, which knows how this one ended.
    #[must_use]
    pub fn successor(&self, epoch: Epoch) -> (Self, Sent) {
        let mut next = Self::new(
            Arc::clone(&self.catalogue),
            self.turbine.clone(),
            epoch,
            self.now(),
        );
        let predecessor = Predecessor {
            epoch: self.epoch,
            last_seq: Some(Seq(self.seq)),
            ceiling: Some(self.ceiling),
            head: self.head,
        };
        let open = next.open(Some(predecessor));
        (next, open)
    }

    /// The first record.
    pub fn open(&mut self, predecessor: Option<Predecessor>) -> Sent {
        let open = Open {
            predecessor,
            oldest_held: self.epoch,
            not_before: self.start,
            agent_version: "load".into(),
        };
        self.record(Body::Open(open), self.frontier)
    }

    /// The time up to which everything has been sampled.
    pub fn now(&self) -> EventTime {
        self.start.plus_us(self.second * SECOND_US)
    }

    /// The records of the next second.
    pub fn next_second(&mut self) -> Vec<Sent> {
        let at = self.now();
        for position in 0..self.values.len() {
            let channel = &self.catalogue.channels[position];
            let period_s = channel.period_us / SECOND_US;
            if period_s == 0 || self.second % period_s != 0 {
                continue;
            }
            let value = self.sample(position);
            self.slice[position].push(value);
        }
        let mut sent = Vec::new();
        for class in Class::ALL {
            if let Some(body) = self.batch(RateGroup::Fast, class, at) {
                sent.push(self.close(body, at, self.frontier));
            }
        }
        self.second += 1;
        if self.second % SLOW_S == 0 {
            let from = self.start.plus_us((self.second - SLOW_S) * SECOND_US);
            let bodies: Vec<Body> = Class::ALL
                .into_iter()
                .filter_map(|class| self.batch(RateGroup::Slow, class, from))
                .collect();
            let last = bodies.len().saturating_sub(1);
            for (i, body) in bodies.into_iter().enumerate() {
                let frontier = if i == last { self.now() } else { self.frontier };
                sent.push(self.close(body, at, frontier));
            }
            self.slice.iter_mut().for_each(Vec::clear);
        }
        sent
    }

    /// A batch of what was sampled since `from`: the newest second of fast channels, the whole slice of slow ones.
    fn batch(&mut self, rate_group: RateGroup, class: Class, from: EventTime) -> Option<Body> {
        let mut raw = Vec::new();
        let mut blocks: Vec<Block> = Vec::new();
        for (position, channel) in self.catalogue.channels.iter().enumerate() {
            if channel.rate_group != rate_group || channel.class != class {
                continue;
            }
            let rows = match rate_group {
                RateGroup::Fast => std::mem::take(&mut self.slice[position]),
                _ => self.slice[position].clone(),
            };
            if rows.is_empty() {
                continue;
            }
            let times = Times::Regular {
                start: from,
                period_us: channel.period_us,
                n: rows.len() as u32,
            };
            let column = Column {
                channel: channel.id,
                float: channel.raw == Raw::Float,
                at: raw.len() as u32,
            };
            raw.extend(rows);
            match blocks.iter_mut().find(|b| b.times == times) {
                Some(block) => block.columns.push(column),
                None => blocks.push(Block {
                    flags: Flags::default(),
                    times,
                    columns: vec![column],
                    quality: Vec::new(),
                }),
            }
        }
        if blocks.is_empty() {
            return None;
        }
        Some(Body::Batch(in_block_order(Batch {
            catalogue: self.catalogue.hash,
            class,
            rate_group,
            blocks,
            raw,
        })))
    }

    fn close(&mut self, body: Body, newest: EventTime, frontier: EventTime) -> Sent {
        let prev_ceiling = self.ceiling;
        self.ceiling = self.ceiling.max(newest);
        let sent = self.stamped(body, prev_ceiling, frontier);
        self.frontier = frontier;
        sent
    }

    fn record(&mut self, body: Body, frontier: EventTime) -> Sent {
        self.stamped(body, self.ceiling, frontier)
    }

    fn stamped(&mut self, body: Body, prev_ceiling: EventTime, frontier: EventTime) -> Sent {
        self.seq += 1;
        let record = Record {
            header: Header {
                id: RecordId {
                    turbine: self.turbine.clone(),
                    epoch: self.epoch,
                    seq: Seq(self.seq),
                },
                stamps: Stamps {
                    ceiling: self.ceiling,
                    prev_ceiling,
                    frontier,
                },
                committed_at: WallTime(self.now().0 + SECOND_US),
                prev_head: self.head,
            },
            body,
        };
        let bytes = wire::encode(&record);
        self.head = wire::next_head(&self.head, &wire::hash(&bytes));
        Sent { record, bytes }
    }

    fn sample(&mut self, position: usize) -> i64 {
        let random = self.random();
        let channel = &self.catalogue.channels[position];
        let usual = usual(channel);
        let value = &mut self.values[position];
        match (channel.kind, channel.raw) {
            (_, Raw::Float) => {
                return (random.rem_euclid(1_000_000) as f64 / 1e4).to_bits() as i64;
            }
            (Kind::State | Kind::Setpoint | Kind::Event, _) => {}
            (Kind::Counter, _) => *value += random & 1,
            _ => {
                *value += random % 5 - 2;
                *value -= (*value - usual) / 64;
            }
        }
        *value
    }

    /// A number from 0 on, by splitmix64.
    fn random(&mut self) -> i64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 2) as i64
    }
}

/// A value in the middle of what a channel shows.
fn usual(channel: &Channel) -> i64 {
    match channel.kind {
        Kind::State | Kind::Setpoint | Kind::Event => 1,
        Kind::Counter => 4_711_000,
        _ => 1_000 + i64::from(channel.id.0) % 50 * 10,
    }
}

/// Values lie block after block: columns were collected in channel order.
fn in_block_order(mut batch: Batch) -> Batch {
    let mut raw = Vec::with_capacity(batch.raw.len());
    for block in &mut batch.blocks {
        let rows = block.times.len();
        for column in &mut block.columns {
            let at = column.at as usize;
            column.at = raw.len() as u32;
            raw.extend_from_slice(&batch.raw[at..at + rows]);
        }
    }
    batch.raw = raw;
    batch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_sends_is_valid_and_complete() {
        let catalogue = Arc::new(super::super::profile().unwrap());
        let turbine = TurbineId::new("T1").unwrap();
        let mut load = Load::new(
            Arc::clone(&catalogue),
            turbine,
            Epoch([1; 16]),
            EventTime(1_790_000_000 * SECOND_US),
        );
        let mut all = vec![load.open(None)];
        for _ in 0..20 {
            all.extend(load.next_second());
        }
        let mut head = Head::default();
        for sent in &all {
            wire::check(&sent.record).unwrap();
            assert_eq!(wire::decode(&sent.bytes).unwrap(), sent.record);
            assert_eq!(sent.record.header.prev_head, head);
            head = wire::next_head(&head, &wire::hash(&sent.bytes));
        }
        let readings: u64 = all.iter().map(Sent::readings).sum();
        assert_eq!(readings, (20.0 * catalogue.readings_per_s()).round() as u64);
        assert_eq!(
            all.last().unwrap().record.header.stamps.frontier,
            load.now()
        );
    }
}
