//! The table `batches`: every entry of the telemetry topic with its original bytes, in the order of the log.
//!
//! Invariants: a row for every entry, duplicates, refused bytes, control records and ticks included; `bytes` are what the
//! gateway made, unchanged (of a tick nothing is kept: it has no content; of the other control entries the whole entry);
//! with `append_time` and `writer` the rows are enough to run the partition's task again.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::types::{UInt32Type, UInt64Type};
use arrow_array::{
    Array, ArrayRef, BinaryArray, RecordBatch, TimestampMicrosecondArray, UInt32Array, UInt64Array,
};
use arrow_schema::{DataType, Schema};
use windlass_cloud_core::cut::Taken;
use windlass_cloud_core::output::Reason;
use windlass_cloud_core::task::LogInput;
use windlass_shared::catalogue::{Class, RateGroup};
use windlass_shared::id::{Epoch, RecordId, Seq};
use windlass_shared::record::{Body, Head, Record, RecordHash, Stamps};
use windlass_shared::time::{LogTime, WallTime};
use windlass_shared::wire::{self, Control, Refused};

use super::file::{
    Columns, DataFile, Names, Place, Slot, encode, field, name_field, names, time_field, times,
};
use super::marker::Events;
use super::reading::bounds;
use super::{LakeError, Table};

/// `receipt` of a record that counts.
pub const RECEIPT_NEW: &str = "new";
/// `receipt` of a record that had come before.
pub const RECEIPT_DUPLICATE: &str = "duplicate";
/// `receipt` of an entry that the aggregator wrote itself.
pub const RECEIPT_CONTROL: &str = "control";

/// What is known of the record in an entry.
#[derive(Clone, PartialEq, Debug)]
struct Known {
    id: RecordId,
    hash: RecordHash,
    prev_head: Option<Head>,
    stamps: Option<Stamps>,
    committed_at: Option<WallTime>,
    class: Option<Class>,
    rate_group: Option<RateGroup>,
    readings: Option<u32>,
}

#[derive(Clone, PartialEq, Debug)]
struct Row {
    offset: u64,
    log_time: LogTime,
    append_time: WallTime,
    writer: u32,
    key: String,
    kind: &'static str,
    receipt: &'static str,
    gateway: Option<String>,
    known: Option<Known>,
    bytes: Option<Arc<[u8]>>,
    /// Of its readings, if it counts.
    events: Option<Events>,
}

/// Entries of a cut.
#[derive(Debug, Default)]
pub struct Evidence {
    rows: Vec<Row>,
}

impl Evidence {
    /// Takes an entry and what became of it.
    pub fn add(&mut self, input: &LogInput, log_time: LogTime, taken: &Taken) {
        let whole = || Some(Arc::from(input.value));
        let (kind, receipt, gateway, known, bytes) = match taken {
            Taken::Fresh {
                gateway,
                record,
                hash,
                bytes,
            } => (
                body_kind(&record.body),
                RECEIPT_NEW,
                Some(gateway),
                Some(known(record, *hash)),
                Some(Arc::clone(bytes)),
            ),
            Taken::Not {
                gateway,
                record,
                hash,
                bytes,
                reason,
            } => (
                body_kind(&record.body),
                reason.map_or(RECEIPT_DUPLICATE, Reason::as_str),
                Some(gateway),
                Some(known(record, *hash)),
                Some(Arc::clone(bytes)),
            ),
            Taken::Control(Control::Tick) => ("tick", RECEIPT_CONTROL, None, None, None),
            Taken::Control(Control::Refused(r)) => (
                "refused",
                RECEIPT_CONTROL,
                Some(&r.gateway),
                Some(refused(r)),
                whole(),
            ),
            Taken::Control(Control::DetectorConfig { .. }) => {
                ("detector_config", RECEIPT_CONTROL, None, None, whole())
            }
            Taken::Control(Control::Mark(_)) => ("mark", RECEIPT_CONTROL, None, None, whole()),
            Taken::Unreadable(_) => ("unreadable", Reason::Entry.as_str(), None, None, whole()),
        };
        self.rows.push(Row {
            offset: input.offset,
            log_time,
            append_time: input.log_time,
            writer: input.writer,
            key: input.key.to_owned(),
            kind,
            receipt,
            gateway: gateway.map(ToString::to_string),
            known,
            bytes,
            events: match taken {
                Taken::Fresh { record, .. } => events(record),
                _ => None,
            },
        });
    }

