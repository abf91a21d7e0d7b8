//! What the gateways have done, counted together. Every number is written by the gateways' thread and read by others.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Counts since the start, and what is so now.
#[derive(Debug, Default)]
pub struct Counters {
    pub(super) readings: AtomicU64,
    pub(super) committed_readings: AtomicU64,
    pub(super) records: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) published: AtomicU64,
    pub(super) unacknowledged: AtomicU64,
    pub(super) evicted_records: AtomicU64,
    pub(super) evicted_readings: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) overrun: AtomicU64,
    pub(super) online: AtomicU64,
    pub(super) connections_lost: AtomicU64,
    pub(super) closed: AtomicU64,
    pub(super) late_ms_max: AtomicU64,
    failure: Mutex<String>,
}

/// The counts at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Totals {
    /// Readings sampled.
    pub readings: u64,
    /// Readings in committed records.
    pub committed_readings: u64,
    /// Records committed: batches, Opens, Gaps, Seals.
    pub records: u64,
    /// Bytes of them.
    pub record_bytes: u64,
    /// Records in the outboxes that the cloud has not acknowledged.
    pub unacknowledged_records: u64,
    /// Records sent, each as often as it was.
    pub publishes: u64,
    /// Records that left an outbox before they were acknowledged, each declared lost by a Gap.
    pub evicted_records: u64,
    /// Readings in them.
    pub evicted_readings: u64,
    /// Records that the cloud refused.
    pub refused_records: u64,
    /// Readings that found no room in the gateway.
    pub overrun_readings: u64,
    /// Gateways that are connected.
    pub online: u64,
    /// Connections that ended.
    pub connections_lost: u64,
    /// The latest that a sample was taken after its time, milliseconds.
    pub late_ms_max: u64,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn fail(&self, error: &anyhow::Error) {
        if let Ok(mut failure) = self.failure.lock() {
            *failure = format!("{error:#}");
        }
    }

    pub(super) fn failure(&self) -> String {
        let failure = self.failure.lock();
        failure.map_or_else(|_| "unknown".to_owned(), |f| f.clone())
    }

    /// Have all gateways closed their last slice?
    pub(super) fn all_closed(&self, gateways: usize) -> bool {
        self.closed.load(Ordering::Acquire) == gateways as u64
    }

    /// All of them now.
    pub fn totals(&self) -> Totals {
        let get = |counter: &AtomicU64| counter.load(Ordering::Acquire);
        Totals {
            readings: get(&self.readings),
            committed_readings: get(&self.committed_readings),
            records: get(&self.records),
            record_bytes: get(&self.bytes),
            unacknowledged_records: get(&self.unacknowledged),
            publishes: get(&self.published),
            evicted_records: get(&self.evicted_records),
            evicted_readings: get(&self.evicted_readings),
            refused_records: get(&self.refused),
            overrun_readings: get(&self.overrun),
            online: get(&self.online),
            connections_lost: get(&self.connections_lost),
            late_ms_max: get(&self.late_ms_max),
        }
    }
}
