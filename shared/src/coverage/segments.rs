//! The seqs of one epoch as segments of received and of lost ones; what is between them is unknown.
//!
//! Invariants: segments are sorted and disjoint; adjacent received segments are one, and so are adjacent lost ones of
//! one reason. A lost segment has no stamps of its own: its bounds come from the received ones around it.

use serde::{Deserialize, Serialize};

use super::DeclaredEnd;
use crate::id::{Seq, SeqRange};
use crate::record::{Head, Header, LossReason, RecordHash, Stamps};
use crate::time::EventTime;
use crate::wire;

/// The first half of a chain head: enough to compare, since the whole stands in the next record's header.
pub(super) type Tag = [u8; 16];

pub(super) fn tag(head: &Head) -> Tag {
    let mut out = [0; 16];
    out.copy_from_slice(&head.0[..16]);
    out
}

/// All segments of an epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Runs(Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Segment {
    Received(Received),
    Lost {
        first: u64,
        last: u64,
        reason: LossReason,
    },
}

/// Received seqs without a break.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Received {
    pub(super) first: u64,
    pub(super) last: u64,
    /// Of `first`.
    pub(super) prev_ceiling: EventTime,
    /// Of `first`.
    pub(super) frontier_first: EventTime,
    /// Of `last`.
    pub(super) ceiling: EventTime,
    /// Of `last`.
    pub(super) frontier: EventTime,
    /// Before `first`.
    pub(super) head_before: Tag,
    /// After `last`.
    pub(super) head_after: Tag,
    /// Lost ones inside, whose exact places were given up because there were too many: they count as received for
    /// dedupe (a copy that still turns up is an unverified duplicate), and as lost for verdicts.
    folded: Option<Box<Folded>>,
}

/// What is left of many small losses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Folded {
    /// They lie in here.
    pub(super) seqs: SeqRange,
    /// No on-time reading of them is earlier.
    pub(super) lo: EventTime,
    /// None is later.
    pub(super) hi: EventTime,
    pub(super) reason: LossReason,
}

impl Folded {
    fn join(self, other: &Self) -> Self {
        Self {
            seqs: SeqRange {
                first: self.seqs.first.min(other.seqs.first),
                last: self.seqs.last.max(other.seqs.last),
            },
            lo: self.lo.min(other.lo),
            hi: self.hi.max(other.hi),
            reason: self.reason.min(other.reason),
        }
    }
}

impl Received {
    pub(super) fn folded(&self) -> Option<&Folded> {
        self.folded.as_deref()
    }

    /// Takes in what follows at once.
    fn append(&mut self, next: Self) {
        self.last = next.last;
        self.ceiling = next.ceiling;
        self.frontier = next.frontier;
        self.head_after = next.head_after;
        self.fold_in(next.folded);
    }

    fn fold_in(&mut self, other: Option<Box<Folded>>) {
        self.folded = match (self.folded.take(), other) {
            (Some(a), Some(b)) => Some(Box::new(a.join(&b))),
            (a, b) => a.or(b),
        };
    }
}

impl Segment {
    pub(super) fn first(&self) -> u64 {
        match self {
            Self::Received(r) => r.first,
            Self::Lost { first, .. } => *first,
        }
    }
    pub(super) fn last(&self) -> u64 {
        match self {
            Self::Received(r) => r.last,
            Self::Lost { last, .. } => *last,
        }
    }
    pub(super) fn as_received(&self) -> Option<&Received> {
        match self {
            Self::Received(r) => Some(r),
            Self::Lost { .. } => None,
        }
    }
    pub(super) fn range(&self) -> SeqRange {
        SeqRange {
            first: Seq(self.first()),
            last: Seq(self.last()),
        }
    }
}

impl Runs {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// The segment that holds `seq`, or the place where one would be.
    fn locate(&self, seq: u64) -> Result<usize, usize> {
        match self.0.last() {
            None => return Err(0),
            Some(s) if s.last() < seq => return Err(self.0.len()),
            Some(_) => {}
        }
        let i = self.0.partition_point(|s| s.last() < seq);
        if self.0[i].first() <= seq {
            Ok(i)
        } else {
            Err(i)
        }
    }

    pub(super) fn received(&self, seq: Seq) -> bool {
        self.locate(seq.0)
            .is_ok_and(|i| self.0[i].as_received().is_some())
    }

    /// Does `seq` follow a run's end, with nothing known right behind it?
    pub(super) fn is_next(&self, seq: Seq) -> bool {
        match self.locate(seq.0) {
            Ok(_) => false,
            Err(i) => {
                i > 0
                    && self.0[i - 1].last() + 1 == seq.0
                    && self.0.get(i).is_none_or(|s| s.first() > seq.0 + 1)
            }
        }
    }

