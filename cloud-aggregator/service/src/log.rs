//! The log: what every role reads from and writes to, so that a role that dies loses nothing.
//!
//! Shaped so that Kafka can be the second implementation: topics with partitions, consumer groups with a committed
//! position and a short text beside it, and a transaction of outputs and input position.
//!
//! Invariants: an answered [`Ticket`] is durable; the outputs of a [`Commit`] and its position become visible together or
//! not at all; offsets of a partition grow and never repeat; a position never goes back; the first error of the store is
//! the last thing the log does (fail-stop).

pub mod sqlite;
mod sqlite_view;
mod sqlite_writer;

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use windlass_shared::time::WallTime;

pub use windlass_cloud_core::topic::Topic;

/// Who reads. A closed set, so that retention knows whom to wait for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Group {
    /// The partition task.
    Process,
    /// The second-newest verified snapshot of the partition task: what recovery may still have to read.
    Snapshot,
    /// The status store.
    Serve,
    /// The lake.
    Lake,
    /// The downlink publisher.
    Downlink,
}

impl Group {
    /// All groups.
    pub const ALL: [Self; 5] = [
        Self::Process,
        Self::Snapshot,
        Self::Serve,
        Self::Lake,
        Self::Downlink,
    ];
    /// The group's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Snapshot => "snapshot",
            Self::Serve => "serve",
            Self::Lake => "lake",
            Self::Downlink => "downlink",
        }
    }
}

/// Number of a partition, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PartitionId(pub u16);

/// Place of an entry in its partition, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Offset(pub u64);

/// One partition of one topic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicPartition {
    /// Which topic.
    pub topic: Topic,
    /// Which of its partitions.
    pub partition: PartitionId,
}

impl TopicPartition {
    /// Partition `partition` of `topic`.
    pub fn new(topic: Topic, partition: PartitionId) -> Self {
        Self { topic, partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition.0)
    }
}

/// Something to append.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewEntry {
    /// Where to.
    pub to: TopicPartition,
    /// For example a turbine.
    pub key: String,
    /// The bytes.
    pub value: Vec<u8>,
}

/// What a reader gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredEntry {
    /// Where it lies.
    pub at: TopicPartition,
    /// Its place there.
    pub offset: Offset,
    /// When it was appended, by the writer's clock: not monotone.
    pub time: WallTime,
    /// Whose clock that was.
    pub writer: u32,
    /// As appended.
    pub key: String,
    /// As appended.
    pub value: Vec<u8>,
}

/// A group's position in a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Committed {
    /// The first offset that is not done.
    pub next: Offset,
    /// What the group keeps beside it; at most [`META_BYTES_MAX`].
    pub meta: String,
}

/// Longest text beside a position, bytes (Event Hubs allows 1,024).
pub const META_BYTES_MAX: usize = 1_024;

/// Outputs and the position of the input that made them: one transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Commit {
    /// Whose position.
    pub group: Group,
    /// Of which input.
    pub input: TopicPartition,
    /// The first input offset that is not done.
    pub next: Offset,
    /// Kept beside it.
    pub meta: String,
    /// What the input made.
    pub outputs: Vec<NewEntry>,
}

/// How much one [`Reader::poll`] may bring, per partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadLimits {
    /// Entries.
    pub entries_max: usize,
    /// Bytes of values; one entry comes even if it alone is larger.
    pub bytes_max: usize,
}

/// What went wrong, by what somebody has to do about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// No room on the disk, or the configured size is reached.
    Full,
    /// The directory or the file cannot be written.
    ReadOnly,
    /// The file is damaged or not a log.
    Corrupt,
    /// Anything else the store said.
    Store,
}

impl Fault {
    fn advice(self) -> &'static str {
        match self {
            Self::Full => {
                "the disk is full or the log reached `log.disk_max_mb`: free space or raise the limit, then start again; \
                 nothing that was acknowledged is lost"
            }
            Self::ReadOnly => {
                "it cannot be written: expected a directory and files that the service's user may write"
            }
            Self::Corrupt => {
                "the file is damaged or is no log: put back a good copy, or move it away and let the gateways send again"
            }
            Self::Store => "the store failed: see the cause, then start again",
        }
    }
}

