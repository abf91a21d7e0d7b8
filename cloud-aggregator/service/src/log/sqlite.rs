//! The embedded log: one SQLite file, for one machine.
//!
//! One table a topic and partition with the offset as its key, one table of positions. WAL with `synchronous=FULL`: a
//! commit that was answered survives a power cut. One thread writes ([`super::sqlite_writer`]); it puts the requests of
//! all roles that wait into one transaction, so that they share one fsync. Readers have connections of their own and wait
//! on the ends that the writer publishes after its commit.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use windlass_shared::time::WallTime;

use super::sqlite_view::View;
use super::sqlite_writer::{Request, Writer};
use super::{
    Commit, Committed, Fault, Group, Log, LogError, NewEntry, Offset, PartitionId, ReadLimits,
    Reader, StoredEntry, Ticket, Topic, TopicPartition,
};

pub use super::sqlite_view::View as SqliteView;

/// Layout of the file.
pub const SCHEMA_VERSION: i64 = 1;
/// Requests that may wait for the writer.
const REQUESTS_MAX: usize = 1_024;
/// How long a connection waits for a lock, ms (only a checkpoint or a command-line reader can hold one).
const BUSY_TIMEOUT_MS: u64 = 5_000;

/// Prepared statements kept by a connection: some for each partition of each topic.
const STATEMENTS_MAX: usize = 512;

/// The clock that stamps entries.
pub type AppendClock = Box<dyn Fn() -> WallTime + Send>;

/// How to open the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SqliteLogSettings {
    /// The file; its directory is made if it is missing.
    pub path: PathBuf,
    /// Partitions of every topic; fixed when the file is made.
    pub partitions: u16,
    /// Names the clock that stamps the entries.
    pub writer: u32,
    /// Largest size of the file in bytes, WAL not included; `None`: as large as the disk.
    pub bytes_max: Option<u64>,
    /// From one transaction to the next at least this long, while requests come faster: each costs a write to the disk,
    /// and who asks meanwhile comes along. A request after a pause of this length does not wait.
    pub pace: Duration,
}

/// The ends of all partitions, as readers see them.
#[derive(Debug)]
pub(super) struct Ends {
    /// By [`index`].
    pub next: Vec<u64>,
    /// The error after which nothing more comes.
    pub stopped: Option<LogError>,
}

/// What the writer tells the readers.
#[derive(Debug)]
pub(super) struct Shared {
    /// See [`Ends`].
    pub ends: Mutex<Ends>,
    /// Signalled when an end grew or the log stopped.
    pub grown: Condvar,
}

impl Shared {
    /// The ends. A panic of another holder cannot leave them half written.
    pub fn lock(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where `at` is in [`Ends::next`].
pub(super) fn index(at: TopicPartition, partitions: u16) -> usize {
    at.topic as usize * usize::from(partitions) + usize::from(at.partition.0)
}

/// Every partition of every topic, in the order of [`index`].
pub(super) fn all_partitions(partitions: u16) -> impl Iterator<Item = TopicPartition> {
    Topic::ALL.into_iter().flat_map(move |topic| {
        (0..partitions).map(move |p| TopicPartition::new(topic, PartitionId(p)))
    })
}

/// Table of a partition.
pub(super) fn table(at: TopicPartition) -> String {
    format!("\"{}-{}\"", at.topic, at.partition.0)
}

/// The embedded log.
#[derive(Debug)]
pub struct SqliteLog {
    path: PathBuf,
    partitions: u16,
    generation: u64,
    shared: Arc<Shared>,
    requests: Option<SyncSender<Request>>,
    thread: Option<JoinHandle<()>>,
    /// Held for as long as the log is open.
    _lock: File,
}

impl SqliteLog {
    /// Opens the log, and makes it if it is not there.
    pub fn open(settings: &SqliteLogSettings, clock: AppendClock) -> Result<Self, LogError> {
        let path = settings.path.clone();
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(|e| io(dir, "make the directory", e))?;
        }
        let lock = lock_file(&path)?;
        let conn = open_connection(&path, OpenFlags::default())?;
        prepare(&conn, settings, clock()).map_err(|e| e.into_log_error(&path))?;
        let generation = check(&conn, settings)?;
        let next = all_partitions(settings.partitions)
            .map(|at| View::next_offset(&conn, at).map(|o| o.0))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| store(&path, e))?;
        let shared = Arc::new(Shared {
            ends: Mutex::new(Ends {
                next: next.clone(),
                stopped: None,
            }),
            grown: Condvar::new(),
        });
        let (requests, rx) = sync_channel(REQUESTS_MAX);
        let writer = Writer::new(conn, settings.clone(), next, Arc::clone(&shared), rx, clock);
        let thread = std::thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || writer.run())
            .map_err(|e| io(&path, "start the writer thread", e))?;
        Ok(Self {
            path,
            partitions: settings.partitions,
            generation,
            shared,
            requests: Some(requests),
            thread: Some(thread),
            _lock: lock,
        })
    }

    fn view(&self) -> Result<View, LogError> {
        View::open(&self.path)
    }

    /// A send that fails drops the answer's sender: the ticket then says that the log has stopped, and why.
    fn send<T>(&self, make: impl FnOnce(super::sqlite_writer::Answer<T>) -> Request) -> Ticket<T> {
        let (answer, ticket) = Ticket::pair();
        if let Some(requests) = &self.requests
            && let Err(back) = requests.send(make(answer))
        {
            let cause = self.shared.lock().stopped.clone().map(Box::new);
            back.0.refuse(LogError::Stopped { cause });
        }
        ticket
    }
}

