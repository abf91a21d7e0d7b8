//! A row of `features` as it is read back, or made of an entry of the log that the lake does not have yet.
//!
//! Invariant: both ways give the same row, because both go through what the table's writer computes.

use arrow_array::types::{Float64Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{
    Array, BooleanArray, Float64Array, RecordBatch, TimestampMicrosecondArray, UInt16Array,
    UInt32Array, UInt64Array,
};
use windlass_cloud_core::fleet::Fleet;
use windlass_cloud_core::output::FeatureRow;
use windlass_shared::catalogue::CatalogueHash;
use windlass_shared::coverage::Loss;
use windlass_shared::id::ChannelId;
use windlass_shared::pane::Sources;
use windlass_shared::time::{EventTime, LogTime};
use windlass_shared::window::{Status, WindowKind};

use super::LakeError;
use super::derived::Placed;
use super::feature::{FeatureCell, status_name};
use super::file::{Columns, Names};

/// One channel of one emission of a window.
#[derive(Clone, PartialEq, Debug)]
pub struct Feature {
    /// Which channel.
    pub channel: ChannelId,
    /// Its name; `None`: its catalogue is not known here.
    pub name: Option<String>,
    /// Its unit.
    pub unit: Option<String>,
    /// How long the window is.
    pub kind: WindowKind,
    /// Where it starts.
    pub start: EventTime,
    /// 1 for the first emission; 0 for a partial.
    pub revision: u32,
    /// Only what came after the window had left the task's state.
    pub partial: bool,
    /// How final.
    pub status: Status,
    /// Readings that counted.
    pub n: u64,
    /// Readings that did not, because of their quality.
    pub bad: u64,
    /// What the channel's kind calls for, in the unit.
    pub headline: Option<f64>,
    /// Arithmetic mean, in the unit.
    pub mean: Option<f64>,
    /// Population standard deviation, in the unit.
    pub std: Option<f64>,
    /// Least.
    pub min: Option<f64>,
    /// Greatest.
    pub max: Option<f64>,
    /// Readings of the window, all channels, that the gateway marked late.
    pub late: u64,
    /// From which records.
    pub sources: Sources,
    /// When it was appended to the features topic.
    pub log_time: LogTime,
    /// Offset in the features topic.
    pub offset: u64,
}

/// The rows that an entry of the features topic becomes in the lake.
pub fn of_entry(fleet: &Fleet, offset: u64, log_time: LogTime, value: FeatureRow) -> Vec<Feature> {
    let placed = Placed {
        offset,
        log_time,
        value,
    };
    let row = &placed.value;
    let catalogue = fleet.catalogue(CatalogueHash(row.catalogue));
    let catalogue = catalogue.map(AsRef::as_ref);
    let one = |aggregate| {
        let cell = FeatureCell::of(&placed, aggregate, catalogue, ("", None));
        let channel = cell.channel();
        Feature {
            channel: aggregate.channel,
            name: channel.map(|c| c.name.clone()),
            unit: channel.map(|c| c.unit.clone()),
            kind: row.result.kind,
            start: row.result.start,
            revision: row.result.revision,
            partial: row.result.partial,
            status: row.result.status.clone(),
            n: aggregate.n,
            bad: aggregate.bad,
            headline: catalogue.and_then(|c| aggregate.headline(c)),
            mean: cell.moments().map(|m| m.0),
            std: cell.moments().map(|m| m.1),
            min: cell.extremes().map(|e| e.0),
            max: cell.extremes().map(|e| e.1),
            late: row.result.late,
            sources: row.result.sources.clone(),
            log_time,
            offset,
        }
    };
    row.result.channels.iter().map(one).collect()
}

/// Rows of a batch of `features` as it was read back.
pub struct FeatureColumns<'a> {
    len: usize,
    channel: &'a UInt16Array,
    name: Names<'a>,
    unit: Names<'a>,
    window: Names<'a>,
    start: &'a TimestampMicrosecondArray,
    revision: &'a UInt32Array,
    partial: &'a BooleanArray,
    status: Names<'a>,
    n: &'a UInt64Array,
    bad: &'a UInt64Array,
    headline: &'a Float64Array,
    mean: &'a Float64Array,
    std: &'a Float64Array,
    min: &'a Float64Array,
    max: &'a Float64Array,
    late: &'a UInt64Array,
    sources: Names<'a>,
    losses: Names<'a>,
    log_time: &'a TimestampMicrosecondArray,
    offset: &'a UInt64Array,
    path: &'a str,
}