    /// The files, in the order of their paths.
    pub fn files(&mut self, file_name: &str) -> Result<Vec<DataFile>, LakeError> {
        let mut groups: BTreeMap<Slot, Vec<Row>> = BTreeMap::new();
        for row in std::mem::take(&mut self.rows) {
            groups
                .entry(Slot::of(row.log_time.0))
                .or_default()
                .push(row);
        }
        let mut files = Vec::new();
        for (slot, mut rows) in groups {
            rows.sort_by(|a, b| (turbine(a), a.offset).cmp(&(turbine(b), b.offset)));
            let place = Place {
                table: Table::Batches,
                path: format!("batches/{}/{file_name}", slot.folder()),
                bounds: bounds(rows.iter().map(|r| r.log_time.0)),
                turbines: turbines(&rows),
            };
            let mut file = encode(place, schema(), columns(&rows), &["turbine", "log_offset"])?;
            file.entry.events = Some(join(rows.iter().filter_map(|r| r.events)));
            files.push(file);
        }
        Ok(files)
    }
}

/// Earliest and latest event time of a record's readings, those ahead of the gateway's clock included; of an Open, when it
/// was committed, so that who asks for that time hears of it.
fn events(record: &Record) -> Option<Events> {
    match &record.body {
        Body::Batch(batch) => {
            let blocks = batch.blocks.iter();
            Some(Events::of(blocks.flat_map(|b| b.times.iter()).map(|t| t.0)))
        }
        Body::Open(_) => Some(Events::of([record.header.committed_at.0].into_iter())),
        Body::Gap(_) | Body::Seal(_) | Body::Untimed(_) => None,
    }
}

fn join(all: impl Iterator<Item = Events>) -> Events {
    Events::of(all.flat_map(|e| match e {
        Events::Nothing => Vec::new(),
        Events::Within(min, max) => vec![min, max],
    }))
}

fn turbine(row: &Row) -> Option<&str> {
    row.known.as_ref().map(|k| k.id.turbine.as_str())
}

fn turbines(rows: &[Row]) -> BTreeSet<String> {
    let all = rows.iter().filter_map(turbine);
    all.map(ToOwned::to_owned).collect()
}

fn body_kind(body: &Body) -> &'static str {
    match body {
        Body::Batch(_) => "batch",
        Body::Open(_) => "open",
        Body::Gap(_) => "gap",
        Body::Seal(_) => "seal",
        Body::Untimed(_) => "untimed",
    }
}

fn known(record: &Record, hash: RecordHash) -> Known {
    let header = &record.header;
    let (class, rate_group, readings) = match &record.body {
        Body::Batch(b) => (Some(b.class), Some(b.rate_group), Some(b.raw.len() as u32)),
        Body::Untimed(u) => (
            Some(u.batch.class),
            Some(u.batch.rate_group),
            Some(u.batch.raw.len() as u32),
        ),
        Body::Gap(g) => (Some(g.class), None, None),
        Body::Open(_) | Body::Seal(_) => (None, None, None),
    };
    Known {
        id: header.id.clone(),
        hash,
        prev_head: Some(header.prev_head),
        stamps: Some(header.stamps),
        committed_at: Some(header.committed_at),
        class,
        rate_group,
        readings,
    }
}

