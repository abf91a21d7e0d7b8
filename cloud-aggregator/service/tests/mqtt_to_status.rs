//! The thin path in one process: real MQTT through the embedded broker, ingest, log, partition tasks, status store.

mod rig;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use rig::{Site, load, wait_for};
use rumqttc::{Client, Event, MqttOptions, Packet, QoS};
use windlass_cloud::bench::load::Sent;
use windlass_cloud::log::sqlite::SqliteView;
use windlass_cloud::log::{Offset, PartitionId, ReadLimits, Topic, TopicPartition};
use windlass_cloud::run::{Role, RunError, run};
use windlass_cloud::serve::store::StatusStore;
use windlass_cloud::stop::Stopper;
use windlass_cloud_core::output::{DeadLetter, Reason, StatusDoc};
use windlass_shared::id::{GatewayId, RecordId};
use windlass_shared::time::{EventTime, SECOND_US};
use windlass_shared::wire::{AckLevel, decode_downlink, down_topic, up_topic};

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

/// A gateway that publishes what it is told to, and notes what comes back.
struct Gateway {
    id: GatewayId,
    client: Client,
    acked: std::sync::Arc<Mutex<BTreeMap<RecordId, Option<String>>>>,
    pubacks: std::sync::Arc<Mutex<u64>>,
}

impl Gateway {
    fn connect(site: &Site, id: &str) -> Self {
        let id = GatewayId::new(id).expect("a name");
        let mut options = MqttOptions::new(id.as_str(), "127.0.0.1", site.broker);
        options
            .set_keep_alive(Duration::from_secs(30))
            .set_max_packet_size(1 << 20, 1 << 20);
        let (client, mut connection) = Client::new(options, 1_000);
        client
            .subscribe(down_topic(&id), QoS::AtLeastOnce)
            .expect("subscribe");
        let gateway = Self {
            id,
            client,
            acked: std::sync::Arc::default(),
            pubacks: std::sync::Arc::default(),
        };
        let (acked, pubacks) = (gateway.acked.clone(), gateway.pubacks.clone());
        std::thread::spawn(move || {
            let mut failures = 0;
            for event in connection.iter() {
                match event {
                    Ok(Event::Incoming(Packet::Publish(p))) => {
                        let down = decode_downlink(&p.payload).expect("a downlink");
                        for ack in down.acks {
                            assert_eq!(ack.level, AckLevel::Safe);
                            let verdicts: BTreeMap<_, _> = ack.verdicts.into_iter().collect();
                            for seq in ack.ranges.iter().flat_map(|r| r.first.0..=r.last.0) {
                                let seq = windlass_shared::id::Seq(seq);
                                let id = RecordId {
                                    turbine: ack.turbine.clone(),
                                    epoch: ack.epoch,
                                    seq,
                                };
                                let verdict = verdicts.get(&seq).cloned();
                                acked.lock().expect("lock").insert(id, verdict);
                            }
                        }
                    }
                    Ok(Event::Incoming(Packet::PubAck(_))) => {
                        *pubacks.lock().expect("lock") += 1;
                    }
                    Ok(_) => {}
                    Err(_) => {
                        failures += 1;
                        if failures > 1_000 {
                            return;
                        }
                        std::thread::park_timeout(Duration::from_millis(50));
                    }
                }
            }
        });
        gateway
    }

    fn publish(&self, sent: &Sent) {
        self.publish_as(&sent.record.header.id, &sent.bytes);
    }

    fn publish_as(&self, id: &RecordId, bytes: &[u8]) {
        self.client
            .publish(up_topic(&self.id, id), QoS::AtLeastOnce, false, bytes)
            .expect("publish");
    }

    fn verdict(&self, id: &RecordId) -> Option<Option<String>> {
        self.acked.lock().expect("lock").get(id).cloned()
    }

    /// Publishes again, as a gateway does, until all are acknowledged.
    fn deliver(&self, sent: &[Sent]) {
        let mut round = 0;
        wait_for("acknowledgements of all records", || {
            let missing: Vec<_> = sent
                .iter()
                .filter(|s| self.verdict(&s.record.header.id).is_none())
                .collect();
            if round % 100 == 0 {
                missing.iter().for_each(|s| self.publish(s));
            }
            round += 1;
            missing.is_empty()
        });
    }
}

fn now() -> EventTime {
    let clock = windlass_cloud::clock::Clock::start();
    EventTime(clock.wall().0)
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

fn minutes_before(minutes: i64) -> EventTime {
    now().plus_us(-minutes * 60 * SECOND_US)
}

#[test]
fn what_is_sent_twice_is_counted_once_and_what_is_bad_is_refused() {
    let site = Site::new();
    let service = Service::start(&site, &ROLES);
    let gateway = Gateway::connect(&site, "GW1");
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
    let verdict = gateway.verdict(&damaged.record.header.id).flatten();
    let verdict = verdict.expect("refused");
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
    let gateway = Gateway::connect(&site, "GW2");
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
    let gateway = Gateway::connect(&site, "GW1");
    for round in 0..3 {
        // the broker of the first round lives as long as the process
        let service = Service::start(&site, if round == 0 { &ROLES } else { &ROLES[1..] });
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
