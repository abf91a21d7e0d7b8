//! What leaves the disk, and the Gap that says so.
//!
//! Invariant: a row that is not safe in the cloud leaves only in the transaction that commits a Gap about it.

use std::collections::{BTreeMap, BTreeSet};

use windlass_shared::catalogue::Class;
use windlass_shared::id::{RecordId, SeqRange, TurbineId};
use windlass_shared::record::{Gap, GapRange, LossReason};

use super::AgentCore;
use crate::budget::{Tier, excess, next_tier};
use crate::output::{AgentEvent, LoadRequest, Output};
use crate::store::{Eviction, RecoveredTurbine, RowLevel, RowMeta};
use crate::turbine::Turbine;

/// The state of evictions.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // they are independent of each other: sixteen states would say less
pub(super) struct Evictions {
    /// The tallies changed since the last look.
    check: bool,
    /// A transaction met a full disk.
    room_wanted: bool,
    /// The store has a question that it has not answered.
    pub asked: bool,
    /// Nothing else was left: take even what is on its way.
    spare_nothing: bool,
    /// Tiers that gave nothing since the tallies were taken.
    pub empty: BTreeSet<Tier>,
    /// Bytes of unacknowledged Gaps and Seals when they were last restated, or could not be.
    pub marks_at: BTreeMap<TurbineId, u64>,
    leaving: Vec<Leaving>,
}

impl Evictions {
    /// New tallies: look again.
    pub fn usage_changed(&mut self) {
        self.check = true;
        self.room_wanted = false;
        self.spare_nothing = false;
        self.empty.clear();
    }
    /// A transaction met a full disk.
    pub fn make_room(&mut self) {
        self.check = true;
        self.room_wanted = true;
        self.spare_nothing = false;
        self.empty.clear();
    }
    /// Does anything wait to leave?
    pub fn leaves_any(&self) -> bool {
        !self.leaving.is_empty()
    }
    pub fn take_leaving(&mut self) -> Vec<Leaving> {
        std::mem::take(&mut self.leaving)
    }
    /// Is this row about to leave?
    pub fn leaves(&self, id: &RecordId) -> bool {
        let of = self.leaving.iter().filter(|l| l.turbine == id.turbine);
        of.flat_map(|l| &l.rows).any(|r| r.id == *id)
    }
}

/// Rows of one turbine that leave for one reason.
#[derive(Debug)]
pub(crate) struct Leaving {
    pub turbine: TurbineId,
    level: RowLevel,
    reason: LossReason,
    rows: Vec<RowMeta>,
    /// What they said, and that they leave, is said anew by other Gaps.
    restated: bool,
}

impl Leaving {
    /// Rows in runs: one epoch, one class, seqs without a hole.
    fn runs(&self) -> impl Iterator<Item = &[RowMeta]> {
        self.rows.chunk_by(|a, b| {
            a.id.epoch == b.id.epoch
                && a.kind.class() == b.kind.class()
                && a.id.seq.next() == b.id.seq
        })
    }

    pub fn rows(&self) -> &[RowMeta] {
        &self.rows
    }

    pub fn evictions(&self) -> impl Iterator<Item = Eviction> {
        self.runs().filter_map(|run| {
            Some(Eviction {
                turbine: self.turbine.clone(),
                epoch: run.first()?.id.epoch,
                seqs: seqs(run)?,
            })
        })
    }

    /// The Gaps that say so; none for what is safe in the cloud.
    pub fn gaps(&self, ranges_max: usize) -> Vec<Gap> {
        let safe = self.level == RowLevel::Safe && self.reason == LossReason::Evicted;
        if safe || self.restated {
            return Vec::new();
        }
        let mut gaps: Vec<Gap> = Vec::new();
        for run in self.runs() {
            let (Some(range), Some(first)) = (range(run), run.first()) else {
                continue;
            };
            let class = first.kind.class().class();
            let fits = |g: &&mut Gap| {
                g.epoch == first.id.epoch && g.class == class && g.ranges.len() < ranges_max
            };
            match gaps.last_mut().filter(fits) {
                Some(gap) => gap.ranges.push(range),
                None => gaps.push(Gap {
                    epoch: first.id.epoch,
                    class,
                    reason: self.reason,
                    ranges: vec![range],
                }),
            }
        }
        gaps
    }

