//! The lake: every record as evidence and every reading as analytics, in Parquet, exactly once.
//!
//! How a cut becomes visible, in this order and no other:
//! 1. an *intent* marker, put if absent: from here on the cut's ends are fixed;
//! 2. the Parquet files, under names that hold the position, so that a retry writes the same bytes over the same names;
//! 3. the deduplication state after the cut, as an object of its own;
//! 4. the *commit* marker, put if absent: it lists the files with rows, bytes and SHA-256 and names the state;
//! 5. the group's position in the log.
//!
//! Invariants: a reader sees committed cuts only; the commit markers of a topic's partition form a gapless chain by
//! position, each naming the hash of the one before; what a cut holds is a function of the log up to its last position;
//! the position in the log is only a hint for retention: the markers are the truth.

pub mod chain;
pub mod cut;
pub mod dead_row;
pub mod derived;
pub mod event;
pub mod evidence;
pub mod feature;
pub mod feature_row;
pub mod file;
#[cfg(test)]
pub(crate) mod fixture;
pub mod fold;
pub mod marker;
pub mod proof;
pub mod read;
pub mod reading;
pub mod role;
#[cfg(test)]
mod running;
pub mod spot;
pub mod store;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod topics;
pub mod verify;
pub mod views;
pub mod writer;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use marker::{Commit, FileEntry, Intent};
pub use read::Lake;
pub use role::{LakeMetrics, LakeRole};
pub use store::Store;
pub use writer::{Hook, PartitionWriter, Step};

/// Version of the markers and of the tables' columns.
pub const FORMAT: u32 = 1;

/// A table of the lake; its name is its first folder.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// Original bytes of every entry of the telemetry topic, control records and ticks included, by log time.
    Batches,
    /// Each decoded reading once, by event time.
    Readings,
    /// The readings that the gateway marked late, once more, by log time.
    Late,
    /// The readings of boots that never saw a clock, by log time: nobody knows their event time.
    Untimed,
    /// One row for each window and channel, by the window's start.
    Features,
    /// Alerts, by log time.
    Alerts,
    /// What was refused, by log time.
    DeadLetter,
}

impl Table {
    /// All tables.
    pub const ALL: [Self; 7] = [
        Self::Batches,
        Self::Readings,
        Self::Late,
        Self::Untimed,
        Self::Features,
        Self::Alerts,
        Self::DeadLetter,
    ];
    /// Its folder.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Batches => "batches",
            Self::Readings => "readings",
            Self::Late => "late",
            Self::Untimed => "untimed",
            Self::Features => "features",
            Self::Alerts => "alerts",
            Self::DeadLetter => "dead_letter",
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a caller does about an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disposition {
    /// The store did not answer: recover from the markers and go on.
    Retry,
    /// The request was wrong.
    Reject,
    /// An invariant is broken or an object is damaged: stop, an operator must look.
    Fatal,
}

/// What can go wrong in the lake.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The configured place cannot be used.
    #[error("lake url `{url}`: {why}; expected `file:///absolute/folder`")]
    Url {
        /// As configured.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The object store failed.
    #[error("lake object `{path}`: the store failed: {source}")]
    Store {
        /// Which object or folder.
        path: String,
        /// What it said.
        source: object_store::Error,
    },
    /// The file system failed where the object store has no call for it.
    #[error("lake file `{path}`: {source}")]
    Disk {
        /// Which file or folder.
        path: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// Parquet could not be written or read.
    #[error("lake file `{path}`: {source}")]
    Parquet {
        /// Which file.
        path: String,
        /// What the codec said.
        source: parquet::errors::ParquetError,
    },
    /// Arrow arrays do not fit their schema.
    #[error("lake file `{path}`: {source}")]
    Arrow {
        /// Which file.
        path: String,
        /// What does not fit.
        source: arrow_schema::ArrowError,
    },
    /// An object is not what its marker says.
    #[error(
        "lake object `{path}` is damaged: {what}: expected {expected}, found {found}; restore it from a copy, its marker still holds the right hash"
    )]
    Damaged {
        /// Which object.
        path: String,
        /// Which property.
        what: &'static str,
        /// By the marker.
        expected: String,
        /// In the store.
        found: String,
    },
    /// The commit markers do not follow each other.
    #[error(
        "lake markers of `{of}`: {why}; nothing is written until the missing marker is restored"
    )]
    Chain {
        /// Topic and partition.
        of: String,
        /// Where the chain breaks.
        why: String,
    },
    /// Somebody else decided otherwise about this position.
    #[error(
        "lake marker `{path}` exists with other content: expected {expected}, found {found}; two writers, or a changed logic in the middle of a cut: stop one and look"
    )]
    Contended {
        /// Which marker.
        path: String,
        /// Ours.
        expected: String,
        /// Theirs.
        found: String,
    },
    /// A failure that a test asked for.
    #[error("injected failure at {0:?}")]
    Injected(writer::Step),
    /// The request makes no sense.
    #[error("{0}")]
    Request(String),
}

impl LakeError {
    /// Retry, reject or stop?
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Store { .. } | Self::Disk { .. } | Self::Injected(_) => Disposition::Retry,
            Self::Url { .. } | Self::Request(_) => Disposition::Reject,
            _ => Disposition::Fatal,
        }
    }
}

/// SHA-256 as 64 hexadecimal digits.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from_digit(u32::from(n), 16).unwrap_or_default();
    let digits = bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]);
    digits.collect()
}
