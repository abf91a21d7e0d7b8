//! `GET /turbines/{id}/readings`: for display in buckets, or exactly, page by page or as CSV.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use windlass_shared::catalogue::{Catalogue, Channel};
use windlass_shared::id::{ChannelId, TurbineId};
use windlass_shared::time::EventTime;

use super::Api;
use super::ask::{
    EXACT_RANGE_MAX_US, Page, Params, RANGE_MAX_US, Range, Segment, cursor, flag, limit, to_cursor,
    wants_csv,
};
use super::board::Card;
use super::csv;
use super::history::{Past, Place, Row, in_order};
use super::model::event_time;
use super::problem::Problem;
use super::refusals::Lookup;
use crate::lake::reading::quality_name;

const POINTS_DEFAULT: u32 = 1_000;
const POINTS_MAX: u32 = 5_000;
/// Channels of one request.
const CHANNELS_MAX: usize = 32;
/// A gap is shown from this many missing readings on.
const GAP_PERIODS: i64 = 3;

/// Which readings, in which form.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ReadingParams {
    /// Names, separated by commas, at most 32.
    #[param(required = true, value_type = String, example = "active_power,wind_speed")]
    channels: Option<String>,
    /// Start, included.
    #[param(required = true, value_type = String, format = DateTime)]
    from: Option<String>,
    /// End, excluded; at most 400 days later, with `exact` 31 days.
    #[param(required = true, value_type = String, format = DateTime)]
    to: Option<String>,
    /// Buckets, 1 to 5000; 1000 unless said. Not with `exact`.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 5000)]
    points: Option<String>,
    /// Every reading as it was taken.
    #[param(value_type = Option<bool>)]
    exact: Option<String>,
    /// `json` (unless said) or `csv`, which is always exact; `Accept: text/csv` is the same.
    #[param(value_type = Option<super::ask::Format>)]
    format: Option<String>,
    /// With `exact`: how many items, 1 to 1000; 100 unless said.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// With `exact`: `next` of the page before.
    #[param(pattern = "^([0-9a-f]{2})+$")]
    cursor: Option<String>,
}

/// Readings for display.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct Display {
    /// Start, included.
    #[schema(required)]
    from: Option<String>,
    /// End, excluded.
    #[schema(required)]
    to: Option<String>,
    /// Length of a bucket, ms.
    bucket_ms: f64,
    /// One for each channel asked for, in that order.
    channels: Vec<Series>,
}

/// A channel's buckets.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct Series {
    /// Name.
    channel: String,
    /// Unit.
    unit: String,
    /// `[start ms, min, mean, max, n]` of each bucket with readings.
    #[schema(value_type = Vec<Vec<f64>>)]
    points: Vec<(f64, f64, f64, f64, u64)>,
    /// `[from ms, to ms]` without readings where there should be some.
    #[schema(value_type = Vec<Vec<f64>>)]
    gaps: Vec<(f64, f64)>,
    /// From here on more may come; null: nothing more will.
    #[schema(required)]
    provisional_from_ms: Option<f64>,
}

/// A reading.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct ReadingView {
    /// Channel name.
    channel: String,
    /// Event time.
    #[schema(required)]
    time: Option<String>,
    /// In the channel's unit.
    #[schema(required)]
    value: Option<f64>,
    /// The raw integer; null where the value is a float.
    #[schema(required)]
    raw: Option<i64>,
    /// How good.
    quality: &'static str,
    /// Marked late by the gateway.
    late: bool,
    /// Ahead of the gateway's clock.
    suspect: bool,
    /// Which run.
    epoch: String,
    /// Which record.
    seq: u64,
    /// Place in it.
    index: u32,
}

impl ReadingView {
    pub(super) fn of(row: &Row, names: &BTreeMap<ChannelId, String>) -> Self {
        Self {
            channel: names.get(&row.channel).cloned().unwrap_or_default(),
            time: event_time(row.time),
            value: row.value.filter(|v| v.is_finite()),
            raw: row.raw,
            quality: quality_name(row.quality),
            late: row.late,
            suspect: row.suspect,
            epoch: row.epoch.to_string(),
            seq: row.seq.0,
            index: row.index,
        }
    }
}