impl<'a> FeatureColumns<'a> {
    /// The columns of `batch`, which came from `path`.
    pub fn new(batch: &'a RecordBatch, path: &'a str) -> Result<Self, LakeError> {
        let c = Columns::new(batch, path);
        let float = |name| c.numbers::<Float64Type>(name);
        let count = |name| c.numbers::<UInt64Type>(name);
        Ok(Self {
            len: batch.num_rows(),
            channel: c.numbers::<UInt16Type>("channel_id")?,
            name: c.names("channel")?,
            unit: c.names("unit")?,
            window: c.names("window")?,
            start: c.times("start")?,
            revision: c.numbers::<UInt32Type>("revision")?,
            partial: c.flags("partial")?,
            status: c.names("status")?,
            n: count("n")?,
            bad: count("bad")?,
            headline: float("headline")?,
            mean: float("mean")?,
            std: float("std")?,
            min: float("min")?,
            max: float("max")?,
            late: count("late")?,
            sources: c.names("sources")?,
            losses: c.names("losses")?,
            log_time: c.times("log_time")?,
            offset: count("log_offset")?,
            path,
        })
    }
    /// Rows.
    pub fn len(&self) -> usize {
        self.len
    }
    /// No rows?
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// Start of row `i`'s window.
    pub fn start(&self, i: usize) -> EventTime {
        EventTime(self.start.value(i))
    }
    /// Channel of row `i`.
    pub fn channel(&self, i: usize) -> ChannelId {
        ChannelId(self.channel.value(i))
    }
    /// Is row `i` of a window of this kind?
    pub fn is_of(&self, i: usize, kind: WindowKind) -> bool {
        self.window.get(i) == Some(kind.as_str())
    }
    /// Row `i`.
    pub fn get(&self, i: usize) -> Result<Feature, LakeError> {
        let number = |a: &Float64Array| (!a.is_null(i)).then(|| a.value(i));
        let damaged = |what, expected: &str, found: &str| LakeError::Damaged {
            path: self.path.to_owned(),
            what,
            expected: expected.to_owned(),
            found: found.to_owned(),
        };
        let window = self.window.get(i).unwrap_or_default();
        let kind = WindowKind::ALL.into_iter().find(|k| k.as_str() == window);
        let sources = self.sources.get(i).unwrap_or_default();
        let losses = self.losses.get(i).map(serde_json::from_str::<Vec<Loss>>);
        let losses = losses.transpose();
        let losses = losses.map_err(|e| damaged("losses", "a list in JSON", &e.to_string()))?;
        let name = self.status.get(i).unwrap_or_default();
        let status = [
            Status::Provisional,
            Status::Exact,
            Status::WithLoss(losses.unwrap_or_default()),
        ];
        let status = status.into_iter().find(|s| status_name(s) == name);
        Ok(Feature {
            channel: self.channel(i),
            name: self.name.get(i).map(str::to_owned),
            unit: self.unit.get(i).map(str::to_owned),
            kind: kind.ok_or_else(|| damaged("a window", "1m, 5m or 10m", window))?,
            start: self.start(i),
            revision: self.revision.value(i),
            partial: self.partial.value(i),
            status: status
                .ok_or_else(|| damaged("a status", "exact, with_loss, provisional", name))?,
            n: self.n.value(i),
            bad: self.bad.value(i),
            headline: number(self.headline),
            mean: number(self.mean),
            std: number(self.std),
            min: number(self.min),
            max: number(self.max),
            late: self.late.value(i),
            sources: serde_json::from_str(sources)
                .map_err(|e| damaged("sources", "ranges of seqs in JSON", &e.to_string()))?,
            log_time: LogTime(self.log_time.value(i)),
            offset: self.offset.value(i),
        })
    }
}
