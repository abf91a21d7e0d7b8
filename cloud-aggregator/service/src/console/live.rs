//! `GET /live`: server-sent events from the shared board.
//!
//! Invariants: a client holds one board that it was shown last, and is sent only what is different in the newest one; how
//! slowly it reads changes nothing for anybody else; a stop ends the stream.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, watch};
use utoipa::IntoParams;
use windlass_cloud_core::fleet::Fleet;

use super::Api;
use super::ask::{Params, time_text};
use super::board::{Board, Card};
use super::model::{Alert, Turbine};
use super::problem::Problem;
use super::refusals::{Listing, Lookup};
use super::turbines::values;
use crate::stop::Stop;

/// Live clients at once.
pub const CLIENTS_MAX: usize = 256;
/// A comment goes out in silence, so that a dead peer shows.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Which topics.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LiveParams {
    /// Of `wall`, `alerts`, `pipeline`, separated by commas; all unless said.
    #[param(
        example = "wall,alerts",
        pattern = "^(wall|alerts|pipeline)(,(wall|alerts|pipeline))*$"
    )]
    topics: Option<String>,
    /// Only this farm's turbines and alerts.
    farm: Option<String>,
    /// Only this turbine, and its values as `event: turbine`.
    turbine: Option<String>,
}

#[derive(Clone, Copy, Default)]
struct Topics {
    wall: bool,
    alerts: bool,
    pipeline: bool,
}

impl Topics {
    fn parse(text: Option<&str>) -> Result<Self, Problem> {
        let mut topics = Self::default();
        for name in text.unwrap_or("wall,alerts,pipeline").split(',') {
            match name {
                "wall" => topics.wall = true,
                "alerts" => topics.alerts = true,
                "pipeline" => topics.pipeline = true,
                _ => {
                    let expected = "wall, alerts, pipeline, separated by commas";
                    return Err(Problem::field("topics", name, expected));
                }
            }
        }
        Ok(topics)
    }
}

/// One client.
struct Client {
    topics: Topics,
    farm: Option<String>,
    turbine: Option<String>,
    boards: watch::Receiver<Arc<Board>>,
    shown: Option<Arc<Board>>,
    waiting: VecDeque<Event>,
    fleet: Arc<Fleet>,
    stop: Stop,
    _room: OwnedSemaphorePermit,
}

/// Changes as they happen, at most once a second.
#[utoipa::path(
    get, path = "/live", tag = "live", params(LiveParams),
    responses(
        (status = 200, description = "`event: wall`, `alerts`, `pipeline`, `turbine`; data in JSON", body = String, content_type = "text/event-stream"),
        Listing,
        Lookup,
        Listing,
    )
)]
pub(super) async fn live(
    State(api): State<Arc<Api>>,
    Params(params): Params<LiveParams>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let topics = Topics::parse(params.topics.as_deref())?;
    if let Some(farm) = &params.farm {
        api.farm(farm)?;
    }
    if let Some(turbine) = &params.turbine {
        api.card(turbine)?;
    }
    let room = Arc::clone(&api.live_room)
        .try_acquire_owned()
        .map_err(|_| Problem::busy(format!("{CLIENTS_MAX} live clients are connected already")))?;
    let client = Client {
        topics,
        farm: params.farm,
        turbine: params.turbine,
        boards: api.boards.clone(),
        shown: None,
        waiting: VecDeque::new(),
        fleet: Arc::clone(&api.fleet),
        stop: api.stop.clone(),
        _room: room,
    };
    let events = futures_util::stream::unfold(client, |mut client| async move {
        let event = client.next().await?;
        Some((Ok(event), client))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

impl Client {
    /// The next event; `None`: the service ends.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            if self.shown.is_some() {
                tokio::select! {
                    () = self.stop.raised() => return None,
                    changed = self.boards.changed() => changed.ok()?,
                }
            }
            let board = Arc::clone(&self.boards.borrow_and_update());
            self.compare(&board);
            self.shown = Some(board);
        }
    }

    fn wants(&self, turbine: &str, farm: Option<&str>) -> bool {
        self.farm.as_deref().is_none_or(|f| Some(f) == farm)
            && self.turbine.as_deref().is_none_or(|t| t == turbine)
    }

    /// Queues what is different from what was shown.
    fn compare(&mut self, new: &Board) {
        let old = self.shown.clone();
        let old = old.as_deref();
        if self.topics.wall {
            let t: Vec<Value> = new
                .turbines
                .values()
                .filter(|c| self.wants(&c.row.id, c.row.farm.as_deref()))
                .filter(|c| {
                    let before = old.and_then(|o| o.turbines.get(&c.row.id));
                    before.is_none_or(|b| differs(&b.row, &c.row))
                })
                .map(|c| cell(&c.row))
                .collect();
            if old.is_none() || !t.is_empty() {
                let data = json!({"full": old.is_none(), "at": time_text(new.at.0), "t": t});
                self.queue("wall", &data);
            }
        }
        if self.topics.alerts {
            let changed: Vec<&Alert> = new
                .alerts
                .values()
                .filter(|a| self.wants(&a.turbine, a.farm.as_deref()))
                .filter(|a| match old {
                    None => matches!(a.state, "provisional" | "confirmed"),
                    Some(o) => o.alerts.get(&a.id).is_none_or(|b| b.revision != a.revision),
                })
                .map(AsRef::as_ref)
                .collect();
            if old.is_none() || !changed.is_empty() {
                self.queue("alerts", &json!({"changed": changed}));
            }
        }
        if self.topics.pipeline && old.is_none_or(|o| o.pipeline != new.pipeline) {
            self.queue("pipeline", &new.pipeline);
        }
        if let Some(card) = self.turbine.as_ref().and_then(|t| new.turbines.get(t)) {
            let before = old.and_then(|o| o.turbines.get(&card.row.id));
            if before.is_none_or(|b| position(b) != position(card)) {
                self.queue("turbine", &json!({"values": values(card, &self.fleet)}));
            }
        }
    }

    fn queue(&mut self, name: &str, data: &impl Serialize) {
        match Event::default().event(name).json_data(data) {
            Ok(event) => self.waiting.push_back(event),
            Err(error) => tracing::error!(%error, name, "an event was passed over"),
        }
    }
}

fn position(card: &Card) -> Option<u64> {
    card.doc.as_ref().map(|d| d.position)
}

/// More than its age.
fn differs(a: &Turbine, b: &Turbine) -> bool {
    a.event_time != b.event_time || cell_state(a) != cell_state(b)
}

type CellState<'a> = (
    &'a str,
    Option<i64>,
    [Option<f64>; 4],
    f64,
    super::model::AlertCounts,
);

fn cell_state(t: &Turbine) -> CellState<'_> {
    (
        t.fresh,
        t.iec_state.as_ref().map(|s| s.code),
        [t.power_kw, t.available_kw, t.setpoint_kw, t.wind_ms],
        t.need,
        t.alerts,
    )
}

/// `[id, fresh, age_ms, iec, power, available, setpoint, wind, need, open, critical, unack, provisional]`.
fn cell(t: &Turbine) -> Value {
    let a = &t.alerts;
    json!([
        t.id,
        t.fresh,
        t.age_ms,
        t.iec_state.as_ref().map(|s| s.code),
        t.power_kw,
        t.available_kw,
        t.setpoint_kw,
        t.wind_ms,
        t.need,
        a.open,
        a.critical,
        a.unacknowledged,
        a.provisional,
    ])
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
