//! The lake's promises: exactly once across crashes and repeats, and nothing damaged is believed.

use std::collections::BTreeMap;

use windlass_cloud_core::topic::Topic;
use windlass_shared::id::{ChannelId, Epoch, Seq};
use windlass_shared::record::{Body, Flags, Quality};
use windlass_shared::time::SECOND_US;
use windlass_shared::wire;

use super::evidence::EvidenceColumns;
use super::fixture::{Edge, Entry, Failures, Rig, T0, entry, fleet, tick};
use super::read::Filter;
use super::reading::ReadingColumns;
use super::writer::{Hook, Step};
use super::{LakeError, Table};

/// Two turbines, two epochs of one of them, a seal, late and suspect readings, ticks: about 4 minutes of log.
fn history() -> Vec<Entry> {
    let fleet = fleet();
    let (mut a, open_a) = Edge::open(&fleet, "T1", 1, None);
    let (mut b, open_b) = Edge::open(&fleet, "T3", 2, None);
    let mut log = vec![entry(T0, &a, &open_a), entry(T0, &b, &open_b)];
    let mut t = T0;
    for i in 0..20 {
        t += 10 * SECOND_US;
        let r = a.slice(10);
        log.push(entry(t, &a, &r));
        let r = b.slice(10);
        log.push(entry(t, &b, &r));
        log.push(tick(t));
        if i == 9 {
            let r = a.seal();
            log.push(entry(t, &a, &r));
            let (next, open) = Edge::open(&fleet, "T1", 3, Some(&a));
            a = next;
            log.push(entry(t, &a, &open));
        }
    }
    let late = Flags {
        late: true,
        suspect: false,
    };
    let r = a.flagged(T0 + 5 * SECOND_US, late);
    log.push(entry(t, &a, &r));
    let suspect = Flags {
        late: false,
        suspect: true,
    };
    let r = b.flagged(t + 3_600 * SECOND_US, suspect);
    log.push(entry(t, &b, &r));
    log
}

/// Identity and content of a reading.
type Key = (String, Epoch, Seq, u32);
type Content = (ChannelId, i64, Option<i64>, Quality, bool, bool);

/// Every reading of every record in the log, by identity.
fn expected(log: &[Entry]) -> BTreeMap<Key, Content> {
    let mut all = BTreeMap::new();
    for e in log {
        let Ok(wire::Logged::Telemetry { record, .. }) = wire::decode_logged(&e.value) else {
            continue;
        };
        let record = wire::decode(&record).unwrap();
        let id = record.header.id;
        let Body::Batch(batch) = record.body else {
            continue;
        };
        for block in &batch.blocks {
            for (c, column) in block.columns.iter().enumerate() {
                for (i, time) in block.times.iter().enumerate() {
                    let index = column.at + i as u32;
                    let mark = block
                        .quality
                        .iter()
                        .find(|m| usize::from(m.column) == c && m.row as usize == i);
                    let quality = mark.map_or(Quality::Good, |m| m.quality);
                    let raw = (quality != Quality::NotANumber).then(|| batch.raw[index as usize]);
                    let key = (id.turbine.to_string(), id.epoch, id.seq, index);
                    let flags = block.flags;
                    let content = (
                        column.channel,
                        time.0,
                        raw,
                        quality,
                        flags.late,
                        flags.suspect,
                    );
                    all.insert(key, content);
                }
            }
        }
    }
    all
}

/// Every row of `table`, by identity; a second row of one identity fails.
async fn found(rig: &Rig, table: Table) -> BTreeMap<Key, Content> {
    let view = rig.lake().view().await.unwrap();
    let mut all = BTreeMap::new();
    view.scan_all(table, &Filter::default(), &mut |batch, file| {
        let columns = ReadingColumns::new(batch, &file.path)?;
        for i in 0..columns.len() {
            let r = columns.get(i)?;
            let key = (r.turbine.to_owned(), r.epoch, r.seq, r.index);
            let raw = r.raw.or(r.value.map(|v| v.to_bits() as i64));
            let content = (r.channel_id, r.time.0, raw, r.quality, r.late, r.suspect);
            assert_eq!(all.insert(key.clone(), content), None, "twice: {key:?}");
        }
        Ok(())
    })
    .await
    .unwrap();
    all
}

