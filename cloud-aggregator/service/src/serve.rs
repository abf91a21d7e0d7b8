//! The serve role: the newest state of every turbine and of every alert, in a store that dashboards can read.
//!
//! Invariant: what is stored of a turbine or an alert never goes back, whatever comes again.

pub mod store;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use windlass_cloud_core::output::{AlertEvent, StatusDoc};
use windlass_shared::id::TurbineId;

use crate::clock::Clock;
use crate::log::{
    Commit, Group, Log, LogError, Offset, PartitionId, ReadLimits, StoredEntry, Topic,
    TopicPartition,
};
use crate::metrics::ServeMetrics;
use crate::stop::Stop;
use store::{Latency, StatusStore, StoreError};

const LIMITS: ReadLimits = ReadLimits {
    entries_max: 1_000,
    bytes_max: 4 * 1024 * 1024,
};
/// How long a read may wait: how soon a stop is seen.
const READ_WAIT: Duration = Duration::from_millis(200);
/// The log hears of our position this often, for its retention, µs.
const LOG_COMMIT_EVERY_US: u64 = 1_000_000;

/// Why serving ends. Fatal.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The log failed.
    #[error("serve cannot read its topics")]
    Log(#[from] LogError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The serve role.
pub struct Serve {
    /// Where from.
    pub log: Arc<dyn Log>,
    /// Where to.
    pub path: PathBuf,
    /// Counters.
    pub metrics: ServeMetrics,
    /// For latencies.
    pub clock: Clock,
}

impl Serve {
    /// Runs on a thread until told to stop.
    pub fn run(&self, stop: &Stop) -> Result<(), ServeError> {
        let mut store = StatusStore::open(&self.path, self.log.generation())?;
        let mut next = self.positions(&store)?;
        let mut reader = self.log.reader(next.clone())?;
        let mut told = next.clone();
        let mut told_at = self.clock.mono();
        let mut latencies = Vec::new();
        let mut shown = BTreeMap::new();
        while !stop.is_set() {
            let entries = reader.poll(LIMITS, READ_WAIT)?;
            if !entries.is_empty() || !latencies.is_empty() {
                let fresh = self.store(&mut store, &entries, &mut next, &latencies)?;
                latencies = self.measure(fresh, &mut shown);
            }
            if self.clock.mono().since_us(told_at) >= LOG_COMMIT_EVERY_US {
                self.tell(&next, &mut told)?;
                told_at = self.clock.mono();
            }
        }
        self.store(&mut store, &[], &mut next, &latencies)?;
        self.tell(&next, &mut told)?;
        Ok(())
    }

    /// The store knows best: its position was committed with what it holds.
    fn positions(&self, store: &StatusStore) -> Result<Vec<(TopicPartition, Offset)>, ServeError> {
        let mut out = Vec::new();
        for topic in [Topic::Status, Topic::Alerts] {
            for p in 0..self.log.partitions() {
                let at = TopicPartition::new(topic, PartitionId(p));
                let next = match store.position(at)? {
                    Some(next) => next,
                    None => self.log.bounds(at)?.0,
                };
                out.push((at, next));
            }
        }
        Ok(out)
    }

    /// One transaction of the store. Answers what became visible with it and is worth measuring.
    fn store(
        &self,
        store: &mut StatusStore,
        entries: &[StoredEntry],
        next: &mut [(TopicPartition, Offset)],
        latencies: &[Latency],
    ) -> Result<Vec<Visible>, ServeError> {
        let mut visible = Vec::new();
        let mut tx = store.begin()?;
        for entry in entries {
            match entry.at.topic {
                Topic::Status => match StatusDoc::decode(&entry.value) {
                    Ok(doc) => {
                        if tx.status(&doc, &entry.value)? {
                            self.metrics.status.inc();
                            visible.extend(Visible::of(&doc));
                        } else {
                            self.metrics.status_old.inc();
                        }
                    }
                    Err(e) => self.unreadable(entry, &e),
                },
                _ => match AlertEvent::decode(&entry.value) {
                    Ok(alert) => {
                        tx.alert(&alert, &entry.value)?;
                        self.metrics.alerts.inc();
                    }
                    Err(e) => self.unreadable(entry, &e),
                },
            }
            if let Some(n) = next.iter_mut().find(|(at, _)| *at == entry.at) {
                n.1 = Offset(entry.offset.0 + 1);
            }
        }
        for (at, next) in next.iter() {
            tx.position(*at, *next)?;
        }
        for latency in latencies {
            tx.latency(latency)?;
        }
        tx.commit()?;
        Ok(visible)
    }

    fn unreadable(&self, entry: &StoredEntry, error: &dyn std::error::Error) {
        self.metrics.unreadable.inc();
        tracing::error!(at = %entry.at, offset = entry.offset.0, %error, "an entry that cannot be read was passed over");
    }

    /// The transaction is on disk: now is when the status was committed.
    /// A slice counts once, with the first status that shows it.
    fn measure(&self, visible: Vec<Visible>, shown: &mut BTreeMap<TurbineId, i64>) -> Vec<Latency> {
        let committed = self.clock.wall();
        let seconds = |from: i64| (committed.0 - from) as f64 / 1e6;
        visible
            .into_iter()
            .filter(|v| {
                let newest = shown.entry(v.turbine.clone()).or_insert(i64::MIN);
                let newer = v.slice_close > *newest;
                *newest = v.slice_close.max(*newest);
                newer
            })
            .map(|v| {
                self.metrics
                    .latency_slice_seconds
                    .observe(seconds(v.slice_close));
                self.metrics
                    .latency_event_seconds
                    .observe(seconds(v.event_time));
                Latency {
                    turbine: v.turbine,
                    event_time: v.event_time,
                    slice_close: v.slice_close,
                    committed: committed.0,
                }
            })
            .collect()
    }

    fn tell(
        &self,
        next: &[(TopicPartition, Offset)],
        told: &mut Vec<(TopicPartition, Offset)>,
    ) -> Result<(), LogError> {
        let mut tickets = Vec::new();
        for ((at, next), (_, done)) in next.iter().zip(told.iter()) {
            if next != done {
                tickets.push(self.log.commit(Commit {
                    group: Group::Serve,
                    input: *at,
                    next: *next,
                    meta: String::new(),
                    outputs: Vec::new(),
                }));
            }
        }
        for ticket in tickets {
            ticket.wait()?;
        }
        next.clone_into(told);
        Ok(())
    }
}

/// A status that became visible.
struct Visible {
    turbine: TurbineId,
    event_time: i64,
    slice_close: i64,
}

impl Visible {
    /// `None`: it has no fast reading yet.
    fn of(doc: &StatusDoc) -> Option<Self> {
        Some(Self {
            turbine: doc.turbine.clone(),
            event_time: doc.fast_event_time?.0,
            slice_close: doc.slice_committed_at?.0,
        })
    }
}
