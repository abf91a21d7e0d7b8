//! When a window is emitted, and when it leaves.
//!
//! | state of the window | emitted |
//! |---|---|
//! | settled, never said so | at once |
//! | exact, and now it is not | at once |
//! | settled, content or losses changed | `settle_wait` of log time after its last emission |
//! | unsettled | `settle_wait` after both its end and its first reading; then when its content changed, at most every `settle_wait` |
//! | left unsettled, and now it is settled | at once, as an empty partial |
//! | left already | what came since as a partial, `settle_wait` after the first of it, or when more windows leave |
//!
//! A window leaves when everything before it has settled for good ([`Coverage::settled_until`]), or when there are too
//! many panes; whatever was not said of it is said then.

use std::collections::BTreeSet;

use super::store::{Composed, Panes};
use super::{
    DELTA_PANES_MAX, Entry, Key, LEFT_MAX, Status, WindowKind, WindowResult, WindowSettings,
    Windows,
};
use crate::catalogue::Catalogue;
use crate::coverage::{Coverage, Verdict};
use crate::time::{EventTime, LogTime, MINUTE_US};

/// Why something is emitted; the order of emission within one poll.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    Settled,
    Revised,
    Provisional,
}

enum Decision {
    Emit(Cause),
    At(LogTime),
    Nothing,
}

fn end((start, kind): Key) -> EventTime {
    start.plus_us(kind.len_us())
}

impl Windows {
    /// Emits what has become due: settled windows in the order of their end, then revisions, provisionals and partials.
    /// Call it after every record that may have changed coverage, and on ticks.
    pub fn poll(
        &mut self,
        settings: &WindowSettings,
        catalogue: &Catalogue,
        coverage: &Coverage,
        now: LogTime,
        out: &mut Vec<WindowResult>,
    ) {
        let span = coverage.changed_since(self.seen);
        if span.is_none() && self.touched.is_empty() && now < self.due {
            return;
        }
        self.seen = coverage.generation();
        self.begin_touched();
        let keys = self.affected(span, now);
        if now >= self.due {
            self.due = LogTime::MAX;
        }
        let mut due: Vec<(Cause, EventTime, WindowKind, EventTime)> = Vec::new();
        for key in keys {
            let Some(entry) = self.open.get_mut(&key) else {
                continue;
            };
            let t1 = end(key);
            if entry.verdict.is_none() || span.is_some_and(|(lo, hi)| t1 > lo && key.0 <= hi) {
                entry.verdict = Some(coverage.verdict(key.0, t1));
            }
            let (content, _) = self.panes.content(key.0, t1);
            match entry.decide(content, t1, now, settings) {
                Decision::Emit(cause) => due.push((cause, t1, key.1, key.0)),
                Decision::At(at) => self.due = self.due.min(at),
                Decision::Nothing => {}
            }
        }
        due.sort_unstable();
        for (_, _, kind, start) in due {
            self.emit((start, kind), catalogue, now, out);
        }
        if span.is_some() {
            self.say_settled(span, coverage, out);
        }
        self.advance(settings, catalogue, coverage, now, out);
        self.flush_if_due(settings, catalogue, coverage, now, out);
    }

    /// Makes entries for the windows of minutes that are new.
    fn begin_touched(&mut self) {
        for minute in &self.touched {
            for key in over(*minute).filter(|(start, _)| *start >= self.horizon) {
                self.open.entry(key).or_insert_with(|| Entry {
                    revision: 0,
                    content: 0,
                    emitted_at: LogTime::MIN,
                    first_seen: self.panes.content(key.0, end(key)).1,
                    verdict: None,
                    said: None,
                });
            }
        }
    }