#[tokio::test]
async fn each_reading_is_there_once_with_its_flags() {
    let log = history();
    let mut rig = Rig::new(60);
    rig.drive(Topic::Telemetry, &log, Failures::none()).await;
    let all = expected(&log);
    assert_eq!(all.len(), 2 * 20 * 30 + 2);
    assert_eq!(found(&rig, Table::Readings).await, all);
    let late: BTreeMap<_, _> = all.into_iter().filter(|(_, c)| c.4).collect();
    assert_eq!(late.len(), 1);
    assert_eq!(found(&rig, Table::Late).await, late);
    assert_eq!(rig.committed, Some(log.len() as u64));
}

#[tokio::test]
async fn names_values_and_units_come_from_the_catalogue() {
    let log = history();
    let mut rig = Rig::new(60);
    rig.drive(Topic::Telemetry, &log, Failures::none()).await;
    let view = rig.lake().view().await.unwrap();
    let mut seen = Vec::new();
    let filter = Filter::turbine("T3");
    view.scan_all(Table::Readings, &filter, &mut |batch, file| {
        assert!(
            file.path
                .starts_with("readings/farm=south/date=2023-11-14/hour=22/")
                || file.path.contains("hour=23")
        );
        let columns = ReadingColumns::new(batch, &file.path)?;
        for i in 0..columns.len() {
            let r = columns.get(i)?;
            assert_eq!(r.turbine, "T3");
            if r.time.0 == T0 {
                seen.push((r.channel.to_owned(), r.unit.to_owned(), r.value, r.raw));
            }
        }
        Ok(())
    })
    .await
    .unwrap();
    let s = T0 / SECOND_US % 1000;
    let tenth = |raw: i64| raw as f64 / 10.0;
    assert_eq!(
        seen,
        [
            ("active_power".into(), "kW".into(), Some(tenth(s)), Some(s)),
            (
                "oil_temperature".into(),
                "degC".into(),
                Some(tenth(s + 10)),
                Some(s + 10)
            ),
            ("vibration".into(), "mm/s".into(), Some(1.0), None),
        ]
    );
}

#[tokio::test]
async fn a_crash_before_any_step_changes_nothing() {
    let log = history();
    let mut clean = Rig::new(60);
    let counted = Failures::none();
    clean.drive(Topic::Telemetry, &log, counted.clone()).await;
    let steps = counted.lock().unwrap().seen.clone();
    let content = clean.content().await;
    for wanted in [
        Step::Intent,
        Step::File(0),
        Step::File(1),
        Step::State,
        Step::Commit,
        Step::Sweep,
        Step::Position,
    ] {
        assert!(steps.contains(&wanted), "{wanted:?} never happened");
    }
    for (at, step) in steps.iter().enumerate() {
        let mut rig = Rig::new(60);
        let crashes = rig
            .drive(Topic::Telemetry, &log, Failures::at(vec![at]))
            .await;
        assert_eq!(crashes, 1, "at {at}");
        assert_eq!(rig.content().await, content, "crash before {step:?}");
    }
}

#[tokio::test]
async fn crashes_one_after_the_other_change_nothing() {
    let log = history();
    let mut clean = Rig::new(30);
    clean.drive(Topic::Telemetry, &log, Failures::none()).await;
    let mut rig = Rig::new(30);
    let crashes = rig
        .drive(
            Topic::Telemetry,
            &log,
            Failures::at((0..60).step_by(2).collect()),
        )
        .await;
    assert_eq!(crashes, 30);
    assert_eq!(rig.content().await, clean.content().await);
}

/// A small generator of numbers for shuffles: a failure is repeated by its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        // Knuth's MMIX constants
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

#[tokio::test]
async fn whatever_the_order_and_the_repeats_each_reading_is_there_once() {
    for seed in 0..12 {
        let mut dice = Dice(seed);
        let mut log = history();
        let all = expected(&log);
        for _ in 0..30 {
            let again = log[dice.below(log.len())].clone();
            log.insert(dice.below(log.len()), again);
        }
        // arrival out of order, as far as the log's times allow
        for i in (1..log.len()).rev() {
            let j = dice.below(i + 1);
            let (a, b) = (log[i].time, log[j].time);
            log.swap(i, j);
            log[i].time = a;
            log[j].time = b;
        }
        let mut rig = Rig::new(20);
        let at = (0..6).map(|_| dice.below(90)).collect();
        rig.drive(Topic::Telemetry, &log, Failures::at(at)).await;
        assert_eq!(found(&rig, Table::Readings).await, all, "seed {seed}");
        let rows = evidence(&rig).await;
        assert_eq!(rows.len(), log.len(), "seed {seed}");
        for (row, e) in rows.iter().zip(&log) {
            assert_eq!(row.2, original(e), "seed {seed}, offset {}", row.0);
        }
    }
}

