//! The world of one seed: gateways, network, ingest, log, tasks and sinks on one event heap.
//!
//! First the safety phase, in which every fault may strike and each step is checked; then the healed phase, in which all
//! work must drain in bounded virtual time, or the run names who is stuck.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use windlass_cloud_core::fleet::Fleet;
use windlass_cloud_core::ingest::{Checked, check};
use windlass_cloud_core::output::FeatureRow;
use windlass_cloud_core::task::TaskSettings;
use windlass_cloud_core::topic::{Topic, partition_of};
use windlass_edge_core::{AgentEvent, LoadRequest, MemoryStore, Output};
use windlass_edge_core::{CommitBatch, RowLevel, StoreFault};
use windlass_edge_core::{Input, PublishId};
use windlass_shared::id::{GatewayId, RecordId, SeqRange};
use windlass_shared::time::{EventTime, SECOND_US, WallTime};
use windlass_shared::window::Status;
use windlass_shared::wire::{self, Ack, AckLevel, Control, Downlink, Logged};

use crate::cloud::{Log, LogEntry, Task, recover};
use crate::faults::{Counts, Fault, Rates};
use crate::gateway::{BASE_US, Gateway, SAMPLE_US};
use crate::heap::Heap;
use crate::oracle::Ledger;
use crate::sinks::Sinks;

/// Partitions of the log.
pub const PARTITIONS: u32 = 2;
/// A run that has not drained so long after the faults ended is stuck.
const HEAL_MAX_US: u64 = 12 * 3_600 * SECOND_US as u64;

/// What happened in a run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// SHA-256 over every event of the run.
    pub trace: [u8; 32],
    /// Faults that struck.
    pub faults: Counts,
    /// Records committed on gateways.
    pub records: usize,
    /// Epochs begun.
    pub epochs: usize,
    /// Records that a Gap declares lost.
    pub lost: usize,
    /// Window results that became visible.
    pub results: usize,
    /// Those that were exact.
    pub exact: usize,
    /// Virtual time at the end, microseconds.
    pub virtual_us: u64,
}

#[derive(Debug)]
enum Event {
    Sample(usize),
    Timer(usize, u64),
    Commit(usize, u64, CommitBatch),
    Load(usize, u64, LoadRequest),
    Input(usize, u64, Input),
    Connected(usize, u64),
    LinkBack(usize),
    Start(usize),
    /// A message reaches ingest.
    Up {
        topic: String,
        payload: Arc<[u8]>,
    },
    Down(usize, u64, Vec<u8>),
    Tick,
    Mirror,
    Work(usize),
    Owner(usize),
    Snapshot(usize),
    Sink,
    Weather,
}

/// See the module.
pub struct World {
    heap: Heap<Event>,
    rates: Rates,
    fleet: Arc<Fleet>,
    settings: Arc<TaskSettings>,
    gateways: Vec<Gateway>,
    logs: Vec<Log>,
    tasks: Vec<Option<Task>>,
    zombies: Vec<Option<Task>>,
    sinks: Sinks,
    ledger: Ledger,
    mirrored: bool,
    log_jump_until: u64,
    trace: Sha256,
    outcome: Outcome,
    /// Downlink outputs already sent, by partition.
    downlinked: Vec<usize>,
    refused_by_ingest: std::collections::BTreeSet<RecordId>,
}

type Check = Result<(), String>;

