//! What a rule sees of a window or of the newest readings, and what a breach quotes of it.

use windlass_shared::catalogue::Catalogue;
use windlass_shared::id::ChannelId;
use windlass_shared::pane::{Aggregate, ChannelAggregate, Sources};
use windlass_shared::time::{EventTime, MINUTE_US};
use windlass_shared::window::{Status, WindowKind, WindowResult};

use super::alert::{AlertWindow, Direction, Evidence};
use super::book::{Breach, Origin};
use super::config::{Condition, On, Rule, RuleKind, Statistic, Threshold};
use super::plan::{Plan, Resolved};
use super::track::{Beyond, Observation, held};
use crate::task::Live;

/// What a breach quotes of its window.
pub(super) struct Quote<'a> {
    pub kind: WindowKind,
    pub start: EventTime,
    pub revision: u32,
    pub sources: &'a Sources,
    pub state: Option<i64>,
    pub origin: Origin,
}

pub(super) fn settled(result: &WindowResult) -> bool {
    !result.partial && result.status != Status::Provisional
}

fn aggregate(result: &WindowResult, channel: ChannelId) -> Option<&ChannelAggregate> {
    let at = result
        .channels
        .binary_search_by_key(&channel, |c| c.channel);
    Some(&result.channels[at.ok()?])
}

/// The state the turbine was in for longest.
pub(super) fn state(plan: &Plan, result: &WindowResult) -> Option<i64> {
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
pub(super) fn observe(
    plan: &Plan,
    catalogue: &Catalogue,
    result: &WindowResult,
) -> Vec<Observation> {
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

/// The rules on readings that a minute can judge, and whether it is normal to them when it has no breach.
pub(super) fn observe_minute(
    plan: &Plan,
    catalogue: &Catalogue,
    result: &WindowResult,
) -> Vec<(u16, bool)> {
    let mut seen = Vec::new();
    if result.kind != WindowKind::Minute {
        return seen;
    }
    for at in 0..plan.detectors().rules.len() {
        if let Some((rule, resolved)) = plan.rule(at)
            && let RuleKind::Threshold(t) = &rule.kind
            && t.on == On::Readings
            && holds(rule, resolved, catalogue, result)
            && let Some(aggregate) = aggregate(result, resolved.channel)
        {
            seen.push((at as u16, ends(t, aggregate, catalogue)));
        }
    }
    seen
}

fn of_aggregate(a: &ChannelAggregate, s: Statistic, catalogue: &Catalogue) -> Option<f64> {
    if s == Statistic::Mean {
        return a.headline(catalogue);
    }
    let (min, max) = a.min_max(catalogue)?;
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
pub(super) fn holds_live(
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

pub(super) fn breach<'a>(
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
        hop_us: quote.kind.hop_us(),
        begun: found.first.floor_to(MINUTE_US),
        announce: false,
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
