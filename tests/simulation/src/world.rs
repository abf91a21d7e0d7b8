//! The world of one seed: gateways, network, ingest, log, tasks and sinks on one event heap.
//!
//! First the safety phase, in which every fault may strike and each step is checked; then the healed phase, in which all
//! work must drain in bounded virtual time, or the run names who is stuck.

mod edge;
mod ingest;
mod log;

use std::sync::Arc;

use sha2::{Digest, Sha256};
use windlass_cloud_core::fleet::Fleet;
use windlass_cloud_core::task::TaskSettings;
use windlass_cloud_core::topic::Entry;
use windlass_edge_core::{CommitBatch, Input, LoadRequest, RowLevel};
use windlass_shared::id::RecordId;
use windlass_shared::time::{MonoTime, SECOND_US};

use crate::cloud::{Log, Task};
use crate::faults::{Counts, Rates};
use crate::gateway::{Gateway, SAMPLE_US};
use crate::heap::Heap;
use crate::oracle::{Ledger, Waited};
use crate::sinks::Sinks;

/// Partitions of the log.
pub const PARTITIONS: u32 = 2;
/// A run that has not drained so long after the faults ended is stuck.
const HEAL_MAX_US: u64 = 4 * 3_600 * SECOND_US as u64;

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
    /// Readings that waited for a clock and got their time.
    pub placed: u64,
    /// Readings that no clock ever saw.
    pub untimed: u64,
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
    /// A message reaches the broker.
    Up {
        topic: String,
        payload: Arc<[u8]>,
    },
    /// Ingest has taken what waits: the batch is closed.
    Close(u64),
    /// The log has done, or not done, what ingest asked for.
    Appended(u64, Vec<Entry>),
    IngestStart,
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
    waited: Waited,
    mirrored: bool,
    log_jump_until: u64,
    trace: Sha256,
    outcome: Outcome,
    /// Version of the logic that the next owner has, by partition.
    logic: Vec<u32>,
    /// Downlink outputs already sent, by partition.
    downlinked: Vec<usize>,
    ingest: ingest::Ingest,
}

/// A violation of what must hold, in words.
type Check = Result<(), String>;

impl World {
    /// The world of `seed` before its first event.
    ///
    /// # Panics
    /// When the simulation's own fleet has no catalogue.
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
            settings.windows.open_bytes_max = 0;
        }
        let n = PARTITIONS as usize;
        let mirrored = rates.below(2) == 0;
        let mut world = Self {
            heap: Heap::new(),
            mirrored,
            ingest: ingest::Ingest::new(rates.below(2) == 0),
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
            waited: Waited::default(),
            log_jump_until: 0,
            trace: Sha256::new(),
            outcome: Outcome::default(),
            logic: vec![1; n],
            downlinked: vec![0; n],
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
        world.heap.after(0, Event::IngestStart);
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
            let mut stuck = self.stuck();
            match (&stuck, settled_since) {
                (Some(_), _) => settled_since = None,
                (None, None) => settled_since = Some(self.heap.now()),
                // provisionals of what is still open come once the settle wait is over
                (None, Some(t))
                    if self.heap.now() > t + 3 * self.settings.windows.settle_wait_us as u64 =>
                {
                    stuck = self.unfilled();
                    if stuck.is_none() {
                        break;
                    }
                    settled_since = None;
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
            self.gateways[g].unset_until = 0;
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
            let waits = |r: &&windlass_edge_core::StoredRow| r.level == RowLevel::Waiting;
            let waiting = g.disk.rows().filter(waits).count();
            if waiting > 0 {
                return Some(format!(
                    "{} has {waiting} rows that wait for the clock",
                    g.id
                ));
            }
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

    /// A record that was acknowledged, lies on a disk, and is not in the log: the log lost its tail, and has not got an
    /// answer to its question yet (each question without progress waits longer).
    fn unfilled(&self) -> Option<String> {
        let rows = self.gateways.iter().flat_map(|g| g.disk.rows());
        let mut acked = rows.filter(|r| r.level != RowLevel::Unacked);
        let missing = |id: &RecordId| {
            !self
                .logs
                .iter()
                .any(|l| l.held.contains(id) || l.told.contains(id))
        };
        let row = acked.find(|r| missing(&r.meta.id))?;
        Some(format!(
            "{} was acknowledged, and the log that lost it did not get it again",
            row.meta.id
        ))
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
            Event::Up { topic, payload } => {
                self.broker(topic, payload);
                Ok(())
            }
            Event::Close(life) => self.close(life),
            Event::Appended(life, entries) => self.appended(life, entries),
            Event::IngestStart => {
                self.ingest_start();
                Ok(())
            }
            Event::Down(g, session, bytes) => self.down(g, session, &bytes),
            Event::Tick => {
                self.tick();
                Ok(())
            }
            Event::Mirror => self.mirror(),
            Event::Work(p) => self.work(p),
            Event::Owner(p) => self.take_over(p),
            Event::Snapshot(p) => {
                self.snapshot(p);
                Ok(())
            }
            Event::Sink => self.sink(),
            Event::Weather => self.weather(),
        }
    }

    fn mono(&self) -> MonoTime {
        MonoTime(self.heap.now())
    }

    fn alive(&self, g: usize, life: u64) -> bool {
        self.gateways[g].life == life && self.gateways[g].core.is_some()
    }

    fn finish(mut self) -> Result<Outcome, String> {
        self.ledger.check_stamps()?;
        for (p, log) in self.logs.iter().enumerate() {
            crate::oracle::check_outputs(log).map_err(|e| format!("partition {p}: {e}"))?;
        }
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
            refused_by_ingest: &self.refused_by_ingest()?,
            replaced: &lossy,
            fleet: &self.fleet,
        })?;
        let mut outcome = std::mem::take(&mut self.outcome);
        outcome.faults = self.rates.counts.clone();
        outcome.records = self.ledger.entries.len();
        outcome.lost = self.ledger.gaps.len();
        outcome.virtual_us = self.heap.now();
        for log in &self.logs {
            if let Some(last) = log.commits.last() {
                self.trace.update(last.progress.to_text());
            }
        }
        outcome.trace = self.trace.finalize().into();
        Ok(outcome)
    }
}
