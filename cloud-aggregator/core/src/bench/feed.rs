//! One turbine's gateway, boiled down to what it numbers and stamps, and values that are like the field's.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_shared::catalogue::{Catalogue, Channel, Class, Kind, RateGroup, Raw};
use windlass_shared::id::{Epoch, GatewayId, RecordId, Seq, TurbineId};
use windlass_shared::record::{
    Batch, Block, Body, Column, Flags, Head, Header, Open, Predecessor, Record, Seal, Stamps, Times,
};
use windlass_shared::time::{EventTime, SECOND_US, WallTime};
use windlass_shared::wire;

/// One turbine's gateway, boiled down to what it numbers and stamps.
#[derive(Clone, Debug)]
pub struct Feed {
    /// Who sends.
    pub gateway: GatewayId,
    /// Whose.
    pub turbine: TurbineId,
    catalogue: Arc<Catalogue>,
    epoch: Epoch,
    seq: u64,
    head: Head,
    ceiling: EventTime,
    frontier: EventTime,
}

impl Feed {
    /// Before the first epoch.
    pub fn new(gateway: GatewayId, turbine: TurbineId, catalogue: Arc<Catalogue>) -> Self {
        Self {
            gateway,
            turbine,
            catalogue,
            epoch: Epoch([0; 16]),
            seq: 0,
            head: Head::default(),
            ceiling: EventTime::MIN,
            frontier: EventTime::MIN,
        }
    }

    /// The epoch it is in.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Its newest seq.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Begins an epoch at `at`, linked to the one before.
    pub fn open(&mut self, epoch: Epoch, at: EventTime) -> Record {
        let predecessor = (self.seq > 0).then_some(Predecessor {
            epoch: self.epoch,
            last_seq: Some(Seq(self.seq)),
            ceiling: Some(self.ceiling),
            head: self.head,
        });
        let oldest_held = predecessor.as_ref().map_or(epoch, |p| p.epoch);
        self.epoch = epoch;
        self.seq = 0;
        self.head = Head::default();
        self.ceiling = EventTime::MIN;
        self.frontier = at;
        let open = Open {
            predecessor,
            oldest_held,
            not_before: at,
            agent_version: "feed".to_owned(),
        };
        self.record(Body::Open(open), at)
    }

    /// The next record; `frontier` moves on to what it is given.
    pub fn record(&mut self, body: Body, frontier: EventTime) -> Record {
        let latest = match &body {
            Body::Batch(batch) => latest(batch),
            _ => EventTime::MIN,
        };
        let prev_ceiling = self.ceiling;
        self.ceiling = prev_ceiling.max(latest);
        self.frontier = self.frontier.max(frontier);
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
                    frontier: self.frontier,
                },
                committed_at: WallTime(self.frontier.0.max(self.ceiling.0).max(0)),
                prev_head: self.head,
            },
            body,
        };
        let bytes = wire::encode(&record);
        self.head = wire::next_head(&self.head, &wire::hash(&bytes));
        record
    }

    /// A Seal of everything so far.
    pub fn seal(&mut self) -> Record {
        let seal = Seal {
            upto: Seq(self.seq),
            head: self.head,
            signature: Vec::new(),
        };
        self.record(Body::Seal(seal), self.frontier)
    }

    /// A slice of one rate group that begins at `start`, one batch for each class, with `raw` of each channel at each time
    /// of its period.
    pub fn slice(
        &self,
        group: RateGroup,
        start: EventTime,
        len_us: i64,
        raw: impl Fn(&Channel, EventTime) -> i64,
    ) -> Vec<Batch> {
        [Class::Compliance, Class::Condition, Class::Diagnostic]
            .into_iter()
            .filter_map(|class| self.batch(group, class, start, len_us, &raw))
            .collect()
    }

    fn batch(
        &self,
        group: RateGroup,
        class: Class,
        start: EventTime,
        len_us: i64,
        raw: &impl Fn(&Channel, EventTime) -> i64,
    ) -> Option<Batch> {
        let mut by_period: BTreeMap<i64, Vec<&Channel>> = BTreeMap::new();
        for channel in &self.catalogue.channels {
            if channel.rate_group == group && channel.class == class && channel.period_us > 0 {
                by_period
                    .entry(channel.period_us)
                    .or_default()
                    .push(channel);
            }
        }
        let mut batch = Batch {
            catalogue: self.catalogue.hash,
            class,
            rate_group: group,
            blocks: Vec::new(),
            raw: Vec::new(),
        };
        for (period_us, channels) in by_period {
            let first = start.plus_us((-start.0).rem_euclid(period_us));
            let n = (start.0 + len_us - first.0 + period_us - 1).div_euclid(period_us);
            if n <= 0 {
                continue;
            }
            let times = Times::Regular {
                start: first,
                period_us: if n == 1 { 0 } else { period_us },
                n: n as u32,
            };
            let mut columns = Vec::new();
            for channel in channels {
                columns.push(Column {
                    channel: channel.id,
                    float: channel.raw == Raw::Float,
                    at: batch.raw.len() as u32,
                });
                batch.raw.extend(times.iter().map(|t| raw(channel, t)));
            }
            batch.blocks.push(Block {
                flags: Flags::default(),
                times,
                columns,
                quality: Vec::new(),
            });
        }
        (!batch.raw.is_empty()).then_some(batch)
    }
}

/// Latest event time that counts for stamps.
fn latest(batch: &Batch) -> EventTime {
    let on_time = batch.blocks.iter().filter(|b| b.flags == Flags::default());
    let times = on_time.flat_map(|b| b.times.iter());
    times.max().unwrap_or(EventTime::MIN)
}

/// A number from 0 to `n - 1` that depends on its arguments alone (`SplitMix64`).
pub fn noise(seed: u64, a: u64, b: u64, n: u64) -> u64 {
    let mut z = seed
        .wrapping_add(a.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .wrapping_add(b.wrapping_mul(0xbf58_476d_1ce4_e5b9));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % n.max(1)
}

/// A raw value as a healthy turbine in operation might have it: slow change with a little noise; states and setpoints
/// constant.
pub fn realistic(seed: u64, channel: &Channel, time: EventTime) -> i64 {
    let second = time.0.div_euclid(SECOND_US);
    let id = u64::from(channel.id.0);
    let nominal = match channel.unit.as_str() {
        "°C" => Some(40.0),
        "bar" => Some(3.0),
        "mm/s" => Some(0.8),
        "m/s2" => Some(0.1),
        "rpm" => Some(12.0),
        "kW" => Some(1_500.0),
        _ => None,
    };
    let base = nominal
        .and_then(|value| channel.raw_nearest(value))
        .unwrap_or(200 + noise(seed, id, 1, 3_000) as i64);
    match channel.kind {
        Kind::State | Kind::Event => 1,
        Kind::Setpoint => base,
        Kind::Counter => {
            let modulus = channel.modulus.unwrap_or(i64::MAX);
            (base + second / 10).rem_euclid(modulus)
        }
        _ => {
            let period = 300 + noise(seed, id, 2, 3_300) as i64;
            let phase = second.rem_euclid(2 * period) - period;
            let wave = phase.abs() * 60 / period;
            let jitter = noise(seed, id, time.0 as u64 | 1 << 63, 7) as i64;
            let raw = base + wave + jitter;
            match channel.raw {
                Raw::Int => raw,
                Raw::Float => (raw as f64 / 8.0).to_bits() as i64,
            }
        }
    }
}
