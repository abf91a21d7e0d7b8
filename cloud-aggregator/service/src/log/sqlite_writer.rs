//! The embedded log's one writer: group commit for all roles.
//!
//! Invariants: a request is answered only after the transaction that holds it is on disk; a request that breaks a rule is
//! refused alone; when the store fails, every waiting request hears why, and nothing is written any more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;
use windlass_shared::time::{MonoTime, WallTime};

use crate::causes::Causes;
use crate::clock::Clock;

use super::sqlite::{AppendClock, Shared, SqliteLogSettings, index, store, table};
use super::sqlite_view::View;
use super::{Commit, Group, LogError, META_BYTES_MAX, NewEntry, Offset, TopicPartition};

/// Requests in one transaction.
const GROUP_REQUESTS_MAX: usize = 256;
/// Bytes of values after which a transaction takes no further request.
const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Entries deleted by one trim request: a few milliseconds.
const TRIM_ENTRIES_MAX: usize = 2_000;

/// Where the answer to a request goes.
pub(super) type Answer<T> = oneshot::Sender<Result<T, LogError>>;

/// What the writer can do.
#[derive(Debug)]
pub(super) enum Request {
    Append {
        entries: Vec<NewEntry>,
        answer: Answer<Vec<Offset>>,
    },
    Commit {
        commit: Commit,
        answer: Answer<()>,
    },
    Trim {
        at: TopicPartition,
        before: Offset,
        older_than: WallTime,
        answer: Answer<u64>,
    },
}

impl Request {
    fn bytes(&self) -> usize {
        let entries = match self {
            Self::Append { entries, .. } => entries,
            Self::Commit { commit, .. } => &commit.outputs,
            Self::Trim { .. } => return 0,
        };
        entries.iter().map(|e| e.key.len() + e.value.len()).sum()
    }

    /// Answers with an error.
    pub(super) fn refuse(self, error: LogError) {
        match self {
            Self::Append { answer, .. } => reply(answer, Err(error)),
            Self::Commit { answer, .. } => reply(answer, Err(error)),
            Self::Trim { answer, .. } => reply(answer, Err(error)),
        }
    }
}

/// Who asked may have gone away: then nobody waits for the answer.
fn reply<T>(answer: Answer<T>, result: Result<T, LogError>) {
    drop(answer.send(result));
}

/// An answer that waits for the transaction.
enum Pending {
    Append(Answer<Vec<Offset>>, Result<Vec<Offset>, LogError>),
    Commit(Answer<()>, Result<(), LogError>),
    Trim(Answer<u64>, Result<u64, LogError>),
}

impl Pending {
    /// `failed`: what became of the transaction.
    fn answer(self, failed: Option<&LogError>) {
        fn one<T>(answer: Answer<T>, result: Result<T, LogError>, failed: Option<&LogError>) {
            reply(answer, failed.map_or(result, |e| Err(e.clone())));
        }
        match self {
            Self::Append(a, r) => one(a, r, failed),
            Self::Commit(a, r) => one(a, r, failed),
            Self::Trim(a, r) => one(a, r, failed),
        }
    }
}

/// Owns the writing connection.
pub(super) struct Writer {
    conn: Connection,
    settings: SqliteLogSettings,
    /// Next offset by [`index`], as committed.
    next: Vec<u64>,
    shared: Arc<Shared>,
    requests: Receiver<Request>,
    clock: AppendClock,
}

/// What a transaction in the making knows.
struct Batch<'a> {
    tx: Transaction<'a>,
    partitions: u16,
    writer: u32,
    next: Vec<u64>,
    positions: BTreeMap<(Group, TopicPartition), Offset>,
}

impl Writer {
    pub(super) fn new(
        conn: Connection,
        settings: SqliteLogSettings,
        next: Vec<u64>,
        shared: Arc<Shared>,
        requests: Receiver<Request>,
        clock: AppendClock,
    ) -> Self {
        Self {
            conn,
            settings,
            next,
            shared,
            requests,
            clock,
        }
    }

