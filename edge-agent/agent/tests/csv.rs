//! A file through a real agent: every value arrives once, over a SIGKILL in the middle, and what is no value is kept aside.

#![allow(clippy::unwrap_used)] // a test ends where it cannot go on

mod common;

use std::collections::BTreeMap;
use std::fmt::Write;

use common::{Agent, Cloud, broker};
use windlass_shared::record::Body;
use windlass_shared::wire;

const PROFILE: &str = r#"
name = "tiny"
version = 1
defaults = { period = "10min", class = "condition", rate_group = "slow", raw = "float" }
channels = [{ id = 1, name = "power", unit = "kW", scale = 0.001 }, { id = 2, name = "wind", unit = "m/s", scale = 0.001 }]
"#;

const SOURCE: &str = r#"
[[source]]
kind = "csv"
name = "history"
path = "history.csv"
turbine_column = "who"
time_column = "at"
time_format = "%Y-%m-%d %H:%M:%S"
interval_s = 600
column = [{ name = "Power", channel = "power" }, { name = "Wind", channel = "wind" }]
"#;

fn agent(port: u16, csv: &str) -> Agent {
    let text = format!(
        "[gateway]\nid = \"gw-1\"\n\
         [[turbine]]\nid = \"T1\"\nprofile = \"tiny.toml\"\n\
         [[turbine]]\nid = \"T2\"\nprofile = \"tiny.toml\"\n\
         [uplink]\nurl = \"mqtt://127.0.0.1:{port}\"\nack_timeout_s = 3\nretry_delay_max_s = 1\n{SOURCE}"
    );
    let agent = Agent::new(&text);
    std::fs::write(agent.path("tiny.toml"), PROFILE).unwrap();
    std::fs::write(agent.path("history.csv"), csv).unwrap();
    agent
}

/// How often each reading was found: (turbine, channel, event time, bits of the value).
type Found = BTreeMap<(String, u16, i64, u64), usize>;

/// Every reading that the cloud has: how often, by (turbine, channel, event time, value bits).
fn readings(cloud: &Cloud) -> Found {
    let mut out = BTreeMap::new();
    for (id, bytes) in &cloud.seen.lock().unwrap().records {
        let Body::Batch(batch) = wire::decode(bytes).unwrap().body else {
            continue;
        };
        for block in &batch.blocks {
            for column in &block.columns {
                for row in 0..block.times.len() {
                    let raw = batch.raw[column.at as usize + row];
                    let key = (
                        id.turbine.to_string(),
                        column.channel.0,
                        block.times.at(row).0,
                        raw as u64,
                    );
                    *out.entry(key).or_default() += 1;
                }
            }
        }
    }
    out
}

/// Many rows, and what must come of them.
fn history(rows: i64) -> (String, Found) {
    let mut csv = "who,at,Power,Wind,Note\n".to_owned();
    let mut expected = BTreeMap::new();
    for i in 0..rows {
        let (day, hour, minute) = (1 + i / 144, i / 6 % 24, i % 6 * 10);
        let time = (1_704_067_200 + 600 * i) * 1_000_000; // 2024-01-01
        for who in ["T1", "T2"] {
            let power = (i * 7 % 3_000) as f64 / 8.0;
            let wind = if i % 10 == 3 {
                String::new()
            } else {
                format!("{}.25", i % 25)
            };
            writeln!(
                csv,
                "{who},2024-01-{day:02} {hour:02}:{minute:02}:00,{power},{wind},x"
            )
            .unwrap();
            expected.insert((who.to_owned(), 1, time, power.to_bits()), 1);
            if let Ok(wind) = wind.parse::<f64>() {
                expected.insert((who.to_owned(), 2, time, wind.to_bits()), 1);
            }
        }
    }
    (csv, expected)
}

#[test]
fn a_file_arrives_once_over_a_kill_in_the_middle() {
    let port = broker();
    let cloud = Cloud::on(port, "cloud", true);
    let (csv, expected) = history(30 * 144);
    let mut agent = agent(port, &csv);
    agent.start();
    agent.wait_status("some of it is committed", |s| {
        s.counters.readings_committed > 0
    });
    agent.kill();
    agent.start();
    agent.wait_status("the end of the file, acknowledged", |s| {
        s.sources[0].state == "ended" && s.turbines.iter().all(|t| t.backlog_records == 0)
    });
    assert_eq!(readings(&cloud), expected);
    // a third start finds nothing more in it
    assert!(agent.terminate().success());
    agent.start();
    let doc = agent.wait_status("the end of the file again", |s| {
        s.sources[0].state == "ended"
    });
    assert_eq!(doc.sources[0].readings, 0);
    assert!(agent.terminate().success());
    assert_eq!(readings(&cloud), expected);
}

