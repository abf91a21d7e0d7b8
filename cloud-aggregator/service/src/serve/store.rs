//! The status store: one SQLite file.
//!
//! Invariants: a turbine's row never changes to a lesser position, an alert's only to a greater revision; the positions in
//! the log are committed in the same transaction as what was read up to them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};
use windlass_cloud_core::output::{AlertEvent, StatusDoc};
use windlass_shared::id::TurbineId;

use crate::log::{Offset, TopicPartition};

/// Layout of the file.
const SCHEMA_VERSION: i64 = 1;
/// Latency samples kept, the newest: an hour of 50 turbines.
const LATENCIES_MAX: i64 = 200_000;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const STATEMENTS_MAX: usize = 32;

const SCHEMA: &str = "
CREATE TABLE info (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE positions (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL,
    PRIMARY KEY (topic, partition)) STRICT, WITHOUT ROWID;
CREATE TABLE status (
    turbine TEXT PRIMARY KEY, farm TEXT, gateway TEXT NOT NULL, position INTEGER NOT NULL, log_time INTEGER NOT NULL,
    event_time INTEGER, fast_event_time INTEGER, slice_committed_at INTEGER, frontier INTEGER,
    iec_state INTEGER, doc TEXT NOT NULL) STRICT;
CREATE TABLE alerts (
    alert TEXT PRIMARY KEY, revision INTEGER NOT NULL, episode TEXT NOT NULL, turbine TEXT NOT NULL,
    rule TEXT NOT NULL, level TEXT NOT NULL, state TEXT NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL, position INTEGER NOT NULL, doc TEXT NOT NULL) STRICT;
CREATE INDEX alerts_by_turbine ON alerts (turbine, first);
CREATE TABLE latency (
    id INTEGER PRIMARY KEY, turbine TEXT NOT NULL, event_time INTEGER NOT NULL, slice_close INTEGER NOT NULL,
    committed INTEGER NOT NULL) STRICT;
";

/// For readers only, so that a store that was made without them gets them too.
const INDEXES: &str = "
CREATE INDEX IF NOT EXISTS alerts_by_state ON alerts (state, first);
CREATE INDEX IF NOT EXISTS alerts_by_begin ON alerts (first, alert);
";

/// Why the store did not do something. Fatal.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite failed.
    #[error("status store {}: {doing} failed", path.display())]
    Sqlite {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// It belongs to another log, or to another version.
    #[error(
        "status store {}: found {what} {found}, expected {expected}: move it away and it is made again from the log",
        path.display()
    )]
    Mismatch {
        /// Which file.
        path: PathBuf,
        /// Which property.
        what: &'static str,
        /// In the file.
        found: i64,
        /// Wanted.
        expected: i64,
    },
}

/// How long a reading took to be visible, µs since 1970.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Latency {
    /// Whose.
    pub turbine: TurbineId,
    /// When the newest fast reading was taken.
    pub event_time: i64,
    /// When the gateway closed and committed its slice.
    pub slice_close: i64,
    /// When the status that shows it was committed.
    pub committed: i64,
}

/// Which alerts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlertQuery {
    /// In one of these states.
    pub states: Vec<&'static str>,
    /// Only this turbine's.
    pub turbine: Option<String>,
    /// After the alert with this begin and id.
    pub after: Option<(i64, String)>,
    /// At most.
    pub limit: usize,
}

/// The store, for the one who writes it.
#[derive(Debug)]
pub struct StatusStore {
    path: PathBuf,
    conn: Connection,
}

/// One transaction.
pub struct Change<'a> {
    path: &'a Path,
    tx: Transaction<'a>,
}

