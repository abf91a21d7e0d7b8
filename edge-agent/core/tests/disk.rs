//! The disk budget: what leaves, in which order, and that its loss is numbered.
#![allow(clippy::unwrap_used)] // a test that cannot go on shall panic

mod world;

use std::collections::{BTreeMap, BTreeSet};

use windlass_edge_core::{
    AgentEvent, Input, LoadRequest, RowClass, RowLevel, SourceKind, StoreFault,
};
use windlass_shared::record::{Body, LossReason};
use world::*;

fn small(budget: u64) -> World {
    let mut settings = settings(&["T1"], SourceKind::Live);
    settings.disk.budget_bytes = budget;
    World::new(settings, 1)
}

fn evicted(w: &World) -> Vec<(RowLevel, RowClass)> {
    let events = w.events.iter();
    events
        .filter_map(|e| match e {
            AgentEvent::Evicted { level, class, .. } => Some((*level, *class)),
            _ => None,
        })
        .collect()
}

#[test]
fn what_is_safe_leaves_without_a_word() {
    let mut w = small(40_000);
    w.start_live();
    w.live_for(300);
    let usage = w.store.usage();
    assert!(usage.used <= 42_000, "{}", usage.used);
    let evicted = evicted(&w);
    assert!(!evicted.is_empty());
    assert!(evicted.iter().all(|(level, _)| *level == RowLevel::Safe));
    assert!(w.declared_lost().is_empty());
    // the ring holds what it can
    assert!(usage.used > 30_000, "{}", usage.used);
}

#[test]
fn offline_the_classes_leave_in_their_order_and_each_loss_is_numbered() {
    let mut w = small(60_000);
    w.start_live();
    w.live_for(30);
    w.cut_link();
    w.live_for(400);
    let usage = w.store.usage();
    assert!(usage.used <= 64_000, "{}", usage.used);
    let order: Vec<_> = evicted(&w);
    // safe ones first, then diagnostic before condition before compliance
    let first_unacked = order
        .iter()
        .position(|(l, _)| *l == RowLevel::Unacked)
        .unwrap();
    assert!(
        order[..first_unacked]
            .iter()
            .all(|(l, _)| *l == RowLevel::Safe)
    );
    let diagnostic = RowClass::Diagnostic;
    assert_eq!(order[first_unacked].1, diagnostic);
    let on_disk: BTreeSet<_> = w.store.rows().map(|r| r.meta.id.clone()).collect();
    let lost = w.declared_lost();
    for id in w.ever.keys() {
        let gone = !on_disk.contains(id) && !w.received.contains_key(id);
        assert_eq!(gone, lost.contains(&(id.epoch, id.seq)), "{id}");
    }
    // compliance leaves only when there was nothing else: far less of it than of the rest
    let left = |class| {
        let rows = w
            .ever
            .values()
            .map(|b| windlass_shared::wire::decode(b).unwrap());
        let of = rows.filter(|r| matches!(&r.body, Body::Batch(b) if b.class == class));
        let (all, gone): (Vec<_>, Vec<_>) = of.partition(|r| on_disk.contains(&r.header.id));
        (all.len(), gone.len())
    };
    let (kept, gone) = left(windlass_shared::catalogue::Class::Compliance);
    let (other_kept, other_gone) = left(windlass_shared::catalogue::Class::Diagnostic);
    assert!(
        kept * other_gone > gone * other_kept * 2,
        "{kept} {gone} {other_kept} {other_gone}"
    );
    // no Open, Gap or Seal leaves unacknowledged
    assert!(!order.contains(&(RowLevel::Unacked, RowClass::Mark)));
    w.reachable = true;
    w.run(200 * SECOND);
    assert_eq!(w.unacked(), []);
}

#[test]
fn a_gap_tells_what_was_in_the_records_that_left() {
    let mut w = small(30_000);
    w.start_live();
    w.cut_link();
    w.live_for(300);
    let mut ranges = 0;
    for record in w.records() {
        let Body::Gap(gap) = record.body else {
            continue;
        };
        assert_eq!(gap.reason, LossReason::Evicted);
        for range in gap.ranges {
            ranges += 1;
            let seqs = range.seqs.first.0..=range.seqs.last.0;
            let records: Vec<_> = seqs
                .map(|seq| {
                    let mut id = record.header.id.clone();
                    id.epoch = gap.epoch;
                    id.seq = windlass_shared::id::Seq(seq);
                    windlass_shared::wire::decode(&w.ever[&id]).unwrap()
                })
                .collect();
            let count = |r: &windlass_shared::record::Record| match &r.body {
                Body::Batch(b) => b.raw.len() as u64,
                _ => 0,
            };
            assert_eq!(range.readings, Some(records.iter().map(count).sum()));
            let last = records.last().unwrap();
            let stamps = last.header.stamps;
            assert_eq!(range.end, Some((stamps.ceiling, stamps.frontier)));
            // single records and restated ranges have none: their neighbours tell
            let Some((before, after)) = range.heads else {
                continue;
            };
            assert_eq!(before, records[0].header.prev_head);
            let hash = windlass_shared::wire::hash(&w.ever[&last.header.id]);
            assert_eq!(
                after,
                windlass_shared::wire::next_head(&last.header.prev_head, &hash)
            );
        }
    }
    assert!(ranges > 20, "{ranges}");
}