/// Readings of some channels: in buckets for display, exactly as a page, or all of them as CSV.
#[utoipa::path(get, path = "/turbines/{id}/readings", tag = "history", params(("id" = String, Path), ReadingParams), responses(
    (status = 200, description = "Display, with `exact` Page<ReadingView>", content(
        (Display = "application/json"), (String = "text/csv"))),
    Lookup,
))]
pub(super) async fn readings(
    State(api): State<Arc<Api>>,
    Segment(id): Segment,
    Params(params): Params<ReadingParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let card = api.card(&id)?;
    let channels = api.channels(&card, params.channels.as_deref())?;
    let exact = flag("exact", params.exact.as_deref())?.unwrap_or(false);
    let csv = wants_csv(params.format.as_deref(), &headers)?;
    let max = if exact || csv {
        EXACT_RANGE_MAX_US
    } else {
        RANGE_MAX_US
    };
    let range = Range::parse(params.from.as_deref(), params.to.as_deref(), max)?;
    let ids: BTreeSet<ChannelId> = channels.iter().map(|c| c.id).collect();
    let turbine = TurbineId::new(&id).map_err(|_| Problem::not_found("turbine", &id))?;
    let places = api.places.clone();
    let names = channels.iter().map(|c| (c.id, c.name.clone())).collect();
    if csv {
        return Ok(csv::answer(&api, &id, csv::HEADER, async move |out| {
            let past = places.open(&turbine, ids).await?;
            csv::readings(&past, range, &names, out).await
        }));
    }
    if exact {
        let limit = limit(params.limit.as_deref())?;
        let after = place_after(params.cursor.as_deref(), range)?;
        let page = api.heavy.run(move || async move {
            let past = places.open(&turbine, ids).await?;
            exact_page(&past, range, after, limit, &names).await
        });
        return Ok(Json(page.await?).into_response());
    }
    let points = points(params.points.as_deref())?;
    let provisional = provisional_from(&card, range);
    let display = api.heavy.run(move || async move {
        let past = places.open(&turbine, ids).await?;
        past.affordable("to", range)?;
        display(&past, &channels, range, points, provisional).await
    });
    Ok(Json(display.await?).into_response())
}

fn points(text: Option<&str>) -> Result<u32, Problem> {
    let Some(text) = text else {
        return Ok(POINTS_DEFAULT);
    };
    let n = text.parse().ok().filter(|n| (1..=POINTS_MAX).contains(n));
    n.ok_or_else(|| {
        Problem::field(
            "points",
            text,
            format!("a whole number from 1 to {POINTS_MAX}"),
        )
    })
}

impl Api {
    /// The channels that a request names, in its order.
    pub(super) fn channels(
        &self,
        card: &Card,
        names: Option<&str>,
    ) -> Result<Vec<Channel>, Problem> {
        let expected = || format!("1 to {CHANNELS_MAX} channel names, separated by commas");
        let names = names.ok_or_else(|| Problem::field("channels", "nothing", expected()))?;
        let mut out: Vec<Channel> = Vec::new();
        for name in names.split(',') {
            let known = self
                .catalogue(card)
                .and_then(|c: &Arc<Catalogue>| c.by_name(name));
            let channel = known.ok_or_else(|| Problem::not_found("channel", name))?;
            if out.iter().all(|c| c.id != channel.id) {
                out.push(channel.clone());
            }
            if out.len() > CHANNELS_MAX {
                return Err(Problem::cannot("channels", "more", expected()));
            }
        }
        Ok(out)
    }
}

/// From where on more may come: the turbine's time, or the start of the range while it misses records.
fn provisional_from(card: &Card, range: Range) -> Option<EventTime> {
    let doc = card.doc.as_ref()?;
    if doc.coverage.missing_seqs > 0 {
        return Some(range.from);
    }
    let frontier = doc.frontier.unwrap_or(range.from);
    (frontier < range.to).then(|| frontier.max(range.from))
}

fn ms(us: i64) -> f64 {
    us as f64 / 1_000.0
}

/// Least, sum, greatest and number of a bucket's readings.
#[derive(Clone, Copy)]
struct Bucket {
    min: f64,
    sum: f64,
    max: f64,
    n: u64,
}

const EMPTY: Bucket = Bucket {
    min: f64::INFINITY,
    sum: 0.0,
    max: f64::NEG_INFINITY,
    n: 0,
};

