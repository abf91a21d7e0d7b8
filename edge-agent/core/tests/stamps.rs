//! Stamps by brute force: over any readings, slices, crashes, clocks and evictions, what a record's stamps claim is true of
//! the whole sequence that was ever committed.
#![allow(clippy::unwrap_used)] // a test that cannot go on shall panic

mod world;

use std::collections::BTreeMap;

use proptest::prelude::*;
use windlass_edge_core::{Input, RowLevel, SourceKind, SourceSettings};
use windlass_shared::id::Epoch;
use windlass_shared::record::{Body, Head, Record};
use windlass_shared::time::{EventTime, SECOND_US, WallTime};
use windlass_shared::wire;
use world::*;

#[derive(Debug, Clone)]
enum Step {
    /// Live readings: (channel, age of each in ms; negative: ahead), then the promise's age in ms.
    Live(Vec<(u16, i64)>, i64),
    /// A file's readings: (channel, time in ms), with a position or without.
    File(Vec<(u16, i64)>, bool),
    Wait(u64),
    Crash,
    ClockBack(i64),
    Link(bool),
    Full(usize),
    EndFile,
}

fn step() -> impl Strategy<Value = Step> {
    let live = prop::collection::vec((1u16..6, -4000i64..12_000), 0..12);
    let file = prop::collection::vec((1u16..6, 0i64..100_000), 0..6);
    prop_oneof![
        8 => (live, 0i64..3000).prop_map(|(r, p)| Step::Live(r, p)),
        3 => (file, any::<bool>()).prop_map(|(r, p)| Step::File(r, p)),
        8 => (1u64..4_000_000).prop_map(Step::Wait),
        1 => Just(Step::Crash),
        1 => (1i64..100).prop_map(Step::ClockBack),
        1 => any::<bool>().prop_map(Step::Link),
        1 => (1usize..3).prop_map(Step::Full),
        1 => Just(Step::EndFile),
    ]
}

fn world() -> World {
    let mut settings = settings(&["T1"], SourceKind::Live);
    settings.sources.push(SourceSettings {
        id: file(),
        kind: SourceKind::File { hold_us: 700_000 },
        turbines: vec![turbine("T1")],
    });
    settings.recording.record_readings_max = 5;
    settings.recording.seal_every_records = 17;
    // small enough that a few minutes of readings must evict
    settings.disk.budget_bytes = 12_000;
    World::new(settings, 0)
}

fn run_step(w: &mut World, step: Step, crashes: &mut u8, file_until: &mut i64) {
    let wall = w.now.wall.0;
    match step {
        Step::Live(readings, promise) => {
            let readings = readings
                .into_iter()
                .map(|(c, age)| reading(windlass_shared::id::ChannelId(c), wall - age * 1000, age))
                .collect();
            w.input(Input::Readings {
                turbine: turbine("T1"),
                source: live(),
                readings,
                position: None,
                complete_until: EventTime(wall - promise * 1000),
            });
        }
        Step::File(readings, position) => {
            let readings: Vec<_> = readings
                .into_iter()
                .map(|(c, at)| reading(windlass_shared::id::ChannelId(c), BEGIN + at * 1000, at))
                .collect();
            let latest = readings.iter().map(|r| r.time.0 + 1).max();
            *file_until = latest.unwrap_or(BEGIN).max(*file_until);
            w.input(Input::Readings {
                turbine: turbine("T1"),
                source: file(),
                readings,
                position: position.then(|| vec![1]),
                complete_until: EventTime(*file_until),
            });
        }
        Step::Wait(us) => w.run(us),
        Step::Crash => {
            *crashes += 1;
            w.restart(*crashes);
            w.start_live();
        }
        Step::ClockBack(seconds) => w.now.wall = WallTime(wall - seconds * SECOND_US),
        Step::Link(up) => {
            if up {
                w.reachable = true;
            } else {
                w.cut_link();
            }
        }
        Step::Full(times) => w.disk_full_for = times,
        Step::EndFile => w.input(Input::SourceEnded {
            turbine: turbine("T1"),
            source: file(),
        }),
    }
}

