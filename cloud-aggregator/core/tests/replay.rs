//! The log alone decides: the same entries give the same bytes, wherever snapshots were taken, and whatever is resent.

#![allow(clippy::unwrap_used)] // a test that has not what it expects fails

mod world;

use std::sync::Arc;

use proptest::prelude::*;
use windlass_cloud_core::bench::{Feed, noise};
use windlass_cloud_core::cut::{CutSettings, Cutter, Dedupe, Taken};
use windlass_cloud_core::fleet::Fleet;
use windlass_cloud_core::ingest::readings_of;
use windlass_cloud_core::output::{AlertState, StatusDoc};
use windlass_shared::record::{Body, Record};
use windlass_shared::time::WallTime;
use world::*;

const DETECTORS: &str = r#"
version = 1
[[threshold]]
id = "hot"
cause = "heat"
channel = "temperature"
on = "readings"
persistence = 2
warning_high = 15.0
alarm_high = 18.0
[[threshold]]
id = "hot-minutes"
cause = "heat"
channel = "temperature"
on = "1m"
persistence = 2
warning_high = 12.0
[[threshold]]
id = "hot-five"
cause = "heat"
channel = "temperature"
on = "5m"
statistic = "max"
warning_high = 12.0
[[robust_z]]
id = "odd"
cause = "power"
channel = "power"
window = "1m"
baseline = 16
minimum = 8
spread_min = 0.5
direction = "both"
warning = 2.0
persistence = 2
"#;

/// What two turbines make in some minutes, with two epochs each.
fn history(fleet: &Fleet, seed: u64, seconds: i64) -> Vec<(i64, Feed, Record)> {
    let mut all = Vec::new();
    for (i, turbine) in ["T1", "T2"].into_iter().enumerate() {
        let mut feed = feed(fleet, turbine, "small");
        let half = seconds / 2;
        for (n, from, to) in [(1, 0, half), (2, half + 3, seconds)] {
            let record = feed.open(epoch(n + 10 * i as u8), at(from));
            all.push((from, feed.clone(), record));
            for s in from..to {
                let hot = noise(seed, s as u64 / 40, 9, 5) == 0;
                let raw = |c: &windlass_shared::catalogue::Channel,
                           t: windlass_shared::time::EventTime| {
                    let jitter = noise(seed, u64::from(c.id.0), t.0 as u64, 30) as i64;
                    jitter + if hot { 160 } else { 90 }
                };
                for record in second(&mut feed, s, raw) {
                    all.push((s + 1, feed.clone(), record));
                }
            }
            let seal = feed.seal();
            all.push((to, feed.clone(), seal));
        }
    }
    all.sort_by_key(|(s, ..)| *s);
    all
}

/// A log of the history: each record delayed by up to `delay` seconds, some twice, with ticks.
fn log_of(history: &[(i64, Feed, Record)], seed: u64, delay: u64, twice_in: u64) -> TestLog {
    let mut sends: Vec<(i64, usize)> = Vec::new();
    for (i, (s, ..)) in history.iter().enumerate() {
        let late = |n| noise(seed, i as u64, n, delay + 1) as i64;
        sends.push((s + late(1), i));
        if noise(seed, i as u64, 2, twice_in) == 0 {
            sends.push((s + late(1) + late(3), i));
        }
    }
    sends.sort_by_key(|(s, i)| (*s, noise(seed, *i as u64, 4, 1_000)));
    let mut log = TestLog::default();
    log.detectors(0, DETECTORS);
    let mut ticked = 0;
    for (s, i) in sends {
        for t in ticked..s {
            log.tick(t);
        }
        ticked = ticked.max(s);
        let (_, feed, record) = &history[i];
        log.record(s, &feed.gateway, record);
    }
    for t in ticked..ticked + 40 {
        log.tick(t);
    }
    log
}

