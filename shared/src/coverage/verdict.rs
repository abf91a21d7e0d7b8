//! What coverage says of a window: the rule of `docs/ARCHITECTURE.md`, "Completeness".
//!
//! Invariant: `Exact` is never said while a record that holds an on-time reading of the window may be missing.

use super::links::Link;
use super::segments::{Runs, Segment};
use super::{Coverage, EpochState, Loss, Seqs, Verdict};
use crate::id::{Seq, SeqRange};
use crate::record::LossReason;
use crate::time::EventTime;

impl Coverage {
    /// What is known of window `[t0, t1)`.
    pub fn verdict(&self, t0: EventTime, t1: EventTime) -> Verdict {
        let mut losses = Vec::new();
        if self.chain.is_empty() {
            return Verdict::Open;
        }
        for (i, link) in self.chain.iter().enumerate() {
            if i >= self.whole_from {
                break; // whole to the first: nothing can be missing
            }
            let e = &self.epochs[link.at];
            if !e.covers(i == 0, t0, t1, &mut losses) {
                if link.held && !e.drained() {
                    return Verdict::Open;
                }
                e.missing(t0, t1, &mut losses);
            }
            if e.open.is_none() {
                if link.held && !e.drained() {
                    return Verdict::Open;
                }
                // what came before it is not known
                let unknown = Loss {
                    epoch: e.epoch,
                    seqs: None,
                    reason: None,
                };
                if losses.last() != Some(&unknown) {
                    losses.push(unknown);
                }
                break;
            }
        }
        if losses.is_empty() {
            Verdict::Exact
        } else {
            Verdict::WithLoss(losses)
        }
    }

    /// Frontier of the last received record of the newest epoch's last run: how far the turbine's time has come.
    /// [`EventTime::MIN`] when nothing is known.
    pub fn frontier(&self) -> EventTime {
        self.chain
            .first()
            .and_then(|link| match &self.epochs[link.at].seqs {
                Seqs::Whole(_) => None,
                Seqs::Runs(runs) => runs.segments().iter().rev().find_map(Segment::as_received),
            })
            .map_or(EventTime::MIN, |r| r.frontier)
    }

    /// The time before which every window is settled and stays so, barring a clock that is set back: no on-time reading
    /// that is earlier can still come. [`EventTime::MIN`] when nothing is known.
    pub fn settled_until(&self) -> EventTime {
        let held = self.chain.iter().take_while(|link| link.held);
        let n = held.clone().count();
        held.enumerate()
            .map(|(i, link)| self.limit(link, i == 0))
            .min()
            .filter(|_| n > 0)
            .unwrap_or(EventTime::MIN)
    }

    /// No on-time reading of the epoch before this time can still come.
    fn limit(&self, link: &Link, newest: bool) -> EventTime {
        let e = &self.epochs[link.at];
        let Some(open) = &e.open else {
            return EventTime::MIN;
        };
        let last = e.end.as_ref().and_then(|end| end.last);
        if !newest && e.drained() {
            return EventTime::MAX;
        }
        match &e.seqs {
            Seqs::Whole(w) if !newest && last == Some(*w) => EventTime::MAX,
            Seqs::Whole(_) => open.not_before,
            Seqs::Runs(runs) => match runs.first_run() {
                Some((to, _)) if !newest && last.is_some_and(|last| last.0 <= to) => EventTime::MAX,
                Some((_, Some(frontier))) => frontier.max(open.not_before),
                _ => open.not_before,
            },
        }
    }
}

impl EpochState {
    /// Does the epoch cover `[t0, t1)`? If so, adds what is lost in the run that does.
    fn covers(&self, newest: bool, t0: EventTime, t1: EventTime, losses: &mut Vec<Loss>) -> bool {
        if self.open.as_ref().is_some_and(|o| o.not_before >= t1) {
            return true;
        }
        if let Some(ceiling) = self.end.and_then(|end| end.ceiling)
            && ceiling < t0
            && !newest
        {
            return true;
        }
        if self.quarantined {
            losses.push(Loss {
                epoch: self.epoch,
                seqs: None,
                reason: Some(LossReason::Refused),
            });
        }
        let last = self.end.and_then(|end| end.last).filter(|_| !newest);
        let runs = match &self.seqs {
            Seqs::Whole(whole) => return last == Some(*whole),
            Seqs::Runs(runs) => runs,
        };
        let Some(run) = runs.covering(last, t0, t1) else {
            return false;
        };
        self.lost_in(run, t0, t1, losses);
        true
    }

