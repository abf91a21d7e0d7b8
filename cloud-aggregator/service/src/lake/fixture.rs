//! For the tests: a gateway that makes records, a log that holds them, and a driver that crashes where it is told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use windlass_cloud_core::cut::CutSettings;
use windlass_cloud_core::fleet::Fleet;
use windlass_cloud_core::task::LogInput;
use windlass_cloud_core::topic::Topic;
use windlass_shared::catalogue::{Catalogue, Class, RateGroup};
use windlass_shared::id::{
    BootId, ChannelId, Epoch, GatewayId, RecordId, Seq, SeqRange, TurbineId,
};
use windlass_shared::record::{
    Batch, Block, Body, Column, Flags, Gap, GapRange, Head, Header, LossReason, Open, Predecessor,
    Quality, QualityMark, Record, Seal, Stamps, Times, Untimed,
};
use windlass_shared::time::{EventTime, LogTime, SECOND_US, WallTime};
use windlass_shared::wire;

use super::store::Store;
use super::writer::{Done, Hook, PartitionWriter, Setup, Step};
use super::{Lake, LakeError};

/// 2023-11-14T22:00:00Z.
pub const T0: i64 = 1_699_999_200 * SECOND_US;

const PROFILE: &str = r#"
name = "rig"
version = 1
defaults = { period = "1s", class = "condition", rate_group = "slow" }
channels = [
    { id = 1, name = "active_power", unit = "kW", scale = 0.1, class = "compliance", rate_group = "fast" },
    { id = 2, name = "oil_temperature", unit = "degC", scale = 0.1 },
    { id = 7, name = "vibration", unit = "mm/s", raw = "float", scale = 0.001 },
]
"#;

const FLEET: &str = r#"
profiles = ["rig.toml"]
[[farm]]
id = "north"
name = "North"
timezone = "Europe/Copenhagen"
[[farm]]
id = "south"
name = "South"
timezone = "Europe/Berlin"
[[gateway]]
id = "GW1"
farm = "north"
turbines = ["T1", "T2"]
[[gateway]]
id = "GW2"
farm = "south"
turbines = ["T3"]
"#;

/// Two farms with three turbines that speak one catalogue.
pub fn fleet() -> Arc<Fleet> {
    let profiles = [("rig.toml".to_owned(), PROFILE.to_owned())];
    Arc::new(Fleet::parse("fleet.toml", FLEET, &profiles).unwrap())
}

/// Their catalogue.
pub fn catalogue(fleet: &Fleet) -> Arc<Catalogue> {
    Arc::clone(fleet.catalogues().next().unwrap())
}

/// One epoch of one turbine as its gateway makes it.
#[derive(Clone)]
pub struct Edge {
    pub gateway: GatewayId,
    pub turbine: TurbineId,
    pub epoch: Epoch,
    pub seq: u64,
    pub head: Head,
    ceiling: EventTime,
    frontier: EventTime,
    catalogue: Arc<Catalogue>,
}

impl Edge {
    /// A new epoch, and the bytes of its Open.
    pub fn open(fleet: &Fleet, turbine: &str, epoch: u8, before: Option<&Edge>) -> (Self, Vec<u8>) {
        let turbine = TurbineId::new(turbine).unwrap();
        let epoch = Epoch([epoch; 16]);
        let gateway = fleet.binding(&turbine).unwrap().gateway.clone();
        let mut edge = Self {
            gateway,
            turbine,
            epoch,
            seq: 0,
            head: Head::default(),
            ceiling: EventTime::MIN,
            frontier: before.map_or(EventTime(T0), |b| b.frontier),
            catalogue: catalogue(fleet),
        };
        let open = Open {
            predecessor: before.map(|b| Predecessor {
                epoch: b.epoch,
                last_seq: Some(Seq(b.seq)),
                ceiling: Some(b.ceiling),
                head: b.head,
            }),
            oldest_held: before.map_or(epoch, |b| b.epoch),
            not_before: edge.frontier,
            agent_version: "test".to_owned(),
        };
        let bytes = edge.record(Body::Open(open), EventTime::MIN, edge.frontier);
        (edge, bytes)
    }

    /// The next epoch of a gateway whose clock was set back, and the bytes of its Open.
    pub fn set_back(&self, fleet: &Fleet, epoch: u8, by_us: i64) -> (Self, Vec<u8>) {
        let before = Self {
            frontier: self.frontier.plus_us(-by_us),
            ..self.clone()
        };
        Self::open(fleet, self.turbine.as_str(), epoch, Some(&before))
    }