impl Drop for SqliteLog {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(path = %self.path.display(), "the log's writer thread panicked");
        }
    }
}

impl Log for SqliteLog {
    fn partitions(&self) -> u16 {
        self.partitions
    }
    fn generation(&self) -> u64 {
        self.generation
    }
    fn append(&self, entries: Vec<NewEntry>) -> Ticket<Vec<Offset>> {
        self.send(|answer| Request::Append { entries, answer })
    }
    fn commit(&self, commit: Commit) -> Ticket<()> {
        self.send(|answer| Request::Commit { commit, answer })
    }
    fn reader(&self, from: Vec<(TopicPartition, Offset)>) -> Result<Box<dyn Reader>, LogError> {
        if let Some((at, _)) = from
            .iter()
            .find(|(at, _)| at.partition.0 >= self.partitions)
        {
            return Err(LogError::Request {
                at: *at,
                what: "the log has no such partition",
            });
        }
        Ok(Box::new(SqliteReader {
            view: self.view()?,
            partitions: self.partitions,
            shared: Arc::clone(&self.shared),
            from,
        }))
    }
    fn committed(&self, group: Group, at: TopicPartition) -> Result<Option<Committed>, LogError> {
        self.view()?.committed(group, at)
    }
    fn bounds(&self, at: TopicPartition) -> Result<(Offset, Offset), LogError> {
        self.view()?.bounds(at)
    }
    fn trim(&self, at: TopicPartition, before: Offset, older_than: WallTime) -> Ticket<u64> {
        self.send(|answer| Request::Trim {
            at,
            before,
            older_than,
            answer,
        })
    }
}

struct SqliteReader {
    view: View,
    partitions: u16,
    shared: Arc<Shared>,
    from: Vec<(TopicPartition, Offset)>,
}

impl SqliteReader {
    /// Waits until one of the partitions has more; says for each how far it goes.
    fn wait(&self, wait: Duration) -> Result<Vec<u64>, LogError> {
        let nothing = |ends: &mut Ends| {
            ends.stopped.is_none()
                && self
                    .from
                    .iter()
                    .all(|(at, o)| ends.next[index(*at, self.partitions)] <= o.0)
        };
        let (ends, _) = self
            .shared
            .grown
            .wait_timeout_while(self.shared.lock(), wait, nothing)
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(cause) = &ends.stopped {
            return Err(LogError::Stopped {
                cause: Some(Box::new(cause.clone())),
            });
        }
        Ok(self
            .from
            .iter()
            .map(|(at, _)| ends.next[index(*at, self.partitions)])
            .collect())
    }
}

impl Reader for SqliteReader {
    fn poll(&mut self, limits: ReadLimits, wait: Duration) -> Result<Vec<StoredEntry>, LogError> {
        let ends = self.wait(wait)?;
        let mut out = Vec::new();
        for ((at, from), end) in self.from.iter_mut().zip(ends) {
            if from.0 < end {
                self.view.read(*at, *from, limits, &mut out)?;
                if let Some(last) = out.last().filter(|e| e.at == *at) {
                    *from = Offset(last.offset.0 + 1);
                }
            }
        }
        Ok(out)
    }
}

/// Two writers on one file would each believe in their own ends.
fn lock_file(path: &Path) -> Result<File, LogError> {
    let lock_path = path.with_extension("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(|e| io(&lock_path, "open the lock file", e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LogError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(e)) => Err(io(&lock_path, "lock the lock file", e)),
    }
}

