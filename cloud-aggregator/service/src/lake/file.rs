//! Parquet files: how rows become bytes, where the bytes lie, and typed views of what is read back.
//!
//! Invariant: the bytes are a function of the rows and of this code; no clock, no random number, no map order. Times are
//! TIMESTAMP(MICROS, UTC), texts that repeat are dictionaries, rows are sorted by turbine first so that a reader skips
//! the row groups of the others.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::types::{Int32Type, TimestampMicrosecondType};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, DictionaryArray, Int32Array,
    PrimitiveArray, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::WriterProperties;

use super::{FileEntry, LakeError, Table, sha256_hex};

/// Rows of a row group: about 1 MB of readings, so that a turbine's share of a file is read without the rest.
const ROW_GROUP_ROWS_MAX: usize = 131_072;
/// The same where a row holds a record's bytes.
const EVIDENCE_ROW_GROUP_ROWS_MAX: usize = 4_096;
/// Microseconds in an hour.
pub const HOUR_US: i64 = 60 * windlass_shared::time::MINUTE_US;
const DAY_US: i64 = 24 * HOUR_US;

/// A file that is ready to be put.
#[derive(Clone, Debug)]
pub struct DataFile {
    /// What the commit marker will say.
    pub entry: FileEntry,
    /// Its content.
    pub bytes: Bytes,
}

/// The folder that a row belongs to: a date, and an hour or the whole day.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Slot {
    /// Days since 1970-01-01.
    pub day: i64,
    /// Hour of the day; `None`: rows of the whole day, too few for files of an hour.
    pub hour: Option<u8>,
}

impl Slot {
    /// The hour that holds `us`.
    pub fn of(us: i64) -> Self {
        Self {
            day: us.div_euclid(DAY_US),
            hour: Some((us.rem_euclid(DAY_US) / HOUR_US) as u8),
        }
    }
    /// `date=2026-11-20/hour=07`, or `date=2026-11-20/hour=day`.
    pub fn folder(self) -> String {
        let hour = self
            .hour
            .map_or_else(|| "day".to_owned(), |h| format!("{h:02}"));
        format!("date={}/hour={hour}", date(self.day))
    }
}

/// `2026-11-20`; a day that no calendar has by its number: `day106751991`.
pub fn date(day: i64) -> String {
    day.checked_mul(DAY_US)
        .and_then(|us| Timestamp::from_microsecond(us).ok())
        .map_or_else(
            || format!("day{day}"),
            |t| t.to_zoned(TimeZone::UTC).date().to_string(),
        )
}

/// A column of times.
pub fn time_field(name: &str, nullable: bool) -> Field {
    Field::new(name, time_type(), nullable)
}

fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// A column of texts that repeat.
pub fn name_field(name: &str, nullable: bool) -> Field {
    let text = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    Field::new(name, text, nullable)
}

/// A column of `kind`.
pub fn field(name: &str, kind: DataType, nullable: bool) -> Field {
    Field::new(name, kind, nullable)
}

/// Times, in microseconds.
pub fn times(us: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    let array: TimestampMicrosecondArray = us.into_iter().collect();
    Arc::new(array.with_timezone("UTC"))
}

/// Texts that repeat.
pub fn names<'a>(texts: impl IntoIterator<Item = Option<&'a str>>) -> ArrayRef {
    let array: DictionaryArray<Int32Type> = texts.into_iter().collect();
    Arc::new(array)
}

/// Texts that repeat, by index in `values`.
pub fn names_by_key(
    path: &str,
    keys: impl IntoIterator<Item = i32>,
    values: &[String],
) -> Result<ArrayRef, LakeError> {
    let keys = Int32Array::from_iter_values(keys);
    let values: ArrayRef = Arc::new(StringArray::from_iter_values(values));
    DictionaryArray::<Int32Type>::try_new(keys, values)
        .map(|a| Arc::new(a) as ArrayRef)
        .map_err(|source| LakeError::Arrow {
            path: path.to_owned(),
            source,
        })
}

/// Where a file lies and what the marker says of its rows.
pub struct Place {
    /// Which table.
    pub table: Table,
    /// Path in the lake.
    pub path: String,
    /// Earliest and latest time in it.
    pub bounds: (i64, i64),
    /// Turbines in it.
    pub turbines: BTreeSet<String>,
}

