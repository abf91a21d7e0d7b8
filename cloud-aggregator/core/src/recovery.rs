//! From what is durable back to the state at the committed position, as a state machine that a shell feeds.
//!
//! The newest usable snapshot at or before the committed position, then the entries in between with their outputs thrown
//! away: they are in the log already. The shell asks [`Recovery::step`] what is needed and hands it in. Invariants: the
//! outputs of a replay never leave this module; with one version of the logic the hash over the outputs comes out as it
//! was committed, or the task halts: results that cannot be made again are worth nothing. Where another version of the
//! logic takes over, the change is itself an output, the hash goes on from the committed one, and the progress says from
//! where on it can be made again.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::fleet::Fleet;
use crate::output::{LogicChange, hex};
use crate::task::{LogInput, Partition, TaskOutput, TaskSettings};

/// Why the state cannot be rebuilt. Fatal: somebody has to look.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The same entries gave other outputs.
    #[error(
        "replay from {from} to {to} gave outputs with hash {found}, but {expected} is committed, both by logic version \
         {logic}: the log, the snapshot or the program differs from what was committed; halting. Move the snapshots of this \
         partition away to replay from the start of the log, or put back the program that ran before"
    )]
    Hash {
        /// Position of the snapshot.
        from: u64,
        /// Committed position.
        to: u64,
        /// From the replay.
        found: String,
        /// As committed.
        expected: String,
        /// Version of the logic.
        logic: u32,
    },
    /// The text beside the committed position is not ours.
    #[error("the progress beside position {position} cannot be read: found `{found}`")]
    Progress {
        /// Where.
        position: u64,
        /// What stands there.
        found: String,
    },
    /// No snapshot can be used, and the log begins later.
    #[error(
        "no usable snapshot at or before position {committed}, and the log starts at {first}: the state cannot be rebuilt. \
         Put back a snapshot from a copy"
    )]
    NoStart {
        /// Committed position.
        committed: u64,
        /// First offset in the log.
        first: u64,
    },
    /// The log ended before the committed position.
    #[error("the log gave nothing at {position}, before the committed position {committed}")]
    Short {
        /// Where it ended.
        position: u64,
        /// Committed position.
        committed: u64,
    },
}

/// What stands beside the committed position.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Progress {
    /// Version of the logic that made the outputs.
    pub logic: u32,
    /// Hash over all outputs so far, hexadecimal.
    pub outputs: String,
    /// Where this version of the logic took over; `None`: it made them all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,
}

/// Where a version of the logic took over from another one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Since {
    /// The version before.
    pub from: u32,
    /// First input offset of this version.
    pub position: u64,
    /// Hash over all outputs up to and with the change, hexadecimal: what a replay goes on from.
    pub outputs: String,
}

impl Progress {
    /// As it is committed.
    pub fn to_text(&self) -> String {
        // numbers and texts always serialise; an empty text would be refused by every reader
        serde_json::to_string(self).unwrap_or_default()
    }
    /// From what was committed.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

fn hash_of(digits: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    let digits = digits.as_bytes();
    if digits.len() != 2 * hash.len() {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)) {
        let text = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(text, 16).ok()?;
    }
    Some(hash)
}

/// What is durable of a partition.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Durable {
    /// Committed position and the text beside it; `None`: nothing was ever committed.
    pub committed: Option<(u64, String)>,
    /// Positions of the snapshots there are, in any order.
    pub snapshots: Vec<u64>,
    /// First offset that the log holds.
    pub first: u64,
}

/// What a recovery needs next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The state's bytes of the snapshot at this position: [`Recovery::snapshot`].
    Snapshot(u64),
    /// The log's entries from `from` on, up to `to` excluded: [`Recovery::entry`].
    Entries {
        /// First offset.
        from: u64,
        /// Committed position.
        to: u64,
    },
    /// Nothing: [`Recovery::finish`].
    Finish,
}

/// A recovery under way.
#[derive(Clone, Debug)]
pub struct Recovery {
    settings: Arc<TaskSettings>,
    fleet: Arc<Fleet>,
    /// Version of the logic that runs now.
    logic: u32,
    first: u64,
    to: u64,
    progress: Option<Progress>,
    /// Snapshots that may still be tried, the newest last.
    candidates: Vec<u64>,
    task: Option<Partition>,
    snapshot: Option<u64>,
    from: u64,
    /// Position and hash from which on the replay can be compared, while it has not come there.
    base: Option<(u64, [u8; 32])>,
    replayed: u64,
    /// Outputs of the replay.
    scratch: Vec<TaskOutput>,
    /// Outputs that are not in the log yet.
    outputs: Vec<TaskOutput>,
}

/// The state at the committed position.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// It.
    pub task: Partition,
    /// Version of the logic that runs now.
    pub logic: u32,
    /// Where it took over.
    pub since: Option<Since>,
    /// Position of the snapshot it came from; `None`: from the start of the log.
    pub snapshot: Option<u64>,
    /// Entries applied again.
    pub replayed: u64,
    /// Another version of the logic takes over.
    pub changed: Option<LogicChange>,
    /// What has to be committed before any entry is applied: the change.
    pub outputs: Vec<TaskOutput>,
}

