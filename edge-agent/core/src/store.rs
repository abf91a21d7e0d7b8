//! What the core and its store say to each other: rows, transactions, recovery. The store is SQLite in the agent and a
//! map in the simulator; a model test holds one to the other.
//!
//! Invariants: a row's identity is its record's; the store never holds two rows of one identity. What was recorded without
//! a clock lies in a **journal**, one per boot: rows of level [`RowLevel::Waiting`] under the boot's id in the place of an
//! epoch. Their numbers order them here and never leave the gateway; a journal is gone with its last row.

use std::sync::Arc;

use windlass_shared::catalogue::{Class, RateGroup};
use windlass_shared::id::{BootId, Epoch, RecordId, Seq, SeqRange, TurbineId};
use windlass_shared::record::Head;
use windlass_shared::time::{EventTime, MonoTime, WallTime};

use crate::input::SourceId;

/// Names one transaction. Counts up from 1 in a process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CommitId(pub u64);

/// How far the cloud has acknowledged a row.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RowLevel {
    /// It waits in a journal for the clock, and has no number yet.
    Waiting,
    /// Not at all: it is still to be sent.
    Unacked,
    /// The log has it.
    Logged,
    /// Its mirror has it too (without a mirror: the log).
    Safe,
}

impl RowLevel {
    /// All, in order.
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Unacked, Self::Logged, Self::Safe];
}

/// What a row is to the disk budget.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RowClass {
    /// An `Open`, `Gap` or `Seal`: never evicted while unacknowledged.
    Mark,
    /// Last to leave, and with an alarm.
    Compliance,
    /// Leaves before compliance.
    Condition,
    /// Leaves first.
    Diagnostic,
}

impl RowClass {
    /// All, in order.
    pub const ALL: [Self; 4] = [
        Self::Mark,
        Self::Compliance,
        Self::Condition,
        Self::Diagnostic,
    ];
    /// The class that a Gap about such a row names.
    pub fn class(self) -> Class {
        match self {
            Self::Mark | Self::Compliance => Class::Compliance,
            Self::Condition => Class::Condition,
            Self::Diagnostic => Class::Diagnostic,
        }
    }
}

impl From<Class> for RowClass {
    fn from(class: Class) -> Self {
        match class {
            Class::Compliance => Self::Compliance,
            Class::Condition => Self::Condition,
            Class::Diagnostic => Self::Diagnostic,
        }
    }
}

/// Which kind of record a row is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RowKind {
    /// Readings of one class and rate group.
    Batch(Class, RateGroup),
    /// Begins an epoch.
    Open,
    /// Declares seqs lost.
    Gap,
    /// Pins the chain.
    Seal,
}

impl RowKind {
    /// What it is to the disk budget.
    pub fn class(self) -> RowClass {
        match self {
            Self::Batch(class, _) => class.into(),
            _ => RowClass::Mark,
        }
    }
}

/// A row without its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RowMeta {
    /// Identity.
    pub id: RecordId,
    /// Kind, with class and rate group.
    pub kind: RowKind,
    /// Readings in it.
    pub readings: u64,
    /// Event times of its readings that are not suspect, first and last.
    pub bounds: Option<(EventTime, EventTime)>,
    /// Its ceiling.
    pub ceiling: EventTime,
    /// Its frontier.
    pub frontier: EventTime,
    /// Chain head before it.
    pub prev_head: Head,
    /// Chain head after it.
    pub head: Head,
    /// Gateway's wall clock when it was numbered.
    pub committed_at: WallTime,
    /// Length of the record, bytes.
    pub bytes: u64,
}

/// A row to be stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewRow {
    /// Everything about it.
    pub meta: RowMeta,
    /// The record.
    pub payload: Arc<[u8]>,
}

/// A row as read back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredRow {
    /// Everything about it.
    pub meta: RowMeta,
    /// How far it is acknowledged.
    pub level: RowLevel,
    /// The record; its hash has been checked against the chain.
    pub payload: Arc<[u8]>,
}

/// A new level for the rows of an epoch. Rows that are not there are skipped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LevelChange {
    /// Whose.
    pub turbine: TurbineId,
    /// Which epoch.
    pub epoch: Epoch,
    /// Which seqs.
    pub seqs: SeqRange,
    /// An acknowledgement only raises a level; `Unacked` (a Resend) lowers it.
    pub level: RowLevel,
}

/// Rows that leave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Eviction {
    /// Whose.
    pub turbine: TurbineId,
    /// Which epoch.
    pub epoch: Epoch,
    /// Which seqs.
    pub seqs: SeqRange,
}

/// One transaction: all of it, durable, or none. Applied in the order of the fields.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommitBatch {
    /// Named in the answer.
    pub id: CommitId,
    /// Rows that leave. The store keeps each epoch's last seq and stamps even when its last row leaves.
    pub evictions: Vec<Eviction>,
    /// Acknowledgements and resends.
    pub levels: Vec<LevelChange>,
    /// New rows, per epoch in seq order. The first row of an epoch brings the epoch into being.
    pub rows: Vec<NewRow>,
    /// New rows of journals, per boot in the order of their numbers.
    pub waiting: Vec<NewRow>,
    /// How far this boot's journals are placed with it, by turbine. Not for the store: it is written down before the
    /// transaction begins, in a place that lives as long as the boot and that no copy of the store brings back.
    pub placed: Vec<(TurbineId, Seq)>,
    /// Positions of file sources.
    pub positions: Vec<(SourceId, Vec<u8>)>,
    /// The agent stops after this one.
    pub clean_stop: bool,
}

