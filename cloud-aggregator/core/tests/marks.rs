//! Operators' marks: they come through the log, are said with the next revision, and a shelf ends by log time.

#![allow(clippy::unwrap_used)] // a test that has not what it expects fails

mod world;

use windlass_cloud_core::output::{AlertEvent, AlertState, Reason};
use windlass_shared::id::TurbineId;
use windlass_shared::time::LogTime;
use windlass_shared::wire::{Control, Mark, MarkAction, encode_control};
use world::*;

const HOT: &str = r#"
version = 4
[[threshold]]
id = "hot"
cause = "heat"
channel = "temperature"
on = "readings"
persistence = 3
warning_high = 75.0
"#;

/// A turbine that is hot from second 10 on, and silent after second 100.
fn hot() -> TestLog {
    let fleet = fleet();
    let mut feed = feed(&fleet, "T1", "small");
    let mut log = TestLog::default();
    log.detectors(0, HOT);
    let open = feed.open(epoch(1), at(0));
    log.record(0, &feed.gateway, &open);
    for s in 0..100 {
        let records = second(&mut feed, s, |channel, _| match channel.name.as_str() {
            "temperature" if s >= 10 => 800,
            _ => 100,
        });
        for record in records {
            log.record(s + 1, &feed.gateway, &record);
        }
        log.tick(s + 1);
    }
    log
}

fn mark(log: &mut TestLog, seconds: i64, turbine: &str, alert: &str, action: MarkAction) {
    let mark = Mark {
        turbine: TurbineId::new(turbine).unwrap(),
        alert: alert.to_owned(),
        by: "Kim <b>".to_owned(),
        note: "crew; \"two\"\n".to_owned(),
        action,
    };
    log.push(seconds, turbine, encode_control(&Control::Mark(mark)));
}

fn ticks(log: &mut TestLog, seconds: std::ops::Range<i64>) {
    for s in seconds {
        log.tick(s);
    }
}

type Said = (u32, AlertState, Option<LogTime>, Option<LogTime>);

fn said(a: &AlertEvent) -> Said {
    let acknowledged = a.acknowledged.as_ref().map(|m| m.at);
    (
        a.revision,
        a.state,
        acknowledged,
        a.shelved.as_ref().map(|m| m.until),
    )
}

#[test]
fn a_mark_is_said_with_the_next_revision_and_a_shelf_ends_by_log_time() {
    let mut log = hot();
    let before = run(&fleet(), &log).alerts();
    let newest = before.last().unwrap();
    let (id, revision) = (newest.alert.as_str(), newest.revision);
    assert_eq!(newest.state, AlertState::Confirmed);
    let until = LogTime(at(150).0);
    mark(&mut log, 110, "T1", id, MarkAction::Acknowledge);
    mark(&mut log, 120, "T1", id, MarkAction::Shelve { until });
    ticks(&mut log, 121..160);
    mark(
        &mut log,
        170,
        "T1",
        id,
        MarkAction::Shelve {
            until: LogTime(at(900).0),
        },
    );
    mark(&mut log, 180, "T1", id, MarkAction::Unshelve);
    let whole = run(&fleet(), &log);
    let alerts = whole.alerts();
    let seen = Some(LogTime(at(110).0));
    let after: Vec<Said> = alerts[before.len()..].iter().map(said).collect();
    let confirmed = AlertState::Confirmed;
    assert_eq!(
        after,
        [
            (revision + 1, confirmed, seen, None),
            (revision + 2, confirmed, seen, Some(until)),
            (revision + 3, confirmed, seen, None),
            (revision + 4, confirmed, seen, Some(LogTime(at(900).0))),
            (revision + 5, confirmed, seen, None),
        ]
    );
    let first = &alerts[before.len()];
    let by = first.acknowledged.as_ref().unwrap();
    assert_eq!(
        (by.by.as_str(), by.note.as_str()),
        ("Kim <b>", "crew; \"two\"\n")
    );
    // it quotes the newest evidence there was
    assert!(!first.sources.is_empty());
    assert_eq!(first.window.kind, newest.window.kind);
    assert!(first.window.start >= newest.window.start);
    // the shelf ended with the tick that passed its time, also when the state was restored before every entry
    assert!(alerts[before.len() + 2].log_time >= until);
    let restarted = run_with(&fleet(), &log, |_| true);
    assert_eq!((restarted.hash, restarted.out), (whole.hash, whole.out));
}

#[test]
fn a_mark_of_what_is_not_open_is_a_dead_letter() {
    let mut log = hot();
    let nothing = "00000000000000000000000000000000";
    mark(&mut log, 110, "T1", nothing, MarkAction::Acknowledge);
    mark(&mut log, 111, "T9", nothing, MarkAction::Unshelve);
    let dead = run(&fleet(), &log).dead();
    let reasons: Vec<_> = dead
        .iter()
        .map(|d| (d.meta.reason, d.meta.detail.clone()))
        .collect();
    let detail = |t: &str| format!("alert {nothing} of {t} is not open");
    assert_eq!(
        reasons,
        [(Reason::Mark, detail("T1")), (Reason::Mark, detail("T9"))]
    );
}

#[test]
fn without_marks_the_bytes_of_an_alert_are_as_before() {
    let log = hot();
    let alerts = run(&fleet(), &log).alerts();
    let text = String::from_utf8(alerts[0].encode()).unwrap();
    assert!(
        !text.contains("acknowledged") && !text.contains("shelved"),
        "{text}"
    );
}
