//! Applying a batch: one transaction, and the tallies that follow from it.

use rusqlite::{Connection, TransactionBehavior, params};
use windlass_edge_core::{
    CommitBatch, Eviction, LevelChange, NewRow, RowKind, RowLevel, StoreFault, Tallies,
};
use windlass_shared::id::{SeqRange, TurbineId};

use super::row::{id, ids, kind_code, kind_of, level_code, level_of, some_time};
use super::{Epochs, Outbox};

/// What memory will know once the transaction is durable.
struct Draft {
    epochs: Epochs,
    tallies: std::collections::BTreeMap<TurbineId, Tallies>,
}

impl Outbox {
    pub(super) fn transaction(&mut self, batch: &CommitBatch) -> Result<(), StoreFault> {
        let mut draft = Draft {
            epochs: self.epochs.clone(),
            tallies: self.tallies.clone(),
        };
        let declares = self.undeclared && rows(batch).any(|(r, _)| r.meta.kind == RowKind::Gap);
        if let Err(e) = write(&mut self.db, batch, &mut draft, declares) {
            return Err(self.fault(&e));
        }
        self.undeclared &= !declares;
        self.epochs = draft.epochs;
        self.tallies = draft.tallies;
        for change in &batch.levels {
            if let Some(key) = self.epochs.key(&change.turbine, change.epoch) {
                self.may_be(&change.turbine, change.level, id(key, change.seqs.first));
            }
        }
        for (row, level) in rows(batch) {
            let meta = &row.meta;
            if let Some(key) = self.epochs.key(&meta.id.turbine, meta.id.epoch) {
                self.may_be(&meta.id.turbine, level, id(key, meta.id.seq));
            }
        }
        Ok(())
    }

    /// There may be rows of this level from this id on.
    fn may_be(&mut self, turbine: &TurbineId, level: RowLevel, id: i64) {
        let hints = self.hints.entry(turbine.clone()).or_insert([[id; 4]; 4]);
        for hint in &mut hints[level as usize] {
            *hint = (*hint).min(id);
        }
    }
}

fn write(
    db: &mut Connection,
    batch: &CommitBatch,
    draft: &mut Draft,
    declares: bool,
) -> rusqlite::Result<()> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for eviction in &batch.evictions {
        evict(&tx, eviction, draft)?;
    }
    for change in &batch.levels {
        set_level(&tx, change, draft)?;
    }
    for (row, level) in rows(batch) {
        insert(&tx, row, level, draft)?;
    }
    for (source, position) in &batch.positions {
        tx.prepare_cached("INSERT OR REPLACE INTO source (id, position) VALUES (?1, ?2)")?
            .execute(params![&*source.0, position])?;
    }
    if declares {
        tx.execute("DELETE FROM mark WHERE name = 'undeclared'", [])?;
    }
    if batch.clean_stop {
        tx.execute("INSERT OR IGNORE INTO mark (name) VALUES ('clean')", [])?;
    }
    tx.commit()
}

/// New rows with their levels.
fn rows(batch: &CommitBatch) -> impl Iterator<Item = (&NewRow, RowLevel)> {
    let waiting = batch.waiting.iter().map(|r| (r, RowLevel::Waiting));
    let rows = batch.rows.iter().map(|r| (r, RowLevel::Unacked));
    rows.chain(waiting)
}

fn range(key: i64, seqs: SeqRange) -> (i64, i64) {
    (id(key, seqs.first), id(key, seqs.last))
}

/// Rows and bytes between two ids by level and kind.
fn sums(
    db: &Connection,
    (from, to): (i64, i64),
) -> rusqlite::Result<Vec<(RowLevel, RowKind, u64, u64)>> {
    let mut statement = db.prepare_cached(
        "SELECT level, kind, count(*), sum(length(bytes)) FROM record WHERE id BETWEEN ?1 AND ?2 GROUP BY level, kind",
    )?;
    let rows = statement.query_map([from, to], |r| {
        let (level, kind): (i64, i64) = (r.get(0)?, r.get(1)?);
        let (rows, bytes): (i64, i64) = (r.get(2)?, r.get(3)?);
        let known = level_of(level).zip(kind_of(kind));
        Ok(known.map(|(level, kind)| (level, kind, rows as u64, bytes as u64)))
    })?;
    rows.filter_map(Result::transpose).collect()
}

