//! A long lake: what is held of it is bounded, and every answer is that of a reader who holds all of it.

use windlass_shared::time::SECOND_US;

use super::super::marker::{Events, FileEntry, Intent, ObjectEntry};
use super::super::read::Filter;
use super::super::{FORMAT, Lake, Table, sha256_hex};
use super::*;
use crate::lake::fold::Wants;

const KEEP: Keep = Keep {
    cuts: 8,
    fold: 4,
    folds: 6,
};
const CUTS_TOTAL: u64 = 300;
const CUT_US: i64 = 300 * SECOND_US;
const TURBINES: [&str; 5] = ["T1", "T2", "T3", "T4", "T5"];
const TABLES: [Table; 3] = [Table::Batches, Table::Readings, Table::DeadLetter];

/// Markers of one partition, as a writer leaves them; the files that they name are not there.
struct Markers {
    dir: tempfile::TempDir,
    series: Series,
    next: u64,
    cuts: u64,
    after: Option<String>,
}

impl Markers {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let series = Series::new("telemetry", 0);
        std::fs::create_dir_all(dir.path().join("_cuts/telemetry-0")).unwrap();
        Self {
            dir,
            series,
            next: 0,
            cuts: 0,
            after: None,
        }
    }

    fn url(&self) -> String {
        format!("file://{}", self.dir.path().display())
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        std::fs::write(self.dir.path().join(path), bytes).unwrap();
    }

    /// One cut more, with other turbines and times than the one before.
    fn grow(&mut self) {
        let n = self.cuts;
        let (first, last) = (self.next, self.next + n % 7);
        let intent = Intent {
            format: FORMAT,
            topic: self.series.topic.clone(),
            partition: 0,
            generation: 1,
            first,
            last,
            after: self.after.clone(),
        };
        let bytes = serde_json::to_vec(&intent).unwrap();
        self.put(&self.series.intent_path(first), &bytes);
        let commit = Commit {
            cut: intent,
            entries: last - first + 1,
            log_time: n as i64 * CUT_US,
            files: TABLES.into_iter().filter_map(|t| file(n, t)).collect(),
            state: ObjectEntry {
                path: self.series.state_path(first, last),
                bytes: 1,
                sha256: sha256_hex(b"?"),
            },
        };
        let bytes = serde_json::to_vec(&commit).unwrap();
        self.put(&self.series.commit_path(first, last), &bytes);
        self.after = Some(sha256_hex(&bytes));
        (self.next, self.cuts) = (last + 1, n + 1);
    }
}

/// The file of a table in cut `n`, if there is one: some hold old readings, some do not say what they tell of.
fn file(n: u64, table: Table) -> Option<FileEntry> {
    let here = n.is_multiple_of(table as u64 + 2);
    let at = match n % 29 {
        // a clock that began anew
        7 => 0,
        // a backlog
        13 => (n as i64 - 100) * CUT_US,
        _ => n as i64 * CUT_US,
    };
    let turbines = TURBINES.iter().enumerate();
    let turbines = turbines.filter(|(i, _)| (n / 20 + *i as u64).is_multiple_of(3));
    here.then(|| FileEntry {
        table,
        path: format!("{table:?}/{n}"),
        rows: n,
        bytes: n,
        sha256: sha256_hex(b"!"),
        time_min: at,
        time_max: at + CUT_US,
        events: match (table, n) {
            (Table::Batches, 3) => None,
            (Table::Batches, n) if n.is_multiple_of(11) => Some(Events::Nothing),
            (Table::Batches, _) => Some(Events::Within(at - CUT_US, at)),
            _ => None,
        },
        turbines: turbines.map(|(_, t)| (*t).to_owned()).collect(),
    })
}

/// The files of a view that a request is about.
fn paths(view: &View, wants: &Wants) -> Vec<String> {
    let files = view.files(wants.table, &Filter::default());
    let files = files.into_iter().filter(|f| wants.file(f));
    files.map(|f| f.path.clone()).collect()
}

#[tokio::test]
async fn a_long_lake_is_held_in_little_and_answers_as_if_all_of_it_were() {
    let mut markers = Markers::new();
    let views = Views::keeping(&markers.url(), KEEP);
    let lake = Lake::open(&markers.url()).unwrap();
    while markers.cuts < CUTS_TOTAL {
        for _ in 0..=markers.cuts % 5 {
            markers.grow();
        }
        views.newest().await.unwrap().unwrap();
        bounded(&views, markers.cuts).await;
    }
    let kept = views.newest().await.unwrap().unwrap();
    let all = lake.view().await.unwrap();
    let end = CUTS_TOTAL as i64 * CUT_US;
    let day = 288 * CUT_US;
    let (mut asked, mut found) = (0, 0);
    for turbine in TURBINES.into_iter().chain(["T9"]) {
        for table in TABLES {
            for time in (-day..end + day).step_by(29_000_000_000) {
                for len in [1, CUT_US, day] {
                    let wants = Wants {
                        table,
                        turbine: turbine.to_owned(),
                        time: (time, time + len),
                    };
                    let reaching = kept.reaching(&wants).await.unwrap();
                    let expected = paths(&all, &wants);
                    assert_eq!(paths(&reaching, &wants), expected, "{wants:?}");
                    asked += 1;
                    found += expected.len();
                }
            }
        }
    }
    assert!(asked > 400 && found > asked, "{asked} {found}");
    // backwards from the end, and from the middle
    for from in [u64::MAX, markers.next / 2] {
        let mut at = from;
        let mut back = Vec::new();
        loop {
            let cuts = kept.before(&markers.series, at).await.unwrap();
            let Some(first) = cuts.first() else { break };
            at = first.cut.first;
            back.extend(cuts.into_iter().rev());
        }
        let cuts = all.series[0].1.iter().rev();
        let expected: Vec<_> = cuts.filter(|c| c.cut.first < from).cloned().collect();
        assert_eq!(back, expected);
    }
}

/// Nothing that is held grows with the lake, and no cut is missing.
async fn bounded(views: &Views, cuts: u64) {
    let held = views.held.lock().await;
    let held = held.as_ref().unwrap();
    let followed = &held.series["telemetry-0"];
    let folded: u64 = followed.folds.iter().map(|f| f.cuts).sum();
    assert_eq!(folded + followed.commits.len() as u64, cuts);
    assert!(followed.commits.len() <= KEEP.cuts + KEEP.fold);
    assert!(followed.folds.len() <= KEEP.folds);
    // a list for each table of each fold, and of each file
    let lists = (KEEP.folds + KEEP.cuts + KEEP.fold) * TABLES.len();
    assert!(held.turbines.0.len() <= lists);
}

#[tokio::test]
async fn a_marker_that_is_not_what_it_was_is_found_when_its_fold_is_read_again() {
    let mut markers = Markers::new();
    (0..60).for_each(|_| markers.grow());
    let views = Views::keeping(&markers.url(), KEEP);
    let view = views.newest().await.unwrap().unwrap();
    let wants = Wants {
        table: Table::Batches,
        turbine: "T1".to_owned(),
        time: (0, 10 * CUT_US),
    };
    view.reaching(&wants).await.unwrap();
    let path = markers.dir.path().join(markers.series.commit_path(0, 0));
    let text = std::fs::read_to_string(&path).unwrap();
    let other = text.replace("\"rows\":0", "\"rows\":1");
    assert_ne!(text, other);
    std::fs::write(&path, other).unwrap();
    let e = view.reaching(&wants).await.unwrap_err();
    assert!(matches!(e, LakeError::Chain { .. }), "{e}");
}
