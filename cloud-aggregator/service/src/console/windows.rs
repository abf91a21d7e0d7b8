//! `GET /turbines/{id}/windows`: what the partition's task said of windows, revision by revision, as it is stored.
//!
//! Invariants: at most [`ROWS_MAX`] rows are in memory at a time; an emission counts once, also when it is both in the lake
//! and still in the log; nothing is computed here: a partial stays beside the revision that it adds to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::RecordBatch;
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use windlass_cloud_core::fleet::Fleet;
use windlass_cloud_core::output::FeatureRow;
use windlass_cloud_core::topic::Topic;
use windlass_shared::id::{ChannelId, TurbineId};
use windlass_shared::time::{EventTime, LogTime};
use windlass_shared::window::{Status, WindowKind};

use super::Api;
use super::ask::{
    EXACT_RANGE_MAX_US, Page, Params, RANGE_MAX_US, Range, Segment, cursor, flag, limit, to_cursor,
    wants_csv,
};
use super::csv;
use super::heavy::lake_failed;
use super::history::{Places, divide, in_order};
use super::model::{event_time, log_time};
use super::problem::Problem;
use super::proof::{Missing, missing_of};
use super::refusals::Lookup;
use crate::lake::Table;
use crate::lake::feature_row::{Feature, FeatureColumns, of_entry};
use crate::lake::read::{Filter, View};
use crate::log::StoredEntry;

/// Rows in memory.
const ROWS_MAX: usize = 50_000;

/// Which windows, in which form.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WindowParams {
    /// Names, separated by commas, at most 32.
    #[param(required = true, value_type = String, example = "active_power,wind_speed")]
    channels: Option<String>,
    /// Windows that start then or later.
    #[param(required = true, value_type = String, format = DateTime)]
    from: Option<String>,
    /// Windows that start before; at most 400 days later, as CSV 31 days.
    #[param(required = true, value_type = String, format = DateTime)]
    to: Option<String>,
    /// How long a window is: `1m`, `5m` (every minute) or `10m` (unless said).
    #[param(value_type = Option<Length>)]
    window: Option<String>,
    /// Every revision, not only the newest.
    #[param(value_type = Option<bool>)]
    revisions: Option<String>,
    /// `json` (unless said) or `csv`; `Accept: text/csv` is the same.
    #[param(value_type = Option<super::ask::Format>)]
    format: Option<String>,
    /// How many items, 1 to 1000; 100 unless said.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// `next` of the page before.
    #[param(pattern = "^([0-9a-f]{2})+$")]
    cursor: Option<String>,
}

/// Lengths of windows.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[allow(dead_code)] // for the schema
pub enum Length {
    /// A minute.
    #[serde(rename = "1m")]
    Minute,
    /// Five minutes, every minute.
    #[serde(rename = "5m")]
    FiveMinutes,
    /// Ten minutes.
    #[serde(rename = "10m")]
    TenMinutes,
}

/// One channel of one revision of a window.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct WindowView {
    /// Channel name.
    channel: String,
    /// Unit of the numbers.
    unit: String,
    /// `1m`, `5m` or `10m`.
    window: &'static str,
    /// Start, included.
    #[schema(required)]
    from: Option<String>,
    /// End, excluded.
    #[schema(required)]
    to: Option<String>,
    /// Counts up from 1 whenever content or verdict change; 0 for a partial.
    revision: u32,
    /// Holds only what came after the window had left the task's state: it adds to the newest revision.
    partial: bool,
    /// `exact`, `recorded_loss` or `provisional`.
    verdict: &'static str,
    /// Records that may have held readings of the window, and are not here.
    missing: Vec<Missing>,
    /// Readings that counted.
    n: u64,
    /// Readings that did not, because of their quality.
    bad: u64,
    /// Readings of the window, of all channels, that the gateway marked late.
    late: u64,
    /// What the channel's kind calls for: mean, circular mean, increment, longest state, last setpoint, count of codes,
    /// root mean square. Null: nothing counted.
    #[schema(required)]
    value: Option<f64>,
    /// Arithmetic mean; null where the kind has none.
    #[schema(required)]
    mean: Option<f64>,
    /// Population standard deviation.
    #[schema(required)]
    sd: Option<f64>,
    /// Least.
    #[schema(required)]
    min: Option<f64>,
    /// Greatest.
    #[schema(required)]
    max: Option<f64>,
    /// Records that the window, all its channels, was computed from.
    sources: Vec<SeqSource>,
    /// When it was appended to the log.
    #[schema(required)]
    log_time: Option<String>,
}

/// Seqs of one epoch, both ends included.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct SeqSource {
    /// 32 hexadecimal digits.
    epoch: String,
    first: u64,
    last: u64,
}