#[test]
fn a_full_disk_is_survived() {
    let mut w = small(1 << 30);
    w.settings.disk.room_bytes = 4000;
    w.restart(2);
    w.start_live();
    w.cut_link();
    w.live_for(60);
    let full = w.store.usage().used;
    w.store.set_capacity(Some(full + 500));
    w.live_for(120);
    assert_eq!(w.fatal, None);
    assert!(w.events.contains(&AgentEvent::DiskFull));
    assert!(w.store.usage().used <= full + 500);
    let newest = w.store.rows().map(|r| r.meta.committed_at.0).max().unwrap();
    assert!(w.now.wall.0 - newest < 3_000_000, "it no longer records");
    let lost = w.declared_lost();
    assert!(!lost.is_empty());
    let on_disk: BTreeSet<_> = w.store.rows().map(|r| r.meta.id.clone()).collect();
    for id in w.ever.keys() {
        assert_eq!(
            !on_disk.contains(id),
            lost.contains(&(id.epoch, id.seq)),
            "{id}"
        );
    }
}

#[test]
fn a_disk_that_others_fill_is_waited_for() {
    let mut w = small(1 << 30);
    // nothing to evict: not even the Open fits
    w.store.set_capacity(Some(0));
    w.start_live();
    w.live_for(30);
    assert_eq!(w.fatal, None);
    assert!(w.core.view().disk_full);
    assert_eq!(w.store.rows().count(), 0);
    w.store.set_capacity(None);
    w.live_for(30);
    let readings: u64 = w.store.rows().map(|r| r.meta.readings).sum();
    assert!(readings >= 160, "{readings}: what waited was lost");
    assert!(!w.core.view().disk_full);
}

#[test]
fn a_disk_without_room_even_for_an_eviction_is_waited_for_and_not_tried_in_a_spin() {
    let mut w = small(1 << 30);
    w.settings.disk.room_bytes = 4000;
    w.restart(2);
    w.start_live();
    w.cut_link();
    w.live_for(120);
    let before = w.store.usage().used;
    let tried = w.commits;
    w.no_room = true;
    w.live_for(600);
    assert_eq!(w.fatal, None);
    assert!(w.core.view().disk_full);
    let tried = w.commits - tried;
    // the waits double up to 15 s; what keeps coming in asks for a further eviction now and then
    assert!(tried <= 80, "{tried} tries in ten minutes");
    w.no_room = false;
    w.live_for(30);
    assert!(!w.core.view().disk_full);
    assert_eq!(w.fatal, None);
    // what waited is all recorded, and no more left than what came in made necessary
    let lost = w.declared_lost();
    let on_disk: BTreeSet<_> = w.store.rows().map(|r| r.meta.id.clone()).collect();
    for id in w.ever.keys() {
        assert_eq!(
            !on_disk.contains(id),
            lost.contains(&(id.epoch, id.seq)),
            "{id}"
        );
    }
    assert!(!lost.is_empty());
    let after = w.store.usage().used;
    assert!(after + 40_000 > before, "{before} shrank to {after}");
}

#[test]
fn what_is_safe_and_leaves_makes_no_unsent_record_leave_with_it() {
    let mut w = small(1 << 30);
    w.settings.disk.room_bytes = 4000;
    w.restart(2);
    w.start_live();
    w.live_for(60);
    w.cut_link();
    w.live_for(120);
    w.loads.clear();
    w.no_room = true;
    w.live_for(300);
    let mut first = BTreeMap::new();
    let mut safe = BTreeSet::new();
    for load in &w.loads {
        let LoadRequest::Evictable {
            level,
            class,
            bytes,
            rows_max,
            ..
        } = load
        else {
            continue;
        };
        if *level == RowLevel::Unacked {
            first.entry(*class).or_insert((*bytes, *rows_max));
        } else {
            safe.insert(*class);
        }
    }
    // the first question about a tier is for the room that is wanted, whatever leaves of the class at another level
    let wanted = (4000, w.settings.disk.evict_rows_max);
    assert!(first.keys().any(|class| safe.contains(class)), "{first:?}");
    assert!(first.values().all(|asked| *asked == wanted), "{first:?}");
}

#[test]
fn any_other_failure_stops_the_agent() {
    let mut w = small(1 << 30);
    w.start_live();
    let mut out = Vec::new();
    w.second("T1");
    w.core.handle(
        w.now,
        Input::LoadFailed(StoreFault::Broken("io".into())),
        &mut out,
    );
    let text = format!("{:?}", out.last().unwrap());
    assert!(text.contains("Fatal"), "{text}");
    assert_eq!(w.core.next_deadline(), None);
}
