//! The gateway's disk: the operations of the outbox on plain maps.
//!
//! Invariant: what is here is durable. A crash loses the agent, never this; only the faults that replace the disk or put
//! an old copy in its place change it from outside.

use std::collections::BTreeMap;

use windlass_edge_core::SourceId;
use windlass_edge_core::LoadRequest;
use windlass_edge_core::{
    CommitBatch, HeldEpoch, Loaded, Recovered, RecoveredTurbine, RowLevel, StoredRow, Tallies, Usage,
};
use windlass_shared::id::{Epoch, Seq, SeqRange, TurbineId};

/// Bytes that a row costs besides its record.
const ROW_OVERHEAD: u64 = 120;

/// One gateway's outbox.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    turbines: BTreeMap<TurbineId, Held>,
    positions: BTreeMap<SourceId, Vec<u8>>,
    clean: bool,
}

#[derive(Clone, Debug, Default)]
struct Held {
    /// In the order in which they began.
    epochs: Vec<HeldEpoch>,
    /// By (index of the epoch, seq): the order of commits.
    rows: BTreeMap<(usize, Seq), StoredRow>,
}

impl Held {
    fn index(&self, epoch: Epoch) -> Option<usize> {
        self.epochs.iter().position(|e| e.epoch == epoch)
    }
    fn range(&self, epoch: Epoch, seqs: SeqRange) -> Vec<(usize, Seq)> {
        let Some(i) = self.index(epoch) else { return Vec::new() };
        self.rows.range((i, seqs.first)..=(i, seqs.last)).map(|(k, _)| *k).collect()
    }
}

impl Disk {
    /// Executes a transaction; panics where the core broke the contract, since no store could execute it.
    pub fn commit(&mut self, batch: &CommitBatch) {
        for e in &batch.evictions {
            let held = self.turbines.entry(e.turbine.clone()).or_default();
            for key in held.range(e.epoch, e.seqs) {
                held.rows.remove(&key);
                held.epochs[key.0].rows -= 1;
            }
        }
        for c in &batch.levels {
            let held = self.turbines.entry(c.turbine.clone()).or_default();
            for key in held.range(c.epoch, c.seqs) {
                if let Some(row) = held.rows.get_mut(&key) {
                    row.level = if c.level == RowLevel::Unacked { c.level } else { row.level.max(c.level) };
                }
            }
        }
        for new in &batch.rows {
            let m = &new.meta;
            let held = self.turbines.entry(m.id.turbine.clone()).or_default();
            let i = held.index(m.id.epoch).unwrap_or_else(|| {
                held.epochs.push(HeldEpoch {
                    epoch: m.id.epoch,
                    rows: 0,
                    last_seq: Seq(0),
                    ceiling: m.ceiling,
                    frontier: m.frontier,
                    head: m.head,
                    whole: true,
                    missing: Vec::new(),
                });
                held.epochs.len() - 1
            });
            let e = &mut held.epochs[i];
            assert_eq!(m.id.seq, e.last_seq.next(), "seqs of {} are not consecutive", m.id);
            (e.last_seq, e.ceiling, e.frontier, e.head) = (m.id.seq, m.ceiling, m.frontier, m.head);
            e.rows += 1;
            let row = StoredRow { meta: m.clone(), level: RowLevel::Unacked, payload: new.payload.clone() };
            held.rows.insert((i, m.id.seq), row);
        }
        for (source, position) in &batch.positions {
            self.positions.insert(source.clone(), position.clone());
        }
        self.clean = batch.clean_stop;
    }

    /// What an agent finds at its start.
    pub fn recover(&self, free: u64) -> Recovered {
        Recovered {
            turbines: self
                .turbines
                .iter()
                .map(|(turbine, held)| RecoveredTurbine { turbine: turbine.clone(), epochs: held.epochs.clone() })
                .collect(),
            positions: self.positions.iter().map(|(s, p)| (s.clone(), p.clone())).collect(),
            usage: self.usage(free),
            clean: self.clean,
        }
    }

    /// Size and tallies.
    pub fn usage(&self, free: u64) -> Usage {
        let mut usage = Usage { used: 4096, reusable: 0, disk_free: free, turbines: Vec::new() };
        for (turbine, held) in &self.turbines {
            let mut tallies = Tallies::default();
            for row in held.rows.values() {
                let t = tallies.get_mut(row.level, row.meta.kind.class());
                t.rows += 1;
                t.bytes += row.meta.bytes;
                usage.used += row.meta.bytes + ROW_OVERHEAD;
            }
            usage.turbines.push((turbine.clone(), tallies));
        }
        usage
    }

    /// Answers a read.
    pub fn load(&self, request: &LoadRequest) -> Loaded {
        let empty = Held::default();
        match request {
            LoadRequest::Backlog { turbine, after, rows_max, bytes_max } => {
                let held = self.turbines.get(turbine).unwrap_or(&empty);
                let from = after.and_then(|(epoch, seq)| held.index(epoch).map(|i| (i, seq)));
                let mut rows: Vec<StoredRow> = Vec::new();
                let (mut bytes, mut end) = (0, true);
                for (key, row) in &held.rows {
                    if row.level != RowLevel::Unacked || from.is_some_and(|f| *key <= f) {
                        continue;
                    }
                    if rows.len() == *rows_max || (!rows.is_empty() && bytes + row.meta.bytes > *bytes_max) {
                        end = false;
                        break;
                    }
                    bytes += row.meta.bytes;
                    rows.push(row.clone());
                }
                Loaded::Backlog { turbine: turbine.clone(), rows, corrupt: Vec::new(), end }
            }
            LoadRequest::Evictable { turbine, level, class, bytes, rows_max, spare } => {
                let held = self.turbines.get(turbine).unwrap_or(&empty);
                let mut rows = Vec::new();
                let mut sum = 0;
                for row in held.rows.values() {
                    let fits = row.level == *level && row.meta.kind.class() == *class;
                    if !fits || spare.contains(&row.meta.id) {
                        continue;
                    }
                    if sum >= *bytes || rows.len() == *rows_max {
                        break;
                    }
                    sum += row.meta.bytes;
                    rows.push(row.meta.clone());
                }
                Loaded::Evictable { turbine: turbine.clone(), level: *level, class: *class, rows }
            }
            LoadRequest::Held { turbine, epoch, ranges } => {
                let held = self.turbines.get(turbine).unwrap_or(&empty);
                let mut runs: Vec<(SeqRange, RowLevel)> = Vec::new();
                for key in ranges.iter().flat_map(|r| held.range(*epoch, *r)) {
                    let level = held.rows[&key].level;
                    match runs.last_mut() {
                        Some((run, l)) if *l == level && run.last.next() == key.1 => run.last = key.1,
                        _ => runs.push((SeqRange::one(key.1), level)),
                    }
                }
                Loaded::Held { turbine: turbine.clone(), epoch: *epoch, ranges: ranges.clone(), held: runs }
            }
        }
    }

    /// Rows that still have to go up.
    pub fn unacked(&self) -> usize {
        self.turbines.values().flat_map(|h| h.rows.values()).filter(|r| r.level == RowLevel::Unacked).count()
    }

    /// All rows, in the order of commits per turbine.
    pub fn rows(&self) -> impl Iterator<Item = &StoredRow> {
        self.turbines.values().flat_map(|h| h.rows.values())
    }
}
