//! The plain path: readings, commits, publishes, acknowledgements; epochs, stops, clocks.
#![allow(clippy::unwrap_used)] // a test that cannot go on shall panic

mod world;

use windlass_edge_core::{AgentEvent, Input, RowKind, SourceKind, Threshold};
use windlass_shared::catalogue::{Class, RateGroup};
use windlass_shared::id::Seq;
use windlass_shared::record::Body;
use windlass_shared::time::{EventTime, SECOND_US, WallTime};
use windlass_shared::wire::{Command, Downlink};
use world::*;

#[test]
fn readings_are_committed_published_and_acknowledged() {
    let mut w = World::new(settings(&["T1"], SourceKind::Live), 1);
    w.start_live();
    w.live_for(25);
    w.run(5 * SECOND);
    assert_eq!(w.unacked(), []);
    assert_eq!(w.received.len(), w.ever.len());
    let records = w.records();
    assert!(matches!(records[0].body, Body::Open(_)));
    let readings: u64 = w.store.rows().map(|r| r.meta.readings).sum();
    // the two fast ones of the last second and the five slow ones since the last full ten still wait
    assert_eq!(readings, 75 - 2 - 5);
    // a group commit a second, not more
    assert!(w.commits <= 34, "{}", w.commits);
    assert_eq!(w.fatal, None);
}

#[test]
fn the_open_goes_first_and_names_its_predecessor() {
    let mut w = World::new(settings(&["T1"], SourceKind::Live), 1);
    w.start_live();
    w.live_for(5);
    let last = w.store.rows().last().unwrap().meta.clone();
    w.restart(2);
    w.start_live();
    w.live_for(2);
    let opened = w.now.wall;
    let records = w.records();
    let new: Vec<_> = records
        .iter()
        .filter(|r| r.header.id.epoch != last.id.epoch)
        .collect();
    let Body::Open(open) = &new[0].body else {
        panic!("{:?}", new[0])
    };
    let before = open.predecessor.clone().unwrap();
    assert_eq!(before.epoch, last.id.epoch);
    assert_eq!(before.last_seq, Some(last.id.seq));
    assert_eq!(before.ceiling, Some(last.ceiling));
    assert_eq!(before.head, last.head);
    assert_eq!(open.oldest_held, last.id.epoch);
    assert!(open.not_before.0 <= opened.0 && open.not_before.0 > BEGIN);
    // the first thing published on the new connection
    let first = w
        .published
        .iter()
        .find(|(_, id)| id.epoch == new[0].header.id.epoch);
    assert_eq!(first.unwrap().1.seq, Seq(1));
}

#[test]
fn events_and_breaches_do_not_wait() {
    let mut settings = settings(&["T1"], SourceKind::Live);
    settings.turbines[0].thresholds = vec![Threshold {
        channel: OIL,
        low: None,
        high: Some(75.0),
    }];
    let mut w = World::new(settings, 1);
    w.start_live();
    w.live_for(3);
    w.run(300_000);
    let send = |w: &mut World, channel, raw| {
        let t = w.now.wall.0;
        w.input(Input::Readings {
            turbine: turbine("T1"),
            source: live(),
            readings: vec![reading(channel, t, raw)],
            position: None,
            complete_until: EventTime(t + 1),
        });
        w.run(60_000);
        let at = |m: &windlass_edge_core::RowMeta| m.bounds.is_some_and(|b| b.1 == EventTime(t));
        let row = w.store.rows().find(|r| at(&r.meta));
        row.unwrap().meta.kind
    };
    assert_eq!(
        send(&mut w, ALARM, 17),
        RowKind::Batch(Class::Compliance, RateGroup::Event)
    );
    let slow = RowKind::Batch(Class::Condition, RateGroup::Slow);
    // 75.1 is above the limit of 75: the slow slice is flushed
    assert_eq!(send(&mut w, OIL, 751), slow);
    let rows = w.store.rows().count();
    // still above: no crossing, it waits for its slice
    let t = w.now.wall.0;
    w.input(Input::Readings {
        turbine: turbine("T1"),
        source: live(),
        readings: vec![reading(OIL, t, 760)],
        position: None,
        complete_until: EventTime(t + 1),
    });
    w.run(60_000);
    assert_eq!(w.store.rows().count(), rows);
    assert_eq!(send(&mut w, OIL, 749), slow);
}

