//! The cloud's durable parts and its partition tasks: the log, committed outputs and positions, snapshots, and owners that
//! come and go.
//!
//! Invariant: what is in [`Log`] is durable; an owner is not.

use std::collections::BTreeSet;
use std::sync::Arc;

use windlass_cloud_core::fleet::Fleet;
use windlass_cloud_core::output::{DeadLetter, FeatureRow};
use windlass_cloud_core::task::{LogInput, Partition, TaskOutput, TaskSettings};
use windlass_cloud_core::topic::Topic;
use windlass_shared::id::RecordId;
use windlass_shared::time::WallTime;
use windlass_shared::wire::{self, Logged};

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
    /// The rolling hash there.
    pub hash: [u8; 32],
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
    /// Outputs that are visible.
    pub outputs: Vec<TaskOutput>,
    /// Transactions in order.
    pub commits: Vec<Committed>,
    /// Position and bytes, oldest first.
    pub snapshots: Vec<(u64, Vec<u8>)>,
    /// Who may commit.
    pub owner: u64,
    /// Records that the committed prefix holds.
    pub applied: BTreeSet<RecordId>,
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

    /// Loses everything that the mirror does not have, outputs and positions included.
    pub fn lose_tail(&mut self) {
        self.entries.truncate(self.mirrored);
        self.commits.retain(|c| c.position <= self.mirrored as u64);
        self.outputs
            .truncate(self.commits.last().map_or(0, |c| c.outputs));
        let position = self.position();
        self.snapshots.retain(|(at, _)| *at <= position);
        self.owner += 1;
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
    /// State after what it has applied.
    pub state: Partition,
    /// Outputs since its last commit.
    pub pending: Vec<TaskOutput>,
    /// The log lets only the newest owner commit.
    pub owner: u64,
}

/// Takes a partition over: becomes its owner, loads the newest readable snapshot, replays with outputs discarded.
pub fn recover(
    log: &mut Log,
    settings: &Arc<TaskSettings>,
    fleet: &Arc<Fleet>,
) -> Result<Task, String> {
    log.owner += 1;
    let committed = log.position();
    let mut state = log
        .snapshots
        .iter()
        .rev()
        .filter(|(at, _)| *at <= committed)
        .find_map(|(_, bytes)| Partition::restore(bytes, fleet.clone()).ok())
        .unwrap_or_else(|| Partition::new(settings.clone(), fleet.clone()));
    let mut discarded = Vec::new();
    for offset in state.position()..committed {
        state.apply(&log.entries[offset as usize].input(offset), &mut discarded);
        discarded.clear();
    }
    let hash = log.commits.last().map_or(state.output_hash(), |c| c.hash);
    if state.output_hash() != hash {
        return Err(format!(
            "replay up to {committed} gave other outputs than were committed"
        ));
    }
    Ok(Task {
        state,
        pending: Vec::new(),
        owner: log.owner,
    })
}

impl Task {
    /// Applies up to `max` entries.
    pub fn step(&mut self, log: &Log, max: usize) -> usize {
        let from = self.state.position() as usize;
        let to = log.entries.len().min(from + max);
        for offset in from..to {
            self.state
                .apply(&log.entries[offset].input(offset as u64), &mut self.pending);
        }
        to.saturating_sub(from)
    }

    /// Commits outputs and position together. `Err`: fenced. `Ok`: the window results that became visible.
    pub fn commit(&mut self, log: &mut Log) -> Result<Vec<FeatureRow>, Fenced> {
        if self.owner != log.owner {
            return Err(Fenced);
        }
        let position = self.state.position();
        for entry in &log.entries[log.position() as usize..position as usize] {
            log.applied.extend(entry.record().map(|r| r.0));
        }
        let visible = std::mem::take(&mut self.pending);
        log.refused.extend(visible.iter().filter_map(refused));
        let rows = visible
            .iter()
            .filter(|o| o.topic == Topic::Features)
            .filter_map(|o| FeatureRow::decode(&o.bytes).ok())
            .collect();
        log.outputs.extend(visible);
        log.commits.push(Committed {
            position,
            hash: self.state.output_hash(),
            outputs: log.outputs.len(),
        });
        Ok(rows)
    }
}

/// Another owner has taken over.
#[derive(Clone, Copy, Debug)]
pub struct Fenced;
