//! The tables `readings`, `late` and `untimed`: one row for each reading.
//!
//! Invariants: a row's identity is (turbine, epoch, seq, index), and it stands once in `readings`, whatever was resent;
//! rows are sorted by (turbine, channel, event time, identity), so that the same cut gives the same bytes.

mod columns;
mod untimed;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow_schema::{DataType, Schema};
use windlass_shared::catalogue::{Catalogue, CatalogueHash, Channel};
use windlass_shared::id::{BootId, ChannelId, Epoch, Seq, TurbineId};
use windlass_shared::record::{Batch, Block, Quality};
use windlass_shared::time::LogTime;

use super::file::{
    DataFile, Place, Slot, encode, field, name_field, names_by_key, time_field, times,
};
use super::{LakeError, Table};

pub use columns::{Reading, ReadingColumns};

/// More files than this for one farm and date are made only if they are worth it.
const HOUR_FILES_MAX: u32 = 4;
/// An hour's file is worth it from this many rows.
const HOUR_FILE_ROWS_MIN: u64 = 4_096;

/// Interned names of a cut.
#[derive(Debug)]
struct Interned<T> {
    index: BTreeMap<T, u32>,
    all: Vec<T>,
}

impl<T: Ord + Clone> Interned<T> {
    fn new() -> Self {
        Self {
            index: BTreeMap::new(),
            all: Vec::new(),
        }
    }
    fn of(&mut self, value: &T) -> u32 {
        if let Some(i) = self.index.get(value) {
            return *i;
        }
        let i = self.all.len() as u32;
        self.index.insert(value.clone(), i);
        self.all.push(value.clone());
        i
    }
    fn get(&self, i: u32) -> &T {
        &self.all[i as usize]
    }
    /// Rank of each value in sorted order.
    fn ranks(&self) -> Vec<u32> {
        let mut ranks = vec![0; self.all.len()];
        for (rank, i) in self.index.values().enumerate() {
            ranks[*i as usize] = rank as u32;
        }
        ranks
    }
}

#[derive(Clone, Copy, Debug)]
struct Row {
    time: i64,
    raw: i64,
    seq: u64,
    index: u32,
    epoch: u32,
    turbine: u32,
    catalogue: u16,
    channel: ChannelId,
    quality: Quality,
    float: bool,
    late: bool,
    suspect: bool,
}

/// Readings of a cut.
#[derive(Debug)]
pub struct Readings {
    turbines: Interned<TurbineId>,
    epochs: Interned<Epoch>,
    catalogues: Interned<CatalogueHash>,
    known: BTreeMap<u32, Arc<Catalogue>>,
    farms: BTreeMap<u32, String>,
    rows: Vec<Row>,
    /// Rows again that are marked late, with log time and offset of their record.
    late: Vec<(Row, LogTime, u64)>,
    /// Rows without an event time; theirs counts from the boot that stands beside.
    untimed: Vec<(Row, BootId, LogTime, u64)>,
}

/// Where a batch of readings comes from.
pub struct Origin<'a> {
    /// Whose.
    pub turbine: &'a TurbineId,
    /// Where it stands.
    pub farm: &'a str,
    /// Which run.
    pub epoch: Epoch,
    /// Which record.
    pub seq: Seq,
    /// Log time of the entry.
    pub log_time: LogTime,
    /// Offset of the entry.
    pub offset: u64,
}

impl Default for Readings {
    fn default() -> Self {
        Self {
            turbines: Interned::new(),
            epochs: Interned::new(),
            catalogues: Interned::new(),
            known: BTreeMap::new(),
            farms: BTreeMap::new(),
            rows: Vec::new(),
            late: Vec::new(),
            untimed: Vec::new(),
        }
    }
}

impl Readings {
    /// How many so far.
    pub fn len(&self) -> usize {
        self.rows.len() + self.untimed.len()
    }

