//! Files with the shapes that come from real sites, through real agents and the aggregator: a wide ten-minute SCADA file of
//! two turbines in local time over the end of summer time, with empty and broken cells; and a long series whose clock jumps
//! back 55 minutes and whose end is a failure, read at once and read in step with a clock.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use windlass_fleet::calendar;
use windlass_fleet::replay::files::{
    Expected, Lateness, SCADA_COLUMNS, Value, machine_source, scada_source,
};
use windlass_fleet::replay::{self, FileReport};
use windlass_fleet::spec::{Gateway, OUTBOX, Turbine};

const MINUTE_US: i64 = 60_000_000;
const DAY_MINUTES: i64 = 1_440;
/// A Wednesday; summer time ends on the Sunday after it, at 01:00 UTC.
const SCADA_BEGINS: &str = "2023-10-25 00:00:00";
const SERIES_BEGINS: &str = "2024-03-02 10:15:00";
/// Rows of the series: eight quiet days, then one on which it falls.
const SERIES_ROWS: i64 = 9 * 288;
/// The jump back comes before this row, and repeats the twelve before it.
const JUMP_ROW: i64 = 1_500;
const JUMP_ROWS: i64 = 12;

/// A file on the disk, and what must come of it.
struct Made {
    expected: Expected,
    /// Beginning of each dead letter.
    rejected: Vec<String>,
}

/// Any number that looks like a measured one: the same for the same place.
fn noise(place: i64) -> f64 {
    let hash = (place as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (hash >> 40) as f64 / f64::from(1 << 24)
}

/// A wide file: six days of two turbines, row by row in turns.
fn scada(dir: &Path) -> Made {
    let begin = calendar::parse(SCADA_BEGINS).expect("a time");
    let names: Vec<&str> = SCADA_COLUMNS.iter().map(|(name, _)| *name).collect();
    let mut text = format!(
        "TurbineName,TimeStamp_StartFormat,Note,{}\n",
        names.join(",")
    );
    let turbines = ["WT-A", "WT-B"];
    let mut values = Vec::new();
    let mut rejected = Vec::new();
    let mut lateness = Lateness::default();
    let mut line = 1;
    for (local, utc) in local_times(begin) {
        for (t, turbine) in turbines.iter().enumerate() {
            line += 1;
            let late = lateness.row(turbine, utc, 10 * MINUTE_US);
            write!(text, "{turbine},{},\"a, note\"", calendar::text(local)).expect("a string");
            for (c, (column, channel)) in SCADA_COLUMNS.iter().enumerate() {
                let place = local / MINUTE_US * 40 + (t * 20 + c) as i64;
                if let Some(broken) = broken_cell(line, c) {
                    write!(text, ",{broken}").expect("a string");
                    rejected.push(format!(
                        "line {line}: {turbine},|column `{column}`: `{broken}`, expected a number"
                    ));
                } else if local < begin + 50 * MINUTE_US || noise(place) < 0.1 {
                    text.push(','); // the first rows of an export are often empty, and so are cells in between
                } else {
                    let value = cell(channel, place);
                    write!(text, ",{value}").expect("a string");
                    let (turbine, channel) = ((*turbine).to_owned(), (*channel).to_owned());
                    values.push(Value {
                        turbine,
                        channel,
                        time: utc,
                        value,
                        late,
                    });
                }
            }
            text.push('\n');
        }
    }
    // the copy of the file was cut off in its last row
    text.push_str("WT-A,2023-10-31 00:00:00,x,12.5,0");
    rejected.push(format!(
        "line {}: WT-A,2023-10-31 00:00:00|5 fields, expected 16 as in the header",
        line + 1
    ));
    let time =
        "time_format = \"%Y-%m-%d %H:%M:%S\"\ntime_zone = \"Europe/Berlin\"\ndst = \"earlier\"\n";
    let source = scada_source(&write(dir, "scada.csv", &text), time);
    let turbines = turbines.map(|t| Turbine::new(t, "scada-10min")).to_vec();
    let gateway = Gateway::new("GW-SCADA", "scada", turbines).with_source(&source);
    let expected = Expected {
        name: "scada.csv".into(),
        gateway,
        values,
        windows: Vec::new(),
    };
    Made { expected, rejected }
}

/// Local label and the moment that it means. The hour that occurs twice is in the file twice, and means the earlier one.
fn local_times(begin: i64) -> Vec<(i64, i64)> {
    let hour = 60 * MINUTE_US;
    let change = begin + 4 * DAY_MINUTES * MINUTE_US + 3 * hour;
    let mut times = Vec::new();
    let mut local = begin;
    let mut set_back = false;
    while local < begin + 6 * DAY_MINUTES * MINUTE_US {
        let summer = local < change;
        times.push((local, local - if summer { 2 * hour } else { hour }));
        local += 10 * MINUTE_US;
        if local == change && !set_back {
            set_back = true;
            local -= hour;
        }
    }
    times
}

fn broken_cell(line: i64, column: usize) -> Option<&'static str> {
    match (line, column) {
        (400, 2) => Some("12.5.1"),
        (401, 0) => Some("#REF!"),
        _ => None,
    }
}

