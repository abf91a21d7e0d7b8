//! Markers: what makes a cut begin and what makes it visible.
//!
//! `_cuts/{topic}-{partition}/{first, 20 digits}.intent.json` fixes the end of the cut that begins at position `first`;
//! one name for one position, so that two writers who disagree meet in it.
//! `_cuts/{topic}-{partition}/{first}-{last}.commit.json` lists what the cut holds;
//! `_cuts/{topic}-{partition}/{first}-{last}.state` is the deduplication state after it (only the newest two are kept).
//!
//! Invariant: `first` is the position after the last one of the cut before, whether or not the log has an entry there, so
//! that a missing marker shows in the names alone.

use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::store::{Created, Store};
use super::{FORMAT, LakeError, Table, sha256_hex};

/// Folder of all markers.
pub const CUTS: &str = "_cuts";

/// A cut has begun.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Intent {
    /// Of the markers and tables.
    pub format: u32,
    /// Which topic.
    pub topic: String,
    /// Which partition of it.
    pub partition: u32,
    /// Which log: positions of another log mean something else.
    pub generation: u64,
    /// First position.
    pub first: u64,
    /// Offset of the last entry.
    pub last: u64,
    /// SHA-256 of the commit marker before; none for the first cut.
    pub after: Option<String>,
}

/// A file of a cut.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileEntry {
    /// Which table.
    pub table: Table,
    /// Path in the lake.
    pub path: String,
    /// Rows in it.
    pub rows: u64,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: String,
    /// Earliest time in it (event time or log time, as the table is laid out), microseconds.
    pub time_min: i64,
    /// Latest time in it, microseconds.
    pub time_max: i64,
    /// Of `batches`: event times of the readings in its records that count, and when epochs began; none of other tables,
    /// and of files that were written before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Events>,
    /// Turbines in it, sorted.
    pub turbines: Arc<[String]>,
}

/// Event times that a file tells of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Events {
    /// None.
    #[serde(rename = "none")]
    Nothing,
    /// From the earliest to the latest, both included, microseconds.
    #[serde(rename = "within")]
    Within(i64, i64),
}

impl Events {
    /// Of these times.
    pub fn of(times: impl Iterator<Item = i64>) -> Self {
        let (min, max) = times.fold((i64::MAX, i64::MIN), |(a, b), t| (a.min(t), b.max(t)));
        if min <= max {
            Self::Within(min, max)
        } else {
            Self::Nothing
        }
    }
}

/// An object that a marker names.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ObjectEntry {
    /// Path in the lake.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: String,
}

/// A cut is complete.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Commit {
    /// What was begun.
    #[serde(flatten)]
    pub cut: Intent,
    /// Entries of the log in it.
    pub entries: u64,
    /// The log's time at its end, microseconds.
    pub log_time: i64,
    /// Its files by path.
    pub files: Vec<FileEntry>,
    /// The state to go on from.
    pub state: ObjectEntry,
}

impl FileEntry {
    /// Does it hold times in `[from, to)`?
    pub fn overlaps(&self, from: i64, to: i64) -> bool {
        self.time_min < to && self.time_max >= from
    }
    /// May it hold records with readings in `[from, to)`?
    pub fn may_tell_of(&self, from: i64, to: i64) -> bool {
        match self.events {
            None => true,
            Some(Events::Nothing) => false,
            Some(Events::Within(min, max)) => min < to && max >= from,
        }
    }
    /// Does it hold rows of `turbine`?
    pub fn has_turbine(&self, turbine: &str) -> bool {
        self.turbines
            .binary_search_by(|t| t.as_str().cmp(turbine))
            .is_ok()
    }
}

/// Names in the markers' folder of one topic's partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Series {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: u32,
}

impl Series {
    /// The series of `topic`'s `partition`.
    pub fn new(topic: &str, partition: u32) -> Self {
        Self {
            topic: topic.to_owned(),
            partition,
        }
    }
    /// `telemetry-0`.
    pub fn name(&self) -> String {
        format!("{}-{}", self.topic, self.partition)
    }
    /// Parses a folder name.
    pub fn parse(name: &str) -> Option<Self> {
        let (topic, partition) = name.rsplit_once('-')?;
        Some(Self::new(topic, partition.parse().ok()?))
    }
    fn folder(&self) -> String {
        format!("{CUTS}/{}", self.name())
    }
    /// Where the intent of the cut that begins at `first` lies.
    pub fn intent_path(&self, first: u64) -> String {
        format!("{}/{first:020}.intent.json", self.folder())
    }
    /// Where the commit marker of `first..=last` lies.
    pub fn commit_path(&self, first: u64, last: u64) -> String {
        format!("{}/{first:020}-{last:020}.commit.json", self.folder())
    }
    /// Where the state after `first..=last` lies.
    pub fn state_path(&self, first: u64, last: u64) -> String {
        format!("{}/{first:020}-{last:020}.state", self.folder())
    }
    /// Name of a data file, without its folder.
    pub fn file_name(&self, first: u64, last: u64) -> String {
        format!("{}-{first:020}-{last:020}.parquet", self.name())
    }

