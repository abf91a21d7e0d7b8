//! The cloud's durable parts and its partition tasks: the log, committed outputs and positions, snapshots, and owners that
//! come and go.
//!
//! Invariants: what is in [`Log`] is durable; an owner is not. What recovery does and what a transaction holds is decided
//! by the real core; this file only reads and stores.

use std::collections::BTreeSet;
use std::sync::Arc;

use windlass_cloud_core::fleet::Fleet;
use windlass_cloud_core::output::{DeadLetter, FeatureRow};
use windlass_cloud_core::recovery::{Durable, Progress, Recovery, Step};
use windlass_cloud_core::task::{LogInput, TaskOutput, TaskSettings};
use windlass_cloud_core::topic::Topic;
use windlass_cloud_core::worker::Worker;
use windlass_shared::id::RecordId;
use windlass_shared::time::{MonoTime, WallTime};
use windlass_shared::wire::{self, Control, Logged};

/// One entry of the telemetry topic.
#[derive(Clone, Debug)]
pub struct LogEntry {
    /// Append time.
    pub time: WallTime,
    /// Who appended it.
    pub writer: u32,
    /// The turbine.
    pub key: String,
    /// Its bytes.
    pub value: Vec<u8>,
}

impl LogEntry {
    /// As the task sees it at `offset`.
    pub fn input(&self, offset: u64) -> LogInput<'_> {
        LogInput {
            offset,
            log_time: self.time,
            writer: self.writer,
            key: &self.key,
            value: &self.value,
        }
    }
    /// Identity and bytes of the record in it.
    pub fn record(&self) -> Option<(RecordId, Vec<u8>)> {
        match wire::decode_logged(&self.value) {
            Ok(Logged::Telemetry { record, .. }) => {
                let id = wire::decode(&record).ok()?.header.id;
                Some((id, record))
            }
            _ => None,
        }
    }
}

/// A transaction of a task.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Next input offset.
    pub position: u64,
    /// What stands beside it.
    pub progress: Progress,
    /// Outputs up to here.
    pub outputs: usize,
}

/// A partition of the log with everything that hangs on it.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Telemetry.
    pub entries: Vec<LogEntry>,
    /// How many of them the mirror has.
    pub mirrored: usize,
    /// Records in them.
    pub held: BTreeSet<RecordId>,
    /// Identities that they say were refused.
    pub told: BTreeSet<RecordId>,
    /// Ingest's dead letters.
    pub dead: Vec<DeadLetter>,
    /// Outputs that are visible.
    pub outputs: Vec<TaskOutput>,
    /// Transactions in order.
    pub commits: Vec<Committed>,
    /// Position and bytes, oldest first. Some are damaged, and after a failover some are newer than what is committed.
    pub snapshots: Vec<(u64, Vec<u8>)>,
    /// Who may commit.
    pub owner: u64,
    /// Records that the entries before `applied_to` hold.
    pub applied: BTreeSet<RecordId>,
    /// How much of the committed prefix has been looked at.
    pub applied_to: usize,
    /// Records whose bytes the task refused.
    pub refused: BTreeSet<RecordId>,
    /// Few panes may be open: windows leave before they settle.
    pub small_windows: bool,
}

impl Log {
    /// Committed input position.
    pub fn position(&self) -> u64 {
        self.commits.last().map_or(0, |c| c.position)
    }

    /// Appends an entry of the telemetry topic.
    pub fn append(&mut self, entry: LogEntry) {
        self.note(&entry);
        self.entries.push(entry);
    }

    fn note(&mut self, entry: &LogEntry) {
        match wire::decode_logged(&entry.value) {
            Ok(Logged::Telemetry { record, .. }) => {
                self.held.extend(wire::decode(&record).map(|r| r.header.id));
            }
            Ok(Logged::Control(Control::Refused(refused))) => {
                self.told.insert(refused.id);
            }
            _ => {}
        }
    }

    /// Looks at the committed entries before `to`.
    pub fn advance(&mut self, to: usize) {
        for entry in self.entries.get(self.applied_to..to).unwrap_or_default() {
            self.applied.extend(entry.record().map(|r| r.0));
        }
        self.applied_to = self.applied_to.max(to);
    }

