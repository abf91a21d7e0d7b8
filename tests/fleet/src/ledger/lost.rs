//! Readings that left a small disk before anyone looked, by what their Gaps declare.
//!
//! Invariant: a seq is accounted for once, however often its loss is declared.

use std::collections::BTreeMap;

use windlass_shared::id::{Epoch, RecordId, Seq, TurbineId};
use windlass_shared::record::{Gap, GapRange, LossReason};

use super::outbox::Witness;

/// Readings in seqs that Gaps declare evicted, that no one saw in an outbox, and that never came (`came` says which did).
pub fn unwitnessed(
    witness: &Witness,
    gaps: &[(TurbineId, Gap)],
    came: impl Fn(&RecordId) -> bool,
) -> u64 {
    let mut ranges: BTreeMap<(&TurbineId, Epoch), Vec<&GapRange>> = BTreeMap::new();
    for (turbine, gap) in gaps {
        if gap.reason == LossReason::Evicted {
            ranges
                .entry((turbine, gap.epoch))
                .or_default()
                .extend(&gap.ranges);
        }
    }
    let mut all = 0;
    for ((turbine, epoch), mut ranges) in ranges {
        // A Gap may be restated by a longer one: the shorter ones say more exactly who lost what.
        ranges.sort_by_key(|r| r.seqs.len());
        let mut accounted: BTreeMap<Seq, u64> = BTreeMap::new();
        for range in ranges {
            let (mut known, mut rest) = (0, Vec::new());
            for seq in (range.seqs.first.0..=range.seqs.last.0).map(Seq) {
                let id = RecordId {
                    turbine: turbine.clone(),
                    epoch,
                    seq,
                };
                if let Some(committed) = witness.records.get(&id) {
                    known += committed.readings.len() as u64;
                } else if let Some(readings) = accounted.get(&seq) {
                    known += readings;
                } else if !came(&id) {
                    rest.push(seq);
                }
            }
            let gone = range.readings.unwrap_or(0).saturating_sub(known);
            for (i, seq) in rest.iter().enumerate() {
                // One number for all of them: it stands with the first.
                accounted.insert(*seq, if i == 0 { gone } else { 0 });
            }
            all += if rest.is_empty() { 0 } else { gone };
        }
    }
    all
}