impl World {
    /// The world of `seed` before its first event.
    pub fn new(seed: u64) -> Self {
        let mut rates = Rates::new(seed);
        let fleet = Arc::new(crate::fleet());
        let catalogue = fleet
            .catalogues()
            .next()
            .expect("the simulation has a catalogue")
            .clone();
        let small = |r: &mut Rates| {
            if r.below(3) == 0 {
                60_000 + r.below(200_000)
            } else {
                1 << 30
            }
        };
        let (a, b) = (small(&mut rates), small(&mut rates));
        let gateways = vec![
            Gateway::new(
                "gw-a",
                &["T001", "T002"],
                catalogue.clone(),
                a,
                rates.split(),
            ),
            Gateway::new("gw-b", &["T003"], catalogue, b, rates.split()),
        ];
        let mut settings = TaskSettings::default();
        let small_windows = rates.below(2) == 0;
        if small_windows {
            settings.windows.open_panes_max = 30;
        }
        let n = PARTITIONS as usize;
        let mut world = Self {
            heap: Heap::new(),
            mirrored: rates.below(2) == 0,
            rates,
            sinks: Sinks::new(n, fleet.clone(), settings.skew_max_us),
            fleet,
            settings: Arc::new(settings),
            gateways,
            logs: vec![
                Log {
                    small_windows,
                    ..Log::default()
                };
                n
            ],
            tasks: vec![None; n],
            zombies: vec![None; n],
            ledger: Ledger::default(),
            log_jump_until: 0,
            trace: Sha256::new(),
            outcome: Outcome::default(),
            downlinked: vec![0; n],
            refused_by_ingest: std::collections::BTreeSet::new(),
        };
        for g in 0..world.gateways.len() {
            world.heap.after(1_000 * (g as u64 + 1), Event::Start(g));
            world
                .heap
                .after(SAMPLE_US + 7_000 * g as u64, Event::Sample(g));
        }
        for p in 0..n {
            world.heap.after(10_000, Event::Owner(p));
            world.heap.after(30_000_000, Event::Snapshot(p));
        }
        for event in [Event::Tick, Event::Mirror, Event::Sink, Event::Weather] {
            world.heap.after(1_000_000, event);
        }
        world
    }

    /// Runs the safety phase for `safety_us` of virtual time, then heals, then checks the end.
    pub fn run(mut self, safety_us: u64) -> Result<Outcome, String> {
        while self.heap.now() < safety_us {
            self.step()?;
        }
        self.heal();
        let give_up = self.heap.now() + HEAL_MAX_US;
        let mut settled_since = None;
        loop {
            self.step()?;
            let stuck = self.stuck();
            match (&stuck, settled_since) {
                (Some(_), _) => settled_since = None,
                (None, None) => settled_since = Some(self.heap.now()),
                // provisionals of what is still open come once the settle wait is over
                (None, Some(t))
                    if self.heap.now() > t + 3 * self.settings.windows.settle_wait_us as u64 =>
                {
                    break;
                }
                _ => {}
            }
            if self.heap.now() > give_up {
                return Err(format!(
                    "stuck after the faults ended: {}",
                    stuck.unwrap_or_default()
                ));
            }
        }
        self.finish()
    }

    fn heal(&mut self) {
        self.rates.active = false;
        for g in 0..self.gateways.len() {
            self.gateways[g].link = true;
            self.gateways[g].budget = 1 << 30;
            if self.gateways[g].core.is_none() {
                self.heap.after(1_000, Event::Start(g));
            }
        }
        for p in 0..self.logs.len() {
            self.heap.after(1_000, Event::Owner(p));
        }
    }

    /// Who still has work, in the healed phase.
    fn stuck(&self) -> Option<String> {
        for g in &self.gateways {
            let unacked = g
                .disk
                .rows()
                .filter(|r| r.level == RowLevel::Unacked)
                .count();
            // what was committed in the last moments is on its way
            if unacked > 24 {
                return Some(format!(
                    "{} has {unacked} records that the cloud has not acknowledged",
                    g.id
                ));
            }
        }
        for (p, log) in self.logs.iter().enumerate() {
            let behind = log.entries.len() - log.position() as usize;
            if behind > 200 {
                return Some(format!("partition {p} is {behind} entries behind"));
            }
        }
        self.sinks.holes().map(|(turbine, missing)| {
            format!("{turbine} misses {missing} seqs that nobody answers for")
        })
    }

