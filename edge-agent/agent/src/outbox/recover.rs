//! What an opening finds: epochs, tallies, positions. One pass over the table's leaves; the bytes are not read.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension};
use windlass_edge_core::{
    HeldEpoch, HeldJournal, Recovered, RecoveredTurbine, RowLevel, SeqSet, SourceId, Tallies, Usage,
};
use windlass_shared::id::{BootId, Epoch, Seq, SeqRange, TurbineId};
use windlass_shared::record::Head;
use windlass_shared::time::{EventTime, MonoTime};

use super::files::Files;
use super::row::{ids, kind_of, level_of, seq_of};
use super::schema::{self, PAGE_BYTES};
use super::{Damage, Epochs, OpenReport, Outbox, OutboxError};

/// Free space worth giving back at an opening: so many bytes, and half of the file.
const COMPACT_BYTES_MIN: u64 = 16 << 20;

/// An outbox without its files.
pub(super) struct Opened {
    db: Connection,
    epochs: Epochs,
    tallies: BTreeMap<TurbineId, Tallies>,
    hints: BTreeMap<TurbineId, [[i64; 4]; 4]>,
    undeclared: bool,
}

impl Opened {
    pub fn into_outbox(self, files: Files) -> Outbox {
        Outbox {
            db: self.db,
            files,
            epochs: self.epochs,
            tallies: self.tallies,
            hints: self.hints,
            undeclared: self.undeclared,
        }
    }
}

/// A recovered outbox, or what is wrong with the file.
type Attempt = Result<(Opened, Recovered), Damage>;

impl Outbox {
    /// Opens the database and takes stock. Damage is an answer, everything else an error.
    pub(super) fn recover(files: &Files, report: &mut OpenReport) -> Result<Attempt, OutboxError> {
        let sort = |e: rusqlite::Error| {
            if schema::is_damage(&e) {
                return Ok(Err(Damage(e.to_string())));
            }
            Err(OutboxError::Sqlite {
                path: files.path().into(),
                source: e,
            })
        };
        let db = match schema::open(files.path()) {
            Ok(db) => db,
            Err(e) => return sort(e),
        };
        schema::check_version(&db, files.path())?;
        if let Err(e) = schema::upgrade(&db) {
            return sort(e);
        }
        match stock(db, files, report) {
            Ok(opened) => Ok(Ok(opened)),
            Err(e) => sort(e),
        }
    }
}

fn stock(
    db: Connection,
    files: &Files,
    report: &mut OpenReport,
) -> rusqlite::Result<(Opened, Recovered)> {
    report.compacted += compact(&db, files)?;
    let mark = |name: &str| -> rusqlite::Result<bool> {
        let found = db.query_row("SELECT 1 FROM mark WHERE name = ?1", [name], |_| Ok(()));
        Ok(found.optional()?.is_some())
    };
    let (clean, undeclared) = (mark("clean")?, mark("undeclared")?);
    if clean {
        db.execute("DELETE FROM mark WHERE name = 'clean'", [])?;
    }
    let mut opened = Opened {
        epochs: Epochs::default(),
        tallies: BTreeMap::new(),
        hints: BTreeMap::new(),
        undeclared,
        db,
    };
    let mut turbines: BTreeMap<TurbineId, (Vec<HeldEpoch>, Vec<HeldJournal>)> = BTreeMap::new();
    for (key, turbine, epoch) in epochs(&opened.db)? {
        let (rows, waiting) = opened.tally(key, &turbine)?;
        let held = held_epoch(&opened.db, key, epoch, rows, undeclared)?;
        opened.epochs.insert(key, turbine.clone(), epoch);
        let (epochs, journals) = turbines.entry(turbine).or_default();
        if waiting {
            opened.epochs.journals.insert(key);
            let journal = held.map(|h| journal(&opened.db, key, &h, undeclared));
            journals.extend(journal.transpose()?);
        } else {
            epochs.extend(held);
        }
    }
    let recovered = Recovered {
        turbines: turbines
            .into_iter()
            .map(|(turbine, (epochs, journals))| RecoveredTurbine {
                turbine,
                epochs,
                journals,
            })
            .collect(),
        positions: positions(&opened.db)?,
        usage: opened.usage(files)?,
        clean,
    };
    Ok((opened, recovered))
}

