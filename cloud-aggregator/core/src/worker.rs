//! A partition at work: what is applied, what a transaction holds, when one is due, and which states may become snapshots.
//!
//! Invariants: outputs and the position that made them leave in one [`Transaction`]; the text beside the position carries
//! the hash over all outputs up to it; a snapshot is only ever made of a state whose outputs are committed.

use std::mem;
use std::sync::Arc;

use windlass_shared::time::MonoTime;

use crate::fleet::Fleet;
use crate::output::hex;
use crate::recovery::{Progress, Recovered, Since};
use crate::task::{LogInput, Partition, TaskOutput, TaskSettings};

/// Positions without outputs are committed this often, µs.
pub const POSITION_EVERY_US: u64 = 1_000_000;

/// What the log has to make visible at once, or not at all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transaction {
    /// The next input offset.
    pub position: u64,
    /// What stands beside it.
    pub progress: Progress,
    /// What the input up to it made.
    pub outputs: Vec<TaskOutput>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Worker {
    task: Partition,
    logic: u32,
    since: Option<Since>,
    /// Not committed yet.
    outputs: Vec<TaskOutput>,
    committed: u64,
    committed_at: MonoTime,
    /// Position of the newest snapshot of a state like the present one.
    snapshot: Option<u64>,
}

impl Worker {
    /// Goes on from where recovery ended.
    pub fn new(recovered: Recovered, now: MonoTime) -> Self {
        // a state of the version before is no substitute for one of this version
        let snapshot = recovered.snapshot.filter(|_| recovered.changed.is_none());
        Self {
            committed: recovered.task.position(),
            task: recovered.task,
            logic: recovered.logic,
            since: recovered.since,
            outputs: recovered.outputs,
            committed_at: now,
            snapshot,
        }
    }

    /// The state after what it has applied.
    pub fn task(&self) -> &Partition {
        &self.task
    }

    /// Settings and farms of now; true: a snapshot has to be written before the next transaction. Call it when nothing
    /// waits to be committed.
    pub fn adopt(&mut self, settings: Arc<TaskSettings>, fleet: Arc<Fleet>) -> bool {
        let adopted = self.task.adopt(settings, fleet);
        if adopted {
            self.snapshot = None;
        }
        adopted
    }

    /// Takes the next entry.
    ///
    /// # Panics
    /// When the offset is one that was applied before.
    pub fn apply(&mut self, input: &LogInput) {
        self.task.apply(input, &mut self.outputs);
    }

    /// Is there something that is not committed?
    pub fn is_open(&self) -> bool {
        self.task.position() > self.committed || !self.outputs.is_empty()
    }

    /// Is a transaction due? Outputs never wait; a position alone does, for a second.
    pub fn is_due(&self, now: MonoTime) -> bool {
        let waited = now.since_us(self.committed_at) >= POSITION_EVERY_US;
        !self.outputs.is_empty() || (self.is_open() && waited)
    }

    /// Everything that is not committed. Once the log has answered, [`Worker::committed`]; if it fails, or nobody knows,
    /// this worker ends and another one recovers.
    pub fn transaction(&mut self) -> Transaction {
        Transaction {
            position: self.task.position(),
            progress: Progress {
                logic: self.logic,
                outputs: hex(&self.task.output_hash()),
                since: self.since.clone(),
            },
            outputs: mem::take(&mut self.outputs),
        }
    }

    /// The log has the newest transaction.
    pub fn committed(&mut self, now: MonoTime) {
        self.committed = self.task.position();
        self.committed_at = now;
    }

    /// First input offset that is not committed.
    pub fn position(&self) -> u64 {
        self.committed
    }

    /// The state that may become a snapshot: what is committed, and no snapshot yet.
    pub fn snapshot(&self) -> Option<&Partition> {
        (!self.is_open() && self.snapshot != Some(self.committed)).then_some(&self.task)
    }

    /// The state is a snapshot, or will be one.
    pub fn snapshotted(&mut self) {
        self.snapshot = Some(self.committed);
    }
}
