//! `windlass-fleet run`: on the shipped scenario every kind of disturbance happens to real agents, and the ledger is exact;
//! with a Mosquitto of its own a broker restart is one; a fault that nobody finds fails the run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use windlass_fleet::run::{Options, report};
use windlass_fleet::spec;

/// A rule for the fault of the scenario: the product's detectors do not watch the oil level.
const OIL_LEVEL: &str = "\n[[threshold]]\nid = \"hydraulic-oil-low\"\ncause = \"hydraulics\"\nchannel = \"hydraulic_oil_level\"\n\
    profiles = [\"onshore-3mw\"]\non = \"readings\"\npersistence = 5\nwarning_low = 160.0\nalarm_low = 140.0\nhysteresis = 2.0\n";

#[test]
fn whatever_happens_to_networks_and_machines_the_ledger_is_exact() {
    let work = tempfile::tempdir().expect("a folder");
    let detectors = work.path().join("detectors.toml");
    let product = spec::detectors().expect("the product's detectors");
    std::fs::write(&detectors, product + OIL_LEVEL).expect("detectors");
    let dir = work.path().join("run");
    let scenario =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../fleet-model/scenarios/disturbed.toml");
    let options = two_minutes(scenario, &dir, detectors);
    let report = report(&options).expect("a run");
    println!("{report:#?}");
    assert!(report.passed);
    let balance = &report.balance;
    assert_eq!(
        (balance.missing_readings, balance.double_counted_readings),
        (0, 0)
    );
    assert_eq!((balance.evicted_readings, balance.windows_wrong), (0, 0));
    assert_eq!((report.turbines, report.gateways), (4, 3));
    assert!(report.disturbances_outside.is_empty());

    let mut steps: BTreeMap<&str, u64> = BTreeMap::new();
    for done in &report.disturbances {
        *steps.entry(&done.kind).or_default() += done.steps;
    }
    let expected = [
        ("agent_killed", 4),
        ("broker_restart", 1),
        ("clock_1970", 2),
        ("clock_step", 3),
        ("duplicates", 7),
        ("link_cut", 2),
        ("link_lossy", 2),
        ("link_slow", 2),
        ("reordering", 8),
    ];
    assert_eq!(steps, BTreeMap::from(expected));
    let of = |kind: &str| {
        report
            .disturbances
            .iter()
            .find(|d| d.kind == kind)
            .expect("it")
    };
    assert!(of("duplicates").records_sent > 20);
    assert!(of("reordering").records_sent > 4);
    assert!(of("link_lossy").pieces_lost > 0);
    assert!(balance.duplicate_records_suppressed >= of("duplicates").records_sent / 2);
    assert!(report.untaken_samples > 0 && report.delivered_readings > 30_000);
    assert_eq!(report.verdict.faults.len(), 1);
    let leak = &report.verdict.faults[0];
    assert_eq!(leak.truth.turbine, "S2");
    assert!(leak.alarms.iter().any(|a| a.rule == "hydraulic-oil-low"));

    let truth = std::fs::read_to_string(dir.join("ground_truth.json")).expect("the ground truth");
    let truth: serde_json::Value = serde_json::from_str(&truth).expect("JSON");
    assert_eq!(truth["faults"][0]["kind"], "hydraulic_leak");
    assert_eq!(truth["disturbances"].as_array().map(Vec::len), Some(11));
}

/// Two turbines behind two gateways; oil is lost where a rule watches it, and a sensor dies where none does.
const BROKER: &str = r#"
name = "broker"
seed = 4

[run]
broker = "mosquitto"

[[farm]]
id = "NORD"
zone = "Europe/Berlin"
profile = "onshore-3mw"
names = ["N1", "N2"]
turbines_per_gateway = 1
climate = { mean_wind_ms = 9.5 }

[[fault]]
kind = "hydraulic_leak"
turbine = "N1"
from = "5s"
growth = "40s"
expect = true

[[fault]]
kind = "sensor_dead"
turbine = "N2"
channel = "hub_temperature"
from = "30s"
expect = true

[[fault]]
kind = "sensor_stuck"
turbine = "N2"
channel = "hub_temperature"
from = "90s"

[[disturbance]]
kind = "duplicates"
from = "10s"
to = "30s"
percent = 100

[[disturbance]]
kind = "broker_restart"
from = "40s"

[[disturbance]]
kind = "reordering"
farm = "NORD"
from = "60s"
to = "72s"
percent = 100
"#;

#[test]
fn a_mosquitto_restarts_alone_and_a_fault_that_nobody_finds_fails_the_run() {
    let work = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = work.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    };
    let product = spec::detectors().expect("the product's detectors");
    let detectors = write("detectors.toml", &(product + OIL_LEVEL));
    let dir = work.path().join("run");
    let options = two_minutes(write("broker.toml", BROKER), &dir, detectors);
    let report = report(&options).expect("a run");
    println!("{report:#?}");
    assert!(report.balance.is_right(), "{:?}", report.balance);
    assert_eq!((report.broker, report.gateways), ("mosquitto", 2));
    let of = |kind: &str| {
        let mut done = report.disturbances.iter();
        done.find(|d| d.kind == kind).expect("it")
    };
    assert_eq!(of("broker_restart").killed, ["mosquitto"]);
    assert!(of("duplicates").records_sent > 20);
    assert!(of("reordering").records_sent > 0);
    // its own gateways' certificates let the copies through
    assert!(report.balance.duplicate_records_suppressed >= of("duplicates").records_sent / 2);
    for file in ["mosquitto/mosquitto.conf", "mosquitto/mosquitto.db"] {
        assert!(dir.join(file).is_file(), "{file}");
    }

    assert!(!report.passed);
    let [missed] = report.failures.as_slice() else {
        panic!("one fault is missed: {:?}", report.failures)
    };
    let told = "no confirmed alarm found the fault sensor_dead (hub_temperature) of N2 since ";
    assert!(missed.starts_with(told), "{missed}");
    assert!(report.text().contains(&format!("FAILED: {missed}")));
    let found = report.verdict.faults.iter();
    let found: Vec<(&str, bool, bool)> = found
        .map(|f| (f.truth.kind, f.due, f.alarms.is_empty()))
        .collect();
    assert_eq!(
        found,
        [
            ("hydraulic_leak", true, false),
            ("sensor_dead", true, true),
            ("sensor_stuck", false, true),
        ]
    );
}

fn two_minutes(scenario: PathBuf, dir: &Path, detectors: PathBuf) -> Options {
    Options {
        scenario,
        seed: None,
        minutes: 2.0,
        report: None,
        dir: Some(dir.to_owned()),
        keep: false,
        json: false,
        detectors: Some(detectors),
        profiles: None,
    }
}
