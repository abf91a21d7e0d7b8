//! A turbine's signals for measurements of size and speed: each channel is a random walk pulled back to its usual value,
//! with a sensor's white noise on top, in steps of the channel's scale. Walk and noise are chosen by unit, from what such
//! sensors show in one second; states and setpoints stand still, counters count.
//!
//! Deterministic: one seed, one sequence.

#![allow(clippy::unwrap_used)] // a test may; the lint only knows the functions marked as tests
#![allow(dead_code)] // each of its users needs a part

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use windlass_shared::catalogue::{Catalogue, Channel, Class, Kind, RateGroup, Raw};
use windlass_shared::id::{Epoch, GatewayId, RecordId, Seq, TurbineId};
use windlass_shared::record::{
    Batch, Block, Body, Column, Flags, Head, Header, Record, Stamps, Times,
};
use windlass_shared::time::{EventTime, SECOND_US, WallTime};
use windlass_shared::wire;

/// Midnight of 2026-06-01, UTC.
const START_US: i64 = 1_780_272_000_000_000;

struct Signal {
    usual: f64,
    walk: f64,
    noise: f64,
    now: f64,
}

/// Usual value, step of the walk in a second and noise of the sensor, in the channel's unit.
fn character(c: &Channel) -> (f64, f64, f64) {
    let fine = c.resolution() < 0.05;
    match (c.kind, c.unit.as_str()) {
        (Kind::State | Kind::Event, _) => (1.0, 0.0, 0.0),
        (Kind::Setpoint, _) => (1_000.0, 0.0, 0.0),
        (Kind::Rms, "m/s2") if c.resolution() < 0.005 => (0.12, 0.001, 0.004),
        (Kind::Rms, "m/s2") => (2.3, 0.02, 0.08),
        (Kind::Rms, _) => (1.4, 0.01, 0.04),
        (Kind::Angle, _) if fine => (2.5, 0.1, 0.01),
        (Kind::Angle, _) => (231.0, 0.3, 0.5),
        (_, "kW" | "kVA") => (1_800.0, 12.0, 4.0),
        (_, "kvar") => (120.0, 2.0, 1.0),
        (_, "m/s") => (9.5, 0.2, 0.1),
        (_, "rpm") if fine => (14.2, 0.02, 0.005),
        (_, "rpm") => (1_480.0, 2.0, 0.5),
        (_, "Hz") => (50.0, 0.002, 0.001),
        (_, "°C") => (55.0, 0.02, 0.03),
        (_, "A") if c.resolution() >= 1.0 => (1_900.0, 8.0, 3.0),
        (_, "A") => (12.0, 0.1, 0.3),
        (_, "V") if fine => (24.1, 0.002, 0.01),
        (_, "V") => (398.0, 0.1, 0.3),
        (_, "kV") => (20.3, 0.005, 0.01),
        (_, "bar") if fine => (3.4, 0.003, 0.01),
        (_, "bar") => (160.0, 0.1, 0.3),
        (_, "kNm") => (900.0, 10.0, 10.0),
        (_, "m/s2") => (0.0, 0.005, 0.02),
        (_, "%") => (40.0, 0.03, 0.05),
        (_, "mm") => (12.0, 0.0, 0.01),
        (_, "deg" | "deg/s") => (0.5, 0.02, 0.02),
        _ => (100.0, 0.05, 0.3),
    }
}

/// The readings of one turbine as the gateway would cut and encode them.
pub struct Turbine {
    catalogue: Catalogue,
    signals: Vec<Signal>,
    rng: ChaCha8Rng,
    second: i64,
    seq: u64,
    ceiling: EventTime,
    head: Head,
    /// Raw values of the current slow slice: by channel position, by second.
    slice: Vec<Vec<i64>>,
}

impl Turbine {
    pub fn new(catalogue: Catalogue, seed: u64) -> Self {
        let signals = catalogue
            .channels
            .iter()
            .map(|c| {
                let (usual, walk, noise) = character(c);
                Signal {
                    usual,
                    walk,
                    noise,
                    now: usual,
                }
            })
            .collect();
        Self {
            slice: vec![Vec::new(); catalogue.channels.len()],
            catalogue,
            signals,
            rng: ChaCha8Rng::seed_from_u64(seed),
            second: 0,
            seq: 1,
            ceiling: EventTime::MIN,
            head: Head([7; 32]),
        }
    }

