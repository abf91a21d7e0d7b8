//! The tables `readings`, `late` and `untimed`: one row for each reading.
//!
//! Invariants: a row's identity is (turbine, epoch, seq, index), and it stands once in `readings`, whatever was resent;
//! rows are sorted by (turbine, channel, event time, identity), so that the same cut gives the same bytes. A cut in the
//! making keeps records as they came, a byte or two for each reading; rows are made when it ends, one turbine at a time.

mod columns;
mod rows;
mod sheet;
#[cfg(test)]
mod untimed;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_schema::{DataType, Schema};
use windlass_cloud_core::fleet::Fleet;
use windlass_shared::catalogue::CatalogueHash;
use windlass_shared::id::{BootId, ChannelId, Epoch, Seq, TurbineId};
use windlass_shared::record::{Batch, Body, Quality};
use windlass_shared::time::LogTime;

use super::file::{DataFile, GROUP_ROWS_MAX, Slot, field, name_field, time_field};
use super::{LakeError, Table};

pub use columns::{Reading, ReadingColumns};
use rows::{Row, TurbineRows};
use sheet::Sheet;

/// More files than this for one farm and date are made only if they are worth it.
const HOUR_FILES_MAX: u32 = 4;
/// An hour's file is worth it from this many rows.
const HOUR_FILE_ROWS_MIN: u64 = 4_096;

/// How many readings a cut may hold: it ends after the entry that reaches one of these.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of all turbines: how long it takes to make the files (some seconds for this many).
    pub readings: u64,
    /// Of one turbine, whose rows are in memory together (32 bytes each).
    pub turbine: u64,
    /// Of one farm, where they wait for a row group of their hour to fill (about 50 bytes each).
    pub waiting: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            readings: 16_000_000,
            turbine: 1_000_000,
            waiting: 2_000_000,
        }
    }
}

/// A record of readings.
#[derive(Debug)]
struct Piece {
    epoch: Epoch,
    seq: Seq,
    catalogue: CatalogueHash,
    log_time: LogTime,
    offset: u64,
    /// Of readings without an event time: the boot that their time counts from.
    boot: Option<BootId>,
    bytes: Arc<[u8]>,
}

/// Records of a turbine, in the order of the log.
#[derive(Debug, Default)]
struct Held {
    pieces: Vec<Piece>,
    readings: u64,
}

#[derive(Debug, Default)]
struct Farm {
    turbines: BTreeMap<TurbineId, Held>,
    /// Readings by hour of event time.
    hours: BTreeMap<Slot, u64>,
    /// Most rows that wait for their row groups to fill.
    waiting: u64,
}

/// Readings of a cut.
#[derive(Debug, Default)]
pub struct Readings {
    limits: Limits,
    farms: BTreeMap<String, Farm>,
    total: u64,
    full: bool,
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

impl Readings {
    /// None so far.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Is one of the limits reached?
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Takes the readings of a record, if it has some; `bytes` are its own.
    pub fn add(&mut self, from: &Origin, body: &Body, bytes: Arc<[u8]>) {
        let (batch, boot) = match body {
            Body::Batch(batch) => (batch, None),
            Body::Untimed(untimed) => (&untimed.batch, Some(untimed.boot)),
            Body::Open(_) | Body::Gap(_) | Body::Seal(_) => return,
        };
        let farm = self.farms.entry(from.farm.to_owned()).or_default();
        if boot.is_none() {
            farm.count(batch);
        }
        let held = farm.turbines.entry(from.turbine.clone()).or_default();
        held.readings += batch.raw.len() as u64;
        self.total += batch.raw.len() as u64;
        self.full = self.full
            || self.total >= self.limits.readings
            || held.readings >= self.limits.turbine
            || farm.waiting >= self.limits.waiting;
        held.pieces.push(Piece {
            epoch: from.epoch,
            seq: from.seq,
            catalogue: batch.catalogue,
            log_time: from.log_time,
            offset: from.offset,
            boot,
            bytes,
        });
    }

