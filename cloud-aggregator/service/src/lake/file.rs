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
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use super::{FileEntry, LakeError, Table, sha256_hex};

/// Rows of a row group: about 400 kB of readings, so that a turbine's share of a file is read without the rest.
pub const GROUP_ROWS_MAX: usize = 131_072;
/// The same where a row holds a record's bytes.
const EVIDENCE_ROW_GROUP_ROWS_MAX: usize = 4_096;
/// The next useful level saves 3 % of the bytes and needs tables of a megabyte for each column of each file, which cost
/// more than the compression.
const ZSTD_LEVEL: i32 = 1;
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

/// Rows to bytes. `sorted_by` names the leading sort columns.
pub fn encode(
    place: Place,
    schema: Schema,
    columns: Vec<ArrayRef>,
    sorted_by: &[&str],
) -> Result<DataFile, LakeError> {
    let mut file = FileWriter::new(place.table, place.path, schema, sorted_by)?;
    file.write(columns)?;
    file.finish(place.bounds, place.turbines)
}

/// A file in the making.
pub struct FileWriter {
    table: Table,
    path: String,
    schema: SchemaRef,
    writer: ArrowWriter<Vec<u8>>,
    rows: u64,
}

impl FileWriter {
    /// Without rows. `sorted_by` names the leading sort columns.
    pub fn new(
        table: Table,
        path: String,
        schema: Schema,
        sorted_by: &[&str],
    ) -> Result<Self, LakeError> {
        let schema: SchemaRef = Arc::new(schema);
        let writer = properties(table, &schema, sorted_by)
            .and_then(|p| ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(p)));
        match writer {
            Ok(writer) => Ok(Self {
                table,
                path,
                schema,
                writer,
                rows: 0,
            }),
            Err(source) => Err(LakeError::Parquet { path, source }),
        }
    }

    /// Path in the lake.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The next rows.
    pub fn write(&mut self, columns: Vec<ArrayRef>) -> Result<(), LakeError> {
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(|source| {
            LakeError::Arrow {
                path: self.path.clone(),
                source,
            }
        })?;
        self.rows += batch.num_rows() as u64;
        self.writer
            .write(&batch)
            .map_err(|source| LakeError::Parquet {
                path: self.path.clone(),
                source,
            })
    }

    /// The file, with what its marker says of the rows.
    pub fn finish(
        self,
        bounds: (i64, i64),
        turbines: BTreeSet<String>,
    ) -> Result<DataFile, LakeError> {
        let bytes: Bytes = match self.writer.into_inner() {
            Ok(bytes) => bytes.into(),
            Err(source) => {
                let path = self.path;
                return Err(LakeError::Parquet { path, source });
            }
        };
        Ok(DataFile {
            entry: FileEntry {
                table: self.table,
                path: self.path,
                rows: self.rows,
                bytes: bytes.len() as u64,
                sha256: sha256_hex(&bytes),
                time_min: bounds.0,
                time_max: bounds.1,
                events: None,
                turbines: turbines.into_iter().collect(),
            },
            bytes,
        })
    }
}

/// How a file of `table` is written: names by dictionary, sorted integers by their differences, the rest as it is.
/// A dictionary of numbers that hardly repeat costs a hash for each and saves nothing.
fn properties(
    table: Table,
    schema: &Schema,
    sorted_by: &[&str],
) -> Result<WriterProperties, ParquetError> {
    let sorting = sorted_by
        .iter()
        .filter_map(|n| schema.index_of(n).ok())
        .map(|i| SortingColumn {
            column_idx: i as i32,
            descending: false,
            nulls_first: true,
        })
        .collect();
    let group_rows = if table == Table::Batches {
        EVIDENCE_ROW_GROUP_ROWS_MAX
    } else {
        GROUP_ROWS_MAX
    };
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_created_by(format!("windlass {}", env!("CARGO_PKG_VERSION")))
        .set_max_row_group_row_count(Some(group_rows))
        .set_sorting_columns(Some(sorting));
    for field in schema.fields() {
        let column = ColumnPath::from(field.name().as_str());
        let encoding = match field.data_type() {
            DataType::Float64 | DataType::Binary => Encoding::PLAIN,
            kind if kind.is_integer() || kind.is_temporal() => Encoding::DELTA_BINARY_PACKED,
            _ => continue,
        };
        properties = properties
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_encoding(column, encoding);
    }
    Ok(properties.build())
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
