//! Answering the core's requests, and the size of the file.

use rusqlite::{Row, params};
use windlass_edge_core::{
    LoadRequest, Loaded, RowClass, RowKind, RowLevel, RowMeta, SeqSet, StoredRow,
};
use windlass_shared::id::{Epoch, RecordId, Seq, SeqRange, TurbineId};
use windlass_shared::wire;

use super::Outbox;
use super::row::{META, id, ids, kind_code, kinds_of, level_code, level_of, meta, seq_of};
use super::schema::PAGE_BYTES;

/// Bytes of the file in use and free for use.
pub(super) struct Size {
    pub used: u64,
    pub reusable: u64,
}

impl Outbox {
    pub(super) fn size(&self) -> rusqlite::Result<Size> {
        let count = |what: &str| -> rusqlite::Result<u64> {
            let n: i64 = self.db.pragma_query_value(None, what, |r| r.get(0))?;
            Ok(n as u64 * PAGE_BYTES)
        };
        let (all, free) = (count("page_count")?, count("freelist_count")?);
        Ok(Size {
            used: all - free,
            reusable: free,
        })
    }

    pub(super) fn read(&mut self, request: &LoadRequest) -> rusqlite::Result<Loaded> {
        match request {
            LoadRequest::Backlog {
                turbine,
                after,
                rows_max,
                bytes_max,
            } => self.backlog(turbine, *after, *rows_max, *bytes_max),
            LoadRequest::Evictable {
                turbine,
                level,
                class,
                bytes,
                rows_max,
                spare,
            } => {
                let rows = self.evictable(turbine, (*level, *class), *bytes, *rows_max, spare)?;
                Ok(Loaded::Evictable {
                    turbine: turbine.clone(),
                    level: *level,
                    class: *class,
                    rows,
                })
            }
            LoadRequest::Waiting {
                turbine,
                rows_max,
                bytes_max,
            } => self.waiting(turbine, *rows_max, *bytes_max),
            LoadRequest::Marks { turbine, rows_max } => Ok(Loaded::Marks {
                turbine: turbine.clone(),
                rows: self.marks(turbine, *rows_max)?,
            }),
            LoadRequest::Held {
                turbine,
                epoch,
                ranges,
            } => Ok(Loaded::Held {
                turbine: turbine.clone(),
                epoch: *epoch,
                ranges: ranges.clone(),
                held: self.held(turbine, *epoch, ranges)?,
            }),
        }
    }

    fn hint(&self, turbine: &TurbineId, level: RowLevel, class: RowClass) -> i64 {
        let hints = self.hints.get(turbine);
        hints.map_or(0, |h| h[level as usize][class as usize])
    }

    fn learn(&mut self, turbine: &TurbineId, level: RowLevel, class: RowClass, from: i64) {
        if let Some(hints) = self.hints.get_mut(turbine) {
            let hint = &mut hints[level as usize][class as usize];
            *hint = from.max(*hint);
        }
    }

