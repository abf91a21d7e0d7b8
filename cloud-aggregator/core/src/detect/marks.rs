//! What operators say of open alerts: seen, put aside until a time, back again.
//!
//! Invariants: a mark changes nothing but itself and the alert's revision; a shelf ends by log time, so that every run over
//! the same log says the same.

use windlass_shared::time::LogTime;
use windlass_shared::wire::{Mark, MarkAction};

use super::alert::{Acknowledged, AlertEvent, Shelved};
use super::book::{Book, Scene};

impl Book {
    /// Takes a mark; false: no such alert is open.
    pub(super) fn mark(&mut self, scene: &Scene, mark: &Mark, out: &mut Vec<AlertEvent>) -> bool {
        let Some(at) = self.alerts.iter().position(|a| a.is(&mark.alert)) else {
            return false;
        };
        let alert = &mut self.alerts[at];
        let (by, note, now) = (mark.by.clone(), mark.note.clone(), scene.now);
        match mark.action {
            MarkAction::Acknowledge => {
                alert.acknowledged = Some(Acknowledged { by, note, at: now });
            }
            MarkAction::Shelve { until } => {
                alert.shelved = Some(Shelved {
                    by,
                    note,
                    at: now,
                    until,
                });
            }
            MarkAction::Unshelve => alert.shelved = None,
        }
        self.again(scene, at, out);
        true
    }

    /// Alerts whose shelf has ended come back.
    pub(super) fn unshelve(&mut self, scene: &Scene, out: &mut Vec<AlertEvent>) {
        for at in 0..self.alerts.len() {
            let shelved = &mut self.alerts[at].shelved;
            if shelved.as_ref().is_some_and(|s| s.until <= scene.now) {
                *shelved = None;
                self.again(scene, at, out);
            }
        }
    }

    /// When the next shelf ends; [`LogTime::MAX`]: there is none.
    pub(super) fn next_shelf(&self) -> LogTime {
        let ends = self
            .alerts
            .iter()
            .filter_map(|a| Some(a.shelved.as_ref()?.until));
        ends.min().unwrap_or(LogTime::MAX)
    }

    /// Says the alert again with its evidence and its marks.
    fn again(&mut self, scene: &Scene, at: usize, out: &mut Vec<AlertEvent>) {
        let state = self.alerts[at].state();
        let from = out.len();
        self.say(scene, at, state, None, out);
        for event in &mut out[from..] {
            self.quote(at, event);
        }
    }
}
