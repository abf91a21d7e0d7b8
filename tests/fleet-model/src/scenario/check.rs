//! From tables to a [`Scenario`]: what the shapes cannot say, such as names that must exist.
//!
//! Invariant: a table whose shape is right is checked further even where another is wrong, so that one look at the
//! message is enough.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use toml::{Table, Value};
use windlass_shared::id::{FarmId, TurbineId};
use windlass_shared::settings::{self, Problem, Problems, nearest};

use super::raw::{RawDisturbance, RawFarm, RawFault, RawOperation};
use super::shape::{self, PHASES, REASONS, STAGES, TURBINES_MAX};
use super::{
    Action, Disturbance, DisturbanceKind, Farm, Fault, FaultKind, Operation, Requester, Scenario,
    Stage, Target,
};
use crate::layout;
use crate::moment::{Moment, duration};

/// From the trip to the mended machine, where the file says nothing.
const REPAIR_US: i64 = 3 * 86_400_000_000;
/// Turbines that share a gateway, where the file says nothing.
const TURBINES_PER_GATEWAY: usize = 4;
/// Between neighbours, where the file says nothing: five rotor diameters.
const SPACING_M: f64 = 560.0;

pub(super) fn read(file: &str, text: &str) -> Result<Scenario, Problems> {
    let table = settings::parse(file, text)?;
    let mut problems = settings::check(&shape::scenario(), &table);
    let farms = farms(&table, &mut problems);
    let names = Names::of(&farms);
    let operations = entries(&table, "operation", |at, raw: RawOperation| {
        operation(&raw, &names, at, &mut problems)
    });
    let faults = entries(&table, "fault", |at, raw: RawFault| {
        fault(&raw, &names, at, &mut problems)
    });
    let disturbances = entries(&table, "disturbance", |at, raw: RawDisturbance| {
        disturbance(&raw, &names, at, &mut problems)
    });
    settings::finish(file, problems)?;
    Ok(Scenario {
        name: table["name"].as_str().unwrap_or_default().to_owned(),
        seed: table["seed"].as_integer().unwrap_or_default() as u64,
        farms,
        operations,
        faults,
        disturbances,
    })
}

/// The tables under `key` whose shape is right.
fn entries<R: DeserializeOwned, T>(
    table: &Table,
    key: &str,
    mut read: impl FnMut(&str, R) -> Option<T>,
) -> Vec<T> {
    let listed = table.get(key).and_then(Value::as_array);
    let tables = listed.into_iter().flatten().enumerate();
    tables
        .filter_map(|(i, entry)| {
            let raw = entry.clone().try_into().ok()?;
            read(&format!("{key}[{i}]"), raw)
        })
        .collect()
}

/// What a scenario's entries may name.
struct Names<'a> {
    turbines: Vec<&'a str>,
    farms: Vec<(&'a str, usize)>,
}

impl<'a> Names<'a> {
    fn of(farms: &'a [Farm]) -> Self {
        Self {
            turbines: farms
                .iter()
                .flat_map(|f| f.turbines.iter().map(TurbineId::as_str))
                .collect(),
            farms: farms
                .iter()
                .map(|f| (f.id.as_str(), f.turbines.len()))
                .collect(),
        }
    }
}

fn farms(table: &Table, problems: &mut Vec<Problem>) -> Vec<Farm> {
    let mut seen = BTreeSet::new();
    let mut seen_turbines = BTreeSet::new();
    entries(table, "farm", |at, raw: RawFarm| {
        if !seen.insert(raw.id.clone()) {
            let found = format!("\"{}\" a second time", raw.id);
            problems.push(Problem::new(format!("{at}.id"), found, "a name of its own"));
        }
        let names = turbine_names(&raw, at, problems);
        for name in &names {
            if !seen_turbines.insert(name.clone()) {
                let found = format!("{name} a second time");
                let expected = "turbines that no other farm has";
                problems.push(Problem::new(format!("{at}.turbines"), found, expected));
            }
        }
        let positions = positions(&raw, names.len(), at, problems);
        let turbines: Option<Vec<TurbineId>> =
            names.iter().map(|n| TurbineId::new(n).ok()).collect();
        if turbines.is_none() {
            let expected = "names of at most 32 characters";
            problems.push(Problem::new(
                format!("{at}.prefix"),
                "longer ones",
                expected,
            ));
        }
        Some(Farm {
            id: FarmId::new(&raw.id).ok()?,
            zone: raw.zone,
            profile: raw.profile,
            turbines: turbines?,
            turbines_per_gateway: raw.turbines_per_gateway.unwrap_or(TURBINES_PER_GATEWAY),
            positions,
            climate: raw.climate.unwrap_or_default(),
        })
    })
}

