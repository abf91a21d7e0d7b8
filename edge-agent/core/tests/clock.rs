//! An agent whose clock is not set, is set, lost and set again: what is recorded meanwhile keeps its place in time.
#![allow(clippy::unwrap_used)] // a test that cannot go on shall panic

mod world;

use std::collections::BTreeMap;

use windlass_edge_core::{
    AgentCore, AgentEvent, Input, LoadRequest, Now, Output, RowLevel, SourceKind,
};
use windlass_shared::coverage::{Coverage, Receipt, Verdict};
use windlass_shared::id::{BootId, ChannelId};
use windlass_shared::record::{Body, LossReason, Record};
use windlass_shared::time::{EventTime, MINUTE_US, MonoTime, SECOND_US, WallTime};
use windlass_shared::wire;
use world::{BEGIN, POWER, SECOND, World, live, reading, settings, turbine};

const UP: u64 = 40_000_000;

/// Up for a while, and nobody has set the clock.
fn unset() -> Now {
    Now {
        wall: WallTime(UP as i64),
        mono: MonoTime(UP),
    }
}

fn dark(boot: u8) -> World {
    let mut settings = settings(&["T1"], SourceKind::Live);
    settings.boot = BootId([boot; 16]);
    World::at(unset(), settings, 1)
}

impl World {
    /// Somebody sets the clock; returns the wall time of the boot's start.
    fn set_clock(&mut self, wall: i64) -> i64 {
        self.now.wall = WallTime(wall);
        self.now.offset_us()
    }

    fn lose_clock(&mut self) {
        self.now.wall = WallTime(self.now.mono.0 as i64);
    }

    fn waiting(&self) -> u64 {
        let waits = self.store.rows().filter(|r| r.level == RowLevel::Waiting);
        waits.map(|r| r.meta.readings).sum()
    }

    /// All numbered records that were ever durable, in the order of their numbers.
    fn numbered(&self) -> Vec<Record> {
        let records = self.ever.values().map(|b| wire::decode(b).unwrap());
        let mut records: Vec<_> = records.collect();
        let opened = |r: &Record| {
            let open = self.events.iter().position(|e| {
                matches!(e, AgentEvent::EpochOpened { epoch, .. } if *epoch == r.header.id.epoch)
            });
            (open, r.header.id.seq)
        };
        records.sort_by_key(opened);
        records
    }
}

/// Times of every channel's readings in batches, and how many of them have a flag.
fn times(records: &[Record]) -> (BTreeMap<ChannelId, Vec<i64>>, usize) {
    let (mut times, mut flagged): (BTreeMap<_, Vec<i64>>, _) = (BTreeMap::new(), 0);
    for record in records {
        let Body::Batch(batch) = &record.body else {
            continue;
        };
        for block in &batch.blocks {
            for column in &block.columns {
                let of = times.entry(column.channel).or_default();
                of.extend(block.times.iter().map(|t| t.0));
                if block.flags.late || block.flags.suspect {
                    flagged += block.times.len();
                }
            }
        }
    }
    for of in times.values_mut() {
        of.sort_unstable();
    }
    (times, flagged)
}

fn receive(records: &[Record], world: &World) -> Coverage {
    let mut coverage = Coverage::default();
    for record in records {
        let bytes = &world.ever[&record.header.id];
        let receipt = coverage.receive(record, &wire::hash(bytes));
        assert_eq!(receipt, Receipt::New, "{:?}", record.header.id);
    }
    coverage
}

