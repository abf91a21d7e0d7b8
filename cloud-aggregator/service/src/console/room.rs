//! Room for work that costs much: so much of it at once, so much that waits, and not for long.
//!
//! Invariant: nothing waits without an end: what finds no place, or no turn in time, is refused with 503 and Retry-After.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;

/// How much of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// At once.
    pub running: usize,
    /// Waiting for that.
    pub waiting: usize,
    /// How long one may wait.
    pub wait: Duration,
    /// What it is, for people: `exports`.
    pub what: &'static str,
    /// What a refused client can do, for people.
    pub instead: &'static str,
    /// Seconds after which a refused client may ask again.
    pub retry_after_s: u32,
}

/// Places.
#[derive(Clone, Debug)]
pub struct Room {
    bounds: Bounds,
    running: Arc<Semaphore>,
    inside: Arc<Semaphore>,
}

/// A place among those that run; it is free again when this is dropped.
#[derive(Debug)]
pub struct Turn {
    _running: OwnedSemaphorePermit,
    _inside: OwnedSemaphorePermit,
}

impl Room {
    /// With these bounds.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            running: Arc::new(Semaphore::new(bounds.running)),
            inside: Arc::new(Semaphore::new(bounds.running + bounds.waiting)),
        }
    }

    /// Waits for a turn; 503 when too many wait already, or it does not come in time.
    pub async fn turn(&self) -> Result<Turn, Problem> {
        let inside = Arc::clone(&self.inside).try_acquire_owned();
        let inside = inside.map_err(|_| self.full())?;
        let running = Arc::clone(&self.running).acquire_owned();
        let running = tokio::time::timeout(self.bounds.wait, running).await;
        Ok(Turn {
            _running: running.map_err(|_| self.full())?.map_err(|_| self.full())?,
            _inside: inside,
        })
    }

    /// Places that are free, also those to wait in.
    pub fn free(&self) -> usize {
        self.inside.available_permits()
    }

    fn full(&self) -> Problem {
        let b = &self.bounds;
        let detail = format!(
            "{} {} are running, which is as many as there may be, and others wait: ask again in {} s, or {}",
            b.running, b.what, b.retry_after_s, b.instead
        );
        Problem {
            retry_after_s: b.retry_after_s,
            ..Problem::busy(detail)
        }
    }
}
