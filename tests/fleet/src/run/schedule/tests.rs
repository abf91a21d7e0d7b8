//! Schedules of made-up scenarios: reproducible, in order, and whatever begins ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use windlass_fleet_model::{Fleet, Pace, Scenario};
use windlass_shared::catalogue;

use super::*;

const BEGINS: EventTime = EventTime(1_767_225_600_000_000);
const FARMS: &str = "name = \"x\"\nseed = 1\n[[farm]]\nid = \"N\"\nzone = \"UTC\"\nprofile = \"p\"\nturbines = 5\n\
    turbines_per_gateway = 2\n[[farm]]\nid = \"S\"\nzone = \"UTC\"\nprofile = \"p\"\nnames = [\"S1\"]\n";
const PROFILE: &str = "name = \"p\"\nversion = 1\nchannels = [{ id = 1, name = \"active_power\", unit = \"kW\", scale = 0.1, \
    period = \"1s\", class = \"compliance\", rate_group = \"fast\" }]";

fn schedule(text: &str, length_s: i64, seed: u64) -> Schedule {
    scheduled(text, length_s, seed).0
}

/// With the gateways whose clocks are touched.
fn scheduled(text: &str, length_s: i64, seed: u64) -> (Schedule, Vec<usize>) {
    let scenario = Scenario::parse("x.toml", &format!("{FARMS}{text}")).unwrap();
    let profile = Arc::new(catalogue::parse("p.toml", PROFILE).unwrap());
    let fleet = Fleet::new(&scenario, seed, &[profile], BEGINS, Pace::Second).unwrap();
    let crew = Crew::new(&scenario, &fleet).unwrap();
    let length = length_s * SECOND_US;
    let schedule = Schedule::new(fleet.incidents(), &crew, BEGINS, length, seed);
    (schedule, clocks(fleet.incidents(), &crew))
}

fn told(schedule: &Schedule) -> Vec<(i64, Step)> {
    let events = schedule.events.iter();
    events.map(|e| (e.at_us / SECOND_US, e.step)).collect()
}

#[test]
fn turbines_share_gateways_by_farm() {
    let scenario = Scenario::parse("x.toml", FARMS).unwrap();
    let profile = Arc::new(catalogue::parse("p.toml", PROFILE).unwrap());
    let fleet = Fleet::new(&scenario, 1, &[profile], BEGINS, Pace::Second).unwrap();
    let crew = Crew::new(&scenario, &fleet).unwrap();
    let members: Vec<_> = crew
        .0
        .iter()
        .map(|m| (m.id.as_str(), m.seats.as_slice()))
        .collect();
    let expected: [(&str, &[usize]); 4] = [
        ("N-gw1", &[0, 1]),
        ("N-gw2", &[2, 3]),
        ("N-gw3", &[4]),
        ("S-gw1", &[5]),
    ];
    assert_eq!(members, expected);
    assert_eq!(crew.of(&[1, 5]), [0, 3]);
    crew.fits(&fleet, 60.0).unwrap();
    let error = crew.fits(&fleet, 100_000.0).unwrap_err().to_string();
    assert_eq!(
        error,
        "6 turbines make about 36.0 million readings in 100000 minutes, expected at most 20 million: the ledger holds them \
         all in memory; give the scenario fewer turbines, or --minutes less"
    );
}

#[test]
fn every_kind_becomes_steps() {
    let text = r#"
[[disturbance]]
kind = "link_cut"
turbine = "N03"
from = "10s"
to = "20s"
[[disturbance]]
kind = "agent_killed"
farm = "S"
from = "5s"
[[disturbance]]
kind = "agent_killed"
turbine = "N05"
from = "6s"
to = "9s"
[[disturbance]]
kind = "broker_restart"
from = "30s"
[[disturbance]]
kind = "clock_1970"
turbine = "N01"
from = "31s"
to = "50s"
[[disturbance]]
kind = "clock_step"
turbine = "S1"
from = "32s"
by_ms = -1500
[[disturbance]]
kind = "clock_step"
turbine = "N05"
from = "33s"
to = "34s"
by_ms = 2000
[[disturbance]]
kind = "agent_killed"
from = "2min"
"#;
    let (schedule, clocks) = scheduled(text, 40, 1);
    let expected = vec![
        (5, Step::Kill(3)),
        (5, Step::Start(3)),
        (6, Step::Kill(2)),
        (9, Step::Start(2)),
        (10, Step::Link(1)),
        (20, Step::Link(1)),
        (30, Step::BrokerRestart),
        (31, Step::Clock1970(0)),
        (32, Step::ClockStep(3, -1_500_000)),
        (33, Step::ClockStep(2, 2_000_000)),
        (34, Step::ClockRight(2)),
        // the scenario says 50 s, the run ends before
        (40, Step::ClockRight(0)),
    ];
    assert_eq!(told(&schedule), expected);
    assert_eq!(schedule.outside, [Kind::AgentKilled]);
    assert_eq!(clocks, [0, 2, 3]);
}

