//! Which seqs of a turbine are received, lost or unknown, and what follows for a window: `docs/ARCHITECTURE.md`,
//! "Completeness".
//!
//! Invariants: what it says depends only on the set of things seen, not on their order (contradictions and the memory
//! of recent hashes aside); its size depends on the number of holes, not on the number of records; a seq that was
//! received stays received, a seq that is lost becomes received when it turns up. Every limit is named here, and what
//! exceeds one is refused or coarsened and counted, so that a limit can cost exactness but never make a false claim.

mod check;
mod links;
mod ring;
mod segments;
mod verdict;
mod view;

use serde::{Deserialize, Serialize};

use crate::id::{Epoch, Seq, SeqRange};
use crate::record::{Body, Gap, Header, LossReason, Open, Record, RecordHash, Times};
use crate::time::{EventTime, MINUTE_US};
use links::Link;
pub use links::LinkFault;
use ring::Rings;
use segments::{Runs, Tag, tag};

/// Epochs of one turbine; a record of one more is refused. One restart a day for eleven years.
pub const EPOCHS_MAX: usize = 4_096;
/// Segments of one turbine (about 100 bytes each). Beyond it the oldest alternations of received and lost are folded
/// into one segment; where that does not help, a record that would make another hole is refused and stays unknown.
pub const SEGMENTS_MAX: usize = 8_192;
/// Greatest seq: far above what a gateway can number, so that arithmetic on seqs cannot overflow.
pub const SEQ_MAX: u64 = 1 << 62;
/// How many changes back [`Coverage::changed_since`] remembers one by one.
const CHANGES_KEPT: usize = 8;

/// What is known of one turbine's records.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// Sorted by epoch id.
    epochs: Vec<EpochState>,
    /// The walk of the rule, newest first; remade when an `Open` or a new epoch comes.
    chain: Vec<Link>,
    /// From this place in `chain` on, every epoch is whole and linked back to the turbine's first.
    whole_from: usize,
    faults: Vec<LinkFault>,
    rings: Rings,
    segments: usize,
    overflow: u64,
    generation: u64,
    /// Spans of event time in which verdicts may have changed, the newest last, one per generation.
    changes: Vec<(EventTime, EventTime)>,
}

/// One epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct EpochState {
    epoch: Epoch,
    open: Option<Opened>,
    /// What its successor says of its end, unless contradicted.
    end: Option<DeclaredEnd>,
    quarantined: bool,
    /// The greatest seq of it that can still come from the gateway's disk, by the word of the newest epoch's line.
    held_to: Option<Seq>,
    seqs: Seqs,
}

/// What an `Open` said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Opened {
    not_before: EventTime,
    oldest_held: Epoch,
    predecessor: Option<(Epoch, DeclaredEnd)>,
}

/// How an epoch ended, as its successor's `Open` declares.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct DeclaredEnd {
    last: Option<Seq>,
    ceiling: Option<EventTime>,
    head: Tag,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Seqs {
    /// Closed, and every seq up to the last was received: nothing else is worth keeping.
    Whole(Seq),
    /// Anything else.
    Runs(Box<Runs>),
}

/// What became of a record that came in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Receipt {
    /// First time: it counts.
    New,
    /// Seen before, and its bytes are the same.
    Duplicate,
    /// Seen before, but too long ago to compare bytes in memory.
    DuplicateUnverified,
    /// Seen before with other bytes: evidence of a broken or hostile gateway. The epoch is quarantined.
    Conflict,
    /// The epoch is quarantined because of an earlier conflict. The seq becomes lost with reason `Refused`.
    Quarantined,
    /// It contradicts what is known (stamps that go back, a chain that does not join, seq beyond the declared end): its seq
    /// becomes lost with reason `Refused`, its stamps are ignored. The text says which and how.
    Refused(String),
}

/// Seqs that are lost, as results quote them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Loss {
    /// Of which epoch.
    pub epoch: Epoch,
    /// Which seqs; `None`: an unknown number (the epoch's end or beginning is not known).
    pub seqs: Option<SeqRange>,
    /// Why; `None`: nobody said, for example a disk that was replaced.
    pub reason: Option<LossReason>,
}

/// What coverage says of a window.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Verdict {
    /// More on-time readings may come.
    Open,
    /// Nothing more will come; nothing on time is missing.
    Exact,
    /// Nothing more will come; these seqs may have held readings of it.
    WithLoss(Vec<Loss>),
}

/// A run of seqs, each received or lost, as an operator sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RunView {
    /// Its ends.
    pub seqs: SeqRange,
    /// The lost ones in it.
    pub lost: Vec<(SeqRange, LossReason)>,
}

/// One epoch, as an operator sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EpochView {
    /// Which.
    pub epoch: Epoch,
    /// Its runs in order.
    pub runs: Vec<RunView>,
    /// Its last seq, if a successor declared it.
    pub last_seq: Option<Seq>,
    /// Its `Open` was received.
    pub opened: bool,
    /// Conflicting bytes were seen.
    pub quarantined: bool,
}

