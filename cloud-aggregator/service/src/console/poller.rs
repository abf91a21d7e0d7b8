//! The one reader of the status store: looks once a second, builds the board, and hands it to everybody.
//!
//! Invariants: nobody else reads the store for the wall; it reads only, over connections of its own, so it never holds back
//! a writer; a failure is said in the log and the board grows old, which its readers can see.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use windlass_cloud_core::fleet::Fleet;
use windlass_cloud_core::output::{AlertEvent, StatusDoc};
use windlass_cloud_core::task::LOGIC_VERSION;
use windlass_shared::id::TurbineId;
use windlass_shared::time::WallTime;

use super::ask::time_text;
use super::board::{Board, Sources};
use super::model::is_open;
use super::pipeline::{IngestHealth, LakeHealth, PartitionHealth, Pipeline, Sink};
use crate::causes::Causes;
use crate::clock::Clock;
use crate::log::sqlite::SqliteView;
use crate::log::{Group, LogError, Offset, PartitionId, ReadLimits, Topic, TopicPartition};
use crate::metrics::IngestMetrics;
use crate::serve::store::{StatusStore, StoreError};
use crate::stop::Stop;

/// How often it looks.
pub const EVERY: Duration = Duration::from_secs(1);
/// Alerts that ended and are still shown to live clients, the newest.
const ENDED_MAX: usize = 1_000;
/// Weight of the newest second in a turbine's mean rate.
const RATE_WEIGHT: f64 = 0.05;

/// What the poller needs.
pub struct Poller {
    /// Who stands where.
    pub fleet: Arc<Fleet>,
    /// The status store's file.
    pub store: PathBuf,
    /// The log's file.
    pub log: PathBuf,
    /// Folder of the snapshots.
    pub snapshots: PathBuf,
    /// Age at which a turbine is silent.
    pub stale_after: Duration,
    /// Ingest's counters; `None`: ingest is another process.
    pub ingest: Option<IngestMetrics>,
    /// What time it is.
    pub clock: Clock,
    /// When the service was started.
    pub started: WallTime,
}

/// Records of a turbine.
#[derive(Default)]
struct Rate {
    records: u64,
    at: WallTime,
    per_s: Option<f64>,
}

/// What it remembers between two looks.
#[derive(Default)]
struct Memory {
    store: Option<StatusStore>,
    log: Option<SqliteView>,
    docs: BTreeMap<TurbineId, Arc<StatusDoc>>,
    /// Of the documents, by turbine: what has not moved is not read again.
    positions: BTreeMap<String, u64>,
    alerts: BTreeMap<String, Arc<AlertEvent>>,
    alert_positions: Option<Vec<Option<Offset>>>,
    rates: BTreeMap<TurbineId, Rate>,
    ingested: Option<(u64, WallTime)>,
    ingest_rate: Option<f64>,
    failed: bool,
}

