//! `windlass-fleet run` on the shipped scenario: every kind of disturbance happens to real agents, and the ledger is exact.

use std::collections::BTreeMap;
use std::path::Path;

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
    let options = Options {
        scenario,
        seed: None,
        minutes: 2.0,
        report: None,
        dir: Some(dir.clone()),
        keep: false,
        json: false,
        detectors: Some(detectors),
        profiles: None,
    };
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