impl Coverage {
    /// Takes a decoded record. On [`Receipt::New`] the record's own meaning (Open, Gap) is taken in as well.
    pub fn receive(&mut self, record: &Record, hash: &RecordHash) -> Receipt {
        let id = &record.header.id;
        if id.seq.0 == 0 || id.seq.0 > SEQ_MAX {
            self.overflow += 1;
            return Receipt::Refused(format!("seq {} is not in 1..={SEQ_MAX}", id.seq));
        }
        let Some(at) = self.find_or_insert(id.epoch) else {
            return Receipt::Refused(format!(
                "the turbine has {EPOCHS_MAX} epochs already, {} would be one more",
                id.epoch
            ));
        };
        if self.epochs[at].seqs.received(id.seq) {
            return self.seen_before(at, id.seq, hash);
        }
        if self.epochs[at].quarantined {
            self.lose(at, SeqRange::one(id.seq), LossReason::Refused);
            return Receipt::Quarantined;
        }
        if let Err(text) = self.epochs[at].check(record, hash) {
            self.lose(at, SeqRange::one(id.seq), LossReason::Refused);
            return Receipt::Refused(text);
        }
        if !self.make_room(at, id.seq, true) {
            self.overflow += 1;
            return Receipt::Refused(format!(
                "the turbine's coverage has {SEGMENTS_MAX} segments already; seq {} stays unknown",
                id.seq
            ));
        }
        self.insert(at, &record.header, hash);
        match &record.body {
            Body::Open(open) => self.opened(id.epoch, open),
            Body::Gap(gap) => self.gap(gap),
            Body::Batch(_) | Body::Seal(_) | Body::Untimed(_) => {}
        }
        Receipt::New
    }

    /// A seq whose bytes were refused before they reached the partition: lost with reason `Refused` unless received.
    pub fn refuse(&mut self, epoch: Epoch, seq: Seq) {
        if seq.0 == 0 || seq.0 > SEQ_MAX {
            self.overflow += 1;
        } else if let Some(at) = self.find_or_insert(epoch) {
            self.lose(at, SeqRange::one(seq), LossReason::Refused);
        }
    }

    /// Would `header` extend a run at its right end (the common case), rather than make or fill a hole?
    pub fn is_next(&self, header: &Header) -> bool {
        self.find(header.id.epoch)
            .is_some_and(|at| match &self.epochs[at].seqs {
                Seqs::Whole(_) => false,
                Seqs::Runs(runs) => runs.is_next(header.id.seq),
            })
    }

    /// The newest epoch: the one that no other names as predecessor.
    pub fn newest(&self) -> Option<Epoch> {
        self.chain.first().map(|link| self.epochs[link.at].epoch)
    }

    /// What is wrong with how the epochs hang together, for alarms: forks, contradicted ends, replaced disks.
    pub fn link_faults(&self) -> &[LinkFault] {
        &self.faults
    }

    /// How many records and marks were refused because a limit of this module was reached.
    pub fn overflow(&self) -> u64 {
        self.overflow
    }