/// Why a look failed. Retry: the next one may not.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Poller {
    /// Runs on a thread until told to stop.
    pub fn run(&self, board: &watch::Sender<Arc<Board>>, stop: &Stop) {
        let mut memory = Memory::default();
        while !stop.is_set() {
            let begun = self.clock.mono();
            match self.look(&mut memory) {
                Ok(new) => {
                    memory.failed = false;
                    board.send_replace(Arc::new(new));
                }
                Err(e) => {
                    // once, not every second
                    if !memory.failed {
                        tracing::error!(error = %Causes(&e), "the console's picture is not new");
                    }
                    memory = Memory {
                        failed: true,
                        ..Memory::default()
                    };
                }
            }
            while !stop.is_set() && self.clock.mono().since_us(begun) < EVERY.as_micros() as u64 {
                std::thread::park_timeout(Duration::from_millis(50));
            }
        }
    }

    fn look(&self, memory: &mut Memory) -> Result<Board, LookError> {
        if memory.store.is_none() && self.store.exists() {
            memory.store = Some(StatusStore::open_read_only(&self.store)?);
        }
        if memory.log.is_none() && self.log.exists() {
            memory.log = Some(SqliteView::open(&self.log)?);
        }
        let now = self.clock.wall();
        let partitions = match &memory.log {
            Some(log) => log.partitions()?,
            None => 0,
        };
        read_store(memory, partitions)?;
        measure(memory, now);
        let pipeline = self.pipeline(memory, partitions, now)?;
        let record_bytes = self.record_bytes();
        let known: Vec<f64> = memory.rates.values().filter_map(|r| r.per_s).collect();
        let mean = (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64);
        let rates = |id: &TurbineId| {
            let own = memory.rates.get(id).and_then(|r| r.per_s);
            let per_s = own.or(mean);
            (record_bytes, per_s.zip(record_bytes).map(|(n, b)| n * b))
        };
        Ok(Board::of(Sources {
            fleet: &self.fleet,
            docs: &memory.docs,
            alerts: &memory.alerts,
            rates: &rates,
            pipeline,
            now,
            stale_after_us: self.stale_after.as_micros() as i64,
        }))
    }

    /// Mean size of the records that came since the start.
    fn record_bytes(&self) -> Option<f64> {
        let m = self.ingest.as_ref()?;
        let (bytes, records) = (m.bytes.get(), m.accepted.get());
        (records > 0).then(|| bytes as f64 / records as f64)
    }

    fn pipeline(
        &self,
        memory: &mut Memory,
        partitions: u16,
        now: WallTime,
    ) -> Result<Pipeline, LookError> {
        let mut p = Pipeline {
            version: env!("CARGO_PKG_VERSION"),
            started: time_text(self.started.0),
            ingest: self.ingest(memory, now),
            ..Pipeline::default()
        };
        let Some(log) = &memory.log else { return Ok(p) };
        let generation = log.generation()?;
        for partition in (0..partitions).map(PartitionId) {
            p.partitions
                .push(self.partition(log, partition, generation, now)?);
            let dead = TopicPartition::new(Topic::DeadLetter, partition);
            p.counts.dead_letters += log.bounds(dead)?.1.0;
        }
        for group in Group::ALL.into_iter().filter(|g| *g != Group::Snapshot) {
            let mut lag = None;
            for topic in Topic::ALL {
                for partition in (0..partitions).map(PartitionId) {
                    let at = TopicPartition::new(topic, partition);
                    if let Some(c) = log.committed(group, at)? {
                        let behind = log.bounds(at)?.1.0.saturating_sub(c.next.0);
                        lag = Some(lag.unwrap_or(0) + behind);
                    }
                }
            }
            let name = group.as_str();
            p.sinks.extend(lag.map(|lag| Sink { name, lag }));
        }
        p.lake = lake(log, partitions)?;
        Ok(p)
    }

    fn ingest(&self, memory: &mut Memory, now: WallTime) -> IngestHealth {
        let Some(m) = &self.ingest else {
            return IngestHealth::default();
        };
        let records = m.accepted.get();
        if let Some((before, at)) = memory.ingested {
            let s = (now.0 - at.0) as f64 / 1e6;
            let n = records.saturating_sub(before) as f64;
            memory.ingest_rate = (s > 0.0).then(|| (n / s * 10.0).round() / 10.0);
        }
        memory.ingested = Some((records, now));
        IngestHealth {
            connected: Some(m.connected.get() == 1),
            rate: memory.ingest_rate,
        }
    }

    fn partition(
        &self,
        log: &SqliteView,
        partition: PartitionId,
        generation: u64,
        now: WallTime,
    ) -> Result<PartitionHealth, LookError> {
        let at = TopicPartition::new(Topic::Telemetry, partition);
        let (_, head) = log.bounds(at)?;
        let committed = log.committed(Group::Process, at)?.map(|c| c.next);
        let snapshot = self.newest_snapshot(partition, generation);
        let done = committed.unwrap_or_default();
        Ok(PartitionHealth {
            partition: partition.0,
            head: head.0,
            committed: committed.map(|c| c.0),
            lag: head.0.saturating_sub(done.0),
            log_time: time_before(log, at, head)?,
            snapshot_position: snapshot.map(|s| s.0),
            snapshot_age_s: snapshot.map(|s| ((now.0 - s.1).max(0) / 100_000) as f64 / 10.0),
            logic_version: LOGIC_VERSION,
        })
    }

    /// Position and time of the newest snapshot.
    fn newest_snapshot(&self, partition: PartitionId, generation: u64) -> Option<(u64, i64)> {
        let folder = format!("g{generation}/telemetry-{}", partition.0);
        let files = std::fs::read_dir(self.snapshots.join(folder)).ok()?;
        let position = |name: &str| name.strip_suffix(".snap")?.parse::<u64>().ok();
        let newest = files
            .flatten()
            .filter_map(|f| Some((position(f.file_name().to_str()?)?, f)))
            .max_by_key(|(position, _)| *position)?;
        let written = newest.1.metadata().and_then(|m| m.modified()).ok()?;
        let since = written.duration_since(std::time::UNIX_EPOCH).ok()?;
        Some((newest.0, since.as_micros() as i64))
    }
}

