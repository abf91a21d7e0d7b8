//! Readings of a turbine from the lake and, behind its last cut, from the log.
//!
//! Invariants: at most [`ROWS_MAX`] readings are in memory at a time; a record counts once, also when it is both in the
//! lake and, resent, in the log; suspect readings are shown as such.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::RecordBatch;
use windlass_cloud_core::fleet::Fleet;
use windlass_cloud_core::topic::partition_of;
use windlass_shared::catalogue::{Catalogue, Raw};
use windlass_shared::id::{ChannelId, Epoch, Seq, TurbineId};
use windlass_shared::record::{Batch, Block, Body, Quality};
use windlass_shared::time::EventTime;
use windlass_shared::wire::{self, Logged};

use super::ask::Range;
use super::heavy::lake_failed;
use super::problem::Problem;
use crate::lake::read::{Filter, View};
use crate::lake::reading::{Reading, ReadingColumns, has_number};
use crate::lake::views::Views;
use crate::lake::{FileEntry, Table};
use crate::log::sqlite::SqliteView;
use crate::log::{
    Group, LogError, Offset, PartitionId, ReadLimits, StoredEntry, Topic, TopicPartition,
};

/// Readings in memory (64 bytes each).
pub const ROWS_MAX: usize = 400_000;
/// Files of the lake that one request reads at once, and their bytes.
const READ_FILES_MAX: usize = 10_000;
const READ_BYTES_MAX: u64 = 1_000_000_000;
/// Entries of the log's tail that are looked through: what is older and not in the lake is not shown.
const TAIL_ENTRIES_MAX: u64 = 200_000;
const TAIL_READ: ReadLimits = ReadLimits {
    entries_max: 500,
    bytes_max: 4 * 1024 * 1024,
};

/// A reading.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Row {
    /// Event time.
    pub time: EventTime,
    /// Which channel.
    pub channel: ChannelId,
    /// Which run.
    pub epoch: Epoch,
    /// Which record.
    pub seq: Seq,
    /// Place in it.
    pub index: u32,
    /// In the unit.
    pub value: Option<f64>,
    /// The raw integer.
    pub raw: Option<i64>,
    /// How good.
    pub quality: Quality,
    /// Marked late by the gateway.
    pub late: bool,
    /// Ahead of the gateway's clock.
    pub suspect: bool,
}

/// A row's place in the order of answers.
pub type Place = (EventTime, ChannelId, Epoch, Seq, u32);

impl Row {
    /// Its place.
    pub fn place(&self) -> Place {
        (self.time, self.channel, self.epoch, self.seq, self.index)
    }
    fn of(r: &Reading) -> Self {
        Self {
            time: r.time,
            channel: r.channel_id,
            epoch: r.epoch,
            seq: r.seq,
            index: r.index,
            value: r.value,
            raw: r.raw,
            quality: r.quality,
            late: r.late,
            suspect: r.suspect,
        }
    }
}

/// Where a turbine's past is.
#[derive(Clone, Debug)]
pub struct Places {
    /// The lake, as far as it was read.
    pub lake: Arc<Views>,
    /// The log's file.
    pub log: PathBuf,
    /// For scales.
    pub fleet: Arc<Fleet>,
}

/// A turbine's past, opened for one request.
pub struct Past {
    turbine: TurbineId,
    channels: BTreeSet<ChannelId>,
    view: Option<Arc<View>>,
    /// Entries behind the lake's last cut, by the turbine, oldest first.
    tail: Vec<StoredEntry>,
    fleet: Arc<Fleet>,
}

impl Places {
    /// Opens the past of a turbine's channels (all, if none are named).
    pub async fn open(
        &self,
        turbine: &TurbineId,
        channels: BTreeSet<ChannelId>,
    ) -> Result<Past, Problem> {
        // the tail first: a cut that is committed in between makes some records come twice, which is seen, not missed
        let tail = self
            .tail(Topic::Telemetry, turbine)
            .map_err(|e| Problem::failed("reading the log", &e))?;
        let view = self.view().await?;
        Ok(Past {
            turbine: turbine.clone(),
            channels,
            view,
            tail,
            fleet: Arc::clone(&self.fleet),
        })
    }