    /// Would `seq` join on to a received segment, so that there are no more segments than before?
    pub(super) fn joins(&self, seq: Seq) -> bool {
        let seq = seq.0;
        let (before, after) = match self.locate(seq) {
            Ok(i) => (i, i + 1),
            Err(i) => (i, i),
        };
        let left = before
            .checked_sub(1)
            .and_then(|i| self.0[i].as_received())
            .is_some_and(|r| r.last + 1 == seq);
        let right = self
            .0
            .get(after)
            .and_then(Segment::as_received)
            .is_some_and(|r| r.first == seq + 1);
        left || right
    }

    /// The nearest received segments before place `i`, and from it on.
    fn neighbours(&self, i: usize, j: usize) -> (Option<&Received>, Option<&Received>) {
        (
            self.0[..i].iter().rev().find_map(Segment::as_received),
            self.0[j..].iter().find_map(Segment::as_received),
        )
    }

    pub(super) fn around(&self, seq: u64) -> (Option<&Received>, Option<&Received>) {
        match self.locate(seq) {
            Ok(i) => self.neighbours(i, i + 1),
            Err(i) => self.neighbours(i, i),
        }
    }

    /// Takes in a checked record that was not received. Returns the span of event time in which verdicts may change, and
    /// whether it only extended a run into the unknown (then the span is that of the frontier).
    pub(super) fn insert(
        &mut self,
        header: &Header,
        hash: &RecordHash,
        declared_last: Option<Seq>,
    ) -> (EventTime, EventTime, bool) {
        let seq = header.id.seq.0;
        let Stamps {
            ceiling,
            prev_ceiling,
            frontier,
        } = header.stamps;
        let head_after = tag(&wire::next_head(&header.prev_head, hash));
        let place = self.locate(seq);
        if let Err(i) = place
            && i > 0
            && self.0.get(i).is_none_or(|s| s.first() > seq + 1)
            && let Segment::Received(r) = &mut self.0[i - 1]
            && r.last + 1 == seq
        {
            let lo = r.frontier;
            r.last = seq;
            r.ceiling = ceiling;
            r.frontier = frontier;
            r.head_after = head_after;
            return if declared_last == Some(header.id.seq) {
                (lo, EventTime::MAX, false)
            } else {
                (lo, frontier, true)
            };
        }
        let (before, after) = self.around(seq);
        let lo = before.map_or(EventTime::MIN, |r| r.frontier);
        let hi = after.map_or(EventTime::MAX, |r| r.prev_ceiling);
        let new = Segment::Received(Received {
            first: seq,
            last: seq,
            prev_ceiling,
            frontier_first: frontier,
            ceiling,
            frontier,
            head_before: tag(&header.prev_head),
            head_after,
            folded: None,
        });
        let i = match place {
            Ok(i) => self.cut_out(i, seq),
            Err(i) => i,
        };
        self.0.insert(i, new);
        self.merge_at(i);
        (lo, hi, false)
    }

    /// Takes `seq` out of the lost segment `i`; returns the place that is free for it.
    fn cut_out(&mut self, i: usize, seq: u64) -> usize {
        let Segment::Lost {
            first,
            last,
            reason,
        } = self.0[i]
        else {
            return i;
        };
        let left = (first < seq).then(|| Segment::Lost {
            first,
            last: seq - 1,
            reason,
        });
        let right = (seq < last).then(|| Segment::Lost {
            first: seq + 1,
            last,
            reason,
        });
        let at = i + usize::from(left.is_some());
        self.0.splice(i..=i, left.into_iter().chain(right));
        at
    }

    /// Joins segment `i` with its neighbours where they are one.
    fn merge_at(&mut self, i: usize) {
        self.merge_pair(i);
        if i > 0 {
            self.merge_pair(i - 1);
        }
    }

    fn merge_pair(&mut self, i: usize) {
        let Some([a, b]) = self.0.get_mut(i..i + 2) else {
            return;
        };
        if a.last() + 1 != b.first() {
            return;
        }
        let joined = match (a, b) {
            (Segment::Received(a), Segment::Received(b)) => {
                a.append(b.clone());
                true
            }
            (
                Segment::Lost { last, reason, .. },
                Segment::Lost {
                    last: end,
                    reason: same,
                    ..
                },
            ) if reason == same => {
                *last = *end;
                true
            }
            _ => false,
        };
        if joined {
            self.0.remove(i + 1);
        }
    }

