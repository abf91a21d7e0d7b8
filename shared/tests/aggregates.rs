//! Aggregates by kind, in exact numbers.

#![allow(clippy::unwrap_used)] // a test: a failure to unwrap is a failed test

use windlass_shared::catalogue::{Catalogue, Channel, Class, Kind, RateGroup, Raw};
use windlass_shared::id::{ChannelId, Epoch, Seq};
use windlass_shared::pane::{Added, Aggregate, ChannelAggregate, Pane};
use windlass_shared::record::{Batch, Block, Column, Flags, Quality, QualityMark, Times};
use windlass_shared::time::{EventTime, SECOND_US};

const MINUTE: i64 = 1_700_000_400 * SECOND_US;

fn catalogue(kind: Kind) -> Catalogue {
    Catalogue::new(
        "test",
        1,
        vec![Channel {
            id: ChannelId(7),
            name: "x".to_owned(),
            unit: if kind == Kind::Angle { "deg" } else { "" }.to_owned(),
            kind,
            raw: Raw::Int,
            scale_num: 1,
            scale_den: 10,
            offset_num: if kind == Kind::Analogue { -400 } else { 0 },
            period_us: if kind == Kind::State { SECOND_US } else { 0 },
            class: Class::Condition,
            rate_group: if kind == Kind::Event {
                RateGroup::Event
            } else {
                RateGroup::Slow
            },
            modulus: (kind == Kind::Counter).then_some(100),
        }],
    )
    .unwrap()
}

/// A pane with readings at these seconds and raw values, in this order, one record each.
fn of(kind: Kind, readings: &[(i64, i64)]) -> (Catalogue, ChannelAggregate) {
    let catalogue = catalogue(kind);
    let mut pane = Pane::new(EventTime(MINUTE));
    for (i, (second, raw)) in readings.iter().enumerate() {
        let batch = batch(&[*second], &[*raw], false, Vec::new());
        let added = pane.add(&catalogue, Epoch([1; 16]), Seq(i as u64 + 2), &batch);
        assert_eq!((added.counted, added.bad), (1, 0));
    }
    let channels = pane.channels(&catalogue);
    (catalogue, channels[0].clone())
}

fn batch(seconds: &[i64], raw: &[i64], float: bool, quality: Vec<QualityMark>) -> Batch {
    let times = seconds.iter().map(|s| EventTime(MINUTE + s * SECOND_US));
    Batch {
        catalogue: catalogue(Kind::Analogue).hash,
        class: Class::Condition,
        rate_group: RateGroup::Slow,
        blocks: vec![Block {
            flags: Flags::default(),
            times: Times::Listed(times.collect()),
            columns: vec![Column {
                channel: ChannelId(7),
                float,
                at: 0,
            }],
            quality,
        }],
        raw: raw.to_vec(),
    }
}

#[test]
fn analogue_has_mean_spread_and_extremes() {
    let (c, a) = of(Kind::Analogue, &[(1, 400), (2, 410), (3, 420), (4, 430)]);
    assert_eq!(a.headline(&c), Some(1.5)); // 0, 1, 2, 3 with the offset
    assert_eq!(a.mean(&c), Some(1.5));
    assert_eq!(a.std(&c), Some(1.25f64.sqrt()));
    assert_eq!(a.min_max(&c), Some((0.0, 3.0)));
}

#[test]
fn rms_is_the_energy_mean() {
    let (c, a) = of(Kind::Rms, &[(1, 30), (2, 40)]);
    assert_eq!(a.headline(&c), Some(12.5f64.sqrt()));
}

#[test]
fn the_mean_direction_goes_over_north() {
    let (c, a) = of(
        Kind::Angle,
        &[(1, 3_500), (2, 100), (3, 3_700 - 7_200), (4, -100)],
    );
    let north = a.headline(&c).unwrap();
    assert!(north.min(360.0 - north) < 1e-6, "{north}");
    let (c, a) = of(Kind::Angle, &[(1, 0), (2, 1_800)]);
    assert!(matches!(a.value, Aggregate::Circular { cos: 0, sin: 0 }));
    assert_eq!(a.headline(&c), None); // opposite directions have no mean
}

#[test]
fn a_counter_rolls_over_and_resets() {
    // in order of time: 90, 95, 5 (roll-over), 30, 10 (reset), 12
    let readings = [(6, 12), (1, 90), (3, 5), (2, 95), (5, 10), (4, 30)];
    let (c, a) = of(Kind::Counter, &readings);
    let Aggregate::Delta { delta, first, last } = a.value else {
        panic!("{a:?}");
    };
    assert_eq!(delta, 5 + 10 + 25 + 10 + 2);
    assert_eq!((first.raw, last.raw), (90, 12));
    assert_eq!(a.headline(&c), Some(5.2));
}

#[test]
fn states_setpoints_and_codes() {
    let (c, a) = of(Kind::State, &[(1, 3), (2, 1), (3, 3), (4, 1), (5, 9)]);
    assert_eq!(a.value, Aggregate::States(vec![(1, 2), (3, 2), (9, 1)]));
    assert_eq!(a.headline(&c), Some(0.1)); // the least of the longest
    let (c, a) = of(Kind::Setpoint, &[(9, 50), (3, 80), (9, 40)]);
    assert_eq!(a.headline(&c), Some(4.0)); // of equal times the later record
    assert_eq!(a.min_max(&c), Some((4.0, 8.0)));
    let (c, a) = of(Kind::Event, &[(5, 7), (1, 9)]);
    let Aggregate::Codes(codes) = &a.value else {
        panic!("{a:?}");
    };
    assert_eq!(codes.iter().map(|p| p.raw).collect::<Vec<_>>(), [9, 7]);
    assert_eq!(a.headline(&c), Some(2.0));
}

#[test]
fn what_is_bad_is_counted_and_nothing_else() {
    let c = catalogue(Kind::Analogue);
    let mut pane = Pane::new(EventTime(MINUTE));
    let mark = |row, quality| QualityMark {
        column: 0,
        row,
        quality,
    };
    let marks = vec![
        mark(0, Quality::Bad),
        mark(1, Quality::Uncertain),
        mark(3, Quality::NotANumber),
    ];
    let values = [1.0, 2.0, 3.0, f64::NAN, f64::INFINITY, 1e300].map(|v: f64| v.to_bits() as i64);
    let added = pane.add(
        &c,
        Epoch([1; 16]),
        Seq(2),
        &batch(&[0, 1, 2, 3, 4, 90], &values, true, marks),
    );
    let expected = Added {
        counted: 2,
        bad: 3,
        ..Added::default()
    };
    assert_eq!(added, expected); // the last belongs to another minute
    let a = &pane.channels(&c)[0];
    assert_eq!((a.n, a.bad, a.headline(&c)), (2, 3, Some(2.5)));
    // of a channel that is all bad nothing is said but how many
    let mut pane = Pane::new(EventTime(MINUTE));
    let marks = vec![mark(0, Quality::Bad)];
    pane.add(&c, Epoch([1; 16]), Seq(2), &batch(&[0], &[5], false, marks));
    let a = &pane.channels(&c)[0];
    assert_eq!((a.n, a.bad, &a.value), (0, 1, &Aggregate::Nothing));
    assert_eq!(a.headline(&c), None);
}
