//! The process role: one thread a partition around the pure task.
//!
//! A thread recovers (see [`recovery`]), then reads what is there, applies it, and commits the outputs with the position
//! in one log transaction. When that is due and what it holds is `windlass_cloud_core::worker`'s to say. Invariants: no
//! output is visible without the position that made it; a setting takes effect only with a snapshot at the position where
//! it does, so that no replay spans a change.

pub mod recovery;
pub mod snapshot;

use std::sync::Arc;
use std::time::Duration;

use windlass_cloud_core::fleet::Fleet;
use windlass_cloud_core::recovery::{Recovered, RecoveryError};
use windlass_cloud_core::task::{LogInput, TaskOutput, TaskSettings};
use windlass_cloud_core::topic::partition_of;
use windlass_cloud_core::worker::Worker;
use windlass_shared::time::MonoTime;
use windlass_shared::wire::{Control, encode_control};

use crate::clock::Clock;
use crate::config::DetectorFile;
use crate::log::{
    Commit, Group, Log, LogError, NewEntry, Offset, PartitionId, ReadLimits, Reader, StoredEntry,
    Topic, TopicPartition,
};
use crate::metrics::{self, ProcessMetrics, TopicLabel};
use crate::stop::Stop;
use snapshot::{SnapshotError, SnapshotQueue, SnapshotStore};

/// Input of one transaction.
pub const LIMITS: ReadLimits = ReadLimits {
    entries_max: 1_000,
    bytes_max: 4 * 1024 * 1024,
};
/// How long a read may wait: how soon a stop is seen.
const READ_WAIT: Duration = Duration::from_millis(200);

/// Why a partition ends. Fatal.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The log failed.
    #[error("partition {partition}")]
    Log {
        /// Which.
        partition: u16,
        /// Why.
        source: LogError,
    },
    /// The state could not be rebuilt.
    #[error("partition {partition}")]
    Recovery {
        /// Which.
        partition: u16,
        /// Why.
        source: RecoveryError,
    },
    /// A snapshot that must exist before the next output could not be written.
    #[error("partition {partition}")]
    Snapshot {
        /// Which.
        partition: u16,
        /// Why.
        source: SnapshotError,
    },
    /// The detector file would not take effect.
    #[error(
        "partition {partition}: detectors version {found} has other content than, or is older than, version {in_force} \
         that is in force: raise `version` in the detector file"
    )]
    DetectorVersion {
        /// Which.
        partition: u16,
        /// In the file.
        found: u64,
        /// In force.
        in_force: u64,
    },
}

/// What every partition's thread has.
pub struct Processor {
    /// From and to where.
    pub log: Arc<dyn Log>,
    /// Snapshots.
    pub snapshots: Arc<SnapshotStore>,
    /// Writes them beside the partitions' threads.
    pub snapshot_queue: SnapshotQueue,
    /// Limits and waits, as configured.
    pub settings: Arc<TaskSettings>,
    /// Who stands where.
    pub fleet: Arc<Fleet>,
    /// As configured.
    pub detectors: Option<DetectorFile>,
    /// Between two snapshots.
    pub snapshot_every: Duration,
    /// Input of one transaction; results do not depend on it.
    pub limits: ReadLimits,
    /// Version of the logic: `windlass_cloud_core::task::LOGIC_VERSION`.
    pub logic: u32,
    /// Counters.
    pub metrics: ProcessMetrics,
    /// For the position commits and for measuring.
    pub clock: Clock,
}

/// One partition at work.
struct Runner<'a> {
    shared: &'a Processor,
    partition: PartitionId,
    worker: Worker,
    reader: Box<dyn Reader>,
    snapshot_at: MonoTime,
}

impl Processor {
    /// Runs one partition on the calling thread until told to stop; ends with a snapshot.
    pub fn run(&self, partition: PartitionId, stop: &Stop) -> Result<(), ProcessError> {
        let mut runner = self.recover(partition, stop)?;
        let Some(runner) = runner.as_mut() else {
            return Ok(());
        };
        runner.prepare()?;
        while !stop.is_set() {
            runner.step(READ_WAIT)?;
        }
        runner.finish()
    }

    fn recover(
        &self,
        partition: PartitionId,
        stop: &Stop,
    ) -> Result<Option<Runner<'_>>, ProcessError> {
        let started = self.clock.mono();
        let Some(recovered) = recovery::recover(self, partition, stop)? else {
            return Ok(None);
        };
        let now = self.clock.mono();
        self.tell(partition, &recovered, now.since_us(started));
        let input = TopicPartition::new(Topic::Telemetry, partition);
        let reader = self
            .log
            .reader(vec![(input, Offset(recovered.task.position()))])
            .map_err(|source| log_error(partition, source))?;
        Ok(Some(Runner {
            shared: self,
            partition,
            worker: Worker::new(recovered, now),
            reader,
            snapshot_at: now,
        }))
    }

    fn tell(&self, partition: PartitionId, recovered: &Recovered, took_us: u64) {
        let label = metrics::Partition {
            partition: partition.0,
        };
        self.metrics
            .recovery_seconds
            .get_or_create(&label)
            .set(took_us as f64 / 1e6);
        self.metrics
            .replayed
            .get_or_create(&label)
            .set(recovered.replayed as i64);
        tracing::info!(
            partition = partition.0,
            position = recovered.task.position(),
            snapshot = ?recovered.snapshot,
            replayed = recovered.replayed,
            ms = took_us / 1_000,
            "partition recovered"
        );
        if let Some(change) = recovered.changed {
            tracing::warn!(
                partition = partition.0,
                position = change.position,
                before = change.from,
                now = change.to,
                "another version of the logic takes over; results up to here stay as they are"
            );
        }
    }
}