    pub fn report(&self, out: &mut Vec<Output>) {
        if self.restated {
            return;
        }
        for run in self.runs() {
            let (Some(first), Some(seqs)) = (run.first(), seqs(run)) else {
                continue;
            };
            out.push(Output::Event(AgentEvent::Evicted {
                turbine: self.turbine.clone(),
                epoch: first.id.epoch,
                seqs,
                class: first.kind.class(),
                level: self.level,
                readings: run.iter().map(|r| r.readings).sum(),
                reason: self.reason,
            }));
        }
    }
}

fn seqs(run: &[RowMeta]) -> Option<SeqRange> {
    SeqRange::new(run.first()?.id.seq.0, run.last()?.id.seq.0)
}

fn range(run: &[RowMeta]) -> Option<GapRange> {
    let (first, last) = (run.first()?, run.last()?);
    let bounds = || run.iter().filter_map(|r| r.bounds);
    Some(GapRange {
        seqs: seqs(run)?,
        readings: Some(run.iter().map(|r| r.readings).sum()),
        bounds: bounds().map(|b| b.0).min().zip(bounds().map(|b| b.1).max()),
        end: Some((last.ceiling, last.frontier)),
        // of a single record its neighbours tell
        heads: (run.len() > 1).then_some((first.prev_head, last.head)),
    })
}

/// A Gap about seqs of which nothing is known but that they are not here.
pub(super) fn unknown_gaps(
    epoch: windlass_shared::id::Epoch,
    reason: LossReason,
    ranges: &[SeqRange],
    ranges_max: usize,
) -> Vec<Gap> {
    let range = |seqs: &SeqRange| GapRange {
        seqs: *seqs,
        readings: None,
        bounds: None,
        end: None,
        heads: None,
    };
    ranges
        .chunks(ranges_max.max(1))
        .map(|chunk| Gap {
            epoch,
            class: Class::Compliance,
            reason,
            ranges: chunk.iter().map(range).collect(),
        })
        .collect()
}

/// What a damaged store lost of a turbine.
pub(super) fn corrupt_gaps(recovered: Option<&RecoveredTurbine>, ranges_max: usize) -> Vec<Gap> {
    let epochs = recovered.into_iter().flat_map(|t| &t.epochs);
    let journals = recovered.into_iter().flat_map(|t| &t.journals);
    let journals = journals.filter(|j| !j.whole).filter_map(|j| {
        // nobody knows which of its rows are gone because they have their place
        let seqs = SeqRange::new(1, j.last_seq.0)?;
        Some((windlass_shared::id::Epoch(j.boot.0), vec![seqs]))
    });
    epochs
        .map(|e| (e.epoch, e.missing.clone()))
        .chain(journals)
        .flat_map(|(epoch, lost)| unknown_gaps(epoch, LossReason::Corrupt, &lost, ranges_max))
        .collect()
}

impl AgentCore {
    pub(super) fn used(&mut self, usage: crate::store::Usage) {
        self.usage = usage;
        self.evictions.usage_changed();
    }

