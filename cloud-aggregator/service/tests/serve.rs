//! The status store: nothing in it ever goes back, and its position is committed with what it holds.

mod rig;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use rig::{START, wait_for};
use windlass_cloud::clock::Clock;
use windlass_cloud::log::sqlite::{SqliteLog, SqliteLogSettings};
use windlass_cloud::log::{Log, NewEntry, Offset, PartitionId, Topic, TopicPartition};
use windlass_cloud::metrics::Metrics;
use windlass_cloud::serve::Serve;
use windlass_cloud::serve::store::{StatusStore, StoreError};
use windlass_cloud::stop::Stopper;
use windlass_cloud_core::output::{Counts, CoverageSummary, StatusDoc, WindowCounts};
use windlass_shared::id::GatewayId;
use windlass_shared::time::{LogTime, WallTime};

fn doc(position: u64, slice: i64) -> StatusDoc {
    StatusDoc {
        v: 1,
        turbine: rig::turbine("T1"),
        farm: None,
        gateway: GatewayId::new("GW1").expect("a name"),
        position,
        log_time: LogTime(START.0),
        event_time: Some(START),
        fast_event_time: Some(START),
        slice_committed_at: Some(WallTime(slice)),
        frontier: None,
        iec_state: Some(1),
        values: Vec::new(),
        coverage: CoverageSummary::default(),
        counts: Counts::default(),
        windows: WindowCounts::default(),
        alerts: Vec::new(),
    }
}

fn stored(path: &Path) -> Vec<u64> {
    let store = StatusStore::open_read_only(path).expect("the store");
    let documents = store.status_documents().expect("documents");
    documents
        .iter()
        .map(|d| {
            StatusDoc::decode(d.as_bytes())
                .expect("a document")
                .position
        })
        .collect()
}

#[test]
fn a_status_never_goes_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("status.db");
    let mut store = StatusStore::open(&path, 5).expect("opens");
    for (position, want_stored, want_now) in [
        (10, true, 10),
        (9, false, 10),
        (12, true, 12),
        (0, false, 12),
    ] {
        let doc = doc(position, 0);
        let mut change = store.begin().expect("begin");
        assert_eq!(
            change.status(&doc, &doc.encode()).expect("status"),
            want_stored
        );
        change.commit().expect("commit");
        assert_eq!(stored(&path), [want_now]);
    }
}

#[test]
fn another_logs_store_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("status.db");
    drop(StatusStore::open(&path, 5).expect("opens"));
    let e = StatusStore::open(&path, 6).expect_err("another log");
    assert!(
        matches!(
            e,
            StoreError::Mismatch {
                found: 5,
                expected: 6,
                ..
            }
        ),
        "{e}"
    );
}

#[test]
fn it_goes_on_where_it_was_and_measures_each_slice_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let clock = Clock::start();
    let settings = SqliteLogSettings {
        path: dir.path().join("log.db"),
        partitions: 1,
        writer: 1,
        bytes_max: None,
        pace: Duration::ZERO,
    };
    let log: Arc<dyn Log> =
        Arc::new(SqliteLog::open(&settings, Box::new(move || clock.wall())).expect("opens"));
    let at = TopicPartition::new(Topic::Status, PartitionId(0));
    let path = dir.path().join("status.db");
    let append = |docs: &[StatusDoc]| {
        let entry = |d: &StatusDoc| NewEntry {
            to: at,
            key: "T1".into(),
            value: d.encode(),
        };
        log.append(docs.iter().map(entry).collect())
            .wait()
            .expect("append");
    };
    let serve_until = |next: u64| {
        let serve = Serve {
            log: Arc::clone(&log),
            path: path.clone(),
            metrics: Metrics::new(&mut Registry::default()).serve,
            clock,
        };
        let (stopper, stop) = Stopper::new();
        let thread = std::thread::spawn(move || serve.run(&stop));
        wait_for("the store", || {
            StatusStore::open_read_only(&path)
                .and_then(|s| s.position(at))
                .is_ok_and(|p| p == Some(Offset(next)))
        });
        stopper.stop();
        thread.join().expect("no panic").expect("no error");
    };
    append(&[doc(1, 100), doc(2, 100), doc(3, 200)]);
    serve_until(3);
    append(&[doc(4, 300)]);
    serve_until(4);
    assert_eq!(stored(&path), [4]);
    let store = StatusStore::open_read_only(&path).expect("the store");
    let slices: Vec<i64> = store
        .latencies()
        .expect("latencies")
        .iter()
        .map(|l| l.slice_close)
        .collect();
    assert_eq!(slices, [100, 200, 300]);
    let told = log
        .committed(windlass_cloud::log::Group::Serve, at)
        .expect("position");
    assert_eq!(told.map(|c| c.next), Some(Offset(4)));
}
