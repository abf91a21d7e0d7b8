//! Files become readings: shapes, odd rows, any cut of the bytes, restarts at any moment.
#![allow(clippy::unwrap_used)] // a test that cannot go on shall panic

mod world;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use proptest::prelude::*;
use windlass_edge_core::csv_replay::{
    CsvError, CsvLayout, CsvReplay, IntervalLabel, Pace, Taken, TimeText, TurbineColumn,
    ValueColumns, Zone,
};
use windlass_edge_core::{Input, Reading, SourceKind, Value};
use windlass_shared::id::TurbineId;
use windlass_shared::record::{Body, Quality};
use windlass_shared::time::{EventTime, MonoTime, SECOND_US};
use world::*;

const MINUTES_10: i64 = 600 * SECOND_US;

fn wide() -> CsvLayout {
    CsvLayout {
        delimiter: b',',
        decimal_comma: false,
        turbines: TurbineColumn::Named {
            column: "who".into(),
            turbines: BTreeMap::from([("A".into(), turbine("T1")), ("B".into(), turbine("T2"))]),
        },
        values: ValueColumns::Wide(vec![("power".into(), POWER), ("strain".into(), STRAIN)]),
        time_column: "at".into(),
        time: TimeText {
            format: "%s".into(),
            zone: Zone::InText,
        },
        interval_us: MINUTES_10,
        label: IntervalLabel::Start,
        absent: vec!["n/a".into()],
    }
}

fn float(
    channel: windlass_shared::id::ChannelId,
    at: i64,
    value: f64,
    quality: Quality,
) -> Reading {
    Reading {
        channel,
        time: EventTime(at * SECOND_US),
        value: Value::Float(value),
        quality,
    }
}

fn take_all(layout: CsvLayout, text: &[u8]) -> Taken {
    let mut replay = CsvReplay::begin(layout, text, None, Pace::unbounded()).unwrap();
    let at = replay.offset() as usize;
    replay.take(MonoTime(0), &text[at..], true, usize::MAX)
}

#[test]
fn a_wide_file_with_everything_in_it() {
    let text = b"who,at,unused,power,strain\r\n\
        A,1000,x,1.5,2.25\r\n\
        B,1000,x,,inf\r\n\
        A,1600,\"a \"\"quoted\"\"\nfield\", -3 ,NaN\r\n\
        \r\n\
        C,1600,x,7,7\r\n\
        A,never,x,1,1\r\n\
        A,2200,x,seven,n/a\r\n\
        A,2200,x,1\r\n\
        B,1600,x,4,5";
    let taken = take_all(wide(), text);
    assert_eq!(taken.consumed, text.len() - 28);
    let (t1, t2) = (&taken.parts[0], &taken.parts[1]);
    assert_eq!(t1.turbine, turbine("T1"));
    let expected = [
        float(POWER, 1000, 1.5, Quality::Good),
        float(STRAIN, 1000, 2.25, Quality::Good),
        float(POWER, 1600, -3.0, Quality::Good),
    ];
    assert_eq!(t1.readings[..3], expected);
    assert_eq!(t1.readings[3].quality, Quality::NotANumber);
    assert_eq!(t1.readings.len(), 4);
    // the row at 2200 has no value, and still says how far the file has come
    assert_eq!(t1.complete_until, EventTime(2800 * SECOND_US));
    let expected = [
        float(STRAIN, 1000, f64::INFINITY, Quality::OutOfRange),
        float(POWER, 1600, 4.0, Quality::Good),
        float(STRAIN, 1600, 5.0, Quality::Good),
    ];
    assert_eq!(t2.readings, expected);
    let bad: Vec<_> = taken
        .bad
        .iter()
        .map(|b| (b.line, b.what.as_str()))
        .collect();
    assert_eq!(bad.len(), 3, "{bad:?}");
    // the quoted field spans two lines, and the empty line counts
    assert_eq!(bad[0].0, 8);
    assert!(bad[0].1.starts_with("column `at`: time `never`"), "{bad:?}");
    assert_eq!(bad[1], (9, "column `power`: `seven`, expected a number"));
    assert_eq!(bad[2], (10, "4 fields, expected 5 as in the header"));
    assert_eq!(taken.bad[2].text, b"A,2200,x,1\r\n");
    let started = [
        (turbine("T1"), EventTime(1000 * SECOND_US)),
        (turbine("T2"), EventTime(1000 * SECOND_US)),
    ];
    assert_eq!(taken.started, started);
}

