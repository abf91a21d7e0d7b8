//! Windows of one turbine: made of panes, settled by coverage, emitted as provisional, settled and revised results.
//!
//! Every window with at least one reading is emitted at least once. Windows that start before the *horizon* have left the
//! state: what still comes for them is emitted as a partial, to be merged by the reader with the last full revision.

use serde::{Deserialize, Serialize};

use crate::catalogue::Catalogue;
use crate::coverage::{Coverage, Loss};
use crate::id::{Epoch, Seq};
use crate::pane::{ChannelAggregate, Sources};
use crate::record::Batch;
use crate::time::{EventTime, LogTime};

/// The windows that are kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum WindowKind {
    /// One minute, tumbling.
    Minute,
    /// Five minutes, every minute.
    FiveMinutes,
    /// Ten minutes, tumbling: the SCADA record.
    TenMinutes,
}

impl WindowKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Minute, Self::FiveMinutes, Self::TenMinutes];
    /// Length in microseconds.
    pub fn len_us(self) -> i64 {
        crate::time::MINUTE_US
            * match self {
                Self::Minute => 1,
                Self::FiveMinutes => 5,
                Self::TenMinutes => 10,
            }
    }
    /// From one start to the next, in microseconds.
    pub fn hop_us(self) -> i64 {
        crate::time::MINUTE_US * if self == Self::TenMinutes { 10 } else { 1 }
    }
    /// `1m`, `5m`, `10m`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "1m",
            Self::FiveMinutes => "5m",
            Self::TenMinutes => "10m",
        }
    }
}

/// How final a result is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Status {
    /// More may come on time.
    Provisional,
    /// Settled and exact.
    Exact,
    /// Settled with recorded loss.
    WithLoss(Vec<Loss>),
}

/// One emission of one window.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WindowResult {
    /// Which window.
    pub kind: WindowKind,
    /// Where it starts.
    pub start: EventTime,
    /// 1 for the first emission, counting up; 0 for a partial.
    pub revision: u32,
    /// Only what came after the window had left the state: add it to the last full revision.
    pub partial: bool,
    /// How final.
    pub status: Status,
    /// From which records.
    pub sources: Sources,
    /// Readings in it that the gateway marked late.
    pub late: u64,
    /// One for each channel that had a reading, by channel id.
    pub channels: Vec<ChannelAggregate>,
}

/// Limits and waits; part of the logic, so the same on every replica.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WindowSettings {
    /// Log time to wait before an unsettled window is emitted as provisional, and between its re-emissions.
    pub settle_wait_us: i64,
    /// Open panes of a turbine; beyond it the oldest leave.
    pub open_panes_max: usize,
    /// Settled panes kept behind the newest settled window, so that late data revises instead of leaving partials.
    pub settled_panes_kept: usize,
}

impl Default for WindowSettings {
    fn default() -> Self {
        Self {
            settle_wait_us: 30 * crate::time::SECOND_US,
            open_panes_max: 1_500,
            settled_panes_kept: 2,
        }
    }
}

/// The windows of one turbine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Windows {}

impl Windows {
    /// Adds a new record's readings.
    pub fn add(
        &mut self,
        catalogue: &Catalogue,
        epoch: Epoch,
        seq: Seq,
        batch: &Batch,
        now: LogTime,
    ) {
        todo!("{catalogue:?} {epoch} {seq} {batch:?} {now:?}")
    }

    /// Emits what has become due: settled windows in the order of their end, then revisions, provisionals and partials.
    /// Call it after every record that may have changed coverage, and on ticks.
    pub fn poll(
        &mut self,
        settings: &WindowSettings,
        catalogue: &Catalogue,
        coverage: &Coverage,
        now: LogTime,
        out: &mut Vec<WindowResult>,
    ) {
        todo!("{settings:?} {catalogue:?} {coverage:?} {now:?} {out:?}")
    }
}