    /// Every committed cut's ends in order; an error when one is missing.
    pub async fn committed(&self, store: &Store) -> Result<Vec<(u64, u64)>, LakeError> {
        let names = store.names(&self.folder()).await?;
        let cuts: Vec<_> = names.iter().filter_map(|n| parse_commit_name(n)).collect();
        let broken = |why| LakeError::Chain {
            of: self.name(),
            why,
        };
        let mut next = cuts.first().map_or(0, |c| c.0);
        for &(first, last) in &cuts {
            if first != next || last < first {
                return Err(broken(format!(
                    "expected a commit marker that begins at {next}, found {first}-{last}"
                )));
            }
            next = last + 1;
        }
        if let Some(&(first, _)) = cuts.first()
            && first != 0
            && self
                .read_commit(store, cuts[0])
                .await?
                .0
                .cut
                .after
                .is_some()
        {
            return Err(broken(format!("the markers before {first} are missing")));
        }
        Ok(cuts)
    }

    /// Paths of the states in the store, oldest first.
    pub async fn states(&self, store: &Store) -> Result<Vec<String>, LakeError> {
        let folder = self.folder();
        let names = store.names(&folder).await?;
        let states = names.iter().filter(|n| n.strip_suffix(".state").is_some());
        Ok(states.map(|n| format!("{folder}/{n}")).collect())
    }

    /// The commit marker of a cut, which must be there, and its SHA-256.
    pub async fn read_commit(
        &self,
        store: &Store,
        (first, last): (u64, u64),
    ) -> Result<(Commit, String), LakeError> {
        let found = self.find_commit(store, (first, last)).await?;
        found.ok_or_else(|| LakeError::Chain {
            of: self.name(),
            why: format!("`{}` is missing", self.commit_path(first, last)),
        })
    }

    /// The commit marker of a cut and its SHA-256, if it is there.
    pub async fn find_commit(
        &self,
        store: &Store,
        (first, last): (u64, u64),
    ) -> Result<Option<(Commit, String)>, LakeError> {
        let path = self.commit_path(first, last);
        let Some(bytes) = store.get(&path).await? else {
            return Ok(None);
        };
        let commit: Commit = parse(&path, &bytes)?;
        let cut = &commit.cut;
        let same = cut.topic == self.topic && cut.partition == self.partition;
        if !same || cut.first != first || cut.last != last || cut.format != FORMAT {
            return Err(LakeError::Damaged {
                path,
                what: "its own position or format",
                expected: format!("{} {first}-{last} format {FORMAT}", self.name()),
                found: format!(
                    "{}-{} {}-{} format {}",
                    cut.topic, cut.partition, cut.first, cut.last, cut.format
                ),
            });
        }
        Ok(Some((commit, sha256_hex(&bytes))))
    }

    /// The intent of the cut that begins at `first`, if it was begun.
    pub async fn read_intent(
        &self,
        store: &Store,
        first: u64,
    ) -> Result<Option<Intent>, LakeError> {
        let path = self.intent_path(first);
        match store.get(&path).await? {
            Some(bytes) => parse(&path, &bytes).map(Some),
            None => Ok(None),
        }
    }
}

fn parse<T: DeserializeOwned>(path: &str, bytes: &Bytes) -> Result<T, LakeError> {
    serde_json::from_slice(bytes).map_err(|e| LakeError::Damaged {
        path: path.to_owned(),
        what: "its form",
        expected: "a marker in JSON".to_owned(),
        found: e.to_string(),
    })
}

fn parse_commit_name(name: &str) -> Option<(u64, u64)> {
    let (first, last) = name.strip_suffix(".commit.json")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// Puts a marker unless it is there; the same content there is as good, other content is an error.
/// Returns the SHA-256 of the marker's bytes.
pub async fn put_marker<T: Serialize>(
    store: &Store,
    path: &str,
    marker: &T,
) -> Result<String, LakeError> {
    let mut bytes = serde_json::to_vec_pretty(marker).map_err(|e| LakeError::Damaged {
        path: path.to_owned(),
        what: "its form",
        expected: "JSON".to_owned(),
        found: e.to_string(),
    })?;
    bytes.push(b'\n');
    match store.create(path, bytes.clone().into()).await? {
        Created::New => {}
        Created::Exists(there) if there == bytes => {}
        Created::Exists(there) => {
            return Err(LakeError::Contended {
                path: path.to_owned(),
                expected: sha256_hex(&bytes),
                found: sha256_hex(&there),
            });
        }
    }
    Ok(sha256_hex(&bytes))
}
