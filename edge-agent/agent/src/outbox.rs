//! The outbox: committed records in one SQLite file until the cloud has them, and after that as long as there is room.
//!
//! The SQLite shell of `windlass_edge_core`'s store: it executes [`CommitBatch`]es and [`LoadRequest`]s and decides
//! nothing. Invariants: one transaction per batch under WAL and `synchronous=FULL`; a row's bytes never change; a
//! damaged file is set aside and salvaged, never deleted.

use std::path::{Path, PathBuf};

use windlass_edge_core::{CommitBatch, LoadRequest, Loaded, Recovered, StoreFault, Usage};

/// Why an outbox cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The directory or file cannot be created or written.
    #[error("outbox {path}: {what}")]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// What happened and what to do.
        what: String,
    },
}

/// What opening found, for the log and the status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// The damaged database was moved here.
    pub quarantined: Option<PathBuf>,
    /// Rows salvaged from it.
    pub salvaged: u64,
    /// Rows that were seen in it and could not be salvaged.
    pub unreadable: u64,
}

/// An open outbox. All calls block; the shell gives it a thread of its own.
#[derive(Debug)]
pub struct Outbox {}

impl Outbox {
    /// Opens or creates `path`; sets a damaged file aside and salvages it. `stamp` (wall time, microseconds) names the
    /// quarantined file.
    pub fn open(path: &Path, stamp: i64) -> Result<(Self, Recovered, OpenReport), OutboxError> {
        todo!("{} {stamp}", path.display())
    }
    /// Applies one transaction. On success it is durable.
    pub fn apply(&mut self, batch: &CommitBatch) -> Result<Usage, StoreFault> {
        todo!("{batch:?}")
    }
    /// Answers a request.
    pub fn load(&mut self, request: &LoadRequest) -> Result<Loaded, StoreFault> {
        todo!("{request:?}")
    }
    /// Size and tallies now.
    pub fn usage(&self) -> Result<Usage, StoreFault> {
        todo!()
    }
}
