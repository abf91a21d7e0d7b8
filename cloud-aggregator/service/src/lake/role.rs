//! The lake role: reads the topics that the lake keeps, with its own group, and commits cuts.
//!
//! Invariants: one thread, one writer for each topic's partition; a store that does not answer (or a full disk) is tried
//! again with a growing delay and stops nothing else; a broken invariant ends the role, and with it the process. The
//! group's position follows the markers, never the other way round.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::runtime::Handle;
use windlass_cloud_core::cut::CutSettings;
use windlass_cloud_core::fleet::Fleet;
use windlass_cloud_core::task::LogInput;
use windlass_shared::time::LogTime;

use super::store::Store;
use super::writer::{Done, Hook, PartitionWriter, Setup};
use super::{Disposition, LakeError};
use crate::log::{
    Commit, Group, Log, LogError, Offset, PartitionId, ReadLimits, StoredEntry, Topic,
    TopicPartition,
};
use crate::stop::Stop;

/// What the lake keeps.
pub const TOPICS: [Topic; 4] = [
    Topic::Telemetry,
    Topic::Features,
    Topic::Alerts,
    Topic::DeadLetter,
];
const LIMITS: ReadLimits = ReadLimits {
    entries_max: 2_048,
    bytes_max: 4 * 1024 * 1024,
};
/// How long a read may wait: how soon a stop is seen.
const READ_WAIT: Duration = Duration::from_millis(200);
/// Between two tries after the store failed.
const RETRY_DELAY_MIN: Duration = Duration::from_millis(200);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(30);

/// Why the role ends. Fatal.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    /// The lake is broken.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The log failed.
    #[error("lake: {0}")]
    Log(#[from] LogError),
}

/// A label with a topic of the log.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct LakeTopic {
    /// Its name.
    pub topic: &'static str,
}

/// Counters of the lake, by topic.
#[derive(Clone, Debug, Default)]
pub struct LakeMetrics {
    /// Cuts committed.
    pub cuts: Family<LakeTopic, Counter>,
    /// Entries of the log in them.
    pub entries: Family<LakeTopic, Counter>,
    /// Rows in all their files.
    pub rows: Family<LakeTopic, Counter>,
    /// Files.
    pub files: Family<LakeTopic, Counter>,
    /// Bytes of the files.
    pub bytes: Family<LakeTopic, Counter>,
    /// The log's time at the end of the newest cut, seconds since 1970.
    pub log_time: Family<LakeTopic, Gauge>,
    /// Times that the store failed and was tried again.
    pub retries: Counter,
}

impl LakeMetrics {
    /// Counters that `registry` shows.
    pub fn new(registry: &mut Registry) -> Self {
        let m = Self::default();
        registry.register("lake_cuts", "Cuts committed", m.cuts.clone());
        registry.register("lake_entries", "Log entries in cuts", m.entries.clone());
        registry.register("lake_rows", "Rows written", m.rows.clone());
        registry.register("lake_files", "Parquet files written", m.files.clone());
        registry.register("lake_bytes", "Parquet bytes written", m.bytes.clone());
        registry.register(
            "lake_log_time_seconds",
            "Log time at the end of the newest cut",
            m.log_time.clone(),
        );
        registry.register(
            "lake_retries",
            "Failures of the store that were tried again",
            m.retries.clone(),
        );
        m
    }

    fn count(&self, topic: &'static str, done: &Done) {
        let label = LakeTopic { topic };
        self.cuts.get_or_create(&label).inc();
        self.entries.get_or_create(&label).inc_by(done.entries);
        self.rows.get_or_create(&label).inc_by(done.rows);
        self.files.get_or_create(&label).inc_by(done.files as u64);
        self.bytes.get_or_create(&label).inc_by(done.bytes);
        let seconds = done.log_time.0 / windlass_shared::time::SECOND_US;
        self.log_time.get_or_create(&label).set(seconds);
    }
}

/// The role.
pub struct LakeRole {
    /// Where from.
    pub log: Arc<dyn Log>,
    /// Where to.
    pub store: Store,
    /// Farms and catalogues.
    pub fleet: Arc<Fleet>,
    /// Where cuts end.
    pub cuts: CutSettings,
    /// As in the partition task's settings.
    pub skew_max_us: i64,
    /// Counters.
    pub metrics: LakeMetrics,
}

/// One topic's partition.
struct Lane {
    writer: PartitionWriter,
    /// Offset after the last entry taken.
    next: Offset,
}

