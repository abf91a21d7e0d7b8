//! A gateway in a box: the real core, the model store, a link and a cloud that a test controls, virtual time.
//!
//! Checks on the way, in every test: nothing is published before it is durable, bytes of an identity never change, never
//! two commits at a time.
#![allow(dead_code)] // each test file uses its part
#![allow(clippy::unwrap_used)] // a test that cannot go on shall panic
#![allow(clippy::struct_excessive_bools)] // switches of a test bench

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use windlass_edge_core::{
    AgentCore, AgentEvent, Input, LoadRequest, MemoryStore, Now, Output, PublishId, Reading,
    RowLevel, Settings, SourceId, SourceKind, SourceSettings, TurbineSettings, Value,
};
use windlass_shared::catalogue::{Catalogue, Channel, Class, Kind, RateGroup, Raw};
use windlass_shared::id::{ChannelId, Epoch, GatewayId, RecordId, Seq, SeqRange, TurbineId};
use windlass_shared::record::{Body, Quality, Record};
use windlass_shared::time::{EventTime, MonoTime, SECOND_US, WallTime};
use windlass_shared::wire::{self, Ack, AckLevel, Downlink};

/// The wall time at which worlds begin.
pub const BEGIN: i64 = 1_786_400_000 * SECOND_US;
pub const SECOND: u64 = SECOND_US as u64;

pub const POWER: ChannelId = ChannelId(1);
pub const OIL: ChannelId = ChannelId(2);
pub const ALARM: ChannelId = ChannelId(3);
pub const VIBRATION: ChannelId = ChannelId(4);
pub const STRAIN: ChannelId = ChannelId(5);

pub fn channel(id: ChannelId, name: &str, class: Class, rate_group: RateGroup) -> Channel {
    let event = rate_group == RateGroup::Event;
    Channel {
        id,
        name: name.into(),
        unit: "x".into(),
        kind: if event { Kind::Event } else { Kind::Analogue },
        raw: Raw::Int,
        scale_num: 1,
        scale_den: if event { 1 } else { 10 },
        offset_num: 0,
        period_us: if event { 0 } else { SECOND_US },
        class,
        rate_group,
        modulus: None,
    }
}

pub fn catalogue() -> Arc<Catalogue> {
    let float = Channel {
        raw: Raw::Float,
        ..channel(STRAIN, "strain", Class::Condition, RateGroup::Fast)
    };
    let channels = vec![
        channel(POWER, "power", Class::Compliance, RateGroup::Fast),
        channel(OIL, "oil", Class::Condition, RateGroup::Slow),
        channel(ALARM, "alarm", Class::Compliance, RateGroup::Event),
        channel(VIBRATION, "vibration", Class::Diagnostic, RateGroup::Fast),
        float,
    ];
    Arc::new(Catalogue::new("test", 1, channels).unwrap())
}

pub fn turbine(name: &str) -> TurbineId {
    TurbineId::new(name).unwrap()
}

pub fn live() -> SourceId {
    SourceId::new("live")
}

pub fn file() -> SourceId {
    SourceId::new("file")
}

pub fn settings(turbines: &[&str], kind: SourceKind) -> Settings {
    let mut settings = Settings::new(GatewayId::new("G1").unwrap());
    let ids: Vec<_> = turbines.iter().map(|t| turbine(t)).collect();
    settings.turbines = ids
        .iter()
        .map(|id| TurbineSettings {
            id: id.clone(),
            catalogue: catalogue(),
            thresholds: Vec::new(),
        })
        .collect();
    let id = match kind {
        SourceKind::Live => live(),
        SourceKind::File { .. } => file(),
    };
    settings.sources = vec![SourceSettings {
        id,
        kind,
        turbines: ids,
    }];
    settings
}

pub fn reading(channel: ChannelId, time: i64, raw: i64) -> Reading {
    Reading {
        channel,
        time: EventTime(time),
        value: Value::Int(raw),
        quality: Quality::Good,
    }
}

/// What the link and the cloud do with a publish.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cloud {
    /// Acknowledges at once.
    Acks,
    /// The broker takes it, the cloud says nothing.
    Silent,
}