impl WindowView {
    fn of(f: &Feature) -> Self {
        let number = |x: Option<f64>| x.filter(|v| v.is_finite());
        let ranges = |(epoch, ranges): &(windlass_shared::id::Epoch, Vec<_>)| {
            let epoch = epoch.to_string();
            let one = move |r: &windlass_shared::id::SeqRange| SeqSource {
                epoch: epoch.clone(),
                first: r.first.0,
                last: r.last.0,
            };
            ranges.iter().map(one).collect::<Vec<_>>()
        };
        Self {
            channel: f.name.clone().unwrap_or_else(|| f.channel.0.to_string()),
            unit: f.unit.clone().unwrap_or_default(),
            window: f.kind.as_str(),
            from: event_time(f.start),
            to: event_time(f.start.plus_us(f.kind.len_us())),
            revision: f.revision,
            partial: f.partial,
            verdict: verdict(&f.status),
            missing: match &f.status {
                Status::WithLoss(losses) => losses.iter().map(missing_of).collect(),
                Status::Exact | Status::Provisional => Vec::new(),
            },
            n: f.n,
            bad: f.bad,
            late: f.late,
            value: number(f.headline),
            mean: number(f.mean),
            sd: number(f.std),
            min: number(f.min),
            max: number(f.max),
            sources: f.sources.0.iter().flat_map(ranges).collect(),
            log_time: log_time(f.log_time),
        }
    }
}

fn verdict(status: &Status) -> &'static str {
    match status {
        Status::Provisional => "provisional",
        Status::Exact => "exact",
        Status::WithLoss(_) => "recorded_loss",
    }
}

/// A row's place in the order of answers: start, channel, offset in the features topic.
type Place = (EventTime, ChannelId, u64);

fn place(f: &Feature) -> Place {
    (f.start, f.channel, f.offset)
}

/// Which rows.
#[derive(Clone, Debug)]
struct Wanted {
    turbine: TurbineId,
    channels: BTreeSet<ChannelId>,
    kind: WindowKind,
    revisions: bool,
}

/// A turbine's windows, opened for one request.
struct Emitted {
    wanted: Wanted,
    view: Option<Arc<View>>,
    tail: Vec<StoredEntry>,
    fleet: Arc<Fleet>,
}

impl Emitted {
    async fn open(places: &Places, wanted: Wanted) -> Result<Self, Problem> {
        // the tail first: a cut that is committed in between makes some rows come twice, which is seen, not missed
        let tail = places
            .tail(Topic::Features, &wanted.turbine)
            .map_err(|e| Problem::failed("reading the log", &e))?;
        Ok(Self {
            wanted,
            view: places.view().await?,
            tail,
            fleet: Arc::clone(&places.fleet),
        })
    }

    fn filter(&self, range: Range) -> Filter {
        Filter {
            turbine: Some(self.wanted.turbine.to_string()),
            time: Some((range.from.0, range.to.0)),
        }
    }

    fn parts(&self, range: Range) -> Vec<Range> {
        let filter = self.filter(range);
        let files = self
            .view
            .as_ref()
            .map(|v| v.files(Table::Features, &filter));
        divide(range, &files.unwrap_or_default(), ROWS_MAX)
    }

    /// The rows that start in the range, in order; `None` when they are too many and can be divided.
    async fn sorted(&self, range: Range) -> Result<Option<Vec<Feature>>, Problem> {
        let divisible = range.to.0 - range.from.0 > 1;
        let mut rows: BTreeMap<Place, Feature> = BTreeMap::new();
        let mut full = false;
        let inside = |start: EventTime| range.from <= start && start < range.to;
        if let Some(view) = &self.view {
            let filter = self.filter(range);
            let mut each = |batch: &RecordBatch, file: &crate::lake::FileEntry| {
                let columns = FeatureColumns::new(batch, &file.path)?;
                for i in 0..columns.len() {
                    full |= divisible && rows.len() >= ROWS_MAX;
                    let wanted = columns.is_of(i, self.wanted.kind)
                        && inside(columns.start(i))
                        && self.wanted.channels.contains(&columns.channel(i));
                    if wanted && !full {
                        let f = columns.get(i)?;
                        rows.insert(place(&f), f);
                    }
                }
                Ok(())
            };
            view.scan_all(Table::Features, &filter, &mut each)
                .await
                .map_err(lake_failed)?;
        }
        if full {
            return Ok(None);
        }
        for entry in &self.tail {
            // what cannot be read is no window: the lake stops on it and says so
            let Ok(row) = FeatureRow::decode(&entry.value) else {
                continue;
            };
            if row.result.kind == self.wanted.kind && inside(row.result.start) {
                let said = of_entry(&self.fleet, entry.offset.0, LogTime(entry.time.0), row);
                let said = said.into_iter();
                let said = said.filter(|f| self.wanted.channels.contains(&f.channel));
                rows.extend(said.map(|f| (place(&f), f)));
            }
        }
        if !self.wanted.revisions {
            keep_newest(&mut rows);
        }
        Ok(Some(rows.into_values().collect()))
    }
}

