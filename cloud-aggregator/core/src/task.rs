//! The task of one partition: a pure state machine from the telemetry topic to everything derived from it.
//!
//! Invariants: outputs are a function of the entries from offset 0 on, for one [`LOGIC_VERSION`]; nothing depends on where
//! a transaction ends or a snapshot was taken; the only clock is log time.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use windlass_shared::time::{LogTime, SECOND_US, WallTime};
use windlass_shared::window::WindowSettings;

use crate::fleet::Fleet;
use crate::topic::Topic;

/// Version of the logic: another number may give other bytes for the same log.
pub const LOGIC_VERSION: u32 = 1;

/// One entry of the telemetry topic as it lies in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogInput<'a> {
    /// Its offset in the partition.
    pub offset: u64,
    /// Append time as the writer stamped it.
    pub log_time: WallTime,
    /// Which writer (process) appended it.
    pub writer: u32,
    /// Its key: the turbine, or empty for entries of the whole partition.
    pub key: &'a str,
    /// Its bytes: `Logged`.
    pub value: &'a [u8],
}

/// One entry to append to another topic, same partition number unless it is [`Topic::Downlink`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TaskOutput {
    /// Where to.
    pub topic: Topic,
    /// The turbine; for [`Topic::Downlink`] the gateway.
    pub key: String,
    /// See the topic.
    pub bytes: Vec<u8>,
}

/// Limits and waits that are part of the logic.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TaskSettings {
    /// Windows.
    pub windows: WindowSettings,
    /// Stamps may be ahead of log time by this much, microseconds.
    pub skew_max_us: i64,
    /// A hole is asked for after this much log time without progress, microseconds; then after twice that, and so on.
    pub resend_wait_us: i64,
    /// Longest such wait, microseconds.
    pub resend_wait_max_us: i64,
    /// Ranges in one request.
    pub resend_ranges_max: usize,
    /// Log time between two status documents of one turbine, microseconds.
    pub status_every_us: i64,
}

impl Default for TaskSettings {
    fn default() -> Self {
        Self {
            windows: WindowSettings::default(),
            skew_max_us: 300 * SECOND_US,
            resend_wait_us: 60 * SECOND_US,
            resend_wait_max_us: 3_600 * SECOND_US,
            resend_ranges_max: 16,
            status_every_us: SECOND_US / 5,
        }
    }
}

/// Why a snapshot is not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RestoreError {
    /// Not a snapshot, or cut short, or damaged: use an older one.
    #[error("the snapshot is damaged ({0}): an older one and the log give the same state")]
    Damaged(String),
    /// Made by another layout of the state: use the version that made it, or replay from the start.
    #[error(
        "the snapshot has layout {found}, this version reads {expected}: replay from an older position or the start"
    )]
    Layout {
        /// In the snapshot.
        found: u16,
        /// What this code reads.
        expected: u16,
    },
}

/// The state of one partition.
#[derive(Clone, Debug)]
pub struct Partition {}

impl Partition {
    /// Before the first entry.
    pub fn new(settings: Arc<TaskSettings>, fleet: Arc<Fleet>) -> Self {
        todo!("{settings:?} {fleet:?}")
    }

    /// Takes the next entry and appends what follows from it to `out`.
    pub fn apply(&mut self, input: &LogInput, out: &mut Vec<TaskOutput>) {
        todo!("{input:?} {out:?}")
    }

    /// SHA-256 chain over all outputs so far.
    pub fn output_hash(&self) -> [u8; 32] {
        todo!()
    }

    /// Offset of the next entry to apply.
    pub fn position(&self) -> u64 {
        todo!()
    }

    /// Log time after the last entry.
    pub fn log_time(&self) -> LogTime {
        todo!()
    }

    /// Version and text of the detector configuration in force; `None`: none yet. When the file's differs, append a
    /// `Logged::DetectorConfig` to each partition.
    pub fn detectors(&self) -> Option<(u64, &str)> {
        todo!()
    }

    /// The settings in force (a restored state keeps the ones it was made with until [`Partition::adopt`]).
    pub fn settings(&self) -> &TaskSettings {
        todo!()
    }

    /// Takes new settings and the fleet's present farms into force, and says whether anything changed. Call it after
    /// recovery has caught up; when it says true, write a snapshot before the next output is committed, so that no replay
    /// ever spans the change.
    pub fn adopt(&mut self, settings: Arc<TaskSettings>, fleet: Arc<Fleet>) -> bool {
        todo!("{settings:?} {fleet:?}")
    }

    /// The state as bytes. A clone is cheap: clone, and serialise the clone off-thread.
    pub fn snapshot(&self) -> Vec<u8> {
        todo!()
    }

    /// The state from [`Partition::snapshot`]'s bytes.
    pub fn restore(bytes: &[u8], fleet: Arc<Fleet>) -> Result<Self, RestoreError> {
        todo!("{bytes:?} {fleet:?}")
    }
}
