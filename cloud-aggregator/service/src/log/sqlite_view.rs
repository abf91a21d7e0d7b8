//! Reading the embedded log: for the roles' readers, and for the command line while the service runs.
//!
//! Invariant: nothing here writes.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension};
use windlass_shared::time::WallTime;

use super::sqlite::{SCHEMA_VERSION, open_connection, store, table};
use super::{Committed, Group, LogError, Offset, ReadLimits, StoredEntry, TopicPartition};

/// A read-only connection to the log's file.
#[derive(Debug)]
pub struct View {
    path: PathBuf,
    conn: Connection,
}

impl View {
    /// Opens an existing log for reading.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = open_connection(path, flags)?;
        let version: i64 = conn
            .query_row("PRAGMA user_version", [], |r| r.get(0))
            .map_err(|e| store(path, e))?;
        if version != SCHEMA_VERSION {
            return Err(LogError::Mismatch {
                path: path.to_owned(),
                what: "layout version",
                found: version.to_string(),
                expected: SCHEMA_VERSION.to_string(),
            });
        }
        Ok(Self {
            path: path.to_owned(),
            conn,
        })
    }

    /// Appends entries from `from` on to `out`, in order, as far as the limits go.
    pub fn read(
        &self,
        at: TopicPartition,
        from: Offset,
        limits: ReadLimits,
        out: &mut Vec<StoredEntry>,
    ) -> Result<(), LogError> {
        let first_new = out.len();
        self.read_rows(at, from, limits, out)
            .map_err(|e| store(&self.path, e))?;
        match out.get(first_new).map(|e| e.offset) {
            Some(first) if first > from => Err(LogError::Trimmed {
                at,
                wanted: from,
                first,
            }),
            _ => Ok(()),
        }
    }

    fn read_rows(
        &self,
        at: TopicPartition,
        from: Offset,
        limits: ReadLimits,
        out: &mut Vec<StoredEntry>,
    ) -> rusqlite::Result<()> {
        let sql = format!(
            "SELECT offset, time, writer, key, value FROM {} WHERE offset >= ?1 ORDER BY offset LIMIT ?2",
            table(at)
        );
        self.rows(
            at,
            &sql,
            (from.0 as i64, limits.entries_max as i64),
            limits,
            out,
        )
    }

    fn rows(
        &self,
        at: TopicPartition,
        sql: &str,
        params: impl rusqlite::Params,
        limits: ReadLimits,
        out: &mut Vec<StoredEntry>,
    ) -> rusqlite::Result<()> {
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        let mut bytes = 0;
        while let Some(row) = rows.next()? {
            let value: Vec<u8> = row.get(4)?;
            bytes += value.len();
            out.push(StoredEntry {
                at,
                offset: Offset(row.get::<_, i64>(0)? as u64),
                time: WallTime(row.get(1)?),
                writer: row.get(2)?,
                key: row.get(3)?,
                value,
            });
            if bytes >= limits.bytes_max {
                break;
            }
        }
        Ok(())
    }

    /// Appends the entries with this key from `from` on to `out`, as far as the limits go; answers where to go on, `None` at
    /// the end. What retention took meanwhile is passed over.
    pub fn read_key(
        &self,
        at: TopicPartition,
        from: Offset,
        key: &str,
        limits: ReadLimits,
        out: &mut Vec<StoredEntry>,
    ) -> Result<Option<Offset>, LogError> {
        let before = out.len();
        let sql = format!(
            "SELECT offset, time, writer, key, value FROM {} WHERE offset >= ?1 AND key = ?2 ORDER BY offset LIMIT ?3",
            table(at)
        );
        self.rows(
            at,
            &sql,
            (from.0 as i64, key, limits.entries_max as i64),
            limits,
            out,
        )
        .map_err(|e| store(&self.path, e))?;
        let last = out[before..].last();
        Ok(last.map(|e| Offset(e.offset.0 + 1)))
    }

    /// How many partitions every topic has.
    pub fn partitions(&self) -> Result<u16, LogError> {
        self.info("partitions").map(|v| v as u16)
    }

    /// Names this log.
    pub fn generation(&self) -> Result<u64, LogError> {
        self.info("generation").map(|v| v as u64)
    }

    fn info(&self, name: &str) -> Result<i64, LogError> {
        self.conn
            .query_row("SELECT value FROM info WHERE name = ?1", [name], |r| {
                r.get(0)
            })
            .map_err(|e| store(&self.path, e))
    }

    /// Where a group is.
    pub fn committed(
        &self,
        group: Group,
        at: TopicPartition,
    ) -> Result<Option<Committed>, LogError> {
        Self::committed_on(&self.conn, group, at).map_err(|e| store(&self.path, e))
    }

    /// The same on any connection.
    pub(super) fn committed_on(
        conn: &Connection,
        group: Group,
        at: TopicPartition,
    ) -> rusqlite::Result<Option<Committed>> {
        conn.prepare_cached(
            "SELECT next, meta FROM positions WHERE grp = ?1 AND topic = ?2 AND partition = ?3",
        )?
        .query_row((group.as_str(), at.topic.as_str(), at.partition.0), |r| {
            Ok(Committed {
                next: Offset(r.get::<_, i64>(0)? as u64),
                meta: r.get(1)?,
            })
        })
        .optional()
    }

    /// First offset held and the offset the next entry will get.
    pub fn bounds(&self, at: TopicPartition) -> Result<(Offset, Offset), LogError> {
        let first: Option<i64> = self
            .conn
            .query_row(&format!("SELECT min(offset) FROM {}", table(at)), [], |r| {
                r.get(0)
            })
            .map_err(|e| store(&self.path, e))?;
        let next = Self::next_offset(&self.conn, at).map_err(|e| store(&self.path, e))?;
        Ok((Offset(first.unwrap_or(0) as u64), next))
    }

    /// The offset the next entry will get: the newest entry is never trimmed, so it is known from the table alone.
    pub(super) fn next_offset(conn: &Connection, at: TopicPartition) -> rusqlite::Result<Offset> {
        let last: Option<i64> =
            conn.query_row(&format!("SELECT max(offset) FROM {}", table(at)), [], |r| {
                r.get(0)
            })?;
        Ok(Offset(last.map_or(0, |o| o as u64 + 1)))
    }
}