/// Of each window, its newest revision, and the partials that came after it.
fn keep_newest(rows: &mut BTreeMap<Place, Feature>) {
    let mut newest: BTreeMap<(EventTime, ChannelId), u64> = BTreeMap::new();
    for f in rows.values().filter(|f| !f.partial) {
        newest.insert((f.start, f.channel), f.offset);
    }
    rows.retain(|_, f| {
        let newest = newest.get(&(f.start, f.channel));
        newest.is_none_or(|offset| f.offset >= *offset)
    });
}

/// Windows of some channels, by start, channel and revision.
#[utoipa::path(get, path = "/turbines/{id}/windows", tag = "history", params(("id" = String, Path), WindowParams), responses(
    (status = 200, content((Page<WindowView> = "application/json"), (String = "text/csv"))),
    Lookup,
))]
pub(super) async fn windows(
    State(api): State<Arc<Api>>,
    Segment(id): Segment,
    Params(params): Params<WindowParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let card = api.card(&id)?;
    let channels = api.channels(&card, params.channels.as_deref())?;
    let csv = wants_csv(params.format.as_deref(), &headers)?;
    let max = if csv {
        EXACT_RANGE_MAX_US
    } else {
        RANGE_MAX_US
    };
    let range = Range::parse(params.from.as_deref(), params.to.as_deref(), max)?;
    let wanted = Wanted {
        turbine: TurbineId::new(&id).map_err(|_| Problem::not_found("turbine", &id))?,
        channels: channels.iter().map(|c| c.id).collect(),
        kind: kind(params.window.as_deref())?,
        revisions: flag("revisions", params.revisions.as_deref())?.unwrap_or(false),
    };
    let limit = limit(params.limit.as_deref())?;
    let after = place_after(params.cursor.as_deref(), range)?;
    let places = api.places.clone();
    if csv {
        return Ok(csv::answer(&api, &id, CSV_HEADER, async move |out| {
            let emitted = Emitted::open(&places, wanted).await?;
            let parts = emitted.parts(range);
            let sorted = async |part| emitted.sorted(part).await;
            in_order(parts, sorted, async |rows: Vec<Feature>| {
                for row in &rows {
                    out.line(&line(row)).await?;
                }
                Ok(true)
            })
            .await
        }));
    }
    let page = api.heavy.run(move || async move {
        let emitted = Emitted::open(&places, wanted).await?;
        page(&emitted, range, after, limit).await
    });
    Ok(Json(page.await?).into_response())
}

fn kind(text: Option<&str>) -> Result<WindowKind, Problem> {
    let text = text.unwrap_or("10m");
    let found = WindowKind::ALL.into_iter().find(|k| k.as_str() == text);
    found.ok_or_else(|| Problem::field("window", text, "1m, 5m or 10m"))
}

fn place_after(text: Option<&str>, range: Range) -> Result<Option<Place>, Problem> {
    let Some(found) = cursor(text)? else {
        return Ok(None);
    };
    let parse = || -> Option<Place> {
        let mut parts = found.split('/');
        let start = EventTime(parts.next()?.parse().ok()?);
        let channel = ChannelId(parts.next()?.parse().ok()?);
        let offset = parts.next()?.parse().ok()?;
        let inside = range.from <= start && start < range.to && parts.next().is_none();
        inside.then_some((start, channel, offset))
    };
    parse()
        .map(Some)
        .ok_or_else(|| Problem::cursor(text.unwrap_or_default()))
}

async fn page(
    emitted: &Emitted,
    range: Range,
    after: Option<Place>,
    limit: usize,
) -> Result<Page<WindowView>, Problem> {
    let from = after.map_or(range.from, |a| a.0);
    let parts = emitted.parts(Range { from, to: range.to });
    let mut rows: Vec<Feature> = Vec::new();
    let sorted = async |part| emitted.sorted(part).await;
    in_order(parts, sorted, async |more: Vec<Feature>| {
        let more = more.into_iter();
        let more = more.filter(|f| after.is_none_or(|a| place(f) > a));
        rows.extend(more.take(limit + 1 - rows.len()));
        Ok(rows.len() <= limit)
    })
    .await?;
    let whole = rows.len() <= limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| !whole).map(|f| {
        let (start, channel, offset) = place(f);
        to_cursor(&format!("{}/{}/{offset}", start.0, channel.0))
    });
    Ok(Page {
        items: rows.iter().map(WindowView::of).collect(),
        next,
    })
}

const CSV_HEADER: &str =
    "from,to,channel,unit,window,revision,partial,verdict,n,bad,late,value,mean,sd,min,max\n";

fn line(f: &Feature) -> String {
    let v = WindowView::of(f);
    let number = |x: Option<f64>| x.map(|v| v.to_string()).unwrap_or_default();
    let numbers = [v.value, v.mean, v.sd, v.min, v.max].map(number).join(",");
    // names are snake case and units have no commas, so nothing needs quotes
    format!(
        "{},{},{},{},{},{},{},{},{},{},{},{numbers}\n",
        v.from.unwrap_or_default(),
        v.to.unwrap_or_default(),
        v.channel,
        v.unit,
        v.window,
        v.revision,
        v.partial,
        v.verdict,
        v.n,
        v.bad,
        v.late,
    )
}