impl LakeRole {
    /// Runs on a thread until told to stop.
    pub fn run(&self, runtime: &Handle, stop: &Stop) -> Result<(), RoleError> {
        let mut delay = RETRY_DELAY_MIN;
        while !stop.is_set() {
            let mut committed = 0;
            match self.session(runtime, stop, &mut committed) {
                Ok(()) => return Ok(()),
                Err(RoleError::Lake(e)) if e.disposition() == Disposition::Retry => {
                    if committed > 0 {
                        delay = RETRY_DELAY_MIN;
                    }
                    self.metrics.retries.inc();
                    tracing::warn!(
                        delay_ms = delay.as_millis() as u64,
                        "the lake's store failed; nothing is lost, trying again: {e}"
                    );
                    wait(runtime, stop, delay);
                    delay = RETRY_DELAY_MAX.min(delay * 2);
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// From recovery to the first failure or the stop.
    fn session(&self, runtime: &Handle, stop: &Stop, cuts: &mut u64) -> Result<(), RoleError> {
        let mut lanes = self.recover(runtime)?;
        let from = lanes.iter().map(|(at, lane)| (*at, lane.next)).collect();
        let mut reader = self.log.reader(from)?;
        while !stop.is_set() {
            for entry in reader.poll(LIMITS, READ_WAIT)? {
                if let Some(lane) = lanes.get_mut(&entry.at) {
                    let done = runtime.block_on(lane.writer.take(&input(&entry)))?;
                    lane.next = Offset(entry.offset.0 + 1);
                    *cuts += self.finish(entry.at, lane, done)?;
                }
            }
            *cuts += self.quiet(runtime, &mut lanes)?;
        }
        Ok(())
    }

    fn recover(&self, runtime: &Handle) -> Result<BTreeMap<TopicPartition, Lane>, RoleError> {
        let mut lanes = BTreeMap::new();
        for topic in TOPICS {
            for p in 0..self.log.partitions() {
                let at = TopicPartition::new(topic, PartitionId(p));
                let setup = Setup {
                    store: self.store.clone(),
                    fleet: Arc::clone(&self.fleet),
                    cuts: self.cuts.clone(),
                    skew_max_us: self.skew_max_us,
                    generation: self.log.generation(),
                };
                let start = self.log.bounds(at)?.0;
                let committed = self.log.committed(Group::Lake, at)?.map(|c| c.next);
                let writer = runtime.block_on(PartitionWriter::recover(
                    setup,
                    topic,
                    u32::from(p),
                    start.0,
                    committed.map(|c| c.0),
                    Hook::default(),
                ))?;
                let next = Offset(writer.position());
                if committed.is_none_or(|c| c < next) && next > start {
                    self.commit_position(at, next)?;
                }
                lanes.insert(at, Lane { writer, next });
            }
        }
        Ok(lanes)
    }

    /// Cuts of derived topics that no further entry ends: their time goes on with the telemetry topic's ticks.
    fn quiet(
        &self,
        runtime: &Handle,
        lanes: &mut BTreeMap<TopicPartition, Lane>,
    ) -> Result<u64, RoleError> {
        let mut times: BTreeMap<PartitionId, LogTime> = BTreeMap::new();
        for (at, lane) in lanes.iter().filter(|(at, _)| at.topic == Topic::Telemetry) {
            times.insert(at.partition, lane.writer.log_time());
        }
        let mut cuts = 0;
        for (at, lane) in lanes
            .iter_mut()
            .filter(|(at, _)| at.topic != Topic::Telemetry)
        {
            let now = times.get(&at.partition).copied().unwrap_or(LogTime::MIN);
            if !lane.writer.is_over(now) || self.log.bounds(*at)?.1 > lane.next {
                continue;
            }
            let done = runtime.block_on(lane.writer.quiet(now))?;
            cuts += self.finish(*at, lane, done)?;
        }
        Ok(cuts)
    }

    fn finish(
        &self,
        at: TopicPartition,
        lane: &mut Lane,
        done: Option<Done>,
    ) -> Result<u64, RoleError> {
        let Some(done) = done else { return Ok(0) };
        lane.writer.before_position()?;
        self.commit_position(at, Offset(done.next))?;
        self.metrics.count(at.topic.as_str(), &done);
        tracing::debug!(
            %at,
            next = done.next,
            entries = done.entries,
            files = done.files,
            rows = done.rows,
            bytes = done.bytes,
            "cut committed"
        );
        Ok(1)
    }

    fn commit_position(&self, at: TopicPartition, next: Offset) -> Result<(), LogError> {
        let commit = Commit {
            group: Group::Lake,
            input: at,
            next,
            meta: String::new(),
            outputs: Vec::new(),
        };
        self.log.commit(commit).wait()
    }
}

fn input(entry: &StoredEntry) -> LogInput<'_> {
    LogInput {
        offset: entry.offset.0,
        log_time: entry.time,
        writer: entry.writer,
        key: &entry.key,
        value: &entry.value,
    }
}

fn wait(runtime: &Handle, stop: &Stop, delay: Duration) {
    let mut stop = stop.clone();
    runtime.block_on(async {
        // over time: try again
        drop(tokio::time::timeout(delay, stop.raised()).await);
    });
}
