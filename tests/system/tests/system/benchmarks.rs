//! The benchmarks run and say what they are asked for. Small sizes; whether a limit is met is no test's business.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use windlass_fleet::process::built;

fn json(program: &Path, args: &[&str]) -> Value {
    let output = Command::new(program)
        .args(args)
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn number(report: &Value, pointer: &str) -> f64 {
    let found = report.pointer(pointer).and_then(Value::as_f64);
    found.unwrap_or_else(|| panic!("no number {pointer} in {report:#}"))
}

fn positive(report: &Value, names: &[&str]) {
    for name in names {
        assert!(number(report, name) > 0.0, "{name} in {report:#}");
    }
}

/// At least so many limits, each with what was measured; and who measured.
fn described(report: &Value, limits: usize) {
    let found = report["limits"].as_array().expect("a list");
    assert!(found.len() >= limits, "{report:#}");
    for limit in found {
        assert!(number(limit, "/limit") > 0.0 && number(limit, "/measured").is_finite());
        assert!(limit["name"].is_string() && limit["met"].is_boolean());
    }
    assert!(!report["cpu_model"].as_str().expect("a name").is_empty());
    assert!(!report["method"].is_null() && report["optimised"].is_boolean());
    assert!(number(report, "/cores") >= 1.0);
}

#[test]
fn the_aggregators_benchmark_names_its_figures() {
    let mut args = vec![
        "bench",
        "--json",
        "--turbines",
        "2",
        "--minutes",
        "2",
        "--runs",
        "2",
    ];
    args.extend([
        "--state-turbines",
        "2",
        "--state-minutes",
        "2",
        "--starts",
        "1",
    ]);
    let report = json(&built("windlass-cloud").expect("built"), &args);
    positive(
        &report,
        &[
            "/cpu_ns_per_reading",
            "/cpu_ns_per_reading_by_stage/decode",
            "/cpu_ns_per_reading_whole_task",
            "/cpu_ns_per_reading_spread/decode_to_scoring/median",
            "/baseline_cpu_ns_per_reading/median",
            "/baseline_ratio",
            "/bytes_per_reading",
            "/peak_rss_bytes",
            "/state_bytes_per_turbine",
            "/state_bytes_per_turbine_serialised",
            "/snapshot_pause_ms/max",
            "/start_to_first_result_ms/median",
        ],
    );
    // differences of two runs: a machine at work may make them negative
    for stage in ["dedupe_coverage", "panes", "windows", "scoring"] {
        number(&report, &format!("/cpu_ns_per_reading_by_stage/{stage}"));
    }
    number(&report, "/cpu_ns_per_reading_outputs");
    // 300 channels, most of them once a second, one only on events, some every ten seconds
    let readings = number(&report, "/readings");
    assert!(
        (0.8..1.0).contains(&(readings / (2.0 * 120.0 * 300.0))),
        "{readings}"
    );
    described(&report, 5);
}

#[test]
fn the_fleets_benchmark_names_its_figures_and_loses_nothing() {
    let report = json(
        &built("windlass-fleet").expect("built"),
        &[
            "bench-fleet",
            "--turbines",
            "12",
            "--minutes",
            "0.3",
            "--interval-s",
            "6",
            "--warm-s",
            "2",
            "--no-steps",
            "--json",
        ],
    );
    positive(
        &report,
        &[
            "/spread/accepted_per_s/median",
            "/spread/slice_close_to_status_p99_ms/max",
            "/spread/event_to_status_p99_ms/max",
            "/spread/cloud_anonymous_mb/max",
            "/run/readings_in_the_lake",
            "/steps/0/made_per_s",
        ],
    );
    assert_eq!(number(&report, "/run/lost"), 0.0, "{report:#}");
    assert_eq!(number(&report, "/run/doubled"), 0.0, "{report:#}");
    // 299 channels once a second, and an alarm code now and then
    let made = number(&report, "/spread/made_per_s/median");
    assert!((0.8..1.2).contains(&(made / (12.0 * 299.0))), "{made}");
    for role in ["broker", "process", "serve", "lake", "log", "runtime"] {
        number(&report, &format!("/roles_cpu_cores/{role}/median"));
    }
    assert_eq!(report["limits"].as_array().expect("a list").len(), 4);
}

#[test]
fn the_agents_benchmark_names_its_figures() {
    let report = json(
        &built("windlass-fleet").expect("built"),
        &["bench-edge", "--minutes", "0.4"],
    );
    positive(
        &report,
        &[
            "/rss_bytes",
            "/uplink_bytes_per_reading",
            "/spread/uplink_bytes_per_reading/max",
            "/readings",
            "/records",
            "/measured_s",
        ],
    );
    assert!(number(&report, "/intervals") >= 3.0);
    // few ticks in few seconds, and a file system in memory writes nothing
    assert!(number(&report, "/cpu_percent_of_core") >= 0.0);
    assert!(number(&report, "/flash_bytes_per_day") >= 0.0);
    described(&report, 4);
}
