//! `GET /turbines/{id}/timeline`: what the turbine did, lane by lane, from its readings.
//!
//! Invariants: an item lasts from the reading that says so to the one that says otherwise; a silence ends nothing and is an
//! item of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use windlass_cloud_core::facts::{Limit, Situation, iec_name, limit, setpoint_source_name};
use windlass_cloud_core::output::AlertEvent;
use windlass_shared::id::{ChannelId, TurbineId};
use windlass_shared::time::{EventTime, SECOND_US};

use super::Api;
use super::ask::{Params, Range, Segment};
use super::history::{Row, in_order};
use super::model::event_time;
use super::problem::Problem;
use super::proof::Bytes;
use super::refusals::Lookup;
use crate::lake::spot::ClockFact;
use crate::serve::store::AlertQuery;

/// Longest range, microseconds: 31 days.
const RANGE_MAX_US: i64 = 31 * 86_400 * SECOND_US;
/// Items of an answer; what would be more is cut off, newest first.
const ITEMS_MAX: usize = 10_000;
/// Alerts that are looked through.
const ALERTS_MAX: usize = 1_000;
/// A silence of the power reading is an item from so long on, microseconds.
const SILENCE_US: i64 = 30 * SECOND_US;

/// A range.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TimelineParams {
    /// Start, included.
    #[param(required = true, value_type = String, format = DateTime)]
    from: Option<String>,
    /// End, excluded; at most 31 days later.
    #[param(required = true, value_type = String, format = DateTime)]
    to: Option<String>,
}

/// What a turbine did.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct Timeline {
    /// By lane, then by time.
    items: Vec<Item>,
    /// Of the range: `exact`, `recorded_loss` or `incomplete`.
    verdict: &'static str,
    /// Whether the original bytes behind the range are what they were; `not_read`: the clock's lane knows them neither.
    bytes: Bytes,
}

/// Something that lasted.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct Item {
    /// `state`, `setpoint`, `alarm`, `limit`, `clock` or `coverage`.
    lane: &'static str,
    /// When it began, or the range did.
    #[schema(required)]
    from: Option<String>,
    /// When it ended; null: it had not by the end of the range.
    #[schema(required)]
    to: Option<String>,
    /// As the turbine says it.
    #[schema(required)]
    code: Option<i64>,
    /// For display.
    name: String,
    #[schema(required)]
    value: Option<f64>,
    #[schema(required)]
    unit: Option<String>,
    /// Who asked for it.
    #[schema(required)]
    source: Option<&'static str>,
    /// What is suspected.
    #[schema(required)]
    cause: Option<String>,
}

/// Channels that the lanes are made of.
#[derive(Clone, Copy, Debug)]
struct Known {
    state: Option<ChannelId>,
    setpoint: Option<ChannelId>,
    source: Option<ChannelId>,
    power: Option<ChannelId>,
    available: Option<ChannelId>,
    alarm: Option<ChannelId>,
}

/// The lanes as far as the readings have come.
struct Lanes {
    known: Known,
    now: Situation,
    /// What goes on, by lane, and what it is told apart by.
    open: BTreeMap<&'static str, (String, Item)>,
    done: Vec<Item>,
    heard: EventTime,
    /// The newest readings ahead of the gateway's clock, and when the last of them is.
    suspected: Option<(EventTime, Item)>,
}

impl Lanes {
    /// Something else begins in a lane, or nothing; the same again changes nothing.
    fn put(&mut self, lane: &'static str, at: EventTime, item: Option<Item>) {
        let key = item
            .as_ref()
            .map(|i| format!("{:?} {:?} {:?} {}", i.code, i.value, i.source, i.name));
        if self.open.get(lane).map(|(k, _)| k) == key.as_ref() {
            return;
        }
        if let Some((_, mut over)) = self.open.remove(lane) {
            over.to = event_time(at);
            self.done.push(over);
        }
        if let (Some(key), Some(item)) = (key, item) {
            self.open.insert(lane, (key, item));
        }
    }