    /// Asks for rows to evict when there is too much.
    pub(super) fn ask_what_to_evict(&mut self, out: &mut Vec<Output>) {
        // with a commit under way the tallies are about to change; one that failed waits for room
        let waits = self.commits.is_idle() || self.commits.is_stalled();
        if !self.evictions.check || self.evictions.asked || !waits {
            return;
        }
        if !self.evictions.leaving.is_empty() || self.commits.gives_enough() {
            return;
        }
        let settings = self.settings.disk.clone();
        let room = if self.evictions.room_wanted {
            settings.room_bytes
        } else {
            0
        };
        let bytes = excess(&settings, &self.usage).max(room);
        if bytes == 0 {
            self.evictions.check = false;
            return;
        }
        let mut tier = next_tier(&self.usage, &self.evictions.empty);
        let nothing_acked = tier.as_ref().is_none_or(|t| t.1 <= RowLevel::Unacked);
        // what was said again in a commit that met a full disk is still there: not a third time
        let unsaid = self.commits.leaving().next().is_none();
        if nothing_acked && unsaid && self.ask_for_marks(tier.is_none(), out) {
            return;
        }
        if tier.is_none() && !self.evictions.spare_nothing {
            self.evictions.spare_nothing = true;
            self.evictions.empty.clear();
            tier = next_tier(&self.usage, &self.evictions.empty);
        }
        let Some((turbine, level, class)) = tier else {
            // nothing may leave: look again when the tallies change
            self.evictions.check = false;
            return;
        };
        self.evictions.asked = true;
        // the store still has, and names first, what a commit that met a full disk is to evict of this tier
        let leaving = self.commits.leaving_together();
        let leaving = leaving.filter(|l| l.turbine == turbine && l.level == level);
        let leaving = leaving.flat_map(Leaving::rows);
        let (rows_gone, bytes_gone) = leaving
            .filter(|r| r.kind.class() == class)
            .fold((0, 0), |(n, sum), r| (n + 1, sum + r.bytes));
        out.push(Output::Load(LoadRequest::Evictable {
            bytes: bytes + bytes_gone,
            rows_max: settings.evict_rows_max + rows_gone,
            turbine,
            level,
            class,
            spare: if self.evictions.spare_nothing {
                Vec::new()
            } else {
                self.forwarder.on_its_way()
            },
        }));
    }

    pub(super) fn evictable(&mut self, tier: Tier, mut rows: Vec<RowMeta>) {
        self.evictions.asked = false;
        // asked for again meanwhile: not safe any more
        let leaving: BTreeSet<_> = self.commits.leaving().map(|r| r.id.clone()).collect();
        let journal = self.turbines.get(&tier.0).map(|t| &t.journal);
        let placed = |r: &RowMeta| journal.is_some_and(|j| j.places(&r.id));
        rows.retain(|r| !self.answers.is_reset(&r.id) && !leaving.contains(&r.id) && !placed(r));
        if rows.is_empty() {
            self.evictions.empty.insert(tier);
            return;
        }
        let (turbine, level, _) = tier;
        self.leave(turbine, level, LossReason::Evicted, rows, false);
        // the next look is at the tallies after this one
        self.evictions.check = false;
    }

    pub(super) fn leave_corrupt(&mut self, turbine: &TurbineId, rows: Vec<RowMeta>) {
        if !rows.is_empty() {
            let level = RowLevel::Unacked;
            self.leave(turbine.clone(), level, LossReason::Corrupt, rows, false);
        }
    }

    pub(super) fn leave(
        &mut self,
        turbine: TurbineId,
        level: RowLevel,
        reason: LossReason,
        rows: Vec<RowMeta>,
        restated: bool,
    ) {
        let leaving = Leaving {
            turbine,
            level,
            reason,
            rows,
            restated,
        };
        for eviction in leaving.evictions() {
            self.forwarder
                .gone(&eviction.turbine, eviction.epoch, eviction.seqs);
        }
        self.evictions.leaving.push(leaving);
        if let Some(now) = self.clock {
            self.commits.wanted(now, true);
            self.commits.retry_now(now.mono);
        }
    }
}

impl Turbine {
    /// These rows are no longer on disk.
    pub(super) fn left(&mut self, leaving: &Leaving) {
        self.journal.left(leaving.rows());
        for row in leaving.rows() {
            if let Some(known) = self.known.iter_mut().find(|k| k.epoch == row.id.epoch) {
                known.rows = known.rows.saturating_sub(1);
            }
        }
    }

    /// This seq is durable.
    pub(super) fn durable(
        &mut self,
        epoch: windlass_shared::id::Epoch,
        seq: windlass_shared::id::Seq,
    ) {
        if let Some(known) = self.known.iter_mut().find(|k| k.epoch == epoch) {
            known.last = known.last.max(seq);
        }
    }
}