    /// Loses everything that the mirror does not have, outputs and positions included.
    pub fn lose_tail(&mut self) {
        self.entries.truncate(self.mirrored);
        self.held.clear();
        self.told.clear();
        for entry in self.entries.clone() {
            self.note(&entry);
        }
        self.commits.retain(|c| c.position <= self.mirrored as u64);
        self.outputs
            .truncate(self.commits.last().map_or(0, |c| c.outputs));
        let position = self.position();
        self.owner += 1;
        self.applied_to = position as usize;
        self.applied = self.entries[..position as usize]
            .iter()
            .filter_map(|e| e.record().map(|r| r.0))
            .collect();
        self.refused = self.outputs.iter().filter_map(refused).collect();
    }
}

fn refused(output: &TaskOutput) -> Option<RecordId> {
    (output.topic == Topic::DeadLetter)
        .then(|| DeadLetter::decode(&output.bytes).ok()?.id())
        .flatten()
}

/// A process that works on a partition.
#[derive(Clone, Debug)]
pub struct Task {
    /// What it has applied and not committed.
    pub worker: Worker,
    /// Version of its logic.
    pub logic: u32,
    /// The log lets only the newest owner commit.
    pub owner: u64,
}

/// Takes a partition over: becomes its owner, and hands the real recovery what it asks for. Entries come in pieces of
/// `piece`.
pub fn recover(
    log: &mut Log,
    logic: u32,
    settings: &Arc<TaskSettings>,
    fleet: &Arc<Fleet>,
    now: MonoTime,
    piece: usize,
) -> Result<Task, String> {
    log.owner += 1;
    let durable = Durable {
        committed: log
            .commits
            .last()
            .map(|c| (c.position, c.progress.to_text())),
        snapshots: log.snapshots.iter().map(|(at, _)| *at).collect(),
        first: 0,
    };
    let mut recovery = Recovery::begin(durable, logic, settings.clone(), fleet.clone())
        .map_err(|e| e.to_string())?;
    let recovered = loop {
        match recovery.step().map_err(|e| e.to_string())? {
            Step::Snapshot(at) => {
                let found = log.snapshots.iter().rev().find(|(p, _)| *p == at);
                let state = found.map(|(_, bytes)| bytes.as_slice());
                // one that cannot be read is passed over: the next step asks for another
                drop(recovery.snapshot(state.ok_or_else(|| "it is gone".to_owned())));
            }
            Step::Entries { from, .. } => {
                // a read brings what there is, also what lies behind the committed position
                let to = log.entries.len().min(from as usize + piece.max(1));
                for offset in from as usize..to {
                    recovery.entry(&log.entries[offset].input(offset as u64));
                }
            }
            Step::Finish => break recovery.finish().map_err(|e| e.to_string())?,
        }
    };
    // what the failed-over log never had is another log's
    let position = log.position();
    log.snapshots.retain(|(at, _)| *at <= position);
    Ok(Task {
        worker: Worker::new(recovered, now),
        logic,
        owner: log.owner,
    })
}

impl Task {
    /// Applies up to `max` entries.
    pub fn step(&mut self, log: &Log, max: usize) {
        let from = self.worker.task().position() as usize;
        let to = log.entries.len().min(from + max);
        for offset in from..to {
            self.worker.apply(&log.entries[offset].input(offset as u64));
        }
    }

    /// Commits outputs and position together. `Err`: fenced. `Ok`: the window results that became visible.
    pub fn commit(&mut self, log: &mut Log, now: MonoTime) -> Result<Vec<FeatureRow>, Fenced> {
        if self.owner != log.owner {
            return Err(Fenced);
        }
        let transaction = self.worker.transaction();
        let position = transaction.position;
        let visible = transaction.outputs;
        log.refused.extend(visible.iter().filter_map(refused));
        let rows = visible
            .iter()
            .filter(|o| o.topic == Topic::Features)
            .filter_map(|o| FeatureRow::decode(&o.bytes).ok())
            .collect();
        log.outputs.extend(visible);
        log.commits.push(Committed {
            position,
            progress: transaction.progress,
            outputs: log.outputs.len(),
        });
        self.worker.committed(now);
        Ok(rows)
    }
}

/// Another owner has taken over.
#[derive(Clone, Copy, Debug)]
pub struct Fenced;
