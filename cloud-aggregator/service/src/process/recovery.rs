//! From what is durable back to the state at the committed position.
//!
//! The newest valid snapshot at or before the committed position, then the entries in between with their outputs thrown
//! away: they are in the log already. Invariant: with one version of the logic the hash over the outputs comes out as it
//! was committed, or the task halts: results that cannot be made again are worth nothing.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use windlass_cloud_core::task::{LOGIC_VERSION, Partition};

use super::{Processor, input};
use crate::log::{Group, LogError, Offset, PartitionId, Topic, TopicPartition};
use crate::stop::Stop;

/// A read within what is committed never waits; longer means that the log lost its tail.
const READ_WAIT: Duration = Duration::from_secs(5);

/// Why the state cannot be rebuilt. Fatal: somebody has to look.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
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
}

impl Progress {
    /// Of a task as it stands.
    pub fn of(task: &Partition) -> Self {
        Self {
            logic: LOGIC_VERSION,
            outputs: hex(&task.output_hash()),
        }
    }
    /// As it is committed.
    pub fn to_text(&self) -> String {
        format!(r#"{{"logic":{},"outputs":"{}"}}"#, self.logic, self.outputs)
    }
    /// From what was committed.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|b| [b >> 4, b & 15])
        .map(|d| char::from(DIGITS[usize::from(d)]))
        .collect()
}

/// The state at the committed position.
pub struct Recovered {
    /// It.
    pub task: Partition,
    /// Position of the snapshot it came from; `None`: from the start of the log.
    pub snapshot: Option<u64>,
    /// Entries applied again.
    pub replayed: u64,
}

/// Rebuilds the state. `None`: told to stop meanwhile.
pub fn recover(
    shared: &Processor,
    partition: PartitionId,
    stop: &Stop,
) -> Result<Option<Recovered>, RecoveryError> {
    let at = TopicPartition::new(Topic::Telemetry, partition);
    let committed = shared.log.committed(Group::Process, at)?;
    let (to, progress) = match committed {
        None => (0, None),
        Some(c) => {
            let position = c.next.0;
            let progress = Progress::parse(&c.meta).ok_or(RecoveryError::Progress {
                position,
                found: c.meta,
            })?;
            (position, Some(progress))
        }
    };
    let (mut task, snapshot) = start(shared, partition, at, to)?;
    let from = task.position();
    let Some(replayed) = replay(shared, at, &mut task, to, stop)? else {
        return Ok(None);
    };
    check_hash(&task, progress, from, to)?;
    Ok(Some(Recovered {
        task,
        snapshot,
        replayed,
    }))
}

/// The newest usable snapshot, or the start of the log.
fn start(
    shared: &Processor,
    partition: PartitionId,
    at: TopicPartition,
    committed: u64,
) -> Result<(Partition, Option<u64>), RecoveryError> {
    if let Some((task, position)) = shared.snapshots.newest(partition, committed, &shared.fleet) {
        return Ok((task, Some(position)));
    }
    let first = shared.log.bounds(at)?.0.0;
    if first > 0 {
        return Err(RecoveryError::NoStart { committed, first });
    }
    let task = Partition::new(Arc::clone(&shared.settings), Arc::clone(&shared.fleet));
    Ok((task, None))
}

/// Applies everything before `to`; the outputs are in the log already.
fn replay(
    shared: &Processor,
    at: TopicPartition,
    task: &mut Partition,
    to: u64,
    stop: &Stop,
) -> Result<Option<u64>, RecoveryError> {
    let mut reader = shared.log.reader(vec![(at, Offset(task.position()))])?;
    let mut discarded = Vec::new();
    let mut replayed = 0;
    while task.position() < to {
        if stop.is_set() {
            return Ok(None);
        }
        let entries = reader.poll(shared.limits, READ_WAIT)?;
        if entries.is_empty() {
            return Err(RecoveryError::Short {
                position: task.position(),
                committed: to,
            });
        }
        for entry in entries.iter().take_while(|e| e.offset.0 < to) {
            task.apply(&input(entry), &mut discarded);
            discarded.clear();
            replayed += 1;
        }
    }
    Ok(Some(replayed))
}

fn check_hash(
    task: &Partition,
    progress: Option<Progress>,
    from: u64,
    to: u64,
) -> Result<(), RecoveryError> {
    let Some(expected) = progress else {
        return Ok(());
    };
    let found = Progress::of(task);
    if expected.logic != found.logic {
        tracing::warn!(
            position = to,
            before = expected.logic,
            now = found.logic,
            "another version of the logic takes over here; results up to here stay as they are"
        );
        return Ok(());
    }
    if expected.outputs == found.outputs {
        return Ok(());
    }
    Err(RecoveryError::Hash {
        from,
        to,
        found: found.outputs,
        expected: expected.outputs,
        logic: found.logic,
    })
}