#[test]
fn a_long_file_in_local_spelling_labelled_at_the_end() {
    let layout = CsvLayout {
        delimiter: b';',
        decimal_comma: true,
        turbines: TurbineColumn::All(turbine("T1")),
        values: ValueColumns::Long {
            channel_column: "tag".into(),
            value_column: "v".into(),
            channels: BTreeMap::from([("P".into(), POWER)]),
        },
        label: IntervalLabel::End,
        ..wide()
    };
    let taken = take_all(
        layout,
        b"\xef\xbb\xbfat;tag;v\n1600;P;12,5\n1600;Q;1\n2200;P;-0,1\n",
    );
    assert_eq!(taken.bad, []);
    let expected = [
        float(POWER, 1000, 12.5, Quality::Good),
        float(POWER, 1600, -0.1, Quality::Good),
    ];
    assert_eq!(taken.parts[0].readings, expected);
    assert_eq!(taken.parts[0].complete_until, EventTime(2200 * SECOND_US));
}

#[test]
fn what_is_missing_is_named_at_once() {
    let error = CsvReplay::begin(wide(), b"when,power,who\n", None, Pace::unbounded()).unwrap_err();
    let text = error.to_string();
    assert_eq!(
        text,
        "the file has no column `at`, `strain`; found when, power, who"
    );
}

#[test]
fn a_position_is_of_one_file() {
    let head = b"who,at,power,strain\n";
    let mut replay = CsvReplay::begin(wide(), head, None, Pace::unbounded()).unwrap();
    let position = replay
        .take(MonoTime(0), b"A,1000,1,2\n", false, 10)
        .position;
    let again = CsvReplay::begin(wide(), head, Some(&position), Pace::unbounded()).unwrap();
    assert_eq!(again.offset(), 31);
    let other = CsvReplay::begin(
        wide(),
        b"who,at,strain,power\n",
        Some(&position),
        Pace::unbounded(),
    );
    assert_eq!(other.unwrap_err(), CsvError::OtherFile);
    let garbled = CsvReplay::begin(wide(), head, Some(b"x"), Pace::unbounded());
    assert!(matches!(garbled, Err(CsvError::Position(_))));
}

#[test]
fn rows_wait_for_their_time() {
    let text = b"who,at,power,strain\nA,1000,1,2\nA,1600,1,2\nA,700,1,2\nA,2200,1,2\n";
    let mut replay = CsvReplay::begin(wide(), text, None, Pace::real_time(60.0)).unwrap();
    let mut rest = &text[20..];
    let mut due = Vec::new();
    let mut now = MonoTime(7);
    while !rest.is_empty() {
        let taken = replay.take(now, rest, true, 10);
        due.push((now.0 - 7, taken.rows));
        rest = &rest[taken.consumed..];
        now = taken.wait_until.unwrap_or(now);
    }
    // 600 s of the file are 10 s; the row that jumps back is due with the one before it, and taken apart
    assert_eq!(
        due,
        [(0, 1), (10_000_000, 1), (10_000_000, 1), (20_000_000, 1)]
    );
}

fn file(times: &[(bool, u16)]) -> Vec<u8> {
    let mut text = String::from("who,at,power,strain\n");
    for (i, (first, time)) in times.iter().enumerate() {
        let who = if *first { "A" } else { "B" };
        writeln!(
            text,
            "{who},{},{i},{}.5",
            1_000_000 + i64::from(*time),
            i * 2
        )
        .unwrap();
    }
    text.into_bytes()
}

type Delivered = BTreeMap<TurbineId, (Vec<Reading>, EventTime)>;

