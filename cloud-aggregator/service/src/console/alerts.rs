//! Alerts, episodes and link alarms.
//!
//! Open alerts come from the board; ended ones from the status store, page by page.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use windlass_cloud_core::output::AlertEvent;

use super::Api;
use super::ask::{Page, PageParams, Params, Segment, cursor, flag, limit, to_cursor};
use super::model::{Alarm, Alert};
use super::problem::Problem;
use super::refusals::{Listing, Lookup};
use crate::serve::store::AlertQuery;

/// Alerts that one request looks through before it answers with what it has and a cursor.
const SCAN_MAX: usize = 20_000;
/// Alerts in one read of the store.
const CHUNK: usize = 1_000;

/// Which alerts.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AlertParams {
    /// `open` (unless said), `provisional`, `confirmed`, `withdrawn`, `closed` or `all`.
    #[param(value_type = Option<StateFilter>)]
    state: Option<String>,
    /// Only this farm's.
    farm: Option<String>,
    /// Only this turbine's.
    turbine: Option<String>,
    /// Only (not) acknowledged ones.
    #[param(value_type = Option<bool>)]
    acknowledged: Option<String>,
    /// Only (not) shelved ones.
    #[param(value_type = Option<bool>)]
    shelved: Option<String>,
    /// How many items, 1 to 1000; 100 unless said.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// `next` of the page before.
    #[param(pattern = "^([0-9a-f]{2})+$")]
    cursor: Option<String>,
}

/// States that can be asked for.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code)] // for the schema
pub enum StateFilter {
    /// Provisional and confirmed.
    Open,
    /// Not confirmed yet.
    Provisional,
    /// Borne out by settled windows.
    Confirmed,
    /// Not borne out.
    Withdrawn,
    /// Confirmed, and over.
    Closed,
    /// Every one.
    All,
}

fn states(text: Option<&str>) -> Result<&'static [&'static str], Problem> {
    Ok(match text.unwrap_or("open") {
        "open" => &["provisional", "confirmed", "merged"],
        "provisional" => &["provisional"],
        "confirmed" => &["confirmed", "merged"],
        "withdrawn" => &["withdrawn"],
        "closed" => &["cleared"],
        "all" => &["provisional", "confirmed", "merged", "withdrawn", "cleared"],
        other => {
            let expected = "open, provisional, confirmed, withdrawn, closed or all";
            return Err(Problem::field("state", other, expected));
        }
    })
}

/// Alerts, newest first.
#[utoipa::path(get, path = "/alerts", tag = "alerts", params(AlertParams), responses(
    (status = 200, body = Page<Alert>),
    Lookup,
))]
pub(super) async fn alerts(
    State(api): State<Arc<Api>>,
    Params(params): Params<AlertParams>,
) -> Result<Json<Page<Alert>>, Problem> {
    let states = states(params.state.as_deref())?;
    let acknowledged = flag("acknowledged", params.acknowledged.as_deref())?;
    let shelved = flag("shelved", params.shelved.as_deref())?;
    let limit = limit(params.limit.as_deref())?;
    let after = match cursor(params.cursor.as_deref())? {
        None => None,
        Some(text) => Some(
            place(&text)
                .ok_or_else(|| Problem::cursor(params.cursor.as_deref().unwrap_or_default()))?,
        ),
    };
    if let Some(farm) = &params.farm {
        api.farm(farm)?;
    }
    if let Some(turbine) = &params.turbine {
        api.card(turbine)?;
    }
    let wants = move |a: &Alert| {
        params
            .farm
            .as_ref()
            .is_none_or(|f| a.farm.as_ref() == Some(f))
            && acknowledged.is_none_or(|x| a.acknowledged.is_some() == x)
            && shelved.is_none_or(|x| a.shelved.is_some() == x)
    };
    let query = AlertQuery {
        states: states.to_vec(),
        turbine: params.turbine,
        after,
        limit: CHUNK,
    };
    let page = api
        .store_read(move |store| collect(store, query, limit, &wants))
        .await?;
    Ok(Json(page))
}

/// Begin and id of an alert.
fn place(text: &str) -> Option<(i64, String)> {
    let (first, id) = text.split_once('/')?;
    let known = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
    Some((first.parse().ok()?, known.then(|| id.to_owned())?))
}

fn collect(
    store: &crate::serve::store::StatusStore,
    mut query: AlertQuery,
    limit: usize,
    wants: &dyn Fn(&Alert) -> bool,
) -> Result<Page<Alert>, crate::serve::store::StoreError> {
    let mut items = Vec::new();
    let mut seen = 0;
    loop {
        let texts = store.alert_page(&query)?;
        let whole = texts.len() == query.limit;
        for text in texts {
            seen += 1;
            let Ok(event) = AlertEvent::decode(text.as_bytes()) else {
                continue;
            };
            let place = (event.first.0, event.alert.clone());
            let alert = Alert::of(&event);
            if wants(&alert) {
                if items.len() == limit {
                    return Ok(Page {
                        items,
                        next: next(query.after.as_ref()),
                    });
                }
                items.push(alert);
            }
            query.after = Some(place);
        }
        if !whole {
            return Ok(Page { items, next: None });
        }
        if seen >= SCAN_MAX {
            return Ok(Page {
                items,
                next: next(query.after.as_ref()),
            });
        }
    }
}

