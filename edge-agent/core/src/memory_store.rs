//! The store as a plain model: what the outbox must do, in maps. The simulator's disk, and the oracle that the SQLite
//! outbox is held to.
//!
//! Everything in it is durable: a crash loses what was not applied. A clone is a backup.

use std::collections::BTreeMap;

use windlass_shared::id::{BootId, Epoch, Seq, SeqRange, TurbineId};
use windlass_shared::record::Head;
use windlass_shared::time::{EventTime, MonoTime};

use crate::input::SourceId;
use crate::output::LoadRequest;
use crate::seq_set::SeqSet;
use crate::store::{
    CommitBatch, Eviction, HeldEpoch, HeldJournal, LevelChange, Loaded, NewRow, Recovered,
    RecoveredTurbine, RowClass, RowKind, RowLevel, RowMeta, StoreFault, StoredRow, Tallies, Tally,
    Usage,
};

/// What a row costs besides its record, bytes. The real file has its own overhead; only its order matters here.
const ROW_OVERHEAD_BYTES: u64 = 160;

#[derive(Clone, PartialEq, Debug)]
struct EpochRow {
    turbine: TurbineId,
    epoch: Epoch,
    /// It is a boot, and no epoch.
    journal: bool,
    last: Seq,
    ceiling: EventTime,
    frontier: EventTime,
    head: Head,
}

fn cost(meta: &RowMeta) -> u64 {
    meta.bytes + ROW_OVERHEAD_BYTES
}

fn add(tally: &mut Tally, meta: &RowMeta) {
    tally.rows += 1;
    tally.bytes += meta.bytes;
}

fn take(tally: &mut Tally, meta: &RowMeta) {
    tally.rows -= 1;
    tally.bytes -= meta.bytes;
}

/// The model of a store.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct MemoryStore {
    epochs: Vec<EpochRow>,
    rows: BTreeMap<(usize, Seq), StoredRow>,
    positions: BTreeMap<SourceId, Vec<u8>>,
    clean: bool,
    /// Bytes that the file has ever needed: it does not shrink.
    file: u64,
    /// Bytes that fit; `None`: any.
    capacity: Option<u64>,
    /// Bytes of the rows with their overhead, kept as they come and go.
    used: u64,
    /// Rows and bytes of those who have any, kept as they come and go.
    tallies: BTreeMap<TurbineId, Tallies>,
}

impl MemoryStore {
    /// An empty store on an endless disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// The disk has so many bytes from now on: a transaction that would exceed them fails with
    /// [`StoreFault::DiskFull`].
    pub fn set_capacity(&mut self, bytes: Option<u64>) {
        self.capacity = bytes;
    }

    /// All rows: by epoch in the order of their beginning, then by seq.
    pub fn rows(&self) -> impl Iterator<Item = &StoredRow> {
        self.rows.values()
    }

    /// The position of a source.
    pub fn position(&self, source: &SourceId) -> Option<&[u8]> {
        self.positions.get(source).map(Vec::as_slice)
    }

    fn key(&self, turbine: &TurbineId, epoch: Epoch) -> Option<usize> {
        let is = |e: &EpochRow| e.turbine == *turbine && e.epoch == epoch;
        self.epochs.iter().position(is)
    }

    /// Applies one transaction, or nothing of it.
    pub fn apply(&mut self, batch: &CommitBatch) -> Result<Usage, StoreFault> {
        self.check_order(batch.rows.iter().chain(&batch.waiting))?;
        let left = self.evict(&batch.evictions);
        let new = batch.rows.iter().chain(&batch.waiting);
        let came: u64 = new.map(|row| cost(&row.meta)).sum();
        let file = self.file.max(self.used + came);
        if file > self.file && self.capacity.is_some_and(|capacity| file > capacity) {
            for (key, row) in left {
                self.put(key, row);
            }
            return Err(StoreFault::DiskFull);
        }
        self.file = file;
        for change in &batch.levels {
            self.change(change);
        }
        self.forget_empty_journals();
        for row in &batch.rows {
            self.append(row, RowLevel::Unacked);
        }
        for row in &batch.waiting {
            self.append(row, RowLevel::Waiting);
        }
        self.positions.extend(batch.positions.iter().cloned());
        self.clean = batch.clean_stop;
        Ok(self.usage())
    }