#[test]
fn readings_without_a_clock_get_their_time_when_it_is_set() {
    let mut w = dark(1);
    w.start_live();
    w.live_for(30);
    assert_eq!(w.ever.len(), 0, "nothing has a number");
    let committed = w.waiting();
    assert!(committed >= 60, "fast readings are durable: {committed}");
    // the process dies; the boot goes on
    w.restart(2);
    w.start_live();
    w.live_for(30);
    w.restart(3);
    w.start_live();
    let waited = w.waiting();
    let offset = w.set_clock(BEGIN);
    w.live_for(40);
    assert_eq!(w.waiting(), 0);
    let view = w.core.view().turbines[0].waiting;
    assert_eq!((view.records, view.readings, view.since), (0, 0, None));

    let records = w.numbered();
    let (times, flagged) = times(&records);
    assert_eq!(flagged, 0, "all of it is on time");
    // power is fast: what the two power cuts took is the open slice of a second
    let power = &times[&POWER];
    let second = |n: i64| offset + UP as i64 + n * SECOND_US;
    let lost = |n: &i64| *n != 29 && *n != 59;
    let expected: Vec<i64> = (0..60).filter(lost).map(second).collect();
    let placed: Vec<i64> = power.iter().copied().filter(|t| *t < BEGIN).collect();
    assert!(
        expected.iter().all(|t| placed.contains(t)),
        "{expected:?} {placed:?}"
    );
    assert!(placed.windows(2).all(|p| p[0] < p[1]), "each once");
    let told = w.events.iter().map(|e| match e {
        AgentEvent::Placed { readings, .. } => *readings,
        _ => 0,
    });
    let told: u64 = told.sum();
    assert_eq!(told, waited, "each that waited, once");

    let Body::Open(open) = &records[0].body else {
        panic!("an Open comes first");
    };
    assert_eq!(open.not_before.0, placed[0], "the promise waits for them");
    let coverage = receive(&records, &w);
    let minute = |t: i64| EventTime(t).floor_to(MINUTE_US);
    let first = minute(placed[0] + MINUTE_US);
    if first.plus_us(MINUTE_US) <= coverage.frontier() {
        assert_eq!(
            coverage.verdict(first, first.plus_us(MINUTE_US)),
            Verdict::Exact
        );
    }
    assert!(
        coverage.frontier().0 > BEGIN,
        "the frontier goes on behind them"
    );
}

#[test]
fn a_copy_of_the_store_from_before_the_placing_places_nothing_again() {
    let mut w = dark(1);
    w.start_live();
    w.live_for(30);
    let (copy, waited) = (w.store.clone(), w.waiting());
    let offset = w.set_clock(BEGIN);
    w.live_for(40);
    let told = |w: &World| {
        let placed = w.events.iter().filter_map(|e| match e {
            AgentEvent::Placed {
                readings, untimed, ..
            } => Some((*readings, *untimed)),
            _ => None,
        });
        placed.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
    };
    let (placed, none) = told(&w);
    assert!(placed >= waited && none == 0 && w.waiting() == 0);

    w.store = copy;
    w.restart(2);
    w.start_live();
    w.live_for(40);
    assert_eq!(w.waiting(), 0);
    assert_eq!(told(&w), (placed, waited), "kept, and given no time again");
    let records = w.numbered();
    let times = times(&records).0;
    assert!(times[&POWER].windows(2).all(|p| p[0] < p[1]), "each once");
    // who has the second epoch only is not told that nothing is missing
    let epoch = records.last().unwrap().header.id.epoch;
    let of = |r: &&Record| r.header.id.epoch == epoch;
    let second: Vec<_> = records.iter().filter(of).cloned().collect();
    let coverage = receive(&second, &w);
    let t0 = EventTime(offset + UP as i64 + 10 * SECOND_US);
    let Verdict::WithLoss(losses) = coverage.verdict(t0, t0.plus_us(SECOND_US)) else {
        panic!("called exact");
    };
    assert_eq!(losses[0].reason, Some(LossReason::Untimed));
    let t1 = w.now.wall.0 - 20 * SECOND_US;
    let after = coverage.verdict(EventTime(t1), EventTime(t1 + SECOND_US));
    assert_eq!(after, Verdict::Exact);
}

#[test]
fn what_no_clock_ever_saw_is_sent_untimed_and_its_interval_is_inexact() {
    let mut settings = settings(&["T1"], SourceKind::Live);
    settings.boot = BootId([1; 16]);
    let mut w = World::new(settings, 1);
    w.start_live();
    w.live_for(200);
    let before = w.now.wall.0;

    // a power cut; the next boot never sees a clock
    w.settings.boot = BootId([2; 16]);
    w.now = unset();
    w.restart(2);
    w.start_live();
    w.live_for(30);
    let untimed = w.waiting();
    assert!(untimed >= 60);
    let numbered = w.ever.len();

    // the third one does, ten minutes later
    w.settings.boot = BootId([3; 16]);
    w.now = Now {
        wall: WallTime(before + 600 * SECOND_US),
        mono: MonoTime(UP),
    };
    let booted = w.now.offset_us();
    w.restart(3);
    w.start_live();
    w.live_for(200);
    assert_eq!(w.waiting(), 0);
    assert!(w.ever.len() > numbered);

    let records = w.numbered();
    let sent = records.iter().filter_map(|r| match &r.body {
        Body::Untimed(u) => Some(u),
        _ => None,
    });
    let sent: Vec<_> = sent.collect();
    assert!(sent.iter().all(|u| u.boot == BootId([2; 16])));
    let readings: u64 = sent.iter().map(|u| u.batch.raw.len() as u64).sum();
    assert_eq!(readings, untimed);
    assert!(sent.iter().flat_map(|u| &u.batch.blocks).all(|b| {
        let up = UP as i64..UP as i64 + 31 * SECOND_US;
        b.times.iter().all(|t| up.contains(&t.0))
    }));

    let coverage = receive(&records, &w);
    let window = |t: i64| {
        let t0 = EventTime(t).floor_to(MINUTE_US);
        coverage.verdict(t0, t0.plus_us(MINUTE_US))
    };
    assert_eq!(window(before - 120 * SECOND_US), Verdict::Exact);
    for t in [
        before + 60 * SECOND_US,
        before + 300 * SECOND_US,
        booted - SECOND_US,
    ] {
        let Verdict::WithLoss(losses) = window(t) else {
            panic!("nobody knows what was in it: {:?}", window(t));
        };
        assert_eq!(losses.len(), 1);
        assert_eq!(losses[0].reason, Some(LossReason::Untimed));
    }
    assert_eq!(window(booted + 120 * SECOND_US), Verdict::Exact);
}

