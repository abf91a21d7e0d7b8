//! A damaged database is moved aside, and what can still be read of it goes into a new one.
//!
//! Invariants: the damaged file stays as it was found (a first page that is lent to it is taken back); a row is taken only if its bytes have the hash that the chain
//! gives them and name the identity under which they lie; what is missing among the seqs of a salvaged epoch is declared
//! lost by the core (`HeldEpoch::missing`), and the end of such an epoch counts as unknown.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use windlass_edge_core::{NewRow, RowLevel};
use windlass_shared::id::{Epoch, TurbineId};
use windlass_shared::record::Record;
use windlass_shared::wire;

use super::files::Files;
use super::recover::{mark_undeclared, salvaged_level};
use super::row::{META, key_of, meta};
use super::write::insert_row;
use super::{OpenReport, OutboxError, schema};

/// Rows in one transaction of the new database.
const ROWS_PER_COMMIT: u64 = 1000;
/// No id is greater.
const ID_END: i64 = 1 << 62;

/// Moves the database aside and fills a new one from it.
pub(super) fn salvage(
    files: &Files,
    stamp: i64,
    report: &mut OpenReport,
) -> Result<(), OutboxError> {
    let path = files.path();
    let aside = files.quarantine(stamp).map_err(|e| OutboxError::Unusable {
        path: path.into(),
        what: format!("cannot move the damaged file aside: {e}; move it away by hand"),
    })?;
    report.quarantined = Some(aside.clone());
    let sqlite = |source| OutboxError::Sqlite {
        path: path.into(),
        source,
    };
    let new = schema::open(path).map_err(sqlite)?;
    if let Ok(old) = open_damaged(&aside) {
        Salvage::new(&old, &new).run(report).map_err(sqlite)?;
    } else {
        // without its first page a file is no database, but all rows may be there
        report.unreadable += 1;
        let lent = FirstPage::lend(&aside, path, &new);
        if let Ok(old) = open_damaged(&aside) {
            Salvage::new(&old, &new).run(report).map_err(sqlite)?;
        }
        drop(lent);
    }
    files.clear();
    Ok(())
}

/// The first page of a new database, lent to a damaged one: it says how large pages are and where the tables begin, which is
/// the same in every outbox. The damaged page is put back when this is dropped.
struct FirstPage {
    file: File,
    damaged: Vec<u8>,
}

impl FirstPage {
    fn lend(aside: &Path, new_path: &Path, new: &Connection) -> Option<Self> {
        const PAGE: usize = schema::PAGE_BYTES as usize;
        new.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .ok()?;
        let mut page = vec![0; PAGE];
        File::open(new_path)
            .ok()?
            .read_exact_at(&mut page, 0)
            .ok()?;
        // two counters that differ: the length of the file counts, not what the page says of it
        page[24..28].copy_from_slice(&1u32.to_be_bytes());
        page[92..96].copy_from_slice(&2u32.to_be_bytes());
        let file = OpenOptions::new().read(true).write(true).open(aside).ok()?;
        let len = file.metadata().ok()?.len();
        if len < 2 * schema::PAGE_BYTES || !len.is_multiple_of(schema::PAGE_BYTES) {
            return None;
        }
        let mut damaged = vec![0; PAGE];
        file.read_exact_at(&mut damaged, 0).ok()?;
        file.write_all_at(&page, 0).ok()?;
        Some(Self { file, damaged })
    }
}

impl Drop for FirstPage {
    fn drop(&mut self) {
        // if this fails the file is one good page richer: nothing else depends on it
        self.file.write_all_at(&self.damaged, 0).ok();
    }
}

fn open_damaged(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(db)
}

/// A row that could be read.
struct Found {
    id: i64,
    row: NewRow,
    level: RowLevel,
}

struct Salvage<'a> {
    old: &'a Connection,
    new: &'a Connection,
    /// New keys by old ones.
    keys: BTreeMap<i64, i64>,
}

impl<'a> Salvage<'a> {
    fn new(old: &'a Connection, new: &'a Connection) -> Self {
        Self {
            old,
            new,
            keys: BTreeMap::new(),
        }
    }

    fn run(mut self, report: &mut OpenReport) -> rusqlite::Result<()> {
        self.new.execute_batch("BEGIN IMMEDIATE")?;
        mark_undeclared(self.new)?;
        self.positions()?;
        self.rows(report)?;
        self.new.execute_batch("COMMIT")
    }