    /// What the lake has committed; `None`: there is no lake yet.
    pub async fn view(&self) -> Result<Option<Arc<View>>, Problem> {
        self.lake.newest().await.map_err(lake_failed)
    }

    /// Entries of a topic about the turbine that the lake does not have yet.
    pub fn tail(&self, topic: Topic, turbine: &TurbineId) -> Result<Vec<StoredEntry>, LogError> {
        if !self.log.exists() {
            return Ok(Vec::new());
        }
        let log = SqliteView::open(&self.log)?;
        let partition = partition_of(turbine.as_str(), u32::from(log.partitions()?));
        let at = TopicPartition::new(topic, PartitionId(partition as u16));
        let (first, end) = log.bounds(at)?;
        let done = log
            .committed(Group::Lake, at)?
            .map_or(Offset(0), |c| c.next);
        let from = done
            .0
            .max(first.0)
            .max(end.0.saturating_sub(TAIL_ENTRIES_MAX));
        let mut out = Vec::new();
        let mut next = Offset(from);
        while next < end {
            match log.read_key(at, next, turbine.as_str(), TAIL_READ, &mut out)? {
                Some(after) => next = after,
                None => break,
            }
        }
        Ok(out)
    }
}

impl Past {
    fn wants(&self, channel: ChannelId) -> bool {
        self.channels.is_empty() || self.channels.contains(&channel)
    }

    fn files(&self, range: Range) -> (Filter, Vec<&FileEntry>) {
        let filter = Filter {
            turbine: Some(self.turbine.to_string()),
            time: Some((range.from.0, range.to.0)),
        };
        let files = self
            .view
            .as_ref()
            .map_or_else(Vec::new, |v| v.files(Table::Readings, &filter));
        (filter, files)
    }

    /// An error when reading the range's readings at once is more than one request may cost; `field` is what can be less.
    pub fn affordable(&self, field: &str, range: Range) -> Result<(), Problem> {
        let (_, files) = self.files(range);
        let bytes: u64 = files.iter().map(|f| f.bytes).sum();
        if files.len() <= READ_FILES_MAX && bytes <= READ_BYTES_MAX {
            return Ok(());
        }
        let mb = |bytes: u64| bytes / 1_000_000;
        Err(Problem::cannot(
            field,
            format!("a range with {} files of {} MB", files.len(), mb(bytes)),
            format!(
                "a range with at most {READ_FILES_MAX} files of {} MB",
                mb(READ_BYTES_MAX)
            ),
        ))
    }

    /// Hands every reading of the range to `each`, in no order.
    pub async fn each(
        &self,
        range: Range,
        each: &mut (dyn FnMut(Row) + Send),
    ) -> Result<(), Problem> {
        let (filter, files) = self.files(range);
        let mut records: BTreeSet<(Epoch, Seq)> = BTreeSet::new();
        let remember = !self.tail.is_empty();
        for file in files {
            let Some(view) = &self.view else { break };
            let mut take = |batch: &RecordBatch| {
                let columns = ReadingColumns::new(batch, &file.path)?;
                for i in 0..columns.len() {
                    let time = columns.time(i);
                    if time < range.from || range.to <= time || !self.wants(columns.channel(i)) {
                        continue;
                    }
                    let row = Row::of(&columns.get(i)?);
                    if remember {
                        records.insert((row.epoch, row.seq));
                    }
                    each(row);
                }
                Ok(())
            };
            view.scan(file, &filter, &[], &mut take)
                .await
                .map_err(lake_failed)?;
        }
        for entry in &self.tail {
            self.entry(&entry.value, range, &mut records, each);
        }
        Ok(())
    }

    /// Readings of one entry of the log, if its record has not been seen.
    fn entry(
        &self,
        value: &[u8],
        range: Range,
        seen: &mut BTreeSet<(Epoch, Seq)>,
        each: &mut (dyn FnMut(Row) + Send),
    ) {
        let Ok(Logged::Telemetry { record, .. }) = wire::decode_logged(value) else {
            return;
        };
        let Ok(record) = wire::decode(&record) else {
            return;
        };
        let Body::Batch(batch) = &record.body else {
            return;
        };
        let id = &record.header.id;
        let Some(catalogue) = self.fleet.catalogue(batch.catalogue) else {
            return;
        };
        if !seen.insert((id.epoch, id.seq)) {
            return;
        }
        for block in &batch.blocks {
            self.block(block, batch, catalogue, &mut |mut row| {
                if row.time < range.from || range.to <= row.time {
                    return;
                }
                (row.epoch, row.seq) = (id.epoch, id.seq);
                each(row);
            });
        }
    }

