//! Dead letters newest first, from the log and, where retention has been, from the lake: each once, on every page.

use std::sync::Arc;

use serde_json::Value;
use windlass_cloud::log::sqlite::{SqliteLog, SqliteView};
use windlass_cloud::log::{Log, Offset, PartitionId, Topic, TopicPartition};
use windlass_cloud::run::Role;
use windlass_cloud_core::output::{DeadLetter, DeadLetterMeta, Reason};
use windlass_cloud_core::topic::partition_of;
use windlass_shared::time::{SECOND_US, WallTime};

use super::http::get;
use super::rig::{Site, turbine};
use super::site::{Service, T0, append, doc, now, site, wait_for_lake};

/// The task writes the ticks by which the lake sees that a cut is over.
const WITH_LAKE: [Role; 4] = [Role::Process, Role::Serve, Role::Lake, Role::Console];
const FROM_BOTH: [Role; 2] = [Role::Serve, Role::Console];
/// More than a page, and more than the log keeps.
const LETTERS: usize = 30;
const KEPT: u64 = 4;

fn letter(n: usize) -> (&'static str, DeadLetter) {
    let name = ["T1", "T2", "T3"][n % 3];
    let meta = DeadLetterMeta {
        stage: "ingest".to_owned(),
        reason: if n.is_multiple_of(2) {
            Reason::Malformed
        } else {
            Reason::Version
        },
        detail: format!("letter {n}"),
        gateway: None,
        turbine: Some(turbine(name)),
        epoch: None,
        seq: None,
        readings: None,
        sha256: format!("{n:064x}"),
        mqtt_topic: None,
        position: None,
        log_time: None,
    };
    let bytes = vec![n as u8];
    (name, DeadLetter { meta, bytes })
}

fn written(site: &Site) {
    let live = doc("T1", 10, now().0 + 3_600 * SECOND_US, 1_900.0);
    append(site, vec![(Topic::Status, "T1", live.encode())]);
    let config = site.config();
    for n in 0..LETTERS {
        // a second apart, so that their order over all partitions is told by their times
        let time = WallTime(T0 + n as i64 * SECOND_US);
        let log = SqliteLog::open(&config.log, Box::new(move || time)).expect("a log");
        let log: Arc<dyn Log> = Arc::new(log);
        let (name, letter) = letter(n);
        super::site::append_to(&log, vec![(Topic::DeadLetter, name, letter.encode())]);
    }
}

/// Details of all letters that are wanted, page by page.
fn details(port: u16, query: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = get(port, &format!("/api/v1/dead-letters?{query}{cursor}")).json();
        let items = page["items"].as_array();
        for item in items.unwrap_or_else(|| panic!("{page}")) {
            out.push(item["detail"].as_str().expect("a text").to_owned());
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return out,
        }
    }
}

fn check(port: u16) {
    let wanted = |keep: fn(&usize) -> bool| -> Vec<String> {
        let all = (0..LETTERS).rev().filter(keep);
        all.map(|n| format!("letter {n}")).collect()
    };
    assert_eq!(details(port, "limit=7"), wanted(|_| true));
    assert_eq!(details(port, "limit=1000"), wanted(|_| true));
    assert_eq!(details(port, "limit=2&turbine=T2"), wanted(|n| n % 3 == 1));
    assert_eq!(
        details(port, "limit=3&reason=malformed"),
        wanted(|n| n % 2 == 0)
    );
    assert_eq!(details(port, "limit=3&reason=none"), Vec::<String>::new());
    let first = get(port, "/api/v1/dead-letters?limit=1").json();
    let item = &first["items"][0];
    let expected = ("version", "ingest", "T3", "2023-11-14T22:00:29.000000Z");
    let text = |key: &str| item[key].as_str().unwrap_or_default();
    let found = (text("reason"), text("stage"), text("turbine"), text("at"));
    assert_eq!(found, expected);
    assert_eq!(item["seq"], Value::Null);
}

#[test]
fn dead_letters_are_the_same_after_retention_has_taken_most_of_them_from_the_log() {
    let (site, port) = site();
    let config = std::fs::read_to_string(site.path()).expect("a file");
    let config = format!("{config}lake = {{ cut_every_s = 0.1 }}\n");
    std::fs::write(site.path(), config).expect("write");
    written(&site);
    let service = Service::start(&site, port, &WITH_LAKE, 1);
    check(port);
    let partitions: Vec<TopicPartition> = ["T1", "T2", "T3"]
        .iter()
        .map(|t| PartitionId(partition_of(t, 2) as u16))
        .map(|p| TopicPartition::new(Topic::DeadLetter, p))
        .collect();
    wait_for_lake(&site, Topic::DeadLetter, &["T1", "T2", "T3"]);
    service.stop();

    let view = SqliteView::open(&site.data().join("log.db")).expect("the log");
    let log = SqliteLog::open(&site.config().log, Box::new(|| WallTime(T0))).expect("a log");
    for at in &partitions {
        let end = view.bounds(*at).expect("bounds").1;
        let before = Offset(end.0.saturating_sub(KEPT));
        log.trim(*at, before, WallTime(i64::MAX))
            .wait()
            .expect("trimmed");
    }
    assert!(
        partitions
            .iter()
            .all(|at| view.bounds(*at).expect("bounds").0.0 > 0)
    );
    drop(log);
    let service = Service::start(&site, port, &FROM_BOTH, 1);
    check(port);
    service.stop();
}