fn next(after: Option<&(i64, String)>) -> Option<String> {
    after.map(|(first, id)| to_cursor(&format!("{first}/{id}")))
}

/// One alert.
#[utoipa::path(get, path = "/alerts/{id}", tag = "alerts", params(("id" = String, Path)), responses(
    (status = 200, body = Alert),
    Lookup,
))]
pub(super) async fn alert(
    State(api): State<Arc<Api>>,
    Segment(id): Segment,
) -> Result<Json<Alert>, Problem> {
    Ok(Json(Alert::of(&api.alert_event(&id).await?)))
}

impl Api {
    /// An alert's newest event.
    pub(super) async fn alert_event(&self, id: &str) -> Result<AlertEvent, Problem> {
        let wanted = id.to_owned();
        let text = self
            .store_read(move |store| store.alert_document(&wanted))
            .await?;
        let text = text.ok_or_else(|| Problem::not_found("alert", id))?;
        AlertEvent::decode(text.as_bytes()).map_err(|e| Problem::failed("reading an alert", &e))
    }
}

/// Links that are down and what is wrong with the pipeline: a farm's cut is one alarm.
#[utoipa::path(get, path = "/alarms", tag = "alerts", params(PageParams), responses(
    (status = 200, body = Page<Alarm>),
    Listing,
))]
pub(super) async fn alarms(
    State(api): State<Arc<Api>>,
    Params(params): Params<PageParams>,
) -> Result<Json<Page<Alarm>>, Problem> {
    let board = api.board();
    let page = Page::of(board.alarms.iter(), &params, |a| a.id.clone(), Alarm::clone)?;
    Ok(Json(page))
}

/// Which episodes.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EpisodeParams {
    /// Only this turbine's.
    turbine: Option<String>,
    /// Only this farm's.
    farm: Option<String>,
    /// How many items, 1 to 1000; 100 unless said.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// `next` of the page before.
    #[param(pattern = "^([0-9a-f]{2})+$")]
    cursor: Option<String>,
}

/// Alerts of one cause that lie near each other.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct EpisodeView {
    /// 32 hexadecimal digits.
    id: String,
    /// Whose.
    turbine: String,
    /// Earliest event time of its alerts.
    #[schema(required)]
    first: Option<String>,
    /// Latest event time of its alerts.
    #[schema(required)]
    last: Option<String>,
    /// Is one of them open?
    open: bool,
    /// How many.
    alerts: u32,
    /// `warning` or `critical`.
    worst: &'static str,
    /// The older episode that it turned out to be part of.
    #[schema(required)]
    merged_into: Option<String>,
}

/// Episodes of the newest alerts, newest first.
#[utoipa::path(get, path = "/episodes", tag = "alerts", params(EpisodeParams), responses(
    (status = 200, body = Page<EpisodeView>),
    Lookup,
))]
pub(super) async fn episodes(
    State(api): State<Arc<Api>>,
    Params(params): Params<EpisodeParams>,
) -> Result<Json<Page<EpisodeView>>, Problem> {
    if let Some(farm) = &params.farm {
        api.farm(farm)?;
    }
    if let Some(turbine) = &params.turbine {
        api.card(turbine)?;
    }
    let page = PageParams {
        limit: params.limit,
        cursor: params.cursor,
    };
    limit(page.limit.as_deref())?;
    cursor(page.cursor.as_deref())?;
    let (turbine, farm) = (params.turbine, params.farm);
    let all = api
        .store_read(move |store| {
            store.alert_page(&AlertQuery {
                states: states(Some("all")).unwrap_or_default().to_vec(),
                turbine,
                after: None,
                limit: SCAN_MAX,
            })
        })
        .await?;
    let events = all
        .iter()
        .filter_map(|t| AlertEvent::decode(t.as_bytes()).ok());
    let events = events.filter(|e| {
        farm.is_none()
            || e.farm.as_ref().map(windlass_shared::id::FarmId::as_str) == farm.as_deref()
    });
    let episodes = group(events);
    let page = Page::of(episodes.iter(), &page, |e| e.id.clone(), EpisodeView::clone)?;
    Ok(Json(page))
}

fn group(events: impl Iterator<Item = AlertEvent>) -> Vec<EpisodeView> {
    let mut found: BTreeMap<String, EpisodeView> = BTreeMap::new();
    for e in events {
        let a = Alert::of(&e);
        if let Some(into) = &e.merged_into {
            let gone = found
                .entry(e.episode.clone())
                .or_insert_with(|| begin(&e.episode, &a));
            gone.merged_into = Some(into.clone());
        }
        let one = found
            .entry(a.episode.clone())
            .or_insert_with(|| begin(&a.episode, &a));
        one.alerts += 1;
        one.open |= matches!(a.state, "provisional" | "confirmed");
        one.first = one.first.clone().min(a.first.clone());
        one.last = one.last.clone().max(a.last.clone());
        if a.level == "critical" {
            one.worst = a.level;
        }
    }
    let mut all: Vec<EpisodeView> = found.into_values().collect();
    all.sort_by(|a, b| (&b.first, &a.id).cmp(&(&a.first, &b.id)));
    all
}

fn begin(id: &str, a: &Alert) -> EpisodeView {
    EpisodeView {
        id: id.to_owned(),
        turbine: a.turbine.clone(),
        first: a.first.clone(),
        last: a.last.clone(),
        open: false,
        alerts: 0,
        worst: a.level,
        merged_into: None,
    }
}
