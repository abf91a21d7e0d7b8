//! What waited for a clock on a gateway: every reading of it leaves with a number or as a declared loss, and none gets a time
//! twice, whatever disk comes back.

use std::collections::{BTreeMap, BTreeSet};

use windlass_edge_core::{CommitBatch, Eviction, MemoryStore, RowLevel, StoredRow};
use windlass_shared::id::{Epoch, RecordId, TurbineId};
use windlass_shared::record::{Batch, Body, Untimed};
use windlass_shared::wire;

/// Channel, raw value and time of a reading.
type Key = (u16, i64, i64);

/// How often a reading was recorded in a boot, and how often it got a time.
#[derive(Clone, Copy, Debug, Default)]
struct Often {
    recorded: u64,
    timed: u64,
}

/// Everything that ever waited.
#[derive(Clone, Debug, Default)]
pub struct Waited {
    readings: BTreeMap<(TurbineId, Epoch, Key), Often>,
}

impl Waited {
    /// These rows wait from now on.
    pub fn committed(&mut self, batch: &CommitBatch) -> Result<(), String> {
        for row in &batch.waiting {
            let record = wire::decode(&row.payload).map_err(|e| e.to_string())?;
            let Body::Untimed(u) = &record.body else {
                continue;
            };
            for (key, n) in counted(&u.batch) {
                self.often(&row.meta.id, key).recorded += n;
            }
        }
        Ok(())
    }

    fn often(&mut self, row: &RecordId, key: Key) -> &mut Often {
        let key = (row.turbine.clone(), row.epoch, key);
        self.readings.entry(key).or_default()
    }

    /// What leaves a journal has its number in the same transaction: each reading of it stands in a batch at the time that
    /// one of the gateway's clocks gave it, or in an untimed record as it was; or a Gap says that it is lost.
    pub fn leaves(
        &mut self,
        disk: &MemoryStore,
        batch: &CommitBatch,
        offsets: &BTreeSet<i64>,
    ) -> Result<(), String> {
        let leaving = leaving(disk, batch);
        if leaving.is_empty() {
            return Ok(());
        }
        let (mut timed, mut untimed, mut declared) = (BTreeMap::new(), BTreeMap::new(), 0);
        for row in batch.rows.iter().chain(&batch.waiting) {
            let record = wire::decode(&row.payload).map_err(|e| e.to_string())?;
            match &record.body {
                Body::Batch(b) => count(b, &mut timed),
                Body::Untimed(u) => count(&u.batch, &mut untimed),
                Body::Gap(gap) => {
                    declared += gap.ranges.iter().filter_map(|r| r.readings).sum::<u64>();
                }
                Body::Open(_) | Body::Seal(_) => {}
            }
        }
        let mut missing = 0;
        for (row, u) in leaving {
            for (key, n) in counted(&u.batch) {
                for _ in 0..n {
                    let at = |offset: &i64| (key.0, key.1, key.2 + offset);
                    if offsets.iter().map(at).any(|key| take(&mut timed, &key)) {
                        let often = self.often(&row, key);
                        often.timed += 1;
                        if often.timed > often.recorded {
                            return Err(format!(
                                "{row} gives channel {} the same reading a second time: it counts twice",
                                key.0
                            ));
                        }
                    } else if !take(&mut untimed, &key) {
                        missing += 1;
                    }
                }
            }
        }
        if missing > declared {
            return Err(format!(
                "{missing} readings leave a journal without a number, and {declared} are declared lost"
            ));
        }
        Ok(())
    }
}

/// Rows with readings that the batch takes out of journals.
fn leaving(disk: &MemoryStore, batch: &CommitBatch) -> Vec<(RecordId, Untimed)> {
    let leaves = |id: &RecordId| {
        let of = |e: &Eviction| {
            e.turbine == id.turbine && e.epoch == id.epoch && e.seqs.contains(id.seq)
        };
        batch.evictions.iter().any(of)
    };
    let waits = |r: &&StoredRow| r.level == RowLevel::Waiting && leaves(&r.meta.id);
    let rows = disk.rows().filter(waits);
    rows.filter_map(|row| match wire::decode(&row.payload).ok()?.body {
        Body::Untimed(u) => Some((row.meta.id.clone(), u)),
        _ => None,
    })
    .collect()
}

fn counted(batch: &Batch) -> BTreeMap<Key, u64> {
    let mut readings = BTreeMap::new();
    count(batch, &mut readings);
    readings
}

fn count(batch: &Batch, into: &mut BTreeMap<Key, u64>) {
    for block in &batch.blocks {
        for column in &block.columns {
            for (row, t) in block.times.iter().enumerate() {
                let raw = batch.raw[column.at as usize + row];
                *into.entry((column.channel.0, raw, t.0)).or_default() += 1;
            }
        }
    }
}

fn take(from: &mut BTreeMap<Key, u64>, key: &Key) -> bool {
    let Some(n) = from.get_mut(key).filter(|n| **n > 0) else {
        return false;
    };
    *n -= 1;
    true
}
