//! Which faults of the ground truth were found, and by which alarms.
//!
//! Invariant: an alarm counts for a fault only on a channel in which that fault shows, on its turbine, in its time.

use serde::Serialize;
use windlass_fleet_model::fault::Truth;
use windlass_fleet_model::{Fleet, Seat};

use crate::demo::faults::{self, Fault};
use crate::ledger::alerts::Alert;

/// A fault, and what found it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Found {
    /// As in the ground truth.
    #[serde(flatten)]
    pub truth: Truth,
    /// Confirmed alarms that belong to it, in the order of time.
    pub alarms: Vec<Alarm>,
}

/// A confirmed alarm. Times in microseconds.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Alarm {
    /// Its episode.
    pub episode: String,
    /// Whose.
    pub turbine: String,
    /// Which rule raised it.
    pub rule: String,
    /// On which channel.
    pub channel: String,
    /// First event time of the breach.
    pub first: i64,
}

/// What was found.
#[derive(Clone, PartialEq, Default, Debug, Serialize)]
pub struct Verdict {
    /// All faults of the run's time.
    pub faults: Vec<Found>,
    /// Confirmed alarms that belong to none.
    pub other_alarms: Vec<Alarm>,
}

impl Verdict {
    /// Faults that an alarm belongs to.
    pub fn found(&self) -> usize {
        self.faults.iter().filter(|f| !f.alarms.is_empty()).count()
    }
}

/// Matches.
pub fn judge(fleet: &Fleet, truths: &[Truth], alerts: &[Alert]) -> Verdict {
    let faults: Vec<Fault> = truths.iter().map(|t| fault(fleet, t)).collect();
    let mut verdict = Verdict {
        faults: truths
            .iter()
            .map(|truth| Found {
                truth: truth.clone(),
                alarms: Vec::new(),
            })
            .collect(),
        other_alarms: Vec::new(),
    };
    let mut confirmed: Vec<&Alert> = alerts.iter().filter(|a| a.confirmed).collect();
    confirmed.sort_by_key(|a| a.first);
    for alert in confirmed {
        let alarm = Alarm {
            episode: alert.episode.clone(),
            turbine: alert.turbine.clone(),
            rule: alert.rule.clone(),
            channel: alert.channel.clone(),
            first: alert.first,
        };
        let mut none = true;
        for (fault, found) in faults.iter().zip(&mut verdict.faults) {
            if faults::belongs(alert, fault) {
                found.alarms.push(alarm.clone());
                none = false;
            }
        }
        if none {
            verdict.other_alarms.push(alarm);
        }
    }
    verdict
}

fn fault(fleet: &Fleet, truth: &Truth) -> Fault {
    let seat = fleet
        .seats()
        .iter()
        .find(|s| s.turbine.as_str() == truth.turbine);
    Fault {
        what: format!("{} ({})", truth.kind, truth.part),
        turbine: truth.turbine.clone(),
        channels: seat.map_or_else(Vec::new, |seat| channels(seat, truth)),
        from: truth.since_us,
        until: truth.mended_us.unwrap_or(i64::MAX / 2),
    }
}

/// Channels of a turbine in which a fault shows.
fn channels(seat: &Seat, truth: &Truth) -> Vec<String> {
    let names = seat.catalogue.channels.iter().map(|c| c.name.as_str());
    let shows = |name: &str| match truth.kind {
        // a damaged bearing warms the oil, and the whole gearbox feels it
        "gearbox_bearing_inner" | "gearbox_bearing_outer" | "oil_cooler_clogging" => {
            name.starts_with("gearbox_")
        }
        "winding_overheating" => name.starts_with(&truth.part),
        "pitch_drift" | "pitch_asymmetry" => {
            ["pitch_", "blade_", "tower_vibration", "nacelle_vibration"]
                .iter()
                .any(|stem| name.starts_with(stem))
        }
        "yaw_misalignment" => ["yaw_error", "wind_direction", "active_power"].contains(&name),
        "hydraulic_leak" => name.starts_with("hydraulic_"),
        _ => name == truth.part,
    };
    names.filter(|n| shows(n)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use windlass_fleet_model::{Pace, Scenario};
    use windlass_shared::time::EventTime;

    use super::*;

    const BEGINS: EventTime = EventTime(1_767_225_600_000_000);
    const EXAMPLE: &str = include_str!("../../../fleet-model/scenarios/example.toml");

    #[test]
    fn every_fault_of_the_example_shows_somewhere_and_is_found_there_only() {
        let scenario = Scenario::parse("example.toml", EXAMPLE).unwrap();
        let path = crate::spec::profiles().join("onshore-3mw.toml");
        let text = std::fs::read_to_string(path).unwrap();
        let profile = Arc::new(windlass_shared::catalogue::parse("p.toml", &text).unwrap());
        let fleet = Fleet::new(&scenario, 1, &[profile], BEGINS, Pace::Second).unwrap();
        let truths = fleet.ground_truth();
        for truth in &truths {
            assert!(!fault(&fleet, truth).channels.is_empty(), "{truth:?}");
        }
        let leak = truths
            .iter()
            .position(|t| t.kind == "hydraulic_leak")
            .unwrap();
        let at = truths[leak].since_us + 1;
        let turbine = truths[leak].turbine.clone();
        let alert = |channel: &str, at: i64, confirmed| {
            Alert::example("e", &turbine, channel, at, confirmed)
        };
        let alerts = [
            alert("hydraulic_pressure", at, true),
            alert("hydraulic_pressure", at - 3_600_000_000, true),
            alert("hydraulic_pressure", at, false),
            alert("rotor_speed", at, true),
        ];
        let verdict = judge(&fleet, &truths, &alerts);
        assert_eq!((verdict.found(), verdict.other_alarms.len()), (1, 2));
        assert_eq!(verdict.faults[leak].alarms[0].channel, "hydraulic_pressure");
    }
}