pub struct World {
    pub settings: Settings,
    pub core: AgentCore,
    pub store: MemoryStore,
    pub now: Now,
    pub cloud: Cloud,
    pub reachable: bool,
    pub online: bool,
    pub connecting: bool,
    /// Publishes that have no PUBACK yet (only when `hold_pubacks`).
    pub unpubacked: Vec<PublishId>,
    pub hold_pubacks: bool,
    /// First copy of what the cloud received.
    pub received: BTreeMap<RecordId, Arc<[u8]>>,
    /// Everything published, in order.
    pub published: Vec<(MonoTime, RecordId)>,
    pub events: Vec<AgentEvent>,
    pub commits: u64,
    pub stopped: bool,
    pub fatal: Option<String>,
    /// Everything that was ever durable.
    pub ever: BTreeMap<RecordId, Arc<[u8]>>,
    /// Fails the next commits.
    pub disk_full_for: usize,
    /// Every transaction meets a full disk, evictions included.
    pub no_room: bool,
    /// What the core asked the store for.
    pub loads: Vec<LoadRequest>,
    inputs: VecDeque<Input>,
}

impl World {
    pub fn new(settings: Settings, seed: u8) -> Self {
        let now = Now {
            wall: WallTime(BEGIN),
            mono: MonoTime(1_000),
        };
        Self::at(now, settings, seed)
    }

    /// A world whose clocks say so.
    pub fn at(now: Now, settings: Settings, seed: u8) -> Self {
        let mut world = Self {
            core: AgentCore::new(settings.clone(), [seed; 32]),
            settings,
            store: MemoryStore::new(),
            now,
            cloud: Cloud::Acks,
            reachable: true,
            online: false,
            connecting: false,
            unpubacked: Vec::new(),
            hold_pubacks: false,
            received: BTreeMap::new(),
            published: Vec::new(),
            events: Vec::new(),
            commits: 0,
            stopped: false,
            fatal: None,
            ever: BTreeMap::new(),
            disk_full_for: 0,
            no_room: false,
            loads: Vec::new(),
            inputs: VecDeque::new(),
        };
        let recovered = world.store.recovered();
        world.input(Input::Start(recovered));
        world
    }

    /// Power cut: what was not committed is gone; a new process starts on what the store has.
    pub fn restart(&mut self, seed: u8) {
        self.inputs.clear();
        self.online = false;
        self.connecting = false;
        self.unpubacked.clear();
        self.stopped = false;
        self.core = AgentCore::new(self.settings.clone(), [seed; 32]);
        let recovered = self.store.recovered();
        self.input(Input::Start(recovered));
    }

    pub fn input(&mut self, input: Input) {
        self.inputs.push_back(input);
        while let Some(input) = self.inputs.pop_front() {
            let mut out = Vec::new();
            self.core.handle(self.now, input, &mut out);
            for output in out {
                self.execute(output);
            }
        }
    }

    fn execute(&mut self, output: Output) {
        match output {
            Output::Commit(batch) => {
                self.commits += 1;
                // written down before, and kept whatever becomes of the store
                self.settings.placed.extend(batch.placed.iter().cloned());
                let full = self.disk_full_for > 0 && batch.evictions.is_empty();
                let result = if self.no_room {
                    Err(windlass_edge_core::StoreFault::DiskFull)
                } else if full {
                    self.disk_full_for -= 1;
                    Err(windlass_edge_core::StoreFault::DiskFull)
                } else {
                    self.store.apply(&batch)
                };
                if result.is_ok() {
                    for row in &batch.rows {
                        let old = self.ever.insert(row.meta.id.clone(), row.payload.clone());
                        assert_eq!(old, None, "{} numbered twice", row.meta.id);
                    }
                }
                let id = batch.id;
                self.inputs.push_back(match result {
                    Ok(usage) => Input::Committed { id, usage },
                    Err(fault) => Input::CommitFailed { id, fault },
                });
            }
            Output::Load(request) => {
                self.loads.push(request.clone());
                let loaded = self.store.load(&request);
                self.inputs.push_back(Input::Loaded(loaded));
            }
            Output::Publish { id, topic, payload } => self.publish(id, &topic, payload),
            Output::Connect => {
                assert!(!self.connecting && !self.online);
                self.connecting = true;
            }
            Output::Disconnect => {
                self.connecting = false;
                self.online = false;
            }
            Output::Event(event) => self.events.push(event),
            Output::Stopped => self.stopped = true,
            Output::Fatal(fault) => self.fatal = Some(fault.to_string()),
        }
    }

