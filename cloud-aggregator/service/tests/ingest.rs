//! Ingest and downlink against the embedded broker: nobody hears of a record before the log has it.

mod rig;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus_client::registry::Registry;
use rig::gateway::{Answer, Gateway};
use rig::{Site, load, minutes_before, wait_for};
use windlass_cloud::broker;
use windlass_cloud::clock::Clock;
use windlass_cloud::downlink::Publisher;
use windlass_cloud::ingest::{Ingest, IngestError};
use windlass_cloud::log::sqlite::SqliteLog;
use windlass_cloud::log::{
    Commit, Committed, Group, Log, LogError, NewEntry, Offset, PartitionId, Reader, Ticket, Topic,
    TopicPartition,
};
use windlass_cloud::metrics::Metrics;
use windlass_cloud::stop::Stopper;
use windlass_shared::id::SeqRange;
use windlass_shared::time::WallTime;
use windlass_shared::wire::{Downlink, Resend, encode_downlink};

/// A log that takes its time: appends wait at the gate, or fail when it is broken.
struct Gated {
    inner: SqliteLog,
    open: AtomicBool,
    broken: AtomicBool,
}

impl Log for Gated {
    fn partitions(&self) -> u16 {
        self.inner.partitions()
    }
    fn generation(&self) -> u64 {
        self.inner.generation()
    }
    fn append(&self, entries: Vec<NewEntry>) -> Ticket<Vec<Offset>> {
        wait_for("the gate", || {
            self.open.load(Ordering::SeqCst) || self.broken.load(Ordering::SeqCst)
        });
        if self.broken.load(Ordering::SeqCst) {
            let (answer, ticket) = Ticket::pair();
            drop(answer.send(Err(LogError::Stopped { cause: None })));
            return ticket;
        }
        self.inner.append(entries)
    }
    fn commit(&self, commit: Commit) -> Ticket<()> {
        self.inner.commit(commit)
    }
    fn reader(&self, from: Vec<(TopicPartition, Offset)>) -> Result<Box<dyn Reader>, LogError> {
        self.inner.reader(from)
    }
    fn committed(&self, group: Group, at: TopicPartition) -> Result<Option<Committed>, LogError> {
        self.inner.committed(group, at)
    }
    fn bounds(&self, at: TopicPartition) -> Result<(Offset, Offset), LogError> {
        self.inner.bounds(at)
    }
    fn trim(&self, at: TopicPartition, before: Offset, older_than: WallTime) -> Ticket<u64> {
        self.inner.trim(at, before, older_than)
    }
}

/// Broker and log, ready for roles.
struct Parts {
    site: Site,
    log: Arc<Gated>,
    metrics: Metrics,
    clock: Clock,
    runtime: tokio::runtime::Runtime,
}

impl Parts {
    fn new() -> Self {
        let site = Site::new();
        let config = site.config();
        let clock = Clock::start();
        let inner = SqliteLog::open(&config.log, Box::new(move || clock.wall())).expect("opens");
        broker::start(config.broker.expect("embedded"), |_| ()).expect("a broker");
        Self {
            log: Arc::new(Gated {
                inner,
                open: AtomicBool::new(false),
                broken: AtomicBool::new(false),
            }),
            metrics: Metrics::new(&mut Registry::default()),
            clock,
            runtime: tokio::runtime::Runtime::new().expect("a runtime"),
            site,
        }
    }

    fn ingest(&self) -> Ingest {
        let config = self.site.config();
        Ingest {
            log: self.log.clone(),
            fleet: config.fleet,
            mqtt: config.mqtt,
            metrics: self.metrics.ingest.clone(),
            clock: self.clock,
        }
    }

    fn telemetry(&self) -> u64 {
        (0..self.log.partitions())
            .map(|p| {
                let at = TopicPartition::new(Topic::Telemetry, PartitionId(p));
                self.log.bounds(at).expect("bounds").1.0
            })
            .sum()
    }
}

