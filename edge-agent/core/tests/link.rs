//! The forwarder: lanes, windows, acknowledgements, resends; and, whatever link and cloud do, that everything arrives.
#![allow(clippy::unwrap_used)] // a test that cannot go on shall panic

mod world;

use proptest::prelude::*;
use windlass_edge_core::{AgentEvent, Input, RowLevel, SourceKind};
use windlass_shared::id::{Epoch, RecordId, Seq, SeqRange};
use windlass_shared::record::{Body, LossReason};
use windlass_shared::wire::{AckLevel, Downlink, Resend};
use world::*;

fn resend(id: &RecordId, first: u64, last: u64) -> Input {
    Input::Downlink(Downlink {
        resends: vec![Resend {
            turbine: id.turbine.clone(),
            epoch: id.epoch,
            ranges: vec![SeqRange::new(first, last).unwrap()],
        }],
        ..Downlink::default()
    })
}

#[test]
fn live_data_does_not_wait_behind_backlog() {
    let mut settings = settings(&["T1"], SourceKind::Live);
    // live needs about 700 bytes a second here
    settings.uplink.budget_bytes_per_s = 1500;
    settings.uplink.burst_bytes = 1500;
    let mut w = World::new(settings, 1);
    w.start_live();
    w.cut_link();
    w.live_for(600);
    let backlog = w.unacked().len();
    assert!(backlog > 1200, "{backlog}");
    let cut = w.now.wall;
    w.reachable = true;
    let mut seconds = 0;
    while w.unacked().len() > 5 {
        w.live_for(1);
        seconds += 1;
        assert!(seconds < 2000, "{} left", w.unacked().len());
    }
    assert!(seconds > 60, "the budget was not kept: {seconds} s");
    // while the backlog drained, what was committed was published within a second
    let mut worst = 0;
    let begin = w.now.mono.0 - seconds * SECOND;
    for (at, id) in &w.published {
        let record = windlass_shared::wire::decode(&w.ever[id]).unwrap();
        let committed = record.header.committed_at.0;
        if committed > cut.0 + 61 * 1_000_000 {
            let committed_mono = w.now.mono.0 as i64 - (w.now.wall.0 - committed);
            worst = worst.max(at.0 as i64 - committed_mono);
        }
    }
    assert!(
        worst < 1_500_000,
        "live waited {worst} us; backlog of {backlog} from {begin}"
    );
}

#[test]
fn the_backlog_gets_its_share_though_live_could_use_everything() {
    let mut settings = settings(&["T1"], SourceKind::Live);
    settings.uplink.budget_bytes_per_s = 400;
    settings.uplink.burst_bytes = 400;
    settings.uplink.backlog_share_permille = 200;
    let mut w = World::new(settings, 1);
    w.start_live();
    w.cut_link();
    w.live_for(60);
    let old = w.store.rows().count();
    w.reachable = true;
    w.live_for(300);
    let acked = w
        .store
        .rows()
        .take(old)
        .filter(|r| r.level > RowLevel::Unacked)
        .count();
    assert!(acked > 40, "{acked} of {old}");
}

#[test]
fn a_puback_frees_a_slot_and_nothing_else() {
    let mut settings = settings(&["T1"], SourceKind::Live);
    settings.uplink.slots_max = 3;
    let mut w = World::new(settings, 1);
    w.cloud = Cloud::Silent;
    w.hold_pubacks = true;
    w.start_live();
    w.live_for(20);
    assert_eq!(w.published.len(), 3);
    let all: Vec<_> = w.unpubacked.drain(..).collect();
    for id in all {
        w.input(Input::PubAck(id));
    }
    w.run(SECOND);
    assert_eq!(w.published.len(), 6);
    assert_eq!(w.unacked().len(), w.store.rows().count());
}

#[test]
fn what_is_not_acknowledged_in_time_is_sent_again_less_and_less_often() {
    let mut w = World::new(settings(&["T1"], SourceKind::Live), 1);
    w.cloud = Cloud::Silent;
    w.start_live();
    w.live_for(3);
    w.run(700 * SECOND);
    let open = w
        .published
        .iter()
        .find(|(_, id)| id.seq == Seq(1))
        .unwrap()
        .1
        .clone();
    let times: Vec<_> = w
        .published
        .iter()
        .filter(|(_, id)| *id == open)
        .map(|(at, _)| at.0)
        .collect();
    let waits: Vec<_> = times.windows(2).map(|w| (w[1] - w[0]) / SECOND).collect();
    assert_eq!(waits, [30, 60, 120, 240]);
    w.cloud = Cloud::Acks;
    w.run(1300 * SECOND);
    assert_eq!(w.unacked(), []);
}

