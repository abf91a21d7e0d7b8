//! What an agent does: the closed list of everything that the shell executes.

use std::sync::Arc;

use windlass_shared::id::{ChannelId, Epoch, RecordId, Seq, SeqRange, TurbineId};
use windlass_shared::record::LossReason;

use crate::input::{PublishId, Reading, SourceId};
use crate::store::{CommitBatch, RowClass, RowLevel};

/// What the shell shall read from the store. One of each kind at a time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LoadRequest {
    /// Unacknowledged rows of a turbine, oldest first.
    Backlog {
        /// Whose.
        turbine: TurbineId,
        /// Only rows behind this one.
        after: Option<(Epoch, Seq)>,
        /// At most so many rows.
        rows_max: usize,
        /// Stop at so many bytes (one row may exceed it).
        bytes_max: u64,
    },
    /// Rows of one level and class, oldest first, until `bytes` are together.
    Evictable {
        /// Whose.
        turbine: TurbineId,
        /// At which level.
        level: RowLevel,
        /// Of which class.
        class: RowClass,
        /// Stop when the rows so far have as many.
        bytes: u64,
        /// At most so many rows.
        rows_max: usize,
        /// Leave these out: they are on their way.
        spare: Vec<RecordId>,
    },
    /// Unacknowledged Gaps and Seals of a turbine, oldest first: what they say can be said in fewer records.
    Marks {
        /// Whose.
        turbine: TurbineId,
        /// At most so many rows.
        rows_max: usize,
    },
    /// Rows of a turbine's journals, oldest boot first.
    Waiting {
        /// Whose.
        turbine: TurbineId,
        /// At most so many rows.
        rows_max: usize,
        /// Stop at so many bytes (one row may exceed it).
        bytes_max: u64,
    },
    /// Which seqs of an epoch are here.
    Held {
        /// Whose.
        turbine: TurbineId,
        /// Which epoch.
        epoch: Epoch,
        /// Which seqs.
        ranges: Vec<SeqRange>,
    },
}

/// What the shell shall do.
#[derive(Clone, Debug)]
pub enum Output {
    /// One transaction; answer with `Committed` or `CommitFailed`. Never two at a time.
    Commit(CommitBatch),
    /// Read; answer with `Loaded` or `LoadFailed`.
    Load(LoadRequest),
    /// Send with QoS 1; answer with `PubAck`.
    Publish {
        /// Named in the answer.
        id: PublishId,
        /// MQTT topic.
        topic: String,
        /// Bytes, unchanged.
        payload: Arc<[u8]>,
    },
    /// Connect and subscribe the down topic; answer with `LinkUp` or `LinkDown`.
    Connect,
    /// Give the connection up; no answer is expected.
    Disconnect,
    /// For counters and the log.
    Event(AgentEvent),
    /// Everything is committed after [`crate::Input::Stop`]: the process may end.
    Stopped,
    /// A broken invariant or a commit of unknown outcome: end the process with an error.
    Fatal(FatalFault),
}

/// Why an agent cannot go on.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FatalFault {
    /// The store failed for another reason than a full disk.
    #[error(
        "the outbox failed: {0}; the agent stops and recovers what is durable at the next start"
    )]
    Store(String),
    /// The disk is full and nothing may leave.
    #[error(
        "the disk is full and the outbox holds nothing that may be evicted; free space on its disk"
    )]
    NoRoom,
    /// The shell broke the contract.
    #[error("out of order: {0}")]
    Protocol(String),
}

/// What an operator or a counter wants to know.
#[derive(Clone, PartialEq, Debug)]
pub enum AgentEvent {
    /// A new epoch is numbered.
    EpochOpened {
        /// Whose.
        turbine: TurbineId,
        /// Which.
        epoch: Epoch,
        /// Why: `start`, `clock set back`, or the command's reason.
        reason: String,
    },
    /// A transaction is durable.
    Committed {
        /// Records in it.
        records: u64,
        /// Readings in them.
        readings: u64,
        /// Among those, late.
        late: u64,
        /// Among those, suspect.
        suspect: u64,
        /// Bytes of the records.
        bytes: u64,
    },
    /// A transaction is durable that holds rows without a number: the clock is not set.
    Waiting {
        /// Rows.
        records: u64,
        /// Readings in them.
        readings: u64,
        /// Bytes of the rows.
        bytes: u64,
    },
    /// Readings of a journal have numbers now; the commit that brings them follows.
    Placed {
        /// Whose.
        turbine: TurbineId,
        /// Readings that got a wall time.
        readings: u64,
        /// Readings of a boot that never saw a clock.
        untimed: u64,
    },
    /// The clock is set: what waits gets its time.
    ClockSet {
        /// Wall time of the boot's start, microseconds.
        boot_at_us: i64,
    },
    /// The clock is not set: readings are recorded with the boot's time and wait for their number.
    ClockUnset,
    /// The catalogue has no such channel: the reading is refused, the shell keeps it in its dead-letter file.
    UnknownChannel {
        /// Whose.
        turbine: TurbineId,
        /// From which source.
        source: SourceId,
        /// Which channel.
        channel: ChannelId,
        /// The first one of the input.
        example: Reading,
        /// How many of them in this input.
        count: u64,
    },
    /// An event time outside 1970 to 2199: the reading is refused, the shell keeps it in its dead-letter file.
    Untimed {
        /// Whose.
        turbine: TurbineId,
        /// From which source.
        source: SourceId,
        /// The first one of the input.
        example: Reading,
        /// How many of them in this input.
        count: u64,
    },
    /// Readings for a turbine that this gateway does not have, or from a source that is not configured.
    Unassigned {
        /// Whose.
        turbine: TurbineId,
        /// From which source.
        source: SourceId,
        /// How many.
        count: u64,
    },
    /// Readings refused because too many wait for the disk (a limit of the settings).
    Overrun {
        /// Whose.
        turbine: TurbineId,
        /// How many.
        count: u64,
    },
    /// Rows left the disk.
    Evicted {
        /// Whose.
        turbine: TurbineId,
        /// Which epoch.
        epoch: Epoch,
        /// Which seqs.
        seqs: SeqRange,
        /// Class.
        class: RowClass,
        /// How far they were acknowledged.
        level: RowLevel,
        /// Readings in them.
        readings: u64,
        /// Why.
        reason: LossReason,
    },
    /// The cloud has these.
    Acked {
        /// Records that were in flight or queued.
        records: u64,
    },
    /// The cloud refused a record.
    Refused {
        /// Which.
        id: RecordId,
        /// Its reason.
        reason: String,
    },
    /// Something from the cloud made no sense and was ignored.
    BadDownlink {
        /// What.
        what: String,
    },
    /// Records whose acknowledgement did not come in time were sent again.
    AckTimeout {
        /// How many.
        records: u64,
    },
    /// Records that the cloud asked for again.
    Resent {
        /// Whose.
        turbine: TurbineId,
        /// Rows that will be sent again.
        records: u64,
        /// Seqs answered with a Gap.
        lost: u64,
    },
    /// The wall clock was set back.
    ClockSetBack {
        /// By how much, microseconds.
        by_us: i64,
    },
    /// The link is up.
    Online,
    /// The link is down; the next attempt comes so many microseconds later.
    Offline {
        /// Delay before the next attempt.
        retry_in_us: u64,
    },
    /// A transaction met a full disk; it is tried again, with evictions where there is something to evict.
    DiskFull,
}
