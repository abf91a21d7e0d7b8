//! What must be true, whatever happened: a ledger of everything that a disk ever held, and a naive recomputation.
//!
//! The oracle looks at durable bytes only (rows as committed, the log, committed outputs) and knows nothing of the code
//! under test but the wire format.

mod waited;

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};
use windlass_cloud_core::output::{DeadLetter, LogicChange, Reason, hex};
use windlass_cloud_core::topic::Topic;
use windlass_shared::id::{Epoch, RecordId, Seq, TurbineId};
use windlass_shared::record::{Batch, Body, Record};
use windlass_shared::time::{EventTime, MINUTE_US};
use windlass_shared::wire;

pub use waited::Waited;

use crate::cloud::Log;

/// The visible outputs of a partition, held against what is committed beside them: their hash, and one word for each
/// change of the logic.
pub fn check_outputs(log: &Log) -> Result<(), String> {
    let mut hash = [0_u8; 32];
    let mut said = Vec::new();
    for output in &log.outputs {
        let mut next = Sha256::new();
        next.update(hash);
        for part in [
            output.topic.as_str().as_bytes(),
            output.key.as_bytes(),
            &output.bytes,
        ] {
            next.update((part.len() as u64).to_le_bytes());
            next.update(part);
        }
        hash = next.finalize().into();
        if output.topic == Topic::DeadLetter {
            let letter = DeadLetter::decode(&output.bytes).map_err(|e| e.to_string())?;
            if letter.meta.reason == Reason::Logic {
                said.push(LogicChange::decode(&letter.bytes).map_err(|e| e.to_string())?);
            }
        }
    }
    let changes: Vec<LogicChange> = log
        .commits
        .windows(2)
        .filter(|w| w[0].progress.logic != w[1].progress.logic)
        .map(|w| LogicChange {
            from: w[0].progress.logic,
            to: w[1].progress.logic,
            position: w[0].position,
        })
        .collect();
    if said != changes {
        return Err(format!(
            "the logic changed {changes:?}, the outputs say {said:?}"
        ));
    }
    match log.commits.last() {
        Some(last) if last.progress.outputs != hex(&hash) => Err(format!(
            "the outputs up to {} have the hash {}, committed is {}",
            last.position,
            hex(&hash),
            last.progress.outputs
        )),
        _ => Ok(()),
    }
}

/// A record that was durable on a gateway.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its bytes.
    pub payload: std::sync::Arc<[u8]>,
    /// Decoded.
    pub record: Record,
    /// Its disk was replaced or rolled back while it was there.
    pub erased: bool,
}

/// Everything that was ever committed.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// By identity.
    pub entries: BTreeMap<RecordId, Entry>,
    /// Seqs that a committed Gap declares lost.
    pub gaps: BTreeSet<RecordId>,
    /// Turbines that gave a seq to readings that have no record.
    pub holes: BTreeSet<TurbineId>,
    /// Epochs that began on an empty disk before the end of what the turbine had told by then: nobody linked the two.
    back: BTreeSet<(TurbineId, Epoch)>,
    /// Greatest ceiling of each turbine so far.
    latest: BTreeMap<TurbineId, EventTime>,
    /// Batches with an on-time reading in a minute, by turbine and minute.
    minutes: BTreeMap<(TurbineId, EventTime), BTreeSet<RecordId>>,
}

/// On-time readings of a batch that are not suspect.
fn on_time(batch: &Batch) -> impl Iterator<Item = EventTime> + '_ {
    batch
        .blocks
        .iter()
        .filter(|b| !b.flags.late && !b.flags.suspect)
        .flat_map(|b| b.times.iter())
}

impl Ledger {
    /// A disk has made a row durable. One identity, one content, for ever.
    pub fn committed(
        &mut self,
        id: &RecordId,
        payload: &std::sync::Arc<[u8]>,
    ) -> Result<(), String> {
        let record = wire::decode(payload)
            .map_err(|e| format!("{id} was committed but does not decode: {e}"))?;
        if record.header.id != *id {
            return Err(format!(
                "{id} was committed with the bytes of {}",
                record.header.id
            ));
        }
        if let Some(before) = self.entries.get(id) {
            return Err(if before.payload == *payload {
                format!("{id} was committed twice")
            } else {
                format!("{id} was given to two different records")
            });
        }
        if let Body::Gap(gap) = &record.body {
            if self.hole(&record).is_some() {
                self.holes.insert(id.turbine.clone());
            }
            for range in &gap.ranges {
                for seq in range.seqs.first.0..=range.seqs.last.0 {
                    let id = RecordId {
                        turbine: id.turbine.clone(),
                        epoch: gap.epoch,
                        seq: Seq(seq),
                    };
                    self.gaps.insert(id);
                }
            }
        }
        let latest = self.latest.entry(id.turbine.clone()).or_default();
        if let Body::Open(open) = &record.body
            && open.predecessor.is_none()
            && *latest >= open.not_before
        {
            self.back.insert((id.turbine.clone(), id.epoch));
        }
        *latest = record.header.stamps.ceiling.max(*latest);
        if let Body::Batch(batch) = &record.body {
            for t in on_time(batch) {
                self.minutes
                    .entry((id.turbine.clone(), t.floor_to(MINUTE_US)))
                    .or_default()
                    .insert(id.clone());
            }
        }
        self.entries.insert(
            id.clone(),
            Entry {
                payload: payload.clone(),
                record,
                erased: false,
            },
        );
        Ok(())
    }