    fn step(&mut self) -> Check {
        let event = self.heap.pop().ok_or("nothing is scheduled any more")?;
        self.trace.update(self.heap.now().to_le_bytes());
        match event {
            Event::Sample(g) => self.sample(g),
            Event::Timer(g, life) => {
                if self.alive(g, life) && self.gateways[g].timer_at == Some(self.heap.now()) {
                    self.gateways[g].timer_at = None;
                    self.hand(g, Input::Timer)?;
                }
                Ok(())
            }
            Event::Commit(g, life, batch) => self.commit(g, life, &batch),
            Event::Load(g, life, request) => {
                if !self.alive(g, life) {
                    return Ok(());
                }
                let loaded = self.gateways[g].disk.load(&request);
                self.hand(g, Input::Loaded(loaded))
            }
            Event::Input(g, life, input) => {
                if self.alive(g, life) {
                    self.hand(g, input)
                } else {
                    Ok(())
                }
            }
            Event::Connected(g, life) => self.connected(g, life),
            Event::LinkBack(g) => {
                self.gateways[g].link = true;
                Ok(())
            }
            Event::Start(g) => self.start(g),
            Event::Up { topic, payload } => self.ingest(&topic, &payload),
            Event::Down(g, session, bytes) => self.down(g, session, &bytes),
            Event::Tick => self.tick(),
            Event::Mirror => self.mirror(),
            Event::Work(p) => self.work(p),
            Event::Owner(p) => self.take_over(p),
            Event::Snapshot(p) => self.snapshot(p),
            Event::Sink => self.sink(),
            Event::Weather => self.weather(),
        }
    }

    fn alive(&self, g: usize, life: u64) -> bool {
        self.gateways[g].life == life && self.gateways[g].core.is_some()
    }

    // ---- gateways ----

    fn start(&mut self, g: usize) -> Check {
        if self.gateways[g].core.is_some() {
            return Ok(());
        }
        self.gateways[g].boot();
        self.outcome.epochs += self.gateways[g].turbines.len();
        let recovered = self.gateways[g].disk.recovered();
        self.hand(g, Input::Start(recovered))?;
        let not_before = EventTime(self.gateways[g].now(self.heap.now()).wall.0);
        for turbine in self.gateways[g].turbines.clone() {
            self.hand(
                g,
                Input::SourceStarted {
                    turbine,
                    source: Gateway::source(),
                    not_before,
                },
            )?;
        }
        Ok(())
    }

    fn kill(&mut self, g: usize) {
        self.gateways[g].core = None;
        self.gateways[g].connected = false;
        self.gateways[g].session += 1;
        let delay = 1_000_000 + self.rates.below(120_000_000);
        self.heap.after(delay, Event::Start(g));
    }

    fn hand(&mut self, g: usize, input: Input) -> Check {
        let now = self.gateways[g].now(self.heap.now());
        let life = self.gateways[g].life;
        let Some(core) = self.gateways[g].core.as_mut() else {
            return Ok(());
        };
        let mut out = Vec::new();
        core.handle(now, input, &mut out);
        let deadline = core.next_deadline();
        for output in out {
            self.output(g, life, output)?;
        }
        if let Some(at) = deadline {
            let at = at.0.max(self.heap.now() + 1);
            if self.gateways[g].timer_at.is_none_or(|t| t > at) {
                self.gateways[g].timer_at = Some(at);
                self.heap.at(at, Event::Timer(g, life));
            }
        }
        Ok(())
    }

    fn output(&mut self, g: usize, life: u64, output: Output) -> Check {
        match output {
            Output::Commit(batch) => {
                let delay = 300 + self.rates.below(30_000);
                self.heap.after(delay, Event::Commit(g, life, batch));
            }
            Output::Load(request) => self.heap.after(500, Event::Load(g, life, request)),
            Output::Publish { id, topic, payload } => self.publish(g, id, topic, payload),
            Output::Connect => {
                let delay = 20_000 + self.rates.below(2_000_000);
                self.heap.after(delay, Event::Connected(g, life));
            }
            Output::Disconnect => {
                self.gateways[g].connected = false;
                self.gateways[g].session += 1;
            }
            Output::Event(AgentEvent::Evicted { level, .. }) if level != RowLevel::Safe => {
                self.rates.counts.add(Fault::Evicted);
            }
            Output::Event(_) | Output::Stopped => {}
            Output::Fatal(fault) => {
                return Err(format!("{} gave up: {fault}", self.gateways[g].id));
            }
        }
        Ok(())
    }