/// The identity in a control entry that says that ingest refused it.
fn refused(entry: &Refused) -> Known {
    Known {
        id: entry.id.clone(),
        hash: entry.sha256,
        prev_head: None,
        stamps: None,
        committed_at: None,
        class: None,
        rate_group: None,
        readings: None,
    }
}

fn columns(rows: &[Row]) -> Vec<ArrayRef> {
    let known = |f: fn(&Known) -> Option<i64>| {
        let values = rows.iter().map(|r| r.known.as_ref().and_then(f));
        times(values.map(|t| t.filter(|t| *t != i64::MIN)))
    };
    let epochs: Vec<Option<String>> = rows
        .iter()
        .map(|r| r.known.as_ref().map(|k| k.id.epoch.to_string()))
        .collect();
    let classes = rows.iter().map(|r| Some(r.known.as_ref()?.class?.as_str()));
    let groups = rows
        .iter()
        .map(|r| Some(r.known.as_ref()?.rate_group?.as_str()));
    let seqs = rows.iter().map(|r| Some(r.known.as_ref()?.id.seq.0));
    let readings = rows.iter().map(|r| r.known.as_ref()?.readings);
    let hashes: BinaryArray = rows
        .iter()
        .map(|r| r.known.as_ref().map(|k| k.hash.0.as_slice()))
        .collect();
    let heads: BinaryArray = rows
        .iter()
        .map(|r| Some(r.known.as_ref()?.prev_head.as_ref()?.0.as_slice()))
        .collect();
    let bytes: BinaryArray = rows.iter().map(|r| r.bytes.as_deref()).collect();
    vec![
        Arc::new(UInt64Array::from_iter_values(rows.iter().map(|r| r.offset))),
        times(rows.iter().map(|r| Some(r.log_time.0))),
        times(rows.iter().map(|r| Some(r.append_time.0))),
        Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.writer))),
        names(rows.iter().map(|r| Some(r.key.as_str()))),
        names(rows.iter().map(|r| Some(r.kind))),
        names(rows.iter().map(|r| Some(r.receipt))),
        names(rows.iter().map(|r| r.gateway.as_deref())),
        names(rows.iter().map(turbine)),
        names(epochs.iter().map(Option::as_deref)),
        Arc::new(seqs.collect::<UInt64Array>()),
        names(classes),
        names(groups),
        Arc::new(readings.collect::<UInt32Array>()),
        known(|k| Some(k.stamps?.frontier.0)),
        known(|k| Some(k.stamps?.ceiling.0)),
        known(|k| Some(k.stamps?.prev_ceiling.0)),
        known(|k| Some(k.committed_at?.0)),
        Arc::new(hashes),
        Arc::new(heads),
        Arc::new(bytes),
    ]
}

fn schema() -> Schema {
    Schema::new(vec![
        field("log_offset", DataType::UInt64, false),
        time_field("log_time", false),
        time_field("append_time", false),
        field("writer", DataType::UInt32, false),
        name_field("key", false),
        name_field("kind", false),
        name_field("receipt", false),
        name_field("gateway", true),
        name_field("turbine", true),
        name_field("epoch", true),
        field("seq", DataType::UInt64, true),
        name_field("class", true),
        name_field("rate_group", true),
        field("readings", DataType::UInt32, true),
        time_field("frontier", true),
        time_field("ceiling", true),
        time_field("prev_ceiling", true),
        time_field("committed_at", true),
        field("sha256", DataType::Binary, true),
        field("prev_head", DataType::Binary, true),
        field("bytes", DataType::Binary, true),
    ])
}