impl CommitBatch {
    /// Would it change nothing?
    pub fn is_empty(&self) -> bool {
        self.evictions.is_empty()
            && self.levels.is_empty()
            && self.rows.is_empty()
            && self.waiting.is_empty()
            && self.positions.is_empty()
            && !self.clean_stop
    }
}

/// Rows and bytes of one tier.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Rows.
    pub rows: u64,
    /// Bytes of their records.
    pub bytes: u64,
}

/// Rows and bytes of one turbine by level and class.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tallies([[Tally; 4]; 4]);

impl Tallies {
    /// One tier.
    pub fn get(&self, level: RowLevel, class: RowClass) -> Tally {
        self.0[level as usize][class as usize]
    }
    /// One tier, to be changed by a store.
    pub fn get_mut(&mut self, level: RowLevel, class: RowClass) -> &mut Tally {
        &mut self.0[level as usize][class as usize]
    }
    /// All classes of a level.
    pub fn level(&self, level: RowLevel) -> Tally {
        self.0[level as usize]
            .iter()
            .fold(Tally::default(), |a, t| Tally {
                rows: a.rows + t.rows,
                bytes: a.bytes + t.bytes,
            })
    }
}

/// How big the store is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Bytes of the store's files that hold data (what the budget is about).
    pub used: u64,
    /// Bytes inside those files that are free to be written again.
    pub reusable: u64,
    /// Bytes that the file system has left for us.
    pub disk_free: u64,
    /// Per turbine, in the order of its name.
    pub turbines: Vec<(TurbineId, Tallies)>,
}

/// An epoch that the store knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeldEpoch {
    /// Which.
    pub epoch: Epoch,
    /// Rows of it that are still held.
    pub rows: u64,
    /// Greatest seq that was ever committed here.
    pub last_seq: Seq,
    /// Ceiling of that seq.
    pub ceiling: EventTime,
    /// Frontier of that seq.
    pub frontier: EventTime,
    /// Chain head at that seq.
    pub head: Head,
    /// False: the store was damaged; there may have been more seqs, and `missing` are gone.
    pub whole: bool,
    /// Seqs below `last_seq` that a damaged store lost.
    pub missing: Vec<SeqRange>,
}

/// What the store holds of a turbine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecoveredTurbine {
    /// Whose.
    pub turbine: TurbineId,
    /// Oldest first; the last one is the one that ran last.
    pub epochs: Vec<HeldEpoch>,
    /// What was recorded without a clock and waits: oldest boot first.
    pub journals: Vec<HeldJournal>,
}

/// The journal of a boot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeldJournal {
    /// Which boot.
    pub boot: BootId,
    /// Its rows.
    pub rows: u64,
    /// Readings in them.
    pub readings: u64,
    /// Greatest number that was ever given in it.
    pub last_seq: Seq,
    /// Chain head at that number.
    pub head: Head,
    /// Earliest reading that a row holds or speaks of, by the boot's monotonic clock.
    pub since: Option<MonoTime>,
    /// False: the store was damaged, and rows may be gone.
    pub whole: bool,
}

/// What the store holds at a start.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recovered {
    /// By name.
    pub turbines: Vec<RecoveredTurbine>,
    /// Positions of file sources.
    pub positions: Vec<(SourceId, Vec<u8>)>,
    /// Size and tallies.
    pub usage: Usage,
    /// The last process stopped cleanly.
    pub clean: bool,
}

/// Why a transaction failed without a trace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreFault {
    /// No room on the disk: the core evicts and tries again.
    DiskFull,
    /// Anything else, and an unknown outcome: the agent stops.
    Broken(String),
}

/// What was asked for by [`crate::LoadRequest`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Loaded {
    /// A page of what is to be sent.
    Backlog {
        /// Whose.
        turbine: TurbineId,
        /// Unacknowledged rows, oldest first.
        rows: Vec<StoredRow>,
        /// Rows whose bytes no longer have their hash.
        corrupt: Vec<RowMeta>,
        /// The last row that was looked at, readable or not: where the next page continues.
        last: Option<(Epoch, Seq)>,
        /// There was no further row when this was read.
        end: bool,
    },
    /// Rows that may leave, oldest first.
    Evictable {
        /// Whose.
        turbine: TurbineId,
        /// At which level.
        level: RowLevel,
        /// Of which class.
        class: RowClass,
        /// The rows.
        rows: Vec<RowMeta>,
    },
    /// A page of a turbine's journals.
    Waiting {
        /// Whose.
        turbine: TurbineId,
        /// The rows, oldest boot first, in the order of their numbers.
        rows: Vec<StoredRow>,
        /// Rows whose bytes no longer have their hash.
        corrupt: Vec<RowMeta>,
    },
    /// Gaps and Seals.
    Marks {
        /// Whose.
        turbine: TurbineId,
        /// The rows.
        rows: Vec<StoredRow>,
    },
    /// Which of the seqs that a Resend asks for are here.
    Held {
        /// Whose.
        turbine: TurbineId,
        /// Which epoch.
        epoch: Epoch,
        /// What was asked.
        ranges: Vec<SeqRange>,
        /// Runs of rows of one level that are here, in order.
        held: Vec<(SeqRange, RowLevel)>,
    },
}