/// Offset, receipt and bytes of every row of `batches`, by offset.
async fn evidence(rig: &Rig) -> Vec<(u64, String, Option<Vec<u8>>)> {
    let view = rig.lake().view().await.unwrap();
    let mut rows = Vec::new();
    view.scan_all(Table::Batches, &Filter::default(), &mut |batch, file| {
        let columns = EvidenceColumns::new(batch, &file.path)?;
        for i in 0..columns.len() {
            let r = columns.get(i)?;
            rows.push((r.offset, r.receipt.to_owned(), r.bytes.map(<[u8]>::to_vec)));
        }
        Ok(())
    })
    .await
    .unwrap();
    rows.sort();
    rows
}

fn original(e: &Entry) -> Option<Vec<u8>> {
    match wire::decode_logged(&e.value).unwrap() {
        wire::Logged::Telemetry { record, .. } => Some(record),
        wire::Logged::Control(_) => None,
    }
}

#[tokio::test]
async fn the_evidence_says_what_became_of_each_entry() {
    let mut log = history();
    let again = log[2].clone();
    let end = log.last().unwrap().time;
    log.push(Entry { time: end, ..again });
    log.push(Entry {
        time: end,
        key: "T1".to_owned(),
        value: b"no entry".to_vec(),
    });
    let mut rig = Rig::new(60);
    rig.drive(Topic::Telemetry, &log, Failures::none()).await;
    let rows = evidence(&rig).await;
    let offsets: Vec<u64> = rows.iter().map(|r| r.0).collect();
    assert_eq!(offsets, (0..log.len() as u64).collect::<Vec<_>>());
    assert_eq!(rows[0].1, "new");
    assert_eq!(rows[4].1, "control");
    assert_eq!(rows[log.len() - 2].1, "duplicate");
    assert_eq!(rows[log.len() - 1].1, "entry");
    assert_eq!(
        rows[log.len() - 1].2.as_deref(),
        Some(b"no entry".as_slice())
    );
}

#[tokio::test]
async fn damage_is_found_and_named() {
    let log = history();
    let mut rig = Rig::new(60);
    rig.drive(Topic::Telemetry, &log, Failures::none()).await;
    let view = rig.lake().view().await.unwrap();
    let file = view.files(Table::Readings, &Filter::default())[0].clone();
    let path = rig.dir.path().join(&file.path);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let e = view.read(&file).await.unwrap_err();
    assert!(
        matches!(&e, LakeError::Damaged { what: "SHA-256", path, .. } if *path == file.path),
        "{e}"
    );
    std::fs::write(&path, &bytes[1..]).unwrap();
    let e = view.read(&file).await.unwrap_err();
    assert!(
        matches!(&e, LakeError::Damaged { what: "length", .. }),
        "{e}"
    );
    std::fs::remove_file(&path).unwrap();
    let e = view.read(&file).await.unwrap_err();
    assert!(
        matches!(
            &e,
            LakeError::Damaged {
                what: "existence",
                ..
            }
        ),
        "{e}"
    );
}

#[tokio::test]
async fn a_missing_or_changed_marker_stops_writer_and_reader() {
    let log = history();
    let mut rig = Rig::new(60);
    rig.drive(Topic::Telemetry, &log, Failures::none()).await;
    let folder = rig.dir.path().join("_cuts/telemetry-0");
    let mut markers: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.to_string_lossy().ends_with(".commit.json"))
        .collect();
    markers.sort();
    assert!(markers.len() > 2);
    let bytes = std::fs::read(&markers[1]).unwrap();
    std::fs::remove_file(&markers[1]).unwrap();
    let broken = |e: LakeError| assert!(matches!(e, LakeError::Chain { .. }), "{e}");
    broken(rig.lake().view().await.unwrap_err());
    broken(
        rig.recover(Topic::Telemetry, Hook::default())
            .await
            .unwrap_err(),
    );
    // put back with another content: the marker after it names the hash of the true one
    let text = String::from_utf8(bytes.clone()).unwrap();
    std::fs::write(&markers[1], text.replacen("\"rows\"", " \"rows\"", 1)).unwrap();
    broken(rig.lake().view().await.unwrap_err());
    std::fs::write(&markers[1], bytes).unwrap();
    rig.lake().view().await.unwrap();
    // the first one gone: the second says that something was before it
    std::fs::remove_file(&markers[0]).unwrap();
    broken(rig.lake().view().await.unwrap_err());
}