    fn record(&mut self, body: Body, latest: EventTime, frontier: EventTime) -> Vec<u8> {
        self.seq += 1;
        let prev_ceiling = self.ceiling;
        self.ceiling = self.ceiling.max(latest);
        self.frontier = self.frontier.max(frontier);
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
                committed_at: WallTime(self.frontier.0.max(0)),
                prev_head: self.head,
            },
            body,
        };
        let bytes = wire::encode(&record);
        assert_eq!(wire::decode(&bytes).as_ref(), Ok(&record));
        self.head = wire::next_head(&self.head, &wire::hash(&bytes));
        bytes
    }

    fn batch(
        &mut self,
        blocks: Vec<Block>,
        raw: Vec<i64>,
        latest: EventTime,
        frontier: EventTime,
    ) -> Vec<u8> {
        let batch = Batch {
            catalogue: self.catalogue.hash,
            class: Class::Condition,
            rate_group: RateGroup::Slow,
            blocks,
            raw,
        };
        self.record(Body::Batch(batch), latest, frontier)
    }

    /// `n` rows at 1 Hz of all three channels, from where the turbine's time is; the second row's float is no number.
    pub fn slice(&mut self, n: u32) -> Vec<u8> {
        let start = self.frontier;
        let period_us = SECOND_US;
        self.regular(start, period_us, n)
    }

    /// `n` rows of all three channels.
    pub fn regular(&mut self, start: EventTime, period_us: i64, n: u32) -> Vec<u8> {
        let s = start.0 / SECOND_US;
        let ints = (0..2 * i64::from(n)).map(|i| s % 1000 + i);
        let floats = (0..n).map(|i| (f64::from(i) * 0.125 + 1.0).to_bits() as i64);
        let columns = [(1, false), (2, false), (7, true)];
        let column = |(c, (id, float)): (usize, (u16, bool))| Column {
            channel: ChannelId(id),
            float,
            at: c as u32 * n,
        };
        let mark = QualityMark {
            column: 2,
            row: 1,
            quality: Quality::NotANumber,
        };
        let block = Block {
            flags: Flags::default(),
            times: Times::Regular {
                start,
                period_us,
                n,
            },
            columns: columns.into_iter().enumerate().map(column).collect(),
            quality: if n > 1 { vec![mark] } else { Vec::new() },
        };
        let mut raw: Vec<i64> = ints.chain(floats).collect();
        if n > 1 {
            raw[2 * n as usize + 1] = 0;
        }
        let last = start.plus_us(period_us * i64::from(n - 1));
        self.batch(vec![block], raw, last, last.plus_us(period_us))
    }

    /// One reading of channel 1 with flags.
    pub fn flagged(&mut self, time: i64, flags: Flags) -> Vec<u8> {
        let block = Block {
            flags,
            times: Times::Listed(vec![EventTime(time)]),
            columns: vec![Column {
                channel: ChannelId(1),
                float: false,
                at: 0,
            }],
            quality: Vec::new(),
        };
        self.batch(vec![block], vec![4_711], EventTime::MIN, self.frontier)
    }

    /// Two readings of channel 1 of a boot that never saw a clock.
    pub fn untimed(&mut self, boot: BootId) -> Vec<u8> {
        let block = Block {
            flags: Flags::default(),
            times: Times::Listed(vec![EventTime(40_000_000), EventTime(41_000_000)]),
            columns: vec![Column {
                channel: ChannelId(1),
                float: false,
                at: 0,
            }],
            quality: Vec::new(),
        };
        let batch = Batch {
            catalogue: self.catalogue.hash,
            class: Class::Condition,
            rate_group: RateGroup::Slow,
            blocks: vec![block],
            raw: vec![4_711, 4_712],
        };
        let body = Body::Untimed(Untimed { boot, batch });
        self.record(body, EventTime::MIN, self.frontier)
    }

    /// Says that these seqs of this epoch are lost.
    pub fn gap(&mut self, first: u64, last: u64) -> Vec<u8> {
        let range = GapRange {
            seqs: SeqRange::new(first, last).unwrap(),
            readings: None,
            bounds: None,
            end: None,
            heads: None,
        };
        let gap = Gap {
            epoch: self.epoch,
            class: Class::Condition,
            reason: LossReason::Evicted,
            ranges: vec![range],
        };
        self.record(Body::Gap(gap), EventTime::MIN, self.frontier)
    }

    /// The chain head so far.
    pub fn seal(&mut self) -> Vec<u8> {
        let seal = Seal {
            upto: Seq(self.seq),
            head: self.head,
            signature: Vec::new(),
        };
        self.record(Body::Seal(seal), EventTime::MIN, self.frontier)
    }
}

