//! The detectors of one turbine: the settled chain, what runs ahead of it, and the book of what they raised.
//!
//! A fork is not kept: it is the settled chain's state, cloned, run over the windows that wait to be settled. So it is
//! discarded on catch-up by itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use windlass_shared::catalogue::Catalogue;
use windlass_shared::id::{RecordId, SeqRange};
use windlass_shared::pane::Sources;
use windlass_shared::record::Record;
use windlass_shared::time::{EventTime, MINUTE_US};
use windlass_shared::window::{WindowKind, WindowResult};

use super::alert::{AlertEvent, AlertWindow, Direction, Evidence, Level};
use super::book::{Book, Breach, Origin, Scene};
use super::config::{Detectors, On, Rule, RuleKind};
use super::minutes::Count;
use super::observe::{Quote, aggregate, breach, ends, holds, observe, settled, state};
use super::plan::Plan;
use super::track::{Beyond, Judgement, Observation, RuleState};
use crate::output::OpenAlert;

/// Windows that wait to be settled and are run over in a fork; the oldest leave first.
const PENDING_MAX: usize = 64;
/// Minutes behind the settled chain whose breaching readings are still counted, for late ones, microseconds.
const MINUTES_KEPT_US: i64 = 10 * MINUTE_US;

/// A window that waits to be settled.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Pending {
    revision: u32,
    sources: Sources,
    state: Option<i64>,
    seen: Vec<Observation>,
}

/// The detectors of one turbine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Chain {
    rules: Vec<RuleState>,
    /// Start of the newest settled window, by kind.
    pub(super) last: [EventTime; WindowKind::ALL.len()],
    pub(super) minutes: BTreeMap<(EventTime, u16, Direction), Count>,
    pending: BTreeMap<(EventTime, WindowKind), Pending>,
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

    /// Is this the first settled result of its window?
    pub(crate) fn settles(&self, result: &WindowResult) -> bool {
        result.revision == 1 || result.start > self.last[index(result.kind)]
    }

    /// The open alerts in short.
    pub(crate) fn open(&self, max: usize) -> Vec<OpenAlert> {
        self.book.open(max)
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
            apart_us: 0,
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

    /// Takes the results of a poll: settled ones go along the chain, the others into the fork.
    pub(crate) fn windows(
        &mut self,
        scene: &Scene,
        plan: &Plan,
        catalogue: &Catalogue,
        results: &[WindowResult],
        out: &mut Vec<AlertEvent>,
    ) {
        if plan.detectors().rules.is_empty() {
            for r in results.iter().filter(|r| settled(r)) {
                let last = &mut self.last[index(r.kind)];
                *last = (*last).max(r.start);
            }
            return;
        }
        let mut forked = false;
        for result in results.iter().filter(|r| !r.partial) {
            let newest = self.last[index(result.kind)];
            if settled(result) {
                self.pending.remove(&(result.start, result.kind));
                self.settled_window(scene, plan, catalogue, result, result.start > newest, out);
                forked |= !self.pending.is_empty();
            } else if result.start > newest {
                let pending = Pending {
                    revision: result.revision,
                    sources: result.sources.clone(),
                    state: state(plan, result),
                    seen: observe(plan, catalogue, result),
                };
                self.pending.insert((result.start, result.kind), pending);
                forked = true;
            }
        }
        let last = self.last;
        self.pending
            .retain(|(start, kind), _| *start > last[index(*kind)]);
        while self.pending.len() > PENDING_MAX {
            self.pending.pop_first();
        }
        if forked {
            self.fork(scene, plan, catalogue, out);
        }
        for kind in WindowKind::ALL {
            let of_kind = |id: &str| {
                let rule = plan.detectors().rules.iter().find(|r| r.id == id);
                rule.is_some_and(|r| r.window() == kind)
            };
            self.book
                .passed(scene, self.last[index(kind)], of_kind, out);
        }
        let kept = last[index(WindowKind::Minute)].plus_us(-MINUTES_KEPT_US);
        while self
            .minutes
            .first_key_value()
            .is_some_and(|((t, ..), _)| *t < kept)
        {
            self.minutes.pop_first();
        }
    }

    /// One settled window: the next of the chain, or a revision of one that the chain has passed. A revision is judged
    /// by the rules on readings only; the others keep what the first settled result gave them.
    fn settled_window(
        &mut self,
        scene: &Scene,
        plan: &Plan,
        catalogue: &Catalogue,
        result: &WindowResult,
        next: bool,
        out: &mut Vec<AlertEvent>,
    ) {
        let quote = Quote {
            kind: result.kind,
            start: result.start,
            revision: result.revision,
            sources: &result.sources,
            state: state(plan, result),
            origin: Origin::Settled,
        };
        if result.kind == WindowKind::Minute {
            self.settled_minute(scene, plan, catalogue, result, &quote, out);
        }
        if !next {
            return;
        }
        self.last[index(result.kind)] = result.start;
        for o in observe(plan, catalogue, result) {
            let at = usize::from(o.rule);
            let (Some((rule, resolved)), Some(track)) = (plan.rule(at), self.rules.get_mut(at))
            else {
                continue;
            };
            match track.judge(rule, result.start, &o) {
                Judgement::Nothing => {}
                Judgement::Normal => self.book.normal(scene, &rule.id, result.start, out),
                Judgement::Breach(found) => {
                    let last = result.start.plus_us(result.kind.len_us());
                    let b = breach(rule, resolved, catalogue, &found, last, &quote);
                    self.book.breach(scene, &b, out);
                }
            }
        }
    }

    /// The rules on readings, by a settled minute.
    fn settled_minute(
        &mut self,
        scene: &Scene,
        plan: &Plan,
        catalogue: &Catalogue,
        result: &WindowResult,
        quote: &Quote,
        out: &mut Vec<AlertEvent>,
    ) {
        for at in 0..plan.detectors().rules.len() {
            let Some((rule, resolved)) = plan.rule(at) else {
                continue;
            };
            let RuleKind::Threshold(t) = &rule.kind else {
                continue;
            };
            if t.on != On::Readings || !holds(rule, resolved, catalogue, result) {
                continue;
            }
            let Some(aggregate) = aggregate(result, resolved.channel) else {
                continue;
            };
            let mut breached = false;
            for direction in [Direction::High, Direction::Low] {
                let key = (result.start, at as u16, direction);
                breached |= self.judge_minute(scene, rule, resolved, catalogue, key, quote, out);
            }
            if !breached && ends(t, aggregate, catalogue) {
                self.book.normal(scene, &rule.id, result.start, out);
            }
        }
    }

    /// Runs a clone of the chain over the windows that wait to be settled.
    fn fork(
        &mut self,
        scene: &Scene,
        plan: &Plan,
        catalogue: &Catalogue,
        out: &mut Vec<AlertEvent>,
    ) {
        let mut tracks = self.rules.clone();
        let mut found: BTreeMap<(u16, Direction), (Beyond, (EventTime, WindowKind))> =
            BTreeMap::new();
        for (key, pending) in &self.pending {
            for o in &pending.seen {
                let at = usize::from(o.rule);
                let (Some((rule, _)), Some(track)) = (plan.rule(at), tracks.get_mut(at)) else {
                    continue;
                };
                if let Judgement::Breach(b) = track.judge(rule, key.0, o) {
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
            let quote = Quote {
                kind: key.1,
                start: key.0,
                revision: pending.revision,
                sources: &pending.sources,
                state: pending.state,
                origin: Origin::Fork,
            };
            let last = key.0.plus_us(key.1.len_us());
            let b = breach(rule, resolved, catalogue, b, last, &quote);
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