    /// Every row is behind the last one of its epoch.
    fn check_order<'a>(&self, rows: impl Iterator<Item = &'a NewRow>) -> Result<(), StoreFault> {
        let mut lasts: Vec<(&TurbineId, Epoch, Seq)> = Vec::new();
        for id in rows.map(|row| &row.meta.id) {
            let known = lasts
                .iter_mut()
                .find(|(turbine, epoch, _)| **turbine == id.turbine && *epoch == id.epoch);
            let last = match &known {
                Some((_, _, last)) => *last,
                None => {
                    (self.key(&id.turbine, id.epoch)).map_or(Seq(0), |key| self.epochs[key].last)
                }
            };
            if id.seq <= last {
                return Err(StoreFault::Broken(format!("row {id} again")));
            }
            match known {
                Some(entry) => entry.2 = id.seq,
                None => lasts.push((&id.turbine, id.epoch, id.seq)),
            }
        }
        Ok(())
    }

    fn append(&mut self, row: &NewRow, level: RowLevel) {
        let meta = &row.meta;
        let key = self
            .key(&meta.id.turbine, meta.id.epoch)
            .unwrap_or_else(|| {
                self.epochs.push(EpochRow {
                    turbine: meta.id.turbine.clone(),
                    epoch: meta.id.epoch,
                    journal: level == RowLevel::Waiting,
                    last: Seq(0),
                    ceiling: EventTime::MIN,
                    frontier: EventTime::MIN,
                    head: Head::default(),
                });
                self.epochs.len() - 1
            });
        let epoch = &mut self.epochs[key];
        epoch.last = meta.id.seq;
        epoch.ceiling = meta.ceiling;
        epoch.frontier = meta.frontier;
        epoch.head = meta.head;
        let stored = StoredRow {
            meta: meta.clone(),
            level,
            payload: row.payload.clone(),
        };
        self.put((key, meta.id.seq), stored);
    }

    /// A journal is gone with its last row: a later one of that boot begins anew, as the youngest.
    fn forget_empty_journals(&mut self) {
        for key in (0..self.epochs.len()).rev() {
            let mut held = self.rows.range((key, Seq(0))..(key + 1, Seq(0)));
            if self.epochs[key].journal && held.next().is_none() {
                self.epochs.remove(key);
                let rows = std::mem::take(&mut self.rows);
                let moved = |((k, seq), row)| ((if k > key { k - 1 } else { k }, seq), row);
                self.rows = rows.into_iter().map(moved).collect();
            }
        }
    }

    fn journal(&self, key: usize) -> HeldJournal {
        let epoch = &self.epochs[key];
        let rows = || self.rows.range((key, Seq(0))..(key + 1, Seq(0)));
        let first = rows().filter_map(|(_, r)| r.meta.bounds).map(|b| b.0).min();
        HeldJournal {
            boot: BootId(epoch.epoch.0),
            rows: rows().count() as u64,
            readings: rows().map(|(_, r)| r.meta.readings).sum(),
            last_seq: epoch.last,
            head: epoch.head,
            since: first.map(|t| MonoTime(t.0.max(0) as u64)),
            whole: true,
        }
    }

    fn waiting(&self, turbine: &TurbineId, rows_max: usize, bytes_max: u64) -> Loaded {
        let of = self.of(turbine).map(|(_, row)| row);
        let waiting = of.filter(|row| row.level == RowLevel::Waiting);
        let mut bytes = 0;
        let fits = |row: &&StoredRow| {
            let first = bytes == 0;
            bytes += row.meta.bytes;
            first || bytes <= bytes_max
        };
        let rows = waiting.take(rows_max).take_while(fits);
        Loaded::Waiting {
            turbine: turbine.clone(),
            rows: rows.cloned().collect(),
            corrupt: Vec::new(),
        }
    }

    fn put(&mut self, key: (usize, Seq), row: StoredRow) {
        self.used += cost(&row.meta);
        let tallies = self.tallies.entry(row.meta.id.turbine.clone()).or_default();
        add(tallies.get_mut(row.level, row.meta.kind.class()), &row.meta);
        self.rows.insert(key, row);
    }

    /// Takes rows out; gives them, so that they can be put back.
    fn evict(&mut self, evictions: &[Eviction]) -> Vec<((usize, Seq), StoredRow)> {
        let mut left = Vec::new();
        for eviction in evictions {
            let Some(key) = self.key(&eviction.turbine, eviction.epoch) else {
                continue;
            };
            let range = (key, eviction.seqs.first)..=(key, eviction.seqs.last);
            let keys: Vec<_> = self.rows.range(range).map(|(key, _)| *key).collect();
            let rows = keys
                .into_iter()
                .filter_map(|key| self.rows.remove_entry(&key));
            left.extend(rows);
        }
        for (_, row) in &left {
            self.used -= cost(&row.meta);
            if let Some(tallies) = self.tallies.get_mut(&row.meta.id.turbine) {
                take(tallies.get_mut(row.level, row.meta.kind.class()), &row.meta);
                if *tallies == Tallies::default() {
                    self.tallies.remove(&row.meta.id.turbine);
                }
            }
        }
        left
    }

    fn change(&mut self, change: &LevelChange) {
        let Some(key) = self.key(&change.turbine, change.epoch) else {
            return;
        };
        let Some(tallies) = self.tallies.get_mut(&change.turbine) else {
            return;
        };
        let range = (key, change.seqs.first)..=(key, change.seqs.last);
        for row in self.rows.range_mut(range).map(|(_, row)| row) {
            let higher = change.level == RowLevel::Unacked || change.level > row.level;
            if row.level != RowLevel::Waiting && higher {
                let class = row.meta.kind.class();
                take(tallies.get_mut(row.level, class), &row.meta);
                add(tallies.get_mut(change.level, class), &row.meta);
                row.level = change.level;
            }
        }
    }

    /// Size and tallies.
    pub fn usage(&self) -> Usage {
        Usage {
            used: self.used,
            reusable: self.file - self.used,
            disk_free: (self.capacity).map_or(u64::MAX, |c| c.saturating_sub(self.file)),
            turbines: (self.tallies.iter())
                .map(|(turbine, tallies)| (turbine.clone(), tallies.clone()))
                .collect(),
        }
    }

    /// What a start finds.
    pub fn recovered(&self) -> Recovered {
        let mut turbines: BTreeMap<TurbineId, (Vec<HeldEpoch>, Vec<HeldJournal>)> = BTreeMap::new();
        for (key, epoch) in self.epochs.iter().enumerate() {
            let rows = self.rows.range((key, Seq(0))..(key + 1, Seq(0))).count();
            let (epochs, journals) = turbines.entry(epoch.turbine.clone()).or_default();
            if epoch.journal {
                journals.push(self.journal(key));
                continue;
            }
            epochs.push(HeldEpoch {
                epoch: epoch.epoch,
                rows: rows as u64,
                last_seq: epoch.last,
                ceiling: epoch.ceiling,
                frontier: epoch.frontier,
                head: epoch.head,
                whole: true,
                missing: Vec::new(),
            });
        }
        let turbine = |(turbine, (epochs, journals))| RecoveredTurbine {
            turbine,
            epochs,
            journals,
        };
        Recovered {
            turbines: turbines.into_iter().map(turbine).collect(),
            positions: self.positions.clone().into_iter().collect(),
            usage: self.usage(),
            clean: self.clean,
        }
    }

    /// Answers a request.
    pub fn load(&self, request: &LoadRequest) -> Loaded {
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
                let of = self.of(turbine).map(|(_, row)| row);
                let fits = |r: &&StoredRow| r.level == *level && r.meta.kind.class() == *class;
                let free = |r: &&StoredRow| !spare.contains(&r.meta.id);
                let rows = of.filter(fits).filter(free).take(*rows_max);
                let rows = rows.scan(0, |sum, r| {
                    let enough = *sum >= *bytes;
                    *sum += r.meta.bytes;
                    (!enough).then_some(r)
                });
                Loaded::Evictable {
                    turbine: turbine.clone(),
                    level: *level,
                    class: *class,
                    rows: rows.map(|r| r.meta.clone()).collect(),
                }
            }
            LoadRequest::Waiting {
                turbine,
                rows_max,
                bytes_max,
            } => self.waiting(turbine, *rows_max, *bytes_max),
            LoadRequest::Marks { turbine, rows_max } => {
                let of = self.of(turbine).map(|(_, row)| row);
                let rows = of.filter(|r| {
                    let mark = matches!(r.meta.kind, RowKind::Gap | RowKind::Seal);
                    mark && r.level == RowLevel::Unacked
                });
                Loaded::Marks {
                    turbine: turbine.clone(),
                    rows: rows.take(*rows_max).cloned().collect(),
                }
            }
            LoadRequest::Held {
                turbine,
                epoch,
                ranges,
            } => self.held(turbine, *epoch, ranges),
        }
    }

    fn of(&self, turbine: &TurbineId) -> impl Iterator<Item = (&(usize, Seq), &StoredRow)> {
        let rows = self.rows.iter();
        rows.filter(move |(_, row)| row.meta.id.turbine == *turbine)
    }

    fn backlog(
        &self,
        turbine: &TurbineId,
        after: Option<(Epoch, Seq)>,
        rows_max: usize,
        bytes_max: u64,
    ) -> Loaded {
        let after = after.and_then(|(epoch, seq)| Some((self.key(turbine, epoch)?, seq)));
        let mut unsent = self
            .of(turbine)
            .filter(|(key, row)| row.level == RowLevel::Unacked && after.is_none_or(|a| **key > a));
        let mut rows: Vec<StoredRow> = Vec::new();
        let mut bytes = 0;
        let mut end = true;
        for (_, row) in &mut unsent {
            if rows.len() >= rows_max || !rows.is_empty() && bytes + row.meta.bytes > bytes_max {
                end = false;
                break;
            }
            bytes += row.meta.bytes;
            rows.push(row.clone());
        }
        Loaded::Backlog {
            turbine: turbine.clone(),
            last: rows.last().map(|r| (r.meta.id.epoch, r.meta.id.seq)),
            rows,
            corrupt: Vec::new(),
            end,
        }
    }

    fn held(&self, turbine: &TurbineId, epoch: Epoch, ranges: &[SeqRange]) -> Loaded {
        let mut held: Vec<(SeqRange, RowLevel)> = Vec::new();
        let wanted: SeqSet = ranges.iter().copied().collect();
        let numbered = |key: &usize| !self.epochs[*key].journal;
        if let Some(key) = self.key(turbine, epoch).filter(numbered) {
            let rows = self.rows.range((key, Seq(0))..(key + 1, Seq(0)));
            for ((_, seq), row) in rows.filter(|((_, seq), _)| wanted.contains(*seq)) {
                match held.last_mut() {
                    Some((run, level)) if run.last.next() == *seq && *level == row.level => {
                        run.last = *seq;
                    }
                    _ => held.push((SeqRange::one(*seq), row.level)),
                }
            }
        }
        Loaded::Held {
            turbine: turbine.clone(),
            epoch,
            ranges: ranges.to_vec(),
            held,
        }
    }

    /// The rows' metadata of one tier, for tests.
    pub fn tier(&self, turbine: &TurbineId, level: RowLevel, class: RowClass) -> Vec<RowMeta> {
        let of = self.of(turbine).map(|(_, row)| row);
        let fits = |r: &&StoredRow| r.level == level && r.meta.kind.class() == class;
        of.filter(fits).map(|r| r.meta.clone()).collect()
    }
}