    /// None so far?
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.untimed.is_empty()
    }

    /// Takes the readings of a batch. Without its catalogue the rows have neither name nor value, but all the rest.
    pub fn add(&mut self, from: &Origin, catalogue: Option<&Arc<Catalogue>>, batch: &Batch) {
        let start = self.rows.len();
        let mut rows = std::mem::take(&mut self.rows);
        self.decode(from, catalogue, batch, &mut rows);
        let again = rows[start..].iter().filter(|r| r.late);
        self.late
            .extend(again.map(|r| (*r, from.log_time, from.offset)));
        self.rows = rows;
    }

    fn decode(
        &mut self,
        from: &Origin,
        catalogue: Option<&Arc<Catalogue>>,
        batch: &Batch,
        rows: &mut Vec<Row>,
    ) {
        let turbine = self.turbines.of(from.turbine);
        let epoch = self.epochs.of(&from.epoch);
        let hash = self.catalogues.of(&batch.catalogue);
        if let Some(c) = catalogue {
            self.known.entry(hash).or_insert_with(|| Arc::clone(c));
        }
        self.farms
            .entry(turbine)
            .or_insert_with(|| from.farm.to_owned());
        for block in &batch.blocks {
            for (c, column) in block.columns.iter().enumerate() {
                let start = rows.len();
                for (i, time) in block.times.iter().enumerate() {
                    let index = column.at + i as u32;
                    rows.push(Row {
                        time: time.0,
                        raw: batch.raw[index as usize],
                        seq: from.seq.0,
                        index,
                        epoch,
                        turbine,
                        catalogue: hash as u16,
                        channel: column.channel,
                        quality: Quality::Good,
                        float: column.float,
                        late: block.flags.late,
                        suspect: block.flags.suspect,
                    });
                }
                mark_quality(&mut rows[start..], block, c);
            }
        }
    }

    /// The files of `readings`, `late` and `untimed`, in the order of their paths.
    pub fn files(&mut self, file_name: &str) -> Result<Vec<DataFile>, LakeError> {
        let mut files = self.reading_files(file_name)?;
        files.extend(self.late_files(file_name)?);
        files.extend(self.untimed_files(file_name)?);
        Ok(files)
    }

    fn farm(&self, turbine: u32) -> &str {
        &self.farms[&turbine]
    }

    fn reading_files(&mut self, file_name: &str) -> Result<Vec<DataFile>, LakeError> {
        let groups = self.by_folder();
        let ranks = self.turbines.ranks();
        let mut files = Vec::new();
        for ((farm, slot), mut rows) in groups {
            rows.sort_unstable_by_key(|r| order(r, &ranks));
            let path = format!("readings/farm={farm}/{}/{file_name}", slot.folder());
            let bounds = bounds(rows.iter().map(|r| r.time));
            let place = self.place(Table::Readings, path, bounds, &rows);
            let columns = self.columns(&place.path, &rows)?;
            files.push(encode(place, schema(), columns, SORTED_BY)?);
        }
        Ok(files)
    }

    /// Rows by farm and slot, each group in the order of arrival.
    fn by_folder(&mut self) -> BTreeMap<(String, Slot), Vec<Row>> {
        let whole_days = self.whole_days();
        let rows = std::mem::take(&mut self.rows);
        let mut groups: BTreeMap<(String, Slot), Vec<Row>> = BTreeMap::new();
        // neighbours mostly share their folder: it is looked up once for each run of them
        for run in rows.chunk_by(same_hour) {
            let (farm, mut slot) = (self.farm(run[0].turbine).to_owned(), Slot::of(run[0].time));
            if whole_days.contains(&(farm.clone(), slot.day)) {
                slot.hour = None;
            }
            groups.entry((farm, slot)).or_default().extend(run);
        }
        groups
    }

    fn late_files(&mut self, file_name: &str) -> Result<Vec<DataFile>, LakeError> {
        let mut groups: BTreeMap<(String, Slot), Vec<_>> = BTreeMap::new();
        for late in std::mem::take(&mut self.late) {
            let farm = self.farm(late.0.turbine).to_owned();
            groups
                .entry((farm, Slot::of(late.1.0)))
                .or_default()
                .push(late);
        }
        let ranks = self.turbines.ranks();
        let mut files = Vec::new();
        for ((farm, slot), mut late) in groups {
            late.sort_unstable_by_key(|(r, ..)| order(r, &ranks));
            let rows: Vec<Row> = late.iter().map(|l| l.0).collect();
            let path = format!("late/farm={farm}/{}/{file_name}", slot.folder());
            let bounds = bounds(late.iter().map(|l| l.1.0));
            let place = self.place(Table::Late, path, bounds, &rows);
            let mut columns = self.columns(&place.path, &rows)?;
            columns.push(times(late.iter().map(|l| Some(l.1.0))));
            let offsets = UInt64Array::from_iter_values(late.iter().map(|l| l.2));
            columns.push(Arc::new(offsets));
            files.push(encode(place, late_schema(), columns, SORTED_BY)?);
        }
        Ok(files)
    }

    /// Farms and days of which the cut holds many hours with few rows each: a backlog of slow data.
    fn whole_days(&self) -> BTreeSet<(String, i64)> {
        let mut days: BTreeMap<(u32, i64), (u32, u64)> = BTreeMap::new();
        for run in self.rows.chunk_by(same_hour) {
            let slot = Slot::of(run[0].time);
            let day = days.entry((run[0].turbine, slot.day)).or_default();
            day.0 |= 1 << slot.hour.unwrap_or_default();
            day.1 += run.len() as u64;
        }
        let mut by_farm: BTreeMap<(String, i64), (u32, u64)> = BTreeMap::new();
        for ((turbine, day), (hours, rows)) in days {
            let all = by_farm
                .entry((self.farm(turbine).to_owned(), day))
                .or_default();
            all.0 |= hours;
            all.1 += rows;
        }
        by_farm
            .into_iter()
            .filter(|(_, (hours, rows))| {
                let hours = hours.count_ones();
                hours > HOUR_FILES_MAX && *rows < u64::from(hours) * HOUR_FILE_ROWS_MIN
            })
            .map(|(key, _)| key)
            .collect()
    }

    fn place(&self, table: Table, path: String, bounds: (i64, i64), rows: &[Row]) -> Place {
        let turbines: BTreeSet<u32> = rows.iter().map(|r| r.turbine).collect();
        let turbines = turbines.into_iter();
        Place {
            table,
            path,
            bounds,
            turbines: turbines.map(|t| self.turbines.get(t).to_string()).collect(),
        }
    }

    fn channel(&self, row: &Row) -> Option<&Channel> {
        self.known
            .get(&u32::from(row.catalogue))?
            .channel(row.channel)
    }

    fn columns(&self, path: &str, rows: &[Row]) -> Result<Vec<ArrayRef>, LakeError> {
        // channels in the order of their first row, which is the order of the sort
        let mut keys: BTreeMap<(u16, ChannelId), (i32, Option<&Channel>)> = BTreeMap::new();
        let (mut names, mut units) = (Vec::new(), Vec::new());
        let mut channel_keys = Vec::with_capacity(rows.len());
        let mut values = Vec::with_capacity(rows.len());
        let mut last = None;
        for row in rows {
            let id = (row.catalogue, row.channel);
            let (key, channel) = match last {
                Some((i, found)) if i == id => found,
                _ => *keys.entry(id).or_insert_with(|| {
                    let channel = self.channel(row);
                    names.push(channel.map_or_else(String::new, |c| c.name.clone()));
                    units.push(channel.map_or_else(String::new, |c| c.unit.clone()));
                    (names.len() as i32 - 1, channel)
                }),
            };
            last = Some((id, (key, channel)));
            channel_keys.push(key);
            values.push(value(row, channel));
        }
        let turbines: Vec<String> = self.turbines.all.iter().map(ToString::to_string).collect();
        let epochs: Vec<String> = self.epochs.all.iter().map(ToString::to_string).collect();
        let qualities: Vec<String> = QUALITIES.iter().map(|q| (*q).to_owned()).collect();
        let key = |f: fn(&Row) -> i32| rows.iter().map(f);
        let registers = rows
            .iter()
            .map(|r| (!r.float && has_number(r.quality)).then_some(r.raw));
        let flag = |f: fn(&Row) -> bool| -> ArrayRef {
            let flags: BooleanArray = rows.iter().map(|r| Some(f(r))).collect();
            Arc::new(flags)
        };
        Ok(vec![
            names_by_key(path, key(|r| r.turbine as i32), &turbines)?,
            Arc::new(UInt16Array::from_iter_values(
                rows.iter().map(|r| r.channel.0),
            )),
            names_by_key(path, channel_keys.iter().copied(), &names)?,
            times(rows.iter().map(|r| Some(r.time))),
            Arc::new(Float64Array::from(values)),
            Arc::new(registers.collect::<Int64Array>()),
            names_by_key(path, channel_keys.iter().copied(), &units)?,
            names_by_key(path, key(|r| quality_key(r.quality)), &qualities)?,
            flag(|r| r.late),
            flag(|r| r.suspect),
            names_by_key(path, key(|r| r.epoch as i32), &epochs)?,
            Arc::new(UInt64Array::from_iter_values(rows.iter().map(|r| r.seq))),
            Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.index))),
        ])
    }
}