    /// Until nobody can ask any more, or the store fails.
    pub(super) fn run(mut self) {
        let clock = Clock::start();
        let mut free_at = clock.mono();
        while let Ok(first) = self.requests.recv() {
            let mut group = vec![first];
            let mut bytes = group[0].bytes();
            while group.len() < GROUP_REQUESTS_MAX
                && bytes < GROUP_BYTES_MAX
                && let Some(request) = self.next_until(free_at, clock)
            {
                bytes += request.bytes();
                group.push(request);
            }
            free_at = clock.mono().plus_us(self.settings.pace.as_micros() as u64);
            if let Err(error) = self.transact(group) {
                self.stop(&error);
                return;
            }
        }
    }

    /// The next request that is there, or comes before `free_at`.
    fn next_until(&self, free_at: MonoTime, clock: Clock) -> Option<Request> {
        let left = Duration::from_micros(free_at.since_us(clock.mono()));
        if left.is_zero() {
            self.requests.try_recv().ok()
        } else {
            self.requests.recv_timeout(left).ok()
        }
    }

    /// Readers and writers hear why.
    fn stop(&self, error: &LogError) {
        tracing::error!(error = %Causes(error), "the log stops: nothing more is written");
        self.shared.lock().stopped = Some(error.clone());
        self.shared.grown.notify_all();
        while let Ok(request) = self.requests.try_recv() {
            request.refuse(LogError::Stopped {
                cause: Some(Box::new(error.clone())),
            });
        }
    }

    fn transact(&mut self, requests: Vec<Request>) -> Result<(), LogError> {
        let mut pending = Vec::with_capacity(requests.len());
        let done = self.write(requests, &mut pending);
        match done {
            Ok(next) => {
                self.next.clone_from(&next);
                self.shared.lock().next = next;
                self.shared.grown.notify_all();
                for p in pending {
                    p.answer(None);
                }
                Ok(())
            }
            Err(e) => {
                let error = store(&self.settings.path, e);
                for p in pending {
                    p.answer(Some(&error));
                }
                Err(error)
            }
        }
    }

    /// Answers the new ends. On an error the transaction rolls back when it is dropped.
    fn write(
        &mut self,
        requests: Vec<Request>,
        pending: &mut Vec<Pending>,
    ) -> rusqlite::Result<Vec<u64>> {
        let tx = self
            .conn
            .transaction_with_behavior(TransactionBehavior::Immediate);
        let mut group = match tx {
            Ok(tx) => Batch {
                tx,
                partitions: self.settings.partitions,
                writer: self.settings.writer,
                next: self.next.clone(),
                positions: BTreeMap::new(),
            },
            Err(e) => {
                pending.extend(requests.into_iter().map(Request::unanswered));
                return Err(e);
            }
        };
        let mut failed = None;
        for request in requests {
            if failed.is_some() {
                pending.push(request.unanswered());
                continue;
            }
            let now = (self.clock)();
            let (p, result) = group.take(request, now);
            pending.push(p);
            failed = result.err();
        }
        if let Some(e) = failed {
            return Err(e);
        }
        let Batch { tx, next, .. } = group;
        tx.commit()?;
        Ok(next)
    }
}

impl Request {
    /// The answer of a request that was not tried: the transaction failed before.
    fn unanswered(self) -> Pending {
        let not_tried = LogError::Stopped { cause: None };
        match self {
            Self::Append { answer, .. } => Pending::Append(answer, Err(not_tried)),
            Self::Commit { answer, .. } => Pending::Commit(answer, Err(not_tried)),
            Self::Trim { answer, .. } => Pending::Trim(answer, Err(not_tried)),
        }
    }
}

