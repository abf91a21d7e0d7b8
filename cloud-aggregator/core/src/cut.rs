//! Where the lake cuts its files, and which records it has not had before.
//!
//! Invariants: a cut's ends depend on the offsets, sizes and log times of the entries alone, never on when the lake ran;
//! with the state saved beside each committed cut, every reading is in exactly one cut.

use serde::{Deserialize, Serialize};
use windlass_shared::record::{Record, RecordHash};
use windlass_shared::time::{LogTime, SECOND_US};

use crate::fleet::Fleet;
use crate::output::Reason;
use crate::task::LogInput;

/// When a cut ends.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CutSettings {
    /// Entries in a cut.
    pub entries_max: u64,
    /// Bytes of entries in a cut (one larger entry has a cut of its own).
    pub bytes_max: u64,
    /// Log-time slots: a cut ends where a new slot begins, microseconds.
    pub every_us: i64,
}

impl Default for CutSettings {
    fn default() -> Self {
        Self {
            entries_max: 50_000,
            bytes_max: 64 * 1024 * 1024,
            every_us: 300 * SECOND_US,
        }
    }
}

/// The offsets of a cut, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cut {
    /// First entry.
    pub first: u64,
    /// Last entry.
    pub last: u64,
}

/// Decides where cuts end: for any topic.
/// For each entry: `if cutter.ends_before(&input) { cutter.close() .. write, commit with the state .. }`, then `take`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Cutter {}

impl Cutter {
    /// Nothing taken yet.
    pub fn new(settings: CutSettings) -> Self {
        todo!("{settings:?}")
    }

    /// Does the open cut end before this entry?
    pub fn ends_before(&self, input: &LogInput) -> bool {
        todo!("{input:?}")
    }

    /// Adds an entry to the open cut, and says its log time.
    pub fn take(&mut self, input: &LogInput) -> LogTime {
        todo!("{input:?}")
    }

    /// Ends the open cut; `None` when it is empty.
    pub fn close(&mut self) -> Option<Cut> {
        todo!()
    }

    /// Offset after the last entry taken.
    pub fn position(&self) -> u64 {
        todo!()
    }
}

/// What an entry of the telemetry topic means to the lake.
#[derive(Clone, PartialEq, Debug)]
pub enum Taken {
    /// A record that counts, for the first time: its readings go to `readings` (late ones to `late` as well).
    Fresh {
        /// The record.
        record: Box<Record>,
        /// Of its bytes.
        hash: RecordHash,
    },
    /// A record that does not count, or not again; only `batches` has it.
    Not {
        /// The record.
        record: Box<Record>,
        /// Of its bytes.
        hash: RecordHash,
        /// `None`: a plain duplicate.
        reason: Option<Reason>,
    },
    /// A control entry, or bytes that cannot be read.
    Other,
}

/// The same admission as the partition's, kept by the lake: one coverage for each turbine.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Dedupe {}

impl Dedupe {
    /// Takes an entry of the telemetry topic; `log_time` as [`Cutter::take`] said.
    pub fn take(
        &mut self,
        fleet: &Fleet,
        skew_max_us: i64,
        input: &LogInput,
        log_time: LogTime,
    ) -> Taken {
        todo!("{fleet:?} {skew_max_us} {input:?} {log_time:?}")
    }
}
