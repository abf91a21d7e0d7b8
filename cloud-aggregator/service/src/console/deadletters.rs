//! `GET /dead-letters`: what could not be counted, straight from the log, newest first.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use windlass_cloud_core::output::DeadLetter;

use super::Api;
use super::ask::{Page, Params, cursor, limit, time_text, to_cursor};
use super::problem::Problem;
use crate::log::sqlite::SqliteView;
use crate::log::{LogError, Offset, PartitionId, ReadLimits, Topic, TopicPartition};

/// Dead letters that one request looks through.
const SCAN_MAX: usize = 5_000;
/// Read at a time: their bytes come with them.
const READ: ReadLimits = ReadLimits {
    entries_max: 200,
    bytes_max: 8 * 1024 * 1024,
};

/// Which dead letters.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeadLetterParams {
    /// Only with this reason.
    reason: Option<String>,
    /// Only this turbine's.
    turbine: Option<String>,
    /// How many items, 1 to 1000; 100 unless said.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Bytes that did not count, without the bytes.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct DeadLetterView {
    /// As `windlass-cloud deadletter show` takes it.
    id: String,
    /// Stable code.
    reason: &'static str,
    /// For people.
    detail: String,
    /// Who could not accept it: `ingest` or `task`.
    stage: String,
    #[schema(required)]
    gateway: Option<String>,
    #[schema(required)]
    turbine: Option<String>,
    #[schema(required)]
    epoch: Option<String>,
    #[schema(required)]
    seq: Option<u64>,
    #[schema(required)]
    readings: Option<u64>,
    /// Of the bytes.
    sha256: String,
    /// When it was appended.
    #[schema(required)]
    at: Option<String>,
}

/// What could not be counted, and why; newest first.
#[utoipa::path(get, path = "/dead-letters", tag = "pipeline", params(DeadLetterParams), responses(
    (status = 200, body = Page<DeadLetterView>),
    (status = 400, body = Problem, content_type = "application/problem+json"),
    (status = 503, body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn dead_letters(
    State(api): State<Arc<Api>>,
    Params(params): Params<DeadLetterParams>,
) -> Result<Json<Page<DeadLetterView>>, Problem> {
    let limit = limit(params.limit.as_deref())?;
    let before = match cursor(params.cursor.as_deref())? {
        None => None,
        Some(text) => Some(place(&text).ok_or_else(|| {
            let found = params.cursor.clone().unwrap_or_default();
            Problem::field("cursor", found, "`next` of an answer to the same request")
        })?),
    };
    let path = api.places.log.clone();
    let page = api.heavy.run(move || async move {
        read(&path, &params, before.as_deref(), limit)
            .map_err(|e| Problem::failed("reading the log", &e))
    });
    Ok(Json(page.await?))
}

/// The first offset that is not shown, by partition.
fn place(text: &str) -> Option<Vec<u64>> {
    text.split('/').map(|n| n.parse().ok()).collect()
}

fn read(
    path: &std::path::Path,
    params: &DeadLetterParams,
    before: Option<&[u64]>,
    limit: usize,
) -> Result<Page<DeadLetterView>, LogError> {
    let log = SqliteView::open(path)?;
    let partitions = log.partitions()?;
    let mut found = Vec::new();
    let mut ends: Vec<u64> = Vec::new();
    let mut more = false;
    for partition in (0..partitions).map(PartitionId) {
        let at = TopicPartition::new(Topic::DeadLetter, partition);
        let (first, end) = log.bounds(at)?;
        let told = before.and_then(|b| b.get(usize::from(partition.0)));
        let end = end.0.min(told.copied().unwrap_or(u64::MAX));
        ends.push(end);
        let from = first.0.max(end.saturating_sub(SCAN_MAX as u64));
        more |= from > first.0;
        let mut next = Offset(from);
        while next.0 < end {
            let mut entries = Vec::new();
            match log.read(at, next, READ, &mut entries) {
                Ok(()) | Err(LogError::Trimmed { .. }) => {}
                Err(e) => return Err(e),
            }
            let Some(last) = entries.last() else { break };
            next = Offset(last.offset.0 + 1);
            for e in entries.iter().filter(|e| e.offset.0 < end) {
                let Ok(letter) = DeadLetter::decode(&e.value) else {
                    continue;
                };
                let number = e.offset.0 * u64::from(partitions) + u64::from(partition.0);
                let view = view(number, e.time.0, &letter);
                let wanted = params.reason.as_deref().is_none_or(|r| r == view.reason)
                    && params
                        .turbine
                        .as_ref()
                        .is_none_or(|t| view.turbine.as_ref() == Some(t));
                if wanted {
                    found.push((e.time, partition.0, e.offset.0, view));
                }
            }
        }
    }
    found.sort_by_key(|f| std::cmp::Reverse((f.0, f.1, f.2)));
    more |= found.len() > limit;
    found.truncate(limit);
    for (_, partition, offset, _) in &found {
        let end = &mut ends[usize::from(*partition)];
        *end = (*end).min(*offset);
    }
    let places: Vec<String> = ends.iter().map(ToString::to_string).collect();
    let next = (more && !found.is_empty()).then(|| to_cursor(&places.join("/")));
    Ok(Page {
        items: found.into_iter().map(|(.., view)| view).collect(),
        next,
    })
}

fn view(number: u64, time: i64, letter: &DeadLetter) -> DeadLetterView {
    let m = &letter.meta;
    DeadLetterView {
        id: number.to_string(),
        reason: m.reason.as_str(),
        detail: m.detail.clone(),
        stage: m.stage.clone(),
        gateway: m.gateway.as_ref().map(ToString::to_string),
        turbine: m.turbine.as_ref().map(ToString::to_string),
        epoch: m.epoch.map(|e| e.to_string()),
        seq: m.seq.map(|s| s.0),
        readings: m.readings,
        sha256: m.sha256.clone(),
        at: time_text(time),
    }
}
