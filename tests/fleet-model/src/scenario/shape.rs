//! Which keys a scenario file may have.

use windlass_shared::id::{FarmId, TurbineId};
use windlass_shared::settings::{Shape, Spec};

use crate::moment::{DURATION, MOMENT, Moment, duration};

/// Most turbines of a farm.
pub(super) const TURBINES_MAX: i64 = 2_000;
/// Who may ask for less power.
pub(super) const SOURCES: &[&str] = &["farm_controller", "grid_operator", "operator"];
/// Why, in the order of the codes 1, 2, ...
pub(super) const REASONS: &[&str] = &["grid", "market", "noise", "bats", "shadow"];
/// Stages of the gearbox.
pub(super) const STAGES: &[&str] = &["planet", "intermediate", "high_speed"];
/// Windings of the generator.
pub(super) const PHASES: &[&str] = &["u", "v", "w"];

pub(super) fn scenario() -> Spec {
    Spec::new()
        .required("name", Shape::Text)
        .required("seed", Shape::Int(0, i64::MAX))
        .required("farm", list(1, Shape::Table(farm())))
        .optional("operation", list(0, operation()))
        .optional("fault", list(0, fault()))
        .optional("disturbance", list(0, disturbance()))
}

fn list(least: usize, of: Shape) -> Shape {
    Shape::List(least, Box::new(of))
}

fn turbine() -> Shape {
    Shape::Parsed {
        expected: "a turbine's name: 1 to 32 of A-Z a-z 0-9 _ -",
        accepts: |s| TurbineId::new(s).is_ok(),
    }
}

fn farm_name() -> Shape {
    Shape::Parsed {
        expected: "a farm's name: 1 to 32 of A-Z a-z 0-9 _ -",
        accepts: |s| FarmId::new(s).is_ok(),
    }
}

fn moment() -> Shape {
    Shape::Parsed {
        expected: MOMENT,
        accepts: |s| Moment::parse(s).is_some(),
    }
}

fn positive_duration() -> Shape {
    Shape::Parsed {
        expected: DURATION,
        accepts: |s| duration(s).is_some_and(|us| us > 0),
    }
}

/// Metres east and north.
fn place() -> Shape {
    list(2, Shape::Number(-1e6, 1e6))
}

fn farm() -> Spec {
    let zone = Shape::Parsed {
        expected: "an IANA time zone such as \"Europe/Berlin\"",
        accepts: |s| jiff::tz::TimeZone::get(s).is_ok(),
    };
    let layout = Spec::new()
        .required("columns", Shape::Int(1, TURBINES_MAX))
        .required("spacing_m", Shape::Number(100.0, 10_000.0))
        .optional("row_spacing_m", Shape::Number(100.0, 10_000.0))
        .optional("bearing_deg", Shape::Number(0.0, 360.0));
    let climate = Spec::new()
        .optional("mean_wind_ms", Shape::Number(1.0, 20.0))
        .optional("prevailing_deg", Shape::Number(0.0, 360.0))
        .optional("turbulence", Shape::Number(0.0, 0.4))
        .optional("mean_temperature_c", Shape::Number(-20.0, 35.0))
        .optional("seasonal_k", Shape::Number(0.0, 30.0))
        .optional("diurnal_k", Shape::Number(0.0, 15.0))
        .optional("altitude_m", Shape::Number(-100.0, 4_000.0))
        .optional("noon_utc_h", Shape::Number(0.0, 24.0));
    Spec::new()
        .required("id", farm_name())
        .required("zone", zone)
        .required("profile", Shape::Text)
        .optional("turbines", Shape::Int(1, TURBINES_MAX))
        .optional("prefix", turbine())
        .optional("names", list(1, turbine()))
        .optional("turbines_per_gateway", Shape::Int(1, 100))
        .optional("positions", list(1, place()))
        .optional("layout", Shape::Table(layout))
        .optional("climate", Shape::Table(climate))
}

fn target() -> Spec {
    Spec::new()
        .optional("turbine", turbine())
        .optional("farm", farm_name())
        .optional("random", Shape::Int(1, 1_000_000))
}

fn operation() -> Shape {
    let while_lasting = || target().required("from", moment()).required("to", moment());
    let power = || Shape::Number(0.0, 100_000.0);
    Shape::Tagged {
        tag: "kind",
        cases: vec![
            (
                "curtailment",
                while_lasting()
                    .required("setpoint_kw", power())
                    .required("source", Shape::OneOf(SOURCES))
                    .optional("reason", Shape::OneOf(REASONS)),
            ),
            ("derate", while_lasting().required("limit_kw", power())),
            ("service", while_lasting()),
            ("stop", while_lasting()),
            (
                "trip",
                while_lasting().required("code", Shape::Int(1, 65_535)),
            ),
            (
                "icing",
                while_lasting().required("severity", Shape::Number(0.0, 1.0)),
            ),
            ("grid_fault", while_lasting()),
        ],
    }
}

fn fault() -> Shape {
    let growing = || {
        target()
            .required("from", moment())
            .optional("until", moment())
            .required("growth", positive_duration())
            .optional("exponent", Shape::Number(0.2, 10.0))
            .optional("repair", positive_duration())
    };
    let stage = || growing().optional("stage", Shape::OneOf(STAGES));
    let blade = || growing().optional("blade", Shape::Int(1, 3));
    let sensor = || {
        target()
            .required("from", moment())
            .optional("until", moment())
            .required("channel", Shape::Text)
    };
    Shape::Tagged {
        tag: "kind",
        cases: vec![
            ("gearbox_bearing_inner", stage()),
            ("gearbox_bearing_outer", stage()),
            ("oil_cooler_clogging", growing()),
            (
                "winding_overheating",
                growing().optional("phase", Shape::OneOf(PHASES)),
            ),
            ("pitch_drift", blade()),
            ("pitch_asymmetry", blade()),
            (
                "yaw_misalignment",
                growing().optional("angle_deg", Shape::Number(-45.0, 45.0)),
            ),
            ("hydraulic_leak", growing()),
            ("sensor_stuck", sensor()),
            (
                "sensor_noisy",
                sensor().optional("growth", positive_duration()),
            ),
            ("sensor_dead", sensor()),
        ],
    }
}

fn disturbance() -> Shape {
    let at = || target().required("from", moment());
    let lasting = || at().required("to", moment());
    let percent = || Shape::Number(0.0, 100.0);
    Shape::Tagged {
        tag: "kind",
        cases: vec![
            ("link_cut", lasting()),
            (
                "link_slow",
                lasting()
                    .required("bytes_per_s", Shape::Int(100, 1_000_000_000))
                    .optional("delay_ms", Shape::Int(0, 600_000)),
            ),
            (
                "link_lossy",
                lasting()
                    .required("loss_percent", percent())
                    .optional("delay_ms", Shape::Int(0, 600_000)),
            ),
            ("duplicates", lasting().required("percent", percent())),
            (
                "reordering",
                lasting()
                    .required("percent", percent())
                    .optional("depth", Shape::Int(1, 1_000_000)),
            ),
            ("broker_restart", Spec::new().required("from", moment())),
            ("agent_killed", at().optional("to", moment())),
            ("clock_1970", lasting()),
            (
                "clock_step",
                at().optional("to", moment())
                    .required("by_ms", Shape::Int(-86_400_000_000, 86_400_000_000)),
            ),
        ],
    }
}
