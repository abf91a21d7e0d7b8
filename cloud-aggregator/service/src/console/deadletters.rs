//! `GET /dead-letters`: what could not be counted, newest first: from the log, and from the lake where retention has been.
//!
//! Invariants: a request looks through a named number of letters of each partition, and its cursor goes on where it
//! stopped, also when none of them was wanted; what is newer is never shown after what is older.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use windlass_cloud_core::output::DeadLetter;

use super::Api;
use super::ask::{Page, Params, cursor, limit, time_text, to_cursor};
use super::heavy::lake_failed;
use super::history::Places;
use super::problem::Problem;
use super::refusals::Listing;
use crate::lake::dead_row::{DeadRow, dead_rows};
use crate::lake::marker::Series;
use crate::lake::read::View;
use crate::log::sqlite::SqliteView;
use crate::log::{LogError, Offset, PartitionId, ReadLimits, Topic, TopicPartition};

/// Dead letters of each partition that one request looks through.
const SCAN_MAX: u64 = 5_000;
/// Read at a time: their bytes come with them.
const CHUNK: u64 = 200;
const READ: ReadLimits = ReadLimits {
    entries_max: CHUNK as usize,
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
    #[param(pattern = "^([0-9a-f]{2})+$")]
    cursor: Option<String>,
}

/// Bytes that did not count, without the bytes.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct DeadLetterView {
    /// As `windlass-cloud deadletter show` takes it.
    id: String,
    /// Stable code.
    reason: String,
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
    Listing,
))]
pub(super) async fn dead_letters(
    State(api): State<Arc<Api>>,
    Params(params): Params<DeadLetterParams>,
) -> Result<Json<Page<DeadLetterView>>, Problem> {
    let limit = limit(params.limit.as_deref())?;
    let before = match cursor(params.cursor.as_deref())? {
        None => None,
        Some(text) => Some(
            place(&text)
                .ok_or_else(|| Problem::cursor(params.cursor.as_deref().unwrap_or_default()))?,
        ),
    };
    let places = api.places.clone();
    let page = api
        .heavy
        .run(move || async move { read(&places, &params, before.as_deref(), limit).await });
    Ok(Json(page.await?))
}

/// The first offset that is not shown, by partition.
fn place(text: &str) -> Option<Vec<u64>> {
    text.split('/').map(|n| n.parse().ok()).collect()
}

/// A letter, and where it lies.
struct Letter {
    /// No later than those after it in its partition, microseconds.
    time: i64,
    partition: u16,
    offset: u64,
    view: DeadLetterView,
}

/// What was found in a partition, from its end backwards.
struct Scan {
    /// The newest first.
    found: Vec<Letter>,
    /// Everything from here on was looked through.
    reached: u64,
    /// No letter before `reached` is later.
    time: i64,
    /// There is nothing before it.
    whole: bool,
}

/// Looks through one partition.
struct Scanner<'a> {
    params: &'a DeadLetterParams,
    partition: u16,
    partitions: u16,
    limit: usize,
    looked: u64,
    scan: Scan,
}

async fn read(
    places: &Places,
    params: &DeadLetterParams,
    before: Option<&[u64]>,
    limit: usize,
) -> Result<Page<DeadLetterView>, Problem> {
    let failed = |e: LogError| Problem::failed("reading the log", &e);
    if !places.log.exists() {
        return Ok(Page {
            items: Vec::new(),
            next: None,
        });
    }
    let log = SqliteView::open(&places.log).map_err(failed)?;
    let partitions = log.partitions().map_err(failed)?;
    let view = places.view().await?;
    let mut scans = Vec::new();
    for partition in 0..partitions {
        let at = TopicPartition::new(Topic::DeadLetter, PartitionId(partition));
        let (first, end) = log.bounds(at).map_err(failed)?;
        let told = before.and_then(|b| b.get(usize::from(partition)));
        let end = end.0.min(told.copied().unwrap_or(u64::MAX));
        let mut scanner = Scanner {
            params,
            partition,
            partitions,
            limit,
            looked: 0,
            scan: Scan {
                found: Vec::new(),
                reached: end,
                time: i64::MAX,
                whole: false,
            },
        };
        scanner.log(&log, at, first.0).map_err(failed)?;
        if let Some(view) = view.as_ref().filter(|_| first.0 > 0) {
            scanner.lake(view).await?;
        }
        let mut scan = scanner.scan;
        scan.whole |= scan.reached <= first.0 && (first.0 == 0 || view.is_none());
        scans.push(scan);
    }
    Ok(merge(scans, limit))
}

