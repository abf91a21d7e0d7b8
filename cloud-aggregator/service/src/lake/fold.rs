//! Older cuts, folded: what is kept of them in memory, which is enough to say whether a request needs their markers again.
//!
//! Invariants: a fold that says no to a request holds no file that says yes; its size depends on the turbines and on
//! [`SPANS_MAX`], not on the number of its cuts; unfolded, its markers join, and end in the hash that was kept of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_shared::time::SECOND_US;

use super::marker::{Commit, Events, FileEntry, Series};
use super::read::follows;
use super::store::Store;
use super::{LakeError, Table};

/// Spans of time of one table of a fold.
const SPANS_MAX: usize = 8;
/// Spans that are no further apart are one, microseconds: an hour, as files are cut.
const APART_US: i64 = 3_600 * SECOND_US;

/// Which files of older cuts a request is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wants {
    /// Of this table.
    pub table: Table,
    /// With rows of this turbine.
    pub turbine: String,
    /// Of `[from, to)`, microseconds: of `batches` the event times that they tell of, of others their own time.
    pub time: (i64, i64),
}

impl Wants {
    /// Is the request about this file?
    pub fn file(&self, file: &FileEntry) -> bool {
        let (from, to) = self.time;
        let then = match self.table {
            Table::Batches => file.may_tell_of(from, to),
            _ => file.overlaps(from, to),
        };
        file.table == self.table && then && file.has_turbine(&self.turbine)
    }
}

/// Cuts that follow each other.
#[derive(Clone, Debug)]
pub struct Fold {
    /// First position.
    pub first: u64,
    /// Last position.
    pub last: u64,
    /// How many.
    pub cuts: u64,
    /// SHA-256 of the marker before; none before the first cut that is there.
    before: Option<String>,
    /// SHA-256 of the last marker.
    sha256: String,
    tables: BTreeMap<Table, Held>,
}

/// What the cuts hold of one table.
#[derive(Clone, Debug)]
struct Held {
    /// In order, apart.
    times: Vec<(i64, i64)>,
    /// Event times that its files tell of; none: one of them does not say.
    events: Option<Vec<(i64, i64)>>,
    /// Sorted.
    turbines: Arc<[String]>,
}

impl Fold {
    /// Of cuts in order, at least one, between the markers with these hashes. `one` gives the copy of a list of turbines that
    /// is held already.
    pub(super) fn of(
        commits: &[Arc<Commit>],
        before: Option<String>,
        sha256: String,
        mut one: impl FnMut(Arc<[String]>) -> Arc<[String]>,
    ) -> Self {
        let mut tables: BTreeMap<Table, Held> = BTreeMap::new();
        for file in commits.iter().flat_map(|c| &c.files) {
            let held = Held::of(file);
            match tables.get_mut(&file.table) {
                Some(there) => there.add(held, &mut one),
                None => drop(tables.insert(file.table, held)),
            }
        }
        Self {
            first: commits.first().map_or(0, |c| c.cut.first),
            last: commits.last().map_or(0, |c| c.cut.last),
            cuts: commits.len() as u64,
            before,
            sha256,
            tables,
        }
    }

    /// With the fold that follows it.
    pub(super) fn join(&mut self, next: Self, mut one: impl FnMut(Arc<[String]>) -> Arc<[String]>) {
        self.last = next.last;
        self.cuts += next.cuts;
        self.sha256 = next.sha256;
        for (table, held) in next.tables {
            match self.tables.get_mut(&table) {
                Some(there) => there.add(held, &mut one),
                None => drop(self.tables.insert(table, held)),
            }
        }
    }

    /// SHA-256 of the last marker.
    pub(super) fn sha256(&self) -> &str {
        &self.sha256
    }

    /// May a file of it be what the request is about?
    pub fn may_hold(&self, wants: &Wants) -> bool {
        let Some(held) = self.tables.get(&wants.table) else {
            return false;
        };
        let (from, to) = wants.time;
        let any = |spans: &[(i64, i64)]| spans.iter().any(|s| s.0 < to && s.1 >= from);
        let then = match wants.table {
            Table::Batches => held.events.as_deref().is_none_or(any),
            _ => any(&held.times),
        };
        then && has(&held.turbines, &wants.turbine)
    }