#[test]
fn of_links_that_are_disturbed_twice_the_worst_counts() {
    let text = r#"
[[disturbance]]
kind = "link_slow"
farm = "N"
from = "1s"
to = "9s"
bytes_per_s = 5000
delay_ms = 100
[[disturbance]]
kind = "link_slow"
turbine = "N01"
from = "2s"
to = "4s"
bytes_per_s = 7000
delay_ms = 300
[[disturbance]]
kind = "link_lossy"
turbine = "N01"
from = "3s"
to = "8s"
loss_percent = 20
[[disturbance]]
kind = "link_cut"
turbine = "N01"
from = "5s"
to = "6s"
"#;
    let schedule = schedule(text, 60, 9);
    let link = |gateway, s: i64| schedule.link(gateway, s * SECOND_US);
    let slow = |delay_ms| Quality {
        bytes_per_s: Some(5_000),
        delay: Duration::from_millis(delay_ms),
        ..Quality::default()
    };
    assert_eq!(link(0, 0), Some(Quality::default()));
    assert_eq!(link(3, 5), Some(Quality::default()));
    assert_eq!(link(1, 5), Some(slow(100)));
    assert_eq!(link(0, 1), Some(slow(100)));
    assert_eq!(link(0, 2), Some(slow(300)));
    let lossy = link(0, 7).unwrap();
    assert_eq!((lossy.loss_percent, lossy.delay.as_millis()), (20.0, 100));
    assert_eq!(link(0, 5), None);
    assert_eq!(link(0, 9), Some(Quality::default()));
}

/// Any disturbance as its table in a scenario.
fn any_disturbance() -> impl Strategy<Value = String> {
    let kinds = [
        ("link_cut", "", true),
        ("link_slow", "bytes_per_s = 900", true),
        ("link_lossy", "loss_percent = 7", true),
        ("duplicates", "percent = 30", true),
        ("reordering", "percent = 60\ndepth = 5", true),
        ("broker_restart", "", false),
        ("agent_killed", "", false),
        ("clock_1970", "", true),
        ("clock_step", "by_ms = -700", false),
    ];
    let whom = prop::sample::select(vec!["", "farm = \"N\"", "random = 2", "turbine = \"S1\""]);
    (
        prop::sample::select(kinds.to_vec()),
        whom,
        0_u32..200,
        1_u32..90,
    )
        .prop_map(|((kind, keys, lasts), whom, from, length)| {
            let whom = if kind == "broker_restart" { "" } else { whom };
            let to = if lasts {
                format!("to = \"{}s\"\n", from + length)
            } else {
                String::new()
            };
            format!("[[disturbance]]\nkind = \"{kind}\"\nfrom = \"{from}s\"\n{to}{keys}\n{whom}\n")
        })
}

proptest! {
    #[test]
    fn a_schedule_is_the_seed_s_and_whatever_begins_ends(
        tables in prop::collection::vec(any_disturbance(), 0..12), seed in 0_u64..u64::MAX / 2,
    ) {
        let text = tables.concat();
        let length_us = 120 * SECOND_US;
        let plan = schedule(&text, 120, seed);
        prop_assert_eq!(&plan, &schedule(&text, 120, seed));
        prop_assert_eq!(plan.disturbances.len() + plan.outside.len(), tables.len());
        prop_assert!(plan.events.is_sorted_by_key(|e| e.at_us));
        let mut down = BTreeMap::new();
        let mut held = 0;
        for event in &plan.events {
            prop_assert!((0..=length_us).contains(&event.at_us), "{:?}", event);
            match event.step {
                Step::Kill(g) => drop(down.insert(("agent", g, event.disturbance), event.at_us)),
                Step::Start(g) => drop(down.remove(&("agent", g, event.disturbance))),
                Step::Clock1970(g) => drop(down.insert(("clock", g, event.disturbance), event.at_us)),
                Step::ClockRight(g) => drop(down.remove(&("clock", g, event.disturbance))),
                Step::Hold => held += 1,
                Step::Overtake { .. } => held -= 1,
                _ => {}
            }
        }
        prop_assert!(down.is_empty(), "{:?}", down);
        prop_assert_eq!(held, 0);
        for gateway in 0..4 {
            prop_assert_eq!(plan.link(gateway, length_us), Some(Quality::default()));
        }
    }
}
