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
        // 16 files of turbines, the truth, and for CSV the sources
        assert_eq!(one.len(), if format == Format::Csv { 18 } else { 17 });
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