    fn backlog(
        &mut self,
        turbine: &TurbineId,
        after: Option<(Epoch, Seq)>,
        rows_max: usize,
        bytes_max: u64,
    ) -> rusqlite::Result<Loaded> {
        let level = RowLevel::Unacked;
        let hints = RowClass::ALL.map(|class| self.hint(turbine, level, class));
        let known = hints.into_iter().min().unwrap_or(0);
        let after_id =
            after.and_then(|(epoch, seq)| Some(id(self.epochs.key(turbine, epoch)?, seq)));
        let from = after_id.map_or(known, |a| known.max(a.saturating_add(1)));
        let (mut rows, mut corrupt) = (Vec::new(), Vec::new());
        let (mut bytes, mut last, mut end, mut first) = (0, None, true, None);
        'epochs: for (key, epoch) in self.epochs.of(turbine) {
            let (low, high) = ids(key);
            if high < from || self.epochs.journals.contains(&key) {
                continue;
            }
            let sql = format!(
                "SELECT {META}, bytes FROM record WHERE id BETWEEN ?1 AND ?2 AND level = ?3 ORDER BY id"
            );
            let mut statement = self.db.prepare_cached(&sql)?;
            let mut found = statement.query(params![low.max(from), high, level_code(level)])?;
            while let Some(row) = found.next()? {
                let (meta, level) = meta(row, turbine, epoch)?;
                let count = rows.len() + corrupt.len();
                if count >= rows_max || count > 0 && bytes + meta.bytes > bytes_max {
                    end = false;
                    break 'epochs;
                }
                bytes += meta.bytes;
                first = first.or(Some(id(key, meta.id.seq)));
                last = Some((epoch, meta.id.seq));
                match whole(row, meta, level)? {
                    Ok(stored) => rows.push(stored),
                    Err(meta) => corrupt.push(meta),
                }
            }
        }
        // a look from the very first candidate tells where the next one may begin
        if after_id.is_none_or(|a| a < known) && (first.is_some() || end) {
            for class in RowClass::ALL {
                self.learn(turbine, level, class, first.unwrap_or(i64::MAX));
            }
        }
        Ok(Loaded::Backlog {
            turbine: turbine.clone(),
            rows,
            corrupt,
            last,
            end,
        })
    }

    fn evictable(
        &mut self,
        turbine: &TurbineId,
        (level, class): (RowLevel, RowClass),
        bytes: u64,
        rows_max: usize,
        spare: &[RecordId],
    ) -> rusqlite::Result<Vec<RowMeta>> {
        let from = self.hint(turbine, level, class);
        let (kind_first, kind_last) = kinds_of(class);
        let (mut rows, mut sum, mut first) = (Vec::new(), 0, None);
        'epochs: for (key, epoch) in self.epochs.of(turbine) {
            let (low, high) = ids(key);
            let journal = self.epochs.journals.contains(&key);
            if high < from || journal != (level == RowLevel::Waiting) {
                continue;
            }
            let sql = format!(
                "SELECT {META} FROM record WHERE id BETWEEN ?1 AND ?2 AND level = ?3 AND kind BETWEEN ?4 AND ?5 ORDER BY id"
            );
            let mut statement = self.db.prepare_cached(&sql)?;
            let mut found = statement.query(params![
                low.max(from),
                high,
                level_code(level),
                kind_first,
                kind_last
            ])?;
            while let Some(row) = found.next()? {
                if sum >= bytes || rows.len() >= rows_max {
                    break 'epochs;
                }
                let (meta, _) = meta(row, turbine, epoch)?;
                first = first.or(Some(id(key, meta.id.seq)));
                if !spare.contains(&meta.id) {
                    sum += meta.bytes;
                    rows.push(meta);
                }
            }
        }
        self.learn(turbine, level, class, first.unwrap_or(i64::MAX));
        Ok(rows)
    }

    /// A page of what waits for the clock.
    fn waiting(
        &self,
        turbine: &TurbineId,
        rows_max: usize,
        bytes_max: u64,
    ) -> rusqlite::Result<Loaded> {
        let (mut rows, mut corrupt, mut bytes) = (Vec::new(), Vec::new(), 0);
        let journals = self.epochs.of(turbine);
        let journals = journals.filter(|(key, _)| self.epochs.journals.contains(key));
        'journals: for (key, boot) in journals {
            let (low, high) = ids(key);
            let mut statement = self.db.prepare_cached(&format!(
                "SELECT {META}, bytes FROM record WHERE id BETWEEN ?1 AND ?2 ORDER BY id"
            ))?;
            let mut found = statement.query([low, high])?;
            while let Some(row) = found.next()? {
                let (meta, level) = meta(row, turbine, boot)?;
                let count = rows.len() + corrupt.len();
                if count >= rows_max || count > 0 && bytes + meta.bytes > bytes_max {
                    break 'journals;
                }
                bytes += meta.bytes;
                match whole(row, meta, level)? {
                    Ok(stored) => rows.push(stored),
                    Err(meta) => corrupt.push(meta),
                }
            }
        }
        Ok(Loaded::Waiting {
            turbine: turbine.clone(),
            rows,
            corrupt,
        })
    }

    fn marks(&self, turbine: &TurbineId, rows_max: usize) -> rusqlite::Result<Vec<StoredRow>> {
        let from = self.hint(turbine, RowLevel::Unacked, RowClass::Mark);
        let (gap, seal) = (kind_code(RowKind::Gap), kind_code(RowKind::Seal));
        let unacked = level_code(RowLevel::Unacked);
        let mut rows = Vec::new();
        for (key, epoch) in self.epochs.of(turbine) {
            let (low, high) = ids(key);
            let sql = format!(
                "SELECT {META}, bytes FROM record WHERE id BETWEEN ?1 AND ?2 AND level = ?3 AND kind IN (?4, ?5) ORDER BY id"
            );
            let mut statement = self.db.prepare_cached(&sql)?;
            let mut found = statement.query(params![low.max(from), high, unacked, gap, seal])?;
            while let Some(row) = found.next()?.filter(|_| rows.len() < rows_max) {
                let (meta, level) = meta(row, turbine, epoch)?;
                let payload = row.get_ref(12)?.as_blob()?.into();
                rows.push(StoredRow {
                    meta,
                    level,
                    payload,
                });
            }
        }
        Ok(rows)
    }

    fn held(
        &self,
        turbine: &TurbineId,
        epoch: Epoch,
        ranges: &[SeqRange],
    ) -> rusqlite::Result<Vec<(SeqRange, RowLevel)>> {
        let mut held: Vec<(SeqRange, RowLevel)> = Vec::new();
        let key = self.epochs.key(turbine, epoch);
        let Some(key) = key.filter(|key| !self.epochs.journals.contains(key)) else {
            return Ok(held);
        };
        let wanted: SeqSet = ranges.iter().copied().collect();
        for range in wanted.runs() {
            let mut statement = self.db.prepare_cached(
                "SELECT id, level FROM record WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
            )?;
            let mut rows = statement.query([id(key, range.first), id(key, range.last)])?;
            while let Some(row) = rows.next()? {
                let seq = seq_of(row.get(0)?);
                let Some(level) = level_of(row.get(1)?) else {
                    continue;
                };
                match held.last_mut() {
                    Some((run, l)) if run.last.next() == seq && *l == level => run.last = seq,
                    _ => held.push((SeqRange::one(seq), level)),
                }
            }
        }
        Ok(held)
    }
}

/// A record with its bytes, if they are those that its head was made of; otherwise only what is known of it.
fn whole(
    row: &Row<'_>,
    meta: RowMeta,
    level: RowLevel,
) -> rusqlite::Result<Result<StoredRow, RowMeta>> {
    let payload = row.get_ref(12)?.as_blob()?;
    if wire::next_head(&meta.prev_head, &wire::hash(payload)) != meta.head {
        return Ok(Err(meta));
    }
    let payload = payload.into();
    Ok(Ok(StoredRow {
        meta,
        level,
        payload,
    }))
}
