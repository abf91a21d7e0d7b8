//! Which seqs of a turbine are received, lost or unknown, and what follows for a window: `docs/ARCHITECTURE.md`,
//! "Completeness".
//!
//! Invariants: the state depends only on the set of things seen, not on their order (contradictions aside); its size
//! depends on the number of holes, not on the number of records.

use serde::{Deserialize, Serialize};

use crate::id::{Epoch, Seq, SeqRange};
use crate::record::{Header, LossReason, Record, RecordHash};
use crate::time::EventTime;

/// What is known of one turbine's records.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Coverage {}

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
    /// The epoch is quarantined because of an earlier conflict.
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
        todo!("{record:?} {hash:?}")
    }

    /// A seq whose bytes were refused before they reached the partition: lost with reason `Refused` unless received.
    pub fn refuse(&mut self, epoch: Epoch, seq: Seq) {
        todo!("{epoch} {seq}")
    }

    /// What is known of window `[t0, t1)`.
    pub fn verdict(&self, t0: EventTime, t1: EventTime) -> Verdict {
        todo!("{t0:?} {t1:?}")
    }

    /// Frontier of the last received record of the newest epoch's last run: how far the turbine's time has come.
    /// [`EventTime::MIN`] when nothing is known.
    pub fn frontier(&self) -> EventTime {
        todo!()
    }

    /// Would `header` extend a run at its right end (the common case), rather than make or fill a hole?
    pub fn is_next(&self, header: &Header) -> bool {
        todo!("{header:?}")
    }

    /// Seqs that are unknown between what is known: per epoch, in order, at most `max` ranges in all.
    pub fn holes(&self, max: usize) -> Vec<(Epoch, SeqRange)> {
        todo!("{max}")
    }

    /// All epochs, oldest first.
    pub fn epochs(&self) -> Vec<EpochView> {
        todo!()
    }
}