    /// Positions of file sources: without them a file would be read twice.
    fn positions(&self) -> rusqlite::Result<()> {
        let Ok(mut statement) = self.old.prepare("SELECT id, position FROM source") else {
            return Ok(());
        };
        let read = |r: &rusqlite::Row<'_>| Ok((r.get::<_, String>(0)?, r.get::<_, Vec<u8>>(1)?));
        let Ok(found) = statement.query_map([], read) else {
            return Ok(());
        };
        for (id, position) in found.map_while(Result::ok) {
            let insert = "INSERT OR REPLACE INTO source (id, position) VALUES (?1, ?2)";
            self.new.execute(insert, params![id, position])?;
        }
        Ok(())
    }

    fn rows(&mut self, report: &mut OpenReport) -> rusqlite::Result<()> {
        let mut at = 0;
        loop {
            match self.next(at) {
                Ok(None) => return Ok(()),
                Ok(Some(Err(id))) => {
                    report.unreadable += 1;
                    at = id + 1;
                }
                Ok(Some(Ok(found))) => {
                    at = found.id + 1;
                    self.take(&found)?;
                    report.salvaged += 1;
                    if report.salvaged.is_multiple_of(ROWS_PER_COMMIT) {
                        self.new.execute_batch("COMMIT; BEGIN IMMEDIATE")?;
                    }
                }
                Err(_) => {
                    report.unreadable += 1;
                    match self.behind_damage(at) {
                        Some(next) => at = next,
                        None => return Ok(()),
                    }
                }
            }
        }
    }

    /// The first row from `at` on; `Some(Err(id))`: it is there, but it is not what was written.
    fn next(&self, at: i64) -> rusqlite::Result<Option<Result<Found, i64>>> {
        let sql = format!("SELECT {META}, bytes FROM record WHERE id >= ?1 ORDER BY id LIMIT 1");
        let mut statement = self.old.prepare_cached(&sql)?;
        let read = |r: &rusqlite::Row<'_>| {
            let id = r.get(0)?;
            let payload = r.get_ref(12)?.as_blob()?.to_vec();
            let Ok(record) = wire::decode(&payload) else {
                return Ok(Err(id));
            };
            let Record { header, .. } = record;
            let Ok((meta, _)) = meta(r, &header.id.turbine, header.id.epoch) else {
                return Ok(Err(id));
            };
            let intact = meta.id == header.id
                && meta.prev_head == header.prev_head
                && wire::next_head(&meta.prev_head, &wire::hash(&payload)) == meta.head;
            let level = salvaged_level(r.get(1)?);
            let payload = payload.into();
            let row = NewRow { meta, payload };
            Ok(intact.then_some(Found { id, row, level }).ok_or(id))
        };
        statement.query_row([at], read).optional()
    }

    /// The least id behind `at` from which reading works again: steps that double, then a search between the last two.
    fn behind_damage(&self, at: i64) -> Option<i64> {
        let readable = |offset: i64| self.next(at + offset).is_ok();
        let mut step = 1;
        while !readable(step) {
            step *= 2;
            if at + step >= ID_END {
                return None;
            }
        }
        let (mut bad, mut good) = (step / 2, step);
        while good - bad > 1 {
            let middle = bad + (good - bad) / 2;
            if readable(middle) {
                good = middle;
            } else {
                bad = middle;
            }
        }
        Some(at + good)
    }

    fn take(&mut self, found: &Found) -> rusqlite::Result<()> {
        let id = &found.row.meta.id;
        let old = key_of(found.id);
        let key = match self.keys.get(&old) {
            Some(key) => *key,
            None => self.epoch(&id.turbine, id.epoch)?,
        };
        self.keys.insert(old, key);
        insert_row(self.new, key, &found.row, found.level)
    }

    fn epoch(&self, turbine: &TurbineId, epoch: Epoch) -> rusqlite::Result<i64> {
        let insert = "INSERT INTO epoch (turbine, epoch, whole) VALUES (?1, ?2, 0)";
        self.new
            .execute(insert, params![turbine.as_str(), epoch.0])?;
        Ok(self.new.last_insert_rowid())
    }
}