fn turbine_names(raw: &RawFarm, at: &str, problems: &mut Vec<Problem>) -> Vec<String> {
    match (&raw.names, raw.turbines) {
        (Some(names), None) => names.clone(),
        (None, Some(n)) if n as i64 <= TURBINES_MAX => {
            let prefix = raw.prefix.as_ref().unwrap_or(&raw.id);
            let width = if n < 100 { 2 } else { 4 };
            (1..=n).map(|i| format!("{prefix}{i:0width$}")).collect()
        }
        (None, Some(_)) => Vec::new(),
        (names, _) => {
            let found = if names.is_some() { "both" } else { "neither" };
            let expected = "one of turbines and names";
            problems.push(Problem::new(format!("{at}.turbines"), found, expected));
            Vec::new()
        }
    }
}

fn positions(
    raw: &RawFarm,
    turbines: usize,
    at: &str,
    problems: &mut Vec<Problem>,
) -> Vec<(f64, f64)> {
    let Some(listed) = &raw.positions else {
        let layout = raw.layout.as_ref();
        let spacing = layout.map_or(SPACING_M, |l| l.spacing_m);
        return layout::grid(
            turbines,
            layout.map_or_else(|| layout::columns(turbines), |l| l.columns),
            (
                spacing,
                layout.and_then(|l| l.row_spacing_m).unwrap_or(spacing),
            ),
            layout.and_then(|l| l.bearing_deg).unwrap_or(0.0),
        );
    };
    let key = format!("{at}.positions");
    if raw.layout.is_some() {
        problems.push(Problem::new(&key, "layout as well", "one of the two"));
    }
    if listed.len() != turbines {
        let found = format!("{} positions", listed.len());
        let expected = format!("one for each of {turbines} turbines");
        problems.push(Problem::new(&key, found, expected));
    }
    listed
        .iter()
        .map(|p| match p.as_slice() {
            [east, north] => (*east, *north),
            _ => (0.0, 0.0),
        })
        .collect()
}

/// Who is meant, or what is wrong with it.
fn target(
    (turbine, farm, random): (Option<&String>, Option<&String>, Option<usize>),
    names: &Names,
    at: &str,
    problems: &mut Vec<Problem>,
) -> Option<Target> {
    let before = problems.len();
    let farms: Vec<&str> = names.farms.iter().map(|(f, _)| *f).collect();
    let mut known = |key: &str, name: &str, all: &[&str]| {
        if !all.contains(&name) {
            let mut problem = Problem::new(
                format!("{at}.{key}"),
                format!("\"{name}\""),
                format!("a {key} of this scenario"),
            );
            problem.hint = nearest(name, all).map(|n| format!("did you mean `{n}`?"));
            problems.push(problem);
        }
    };
    if let Some(name) = turbine {
        known("turbine", name, &names.turbines);
    }
    if let Some(name) = farm {
        known("farm", name, &farms);
    }
    if let Some(n) = random {
        let of = |f: &(&str, usize)| farm.is_none_or(|name| name == f.0);
        let all: usize = names.farms.iter().filter(|f| of(f)).map(|f| f.1).sum();
        if n > all {
            let expected = format!("at most {all}, as many turbines as there are");
            problems.push(Problem::new(
                format!("{at}.random"),
                n.to_string(),
                expected,
            ));
        }
    }
    if turbine.is_some() && (farm.is_some() || random.is_some()) {
        let expected = "turbine, farm, random, or random with farm";
        problems.push(Problem::new(
            format!("{at}.turbine"),
            "farm or random as well",
            expected,
        ));
    }
    if problems.len() > before {
        return None;
    }
    let farm = farm.and_then(|f| FarmId::new(f).ok());
    Some(match (turbine, farm, random) {
        (Some(name), _, _) => Target::Turbine(TurbineId::new(name).ok()?),
        (None, farm, Some(n)) => Target::Random(n, farm),
        (None, Some(farm), None) => Target::Farm(farm),
        (None, None, None) => Target::Fleet,
    })
}

/// Both ends of an entry.
fn span(
    (from, to): (&str, Option<&String>),
    last: &str,
    at: &str,
    problems: &mut Vec<Problem>,
) -> Option<(Moment, Option<Moment>)> {
    let from_at = Moment::parse(from)?;
    let Some(to) = to else {
        return Some((from_at, None));
    };
    let to_at = Moment::parse(to)?;
    if from_at.surely_not_before(to_at) {
        problems.push(Problem::new(
            format!("{at}.{last}"),
            format!("\"{to}\""),
            format!("later than from, \"{from}\""),
        ));
        return None;
    }
    Some((from_at, Some(to_at)))
}

