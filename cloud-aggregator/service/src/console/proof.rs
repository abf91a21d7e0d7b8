//! What a turbine's records prove: coverage, and what it reported at a moment.
//!
//! Invariants: the verdict is that of the coverage saved with the lake's newest cut, whose hash its marker holds, with the
//! log's tail taken in; only the original bytes behind the range are read, and it never says exact when they are not what
//! they were.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use windlass_cloud_core::cut::{Dedupe, Taken};
use windlass_cloud_core::facts::{Situation, limit as limit_of, setpoint_source_name};
use windlass_cloud_core::task::LogInput;
use windlass_cloud_core::topic::Topic;
use windlass_shared::coverage::{Coverage, EpochView, Loss, Verdict};
use windlass_shared::id::{ChannelId, TurbineId};
use windlass_shared::record::LossReason;
use windlass_shared::time::{EventTime, LogTime, SECOND_US};

use super::Api;
use super::ask::{Params, RANGE_MAX_US, Range, Segment, time};
use super::heavy::lake_failed;
use super::history::{Places, Row};
use super::model::{Coded, coded_iec, event_time};
use super::problem::Problem;
use super::refusals::Lookup;
use crate::lake::reading::quality_name;
use crate::lake::spot::{ClockFact, Spot};

/// Stamps of the log's tail may be ahead of log time by this much, as the partition task's default.
const SKEW_MAX_US: i64 = 300 * SECOND_US;
/// Longest look back of `at`, microseconds: a day.
const AROUND_MAX_US: i64 = 86_400 * SECOND_US;
/// Original bytes that one request reads again.
const EVIDENCE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Missing ranges that an answer names.
const MISSING_MAX: usize = 1_000;

/// A range.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CoverageParams {
    /// Start, included.
    #[param(required = true, value_type = String, format = DateTime)]
    from: Option<String>,
    /// End, excluded.
    #[param(required = true, value_type = String, format = DateTime)]
    to: Option<String>,
}

/// A moment.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AtParams {
    /// The moment.
    #[param(required = true, value_type = String, format = DateTime)]
    time: Option<String>,
    /// How far back values may be, such as `90s`, `10m` (unless said) or `2h`, at most `24h`.
    #[param(pattern = "^[0-9]{1,5}[smh]$")]
    around: Option<String>,
}

/// What came and what did not.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct CoverageAnswer {
    /// Of the range: `exact`, `recorded_loss` or `incomplete`.
    verdict: &'static str,
    /// Whether the original bytes behind the range are what they were.
    bytes: Bytes,
    /// Runs of the agent, oldest first.
    epochs: Vec<EpochAnswer>,
    /// Records that may have held readings of the range, and are not here.
    missing: Vec<Missing>,
}

/// A run of the agent.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct EpochAnswer {
    /// 32 hexadecimal digits.
    epoch: String,
    /// Its first record was received.
    open: bool,
    /// Conflicting bytes were seen.
    quarantined: bool,
    /// Seqs in order.
    runs: Vec<RunAnswer>,
}

/// Seqs with one fate.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct RunAnswer {
    first: u64,
    last: u64,
    /// `received`, `lost` or `unknown`.
    kind: &'static str,
    /// How far the turbine's time has come, on the newest received run.
    #[schema(required)]
    frontier: Option<String>,
}

/// Seqs that are not here.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct Missing {
    epoch: String,
    /// Null: their number is not known.
    #[schema(required)]
    first: Option<u64>,
    #[schema(required)]
    last: Option<u64>,
    /// `evicted`, `corrupt`, `never_held`, `refused`, `untimed` (recorded without a clock), or `unknown`: it may still
    /// come, or nobody said why.
    why: &'static str,
}

/// What a turbine reported at a moment.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct AtAnswer {
    /// `exact`, `recorded_loss` or `incomplete`.
    verdict: &'static str,
    /// Whether the original bytes behind `around` are what they were.
    bytes: Bytes,
    /// What keeps it from being exact.
    why: Vec<Missing>,
    /// Last value of each channel at or before the moment.
    values: Vec<AtValue>,
    /// IEC 61400-26 state.
    #[schema(required)]
    state: Option<Coded>,
    /// Limit in force, kW.
    #[schema(required)]
    setpoint_kw: Option<f64>,
    /// Who gave it.
    #[schema(required)]
    setpoint_source: Option<&'static str>,
    /// `none`, `derate` or `curtailment`.
    limit: &'static str,
}

/// A value with its record.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct AtValue {
    channel: String,
    #[schema(required)]
    value: Option<f64>,
    unit: String,
    #[schema(required)]
    time: Option<String>,
    quality: &'static str,
    epoch: String,
    seq: u64,
    index: u32,
}

/// What the records say, and whether the bytes behind the range are what they were.
pub(super) struct Evidence {
    coverage: Coverage,
    bytes: Bytes,
    /// What the gateway's clock did, as far as the bytes were read.
    pub(super) clock: Vec<ClockFact>,
}