#[test]
fn a_gateway_of_many_turbines_asks_for_few_pages_at_a_time_and_places_all() {
    let names: Vec<String> = (1..=15).map(|n| format!("T{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut w = World::at(unset(), settings(&names, SourceKind::Live), 1);
    w.start_live();
    w.live_for(20);
    let waited = w.waiting();
    assert!(waited > 15 * 40);
    w.set_clock(BEGIN);
    let mut core = AgentCore::new(w.settings.clone(), [9; 32]);
    let mut out = Vec::new();
    core.handle(w.now, Input::Start(w.store.recovered()), &mut out);
    core.handle(w.now, Input::Timer, &mut out);
    let page = |o: &&Output| matches!(o, Output::Load(LoadRequest::Waiting { .. }));
    assert_eq!(out.iter().filter(page).count(), 4);
    w.restart(2);
    w.start_live();
    w.live_for(60);
    assert_eq!(w.waiting(), 0);
    let told = w.events.iter().map(|e| match e {
        AgentEvent::Placed { readings, .. } => *readings,
        _ => 0,
    });
    assert_eq!(told.sum::<u64>(), waited);
}

#[test]
fn a_clock_that_is_lost_and_comes_back_costs_no_epoch_and_no_place() {
    let mut settings = settings(&["T1"], SourceKind::Live);
    settings.boot = BootId([1; 16]);
    let mut w = World::new(settings, 1);
    w.start_live();
    w.live_for(20);
    let offset = w.now.offset_us();
    w.lose_clock();
    w.live_for(20);
    assert!(w.waiting() > 0);
    w.set_clock(offset + w.now.mono.0 as i64);
    w.live_for(60);
    assert_eq!(w.waiting(), 0);
    let records = w.numbered();
    let opens = records.iter().filter(|r| matches!(r.body, Body::Open(_)));
    assert_eq!(opens.count(), 1);
    let (times, flagged) = times(&records);
    assert_eq!(flagged, 0);
    let power = &times[&POWER];
    let expected: Vec<i64> = (0..power.len() as i64)
        .map(|n| BEGIN + n * SECOND_US)
        .collect();
    assert_eq!(*power, expected, "a second apart, without a hole");
    receive(&records, &w);
}

#[test]
fn a_clock_that_comes_back_earlier_begins_an_epoch() {
    let mut w = World::new(settings(&["T1"], SourceKind::Live), 1);
    w.start_live();
    w.live_for(20);
    w.lose_clock();
    w.live_for(5);
    w.set_clock(BEGIN - 3600 * SECOND_US);
    w.live_for(30);
    let back = |e: &AgentEvent| matches!(e, AgentEvent::ClockSetBack { .. });
    assert_eq!(w.events.iter().filter(|e| back(e)).count(), 1);
    assert_eq!(w.waiting(), 0);
    let records = w.numbered();
    let opens = records.iter().filter(|r| matches!(r.body, Body::Open(_)));
    assert_eq!(opens.count(), 2);
    assert_eq!(
        times(&records).1,
        0,
        "placed by the new clock, in the new epoch"
    );
    receive(&records, &w);
}

#[test]
fn a_step_forward_is_no_new_epoch_and_marks_nothing() {
    let mut w = World::new(settings(&["T1"], SourceKind::Live), 1);
    w.start_live();
    w.live_for(20);
    w.now.wall = WallTime(w.now.wall.0 + 3600 * SECOND_US);
    w.live_for(20);
    let records = w.numbered();
    let opens = records.iter().filter(|r| matches!(r.body, Body::Open(_)));
    assert_eq!(opens.count(), 1);
    let (times, flagged) = times(&records);
    assert_eq!(flagged, 0);
    assert!(times[&POWER].windows(2).all(|t| t[0] < t[1]));
}

#[test]
fn a_reading_that_was_under_way_as_the_clock_was_set_gets_its_time() {
    let mut w = dark(1);
    w.start_live();
    w.live_for(3);
    let label = w.now.wall.0;
    w.run(SECOND);
    let offset = w.set_clock(BEGIN);
    w.input(Input::Readings {
        turbine: turbine("T1"),
        source: live(),
        readings: vec![reading(POWER, label, 4711)],
        position: None,
        complete_until: EventTime(label + 1),
    });
    w.live_for(30);
    let records = w.numbered();
    assert_eq!(times(&records).1, 0);
    assert!(times(&records).0[&POWER].contains(&(offset + label)));
    receive(&records, &w);
}

#[test]
fn the_disk_budget_takes_from_what_waits_and_the_loss_is_numbered() {
    let mut settings = settings(&["T1"], SourceKind::Live);
    settings.boot = BootId([1; 16]);
    settings.disk.budget_bytes = 20_000;
    settings.disk.disk_free_min_bytes = 0;
    let mut w = World::at(unset(), settings, 1);
    w.start_live();
    w.live_for(300);
    let view = w.core.view().turbines[0].waiting;
    assert_eq!(
        view.readings,
        w.waiting(),
        "the core counts what the disk holds"
    );
    let evicted = |e: &AgentEvent| match e {
        AgentEvent::Evicted {
            readings,
            level: RowLevel::Waiting,
            ..
        } => *readings,
        _ => 0,
    };
    let lost: u64 = w.events.iter().map(evicted).sum();
    assert!(lost > 0, "the budget was exceeded");
    assert_eq!(w.ever.len(), 0);
    w.settings.disk.budget_bytes = 1 << 30;
    w.restart(2);
    w.start_live();
    let left = w.waiting();
    w.set_clock(BEGIN);
    w.live_for(60);
    assert_eq!(w.waiting(), 0);
    let records = w.numbered();
    let declared: u64 = records
        .iter()
        .map(|r| match &r.body {
            Body::Gap(gap) => gap.ranges.iter().filter_map(|r| r.readings).sum(),
            _ => 0,
        })
        .sum();
    assert_eq!(declared, lost, "each lost reading is declared once");
    let placed: u64 = w
        .events
        .iter()
        .map(|e| match e {
            AgentEvent::Placed { readings, .. } => *readings,
            _ => 0,
        })
        .sum();
    assert_eq!(placed, left);
    // a window of the lost time is not called exact
    let coverage = receive(&records, &w);
    let first = records.iter().find_map(|r| match &r.body {
        Body::Gap(gap) => gap.ranges[0].bounds,
        _ => None,
    });
    let t0 = first.unwrap().0.floor_to(MINUTE_US);
    let verdict = coverage.verdict(t0, t0.plus_us(MINUTE_US));
    assert!(matches!(verdict, Verdict::WithLoss(_)), "{verdict:?}");
}

#[test]
fn a_link_that_needs_certificates_waits_for_the_clock() {
    let mut w = dark(1);
    w.settings.uplink.needs_clock = true;
    w.restart(1);
    w.start_live();
    w.live_for(120);
    assert!(!w.online && !w.connecting);
    w.set_clock(BEGIN);
    w.live_for(10);
    assert!(w.online);
}

#[test]
fn a_file_source_pauses_while_nobody_knows_the_time() {
    let mut w = World::at(
        unset(),
        settings(&["T1"], SourceKind::File { hold_us: 1 }),
        1,
    );
    assert!(w.core.is_busy());
    w.set_clock(BEGIN);
    w.input(Input::Timer);
    assert!(!w.core.is_busy());
}

#[test]
fn an_agent_that_stops_without_a_clock_leaves_nothing_behind() {
    let mut w = dark(1);
    w.start_live();
    w.live_for(5);
    w.input(Input::Stop);
    assert!(w.stopped);
    assert_eq!(w.waiting(), 15, "every reading is durable");
    assert_eq!(w.ever.len(), 0);
}
