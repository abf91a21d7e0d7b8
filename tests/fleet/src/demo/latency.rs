//! How soon a reading shows in the status store, seen from outside by a reader that looks every few milliseconds.
//!
//! Invariant: an observation is late by at most the time between two looks; nothing inside the product is asked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use windlass_shared::time::SECOND_US;

use crate::clock;
use crate::ledger::status;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(4);
/// After a link or a process has come back, a gateway may take this long to count as connected.
pub const RECONNECT_US: i64 = 5 * SECOND_US;

/// A turbine's status changed. Times in microseconds.
#[derive(Clone, Debug)]
pub struct Sample {
    turbine: String,
    seen_at: i64,
    /// Newest reading of a fast channel, and the one before.
    event_time: i64,
    before: Option<i64>,
    /// When the gateway closed the newest slice.
    slice_closed: Option<i64>,
}

/// Looks on a thread of its own until it is asked for its samples.
pub struct Observer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Sample>>,
}

impl Observer {
    /// Begins to look at the status store, which need not be there yet.
    pub fn start(path: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = std::thread::spawn(move || watch(&path, &flag));
        Self { stop, thread }
    }

    /// Ends, and gives what was seen.
    pub fn finish(self) -> Result<Vec<Sample>> {
        self.stop.store(true, Ordering::Release);
        let samples = self.thread.join().ok();
        samples.context("the observer panicked")
    }
}

fn watch(path: &std::path::Path, stop: &AtomicBool) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut newest: BTreeMap<String, i64> = BTreeMap::new();
    let mut store = status::Reader::new(path);
    while !stop.load(Ordering::Acquire) {
        clock::pause(LOOK_EVERY);
        let Some(open) = store.changed() else {
            continue;
        };
        let Ok(found) = status::read(open) else {
            store.reopen();
            continue;
        };
        let seen_at = clock::wall().0;
        for (turbine, status) in found {
            let Some(event_time) = status.fast_event_time else {
                continue;
            };
            let before = newest.insert(turbine.clone(), event_time);
            if before != Some(event_time) {
                samples.push(Sample {
                    turbine,
                    seen_at,
                    event_time,
                    before,
                    slice_closed: status.slice_committed_at,
                });
            }
        }
    }
    samples
}

/// Times during which a turbine is not connected, by turbine.
#[derive(Default)]
pub struct Outages(BTreeMap<String, Vec<(i64, i64)>>);

impl Outages {
    /// Not connected from `from` until `until`, and the time it takes to come back.
    pub fn add(&mut self, turbine: &str, from: i64, until: i64) {
        let list = self.0.entry(turbine.to_owned()).or_default();
        list.push((from, until + RECONNECT_US));
    }

    fn holds(&self, turbine: &str, at: i64) -> bool {
        let list = self.0.get(turbine).map_or(&[][..], Vec::as_slice);
        list.iter().any(|(from, until)| *from <= at && at < *until)
    }
}

/// Percentiles, milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half are faster.
    pub p50: f64,
    /// 99 of 100 are faster.
    pub p99: f64,
    /// The slowest.
    pub max: f64,
    /// How many there are.
    pub samples: usize,
}

impl Percentiles {
    /// Of durations in milliseconds.
    pub(crate) fn of(mut ms: Vec<f64>) -> Self {
        ms.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let i = ((ms.len() as f64 * share).ceil() as usize).clamp(1, ms.len().max(1)) - 1;
            ms.get(i).copied().unwrap_or_default()
        };
        Self {
            p50: at(0.50),
            p99: at(0.99),
            max: at(1.0),
            samples: ms.len(),
        }
    }
}

/// From where to committed status.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// From the moment the gateway closed and numbered the slice.
    pub from_slice_close: Percentiles,
    /// From the event time of every fast reading's second.
    pub from_event_time: Percentiles,
}

/// Percentiles over what was seen of connected turbines.
pub fn summarise(samples: &[Sample], outages: &Outages) -> Latency {
    let ms = |us: i64| us as f64 / 1_000.0;
    let mut closes = Vec::new();
    let mut events = Vec::new();
    for sample in samples {
        // Without one before there is no telling how long the newest had been there.
        let Some(before) = sample.before else {
            continue;
        };
        let known = |at: i64| outages.holds(&sample.turbine, at);
        if known(sample.seen_at) || known(sample.event_time) {
            continue;
        }
        closes.extend(sample.slice_closed.map(|at| ms(sample.seen_at - at)));
        let mut second = sample.event_time;
        while second > before {
            if !known(second) {
                events.push(ms(sample.seen_at - second));
            }
            second -= SECOND_US;
        }
    }
    Latency {
        from_slice_close: Percentiles::of(closes),
        from_event_time: Percentiles::of(events),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_that_show_together_are_each_as_late_as_they_are() {
        let sample = |turbine: &str, seen_ms: i64, event_s: i64, before_s: Option<i64>| Sample {
            turbine: turbine.into(),
            seen_at: seen_ms * 1_000,
            event_time: event_s * SECOND_US,
            before: before_s.map(|s| s * SECOND_US),
            slice_closed: Some((event_s + 1) * SECOND_US),
        };
        let samples = [
            sample("T1", 10_300, 9, None),
            sample("T1", 12_500, 11, Some(9)),
            sample("T2", 90_000, 50, Some(49)),
        ];
        let mut outages = Outages::default();
        outages.add("T2", 50 * SECOND_US, 85 * SECOND_US);
        let latency = summarise(&samples, &outages);
        assert_eq!(latency.from_slice_close.samples, 1);
        assert_eq!(latency.from_slice_close.p50, 500.0);
        assert_eq!(latency.from_event_time.samples, 2);
        assert_eq!(latency.from_event_time.p50, 1_500.0);
        assert_eq!(latency.from_event_time.max, 2_500.0);
    }
}
