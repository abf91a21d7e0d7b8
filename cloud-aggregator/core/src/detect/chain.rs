//! The detectors of one turbine: the settled chain, what runs ahead of it, and the book of what they raised.
//!
//! A hole holds the chain up although windows behind it may be settled by themselves: they wait for their turn. A fork is
//! not kept: it is the settled chain's state, cloned, run over the windows that wait. So it is discarded on catch-up by
//! itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use windlass_shared::catalogue::Catalogue;
use windlass_shared::id::{RecordId, SeqRange};
use windlass_shared::pane::Sources;
use windlass_shared::record::Record;
use windlass_shared::time::{EventTime, LogTime, MINUTE_US};
use windlass_shared::window::{WindowKind, WindowResult};
use windlass_shared::wire::Mark;

use super::alert::{AlertEvent, AlertWindow, Direction, Evidence, Level};
use super::book::{Book, Breach, Origin, Scene};
use super::config::{Detectors, Rule};
use super::minutes::Count;
use super::observe::{Quote, breach, observe, observe_minute, settled, state};
use super::plan::Plan;
use super::track::{Beyond, Judgement, Observation, RuleState};
use crate::output::OpenAlert;

/// Windows that wait for their turn. Beyond it the chain goes on past the hole, oldest first: what is confirmed then
/// depends on what had come by then.
const PENDING_MAX: usize = 4_096;
/// Minutes behind the settled chain whose breaching readings are still counted, for late ones, microseconds.
const MINUTES_KEPT_US: i64 = 10 * MINUTE_US;

/// A window that waits for its turn.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Pending {
    revision: u32,
    sources: Sources,
    state: Option<i64>,
    /// By the rules on windows.
    seen: Vec<Observation>,
    /// Rules on readings whose condition holds, and whether the minute is normal to them when it has no breach.
    minute: Vec<(u16, bool)>,
}

/// The detectors of one turbine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Chain {
    rules: Vec<RuleState>,
    /// Start of the newest window that the settled chain has passed, by kind.
    pub(super) last: [EventTime; WindowKind::ALL.len()],
    pub(super) minutes: BTreeMap<(EventTime, u16, Direction), Count>,
    pending: BTreeMap<(WindowKind, EventTime), Pending>,
    pub(super) book: Book,
}

pub(super) fn index(kind: WindowKind) -> usize {
    match kind {
        WindowKind::Minute => 0,
        WindowKind::FiveMinutes => 1,
        WindowKind::TenMinutes => 2,
    }
}

impl Chain {
    /// Nothing seen yet.
    pub fn new(detectors: &Detectors) -> Self {
        Self {
            rules: vec![RuleState::default(); detectors.rules.len()],
            last: [EventTime::MIN; WindowKind::ALL.len()],
            minutes: BTreeMap::new(),
            pending: BTreeMap::new(),
            book: Book::default(),
        }
    }

    /// The open alerts in short.
    pub(crate) fn open(&self, max: usize) -> Vec<OpenAlert> {
        self.book.open(max)
    }

    /// Takes an operator's mark; false: no such alert is open.
    pub(crate) fn mark(&mut self, scene: &Scene, mark: &Mark, out: &mut Vec<AlertEvent>) -> bool {
        self.book.mark(scene, mark, out)
    }

    /// Alerts whose shelf has ended come back.
    pub(crate) fn unshelve(&mut self, scene: &Scene, out: &mut Vec<AlertEvent>) {
        self.book.unshelve(scene, out);
    }

    /// When the next shelf ends.
    pub(crate) fn next_shelf(&self) -> LogTime {
        self.book.next_shelf()
    }

    /// Other detectors from here on: a rule that is the same keeps its state, the alerts of the others end.
    pub(crate) fn reconfigure(
        &mut self,
        scene: &Scene,
        before: &Detectors,
        after: &Detectors,
        out: &mut Vec<AlertEvent>,
    ) {
        let held = |rule: &Rule| before.rules.iter().position(|r| r == rule);
        let rules = after.rules.iter().map(|rule| {
            held(rule)
                .and_then(|at| self.rules.get(at).cloned())
                .unwrap_or_default()
        });
        let rules = rules.collect();
        for rule in before.rules.iter().filter(|r| !after.rules.contains(r)) {
            self.book.dropped(scene, &rule.id, out);
        }
        let moved = |at: u16| {
            let rule = before.rules.get(usize::from(at))?;
            after
                .rules
                .iter()
                .position(|r| r == rule)
                .map(|at| at as u16)
        };
        self.minutes = std::mem::take(&mut self.minutes)
            .into_iter()
            .filter_map(|((t, at, d), c)| Some(((t, moved(at)?, d), c)))
            .collect();
        for p in self.pending.values_mut() {
            p.minute = std::mem::take(&mut p.minute)
                .into_iter()
                .filter_map(|(at, ends)| Some((moved(at)?, ends)))
                .collect();
            p.seen = std::mem::take(&mut p.seen)
                .into_iter()
                .filter_map(|o| {
                    Some(Observation {
                        rule: moved(o.rule)?,
                        ..o
                    })
                })
                .collect();
        }
        self.rules = rules;
    }