#[tokio::test]
async fn a_position_beyond_the_markers_or_another_log_stops_the_writer() {
    let log = history();
    let mut rig = Rig::new(60);
    rig.drive(Topic::Telemetry, &log, Failures::none()).await;
    rig.committed = Some(log.len() as u64 + 1);
    let e = rig
        .recover(Topic::Telemetry, Hook::default())
        .await
        .unwrap_err();
    assert!(matches!(e, LakeError::Chain { .. }), "{e}");
    rig.committed = None;
    rig.setup.generation += 1;
    let e = rig
        .recover(Topic::Telemetry, Hook::default())
        .await
        .unwrap_err();
    assert!(e.to_string().contains("generation"), "{e}");
}

#[tokio::test]
async fn a_begun_cut_keeps_its_end_when_the_interval_changes() {
    let log = history();
    let mut rig = Rig::new(60);
    // fails right after the second cut's intent
    let failures = Failures::none();
    rig.drive(Topic::Telemetry, &log, failures.clone()).await;
    let clean = rig.content().await;
    let steps = failures.lock().unwrap().seen.clone();
    let intents = steps
        .iter()
        .enumerate()
        .filter(|(_, s)| **s == Step::Intent);
    let second = intents.map(|(i, _)| i).nth(1).unwrap();
    let mut rig = Rig::new(60);
    let failures = Failures::at((second + 1..second + 1_000).collect());
    let hook = {
        let failures = failures.clone();
        Hook::new(move |step| {
            let mut f = failures.lock().unwrap();
            f.seen.push(step);
            if f.at.contains(&(f.seen.len() - 1)) {
                return Err(LakeError::Injected(step));
            }
            Ok(())
        })
    };
    rig.run_once(Topic::Telemetry, &log, hook)
        .await
        .unwrap_err();
    rig.setup.cuts.every_us = 10 * SECOND_US;
    rig.drive(Topic::Telemetry, &log, Failures::none()).await;
    let content = rig.content().await;
    let cuts = |c: &BTreeMap<String, String>| -> Vec<String> {
        c.keys()
            .filter(|k| k.starts_with("telemetry-0/"))
            .cloned()
            .collect()
    };
    assert_eq!(cuts(&content)[..2], cuts(&clean)[..2]);
    assert!(cuts(&content).len() > cuts(&clean).len());
    assert_eq!(found(&rig, Table::Readings).await, expected(&log));
}

#[tokio::test]
async fn a_backlog_of_sixty_days_makes_few_files() {
    let fleet = fleet();
    let (mut edge, open) = Edge::open(&fleet, "T1", 1, None);
    let ten_minutes = 600 * SECOND_US;
    let mut log = vec![entry(T0 + 61 * 86_400 * SECOND_US, &edge, &open)];
    let mut start = windlass_shared::time::EventTime(T0);
    for _ in 0..60 {
        let record = edge.regular(start, ten_minutes, 144);
        start = start.plus_us(144 * ten_minutes);
        log.push(entry(log[0].time, &edge, &record));
    }
    let mut rig = Rig::new(300);
    rig.drive(Topic::Telemetry, &log, Failures::none()).await;
    assert_eq!(found(&rig, Table::Readings).await.len(), 60 * 144 * 3);
    let view = rig.lake().view().await.unwrap();
    // 61 dates; the first and the last hold 2 and 22 hours
    assert_eq!(view.files(Table::Readings, &Filter::default()).len(), 62);
    assert_eq!(view.files(Table::Batches, &Filter::default()).len(), 1);
}

#[tokio::test]
async fn a_backlog_of_a_million_readings_of_one_turbine_ends_the_cut() {
    let (mut edge, open) = Edge::open(&fleet(), "T1", 1, None);
    let mut log = vec![entry(T0 + 3_600 * SECOND_US, &edge, &open)];
    let mut start = windlass_shared::time::EventTime(T0);
    // 65,535 readings each: the sixteenth reaches a million
    for _ in 0..17 {
        let record = edge.regular(start, 1_000, 21_845);
        start = start.plus_us(22 * SECOND_US);
        log.push(entry(log[0].time, &edge, &record));
    }
    let mut rig = Rig::new(300);
    rig.drive(Topic::Telemetry, &log, Failures::none()).await;
    let view = rig.lake().view().await.unwrap();
    let rows = |table| -> Vec<u64> {
        let files = view.files(table, &Filter::default());
        files.iter().map(|f| f.rows).collect()
    };
    assert_eq!(rows(Table::Batches), [17, 1]);
    assert_eq!(rows(Table::Readings), [16 * 65_535, 65_535]);
}