impl Batch<'_> {
    /// Does one request. The second part of the answer is the store's failure, which ends the transaction.
    fn take(&mut self, request: Request, now: WallTime) -> (Pending, rusqlite::Result<()>) {
        fn split<T>(
            r: rusqlite::Result<Result<T, LogError>>,
        ) -> (Result<T, LogError>, rusqlite::Result<()>) {
            match r {
                Ok(r) => (r, Ok(())),
                Err(e) => (Err(LogError::Stopped { cause: None }), Err(e)),
            }
        }
        match request {
            Request::Append { entries, answer } => {
                let (result, store) = split(self.append(&entries, now));
                (Pending::Append(answer, result), store)
            }
            Request::Commit { commit, answer } => {
                let (result, store) = split(self.commit(&commit, now));
                (Pending::Commit(answer, result), store)
            }
            Request::Trim {
                at,
                before,
                older_than,
                answer,
            } => {
                let (result, store) = split(self.trim(at, before, older_than).map(Ok));
                (Pending::Trim(answer, result), store)
            }
        }
    }

    fn append(
        &mut self,
        entries: &[NewEntry],
        now: WallTime,
    ) -> rusqlite::Result<Result<Vec<Offset>, LogError>> {
        if let Some(bad) = entries.iter().find(|e| e.to.partition.0 >= self.partitions) {
            return Ok(Err(LogError::Request {
                at: bad.to,
                what: "the log has no such partition",
            }));
        }
        let mut offsets = Vec::with_capacity(entries.len());
        for entry in entries {
            let next = &mut self.next[index(entry.to, self.partitions)];
            self.tx
                .prepare_cached(&format!(
                    "INSERT INTO {} VALUES (?1, ?2, ?3, ?4, ?5)",
                    table(entry.to)
                ))?
                .execute((*next as i64, now.0, self.writer, &entry.key, &entry.value))?;
            offsets.push(Offset(*next));
            *next += 1;
        }
        Ok(Ok(offsets))
    }

    fn commit(&mut self, commit: &Commit, now: WallTime) -> rusqlite::Result<Result<(), LogError>> {
        let at = commit.input;
        if at.partition.0 >= self.partitions || commit.meta.len() > META_BYTES_MAX {
            return Ok(Err(LogError::Request {
                at,
                what: "no such partition, or the text beside the position is too long",
            }));
        }
        let low = match self.positions.get(&(commit.group, at)) {
            Some(low) => *low,
            None => View::committed_on(&self.tx, commit.group, at)?.map_or(Offset(0), |c| c.next),
        };
        let high = Offset(self.next[index(at, self.partitions)]);
        if commit.next < low || commit.next > high {
            return Ok(Err(LogError::Position {
                group: commit.group,
                at,
                wanted: commit.next,
                low,
                high,
            }));
        }
        if let Err(refused) = self.append(&commit.outputs, now)? {
            return Ok(Err(refused));
        }
        self.tx
            .prepare_cached("INSERT OR REPLACE INTO positions VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute((
                commit.group.as_str(),
                at.topic.as_str(),
                at.partition.0,
                commit.next.0 as i64,
                &commit.meta,
            ))?;
        self.positions.insert((commit.group, at), commit.next);
        Ok(Ok(()))
    }

    fn trim(
        &mut self,
        at: TopicPartition,
        before: Offset,
        older_than: WallTime,
    ) -> rusqlite::Result<u64> {
        let end = self
            .next
            .get(index(at, self.partitions))
            .copied()
            .unwrap_or(0);
        let before = before.0.min(end.saturating_sub(1));
        let last = {
            let mut statement = self.tx.prepare_cached(&format!(
                "SELECT offset, time FROM {} WHERE offset < ?1 ORDER BY offset LIMIT ?2",
                table(at)
            ))?;
            let mut rows = statement.query((before as i64, TRIM_ENTRIES_MAX as i64))?;
            let mut last = None;
            while let Some(row) = rows.next()? {
                if row.get::<_, i64>(1)? >= older_than.0 {
                    break;
                }
                last = Some(row.get::<_, i64>(0)?);
            }
            last
        };
        let Some(last) = last else { return Ok(0) };
        self.tx
            .prepare_cached(&format!("DELETE FROM {} WHERE offset <= ?1", table(at)))?
            .execute([last])
            .map(|n| n as u64)
    }
}
