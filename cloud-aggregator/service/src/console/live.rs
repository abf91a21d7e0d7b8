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
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    Array, ArrayBuilder, ArrayItems, ObjectBuilder, Schema, SchemaType, Type,
};
use utoipa::{IntoParams, ToSchema};
use windlass_cloud_core::fleet::Fleet;

use super::Api;
use super::ask::{Params, time_text};
use super::board::{Board, Card};
use super::model::{Alert, Turbine};
use super::problem::Problem;
use super::refusals::{Listing, Lookup};
use super::turbines::{ChannelValue, values};
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

/// `event: wall`.
#[derive(Debug, Serialize, ToSchema)]
pub struct LiveWall {
    /// The first one: these are all turbines.
    full: bool,
    /// When the picture was made.
    #[schema(required)]
    at: Option<String>,
    /// A row for each turbine that is different.
    #[schema(schema_with = rows)]
    t: Vec<Value>,
}

/// `event: alerts`.
#[derive(Debug, Serialize, ToSchema)]
pub struct LiveAlerts<'a> {
    /// First the open ones, then each with a new revision.
    #[schema(value_type = Vec<Alert>)]
    changed: Vec<&'a Alert>,
}

/// `event: turbine`.
#[derive(Debug, Serialize, ToSchema)]
pub struct LiveTurbine {
    /// Newest values of its fast channels.
    values: Vec<ChannelValue>,
}

/// Rows of the wall.
fn rows() -> Array {
    let one = |name: &str, kind: SchemaType| {
        let column = ObjectBuilder::new().schema_type(kind);
        Schema::Object(column.title(Some(name)).build())
    };
    let is = |kind: Type| SchemaType::Type(kind);
    let or_null = |kind: Type| SchemaType::from_iter([kind, Type::Null]);
    let columns = [
        one("id", is(Type::String)),
        one("fresh", is(Type::String)),
        one("age_ms", or_null(Type::Integer)),
        one("iec", or_null(Type::Integer)),
        one("power", or_null(Type::Number)),
        one("available", or_null(Type::Number)),
        one("setpoint", or_null(Type::Number)),
        one("wind", or_null(Type::Number)),
        one("need", is(Type::Number)),
        one("open", is(Type::Integer)),
        one("critical", is(Type::Integer)),
        one("unack", is(Type::Integer)),
        one("provisional", is(Type::Integer)),
    ];
    let n = columns.len();
    let row = ArrayBuilder::new()
        .prefix_items(columns)
        .items(ArrayItems::False)
        .min_items(Some(n))
        .description(Some("A turbine, its columns in this order"));
    let row = RefOr::T(Schema::Array(row.build()));
    ArrayBuilder::new()
        .items(ArrayItems::RefOrSchema(Box::new(row)))
        .build()
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

/// Changes as they happen, at most one event of a name in a second: `x-events` has the form of each event's data by the
/// event's name. First of each what there is now, then what is different.
#[utoipa::path(
    get, path = "/live", tag = "live", params(LiveParams),
    extensions(("x-events" = json!({
        "wall": {"$ref": "#/components/schemas/LiveWall"},
        "alerts": {"$ref": "#/components/schemas/LiveAlerts"},
        "pipeline": {"$ref": "#/components/schemas/Pipeline"},
        "turbine": {"$ref": "#/components/schemas/LiveTurbine"},
    }))),
    responses(
        (status = 200, description = "Server-sent events without an end, each with `event` and `data` in JSON; comments in between", body = String, content_type = "text/event-stream"),
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
    api.filter_farm(params.farm.as_deref())?;
    api.filter_turbine(params.turbine.as_deref())?;
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
                let data = LiveWall {
                    full: old.is_none(),
                    at: time_text(new.at.0),
                    t,
                };
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
                self.queue("alerts", &LiveAlerts { changed });
            }
        }
        if self.topics.pipeline && old.is_none_or(|o| o.pipeline != new.pipeline) {
            self.queue("pipeline", &new.pipeline);
        }
        if let Some(card) = self.turbine.as_ref().and_then(|t| new.turbines.get(t)) {
            let before = old.and_then(|o| o.turbines.get(&card.row.id));
            if before.is_none_or(|b| position(b) != position(card)) {
                let values = values(card, &self.fleet);
                self.queue("turbine", &LiveTurbine { values });
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