#[test]
fn reconnects_are_jittered_and_bounded() {
    let mut w = World::new(settings(&["T1"], SourceKind::Live), 1);
    w.reachable = false;
    w.run(2000 * SECOND);
    let delays: Vec<_> = w
        .events
        .iter()
        .filter_map(|e| match e {
            AgentEvent::Offline { retry_in_us } => Some(*retry_in_us),
            _ => None,
        })
        .collect();
    for (i, delay) in delays.iter().enumerate() {
        let full = (SECOND << i.min(20)).min(60 * SECOND);
        assert!((full / 2..=full).contains(delay), "{i}: {delay}");
    }
    assert!(delays.len() > 30);
    let mut other = World::new(settings(&["T1"], SourceKind::Live), 2);
    other.reachable = false;
    other.run(100 * SECOND);
    assert_ne!(other.events[..4], w.events[..4]);
}

#[test]
fn a_resend_is_answered_by_the_record_or_by_a_gap() {
    let mut w = World::new(settings(&["T1"], SourceKind::Live), 1);
    w.start_live();
    w.live_for(20);
    w.run(5 * SECOND);
    assert_eq!(w.unacked(), []);
    let id = w.store.rows().next().unwrap().meta.id.clone();
    let last = w.core.view().turbines[0].last_seq.0;
    w.published.clear();
    // some that are here, and many that are still to come
    w.input(resend(&id, 5, 1 << 40));
    w.run(5 * SECOND);
    let again: Vec<_> = w
        .published
        .iter()
        .map(|(_, id)| id.seq.0)
        .filter(|s| *s <= last)
        .collect();
    assert_eq!(again, (5..=last).collect::<Vec<_>>());
    assert_eq!(w.declared_lost().len(), 0);
    assert_eq!(w.unacked(), []);
    // an epoch that this disk never had
    let never = RecordId {
        epoch: Epoch([7; 16]),
        ..id.clone()
    };
    w.input(resend(&never, 3, 9));
    w.run(5 * SECOND);
    let gaps: Vec<_> = w
        .records()
        .into_iter()
        .filter_map(|r| match r.body {
            Body::Gap(gap) => Some((gap.epoch, gap.reason, gap.ranges[0].seqs)),
            _ => None,
        })
        .collect();
    assert_eq!(
        gaps,
        [(
            never.epoch,
            LossReason::NeverHeld,
            SeqRange::new(3, 9).unwrap()
        )]
    );
    // evicted when it was safe: the disk says so when asked
    let batch = windlass_edge_core::CommitBatch {
        id: windlass_edge_core::CommitId(0),
        evictions: vec![windlass_edge_core::Eviction {
            turbine: id.turbine.clone(),
            epoch: id.epoch,
            seqs: SeqRange::new(2, 4).unwrap(),
        }],
        levels: Vec::new(),
        waiting: Vec::new(),
        placed: Vec::new(),
        rows: Vec::new(),
        positions: Vec::new(),
        clean_stop: false,
    };
    w.store.apply(&batch).unwrap();
    w.input(resend(&id, 1, 5));
    w.run(5 * SECOND);
    let evicted: Vec<_> = w
        .declared_lost()
        .into_iter()
        .filter(|(e, _)| *e == id.epoch)
        .map(|(_, s)| s.0)
        .collect();
    assert_eq!(evicted, [2, 3, 4]);
    assert_eq!(w.unacked(), []);
}

#[test]
fn acknowledgements_that_make_no_sense_are_ignored() {
    let mut w = World::new(settings(&["T1"], SourceKind::Live), 1);
    w.cloud = Cloud::Silent;
    w.start_live();
    w.live_for(5);
    let id = w.store.rows().next().unwrap().meta.id.clone();
    let strange = RecordId {
        epoch: Epoch([7; 16]),
        ..id.clone()
    };
    w.input(ack(&strange));
    assert!(matches!(
        w.events.last(),
        Some(AgentEvent::BadDownlink { .. })
    ));
    // beyond the last durable seq: only what is durable is believed
    w.input(ack_range(
        &id,
        SeqRange::new(2, 1 << 50).unwrap(),
        AckLevel::Logged,
    ));
    w.live_for(3);
    let unacked = w.unacked();
    assert_eq!(unacked[0].seq, Seq(1));
    assert!(unacked.len() > 3);
    // a lower level never replaces a higher one
    w.input(ack_range(&id, SeqRange::new(2, 2).unwrap(), AckLevel::Safe));
    w.live_for(3);
    w.input(ack_range(
        &id,
        SeqRange::new(2, 2).unwrap(),
        AckLevel::Logged,
    ));
    w.live_for(3);
    assert_eq!(w.store.rows().nth(1).unwrap().level, RowLevel::Safe);
}

