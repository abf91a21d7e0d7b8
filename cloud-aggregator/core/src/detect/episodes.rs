//! Episodes: breaches of one cause on one turbine that lie within a quiet time of each other.
//!
//! Invariants: an episode's id never changes; one that turns out to be part of an older one says so once, and the older
//! one lives on.

use serde::{Deserialize, Serialize};
use windlass_shared::time::EventTime;

use super::alert::{AlertEvent, AlertState};
use super::book::{Book, Breach, Id, Scene};

/// Episodes remembered for merging; beyond it the oldest without an open alert leaves.
const EPISODES_MAX: usize = 64;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Episode {
    id: Id,
    number: u64,
    cause: String,
    first: EventTime,
    last: EventTime,
    quiet_us: i64,
}

impl Book {
    /// The episode that a new alert belongs to; made when there is none near.
    pub(super) fn episode(&mut self, scene: &Scene, b: &Breach) -> Id {
        let near = self.near(b.cause, b.first, b.last, b.quiet_us);
        let oldest = near.into_iter().min_by_key(|at| self.episodes[*at].number);
        if let Some(at) = oldest {
            return self.episodes[at].id;
        }
        let id = self.id(scene, "episode", b.cause, b.first);
        if self.episodes.len() >= EPISODES_MAX {
            let alerts = &self.alerts;
            let idle = |e: &Episode| alerts.iter().all(|a| a.episode != e.id);
            let oldest = self.episodes.iter().position(idle).unwrap_or(0);
            self.episodes.remove(oldest);
        }
        self.episodes.push(Episode {
            id,
            number: self.numbered,
            cause: b.cause.to_owned(),
            first: b.first,
            last: b.last,
            quiet_us: b.quiet_us,
        });
        id
    }

    /// Episodes of a cause within the quiet time of a span.
    fn near(&self, cause: &str, first: EventTime, last: EventTime, quiet_us: i64) -> Vec<usize> {
        let near = |e: &Episode| {
            let quiet = quiet_us.max(e.quiet_us);
            e.cause == cause && first <= e.last.plus_us(quiet) && e.first <= last.plus_us(quiet)
        };
        (0..self.episodes.len())
            .filter(|at| near(&self.episodes[*at]))
            .collect()
    }

    /// Widens the alert's episode to the span, and merges what is near by then into the oldest.
    #[allow(clippy::too_many_arguments)] // a span of a cause, and where to say it
    pub(super) fn join(
        &mut self,
        scene: &Scene,
        alert: usize,
        cause: &str,
        first: EventTime,
        last: EventTime,
        quiet_us: i64,
        out: &mut Vec<AlertEvent>,
    ) {
        let mine = self.alerts[alert].episode;
        if let Some(e) = self.episodes.iter_mut().find(|e| e.id == mine) {
            e.first = e.first.min(first);
            e.last = e.last.max(last);
            e.quiet_us = e.quiet_us.max(quiet_us);
        }
        let near = self.near(cause, first, last, quiet_us);
        let Some(keep) = near
            .iter()
            .copied()
            .min_by_key(|at| self.episodes[*at].number)
        else {
            return;
        };
        let kept = self.episodes[keep].id;
        let gone: Vec<Episode> = near
            .iter()
            .filter(|at| **at != keep)
            .map(|at| self.episodes[*at].clone())
            .collect();
        for e in gone {
            self.merge(scene, alert, &e, kept, out);
        }
    }

    fn merge(
        &mut self,
        scene: &Scene,
        alert: usize,
        gone: &Episode,
        kept: Id,
        out: &mut Vec<AlertEvent>,
    ) {
        // quoted by an alert of the episode that goes, or by the one that joined the two
        let quoted = self.alerts.iter().position(|a| a.episode == gone.id);
        let quoted = quoted.unwrap_or(alert);
        self.alerts[quoted].revision += 1;
        let mut event = self.event(scene, quoted, AlertState::Merged, None);
        self.quote(quoted, &mut event);
        event.episode = gone.id.text();
        event.merged_into = Some(kept.text());
        "the episode is part of an older one".clone_into(&mut event.detail);
        out.push(event);
        for a in self.alerts.iter_mut().filter(|a| a.episode == gone.id) {
            a.episode = kept;
        }
        if let Some(e) = self.episodes.iter_mut().find(|e| e.id == kept) {
            e.first = e.first.min(gone.first);
            e.last = e.last.max(gone.last);
        }
        self.episodes.retain(|e| e.id != gone.id);
    }
}
