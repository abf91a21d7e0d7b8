//! The records that have a seq, as plain data.
//!
//! Invariant: a record's bytes are made once by the gateway ([`crate::wire::encode`]); everything downstream keeps those
//! bytes and looks at this model of them.

use serde::{Deserialize, Serialize};

use crate::catalogue::{CatalogueHash, Class, RateGroup};
use crate::id::{BootId, ChannelId, Epoch, RecordId, Seq, SeqRange};
use crate::time::{EventTime, WallTime};

/// A chain head: `h(k) = SHA-256(h(k-1) || SHA-256(bytes of record k))`, all zero before seq 1.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct Head(pub [u8; 32]);

/// SHA-256 of a record's bytes.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct RecordHash(pub [u8; 32]);

/// What every record says about the order of event time in its epoch. None decreases with seq.
/// Only readings that are neither late nor suspect count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Stamps {
    /// Greatest event time in seqs up to this one; [`EventTime::MIN`]: none yet.
    pub ceiling: EventTime,
    /// The same for seq - 1.
    pub prev_ceiling: EventTime,
    /// Every reading with event time < frontier has a seq up to this one.
    pub frontier: EventTime,
}

/// What stands on every record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// Which record.
    pub id: RecordId,
    /// Its stamps.
    pub stamps: Stamps,
    /// The gateway's wall clock when it was committed.
    pub committed_at: WallTime,
    /// Chain head before this record; zero for seq 1.
    pub prev_head: Head,
}

/// A record.
#[derive(Clone, PartialEq, Debug)]
pub struct Record {
    /// Identity, stamps, chain.
    pub header: Header,
    /// What it says.
    pub body: Body,
}

/// What a record says.
#[derive(Clone, PartialEq, Debug)]
pub enum Body {
    /// Readings.
    Batch(Batch),
    /// The epoch begins; always seq 1.
    Open(Open),
    /// Seqs that the gateway no longer has.
    Gap(Gap),
    /// The chain head so far.
    Seal(Seal),
    /// Readings whose time nobody knows.
    Untimed(Untimed),
}

/// Readings of a boot that never saw a clock. They are kept, and count in no pane and no stamp.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Untimed {
    /// Which boot.
    pub boot: BootId,
    /// The readings; their event times are microseconds since the boot's start, and no block has a flag.
    pub batch: Batch,
}

/// Readings of one class and one rate group. Values lie flat, column after column, block after block:
/// a reading's `index` in its record is its position in `raw`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// Which catalogue the channel ids and scales are from.
    pub catalogue: CatalogueHash,
    /// What may be lost.
    pub class: Class,
    /// Which slices it was cut by.
    pub rate_group: RateGroup,
    /// Columns that share times and flags.
    pub blocks: Vec<Block>,
    /// All values: scaled integers, or the bits of an `f64` where the column says so.
    pub raw: Vec<i64>,
}

/// Columns of one batch with the same times and flags: at least one row and one column. A channel may stand in several
/// blocks of a batch (some of its readings are late, or its times are its own), once in each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// Below the gateway's frontier when committed, or ahead of its clock.
    pub flags: Flags,
    /// Event time of each row.
    pub times: Times,
    /// One for each channel, ascending by channel, at least one; their values follow one another in [`Batch::raw`].
    pub columns: Vec<Column>,
    /// Readings of this block whose quality is not good, ascending by (column, row), at most one mark for a reading.
    pub quality: Vec<QualityMark>,
}

/// Marks that the gateway puts on readings.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Flags {
    /// Event time was below the frontier when it was committed.
    pub late: bool,
    /// Event time was ahead of the gateway's own clock: counts in no pane and no stamp.
    pub suspect: bool,
}

/// Event times of a block's rows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Times {
    /// `start + i * period_us` for i in 0..n.
    Regular {
        /// Time of the first row.
        start: EventTime,
        /// Microseconds from row to row.
        period_us: i64,
        /// Rows.
        n: u32,
    },
    /// Each row's own time, in the order of the readings.
    Listed(Vec<EventTime>),
}

