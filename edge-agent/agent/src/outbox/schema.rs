//! The database itself: pragmas, tables, what its errors mean.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, Error, ErrorCode, OpenFlags};

use super::OutboxError;

/// Version of the tables.
pub(super) const VERSION: i64 = 1;
/// Bytes of a page. Small: a commit rewrites the tail page of the table. Measured with a turbine of 300 channels at 1 Hz
/// under FULL, flash written per day by the kernel's count: 512 bytes 0.65 GB, 1024 0.63, 2048 0.75, 4096 0.90.
pub(super) const PAGE_BYTES: u64 = 1024;
/// Page cache, KiB: the tail of the table and the way to it; the gateway's memory is small.
const CACHE_KIB: i64 = 1024;
/// The log is copied into the database every so many pages: the tail page of the table is then written once, not at each
/// commit.
const CHECKPOINT_PAGES: i64 = 4000;
/// How long to wait for another connection (an inspection) to let go.
const BUSY: Duration = Duration::from_secs(10);

const TABLES: &str = "
CREATE TABLE epoch (
  key INTEGER PRIMARY KEY,      -- in the order of their beginning
  turbine TEXT NOT NULL,
  epoch BLOB NOT NULL,          -- 16 bytes
  whole INTEGER NOT NULL,       -- 0: salvaged from a damaged database
  last_seq INTEGER,             -- where the epoch ended, once its last row has left
  ceiling INTEGER,
  frontier INTEGER,
  head BLOB,
  UNIQUE (turbine, epoch)
) STRICT;
CREATE TABLE record (
  id INTEGER PRIMARY KEY,       -- epoch.key << 40 | seq
  level INTEGER NOT NULL,       -- 10 unacknowledged, 11 logged, 12 safe
  kind INTEGER NOT NULL,        -- 0 Open, 1 Gap, 2 Seal, 10 + 4 * class + rate group
  readings INTEGER NOT NULL,
  first INTEGER,                -- event times, microseconds
  last INTEGER,
  ceiling INTEGER,              -- null: none yet
  frontier INTEGER,
  committed_at INTEGER NOT NULL,
  prev_head BLOB NOT NULL,
  head BLOB NOT NULL,           -- also holds the hash of the bytes
  bytes BLOB NOT NULL
) STRICT;
CREATE TABLE source (id TEXT PRIMARY KEY, position BLOB NOT NULL) STRICT, WITHOUT ROWID;
-- 'clean': the last process stopped; 'undeclared': a damaged database's losses wait for their Gap
CREATE TABLE mark (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
";

/// Opens for writing; creates the tables in an empty file.
pub(super) fn open(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(BUSY)?;
    db.pragma_update(None, "page_size", PAGE_BYTES as i64)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "cache_size", -CACHE_KIB)?;
    db.pragma_update(None, "mmap_size", 0)?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    db.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    db.pragma_update(
        None,
        "journal_size_limit",
        2 * CHECKPOINT_PAGES * PAGE_BYTES as i64,
    )?;
    db.set_prepared_statement_cache_capacity(32);
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0))?;
    if tables == 0 {
        db.execute_batch(&format!(
            "BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;"
        ))?;
    }
    Ok(db)
}

/// Refuses what another version wrote.
pub(super) fn check_version(db: &Connection, path: &Path) -> Result<(), OutboxError> {
    let found: rusqlite::Result<i64> = db.pragma_query_value(None, "user_version", |r| r.get(0));
    match found {
        Ok(VERSION) => Ok(()),
        Ok(found) => Err(OutboxError::Version {
            path: path.into(),
            found,
            expected: VERSION,
        }),
        Err(source) => Err(OutboxError::Sqlite {
            path: path.into(),
            source,
        }),
    }
}

fn code(error: &Error) -> Option<rusqlite::ffi::Error> {
    error.sqlite_error().copied()
}

/// No room on the disk; the transaction left no trace.
pub(super) fn is_full(error: &Error) -> bool {
    code(error).is_some_and(|e| e.code == ErrorCode::DiskFull)
}

/// The file is not what was written.
pub(super) fn is_damage(error: &Error) -> bool {
    let corrupt = |e: rusqlite::ffi::Error| {
        matches!(e.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    };
    // a value that cannot be what was stored, or a table that is not there
    let garbled = matches!(
        error,
        Error::FromSqlConversionFailure(..)
            | Error::InvalidColumnType(..)
            | Error::IntegralValueOutOfRange(..)
    );
    garbled || code(error).is_some_and(corrupt)
}
