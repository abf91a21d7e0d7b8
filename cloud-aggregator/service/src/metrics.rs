//! Counters by role, for Prometheus.
//!
//! Invariant: whatever is refused, repeated or dropped has a counter here; nothing is decided by one.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::lake::role::LakeMetrics;

/// A label with a reason.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct Reason {
    /// Stable code.
    pub reason: &'static str,
}

/// A label with a partition.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct Partition {
    /// Number.
    pub partition: u16,
}

/// A label with a topic of the log.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct TopicLabel {
    /// Name.
    pub topic: &'static str,
}

/// A seconds gauge.
pub type Seconds = Gauge<f64, AtomicU64>;

fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 16))
}

/// Ingest.
#[derive(Clone, Debug)]
pub struct IngestMetrics {
    /// Records appended.
    pub accepted: Counter,
    /// Readings in them.
    pub readings: Counter,
    /// Bytes of payload received.
    pub bytes: Counter,
    /// Messages refused, by reason.
    pub refused: Family<Reason, Counter>,
    /// Log transactions.
    pub batches: Counter,
    /// MQTT acknowledgements that could not be given: the broker sends again.
    pub mqtt_acks_skipped: Counter,
    /// Acknowledgements to gateways that found the queue full: the gateway sends again.
    pub downlinks_dropped: Counter,
    /// 1 while connected.
    pub connected: Gauge,
    /// Connections lost.
    pub connections_lost: Counter,
    /// From the batch in hand to the log's answer.
    pub append_seconds: Histogram,
}

/// The partition tasks.
#[derive(Clone, Debug)]
pub struct ProcessMetrics {
    /// Entries applied.
    pub entries: Family<Partition, Counter>,
    /// Outputs committed, by topic.
    pub outputs: Family<TopicLabel, Counter>,
    /// From the outputs in hand to the log's answer.
    pub commit_seconds: Histogram,
    /// Entries applied again at the last start, with their outputs discarded.
    pub replayed: Family<Partition, Gauge>,
    /// Time of the last start's recovery.
    pub recovery_seconds: Family<Partition, Seconds>,
    /// First input offset that is not committed.
    pub position: Family<Partition, Gauge>,
    /// Snapshots written.
    pub snapshots: Counter,
    /// Snapshots that failed: recovery takes longer.
    pub snapshots_failed: Counter,
    /// Times that a snapshot had to wait for one that was still being written.
    pub snapshots_deferred: Counter,
    /// Size of the newest snapshot.
    pub snapshot_bytes: Family<Partition, Gauge>,
    /// How long the clone for a snapshot held the partition.
    pub snapshot_pause_seconds: Histogram,
}

/// The status store.
#[derive(Clone, Debug)]
pub struct ServeMetrics {
    /// Status documents stored.
    pub status: Counter,
    /// Status documents older than what is stored.
    pub status_old: Counter,
    /// Alert events stored.
    pub alerts: Counter,
    /// Entries that cannot be read.
    pub unreadable: Counter,
    /// From a slice's close at the gateway to the committed status.
    pub latency_slice_seconds: Histogram,
    /// From the event time of the newest fast reading to the committed status.
    pub latency_event_seconds: Histogram,
}

/// What the log may let go of, and what recovery needs of it.
#[derive(Clone, Debug)]
pub struct RetentionMetrics {
    /// Age of the oldest entry that recovery from the second-newest verified snapshot needs.
    pub needed_age: Family<Partition, Seconds>,
    /// 1 while the configured age comes near it.
    pub near_snapshot: Family<Partition, Gauge>,
}

/// All of them.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Ingest.
    pub ingest: IngestMetrics,
    /// Downlink messages published from the log.
    pub downlinks: Counter,
    /// The partition tasks.
    pub process: ProcessMetrics,
    /// The status store.
    pub serve: ServeMetrics,
    /// The lake.
    pub lake: LakeMetrics,
    /// Log entries deleted by retention, by topic.
    pub trimmed: Family<TopicLabel, Counter>,
    /// Retention.
    pub retention: RetentionMetrics,
}

impl Metrics {
    /// All at zero, registered.
    pub fn new(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("windlass");
        Self {
            ingest: ingest(registry.sub_registry_with_prefix("ingest")),
            downlinks: register(
                registry,
                "downlink_messages",
                "Downlink messages published",
                Counter::default(),
            ),
            process: process(registry.sub_registry_with_prefix("process")),
            serve: serve(registry.sub_registry_with_prefix("serve")),
            lake: LakeMetrics::new(registry),
            trimmed: register(
                registry,
                "log_trimmed",
                "Log entries deleted by retention",
                Family::default(),
            ),
            retention: retention(registry.sub_registry_with_prefix("retention")),
        }
    }
}

