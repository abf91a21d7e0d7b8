//! The detectors of one turbine: the settled chain, what runs ahead of it, and the book of what they raised.
//!
//! A fork is not kept: it is the settled chain's state, cloned, run over the windows that wait to be settled. So it is
//! discarded on catch-up by itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use windlass_shared::catalogue::{Catalogue, Channel};
use windlass_shared::id::{RecordId, SeqRange};
use windlass_shared::pane::{Aggregate, ChannelAggregate, Sources};
use windlass_shared::record::{Batch, Block, Record};
use windlass_shared::time::{EventTime, MINUTE_US};
use windlass_shared::window::{Status, WindowKind, WindowResult};

use super::alert::{AlertEvent, AlertWindow, Direction, Evidence, Level};
use super::book::{Book, Breach, Origin, Scene};
use super::config::{Condition, Detectors, On, Rule, RuleKind, Statistic, Threshold};
use super::plan::{Plan, Resolved};
use super::track::{Beyond, Judgement, Observation, RuleState, beyond, held};
use crate::output::OpenAlert;
use crate::task::Live;

/// Windows that wait to be settled and are run over in a fork; the oldest leave first.
const PENDING_MAX: usize = 64;
/// Minutes and rules with breaching readings; the oldest leave first.
const MINUTES_MAX: usize = 4_096;
/// Minutes behind the settled chain whose breaching readings are still counted, for late ones, microseconds.
const MINUTES_KEPT_US: i64 = 10 * MINUTE_US;

/// Readings of one minute beyond a rule's limits on one side.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Count {
    /// Beyond the limit nearer to normal.
    any: u32,
    /// Beyond the alarm limit.
    alarm: u32,
    /// Furthest from normal.
    worst: f64,
    first: EventTime,
    last: EventTime,
}

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
    last: [EventTime; WindowKind::ALL.len()],
    minutes: BTreeMap<(EventTime, u16, Direction), Count>,
    pending: BTreeMap<(EventTime, WindowKind), Pending>,
    book: Book,
}

fn index(kind: WindowKind) -> usize {
    match kind {
        WindowKind::Minute => 0,
        WindowKind::FiveMinutes => 1,
        WindowKind::TenMinutes => 2,
    }
}

