//! The task over whole logs: what it counts, what it says, and that it says it again.

mod world;

use std::sync::Arc;

use windlass_cloud_core::bench::Feed;
use windlass_cloud_core::output::{AlertState, Counts, Reason};
use windlass_cloud_core::task::{Partition, RestoreError};
use windlass_cloud_core::topic::Topic;
use windlass_shared::id::{RecordId, Seq, SeqRange};
use windlass_shared::record::{Body, Flags, Record, RecordHash};
use windlass_shared::time::{SECOND_US, WallTime};
use windlass_shared::window::{Status, WindowKind};
use windlass_shared::wire::{self, Command, Control, Resend};
use world::*;

/// Records of live operation: the Open, then both classes of each second.
fn records(feed: &mut Feed, n: u8, from: i64, seconds: i64) -> Vec<(i64, Record)> {
    let mut records = vec![(from, feed.open(epoch(n), at(from)))];
    for s in from..from + seconds {
        let of = second(feed, s, |c, _| 100 + i64::from(c.id.0));
        records.extend(of.into_iter().map(|r| (s + 1, r)));
    }
    records
}

/// A log of the records, with a tick a second.
fn log_of(feed: &Feed, records: &[(i64, Record)]) -> TestLog {
    let mut log = TestLog::default();
    let mut ticked = 0;
    for (s, record) in records {
        for t in ticked..*s {
            log.tick(t);
        }
        ticked = ticked.max(*s);
        log.record(*s, &feed.gateway, record);
    }
    log.tick(ticked);
    log
}

#[test]
fn a_live_turbine_has_status_and_exact_windows() {
    let fleet = fleet();
    let mut feed = feed(&fleet, "T1", "small");
    let records = records(&mut feed, 1, 0, 125);
    let run = run(&fleet, &log_of(&feed, &records));

    let doc = run.status("T1").last().unwrap().clone();
    assert_eq!(doc.farm.unwrap().as_str(), "F1");
    assert_eq!(doc.gateway.as_str(), "G1");
    assert_eq!(doc.event_time, Some(at(124)));
    assert_eq!(doc.frontier, Some(at(125)));
    assert_eq!(doc.iec_state, Some(102));
    assert!(doc.slice_committed_at.is_some());
    let values = doc.values.iter().map(|v| (v.channel.as_str(), v.value));
    assert_eq!(
        values.collect::<Vec<_>>(),
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
    let bytes = run.out.iter().filter(|o| o.topic == Topic::Status);
    assert!(bytes.map(|o| o.bytes.len()).max().unwrap() < 2_048);
}

#[test]
fn status_is_written_at_most_every_200_ms_of_log_time() {
    let fleet = fleet();
    let mut feed = feed(&fleet, "T1", "small");
    let records = records(&mut feed, 1, 0, 30);
    let run = run(&fleet, &log_of(&feed, &records));
    let times: Vec<i64> = run.status("T1").iter().map(|d| d.log_time.0).collect();
    assert!(times.windows(2).all(|t| t[1] - t[0] >= 200_000));
    // the Open on a tick; then with the first batch of each second at once, and with the second one on the tick
    assert_eq!(times.len(), 1 + 2 * 30);
}

#[test]
fn whatever_is_resent_counts_once() {
    let fleet = fleet();
    let mut feed = feed(&fleet, "T1", "small");
    let records = records(&mut feed, 1, 0, 70);
    let once = log_of(&feed, &records);
    let mut twice = once.clone();
    for (_, record) in records.iter().rev() {
        twice.record(71, &feed.gateway, record);
    }
    twice.tick(73);
    let (a, b) = (run(&fleet, &once), run(&fleet, &twice));
    let (a, b) = (a.status("T1").pop().unwrap(), b.status("T1").pop().unwrap());
    assert_eq!(b.counts.accepted_readings, a.counts.accepted_readings);
    assert_eq!(b.counts.records, a.counts.records);
    assert_eq!(b.counts.duplicate_records, a.counts.records);
    assert_eq!(b.coverage.holes, 0);
}

#[test]
fn other_bytes_under_one_seq_are_kept_alarmed_and_end_the_epoch() {
    let fleet = fleet();
    let mut feed = feed(&fleet, "T1", "small");
    let records = records(&mut feed, 1, 0, 10);
    let mut log = log_of(&feed, &records);
    let mut forged = records[5].1.clone();
    forged.header.committed_at.0 += 1;
    log.record(11, &feed.gateway, &forged);
    log.record(12, &feed.gateway, &forged);
    let run = run(&fleet, &log);

    let dead = run.dead();
    let reasons: Vec<_> = dead.iter().map(|d| d.meta.reason).collect();
    assert_eq!(reasons[0], Reason::Conflict);
    assert_eq!(dead[0].bytes, wire::encode(&forged));
    assert_eq!(dead[0].id(), Some(forged.header.id.clone()));
    let alerts = run.alerts();
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0].rule, "record-conflict");
    assert_eq!(alerts[0].state, AlertState::Confirmed);
    assert_eq!(alerts[0].sources[0].seqs, [(6, 6)]);
    let commands: Vec<_> = run
        .downlink()
        .into_iter()
        .flat_map(|d| d.commands)
        .collect();
    let [Command::NewEpoch { instead_of, .. }] = &commands[..] else {
        panic!("one order, found {commands:?}");
    };
    assert_eq!(*instead_of, epoch(1));
    let doc = run.status("T1").pop().unwrap();
    assert_eq!(doc.coverage.quarantined_epochs, 1);
    assert_eq!(doc.counts.records, 21);
}