/// What a replay delivers when its bytes come in pieces.
fn in_pieces(text: &[u8], pieces: &[usize]) -> (Delivered, Vec<u8>) {
    let mut all = Delivered::new();
    let mut replay = CsvReplay::begin(wide(), text, None, Pace::unbounded()).unwrap();
    let mut position = Vec::new();
    let mut pieces = pieces.iter().cycle();
    let (mut from, mut to) = (replay.offset() as usize, replay.offset() as usize);
    while from < text.len() {
        to = (to + pieces.next().unwrap()).min(text.len());
        let taken = replay.take(MonoTime(0), &text[from..to], to == text.len(), 3);
        from += taken.consumed;
        for part in taken.parts {
            let entry = all
                .entry(part.turbine)
                .or_insert((Vec::new(), EventTime::MIN));
            entry.0.extend(part.readings);
            assert!(part.complete_until >= entry.1);
            entry.1 = part.complete_until;
        }
        position = taken.position;
    }
    (all, position)
}

#[test]
fn a_row_that_steps_back_is_not_taken_with_the_rows_before_it() {
    // 1000 is completed until 1600, and 2200 until 2800: 1600 and 1000 step back, B has a promise of its own
    let text = b"who,at,power,strain\nA,1000,1,\nA,2200,2,\nB,1000,3,\nA,1600,4,\nA,1000,5,\nA,2800,6,\nA,2800,7,\n";
    let mut replay = CsvReplay::begin(wide(), text, None, Pace::unbounded()).unwrap();
    let mut rest = &text[20..];
    let mut rows = Vec::new();
    while !rest.is_empty() {
        let taken = replay.take(MonoTime(0), rest, true, 100);
        rows.push(taken.rows);
        rest = &rest[taken.consumed..];
    }
    assert_eq!(rows, [3, 3, 1]);
}

#[test]
fn in_a_long_file_the_same_time_may_follow_until_the_file_ends() {
    let text = b"at,tag,v\n1000,P,1\n1000,S,2\n1600,P,3\n1600,S,4\n1000,S,5\n";
    let mut replay = CsvReplay::begin(long(), text, None, Pace::unbounded()).unwrap();
    let head = replay.offset() as usize;
    let first = replay.take(MonoTime(0), &text[head..], true, 100);
    assert_eq!(first.rows, 4);
    assert_eq!(first.parts[0].complete_until, EventTime(1600 * SECOND_US));
    let second = replay.take(MonoTime(0), &text[head + first.consumed..], true, 100);
    assert_eq!(second.rows, 1);
    assert_eq!(second.parts[0].complete_until, EventTime(2200 * SECOND_US));
}

fn long() -> CsvLayout {
    CsvLayout {
        turbines: TurbineColumn::All(turbine("T1")),
        values: ValueColumns::Long {
            channel_column: "tag".into(),
            value_column: "v".into(),
            channels: BTreeMap::from([("P".into(), POWER), ("S".into(), STRAIN)]),
        },
        ..wide()
    }
}

