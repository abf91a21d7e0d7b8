//! What is expected: the records that gateways committed, read from their outboxes' files.
//!
//! Invariants: an outbox is only read; a read-only connection neither checkpoints nor recovers anything, so that what a
//! killed agent left is found as it left it. A record seen once must never be seen with other bytes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use windlass_shared::id::{Epoch, RecordId, Seq, TurbineId};
use windlass_shared::record::{Body, Gap, Record, RecordHash};
use windlass_shared::wire;

use super::reading::Reading;
use crate::clock;

/// How long the writer may hold a lock that a reader needs.
const BUSY_BOUND: Duration = Duration::from_secs(10);

/// The level of a row that has no number yet: it waits for the gateway's clock.
const WAITING: i64 = 9;
/// The level of a row that no acknowledgement has come for.
const UNACKNOWLEDGED: i64 = 10;

/// Where an outbox is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file that everybody sees.
    Plain(PathBuf),
    /// A file on a disk that only a process sees: looked at from inside its mount namespace.
    Inside {
        /// The process.
        process: u32,
        /// The path there.
        path: PathBuf,
    },
}

/// A row: acknowledgement level and bytes.
pub type Row = (i64, Vec<u8>);

/// What one look into an outbox found.
#[derive(Default, Debug)]
pub struct Look {
    /// Records on the disk.
    pub records: usize,
    /// Readings in rows that wait for the gateway's clock, without a number.
    pub without_number: u64,
    /// Those that no acknowledgement has come for: in flight or waiting.
    pub unacknowledged: Vec<RecordId>,
}

/// A record that a gateway committed.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its readings, by index; none unless it is a batch, or untimed.
    pub readings: Vec<Reading>,
    /// Its body, unless it is a batch.
    pub mark: Option<Body>,
    /// Stamps and times.
    pub header: windlass_shared::record::Header,
}

/// Everything that was ever seen committed.
#[derive(Default)]
pub struct Witness {
    /// By identity.
    pub records: BTreeMap<RecordId, Committed>,
    /// Records that went with a disk before an acknowledgement came: the log may have them or not.
    pub perhaps: BTreeMap<RecordId, Committed>,
    /// Greatest seq that a turbine's epoch is known to have reached.
    pub last_seq: BTreeMap<(TurbineId, Epoch), Seq>,
    /// Records that have been decoded, by the hash of their bytes.
    seen: BTreeMap<RecordHash, RecordId>,
}

impl Witness {
    /// Reads all rows of an outbox. A file that is not there yet holds nothing.
    pub fn look(&mut self, place: &Place) -> Result<Look> {
        match place {
            Place::Plain(path) if !path.exists() => Ok(Look::default()),
            Place::Plain(path) => {
                let look = self.take_rows(rows(path)?, path)?;
                for (key, seq) in epochs(path)? {
                    let last = self.last_seq.entry(key).or_insert(seq);
                    *last = seq.max(*last);
                }
                Ok(look)
            }
            Place::Inside { process, path } => self.take_rows(rows_inside(*process, path)?, path),
        }
    }

    /// A disk is gone for good, and with it these records, which no acknowledgement had come for.
    pub fn disk_gone(&mut self, unacknowledged: &[RecordId]) {
        for id in unacknowledged {
            if let Some(committed) = self.records.remove(id) {
                self.perhaps.insert(id.clone(), committed);
            }
        }
    }

    /// Of the records whose disk is gone, those that came after all are expected like any other.
    pub(super) fn confirm(&mut self, came: impl Fn(&RecordId) -> bool) {
        let (came, gone) = std::mem::take(&mut self.perhaps)
            .into_iter()
            .partition(|(id, _)| came(id));
        self.perhaps = gone;
        self.records.extend::<BTreeMap<_, _>>(came);
    }

    /// Takes rows that were read from `path`.
    pub fn take_rows(&mut self, rows: Vec<Row>, path: &Path) -> Result<Look> {
        let mut look = Look::default();
        for (level, payload) in rows {
            if level == WAITING {
                let record = wire::decode(&payload)
                    .with_context(|| format!("{}: a row that is no record", path.display()))?;
                if let Body::Untimed(untimed) = record.body {
                    look.without_number += untimed.batch.raw.len() as u64;
                }
                continue;
            }
            look.records += 1;
            let hash = wire::hash(&payload);
            let id = if let Some(id) = self.seen.get(&hash) {
                id.clone()
            } else {
                let record = wire::decode(&payload)
                    .with_context(|| format!("{}: a row that is no record", path.display()))?;
                let id = record.header.id.clone();
                self.take(record, payload)?;
                self.seen.insert(hash, id.clone());
                id
            };
            if level == UNACKNOWLEDGED {
                look.unacknowledged.push(id);
            }
        }
        Ok(look)
    }

