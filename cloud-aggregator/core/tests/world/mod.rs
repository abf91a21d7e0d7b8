//! A small world for the tests of the task: a fleet, its gateways' records, a log, and what the task makes of it.

#![allow(dead_code, missing_docs)] // each test file uses its part
#![allow(clippy::unwrap_used)] // a test that has not what it expects fails

use std::sync::Arc;

use windlass_cloud_core::bench::Feed;
use windlass_cloud_core::fleet::Fleet;
use windlass_cloud_core::output::{AlertEvent, DeadLetter, FeatureRow, StatusDoc};
use windlass_cloud_core::task::{LogInput, Partition, TaskOutput, TaskSettings};
use windlass_cloud_core::topic::Topic;
use windlass_shared::catalogue::{Catalogue, Channel, RateGroup};
use windlass_shared::id::{Epoch, GatewayId, TurbineId};
use windlass_shared::record::{Body, Record};
use windlass_shared::time::{EventTime, SECOND_US, WallTime};
use windlass_shared::wire::{self, Control, Downlink};

pub const ONSHORE: &str = include_str!("../../../../hardware/profiles/onshore-3mw.toml");
pub const MACHINE: &str = include_str!("../../../../hardware/profiles/machine-temperature.toml");
pub const GEARBOX: &str = include_str!("../../../../hardware/profiles/gearbox-history.toml");
pub const SMALL: &str = r#"
name = "small"
version = 1
channels = [
  { id = 1, name = "power", unit = "kW", scale = 0.1, kind = "analogue", period = "1s", rate_group = "fast", class = "compliance" },
  { id = 2, name = "iec_state", unit = "", kind = "state", period = "1s", rate_group = "fast", class = "compliance" },
  { id = 3, name = "temperature", unit = "°C", scale = 0.1, kind = "analogue", period = "1s", rate_group = "fast", class = "condition" },
]
"#;
pub const FLEET: &str = r#"
profiles = ["small.toml", "onshore-3mw.toml", "machine-temperature.toml", "gearbox-history.toml"]
[[farm]]
id = "F1"
name = "North"
timezone = "Europe/Berlin"
[[gateway]]
id = "G1"
farm = "F1"
turbines = ["T1", "T2"]
[[gateway]]
id = "G2"
farm = "F1"
turbines = ["T3"]
"#;

/// 2026-01-05T00:00:00Z, a multiple of ten minutes.
pub const T0: EventTime = EventTime(1_767_571_200 * SECOND_US);

pub fn at(seconds: i64) -> EventTime {
    T0.plus_us(seconds * SECOND_US)
}

pub fn fleet() -> Arc<Fleet> {
    let profiles = [
        ("small.toml", SMALL),
        ("onshore-3mw.toml", ONSHORE),
        ("machine-temperature.toml", MACHINE),
        ("gearbox-history.toml", GEARBOX),
    ]
    .map(|(p, t)| (p.to_owned(), t.to_owned()));
    Arc::new(Fleet::parse("fleet.toml", FLEET, &profiles).unwrap())
}

pub fn catalogue(fleet: &Fleet, name: &str) -> Arc<Catalogue> {
    fleet.catalogues().find(|c| c.name == name).unwrap().clone()
}

pub fn feed(fleet: &Fleet, turbine: &str, profile: &str) -> Feed {
    let id = TurbineId::new(turbine).unwrap();
    let gateway = fleet.binding(&id).unwrap().gateway.clone();
    Feed::new(gateway, id, catalogue(fleet, profile))
}

pub fn epoch(n: u8) -> Epoch {
    Epoch([n; 16])
}

/// A second of fast channels from `at(second)`, closed: its frontier is the second's end.
pub fn second(
    feed: &mut Feed,
    second: i64,
    raw: impl Fn(&Channel, EventTime) -> i64,
) -> Vec<Record> {
    slice(feed, RateGroup::Fast, second, 1, raw)
}

/// A slice from `at(second)` that is all the gateway has then.
pub fn slice(
    feed: &mut Feed,
    group: RateGroup,
    second: i64,
    len_s: i64,
    raw: impl Fn(&Channel, EventTime) -> i64,
) -> Vec<Record> {
    let batches = feed.slice(group, at(second), len_s * SECOND_US, raw);
    let n = batches.len();
    let mut records = Vec::new();
    for (i, batch) in batches.into_iter().enumerate() {
        let frontier = if i + 1 == n {
            at(second + len_s)
        } else {
            at(second)
        };
        records.push(feed.record(Body::Batch(batch), frontier));
    }
    records
}