#[test]
fn a_file_that_was_exchanged_is_noticed() {
    let text = b"who,at,power,strain\nA,1000,1,2\nA,1600,1,2\n";
    let mut replay = CsvReplay::begin(wide(), text, None, Pace::unbounded()).unwrap();
    let taken = replay.take(MonoTime(0), &text[20..], false, 1);
    let again = CsvReplay::begin(wide(), text, Some(&taken.position), Pace::unbounded()).unwrap();
    assert_eq!(again.last_row(), Some((20, 11)));
    assert_eq!(again.check(31, b"A,1000,1,2\n"), Ok(()));
    let shorter = again.check(30, b"A,1000,1,2").unwrap_err();
    assert_eq!(
        shorter,
        CsvError::Shorter {
            offset: 31,
            size: 30
        }
    );
    let other = again.check(99, b"A,1000,1,3\n").unwrap_err();
    assert_eq!(other, CsvError::OtherContent { line: 2 });
    // nothing was read: there is nothing to compare with
    let fresh = CsvReplay::begin(wide(), text, None, Pace::unbounded()).unwrap();
    assert_eq!((fresh.last_row(), fresh.check(20, b"")), (None, Ok(())));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn how_the_bytes_come_does_not_matter(
        times in prop::collection::vec((any::<bool>(), any::<u16>()), 1..30),
        pieces in prop::collection::vec(1usize..60, 1..8),
    ) {
        let text = file(&times);
        prop_assert_eq!(in_pieces(&text, &pieces), in_pieces(&text, &[text.len()]));
    }

    #[test]
    fn each_value_is_recorded_once_whatever_the_restarts(
        times in prop::collection::vec((any::<bool>(), 0u16..2000), 1..60),
        steps in prop::collection::vec((0u64..1_500_000, 1usize..9, any::<bool>()), 1..40),
    ) {
        let text = file(&times);
        let mut settings = settings(&["T1", "T2"], SourceKind::File { hold_us: 1_000_000 });
        settings.recording.file_cut_readings = 16;
        let mut w = World::new(settings, 0);
        let mut replay = CsvReplay::begin(wide(), &text, None, Pace::unbounded()).unwrap();
        let mut seed = 0;
        // random steps with power cuts between them, then to the end
        let end = std::iter::repeat_n((2_000_000, 7, false), 40);
        for (us, rows, cut) in steps.into_iter().chain(end) {
            if cut {
                seed += 1;
                w.restart(seed);
                let position = w.store.position(&world::file()).map(<[u8]>::to_vec);
                replay = CsvReplay::begin(wide(), &text, position.as_deref(), Pace::unbounded()).unwrap();
            }
            let from = replay.offset() as usize;
            hand_in(&mut w, replay.take(MonoTime(0), &text[from..], true, rows));
            w.run(us);
        }
        check_once(&w, &times, &late_in(&times));
    }

    #[test]
    fn what_is_late_does_not_depend_on_the_speed(
        times in prop::collection::vec((any::<bool>(), 0u16..4000), 1..60),
        waits in prop::collection::vec(0u64..3_000_000, 1..5),
        rows in 1usize..80,
    ) {
        let text = file(&times);
        let mut w = World::new(settings(&["T1", "T2"], SourceKind::File { hold_us: 1_000_000 }), 0);
        let mut replay = CsvReplay::begin(wide(), &text, None, Pace::unbounded()).unwrap();
        let mut waits = waits.iter().cycle();
        while replay.offset() < text.len() as u64 {
            let from = replay.offset() as usize;
            hand_in(&mut w, replay.take(MonoTime(0), &text[from..], true, rows));
            if let Some(us) = waits.next().filter(|us| **us > 1_000_000) {
                w.run(*us);
            }
        }
        w.run(5_000_000);
        check_once(&w, &times, &late_in(&times));
    }
}

/// The definition, naively: a row is late when a row before it of the same turbine ends after it begins.
fn late_in(times: &[(bool, u16)]) -> Vec<bool> {
    let late = |i: usize| {
        let (who, time) = times[i];
        (times[..i].iter()).any(|(w, t)| *w == who && i64::from(*t) + 600 > i64::from(time))
    };
    (0..times.len()).map(late).collect()
}

fn hand_in(w: &mut World, taken: Taken) {
    for (turbine, not_before) in taken.started {
        let source = world::file();
        w.input(Input::SourceStarted {
            turbine,
            source,
            not_before,
        });
    }
    let last = taken.parts.len();
    for (i, part) in taken.parts.into_iter().enumerate() {
        w.input(Input::Readings {
            turbine: part.turbine,
            source: world::file(),
            readings: part.readings,
            position: (i + 1 == last).then(|| taken.position.clone()),
            complete_until: part.complete_until,
        });
    }
}

fn check_once(w: &World, times: &[(bool, u16)], late: &[bool]) {
    let mut found = BTreeMap::new();
    for record in w.records() {
        let Body::Batch(batch) = record.body else {
            continue;
        };
        for block in &batch.blocks {
            for column in block.columns.iter().filter(|c| c.channel == POWER) {
                for (row, time) in block.times.iter().enumerate() {
                    // power has a scale of 0.1: the raw value is ten times the row's number
                    let raw = batch.raw[column.at as usize + row];
                    let late = block.flags.late;
                    let key = (raw / 10, record.header.id.turbine.clone(), time.0, late);
                    *found.entry(key).or_insert(0) += 1;
                }
            }
        }
    }
    let expected: BTreeMap<_, _> = times
        .iter()
        .enumerate()
        .map(|(i, (first, time))| {
            let who = turbine(if *first { "T1" } else { "T2" });
            (
                (
                    i as i64,
                    who,
                    (1_000_000 + i64::from(*time)) * SECOND_US,
                    late[i],
                ),
                1,
            )
        })
        .collect();
    assert_eq!(found, expected);
}
