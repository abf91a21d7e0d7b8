//! Verdicts on histories whose truth is known.

use std::sync::Arc;

use windlass_cloud_core::fleet::Fleet;
use windlass_cloud_core::topic::Topic;
use windlass_shared::id::{RecordId, Seq, TurbineId};
use windlass_shared::record::{Flags, RecordHash};
use windlass_shared::time::{EventTime, SECOND_US};
use windlass_shared::wire::{self, Control, Refused};

use super::{
    EXIT_EXACT, EXIT_NOT_EXACT, EXIT_NOT_PROVEN, EXIT_USAGE, Finding, Format, Request, Verdict, run,
};
use crate::lake::fixture::{Edge, Entry, Failures, Rig, T0, entry, fleet};
use crate::lake::{FileEntry, Table};

/// Ten slices of ten seconds of T1, seqs 2 to 11, and one of T3.
struct Story {
    fleet: Arc<Fleet>,
    edge: Edge,
    log: Vec<Entry>,
    now: i64,
}

impl Story {
    fn begin() -> Self {
        let fleet = fleet();
        let (edge, open) = Edge::open(&fleet, "T1", 1, None);
        let (other, other_open) = Edge::open(&fleet, "T3", 9, None);
        let now = T0;
        Self {
            log: vec![entry(now, &edge, &open), entry(now, &other, &other_open)],
            fleet,
            edge,
            now,
        }
    }
    fn slices(&mut self, n: usize, arrives: impl Fn(u64) -> bool) {
        for _ in 0..n {
            self.now += 10 * SECOND_US;
            let record = self.edge.slice(10);
            if arrives(self.edge.seq) {
                self.log.push(entry(self.now, &self.edge, &record));
            }
        }
    }
    fn push(&mut self, record: &[u8]) {
        self.log.push(entry(self.now, &self.edge, record));
    }
    async fn lake(&self) -> Rig {
        let mut rig = Rig::new(30);
        rig.drive(Topic::Telemetry, &self.log, Failures::none())
            .await;
        rig
    }
}

fn request(turbine: &str, from_s: i64, to_s: i64, format: Format) -> Request {
    Request {
        turbine: TurbineId::new(turbine).unwrap(),
        from: EventTime(T0 + from_s * SECOND_US),
        to: EventTime(T0 + to_s * SECOND_US),
        format,
    }
}

async fn replay(rig: &Rig, from_s: i64, to_s: i64) -> (Verdict, Vec<String>) {
    let mut out = Vec::new();
    let asked = request("T1", from_s, to_s, Format::Csv);
    let verdict = run(&rig.lake(), &asked, &mut out).await.unwrap();
    let text = String::from_utf8(out).unwrap();
    (verdict, text.lines().map(str::to_owned).collect())
}

fn epoch(n: u8) -> String {
    format!("{n:02x}").repeat(16)
}

#[tokio::test]
async fn a_whole_range_is_exact_and_in_order() {
    let mut story = Story::begin();
    story.slices(10, |_| true);
    let seal = story.edge.seal();
    story.push(&seal);
    let rig = story.lake().await;
    let (verdict, lines) = replay(&rig, 15, 45).await;
    assert_eq!(verdict.finding, Finding::Exact);
    assert_eq!(verdict.exit_code(), EXIT_EXACT);
    assert_eq!((verdict.readings, verdict.readings_in_records), (90, 90));
    assert_eq!(verdict.sources.len(), 1);
    assert_eq!(verdict.sources[0].epoch, epoch(1));
    assert_eq!(verdict.sources[0].ranges, Some(vec![(3, 6)]));
    assert_eq!((verdict.chain.records, verdict.chain.seals), (12, 1));
    assert!(verdict.chain.verified);
    assert_eq!(
        lines[0],
        "time,channel_id,channel,value,unit,raw,quality,late,suspect,epoch,seq,index"
    );
    let times: Vec<&str> = lines[1..91].iter().map(|l| &l[..20]).collect();
    assert!(times.is_sorted());
    assert_eq!(times[0], "2023-11-14T22:00:15Z");
    assert_eq!(times[89], "2023-11-14T22:00:44Z");
    assert_eq!(
        lines[91],
        "# verdict: exact; T1 2023-11-14T22:00:15Z to 2023-11-14T22:00:45Z"
    );
    // the second reading of each slice's float is no number: it is printed without one
    let nan = format!(
        "2023-11-14T22:00:21Z,7,vibration,,mm/s,,not_a_number,false,false,{},4,21",
        epoch(1)
    );
    assert!(lines.contains(&nan), "{lines:#?}");
}