#[test]
fn a_clock_that_is_set_back_begins_an_epoch() {
    let mut w = World::new(settings(&["T1", "T2"], SourceKind::Live), 1);
    w.start_live();
    w.live_for(12);
    let before = w.store.rows().count();
    w.now.wall = WallTime(w.now.wall.0 - 3600 * SECOND_US);
    let set_back_to = w.now.wall.0;
    w.live_for(12);
    assert!(w.store.rows().count() > before);
    assert!(w.events.contains(&AgentEvent::ClockSetBack {
        by_us: 3600 * SECOND_US
    }));
    for name in ["T1", "T2"] {
        let records: Vec<_> = w
            .records()
            .into_iter()
            .filter(|r| r.header.id.turbine == turbine(name))
            .collect();
        let opens: Vec<_> = records
            .iter()
            .filter_map(|r| match &r.body {
                Body::Open(open) => Some(open.clone()),
                _ => None,
            })
            .collect();
        assert_eq!(opens.len(), 2);
        assert!((set_back_to - SECOND_US..=set_back_to).contains(&opens[1].not_before.0));
        // nothing is late: the new epoch has a frontier of its own
        for row in w
            .store
            .rows()
            .filter(|r| r.meta.id.turbine == turbine(name))
        {
            if let Body::Batch(batch) = windlass_shared::wire::decode(&row.payload).unwrap().body {
                assert!(batch.blocks.iter().all(|b| !b.flags.late), "{:?}", row.meta);
            }
        }
    }
    // small steps are slewing, not a new epoch
    let epochs = w.store.recovered().turbines[0].epochs.len();
    w.now.wall = WallTime(w.now.wall.0 - 1_900_000);
    w.live_for(3);
    assert_eq!(w.store.recovered().turbines[0].epochs.len(), epochs);
}

#[test]
fn a_new_epoch_on_command_only_instead_of_the_current_one() {
    let mut w = World::new(settings(&["T1"], SourceKind::Live), 1);
    w.start_live();
    w.live_for(3);
    let current = w.core.view().turbines[0].epoch.unwrap();
    let command = |instead_of| {
        Input::Downlink(Downlink {
            commands: vec![Command::NewEpoch {
                turbine: turbine("T1"),
                instead_of,
                reason: "conflict".into(),
            }],
            ..Downlink::default()
        })
    };
    w.input(command(windlass_shared::id::Epoch([9; 16])));
    w.live_for(1);
    assert_eq!(w.core.view().turbines[0].epoch, Some(current));
    let is_bad = |e: &&AgentEvent| matches!(e, AgentEvent::BadDownlink { .. });
    assert_eq!(w.events.iter().filter(is_bad).count(), 1);
    w.input(command(current));
    w.live_for(2);
    let next = w.core.view().turbines[0].epoch.unwrap();
    assert_ne!(next, current);
    // repeated, because the cloud has not heard of the new epoch yet: obeyed already
    w.input(command(current));
    w.live_for(1);
    assert_eq!(w.core.view().turbines[0].epoch, Some(next));
    assert_eq!(w.events.iter().filter(is_bad).count(), 1);
    w.run(3 * SECOND);
    assert_eq!(w.unacked(), []);
}