    fn take(&mut self, row: &Row) {
        if row.suspect {
            self.suspect(row.time);
            return;
        }
        let Some(value) = row.value.filter(|v| v.is_finite()) else {
            return;
        };
        let (at, channel, k) = (row.time, Some(row.channel), self.known);
        if channel == k.state {
            let code = value as i64;
            self.now.iec_state = Some(code);
            let item = item("state", at, iec_name(code));
            self.put(
                "state",
                at,
                Some(Item {
                    code: Some(code),
                    ..item
                }),
            );
        } else if channel == k.setpoint {
            self.now.setpoint_kw = Some(value);
            self.setpoint(at);
        } else if channel == k.source {
            self.now.setpoint_source = Some(value as i64);
            self.setpoint(at);
        } else if channel == k.available {
            self.now.available_kw = Some(value);
        } else if channel == k.alarm {
            let code = value as i64;
            let name = format!("alarm code {code}");
            let new = (code != 0).then(|| Item {
                code: Some(code),
                ..item("alarm", at, &name)
            });
            self.put("alarm", at, new);
        } else if channel == k.power {
            self.now.power_kw = Some(value);
            self.silence(at);
            self.limit(at);
        }
    }

    fn setpoint(&mut self, at: EventTime) {
        let source = self.now.setpoint_source.map(setpoint_source_name);
        let new = self.now.setpoint_kw.map(|kw| Item {
            value: Some(kw),
            unit: Some("kW".to_owned()),
            source,
            ..item("setpoint", at, "power limit")
        });
        self.put("setpoint", at, new);
    }

    fn limit(&mut self, at: EventTime) {
        let limit = limit(&self.now);
        let source = self.now.setpoint_source.map(setpoint_source_name);
        let new = (limit != Limit::None).then(|| Item {
            source: source.filter(|_| limit == Limit::Curtailment),
            cause: (limit == Limit::Derate).then(|| "internal".to_owned()),
            ..item("limit", at, limit.as_str())
        });
        self.put("limit", at, new);
    }

    /// A reading ahead of the gateway's clock: one item until there is none for as long as a silence.
    fn suspect(&mut self, at: EventTime) {
        if let Some((last, item)) = &mut self.suspected
            && at.0 - last.0 <= SILENCE_US
        {
            (*last, item.to) = (at, event_time(at));
            return;
        }
        let mut new = item("clock", at, "readings ahead of the gateway's clock");
        new.to = event_time(at);
        let over = self.suspected.replace((at, new));
        self.done.extend(over.map(|(_, item)| item));
    }

    fn silence(&mut self, at: EventTime) {
        if at.0.saturating_sub(self.heard.0) > SILENCE_US {
            let mut gap = item("coverage", self.heard, "no readings");
            gap.to = event_time(at);
            self.done.push(gap);
        }
        self.heard = at;
    }

    fn end(mut self, to: EventTime) -> Vec<Item> {
        self.silence(to);
        let suspected = self.suspected.take();
        self.done.extend(suspected.map(|(_, item)| item));
        let open = std::mem::take(&mut self.open);
        self.done.extend(open.into_values().map(|(_, item)| item));
        self.done
    }
}

fn item(lane: &'static str, from: EventTime, name: &str) -> Item {
    Item {
        lane,
        from: event_time(from),
        to: None,
        code: None,
        name: name.to_owned(),
        value: None,
        unit: None,
        source: None,
        cause: None,
    }
}

