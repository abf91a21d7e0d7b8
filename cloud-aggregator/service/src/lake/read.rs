//! Reading the lake: committed cuts only.
//!
//! Invariants: a file is read only if a commit marker names it, and only if its length and SHA-256 are the marker's; a
//! [`View`] is what was committed at one moment, whatever is written meanwhile.

use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch};
use arrow_schema::ArrowError;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowPredicateFn, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowFilter,
};
use parquet::file::metadata::RowGroupMetaData;
use windlass_cloud_core::cut::Dedupe;
use windlass_cloud_core::topic::Topic;

use super::cut::CutBuilder;
use super::file::Columns;
use super::marker::{CUTS, Commit, FileEntry, Series};
use super::store::Store;
use super::{LakeError, Table, sha256_hex};

/// Rows that a scan hands over at a time.
const BATCH_ROWS: usize = 8_192;

/// A lake, for reading.
#[derive(Clone, Debug)]
pub struct Lake {
    store: Store,
}

/// Which rows a scan is about.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// Only this turbine.
    pub turbine: Option<String>,
    /// Only `[from, to)`, microseconds, by the table's own time (event time of readings, log time of batches).
    pub time: Option<(i64, i64)>,
}

impl Filter {
    /// All rows of one turbine.
    pub fn turbine(turbine: &str) -> Self {
        Self {
            turbine: Some(turbine.to_owned()),
            time: None,
        }
    }
    fn wants(&self, file: &FileEntry) -> bool {
        let turbine = self.turbine.as_ref().is_none_or(|t| file.has_turbine(t));
        turbine && self.time.is_none_or(|(a, b)| file.overlaps(a, b))
    }
}

/// What was committed at one moment.
#[derive(Clone, Debug)]
pub struct View {
    pub(super) store: Store,
    /// Each topic's partition with its cuts in order.
    pub series: Vec<(Series, Vec<Arc<Commit>>)>,
}

impl Lake {
    /// The lake at `url`, which must be there.
    pub fn open(url: &str) -> Result<Self, LakeError> {
        Store::open_existing(url).map(Self::new)
    }

    /// The lake in `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// As configured.
    pub fn url(&self) -> &str {
        self.store.url()
    }

    /// What is committed now; an error when a chain of markers is broken.
    pub async fn view(&self) -> Result<View, LakeError> {
        let mut series = Vec::new();
        for name in self.store.folders(CUTS).await? {
            let Some(s) = Series::parse(&name) else {
                continue;
            };
            let commits = self.commits(&s).await?;
            series.push((s, commits));
        }
        Ok(View {
            store: self.store.clone(),
            series,
        })
    }

    async fn commits(&self, series: &Series) -> Result<Vec<Arc<Commit>>, LakeError> {
        let mut commits: Vec<Arc<Commit>> = Vec::new();
        let mut before: Option<String> = None;
        for cut in series.committed(&self.store).await? {
            let (commit, sha256) = series.read_commit(&self.store, cut).await?;
            follows(series, &commit, before.as_ref())?;
            before = Some(sha256);
            commits.push(Arc::new(commit));
        }
        Ok(commits)
    }
}

/// An error when the marker names another one before it than the one with this hash; the first one names what it will.
pub(super) fn follows(
    series: &Series,
    commit: &Commit,
    before: Option<&String>,
) -> Result<(), LakeError> {
    if before.is_none() || commit.cut.after.as_ref() == before {
        return Ok(());
    }
    Err(LakeError::Chain {
        of: series.name(),
        why: format!(
            "the marker of {}-{} names another marker before it than the one that is there",
            commit.cut.first, commit.cut.last
        ),
    })
}

impl View {
    /// Files of `table` that may hold rows of `filter`, in the order of the log.
    pub fn files(&self, table: Table, filter: &Filter) -> Vec<&FileEntry> {
        let cuts = self.series.iter().flat_map(|(_, cuts)| cuts);
        let files = cuts.flat_map(|c| &c.files);
        files
            .filter(|f| f.table == table && filter.wants(f))
            .collect()
    }