    /// The ceiling of a seq that has no record, which the record behind it declares.
    fn hole(&self, record: &Record) -> Option<EventTime> {
        let id = &record.header.id;
        let Body::Gap(gap) = &record.body else {
            return None;
        };
        let before = RecordId {
            seq: Seq(id.seq.0 - 1),
            ..id.clone()
        };
        let range = gap.ranges.iter().find(|r| r.seqs.contains(before.seq))?;
        let hole = gap.epoch == id.epoch && !self.entries.contains_key(&before);
        range.end.map(|(ceiling, _)| ceiling).filter(|_| hole)
    }

    /// Does this epoch go on before the end of the one before it: was the clock set back? Nobody can know of it until its
    /// Open arrives; windows that were exact by then are withdrawn.
    pub fn set_back(&self, turbine: &TurbineId, epoch: Epoch) -> bool {
        let open = RecordId {
            turbine: turbine.clone(),
            epoch,
            seq: Seq::FIRST,
        };
        let unlinked = self.back.contains(&(turbine.clone(), epoch));
        let told = self.entries.get(&open);
        unlinked
            || told.is_some_and(|e| match &e.record.body {
                Body::Open(o) => o
                    .predecessor
                    .as_ref()
                    .and_then(|p| p.ceiling)
                    .is_some_and(|c| c >= o.not_before),
                _ => false,
            })
    }

    /// The disk that held these is gone, and with a Gap the word of what had been evicted before.
    pub fn erased<'a>(&mut self, ids: impl Iterator<Item = &'a RecordId>) {
        for id in ids {
            let Some(e) = self.entries.get_mut(id) else {
                continue;
            };
            e.erased = true;
            let Body::Gap(gap) = &e.record.body else {
                continue;
            };
            let (epoch, ranges) = (gap.epoch, gap.ranges.clone());
            for seq in ranges.iter().flat_map(|r| r.seqs.first.0..=r.seqs.last.0) {
                let evicted = RecordId {
                    turbine: id.turbine.clone(),
                    epoch,
                    seq: Seq(seq),
                };
                if let Some(e) = self.entries.get_mut(&evicted) {
                    e.erased = true;
                }
            }
        }
    }

    /// The stamps of each epoch, held against their definitions over the committed sequence.
    pub fn check_stamps(&self) -> Result<(), String> {
        let mut by_epoch: BTreeMap<(&TurbineId, Epoch), Vec<&Record>> = BTreeMap::new();
        for (id, e) in &self.entries {
            by_epoch
                .entry((&id.turbine, id.epoch))
                .or_default()
                .push(&e.record);
        }
        for ((turbine, epoch), records) in by_epoch {
            let mut ceiling = EventTime::MIN;
            // least on-time reading of the records after this one, walking back
            let mut later = EventTime::MAX;
            for r in records.iter().rev() {
                if later < r.header.stamps.frontier {
                    return Err(format!(
                        "{}: a later record has a reading below its frontier",
                        r.header.id
                    ));
                }
                if let Body::Batch(b) = &r.body {
                    later = on_time(b).fold(later, EventTime::min);
                }
            }
            let mut frontier = EventTime::MIN;
            for r in records {
                let s = r.header.stamps;
                ceiling = self.hole(r).map_or(ceiling, |hole| hole.max(ceiling));
                if s.prev_ceiling != ceiling {
                    return Err(format!(
                        "{}: prev_ceiling is not the ceiling before",
                        r.header.id
                    ));
                }
                if let Body::Batch(b) = &r.body {
                    ceiling = on_time(b).fold(ceiling, EventTime::max);
                }
                if s.ceiling != ceiling || s.frontier < frontier {
                    return Err(format!(
                        "{turbine}/{epoch}: stamps of {} are wrong",
                        r.header.id.seq
                    ));
                }
                frontier = s.frontier;
            }
        }
        Ok(())
    }

    /// A record with an on-time reading in `[t0, t1)` that had not been applied, if there is one that the cloud could have
    /// known of. What died with a disk and left no trace at all in the cloud is nobody's to know: an epoch of which
    /// nothing came, or the end of an epoch behind the last record that came.
    pub fn missing_on_time(
        &self,
        turbine: &TurbineId,
        t0: EventTime,
        t1: EventTime,
        applied: &BTreeSet<RecordId>,
        excused: impl Fn(&RecordId) -> bool,
    ) -> Option<RecordId> {
        let minutes = self
            .minutes
            .range((turbine.clone(), t0)..(turbine.clone(), t1))
            .flat_map(|(_, ids)| ids);
        minutes.filter(|id| !applied.contains(id)).find_map(|id| {
            let traced = || {
                let last = RecordId {
                    seq: Seq(u64::MAX),
                    ..id.clone()
                };
                applied.range(id.clone()..=last).next().is_some()
            };
            ((!self.entries[id].erased || traced()) && !excused(id)).then(|| id.clone())
        })
    }

    /// For messages: each epoch's records, how many of them were applied or erased, and its Open.
    pub fn epochs(&self, turbine: &TurbineId, applied: &BTreeSet<RecordId>) -> String {
        let mut lines: BTreeMap<Epoch, (u64, u64, u64, String)> = BTreeMap::new();
        for (id, e) in self.entries.iter().filter(|(id, _)| id.turbine == *turbine) {
            let line = lines.entry(id.epoch).or_default();
            line.0 += 1;
            line.1 += u64::from(applied.contains(id));
            line.2 += u64::from(e.erased);
            if let Body::Open(open) = &e.record.body {
                line.3 = format!("{open:?}");
            }
        }
        lines
            .iter()
            .map(|(epoch, (n, applied, erased, open))| {
                format!("[{epoch}: {n} committed, {applied} applied, {erased} erased, {open}]")
            })
            .collect::<Vec<_>>()
            .join(" ")
    }
}