#[test]
fn an_acknowledgement_comes_after_the_log_and_not_before() {
    let parts = Parts::new();
    let (stopper, stop) = Stopper::new();
    let running = parts.runtime.spawn(parts.ingest().run(stop));
    wait_for("ingest's connection", || {
        parts.metrics.ingest.connected.get() == 1
    });
    let gateway = Gateway::connect(parts.site.broker, "GW1");
    let mut load = load("T1", 1, minutes_before(1));
    let open = load.open(None);
    // until one arrives: the subscription may come a moment after the connection
    wait_for("the record at the gate", || {
        gateway.publish(&open);
        std::thread::park_timeout(Duration::from_millis(50));
        parts.metrics.ingest.accepted.get() > 0
    });
    wait_for("the broker's acknowledgement", || gateway.pubacks() > 0);
    assert_eq!(parts.telemetry(), 0);
    assert_eq!(gateway.verdict(&open.record.header.id), None);
    parts.log.open.store(true, Ordering::SeqCst);
    wait_for("the acknowledgement", || {
        gateway.verdict(&open.record.header.id).is_some()
    });
    assert!(parts.telemetry() > 0);
    assert_eq!(
        gateway.verdict(&open.record.header.id),
        Some(Answer::Accepted)
    );
    stopper.stop();
    parts
        .runtime
        .block_on(running)
        .expect("no panic")
        .expect("a clean stop");
}

#[test]
fn when_the_log_fails_ingest_ends_and_acknowledges_nothing() {
    let parts = Parts::new();
    parts.log.broken.store(true, Ordering::SeqCst);
    let (_stopper, stop) = Stopper::new();
    let running = parts.runtime.spawn(parts.ingest().run(stop));
    wait_for("ingest's connection", || {
        parts.metrics.ingest.connected.get() == 1
    });
    let gateway = Gateway::connect(parts.site.broker, "GW1");
    let mut load = load("T1", 1, minutes_before(1));
    let open = load.open(None);
    wait_for("the end of ingest", || {
        gateway.publish(&open);
        std::thread::park_timeout(Duration::from_millis(50));
        running.is_finished()
    });
    let result = parts.runtime.block_on(running).expect("no panic");
    assert!(matches!(result, Err(IngestError::Log(_))), "{result:?}");
    assert_eq!(gateway.verdict(&open.record.header.id), None);
    assert_eq!(parts.telemetry(), 0);
}

#[test]
fn what_the_task_asks_for_reaches_the_gateway_and_the_position_is_kept() {
    let parts = Parts::new();
    parts.log.open.store(true, Ordering::SeqCst);
    let gateway = Gateway::connect(parts.site.broker, "GW2");
    let load = load("T3", 3, minutes_before(1));
    let mut opened = load.clone();
    let id = opened.open(None).record.header.id;
    let ask = |seq: u64| Resend {
        turbine: id.turbine.clone(),
        epoch: id.epoch,
        ranges: vec![SeqRange::new(seq, seq + 1).expect("a range")],
    };
    let at = TopicPartition::new(Topic::Downlink, PartitionId(1));
    let append = |seq: u64| {
        let message = Downlink {
            resends: vec![ask(seq)],
            ..Downlink::default()
        };
        let entry = NewEntry {
            to: at,
            key: "GW2".into(),
            value: encode_downlink(&message),
        };
        parts.log.append(vec![entry]).wait().expect("append")
    };
    let mut wanted = Vec::new();
    for seq in [5, 9] {
        append(seq);
        wanted.push(ask(seq));
        let publisher = Publisher {
            log: parts.log.clone(),
            mqtt: parts.site.config().mqtt,
            published: parts.metrics.downlinks.clone(),
            clock: parts.clock,
        };
        let (stopper, stop) = Stopper::new();
        let handle = parts.runtime.handle().clone();
        let thread = std::thread::spawn(move || publisher.run(&handle, &stop));
        wait_for("the request", || gateway.resends() == wanted);
        stopper.stop();
        thread.join().expect("no panic").expect("no error");
    }
    let position = parts.log.committed(Group::Downlink, at).expect("position");
    assert_eq!(position.map(|c| c.next), Some(Offset(2)));
}