/// Log times, seconds, at which a new epoch is ordered.
fn ordered_at(log: &TestLog) -> Vec<i64> {
    let mut partition = Partition::new(settings(), fleet());
    let mut times = Vec::new();
    for offset in 0..log.0.len() {
        let mut out = Vec::new();
        partition.apply(&log.input(offset), &mut out);
        let down = out.iter().filter(|o| o.topic == Topic::Downlink);
        let down = down.filter_map(|o| wire::decode_downlink(&o.bytes).ok());
        let orders = down.map(|d| d.commands.len());
        let seconds = (log.0[offset].log_time.0 - T0.0) / SECOND_US;
        times.extend(std::iter::repeat_n(seconds, orders.sum()));
    }
    times
}

#[test]
fn an_order_that_was_lost_is_given_again_until_the_new_epoch_opens() {
    let fleet = fleet();
    let mut feed = feed(&fleet, "T1", "small");
    let records = records(&mut feed, 1, 0, 10);
    let mut log = log_of(&feed, &records);
    let mut forged = records[5].1.clone();
    forged.header.committed_at.0 += 1;
    log.record(11, &feed.gateway, &forged);
    let mut unheard = log.clone();
    for s in 12..500 {
        unheard.tick(s);
    }
    // after 60 s, after 120 s more, after 240 s more
    assert_eq!(ordered_at(&unheard), [11, 71, 191, 431]);

    // what the quarantined epoch still sends changes nothing; the Open of another one does
    for s in 12..100 {
        log.tick(s);
    }
    let still = second(&mut feed, 10, |_, _| 1).remove(0);
    let anew = feed.open(epoch(2), at(99));
    log.record(100, &feed.gateway, &still);
    log.record(100, &feed.gateway, &anew);
    for s in 101..500 {
        log.tick(s);
    }
    assert_eq!(ordered_at(&log), [11, 71]);
    let (whole, restored) = (run(&fleet, &log), run_with(&fleet, &log, |at| at % 7 == 0));
    assert_eq!(whole.hash, restored.hash);
}

#[test]
fn what_ingest_refused_is_lost_and_not_asked_for() {
    let fleet = fleet();
    let mut feed = feed(&fleet, "T1", "small");
    let mut records = records(&mut feed, 1, 0, 10);
    let (_, refused) = records.remove(5);
    let mut log = log_of(&feed, &records);
    log.control(
        11,
        &Control::Refused(wire::Refused {
            gateway: feed.gateway.clone(),
            id: refused.header.id.clone(),
            reason: "malformed: cut short".into(),
            sha256: RecordHash([1; 32]),
        }),
    );
    for s in 12..100 {
        log.tick(s);
    }
    let run = run(&fleet, &log);
    let doc = run.status("T1").pop().unwrap();
    assert_eq!((doc.coverage.lost_seqs, doc.coverage.holes), (1, 0));
    assert_eq!(doc.counts.refused_records, 1);
    assert!(run.downlink().is_empty());
}

#[test]
fn a_hole_without_progress_is_asked_for_and_then_less_often() {
    let fleet = fleet();
    let mut feed = feed(&fleet, "T1", "small");
    let mut records = records(&mut feed, 1, 0, 10);
    records.drain(5..8);
    let mut log = log_of(&feed, &records);
    for s in 11..400 {
        log.tick(s);
    }
    let run = run(&fleet, &log);
    let asked = |d: &windlass_cloud_core::task::TaskOutput| d.topic == Topic::Downlink;
    let n = run.out.iter().filter(|o| asked(o)).count();
    // after about 60 s, 120 s more, and the next would be after 240 s more
    assert_eq!(n, 2);
    assert_eq!(run.out.iter().find(|o| asked(o)).unwrap().key, "G1");
    let resends: Vec<_> = run.downlink().into_iter().flat_map(|d| d.resends).collect();
    assert_eq!(
        resends[0],
        Resend {
            turbine: feed.turbine.clone(),
            epoch: epoch(1),
            ranges: vec![SeqRange::new(6, 8).unwrap()],
        }
    );
}