    /// Windows whose verdict, content or deadline may have changed.
    fn affected(&mut self, span: Option<(EventTime, EventTime)>, now: LogTime) -> Vec<Key> {
        if now >= self.due {
            self.touched.clear();
            return self.open.keys().copied().collect();
        }
        let mut keys: Vec<Key> = Vec::new();
        let longest = WindowKind::TenMinutes.len_us();
        // a span between a frontier and an earlier prev_ceiling is empty: a lost record that held no reading on time
        if let Some((lo, hi)) = span
            && lo.plus_us(-longest) <= hi
        {
            keys.extend(
                self.open
                    .range(
                        (lo.plus_us(-longest), WindowKind::Minute)..=(hi, WindowKind::TenMinutes),
                    )
                    .map(|(key, _)| *key)
                    .filter(|key| end(*key) > lo),
            );
        }
        for minute in std::mem::take(&mut self.touched) {
            keys.extend(over(minute));
        }
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Emits the window in full.
    fn emit(&mut self, key: Key, catalogue: &Catalogue, now: LogTime, out: &mut Vec<WindowResult>) {
        let (content, _) = self.panes.content(key.0, end(key));
        let Some(entry) = self.open.get_mut(&key) else {
            return;
        };
        entry.revision += 1;
        entry.content = content;
        entry.emitted_at = now;
        entry.said.clone_from(&entry.verdict);
        let status = status(entry.verdict.clone());
        let revision = entry.revision;
        out.push(result(key, revision, status, &mut self.panes, catalogue));
    }

    /// Says of windows that left unsettled that they have settled, by an empty partial.
    fn say_settled(
        &mut self,
        span: Option<(EventTime, EventTime)>,
        coverage: &Coverage,
        out: &mut Vec<WindowResult>,
    ) {
        let Some((lo, hi)) = span else { return };
        self.left.retain(|key| {
            if end(*key) <= lo || key.0 > hi {
                return true;
            }
            let verdict = coverage.verdict(key.0, end(*key));
            if verdict == Verdict::Open {
                return true;
            }
            out.push(WindowResult {
                kind: key.1,
                start: key.0,
                revision: 0,
                partial: true,
                status: status(Some(verdict)),
                sources: crate::pane::Sources::default(),
                late: 0,
                channels: Vec::new(),
            });
            false
        });
    }

    /// Moves the horizon where it may or must go.
    fn advance(
        &mut self,
        settings: &WindowSettings,
        catalogue: &Catalogue,
        coverage: &Coverage,
        now: LogTime,
        out: &mut Vec<WindowResult>,
    ) {
        let kept = settings.settled_panes_kept as i64 * MINUTE_US;
        let mut to = self.horizon;
        let settled = coverage.settled_until();
        if settled > EventTime::MIN {
            // every window that starts before the horizon must end at or before `settled`
            let latest = WindowKind::ALL
                .into_iter()
                .map(|kind| {
                    let hop = kind.hop_us();
                    settled.plus_us(hop - kind.len_us()).floor_to(hop)
                })
                .min();
            to = to.max(latest.unwrap_or(to).plus_us(-kept));
        }
        if self.panes.len() > settings.open_panes_max
            && self.panes.bytes() > settings.open_bytes_max
            && let Some(start) = self.panes.start(self.panes.len() - settings.open_panes_max)
        {
            to = to.max(start);
        }
        if to > self.horizon {
            self.flush(catalogue, coverage, out);
            self.leave(to, catalogue, now, out);
        }
    }

    /// Windows that start before `to` leave; what was not said of them is said.
    fn leave(
        &mut self,
        to: EventTime,
        catalogue: &Catalogue,
        now: LogTime,
        out: &mut Vec<WindowResult>,
    ) {
        let leaving: Vec<Key> = self
            .open
            .range(..(to, WindowKind::Minute))
            .map(|(key, _)| *key)
            .collect();
        for key in leaving {
            let (content, _) = self.panes.content(key.0, end(key));
            let unsaid = self
                .open
                .get(&key)
                .is_some_and(|e| e.revision == 0 || e.content != content || e.said != e.verdict);
            if unsaid {
                self.emit(key, catalogue, now, out);
            }
            if let Some(entry) = self.open.remove(&key)
                && !entry.is_settled()
            {
                self.remember_left(key);
            }
        }
        self.panes.drop_before(to);
        self.horizon = to;
    }

    fn remember_left(&mut self, key: Key) {
        self.left.insert(key);
        if self.left.len() > LEFT_MAX {
            self.left.pop_first();
        }
    }

    fn flush_if_due(
        &mut self,
        settings: &WindowSettings,
        catalogue: &Catalogue,
        coverage: &Coverage,
        now: LogTime,
        out: &mut Vec<WindowResult>,
    ) {
        if self.deltas.is_empty() {
            return;
        }
        let at = LogTime(
            self.deltas
                .first_seen()
                .0
                .saturating_add(settings.settle_wait_us),
        );
        if now >= at || self.deltas.len() > DELTA_PANES_MAX {
            self.flush(catalogue, coverage, out);
        } else {
            self.due = self.due.min(at);
        }
    }

    /// Emits what came for windows that have left.
    fn flush(&mut self, catalogue: &Catalogue, coverage: &Coverage, out: &mut Vec<WindowResult>) {
        if self.deltas.is_empty() {
            return;
        }
        let keys: BTreeSet<(EventTime, WindowKind, EventTime)> = self
            .deltas
            .starts()
            .flat_map(over)
            .filter(|(start, _)| *start < self.horizon)
            .map(|key| (end(key), key.1, key.0))
            .collect();
        for (t1, kind, t0) in keys {
            let verdict = coverage.verdict(t0, t1);
            if verdict == Verdict::Open {
                self.remember_left((t0, kind));
            } else {
                self.left.remove(&(t0, kind));
            }
            let status = status(Some(verdict));
            out.push(result((t0, kind), 0, status, &mut self.deltas, catalogue));
        }
        self.deltas = Panes::default();
    }
}

impl Entry {
    fn is_settled(&self) -> bool {
        settled(self.verdict.as_ref())
    }

