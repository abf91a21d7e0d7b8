//! Where the lake cuts its files, and which records it has not had before.
//!
//! Invariants: a cut's ends depend on the offsets, sizes and log times of the entries alone, never on when the lake ran;
//! with the state saved beside each committed cut, every reading is in exactly one cut.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use windlass_shared::catalogue::CatalogueHash;
use windlass_shared::coverage::Coverage;
use windlass_shared::id::{GatewayId, TurbineId};
use windlass_shared::record::{Record, RecordHash};
use windlass_shared::time::{LogTime, SECOND_US};
use windlass_shared::wire::{self, Control, Logged};

use crate::admit::{Admission, admit, stamps_max};
use crate::fleet::Fleet;
use crate::logtime::LogClock;
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
pub struct Cutter {
    settings: CutSettings,
    clock: LogClock,
    position: u64,
    open: Option<Open>,
}

/// The cut so far.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Open {
    cut: Cut,
    entries: u64,
    bytes: u64,
    slot: i64,
}

impl Cutter {
    /// Nothing taken yet.
    pub fn new(settings: CutSettings) -> Self {
        Self {
            settings,
            clock: LogClock::default(),
            position: 0,
            open: None,
        }
    }

    /// Does the open cut end before this entry?
    pub fn ends_before(&self, input: &LogInput) -> bool {
        let Some(open) = &self.open else { return false };
        let now = self.clock.clone().advance(input.log_time, input.writer);
        open.entries >= self.settings.entries_max
            || open.bytes.saturating_add(input.value.len() as u64) > self.settings.bytes_max
            || self.slot(now) != open.slot
    }

    /// Adds an entry to the open cut, and says its log time.
    ///
    /// # Panics
    /// When the offset is one that was taken before: going on would write its readings twice.
    pub fn take(&mut self, input: &LogInput) -> LogTime {
        assert!(
            input.offset >= self.position,
            "offset {} taken again, expected {} or later",
            input.offset,
            self.position
        );
        let now = self.clock.advance(input.log_time, input.writer);
        let slot = self.slot(now);
        let open = self.open.get_or_insert(Open {
            cut: Cut {
                first: input.offset,
                last: input.offset,
            },
            entries: 0,
            bytes: 0,
            slot,
        });
        open.cut.last = input.offset;
        open.entries += 1;
        open.bytes = open.bytes.saturating_add(input.value.len() as u64);
        self.position = input.offset + 1;
        now
    }

    fn slot(&self, now: LogTime) -> i64 {
        now.0.div_euclid(self.settings.every_us.max(1))
    }

    /// Ends the open cut; `None` when it is empty.
    pub fn close(&mut self) -> Option<Cut> {
        self.open.take().map(|o| o.cut)
    }

    /// Offset after the last entry taken.
    pub fn position(&self) -> u64 {
        self.position
    }
}

/// What an entry of the telemetry topic means to the lake.
#[derive(Clone, PartialEq, Debug)]
pub enum Taken {
    /// A record that counts, for the first time: its readings go to `readings` (late ones to `late` as well).
    Fresh {
        /// Who sent it.
        gateway: GatewayId,
        /// The record.
        record: Box<Record>,
        /// Of its bytes.
        hash: RecordHash,
        /// Its bytes.
        bytes: Arc<[u8]>,
    },
    /// A record that does not count, or not again; only `batches` has it.
    Not {
        /// Who sent it.
        gateway: GatewayId,
        /// The record.
        record: Box<Record>,
        /// Of its bytes.
        hash: RecordHash,
        /// Its bytes.
        bytes: Arc<[u8]>,
        /// `None`: a plain duplicate.
        reason: Option<Reason>,
    },
    /// A control entry.
    Control(Control),
    /// Bytes that cannot be read.
    Unreadable(String),
}

/// The same admission as the partition's, kept by the lake: one coverage for each turbine.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Dedupe {
    turbines: BTreeMap<TurbineId, History>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
struct History {
    coverage: Coverage,
    speaks: Option<CatalogueHash>,
}

impl Dedupe {
    /// Takes an entry of the telemetry topic; `log_time` as [`Cutter::take`] said.
    pub fn take(
        &mut self,
        fleet: &Fleet,
        skew_max_us: i64,
        input: &LogInput,
        log_time: LogTime,
    ) -> Taken {
        let (gateway, bytes) = match wire::decode_logged(input.value) {
            Ok(Logged::Telemetry { gateway, record }) => (gateway, record),
            Ok(Logged::Control(control)) => {
                if let Control::Refused(r) = &control {
                    let turbine = self.turbines.entry(r.id.turbine.clone()).or_default();
                    turbine.coverage.refuse(r.id.epoch, r.id.seq);
                }
                return Taken::Control(control);
            }
            Err(e) => return Taken::Unreadable(e.to_string()),
        };
        let record = match wire::decode(&bytes) {
            Ok(record) => Box::new(record),
            Err(e) => return Taken::Unreadable(e.to_string()),
        };
        let hash = wire::hash(&bytes);
        let turbine = self
            .turbines
            .entry(record.header.id.turbine.clone())
            .or_default();
        let limit = stamps_max(log_time, input.log_time, skew_max_us);
        let reason = match admit(
            &mut turbine.coverage,
            &mut turbine.speaks,
            fleet,
            &record,
            &hash,
            limit,
        ) {
            Admission::Counts => {
                return Taken::Fresh {
                    gateway,
                    record,
                    hash,
                    bytes: bytes.into(),
                };
            }
            Admission::Duplicate => None,
            Admission::Dead(reason, _) => Some(reason),
        };
        Taken::Not {
            gateway,
            record,
            hash,
            bytes: bytes.into(),
            reason,
        }
    }

    /// What is known of a turbine's records, for verdicts.
    pub fn coverage(&self, turbine: &TurbineId) -> Option<&Coverage> {
        self.turbines.get(turbine).map(|t| &t.coverage)
    }
}