/// The newest letters of all partitions.
fn merge(scans: Vec<Scan>, limit: usize) -> Page<DeadLetterView> {
    // what is older than this may have others before it that were not looked at yet
    let cut = scans.iter().filter(|s| !s.whole).map(|s| s.time).max();
    let mut more = cut.is_some();
    let mut ends: Vec<u64> = scans.iter().map(|s| s.reached).collect();
    let mut all: Vec<Letter> = scans.into_iter().flat_map(|s| s.found).collect();
    all.sort_by_key(|l| std::cmp::Reverse((l.time, l.partition, l.offset)));
    let shown = all
        .iter()
        .take(limit)
        .take_while(|l| cut.is_none_or(|c| l.time >= c));
    let rest = all.split_off(shown.count());
    for letter in &rest {
        let end = &mut ends[usize::from(letter.partition)];
        *end = (*end).max(letter.offset + 1);
        more = true;
    }
    let places: Vec<String> = ends.iter().map(ToString::to_string).collect();
    Page {
        items: all.into_iter().map(|l| l.view).collect(),
        next: more.then(|| to_cursor(&places.join("/"))),
    }
}

impl Scanner<'_> {
    fn enough(&self) -> bool {
        self.scan.found.len() > self.limit || self.looked >= SCAN_MAX
    }

    /// Looks back from where it is to the log's first entry.
    fn log(&mut self, log: &SqliteView, at: TopicPartition, first: u64) -> Result<(), LogError> {
        while self.scan.reached > first && !self.enough() {
            let end = self.scan.reached;
            let mut next = first.max(end.saturating_sub(CHUNK));
            let from = next;
            let mut entries = Vec::new();
            while next < end {
                let known = entries.len();
                match log.read(at, Offset(next), READ, &mut entries) {
                    Ok(()) | Err(LogError::Trimmed { .. }) => {}
                    Err(e) => return Err(e),
                }
                match entries.last().filter(|_| entries.len() > known) {
                    Some(last) => next = last.offset.0 + 1,
                    None => break,
                }
            }
            for e in entries.iter().rev().filter(|e| e.offset.0 < end) {
                let letter = DeadLetter::decode(&e.value).ok();
                self.look(e.time.0, e.offset.0, || letter.as_ref().map(of_letter));
            }
            self.scan.reached = from;
        }
        Ok(())
    }

    /// Looks back from where it is through the lake's cuts.
    async fn lake(&mut self, view: &View) -> Result<(), Problem> {
        let topic = Topic::DeadLetter.as_str();
        let own = |s: &Series| s.topic == topic && s.partition == u32::from(self.partition);
        let cuts = view.series.iter().find(|(s, _)| own(s));
        for commit in cuts.iter().flat_map(|(_, cuts)| cuts.iter().rev()) {
            if commit.cut.first >= self.scan.reached {
                continue;
            }
            if self.enough() {
                return Ok(());
            }
            let mut rows = Vec::new();
            for file in &commit.files {
                let turbine = self.params.turbine.as_deref();
                if turbine.is_none_or(|t| file.has_turbine(t)) {
                    let more = dead_rows(view, file, turbine).await;
                    rows.extend(more.map_err(lake_failed)?);
                }
            }
            rows.retain(|r| r.offset < self.scan.reached);
            rows.sort_by_key(|r| std::cmp::Reverse(r.offset));
            for row in rows {
                let (time, offset) = (row.log_time.0, row.offset);
                self.look(time, offset, || Some(of_row(row)));
            }
            self.scan.reached = commit.cut.first;
            self.scan.time = self.scan.time.min(commit.log_time);
            // a cut of nothing that is wanted costs a look too
            self.looked += 1;
        }
        self.scan.whole = !self.enough();
        Ok(())
    }

    fn look(&mut self, time: i64, offset: u64, view: impl FnOnce() -> Option<DeadLetterView>) {
        self.looked += 1;
        self.scan.time = self.scan.time.min(time);
        let Some(mut view) = view() else { return };
        let number = offset * u64::from(self.partitions) + u64::from(self.partition);
        view.id = number.to_string();
        view.at = time_text(time);
        let of = |wanted: &Option<String>, is: Option<&String>| {
            wanted.is_none() || wanted.as_ref() == is
        };
        let wanted = of(&self.params.reason, Some(&view.reason))
            && of(&self.params.turbine, view.turbine.as_ref());
        if wanted {
            self.scan.found.push(Letter {
                time: self.scan.time,
                partition: self.partition,
                offset,
                view,
            });
        }
    }
}

fn of_letter(letter: &DeadLetter) -> DeadLetterView {
    let m = &letter.meta;
    DeadLetterView {
        id: String::new(),
        reason: m.reason.as_str().to_owned(),
        detail: m.detail.clone(),
        stage: m.stage.clone(),
        gateway: m.gateway.as_ref().map(ToString::to_string),
        turbine: m.turbine.as_ref().map(ToString::to_string),
        epoch: m.epoch.map(|e| e.to_string()),
        seq: m.seq.map(|s| s.0),
        readings: m.readings,
        sha256: m.sha256.clone(),
        at: None,
    }
}

fn of_row(row: DeadRow) -> DeadLetterView {
    DeadLetterView {
        id: String::new(),
        reason: row.reason,
        detail: row.detail,
        stage: row.stage,
        gateway: row.gateway,
        turbine: row.turbine,
        epoch: row.epoch,
        seq: row.seq,
        readings: row.readings,
        sha256: row.sha256,
        at: None,
    }
}