    /// The files, farm by farm, and of a farm table by table. A record without its catalogue has neither names nor values,
    /// but all the rest.
    pub fn files(&mut self, fleet: &Fleet, file_name: &str) -> Result<Vec<DataFile>, LakeError> {
        let farms = std::mem::take(&mut self.farms);
        (self.total, self.full) = (0, false);
        let mut files = Vec::new();
        let mut rows = TurbineRows::default();
        for (name, farm) in farms {
            let mut sheets = Sheets {
                farm: &name,
                file_name,
                whole_days: farm.whole_days(),
                begun: BTreeMap::new(),
            };
            for (turbine, held) in &farm.turbines {
                rows.fill(fleet, &held.pieces, file_name)?;
                sheets.add(turbine.as_str(), &rows)?;
            }
            for sheet in sheets.begun.into_values() {
                files.push(sheet.finish()?);
            }
        }
        Ok(files)
    }
}

impl Farm {
    fn count(&mut self, batch: &Batch) {
        for block in &batch.blocks {
            let times: Vec<_> = block.times.iter().collect();
            for run in times.chunk_by(|a, b| Slot::of(a.0) == Slot::of(b.0)) {
                let of_hour = self.hours.entry(Slot::of(run[0].0)).or_default();
                let group = |rows: u64| rows.min(GROUP_ROWS_MAX as u64);
                let before = group(*of_hour);
                *of_hour += (run.len() * block.columns.len()) as u64;
                self.waiting += group(*of_hour) - before;
            }
        }
    }

    /// Days of which the cut holds many hours with few rows each: a backlog of slow data.
    fn whole_days(&self) -> BTreeSet<i64> {
        let mut days: BTreeMap<i64, (u32, u64)> = BTreeMap::new();
        for (slot, rows) in &self.hours {
            let day = days.entry(slot.day).or_default();
            day.0 += 1;
            day.1 += rows;
        }
        days.into_iter()
            .filter(|(_, (hours, rows))| {
                *hours > HOUR_FILES_MAX && *rows < u64::from(*hours) * HOUR_FILE_ROWS_MIN
            })
            .map(|(day, _)| day)
            .collect()
    }
}

/// A farm's files in the making.
struct Sheets<'a> {
    farm: &'a str,
    file_name: &'a str,
    whole_days: BTreeSet<i64>,
    begun: BTreeMap<(Table, Slot), Sheet>,
}