    /// Counts up whenever a verdict on minute boundaries may have changed.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The span of event time outside of which no verdict on minute boundaries has changed since `generation`: a window
    /// `[t0, t1)` may have a new verdict only if `t1 > lo` and `t0 <= hi`. `None`: nothing changed.
    pub fn changed_since(&self, generation: u64) -> Option<(EventTime, EventTime)> {
        let n = usize::try_from(self.generation.saturating_sub(generation)).unwrap_or(usize::MAX);
        if n > self.changes.len() {
            return Some((EventTime::MIN, EventTime::MAX));
        }
        self.changes[self.changes.len() - n..]
            .iter()
            .copied()
            .reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    fn find(&self, epoch: Epoch) -> Option<usize> {
        // the newest epoch is the common case
        if let Some(link) = self.chain.first()
            && self.epochs[link.at].epoch == epoch
        {
            return Some(link.at);
        }
        self.epochs.binary_search_by_key(&epoch, |e| e.epoch).ok()
    }

    fn find_or_insert(&mut self, epoch: Epoch) -> Option<usize> {
        if let Some(at) = self.find(epoch) {
            return Some(at);
        }
        if self.epochs.len() >= EPOCHS_MAX {
            self.overflow += 1;
            return None;
        }
        let at = self.epochs.partition_point(|e| e.epoch < epoch);
        self.epochs.insert(
            at,
            EpochState {
                epoch,
                open: None,
                end: None,
                quarantined: false,
                held_to: None,
                seqs: Seqs::Runs(Box::default()),
            },
        );
        self.relink();
        Some(at)
    }

    fn seen_before(&mut self, at: usize, seq: Seq, hash: &RecordHash) -> Receipt {
        match self.rings.same(self.epochs[at].epoch, seq, hash) {
            Some(true) => Receipt::Duplicate,
            None => Receipt::DuplicateUnverified,
            Some(false) => {
                if !self.epochs[at].quarantined {
                    self.epochs[at].quarantined = true;
                    self.note_whole();
                    self.changed(EventTime::MIN, EventTime::MAX);
                }
                Receipt::Conflict
            }
        }
    }

    /// Takes in a checked record that was not received before.
    fn insert(&mut self, at: usize, header: &Header, hash: &RecordHash) {
        let e = &mut self.epochs[at];
        let Seqs::Runs(runs) = &mut e.seqs else {
            return; // a whole epoch has every seq up to its end, and `check` refuses those beyond
        };
        let last = e.end.as_ref().and_then(|end| end.last);
        let before = runs.len();
        let (lo, hi, extended) = runs.insert(header, hash, last);
        self.segments = self.segments + runs.len() - before;
        self.rings.put(e.epoch, header.id.seq, hash);
        if !extended || lo.floor_to(MINUTE_US) != hi.floor_to(MINUTE_US) {
            self.changed(lo, hi);
        }
        if let Some(last) = last
            && header.id.seq <= last
        {
            self.check_end(at);
        }
    }

    /// After a change below a declared end: contradicted, or whole?
    fn check_end(&mut self, at: usize) {
        let e = &mut self.epochs[at];
        let Seqs::Runs(runs) = &e.seqs else { return };
        if let Some(end) = &e.end
            && runs.contradicts(end)
        {
            self.relink();
        } else if self.shrink(at) {
            self.note_whole();
        }
    }

    /// An epoch that is closed and whole shrinks to its last seq.
    fn shrink(&mut self, at: usize) -> bool {
        let e = &mut self.epochs[at];
        if let Seqs::Runs(runs) = &e.seqs
            && let Some(last) = e.end.and_then(|end| end.last)
            && runs.is_whole(last)
            && !e.quarantined
        {
            self.segments -= runs.len();
            e.seqs = Seqs::Whole(last);
            return true;
        }
        false
    }

    fn opened(&mut self, epoch: Epoch, open: &Open) {
        if let Some(at) = self.find(epoch) {
            self.epochs[at].open = Some(Opened {
                not_before: open.not_before,
                oldest_held: open.oldest_held,
                predecessor: open.predecessor.as_ref().map(|p| {
                    let end = DeclaredEnd {
                        last: p.last_seq,
                        ceiling: p.ceiling,
                        head: tag(&p.head),
                    };
                    (p.epoch, end)
                }),
            });
        }
        let named = open.predecessor.as_ref().map(|p| p.epoch);
        for other in named.into_iter().chain([open.oldest_held]) {
            self.find_or_insert(other);
        }
        self.relink();
    }

    fn gap(&mut self, gap: &Gap) {
        let Some(at) = self.find_or_insert(gap.epoch) else {
            return;
        };
        for range in &gap.ranges {
            if let Some(seqs) = SeqRange::new(range.seqs.first.0, range.seqs.last.0.min(SEQ_MAX)) {
                self.lose(at, seqs, gap.reason);
            }
        }
    }

    /// Marks what of `range` is not received as lost.
    fn lose(&mut self, at: usize, range: SeqRange, reason: LossReason) {
        if !self.make_room(at, range.first, false) {
            self.overflow += 1;
            return;
        }
        let Seqs::Runs(runs) = &mut self.epochs[at].seqs else {
            return;
        };
        let before = runs.len();
        let change = runs.lose(range, reason);
        self.segments = self.segments + runs.len() - before;
        if let Some((lo, hi)) = change {
            self.changed(lo, hi);
        }
    }

    /// Is there room for the segments that receiving or losing `seq` may add? Folds old ones if need be.
    fn make_room(&mut self, at: usize, seq: Seq, received: bool) -> bool {
        if self.segments < SEGMENTS_MAX {
            return true;
        }
        let Seqs::Runs(runs) = &mut self.epochs[at].seqs else {
            return true;
        };
        if received && runs.joins(seq) {
            return true;
        }
        let before = runs.len();
        runs.fold();
        let after = runs.len();
        self.segments = self.segments + after - before;
        if after != before {
            self.changed(EventTime::MIN, EventTime::MAX);
        }
        self.segments < SEGMENTS_MAX
    }

    fn changed(&mut self, lo: EventTime, hi: EventTime) {
        self.generation += 1;
        if self.changes.len() == CHANGES_KEPT {
            self.changes.remove(0);
        }
        self.changes.push((lo, hi));
    }
}

impl Seqs {
    fn received(&self, seq: Seq) -> bool {
        match self {
            Self::Whole(last) => seq <= *last,
            Self::Runs(runs) => runs.received(seq),
        }
    }
}

/// First and last event time of a block that is not empty.
pub(crate) fn time_bounds(times: &Times) -> (EventTime, EventTime) {
    match times {
        Times::Regular { .. } => {
            let (a, b) = (times.at(0), times.at(times.len().saturating_sub(1)));
            (a.min(b), a.max(b))
        }
        Times::Listed(list) => list
            .iter()
            .fold((EventTime::MAX, EventTime::MIN), |(a, b), t| {
                (a.min(*t), b.max(*t))
            }),
    }
}