#[test]
fn late_and_suspect_readings_are_marked_and_kept() {
    let mut w = World::new(settings(&["T1"], SourceKind::Live), 1);
    w.start_live();
    w.live_for(25);
    let frontier = w.core.view().turbines[0].frontier;
    assert!(frontier.0 > BEGIN);
    let t = w.now.wall.0;
    w.input(Input::Readings {
        turbine: turbine("T1"),
        source: live(),
        readings: vec![
            reading(POWER, frontier.0 - 1, 1),
            reading(POWER, frontier.0, 2),
            reading(POWER, t + 2 * SECOND_US, 3),
            reading(POWER, t + 2 * SECOND_US + 1, 4),
        ],
        position: None,
        complete_until: EventTime(t + 1),
    });
    w.live_for(14);
    let mut found = Vec::new();
    for record in w.records() {
        if let Body::Batch(batch) = record.body {
            for block in &batch.blocks {
                for column in block.columns.iter().filter(|c| c.channel == POWER) {
                    for (row, time) in block.times.iter().enumerate() {
                        let raw = batch.raw[column.at as usize + row];
                        if (1..=4).contains(&raw) && (time.0 - t) % SECOND_US != 0
                            || (1..=4).contains(&raw) && raw == 3
                        {
                            found.push((raw, block.flags.late, block.flags.suspect));
                        }
                    }
                }
            }
            let stamps = record.header.stamps;
            assert!(stamps.ceiling.0 <= record.header.committed_at.0 + 2 * SECOND_US);
        }
    }
    found.sort_unstable();
    found.dedup();
    assert!(found.contains(&(1, true, false)), "{found:?}");
    assert!(found.contains(&(4, false, true)), "{found:?}");
    assert!(!found.contains(&(3, false, true)), "{found:?}");
}

#[test]
fn a_clean_stop_commits_everything() {
    let mut w = World::new(settings(&["T1"], SourceKind::Live), 1);
    w.start_live();
    w.live_for(7);
    w.input(Input::Stop);
    w.run(SECOND);
    assert!(w.stopped);
    let readings: u64 = w.store.rows().map(|r| r.meta.readings).sum();
    assert_eq!(readings, 21);
    assert!(w.store.recovered().clean);
    assert_eq!(w.store.rows().last().unwrap().meta.kind, RowKind::Seal);
    assert_eq!(w.core.next_deadline(), None);
}

#[test]
fn a_restored_backup_never_uses_a_number_again() {
    let mut w = World::new(settings(&["T1"], SourceKind::Live), 1);
    w.start_live();
    w.live_for(10);
    let backup = w.store.clone();
    w.live_for(10);
    w.restart(2);
    w.start_live();
    w.live_for(10);
    w.store = backup;
    w.restart(3);
    w.start_live();
    // the world checks that no identity is ever given twice
    w.live_for(10);
    w.run(5 * SECOND);
    let epochs: std::collections::BTreeSet<_> = w.ever.keys().map(|id| id.epoch).collect();
    assert_eq!(epochs.len(), 3);
    assert_eq!(w.unacked(), []);
}

#[test]
fn what_a_damaged_store_lost_is_declared() {
    let mut w = World::new(settings(&["T1"], SourceKind::Live), 1);
    w.start_live();
    w.live_for(10);
    let mut recovered = w.store.recovered();
    let held = &mut recovered.turbines[0].epochs[0];
    let last = held.last_seq;
    held.whole = false;
    held.missing = vec![windlass_shared::id::SeqRange::new(3, 5).unwrap()];
    let damaged = held.epoch;
    w.core = windlass_edge_core::AgentCore::new(w.settings.clone(), [7; 32]);
    w.online = false;
    w.input(Input::Start(recovered));
    w.start_live();
    w.run(SECOND);
    let records = w.records();
    let of = |n: usize| &records[records.len() - n].body;
    let Body::Open(open) = of(2) else {
        panic!("{:?}", of(2))
    };
    let before = open.predecessor.clone().unwrap();
    assert_eq!(
        (before.epoch, before.last_seq, before.ceiling),
        (damaged, Some(last), None)
    );
    let Body::Gap(gap) = of(1) else {
        panic!("{:?}", of(1))
    };
    assert_eq!(gap.reason, windlass_shared::record::LossReason::Corrupt);
    assert_eq!(gap.epoch, damaged);
    assert_eq!(
        gap.ranges[0].seqs,
        windlass_shared::id::SeqRange::new(3, 5).unwrap()
    );
}

