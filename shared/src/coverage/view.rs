//! Coverage as an operator sees it, and what is to be asked for again.
//!
//! Invariant: a hole is a seq that is neither received nor lost, and that a later seq or a declared end says there is.

use super::segments::{Runs, Segment};
use super::{Coverage, EpochView, RunView, Seqs};
use crate::id::{Epoch, Seq, SeqRange};

impl Coverage {
    /// Seqs that are unknown between what is known: per epoch, oldest epoch first, at most `max` ranges in all.
    /// Of an epoch that is known by name only, as much as its successor declared, or its `Open`.
    pub fn holes(&self, max: usize) -> Vec<(Epoch, SeqRange)> {
        let mut out = Vec::new();
        for at in self.in_order() {
            let e = &self.epochs[at];
            if let Seqs::Runs(runs) = &e.seqs {
                let last = e.end.as_ref().and_then(|end| end.last);
                runs.holes(last, |range| {
                    let room = out.len() < max;
                    if room {
                        out.push((e.epoch, range));
                    }
                    room
                });
            }
        }
        out
    }

    /// All epochs, oldest first; those that no `Open` places come before the others.
    pub fn epochs(&self) -> Vec<EpochView> {
        self.in_order()
            .map(|at| {
                let e = &self.epochs[at];
                EpochView {
                    epoch: e.epoch,
                    runs: match &e.seqs {
                        Seqs::Whole(last) => SeqRange::new(1, last.0)
                            .map(|seqs| RunView {
                                seqs,
                                lost: Vec::new(),
                            })
                            .into_iter()
                            .collect(),
                        Seqs::Runs(runs) => runs.views(),
                    },
                    last_seq: e.end.as_ref().and_then(|end| end.last),
                    opened: e.open.is_some(),
                    quarantined: e.quarantined,
                }
            })
            .collect()
    }
}

impl Runs {
    /// Unknown seqs before the first segment, between segments, and up to a declared end. Stops when `take` says so.
    pub(super) fn holes(&self, declared: Option<Seq>, mut take: impl FnMut(SeqRange) -> bool) {
        let mut next = 1;
        for s in self.segments() {
            if let Some(hole) = SeqRange::new(next, s.first() - 1)
                && !take(hole)
            {
                return;
            }
            next = s.last() + 1;
        }
        let end = declared.map_or(u64::from(self.segments().is_empty()), |last| last.0);
        if let Some(hole) = SeqRange::new(next, end) {
            take(hole);
        }
    }

    pub(super) fn views(&self) -> Vec<RunView> {
        let mut out: Vec<RunView> = Vec::new();
        for s in self.segments() {
            match out.last_mut() {
                Some(run) if run.seqs.last.0 + 1 == s.first() => run.seqs.last = Seq(s.last()),
                _ => out.push(RunView {
                    seqs: s.range(),
                    lost: Vec::new(),
                }),
            }
            if let Some(run) = out.last_mut() {
                match s {
                    Segment::Lost { reason, .. } => run.lost.push((s.range(), *reason)),
                    Segment::Received(r) => {
                        run.lost.extend(r.folded().map(|f| (f.seqs, f.reason)));
                    }
                }
            }
        }
        out
    }
}