const SORTED_BY: &[&str] = &["turbine", "channel_id", "time"];
/// The same where the time counts from a boot.
const SORTED_BY_BOOT: &[&str] = &["turbine", "channel_id", "since_boot_us"];

const QUALITIES: [&str; 5] = ["good", "uncertain", "bad", "not_a_number", "out_of_range"];

fn quality_key(quality: Quality) -> i32 {
    match quality {
        Quality::Good => 0,
        Quality::Uncertain => 1,
        Quality::Bad => 2,
        Quality::NotANumber => 3,
        Quality::OutOfRange => 4,
    }
}

/// Name of a quality in the lake.
pub fn quality_name(quality: Quality) -> &'static str {
    QUALITIES[quality_key(quality) as usize]
}

fn quality_of(text: &str) -> Option<Quality> {
    const ALL: [Quality; 5] = [
        Quality::Good,
        Quality::Uncertain,
        Quality::Bad,
        Quality::NotANumber,
        Quality::OutOfRange,
    ];
    let i = QUALITIES.iter().position(|q| *q == text)?;
    Some(ALL[i])
}

fn mark_quality(rows: &mut [Row], block: &Block, column: usize) {
    for mark in &block.quality {
        if usize::from(mark.column) == column
            && let Some(row) = rows.get_mut(mark.row as usize)
        {
            row.quality = mark.quality;
        }
    }
}