    /// Roughly normal, deviation 1: the sum of twelve uniform numbers.
    fn normal(rng: &mut ChaCha8Rng) -> f64 {
        (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
    }

    fn sample(&mut self, position: usize) -> i64 {
        let channel = &self.catalogue.channels[position];
        let signal = &mut self.signals[position];
        if channel.kind == Kind::Counter {
            signal.now += f64::from(self.rng.random_range(0u8..2));
            return 4_711_000 + signal.now as i64;
        }
        let step = Self::normal(&mut self.rng) * signal.walk;
        signal.now += step + (signal.usual - signal.now) * 0.01;
        let seen = signal.now + Self::normal(&mut self.rng) * signal.noise;
        channel.raw_nearest(seen).unwrap()
    }

    /// The records of the next ten seconds, in the order of their seqs.
    pub fn ten_seconds(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        let from = self.second;
        self.slice.iter_mut().for_each(Vec::clear);
        for _ in 0..10 {
            for position in 0..self.catalogue.channels.len() {
                let period = self.catalogue.channels[position].period_us;
                if period > 0 && self.second * SECOND_US % period == 0 {
                    let raw = self.sample(position);
                    self.slice[position].push(raw);
                }
            }
            let last = (self.second - from) as usize;
            let fast = self.batch(
                RateGroup::Fast,
                Class::Compliance,
                self.second,
                last..last + 1,
            );
            self.second += 1;
            records.extend(fast);
        }
        for class in Class::ALL {
            records.extend(self.batch(RateGroup::Slow, class, from, 0..10));
        }
        records
    }

    fn batch(
        &mut self,
        rate_group: RateGroup,
        class: Class,
        start: i64,
        seconds: std::ops::Range<usize>,
    ) -> Option<Record> {
        let mut raw = Vec::new();
        let mut blocks: Vec<Block> = Vec::new();
        for period_s in [1, 10] {
            let rows = if period_s == 1 { seconds.len() } else { 1 };
            let mut columns = Vec::new();
            for (position, c) in self.catalogue.channels.iter().enumerate() {
                let fits = c.class == class
                    && c.rate_group == rate_group
                    && c.period_us == period_s * SECOND_US;
                if fits {
                    columns.push(Column {
                        channel: c.id,
                        float: c.raw == Raw::Float,
                        at: raw.len() as u32,
                    });
                    let from = if period_s == 1 { seconds.start } else { 0 };
                    raw.extend_from_slice(&self.slice[position][from..from + rows]);
                }
            }
            if !columns.is_empty() {
                blocks.push(Block {
                    flags: Flags::default(),
                    times: Times::Regular {
                        start: EventTime(START_US + start * SECOND_US),
                        period_us: period_s * SECOND_US,
                        n: rows as u32,
                    },
                    columns,
                    quality: Vec::new(),
                });
            }
        }
        if blocks.is_empty() {
            return None;
        }
        let batch = Batch {
            catalogue: self.catalogue.hash,
            class,
            rate_group,
            blocks,
            raw,
        };
        Some(self.record(batch))
    }

    fn record(&mut self, batch: Batch) -> Record {
        let latest = batch.blocks.iter().flat_map(|b| b.times.iter()).max();
        let prev_ceiling = self.ceiling;
        self.ceiling = prev_ceiling.max(latest.unwrap());
        self.seq += 1;
        // a slice is closed, numbered and committed a little after its end
        let closed = START_US + (self.second + 1) * SECOND_US + 37_411;
        let record = Record {
            header: Header {
                id: RecordId {
                    turbine: TurbineId::new("HRW-T042").unwrap(),
                    epoch: Epoch(*b"0123456789abcdef"),
                    seq: Seq(100_000 + self.seq),
                },
                stamps: Stamps {
                    ceiling: self.ceiling,
                    prev_ceiling,
                    frontier: EventTime(START_US + self.second / 10 * 10 * SECOND_US),
                },
                committed_at: WallTime(closed),
                prev_head: self.head,
            },
            body: Body::Batch(batch),
        };
        self.head = wire::next_head(&self.head, &wire::hash(&wire::encode(&record)));
        record
    }
}

/// Bytes of the MQTT 3.1.1 PUBLISH (QoS 1) that carries a record.
pub fn mqtt_bytes(record: &Record, payload: usize) -> usize {
    let gateway = GatewayId::new("HRW-GW07").unwrap();
    let variable = 2 + wire::up_topic(&gateway, &record.header.id).len() + 2;
    let remaining = variable + payload;
    let length = match remaining {
        0..128 => 1,
        128..16_384 => 2,
        _ => 3,
    };
    1 + length + remaining
}