fn register<M>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M
where
    M: prometheus_client::registry::Metric + Clone,
{
    registry.register(name, help, metric.clone());
    metric
}

fn register_seconds<M>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M
where
    M: prometheus_client::registry::Metric + Clone,
{
    registry.register_with_unit(name, help, Unit::Seconds, metric.clone());
    metric
}

fn ingest(r: &mut Registry) -> IngestMetrics {
    IngestMetrics {
        accepted: register(
            r,
            "records",
            "Records appended to the log",
            Counter::default(),
        ),
        readings: register(
            r,
            "readings",
            "Readings in appended records",
            Counter::default(),
        ),
        bytes: register(
            r,
            "payload_bytes",
            "Bytes of MQTT payload received",
            Counter::default(),
        ),
        refused: register(
            r,
            "refused",
            "Messages refused, by reason",
            Family::default(),
        ),
        batches: register(r, "batches", "Log transactions", Counter::default()),
        mqtt_acks_skipped: register(
            r,
            "mqtt_acks_skipped",
            "MQTT acknowledgements not given",
            Counter::default(),
        ),
        downlinks_dropped: register(
            r,
            "downlinks_dropped",
            "Acknowledgements to gateways dropped",
            Counter::default(),
        ),
        connected: register(
            r,
            "connected",
            "1 while connected to the broker",
            Gauge::default(),
        ),
        connections_lost: register(
            r,
            "connections_lost",
            "Connections to the broker lost",
            Counter::default(),
        ),
        append_seconds: register_seconds(r, "append", "Time of a log append", seconds()),
    }
}

fn process(r: &mut Registry) -> ProcessMetrics {
    ProcessMetrics {
        entries: register(r, "entries", "Log entries applied", Family::default()),
        outputs: register(
            r,
            "outputs",
            "Outputs committed, by topic",
            Family::default(),
        ),
        commit_seconds: register_seconds(r, "commit", "Time of a log commit", seconds()),
        replayed: register(
            r,
            "replayed_entries",
            "Entries replayed at the last start",
            Family::default(),
        ),
        recovery_seconds: register_seconds(
            r,
            "recovery",
            "Time of the last recovery",
            Family::default(),
        ),
        position: register(
            r,
            "position",
            "First input offset that is not committed",
            Family::default(),
        ),
        snapshots: register(r, "snapshots", "Snapshots written", Counter::default()),
        snapshots_failed: register(
            r,
            "snapshots_failed",
            "Snapshots that failed",
            Counter::default(),
        ),
        snapshots_deferred: register(
            r,
            "snapshots_deferred",
            "Times a snapshot waited for another",
            Counter::default(),
        ),
        snapshot_bytes: register(
            r,
            "snapshot_bytes",
            "Size of the newest snapshot",
            Family::default(),
        ),
        snapshot_pause_seconds: register_seconds(
            r,
            "snapshot_pause",
            "Time a snapshot held its partition",
            seconds(),
        ),
    }
}

fn retention(r: &mut Registry) -> RetentionMetrics {
    RetentionMetrics {
        needed_age: register_seconds(
            r,
            "needed_age",
            "Age of the oldest entry that recovery needs",
            Family::default(),
        ),
        near_snapshot: register(
            r,
            "near_snapshot",
            "1 while retention comes near the second-newest verified snapshot",
            Family::default(),
        ),
    }
}

fn serve(r: &mut Registry) -> ServeMetrics {
    ServeMetrics {
        status: register(r, "status", "Status documents stored", Counter::default()),
        status_old: register(
            r,
            "status_old",
            "Status documents older than the stored one",
            Counter::default(),
        ),
        alerts: register(r, "alerts", "Alert events stored", Counter::default()),
        unreadable: register(
            r,
            "unreadable",
            "Entries that cannot be read",
            Counter::default(),
        ),
        latency_slice_seconds: register_seconds(
            r,
            "latency_slice",
            "From slice close to committed status",
            seconds(),
        ),
        latency_event_seconds: register_seconds(
            r,
            "latency_event",
            "From event time to committed status",
            seconds(),
        ),
    }
}
