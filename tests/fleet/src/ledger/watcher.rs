//! Looks into an outbox all the time, on a thread of its own: what a small disk evicts was seen before it left.
//!
//! Invariant: every row that stays for longer than the time between two looks is seen; nothing is written.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::outbox::{Row, rows_after};
use crate::clock;

/// Between two looks. A row stays at least until the next commit, and commits are further apart.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Watches one outbox until it is dropped.
pub struct Watcher {
    seen: Arc<Mutex<Vec<Row>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Begins to watch; the file need not be there yet.
    pub fn start(path: PathBuf) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (seen, stop) = (Arc::clone(&seen), Arc::clone(&stop));
            std::thread::spawn(move || watch(&path, &seen, &stop))
        };
        Self {
            seen,
            stop,
            thread: Some(thread),
        }
    }

    /// What was seen since the last call.
    pub fn take(&self) -> Vec<Row> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("the watcher panicked");
        }
    }
}

fn watch(path: &Path, seen: &Mutex<Vec<Row>>, stop: &AtomicBool) {
    let mut last = -1;
    while !stop.load(Ordering::Acquire) {
        // A file that is not there, or that is being made or recovered, is looked at again.
        if let Ok((rows, newest)) = rows_after(path, last) {
            last = newest;
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.extend(rows);
        }
        clock::pause(LOOK_EVERY);
    }
}