/// What the turbine did in a range, lane by lane.
#[utoipa::path(get, path = "/turbines/{id}/timeline", tag = "history", params(("id" = String, Path), TimelineParams), responses(
    (status = 200, body = Timeline),
    Lookup,
))]
pub(super) async fn timeline(
    State(api): State<Arc<Api>>,
    Segment(id): Segment,
    Params(params): Params<TimelineParams>,
) -> Result<Json<Timeline>, Problem> {
    let card = api.card(&id)?;
    let range = Range::parse(params.from.as_deref(), params.to.as_deref(), RANGE_MAX_US)?;
    let turbine = TurbineId::new(&id).map_err(|_| Problem::not_found("turbine", &id))?;
    let catalogue = api.catalogue(&card);
    let channel = |name: &str| catalogue.and_then(|c| c.by_name(name)).map(|c| c.id);
    let known = Known {
        state: channel("iec_state"),
        setpoint: channel("active_power_setpoint"),
        source: channel("active_power_setpoint_source"),
        power: channel("active_power"),
        available: channel("available_power"),
        alarm: channel("alarm_code"),
    };
    let alerts = api.alerts_of(&id).await?;
    let places = api.places.clone();
    let answer = api.heavy.run(move || async move {
        let all = [
            known.state,
            known.setpoint,
            known.source,
            known.power,
            known.available,
            known.alarm,
        ];
        let channels: BTreeSet<ChannelId> = all.into_iter().flatten().collect();
        let mut lanes = Lanes {
            known,
            now: Situation::default(),
            open: BTreeMap::new(),
            done: Vec::new(),
            heard: range.from,
            suspected: None,
        };
        // without any of these channels there is nothing to read, and an empty set would mean all
        if !channels.is_empty() {
            let past = places.open(&turbine, channels).await?;
            past.affordable("to", range)?;
            let sorted = async |part| past.sorted(part).await;
            in_order(past.parts(range), sorted, async |rows: Vec<Row>| {
                for row in &rows {
                    lanes.take(row);
                }
                Ok(true)
            })
            .await?;
        }
        let evidence = places.evidence(&turbine, range).await?;
        let mut items = lanes.end(range.to);
        items.extend(evidence.clock.iter().filter_map(|c| of_clock(c, range)));
        items.extend(
            alerts
                .iter()
                .filter(|a| a.first < range.to && a.last >= range.from)
                .map(of_alert),
        );
        items.sort_by(|a, b| (a.lane, &a.from).cmp(&(b.lane, &b.from)));
        items.truncate(ITEMS_MAX);
        Ok(Timeline {
            items,
            verdict: evidence.verdict(range).0,
            bytes: evidence.bytes(),
        })
    });
    Ok(Json(answer.await?))
}

/// What the gateway's clock did, by itself; `None`: not in the range.
fn of_clock(fact: &ClockFact, range: Range) -> Option<Item> {
    let (from, to, name, by_us) = match *fact {
        ClockFact::SetBack { at, by_us } => (at, at, "set back: a new epoch begins", by_us),
        ClockFact::Ahead { from, to, by_us } => (from, to, "ahead of the aggregator's", by_us),
    };
    let (from, to) = (EventTime(from.0), EventTime(to.0));
    (from < range.to && range.from <= to).then(|| Item {
        to: event_time(to),
        value: Some(by_us as f64 / 1e6),
        unit: Some("s".to_owned()),
        ..item("clock", from, name)
    })
}

fn of_alert(a: &AlertEvent) -> Item {
    Item {
        to: event_time(a.last),
        value: a.value.is_finite().then_some(a.value),
        unit: Some(a.unit.clone()),
        cause: Some(a.cause.clone()),
        ..item("alarm", a.first, &a.rule)
    }
}

impl Api {
    /// The newest alerts of a turbine; none before anything was stored.
    async fn alerts_of(&self, turbine: &str) -> Result<Vec<AlertEvent>, Problem> {
        if !self.store.exists() {
            return Ok(Vec::new());
        }
        let query = AlertQuery {
            states: vec!["provisional", "confirmed", "merged", "cleared"],
            turbine: Some(turbine.to_owned()),
            after: None,
            limit: ALERTS_MAX,
        };
        let texts = self
            .store_read(move |store| store.alert_page(&query))
            .await?;
        Ok(texts
            .iter()
            .filter_map(|t| AlertEvent::decode(t.as_bytes()).ok())
            .collect())
    }
}