#[tokio::test]
async fn beyond_the_frontier_it_is_open() {
    let mut story = Story::begin();
    story.slices(5, |_| true);
    let rig = story.lake().await;
    let (verdict, lines) = replay(&rig, 30, 100).await;
    assert_eq!(verdict.finding, Finding::Open);
    assert_eq!(verdict.exit_code(), EXIT_NOT_EXACT);
    assert_eq!(verdict.readings, 60);
    assert!(verdict.holes.is_empty());
    assert!(lines.contains(&"# the turbine's time has come to 2023-11-14T22:00:50Z".to_owned()));
}

#[tokio::test]
async fn a_hole_is_named_and_hurts_only_behind_it() {
    let mut story = Story::begin();
    story.slices(10, |seq| seq != 5);
    let rig = story.lake().await;
    let (verdict, lines) = replay(&rig, 25, 65).await;
    assert_eq!(verdict.finding, Finding::Open);
    assert_eq!(verdict.holes.len(), 1);
    assert_eq!(verdict.holes[0].ranges, Some(vec![(5, 5)]));
    assert!(lines.contains(&format!("# unknown: {} 5 (may still come)", epoch(1))));
    assert_eq!(verdict.readings, 90);
    let (before, _) = replay(&rig, 0, 30).await;
    assert_eq!(before.finding, Finding::Exact);
}

#[tokio::test]
async fn a_gap_is_a_loss_with_its_reason_until_the_record_turns_up() {
    let mut story = Story::begin();
    let mut kept = Vec::new();
    for _ in 0..4 {
        story.slices(1, |seq| seq != 4);
        if story.edge.seq == 4 {
            let mut again = Story::begin();
            again.slices(3, |_| true);
            kept = again.log.last().unwrap().value.clone();
        }
    }
    let gap = story.edge.gap(4, 4);
    story.push(&gap);
    story.slices(4, |_| true);
    let rig = story.lake().await;
    let (verdict, lines) = replay(&rig, 15, 55).await;
    assert_eq!(verdict.finding, Finding::WithLoss);
    assert_eq!(verdict.exit_code(), EXIT_NOT_EXACT);
    assert!(
        lines.contains(&format!("# lost: {} 4 (evicted)", epoch(1))),
        "{lines:#?}"
    );
    story.log.push(Entry {
        time: story.now,
        key: "T1".to_owned(),
        value: kept,
    });
    let rig = story.lake().await;
    let (verdict, _) = replay(&rig, 15, 55).await;
    assert_eq!(verdict.finding, Finding::Exact);
    assert_eq!(verdict.readings, 120);
}

#[tokio::test]
async fn what_ingest_refused_is_a_loss() {
    let mut story = Story::begin();
    story.slices(10, |seq| seq != 5);
    let refused = Refused {
        gateway: story.edge.gateway.clone(),
        id: RecordId {
            turbine: story.edge.turbine.clone(),
            epoch: story.edge.epoch,
            seq: Seq(5),
        },
        reason: "malformed".to_owned(),
        sha256: RecordHash([7; 32]),
    };
    story.log.push(Entry {
        time: story.now,
        key: "T1".to_owned(),
        value: wire::encode_control(&Control::Refused(refused)),
    });
    let rig = story.lake().await;
    let (verdict, lines) = replay(&rig, 25, 65).await;
    assert_eq!(verdict.finding, Finding::WithLoss);
    assert!(
        lines.contains(&format!("# lost: {} 5 (refused)", epoch(1))),
        "{lines:#?}"
    );
    assert_eq!(verdict.refused_records["ingest"], 1);
}

#[tokio::test]
async fn what_the_lake_refused_for_its_time_is_a_loss() {
    let mut story = Story::begin();
    story.slices(3, |_| true);
    // an hour ahead of log time: the stamps are not believed
    let ahead = story
        .edge
        .clone()
        .regular(EventTime(story.now + 3_600 * SECOND_US), SECOND_US, 5);
    story.push(&ahead);
    let rig = story.lake().await;
    let (verdict, _) = replay(&rig, 0, 30).await;
    assert_eq!(verdict.finding, Finding::Exact);
    assert_eq!(verdict.refused_records["skew"], 1);
    assert_eq!(verdict.disagreements, 0);
}

