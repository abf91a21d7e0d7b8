//! Farms, turbines and their channels, from the board.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use windlass_cloud_core::facts::states_of;
use windlass_cloud_core::fleet::Fleet;
use windlass_shared::catalogue::Channel;
use windlass_shared::record::Quality;

use super::Api;
use super::ask::{Page, PageParams, Params, Segment};
use super::board::{Board, Card};
use super::model::{Alert, Farm, Turbine, event_time};
use super::problem::Problem;
use super::refusals::{Listing, Lookup};

/// Which turbines, in which order.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TurbineParams {
    /// Only this farm's.
    farm: Option<String>,
    /// `id` (unless said), or `need`: the most urgent first.
    #[param(value_type = Option<SortKey>)]
    sort: Option<String>,
    /// How many items, 1 to 1000; 100 unless said.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// `next` of the page before.
    #[param(pattern = "^([0-9a-f]{2})+$")]
    cursor: Option<String>,
}

/// How turbines are sorted.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code)] // for the schema
pub enum SortKey {
    /// The most urgent first.
    Need,
    /// By name.
    Id,
}

/// Newest value of a channel.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct ChannelValue {
    /// Channel name.
    channel: String,
    /// Null: the reading carries no number.
    #[schema(required)]
    value: Option<f64>,
    /// Unit; empty: none, or not known.
    unit: String,
    /// Event time.
    #[schema(required)]
    time: Option<String>,
    /// `good`, `uncertain`, `bad`, `not_a_number`, `out_of_range`.
    quality: &'static str,
}

/// Readings and records so far.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, ToSchema)]
pub struct CountsView {
    records: u64,
    accepted_readings: u64,
    counted_readings: u64,
    late_readings: u64,
    suspect_readings: u64,
    rejected_readings: u64,
    lost_readings: u64,
    duplicate_records: u64,
    unverified_records: u64,
    refused_records: u64,
    conflict_records: u64,
    quarantined_records: u64,
}

/// Windows so far.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, ToSchema)]
pub struct WindowsView {
    settled: u64,
    exact: u64,
    provisional: u64,
    revised: u64,
    partials: u64,
}

/// A turbine with its newest values.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct TurbineDetail {
    /// As in lists.
    #[serde(flatten)]
    turbine: Turbine,
    /// Newest values of the fast channels.
    values: Vec<ChannelValue>,
    /// Readings and records so far.
    counts: CountsView,
    /// Windows so far.
    windows: WindowsView,
    /// Open alerts, newest first.
    open_alerts: Vec<Alert>,
}

/// A channel of a turbine's catalogue.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct ChannelView {
    id: u16,
    name: String,
    unit: String,
    kind: &'static str,
    class: &'static str,
    rate_group: &'static str,
    /// 0: on change.
    period_ms: f64,
    /// Names of a state's codes, where they are known.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    states: BTreeMap<i64, &'static str>,
}

/// All farms.
#[utoipa::path(get, path = "/farms", tag = "fleet", params(PageParams), responses(
    (status = 200, body = Page<Farm>),
    Listing,
))]
pub(super) async fn farms(
    State(api): State<Arc<Api>>,
    Params(params): Params<PageParams>,
) -> Result<Json<Page<Farm>>, Problem> {
    let board = api.board();
    let page = Page::of(board.farms.iter(), &params, |f| f.id.clone(), Farm::clone)?;
    Ok(Json(page))
}

/// Turbines as the wall shows them.
#[utoipa::path(get, path = "/turbines", tag = "fleet", params(TurbineParams), responses(
    (status = 200, body = Page<Turbine>),
    Lookup,
))]
pub(super) async fn turbines(
    State(api): State<Arc<Api>>,
    Params(params): Params<TurbineParams>,
) -> Result<Json<Page<Turbine>>, Problem> {
    if let Some(farm) = &params.farm {
        api.farm(farm)?;
    }
    let by_need = match params.sort.as_deref() {
        None | Some("id") => false,
        Some("need") => true,
        Some(other) => return Err(Problem::field("sort", other, "need or id")),
    };
    let board = api.board();
    let mut cards: Vec<&Arc<Card>> = of_farm(&board, params.farm.as_deref()).collect();
    if by_need {
        cards.sort_by(|a, b| {
            b.row
                .need
                .total_cmp(&a.row.need)
                .then_with(|| a.row.id.cmp(&b.row.id))
        });
    }
    let page = PageParams {
        limit: params.limit,
        cursor: params.cursor,
    };
    let page = Page::of(cards, &page, |c| c.row.id.clone(), |c| c.row.clone())?;
    Ok(Json(page))
}

