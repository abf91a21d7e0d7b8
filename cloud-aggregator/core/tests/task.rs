//! The task over whole logs: what it counts, what it says, and that it says it again.

mod world;

use windlass_cloud_core::output::Counts;
use windlass_cloud_core::topic::Topic;
use windlass_shared::time::WallTime;
use windlass_shared::window::{Status, WindowKind};
use world::*;

/// Live operation of one turbine for `seconds`, in order, with a tick a second.
fn live(log: &mut TestLog, feed: &mut windlass_cloud_core::bench::Feed, seconds: i64) {
    log.record(0, &feed.gateway.clone(), &feed.clone().open(epoch(1), T0));
    feed.open(epoch(1), T0);
    for s in 0..seconds {
        for record in second(feed, s, |c, _| 100 + i64::from(c.id.0)) {
            log.record(s + 1, &feed.gateway, &record);
        }
        log.tick(s + 1);
    }
}

#[test]
fn a_live_turbine_has_status_and_exact_windows() {
    let fleet = fleet();
    let mut log = TestLog::default();
    let mut feed = feed(&fleet, "T1", "small");
    live(&mut log, &mut feed, 125);
    let run = run(&fleet, &log);

    let doc = run.status("T1").last().unwrap().clone();
    assert_eq!(doc.farm.unwrap().as_str(), "F1");
    assert_eq!(doc.gateway.as_str(), "G1");
    assert_eq!(doc.event_time, Some(at(124)));
    assert_eq!(doc.frontier, Some(at(125)));
    assert_eq!(doc.iec_state, Some(102));
    let values: Vec<_> = doc
        .values
        .iter()
        .map(|v| (v.channel.as_str(), v.value))
        .collect();
    assert_eq!(
        values,
        [
            ("power", Some(10.1)),
            ("iec_state", Some(102.0)),
            ("temperature", Some(10.3))
        ]
    );
    assert_eq!(
        doc.counts,
        Counts {
            records: 1 + 2 * 125,
            accepted_readings: 3 * 125,
            counted_readings: 3 * 125,
            ..Counts::default()
        }
    );
    // two whole minutes, and the five-minute windows that end with them; the ten-minute one is open
    let rows = run.features();
    let exact = |kind| {
        let of = rows.iter().filter(|r| r.result.kind == kind);
        of.filter(|r| r.result.status == Status::Exact).count()
    };
    assert_eq!(exact(WindowKind::Minute), 2);
    assert_eq!(exact(WindowKind::FiveMinutes), 2);
    assert_eq!(exact(WindowKind::TenMinutes), 0);
    assert_eq!((doc.windows.settled, doc.windows.exact), (4, 4));
    assert!(doc.slice_committed_at.is_some());
    // two status documents a second: with the first batch at once, with the second on the tick
    assert_eq!(run.status("T1").len(), 2 * 125);
    let bytes = run
        .out
        .iter()
        .filter(|o| o.topic == Topic::Status)
        .map(|o| o.bytes.len());
    assert!(bytes.max().unwrap() < 2_048);
}

#[test]
fn whatever_is_resent_counts_once() {
    let fleet = fleet();
    let mut once = TestLog::default();
    live(&mut once, &mut feed(&fleet, "T1", "small"), 70);
    let mut twice = once.clone();
    let again: Vec<Item> = once.0.iter().rev().cloned().collect();
    for mut item in again {
        item.log_time = WallTime(at(71).0);
        twice.0.push(item);
    }
    twice.tick(73);
    let (a, b) = (run(&fleet, &once), run(&fleet, &twice));
    let (a, b) = (a.status("T1").pop().unwrap(), b.status("T1").pop().unwrap());
    assert_eq!(b.counts.accepted_readings, a.counts.accepted_readings);
    assert_eq!(b.counts.duplicate_records, a.counts.records);
    assert_eq!(b.coverage.holes, 0);
}