#[tokio::test]
async fn late_and_suspect_readings_are_printed_with_their_flags() {
    let mut story = Story::begin();
    story.slices(10, |_| true);
    let late = story.edge.flagged(
        T0 + 20 * SECOND_US + 1,
        Flags {
            late: true,
            suspect: false,
        },
    );
    story.push(&late);
    let suspect = story.edge.flagged(
        T0 + 40 * SECOND_US - 1,
        Flags {
            late: false,
            suspect: true,
        },
    );
    story.push(&suspect);
    let rig = story.lake().await;
    let mut out = Vec::new();
    let asked = request("T1", 20, 40, Format::Json);
    let verdict = run(&rig.lake(), &asked, &mut out).await.unwrap();
    assert_eq!(verdict.finding, Finding::Exact);
    assert_eq!(
        (verdict.readings, verdict.late, verdict.suspect),
        (62, 1, 1)
    );
    let lines: Vec<serde_json::Value> = String::from_utf8(out)
        .unwrap()
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(lines.len(), 63);
    assert_eq!(lines[3]["late"], true);
    assert_eq!(lines[3]["raw"], 4_711);
    assert_eq!(lines[3]["value"], 471.1);
    assert_eq!(lines[61]["suspect"], true);
    assert_eq!(lines[61]["time"], "2023-11-14T22:00:39.999999Z");
    assert_eq!(lines[62]["verdict"]["finding"], "exact");
    assert_eq!(lines[62]["verdict"]["sources"][0]["seqs"][1][0], 12);
}

#[tokio::test]
async fn an_epoch_that_another_one_follows_is_proven_across_the_change() {
    let mut story = Story::begin();
    story.slices(4, |_| true);
    let (next, open) = Edge::open(&story.fleet, "T1", 2, Some(&story.edge));
    story.edge = next;
    story.push(&open);
    story.slices(4, |_| true);
    let rig = story.lake().await;
    let (verdict, _) = replay(&rig, 25, 55).await;
    assert_eq!(verdict.finding, Finding::Exact);
    assert_eq!((verdict.chain.epochs, verdict.sources.len()), (2, 2));
}

#[tokio::test]
async fn an_epoch_that_ends_otherwise_than_its_successor_says_is_not_proven() {
    let mut story = Story::begin();
    story.slices(4, |_| true);
    let mut other = story.edge.clone();
    other.head.0[0] ^= 1;
    let (next, open) = Edge::open(&story.fleet, "T1", 2, Some(&other));
    story.edge = next;
    story.push(&open);
    story.slices(4, |_| true);
    let rig = story.lake().await;
    let (verdict, lines) = replay(&rig, 25, 55).await;
    assert_eq!(verdict.finding, Finding::NotProven, "{lines:#?}");
    assert_eq!(verdict.exit_code(), EXIT_NOT_PROVEN);
    assert_eq!(verdict.chain.broken_links, [epoch(1)]);
}

#[tokio::test]
async fn readings_that_are_not_the_records_are_not_proven() {
    let mut story = Story::begin();
    story.slices(10, |_| true);
    let rig = story.lake().await;
    let view = rig.lake().view().await.unwrap();
    let last = view.series[0].1.last().unwrap();
    let gone = |f: &&FileEntry| f.table == Table::Readings;
    let gone = last.files.iter().find(gone).unwrap().clone();
    // as if the writer had forgotten a file
    let folder = rig.dir.path().join("_cuts/telemetry-0");
    let name = format!("{:020}-{:020}.commit.json", last.cut.first, last.cut.last);
    let mut commit = crate::lake::Commit::clone(last);
    commit.files.retain(|f| *f != gone);
    std::fs::write(folder.join(name), serde_json::to_vec(&commit).unwrap()).unwrap();
    let (verdict, lines) = replay(&rig, 0, 100).await;
    assert_eq!(verdict.finding, Finding::NotProven);
    assert!(!verdict.readings_match);
    assert!(
        lines.iter().any(|l| l.starts_with("# verdict: not proven")),
        "{lines:#?}"
    );
}

#[tokio::test]
async fn an_unknown_turbine_is_said() {
    let mut story = Story::begin();
    story.slices(1, |_| true);
    let rig = story.lake().await;
    let asked = request("T2", 0, 10, Format::Csv);
    let e = run(&rig.lake(), &asked, &mut Vec::new()).await.unwrap_err();
    assert_eq!(e.exit_code(), EXIT_USAGE);
    let e = e.to_string();
    assert!(e.contains("has nothing of `T2`; it has T1, T3"), "{e}");
}
