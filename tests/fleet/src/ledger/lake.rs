//! What is found: the lake's committed cuts, read from their markers and files alone.
//!
//! Invariants: a file counts only if a commit marker names it and its bytes have the marker's SHA-256; the markers of a
//! topic's partition join without a hole. This reader shares no code with the writer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType, UInt64Type};
use arrow_array::{Array, RecordBatch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// A lake in a folder.
pub struct Lake {
    root: PathBuf,
    /// Files by table.
    files: BTreeMap<String, Vec<PathBuf>>,
    /// Rows by table.
    rows: BTreeMap<String, u64>,
    /// Last position of each committed series, by `{topic}-{partition}`.
    last: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct Commit {
    first: u64,
    last: u64,
    files: Vec<File>,
}

#[derive(Deserialize)]
struct File {
    table: String,
    path: String,
    rows: u64,
    sha256: String,
}

impl Lake {
    /// Reads all markers; checks that they join, and every file's length in rows and hash.
    pub fn open(root: &Path) -> Result<Self> {
        let mut lake = Self::markers(root)?;
        for file in lake.take_unchecked()? {
            let path = root.join(&file.path);
            let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
            let found = hex(&Sha256::digest(&bytes));
            ensure!(
                found == file.sha256,
                "{}: SHA-256 {found}, its marker says {}",
                path.display(),
                file.sha256
            );
            let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&path)?)?;
            let rows = reader.metadata().file_metadata().num_rows() as u64;
            ensure!(
                rows == file.rows,
                "{}: {rows} rows, its marker says {}",
                path.display(),
                file.rows
            );
            *lake.rows.entry(file.table.clone()).or_default() += rows;
            lake.files.entry(file.table).or_default().push(path);
        }
        Ok(lake)
    }

    /// Rows of a table.
    pub fn rows(&self, table: &str) -> u64 {
        self.rows.get(table).copied().unwrap_or(0)
    }

    /// Rows by table as the markers say, without looking at any file.
    pub fn counted(root: &Path) -> Result<BTreeMap<String, u64>> {
        let mut rows = BTreeMap::new();
        for file in Self::markers(root)?.take_unchecked()? {
            *rows.entry(file.table).or_default() += file.rows;
        }
        Ok(rows)
    }

    /// The position after the last committed entry of each series, without looking at any file.
    pub fn positions(root: &Path) -> Result<BTreeMap<String, u64>> {
        Ok(Self::markers(root)?.last)
    }

    fn markers(root: &Path) -> Result<Self> {
        let mut lake = Self {
            root: root.to_owned(),
            files: BTreeMap::new(),
            rows: BTreeMap::new(),
            last: BTreeMap::new(),
        };
        for series in lake.series()? {
            let cuts = commits(&root.join("_cuts").join(&series))?;
            let mut next = 0;
            for (first, last, _) in &cuts {
                ensure!(
                    *first == next && last >= first,
                    "lake series {series}: expected a commit that begins at {next}, found {first}-{last}"
                );
                next = last + 1;
            }
            lake.last.insert(series, next);
        }
        Ok(lake)
    }

    fn series(&self) -> Result<Vec<String>> {
        let folder = self.root.join("_cuts");
        if !folder.exists() {
            return Ok(Vec::new());
        }
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&folder)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn take_unchecked(&self) -> Result<Vec<File>> {
        let mut files = Vec::new();
        for series in self.series()? {
            for (first, last, path) in commits(&self.root.join("_cuts").join(&series))? {
                let text = std::fs::read(&path)?;
                let commit: Commit =
                    serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
                ensure!(
                    (commit.first, commit.last) == (first, last),
                    "{}: it says {}-{}",
                    path.display(),
                    commit.first,
                    commit.last
                );
                files.extend(commit.files);
            }
        }
        Ok(files)
    }

    /// Calls `row` for each row of a table.
    pub fn each(&self, table: &str, mut row: impl FnMut(&Row<'_>) -> Result<()>) -> Result<()> {
        for path in self.files.get(table).into_iter().flatten() {
            let file = std::fs::File::open(path)?;
            let reader = ParquetRecordBatchReaderBuilder::try_new(file)?
                .with_batch_size(8192)
                .build()?;
            for batch in reader {
                let batch = batch.with_context(|| path.display().to_string())?;
                for at in 0..batch.num_rows() {
                    row(&Row { batch: &batch, at }).with_context(|| path.display().to_string())?;
                }
            }
        }
        Ok(())
    }
}

/// Ends and path of each commit marker in a folder, in order.
fn commits(folder: &Path) -> Result<Vec<(u64, u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Some(ends) = name.strip_suffix(".commit.json") else {
            continue;
        };
        let Some((first, last)) = ends.split_once('-') else {
            bail!("{}: no marker's name", path.display());
        };
        found.push((first.parse()?, last.parse()?, path.clone()));
    }
    found.sort();
    Ok(found)
}

