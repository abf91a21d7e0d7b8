//! Tests of the role over the real log.

use std::sync::Arc;

use windlass_shared::time::SECOND_US;

use super::Table;
use super::fixture::{Edge, Entry, Rig, T0, entry, fleet, tick};
use super::read::Filter;
use super::topics::{alert, log_of};
use super::verify::verify;

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::lake::{Lake, LakeMetrics, LakeRole};
use crate::log::sqlite::{SqliteLog, SqliteLogSettings};
use crate::log::{Group, Log, NewEntry, Offset, PartitionId, TopicPartition};
use crate::stop::Stopper;

/// A log whose clock the test sets.
struct Clocked {
    log: Arc<SqliteLog>,
    now: Arc<AtomicI64>,
}

impl Clocked {
    fn open(dir: &Path) -> Self {
        let now = Arc::new(AtomicI64::new(T0));
        let clock = Arc::clone(&now);
        let settings = SqliteLogSettings {
            path: dir.join("log.db"),
            partitions: 1,
            writer: 1,
            bytes_max: None,
            pace: Duration::ZERO,
        };
        let wall = Box::new(move || windlass_shared::time::WallTime(clock.load(Ordering::SeqCst)));
        let log = SqliteLog::open(&settings, wall).unwrap();
        Self {
            log: Arc::new(log),
            now,
        }
    }
    async fn append(&self, at: i64, topic: crate::log::Topic, e: Entry) {
        self.now.store(at, Ordering::SeqCst);
        let to = TopicPartition::new(topic, PartitionId(0));
        let new = NewEntry {
            to,
            key: e.key,
            value: e.value,
        };
        self.log.append(vec![new]).await.unwrap();
    }
    fn committed(&self, topic: crate::log::Topic) -> u64 {
        let at = TopicPartition::new(topic, PartitionId(0));
        let committed = self.log.committed(Group::Lake, at).unwrap();
        committed.map_or(Offset(0), |c| c.next).0
    }
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    for _ in 0..3_000 {
        if done() {
            return;
        }
        ticks.tick().await;
    }
    panic!("not within 30 s: {what}");
}

fn start(
    clocked: &Clocked,
    rig: &Rig,
) -> (
    Stopper,
    LakeMetrics,
    tokio::task::JoinHandle<Result<(), String>>,
) {
    let metrics = LakeMetrics::default();
    let role = LakeRole {
        log: clocked.log.clone(),
        store: rig.setup.store.clone(),
        fleet: fleet(),
        cuts: rig.setup.cuts.clone(),
        skew_max_us: rig.setup.skew_max_us,
        metrics: metrics.clone(),
    };
    let (stopper, stop) = Stopper::new();
    let runtime = Handle::current();
    let run =
        tokio::task::spawn_blocking(move || role.run(&runtime, &stop).map_err(|e| e.to_string()));
    (stopper, metrics, run)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_follows_the_log_and_goes_on_after_a_stop() {
    use crate::log::Topic as T;
    let rig = Rig::new(60);
    let dir = tempfile::tempdir().unwrap();
    let clocked = Clocked::open(dir.path());
    let (stopper, _, run) = start(&clocked, &rig);
    let (mut edge, open) = Edge::open(&fleet(), "T1", 1, None);
    let first = T0 + 5 * SECOND_US;
    clocked
        .append(first, T::Telemetry, entry(T0, &edge, &open))
        .await;
    clocked
        .append(first, T::Alerts, log_of(vec![alert(1).encode()]).remove(0))
        .await;
    let record = edge.slice(10);
    let second = entry(T0, &edge, &record);
    // a minute later: the telemetry cut ends with this entry, the alerts' with the time that it shows
    let later = T0 + 63 * SECOND_US;
    clocked.append(later, T::Telemetry, second).await;
    until("cuts of both topics", || {
        clocked.committed(T::Telemetry) == 1 && clocked.committed(T::Alerts) == 1
    })
    .await;
    stopper.stop();
    run.await.unwrap().unwrap();
    let (stopper, metrics, run) = start(&clocked, &rig);
    clocked
        .append(later + 60 * SECOND_US, T::Telemetry, tick(0))
        .await;
    until("the second cut", || clocked.committed(T::Telemetry) == 2).await;
    stopper.stop();
    run.await.unwrap().unwrap();
    let mut text = String::new();
    let mut registry = prometheus_client::registry::Registry::default();
    registry.register("entries", "of cuts", metrics.entries.clone());
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(
        text.contains("entries_total{topic=\"telemetry\"} 1\n"),
        "{text}"
    );
    let view = Lake::new(rig.setup.store.clone()).view().await.unwrap();
    let readings = view.files(Table::Readings, &Filter::default());
    assert_eq!(readings.iter().map(|f| f.rows).sum::<u64>(), 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_fails_is_tried_again() {
    use crate::log::Topic as T;
    let rig = Rig::new(60);
    let dir = tempfile::tempdir().unwrap();
    let clocked = Clocked::open(dir.path());
    // no folder can be made where a file is
    let in_the_way = rig.dir.path().join("batches");
    std::fs::write(&in_the_way, b"").unwrap();
    let (stopper, metrics, run) = start(&clocked, &rig);
    let (edge, open) = Edge::open(&fleet(), "T1", 1, None);
    clocked
        .append(T0, T::Telemetry, entry(T0, &edge, &open))
        .await;
    let silence = tick(0);
    clocked
        .append(T0 + 60 * SECOND_US, T::Telemetry, silence)
        .await;
    until("two failures", || metrics.retries.get() >= 2).await;
    assert_eq!(clocked.committed(T::Telemetry), 0);
    std::fs::remove_file(&in_the_way).unwrap();
    until("the cut", || clocked.committed(T::Telemetry) == 1).await;
    stopper.stop();
    run.await.unwrap().unwrap();
    assert!(verify(&rig.lake(), None).await.unwrap().holds());
}
