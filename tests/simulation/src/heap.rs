//! The event heap: virtual time, ties broken by the order of scheduling, so that a seed always plays the same way.

use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Events by (time, order of scheduling). Times are microseconds of virtual time.
#[derive(Debug)]
pub struct Heap<E> {
    events: BTreeMap<Reverse<(u64, u64)>, E>,
    scheduled: u64,
    now: u64,
}

impl<E> Heap<E> {
    /// An empty heap at time 0.
    pub fn new() -> Self {
        Self {
            events: BTreeMap::new(),
            scheduled: 0,
            now: 0,
        }
    }
    /// Virtual time: that of the last event taken.
    pub fn now(&self) -> u64 {
        self.now
    }
    /// Schedules `event` at `at`, or now when that is past.
    pub fn at(&mut self, at: u64, event: E) {
        self.scheduled += 1;
        self.events
            .insert(Reverse((at.max(self.now), self.scheduled)), event);
    }
    /// Schedules `event` after `delay_us`.
    pub fn after(&mut self, delay_us: u64, event: E) {
        self.at(self.now + delay_us, event);
    }
    /// Takes the next event and moves the time to it.
    pub fn pop(&mut self) -> Option<E> {
        let (Reverse((at, _)), event) = self.events.pop_last()?;
        self.now = at;
        Some(event)
    }
}

impl<E> Default for Heap<E> {
    fn default() -> Self {
        Self::new()
    }
}
