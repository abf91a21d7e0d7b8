//! What `windlass-fleet generate` writes is a function of its arguments, and whole.

use std::collections::BTreeMap;
use std::path::Path;

use windlass_fleet::generate::{Format, Options, RowPeriod, run};

fn files(
    format: Format,
    period: RowPeriod,
    threads: usize,
    names: &[&str],
) -> BTreeMap<String, Vec<u8>> {
    let dir = tempfile::tempdir().expect("a file");
    let scenario =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../fleet-model/scenarios/example.toml");
    let options = Options {
        scenario,
        seed: Some(3),
        from: "2026-01-01T00:00:00Z".into(),
        to: "20min".into(),
        period,
        samples: None,
        format,
        out: dir.path().join("out"),
        turbines: names.iter().map(|n| (*n).to_owned()).collect(),
        profiles: None,
        threads,
    };
    assert!(run(&options).expect("a file"));
    std::fs::read_dir(dir.path().join("out"))
        .expect("a file")
        .map(|entry| {
            let path = entry.expect("a file").path();
            let name = path
                .file_name()
                .expect("a file")
                .to_str()
                .expect("a file")
                .to_owned();
            (name, std::fs::read(path).expect("a file"))
        })
        .collect()
}

#[test]
fn files_do_not_depend_on_threads_or_on_who_else_is_generated() {
    for format in [Format::Csv, Format::Batches] {
        let one = files(format, RowPeriod::TenMinutes, 1, &[]);
        let three = files(format, RowPeriod::TenMinutes, 3, &[]);
        assert!(one == three, "{format:?}");
        let alone = files(format, RowPeriod::TenMinutes, 1, &["N03"]);
        let name = if format == Format::Csv {
            "N03.csv"
        } else {
            "N03.batches"
        };
        assert!(alone[name] == one[name]);
        let truth: serde_json::Value = serde_json::from_slice(&alone["ground_truth.json"]).unwrap();
        assert_eq!(truth["seed"], 3);
        assert_eq!(
            truth["faults"][0]["part"],
            "gearbox_high_speed_bearing_inner_race"
        );
        // for each of 16 turbines its readings and its states, the truth, and for CSV the sources
        assert_eq!(one.len(), if format == Format::Csv { 34 } else { 33 });
    }
}

#[test]
fn batches_are_length_prefixed_records() {
    let files = files(Format::Batches, RowPeriod::Second, 1, &["C01"]);
    let mut rest = files["C01.batches"].as_slice();
    let mut seq = 0;
    while !rest.is_empty() {
        let (length, behind) = rest.split_first_chunk::<4>().unwrap();
        let (record, behind) = behind.split_at(u32::from_le_bytes(*length) as usize);
        let record = windlass_shared::wire::decode(record).unwrap();
        seq += 1;
        assert_eq!(record.header.id.seq.0, seq);
        rest = behind;
    }
    // fast slices of a second, slow ones of ten
    assert!(seq > 1_200, "{seq}");
}

#[test]
fn ten_minute_rows_have_extremes_and_deviations_and_the_truth_has_states_and_operations() {
    let files = files(Format::Csv, RowPeriod::TenMinutes, 1, &["N05"]);
    let text = String::from_utf8(files["N05.csv"].clone()).expect("text");
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().expect("a header").split(',').collect();
    let at = |name: &str| names.iter().position(|n| *n == name).expect("a column");
    assert_eq!(at("active_power_sd"), at("active_power") + 3);
    assert!(!names.contains(&"iec_state_min") && !names.contains(&"energy_export_sd"));
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells.len(), names.len());
        let value = |name: &str| cells[at(name)].parse::<f64>().expect("a number");
        for name in ["active_power", "wind_speed", "gearbox_oil_temperature"] {
            let of = |ending: &str| value(&format!("{name}{ending}"));
            let (least, mean, most) = (of("_min"), value(name), of("_max"));
            assert!(
                least <= mean && mean <= most,
                "{name}: {least} {mean} {most}"
            );
            assert!(of("_sd") <= most - least, "{name}");
        }
        assert!(value("wind_speed_sd") > 0.1);
    }
    // the agent's source reads the means; what has no channel is not in it
    let sources = String::from_utf8(files["source.toml"].clone()).expect("text");
    assert!(sources.contains("name = \"active_power\"") && !sources.contains("active_power_sd"));
    let states = String::from_utf8(files["N05.states.csv"].clone()).expect("text");
    let mut lines = states.lines();
    assert_eq!(
        lines.next(),
        Some("time,iec_state,operating_state,alarm_code")
    );
    assert!(
        lines
            .next()
            .is_some_and(|l| l.starts_with("2026-01-01 00:00:00,"))
    );
    let truth: serde_json::Value = serde_json::from_slice(&files["ground_truth.json"]).unwrap();
    let kinds = truth["operations"].as_array().expect("an array").iter();
    let kinds: Vec<&str> = kinds.filter_map(|o| o["kind"].as_str()).collect();
    assert!(
        kinds.contains(&"curtailment") && kinds.contains(&"derate"),
        "{kinds:?}"
    );
    assert!(truth["icing"].is_array());
}

#[test]
fn samples_belong_to_ten_minute_rows() {
    let options = Options {
        scenario: Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../fleet-model/scenarios/example.toml"),
        seed: None,
        from: "2026-01-01T00:00:00Z".into(),
        to: "1h".into(),
        period: RowPeriod::Second,
        samples: Some(windlass_fleet::generate::Samples::EachSecond),
        format: Format::Csv,
        out: "nowhere".into(),
        turbines: Vec::new(),
        profiles: None,
        threads: 1,
    };
    let error = run(&options).expect_err("a mistake").to_string();
    assert!(
        error.contains("--samples: found with --period 1s, expected with --period 10min"),
        "{error}"
    );
}
