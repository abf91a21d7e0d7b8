//! The newest view of a lake, kept from request to request: a marker never changes once it is there, so each is read once.
//!
//! Invariants: a view that is handed out is whole: every series as far as it was committed when it was looked at; what was
//! read before a caller gave up is kept, so that a long lake is read in the end; lists of turbines that are equal are held
//! once; however long the lake, no more is held of a series than [`Keep`] says: older cuts are folded, and read again by
//! the request that is about them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::Mutex;

use super::LakeError;
use super::fold::Fold;
use super::marker::{CUTS, Commit, Series};
use super::read::{View, follows};
use super::store::Store;

/// How much of each series is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keep {
    /// Newest cuts that are held as they are; up to a fold more until there is one.
    pub cuts: usize,
    /// Cuts of a fold, to begin with.
    pub fold: usize,
    /// Folds; where there are more, the shortest two that follow each other become one.
    pub folds: usize,
}

/// With a cut every five minutes: a day, and folds of eight hours for three weeks, which get longer with the lake's age.
impl Default for Keep {
    fn default() -> Self {
        Self {
            cuts: 288,
            fold: 96,
            folds: 64,
        }
    }
}

/// Views of the lake at one place.
#[derive(Debug)]
pub struct Views {
    url: String,
    keep: Keep,
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    store: Store,
    /// By name.
    series: BTreeMap<String, Followed>,
    turbines: Names,
    newest: Option<Arc<View>>,
}

/// Lists of turbines, each once.
#[derive(Debug, Default)]
struct Names(BTreeSet<Arc<[String]>>);

impl Names {
    /// The copy that is held.
    fn one(&mut self, list: Arc<[String]>) -> Arc<[String]> {
        if let Some(held) = self.0.get(&list) {
            return Arc::clone(held);
        }
        self.0.insert(Arc::clone(&list));
        list
    }
    /// Lets go of those that nothing refers to any more.
    fn forget(&mut self) {
        self.0.retain(|list| Arc::strong_count(list) > 1);
    }
}

/// One topic's partition as far as it was read.
#[derive(Debug)]
struct Followed {
    series: Series,
    /// Older than the commits, in order.
    folds: Vec<Fold>,
    commits: Vec<Arc<Commit>>,
    /// SHA-256 of the newest marker that was read.
    sha256: Option<String>,
}

impl Views {
    /// Of the lake at `url`, which need not be there yet.
    pub fn new(url: &str) -> Self {
        Self::keeping(url, Keep::default())
    }

    /// Of the lake at `url`, holding so much of it.
    pub fn keeping(url: &str, keep: Keep) -> Self {
        Self {
            url: url.to_owned(),
            keep,
            held: Mutex::new(None),
        }
    }

    /// What is committed now; `None`: there is no lake yet.
    /// Of older cuts, see [`View::reaching`].
    pub async fn newest(&self) -> Result<Option<Arc<View>>, LakeError> {
        let mut held = self.held.lock().await;
        let held = match &mut *held {
            Some(held) => held,
            none => match Store::open_existing(&self.url) {
                Ok(store) => none.insert(Held {
                    store,
                    series: BTreeMap::new(),
                    turbines: Names::default(),
                    newest: None,
                }),
                Err(LakeError::Url { .. }) => return Ok(None),
                Err(e) => return Err(e),
            },
        };
        held.follow(self.keep).await.map(Some)
    }
}

impl Held {
    async fn follow(&mut self, keep: Keep) -> Result<Arc<View>, LakeError> {
        for name in self.store.folders(CUTS).await? {
            let Some(series) = Series::parse(&name) else {
                continue;
            };
            let followed = self.series.entry(name).or_insert_with(|| Followed {
                series,
                folds: Vec::new(),
                commits: Vec::new(),
                sha256: None,
            });
            while let Some(commit) = followed.next(&self.store, &mut self.turbines).await? {
                followed.commits.push(Arc::new(commit));
                followed.fold(keep, &mut self.turbines);
                self.newest = None;
            }
        }
        if let Some(view) = &self.newest {
            return Ok(Arc::clone(view));
        }
        let all = self.series.values();
        let view = View {
            store: self.store.clone(),
            series: all.map(|f| (f.series.clone(), f.commits.clone())).collect(),
            older: self
                .series
                .iter()
                .map(|(name, f)| (name.clone(), f.folds.as_slice().into()))
                .collect(),
        };
        Ok(Arc::clone(self.newest.insert(Arc::new(view))))
    }
}