    fn commit(&mut self, g: usize, life: u64, batch: &CommitBatch) -> Check {
        if !self.alive(g, life) {
            return Ok(());
        }
        let full = self.rates.strikes(Fault::CommitFailed, 0.002);
        let applied = if full {
            Err(StoreFault::DiskFull)
        } else {
            self.gateways[g].disk.apply(batch)
        };
        let usage = match applied {
            Ok(usage) => usage,
            Err(fault) => {
                return self.hand(
                    g,
                    Input::CommitFailed {
                        id: batch.id,
                        fault,
                    },
                );
            }
        };
        for row in &batch.rows {
            self.ledger.committed(&row.meta.id, &row.payload)?;
            self.trace.update(&row.payload);
        }
        if self.rates.strikes(Fault::AgentKilled, 0.000_4) {
            // durable, but the process never learns it
            self.kill(g);
            return Ok(());
        }
        self.hand(
            g,
            Input::Committed {
                id: batch.id,
                usage,
            },
        )
    }

    fn sample(&mut self, g: usize) -> Check {
        self.heap.after(SAMPLE_US, Event::Sample(g));
        if self.gateways[g].core.is_none() {
            return Ok(());
        }
        for turbine in self.gateways[g].turbines.clone() {
            let late = self
                .rates
                .strikes(Fault::LateReading, 0.01)
                .then(|| self.rates.below(600_000_000) as i64);
            let ahead = self.rates.strikes(Fault::SuspectReading, 0.005);
            let ahead = ahead.then(|| 10 * SECOND_US + self.rates.below(1 << 40) as i64);
            let now = self.heap.now();
            let readings = self.gateways[g].sample(now, late, ahead);
            let wall = self.gateways[g].now(now).wall.0;
            self.hand(
                g,
                Input::Readings {
                    turbine,
                    source: Gateway::source(),
                    readings,
                    position: None,
                    // the next interval's readings are up to half a sampling period old
                    complete_until: EventTime(wall),
                },
            )?;
        }
        if self.rates.strikes(Fault::AgentKilled, 0.003) {
            self.kill(g);
        }
        Ok(())
    }

    // ---- network ----

    fn publish(&mut self, g: usize, id: PublishId, topic: String, payload: Arc<[u8]>) {
        if !self.gateways[g].connected || !self.gateways[g].link {
            return;
        }
        let life = self.gateways[g].life;
        let trip = 5_000 + self.rates.below(60_000);
        self.heap
            .after(trip, Event::Input(g, life, Input::PubAck(id)));
        if self.rates.strikes(Fault::UplinkDropped, 0.01) {
            return;
        }
        let mut copies = 1;
        if self.rates.strikes(Fault::UplinkDuplicated, 0.03) {
            copies += 1 + self.rates.below(3);
        }
        for copy in 0..copies {
            let mut delay = 5_000 + self.rates.below(100_000) * (copy + 1);
            if self.rates.strikes(Fault::UplinkReordered, 0.05) {
                delay += self.rates.below(90_000_000);
            }
            let payload = if self.rates.strikes(Fault::Corrupted, 0.000_5) {
                payload[..payload.len() / 2].into()
            } else {
                payload.clone()
            };
            self.heap.after(
                delay,
                Event::Up {
                    topic: topic.clone(),
                    payload,
                },
            );
        }
    }

    fn connected(&mut self, g: usize, life: u64) -> Check {
        if !self.alive(g, life) {
            return Ok(());
        }
        if !self.gateways[g].link {
            return self.hand(g, Input::LinkDown);
        }
        self.gateways[g].connected = true;
        self.gateways[g].session += 1;
        self.hand(g, Input::LinkUp)
    }

    fn down(&mut self, g: usize, session: u64, bytes: &[u8]) -> Check {
        if self.gateways[g].session != session || !self.gateways[g].connected {
            return Ok(());
        }
        let message =
            wire::decode_downlink(bytes).map_err(|e| format!("a downlink does not decode: {e}"))?;
        self.hand(g, Input::Downlink(message))
    }