/// Rows to bytes. `sorted_by` names the leading sort columns; `plain` the columns that never repeat.
pub fn encode(
    place: Place,
    schema: Schema,
    columns: Vec<ArrayRef>,
    sorted_by: &[&str],
) -> Result<DataFile, LakeError> {
    let path = place.path;
    let arrow = |source| LakeError::Arrow {
        path: path.clone(),
        source,
    };
    let parquet = |source| LakeError::Parquet {
        path: path.clone(),
        source,
    };
    let schema: SchemaRef = Arc::new(schema);
    let sorting = sorted_by
        .iter()
        .filter_map(|n| schema.index_of(n).ok())
        .map(|i| SortingColumn {
            column_idx: i as i32,
            descending: false,
            nulls_first: true,
        })
        .collect();
    let group_rows = if place.table == Table::Batches {
        EVIDENCE_ROW_GROUP_ROWS_MAX
    } else {
        ROW_GROUP_ROWS_MAX
    };
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).map_err(parquet)?))
        .set_created_by(format!("windlass {}", env!("CARGO_PKG_VERSION")))
        .set_max_row_group_row_count(Some(group_rows))
        .set_sorting_columns(Some(sorting))
        .build();
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).map_err(arrow)?;
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties)).map_err(parquet)?;
    writer.write(&batch).map_err(parquet)?;
    let bytes: Bytes = writer.into_inner().map_err(parquet)?.into();
    Ok(DataFile {
        entry: FileEntry {
            table: place.table,
            path,
            rows: batch.num_rows() as u64,
            bytes: bytes.len() as u64,
            sha256: sha256_hex(&bytes),
            time_min: place.bounds.0,
            time_max: place.bounds.1,
            events: None,
            turbines: place.turbines.into_iter().collect(),
        },
        bytes,
    })
}

/// Columns of a batch that was read, by name and type.
pub struct Columns<'a> {
    batch: &'a RecordBatch,
    path: &'a str,
}

impl<'a> Columns<'a> {
    /// The columns of `batch`, which came from `path`.
    pub fn new(batch: &'a RecordBatch, path: &'a str) -> Self {
        Self { batch, path }
    }
    fn get<T: 'static>(&self, name: &str) -> Result<&'a T, LakeError> {
        let wrong = |found: String| LakeError::Damaged {
            path: self.path.to_owned(),
            what: "a column",
            expected: format!("`{name}` as this version writes it"),
            found,
        };
        let column = self
            .batch
            .column_by_name(name)
            .ok_or_else(|| wrong("none".to_owned()))?;
        column
            .as_any()
            .downcast_ref()
            .ok_or_else(|| wrong(column.data_type().to_string()))
    }
    /// Numbers.
    pub fn numbers<T: ArrowPrimitiveType>(
        &self,
        name: &str,
    ) -> Result<&'a PrimitiveArray<T>, LakeError> {
        self.get(name)
    }
    /// Times.
    pub fn times(
        &self,
        name: &str,
    ) -> Result<&'a PrimitiveArray<TimestampMicrosecondType>, LakeError> {
        self.get(name)
    }
    /// Flags.
    pub fn flags(&self, name: &str) -> Result<&'a BooleanArray, LakeError> {
        self.get(name)
    }
    /// Byte strings.
    pub fn bytes(&self, name: &str) -> Result<&'a BinaryArray, LakeError> {
        self.get(name)
    }
    /// Texts that do not repeat.
    pub fn texts(&self, name: &str) -> Result<&'a StringArray, LakeError> {
        self.get(name)
    }
    /// Texts that repeat.
    pub fn names(&self, name: &str) -> Result<Names<'a>, LakeError> {
        let array: &DictionaryArray<Int32Type> = self.get(name)?;
        let values = array
            .values()
            .as_any()
            .downcast_ref::<StringArray>()
            .ok_or_else(|| LakeError::Damaged {
                path: self.path.to_owned(),
                what: "a dictionary",
                expected: format!("texts in `{name}`"),
                found: array.values().data_type().to_string(),
            })?;
        Ok(Names { array, values })
    }
}

/// A column of texts that repeat.
pub struct Names<'a> {
    array: &'a DictionaryArray<Int32Type>,
    values: &'a StringArray,
}

impl<'a> Names<'a> {
    /// The text of row `i`; `None` when it has none.
    pub fn get(&self, i: usize) -> Option<&'a str> {
        let key = self.key(i)?;
        Some(self.values.value(key))
    }
    /// Index of row `i`'s text in [`Names::distinct`].
    pub fn key(&self, i: usize) -> Option<usize> {
        (!self.array.is_null(i)).then(|| self.array.keys().value(i) as usize)
    }
    /// All texts of the batch, by key.
    pub fn distinct(&self) -> impl Iterator<Item = &'a str> {
        let values = self.values;
        (0..values.len()).map(move |i| values.value(i))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_utc_hours_also_before_1970() {
        assert_eq!(
            Slot::of(1_700_000_000_000_000).folder(),
            "date=2023-11-14/hour=22"
        );
        assert_eq!(Slot::of(0).folder(), "date=1970-01-01/hour=00");
        assert_eq!(Slot::of(-1).folder(), "date=1969-12-31/hour=23");
        assert_eq!(Slot::of(i64::MAX).folder(), "date=day106751991/hour=04");
        let day = Slot { day: 0, hour: None };
        assert_eq!(day.folder(), "date=1970-01-01/hour=day");
    }
}