fn last(run: &Run, turbine: &str) -> StatusDoc {
    run.status(turbine).pop().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn the_same_log_gives_the_same_bytes_wherever_it_is_restored(
        seed in any::<u64>(),
        delay in 0_u64..60,
        restarts in 1_u64..40,
    ) {
        let fleet = fleet();
        let log = log_of(&history(&fleet, seed, 400), seed, delay, 5);
        let whole = run(&fleet, &log);
        let pieces = run_with(&fleet, &log, |o| noise(seed, o as u64, 5, 400) < restarts);
        prop_assert_eq!(&whole.out, &pieces.out);
        prop_assert_eq!(whole.hash, pieces.hash);
        prop_assert_eq!(&whole.snapshot, &pieces.snapshot);
    }

    #[test]
    fn every_reading_counts_once_in_any_order(seed in any::<u64>(), delay in 0_u64..90) {
        let fleet = fleet();
        let history = history(&fleet, seed, 400);
        let run = run(&fleet, &log_of(&history, seed, delay, 3));
        for turbine in ["T1", "T2"] {
            let mine = history.iter().filter(|(_, f, _)| f.turbine.as_str() == turbine);
            let records: Vec<&Record> = mine.map(|(.., r)| r).collect();
            let doc = last(&run, turbine);
            prop_assert_eq!(doc.counts.records, records.len() as u64);
            let readings = records.iter().map(|r| readings_of(r)).sum::<u64>();
            prop_assert_eq!(doc.counts.accepted_readings, readings);
            prop_assert_eq!(doc.coverage.holes, 0);
            prop_assert_eq!(doc.coverage.lost_seqs, 0);
        }
    }

    /// What is confirmed depends on the settled windows alone.
    #[test]
    fn confirmed_alerts_do_not_depend_on_the_order_of_arrival(seed in any::<u64>(), delay in 1_u64..90) {
        let fleet = fleet();
        let history = history(&fleet, seed, 900);
        let confirmed = |log: &TestLog| {
            let mut found: Vec<_> = run(&fleet, log)
                .alerts()
                .into_iter()
                // a confirmation quotes its window; taking back a provisional level does not
                .filter(|a| a.state == AlertState::Confirmed && a.window.kind != "none")
                .map(|a| (a.turbine.to_string(), a.rule, a.level, a.window.start))
                .collect();
            found.sort();
            found.dedup();
            found
        };
        let in_order = confirmed(&log_of(&history, seed, 0, 1_000));
        let shuffled = confirmed(&log_of(&history, seed, delay, 3));
        prop_assert_eq!(in_order, shuffled);
    }

    /// The lake admits what the task admits, each reading in one cut, and cuts where it would have cut without a restart.
    #[test]
    fn the_lake_has_each_reading_once(seed in any::<u64>(), delay in 0_u64..60, entries in 20_u64..300) {
        let fleet = fleet();
        let log = log_of(&history(&fleet, seed, 300), seed, delay, 3);
        let run = run(&fleet, &log);
        let settings = CutSettings { entries_max: entries, ..CutSettings::default() };
        let (whole, a) = cuts(&fleet, &log, &settings, |_| false);
        let (pieces, b) = cuts(&fleet, &log, &settings, |o| noise(seed, o as u64, 6, 60) == 0);
        prop_assert_eq!(&whole, &pieces);
        prop_assert_eq!(a, b);
        let counted: u64 = ["T1", "T2"].iter().map(|t| last(&run, t).counts.accepted_readings).sum();
        prop_assert_eq!(a, counted);
        prop_assert_eq!(whole[0].0, 0);
        prop_assert!(whole.windows(2).all(|w| w[1].0 == w[0].1 + 1));
    }
}

/// Cuts as (first, last), and the readings of the records that count. At a restart, what was not committed is taken again.
fn cuts(
    fleet: &Arc<Fleet>,
    log: &TestLog,
    settings: &CutSettings,
    restart: impl Fn(usize) -> bool,
) -> (Vec<(u64, u64)>, u64) {
    let new = (Cutter::new(settings.clone()), Dedupe::default());
    let mut committed = postcard::to_stdvec(&new).unwrap();
    let (mut cutter, mut dedupe) = new;
    let (mut done, mut readings, mut open) = (Vec::new(), 0, 0);
    let mut restarted = std::collections::BTreeSet::new();
    let mut offset = 0;
    while offset < log.0.len() {
        if restart(offset) && restarted.insert(offset) {
            (cutter, dedupe) = postcard::from_bytes(&committed).unwrap();
            offset = cutter.position() as usize;
            open = 0;
        }
        let input = log.input(offset);
        if cutter.ends_before(&input)
            && let Some(cut) = cutter.close()
        {
            committed = postcard::to_stdvec(&(cutter.clone(), dedupe.clone())).unwrap();
            done.push((cut.first, cut.last));
            readings += open;
            open = 0;
        }
        let now = cutter.take(&input);
        if let Taken::Fresh { record, .. } = dedupe.take(fleet, 300_000_000, &input, now)
            && let Body::Batch(_) = &record.body
        {
            open += readings_of(&record);
        }
        offset += 1;
    }
    if let Some(cut) = cutter.close() {
        done.push((cut.first, cut.last));
        readings += open;
    }
    (done, readings)
}

#[test]
fn a_cut_ends_by_entries_by_bytes_and_by_log_time() {
    let mut log = TestLog::default();
    for (s, len) in [
        (0, 10),
        (1, 10),
        (2, 10),
        (3, 90),
        (4, 30),
        (310, 10),
        (311, 10),
        (312, 10),
    ] {
        log.push(s, "k", vec![0; len]);
    }
    // the jump of more than a minute needs its confirmation by another writer
    log.0[5].writer = 2;
    log.0[6].writer = 1;
    let settings = CutSettings {
        entries_max: 3,
        bytes_max: 100,
        every_us: 300_000_000,
    };
    let mut cutter = Cutter::new(settings);
    let mut found = Vec::new();
    for offset in 0..log.0.len() {
        let input = log.input(offset);
        if cutter.ends_before(&input) {
            let cut = cutter.close().unwrap();
            found.push((cut.first, cut.last));
        }
        cutter.take(&input);
    }
    // three entries; 90 bytes and 30 are too many together; the slot ends once the jump is confirmed
    assert_eq!(found, [(0, 2), (3, 3), (4, 5)]);
    assert_eq!(log.0[6].log_time, WallTime(at(311).0));
}