fn cell(channel: &str, place: i64) -> f64 {
    match channel {
        "running_loss_category" => (noise(place) * 4.0).floor(),
        _ => (noise(place) * 3.0e9).floor() / 1.0e6,
    }
}

/// A long series with a jump back and a failure in its last day.
fn series(dir: &Path, turbine: &str, gateway: &str, speed: u32) -> Made {
    let begin = calendar::parse(SERIES_BEGINS).expect("a time");
    let time = |row: i64| begin + row * 5 * MINUTE_US;
    let mut text = "timestamp,value\n".to_owned();
    let mut values = Vec::new();
    let jumped = JUMP_ROW - JUMP_ROWS..JUMP_ROW;
    let rows = (0..JUMP_ROW).map(|row| (row, false));
    let again = jumped.map(|row| (row, true));
    let rest = (JUMP_ROW..SERIES_ROWS).map(|row| (row, false));
    for (row, late) in rows.chain(again).chain(rest) {
        let fallen = ((row - 8 * 288).max(0) as f64).min(72.0);
        let repeated = if late { 0.5 } else { 0.0 };
        let value = 90.0 + noise(row) - fallen + repeated;
        writeln!(text, "{},{value}", calendar::text(time(row))).expect("a string");
        let (turbine, channel) = (turbine.to_owned(), "machine_temperature".to_owned());
        values.push(Value {
            turbine,
            channel,
            time: time(row),
            value,
            late,
        });
    }
    let name = format!("{turbine}.csv");
    let source = machine_source(&write(dir, &name, &text), turbine, speed);
    let machine = vec![Turbine::new(turbine, "machine-temperature")];
    let gateway = Gateway::new(gateway, "factory", machine).with_source(&source);
    let windows = vec![(time(8 * 288), time(SERIES_ROWS))];
    let expected = Expected {
        name,
        gateway,
        values,
        windows,
    };
    Made {
        expected,
        rejected: Vec::new(),
    }
}

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).expect("a file");
    path
}

#[test]
fn every_value_of_a_file_is_found_again_with_its_flags_at_any_speed() {
    let dir = tempfile::tempdir().expect("a folder");
    let made = [
        scada(dir.path()),
        series(dir.path(), "AT-ONCE", "GW-ONCE", 0),
        // nine days in 26 seconds: half a second of the clock, and many commits, lie in the rows that are read again
        series(dir.path(), "IN-STEP", "GW-STEP", 30_000),
    ];
    let files: Vec<Expected> = made.iter().map(|m| m.expected.clone()).collect();
    let mut rig = replay::rig(&files).expect("a rig");
    let report = replay::replay(&mut rig, &files).expect("the replay");
    let text = format!("{report:#?}");
    for (made, file) in made.iter().zip(&report.files) {
        assert_eq!(file.not_found, Vec::<String>::new(), "{text}");
        assert_eq!(
            file.values_found,
            made.expected.values.len() as u64,
            "{text}"
        );
    }
    let late = |f: &FileReport| (f.late_expected, f.late_found);
    let twice = made[0].expected.values.iter().filter(|v| v.late).count() as u64;
    assert!(twice > 100, "an hour of two turbines occurs twice: {twice}");
    assert_eq!(late(&report.files[0]), (twice, twice), "{text}");
    for series in &report.files[1..] {
        assert_eq!(late(series), (12, 12), "{text}");
        assert!(series.failure_raised_at.is_some(), "{text}");
        assert_eq!(
            (series.episodes_inside, series.episodes_outside),
            (1, 0),
            "{text}"
        );
    }
    assert!(report.passed, "{text}");
    let letters = rig.gateways[0]
        .dir()
        .join(OUTBOX)
        .with_extension("dead-letter.jsonl");
    let letters = std::fs::read_to_string(letters).expect("dead letters");
    assert_eq!(letters.lines().count(), made[0].rejected.len(), "{letters}");
    for (letter, expected) in letters.lines().zip(&made[0].rejected) {
        for piece in expected.split('|') {
            assert!(letter.contains(piece), "expected `{piece}` in {letter}");
        }
    }
}
