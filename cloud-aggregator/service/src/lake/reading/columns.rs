//! `readings` and `late` as they are read back.
//!
//! Invariant: a row that this version would not have written is an error, not a guess.

use arrow_array::types::{Float64Type, Int64Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{
    Array, BooleanArray, Float64Array, Int64Array, RecordBatch, UInt16Array, UInt32Array,
    UInt64Array,
};
use windlass_shared::id::{ChannelId, Epoch, Seq};
use windlass_shared::record::Quality;
use windlass_shared::time::EventTime;

use super::quality_of;
use crate::lake::LakeError;
use crate::lake::file::{Columns, Names};

/// A reading as it was read back.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Reading<'a> {
    /// Whose.
    pub turbine: &'a str,
    /// Which channel of its catalogue.
    pub channel_id: ChannelId,
    /// The channel's name; empty when its catalogue was not known.
    pub channel: &'a str,
    /// The channel's unit.
    pub unit: &'a str,
    /// Event time.
    pub time: EventTime,
    /// In the unit; `None` when the source gave no number.
    pub value: Option<f64>,
    /// The raw integer; `None` where the value is a float or there is none.
    pub raw: Option<i64>,
    /// How good.
    pub quality: Quality,
    /// Marked late by the gateway.
    pub late: bool,
    /// Ahead of the gateway's clock.
    pub suspect: bool,
    /// Which run.
    pub epoch: Epoch,
    /// Which record.
    pub seq: Seq,
    /// Place in the record.
    pub index: u32,
}

/// A batch of `readings` (or `late`) as it was read back.
pub struct ReadingColumns<'a> {
    len: usize,
    turbine: Names<'a>,
    channel_id: &'a UInt16Array,
    channel: Names<'a>,
    time: &'a arrow_array::TimestampMicrosecondArray,
    value: &'a Float64Array,
    raw: &'a Int64Array,
    unit: Names<'a>,
    quality: Names<'a>,
    late: &'a BooleanArray,
    suspect: &'a BooleanArray,
    epoch: Names<'a>,
    seq: &'a UInt64Array,
    index: &'a UInt32Array,
    path: &'a str,
}

impl<'a> ReadingColumns<'a> {
    /// The columns of `batch`, which came from `path`.
    pub fn new(batch: &'a RecordBatch, path: &'a str) -> Result<Self, LakeError> {
        let c = Columns::new(batch, path);
        Ok(Self {
            len: batch.num_rows(),
            turbine: c.names("turbine")?,
            channel_id: c.numbers::<UInt16Type>("channel_id")?,
            channel: c.names("channel")?,
            time: c.times("time")?,
            value: c.numbers::<Float64Type>("value")?,
            raw: c.numbers::<Int64Type>("raw")?,
            unit: c.names("unit")?,
            quality: c.names("quality")?,
            late: c.flags("late")?,
            suspect: c.flags("suspect")?,
            epoch: c.names("epoch")?,
            seq: c.numbers::<UInt64Type>("seq")?,
            index: c.numbers::<UInt32Type>("index")?,
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
    /// Event time of row `i`.
    pub fn time(&self, i: usize) -> EventTime {
        EventTime(self.time.value(i))
    }
    /// Channel of row `i`.
    pub fn channel(&self, i: usize) -> ChannelId {
        ChannelId(self.channel_id.value(i))
    }
    /// Turbine of row `i`.
    pub fn turbine(&self, i: usize) -> &'a str {
        self.turbine.get(i).unwrap_or_default()
    }
    /// Row `i`.
    pub fn get(&self, i: usize) -> Result<Reading<'a>, LakeError> {
        let damaged = |what, found: &str| LakeError::Damaged {
            path: self.path.to_owned(),
            what,
            expected: "one that this version writes".to_owned(),
            found: found.to_owned(),
        };
        let epoch = self.epoch.get(i).unwrap_or_default();
        let quality = self.quality.get(i).unwrap_or_default();
        Ok(Reading {
            turbine: self.turbine(i),
            channel_id: self.channel(i),
            channel: self.channel.get(i).unwrap_or_default(),
            unit: self.unit.get(i).unwrap_or_default(),
            time: self.time(i),
            value: (!self.value.is_null(i)).then(|| self.value.value(i)),
            raw: (!self.raw.is_null(i)).then(|| self.raw.value(i)),
            quality: quality_of(quality).ok_or_else(|| damaged("a quality", quality))?,
            late: self.late.value(i),
            suspect: self.suspect.value(i),
            epoch: epoch.parse().map_err(|_| damaged("an epoch", epoch))?,
            seq: Seq(self.seq.value(i)),
            index: self.index.value(i),
        })
    }
}
