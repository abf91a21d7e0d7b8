//! A realistic stream of a fleet's records, and the stages of the task over it one by one, for benchmarks and tests.
//!
//! The stages are plain functions without a clock: whoever calls them measures. Each stage does everything that the one
//! before does, so a stage's own cost is the difference.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_shared::catalogue::{Catalogue, CatalogueHash, Channel, Class, Kind, RateGroup, Raw};
use windlass_shared::coverage::Coverage;
use windlass_shared::id::{Epoch, GatewayId, RecordId, Seq, TurbineId};
use windlass_shared::record::{
    Batch, Block, Body, Column, Flags, Head, Header, Open, Predecessor, Record, Seal, Stamps, Times,
};
use windlass_shared::time::{EventTime, LogTime, SECOND_US, WallTime};
use windlass_shared::window::{WindowSettings, Windows};
use windlass_shared::wire::{self, Logged};

use crate::admit::{Admission, admit, stamps_max};
use crate::detect::{Chain, Detectors, Plans, Scene};
use crate::fleet::Fleet;
use crate::task::{Live, LogInput, Partition, TaskSettings};

/// From the end of a slice to its append, microseconds.
const DELAY_US: i64 = 150_000;

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

/// One entry of a stream.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Append time.
    pub log_time: WallTime,
    /// The turbine.
    pub key: String,
    /// `Logged`.
    pub value: Vec<u8>,
}

/// A stream of one partition.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// In log order; the offset is the index.
    pub entries: Vec<Entry>,
    /// Readings in it.
    pub readings: u64,
    /// Bytes of its records.
    pub record_bytes: u64,
}

impl Stream {
    /// All turbines of the fleet with one catalogue, `seconds` of live operation in order, with Opens and ticks.
    pub fn build(fleet: &Fleet, catalogue: &Arc<Catalogue>, seconds: i64, seed: u64) -> Self {
        let begin = EventTime(1_760_000_000 * SECOND_US);
        let mut stream = Self::default();
        let mut feeds: Vec<Feed> = fleet
            .turbines()
            .map(|(id, b)| Feed::new(b.gateway.clone(), id.clone(), catalogue.clone()))
            .collect();
        for (i, feed) in feeds.iter_mut().enumerate() {
            let mut epoch = [7; 16];
            epoch[..8].copy_from_slice(&(i as u64).to_be_bytes());
            let open = feed.open(Epoch(epoch), begin);
            stream.push(feed, &open, WallTime(begin.0));
        }
        for second in 0..seconds {
            let start = begin.plus_us(second * SECOND_US);
            let end = start.plus_us(SECOND_US);
            let now = WallTime(end.0 + DELAY_US);
            for (i, feed) in feeds.iter_mut().enumerate() {
                let raw = |c: &Channel, t| realistic(seed ^ i as u64, c, t);
                // the slow slice is open until the tenth second, so the frontier waits for it
                let slow = end.0.rem_euclid(10 * SECOND_US) == 0;
                let frontier = end.floor_to(10 * SECOND_US);
                if slow {
                    let start = end.plus_us(-10 * SECOND_US);
                    for batch in feed.slice(RateGroup::Slow, start, 10 * SECOND_US, raw) {
                        let record = feed.record(Body::Batch(batch), start);
                        stream.push(feed, &record, now);
                    }
                }
                for batch in feed.slice(RateGroup::Fast, start, SECOND_US, raw) {
                    let record = feed.record(Body::Batch(batch), frontier);
                    stream.push(feed, &record, now);
                }
            }
            stream.entries.push(Entry {
                log_time: now,
                key: String::new(),
                value: wire::encode_control(&wire::Control::Tick),
            });
        }
        stream
    }

    fn push(&mut self, feed: &Feed, record: &Record, log_time: WallTime) {
        let bytes = wire::encode(record);
        self.readings += crate::ingest::readings_of(record);
        self.record_bytes += bytes.len() as u64;
        self.entries.push(Entry {
            log_time,
            key: feed.turbine.to_string(),
            value: wire::encode_telemetry(&feed.gateway, &bytes),
        });
    }