/// Append time of the entry before `next`.
fn time_before(
    log: &SqliteView,
    at: TopicPartition,
    next: Offset,
) -> Result<Option<String>, LogError> {
    let Some(last) = next.0.checked_sub(1) else {
        return Ok(None);
    };
    let one = ReadLimits {
        entries_max: 1,
        bytes_max: 1,
    };
    let mut entries = Vec::new();
    match log.read(at, Offset(last), one, &mut entries) {
        // retention was faster
        Ok(()) | Err(LogError::Trimmed { .. }) => {}
        Err(e) => return Err(e),
    }
    Ok(entries.first().and_then(|e| time_text(e.time.0)))
}

fn lake(log: &SqliteView, partitions: u16) -> Result<LakeHealth, LogError> {
    let mut health = LakeHealth::default();
    for partition in (0..partitions).map(PartitionId) {
        let at = TopicPartition::new(Topic::Telemetry, partition);
        let next = log.committed(Group::Lake, at)?.map(|c| c.next);
        let next = next.unwrap_or_default();
        health.lag += log.bounds(at)?.1.0.saturating_sub(next.0);
        // the earliest of the partitions: up to there everything is in
        let time = time_before(log, at, next)?;
        health.last_cut = match (health.last_cut.take(), time) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
    Ok(health)
}

fn read_store(memory: &mut Memory, partitions: u16) -> Result<(), StoreError> {
    let Some(store) = &memory.store else {
        return Ok(());
    };
    for (turbine, position) in store.status_positions()? {
        if memory.positions.get(&turbine) == Some(&position) {
            continue;
        }
        let Some(text) = store.status_document(&turbine)? else {
            continue;
        };
        match StatusDoc::decode(text.as_bytes()) {
            Ok(doc) => {
                // the document's own position: it may be newer than the one in the list
                memory.positions.insert(turbine, doc.position);
                memory.docs.insert(doc.turbine.clone(), Arc::new(doc));
            }
            Err(error) => tracing::error!(%error, "a status document was passed over"),
        }
    }
    let mut positions = Vec::new();
    for partition in (0..partitions).map(PartitionId) {
        positions.push(store.position(TopicPartition::new(Topic::Alerts, partition))?);
    }
    if memory.alert_positions.as_ref() == Some(&positions) {
        return Ok(());
    }
    let mut ended: Vec<String> = Vec::new();
    let open = decode(&store.open_alert_documents()?);
    for (id, old) in &memory.alerts {
        if is_open(old.state) && !open.contains_key(id) {
            ended.push(id.clone());
        }
    }
    memory.alerts.retain(|_, a| !is_open(a.state));
    memory.alerts.extend(open);
    for id in ended {
        if let Some(text) = store.alert_document(&id)? {
            memory.alerts.extend(decode(&[text]));
        }
    }
    let mut over: Vec<_> = memory
        .alerts
        .values()
        .filter(|a| !is_open(a.state))
        .map(|a| (a.log_time, a.alert.clone()))
        .collect();
    over.sort_unstable();
    let surplus = over.len().saturating_sub(ENDED_MAX);
    for (_, id) in over.into_iter().take(surplus) {
        memory.alerts.remove(&id);
    }
    memory.alert_positions = Some(positions);
    Ok(())
}

fn decode(texts: &[String]) -> BTreeMap<String, Arc<AlertEvent>> {
    let mut out = BTreeMap::new();
    for text in texts {
        match AlertEvent::decode(text.as_bytes()) {
            Ok(e) => drop(out.insert(e.alert.clone(), Arc::new(e))),
            Err(error) => tracing::error!(%error, "an alert was passed over"),
        }
    }
    out
}

/// Follows each turbine's rate of records while it speaks.
fn measure(memory: &mut Memory, now: WallTime) {
    for (id, doc) in &memory.docs {
        let rate = memory.rates.entry(id.clone()).or_default();
        let s = (now.0 - rate.at.0) as f64 / 1e6;
        let new = doc.counts.records.saturating_sub(rate.records);
        if rate.at.0 > 0 && new > 0 && s > 0.0 {
            let now_per_s = new as f64 / s;
            let before = rate.per_s.unwrap_or(now_per_s);
            rate.per_s = Some(before + (now_per_s - before) * RATE_WEIGHT);
        }
        if rate.at.0 == 0 || new > 0 {
            rate.records = doc.counts.records;
            rate.at = now;
        }
    }
}