#[test]
fn what_is_no_value_is_counted_and_kept() {
    let port = broker();
    let cloud = Cloud::on(port, "cloud", true);
    let csv = "who,at,Power,Wind\nT1,2024-01-01 00:00:00,12.5,gusty\nT1,yesterday,1,1\nT9,2024-01-01 00:10:00,3,3\n";
    let mut agent = agent(port, csv);
    agent.start();
    let doc = agent.wait_status("the end of the file", |s| {
        s.sources[0].state == "ended" && s.counters.records_acked >= 2
    });
    assert_eq!((doc.sources[0].readings, doc.sources[0].rejected), (1, 2));
    assert_eq!(doc.sources[0].position.as_deref(), Some("96 of 96 bytes"));
    assert!(agent.terminate().success());
    let values: Vec<_> = readings(&cloud).into_keys().collect();
    assert_eq!(
        values,
        [(
            "T1".to_owned(),
            1,
            1_704_067_200_000_000,
            12.5_f64.to_bits()
        )]
    );
    let letters = std::fs::read_to_string(agent.path("outbox.dead-letter.jsonl")).unwrap();
    let lines: Vec<&str> = letters.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(
        lines[0].contains("gusty") && lines[1].contains("yesterday"),
        "{letters}"
    );
}

#[test]
fn a_file_without_its_columns_ends_its_source_and_not_the_agent() {
    let port = broker();
    let _cloud = Cloud::on(port, "cloud", true);
    let mut agent = agent(port, "who,time,Power\n");
    agent.start();
    let doc = agent.wait_status("the failure", |s| s.sources[0].state.starts_with("failed"));
    let path = agent.path("history.csv");
    assert_eq!(
        doc.sources[0].state,
        format!(
            "failed: {}: the file has no column `at`, `Wind`; found who, time, Power",
            path.display()
        )
    );
    assert!(agent.terminate().success());
}

/// Replays `before` to its end, puts `after` in its place, and starts again: what the source says of it.
fn exchanged(before: &str, after: &str) -> String {
    let port = broker();
    let _cloud = Cloud::on(port, "cloud", true);
    let mut agent = agent(port, before);
    agent.start();
    agent.wait_status("the end of the file, committed", |s| {
        s.sources[0].state == "ended" && s.counters.readings_committed > 0
    });
    assert!(agent.terminate().success());
    std::fs::write(agent.path("history.csv"), after).unwrap();
    agent.start();
    let doc = agent.wait_status("a word on the new file", |s| {
        s.sources[0].state == "ended" || s.sources[0].state.starts_with("failed")
    });
    let path = agent.path("history.csv").display().to_string();
    assert!(agent.terminate().success());
    doc.sources[0].state.replace(&path, "FILE")
}

#[test]
fn a_file_that_was_exchanged_is_not_read_on_silently() {
    let before = "who,at,Power,Wind\nT1,2024-01-01 00:00:00,1,2\nT1,2024-01-01 00:10:00,3,4\n";
    let rotated = "who,at,Power,Wind\nT1,2024-02-01 00:00:00,5,6\n";
    assert_eq!(
        exchanged(before, rotated),
        "failed: FILE: the stored position is 72 bytes into the file, which has 45: it was cut or exchanged; give the source another id to replay it from its beginning"
    );
    let other = before.replace(",3,4", ",3,5") + "T1,2024-02-01 00:00:00,5,6\n";
    assert_eq!(
        exchanged(before, &other),
        "failed: FILE: line 3, the last one that was read, is another one now: this file was exchanged under the same header; give the source another id to replay it from its beginning"
    );
    // one that has only grown is read on
    let grown = format!("{before}T1,2024-01-01 00:20:00,5,6\n");
    assert_eq!(exchanged(before, &grown), "ended");
}

#[test]
fn a_time_that_occurs_twice_is_rejected_with_its_line_and_column_if_so_configured() {
    let port = broker();
    let cloud = Cloud::on(port, "cloud", true);
    let csv = "who,at,Power,Wind\nT1,2023-10-29 01:50:00,1,\nT1,2023-10-29 02:00:00,2,\n";
    let mut agent = agent(port, csv);
    let config = std::fs::read_to_string(agent.path("edge.toml")).unwrap();
    let config = config.replace(
        "interval_s = 600",
        "interval_s = 600\ntime_zone = \"Europe/Berlin\"\ndst = \"reject\"",
    );
    std::fs::write(agent.path("edge.toml"), config).unwrap();
    agent.start();
    agent.wait_status("the end of the file", |s| {
        s.sources[0].state == "ended" && s.counters.records_acked >= 2
    });
    assert!(agent.terminate().success());
    assert_eq!(readings(&cloud).len(), 1);
    let letters = std::fs::read_to_string(agent.path("outbox.dead-letter.jsonl")).unwrap();
    let line = "line 3: T1,2023-10-29 02:00:00,2,";
    let reason = "column `at`: time `2023-10-29 02:00:00` occurs twice or never in Europe/Berlin";
    assert!(
        letters.contains(line) && letters.contains(reason),
        "{letters}"
    );
}