/// An entry of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub time: i64,
    pub key: String,
    pub value: Vec<u8>,
}

/// The log entry of a record.
pub fn entry(time: i64, edge: &Edge, record: &[u8]) -> Entry {
    Entry {
        time,
        key: edge.turbine.to_string(),
        value: wire::encode_telemetry(&edge.gateway, record),
    }
}

/// A tick.
pub fn tick(time: i64) -> Entry {
    Entry {
        time,
        key: String::new(),
        value: wire::encode_control(&wire::Control::Tick),
    }
}

/// A writer's world: a folder, and where the group is.
pub struct Rig {
    pub dir: tempfile::TempDir,
    pub setup: Setup,
    pub committed: Option<u64>,
}

impl Rig {
    pub fn new(every_s: i64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("file://{}", dir.path().display())).unwrap();
        Self {
            setup: Setup {
                store,
                fleet: fleet(),
                cuts: CutSettings {
                    every_us: every_s * SECOND_US,
                    ..CutSettings::default()
                },
                skew_max_us: 300 * SECOND_US,
                generation: 5,
            },
            dir,
            committed: None,
        }
    }

    pub fn lake(&self) -> Lake {
        Lake::new(self.setup.store.clone())
    }

    pub async fn recover(&self, topic: Topic, hook: Hook) -> Result<PartitionWriter, LakeError> {
        PartitionWriter::recover(self.setup.clone(), topic, 0, 0, self.committed, hook).await
    }

    /// Runs a writer over the log until all is taken and the last slot is over; recovers after each failure, and says how
    /// often. `fail` is asked before each step.
    pub async fn drive(&mut self, topic: Topic, log: &[Entry], fail: Arc<Mutex<Failures>>) -> u32 {
        for crashes in 0..1_000 {
            let at = Arc::clone(&fail);
            let hook = Hook::new(move |step| {
                let mut failures = at.lock().unwrap();
                failures.seen.push(step);
                if failures.at.contains(&(failures.seen.len() - 1)) {
                    return Err(LakeError::Injected(step));
                }
                Ok(())
            });
            match self.run_once(topic, log, hook).await {
                Ok(()) => return crashes,
                Err(LakeError::Injected(_)) => {}
                Err(e) => panic!("{e}"),
            }
        }
        panic!("the driver is stuck");
    }

    /// Runs a writer over the log once.
    pub async fn run_once(
        &mut self,
        topic: Topic,
        log: &[Entry],
        hook: Hook,
    ) -> Result<(), LakeError> {
        let mut writer = self.recover(topic, hook).await?;
        let start = writer.position() as usize;
        let mut last = LogTime::MIN;
        for (offset, entry) in log.iter().enumerate().skip(start) {
            let input = LogInput {
                offset: offset as u64,
                log_time: WallTime(entry.time),
                writer: 1,
                key: &entry.key,
                value: &entry.value,
            };
            if let Some(done) = writer.take(&input).await? {
                self.position(&mut writer, &done)?;
            }
            last = writer.log_time();
        }
        let over = last.plus_us(3_600 * SECOND_US);
        if let Some(done) = writer.quiet(over).await? {
            self.position(&mut writer, &done)?;
        }
        Ok(())
    }

    fn position(&mut self, writer: &mut PartitionWriter, done: &Done) -> Result<(), LakeError> {
        writer.before_position()?;
        self.committed = Some(done.next);
        Ok(())
    }

    /// Everything that a reader can see: committed files with their hashes, and the cuts.
    pub async fn content(&self) -> BTreeMap<String, String> {
        let view = self.lake().view().await.unwrap();
        let mut content = BTreeMap::new();
        for (series, cuts) in &view.series {
            for c in cuts {
                let name = format!("{}/{}-{}", series.name(), c.cut.first, c.cut.last);
                let after = c.cut.after.clone().unwrap_or_default();
                content.insert(name, format!("{after} {}", c.state.sha256));
                for f in &c.files {
                    view.read(f).await.unwrap();
                    content.insert(f.path.clone(), f.sha256.clone());
                }
            }
        }
        content
    }
}

/// Steps taken, and which of them fail.
#[derive(Debug, Default)]
pub struct Failures {
    pub seen: Vec<Step>,
    pub at: Vec<usize>,
}

impl Failures {
    pub fn none() -> Arc<Mutex<Self>> {
        Self::at(Vec::new())
    }
    pub fn at(at: Vec<usize>) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            seen: Vec::new(),
            at,
        }))
    }
}
