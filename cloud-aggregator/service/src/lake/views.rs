//! The newest view of a lake, kept from request to request: a marker never changes once it is there, so each is read once.
//!
//! Invariants: a view that is handed out is whole: every series as far as it was committed when it was looked at; what was
//! read before a caller gave up is kept, so that a long lake is read in the end; lists of turbines that are equal are held
//! once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::Mutex;

use super::LakeError;
use super::marker::{CUTS, Commit, Series};
use super::read::{View, follows};
use super::store::Store;

/// Views of the lake at one place.
#[derive(Debug)]
pub struct Views {
    url: String,
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    store: Store,
    /// By name.
    series: BTreeMap<String, Followed>,
    turbines: BTreeSet<Arc<[String]>>,
    newest: Option<Arc<View>>,
}

/// One topic's partition as far as it was read.
#[derive(Debug)]
struct Followed {
    series: Series,
    commits: Vec<Arc<Commit>>,
    /// SHA-256 of the newest marker that was read.
    sha256: Option<String>,
}

impl Views {
    /// Of the lake at `url`, which need not be there yet.
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            held: Mutex::new(None),
        }
    }

    /// What is committed now; `None`: there is no lake yet.
    pub async fn newest(&self) -> Result<Option<Arc<View>>, LakeError> {
        let mut held = self.held.lock().await;
        let held = match &mut *held {
            Some(held) => held,
            none => match Store::open_existing(&self.url) {
                Ok(store) => none.insert(Held {
                    store,
                    series: BTreeMap::new(),
                    turbines: BTreeSet::new(),
                    newest: None,
                }),
                Err(LakeError::Url { .. }) => return Ok(None),
                Err(e) => return Err(e),
            },
        };
        held.follow().await.map(Some)
    }
}

impl Held {
    async fn follow(&mut self) -> Result<Arc<View>, LakeError> {
        for name in self.store.folders(CUTS).await? {
            let Some(series) = Series::parse(&name) else {
                continue;
            };
            let followed = self.series.entry(name).or_insert_with(|| Followed {
                series,
                commits: Vec::new(),
                sha256: None,
            });
            while let Some(commit) = followed.next(&self.store, &mut self.turbines).await? {
                followed.commits.push(Arc::new(commit));
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
        };
        Ok(Arc::clone(self.newest.insert(Arc::new(view))))
    }
}

impl Followed {
    /// The next commit that is there.
    async fn next(
        &mut self,
        store: &Store,
        turbines: &mut BTreeSet<Arc<[String]>>,
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
            match turbines.get(&file.turbines) {
                Some(held) => file.turbines = Arc::clone(held),
                None => drop(turbines.insert(Arc::clone(&file.turbines))),
            }
        }
        self.sha256 = Some(sha256);
        Ok(Some(commit))
    }
}

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