fn compact(db: &Connection, files: &Files) -> rusqlite::Result<u64> {
    let count = |what: &str| -> rusqlite::Result<u64> {
        let n: i64 = db.pragma_query_value(None, what, |r| r.get(0))?;
        Ok(n as u64 * PAGE_BYTES)
    };
    let (all, free) = (count("page_count")?, count("freelist_count")?);
    // the copy needs room for what is in use, in the log and in a temporary file
    if free < COMPACT_BYTES_MIN || free < all / 2 || files.disk_free() < 3 * (all - free) {
        return Ok(0);
    }
    db.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")?;
    Ok(all - count("page_count")?)
}

fn epochs(db: &Connection) -> rusqlite::Result<Vec<(i64, TurbineId, Epoch)>> {
    let mut statement = db.prepare("SELECT key, turbine, epoch FROM epoch ORDER BY key")?;
    let rows = statement.query_map([], |r| {
        let name: String = r.get(1)?;
        let turbine = TurbineId::new(&name).map_err(|e| {
            rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, e.into())
        })?;
        Ok((r.get(0)?, turbine, Epoch(r.get(2)?)))
    })?;
    rows.collect()
}

fn positions(db: &Connection) -> rusqlite::Result<Vec<(SourceId, Vec<u8>)>> {
    let mut statement = db.prepare("SELECT id, position FROM source ORDER BY id")?;
    let rows = statement.query_map([], |r| {
        Ok((SourceId::new(&r.get::<_, String>(0)?), r.get(1)?))
    })?;
    rows.collect()
}

impl Opened {
    fn usage(&self, files: &Files) -> rusqlite::Result<Usage> {
        let count = |what: &str| -> rusqlite::Result<u64> {
            let n: i64 = self.db.pragma_query_value(None, what, |r| r.get(0))?;
            Ok(n as u64 * PAGE_BYTES)
        };
        let (all, free) = (count("page_count")?, count("freelist_count")?);
        Ok(Usage {
            used: all - free + files.wal_bytes(),
            reusable: free,
            disk_free: files.disk_free(),
            turbines: self.tallies.clone().into_iter().collect(),
        })
    }

    /// Counts an epoch's rows by tier; returns how many there are, and whether it is no epoch but a boot's journal.
    fn tally(&mut self, key: i64, turbine: &TurbineId) -> rusqlite::Result<(u64, bool)> {
        let (low, high) = ids(key);
        let mut statement = self.db.prepare_cached(
            "SELECT level, kind, count(*), sum(length(bytes)), min(id) FROM record WHERE id BETWEEN ?1 AND ?2 GROUP BY level, kind",
        )?;
        let mut rows = statement.query([low, high])?;
        let tallies = self.tallies.entry(turbine.clone()).or_default();
        let hints = self
            .hints
            .entry(turbine.clone())
            .or_insert([[i64::MAX; 4]; 4]);
        let (mut all, mut waiting) = (0, false);
        while let Some(row) = rows.next()? {
            let (level, kind): (i64, i64) = (row.get(0)?, row.get(1)?);
            let Some((level, kind)) = level_of(level).zip(kind_of(kind)) else {
                let what = format!("level {level}, kind {kind}");
                let garbled = rusqlite::types::Type::Integer;
                return Err(rusqlite::Error::FromSqlConversionFailure(
                    0,
                    garbled,
                    what.into(),
                ));
            };
            let tally = tallies.get_mut(level, kind.class());
            let (rows, bytes): (i64, i64) = (row.get(2)?, row.get(3)?);
            tally.rows += rows as u64;
            tally.bytes += bytes as u64;
            all += rows as u64;
            waiting |= level == RowLevel::Waiting;
            let hint = &mut hints[level as usize][kind.class() as usize];
            *hint = (*hint).min(row.get(4)?);
        }
        Ok((all, waiting))
    }
}