/// What is known of the original bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Bytes {
    /// Those in the lake that hold readings of the range were read; they hash as they should, and join.
    Verified,
    /// They do not.
    Damaged,
    /// They are too many for one request; `windlass-cloud lake verify` reads them all.
    NotRead,
}

impl Places {
    /// What is known of a range: the coverage that the lake went on with after its newest cut, with what the log holds behind
    /// it, and the original bytes behind the range.
    pub(super) async fn evidence(
        &self,
        turbine: &TurbineId,
        range: Range,
    ) -> Result<Evidence, Problem> {
        let tail = self.tail(Topic::Telemetry, turbine);
        let tail = tail.map_err(|e| Problem::failed("reading the log", &e))?;
        let mut known = Dedupe::default();
        let mut spot = Some(Spot::default());
        if let Some(view) = self.view().await? {
            let name = turbine.as_str();
            known = view.known(name).await.map_err(lake_failed)?;
            spot = Spot::read(&view, name, range.from, range.to, EVIDENCE_BYTES_MAX)
                .await
                .map_err(lake_failed)?;
        }
        for entry in &tail {
            let input = LogInput {
                offset: entry.offset.0,
                log_time: entry.time,
                writer: entry.writer,
                key: &entry.key,
                value: &entry.value,
            };
            let log_time = LogTime(entry.time.0);
            let taken = known.take(&self.fleet, SKEW_MAX_US, &input, log_time);
            if let (Taken::Fresh { record, .. }, Some(spot)) = (&taken, &mut spot) {
                spot.hear_clock(record, entry.time);
            }
        }
        Ok(Evidence {
            coverage: known.coverage(turbine).cloned().unwrap_or_default(),
            bytes: match &spot {
                None => Bytes::NotRead,
                Some(spot) if spot.holds() => Bytes::Verified,
                Some(_) => Bytes::Damaged,
            },
            clock: spot.map(|s| s.clock).unwrap_or_default(),
        })
    }
}

fn reason(reason: Option<LossReason>) -> &'static str {
    match reason {
        Some(LossReason::Evicted) => "evicted",
        Some(LossReason::Corrupt) => "corrupt",
        Some(LossReason::NeverHeld) => "never_held",
        Some(LossReason::Refused) => "refused",
        Some(LossReason::Untimed) => "untimed",
        None => "unknown",
    }
}

pub(super) fn missing_of(loss: &Loss) -> Missing {
    Missing {
        epoch: loss.epoch.to_string(),
        first: loss.seqs.map(|s| s.first.0),
        last: loss.seqs.map(|s| s.last.0),
        why: reason(loss.reason),
    }
}

impl Evidence {
    pub(super) fn bytes(&self) -> Bytes {
        self.bytes
    }

    pub(super) fn verdict(&self, range: Range) -> (&'static str, Vec<Missing>) {
        match self.coverage.verdict(range.from, range.to) {
            Verdict::Exact if self.bytes != Bytes::Damaged => ("exact", Vec::new()),
            Verdict::WithLoss(losses) => {
                let named = losses.iter().take(MISSING_MAX).map(missing_of);
                ("recorded_loss", named.collect())
            }
            Verdict::Exact | Verdict::Open => {
                let holes = self.coverage.holes(MISSING_MAX);
                let named = holes.into_iter().map(|(epoch, seqs)| Missing {
                    epoch: epoch.to_string(),
                    first: Some(seqs.first.0),
                    last: Some(seqs.last.0),
                    why: "unknown",
                });
                ("incomplete", named.collect())
            }
        }
    }
}

fn runs(epoch: &EpochView, frontier: Option<&str>) -> Vec<RunAnswer> {
    let mut out: Vec<RunAnswer> = Vec::new();
    let mut next = 1;
    let mut add = |first: u64, last: u64, kind| {
        if first <= last {
            out.push(RunAnswer {
                first,
                last,
                kind,
                frontier: None,
            });
        }
    };
    for run in &epoch.runs {
        add(next, run.seqs.first.0 - 1, "unknown");
        let mut at = run.seqs.first.0;
        for (lost, _) in &run.lost {
            add(at, lost.first.0.saturating_sub(1), "received");
            add(lost.first.0, lost.last.0, "lost");
            at = lost.last.0 + 1;
        }
        add(at, run.seqs.last.0, "received");
        next = run.seqs.last.0 + 1;
    }
    add(next, epoch.last_seq.map_or(0, |s| s.0), "unknown");
    if let Some(newest) = out.iter_mut().rfind(|r| r.kind == "received") {
        newest.frontier = frontier.map(str::to_owned);
    }
    out
}