    /// The entries as the log gives them.
    pub fn inputs(&self) -> impl Iterator<Item = LogInput<'_>> {
        self.entries.iter().zip(0..).map(|(e, offset)| LogInput {
            offset,
            log_time: e.log_time,
            writer: 1,
            key: &e.key,
            value: &e.value,
        })
    }

    /// Stage 1: decode. Returns the readings.
    pub fn decode(&self) -> u64 {
        let mut readings = 0;
        for input in self.inputs() {
            if let Some((record, _)) = decoded(&input) {
                readings += crate::ingest::readings_of(&record);
            }
        }
        readings
    }

    /// Stage 2: decode, hash, dedupe and coverage. Returns the readings that count.
    pub fn admit(&self, fleet: &Fleet) -> u64 {
        let mut turbines = BTreeMap::new();
        let mut readings = 0;
        for input in self.inputs() {
            if let Some((record, _)) = admitted(&input, fleet, &mut turbines) {
                readings += crate::ingest::readings_of(&record);
            }
        }
        readings
    }

    /// Stage 3: the same with panes and windows. Returns the windows emitted.
    pub fn windows(&self, fleet: &Fleet) -> u64 {
        self.scored(fleet, None).0
    }

    /// Stage 4: the same with the detectors. Returns the alert events.
    pub fn score(&self, fleet: &Fleet, detectors: &Arc<Detectors>) -> u64 {
        self.scored(fleet, Some(&Plans::new(detectors.clone(), fleet)))
            .1
    }

    fn scored(&self, fleet: &Fleet, plans: Option<&Plans>) -> (u64, u64) {
        let settings = WindowSettings::default();
        let mut turbines = BTreeMap::new();
        let mut states: BTreeMap<TurbineId, (Windows, Chain, Live)> = BTreeMap::new();
        let (mut results, mut emitted) = (Vec::new(), 0);
        let mut alerts = Vec::new();
        for input in self.inputs() {
            let Some((record, now)) = admitted(&input, fleet, &mut turbines) else {
                continue;
            };
            let id = &record.header.id;
            let Body::Batch(batch) = &record.body else {
                continue;
            };
            let (Some(catalogue), Some((coverage, _))) =
                (fleet.catalogue(batch.catalogue), turbines.get(&id.turbine))
            else {
                continue;
            };
            if !states.contains_key(&id.turbine) {
                let chain = Chain::new(plans.map_or(&Detectors::default(), |p| p.detectors()));
                let new = (Windows::default(), chain, Live::default());
                states.insert(id.turbine.clone(), new);
            }
            let Some((windows, chain, live)) = states.get_mut(&id.turbine) else {
                continue;
            };
            windows.add(catalogue, id.epoch, id.seq, batch, now);
            windows.poll(&settings, catalogue, coverage, now, &mut results);
            emitted += results.len() as u64;
            if let Some(plan) = plans.and_then(|p| p.of(batch.catalogue)) {
                let scene = Scene {
                    turbine: &id.turbine,
                    farm: None,
                    config_version: 1,
                    position: input.offset,
                    now,
                };
                live.take(plan, batch, &record.header);
                chain.live(&scene, plan, catalogue, live, id, batch, &mut alerts);
                if !results.is_empty() {
                    let until = coverage.settled_until();
                    chain.windows(&scene, plan, catalogue, &results, until, &mut alerts);
                }
            }
            results.clear();
        }
        (emitted, alerts.len() as u64)
    }

    /// Stage 5: the whole task, outputs included. `detectors` is the text of a
    /// `detectors.toml`. Returns the partition and how many outputs it made.
    pub fn task(
        &self,
        settings: &Arc<TaskSettings>,
        fleet: &Arc<Fleet>,
        detectors: Option<&str>,
    ) -> (Partition, u64) {
        let mut partition = Partition::new(settings.clone(), fleet.clone());
        let (mut out, mut outputs) = (Vec::new(), 0);
        let config = detectors.map(|toml| {
            wire::encode_control(&wire::Control::DetectorConfig {
                version: 1,
                toml: toml.to_owned(),
            })
        });
        if let (Some(value), Some(first)) = (&config, self.inputs().next()) {
            partition.apply(&LogInput { value, ..first }, &mut out);
        }
        for input in self.inputs() {
            let offset = input.offset + u64::from(config.is_some());
            let input = LogInput { offset, ..input };
            partition.apply(&input, &mut out);
            outputs += out.len() as u64;
            out.clear();
        }
        (partition, outputs)
    }
}

fn decoded(input: &LogInput) -> Option<(Record, Vec<u8>)> {
    match wire::decode_logged(input.value) {
        Ok(Logged::Telemetry { record, .. }) => Some((wire::decode(&record).ok()?, record)),
        _ => None,
    }
}

type Histories = BTreeMap<TurbineId, (Coverage, Option<CatalogueHash>)>;

fn admitted(
    input: &LogInput,
    fleet: &Fleet,
    turbines: &mut Histories,
) -> Option<(Record, LogTime)> {
    let (record, bytes) = decoded(input)?;
    let hash = wire::hash(&bytes);
    let (coverage, speaks) = turbines
        .entry(record.header.id.turbine.clone())
        .or_default();
    let now = LogTime(input.log_time.0);
    let limit = stamps_max(now, input.log_time, 300 * SECOND_US);
    let admission = admit(coverage, speaks, fleet, &record, &hash, limit);
    (admission == Admission::Counts).then_some((record, now))
}