    /// Turbines that the lake has anything of, sorted.
    pub fn turbines(&self) -> Vec<String> {
        let mut all: Vec<String> = self
            .files(Table::Batches, &Filter::default())
            .into_iter()
            .flat_map(|f| f.turbines.iter().cloned())
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// What the newest cut that has anything of the turbine's partition knows of every turbine's records: the coverage that
    /// the lake's writer went on with, checked against its marker.
    pub async fn known(&self, turbine: &str) -> Result<Dedupe, LakeError> {
        let has = |c: &Arc<Commit>| c.files.iter().any(|f| f.has_turbine(turbine));
        let telemetry = self.series.iter();
        let mut telemetry = telemetry.filter(|(s, _)| s.topic == Topic::Telemetry.as_str());
        let own = telemetry.find(|(_, cuts)| cuts.iter().rev().any(has));
        let Some(newest) = own.and_then(|(_, cuts)| cuts.last()) else {
            return Ok(Dedupe::default());
        };
        let state = &newest.state;
        let damaged = |what, found| LakeError::Damaged {
            path: state.path.clone(),
            what,
            expected: state.sha256.clone(),
            found,
        };
        let bytes = self.store.get(&state.path).await?;
        let bytes = bytes.ok_or_else(|| damaged("existence", "none".to_owned()))?;
        let found = sha256_hex(&bytes);
        if found != state.sha256 {
            return Err(damaged("SHA-256", found));
        }
        CutBuilder::dedupe(&bytes).map_err(|e| damaged("its form", e))
    }

    /// The bytes of a committed file, checked against its marker.
    pub async fn read(&self, file: &FileEntry) -> Result<Bytes, LakeError> {
        let damaged = |what, expected: String, found: String| LakeError::Damaged {
            path: file.path.clone(),
            what,
            expected,
            found,
        };
        let bytes = self.store.get(&file.path).await?;
        let bytes = bytes.ok_or_else(|| {
            damaged(
                "existence",
                format!("{} bytes", file.bytes),
                "none".to_owned(),
            )
        })?;
        if bytes.len() as u64 != file.bytes {
            let found = bytes.len().to_string();
            return Err(damaged("length", file.bytes.to_string(), found));
        }
        let sha256 = sha256_hex(&bytes);
        if sha256 != file.sha256 {
            return Err(damaged("SHA-256", file.sha256.clone(), sha256));
        }
        Ok(bytes)
    }

    /// Hands all rows of `file` that `filter` wants to `each`, in the order of the file. `columns`: only these
    /// (all, if empty). The filter by time is by files alone, not by rows.
    pub async fn scan(
        &self,
        file: &FileEntry,
        filter: &Filter,
        columns: &[&str],
        each: &mut dyn FnMut(&RecordBatch) -> Result<(), LakeError>,
    ) -> Result<(), LakeError> {
        let bytes = self.read(file).await?;
        let parquet = |source| LakeError::Parquet {
            path: file.path.clone(),
            source,
        };
        let reader = open(bytes, filter.turbine.as_deref(), columns).map_err(parquet)?;
        for batch in reader {
            let batch = batch.map_err(|source| LakeError::Arrow {
                path: file.path.clone(),
                source,
            })?;
            each(&batch)?;
        }
        Ok(())
    }

    /// Hands all rows of `table` that `filter` wants to `each`, file by file in the order of the log.
    pub async fn scan_all(
        &self,
        table: Table,
        filter: &Filter,
        each: &mut dyn FnMut(&RecordBatch, &FileEntry) -> Result<(), LakeError>,
    ) -> Result<(), LakeError> {
        for file in self.files(table, filter) {
            self.scan(file, filter, &[], &mut |batch| each(batch, file))
                .await?;
        }
        Ok(())
    }
}

fn open(
    bytes: Bytes,
    turbine: Option<&str>,
    columns: &[&str],
) -> Result<ParquetRecordBatchReader, parquet::errors::ParquetError> {
    let mut builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?.with_batch_size(BATCH_ROWS);
    let schema = builder.parquet_schema();
    let mask = if columns.is_empty() {
        ProjectionMask::all()
    } else {
        ProjectionMask::columns(schema, columns.iter().copied())
    };
    if let Some(turbine) = turbine {
        let column = (0..schema.num_columns()).find(|i| schema.column(*i).name() == "turbine");
        if let Some(column) = column {
            let only = ProjectionMask::leaves(schema, [column]);
            let groups = builder.metadata().row_groups().iter().enumerate();
            let groups = groups
                .filter(|(_, g)| may_hold(g, column, turbine.as_bytes()))
                .map(|(i, _)| i)
                .collect();
            let name: Arc<str> = turbine.into();
            let predicate =
                ArrowPredicateFn::new(only, move |batch: RecordBatch| is_turbine(&batch, &name));
            builder = builder
                .with_row_groups(groups)
                .with_row_filter(RowFilter::new(vec![Box::new(predicate)]));
        }
    }
    builder.with_projection(mask).build()
}

/// Can the row group hold this turbine? By its statistics; without them, yes.
fn may_hold(group: &RowGroupMetaData, column: usize, turbine: &[u8]) -> bool {
    let Some(statistics) = group.column(column).statistics() else {
        return true;
    };
    let below = statistics.min_bytes_opt().is_some_and(|min| turbine < min);
    let above = statistics.max_bytes_opt().is_some_and(|max| turbine > max);
    !(below || above)
}

fn is_turbine(batch: &RecordBatch, turbine: &str) -> Result<BooleanArray, ArrowError> {
    let columns = Columns::new(batch, "");
    let names = columns
        .names("turbine")
        .map_err(|e| ArrowError::SchemaError(e.to_string()))?;
    let key = names.distinct().position(|t| t == turbine);
    let rows = 0..batch.num_rows();
    Ok(rows
        .map(|i| Some(key.is_some() && names.key(i) == key))
        .collect())
}