    /// All that the gateway's disk holds of it is here, or known to be lost: nothing more can come.
    fn drained(&self) -> bool {
        let Some(last) = self.held_to else {
            return false;
        };
        match &self.seqs {
            Seqs::Whole(whole) => *whole >= last,
            Seqs::Runs(runs) => runs.first_run().is_some_and(|(to, _)| to >= last.0),
        }
    }

    /// Adds the lost seqs of `run` that may hold on-time readings of the window: those lie between the frontier of the
    /// received record before and the `prev_ceiling` of the one after.
    fn lost_in(&self, run: &[Segment], t0: EventTime, t1: EventTime, losses: &mut Vec<Loss>) {
        let from = losses.len();
        for (i, s) in run.iter().enumerate().rev() {
            match s {
                Segment::Received(r) => {
                    if let Some(f) = r.folded()
                        && f.lo < t1
                        && f.hi >= t0
                    {
                        losses.push(self.loss(f.seqs, Some(f.reason)));
                    }
                    if r.prev_ceiling < t0 {
                        break; // all before it lies before the window
                    }
                }
                Segment::Lost { reason, .. } => {
                    let before = run[..i].iter().rev().find_map(Segment::as_received);
                    if before.is_none_or(|r| r.frontier < t1) {
                        losses.push(self.loss(s.range(), Some(*reason)));
                    }
                }
            }
        }
        losses[from..].reverse();
    }

    /// Adds what is unknown or lost of an epoch that does not cover the window and never will.
    fn missing(&self, t0: EventTime, t1: EventTime, losses: &mut Vec<Loss>) {
        let from = losses.len();
        if let Seqs::Runs(runs) = &self.seqs {
            let declared = self.end.and_then(|end| end.last);
            let mut next = 1;
            let mut before = EventTime::MIN;
            let mut pending: Vec<Loss> = Vec::new();
            for s in runs.segments() {
                if let Some(hole) = SeqRange::new(next, s.first() - 1) {
                    pending.push(self.loss(hole, None));
                }
                next = s.last() + 1;
                match s {
                    Segment::Lost { reason, .. } => {
                        pending.push(self.loss(s.range(), Some(*reason)));
                    }
                    Segment::Received(r) => {
                        if before < t1 && r.prev_ceiling >= t0 {
                            losses.append(&mut pending);
                        }
                        pending.clear();
                        if let Some(f) = r.folded()
                            && f.lo < t1
                            && f.hi >= t0
                        {
                            losses.push(self.loss(f.seqs, Some(f.reason)));
                        }
                        before = r.frontier;
                    }
                }
            }
            if before < t1 {
                losses.append(&mut pending);
                match declared {
                    Some(last) => {
                        losses.extend(SeqRange::new(next, last.0).map(|r| self.loss(r, None)));
                    }
                    None => losses.push(Loss {
                        epoch: self.epoch,
                        seqs: None,
                        reason: None,
                    }),
                }
            }
        }
        if losses.len() == from {
            losses.push(Loss {
                epoch: self.epoch,
                seqs: None,
                reason: None,
            });
        }
    }

    fn loss(&self, seqs: SeqRange, reason: Option<LossReason>) -> Loss {
        Loss {
            epoch: self.epoch,
            seqs: Some(seqs),
            reason,
        }
    }
}

impl Runs {
    /// The run that covers `[t0, t1)`: on its left seq 1, or a record before which all on-time readings are earlier than
    /// the window; on its right a frontier at or past the window's end, or the epoch's last seq.
    fn covering(&self, last: Option<Seq>, t0: EventTime, t1: EventTime) -> Option<&[Segment]> {
        let segments = self.segments();
        let mut end = segments.len();
        while end > 0 {
            let mut start = end - 1;
            while start > 0 && segments[start - 1].last() + 1 == segments[start].first() {
                start -= 1;
            }
            let run = &segments[start..end];
            if let Some(right) = run.iter().rev().find_map(Segment::as_received) {
                let reaches = last.is_some_and(|last| run[run.len() - 1].last() >= last.0);
                if right.frontier < t1 && !reaches {
                    return None; // nor does any run before it
                }
                let left = run.iter().find_map(Segment::as_received);
                if run[0].first() == 1 || left.is_some_and(|r| r.prev_ceiling < t0) {
                    return Some(run);
                }
            }
            end = start;
        }
        None
    }

    /// Where the run from seq 1 ends, and the frontier of its last received record.
    fn first_run(&self) -> Option<(u64, Option<EventTime>)> {
        let mut next = 1;
        let mut frontier = None;
        for s in self.segments() {
            if s.first() != next {
                break;
            }
            next = s.last() + 1;
            frontier = s.as_received().map(|r| r.frontier).or(frontier);
        }
        (next > 1).then_some((next - 1, frontier))
    }
}