#[test]
fn a_backlog_that_drains_is_not_asked_for() {
    let fleet = fleet();
    let mut feed = feed(&fleet, "T1", "small");
    let records = records(&mut feed, 1, 0, 300);
    let mut log = TestLog::default();
    log.record(300, &feed.gateway, &records[0].1);
    log.record(300, &feed.gateway, &records.last().unwrap().1);
    for (i, (_, record)) in records[1..600].iter().enumerate() {
        log.record(301 + i as i64, &feed.gateway, record);
        log.tick(301 + i as i64);
    }
    let run = run(&fleet, &log);
    assert!(run.downlink().is_empty());
    assert_eq!(run.status("T1").pop().unwrap().coverage.holes, 0);
}

#[test]
fn stamps_too_far_ahead_are_refused_until_log_time_has_come() {
    let fleet = fleet();
    let mut feed = feed(&fleet, "T1", "small");
    let mut log = TestLog::default();
    let open = feed.open(epoch(1), at(0));
    log.record(0, &feed.gateway, &open);
    let ahead = second(&mut feed, 1_000, |_, _| 1);
    log.record(1, &feed.gateway, &ahead[0]);
    let early = run(&fleet, &log);
    assert_eq!(early.dead()[0].meta.reason, Reason::Skew);
    assert_eq!(early.dead()[0].meta.readings, Some(2));
    let doc = early.status("T1").pop();
    assert!(doc.is_none_or(|d| d.counts.records == 1));
    // the clock was right after all: the same bytes count once log time is there
    for s in 2..=20 {
        log.tick(s * 50);
    }
    log.record(1_001, &feed.gateway, &ahead[0]);
    log.tick(1_003);
    let run = run(&fleet, &log);
    let doc = run.status("T1").pop().unwrap();
    assert_eq!((doc.counts.records, doc.counts.refused_records), (2, 1));
    assert_eq!(doc.counts.rejected_readings, 2);
    assert_eq!(doc.coverage.lost_seqs, 0);
}

#[test]
fn suspect_readings_count_in_no_window_and_late_ones_raise_the_revision() {
    let fleet = fleet();
    let mut feed = feed(&fleet, "T1", "small");
    let mut records = records(&mut feed, 1, 0, 61);
    let flagged = |feed: &mut Feed, from, flags| {
        let batches = feed.slice(
            windlass_shared::catalogue::RateGroup::Fast,
            at(from),
            SECOND_US,
            |_, _| 1,
        );
        let mut batch = batches.into_iter().next().unwrap();
        for block in &mut batch.blocks {
            block.flags = flags;
        }
        let frontier = at(61);
        feed.record(Body::Batch(batch), frontier)
    };
    let late = Flags {
        late: true,
        suspect: false,
    };
    let suspect = Flags {
        late: false,
        suspect: true,
    };
    records.push((62, flagged(&mut feed, 30, late)));
    records.push((63, flagged(&mut feed, 4_000, suspect)));
    let mut log = log_of(&feed, &records);
    for s in 64..120 {
        log.tick(s);
    }
    let run = run(&fleet, &log);
    let doc = run.status("T1").pop().unwrap();
    assert_eq!(doc.counts.accepted_readings, 3 * 61 + 4);
    assert_eq!(doc.counts.counted_readings, 3 * 61 + 2);
    assert_eq!(
        (doc.counts.late_readings, doc.counts.suspect_readings),
        (2, 2)
    );
    assert_eq!(doc.event_time, Some(at(60)));
    let minute: Vec<_> = run
        .features()
        .into_iter()
        .filter(|r| r.result.kind == WindowKind::Minute && r.result.start == at(0))
        .map(|r| (r.result.revision, r.result.late, r.result.status))
        .collect();
    assert_eq!(minute, [(1, 0, Status::Exact), (2, 2, Status::Exact)]);
}

#[test]
fn entries_that_cannot_be_read_are_kept_and_change_nothing() {
    let fleet = fleet();
    let mut feed = feed(&fleet, "T1", "small");
    let records = records(&mut feed, 1, 0, 5);
    let mut log = log_of(&feed, &records);
    log.push(6, "T1", vec![0xff; 40]);
    log.push(6, "", Vec::new());
    log.bytes(6, &feed.gateway, &feed.turbine, &[1, 2, 3]);
    log.detectors(6, "version = \"one\"");
    log.tick(7);
    let run = run(&fleet, &log);
    let reasons: Vec<_> = run.dead().iter().map(|d| d.meta.reason).collect();
    assert_eq!(
        reasons,
        [
            Reason::Entry,
            Reason::Entry,
            Reason::Malformed,
            Reason::Detectors
        ]
    );
    assert_eq!(run.dead()[2].bytes, [1, 2, 3]);
    assert_eq!(run.status("T1").pop().unwrap().counts.records, 11);
}