/// Does the raw value mean something?
pub(crate) fn has_number(quality: Quality) -> bool {
    !matches!(quality, Quality::NotANumber | Quality::OutOfRange)
}

fn value(row: &Row, channel: Option<&Channel>) -> Option<f64> {
    if !has_number(row.quality) {
        None
    } else if row.float {
        Some(f64::from_bits(row.raw as u64))
    } else {
        channel.map(|c| c.value(row.raw))
    }
}

fn same_hour(a: &Row, b: &Row) -> bool {
    a.turbine == b.turbine && Slot::of(a.time) == Slot::of(b.time)
}

type Order = (u32, ChannelId, i64, u32, u64, u32);

fn order(row: &Row, ranks: &[u32]) -> Order {
    let turbine = ranks[row.turbine as usize];
    (
        turbine,
        row.channel,
        row.time,
        row.epoch,
        row.seq,
        row.index,
    )
}

/// Least and greatest.
pub(super) fn bounds(times: impl Iterator<Item = i64>) -> (i64, i64) {
    times.fold((i64::MAX, i64::MIN), |(a, b), t| (a.min(t), b.max(t)))
}

fn fields() -> Vec<arrow_schema::Field> {
    vec![
        name_field("turbine", false),
        field("channel_id", DataType::UInt16, false),
        name_field("channel", false),
        time_field("time", false),
        field("value", DataType::Float64, true),
        field("raw", DataType::Int64, true),
        name_field("unit", false),
        name_field("quality", false),
        field("late", DataType::Boolean, false),
        field("suspect", DataType::Boolean, false),
        name_field("epoch", false),
        field("seq", DataType::UInt64, false),
        field("index", DataType::UInt32, false),
    ]
}

fn schema() -> Schema {
    Schema::new(fields())
}

fn late_schema() -> Schema {
    let mut fields = fields();
    fields.push(time_field("log_time", false));
    fields.push(field("log_offset", DataType::UInt64, false));
    Schema::new(fields)
}