/// A row of `batches` as it was read back.
#[derive(Clone, PartialEq, Debug)]
pub struct EvidenceRow<'a> {
    /// Offset in the log.
    pub offset: u64,
    /// Log time.
    pub log_time: LogTime,
    /// As the log's writer stamped it.
    pub append_time: WallTime,
    /// Which writer.
    pub writer: u32,
    /// Log key.
    pub key: &'a str,
    /// `batch`, `open`, `gap`, `seal`, `tick`, `refused`, `detector_config`, `mark`, `unreadable`.
    pub kind: &'a str,
    /// `new`, `duplicate`, `control`, or the code of a [`Reason`].
    pub receipt: &'a str,
    /// Who sent it.
    pub gateway: Option<&'a str>,
    /// Whose.
    pub turbine: Option<&'a str>,
    /// Which run.
    pub epoch: Option<Epoch>,
    /// Which record.
    pub seq: Option<Seq>,
    /// Of the record's bytes.
    pub sha256: Option<&'a [u8]>,
    /// The record's bytes, or a control entry.
    pub bytes: Option<&'a [u8]>,
}

/// A batch of rows of `batches` as it was read back.
pub struct EvidenceColumns<'a> {
    len: usize,
    offset: &'a UInt64Array,
    log_time: &'a TimestampMicrosecondArray,
    append_time: &'a TimestampMicrosecondArray,
    writer: &'a UInt32Array,
    key: Names<'a>,
    kind: Names<'a>,
    receipt: Names<'a>,
    gateway: Names<'a>,
    turbine: Names<'a>,
    epoch: Names<'a>,
    seq: &'a UInt64Array,
    sha256: &'a BinaryArray,
    bytes: &'a BinaryArray,
    path: &'a str,
}

impl<'a> EvidenceColumns<'a> {
    /// The columns of `batch`, which came from `path`.
    pub fn new(batch: &'a RecordBatch, path: &'a str) -> Result<Self, LakeError> {
        let c = Columns::new(batch, path);
        Ok(Self {
            len: batch.num_rows(),
            offset: c.numbers::<UInt64Type>("log_offset")?,
            log_time: c.times("log_time")?,
            append_time: c.times("append_time")?,
            writer: c.numbers::<UInt32Type>("writer")?,
            key: c.names("key")?,
            kind: c.names("kind")?,
            receipt: c.names("receipt")?,
            gateway: c.names("gateway")?,
            turbine: c.names("turbine")?,
            epoch: c.names("epoch")?,
            seq: c.numbers::<UInt64Type>("seq")?,
            sha256: c.bytes("sha256")?,
            bytes: c.bytes("bytes")?,
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
    /// Turbine of row `i`.
    pub fn turbine(&self, i: usize) -> Option<&'a str> {
        self.turbine.get(i)
    }
    /// Row `i`.
    pub fn get(&self, i: usize) -> Result<EvidenceRow<'a>, LakeError> {
        let epoch = self.epoch.get(i).map(str::parse::<Epoch>).transpose();
        let bytes = |a: &'a BinaryArray| (!a.is_null(i)).then(|| a.value(i));
        Ok(EvidenceRow {
            offset: self.offset.value(i),
            log_time: LogTime(self.log_time.value(i)),
            append_time: WallTime(self.append_time.value(i)),
            writer: self.writer.value(i),
            key: self.key.get(i).unwrap_or_default(),
            kind: self.kind.get(i).unwrap_or_default(),
            receipt: self.receipt.get(i).unwrap_or_default(),
            gateway: self.gateway.get(i),
            turbine: self.turbine.get(i),
            epoch: epoch.map_err(|e| LakeError::Damaged {
                path: self.path.to_owned(),
                what: "an epoch",
                expected: "32 hexadecimal digits".to_owned(),
                found: e.to_string(),
            })?,
            seq: (!self.seq.is_null(i)).then(|| Seq(self.seq.value(i))),
            sha256: bytes(self.sha256),
            bytes: bytes(self.bytes),
        })
    }
}

impl EvidenceRow<'_> {
    /// The record in it, decoded; `None` for control entries and what cannot be decoded.
    pub fn record(&self) -> Option<(Record, RecordHash)> {
        let bytes = self.bytes?;
        if !matches!(self.kind, "batch" | "open" | "gap" | "seal") {
            return None;
        }
        Some((wire::decode(bytes).ok()?, wire::hash(bytes)))
    }
}