    /// Two contents under one identity: a fact about the gateway, confirmed as it is.
    pub(crate) fn conflict(
        &mut self,
        scene: &Scene,
        record: &Record,
        detail: &str,
        out: &mut Vec<AlertEvent>,
    ) {
        let id = &record.header.id;
        let at = EventTime(record.header.committed_at.0);
        let rule = "record-conflict";
        self.fact(scene, rule, Level::Alarm, at, Some(id), detail, out);
    }

    /// A fact about the gateway that an operator must look at.
    #[allow(clippy::too_many_arguments)] // what is said of it
    pub(crate) fn fact(
        &mut self,
        scene: &Scene,
        rule: &str,
        level: Level,
        at: EventTime,
        id: Option<&RecordId>,
        detail: &str,
        out: &mut Vec<AlertEvent>,
    ) {
        let sources = id.map_or_else(Sources::default, |id| {
            Sources(vec![(id.epoch, vec![SeqRange::one(id.seq)])])
        });
        let breach = Breach {
            origin: Origin::Settled,
            rule,
            cause: "gateway-integrity",
            channel: "",
            unit: "",
            quiet_us: 60 * MINUTE_US,
            hop_us: 0,
            begun: at,
            announce: true,
            direction: Direction::High,
            level,
            value: 1.0,
            limit: 0.0,
            score: None,
            first: at,
            last: at,
            window: AlertWindow {
                kind: "live".to_owned(),
                start: at,
                end: at,
                revision: 0,
            },
            sources: Evidence::of(&sources),
            operating_state: None,
            detail: detail.to_owned(),
        };
        self.book.breach(scene, &breach, out);
    }