/// One row of a table.
pub struct Row<'a> {
    batch: &'a RecordBatch,
    at: usize,
}

impl<'a> Row<'a> {
    fn column(&self, name: &str) -> Result<&'a dyn Array> {
        let column = self.batch.column_by_name(name);
        Ok(column
            .with_context(|| format!("no column {name}"))?
            .as_ref())
    }

    /// A text, dictionary-coded or plain.
    pub fn text(&self, name: &str) -> Result<Option<&'a str>> {
        let column = self.column(name)?;
        if column.is_null(self.at) {
            return Ok(None);
        }
        if let Some(plain) = column.as_string_opt::<i32>() {
            return Ok(Some(plain.value(self.at)));
        }
        let coded = column.as_dictionary_opt::<Int32Type>();
        let coded = coded.with_context(|| format!("{name} is no text"))?;
        let values = coded.values().as_string_opt::<i32>();
        let values = values.with_context(|| format!("{name} is no text"))?;
        Ok(Some(values.value(coded.keys().value(self.at) as usize)))
    }

    /// A text that must be there.
    pub fn need(&self, name: &str) -> Result<&'a str> {
        self.text(name)?.with_context(|| format!("{name} is empty"))
    }

    /// A whole number of any width.
    pub fn int(&self, name: &str) -> Result<Option<i64>> {
        use arrow_array::types::{UInt16Type, UInt32Type};
        let column = self.column(name)?;
        if column.is_null(self.at) {
            return Ok(None);
        }
        let at = self.at;
        let found = if let Some(c) = column.as_primitive_opt::<Int64Type>() {
            c.value(at)
        } else if let Some(c) = column.as_primitive_opt::<UInt64Type>() {
            c.value(at) as i64
        } else if let Some(c) = column.as_primitive_opt::<UInt32Type>() {
            i64::from(c.value(at))
        } else if let Some(c) = column.as_primitive_opt::<UInt16Type>() {
            i64::from(c.value(at))
        } else if let Some(c) = column.as_primitive_opt::<TimestampMicrosecondType>() {
            c.value(at)
        } else {
            bail!("{name} is no whole number but {}", column.data_type())
        };
        Ok(Some(found))
    }

    /// A whole number that must be there.
    pub fn need_int(&self, name: &str) -> Result<i64> {
        self.int(name)?.with_context(|| format!("{name} is empty"))
    }

    /// A real number.
    pub fn float(&self, name: &str) -> Result<Option<f64>> {
        let column = self.column(name)?;
        let column = column
            .as_primitive_opt::<Float64Type>()
            .with_context(|| format!("{name} is no real number"))?;
        Ok((!column.is_null(self.at)).then(|| column.value(self.at)))
    }

    /// Yes or no.
    pub fn flag(&self, name: &str) -> Result<bool> {
        let column = self.column(name)?.as_boolean_opt();
        let column = column.with_context(|| format!("{name} is no flag"))?;
        Ok(column.value(self.at))
    }

    /// Bytes.
    pub fn bytes(&self, name: &str) -> Result<Option<&'a [u8]>> {
        let column = self.column(name)?.as_binary_opt::<i32>();
        let column = column.with_context(|| format!("{name} is no bytes"))?;
        Ok((!column.is_null(self.at)).then(|| column.value(self.at)))
    }
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").ok();
        text
    })
}