    fn publish(&mut self, id: PublishId, topic: &str, payload: Arc<[u8]>) {
        assert!(self.online, "published while offline");
        let (gateway, record) = wire::parse_up_topic(topic).unwrap();
        assert_eq!(gateway, self.settings.gateway);
        let durable = self.ever.get(&record);
        assert_eq!(
            durable,
            Some(&payload),
            "{record} is not what was committed"
        );
        self.published.push((self.now.mono, record.clone()));
        if self.hold_pubacks {
            self.unpubacked.push(id);
        } else {
            self.inputs.push_back(Input::PubAck(id));
        }
        self.received.insert(record.clone(), payload);
        if self.cloud == Cloud::Acks {
            self.inputs.push_back(ack(&record));
        }
    }

    /// Lets time pass, answering connection attempts, with a timer at each deadline.
    pub fn run(&mut self, us: u64) {
        let until = self.now.mono.plus_us(us);
        let mut steps = 0;
        loop {
            if self.connecting {
                self.connecting = false;
                if self.reachable {
                    self.online = true;
                    self.input(Input::LinkUp);
                } else {
                    self.input(Input::LinkDown);
                }
                continue;
            }
            let at = self.core.next_deadline().unwrap_or(MonoTime(u64::MAX));
            if at > until {
                break;
            }
            if at > self.now.mono {
                self.pass(at.since_us(self.now.mono));
                steps = 0;
            }
            steps += 1;
            assert!(
                steps < 100,
                "the core spins at {:?}: {:?}",
                self.now,
                self.core.view()
            );
            self.input(Input::Timer);
        }
        self.pass(until.since_us(self.now.mono));
    }

    pub fn pass(&mut self, us: u64) {
        self.now.mono = self.now.mono.plus_us(us);
        self.now.wall = WallTime(self.now.wall.0 + us as i64);
    }

    pub fn cut_link(&mut self) {
        self.reachable = false;
        if self.online {
            self.online = false;
            self.unpubacked.clear();
            self.input(Input::LinkDown);
        }
    }

    pub fn start_live(&mut self) {
        let ids: Vec<_> = self
            .settings
            .turbines
            .iter()
            .map(|t| t.id.clone())
            .collect();
        for id in ids {
            self.input(Input::SourceStarted {
                turbine: id,
                source: live(),
                not_before: EventTime(self.now.wall.0),
            });
        }
    }

    /// A second of a live turbine: three channels, one reading each, as the second ends.
    pub fn second(&mut self, name: &str) {
        let t = self.now.wall.0;
        let readings = vec![
            reading(POWER, t, t % 977),
            reading(OIL, t, t % 31),
            reading(VIBRATION, t, t % 7919),
        ];
        self.input(Input::Readings {
            turbine: turbine(name),
            source: live(),
            readings,
            position: None,
            complete_until: EventTime(t + 1),
        });
    }

    /// Lets a gateway live for so many seconds.
    pub fn live_for(&mut self, seconds: u64) {
        let names: Vec<_> = self
            .settings
            .turbines
            .iter()
            .map(|t| t.id.to_string())
            .collect();
        for _ in 0..seconds {
            for name in &names {
                self.second(name);
            }
            self.run(SECOND);
        }
    }

    pub fn unacked(&self) -> Vec<RecordId> {
        let rows = self.store.rows().filter(|r| r.level == RowLevel::Unacked);
        rows.map(|r| r.meta.id.clone()).collect()
    }

    /// Records of the store, decoded, in its order.
    pub fn records(&self) -> Vec<Record> {
        self.store
            .rows()
            .map(|r| wire::decode(&r.payload).unwrap())
            .collect()
    }

    /// Seqs that the Gaps committed so far declare lost, by epoch.
    pub fn declared_lost(&self) -> BTreeSet<(Epoch, Seq)> {
        let mut lost = BTreeSet::new();
        for bytes in self.ever.values() {
            if let Body::Gap(gap) = wire::decode(bytes).unwrap().body {
                for range in gap.ranges {
                    for seq in range.seqs.first.0..=range.seqs.last.0 {
                        lost.insert((gap.epoch, Seq(seq)));
                    }
                }
            }
        }
        lost
    }
}

pub fn ack(id: &RecordId) -> Input {
    ack_range(id, SeqRange::one(id.seq), AckLevel::Safe)
}

pub fn ack_range(id: &RecordId, range: SeqRange, level: AckLevel) -> Input {
    Input::Downlink(Downlink {
        acks: vec![Ack {
            turbine: id.turbine.clone(),
            epoch: id.epoch,
            ranges: vec![range],
            level,
            verdicts: Vec::new(),
        }],
        ..Downlink::default()
    })
}
