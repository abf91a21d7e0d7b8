//! A gateway: the real agent core over a model disk, with a wall clock that may be wrong and a wind turbine's signals.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use windlass_edge_core::{AgentCore, MemoryStore};
use windlass_edge_core::{Now, Reading, SourceId, Value};
use windlass_edge_core::{Settings, SourceKind, SourceSettings, TurbineSettings};
use windlass_shared::catalogue::{Catalogue, Kind};
use windlass_shared::id::{BootId, GatewayId, Seq, TurbineId};
use windlass_shared::record::Quality;
use windlass_shared::time::{EventTime, MonoTime, SECOND_US, WallTime};

/// Wall time at virtual time 0: 2026-01-01T00:00:00Z.
pub const BASE_US: i64 = 1_767_225_600 * SECOND_US;
/// Readings are taken so often, microseconds.
pub const SAMPLE_US: u64 = 20_000_000;

/// One gateway.
#[derive(Debug)]
pub struct Gateway {
    /// Who.
    pub id: GatewayId,
    /// Its turbines.
    pub turbines: Vec<TurbineId>,
    /// Durable.
    pub disk: MemoryStore,
    /// An old copy of it, which may be put back.
    pub backup: Option<MemoryStore>,
    /// The running agent.
    pub core: Option<AgentCore>,
    /// Counts starts of the agent: what was meant for an earlier one is void.
    pub life: u64,
    /// Counts connections.
    pub session: u64,
    /// A session is up.
    pub connected: bool,
    /// The network is there.
    pub link: bool,
    /// Error of its wall clock, microseconds.
    pub wall_offset: i64,
    /// Counts boots of its system.
    pub boots: u8,
    /// Virtual time of the last one: its monotonic clock counts from there.
    pub booted_at: u64,
    /// Nobody sets its clock before.
    pub unset_until: u64,
    /// What its wall clock was ahead of its monotonic one, whenever it was set, in this boot.
    pub offsets: BTreeSet<i64>,
    /// How far each journal of this boot was placed: it lives as long as the boot, whatever becomes of the disk.
    pub placed: BTreeMap<TurbineId, Seq>,
    /// Timer that is scheduled.
    pub timer_at: Option<u64>,
    /// For its signals.
    pub rng: ChaCha8Rng,
    /// Room for the outbox, bytes.
    pub budget: u64,
    /// The disk was replaced or rolled back once: what it held may be gone.
    pub erased: bool,
    catalogue: Arc<Catalogue>,
    counter: i64,
}

impl Gateway {
    /// A gateway that has not started, with an empty disk.
    ///
    /// # Panics
    /// When a name is none.
    pub fn new(
        id: &str,
        turbines: &[&str],
        catalogue: Arc<Catalogue>,
        budget: u64,
        rng: ChaCha8Rng,
    ) -> Self {
        let name = |s: &&str| TurbineId::new(s).expect("a valid name");
        Self {
            id: GatewayId::new(id).expect("a valid name"),
            turbines: turbines.iter().map(name).collect(),
            disk: MemoryStore::new(),
            backup: None,
            core: None,
            life: 0,
            session: 0,
            connected: false,
            link: true,
            wall_offset: 0,
            boots: 1,
            booted_at: 0,
            unset_until: 0,
            offsets: BTreeSet::new(),
            placed: BTreeMap::new(),
            timer_at: None,
            rng,
            budget,
            erased: false,
            catalogue,
            counter: 0,
        }
    }

    /// Its clocks.
    pub fn now(&self, now: u64) -> Now {
        let mono = MonoTime(now - self.booted_at);
        let wall = if now < self.unset_until {
            WallTime(mono.0 as i64)
        } else {
            WallTime(BASE_US + now as i64 + self.wall_offset)
        };
        Now { wall, mono }
    }

    /// The system boots anew, and nobody sets its clock for so long.
    pub fn reboot(&mut self, now: u64, unset_us: u64) {
        self.boots += 1;
        self.booted_at = now;
        self.unset_until = now + unset_us;
        self.offsets.clear();
        self.placed.clear();
    }

    /// Name of the only source.
    pub fn source() -> SourceId {
        SourceId::new("sensors")
    }

    /// A fresh core, as a new process has it.
    pub fn boot(&mut self) {
        let mut settings = Settings::new(self.id.clone());
        settings.turbines = self
            .turbines
            .iter()
            .map(|id| TurbineSettings {
                id: id.clone(),
                catalogue: self.catalogue.clone(),
                thresholds: Vec::new(),
            })
            .collect();
        settings.sources = vec![SourceSettings {
            id: Self::source(),
            kind: SourceKind::Live,
            turbines: self.turbines.clone(),
        }];
        settings.boot = BootId([self.boots; 16]);
        settings.placed = self.placed.clone();
        settings.disk.budget_bytes = self.budget;
        settings.disk.disk_free_min_bytes = 0;
        settings.recording.seal_every_us = 600_000_000;
        self.core = Some(AgentCore::new(settings, self.rng.random()));
        self.life += 1;
        self.connected = false;
        self.session += 1;
        self.timer_at = None;
    }

    /// What the sensors of one turbine say about the interval that ends now. `late_us`: one reading is that much older;
    /// `ahead_us`: one is that far ahead.
    pub fn sample(
        &mut self,
        now: u64,
        late_us: Option<i64>,
        ahead_us: Option<i64>,
    ) -> Vec<Reading> {
        let clocks = self.now(now);
        let wall = clocks.wall.0;
        // what is older than the boot has no label
        let age_max = (SAMPLE_US as i64 / 2).min(clocks.mono.0 as i64 + 1);
        let set = clocks.is_set();
        let mut readings = Vec::new();
        for channel in &self.catalogue.channels {
            let on_change = channel.period_us == 0;
            if on_change && self.rng.random_bool(0.97) {
                continue;
            }
            let age = if on_change {
                0
            } else {
                self.rng.random_range(0..age_max)
            };
            let raw = match channel.kind {
                Kind::State => self.rng.random_range(0..4),
                Kind::Event => self.rng.random_range(100..110),
                Kind::Angle => self.rng.random_range(0..3600),
                Kind::Counter => {
                    self.counter = (self.counter + self.rng.random_range(0..300)) % 1000;
                    self.counter
                }
                _ => self.rng.random_range(-500..5000),
            };
            let quality = if self.rng.random_bool(0.02) {
                Quality::Bad
            } else {
                Quality::Good
            };
            let time = EventTime(wall - age);
            readings.push(Reading {
                channel: channel.id,
                time,
                value: Value::Int(raw),
                quality,
            });
        }
        for (shift, index) in [(late_us.map(|us| -us), 0), (ahead_us, 1)] {
            if let (Some(us), Some(r), true) = (shift, readings.get_mut(index), set) {
                r.time = EventTime(wall + us);
            }
        }
        readings
    }
}
