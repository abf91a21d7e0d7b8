//! Why a turbine makes less than the wind would give: because it must (a derate, an internal cause) or because it is asked
//! to (a curtailment, with who asked). And the names of the codes that say so.
//!
//! Codes are those of the shipped profiles: IEC 61400-26-1 states, and sources of setpoints.

/// IEC state "partial performance".
pub const IEC_PARTIAL_PERFORMANCE: i64 = 2;
/// IEC state "forced outage".
pub(super) const IEC_FORCED_OUTAGE: i64 = 9;
/// IEC state "suspended".
pub(super) const IEC_SUSPENDED: i64 = 10;
/// IEC state "requested shutdown".
const IEC_REQUESTED_SHUTDOWN: i64 = 5;

/// Below this part of the available power a turbine that is not limited by its setpoint is derated.
const DERATE_PART: f64 = 0.9;
/// Available power below this says nothing, kW.
const AVAILABLE_MIN_KW: f64 = 50.0;

const IEC_STATES: [(i64, &str); 11] = [
    (1, "full performance"),
    (2, "partial performance"),
    (3, "ready standby"),
    (4, "out of environmental specification"),
    (5, "requested shutdown"),
    (6, "out of electrical specification"),
    (7, "scheduled maintenance"),
    (8, "planned corrective action"),
    (9, "forced outage"),
    (10, "suspended"),
    (11, "force majeure"),
];

const SETPOINT_SOURCES: [(i64, &str); 5] = [
    (0, "none"),
    (1, "turbine_controller"),
    (2, "farm_controller"),
    (3, "grid_operator"),
    (4, "operator"),
];

const ON_OFF: [(i64, &str); 2] = [(0, "off"), (1, "on")];

fn name(table: &[(i64, &'static str)], code: i64) -> Option<&'static str> {
    table.iter().find(|(c, _)| *c == code).map(|(_, n)| *n)
}

/// Name of an IEC 61400-26-1 state.
pub fn iec_name(code: i64) -> &'static str {
    name(&IEC_STATES, code).unwrap_or("unknown")
}

/// Name of who gave a setpoint.
pub fn setpoint_source_name(code: i64) -> &'static str {
    name(&SETPOINT_SOURCES, code).unwrap_or("unknown")
}

/// Codes and names of a state channel of the shipped profiles; empty where nothing is known.
pub fn states_of(channel: &str) -> &'static [(i64, &'static str)] {
    match channel {
        "iec_state" => &IEC_STATES,
        "active_power_setpoint_source" | "reactive_power_setpoint_source" => &SETPOINT_SOURCES,
        "shadow_flicker_stop"
        | "ice_detected"
        | "grid_connected"
        | "service_mode"
        | "bat_curtailment_active"
        | "remote_control_enabled" => &ON_OFF,
        _ => &[],
    }
}

/// What a turbine says of its power at one moment; `None`: not known.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Situation {
    /// IEC 61400-26 state.
    pub iec_state: Option<i64>,
    /// Made, kW.
    pub power_kw: Option<f64>,
    /// What the wind would give, kW.
    pub available_kw: Option<f64>,
    /// Upper limit in force, kW.
    pub setpoint_kw: Option<f64>,
    /// Who gave it.
    pub setpoint_source: Option<i64>,
}

/// Why it makes less than it could.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Limit {
    /// It does not.
    #[default]
    None,
    /// An internal cause.
    Derate,
    /// Somebody asked for it.
    Curtailment,
}

impl Limit {
    /// As in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Derate => "derate",
            Self::Curtailment => "curtailment",
        }
    }
}

/// Derate or curtailment. A setpoint below what the wind would give limits the turbine: given by the turbine's own
/// controller it is a derate, given from outside a curtailment. Without such a setpoint it is a derate when the turbine
/// runs in partial performance, or makes clearly less than it could while it says that it performs fully.
pub fn limit(s: &Situation) -> Limit {
    if s.iec_state == Some(IEC_REQUESTED_SHUTDOWN) {
        return Limit::Curtailment;
    }
    let producing = matches!(s.iec_state, None | Some(1 | IEC_PARTIAL_PERFORMANCE));
    if !producing {
        return Limit::None;
    }
    let available = s.available_kw.filter(|a| *a >= AVAILABLE_MIN_KW);
    if let (Some(setpoint), Some(available)) = (s.setpoint_kw, available)
        && setpoint < available * DERATE_PART
    {
        match s.setpoint_source {
            Some(1) => return Limit::Derate,
            Some(2..=4) => return Limit::Curtailment,
            _ => {}
        }
    }
    let short = match (s.power_kw, available) {
        (Some(power), Some(available)) => power < available * DERATE_PART,
        _ => false,
    };
    match s.iec_state {
        Some(IEC_PARTIAL_PERFORMANCE) if short || available.is_none() => Limit::Derate,
        _ => Limit::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(iec: i64, power: f64, available: f64, setpoint: f64, source: i64) -> Limit {
        limit(&Situation {
            iec_state: Some(iec),
            power_kw: Some(power),
            available_kw: Some(available),
            setpoint_kw: Some(setpoint),
            setpoint_source: Some(source),
        })
    }

    #[test]
    fn who_limits_the_power_decides_its_name() {
        assert_eq!(at(1, 2_000.0, 2_000.0, 3_000.0, 0), Limit::None);
        assert_eq!(at(2, 1_500.0, 2_000.0, 1_500.0, 1), Limit::Derate);
        assert_eq!(at(2, 1_500.0, 2_000.0, 1_500.0, 2), Limit::Curtailment);
        assert_eq!(at(1, 1_500.0, 2_000.0, 1_500.0, 3), Limit::Curtailment);
        assert_eq!(at(2, 1_500.0, 2_000.0, 3_000.0, 2), Limit::Derate);
        // the setpoint is above what the wind gives: it limits nothing
        assert_eq!(at(1, 800.0, 800.0, 1_500.0, 3), Limit::None);
        assert_eq!(at(5, 0.0, 2_000.0, 0.0, 4), Limit::Curtailment);
        assert_eq!(at(9, 0.0, 2_000.0, 3_000.0, 0), Limit::None);
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        assert_eq!(limit(&Situation::default()), Limit::None);
        let partial = Situation {
            iec_state: Some(2),
            ..Situation::default()
        };
        assert_eq!(limit(&partial), Limit::Derate);
        let calm = Situation {
            available_kw: Some(10.0),
            power_kw: Some(0.0),
            ..partial
        };
        assert_eq!(limit(&calm), Limit::Derate);
    }

    #[test]
    fn codes_have_names() {
        assert_eq!(iec_name(9), "forced outage");
        assert_eq!(iec_name(77), "unknown");
        assert_eq!(setpoint_source_name(2), "farm_controller");
        assert_eq!(states_of("iec_state").len(), 11);
        assert!(states_of("active_power").is_empty());
    }
}
