//! The thin path in one process: real MQTT through the embedded broker, ingest, log, partition tasks, status store.

mod rig;

use std::time::Duration;

use rig::gateway::{Answer, Gateway};
use rig::{Site, load, minutes_before, wait_for};
use windlass_cloud::bench::load::Sent;
use windlass_cloud::log::sqlite::SqliteView;
use windlass_cloud::log::{Offset, PartitionId, ReadLimits, Topic, TopicPartition};
use windlass_cloud::run::{Role, RunError, run};
use windlass_cloud::serve::store::StatusStore;
use windlass_cloud::stop::Stopper;
use windlass_cloud_core::output::{DeadLetter, Reason, StatusDoc};
use windlass_shared::wire::up_topic;

const ROLES: [Role; 4] = [Role::Broker, Role::Ingest, Role::Process, Role::Serve];

/// The service on threads of its own.
struct Service {
    stopper: Stopper,
    thread: std::thread::JoinHandle<Result<(), RunError>>,
}

impl Service {
    fn start(site: &Site, roles: &'static [Role]) -> Self {
        let (stopper, stop) = Stopper::new();
        let config = site.config();
        let thread = std::thread::spawn(move || {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("a runtime")
                .block_on(run(config, roles, Some(stop)))
        });
        Self { stopper, thread }
    }

    fn stop(self) {
        self.stopper.stop();
        self.thread.join().expect("no panic").expect("a clean stop");
    }
}

fn status(site: &Site, turbine: &str) -> Option<StatusDoc> {
    let store = StatusStore::open_read_only(&site.data().join("status.db")).ok()?;
    let documents = store.status_documents().ok()?;
    documents
        .iter()
        .map(|d| StatusDoc::decode(d.as_bytes()).expect("a status document"))
        .find(|d| d.turbine.as_str() == turbine)
}

fn dead_letters(site: &Site) -> Vec<DeadLetter> {
    let view = SqliteView::open(&site.data().join("log.db")).expect("the log");
    let mut entries = Vec::new();
    for p in 0..view.partitions().expect("partitions") {
        let at = TopicPartition::new(Topic::DeadLetter, PartitionId(p));
        let limits = ReadLimits {
            entries_max: 1_000,
            bytes_max: usize::MAX,
        };
        view.read(at, Offset(0), limits, &mut entries)
            .expect("read");
    }
    entries
        .iter()
        .map(|e| DeadLetter::decode(&e.value).expect("a dead letter"))
        .collect()
}

#[test]
fn what_is_sent_twice_is_counted_once_and_what_is_bad_is_refused() {
    let site = Site::new();
    let service = Service::start(&site, &ROLES);
    let gateway = Gateway::connect(site.broker, "GW1");
    let mut load = load("T1", 1, minutes_before(3));
    let mut sent = vec![load.open(None)];
    for _ in 0..60 {
        sent.extend(load.next_second());
    }
    // the last one is damaged on the way, under its own identity
    let damaged = sent.pop().expect("records");
    gateway.deliver(&sent);
    for again in sent.iter().rev() {
        gateway.publish(again);
    }
    gateway.publish_as(&damaged.record.header.id, &damaged.bytes[..20]);
    wait_for("the verdict on damaged bytes", || {
        gateway.verdict(&damaged.record.header.id).is_some()
    });
    let verdict = gateway.verdict(&damaged.record.header.id);
    let Some(Answer::Refused(verdict)) = verdict else {
        panic!("{verdict:?}");
    };
    assert!(verdict.starts_with("malformed: "), "{verdict}");
    let readings: u64 = sent.iter().map(Sent::readings).sum();
    wait_for("the status", || {
        status(&site, "T1").is_some_and(|s| {
            s.counts.counted_readings >= readings
                && s.counts.duplicate_records >= sent.len() as u64
                && s.counts.refused_records >= 1
        })
    });
    let s = status(&site, "T1").expect("a status");
    assert_eq!(s.counts.records, sent.len() as u64);
    assert_eq!(s.counts.accepted_readings, readings);
    assert_eq!(s.counts.counted_readings, readings);
    assert_eq!(s.counts.refused_records, 1);
    assert_eq!(s.coverage.missing_seqs, 0);
    assert_eq!(s.coverage.lost_seqs, 1);
    let letters = dead_letters(&site);
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].meta.reason, Reason::Malformed);
    assert_eq!(letters[0].bytes, damaged.bytes[..20]);
    assert_eq!(letters[0].id(), Some(damaged.record.header.id));
    service.stop();
}

#[test]
fn a_gateway_cannot_write_another_ones_turbine() {
    let site = Site::new();
    let service = Service::start(&site, &ROLES);
    let gateway = Gateway::connect(site.broker, "GW2");
    let mut foreign = load("T1", 1, minutes_before(3));
    let mut own = load("T3", 2, minutes_before(3));
    let foreign = foreign.open(None);
    let own = own.open(None);
    wait_for("the dead letter", || {
        gateway.publish(&foreign);
        std::thread::park_timeout(Duration::from_millis(200));
        SqliteView::open(&site.data().join("log.db")).is_ok() && !dead_letters(&site).is_empty()
    });
    gateway.deliver(std::slice::from_ref(&own));
    let letters = dead_letters(&site);
    assert!(letters.iter().all(|l| l.meta.reason == Reason::Unbound));
    assert_eq!(
        letters[0].meta.mqtt_topic.as_deref(),
        Some(&*up_topic(&gateway.id, &foreign.record.header.id))
    );
    assert_eq!(gateway.verdict(&foreign.record.header.id), None);
    wait_for("the status of its own turbine", || {
        status(&site, "T3").is_some()
    });
    assert_eq!(status(&site, "T1"), None);
    service.stop();
}

#[test]
fn after_a_restart_everything_goes_on_and_nothing_counts_twice() {
    let site = Site::new();
    let mut load = load("T2", 1, minutes_before(5));
    let mut all = vec![load.open(None)];
    let mut readings = 0;
    let mut gateway = None;
    for round in 0..3 {
        // the broker of the first round lives as long as the process
        let service = Service::start(&site, if round == 0 { &ROLES } else { &ROLES[1..] });
        let gateway = gateway.get_or_insert_with(|| Gateway::connect(site.broker, "GW1"));
        for _ in 0..30 {
            all.extend(load.next_second());
        }
        gateway.deliver(&all);
        readings = all.iter().map(Sent::readings).sum();
        wait_for("the status", || {
            status(&site, "T2").is_some_and(|s| s.counts.counted_readings >= readings)
        });
        service.stop();
        let snapshots = site.data().join("snapshots");
        assert!(snapshots.exists());
    }
    let s = status(&site, "T2").expect("a status");
    assert_eq!(s.counts.records, all.len() as u64);
    assert_eq!(s.counts.counted_readings, readings);
}

#[test]
fn a_taken_port_is_said_before_anything_starts() {
    let site = Site::new();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", site.http)).expect("bind");
    let (_stopper, stop) = Stopper::new();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let e = runtime
        .block_on(run(site.config(), &ROLES, Some(stop)))
        .expect_err("the port is taken");
    assert!(
        e.to_string()
            .starts_with(&format!("http.listen = \"127.0.0.1:{}\"", site.http)),
        "{e}"
    );
}