impl Followed {
    /// The next commit that is there.
    async fn next(
        &mut self,
        store: &Store,
        turbines: &mut Names,
    ) -> Result<Option<Commit>, LakeError> {
        let cut = match self.commits.last() {
            // where the first cut begins, only the list of the markers says
            None => self.series.committed(store).await?.first().copied(),
            Some(last) => {
                let first = last.cut.last + 1;
                let intent = self.series.read_intent(store, first).await?;
                intent.map(|i| (first, i.last))
            }
        };
        let Some(cut) = cut else { return Ok(None) };
        let Some((mut commit, sha256)) = self.series.find_commit(store, cut).await? else {
            return Ok(None);
        };
        follows(&self.series, &commit, self.sha256.as_ref())?;
        for file in &mut commit.files {
            file.turbines = turbines.one(Arc::clone(&file.turbines));
        }
        self.sha256 = Some(sha256);
        Ok(Some(commit))
    }

    /// Folds the oldest cuts when a fold more is held than is kept.
    fn fold(&mut self, keep: Keep, turbines: &mut Names) {
        let n = keep.fold.max(1);
        if self.commits.len() < keep.cuts + n + 1 {
            return;
        }
        let Some(sha256) = self.commits[n].cut.after.clone() else {
            return;
        };
        let old: Vec<Arc<Commit>> = self.commits.drain(..n).collect();
        let before = self.folds.last().map(|f| f.sha256().to_owned());
        let fold = Fold::of(&old, before, sha256, |list| turbines.one(list));
        self.folds.push(fold);
        while self.folds.len() > keep.folds.max(1) {
            let cuts = |i: &usize| self.folds[*i].cuts + self.folds[i + 1].cuts;
            let least = (0..self.folds.len() - 1).min_by_key(cuts);
            let at = least.unwrap_or_default();
            let next = self.folds.remove(at + 1);
            self.folds[at].join(next, |list| turbines.one(list));
        }
        drop(old);
        turbines.forget();
    }
}

#[cfg(test)]
#[path = "views_long.rs"]
mod long;

#[cfg(test)]
mod tests {
    use windlass_cloud_core::topic::Topic;

    use super::super::fixture::{Edge, Failures, Rig, T0, entry, fleet};
    use super::*;
    use windlass_shared::time::SECOND_US;

    #[tokio::test]
    async fn a_view_that_is_kept_is_the_one_that_is_read_anew() {
        let mut rig = Rig::new(60);
        let url = format!("file://{}", rig.dir.path().display());
        let views = Views::new(&url);
        let none = views.newest().await.unwrap().unwrap();
        assert_eq!(cuts(&none), Vec::<usize>::new());
        let (mut edge, open) = Edge::open(&fleet(), "T1", 1, None);
        let mut log = vec![entry(T0, &edge, &open)];
        for minute in 1..=6 {
            let bytes = edge.slice(10);
            log.push(entry(T0 + minute * 60 * SECOND_US, &edge, &bytes));
            rig.drive(Topic::Telemetry, &log, Failures::none()).await;
            let kept = views.newest().await.unwrap().unwrap();
            let anew = rig.lake().view().await.unwrap();
            assert_eq!(kept.series, anew.series);
            assert_eq!(cuts(&kept), [minute as usize + 1]);
            let again = views.newest().await.unwrap().unwrap();
            assert!(Arc::ptr_eq(&kept, &again), "nothing new");
        }
        let last = views.newest().await.unwrap().unwrap();
        let lists = last.series[0].1.iter().flat_map(|c| &c.files);
        let lists: Vec<_> = lists.filter(|f| f.has_turbine("T1")).collect();
        assert!(
            lists
                .iter()
                .all(|f| Arc::ptr_eq(&f.turbines, &lists[0].turbines))
        );
    }

    fn cuts(view: &View) -> Vec<usize> {
        view.series.iter().map(|(_, cuts)| cuts.len()).collect()
    }

    #[tokio::test]
    async fn no_lake_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let views = Views::new(&format!("file://{}/none", dir.path().display()));
        assert!(views.newest().await.unwrap().is_none());
    }
}