fn error(path: &Path, doing: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError {
    move |source| StoreError::Sqlite {
        path: path.to_owned(),
        doing,
        source,
    }
}

impl StatusStore {
    /// Opens the store of the log with this generation, and makes it if it is not there.
    pub fn open(path: &Path, generation: u64) -> Result<Self, StoreError> {
        let mut conn = Connection::open(path).map_err(error(path, "opening it"))?;
        Self::prepare(&mut conn, generation).map_err(error(path, "preparing it"))?;
        let store = Self {
            path: path.to_owned(),
            conn,
        };
        let version = store.pragma_version()?;
        store.expect("layout version", version, SCHEMA_VERSION)?;
        let found = store.generation()?;
        store.expect("log generation", found, generation as i64)?;
        Ok(store)
    }

    /// Opens an existing store for reading only.
    pub fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags).map_err(error(path, "opening it"))?;
        conn.busy_timeout(BUSY_TIMEOUT)
            .map_err(error(path, "opening it"))?;
        let store = Self {
            path: path.to_owned(),
            conn,
        };
        let version = store.pragma_version()?;
        store.expect("layout version", version, SCHEMA_VERSION)?;
        Ok(store)
    }

    fn prepare(conn: &mut Connection, generation: u64) -> rusqlite::Result<()> {
        conn.busy_timeout(BUSY_TIMEOUT)?;
        conn.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        conn.query_row("PRAGMA journal_mode=WAL", [], |_| Ok(()))?;
        // FULL: the log may have let go of what was read up to a position that we told it
        conn.pragma_update(None, "synchronous", "FULL")?;
        let version: i64 = conn.query_row("PRAGMA user_version", [], |r| r.get(0))?;
        if version == 0 {
            let tx = conn.transaction()?;
            tx.execute_batch(SCHEMA)?;
            tx.execute(
                "INSERT INTO info VALUES ('generation', ?1)",
                [generation as i64],
            )?;
            tx.pragma_update(None, "user_version", SCHEMA_VERSION)?;
            tx.commit()?;
        }
        conn.execute_batch(INDEXES)?;
        Ok(())
    }

    fn pragma_version(&self) -> Result<i64, StoreError> {
        self.conn
            .query_row("PRAGMA user_version", [], |r| r.get(0))
            .map_err(error(&self.path, "reading its version"))
    }

    fn generation(&self) -> Result<i64, StoreError> {
        self.conn
            .query_row(
                "SELECT value FROM info WHERE name = 'generation'",
                [],
                |r| r.get(0),
            )
            .map_err(error(&self.path, "reading its generation"))
    }

    fn expect(&self, what: &'static str, found: i64, expected: i64) -> Result<(), StoreError> {
        if found == expected {
            return Ok(());
        }
        Err(StoreError::Mismatch {
            path: self.path.clone(),
            what,
            found,
            expected,
        })
    }

    /// The first offset that is not in the store.
    pub fn position(&self, at: TopicPartition) -> Result<Option<Offset>, StoreError> {
        self.conn
            .query_row(
                "SELECT next FROM positions WHERE topic = ?1 AND partition = ?2",
                (at.topic.as_str(), at.partition.0),
                |r| r.get::<_, i64>(0),
            )
            .optional()
            .map(|o| o.map(|o| Offset(o as u64)))
            .map_err(error(&self.path, "reading a position"))
    }

    /// All status documents as JSON, by turbine.
    pub fn status_documents(&self) -> Result<Vec<String>, StoreError> {
        self.texts("SELECT doc FROM status ORDER BY turbine")
    }

    /// Turbines and the positions of their documents.
    pub fn status_positions(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let read = || -> rusqlite::Result<Vec<(String, u64)>> {
            let mut statement = self
                .conn
                .prepare_cached("SELECT turbine, position FROM status ORDER BY turbine")?;
            let rows = statement.query_map([], |r| Ok((r.get(0)?, r.get::<_, i64>(1)? as u64)))?;
            rows.collect()
        };
        read().map_err(error(&self.path, "reading positions"))
    }

    /// A turbine's status document as JSON.
    pub fn status_document(&self, turbine: &str) -> Result<Option<String>, StoreError> {
        let read = || {
            let mut statement = self
                .conn
                .prepare_cached("SELECT doc FROM status WHERE turbine = ?1")?;
            statement.query_row([turbine], |r| r.get(0)).optional()
        };
        read().map_err(error(&self.path, "reading a document"))
    }

    /// All alerts' newest events as JSON, by their begin.
    pub fn alert_documents(&self) -> Result<Vec<String>, StoreError> {
        self.texts("SELECT doc FROM alerts ORDER BY first, alert")
    }

    /// Newest events of the alerts that are open, as JSON.
    pub fn open_alert_documents(&self) -> Result<Vec<String>, StoreError> {
        self.texts(
            "SELECT doc FROM alerts WHERE state IN ('provisional', 'confirmed', 'merged') ORDER BY first, alert",
        )
    }

    /// An alert's newest event as JSON.
    pub fn alert_document(&self, alert: &str) -> Result<Option<String>, StoreError> {
        self.conn
            .query_row("SELECT doc FROM alerts WHERE alert = ?1", [alert], |r| {
                r.get(0)
            })
            .optional()
            .map_err(error(&self.path, "reading an alert"))
    }

    /// Some alerts' newest events as JSON, the newest begin first.
    pub fn alert_page(&self, query: &AlertQuery) -> Result<Vec<String>, StoreError> {
        // the states are words of this program
        let states = query.states.join("', '");
        let turbine = match query.turbine {
            Some(_) => "turbine = ?1",
            None => "?1 IS NULL",
        };
        let sql = format!(
            "SELECT doc FROM alerts WHERE state IN ('{states}') AND {turbine} \
             AND (first < ?2 OR (first = ?2 AND alert > ?3)) ORDER BY first DESC, alert LIMIT ?4"
        );
        let (first, alert) = match &query.after {
            Some((first, alert)) => (*first, alert.as_str()),
            None => (i64::MAX, ""),
        };
        let read = || -> rusqlite::Result<Vec<String>> {
            let mut statement = self.conn.prepare(&sql)?;
            let key = (query.turbine.as_deref(), first, alert, query.limit as i64);
            statement.query_map(key, |r| r.get(0))?.collect()
        };
        read().map_err(error(&self.path, "reading alerts"))
    }

    fn texts(&self, sql: &str) -> Result<Vec<String>, StoreError> {
        let read = || -> rusqlite::Result<Vec<String>> {
            let mut statement = self.conn.prepare(sql)?;
            statement.query_map([], |r| r.get(0))?.collect()
        };
        read().map_err(error(&self.path, "reading it"))
    }

    /// The latency samples, oldest first.
    pub fn latencies(&self) -> Result<Vec<Latency>, StoreError> {
        let read = || -> rusqlite::Result<Vec<Latency>> {
            let mut statement = self.conn.prepare(
                "SELECT turbine, event_time, slice_close, committed FROM latency ORDER BY id",
            )?;
            let rows = statement.query_map([], |r| {
                let turbine: String = r.get(0)?;
                Ok(TurbineId::new(&turbine)
                    .ok()
                    .map(|turbine| (turbine, r.get(1), r.get(2), r.get(3))))
            })?;
            let mut out = Vec::new();
            for row in rows {
                if let Some((turbine, event_time, slice_close, committed)) = row? {
                    out.push(Latency {
                        turbine,
                        event_time: event_time?,
                        slice_close: slice_close?,
                        committed: committed?,
                    });
                }
            }
            Ok(out)
        };
        read().map_err(error(&self.path, "reading latencies"))
    }

    /// Begins a transaction.
    pub fn begin(&mut self) -> Result<Change<'_>, StoreError> {
        let tx = self
            .conn
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(error(&self.path, "beginning a transaction"))?;
        Ok(Change {
            path: &self.path,
            tx,
        })
    }
}