    fn send_down(&mut self, gateway: &GatewayId, message: &Downlink) {
        let Some(g) = self.gateways.iter().position(|g| g.id == *gateway) else {
            return;
        };
        if self.rates.strikes(Fault::AckDropped, 0.01) {
            return;
        }
        let delay = 2_000 + self.rates.below(50_000);
        let session = self.gateways[g].session;
        self.heap.after(
            delay,
            Event::Down(g, session, wire::encode_downlink(message)),
        );
    }

    /// Link cuts, clocks, disks.
    fn weather(&mut self) -> Check {
        self.heap.after(10_000_000, Event::Weather);
        for g in 0..self.gateways.len() {
            if self.gateways[g].link && self.rates.strikes(Fault::LinkCut, 0.004) {
                self.gateways[g].link = false;
                self.gateways[g].connected = false;
                self.gateways[g].session += 1;
                let back = 1_000_000 + self.rates.below(3_600_000_000);
                self.heap.after(back, Event::LinkBack(g));
                self.hand(g, Input::LinkDown)?;
            }
            if self.rates.strikes(Fault::ClockForward, 0.000_7) {
                // further ahead than the skew that the cloud accepts would be refused
                let ahead = self.gateways[g].wall_offset + self.rates.below(120_000_000) as i64;
                self.gateways[g].wall_offset = ahead.min(200 * SECOND_US);
            }
            if self.rates.strikes(Fault::ClockBack, 0.000_7) {
                self.gateways[g].wall_offset -= self.rates.below(900_000_000) as i64;
            }
            if self.rates.below(40) == 0 {
                self.gateways[g].backup = Some(self.gateways[g].disk.clone());
            }
            if self.rates.strikes(Fault::DiskReplaced, 0.000_3) {
                self.swap_disk(g, MemoryStore::new());
            }
            if let Some(old) = self.gateways[g].backup.clone()
                && self.rates.strikes(Fault::BackupRestored, 0.000_5)
            {
                self.swap_disk(g, old);
            }
        }
        if self.rates.strikes(Fault::LogClockJump, 0.002) {
            self.log_jump_until = self.heap.now() + 3_000_000;
        }
        Ok(())
    }

    fn swap_disk(&mut self, g: usize, disk: MemoryStore) {
        self.kill(g);
        let kept: std::collections::BTreeSet<RecordId> =
            disk.rows().map(|r| r.meta.id.clone()).collect();
        let gone: Vec<RecordId> = self.gateways[g]
            .disk
            .rows()
            .map(|r| r.meta.id.clone())
            .filter(|id| !kept.contains(id))
            .collect();
        self.ledger.erased(gone.iter());
        self.gateways[g].disk = disk;
        self.gateways[g].erased = true;
    }

    // ---- ingest and log ----

    fn append(&mut self, p: usize, key: &str, value: Vec<u8>) {
        let jump = if self.heap.now() < self.log_jump_until {
            7_200 * SECOND_US
        } else {
            0
        };
        let time = WallTime(BASE_US + self.heap.now() as i64 + jump);
        self.trace.update(&value);
        self.logs[p].entries.push(LogEntry {
            time,
            writer: 1,
            key: key.to_owned(),
            value,
        });
    }

    fn ingest(&mut self, topic: &str, payload: &[u8]) -> Check {
        let (gateway, id, verdict) = match check(&self.fleet, topic, payload) {
            Checked::Accept(a) => {
                let p = partition_of(a.id.turbine.as_str(), PARTITIONS) as usize;
                self.append(p, a.id.turbine.as_str(), a.logged);
                (a.gateway, a.id, None)
            }
            Checked::Refuse(r) => {
                let (Some(gateway), Some(id)) = (r.gateway.clone(), r.id.clone()) else {
                    return Err(format!(
                        "a record of the fleet was refused without an identity: {}",
                        r.detail
                    ));
                };
                let p = partition_of(id.turbine.as_str(), PARTITIONS) as usize;
                if let Some(control) = r.control {
                    self.append(p, id.turbine.as_str(), control);
                }
                self.refused_by_ingest.insert(id.clone());
                (gateway, id, Some(r.detail))
            }
        };
        if self.rates.strikes(Fault::IngestKilled, 0.002) {
            return Ok(());
        }
        let level = if self.mirrored {
            AckLevel::Logged
        } else {
            AckLevel::Safe
        };
        self.send_ack(&gateway, &id, level, verdict);
        Ok(())
    }