/// What a breach quotes of its window.
struct Quote<'a> {
    kind: WindowKind,
    start: EventTime,
    revision: u32,
    sources: &'a Sources,
    state: Option<i64>,
    origin: Origin,
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
        self.fact(scene, "record-conflict", at, Some(id), detail, out);
    }

    /// A fact about the gateway that an operator must look at.
    pub(crate) fn fact(
        &mut self,
        scene: &Scene,
        rule: &str,
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
            level: Level::Alarm,
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

    /// Holds the readings of a new batch against the rules on readings.
    pub(crate) fn live(
        &mut self,
        scene: &Scene,
        plan: &Plan,
        catalogue: &Catalogue,
        live: &Live,
        id: &RecordId,
        batch: &Batch,
        out: &mut Vec<AlertEvent>,
    ) {
        let mut touched = Vec::new();
        for block in batch.blocks.iter().filter(|b| !b.flags.suspect) {
            for (at, column) in block.columns.iter().enumerate() {
                for rule in plan.on_readings(column.channel) {
                    let Some(channel) = catalogue.channel(column.channel) else {
                        continue;
                    };
                    self.count(plan, *rule, channel, batch, block, at, &mut touched);
                }
            }
        }
        if touched.is_empty() {
            return;
        }
        touched.sort_unstable();
        touched.dedup();
        let state = plan.state_slot().and_then(|s| Some(live.counting(s)?.raw));
        let sources = Sources(vec![(id.epoch, vec![SeqRange::one(id.seq)])]);
        for key in touched {
            let (start, at, _) = key;
            if start <= self.last[index(WindowKind::Minute)] {
                continue; // the revision of that minute judges it
            }
            let Some((rule, resolved)) = plan.rule(usize::from(at)) else {
                continue;
            };
            if holds_live(rule, resolved, plan, catalogue, live) {
                let quote = Quote {
                    kind: WindowKind::Minute,
                    start,
                    revision: 0,
                    sources: &sources,
                    state,
                    origin: Origin::Live,
                };
                self.judge_minute(scene, rule, resolved, catalogue, key, &quote, out);
            }
        }
    }

    /// Counts the readings of one column that are beyond a rule's limits.
    #[allow(clippy::too_many_arguments)] // one column of one block of one batch
    fn count(
        &mut self,
        plan: &Plan,
        at: u16,
        channel: &Channel,
        batch: &Batch,
        block: &Block,
        column: usize,
        touched: &mut Vec<(EventTime, u16, Direction)>,
    ) {
        let Some((
            Rule {
                kind: RuleKind::Threshold(t),
                ..
            },
            _,
        )) = plan.rule(usize::from(at))
        else {
            return;
        };
        let c = block.columns[column];
        for row in 0..block.times.len() {
            let raw = batch.raw[c.at as usize + row];
            let value = if c.float {
                f64::from_bits(raw as u64)
            } else {
                channel.value(raw)
            };
            let on = |limits: &Option<_>, d| Some((beyond(value, limits.as_ref()?, d)?.0, d));
            let found = on(&t.high, Direction::High).or_else(|| on(&t.low, Direction::Low));
            let Some((level, direction)) = found else {
                continue;
            };
            let marked = |q: &&windlass_shared::record::QualityMark| {
                usize::from(q.column) == column && q.row as usize == row
            };
            if block
                .quality
                .iter()
                .find(marked)
                .is_some_and(|q| !q.quality.counts())
            {
                continue;
            }
            let time = block.times.at(row);
            let key = (time.floor_to(MINUTE_US), at, direction);
            self.add(key, level, value, time);
            touched.push(key);
        }
    }

    fn add(&mut self, key: (EventTime, u16, Direction), level: Level, value: f64, time: EventTime) {
        let count = self.minutes.entry(key).or_insert(Count {
            any: 0,
            alarm: 0,
            worst: value,
            first: time,
            last: time,
        });
        count.any = count.any.saturating_add(1);
        count.alarm = count.alarm.saturating_add(u32::from(level == Level::Alarm));
        count.worst = match key.2 {
            Direction::High => count.worst.max(value),
            Direction::Low => count.worst.min(value),
        };
        count.first = count.first.min(time);
        count.last = count.last.max(time);
        if self.minutes.len() > MINUTES_MAX {
            self.minutes.pop_first();
        }
    }

    /// Raises or confirms what a minute's breaching readings say; false when they are too few.
    #[allow(clippy::too_many_arguments)] // the rule, its minute, and where to say it
    fn judge_minute(
        &mut self,
        scene: &Scene,
        rule: &Rule,
        resolved: Resolved,
        catalogue: &Catalogue,
        key: (EventTime, u16, Direction),
        quote: &Quote,
        out: &mut Vec<AlertEvent>,
    ) -> bool {
        let (RuleKind::Threshold(t), Some(count)) = (&rule.kind, self.minutes.get(&key)) else {
            return false;
        };
        if count.any < t.persistence {
            return false;
        }
        let direction = key.2;
        let limits = match direction {
            Direction::High => t.high,
            Direction::Low => t.low,
        };
        let Some(limits) = limits else { return false };
        let alarm = limits.alarm.filter(|_| count.alarm >= t.persistence);
        let (level, limit) = match (alarm, limits.warning) {
            (Some(limit), _) => (Level::Alarm, limit),
            (None, Some(limit)) => (Level::Warning, limit),
            (None, None) => return false,
        };
        let (worst, first, last) = (count.worst, count.first, count.last);
        let found = Beyond {
            level,
            direction,
            value: worst,
            limit,
            score: None,
            first,
        };
        let breach = breach(rule, resolved, catalogue, &found, last, quote);
        self.book.breach(scene, &breach, out);
        true
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

fn settled(result: &WindowResult) -> bool {
    !result.partial && result.status != Status::Provisional
}

fn aggregate(
    result: &WindowResult,
    channel: windlass_shared::id::ChannelId,
) -> Option<&ChannelAggregate> {
    let at = result
        .channels
        .binary_search_by_key(&channel, |c| c.channel);
    Some(&result.channels[at.ok()?])
}

/// The state the turbine was in for longest.
fn state(plan: &Plan, result: &WindowResult) -> Option<i64> {
    let Aggregate::States(states) = &aggregate(result, plan.state()?)?.value else {
        return None;
    };
    let longest = states.iter().max_by_key(|(code, n)| (*n, -*code));
    longest.map(|(code, _)| *code)
}

/// Was the turbine in normal operation throughout? Where nothing says otherwise, yes.
fn normal(plan: &Plan, result: &WindowResult) -> bool {
    let codes = &plan.detectors().operating.normal;
    let aggregate = plan.state().and_then(|id| aggregate(result, id));
    match aggregate.map(|a| &a.value) {
        Some(Aggregate::States(states)) if !codes.is_empty() => {
            states.iter().all(|(code, _)| codes.contains(code))
        }
        _ => true,
    }
}

/// What the rules on windows see of a window.
fn observe(plan: &Plan, catalogue: &Catalogue, result: &WindowResult) -> Vec<Observation> {
    let normal = normal(plan, result);
    let mut seen = Vec::new();
    for at in 0..plan.detectors().rules.len() {
        let Some((rule, resolved)) = plan.rule(at) else {
            continue;
        };
        let statistic = match &rule.kind {
            RuleKind::Threshold(Threshold {
                on: On::Readings, ..
            }) => continue,
            RuleKind::Threshold(Threshold {
                on: On::Window(_, s),
                ..
            }) => *s,
            RuleKind::Score(_) => Statistic::Mean,
        };
        if rule.window() != result.kind || !holds(rule, resolved, catalogue, result) {
            continue;
        }
        let value =
            aggregate(result, resolved.channel).and_then(|a| of_aggregate(a, statistic, catalogue));
        if let Some(value) = value.filter(|v| v.is_finite()) {
            seen.push(Observation {
                rule: at as u16,
                value,
                normal,
            });
        }
    }
    seen
}

fn of_aggregate(a: &ChannelAggregate, s: Statistic, catalogue: &Catalogue) -> Option<f64> {
    if s == Statistic::Mean {
        return a.headline(catalogue);
    }
    let (min, max) = match a.value {
        Aggregate::Sums { min, max, .. } | Aggregate::Latest { min, max, .. } if a.n > 0 => {
            (min, max)
        }
        _ => return None,
    };
    let channel = catalogue.channel(a.channel)?;
    let (min, max) = (channel.value(min), channel.value(max));
    Some(if s == Statistic::Max { max } else { min })
}

/// Does a minute without a breach end one?
fn ends(t: &Threshold, a: &ChannelAggregate, catalogue: &Catalogue) -> bool {
    let within =
        |statistic, side| of_aggregate(a, statistic, catalogue).is_some_and(|v| held(v, t, side));
    !within(Statistic::Max, Direction::High) && !within(Statistic::Min, Direction::Low)
}

fn meets(is: &Condition, value: f64, code: i64) -> bool {
    match is {
        Condition::Above(limit) => value > *limit,
        Condition::Below(limit) => value < *limit,
        Condition::States(codes) => codes.contains(&code),
    }
}

/// Does the rule's condition hold in this window? Not when the other channel has no reading in it.
fn holds(rule: &Rule, resolved: Resolved, catalogue: &Catalogue, result: &WindowResult) -> bool {
    let (Some(when), Some(id)) = (&rule.when, resolved.when) else {
        return true;
    };
    let headline = aggregate(result, id).and_then(|a| a.headline(catalogue));
    headline.is_some_and(|v| meets(&when.is, v, v as i64))
}

/// Does the rule's condition hold now?
fn holds_live(
    rule: &Rule,
    resolved: Resolved,
    plan: &Plan,
    catalogue: &Catalogue,
    live: &Live,
) -> bool {
    let (Some(when), Some(id)) = (&rule.when, resolved.when) else {
        return true;
    };
    let newest = plan.slot(id).and_then(|slot| live.counting(slot));
    let value = |raw| Some(catalogue.channel(id)?.value(raw));
    newest
        .and_then(|n| Some((value(n.raw)?, n.raw)))
        .is_some_and(|(v, raw)| meets(&when.is, v, raw))
}

fn breach<'a>(
    rule: &'a Rule,
    resolved: Resolved,
    catalogue: &'a Catalogue,
    found: &Beyond,
    last: EventTime,
    quote: &Quote,
) -> Breach<'a> {
    let len_us = quote.kind.len_us();
    Breach {
        origin: quote.origin,
        rule: &rule.id,
        cause: &rule.cause,
        channel: &rule.channel,
        unit: catalogue.channel(resolved.channel).map_or("", |c| &c.unit),
        quiet_us: rule.quiet_us,
        apart_us: len_us,
        direction: found.direction,
        level: found.level,
        value: found.value,
        limit: found.limit,
        score: found.score,
        first: found.first,
        last,
        window: AlertWindow {
            kind: quote.kind.as_str().to_owned(),
            start: quote.start,
            end: quote.start.plus_us(len_us),
            revision: quote.revision,
        },
        sources: Evidence::of(quote.sources),
        operating_state: quote.state,
        detail: String::new(),
    }
}
