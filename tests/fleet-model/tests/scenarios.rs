//! Scenario files: the shipped one loads, a wrong one gives all its mistakes at once.

mod rig;

use rig::{BEGINS, example, fleet, profile};
use windlass_fleet_model::scenario::{DisturbanceKind, Target};
use windlass_fleet_model::{Fleet, Pace, Scenario};

#[test]
fn the_example_loads_and_everything_in_it_has_a_place() {
    let scenario = example();
    assert_eq!(scenario.farms.len(), 2);
    assert_eq!(scenario.operations.len(), 8);
    assert_eq!(scenario.faults.len(), 11);
    assert_eq!(scenario.disturbances.len(), 9);
    let fleet = fleet(&scenario, Pace::TenSeconds);
    assert_eq!(fleet.seats().len(), 16);
    assert_eq!(fleet.seats()[0].turbine.as_str(), "N01");
    assert_eq!(fleet.seats()[15].farm.as_str(), "COSTA");
    let truth = fleet.ground_truth();
    // two random turbines have the dead sensor
    assert_eq!(truth.len(), 12);
    let bearing = truth.iter().find(|t| t.turbine == "N03").unwrap();
    assert_eq!(bearing.since, "2026-01-03T00:00:00Z");
    assert_eq!(
        bearing.expected_trip.as_deref(),
        Some("2026-02-17T00:00:00Z")
    );
    assert_eq!(bearing.trip_code, Some(320));
    let outer = truth
        .iter()
        .find(|t| t.kind == "gearbox_bearing_outer")
        .unwrap();
    assert!(outer.farm == "COSTA" && outer.part.contains("intermediate"));
    let incidents = fleet.incidents();
    assert!(incidents.is_sorted_by_key(|i| i.from));
    assert_eq!(incidents[0].disturbance.kind, DisturbanceKind::LinkCut);
    assert_eq!(incidents[0].seats.len(), 12);
    assert_eq!(incidents[0].from, BEGINS.plus_us(2 * rig::HOUR_US));
    let killed = incidents
        .iter()
        .find(|i| i.disturbance.kind == DisturbanceKind::AgentKilled);
    assert_eq!(killed.unwrap().seats.len(), 3);
    assert_eq!(killed.unwrap().disturbance.target, Target::Random(3, None));
}

#[test]
fn the_scenario_for_real_agents_has_every_kind_of_disturbance() {
    let text = include_str!("../scenarios/disturbed.toml");
    let scenario = Scenario::parse("disturbed.toml", text).unwrap();
    let mut kinds: Vec<_> = scenario
        .disturbances
        .iter()
        .map(|d| d.kind.name())
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    let expected = [
        "agent_killed",
        "broker_restart",
        "clock_1970",
        "clock_step",
        "duplicates",
        "link_cut",
        "link_lossy",
        "link_slow",
        "reordering",
    ];
    assert_eq!(kinds, expected);
    assert_eq!(
        scenario
            .farms
            .iter()
            .map(|f| f.turbines_per_gateway)
            .collect::<Vec<_>>(),
        [1, 2]
    );
    assert_eq!(example().farms[0].turbines_per_gateway, 4);
}

/// A scenario that is right, with one entry.
fn with(entry: &str) -> String {
    format!(
        "name = \"x\"\nseed = 1\n[[farm]]\nid = \"N\"\nzone = \"UTC\"\nprofile = \"p\"\nturbines = 2\n{entry}"
    )
}