impl Sheets<'_> {
    /// The next turbine's rows.
    fn add(&mut self, turbine: &str, rows: &TurbineRows) -> Result<(), LakeError> {
        for (channel, of_channel) in rows.by_channel() {
            let alike =
                |a: &Row, b: &Row| a.untimed == b.untimed && Slot::of(a.time) == Slot::of(b.time);
            for run in of_channel.chunk_by(alike) {
                if run[0].untimed {
                    self.add_untimed(turbine, channel, rows, run)?;
                    continue;
                }
                let mut slot = Slot::of(run[0].time);
                if self.whole_days.contains(&slot.day) {
                    slot.hour = None;
                }
                self.sheet(Table::Readings, slot)?
                    .add(turbine, channel, rows, run)?;
            }
            for row in of_channel.iter().filter(|r| r.flags.late) {
                let slot = Slot::of(rows.piece(row).log_time.0);
                let row = std::slice::from_ref(row);
                self.sheet(Table::Late, slot)?
                    .add(turbine, channel, rows, row)?;
            }
        }
        Ok(())
    }

    /// Of boots that never saw a clock: by log time.
    fn add_untimed(
        &mut self,
        turbine: &str,
        channel: ChannelId,
        rows: &TurbineRows,
        run: &[Row],
    ) -> Result<(), LakeError> {
        for of_record in run.chunk_by(|a, b| a.piece == b.piece) {
            let slot = Slot::of(rows.piece(&of_record[0]).log_time.0);
            self.sheet(Table::Untimed, slot)?
                .add(turbine, channel, rows, of_record)?;
        }
        Ok(())
    }

    /// The file in the making, begun if there is none.
    fn sheet(&mut self, table: Table, slot: Slot) -> Result<&mut Sheet, LakeError> {
        Ok(match self.begun.entry((table, slot)) {
            Entry::Occupied(o) => o.into_mut(),
            Entry::Vacant(v) => {
                let (farm, file) = (self.farm, self.file_name);
                let path = format!("{table}/farm={farm}/{}/{file}", slot.folder());
                v.insert(Sheet::new(table, path)?)
            }
        })
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

/// Does the raw value mean something?
pub(crate) fn has_number(quality: Quality) -> bool {
    !matches!(quality, Quality::NotANumber | Quality::OutOfRange)
}

/// Least and greatest.
pub(super) fn bounds(times: impl Iterator<Item = i64>) -> (i64, i64) {
    times.fold((i64::MAX, i64::MIN), |(a, b), t| (a.min(t), b.max(t)))
}

/// Where `time` stands among the fields.
const TIME: usize = 3;

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

fn untimed_schema() -> Schema {
    let mut fields = fields();
    fields[TIME] = field("since_boot_us", DataType::Int64, false);
    fields.push(name_field("boot", false));
    fields.push(time_field("log_time", false));
    fields.push(field("log_offset", DataType::UInt64, false));
    Schema::new(fields)
}

fn late_schema() -> Schema {
    let mut fields = fields();
    fields.push(time_field("log_time", false));
    fields.push(field("log_offset", DataType::UInt64, false));
    Schema::new(fields)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Edge, T0, catalogue, fleet};
    use super::*;
    use parquet::file::metadata::RowGroupMetaData;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use windlass_shared::time::{EventTime, SECOND_US};
    use windlass_shared::wire;

    fn add(to: &mut Readings, record: Vec<u8>, offset: u64) {
        let decoded = wire::decode(&record).unwrap();
        let origin = Origin {
            turbine: &decoded.header.id.turbine,
            farm: "north",
            epoch: decoded.header.id.epoch,
            seq: decoded.header.id.seq,
            log_time: LogTime(T0),
            offset,
        };
        to.add(&origin, &decoded.body, record.into());
    }

    /// `turbines` times two records of 5 rows of 3 channels, from `T0`.
    fn full_after(limits: Limits, turbines: u8) -> Vec<bool> {
        let mut readings = Readings::new(limits);
        let mut full = Vec::new();
        for t in 0..turbines {
            let (mut edge, _) = Edge::open(&fleet(), &format!("T{}", t + 1), t + 1, None);
            for _ in 0..2 {
                add(&mut readings, edge.slice(5), full.len() as u64);
                full.push(readings.is_full());
            }
        }
        readings.files(&fleet(), "cut.parquet").unwrap();
        assert!(!readings.is_full());
        full
    }

    #[test]
    fn a_cut_is_full_by_all_its_readings_by_one_turbine_and_by_what_waits() {
        let none = Limits {
            readings: u64::MAX,
            turbine: u64::MAX,
            waiting: u64::MAX,
        };
        let full = [false, false, true, true];
        let limits = Limits {
            readings: 45,
            ..none
        };
        assert_eq!(full_after(limits, 2), full);
        let limits = Limits {
            turbine: 30,
            ..none
        };
        assert_eq!(full_after(limits, 2), [false, true, true, true]);
        let limits = Limits {
            waiting: 45,
            ..none
        };
        assert_eq!(full_after(limits, 2), full);
    }

    #[test]
    fn rows_that_come_out_of_order_are_sorted() {
        let (mut edge, _) = Edge::open(&fleet(), "T1", 1, None);
        let mut readings = Readings::default();
        let starts = [20, 0, 5, 5].map(|s| EventTime(T0 + s * SECOND_US));
        for (offset, start) in starts.into_iter().enumerate() {
            add(
                &mut readings,
                edge.regular(start, SECOND_US, 10),
                offset as u64,
            );
        }
        let fleet = fleet();
        let mut rows = TurbineRows::default();
        let held = &readings.farms["north"].turbines.values().next().unwrap();
        rows.fill(&fleet, &held.pieces, "cut.parquet").unwrap();
        let order: Vec<_> = rows
            .by_channel()
            .flat_map(|(channel, of)| of.iter().map(move |r| (channel, r)))
            .map(|(channel, r)| (channel, r.time, rows.piece(r).seq, r.index))
            .collect();
        assert_eq!(order.len(), 4 * 10 * 3);
        assert!(order.is_sorted());
        let channels: BTreeSet<ChannelId> = order.iter().map(|o| o.0).collect();
        assert_eq!(channels.len(), catalogue(&fleet).channels.len());
    }

    #[test]
    fn a_file_is_the_same_however_many_row_groups_it_has() {
        // 50,000 rows of 3 channels: two row groups
        let (mut edge, _) = Edge::open(&fleet(), "T1", 1, None);
        let mut readings = Readings::default();
        let mut start = EventTime(T0 - T0 % (3_600 * SECOND_US));
        for offset in 0..50 {
            add(&mut readings, edge.regular(start, 1_000, 1_000), offset);
            start = start.plus_us(SECOND_US);
        }
        let files = readings.files(&fleet(), "cut.parquet").unwrap();
        assert_eq!(files.len(), 1);
        let entry = &files[0].entry;
        assert_eq!(entry.rows, 150_000);
        assert_eq!(
            (entry.time_min, entry.time_max),
            (start.0 - 50 * SECOND_US, start.0 - 1_000)
        );
        let file = SerializedFileReader::new(files[0].bytes.clone()).unwrap();
        let groups = file.metadata().row_groups();
        let rows: Vec<i64> = groups.iter().map(RowGroupMetaData::num_rows).collect();
        assert_eq!(
            rows,
            [GROUP_ROWS_MAX as i64, 150_000 - GROUP_ROWS_MAX as i64]
        );
    }
}
