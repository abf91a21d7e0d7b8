//! The outbox: committed records in one SQLite file until the cloud has them, and after that as long as there is room.
//!
//! The SQLite shell of `windlass_edge_core`'s store: it executes [`CommitBatch`]es and [`LoadRequest`]s and decides
//! nothing. Invariants: one transaction per batch under WAL and `synchronous=FULL`; a row's bytes never change; a
//! damaged file is set aside and salvaged, never deleted.
//!
//! On disk: `record.id` is `epoch.key << 40 | seq`, so that acknowledgements, resends and uniqueness need no second index
//! (each index costs a page per commit), and a turbine's rows lie in the order of their numbers. A level is stored as 9
//! to 12: integers of one width, so that an acknowledgement changes a byte in place and not the row. There is no
//! auto-vacuum (its pointer map is a page per commit, too): evicted pages are written again, the budget bounds the file,
//! and an opening that finds more than half of it free gives the space back. What was recorded without a clock lies under the
//! boot's id as if that were an epoch, with level 9; that entry of `epoch` is gone with its last row.

mod files;
mod inspect;
mod read;
mod recover;
mod row;
mod salvage;
mod schema;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use windlass_edge_core::{CommitBatch, LoadRequest, Loaded, Recovered, StoreFault, Tallies, Usage};
use windlass_shared::id::{Epoch, TurbineId};

pub use inspect::{InspectedRow, Inspector};

use files::Files;

/// Why an outbox cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The directory or a file in it cannot be created, read or written.
    #[error("outbox {path}: {what}")]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// What happened and what to do.
        what: String,
    },
    /// Another process has it.
    #[error(
        "outbox {path} is in use by another process; expected to be its only user: stop the other agent or give this one a file of its own"
    )]
    Busy {
        /// Which file.
        path: PathBuf,
    },
    /// Written by another version of this software.
    #[error(
        "outbox {path} has schema version {found}, expected {expected}: run the version that wrote it until it is drained, or move the file away"
    )]
    Version {
        /// Which file.
        path: PathBuf,
        /// What it says.
        found: i64,
        /// What this code writes.
        expected: i64,
    },
    /// SQLite failed.
    #[error("outbox {path}: {source}")]
    Sqlite {
        /// Which file.
        path: PathBuf,
        /// How.
        source: rusqlite::Error,
    },
}

/// What opening found, for the log and the status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// The damaged database was moved here.
    pub quarantined: Option<PathBuf>,
    /// What was wrong with it.
    pub damage: Option<String>,
    /// Rows salvaged from it.
    pub salvaged: u64,
    /// Places in it that could not be read, or rows whose bytes no longer have their hash.
    pub unreadable: u64,
    /// Space given back, bytes.
    pub compacted: u64,
}

/// An open outbox. All calls block; the shell gives it a thread of its own.
#[derive(Debug)]
pub struct Outbox {
    db: Connection,
    files: Files,
    epochs: Epochs,
    tallies: BTreeMap<TurbineId, Tallies>,
    /// Per turbine, level and class: no row of that tier has a smaller id.
    hints: BTreeMap<TurbineId, [[i64; 4]; 4]>,
    /// A damaged store's losses are not declared yet.
    undeclared: bool,
}

/// The epochs that the store knows, by key.
#[derive(Debug, Default, Clone)]
struct Epochs {
    by_key: BTreeMap<i64, (TurbineId, Epoch)>,
    keys: BTreeMap<(TurbineId, Epoch), i64>,
    /// Keys that are no epochs: what a boot recorded without a clock.
    journals: BTreeSet<i64>,
}

impl Epochs {
    fn insert(&mut self, key: i64, turbine: TurbineId, epoch: Epoch) {
        self.by_key.insert(key, (turbine.clone(), epoch));
        self.keys.insert((turbine, epoch), key);
    }
    fn remove(&mut self, key: i64) {
        if let Some(known) = self.by_key.remove(&key) {
            self.keys.remove(&known);
        }
        self.journals.remove(&key);
    }
    fn key(&self, turbine: &TurbineId, epoch: Epoch) -> Option<i64> {
        self.keys.get(&(turbine.clone(), epoch)).copied()
    }
    fn of<'a>(&'a self, turbine: &'a TurbineId) -> impl Iterator<Item = (i64, Epoch)> + 'a {
        let own = self.by_key.iter().filter(move |(_, (t, _))| t == turbine);
        own.map(|(key, (_, epoch))| (*key, *epoch))
    }
}

impl Outbox {
    /// Opens or creates `path`; sets a damaged file aside and salvages it. `stamp` (wall time, microseconds) names the
    /// quarantined file.
    pub fn open(path: &Path, stamp: i64) -> Result<(Self, Recovered, OpenReport), OutboxError> {
        let files = Files::claim(path)?;
        let mut report = OpenReport::default();
        let first = if files.is_suspect() {
            Err(Damage("an earlier run found it damaged".into()))
        } else {
            Self::recover(&files, &mut report)?
        };
        let (outbox, recovered) = match first {
            Ok(opened) => opened,
            Err(damage) => {
                report.damage = Some(damage.0);
                salvage::salvage(&files, stamp, &mut report)?;
                let salvaged = Self::recover(&files, &mut report)?;
                salvaged.map_err(|damage| OutboxError::Unusable {
                    path: path.into(),
                    what: format!(
                        "damaged again right after it was salvaged ({}); check the disk",
                        damage.0
                    ),
                })?
            }
        };
        let mut outbox = outbox.into_outbox(files);
        outbox.files.keep_reserve();
        Ok((outbox, recovered, report))
    }

    /// Applies one transaction. On success it is durable.
    pub fn apply(&mut self, batch: &CommitBatch) -> Result<Usage, StoreFault> {
        let mut result = self.transaction(batch);
        if result == Err(StoreFault::DiskFull)
            && !batch.evictions.is_empty()
            && self.files.give_up_reserve()
        {
            // what makes room needs room for a moment: that is what the reserve is for
            result = self.transaction(batch);
        }
        result?;
        self.files.keep_reserve();
        self.usage()
    }

    /// Answers a request.
    pub fn load(&mut self, request: &LoadRequest) -> Result<Loaded, StoreFault> {
        let loaded = self.read(request);
        loaded.map_err(|e| self.fault(&e))
    }

    /// Size and tallies now.
    pub fn usage(&self) -> Result<Usage, StoreFault> {
        let size = self.size().map_err(|e| self.fault(&e))?;
        Ok(Usage {
            used: size.used + self.files.wal_bytes(),
            reusable: size.reusable,
            disk_free: self.files.disk_free(),
            turbines: self.tallies.clone().into_iter().collect(),
        })
    }

    /// Caps the file at so many pages of 1 KiB: transactions that need more meet a full disk.
    pub fn limit_pages(&mut self, pages: u32) -> Result<(), StoreFault> {
        let set = self.db.pragma_update(None, "max_page_count", pages);
        set.map_err(|e| self.fault(&e))
    }

    /// What a failure means for the core. Damage is remembered, so that the next opening salvages.
    fn fault(&self, error: &rusqlite::Error) -> StoreFault {
        if schema::is_full(error) {
            return StoreFault::DiskFull;
        }
        if schema::is_damage(error) {
            self.files.suspect();
        }
        StoreFault::Broken(format!("{}: {error}", self.files.path().display()))
    }
}

/// A database that is not what was written.
#[derive(Debug)]
struct Damage(String);
