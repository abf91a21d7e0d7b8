//! What a turbine's records prove: coverage, and what it reported at a moment.
//!
//! Invariant: the verdict is computed from the original bytes, those in the lake and those behind its last cut in the log;
//! it says exact only when coverage does and every hash chain in the lake holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use windlass_cloud_core::admit::{admit, stamps_max};
use windlass_cloud_core::facts::{Situation, limit as limit_of, setpoint_source_name};
use windlass_cloud_core::topic::Topic;
use windlass_shared::coverage::{Coverage, EpochView, Loss, Verdict};
use windlass_shared::id::{ChannelId, TurbineId};
use windlass_shared::record::LossReason;
use windlass_shared::time::{EventTime, LogTime, SECOND_US};
use windlass_shared::wire::{self, Control, Logged};

use super::Api;
use super::ask::{Params, RANGE_MAX_US, Range, Segment, time};
use super::heavy::lake_failed;
use super::history::{Places, Row};
use super::model::{Coded, coded_iec, event_time};
use super::problem::Problem;
use crate::lake::proof::Proof;
use crate::lake::reading::quality_name;
use crate::log::StoredEntry;

/// Stamps of the log's tail may be ahead of log time by this much, as the partition task's default.
const SKEW_MAX_US: i64 = 300 * SECOND_US;
/// Longest look back of `at`, microseconds: a day.
const AROUND_MAX_US: i64 = 86_400 * SECOND_US;
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
    /// How far back values may be, such as `10m` (unless said), at most `24h`.
    around: Option<String>,
}

/// What came and what did not.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct CoverageAnswer {
    /// Of the range: `exact`, `recorded_loss` or `incomplete`.
    verdict: &'static str,
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
    /// `evicted`, `corrupt`, `never_held`, `refused`, or `unknown`: it may still come, or nobody said why.
    why: &'static str,
}

/// What a turbine reported at a moment.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct AtAnswer {
    /// `exact`, `recorded_loss` or `incomplete`.
    verdict: &'static str,
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

/// What the records say, and whether their chain holds.
struct Evidence {
    coverage: Coverage,
    holds: bool,
}

impl Places {
    /// What is known of a range, in a word.
    pub(super) async fn verdict(
        &self,
        turbine: &TurbineId,
        range: Range,
    ) -> Result<&'static str, Problem> {
        Ok(self.evidence(turbine, range).await?.verdict(range).0)
    }

    async fn evidence(&self, turbine: &TurbineId, range: Range) -> Result<Evidence, Problem> {
        let tail = self.tail(Topic::Telemetry, turbine);
        let tail = tail.map_err(|e| Problem::failed("reading the log", &e))?;
        let proof = match self.view().await? {
            Some(view) => Proof::read(&view, turbine.as_str(), range.from, range.to)
                .await
                .map_err(lake_failed)?,
            None => Proof::default(),
        };
        let holds = proof.chain_holds() && proof.disagreements == 0;
        let mut coverage = proof.coverage;
        let mut speaks = None;
        for entry in &tail {
            self.take(&mut coverage, &mut speaks, entry);
        }
        Ok(Evidence { coverage, holds })
    }

    fn take(
        &self,
        coverage: &mut Coverage,
        speaks: &mut Option<windlass_shared::catalogue::CatalogueHash>,
        entry: &StoredEntry,
    ) {
        match wire::decode_logged(&entry.value) {
            Ok(Logged::Telemetry { record, .. }) => {
                let hash = wire::hash(&record);
                if let Ok(record) = wire::decode(&record) {
                    let latest = stamps_max(LogTime(entry.time.0), entry.time, SKEW_MAX_US);
                    drop(admit(coverage, speaks, &self.fleet, &record, &hash, latest));
                }
            }
            Ok(Logged::Control(Control::Refused(r))) => coverage.refuse(r.id.epoch, r.id.seq),
            _ => {}
        }
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

fn missing_of(loss: &Loss) -> Missing {
    Missing {
        epoch: loss.epoch.to_string(),
        first: loss.seqs.map(|s| s.first.0),
        last: loss.seqs.map(|s| s.last.0),
        why: reason(loss.reason),
    }
}

impl Evidence {
    fn verdict(&self, range: Range) -> (&'static str, Vec<Missing>) {
        match self.coverage.verdict(range.from, range.to) {
            Verdict::Exact if self.holds => ("exact", Vec::new()),
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
    (status = 400, body = Problem, content_type = "application/problem+json"),
    (status = 404, body = Problem, content_type = "application/problem+json"),
    (status = 503, body = Problem, content_type = "application/problem+json"),
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
            epochs: epochs.collect(),
            missing,
        })
    });
    Ok(Json(answer.await?))
}

fn around(text: Option<&str>) -> Result<i64, Problem> {
    let text = text.unwrap_or("10m");
    let us = text.parse::<SignedDuration>().ok();
    let us = us.and_then(|d| i64::try_from(d.as_micros()).ok());
    us.filter(|us| (1..=AROUND_MAX_US).contains(us))
        .ok_or_else(|| Problem::field("around", text, "a duration such as 10m, at most 24h"))
}

/// What the turbine reported at a moment, with the record of each value.
#[utoipa::path(get, path = "/turbines/{id}/at", tag = "history", params(("id" = String, Path), AtParams), responses(
    (status = 200, body = AtAnswer),
    (status = 400, body = Problem, content_type = "application/problem+json"),
    (status = 404, body = Problem, content_type = "application/problem+json"),
    (status = 503, body = Problem, content_type = "application/problem+json"),
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
        let (verdict, why) = places.evidence(&turbine, range).await?.verdict(range);
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