fn evict(db: &Connection, eviction: &Eviction, draft: &mut Draft) -> rusqlite::Result<()> {
    let Some(key) = draft.epochs.key(&eviction.turbine, eviction.epoch) else {
        return Ok(());
    };
    let (from, to) = range(key, eviction.seqs);
    let tallies = draft.tallies.entry(eviction.turbine.clone()).or_default();
    let mut journal = false;
    for (level, kind, rows, bytes) in sums(db, (from, to))? {
        journal |= level == RowLevel::Waiting;
        let tally = tallies.get_mut(level, kind.class());
        tally.rows -= rows;
        tally.bytes -= bytes;
    }
    // where the epoch ended must outlive its last row
    let last = "SELECT max(id) FROM record WHERE id BETWEEN ?1 AND ?2";
    let (begin, end) = ids(key);
    let last: Option<i64> = (db.prepare_cached(last)?).query_row([from, end], |r| r.get(0))?;
    if let Some(last) = last.filter(|last| *last <= to) {
        db.prepare_cached(
            "UPDATE epoch SET (last_seq, ceiling, frontier, head) =
             (SELECT id & 0xffffffffff, ceiling, frontier, head FROM record WHERE id = ?1) WHERE key = ?2",
        )?
        .execute([last, key])?;
    }
    db.prepare_cached("DELETE FROM record WHERE id BETWEEN ?1 AND ?2")?
        .execute([from, to])?;
    if journal {
        // a journal is gone with its last row
        let left = "SELECT count(*) FROM (SELECT 1 FROM record WHERE id BETWEEN ?1 AND ?2 LIMIT 1)";
        let left: i64 = db
            .prepare_cached(left)?
            .query_row([begin, end], |r| r.get(0))?;
        if left == 0 {
            db.execute("DELETE FROM epoch WHERE key = ?1", [key])?;
            draft.epochs.remove(key);
        }
    }
    Ok(())
}

fn set_level(db: &Connection, change: &LevelChange, draft: &mut Draft) -> rusqlite::Result<()> {
    let Some(key) = draft.epochs.key(&change.turbine, change.epoch) else {
        return Ok(());
    };
    let (from, to) = range(key, change.seqs);
    let tallies = draft.tallies.entry(change.turbine.clone()).or_default();
    let higher = |old: RowLevel| change.level == RowLevel::Unacked || old < change.level;
    let changes = |old: RowLevel| old != RowLevel::Waiting && higher(old);
    for (level, kind, rows, bytes) in sums(db, (from, to))? {
        if changes(level) {
            let old = tallies.get_mut(level, kind.class());
            old.rows -= rows;
            old.bytes -= bytes;
            let new = tallies.get_mut(change.level, kind.class());
            new.rows += rows;
            new.bytes += bytes;
        }
    }
    let update = if change.level == RowLevel::Unacked {
        "UPDATE record SET level = ?3 WHERE id BETWEEN ?1 AND ?2 AND level > ?3"
    } else {
        "UPDATE record SET level = ?3 WHERE id BETWEEN ?1 AND ?2 AND level BETWEEN 10 AND ?3 - 1"
    };
    db.prepare_cached(update)?
        .execute([from, to, level_code(change.level)])?;
    Ok(())
}

fn insert(
    db: &Connection,
    row: &NewRow,
    level: RowLevel,
    draft: &mut Draft,
) -> rusqlite::Result<()> {
    let meta = &row.meta;
    let turbine = &meta.id.turbine;
    let key = if let Some(key) = draft.epochs.key(turbine, meta.id.epoch) {
        key
    } else {
        db.prepare_cached("INSERT INTO epoch (turbine, epoch, whole) VALUES (?1, ?2, 1)")?
            .execute(params![turbine.as_str(), meta.id.epoch.0])?;
        let key = db.last_insert_rowid();
        draft.epochs.insert(key, turbine.clone(), meta.id.epoch);
        key
    };
    if level == RowLevel::Waiting {
        draft.epochs.journals.insert(key);
    }
    insert_row(db, key, row, level)?;
    let tallies = draft.tallies.entry(turbine.clone()).or_default();
    let tally = tallies.get_mut(level, meta.kind.class());
    tally.rows += 1;
    tally.bytes += meta.bytes;
    Ok(())
}

pub(super) fn insert_row(
    db: &Connection,
    key: i64,
    row: &NewRow,
    level: RowLevel,
) -> rusqlite::Result<()> {
    let meta = &row.meta;
    db.prepare_cached(
        "INSERT INTO record (id, level, kind, readings, first, last, ceiling, frontier, committed_at, prev_head, head, bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?
    .execute(params![
        id(key, meta.id.seq),
        level_code(level),
        kind_code(meta.kind),
        meta.readings as i64,
        meta.bounds.map(|b| b.0.0),
        meta.bounds.map(|b| b.1.0),
        some_time(meta.ceiling),
        some_time(meta.frontier),
        meta.committed_at.0,
        meta.prev_head.0,
        meta.head.0,
        &*row.payload,
    ])?;
    Ok(())
}