#[test]
fn refused_readings_are_told_and_others_are_kept() {
    let mut w = World::new(settings(&["T1"], SourceKind::Live), 1);
    w.start_live();
    w.run(SECOND);
    let t = w.now.wall.0;
    let unknown = reading(windlass_shared::id::ChannelId(99), t, 1);
    let mut input = |turbine, readings| {
        w.input(Input::Readings {
            turbine,
            source: live(),
            readings,
            position: None,
            complete_until: EventTime(t + 1),
        });
    };
    let untimed = reading(POWER, -1, 1);
    input(
        turbine("T1"),
        vec![unknown, untimed, unknown, reading(POWER, t, 7)],
    );
    input(turbine("T9"), vec![unknown, unknown]);
    w.live_for(5);
    let told = |event: &AgentEvent| w.events.contains(event);
    assert!(told(&AgentEvent::UnknownChannel {
        turbine: turbine("T1"),
        source: live(),
        channel: windlass_shared::id::ChannelId(99),
        example: unknown,
        count: 2,
    }));
    assert!(told(&AgentEvent::Untimed {
        turbine: turbine("T1"),
        source: live(),
        example: untimed,
        count: 1,
    }));
    assert!(told(&AgentEvent::Unassigned {
        turbine: turbine("T9"),
        source: live(),
        count: 2,
    }));
    let seven = w
        .records()
        .into_iter()
        .any(|r| matches!(r.body, Body::Batch(b) if b.raw.contains(&7)));
    assert!(seven);
}

#[test]
fn values_become_what_their_channel_carries() {
    use windlass_edge_core::{Reading, Value};
    use windlass_shared::record::Quality;
    let mut w = World::new(settings(&["T1"], SourceKind::Live), 1);
    w.start_live();
    w.run(SECOND);
    let t = EventTime(w.now.wall.0);
    let make = |channel, value| Reading {
        channel,
        time: t,
        value,
        quality: Quality::Good,
    };
    let readings = vec![
        make(POWER, Value::Float(12.34)),
        make(VIBRATION, Value::Float(f64::NAN)),
        make(STRAIN, Value::Float(f64::NEG_INFINITY)),
        make(OIL, Value::Float(1e300)),
        make(ALARM, Value::Int(-5)),
    ];
    w.input(Input::Readings {
        turbine: turbine("T1"),
        source: live(),
        readings,
        position: None,
        complete_until: t,
    });
    w.input(Input::Stop);
    w.run(SECOND);
    let mut found = Vec::new();
    for record in w.records() {
        if let Body::Batch(batch) = record.body {
            for block in &batch.blocks {
                for (i, column) in block.columns.iter().enumerate() {
                    let marks = block.quality.iter().find(|q| usize::from(q.column) == i);
                    let quality = marks.map_or(Quality::Good, |q| q.quality);
                    found.push((column.channel, batch.raw[column.at as usize], quality));
                }
            }
        }
    }
    found.sort_unstable();
    let expected = [
        (POWER, 123, Quality::Good),
        (OIL, 0, Quality::OutOfRange),
        (ALARM, -5, Quality::Good),
        (VIBRATION, 0, Quality::NotANumber),
        (STRAIN, 0, Quality::OutOfRange),
    ];
    assert_eq!(found, expected);
}

#[test]
fn the_first_input_is_start() {
    let mut core = windlass_edge_core::AgentCore::new(settings(&["T1"], SourceKind::Live), [0; 32]);
    let mut out = Vec::new();
    let now = World::new(settings(&["T1"], SourceKind::Live), 1).now;
    core.handle(now, Input::Timer, &mut out);
    assert!(matches!(out[..], [windlass_edge_core::Output::Fatal(_)]));
}
