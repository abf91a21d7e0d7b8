//! The tables of a scenario file as serde reads them: every key of every kind; the shapes say which go together.

use serde::Deserialize;

use super::Climate;

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFarm {
    pub id: String,
    pub zone: String,
    pub profile: String,
    pub turbines: Option<usize>,
    pub prefix: Option<String>,
    pub names: Option<Vec<String>>,
    pub turbines_per_gateway: Option<usize>,
    pub positions: Option<Vec<Vec<f64>>>,
    pub layout: Option<RawLayout>,
    pub climate: Option<Climate>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLayout {
    pub columns: usize,
    pub spacing_m: f64,
    pub row_spacing_m: Option<f64>,
    pub bearing_deg: Option<f64>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOperation {
    pub kind: String,
    pub turbine: Option<String>,
    pub farm: Option<String>,
    pub random: Option<usize>,
    pub from: String,
    pub to: String,
    pub setpoint_kw: Option<f64>,
    pub source: Option<String>,
    pub reason: Option<String>,
    pub limit_kw: Option<f64>,
    pub code: Option<u16>,
    pub severity: Option<f64>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFault {
    pub kind: String,
    pub turbine: Option<String>,
    pub farm: Option<String>,
    pub random: Option<usize>,
    pub from: String,
    pub until: Option<String>,
    pub growth: Option<String>,
    pub exponent: Option<f64>,
    pub repair: Option<String>,
    pub stage: Option<String>,
    pub phase: Option<String>,
    pub blade: Option<usize>,
    pub angle_deg: Option<f64>,
    pub channel: Option<String>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDisturbance {
    pub kind: String,
    pub turbine: Option<String>,
    pub farm: Option<String>,
    pub random: Option<usize>,
    pub from: String,
    pub to: Option<String>,
    pub bytes_per_s: Option<u64>,
    pub loss_percent: Option<f64>,
    pub delay_ms: Option<u64>,
    pub percent: Option<f64>,
    pub depth: Option<u64>,
    pub by_ms: Option<i64>,
}
