//! The process role: one thread a partition around the pure task.
//!
//! A thread recovers (see [`recovery`]), then reads what is there, applies it, and commits the outputs with the position
//! in one log transaction. Invariants: no output is visible without the position that made it; the committed position
//! carries the hash over all outputs up to it; a setting takes effect only with a snapshot at the position where it does,
//! so that no replay spans a change.

pub mod recovery;
pub mod snapshot;

use std::sync::Arc;
use std::time::Duration;

use windlass_cloud_core::fleet::Fleet;
use windlass_cloud_core::task::{LogInput, Partition, TaskOutput, TaskSettings};
use windlass_cloud_core::topic::partition_of;
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
use recovery::{Progress, RecoveryError};
use snapshot::{SnapshotError, SnapshotQueue, SnapshotStore};

/// Input of one transaction.
pub const LIMITS: ReadLimits = ReadLimits {
    entries_max: 1_000,
    bytes_max: 4 * 1024 * 1024,
};
/// How long a read may wait: how soon a stop is seen.
const READ_WAIT: Duration = Duration::from_millis(200);
/// Positions without outputs are committed this often, µs.
const POSITION_EVERY_US: u64 = 1_000_000;

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
    /// Counters.
    pub metrics: ProcessMetrics,
    /// For the position commits and for measuring.
    pub clock: Clock,
}

/// One partition at work.
struct Worker<'a> {
    shared: &'a Processor,
    partition: PartitionId,
    task: Partition,
    reader: Box<dyn Reader>,
    /// First offset that is not committed.
    committed: u64,
    committed_at: MonoTime,
    snapshot_at: MonoTime,
    /// Position of the newest snapshot that was asked for.
    snapshot_position: Option<u64>,
    outputs: Vec<TaskOutput>,
}

impl Processor {
    /// Runs one partition on the calling thread until told to stop; ends with a snapshot.
    pub fn run(&self, partition: PartitionId, stop: &Stop) -> Result<(), ProcessError> {
        let mut worker = self.recover(partition, stop)?;
        let Some(worker) = worker.as_mut() else {
            return Ok(());
        };
        worker.prepare()?;
        while !stop.is_set() {
            worker.step(READ_WAIT)?;
        }
        worker.finish()
    }

    fn recover(
        &self,
        partition: PartitionId,
        stop: &Stop,
    ) -> Result<Option<Worker<'_>>, ProcessError> {
        let started = self.clock.mono();
        let recovered =
            recovery::recover(self, partition, stop).map_err(|source| ProcessError::Recovery {
                partition: partition.0,
                source,
            })?;
        let Some(recovered) = recovered else {
            return Ok(None);
        };
        let now = self.clock.mono();
        let label = metrics::Partition {
            partition: partition.0,
        };
        self.metrics
            .recovery_seconds
            .get_or_create(&label)
            .set(now.since_us(started) as f64 / 1e6);
        self.metrics
            .replayed
            .get_or_create(&label)
            .set(recovered.replayed as i64);
        tracing::info!(
            partition = partition.0,
            position = recovered.task.position(),
            snapshot = ?recovered.snapshot,
            replayed = recovered.replayed,
            ms = now.since_us(started) / 1_000,
            "partition recovered"
        );
        let input = TopicPartition::new(Topic::Telemetry, partition);
        let position = recovered.task.position();
        let reader = self
            .log
            .reader(vec![(input, Offset(position))])
            .map_err(|source| log_error(partition, source))?;
        Ok(Some(Worker {
            shared: self,
            partition,
            task: recovered.task,
            reader,
            committed: position,
            committed_at: now,
            snapshot_at: now,
            snapshot_position: recovered.snapshot,
            outputs: Vec::new(),
        }))
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

impl Worker<'_> {
    /// Brings the configuration into force: settings and farms at once, with a snapshot; detectors through the log.
    fn prepare(&mut self) -> Result<(), ProcessError> {
        let shared = self.shared;
        let adopted = self
            .task
            .adopt(Arc::clone(&shared.settings), Arc::clone(&shared.fleet));
        let logic_changed = self.progress_differs()?;
        if adopted || logic_changed {
            self.snapshot_now()?;
            self.commit()?;
        }
        if let Some(file) = &shared.detectors {
            self.propose_detectors(file)?;
        }
        Ok(())
    }