/// Where an epoch ended. `None`: a name without any record, which a salvage may leave.
fn held_epoch(
    db: &Connection,
    key: i64,
    epoch: Epoch,
    rows: u64,
    undeclared: bool,
) -> rusqlite::Result<Option<HeldEpoch>> {
    type End = (i64, Option<i64>, Option<i64>, [u8; 32]);
    let (low, high) = ids(key);
    let end = |r: &rusqlite::Row<'_>| -> rusqlite::Result<End> {
        Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?))
    };
    let row: Option<End> = db
        .query_row(
            "SELECT id & 0xffffffffff, ceiling, frontier, head FROM record WHERE id BETWEEN ?1 AND ?2 ORDER BY id DESC LIMIT 1",
            [low, high],
            end,
        )
        .optional()?;
    let left: Option<End> = db
        .query_row(
            "SELECT last_seq, ceiling, frontier, head FROM epoch WHERE key = ?1 AND last_seq IS NOT NULL",
            [key],
            end,
        )
        .optional()?;
    let whole: bool = db.query_row("SELECT whole FROM epoch WHERE key = ?1", [key], |r| {
        r.get(0)
    })?;
    let Some((last_seq, ceiling, frontier, head)) = row.into_iter().chain(left).max_by_key(|e| e.0)
    else {
        return Ok(None);
    };
    let time = |t: Option<i64>| t.map_or(EventTime::MIN, EventTime);
    Ok(Some(HeldEpoch {
        epoch,
        rows,
        last_seq: Seq(last_seq as u64),
        ceiling: time(ceiling),
        frontier: time(frontier),
        head: Head(head),
        whole,
        missing: if undeclared && !whole {
            missing(db, key, last_seq as u64)?
        } else {
            Vec::new()
        },
    }))
}

/// What a boot recorded without a clock.
fn journal(
    db: &Connection,
    key: i64,
    held: &HeldEpoch,
    undeclared: bool,
) -> rusqlite::Result<HeldJournal> {
    let (low, high) = ids(key);
    let sums = "SELECT sum(readings), min(first) FROM record WHERE id BETWEEN ?1 AND ?2";
    let (readings, first): (i64, Option<i64>) =
        db.query_row(sums, [low, high], |r| Ok((r.get(0)?, r.get(1)?)))?;
    Ok(HeldJournal {
        boot: BootId(held.epoch.0),
        rows: held.rows,
        readings: readings as u64,
        last_seq: held.last_seq,
        head: held.head,
        since: first.map(|t| MonoTime(t.max(0) as u64)),
        whole: held.whole || !undeclared,
    })
}

/// Seqs below the last that are not here.
fn missing(db: &Connection, key: i64, last_seq: u64) -> rusqlite::Result<Vec<SeqRange>> {
    let (low, high) = ids(key);
    let mut statement = db.prepare("SELECT id FROM record WHERE id BETWEEN ?1 AND ?2")?;
    let rows = statement.query_map([low, high], |r| r.get::<_, i64>(0))?;
    let mut here = SeqSet::default();
    for id in rows {
        here.insert(SeqRange::one(seq_of(id?)));
    }
    let all = SeqRange::new(1, last_seq);
    Ok(all.map_or_else(Vec::new, |all| here.missing_in(all)))
}

/// What a salvage leaves for the next opening: rows with their levels, epochs that are not whole.
pub(super) fn mark_undeclared(db: &Connection) -> rusqlite::Result<usize> {
    db.execute(
        "INSERT OR IGNORE INTO mark (name) VALUES ('undeclared')",
        [],
    )
}

/// The level that a salvaged row keeps.
pub(super) fn salvaged_level(code: i64) -> RowLevel {
    level_of(code).unwrap_or(RowLevel::Unacked)
}
