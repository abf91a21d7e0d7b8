//! Which records to ask a gateway for again.
//!
//! A hole is asked for only when its epoch's holes made no progress for the wait: a gateway that drains its backlog fills
//! them by itself. Each question without progress doubles the wait.

use serde::{Deserialize, Serialize};
use windlass_shared::coverage::Coverage;
use windlass_shared::id::{Epoch, Seq, SeqRange, TurbineId};
use windlass_shared::time::LogTime;
use windlass_shared::wire::Resend;

use super::TaskSettings;

/// Holes looked at; further ones come up when these are filled.
pub(super) const HOLES_SEEN_MAX: usize = 256;

/// The holes of one epoch.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Watch {
    epoch: Epoch,
    /// Newest unknown seq, and how many are unknown.
    last: Seq,
    missing: u64,
    /// Last progress or question.
    since: LogTime,
    wait_us: i64,
}

/// What is watched for one turbine.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Holes {
    watches: Vec<Watch>,
    /// Coverage changed other than by the next record in order.
    changed: bool,
}

impl Holes {
    /// Coverage may have other holes than before.
    pub(super) fn changed(&mut self) {
        self.changed = true;
    }

    /// Would a poll do nothing now?
    pub(super) fn rests(&self, now: LogTime) -> bool {
        let due = |w: &Watch| now >= w.since.plus_us(w.wait_us);
        !self.changed && !self.watches.iter().any(due)
    }

    /// What to ask for now.
    pub(super) fn poll(
        &mut self,
        coverage: &Coverage,
        settings: &TaskSettings,
        now: LogTime,
        turbine: &TurbineId,
    ) -> Vec<Resend> {
        if self.rests(now) {
            return Vec::new();
        }
        let holes = coverage.holes(HOLES_SEEN_MAX);
        if self.changed {
            self.watch(&holes, settings, now);
            self.changed = false;
        }
        let mut asks = Vec::new();
        for w in &mut self.watches {
            if now < w.since.plus_us(w.wait_us) {
                continue;
            }
            let ranges = holes.iter().filter(|(e, _)| *e == w.epoch).map(|(_, r)| *r);
            asks.push(Resend {
                turbine: turbine.clone(),
                epoch: w.epoch,
                ranges: ranges.take(settings.resend_ranges_max).collect(),
            });
            w.since = now;
            w.wait_us = w.wait_us.saturating_mul(2).min(settings.resend_wait_max_us);
        }
        asks
    }

    /// Brings the watches up to date with the holes.
    fn watch(&mut self, holes: &[(Epoch, SeqRange)], settings: &TaskSettings, now: LogTime) {
        let mut watches: Vec<Watch> = Vec::new();
        let mut rest = holes;
        while let Some((epoch, first)) = rest.first().copied() {
            let n = rest.iter().take_while(|(e, _)| *e == epoch).count();
            let (mine, after) = rest.split_at(n);
            rest = after;
            let old = self.watches.iter().find(|w| w.epoch == epoch);
            // progress is a seq known now that was missing then; holes behind those seen then are no progress
            let seen = old.map_or(Seq(u64::MAX), |w| w.last);
            let missing_of_seen = mine
                .iter()
                .filter(|(_, r)| r.first <= seen)
                .map(|(_, r)| r.last.min(seen).0 - r.first.0 + 1)
                .sum::<u64>();
            let stuck = old.filter(|w| missing_of_seen >= w.missing);
            watches.push(Watch {
                epoch,
                last: mine.last().map_or(first.last, |(_, r)| r.last),
                missing: mine.iter().map(|(_, r)| r.len()).sum(),
                since: stuck.map_or(now, |w| w.since),
                wait_us: stuck.map_or(settings.resend_wait_us, |w| w.wait_us),
            });
        }
        self.watches = watches;
    }
}