/// One entry of the telemetry topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    pub log_time: WallTime,
    pub writer: u32,
    pub key: String,
    pub value: Vec<u8>,
}

/// A log of one partition.
#[derive(Clone, Debug, Default)]
pub struct TestLog(pub Vec<Item>);

impl TestLog {
    pub fn record(&mut self, seconds: i64, gateway: &GatewayId, record: &Record) {
        self.bytes(
            seconds,
            gateway,
            &record.header.id.turbine,
            &wire::encode(record),
        );
    }
    pub fn bytes(&mut self, seconds: i64, gateway: &GatewayId, turbine: &TurbineId, bytes: &[u8]) {
        self.push(
            seconds,
            turbine.as_str(),
            wire::encode_telemetry(gateway, bytes),
        );
    }
    pub fn control(&mut self, seconds: i64, control: &Control) {
        self.push(seconds, "", wire::encode_control(control));
    }
    pub fn tick(&mut self, seconds: i64) {
        self.control(seconds, &Control::Tick);
        // ticks come between the slices
        if let Some(item) = self.0.last_mut() {
            item.log_time.0 += 300_000;
        }
    }
    pub fn push(&mut self, seconds: i64, key: &str, value: Vec<u8>) {
        self.0.push(Item {
            log_time: WallTime(at(seconds).0),
            writer: 1,
            key: key.to_owned(),
            value,
        });
    }
    pub fn detectors(&mut self, seconds: i64, toml: &str) {
        self.control(
            seconds,
            &Control::DetectorConfig {
                version: 1,
                toml: toml.to_owned(),
            },
        );
    }
    pub fn input(&self, offset: usize) -> LogInput<'_> {
        let item = &self.0[offset];
        LogInput {
            offset: offset as u64,
            log_time: item.log_time,
            writer: item.writer,
            key: &item.key,
            value: &item.value,
        }
    }
}

/// What a run made.
#[derive(Clone, Debug, Default)]
pub struct Run {
    pub out: Vec<TaskOutput>,
    pub hash: [u8; 32],
    pub snapshot: Vec<u8>,
}

impl Run {
    fn of<T>(&self, topic: Topic, decode: impl Fn(&[u8]) -> T) -> Vec<T> {
        let of = self.out.iter().filter(|o| o.topic == topic);
        of.map(|o| decode(&o.bytes)).collect()
    }
    pub fn status(&self, turbine: &str) -> Vec<StatusDoc> {
        let mut docs = self.of(Topic::Status, |b| StatusDoc::decode(b).unwrap());
        docs.retain(|d| d.turbine.as_str() == turbine);
        docs
    }
    pub fn alerts(&self) -> Vec<AlertEvent> {
        self.of(Topic::Alerts, |b| AlertEvent::decode(b).unwrap())
    }
    pub fn features(&self) -> Vec<FeatureRow> {
        self.of(Topic::Features, |b| FeatureRow::decode(b).unwrap())
    }
    pub fn dead(&self) -> Vec<DeadLetter> {
        self.of(Topic::DeadLetter, |b| DeadLetter::decode(b).unwrap())
    }
    pub fn downlink(&self) -> Vec<Downlink> {
        self.of(Topic::Downlink, |b| wire::decode_downlink(b).unwrap())
    }
}

pub fn settings() -> Arc<TaskSettings> {
    Arc::new(TaskSettings::default())
}

/// Applies the whole log, restoring from a snapshot of itself before each offset that `restart` names.
pub fn run_with(fleet: &Arc<Fleet>, log: &TestLog, restart: impl Fn(usize) -> bool) -> Run {
    let mut partition = Partition::new(settings(), fleet.clone());
    let mut out = Vec::new();
    for offset in 0..log.0.len() {
        if restart(offset) {
            partition = Partition::restore(&partition.snapshot(), fleet.clone()).unwrap();
        }
        partition.apply(&log.input(offset), &mut out);
    }
    Run {
        out,
        hash: partition.output_hash(),
        snapshot: partition.snapshot(),
    }
}

pub fn run(fleet: &Arc<Fleet>, log: &TestLog) -> Run {
    run_with(fleet, log, |_| false)
}