/// On-time event times of a record, and the late ones.
fn times(record: &Record) -> (Vec<EventTime>, Vec<EventTime>) {
    let (mut on_time, mut late) = (Vec::new(), Vec::new());
    if let Body::Batch(batch) = &record.body {
        for block in batch.blocks.iter().filter(|b| !b.flags.suspect) {
            let all = block.times.iter();
            if block.flags.late {
                late.extend(all);
            } else {
                on_time.extend(all);
            }
        }
    }
    (on_time, late)
}

fn check(records: &[Record]) {
    let (mut ceiling, mut frontier) = (EventTime::MIN, EventTime::MIN);
    let mut head = Head::default();
    for (k, record) in records.iter().enumerate() {
        let stamps = record.header.stamps;
        assert_eq!(record.header.id.seq.0, k as u64 + 1);
        assert_eq!(record.header.prev_head, head);
        head = wire::next_head(&head, &wire::hash(&wire::encode(record)));
        assert_eq!(stamps.prev_ceiling, ceiling);
        let (on_time, late) = times(record);
        ceiling = on_time.iter().copied().fold(ceiling, EventTime::max);
        assert_eq!(stamps.ceiling, ceiling);
        assert!(stamps.frontier >= frontier, "the frontier goes back");
        // late exactly when below the frontier before it
        assert!(
            on_time.iter().all(|t| *t >= frontier),
            "{k}: on time below the frontier"
        );
        if frontier != EventTime::MIN {
            assert!(
                late.iter().all(|t| *t < frontier),
                "{k}: late above the frontier"
            );
        }
        frontier = stamps.frontier;
        // every on-time reading below the frontier has a seq up to this one
        for later in &records[k + 1..] {
            assert!(
                times(later).0.iter().all(|t| *t >= frontier),
                "{k}: passed by {frontier:?}"
            );
        }
        match &record.body {
            Body::Open(open) => {
                assert_eq!(k, 0);
                assert_eq!(stamps.frontier, open.not_before);
            }
            Body::Seal(seal) => assert_eq!(seal.upto.0, k as u64),
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn what_stamps_claim_is_true(steps in prop::collection::vec(step(), 1..80)) {
        let mut w = world();
        let (mut crashes, mut file_until) = (0, BEGIN);
        w.start_live();
        for step in steps {
            run_step(&mut w, step, &mut crashes, &mut file_until);
        }
        w.reachable = true;
        w.disk_full_for = 0;
        w.run(200 * SECOND);
        prop_assert_eq!(&w.fatal, &None);
        let mut epochs: BTreeMap<Epoch, Vec<Record>> = BTreeMap::new();
        for (id, bytes) in &w.ever {
            epochs.entry(id.epoch).or_default().push(wire::decode(bytes).unwrap());
        }
        for records in epochs.values() {
            check(records);
        }
        check_predecessors(&w, &epochs);
        // whatever ever was committed is in the cloud, on disk or declared lost
        let lost = w.declared_lost();
        for id in w.ever.keys() {
            let received = w.received.contains_key(id);
            prop_assert!(received || lost.contains(&(id.epoch, id.seq)), "{} vanished", id);
        }
        prop_assert!(w.store.rows().all(|r| r.level == RowLevel::Safe));
    }
}

/// Each `Open` says of its predecessor what the predecessor's last record says.
fn check_predecessors(w: &World, epochs: &BTreeMap<Epoch, Vec<Record>>) {
    let order = &w.store.recovered().turbines[0].epochs;
    for pair in order.windows(2) {
        let (before, records) = (&epochs[&pair[0].epoch], &epochs[&pair[1].epoch]);
        let Body::Open(open) = &records[0].body else {
            panic!("{:?}", records[0])
        };
        let last = before.last().unwrap();
        let named = open.predecessor.clone().unwrap();
        assert_eq!(named.epoch, pair[0].epoch);
        assert_eq!(named.last_seq, Some(last.header.id.seq));
        assert_eq!(named.ceiling, Some(last.header.stamps.ceiling));
        assert_eq!(named.head, pair[0].head);
    }
}
