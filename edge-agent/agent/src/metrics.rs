//! The status document as Prometheus metrics (OpenMetrics text).

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode as encode_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::status::StatusDoc;

type Labels = Vec<(&'static str, String)>;
type Gauges = Family<Labels, Gauge>;

/// All of it, for one scrape.
pub fn encode(doc: &StatusDoc) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::with_prefix("windlass_edge");
    for (name, help, value) in doc.counters.each() {
        let counter = Counter::<u64, AtomicU64>::default();
        counter.inc_by(value);
        registry.register(name, help.trim().trim_end_matches('.'), counter);
    }
    gauges(&mut registry, doc);
    turbines(&mut registry, doc);
    sources(&mut registry, doc);
    let mut text = String::new();
    encode_text(&mut text, &registry)?;
    Ok(text)
}

fn register(registry: &mut Registry, name: &str, help: &str, value: Option<i64>) {
    if let Some(value) = value {
        let gauge = Gauge::<i64>::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    }
}

fn clock_gauges(registry: &mut Registry, doc: &StatusDoc) {
    let mut gauge = |name: &str, help: &str, value: Option<i64>| {
        register(registry, name, help, value);
    };
    gauge(
        "clock_set",
        "0: the wall clock was never set",
        Some(i64::from(doc.clock.set)),
    );
    gauge(
        "waiting_readings",
        "Readings that were recorded without a clock and wait for their number",
        Some(int(doc.clock.waiting_readings)),
    );
    gauge(
        "clock_synchronised",
        "What the time service says",
        doc.clock.synchronised.map(i64::from),
    );
}

fn gauges(registry: &mut Registry, doc: &StatusDoc) {
    clock_gauges(registry, doc);
    let mut gauge = |name: &str, help: &str, value: Option<i64>| {
        register(registry, name, help, value);
    };
    let some = |v: u64| Some(int(v));
    let flag = |v: bool| Some(i64::from(v));
    gauge(
        "link_online",
        "1 while the link is up",
        flag(doc.link.state == "online"),
    );
    gauge(
        "in_flight_records",
        "Records sent, not yet acknowledged by the cloud",
        some(doc.link.in_flight),
    );
    gauge(
        "live_queue_records",
        "Live records that wait to be sent",
        some(doc.link.live_queued),
    );
    gauge(
        "live_lag_milliseconds",
        "From commit to the cloud's acknowledgement",
        doc.link.live_lag_ms.map(int),
    );
    gauge(
        "ack_latency_milliseconds",
        "From publish to the cloud's acknowledgement",
        doc.link.ack_latency_ms.map(int),
    );
    gauge(
        "outbox_used_bytes",
        "Bytes of the outbox",
        some(doc.disk.used_bytes),
    );
    gauge(
        "outbox_budget_bytes",
        "Bytes that the outbox may use",
        some(doc.disk.budget_bytes),
    );
    gauge(
        "disk_free_bytes",
        "Bytes left on the outbox's file system",
        some(doc.disk.free_bytes),
    );
    gauge(
        "disk_full",
        "1: the last transaction found no room, readings wait in memory",
        flag(doc.disk.full),
    );
    gauge(
        "process_resident_bytes",
        "Memory in use",
        some(doc.process.rss_bytes),
    );
    gauge(
        "process_resident_peak_bytes",
        "Most memory ever in use",
        some(doc.process.rss_peak_bytes),
    );
    gauge(
        "process_cpu_milliseconds",
        "CPU time used since the start",
        some(doc.process.cpu_ms),
    );
    gauge(
        "process_disk_written_bytes",
        "Bytes written to storage since the start",
        some(doc.process.disk_written_bytes),
    );
    gauge("uptime_seconds", "Since the start", some(doc.uptime_s));
    if let Some(certificate) = &doc.certificate {
        gauge(
            "certificate_days_left",
            "Days until the certificate expires",
            certificate.days_left,
        );
        gauge(
            "certificate_usable",
            "0: see the status for why",
            flag(certificate.problem.is_none()),
        );
    }
}

fn turbines(registry: &mut Registry, doc: &StatusDoc) {
    let mut family =
        |name: &str, help: &str, value: fn(&crate::status::TurbineDoc) -> Option<i64>| {
            let gauges = Gauges::default();
            for turbine in &doc.turbines {
                if let Some(v) = value(turbine) {
                    let labels = vec![("turbine", turbine.turbine.clone())];
                    gauges.get_or_create(&labels).set(v);
                }
            }
            registry.register(name, help, gauges);
        };
    family("last_seq", "Last committed seq of the current epoch", |t| {
        Some(int(t.last_seq))
    });
    family(
        "backlog_records",
        "Records that the cloud has not acknowledged",
        |t| Some(int(t.backlog_records)),
    );
    family("backlog_bytes", "Bytes of them", |t| {
        Some(int(t.backlog_bytes))
    });
    family("backlog_oldest_seconds", "Age of the oldest of them", |t| {
        t.oldest_unacked_s.map(int)
    });
    family(
        "ring_bytes",
        "Bytes of acknowledged records that are still kept",
        |t| Some(int(t.ring_bytes)),
    );
    family(
        "frontier_microseconds",
        "Event time before which everything is committed",
        |t| t.frontier_us,
    );
}

fn sources(registry: &mut Registry, doc: &StatusDoc) {
    let readings = Family::<Labels, Counter>::default();
    let rejected = Family::<Labels, Counter>::default();
    for source in &doc.sources {
        let labels = vec![("source", source.name.clone())];
        readings.get_or_create(&labels).inc_by(source.readings);
        rejected.get_or_create(&labels).inc_by(source.rejected);
    }
    registry.register("source_readings", "Readings that a source gave", readings);
    registry.register(
        "source_rejected",
        "Cells and rows that are no readings",
        rejected,
    );
}

fn int(v: u64) -> i64 {
    i64::try_from(v).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::TurbineDoc;

    #[test]
    fn counters_and_turbines_are_there_by_name() {
        let mut doc = StatusDoc::default();
        doc.counters.readings_committed = 300;
        doc.link.state = "online".to_owned();
        doc.turbines.push(TurbineDoc {
            turbine: "T001".to_owned(),
            backlog_records: 4,
            ..TurbineDoc::default()
        });
        let text = encode(&doc).unwrap();
        for line in [
            "# HELP windlass_edge_readings_committed Readings committed to the outbox.",
            "windlass_edge_readings_committed_total 300",
            "windlass_edge_link_online 1",
            "windlass_edge_backlog_records{turbine=\"T001\"} 4",
        ] {
            assert!(text.lines().any(|l| l == line), "no `{line}` in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        assert!(
            !text.contains("backlog_oldest_seconds{"),
            "unknown is absent, not 0"
        );
    }
}
