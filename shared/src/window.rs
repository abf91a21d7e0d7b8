//! Windows of one turbine: made of panes, settled by coverage, emitted as provisional, settled and revised results.
//!
//! Every window with at least one reading is emitted at least once. Windows that start before the *horizon* have left the
//! state: what still comes for them is emitted as a partial, to be merged by the reader with the last full revision.

mod emit;
mod store;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::catalogue::Catalogue;
use crate::coverage::{Loss, Verdict};
use crate::id::{Epoch, Seq};
use crate::pane::{Added, ChannelAggregate, Sources, by_minute, merge_channels};
use crate::record::Batch;
use crate::time::{EventTime, LogTime};
use store::Panes;

/// Minutes with late readings for windows that have left, kept before their partials are emitted.
const DELTA_PANES_MAX: usize = 32;
/// Windows that left unsettled and are remembered, to say once that they have settled.
const LEFT_MAX: usize = 4_096;

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
    /// The starts of the windows of this kind that hold the minute at `minute`, earliest first.
    pub fn starts_over(self, minute: EventTime) -> impl Iterator<Item = EventTime> {
        let last = minute.floor_to(self.hop_us());
        let n = self.len_us() / self.hop_us();
        (0..n).rev().map(move |i| last.plus_us(-i * self.hop_us()))
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
    /// Open panes of a turbine; beyond it the oldest leave, if they also weigh more than `open_bytes_max`.
    pub open_panes_max: usize,
    /// Memory of open panes, bytes: months of a few slow channels fit, days of a full catalogue.
    pub open_bytes_max: usize,
    /// Settled panes kept behind the newest settled window, so that late data revises instead of leaving partials.
    pub settled_panes_kept: usize,
}

impl Default for WindowSettings {
    fn default() -> Self {
        Self {
            settle_wait_us: 30 * crate::time::SECOND_US,
            open_panes_max: 1_500,
            open_bytes_max: 8 << 20,
            settled_panes_kept: 2,
        }
    }
}

/// The windows of one turbine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Windows {
    /// Minutes at or after the horizon.
    panes: Panes,
    /// What came for windows that have left, by minute, since their last partial.
    deltas: Panes,
    /// Windows that start before it have left.
    horizon: EventTime,
    /// Windows with at least one reading that have not left.
    open: BTreeMap<Key, Entry>,
    /// Windows that left as provisional.
    left: BTreeSet<Key>,
    /// Minutes whose windows must be looked at in the next poll.
    touched: Vec<EventTime>,
    /// Coverage generation at the last poll.
    seen: u64,
    /// When something may become due although nothing comes in.
    due: LogTime,
}

/// Start and kind of a window.
type Key = (EventTime, WindowKind);

/// What was said of a window, and what is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Entry {
    /// Of the last emission; 0: none.
    revision: u32,
    /// Content version of the last emission.
    content: u64,
    /// When that was.
    emitted_at: LogTime,
    /// Log time of its first reading.
    first_seen: LogTime,
    /// What coverage says; `None`: not asked yet.
    verdict: Option<Verdict>,
    /// What the last emission said.
    said: Option<Verdict>,
}

impl Default for Windows {
    fn default() -> Self {
        Self {
            panes: Panes::default(),
            deltas: Panes::default(),
            horizon: EventTime::MIN,
            open: BTreeMap::new(),
            left: BTreeSet::new(),
            touched: Vec::new(),
            seen: 0,
            due: LogTime::MAX,
        }
    }
}

impl Windows {
    /// Adds a new record's readings.
    pub fn add(
        &mut self,
        catalogue: &Catalogue,
        epoch: Epoch,
        seq: Seq,
        batch: &Batch,
        now: LogTime,
    ) -> Added {
        let mut added = Added::default();
        for block in &batch.blocks {
            if block.flags.suspect {
                added.suspect += (block.times.len() * block.columns.len()) as u64;
                continue;
            }
            by_minute(&block.times, |minute, rows| {
                let mut once = Added::default();
                if minute >= self.horizon {
                    let (done, touched) = self.panes.add(minute, now, |pane| {
                        pane.add_rows(catalogue, epoch, seq, batch, block, rows.clone())
                    });
                    once = done;
                    if touched {
                        self.touched.push(minute);
                    }
                }
                if earliest_over(minute) < self.horizon {
                    let (done, touched) = self.deltas.add(minute, now, |pane| {
                        pane.add_rows(catalogue, epoch, seq, batch, block, rows)
                    });
                    once = done;
                    if touched {
                        self.due = now;
                    }
                }
                added.join(once);
            });
        }
        added
    }

    /// When the next [`Windows::poll`] may have something to say although no record came; [`LogTime::MAX`]: never.
    pub fn next_deadline(&self) -> LogTime {
        self.due
    }

    /// Windows that start before it have left the state; what still comes for them is emitted as partials.
    pub fn horizon(&self) -> EventTime {
        self.horizon
    }

    /// Memory held by panes, in bytes.
    pub fn pane_bytes(&self) -> usize {
        self.panes.bytes() + self.deltas.bytes()
    }

    /// Panes in memory.
    pub fn open_panes(&self) -> usize {
        self.panes.len() + self.deltas.len()
    }
}

/// Start of the earliest window that holds the minute.
fn earliest_over(minute: EventTime) -> EventTime {
    WindowKind::ALL
        .into_iter()
        .filter_map(|kind| kind.starts_over(minute).next())
        .min()
        .unwrap_or(minute)
}

impl WindowResult {
    /// Takes in what was emitted later for the same window: a full revision replaces what is here, a partial is added.
    /// The result of a window is its last full revision with all later partials; feed them in the order of emission.
    pub fn absorb(&mut self, later: Self, catalogue: &Catalogue) {
        if !later.partial {
            if later.revision > self.revision {
                *self = later;
            }
            return;
        }
        self.status = later.status;
        self.late += later.late;
        self.sources.merge(&later.sources);
        merge_channels(&mut self.channels, later.channels, catalogue);
    }
}