    fn block(
        &self,
        block: &Block,
        batch: &Batch,
        catalogue: &Catalogue,
        each: &mut dyn FnMut(Row),
    ) {
        for (at, column) in block.columns.iter().enumerate() {
            if !self.wants(column.channel) {
                continue;
            }
            let Some(channel) = catalogue.channel(column.channel) else {
                continue;
            };
            let marks = block.quality.iter().filter(|m| usize::from(m.column) == at);
            let marks: BTreeMap<u32, Quality> = marks.map(|m| (m.row, m.quality)).collect();
            for (i, time) in block.times.iter().enumerate() {
                let index = column.at + i as u32;
                let raw = batch.raw[index as usize];
                let quality = marks.get(&(i as u32)).copied().unwrap_or(Quality::Good);
                let number = has_number(quality);
                let float = column.float || channel.raw == Raw::Float;
                let value = if float {
                    f64::from_bits(raw as u64)
                } else {
                    channel.value(raw)
                };
                each(Row {
                    time,
                    channel: column.channel,
                    epoch: Epoch([0; 16]),
                    seq: Seq(0),
                    index,
                    value: number.then_some(value),
                    raw: (number && !float).then_some(raw),
                    quality,
                    late: block.flags.late,
                    suspect: block.flags.suspect,
                });
            }
        }
    }

    /// All readings of the range in order; `None` when they are more than [`ROWS_MAX`] and can be divided.
    pub async fn sorted(&self, range: Range) -> Result<Option<Vec<Row>>, Problem> {
        let divisible = range.to.0 - range.from.0 > 1;
        let mut rows: Vec<Row> = Vec::new();
        let mut full = false;
        self.each(range, &mut |row| {
            full |= divisible && rows.len() >= ROWS_MAX;
            if !full {
                rows.push(row);
            }
        })
        .await?;
        if full {
            return Ok(None);
        }
        rows.sort_unstable_by_key(Row::place);
        Ok(Some(rows))
    }

    /// Parts of the range, in order, that each hold about as many readings as fit in memory.
    pub fn parts(&self, range: Range) -> Vec<Range> {
        let (_, files) = self.files(range);
        divide(range, &files, ROWS_MAX)
    }
}

/// Parts of the range, in order, that each hold about half of `rows_max` rows of one turbine, if those of the files are
/// spread evenly.
pub fn divide(range: Range, files: &[&FileEntry], rows_max: usize) -> Vec<Range> {
    let rows = files
        .iter()
        .map(|f| f.rows / (f.turbines.len().max(1) as u64));
    let n = (rows.sum::<u64>() / (rows_max as u64 / 2) + 1).min(4_096) as i64;
    let step = (range.to.0 - range.from.0) / n + 1;
    (0..n)
        .map(|i| Range {
            from: range.from.plus_us(step * i),
            to: range.from.plus_us(step * (i + 1)).min(range.to),
        })
        .filter(|r| r.from < r.to)
        .collect()
}

/// Hands the rows of each part to `take`, in order, until that says no. `sorted` gives the rows of a part, or `None` when
/// they are too many: then the part is halved.
pub async fn in_order<R>(
    mut parts: Vec<Range>,
    sorted: impl AsyncFn(Range) -> Result<Option<Vec<R>>, Problem>,
    mut take: impl AsyncFnMut(Vec<R>) -> Result<bool, Problem>,
) -> Result<(), Problem> {
    parts.reverse();
    while let Some(part) = parts.pop() {
        match sorted(part).await? {
            None => {
                let (first, second) = halves(part);
                parts.extend([second, first]);
            }
            Some(rows) => {
                if !take(rows).await? {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Two halves of a range.
fn halves(range: Range) -> (Range, Range) {
    let middle = EventTime(range.from.0 + (range.to.0 - range.from.0) / 2);
    let first = Range {
        from: range.from,
        to: middle,
    };
    let second = Range {
        from: middle,
        to: range.to,
    };
    (first, second)
}