#[test]
fn rows_of_a_turbine_that_is_no_longer_configured_are_still_sent() {
    let mut w = World::new(settings(&["T1", "T2"], SourceKind::Live), 1);
    w.start_live();
    w.cut_link();
    w.live_for(20);
    w.settings = settings(&["T1"], SourceKind::Live);
    w.restart(2);
    w.reachable = true;
    w.start_live();
    w.live_for(10);
    w.run(5 * SECOND);
    assert_eq!(w.unacked(), []);
    assert_eq!(w.received.len(), w.ever.len());
}

#[derive(Debug, Clone)]
enum Step {
    Live(u64),
    Wait(u64),
    Link(bool),
    Cloud(bool),
    /// Acknowledge the n-th received record (an old, late or repeated acknowledgement).
    LateAck(usize, bool),
    Resend(usize, u64),
    PubAcks,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1u64..15).prop_map(Step::Live),
        4 => (1u64..40_000_000).prop_map(Step::Wait),
        3 => any::<bool>().prop_map(Step::Link),
        3 => any::<bool>().prop_map(Step::Cloud),
        3 => (any::<usize>(), any::<bool>()).prop_map(|(n, s)| Step::LateAck(n, s)),
        2 => (any::<usize>(), 0u64..20).prop_map(|(n, m)| Step::Resend(n, m)),
        2 => Just(Step::PubAcks),
        1 => Just(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn everything_arrives_whatever_happens(steps in prop::collection::vec(step(), 1..60), small in any::<bool>()) {
        let mut settings = settings(&["T1", "T2"], SourceKind::Live);
        settings.uplink.budget_bytes_per_s = 4000;
        settings.uplink.burst_bytes = 2000;
        if small {
            settings.uplink.live_queue_max = 3;
            settings.uplink.inflight_max = 4;
            settings.uplink.slots_max = 3;
            settings.uplink.page_rows_max = 2;
        }
        let mut w = World::new(settings, 0);
        let mut crashes = 0;
        w.start_live();
        for step in steps {
            match step {
                Step::Live(seconds) => w.live_for(seconds),
                Step::Wait(us) => w.run(us),
                Step::Link(true) => w.reachable = true,
                Step::Link(false) => w.cut_link(),
                Step::Cloud(acks) => {
                    w.cloud = if acks { Cloud::Acks } else { Cloud::Silent };
                    w.hold_pubacks = !acks;
                }
                Step::LateAck(n, safe) => {
                    let id = w.received.keys().nth(n % w.received.len().max(1)).cloned();
                    if let Some(id) = id {
                        let level = if safe { AckLevel::Safe } else { AckLevel::Logged };
                        w.input(ack_range(&id, SeqRange::one(id.seq), level));
                    }
                }
                Step::Resend(n, more) => {
                    let id = w.received.keys().nth(n % w.received.len().max(1)).cloned();
                    if let Some(id) = id {
                        w.input(resend(&id, id.seq.0, id.seq.0 + more));
                    }
                }
                Step::PubAcks => {
                    for id in std::mem::take(&mut w.unpubacked) {
                        w.input(Input::PubAck(id));
                    }
                }
                Step::Crash => {
                    crashes += 1;
                    w.restart(crashes);
                    w.start_live();
                }
            }
        }
        // healed
        w.reachable = true;
        w.cloud = Cloud::Acks;
        w.hold_pubacks = false;
        for id in std::mem::take(&mut w.unpubacked) {
            w.input(Input::PubAck(id));
        }
        w.run(1300 * SECOND);
        prop_assert_eq!(&w.fatal, &None);
        prop_assert_eq!(w.unacked(), vec![], "stuck at {:?}: {:?}", w.now.mono, w.core.view());
        prop_assert_eq!(w.received.len(), w.ever.len());
        let lost = w.declared_lost();
        prop_assert!(w.ever.keys().all(|id| !lost.contains(&(id.epoch, id.seq))));
    }
}
