//! How soon a slice shows in the status store, seen by a reader that looks at some turbines every few milliseconds.
//!
//! Invariant: an observation is late by at most the time between two looks and the look itself.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

use crate::clock;
use crate::ledger::status;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A turbine's newest fast slice showed. Milliseconds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Shown {
    /// Since the gateway closed and numbered the slice.
    pub from_slice_close: f64,
    /// Since its newest reading was taken.
    pub from_event_time: f64,
}

/// The reader.
pub struct Watch {
    stop: Arc<AtomicBool>,
    shown: Arc<Mutex<Vec<Shown>>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins; the store need not be there yet.
    pub fn start(path: PathBuf, turbines: Vec<String>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (flag, list) = (Arc::clone(&stop), Arc::clone(&shown));
        let thread = std::thread::spawn(move || watch(&path, &turbines, &flag, &list));
        Self {
            stop,
            shown,
            thread: Some(thread),
        }
    }

    /// What showed since the last call.
    pub fn take(&self) -> Vec<Shown> {
        let list = self.shown.lock();
        list.map_or_else(|_| Vec::new(), |mut l| std::mem::take(&mut *l))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("error: the reader of the status store panicked");
        }
    }
}

fn watch(path: &Path, turbines: &[String], stop: &AtomicBool, shown: &Mutex<Vec<Shown>>) {
    let mut newest = vec![i64::MIN; turbines.len()];
    let mut store = status::Reader::new(path);
    while !stop.load(Ordering::Acquire) {
        clock::pause(LOOK_EVERY);
        let Some(open) = store.changed() else {
            continue;
        };
        for (turbine, newest) in turbines.iter().zip(&mut newest) {
            let Some((event_time, closed)) = look(open, turbine) else {
                continue;
            };
            if closed <= *newest {
                continue;
            }
            let first = *newest == i64::MIN;
            *newest = closed;
            let at = clock::wall().0;
            let ms = |since: i64| (at - since) as f64 / 1e3;
            if !first && let Ok(mut list) = shown.lock() {
                list.push(Shown {
                    from_slice_close: ms(closed),
                    from_event_time: ms(event_time),
                });
            }
        }
    }
}

/// Newest fast reading, and when its slice was closed.
fn look(open: &Connection, turbine: &str) -> Option<(i64, i64)> {
    let mut query = open
        .prepare_cached("SELECT fast_event_time, slice_committed_at FROM status WHERE turbine = ?1")
        .ok()?;
    let row: (Option<i64>, Option<i64>) = query
        .query_row([turbine], |r| Ok((r.get(0)?, r.get(1)?)))
        .ok()?;
    Some((row.0?, row.1?))
}