fn log_error(partition: PartitionId, source: LogError) -> ProcessError {
    ProcessError::Log {
        partition: partition.0,
        source,
    }
}

/// The task's view of an entry.
pub(crate) fn input(entry: &StoredEntry) -> LogInput<'_> {
    LogInput {
        offset: entry.offset.0,
        log_time: entry.time,
        writer: entry.writer,
        key: &entry.key,
        value: &entry.value,
    }
}

impl Runner<'_> {
    /// Brings the configuration into force: settings and farms at once, with a snapshot; detectors through the log.
    fn prepare(&mut self) -> Result<(), ProcessError> {
        let shared = self.shared;
        // that another version of the logic takes over is said before anything else
        let changed = self.worker.is_open();
        if changed {
            self.commit()?;
        }
        let adopted = self
            .worker
            .adopt(Arc::clone(&shared.settings), Arc::clone(&shared.fleet));
        if adopted || changed {
            self.snapshot_now()?;
        }
        if let Some(file) = &shared.detectors {
            self.propose_detectors(file)?;
        }
        Ok(())
    }

    fn propose_detectors(&self, file: &DetectorFile) -> Result<(), ProcessError> {
        match self.worker.task().detectors() {
            Some((version, text)) if version == file.version && text == file.text => return Ok(()),
            Some((in_force, _)) if in_force >= file.version => {
                return Err(ProcessError::DetectorVersion {
                    partition: self.partition.0,
                    found: file.version,
                    in_force,
                });
            }
            _ => {}
        }
        let control = Control::DetectorConfig {
            version: file.version,
            toml: file.text.clone(),
        };
        let entry = NewEntry {
            to: self.input(),
            key: String::new(),
            value: encode_control(&control),
        };
        self.shared
            .log
            .append(vec![entry])
            .wait()
            .map(drop)
            .map_err(|e| log_error(self.partition, e))
    }

    fn input(&self) -> TopicPartition {
        TopicPartition::new(Topic::Telemetry, self.partition)
    }

    fn label(&self) -> metrics::Partition {
        metrics::Partition {
            partition: self.partition.0,
        }
    }

    /// Reads, applies, commits.
    fn step(&mut self, wait: Duration) -> Result<(), ProcessError> {
        let entries = self
            .reader
            .poll(self.shared.limits, wait)
            .map_err(|e| log_error(self.partition, e))?;
        for entry in &entries {
            self.worker.apply(&input(entry));
        }
        self.shared
            .metrics
            .entries
            .get_or_create(&self.label())
            .inc_by(entries.len() as u64);
        let now = self.shared.clock.mono();
        if self.worker.is_due(now) {
            self.commit()?;
        }
        let every = self.shared.snapshot_every.as_micros() as u64;
        if now.since_us(self.snapshot_at) >= every && self.offer_snapshot()? {
            self.snapshot_at = now;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), ProcessError> {
        let transaction = self.worker.transaction();
        let partitions = self.shared.log.partitions();
        let outputs: Vec<NewEntry> = transaction
            .outputs
            .into_iter()
            .map(|o| to_entry(o, self.partition, partitions))
            .collect();
        let metrics = &self.shared.metrics;
        for output in &outputs {
            let topic = output.to.topic.as_str();
            metrics.outputs.get_or_create(&TopicLabel { topic }).inc();
        }
        let started = self.shared.clock.mono();
        self.shared
            .log
            .commit(Commit {
                group: Group::Process,
                input: self.input(),
                next: Offset(transaction.position),
                meta: transaction.progress.to_text(),
                outputs,
            })
            .wait()
            .map_err(|e| log_error(self.partition, e))?;
        let now = self.shared.clock.mono();
        metrics
            .commit_seconds
            .observe(now.since_us(started) as f64 / 1e6);
        metrics
            .position
            .get_or_create(&self.label())
            .set(transaction.position as i64);
        self.worker.committed(now);
        Ok(())
    }

    /// Hands a copy to the snapshot thread. False: the thread is busy.
    fn offer_snapshot(&mut self) -> Result<bool, ProcessError> {
        if self.worker.is_open() {
            self.commit()?;
        }
        let Some(state) = self.worker.snapshot() else {
            return Ok(true);
        };
        let started = self.shared.clock.mono();
        let offered = self
            .shared
            .snapshot_queue
            .offer(self.partition, || state.clone());
        if offered {
            let pause = self.shared.clock.mono().since_us(started);
            self.shared
                .metrics
                .snapshot_pause_seconds
                .observe(pause as f64 / 1e6);
            self.worker.snapshotted();
        }
        Ok(offered)
    }

    /// Writes one, unless there is one.
    fn snapshot_now(&mut self) -> Result<(), ProcessError> {
        let Some(state) = self.worker.snapshot() else {
            return Ok(());
        };
        self.shared
            .snapshots
            .write(self.shared.log.as_ref(), self.partition, state)
            .map_err(|source| ProcessError::Snapshot {
                partition: self.partition.0,
                source,
            })?;
        self.worker.snapshotted();
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ProcessError> {
        if self.worker.is_open() {
            self.commit()?;
        }
        self.snapshot_now()
    }
}

/// Outputs stay in their partition; what goes to a gateway is kept together by gateway.
fn to_entry(output: TaskOutput, partition: PartitionId, partitions: u16) -> NewEntry {
    let partition = if output.topic == Topic::Downlink {
        PartitionId(partition_of(&output.key, partitions.into()) as u16)
    } else {
        partition
    };
    NewEntry {
        to: TopicPartition::new(output.topic, partition),
        key: output.key,
        value: output.bytes,
    }
}