/// What came of a turbine and what did not, and what that means for a range.
#[utoipa::path(get, path = "/turbines/{id}/coverage", tag = "history", params(("id" = String, Path), CoverageParams), responses(
    (status = 200, body = CoverageAnswer),
    Lookup,
))]
pub(super) async fn coverage(
    State(api): State<Arc<Api>>,
    Segment(id): Segment,
    Params(params): Params<CoverageParams>,
) -> Result<Json<CoverageAnswer>, Problem> {
    api.card(&id)?;
    let range = Range::parse(params.from.as_deref(), params.to.as_deref(), RANGE_MAX_US)?;
    let turbine = TurbineId::new(&id).map_err(|_| Problem::not_found("turbine", &id))?;
    let places = api.places.clone();
    let answer = api.heavy.run(move || async move {
        let evidence = places.evidence(&turbine, range).await?;
        let (verdict, missing) = evidence.verdict(range);
        let frontier = evidence.coverage.frontier();
        let frontier = Some(frontier)
            .filter(|f| *f != EventTime::MIN)
            .and_then(event_time);
        let newest = evidence.coverage.newest();
        let epochs = evidence.coverage.epochs();
        let epochs = epochs.iter().map(|e| EpochAnswer {
            epoch: e.epoch.to_string(),
            open: e.opened,
            quarantined: e.quarantined,
            runs: runs(e, frontier.as_deref().filter(|_| newest == Some(e.epoch))),
        });
        Ok(CoverageAnswer {
            verdict,
            bytes: evidence.bytes,
            epochs: epochs.collect(),
            missing,
        })
    });
    Ok(Json(answer.await?))
}

fn around(text: Option<&str>) -> Result<i64, Problem> {
    let text = text.unwrap_or("10m");
    let parse = || {
        let n = text.strip_suffix(['s', 'm', 'h'])?;
        let form = (1..=5).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit());
        let unit = match text.bytes().last()? {
            b's' => 1,
            b'm' => 60,
            _ => 3_600,
        };
        form.then(|| n.parse::<i64>().ok())?.map(|n| n * unit)
    };
    let expected = "a duration such as 90s, 10m or 2h, at most 24h";
    let s = parse().ok_or_else(|| Problem::field("around", text, expected))?;
    if s == 0 || s * SECOND_US > AROUND_MAX_US {
        return Err(Problem::cannot("around", text, expected));
    }
    Ok(s * SECOND_US)
}

/// What the turbine reported at a moment, with the record of each value.
#[utoipa::path(get, path = "/turbines/{id}/at", tag = "history", params(("id" = String, Path), AtParams), responses(
    (status = 200, body = AtAnswer),
    Lookup,
))]
pub(super) async fn at(
    State(api): State<Arc<Api>>,
    Segment(id): Segment,
    Params(params): Params<AtParams>,
) -> Result<Json<AtAnswer>, Problem> {
    let card = api.card(&id)?;
    let expected = "a time such as 2026-11-21T10:00:00Z";
    let text = params
        .time
        .ok_or_else(|| Problem::field("time", "nothing", expected))?;
    let moment = time("time", &text)?;
    let range = Range {
        from: moment.plus_us(-around(params.around.as_deref())?),
        to: moment.plus_us(1),
    };
    let turbine = TurbineId::new(&id).map_err(|_| Problem::not_found("turbine", &id))?;
    let (places, catalogue) = (api.places.clone(), api.catalogue(&card).cloned());
    let answer = api.heavy.run(move || async move {
        let past = places.open(&turbine, BTreeSet::new()).await?;
        past.affordable("around", range)?;
        let mut last: BTreeMap<ChannelId, Row> = BTreeMap::new();
        past.each(range, &mut |row| {
            if !row.suspect {
                let held = last.entry(row.channel).or_insert(row);
                if held.place() < row.place() {
                    *held = row;
                }
            }
        })
        .await?;
        let evidence = places.evidence(&turbine, range).await?;
        let (verdict, why) = evidence.verdict(range);
        let channel = |id| catalogue.as_ref().and_then(|c| c.channel(id));
        let value = |name: &str| {
            let id = catalogue.as_ref()?.by_name(name)?.id;
            last.get(&id)?.value.filter(|v| v.is_finite())
        };
        let situation = Situation {
            iec_state: value("iec_state").map(|x| x as i64),
            power_kw: value("active_power"),
            available_kw: value("available_power"),
            setpoint_kw: value("active_power_setpoint"),
            setpoint_source: value("active_power_setpoint_source").map(|x| x as i64),
        };
        let values = last.values().map(|row| AtValue {
            channel: channel(row.channel)
                .map_or_else(|| row.channel.0.to_string(), |c| c.name.clone()),
            value: row.value.filter(|v| v.is_finite()),
            unit: channel(row.channel).map_or_else(String::new, |c| c.unit.clone()),
            time: event_time(row.time),
            quality: quality_name(row.quality),
            epoch: row.epoch.to_string(),
            seq: row.seq.0,
            index: row.index,
        });
        Ok(AtAnswer {
            verdict,
            bytes: evidence.bytes,
            why,
            values: values.collect(),
            state: situation.iec_state.map(coded_iec),
            setpoint_kw: situation.setpoint_kw,
            setpoint_source: situation.setpoint_source.map(setpoint_source_name),
            limit: limit_of(&situation).as_str(),
        })
    });
    Ok(Json(answer.await?))
}