    fn send_ack(
        &mut self,
        gateway: &GatewayId,
        id: &RecordId,
        level: AckLevel,
        verdict: Option<String>,
    ) {
        let ack = Ack {
            turbine: id.turbine.clone(),
            epoch: id.epoch,
            ranges: vec![SeqRange::one(id.seq)],
            level,
            verdicts: verdict.into_iter().map(|v| (id.seq, v)).collect(),
        };
        self.send_down(
            gateway,
            &Downlink {
                acks: vec![ack],
                ..Downlink::default()
            },
        );
    }

    /// The mirror catches up; what it has is safe. Sometimes the log fails over to it.
    fn mirror(&mut self) -> Check {
        self.heap.after(20_000_000, Event::Mirror);
        if !self.mirrored {
            return Ok(());
        }
        for p in 0..self.logs.len() {
            if self.rates.strikes(Fault::LogTailLost, 0.002) {
                self.logs[p].lose_tail();
                self.tasks[p] = None;
                self.zombies[p] = None;
                self.downlinked[p] = self.downlinked[p].min(self.logs[p].outputs.len());
                self.sinks.reset(p);
                self.heap.after(2_000_000, Event::Owner(p));
                continue;
            }
            let from = self.logs[p].mirrored;
            // the mirror lags a little
            let lag = self.rates.below(20) as usize;
            let to = self.logs[p].entries.len().saturating_sub(lag).max(from);
            self.logs[p].mirrored = to;
            let mut safe: Vec<(GatewayId, RecordId)> = Vec::new();
            for entry in &self.logs[p].entries[from..to] {
                if let (Ok(Logged::Telemetry { gateway, .. }), Some((id, _))) =
                    (wire::decode_logged(&entry.value), entry.record())
                {
                    safe.push((gateway, id));
                }
            }
            for (gateway, id) in safe {
                self.send_ack(&gateway, &id, AckLevel::Safe, None);
            }
        }
        Ok(())
    }

    fn tick(&mut self) -> Check {
        self.heap.after(1_000_000, Event::Tick);
        for p in 0..self.logs.len() {
            self.append(p, "", wire::encode_control(&Control::Tick));
        }
        Ok(())
    }

    // ---- partition tasks ----

    fn take_over(&mut self, p: usize) -> Check {
        let was_idle = self.tasks[p].is_none();
        let task = recover(&mut self.logs[p], &self.settings, &self.fleet)?;
        self.tasks[p] = Some(task);
        if was_idle {
            self.heap.after(1_000, Event::Work(p));
        }
        Ok(())
    }

    fn work(&mut self, p: usize) -> Check {
        let Some(mut task) = self.tasks[p].take() else {
            return Ok(());
        };
        let max = 1 + self.rates.below(400) as usize;
        task.step(&self.logs[p], max);
        if self.rates.strikes(Fault::TaskKilled, 0.000_5) {
            let delay = 500_000 + self.rates.below(30_000_000);
            self.heap.after(delay, Event::Owner(p));
            return Ok(());
        }
        if self.rates.strikes(Fault::Zombie, 0.000_5) {
            // it sleeps through a change of owner and wakes up
            self.zombies[p] = Some(task);
            self.heap.after(1_000_000, Event::Owner(p));
            return Ok(());
        }
        let rows = task
            .commit(&mut self.logs[p])
            .map_err(|_| format!("the newest owner of partition {p} was fenced"))?;
        self.tasks[p] = Some(task);
        for row in &rows {
            self.visible(p, row)?;
        }
        self.downlink(p)?;
        self.zombie(p)?;
        let delay = 20_000 + self.rates.below(1_500_000);
        self.heap.after(delay, Event::Work(p));
        Ok(())
    }