    pub(super) fn take(&mut self, record: Record, payload: Vec<u8>) -> Result<()> {
        let id = record.header.id.clone();
        if let Some(known) = self.records.get(&id) {
            ensure!(
                known.bytes == payload,
                "{id} has other bytes than when it was seen first"
            );
            return Ok(());
        }
        let (readings, mark) = match record.body {
            Body::Batch(batch) => (Reading::of(&batch), None),
            Body::Untimed(untimed) => (Reading::of(&untimed.batch), Some(Body::Untimed(untimed))),
            other => (Vec::new(), Some(other)),
        };
        let key = (id.turbine.clone(), id.epoch);
        let last = self.last_seq.entry(key).or_insert(id.seq);
        *last = id.seq.max(*last);
        let committed = Committed {
            bytes: payload,
            readings,
            mark,
            header: record.header,
        };
        self.records.insert(id, committed);
        Ok(())
    }

    /// Every Gap that was committed.
    pub fn gaps(&self) -> impl Iterator<Item = (&TurbineId, &Gap)> {
        self.records.iter().filter_map(|(id, c)| match &c.mark {
            Some(Body::Gap(gap)) => Some((&id.turbine, gap)),
            _ => None,
        })
    }

    /// Has a gateway declared this seq lost?
    pub fn declared_lost(&self, id: &RecordId) -> bool {
        self.gaps().any(|(turbine, gap)| {
            *turbine == id.turbine
                && gap.epoch == id.epoch
                && gap.ranges.iter().any(|r| r.seqs.contains(id.seq))
        })
    }
}

/// Acknowledgement level and bytes of every row, those included that have no number yet.
pub fn rows(path: &Path) -> Result<Vec<Row>> {
    reading(path, |connection| {
        let mut query = connection.prepare("SELECT level, bytes FROM record")?;
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    })
}

/// Numbered rows behind row id `last`, and the greatest row id; one attempt.
pub fn rows_after(path: &Path, last: i64) -> Result<(Vec<Row>, i64)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    let mut query =
        connection.prepare("SELECT id, level, bytes FROM record WHERE id > ?1 AND level >= 10")?;
    let mut newest = last;
    let mut found = Vec::new();
    let mut rows = query.query([last])?;
    while let Some(row) = rows.next()? {
        newest = newest.max(row.get(0)?);
        found.push((row.get(1)?, row.get(2)?));
    }
    Ok((found, newest))
}

/// The same from inside a process's mount namespace: `windlass-fleet rows` prints them as hexadecimal digits.
fn rows_inside(process: u32, path: &Path) -> Result<Vec<Row>> {
    let process = process.to_string();
    let mut command = Command::new("nsenter");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--preserve-credentials"]);
    }
    let out = command
        .args(["--target", &process, "--mount", "--"])
        .arg(crate::process::built("windlass-fleet")?)
        .args(["rows".as_ref(), path.as_os_str()])
        .output()
        .context("could not run nsenter")?;
    ensure!(
        out.status.success(),
        "looking into {} of process {process}: {}",
        path.display(),
        String::from_utf8_lossy(&out.stderr)
    );
    let text = String::from_utf8(out.stdout)?;
    let row = |line: &str| -> Option<Row> {
        let (level, hex) = line.split_once(' ')?;
        let byte = |i: usize| u8::from_str_radix(hex.get(i..i + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(byte).collect();
        Some((level.parse().ok()?, bytes?))
    };
    let rows: Option<Vec<Row>> = text.lines().map(row).collect();
    rows.context("rows that are none")
}

/// Greatest seq of the epochs whose last row has left.
fn epochs(path: &Path) -> Result<Vec<((TurbineId, Epoch), Seq)>> {
    let found: Vec<(String, Vec<u8>, i64)> = reading(path, |connection| {
        let mut query = connection
            .prepare(
                "SELECT turbine, epoch, last_seq FROM epoch WHERE last_seq IS NOT NULL
                 AND NOT EXISTS (SELECT 1 FROM record WHERE id >= key << 40 AND id < (key + 1) << 40 AND level < 10)",
            )?;
        let rows = query.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?;
        rows.collect()
    })?;
    let mut epochs = Vec::new();
    for (turbine, epoch, seq) in found {
        let Ok(epoch) = <[u8; 16]>::try_from(epoch) else {
            bail!("{}: an epoch of a wrong length", path.display());
        };
        epochs.push(((TurbineId::new(&turbine)?, Epoch(epoch)), Seq(seq as u64)));
    }
    Ok(epochs)
}

/// Runs a query on a read-only connection; waits while the file is being made or is locked.
fn reading<T>(
    path: &Path,
    query: impl Fn(&Connection) -> rusqlite::Result<Vec<T>>,
) -> Result<Vec<T>> {
    let what = format!("{} can be read", path.display());
    clock::until(&what, BUSY_BOUND, || {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        match Connection::open_with_flags(path, flags).and_then(|c| query(&c)) {
            Ok(rows) => Ok(Some(rows)),
            Err(error) if passes(&error) => Ok(None),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    })
}

/// A lock, or a file whose tables are being made this moment.
fn passes(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::CannotOpen)
    ) || error.to_string().contains("no such table")
}