/// Why the log did not do something. Fatal to the process unless said otherwise.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// The store failed.
    #[error("log {}: {}", path.display(), fault.advice())]
    Store {
        /// Which file.
        path: PathBuf,
        /// What kind of failure.
        fault: Fault,
        /// What the store said.
        source: Arc<rusqlite::Error>,
    },
    /// A file operation beside the store failed.
    #[error("log {}: cannot {doing}", path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
    /// Another process has it.
    #[error("log {}: another windlass-cloud is using it; stop that one first", path.display())]
    InUse {
        /// Which file.
        path: PathBuf,
    },
    /// Made by another version or with other settings.
    #[error("log {}: found {what} {found}, expected {expected}", path.display())]
    Mismatch {
        /// Which file.
        path: PathBuf,
        /// Which property.
        what: &'static str,
        /// Value in the file.
        found: String,
        /// Value wanted.
        expected: String,
    },
    /// The log does not hold that offset any more.
    #[error("{at}: offset {} is gone, the log now starts at {}", wanted.0, first.0)]
    Trimmed {
        /// Where.
        at: TopicPartition,
        /// What was asked for.
        wanted: Offset,
        /// What is there.
        first: Offset,
    },
    /// A position that would go back or beyond the end: two owners, or a bug.
    #[error(
        "group {} on {at}: position {} refused, it must be within {}..={}",
        group.as_str(), wanted.0, low.0, high.0
    )]
    Position {
        /// Whose position.
        group: Group,
        /// Where.
        at: TopicPartition,
        /// What was asked for.
        wanted: Offset,
        /// Where the group is.
        low: Offset,
        /// The end of the partition.
        high: Offset,
    },
    /// A partition that is not there, or a text beside a position that is too long.
    #[error("{at}: {what}")]
    Request {
        /// Where.
        at: TopicPartition,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The log stopped before.
    #[error("the log has stopped{}", cause.as_ref().map(|c| format!(": {c}")).unwrap_or_default())]
    Stopped {
        /// The error that stopped it.
        cause: Option<Box<LogError>>,
    },
}

/// The answer to a write, once it is durable. Await it, or [`Ticket::wait`] on a thread.
#[derive(Debug)]
#[must_use = "nothing may be acknowledged before the log has answered"]
pub struct Ticket<T>(oneshot::Receiver<Result<T, LogError>>);

impl<T> Ticket<T> {
    /// A ticket and where to answer it.
    pub fn pair() -> (oneshot::Sender<Result<T, LogError>>, Self) {
        let (tx, rx) = oneshot::channel();
        (tx, Self(rx))
    }
    /// Blocks until the log has answered. Not for async code: await the ticket there.
    pub fn wait(self) -> Result<T, LogError> {
        self.0
            .blocking_recv()
            .unwrap_or(Err(LogError::Stopped { cause: None }))
    }
}

impl<T> Future for Ticket<T> {
    type Output = Result<T, LogError>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|r| r.unwrap_or(Err(LogError::Stopped { cause: None })))
    }
}

/// Where entries live. Reads go through a [`Reader`] of one's own.
pub trait Log: Send + Sync {
    /// How many partitions every topic has.
    fn partitions(&self) -> u16;
    /// Names this log: a copy with other offsets is another generation.
    fn generation(&self) -> u64;
    /// Appends all entries in one transaction, in order; answers their offsets. Blocks only while the queue is full.
    fn append(&self, entries: Vec<NewEntry>) -> Ticket<Vec<Offset>>;
    /// Commits outputs and position in one transaction.
    fn commit(&self, commit: Commit) -> Ticket<()>;
    /// A reader that starts at these offsets, with its own connection.
    fn reader(&self, from: Vec<(TopicPartition, Offset)>) -> Result<Box<dyn Reader>, LogError>;
    /// Where a group is; `None`: it has never committed.
    fn committed(&self, group: Group, at: TopicPartition) -> Result<Option<Committed>, LogError>;
    /// First offset held and the offset the next entry will get.
    fn bounds(&self, at: TopicPartition) -> Result<(Offset, Offset), LogError>;
    /// Deletes entries before `before` that were appended before `older_than`, oldest first, a bounded number a call;
    /// answers how many. The newest entry stays.
    fn trim(&self, at: TopicPartition, before: Offset, older_than: WallTime) -> Ticket<u64>;
}

/// A consumer of some partitions.
pub trait Reader: Send {
    /// The next entries of each partition, in order within a partition; waits up to `wait` for the first.
    /// An empty answer means that the time is over.
    fn poll(&mut self, limits: ReadLimits, wait: Duration) -> Result<Vec<StoredEntry>, LogError>;
}