    /// Does it hold anything of the turbine?
    pub fn has_turbine(&self, turbine: &str) -> bool {
        self.tables.values().any(|h| has(&h.turbines, turbine))
    }

    /// Its cuts, read again, each with the files that `wanted` wants.
    pub async fn unfold(
        &self,
        store: &Store,
        series: &Series,
        wanted: impl Fn(&FileEntry) -> bool,
    ) -> Result<Vec<Arc<Commit>>, LakeError> {
        let mut commits = Vec::new();
        let mut before = self.before.clone();
        let mut first = self.first;
        while first <= self.last {
            let intent = series.read_intent(store, first).await?;
            let last = intent.map(|i| i.last).ok_or_else(|| LakeError::Chain {
                of: series.name(),
                why: format!("`{}` is missing", series.intent_path(first)),
            })?;
            let (mut commit, sha256) = series.read_commit(store, (first, last)).await?;
            follows(series, &commit, before.as_ref())?;
            commit.files.retain(&wanted);
            commit.files.shrink_to_fit();
            commits.push(Arc::new(commit));
            (before, first) = (Some(sha256), last + 1);
        }
        if before.as_ref() == Some(&self.sha256) {
            return Ok(commits);
        }
        Err(LakeError::Chain {
            of: series.name(),
            why: format!(
                "the markers of {}-{} are not those that were there",
                self.first, self.last
            ),
        })
    }
}

impl Held {
    fn of(file: &FileEntry) -> Self {
        Self {
            times: vec![(file.time_min, file.time_max)],
            events: match file.events {
                None => None,
                Some(Events::Nothing) => Some(Vec::new()),
                Some(Events::Within(min, max)) => Some(vec![(min, max)]),
            },
            turbines: Arc::clone(&file.turbines),
        }
    }

    fn add(&mut self, other: Self, one: &mut impl FnMut(Arc<[String]>) -> Arc<[String]>) {
        add_spans(&mut self.times, other.times);
        match (&mut self.events, other.events) {
            (Some(mine), Some(more)) => add_spans(mine, more),
            (mine, _) => *mine = None,
        }
        if other.turbines.iter().any(|t| !has(&self.turbines, t)) {
            let both = self.turbines.iter().chain(other.turbines.iter());
            let mut all: Vec<String> = both.cloned().collect();
            all.sort_unstable();
            all.dedup();
            self.turbines = one(all.into());
        }
    }
}

fn has(turbines: &[String], turbine: &str) -> bool {
    turbines
        .binary_search_by(|t| t.as_str().cmp(turbine))
        .is_ok()
}

/// Adds spans; those that are close become one, and the closest where there are too many.
fn add_spans(spans: &mut Vec<(i64, i64)>, more: Vec<(i64, i64)>) {
    spans.extend(more);
    spans.sort_unstable();
    spans.dedup_by(|next, span| {
        let close = next.0 <= span.1.saturating_add(APART_US);
        if close {
            span.1 = span.1.max(next.1);
        }
        close
    });
    while spans.len() > SPANS_MAX {
        let apart = |i: &usize| spans[i + 1].0.saturating_sub(spans[*i].1);
        let closest = (0..spans.len() - 1).min_by_key(apart).unwrap_or_default();
        let (_, end) = spans.remove(closest + 1);
        spans[closest].1 = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_few_and_hold_what_they_were_made_of() {
        let mut spans = Vec::new();
        for i in [5, 1, 9, 3, 7, 11, 13, 15, 17] {
            add_spans(&mut spans, vec![(i * 3 * APART_US, i * 3 * APART_US + 10)]);
        }
        // nine of the same distance: the first two are one
        let expected =
            [3, 9, 15, 21, 27, 33, 39, 45, 51].map(|h| (h * APART_US, h * APART_US + 10));
        assert_eq!(spans[0], (expected[0].0, expected[1].1));
        assert_eq!(spans[1..], expected[2..]);
        add_spans(&mut spans, vec![(15 * APART_US, 20 * APART_US)]);
        assert_eq!(spans[1], (15 * APART_US, 21 * APART_US + 10));
        add_spans(&mut spans, vec![(i64::MIN, i64::MAX)]);
        assert_eq!(spans, [(i64::MIN, i64::MAX)]);
    }
}