fn of_farm<'a>(board: &'a Board, farm: Option<&'a str>) -> impl Iterator<Item = &'a Arc<Card>> {
    let wants = move |c: &&Arc<Card>| farm.is_none_or(|f| c.row.farm.as_deref() == Some(f));
    board.turbines.values().filter(wants)
}

/// A turbine with its newest values.
#[utoipa::path(get, path = "/turbines/{id}", tag = "fleet", params(("id" = String, Path)), responses(
    (status = 200, body = TurbineDetail),
    Lookup,
))]
pub(super) async fn turbine(
    State(api): State<Arc<Api>>,
    Segment(id): Segment,
) -> Result<Json<TurbineDetail>, Problem> {
    let card = api.card(&id)?;
    let doc = card.doc.as_deref();
    let counts = doc.map(|d| d.counts).unwrap_or_default();
    let windows = doc.map(|d| d.windows).unwrap_or_default();
    Ok(Json(TurbineDetail {
        turbine: card.row.clone(),
        values: values(&card, &api.fleet),
        counts: CountsView {
            records: counts.records,
            accepted_readings: counts.accepted_readings,
            counted_readings: counts.counted_readings,
            late_readings: counts.late_readings,
            suspect_readings: counts.suspect_readings,
            rejected_readings: counts.rejected_readings,
            lost_readings: counts.lost_readings,
            duplicate_records: counts.duplicate_records,
            unverified_records: counts.unverified_records,
            refused_records: counts.refused_records,
            conflict_records: counts.conflict_records,
            quarantined_records: counts.quarantined_records,
        },
        windows: WindowsView {
            settled: windows.settled,
            exact: windows.exact,
            provisional: windows.provisional,
            revised: windows.revised,
            partials: windows.partials,
        },
        open_alerts: api
            .board()
            .open_alerts()
            .iter()
            .filter(|a| a.turbine == id)
            .map(|a| Alert::clone(a))
            .collect(),
    }))
}

/// Newest values of a turbine's fast channels, with the unit that the newest catalogue with the channel gives it.
pub(super) fn values(card: &Card, fleet: &Fleet) -> Vec<ChannelValue> {
    let unit = |name: &str| {
        let known = fleet
            .catalogues()
            .filter_map(|c| Some((c.version, c.by_name(name)?)));
        known
            .max_by_key(|(version, _)| *version)
            .map(|(_, c)| c.unit.clone())
    };
    let values = card.doc.iter().flat_map(|d| &d.values);
    values
        .map(|v| ChannelValue {
            channel: v.channel.clone(),
            value: v.value.filter(|x| x.is_finite()),
            unit: unit(&v.channel).unwrap_or_default(),
            time: event_time(v.time),
            quality: quality(v.quality),
        })
        .collect()
}

fn quality(q: Quality) -> &'static str {
    crate::lake::reading::quality_name(q)
}

/// What a turbine's channels are. Of several known catalogues the one that has most of its newest values.
#[utoipa::path(get, path = "/turbines/{id}/channels", tag = "fleet", params(("id" = String, Path), PageParams), responses(
    (status = 200, body = Page<ChannelView>),
    Lookup,
))]
pub(super) async fn channels(
    State(api): State<Arc<Api>>,
    Segment(id): Segment,
    Params(params): Params<PageParams>,
) -> Result<Json<Page<ChannelView>>, Problem> {
    let card = api.card(&id)?;
    let catalogue = api.catalogue(&card);
    let channels = catalogue.iter().flat_map(|c| &c.channels);
    let page = Page::of(channels, &params, |c| c.id.0.to_string(), channel_view)?;
    Ok(Json(page))
}

fn channel_view(c: &Channel) -> ChannelView {
    ChannelView {
        id: c.id.0,
        name: c.name.clone(),
        unit: c.unit.clone(),
        kind: c.kind.as_str(),
        class: c.class.as_str(),
        rate_group: c.rate_group.as_str(),
        period_ms: c.period_us as f64 / 1_000.0,
        states: states_of(&c.name).iter().copied().collect(),
    }
}