    /// Was the committed position written by another version of the logic?
    fn progress_differs(&self) -> Result<bool, ProcessError> {
        let committed = self
            .shared
            .log
            .committed(Group::Process, self.input())
            .map_err(|e| log_error(self.partition, e))?;
        Ok(committed
            .and_then(|c| Progress::parse(&c.meta))
            .is_some_and(|p| p != Progress::of(&self.task)))
    }

    fn propose_detectors(&self, file: &DetectorFile) -> Result<(), ProcessError> {
        match self.task.detectors() {
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

    /// Reads, applies, commits.
    fn step(&mut self, wait: Duration) -> Result<(), ProcessError> {
        let entries = self
            .reader
            .poll(self.shared.limits, wait)
            .map_err(|e| log_error(self.partition, e))?;
        for entry in &entries {
            self.task.apply(&input(entry), &mut self.outputs);
        }
        let label = metrics::Partition {
            partition: self.partition.0,
        };
        let metrics = &self.shared.metrics;
        metrics
            .entries
            .get_or_create(&label)
            .inc_by(entries.len() as u64);
        let now = self.shared.clock.mono();
        let moved = self.task.position() > self.committed;
        let due = now.since_us(self.committed_at) >= POSITION_EVERY_US;
        if !self.outputs.is_empty() || (moved && due) {
            self.commit()?;
        }
        let every = self.shared.snapshot_every.as_micros() as u64;
        if now.since_us(self.snapshot_at) >= every && self.offer_snapshot()? {
            self.snapshot_at = now;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), ProcessError> {
        let partitions = self.shared.log.partitions();
        let outputs: Vec<NewEntry> = self
            .outputs
            .drain(..)
            .map(|o| to_entry(o, self.partition, partitions))
            .collect();
        let metrics = &self.shared.metrics;
        for output in &outputs {
            let topic = output.to.topic.as_str();
            metrics.outputs.get_or_create(&TopicLabel { topic }).inc();
        }
        let started = self.shared.clock.mono();
        let position = self.task.position();
        self.shared
            .log
            .commit(Commit {
                group: Group::Process,
                input: self.input(),
                next: Offset(position),
                meta: Progress::of(&self.task).to_text(),
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
            .get_or_create(&metrics::Partition {
                partition: self.partition.0,
            })
            .set(position as i64);
        self.committed = position;
        self.committed_at = now;
        Ok(())
    }

    /// Hands a copy to the snapshot thread. Only committed states become snapshots: recovery looks at or before the
    /// committed position. False: the thread is busy.
    fn offer_snapshot(&mut self) -> Result<bool, ProcessError> {
        if self.task.position() > self.committed {
            self.commit()?;
        }
        if self.snapshot_position == Some(self.committed) {
            return Ok(true);
        }
        let started = self.shared.clock.mono();
        let offered = self
            .shared
            .snapshot_queue
            .offer(self.partition, || self.task.clone());
        if offered {
            let pause = self.shared.clock.mono().since_us(started);
            self.shared
                .metrics
                .snapshot_pause_seconds
                .observe(pause as f64 / 1e6);
            self.snapshot_position = Some(self.committed);
        }
        Ok(offered)
    }

    fn snapshot_now(&mut self) -> Result<(), ProcessError> {
        self.shared
            .snapshots
            .write(self.shared.log.as_ref(), self.partition, &self.task)
            .map_err(|source| ProcessError::Snapshot {
                partition: self.partition.0,
                source,
            })?;
        self.snapshot_position = Some(self.task.position());
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ProcessError> {
        if self.task.position() > self.committed || !self.outputs.is_empty() {
            self.commit()?;
        }
        if self.snapshot_position != Some(self.task.position()) {
            self.snapshot_now()?;
        }
        Ok(())
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
