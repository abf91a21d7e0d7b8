//! `windlass-cloud status`: from the files alone, so that it works while the service runs, and when it does not.
#![allow(clippy::print_stdout)] // command-line output

use anyhow::Context as _;
use serde::Serialize;
use windlass_cloud_core::output::StatusDoc;
use windlass_cloud_core::recovery::Progress;

use crate::clock::Clock;
use crate::config::Config;
use crate::log::sqlite::SqliteView;
use crate::log::{Group, Offset, PartitionId, Topic, TopicPartition};
use crate::retention::{Needed, ONE};
use crate::serve::store::StatusStore;

/// One topic's partition.
#[derive(Debug, Serialize)]
struct PartitionView {
    topic: &'static str,
    partition: u16,
    first: u64,
    end: u64,
    groups: Vec<GroupView>,
    /// Retention comes near what recovery needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    alarm: Option<String>,
}

#[derive(Debug, Serialize)]
struct GroupView {
    group: &'static str,
    next: u64,
    lag: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    meta: String,
}

#[derive(Debug, Serialize)]
struct View {
    generation: u64,
    partitions: Vec<PartitionView>,
    turbines: Vec<serde_json::Value>,
    alerts: Vec<serde_json::Value>,
    latency_ms: Option<LatencyView>,
}

#[derive(Debug, Serialize)]
struct LatencyView {
    samples: usize,
    from_slice_close_p50: f64,
    from_slice_close_p99: f64,
    from_event_time_p50: f64,
    from_event_time_p99: f64,
}

pub fn print(config: &Config, json: bool) -> anyhow::Result<()> {
    let view = read(config)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&view)?);
    } else {
        print_text(&view);
    }
    Ok(())
}

fn read(config: &Config) -> anyhow::Result<View> {
    let log = SqliteView::open(&config.log.path)?;
    let mut partitions = Vec::new();
    for topic in Topic::ALL {
        for p in 0..log.partitions()? {
            let at = TopicPartition::new(topic, PartitionId(p));
            let mut view = partition(&log, at)?;
            if topic == Topic::Telemetry {
                let keep_us = config.retention.as_micros() as i64;
                view.alarm = needed(&log, at, &view)?.and_then(|n| n.alarm(keep_us));
            }
            partitions.push(view);
        }
    }
    let path = config.status_path();
    let (mut turbines, mut alerts, mut latency_ms) = (Vec::new(), Vec::new(), None);
    if path.exists() {
        let store = StatusStore::open_read_only(&path)?;
        let parse = |texts: Vec<String>| -> anyhow::Result<Vec<serde_json::Value>> {
            let parse =
                |t: &String| serde_json::from_str(t).context("the status store holds no JSON");
            texts.iter().map(parse).collect()
        };
        turbines = parse(store.status_documents()?)?;
        alerts = parse(store.alert_documents()?)?;
        let latencies = store.latencies()?;
        let of = |from: fn(&crate::serve::store::Latency) -> i64| {
            let mut all: Vec<i64> = latencies.iter().map(|l| l.committed - from(l)).collect();
            all.sort_unstable();
            all
        };
        let (slice, event) = (of(|l| l.slice_close), of(|l| l.event_time));
        if !slice.is_empty() {
            latency_ms = Some(LatencyView {
                samples: slice.len(),
                from_slice_close_p50: quantile_ms(&slice, 50),
                from_slice_close_p99: quantile_ms(&slice, 99),
                from_event_time_p50: quantile_ms(&event, 50),
                from_event_time_p99: quantile_ms(&event, 99),
            });
        }
    }
    Ok(View {
        generation: log.generation()?,
        partitions,
        turbines,
        alerts,
        latency_ms,
    })
}

/// Of sorted microseconds, not empty.
fn quantile_ms(sorted: &[i64], percent: usize) -> f64 {
    let i = (sorted.len() - 1) * percent / 100;
    sorted[i] as f64 / 1_000.0
}

