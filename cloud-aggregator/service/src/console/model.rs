//! What the answers hold. The contract of the HTTP API is generated from these types.
//!
//! Invariants: times are RFC 3339 in UTC with microseconds; what is not known is null, never zero.

use serde::Serialize;
use utoipa::ToSchema;
use windlass_cloud_core::facts::{LinkAlarm, LinkKind};
use windlass_cloud_core::output::{AlertEvent, AlertState, Direction, Level};
use windlass_shared::time::{EventTime, LogTime};

use super::ask::time_text;

pub(super) fn event_time(t: EventTime) -> Option<String> {
    time_text(t.0)
}

pub(super) fn log_time(t: LogTime) -> Option<String> {
    time_text(t.0)
}

/// A farm.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct Farm {
    /// Its id.
    pub id: String,
    /// For display.
    pub name: String,
    /// IANA time zone, for display.
    pub zone: String,
    /// Turbines of the registry.
    pub turbines: u32,
    /// Of those, live.
    pub live: u32,
    /// Of those, silent.
    pub stale: u32,
    /// Of those, never heard of.
    pub never: u32,
    /// Sum over live turbines, kW; null: none is live.
    #[schema(required)]
    pub power_kw: Option<f64>,
    /// Sum over live turbines, kW; null: none is live.
    #[schema(required)]
    pub available_kw: Option<f64>,
    /// Open alerts.
    pub alerts_open: u32,
    /// How it is connected.
    pub link: FarmLinkView,
}

/// How a farm is connected.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct FarmLinkView {
    /// `up`, `degraded` or `down`.
    pub state: &'static str,
    /// Since when, unless it is up.
    #[schema(required)]
    pub since: Option<String>,
    /// Gateways that are silent.
    pub gateways_down: Vec<String>,
    /// Estimate of what waits at the gateways, bytes.
    #[schema(required)]
    pub waiting_bytes_estimate: Option<u64>,
}

/// A code and its name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct Coded {
    /// As the turbine says it.
    pub code: i64,
    /// For display.
    pub name: &'static str,
}

/// Open alerts in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, ToSchema)]
pub struct AlertCounts {
    /// Provisional and confirmed.
    pub open: u32,
    /// Of those, alarms.
    pub critical: u32,
    /// Of those, not confirmed.
    pub provisional: u32,
    /// Of those, neither acknowledged nor shelved.
    pub unacknowledged: u32,
}

/// What waits at the turbine's gateway.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct TurbineLink {
    /// Time of the last reading before the silence; null: it speaks, or never did (history that came later is no speaking).
    #[schema(required)]
    pub down_since: Option<String>,
    /// Records that are known to exist and have not come.
    #[schema(required)]
    pub waiting_records: Option<u64>,
    /// Estimate, bytes.
    #[schema(required)]
    pub waiting_bytes_estimate: Option<u64>,
}

/// Coverage in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, ToSchema)]
pub struct CoverageCounts {
    /// Runs of the agent.
    pub epochs: u32,
    /// Ranges of unknown seqs.
    pub holes: u32,
    /// Seqs in those.
    pub missing_seqs: u64,
    /// Seqs recorded as lost.
    pub lost_seqs: u64,
    /// Epochs with conflicting bytes.
    pub quarantined_epochs: u32,
}

/// A turbine as the wall shows it. Values of a stale turbine are its last ones.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct Turbine {
    /// Its id.
    pub id: String,
    /// Where it stands.
    #[schema(required)]
    pub farm: Option<String>,
    /// Who serves it.
    pub gateway: String,
    /// `live`, `stale` or `never`.
    pub fresh: &'static str,
    /// Age of the newest reading, ms.
    #[schema(required)]
    pub age_ms: Option<i64>,
    /// Time of the newest reading.
    #[schema(required)]
    pub event_time: Option<String>,
    /// Log time of the newest entry about it; null: none.
    #[schema(required)]
    pub log_time: Option<String>,
    /// IEC 61400-26 state.
    #[schema(required)]
    pub iec_state: Option<Coded>,
    /// Made, kW.
    #[schema(required)]
    pub power_kw: Option<f64>,
    /// What the wind would give, kW.
    #[schema(required)]
    pub available_kw: Option<f64>,
    /// Limit in force, kW.
    #[schema(required)]
    pub setpoint_kw: Option<f64>,
    /// Who gave it: `none`, `turbine_controller`, `farm_controller`, `grid_operator`, `operator`, `unknown`.
    #[schema(required)]
    pub setpoint_source: Option<&'static str>,
    /// Why it makes less than it could: `none`, `derate` (internal cause) or `curtailment` (asked for).
    pub limit: &'static str,
    /// Wind speed, m/s.
    #[schema(required)]
    pub wind_ms: Option<f64>,
    /// How much it needs somebody, 0 (calm) to 100.
    pub need: f64,
    /// Open alerts.
    pub alerts: AlertCounts,
    /// What waits.
    pub link: TurbineLink,
    /// How far its time has come without a hole.
    #[schema(required)]
    pub frontier: Option<String>,
    /// What came and what did not.
    pub coverage: CoverageCounts,
}