    /// Marks what of `range` is not received as lost; where it is lost already, the lesser reason stays. Returns the span
    /// of event time in which verdicts may change; `None`: nothing changed.
    pub(super) fn lose(
        &mut self,
        range: SeqRange,
        reason: LossReason,
    ) -> Option<(EventTime, EventTime)> {
        let (first, last) = (range.first.0, range.last.0);
        let from = self.0.partition_point(|s| s.last() < first);
        let to = self.0.partition_point(|s| s.first() <= last);
        let mut made: Vec<Segment> = Vec::new();
        let mut next = first;
        let mut changed = false;
        let lose = |made: &mut Vec<Segment>, first: u64, last: u64, reason| {
            if first <= last {
                made.push(Segment::Lost {
                    first,
                    last,
                    reason,
                });
            }
        };
        for old in &self.0[from..to] {
            changed |= next < old.first();
            lose(&mut made, next, old.first().saturating_sub(1), reason);
            next = old.last() + 1;
            match old {
                Segment::Lost {
                    first: a,
                    last: b,
                    reason: known,
                } if reason < *known => {
                    changed = true;
                    let (x, y) = ((*a).max(first), (*b).min(last));
                    lose(&mut made, *a, x.saturating_sub(1), *known);
                    lose(&mut made, x, y, reason);
                    lose(&mut made, y + 1, *b, *known);
                }
                other => made.push(other.clone()),
            }
        }
        changed |= next <= last;
        lose(&mut made, next, last, reason);
        if !changed {
            return None;
        }
        let (before, after) = self.neighbours(from, to);
        let span = (
            before.map_or(EventTime::MIN, |r| r.frontier),
            after.map_or(EventTime::MAX, |r| r.prev_ceiling),
        );
        let n = made.len();
        self.0.splice(from..to, made);
        for i in (from.saturating_sub(1)..=from + n).rev() {
            self.merge_pair(i);
        }
        Some(span)
    }

    /// Does what was received say otherwise than the declared end?
    pub(super) fn contradicts(&self, end: &DeclaredEnd) -> bool {
        let DeclaredEnd {
            last: Some(last),
            ceiling,
            head,
        } = *end
        else {
            return false;
        };
        let at = self.0.iter().rev().find_map(Segment::as_received);
        at.is_some_and(|r| {
            r.last > last.0
                || (r.last == last.0
                    && (r.head_after != head || ceiling.is_some_and(|c| c != r.ceiling)))
        })
    }

    /// Is every seq up to `last` received?
    pub(super) fn is_whole(&self, last: Seq) -> bool {
        matches!(&self.0[..], [Segment::Received(r)]
            if r.first == 1 && r.last == last.0 && r.folded.is_none())
    }

    /// Gives up the places of old small losses: chains of received, lost, received become one segment each, in the older
    /// half.
    pub(super) fn fold(&mut self) {
        let half = self.0.len().div_ceil(2);
        let rest = self.0.split_off(half);
        let mut out: Vec<Segment> = Vec::with_capacity(rest.len() + 16);
        for s in std::mem::take(&mut self.0) {
            out.push(s);
            while let Some(lost) = foldable(&out) {
                let Some(Segment::Received(right)) = out.pop() else {
                    break;
                };
                out.truncate(out.len() - lost.count);
                if let Some(Segment::Received(left)) = out.last_mut() {
                    left.append(right);
                    left.fold_in(Some(Box::new(lost.folded)));
                }
            }
        }
        out.extend(rest);
        self.0 = out;
    }
}

struct Foldable {
    count: usize,
    folded: Folded,
}

/// Does `out` end in received, lost (one or more), received, without a break?
fn foldable(out: &[Segment]) -> Option<Foldable> {
    let (Segment::Received(right), rest) = out.split_last()? else {
        return None;
    };
    let mut next = right.first;
    let mut found: Option<Foldable> = None;
    for s in rest.iter().rev() {
        if s.last() + 1 != next {
            return None;
        }
        match s {
            Segment::Lost { reason, first, .. } => {
                let folded = Folded {
                    seqs: s.range(),
                    lo: EventTime::MIN,
                    hi: right.prev_ceiling,
                    reason: *reason,
                };
                found = Some(match found {
                    None => Foldable { count: 1, folded },
                    Some(f) => Foldable {
                        count: f.count + 1,
                        folded: f.folded.join(&folded),
                    },
                });
                next = *first;
            }
            Segment::Received(left) => {
                return found.map(|mut f| {
                    f.folded.lo = left.frontier;
                    f
                });
            }
        }
    }
    None
}