    fn zombie(&mut self, p: usize) -> Check {
        let Some(mut zombie) = self.zombies[p].take() else {
            return Ok(());
        };
        zombie.step(&self.logs[p], 300);
        let position = zombie.state.position();
        let same = self.logs[p].commits.iter().find(|c| c.position == position);
        if same.is_some_and(|c| c.hash != zombie.state.output_hash()) {
            return Err(format!(
                "two owners of partition {p} made different outputs up to {position}"
            ));
        }
        match zombie.commit(&mut self.logs[p]) {
            Err(_) => Ok(()),
            Ok(_) => Err(format!("a fenced owner of partition {p} could commit")),
        }
    }

    fn visible(&mut self, p: usize, row: &FeatureRow) -> Check {
        self.outcome.results += 1;
        self.trace.update(row.encode());
        let r = &row.result;
        if r.status == Status::Exact {
            self.outcome.exact += 1;
            let t1 = r.start.plus_us(r.kind.len_us());
            if let Some(id) =
                self.ledger
                    .missing_on_time(&row.turbine, r.start, t1, &self.logs[p].applied)
            {
                return Err(format!(
                    "{} window {} at {:?} was called exact without {id}",
                    row.turbine,
                    r.kind.as_str(),
                    r.start
                ));
            }
        }
        Ok(())
    }

    fn downlink(&mut self, p: usize) -> Check {
        let new: Vec<(String, Vec<u8>)> = self.logs[p].outputs[self.downlinked[p]..]
            .iter()
            .filter(|o| o.topic == Topic::Downlink)
            .map(|o| (o.key.clone(), o.bytes.clone()))
            .collect();
        self.downlinked[p] = self.logs[p].outputs.len();
        for (gateway, bytes) in new {
            let gateway =
                GatewayId::new(&gateway).map_err(|e| format!("downlink for nobody: {e}"))?;
            let message = wire::decode_downlink(&bytes)
                .map_err(|e| format!("a downlink does not decode: {e}"))?;
            self.send_down(&gateway, &message);
        }
        Ok(())
    }

    fn snapshot(&mut self, p: usize) -> Check {
        let delay = 60_000_000 + self.rates.below(600_000_000);
        self.heap.after(delay, Event::Snapshot(p));
        if let Some(task) = &self.tasks[p]
            && task.pending.is_empty()
        {
            let bytes = task.state.snapshot();
            self.logs[p].snapshots.push((task.state.position(), bytes));
            if self.rates.strikes(Fault::SnapshotLost, 0.05)
                && let Some((_, bytes)) = self.logs[p].snapshots.last_mut()
            {
                bytes.truncate(bytes.len() / 2);
            }
            if self.logs[p].snapshots.len() > 4 {
                self.logs[p].snapshots.remove(0);
            }
        }
        Ok(())
    }

    fn sink(&mut self) -> Check {
        let delay = 1_000_000 + self.rates.below(20_000_000);
        self.heap.after(delay, Event::Sink);
        for p in 0..self.logs.len() {
            let killed = self.rates.strikes(Fault::SinkKilled, 0.02);
            self.sinks.step(p, &self.logs[p], killed)?;
        }
        Ok(())
    }

    // ---- the end ----

    fn finish(mut self) -> Result<Outcome, String> {
        self.ledger.check_stamps()?;
        for p in 0..self.logs.len() {
            self.sinks.drain(p, &self.logs[p])?;
        }
        let lossy: Vec<_> = self
            .gateways
            .iter()
            .filter(|g| g.erased)
            .flat_map(|g| g.turbines.clone())
            .collect();
        crate::recount::check(&crate::recount::End {
            ledger: &self.ledger,
            logs: &self.logs,
            sinks: &self.sinks,
            disks: self.gateways.iter().map(|g| &g.disk).collect(),
            refused_by_ingest: &self.refused_by_ingest,
            replaced: &lossy,
            fleet: &self.fleet,
        })?;
        let mut outcome = std::mem::take(&mut self.outcome);
        outcome.faults = self.rates.counts.clone();
        outcome.records = self.ledger.entries.len();
        outcome.lost = self.ledger.gaps.len();
        outcome.virtual_us = self.heap.now();
        for log in &self.logs {
            self.trace
                .update(log.commits.last().map_or([0; 32], |c| c.hash));
        }
        outcome.trace = self.trace.finalize().into();
        Ok(outcome)
    }
}