#[test]
fn each_mistake_of_a_disturbance_is_told_with_its_key() {
    let moment = "a time such as \"2026-01-03T10:00:00Z\", or \"36h\" after the beginning";
    let table: &[(&str, String)] = &[
        ("kind = \"link_cutt\"\nfrom = \"1s\"\nto = \"2s\"",
         "kind: found \"link_cutt\", expected one of link_cut, link_slow, link_lossy, duplicates, reordering, broker_restart, agent_killed, clock_1970, clock_step (did you mean `link_cut`?)".into()),
        ("from = \"1s\"",
         "kind: found nothing, expected one of link_cut, link_slow, link_lossy, duplicates, reordering, broker_restart, agent_killed, clock_1970, clock_step".into()),
        ("kind = \"link_cut\"\nfrom = \"1s\"", format!("to: found nothing, expected {moment}")),
        ("kind = \"link_cut\"\nfrom = \"5s\"\nto = \"2s\"", "to: found \"2s\", expected later than from, \"5s\"".into()),
        ("kind = \"link_cut\"\nfrom = 5\nto = \"9s\"", format!("from: found 5, expected {moment}")),
        ("kind = \"link_cut\"\nfrom = \"1s\"\nto = \"2s\"\nfarm = \"M\"", "farm: found \"M\", expected a farm of this scenario (did you mean `N`?)".into()),
        ("kind = \"link_slow\"\nfrom = \"1s\"\nto = \"2s\"\nbytes_per_s = 5", "bytes_per_s: found 5, expected an integer from 100 to 1000000000".into()),
        ("kind = \"link_slow\"\nfrom = \"1s\"\nto = \"2s\"\nbytes_per_s = 900\ndelay_m = 3",
         "delay_m: found an unknown key, expected one of kind, turbine, farm, random, from, to, bytes_per_s, delay_ms (did you mean `delay_ms`?)".into()),
        ("kind = \"link_lossy\"\nfrom = \"1s\"\nto = \"2s\"\nloss_percent = 120", "loss_percent: found 120, expected a number from 0 to 100".into()),
        ("kind = \"duplicates\"\nfrom = \"1s\"\nto = \"2s\"", "percent: found nothing, expected a number from 0 to 100".into()),
        ("kind = \"reordering\"\nfrom = \"1s\"\nto = \"2s\"\npercent = 5\ndepth = 0", "depth: found 0, expected an integer from 1 to 1000000".into()),
        ("kind = \"broker_restart\"\nfrom = \"1s\"\nfarm = \"N\"", "farm: found an unknown key, expected one of kind, from".into()),
        ("kind = \"agent_killed\"\nfrom = \"1s\"\nrandom = 3", "random: found 3, expected at most 2, as many turbines as there are".into()),
        ("kind = \"clock_1970\"\nfrom = \"1s\"", format!("to: found nothing, expected {moment}")),
        ("kind = \"clock_step\"\nfrom = \"1s\"\nby_ms = 1.5", "by_ms: found 1.5, expected an integer from -86400000000 to 86400000000".into()),
    ];
    for (entry, expected) in table {
        let text = with(&format!("[[disturbance]]\n{entry}"));
        let message = Scenario::parse("x.toml", &text).unwrap_err().to_string();
        assert_eq!(
            message,
            format!("x.toml: 1 mistake\n  disturbance[0].{expected}"),
            "{entry}"
        );
    }
    let text = with("").replace("turbines = 2", "turbines = 2\nturbines_per_gateway = 0");
    assert_eq!(
        Scenario::parse("x.toml", &text).unwrap_err().to_string(),
        "x.toml: 1 mistake\n  farm[0].turbines_per_gateway: found 0, expected an integer from 1 to 100"
    );
}

#[test]
fn random_turbines_are_the_seed_s() {
    let scenario = example();
    let hit = |seed| {
        let profiles = [profile("onshore-3mw")];
        let fleet = Fleet::new(&scenario, seed, &profiles, BEGINS, Pace::Second).unwrap();
        let truth = fleet.ground_truth();
        let dead = truth.iter().filter(|t| t.kind == "sensor_dead");
        dead.map(|t| t.turbine.clone()).collect::<Vec<_>>()
    };
    assert_eq!(hit(1), hit(1));
    assert!((2..20).any(|seed| hit(seed) != hit(1)));
}