/// Seqs of an epoch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct SeqSpan {
    /// 32 hexadecimal digits.
    pub epoch: String,
    /// Included.
    pub first: u64,
    /// Included.
    pub last: u64,
}

/// The window an alert was raised on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct AlertWindowView {
    /// Start.
    #[schema(required)]
    pub start: Option<String>,
    /// End, excluded.
    #[schema(required)]
    pub end: Option<String>,
    /// `1m`, `5m`, `10m` or `live`.
    pub kind: String,
}

/// An alert.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct Alert {
    /// 32 hexadecimal digits.
    pub id: String,
    /// 32 hexadecimal digits.
    pub episode: String,
    /// Whose.
    pub turbine: String,
    /// Where it stands.
    #[schema(required)]
    pub farm: Option<String>,
    /// Rule id.
    pub rule: String,
    /// What the rule suspects.
    pub cause: String,
    /// `warning` or `critical`.
    pub level: &'static str,
    /// `provisional`, `confirmed`, `withdrawn` or `closed`.
    pub state: &'static str,
    /// Counts up.
    pub revision: u32,
    /// First event time of the breach.
    #[schema(required)]
    pub first: Option<String>,
    /// Last event time of the breach so far.
    #[schema(required)]
    pub last: Option<String>,
    /// What was seen; null: no number.
    #[schema(required)]
    pub value: Option<f64>,
    /// What it was held against.
    #[schema(required)]
    pub limit: Option<f64>,
    /// Of both.
    pub unit: String,
    /// Channel name; empty for alerts about the gateway itself.
    pub channel: String,
    /// `high` or `low`.
    pub direction: &'static str,
    /// IEC state then.
    #[schema(required)]
    pub operating_state: Option<Coded>,
    /// Evidence.
    #[schema(required)]
    pub window: Option<AlertWindowView>,
    /// Records the evidence came from.
    pub seqs: Vec<SeqSpan>,
    /// For people.
    pub detail: String,
    /// Who has seen it.
    #[schema(required)]
    pub acknowledged: Option<MarkView>,
    /// Who has put it aside.
    #[schema(required)]
    pub shelved: Option<ShelfView>,
}

/// Who acknowledged.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct MarkView {
    /// Name as given.
    pub by: String,
    /// Note as given.
    pub note: String,
    /// Log time.
    #[schema(required)]
    pub at: Option<String>,
}

/// Who shelved, and until when.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct ShelfView {
    /// Name as given.
    pub by: String,
    /// Note as given.
    pub note: String,
    /// Log time.
    #[schema(required)]
    pub at: Option<String>,
    /// Log time when it comes back.
    #[schema(required)]
    pub until: Option<String>,
}

/// How bad, as answers say it.
fn level_name(level: Level) -> &'static str {
    match level {
        Level::Warning => "warning",
        Level::Alarm => "critical",
    }
}

/// Where an alert stands, as answers say it. What an episode's merge said last of an alert leaves it open.
fn state_name(state: AlertState) -> &'static str {
    match state {
        AlertState::Provisional => "provisional",
        AlertState::Confirmed | AlertState::Merged => "confirmed",
        AlertState::Withdrawn => "withdrawn",
        AlertState::Cleared => "closed",
    }
}

/// Is it open?
pub(super) fn is_open(state: AlertState) -> bool {
    !matches!(state, AlertState::Withdrawn | AlertState::Cleared)
}

