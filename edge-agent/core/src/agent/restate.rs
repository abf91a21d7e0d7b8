//! Gaps about Gaps: a gateway that evicts for weeks without a link would fill its disk with the records that say so. When
//! they weigh too much, what the unacknowledged Gaps (and Seals) say is said again in fewer records, with neighbouring
//! ranges joined, and the old ones leave in the same transaction.
//!
//! Invariant: every seq that was declared lost stays declared lost by a record on disk, and so does each Gap or Seal that
//! leaves.

use std::collections::BTreeMap;

use windlass_shared::catalogue::Class;
use windlass_shared::id::{Epoch, SeqRange, TurbineId};
use windlass_shared::record::{Body, Gap, GapRange, LossReason};
use windlass_shared::wire;

use super::AgentCore;
use crate::output::{LoadRequest, Output};
use crate::store::{RowClass, RowLevel, StoredRow};

/// Rows restated at once.
const ROWS_MAX: usize = 512;
/// They weigh too much when they are more than one part in so many of what is unacknowledged.
const WEIGHT_PARTS: u64 = 4;
/// It is worth it when so many ranges become one, on average.
const JOINED_MIN: usize = 2;

impl AgentCore {
    /// Asks for the Gaps and Seals of a turbine that has too many. `nothing_else`: there is nothing else to evict.
    pub(super) fn ask_for_marks(&mut self, nothing_else: bool, out: &mut Vec<Output>) -> bool {
        let heavy = self.usage.turbines.iter().find(|(turbine, tallies)| {
            let marks = tallies.get(RowLevel::Unacked, RowClass::Mark);
            let all = tallies.level(RowLevel::Unacked);
            let tried = self.evictions.marks_at.get(turbine).copied().unwrap_or(0);
            let tier = (turbine.clone(), RowLevel::Unacked, RowClass::Mark);
            let asked = self.evictions.empty.contains(&tier);
            let heavy = marks.bytes * WEIGHT_PARTS > all.bytes && marks.bytes > 2 * tried;
            !asked && marks.rows > 2 && (heavy || nothing_else)
        });
        let Some((turbine, tallies)) = heavy else {
            return false;
        };
        let marks = tallies.get(RowLevel::Unacked, RowClass::Mark);
        self.evictions.marks_at.insert(turbine.clone(), marks.bytes);
        self.evictions.asked = true;
        out.push(Output::Load(LoadRequest::Marks {
            turbine: turbine.clone(),
            rows_max: ROWS_MAX,
        }));
        true
    }

    /// Says again what these rows say, if that takes much less.
    pub(super) fn marks(&mut self, turbine: TurbineId, rows: &[StoredRow]) {
        self.evictions.asked = false;
        let tier = (turbine.clone(), RowLevel::Unacked, RowClass::Mark);
        self.evictions.empty.insert(tier);
        let mut said_by = Said::new();
        let mut metas = Vec::new();
        for (row, ranges) in rows.iter().filter_map(|r| Some((r, said(r)?))) {
            metas.push(row.meta.clone());
            for (key, range) in ranges {
                said_by.entry(key).or_default().push(range);
            }
        }
        let before: usize = said_by.values().map(Vec::len).sum();
        let joined: BTreeMap<_, _> = said_by.into_iter().map(|(k, v)| (k, join(v))).collect();
        let after: usize = joined.values().map(Vec::len).sum();
        if after * JOINED_MIN > before {
            return;
        }
        let ranges_max = self.settings.recording.gap_ranges_max;
        if let Some(turbine) = self.turbines.get_mut(&turbine) {
            turbine.gaps.extend(gaps(&joined, ranges_max));
        }
        self.leave(turbine, RowLevel::Unacked, LossReason::Evicted, metas, true);
    }
}

/// Which epoch's seqs, and why they are lost.
type Subject = (Epoch, LossReason);
/// Lost seqs and the class of what they held.
type Range = (GapRange, Class);
type Said = BTreeMap<Subject, Vec<Range>>;

/// All that a row declares lost, itself included. `None`: it cannot be read back, and goes on saying what it says by
/// staying.
fn said(row: &StoredRow) -> Option<Vec<(Subject, Range)>> {
    let meta = &row.meta;
    let mut said = Vec::new();
    match wire::decode(&row.payload).ok()?.body {
        Body::Gap(gap) => {
            let ranges = gap.ranges.into_iter();
            said.extend(ranges.map(|r| ((gap.epoch, gap.reason), (r, gap.class))));
        }
        Body::Seal(_) => {}
        Body::Batch(_) | Body::Open(_) | Body::Untimed(_) => return None,
    }
    let own = GapRange {
        seqs: SeqRange::one(meta.id.seq),
        readings: Some(0),
        bounds: None,
        end: Some((meta.ceiling, meta.frontier)),
        heads: None,
    };
    said.push((
        (meta.id.epoch, LossReason::Evicted),
        (own, Class::Diagnostic),
    ));
    Some(said)
}

/// Sorts, and joins what touches or overlaps.
fn join(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort_by_key(|(r, _)| (r.seqs.first, r.seqs.last));
    let mut joined: Vec<Range> = Vec::new();
    for (range, class) in ranges {
        match joined.last_mut() {
            Some((last, c)) if range.seqs.first.0 <= last.seqs.last.0 + 1 => {
                // a seq that is declared twice has its readings in both: then nobody knows the sum
                let apart = range.seqs.first > last.seqs.last;
                last.readings = last
                    .readings
                    .zip(range.readings)
                    .map(|(a, b)| a + b)
                    .filter(|_| apart);
                last.bounds = match (last.bounds, range.bounds) {
                    (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
                    (a, b) => a.or(b),
                };
                if range.seqs.last >= last.seqs.last {
                    last.end = range.end;
                    last.seqs.last = range.seqs.last;
                }
                last.heads = None;
                *c = (*c).min(class);
            }
            _ => joined.push((range, class)),
        }
    }
    joined
}

fn gaps(said: &Said, ranges_max: usize) -> Vec<Gap> {
    let mut gaps = Vec::new();
    for ((epoch, reason), ranges) in said {
        for chunk in ranges.chunks(ranges_max.max(1)) {
            let classes = chunk.iter().map(|(_, class)| *class);
            gaps.push(Gap {
                epoch: *epoch,
                class: classes.min().unwrap_or(Class::Compliance),
                reason: *reason,
                ranges: chunk.iter().map(|(range, _)| range.clone()).collect(),
            });
        }
    }
    gaps
}