#[test]
fn a_wrong_file_gives_all_its_mistakes() {
    let text = r#"
name = "wrong"
sed = 4
[[farm]]
id = "NORD"
zone = "Europe/Berln"
profile = "onshore-3mw"
turbines = 3
[[farm]]
id = "SUED"
zone = "Europe/Berlin"
profile = "onshore-3mw"
names = ["A", "B", "A"]
positions = [[0, 0], [1]]
climate = { mean_wind_ms = 99 }
[[farm]]
id = "WEST"
zone = "Europe/Berlin"
profile = "onshore-3mw"
names = ["W1", "W2", "W1"]
positions = [[0, 0], [1]]
[[operation]]
kind = "curtailmnt"
from = "1h"
to = "2h"
[[operation]]
kind = "curtailment"
turbine = "W9"
from = "3h"
to = "2h"
setpoint_kw = 100
source = "grid"
[[operation]]
kind = "stop"
farm = "WST"
from = "3h"
to = "3h"
[[fault]]
kind = "gearbox_bearing_inner"
random = 40
from = "soon"
growth = "1d"
[[fault]]
kind = "pitch_drift"
turbine = "W1"
random = 50
from = "1d"
growth = "1d"
[[disturbance]]
kind = "clock_step"
from = "1h"
"#;
    let message = Scenario::parse("wrong.toml", text).unwrap_err().to_string();
    let expected = "wrong.toml: 21 mistakes
  seed: found nothing, expected an integer of at least 0
  farm[0].zone: found \"Europe/Berln\", expected an IANA time zone such as \"Europe/Berlin\"
  farm[1].positions[1]: found an array of 1, expected an array of at least 2
  farm[1].climate.mean_wind_ms: found 99, expected a number from 1 to 20
  farm[2].positions[1]: found an array of 1, expected an array of at least 2
  operation[0].kind: found \"curtailmnt\", expected one of curtailment, derate, service, stop, trip, icing, grid_fault (did you mean `curtailment`?)
  operation[1].source: found \"grid\", expected one of farm_controller, grid_operator, operator
  fault[0].from: found \"soon\", expected a time such as \"2026-01-03T10:00:00Z\", or \"36h\" after the beginning
  disturbance[0].by_ms: found nothing, expected an integer from -86400000000 to 86400000000
  sed: found an unknown key, expected one of name, seed, farm, operation, fault, disturbance (did you mean `seed`?)
  farm[1].turbines: found A a second time, expected turbines that no other farm has
  farm[1].positions: found 2 positions, expected one for each of 3 turbines
  farm[2].turbines: found W1 a second time, expected turbines that no other farm has
  farm[2].positions: found 2 positions, expected one for each of 3 turbines
  operation[1].turbine: found \"W9\", expected a turbine of this scenario (did you mean `W1`?)
  operation[1].to: found \"2h\", expected later than from, \"3h\"
  operation[2].farm: found \"WST\", expected a farm of this scenario (did you mean `WEST`?)
  operation[2].to: found \"3h\", expected later than from, \"3h\"
  fault[0].random: found 40, expected at most 9, as many turbines as there are
  fault[1].random: found 50, expected at most 9, as many turbines as there are
  fault[1].turbine: found farm or random as well, expected turbine, farm, random, or random with farm";
    assert_eq!(message, expected);
}

#[test]
fn what_does_not_fit_the_profile_is_told() {
    let text = "name = \"x\"\nseed = 1\n[[farm]]\nid = \"N\"\nzone = \"UTC\"\nprofile = \"onshore-3mw\"\nturbines = 2\n\
        [[farm]]\nid = \"M\"\nzone = \"UTC\"\nprofile = \"offshore\"\nturbines = 2\n\
        [[fault]]\nkind = \"sensor_dead\"\nfarm = \"N\"\nfrom = \"1h\"\nchannel = \"rotor_sped\"\n\
        [[operation]]\nkind = \"stop\"\nfrom = \"2h\"\nto = \"2026-01-01T00:00:00Z\"";
    let scenario = Scenario::parse("x.toml", text).unwrap();
    let profiles = [profile("onshore-3mw")];
    let message = Fleet::new(&scenario, 1, &profiles, BEGINS, Pace::Second)
        .unwrap_err()
        .to_string();
    assert_eq!(
        message,
        "scenario x: 3 mistakes
  farm[1].profile: found \"offshore\", expected one of onshore-3mw
  operation[0].to: found to, which is 2026-01-01T00:00:00Z, expected later than 2026-01-01T02:00:00Z
  fault[0].channel: found \"rotor_sped\", expected a channel of onshore-3mw (did you mean `rotor_speed`?)"
    );
}