impl Times {
    /// Number of rows.
    #[allow(clippy::len_without_is_empty)] // a block is never empty
    pub fn len(&self) -> usize {
        match self {
            Self::Regular { n, .. } => *n as usize,
            Self::Listed(t) => t.len(),
        }
    }
    /// Time of row `i`.
    pub fn at(&self, i: usize) -> EventTime {
        match self {
            Self::Regular {
                start, period_us, ..
            } => start.plus_us(period_us.saturating_mul(i as i64)),
            Self::Listed(t) => t[i],
        }
    }
    /// All rows in order.
    pub fn iter(&self) -> impl Iterator<Item = EventTime> + '_ {
        (0..self.len()).map(|i| self.at(i))
    }
}

/// One channel's values in a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Column {
    /// Which channel.
    pub channel: ChannelId,
    /// The values are the bits of an `f64`.
    pub float: bool,
    /// Where they begin in [`Batch::raw`]; as many as the block has rows.
    pub at: u32,
}

/// How good a reading is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quality {
    /// As measured.
    Good,
    /// The source doubts it; it is aggregated.
    Uncertain,
    /// The source says it is wrong; kept, not aggregated.
    Bad,
    /// The source gave no number (NaN, an error code); the raw value means nothing.
    NotANumber,
    /// Infinite, or not representable in the channel's raw integer; the raw value means nothing.
    OutOfRange,
}

impl Quality {
    /// Does the reading count in aggregates?
    pub fn counts(self) -> bool {
        matches!(self, Self::Good | Self::Uncertain)
    }
}

/// One reading of a block that is not good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QualityMark {
    /// Index of the column in its block.
    pub column: u16,
    /// Row.
    pub row: u32,
    /// Never [`Quality::Good`].
    pub quality: Quality,
}

/// Seq 1 of an epoch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Open {
    /// The epoch before, if this disk knows one.
    pub predecessor: Option<Predecessor>,
    /// Oldest epoch that still has records on this disk; this epoch's own id when there is none older.
    pub oldest_held: Epoch,
    /// No on-time reading of this epoch is earlier.
    pub not_before: EventTime,
    /// For the record.
    pub agent_version: String,
}

/// How the epoch before ended, as far as the disk knows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Predecessor {
    /// Which epoch.
    pub epoch: Epoch,
    /// The greatest seq that this disk knows of it, if any.
    pub last_seq: Option<Seq>,
    /// Its last ceiling ([`EventTime::MIN`]: it had no on-time reading). `None`: the store was damaged, there may have been
    /// seqs behind `last_seq` which this disk no longer knows.
    pub ceiling: Option<EventTime>,
    /// Its chain head at `last_seq`.
    pub head: Head,
}

/// Why seqs are lost.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossReason {
    /// The disk budget forced it.
    Evicted,
    /// The store was damaged.
    Corrupt,
    /// Asked for, but this disk never had it.
    NeverHeld,
    /// Ingest or the partition task could not accept the bytes.
    Refused,
    /// Readings were taken, but by no clock: they travel as [`Untimed`] records.
    Untimed,
}

/// Seqs of this turbine that the gateway no longer has.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Gap {
    /// Epoch of the lost seqs (often not the epoch of the record that says so).
    pub epoch: Epoch,
    /// Class of what was lost; the highest one where several are mixed.
    pub class: Class,
    /// Why.
    pub reason: LossReason,
    /// Which, in order.
    pub ranges: Vec<GapRange>,
}

/// A run of lost seqs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GapRange {
    /// Which seqs.
    pub seqs: SeqRange,
    /// How many readings they held, if known.
    pub readings: Option<u64>,
    /// Event times of those readings, first and last, if known and any.
    pub bounds: Option<(EventTime, EventTime)>,
    /// Ceiling and frontier of the last of them, if known.
    pub end: Option<(EventTime, EventTime)>,
    /// Chain head before the first and after the last, if known.
    pub heads: Option<(Head, Head)>,
}

/// The chain head up to and including `upto` of this epoch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Seal {
    /// Last seq it speaks of: the one before its own.
    pub upto: Seq,
    /// Chain head at `upto`.
    pub head: Head,
    /// By the gateway's key; empty for now.
    pub signature: Vec<u8>,
}