    /// Are there windows that wait for their turn?
    pub(crate) fn waits(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Takes the results of a poll. Everything before `settled_until` is settled for good: the chain goes on to there.
    #[allow(clippy::too_many_arguments)] // results, what they mean, and where to say it
    pub(crate) fn windows(
        &mut self,
        scene: &Scene,
        plan: &Plan,
        catalogue: &Catalogue,
        results: &[WindowResult],
        settled_until: EventTime,
        out: &mut Vec<AlertEvent>,
    ) {
        if plan.detectors().rules.is_empty() {
            return;
        }
        let waited = self.waits();
        let mut moved = !results.is_empty();
        for result in results.iter().filter(|r| !r.partial) {
            self.take(scene, plan, catalogue, result, out);
        }
        for kind in WindowKind::ALL {
            let until = settled_until.plus_us(-kind.len_us());
            while let Some((key, _)) = self
                .pending
                .range((kind, EventTime::MIN)..=(kind, until))
                .next()
            {
                let key = *key;
                self.pass(scene, plan, catalogue, key, out);
                moved = true;
            }
            let last = &mut self.last[index(kind)];
            *last = (*last).max(until.floor_to(kind.hop_us()));
        }
        while self.pending.len() > PENDING_MAX {
            if let Some((key, _)) = self.pending.first_key_value() {
                let key = *key;
                self.pass(scene, plan, catalogue, key, out);
            }
        }
        if moved && (waited || self.waits()) {
            self.fork(scene, plan, catalogue, out);
        }
        self.withdraw(scene, plan, out);
    }

    /// Takes back what the chain has passed without bearing it out, and forgets what is far behind it.
    fn withdraw(&mut self, scene: &Scene, plan: &Plan, out: &mut Vec<AlertEvent>) {
        for kind in WindowKind::ALL {
            let of_kind = |id: &str| {
                let rule = plan.detectors().rules.iter().find(|r| r.id == id);
                rule.is_some_and(|r| r.window() == kind)
            };
            self.book
                .passed(scene, self.last[index(kind)], of_kind, out);
        }
        let kept = self.last[index(WindowKind::Minute)].plus_us(-MINUTES_KEPT_US);
        while self
            .minutes
            .first_key_value()
            .is_some_and(|((t, ..), _)| *t < kept)
        {
            self.minutes.pop_first();
        }
    }

    /// Puts a window where it waits for its turn. A revision of one that the chain has passed is judged by the rules on
    /// readings only: the others keep what the first settled result gave them.
    fn take(
        &mut self,
        scene: &Scene,
        plan: &Plan,
        catalogue: &Catalogue,
        result: &WindowResult,
        out: &mut Vec<AlertEvent>,
    ) {
        let pending = Pending {
            revision: result.revision,
            sources: result.sources.clone(),
            state: state(plan, result),
            seen: observe(plan, catalogue, result),
            minute: observe_minute(plan, catalogue, result),
        };
        if result.start <= self.last[index(result.kind)] {
            let quote = pending.quote(result.kind, result.start, Origin::Settled);
            for (at, _) in pending.minute.iter().filter(|_| settled(result)) {
                self.judge_rule(scene, plan, catalogue, *at, &quote, out);
            }
            return;
        }
        let key = (result.kind, result.start);
        if pending.seen.is_empty() && pending.minute.is_empty() {
            self.pending.remove(&key);
        } else {
            self.pending.insert(key, pending);
        }
    }

    /// The breaching readings of a minute by one rule; false when there are too few.
    fn judge_rule(
        &mut self,
        scene: &Scene,
        plan: &Plan,
        catalogue: &Catalogue,
        at: u16,
        quote: &Quote,
        out: &mut Vec<AlertEvent>,
    ) -> bool {
        let Some((rule, resolved)) = plan.rule(usize::from(at)) else {
            return false;
        };
        let mut breached = false;
        for direction in [Direction::High, Direction::Low] {
            let key = (quote.start, at, direction);
            breached |= self.judge_minute(scene, rule, resolved, catalogue, key, quote, out);
        }
        breached
    }

    /// The settled chain takes its next window.
    fn pass(
        &mut self,
        scene: &Scene,
        plan: &Plan,
        catalogue: &Catalogue,
        key: (WindowKind, EventTime),
        out: &mut Vec<AlertEvent>,
    ) {
        let Some(window) = self.pending.remove(&key) else {
            return;
        };
        let (kind, start) = key;
        let last = &mut self.last[index(kind)];
        *last = (*last).max(start);
        let quote = window.quote(kind, start, Origin::Settled);
        for (at, ends) in &window.minute {
            let breached = self.judge_rule(scene, plan, catalogue, *at, &quote, out);
            if let Some((rule, _)) = plan.rule(usize::from(*at))
                && !breached
                && *ends
            {
                self.book.normal(scene, &rule.id, out);
            }
        }
        for o in &window.seen {
            let at = usize::from(o.rule);
            let (Some((rule, resolved)), Some(track)) = (plan.rule(at), self.rules.get_mut(at))
            else {
                continue;
            };
            match track.judge(rule, start, o) {
                Judgement::Nothing => {}
                Judgement::Normal => self.book.normal(scene, &rule.id, out),
                Judgement::Breach(found) => {
                    let end = start.plus_us(kind.len_us());
                    let b = breach(rule, resolved, catalogue, &found, end, &quote);
                    self.book.breach(scene, &b, out);
                }
            }
        }
    }

    /// Runs a clone of the chain over the windows that wait.
    fn fork(
        &mut self,
        scene: &Scene,
        plan: &Plan,
        catalogue: &Catalogue,
        out: &mut Vec<AlertEvent>,
    ) {
        let mut tracks = if self.pending.is_empty() {
            Vec::new()
        } else {
            self.rules.clone()
        };
        let mut found: BTreeMap<(u16, Direction), (Beyond, (WindowKind, EventTime))> =
            BTreeMap::new();
        for (key, pending) in &self.pending {
            for o in &pending.seen {
                let at = usize::from(o.rule);
                let (Some((rule, _)), Some(track)) = (plan.rule(at), tracks.get_mut(at)) else {
                    continue;
                };
                if let Judgement::Breach(b) = track.judge(rule, key.1, o) {
                    found.insert((o.rule, b.direction), (b, *key));
                }
            }
        }
        for ((at, _), (b, key)) in &found {
            let (Some((rule, resolved)), Some(pending)) =
                (plan.rule(usize::from(*at)), self.pending.get(key))
            else {
                continue;
            };
            let (kind, start) = *key;
            let quote = pending.quote(kind, start, Origin::Fork);
            let end = start.plus_us(kind.len_us());
            let b = breach(rule, resolved, catalogue, b, end, &quote);
            self.book.breach(scene, &b, out);
        }
        let holds = |id: &str, direction| {
            found.keys().any(|(at, d)| {
                *d == direction && plan.rule(usize::from(*at)).is_some_and(|(r, _)| r.id == id)
            })
        };
        self.book.forked(scene, holds, out);
    }
}

impl Pending {
    fn quote(&self, kind: WindowKind, start: EventTime, origin: Origin) -> Quote<'_> {
        Quote {
            kind,
            start,
            revision: self.revision,
            sources: &self.sources,
            state: self.state,
            origin,
        }
    }
}