    fn decide(
        &self,
        content: u64,
        end: EventTime,
        now: LogTime,
        settings: &WindowSettings,
    ) -> Decision {
        let wait = |from: i64| LogTime(from.saturating_add(settings.settle_wait_us));
        let due = |at: LogTime, cause: Cause| {
            if now >= at {
                Decision::Emit(cause)
            } else {
                Decision::At(at)
            }
        };
        let said_settled = settled(self.said.as_ref());
        let changed = content != self.content;
        if self.is_settled() {
            if !said_settled {
                Decision::Emit(Cause::Settled)
            } else if self.said == Some(Verdict::Exact) && self.verdict != self.said {
                Decision::Emit(Cause::Revised)
            } else if changed || self.said != self.verdict {
                due(wait(self.emitted_at.0), Cause::Revised)
            } else {
                Decision::Nothing
            }
        } else if said_settled {
            Decision::Emit(Cause::Provisional)
        } else if self.revision == 0 {
            due(wait(self.first_seen.0.max(end.0)), Cause::Provisional)
        } else if changed {
            due(wait(self.emitted_at.0), Cause::Provisional)
        } else {
            Decision::Nothing
        }
    }
}

fn settled(verdict: Option<&Verdict>) -> bool {
    matches!(verdict, Some(Verdict::Exact | Verdict::WithLoss(_)))
}

fn status(verdict: Option<Verdict>) -> Status {
    match verdict {
        None | Some(Verdict::Open) => Status::Provisional,
        Some(Verdict::Exact) => Status::Exact,
        Some(Verdict::WithLoss(losses)) => Status::WithLoss(losses),
    }
}

/// All windows that hold the minute.
fn over(minute: EventTime) -> impl Iterator<Item = Key> {
    WindowKind::ALL
        .into_iter()
        .flat_map(move |kind| kind.starts_over(minute).map(move |start| (start, kind)))
}

fn result(
    key: Key,
    revision: u32,
    status: Status,
    panes: &mut Panes,
    catalogue: &Catalogue,
) -> WindowResult {
    let Composed {
        sources,
        late,
        channels,
    } = panes.compose(key.0, end(key), catalogue);
    WindowResult {
        kind: key.1,
        start: key.0,
        revision,
        partial: revision == 0,
        status,
        sources,
        late,
        channels,
    }
}
