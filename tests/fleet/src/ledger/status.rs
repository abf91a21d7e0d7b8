//! What is found: the status store, and how soon a reading shows there.
//!
//! Invariant: read as any reader would, from the committed rows of the store's file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rusqlite::{Connection, OpenFlags};
use serde::Deserialize;

/// The parts of a status document that the rig looks at. Times in microseconds.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Status {
    /// Position in the log that it speaks of.
    pub position: u64,
    /// Newest on-time reading.
    pub event_time: Option<i64>,
    /// Newest on-time reading of the fast channels.
    pub fast_event_time: Option<i64>,
    /// When the gateway closed the newest slice of fast channels.
    pub slice_committed_at: Option<i64>,
    /// How far time has come without a hole.
    pub frontier: Option<i64>,
    /// What came and what did not.
    pub coverage: Coverage,
}

/// Coverage in numbers.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Coverage {
    /// Unknown ranges.
    pub holes: u32,
    /// Epochs with conflicting bytes.
    pub quarantined_epochs: u32,
}

/// The newest status of each turbine; none while the store is not there.
pub fn turbines(path: &Path) -> Result<BTreeMap<String, Status>> {
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    match open(path).and_then(|c| read(&c)) {
        Ok(found) => Ok(found),
        // The store is being made, or its writer is being killed or recovered this moment: ask again.
        Err(error) if error.downcast_ref::<rusqlite::Error>().is_some() => Ok(BTreeMap::new()),
        Err(error) => Err(error),
    }
}

/// A reader that is told when there is something new in the store, which need not be there yet.
pub struct Reader {
    path: PathBuf,
    connection: Option<Connection>,
    version: i64,
}

impl Reader {
    /// Of the store at this path.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            connection: None,
            version: 0,
        }
    }

    /// The store, if a transaction was committed since the last call that gave it.
    pub fn changed(&mut self) -> Option<&Connection> {
        if self.connection.is_none() && self.path.exists() {
            self.connection = open(&self.path).ok();
        }
        let version = |c: &Connection| c.query_row("PRAGMA data_version", [], |r| r.get(0));
        match version(self.connection.as_ref()?) {
            Ok(now) if now == self.version => None,
            Ok(now) => {
                self.version = now;
                self.connection.as_ref()
            }
            Err(_) => {
                self.reopen();
                None
            }
        }
    }

    /// It could not be read: its writer is being killed or recovered. The next call opens it again.
    pub fn reopen(&mut self) {
        self.connection = None;
        self.version = 0;
    }
}

/// A read-only connection.
pub fn open(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Ok(Connection::open_with_flags(path, flags)?)
}

/// All rows.
pub fn read(connection: &Connection) -> Result<BTreeMap<String, Status>> {
    let mut query = connection.prepare_cached("SELECT turbine, doc FROM status")?;
    let rows = query.query_map([], |r| Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?)))?;
    let mut found = BTreeMap::new();
    for row in rows {
        let (turbine, doc) = row?;
        let status = serde_json::from_str(&doc).with_context(|| turbine.clone())?;
        found.insert(turbine, status);
    }
    Ok(found)
}
