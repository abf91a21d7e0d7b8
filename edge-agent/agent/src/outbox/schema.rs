//! The database itself: pragmas, tables, what its errors mean.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, Error, ErrorCode, OpenFlags};

use super::OutboxError;

/// Version of the tables. 2 is 1 with journals: rows of level 9, under a boot's id in the place of an epoch.
pub(super) const VERSION: i64 = 2;
/// The oldest version whose files are as good as of this one.
const OLDEST: i64 = 1;
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

/// The tables. Terse, because their text is stored and must fit the first page: then damage to any other page leaves the
/// tables known, and a new file's first page can stand in for a damaged one.
///
/// - `epoch`: by key in the order of their beginning. `whole` 0: salvaged from a damaged database. `last_seq` and what
///   follows: where the epoch ended, once its last row has left.
/// - `record`: id is `epoch.key << 40 | seq`; level 10 unacknowledged, 11 logged, 12 safe; kind 0 Open, 1 Gap, 2 Seal,
///   10 + 4 * class + rate group; times in microseconds, null: none; head holds the hash of the bytes, too.
/// - `source`: positions of file sources.
/// - `mark`: `clean`, the last process stopped; `undeclared`, a damaged database's losses wait for their Gap.
const TABLES: &str = "\
CREATE TABLE epoch(key INTEGER PRIMARY KEY,turbine TEXT NOT NULL,epoch BLOB NOT NULL,whole INTEGER NOT NULL,\
last_seq INTEGER,ceiling INTEGER,frontier INTEGER,head BLOB,UNIQUE(turbine,epoch))STRICT;\
CREATE TABLE record(id INTEGER PRIMARY KEY,level INTEGER NOT NULL,kind INTEGER NOT NULL,readings INTEGER NOT NULL,\
first INTEGER,last INTEGER,ceiling INTEGER,frontier INTEGER,committed_at INTEGER NOT NULL,prev_head BLOB NOT NULL,\
head BLOB NOT NULL,bytes BLOB NOT NULL)STRICT;\
CREATE TABLE source(id TEXT PRIMARY KEY,position BLOB NOT NULL)STRICT,WITHOUT ROWID;\
CREATE TABLE mark(name TEXT PRIMARY KEY)STRICT,WITHOUT ROWID;";

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
        Ok(OLDEST..=VERSION) => Ok(()),
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

/// Makes an older file one of this version: an older agent would take a journal for damage.
pub(super) fn upgrade(db: &Connection) -> Result<(), Error> {
    let found: i64 = db.pragma_query_value(None, "user_version", |r| r.get(0))?;
    if found < VERSION {
        db.pragma_update(None, "user_version", VERSION)?;
    }
    Ok(())
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