#[test]
fn a_record_of_another_profile_is_refused_for_a_turbine_that_has_windows() {
    let fleet = fleet();
    let mut small = feed(&fleet, "T1", "small");
    let mut log = log_of(&small, &records(&mut small.clone(), 1, 0, 5));
    records(&mut small, 1, 0, 5);
    let mut other = feed(&fleet, "T1", "gearbox-history");
    let open = other.open(epoch(2), at(6));
    for s in 1..=20 {
        log.tick(30 * s);
    }
    log.record(600, &other.gateway, &open);
    let slow = windlass_shared::catalogue::RateGroup::Slow;
    let made = slice(&mut other, slow, 600, 600, |_, _| 1);
    log.record(601, &other.gateway, &made[0]);
    let run = run(&fleet, &log);
    let reasons: Vec<_> = run.dead().iter().map(|d| d.meta.reason).collect();
    assert_eq!(reasons, [Reason::Incompatible]);
}

/// The log time of an idle night must not make the first records of the morning look as if they were far ahead.
#[test]
fn records_after_a_long_silence_of_the_log_are_not_refused() {
    let fleet = fleet();
    let mut feed = feed(&fleet, "T1", "small");
    let mut log = log_of(&feed, &records(&mut feed.clone(), 1, 0, 5));
    records(&mut feed, 1, 0, 5);
    for s in 30_000..30_020 {
        for record in second(&mut feed, s, |_, _| 1) {
            log.record(s + 1, &feed.gateway, &record);
        }
    }
    let run = run(&fleet, &log);
    assert!(run.dead().is_empty());
    assert_eq!(run.status("T1").pop().unwrap().log_time.0, at(30_020).0);
}

#[test]
fn a_snapshot_that_is_damaged_or_of_another_layout_is_not_taken() {
    let fleet = fleet();
    let mut feed = feed(&fleet, "T1", "small");
    let log = log_of(&feed.clone(), &records(&mut feed, 1, 0, 5));
    let good = run(&fleet, &log).snapshot;
    assert!(Partition::restore(&good, fleet.clone()).is_ok());
    for at in [0, 12, 45, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let e = Partition::restore(&bad, fleet.clone()).unwrap_err();
        assert!(matches!(e, RestoreError::Damaged(_)), "{at}: {e}");
    }
    for len in [0, 3, 9, 41, good.len() / 2] {
        assert!(Partition::restore(&good[..len], fleet.clone()).is_err());
    }
    let mut other = good;
    other[4] = 99;
    let e = Partition::restore(&other, fleet).unwrap_err();
    assert_eq!(
        e,
        RestoreError::Layout {
            found: 99,
            expected: 3
        }
    );
}

#[test]
fn settings_change_only_when_they_are_adopted() {
    let fleet = fleet();
    let mut partition = Partition::new(settings(), fleet.clone());
    let mut other = (*settings()).clone();
    other.skew_max_us = 1;
    assert!(!partition.adopt(settings(), fleet.clone()));
    assert!(partition.adopt(Arc::new(other.clone()), fleet.clone()));
    let restored = Partition::restore(&partition.snapshot(), fleet).unwrap();
    assert_eq!(*restored.settings(), other);
}

#[test]
fn an_identity_that_is_refused_twice_is_lost_once() {
    let fleet = fleet();
    let mut feed = feed(&fleet, "T1", "small");
    let mut log = log_of(&feed.clone(), &records(&mut feed, 1, 0, 3));
    for _ in 0..2 {
        let id = RecordId {
            turbine: feed.turbine.clone(),
            epoch: epoch(1),
            seq: Seq(20),
        };
        let refused = wire::Refused {
            gateway: feed.gateway.clone(),
            id,
            reason: "oversized".into(),
            sha256: RecordHash([1; 32]),
        };
        log.control(5, &Control::Refused(refused));
    }
    log.tick(7);
    let doc = run(&fleet, &log).status("T1").pop().unwrap();
    assert_eq!(doc.coverage.lost_seqs, 1);
    assert_eq!((doc.coverage.holes, doc.coverage.missing_seqs), (1, 12));
    assert_eq!(WallTime(doc.log_time.0), WallTime(at(7).0 + 300_000));
}