fn operation(
    raw: &RawOperation,
    names: &Names,
    at: &str,
    problems: &mut Vec<Problem>,
) -> Option<Operation> {
    let whom = (raw.turbine.as_ref(), raw.farm.as_ref(), raw.random);
    let target = target(whom, names, at, problems);
    let (from, to) = span((&raw.from, Some(&raw.to)), "to", at, problems)?;
    let reason = raw.reason.as_deref().unwrap_or("grid");
    let action = match raw.kind.as_str() {
        "curtailment" => Action::Curtailment {
            setpoint_kw: raw.setpoint_kw?,
            source: match raw.source.as_deref()? {
                "farm_controller" => Requester::FarmController,
                "grid_operator" => Requester::GridOperator,
                _ => Requester::Operator,
            },
            reason: 1 + REASONS.iter().position(|r| *r == reason)? as u8,
        },
        "derate" => Action::Derate {
            limit_kw: raw.limit_kw?,
        },
        "service" => Action::Service,
        "stop" => Action::Stop,
        "trip" => Action::Trip { code: raw.code? },
        "icing" => Action::Icing {
            severity: raw.severity?,
        },
        "grid_fault" => Action::GridFault,
        _ => return None,
    };
    Some(Operation {
        target: target?,
        from,
        to: to?,
        action,
    })
}

fn fault(raw: &RawFault, names: &Names, at: &str, problems: &mut Vec<Problem>) -> Option<Fault> {
    let whom = (raw.turbine.as_ref(), raw.farm.as_ref(), raw.random);
    let target = target(whom, names, at, problems);
    let (from, until) = span((&raw.from, raw.until.as_ref()), "until", at, problems)?;
    let stage = match STAGES.iter().position(|s| Some(*s) == raw.stage.as_deref()) {
        Some(0) => Stage::Planet,
        Some(1) => Stage::Intermediate,
        _ => Stage::HighSpeed,
    };
    let phase = PHASES
        .iter()
        .position(|p| Some(*p) == raw.phase.as_deref())
        .unwrap_or(0);
    let blade = raw.blade.unwrap_or(1).checked_sub(1)?;
    let channel = || raw.channel.clone();
    let kind = match raw.kind.as_str() {
        "gearbox_bearing_inner" => FaultKind::BearingInner(stage),
        "gearbox_bearing_outer" => FaultKind::BearingOuter(stage),
        "oil_cooler_clogging" => FaultKind::CoolerClogging,
        "winding_overheating" => FaultKind::WindingOverheating(phase),
        "pitch_drift" => FaultKind::PitchDrift(blade),
        "pitch_asymmetry" => FaultKind::PitchAsymmetry(blade),
        "yaw_misalignment" => FaultKind::YawMisalignment(raw.angle_deg.unwrap_or(12.0)),
        "hydraulic_leak" => FaultKind::HydraulicLeak,
        "sensor_stuck" => FaultKind::SensorStuck(channel()?),
        "sensor_noisy" => FaultKind::SensorNoisy(channel()?),
        "sensor_dead" => FaultKind::SensorDead(channel()?),
        _ => return None,
    };
    let length =
        |text: &Option<String>, otherwise: i64| text.as_deref().map_or(Some(otherwise), duration);
    Some(Fault {
        target: target?,
        from,
        until,
        growth_us: length(&raw.growth, 1)?,
        exponent: raw.exponent.unwrap_or(2.0),
        repair_us: length(&raw.repair, REPAIR_US)?,
        kind,
    })
}

fn disturbance(
    raw: &RawDisturbance,
    names: &Names,
    at: &str,
    problems: &mut Vec<Problem>,
) -> Option<Disturbance> {
    let whom = (raw.turbine.as_ref(), raw.farm.as_ref(), raw.random);
    let target = target(whom, names, at, problems);
    let (from, to) = span((&raw.from, raw.to.as_ref()), "to", at, problems)?;
    let kind = match raw.kind.as_str() {
        "link_cut" => DisturbanceKind::LinkCut,
        "link_slow" => DisturbanceKind::LinkSlow {
            bytes_per_s: raw.bytes_per_s?,
            delay_ms: raw.delay_ms.unwrap_or(0),
        },
        "link_lossy" => DisturbanceKind::LinkLossy {
            loss_percent: raw.loss_percent?,
            delay_ms: raw.delay_ms.unwrap_or(0),
        },
        "duplicates" => DisturbanceKind::Duplicates {
            percent: raw.percent?,
        },
        "reordering" => DisturbanceKind::Reordering {
            percent: raw.percent?,
            depth: raw.depth.unwrap_or(10),
        },
        "broker_restart" => DisturbanceKind::BrokerRestart,
        "agent_killed" => DisturbanceKind::AgentKilled,
        "clock_1970" => DisturbanceKind::Clock1970,
        "clock_step" => DisturbanceKind::ClockStep { by_ms: raw.by_ms? },
        _ => return None,
    };
    Some(Disturbance {
        target: target?,
        from,
        to,
        kind,
    })
}