async fn display(
    past: &Past,
    channels: &[Channel],
    range: Range,
    points: u32,
    provisional: Option<EventTime>,
) -> Result<Display, Problem> {
    let len = range.to.0 - range.from.0;
    let bucket_us = (len / i64::from(points) + i64::from(len % i64::from(points) > 0)).max(1);
    let n = (len / bucket_us + i64::from(len % bucket_us > 0)) as usize;
    let mut buckets = vec![vec![EMPTY; n]; channels.len()];
    let slots: BTreeMap<ChannelId, usize> = channels
        .iter()
        .enumerate()
        .map(|(i, c)| (c.id, i))
        .collect();
    past.each(range, &mut |row| {
        let number = row
            .value
            .filter(|v| v.is_finite() && row.quality.counts() && !row.suspect);
        if let (Some(value), Some(slot)) = (number, slots.get(&row.channel)) {
            let b = &mut buckets[*slot][((row.time.0 - range.from.0) / bucket_us) as usize];
            b.min = b.min.min(value);
            b.max = b.max.max(value);
            b.sum += value;
            b.n += 1;
        }
    })
    .await?;
    let series = channels.iter().zip(&buckets).map(|(channel, buckets)| {
        let start = |i: usize| range.from.0 + bucket_us * i as i64;
        let full = buckets.iter().enumerate().filter(|(_, b)| b.n > 0);
        Series {
            channel: channel.name.clone(),
            unit: channel.unit.clone(),
            points: full
                .map(|(i, b)| (ms(start(i)), b.min, b.sum / b.n as f64, b.max, b.n))
                .collect(),
            gaps: gaps(buckets, channel, bucket_us)
                .into_iter()
                .map(|(a, b)| (ms(start(a)), ms(start(b).min(range.to.0))))
                .collect(),
            provisional_from_ms: provisional.map(|t| ms(t.0)),
        }
    });
    Ok(Display {
        from: event_time(range.from),
        to: event_time(range.to),
        bucket_ms: ms(bucket_us),
        channels: series.collect(),
    })
}

/// Runs of empty buckets that are longer than a channel with this period leaves by itself.
fn gaps(buckets: &[Bucket], channel: &Channel, bucket_us: i64) -> Vec<(usize, usize)> {
    let mut out = Vec::new();
    if channel.period_us == 0 {
        return out;
    }
    let mut start = 0;
    for end in 0..=buckets.len() {
        if end == buckets.len() || buckets[end].n > 0 {
            let len = (end - start) as i64 * bucket_us;
            if end > start && len >= GAP_PERIODS * channel.period_us {
                out.push((start, end));
            }
            start = end + 1;
        }
    }
    out
}

fn place_after(text: Option<&str>, range: Range) -> Result<Option<Place>, Problem> {
    let Some(found) = cursor(text)? else {
        return Ok(None);
    };
    let parse = || -> Option<Place> {
        let mut parts = found.split('/');
        let time = EventTime(parts.next()?.parse().ok()?);
        let channel = ChannelId(parts.next()?.parse().ok()?);
        let epoch = parts.next()?.parse().ok()?;
        let seq = windlass_shared::id::Seq(parts.next()?.parse().ok()?);
        let index = parts.next()?.parse().ok()?;
        let inside = range.from <= time && time < range.to && parts.next().is_none();
        inside.then_some((time, channel, epoch, seq, index))
    };
    parse()
        .map(Some)
        .ok_or_else(|| Problem::cursor(text.unwrap_or_default()))
}

async fn exact_page(
    past: &Past,
    range: Range,
    after: Option<Place>,
    limit: usize,
    names: &BTreeMap<ChannelId, String>,
) -> Result<Page<ReadingView>, Problem> {
    let from = after.map_or(range.from, |a| a.0);
    let parts = past.parts(Range { from, to: range.to });
    let mut rows: Vec<Row> = Vec::new();
    let sorted = async |part| past.sorted(part).await;
    in_order(parts, sorted, async |more: Vec<Row>| {
        let more = more.into_iter();
        let more = more.filter(|r| after.is_none_or(|a| r.place() > a));
        rows.extend(more.take(limit + 1 - rows.len()));
        Ok(rows.len() <= limit)
    })
    .await?;
    let whole = rows.len() <= limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| !whole).map(|r| {
        to_cursor(&format!(
            "{}/{}/{}/{}/{}",
            r.time.0, r.channel.0, r.epoch, r.seq, r.index
        ))
    });
    Ok(Page {
        items: rows.iter().map(|r| ReadingView::of(r, names)).collect(),
        next,
    })
}