/// Opens a connection with the settings that all share.
pub(super) fn open_connection(path: &Path, flags: OpenFlags) -> Result<Connection, LogError> {
    let conn = Connection::open_with_flags(path, flags).map_err(|e| store(path, e))?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    conn.busy_timeout(Duration::from_millis(BUSY_TIMEOUT_MS))
        .map_err(|e| store(path, e))?;
    Ok(conn)
}

enum PrepareError {
    Sqlite(rusqlite::Error),
    Log(LogError),
}
impl From<rusqlite::Error> for PrepareError {
    fn from(e: rusqlite::Error) -> Self {
        Self::Sqlite(e)
    }
}
impl PrepareError {
    fn into_log_error(self, path: &Path) -> LogError {
        match self {
            Self::Sqlite(e) => store(path, e),
            Self::Log(e) => e,
        }
    }
}

/// Pragmas and, in a new file, the tables.
fn prepare(
    conn: &Connection,
    settings: &SqliteLogSettings,
    now: WallTime,
) -> Result<(), PrepareError> {
    let mode: String = conn.query_row("PRAGMA journal_mode=WAL", [], |r| r.get(0))?;
    if mode != "wal" {
        return Err(PrepareError::Log(LogError::Mismatch {
            path: settings.path.clone(),
            what: "journal mode",
            found: mode,
            expected: "wal (a file system with shared memory maps)".into(),
        }));
    }
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    if let Some(bytes) = settings.bytes_max {
        let page: i64 = conn.query_row("PRAGMA page_size", [], |r| r.get(0))?;
        let pages = i64::try_from(bytes).unwrap_or(i64::MAX) / page.max(1);
        conn.query_row(&format!("PRAGMA max_page_count={pages}"), [], |_| Ok(()))?;
    }
    let version: i64 = conn.query_row("PRAGMA user_version", [], |r| r.get(0))?;
    if version != 0 {
        return Ok(());
    }
    let tx = conn.unchecked_transaction()?;
    tx.execute_batch(
        "CREATE TABLE info (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
         CREATE TABLE positions (
             grp TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL,
             next INTEGER NOT NULL, meta TEXT NOT NULL,
             PRIMARY KEY (grp, topic, partition)) STRICT, WITHOUT ROWID;",
    )?;
    for at in all_partitions(settings.partitions) {
        tx.execute_batch(&format!(
            "CREATE TABLE {} (offset INTEGER PRIMARY KEY, time INTEGER NOT NULL, writer INTEGER NOT NULL,
                              key TEXT NOT NULL, value BLOB NOT NULL) STRICT;",
            table(at)
        ))?;
    }
    let info = [
        ("partitions", i64::from(settings.partitions)),
        ("generation", now.0),
    ];
    for (name, value) in info {
        tx.execute("INSERT INTO info VALUES (?1, ?2)", (name, value))?;
    }
    tx.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    tx.commit()?;
    Ok(())
}

/// Is it the log that was asked for? Answers its generation.
fn check(conn: &Connection, settings: &SqliteLogSettings) -> Result<u64, LogError> {
    let path = &settings.path;
    let mismatch = |what, found: i64, expected: i64| LogError::Mismatch {
        path: path.clone(),
        what,
        found: found.to_string(),
        expected: expected.to_string(),
    };
    let version = conn
        .query_row("PRAGMA user_version", [], |r| r.get(0))
        .map_err(|e| store(path, e))?;
    if version != SCHEMA_VERSION {
        return Err(mismatch("layout version", version, SCHEMA_VERSION));
    }
    let info = |name: &str| -> Result<i64, LogError> {
        conn.query_row("SELECT value FROM info WHERE name = ?1", [name], |r| {
            r.get(0)
        })
        .map_err(|e| store(path, e))
    };
    let found = info("partitions")?;
    if found != i64::from(settings.partitions) {
        // another number of partitions is another generation: turbines would move without their state
        return Err(mismatch(
            "`log.partitions` =",
            found,
            i64::from(settings.partitions),
        ));
    }
    Ok(info("generation")? as u64)
}

/// Sorts what SQLite says by what somebody has to do.
pub(super) fn store(path: &Path, source: rusqlite::Error) -> LogError {
    let fault = match source.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Fault::Full,
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            Fault::ReadOnly
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Fault::Corrupt,
        _ => Fault::Store,
    };
    LogError::Store {
        path: path.to_owned(),
        fault,
        source: Arc::new(source),
    }
}

fn io(path: &Path, doing: &'static str, source: std::io::Error) -> LogError {
    LogError::Io {
        path: path.to_owned(),
        doing,
        source: Arc::new(source),
    }
}