impl Change<'_> {
    /// Stores a status document with its bytes. False: what is stored is newer.
    pub fn status(&mut self, doc: &StatusDoc, bytes: &[u8]) -> Result<bool, StoreError> {
        let changed = self
            .tx
            .prepare_cached(
                "INSERT INTO status VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
                 ON CONFLICT (turbine) DO UPDATE SET
                     farm = excluded.farm, gateway = excluded.gateway, position = excluded.position,
                     log_time = excluded.log_time, event_time = excluded.event_time,
                     fast_event_time = excluded.fast_event_time, slice_committed_at = excluded.slice_committed_at,
                     frontier = excluded.frontier, iec_state = excluded.iec_state, doc = excluded.doc
                 WHERE excluded.position >= status.position",
            )
            .and_then(|mut s| {
                s.execute((
                    doc.turbine.as_str(),
                    doc.farm.as_ref().map(ToString::to_string),
                    doc.gateway.as_str(),
                    doc.position as i64,
                    doc.log_time.0,
                    doc.event_time.map(|t| t.0),
                    doc.fast_event_time.map(|t| t.0),
                    doc.slice_committed_at.map(|t| t.0),
                    doc.frontier.map(|t| t.0),
                    doc.iec_state,
                    String::from_utf8_lossy(bytes),
                ))
            })
            .map_err(error(self.path, "storing a status"))?;
        Ok(changed > 0)
    }

    /// Stores an alert's event with its bytes. False: what is stored is not older.
    pub fn alert(&mut self, alert: &AlertEvent, bytes: &[u8]) -> Result<bool, StoreError> {
        let changed = self
            .tx
            .prepare_cached(
                "INSERT INTO alerts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
                 ON CONFLICT (alert) DO UPDATE SET
                     revision = excluded.revision, episode = excluded.episode, level = excluded.level,
                     state = excluded.state, first = excluded.first, last = excluded.last,
                     position = excluded.position, doc = excluded.doc
                 WHERE excluded.revision > alerts.revision",
            )
            .and_then(|mut s| {
                s.execute((
                    &alert.alert,
                    alert.revision,
                    &alert.episode,
                    alert.turbine.as_str(),
                    &alert.rule,
                    word(&alert.level),
                    word(&alert.state),
                    alert.first.0,
                    alert.last.0,
                    alert.position as i64,
                    String::from_utf8_lossy(bytes),
                ))
            })
            .map_err(error(self.path, "storing an alert"))?;
        Ok(changed > 0)
    }

    /// Everything of this partition before `next` is in.
    pub fn position(&mut self, at: TopicPartition, next: Offset) -> Result<(), StoreError> {
        self.tx
            .prepare_cached("INSERT OR REPLACE INTO positions VALUES (?1, ?2, ?3)")
            .and_then(|mut s| s.execute((at.topic.as_str(), at.partition.0, next.0 as i64)))
            .map(drop)
            .map_err(error(self.path, "storing a position"))
    }

    /// Adds a sample, and lets the oldest go.
    pub fn latency(&mut self, latency: &Latency) -> Result<(), StoreError> {
        self.tx
            .prepare_cached(
                "INSERT INTO latency (turbine, event_time, slice_close, committed) VALUES (?1, ?2, ?3, ?4)",
            )
            .and_then(|mut s| {
                s.execute((
                    latency.turbine.as_str(),
                    latency.event_time,
                    latency.slice_close,
                    latency.committed,
                ))
            })
            .and_then(|_| {
                self.tx
                    .prepare_cached("DELETE FROM latency WHERE id <= ?1")?
                    .execute([self.tx.last_insert_rowid() - LATENCIES_MAX])
            })
            .map(drop)
            .map_err(error(self.path, "storing a latency"))
    }

    /// Makes it visible, and durable.
    pub fn commit(self) -> Result<(), StoreError> {
        self.tx.commit().map_err(error(self.path, "committing"))
    }
}

/// The word that a plain enum has in JSON.
fn word<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}