fn partition(log: &SqliteView, at: TopicPartition) -> anyhow::Result<PartitionView> {
    let (first, end) = log.bounds(at)?;
    let mut groups = Vec::new();
    for group in Group::ALL {
        if let Some(c) = log.committed(group, at)? {
            groups.push(GroupView {
                group: group.as_str(),
                next: c.next.0,
                lag: end.0.saturating_sub(c.next.0),
                meta: c.meta,
            });
        }
    }
    Ok(PartitionView {
        topic: at.topic.as_str(),
        partition: at.partition.0,
        first: first.0,
        end: end.0,
        groups,
        alarm: None,
    })
}

/// What recovery needs of the partition, and how old it is.
fn needed(
    log: &SqliteView,
    at: TopicPartition,
    view: &PartitionView,
) -> anyhow::Result<Option<Needed>> {
    let snapshot = view
        .groups
        .iter()
        .find(|g| g.group == Group::Snapshot.as_str());
    let position = Offset(snapshot.map_or(0, |g| g.next).max(view.first));
    let mut entries = Vec::new();
    log.read(at, position, ONE, &mut entries)?;
    let now = Clock::start().wall();
    Ok(entries.first().map(|e| Needed {
        position,
        age_us: now.0.saturating_sub(e.time.0),
    }))
}

/// Where another version of the logic took over.
fn print_logic(view: &View) {
    for p in &view.partitions {
        let process = p.groups.iter().find(|g| g.group == Group::Process.as_str());
        let progress = process.and_then(|g| Progress::parse(&g.meta));
        if let Some(since) = progress.as_ref().and_then(|p| p.since.as_ref()) {
            let now = progress.as_ref().map_or(0, |p| p.logic);
            println!(
                "{}-{}: logic version {now} since position {}, version {} before",
                p.topic, p.partition, since.position, since.from
            );
        }
    }
}

fn print_text(view: &View) {
    println!("log generation {:016x}", view.generation);
    println!(
        "{:<14} {:>12} {:>12}  readers (lag)",
        "partition", "first", "end"
    );
    for p in view.partitions.iter().filter(|p| p.end > 0) {
        let groups: Vec<String> = p
            .groups
            .iter()
            .map(|g| format!("{} {} ({})", g.group, g.next, g.lag))
            .collect();
        let name = format!("{}-{}", p.topic, p.partition);
        println!(
            "{name:<14} {:>12} {:>12}  {}",
            p.first,
            p.end,
            groups.join(", ")
        );
    }
    print_logic(view);
    for p in &view.partitions {
        if let Some(alarm) = &p.alarm {
            println!("ALARM {}-{}: {alarm}", p.topic, p.partition);
        }
    }
    println!();
    println!(
        "{:<12} {:>12} {:>10} {:>8} {:>8} {:>9} {:>9} {:>7}",
        "turbine", "counted", "late", "missing", "lost", "settled", "exact", "alerts"
    );
    for doc in &view.turbines {
        let Ok(d) = serde_json::from_value::<StatusDoc>(doc.clone()) else {
            continue;
        };
        println!(
            "{:<12} {:>12} {:>10} {:>8} {:>8} {:>9} {:>9} {:>7}",
            d.turbine.as_str(),
            d.counts.counted_readings,
            d.counts.late_readings,
            d.coverage.missing_seqs,
            d.coverage.lost_seqs,
            d.windows.settled,
            d.windows.exact,
            d.alerts.len()
        );
    }
    if let Some(l) = &view.latency_ms {
        println!();
        println!(
            "latency to committed status, ms: from slice close p50 {:.0}, p99 {:.0}; from event time p50 {:.0}, p99 {:.0} ({} samples)",
            l.from_slice_close_p50,
            l.from_slice_close_p99,
            l.from_event_time_p50,
            l.from_event_time_p99,
            l.samples
        );
    }
}