impl Recovery {
    /// Begins with what is durable. `logic` is the version of the logic that runs now.
    pub fn begin(
        durable: Durable,
        logic: u32,
        settings: Arc<TaskSettings>,
        fleet: Arc<Fleet>,
    ) -> Result<Self, RecoveryError> {
        let (to, progress) = match durable.committed {
            None => (0, None),
            Some((position, text)) => {
                let progress = Progress::parse(&text).ok_or(RecoveryError::Progress {
                    position,
                    found: text,
                })?;
                (position, Some(progress))
            }
        };
        let mut candidates = durable.snapshots;
        // a state that was never committed is of no use, and one before the log's start cannot be brought up to date
        candidates.retain(|at| *at <= to && *at >= durable.first);
        candidates.sort_unstable();
        candidates.dedup();
        Ok(Self {
            settings,
            fleet,
            logic,
            first: durable.first,
            to,
            progress,
            candidates,
            task: None,
            snapshot: None,
            from: 0,
            base: None,
            replayed: 0,
            scratch: Vec::new(),
            outputs: Vec::new(),
        })
    }

    /// What is needed next.
    pub fn step(&mut self) -> Result<Step, RecoveryError> {
        if let (None, Some(at)) = (&self.task, self.candidates.last()) {
            return Ok(Step::Snapshot(*at));
        }
        if self.task.is_none() {
            if self.first > 0 {
                return Err(RecoveryError::NoStart {
                    committed: self.to,
                    first: self.first,
                });
            }
            let new = Partition::new(Arc::clone(&self.settings), Arc::clone(&self.fleet));
            self.start(new)?;
        }
        let from = self.position();
        if from < self.to {
            return Ok(Step::Entries { from, to: self.to });
        }
        Ok(Step::Finish)
    }

    /// Next offset to apply.
    fn position(&self) -> u64 {
        self.task.as_ref().map_or(0, Partition::position)
    }

    /// The state's bytes of the newest snapshot that was asked for, or why there are none. `Err`: why it is passed over
    /// for an older one.
    pub fn snapshot(&mut self, state: Result<&[u8], String>) -> Result<(), PassedOver> {
        let Some(position) = self.candidates.pop() else {
            return Ok(());
        };
        let passed_over = |why| PassedOver { position, why };
        let state = state.map_err(passed_over)?;
        let task = Partition::restore(state, Arc::clone(&self.fleet))
            .map_err(|e| passed_over(e.to_string()))?;
        if task.position() != position {
            let why = format!("its state is at {}", task.position());
            return Err(passed_over(why));
        }
        self.snapshot = Some(position);
        self.start(task).map_err(|e| passed_over(e.to_string()))
    }

    fn start(&mut self, task: Partition) -> Result<(), RecoveryError> {
        self.from = task.position();
        if let Some(progress) = self.progress.as_ref().filter(|p| p.logic == self.logic)
            && let Some(since) = progress.since.as_ref().filter(|s| s.position >= self.from)
        {
            let hash = hash_of(&since.outputs).ok_or_else(|| self.unreadable(progress))?;
            self.base = Some((since.position, hash));
        }
        self.task = Some(task);
        Ok(())
    }

    fn unreadable(&self, progress: &Progress) -> RecoveryError {
        RecoveryError::Progress {
            position: self.to,
            found: progress.to_text(),
        }
    }

    /// An entry of the log, in order. What lies behind the committed position is left for later.
    pub fn entry(&mut self, input: &LogInput) {
        if input.offset >= self.to {
            return;
        }
        self.cross(input.offset);
        if let Some(task) = &mut self.task {
            task.apply(input, &mut self.scratch);
            // they are in the log
            self.scratch.clear();
            self.replayed += 1;
        }
    }

    /// Where this version of the logic took over, the hash goes on from what was committed there.
    fn cross(&mut self, next: u64) {
        if let (Some((at, hash)), Some(task)) = (self.base, &mut self.task)
            && at <= next
        {
            task.resume_hash(hash);
            self.base = None;
        }
    }

    /// The log has nothing more to give.
    pub fn short(&self) -> RecoveryError {
        RecoveryError::Short {
            position: self.position(),
            committed: self.to,
        }
    }

    /// The state, once nothing more is needed.
    pub fn finish(mut self) -> Result<Recovered, RecoveryError> {
        if self.position() < self.to {
            return Err(self.short());
        }
        self.cross(self.to);
        let Some(mut task) = self.task.take() else {
            return Err(self.short());
        };
        let (mut since, mut changed) = (None, None);
        match &self.progress {
            Some(before) if before.logic == self.logic => {
                self.check_hash(&task, before)?;
                since.clone_from(&before.since);
            }
            Some(before) => {
                let hash = hash_of(&before.outputs).ok_or_else(|| self.unreadable(before))?;
                task.resume_hash(hash);
                let change = LogicChange {
                    from: before.logic,
                    to: self.logic,
                    position: self.to,
                };
                task.announce(&change, &mut self.outputs);
                since = Some(Since {
                    from: before.logic,
                    position: self.to,
                    outputs: hex(&task.output_hash()),
                });
                changed = Some(change);
            }
            None => {}
        }
        Ok(Recovered {
            task,
            logic: self.logic,
            since,
            snapshot: self.snapshot,
            replayed: self.replayed,
            changed,
            outputs: self.outputs,
        })
    }

    fn check_hash(&self, task: &Partition, expected: &Progress) -> Result<(), RecoveryError> {
        let found = hex(&task.output_hash());
        if found == expected.outputs {
            return Ok(());
        }
        Err(RecoveryError::Hash {
            from: self.from,
            to: self.to,
            found,
            expected: expected.outputs.clone(),
            logic: self.logic,
        })
    }
}

/// A snapshot that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the snapshot at {position} is passed over: {why}")]
pub struct PassedOver {
    /// Which.
    pub position: u64,
    /// Why.
    pub why: String,
}