fn finite(x: f64) -> Option<f64> {
    x.is_finite().then_some(x)
}

impl Alert {
    /// As the event says.
    pub fn of(e: &AlertEvent) -> Self {
        let window = (e.window.kind != "none").then(|| AlertWindowView {
            start: event_time(e.window.start),
            end: event_time(e.window.end),
            kind: e.window.kind.clone(),
        });
        let seqs = e.sources.iter().flat_map(|s| {
            let span = |(first, last): &(u64, u64)| SeqSpan {
                epoch: s.epoch.clone(),
                first: *first,
                last: *last,
            };
            s.seqs.iter().map(span).collect::<Vec<_>>()
        });
        Self {
            id: e.alert.clone(),
            episode: e.merged_into.as_ref().unwrap_or(&e.episode).clone(),
            turbine: e.turbine.to_string(),
            farm: e.farm.as_ref().map(ToString::to_string),
            rule: e.rule.clone(),
            cause: e.cause.clone(),
            level: level_name(e.level),
            state: state_name(e.state),
            revision: e.revision,
            first: event_time(e.first),
            last: event_time(e.last),
            value: finite(e.value),
            limit: finite(e.limit),
            unit: e.unit.clone(),
            channel: e.channel.clone(),
            direction: match e.direction {
                Direction::High => "high",
                Direction::Low => "low",
            },
            operating_state: e.operating_state.map(coded_iec),
            window,
            seqs: seqs.collect(),
            detail: e.detail.clone(),
            acknowledged: e.acknowledged.as_ref().map(|m| MarkView {
                by: m.by.clone(),
                note: m.note.clone(),
                at: time_text(m.at.0),
            }),
            shelved: e.shelved.as_ref().map(|m| ShelfView {
                by: m.by.clone(),
                note: m.note.clone(),
                at: time_text(m.at.0),
                until: time_text(m.until.0),
            }),
        }
    }
}

/// An IEC state with its name.
pub(super) fn coded_iec(code: i64) -> Coded {
    let name = windlass_cloud_core::facts::iec_name(code);
    Coded { code, name }
}

/// A link or pipeline alarm.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct Alarm {
    /// Names it as long as it lasts.
    pub id: String,
    /// `farm_link`, `gateway_link`, `turbine_silent` or `pipeline`.
    pub kind: &'static str,
    /// Which farm.
    #[schema(required)]
    pub farm: Option<String>,
    /// Which gateway.
    #[schema(required)]
    pub gateway: Option<String>,
    /// Which turbine.
    #[schema(required)]
    pub turbine: Option<String>,
    /// Since when.
    #[schema(required)]
    pub since: Option<String>,
    /// For people.
    pub text: String,
    /// How many turbines it silences.
    pub turbines: u32,
    /// Estimate of what waits behind it, bytes.
    #[schema(required)]
    pub waiting_bytes_estimate: Option<u64>,
}

impl Alarm {
    /// Of a link.
    pub fn of_link(a: &LinkAlarm) -> Self {
        let farm = a.farm.as_ref().map(ToString::to_string);
        let gateway = a.gateway.as_ref().map(ToString::to_string);
        let turbine = a.turbine.as_ref().map(ToString::to_string);
        let name = |o: &Option<String>| o.clone().unwrap_or_else(|| "unknown".to_owned());
        let (kind, id, text) = match a.kind {
            LinkKind::Farm => {
                let farm = name(&farm);
                let text = format!(
                    "link of farm {farm} is down: {} turbines are silent",
                    a.turbines
                );
                ("farm_link", format!("farm-{farm}"), text)
            }
            LinkKind::Gateway => {
                let gateway = name(&gateway);
                let text = format!("gateway {gateway} is silent, with {} turbines", a.turbines);
                ("gateway_link", format!("gateway-{gateway}"), text)
            }
            LinkKind::Turbine => {
                let turbine = name(&turbine);
                let text = format!(
                    "turbine {turbine} is silent, others of gateway {} are not",
                    name(&gateway)
                );
                ("turbine_silent", format!("turbine-{turbine}"), text)
            }
        };
        Self {
            id,
            kind,
            farm,
            gateway,
            turbine,
            since: event_time(a.since),
            text,
            turbines: a.turbines,
            waiting_bytes_estimate: a.waiting_bytes,
        }
    }
}
