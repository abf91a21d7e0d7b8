//! The SQLite outbox does what the core's plain model does, over any sequence of transactions, requests and openings.
#![allow(clippy::unwrap_used)] // a test that cannot go on shall panic
#![allow(clippy::many_single_char_names)] // turbine, epoch, first, count, level

mod rows;

use proptest::prelude::*;
use rows::*;
use windlass_edge::outbox::{Inspector, Outbox};
use windlass_edge_core::{
    CommitBatch, Eviction, LevelChange, LoadRequest, MemoryStore, Recovered, RowClass, RowLevel,
    SourceId, Tallies, Usage,
};
use windlass_shared::catalogue::Class;
use windlass_shared::id::{Seq, SeqRange, TurbineId};

#[derive(Debug, Clone)]
enum Step {
    Rows(Vec<(u8, u8, u8, usize)>),
    Level(u8, u8, u64, u64, u8),
    Evict(u8, u8, u64, u64),
    Position(u8, Vec<u8>),
    Backlog(u8, Option<(u8, u64)>, usize, u64),
    Evictable(u8, u8, u8, u64),
    Held(u8, u8, u64, u64),
    Marks(u8, usize),
    Journal(Vec<(u8, u8, u8, usize)>),
    Waiting(u8, usize, u64),
    Reopen(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let row = (1u8..3, 1u8..4, 0u8..3, 1usize..80);
    let range = || (1u8..3, 1u8..6, 1u64..20, 0u64..9);
    let waiting = (1u8..3, 4u8..6, 0u8..3, 1usize..80);
    prop_oneof![
        4 => prop::collection::vec(row, 1..6).prop_map(Step::Rows),
        3 => (range(), 0u8..3).prop_map(|((t, e, a, n), l)| Step::Level(t, e, a, n, l)),
        2 => range().prop_map(|(t, e, a, n)| Step::Evict(t, e, a, n)),
        1 => (0u8..2, prop::collection::vec(any::<u8>(), 0..9)).prop_map(|(s, p)| Step::Position(s, p)),
        3 => (1u8..3, prop::option::of((1u8..4, 0u64..20)), 1usize..9, 1u64..2000)
            .prop_map(|(t, a, r, b)| Step::Backlog(t, a, r, b)),
        2 => (1u8..3, 0u8..4, 0u8..4, 1u64..2000).prop_map(|(t, l, c, b)| Step::Evictable(t, l, c, b)),
        2 => range().prop_map(|(t, e, a, n)| Step::Held(t, e, a, n)),
        1 => (1u8..3, 0usize..4).prop_map(|(t, n)| Step::Marks(t, n)),
        2 => prop::collection::vec(waiting, 1..6).prop_map(Step::Journal),
        2 => (1u8..3, 1usize..9, 1u64..2000).prop_map(|(t, r, b)| Step::Waiting(t, r, b)),
        1 => any::<bool>().prop_map(Step::Reopen),
    ]
}

fn class(n: u8) -> Class {
    [Class::Compliance, Class::Condition, Class::Diagnostic][usize::from(n)]
}

fn range(first: u64, more: u64) -> SeqRange {
    SeqRange::new(first, first + more).unwrap()
}

/// The part of a usage that is not about files.
fn tallies(usage: &Usage) -> Vec<(TurbineId, Tallies)> {
    let some = |t: &Tallies| RowLevel::ALL.iter().any(|l| t.level(*l).rows > 0);
    let held = usage.turbines.iter().filter(|(_, t)| some(t));
    held.cloned().collect()
}

fn same_recovered(a: Recovered, b: Recovered) {
    assert_eq!(tallies(&a.usage), tallies(&b.usage));
    assert_eq!(
        (a.turbines, a.positions, a.clean),
        (b.turbines, b.positions, b.clean)
    );
}

/// The transaction that a step stands for.
fn batch(step: &Step, maker: &mut Maker) -> Option<CommitBatch> {
    let mut batch = nothing();
    match step {
        Step::Rows(rows) => {
            for &(t, e, c, size) in rows {
                // an epoch goes on only while it is the newest of its turbine
                let own = maker.heads.keys().filter(|(id, _)| *id == turbine(t));
                let own = own.filter(|(_, e)| *e < epoch(t, 4));
                let newest = own.map(|(_, e)| *e).max();
                let e = newest.map_or(epoch(t, e), |n| n.max(epoch(t, e)));
                batch.rows.push(maker.row(turbine(t), e, class(c), size));
            }
        }
        Step::Level(t, e, a, n, l) => batch.levels.push(LevelChange {
            turbine: turbine(*t),
            epoch: epoch(*t, *e),
            seqs: range(*a, *n),
            level: RowLevel::ALL[usize::from(*l) + 1],
        }),
        Step::Evict(t, e, a, n) => batch.evictions.push(Eviction {
            turbine: turbine(*t),
            epoch: epoch(*t, *e),
            seqs: range(*a, *n),
        }),
        Step::Journal(rows) => {
            for &(t, boot, c, size) in rows {
                let row = maker.row(turbine(t), epoch(t, boot), class(c), size);
                batch.waiting.push(row);
            }
        }
        Step::Position(s, p) => {
            let source = SourceId::new(&format!("s{s}"));
            batch.positions.push((source, p.clone()));
        }
        Step::Reopen(true) => batch.clean_stop = true,
        _ => return None,
    }
    Some(batch)
}

/// The request that a step stands for.
fn request(step: &Step) -> Option<LoadRequest> {
    Some(match step {
        Step::Backlog(t, after, rows_max, bytes_max) => LoadRequest::Backlog {
            turbine: turbine(*t),
            after: after.map(|(e, s)| (epoch(*t, e), Seq(s))),
            rows_max: *rows_max,
            bytes_max: *bytes_max,
        },
        Step::Evictable(t, l, c, bytes) => LoadRequest::Evictable {
            turbine: turbine(*t),
            level: RowLevel::ALL[usize::from(*l)],
            class: RowClass::ALL[usize::from(*c)],
            bytes: *bytes,
            rows_max: 5,
            spare: Vec::new(),
        },
        Step::Held(t, e, a, n) => LoadRequest::Held {
            turbine: turbine(*t),
            epoch: epoch(*t, *e),
            ranges: vec![range(*a, *n)],
        },
        Step::Waiting(t, rows_max, bytes_max) => LoadRequest::Waiting {
            turbine: turbine(*t),
            rows_max: *rows_max,
            bytes_max: *bytes_max,
        },
        Step::Marks(t, rows_max) => LoadRequest::Marks {
            turbine: turbine(*t),
            rows_max: *rows_max,
        },
        _ => return None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_the_model(steps in prop::collection::vec(step(), 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox.db");
        let (mut outbox, _, _) = Outbox::open(&path, 0).unwrap();
        let mut model = MemoryStore::new();
        let mut maker = Maker::default();
        for step in steps {
            if let Some(batch) = batch(&step, &mut maker) {
                let usage = outbox.apply(&batch).unwrap();
                prop_assert_eq!(tallies(&usage), tallies(&model.apply(&batch).unwrap()));
            }
            if let Some(request) = request(&step) {
                prop_assert_eq!(outbox.load(&request).unwrap(), model.load(&request), "{:?}", request);
            }
            if let Step::Reopen(clean) = step {
                drop(outbox);
                let (again, recovered, report) = Outbox::open(&path, 0).unwrap();
                outbox = again;
                prop_assert_eq!(report.quarantined, None);
                // the model forgets only at its next transaction that the last one was the end
                same_recovered(recovered, Recovered { clean, ..model.recovered() });
            }
        }
        drop(outbox);
        let mut seen = Vec::new();
        Inspector::open(&path).unwrap().rows(true, |row| seen.push(row)).unwrap();
        let expected: Vec<_> = model.rows().collect();
        prop_assert_eq!(seen.len(), expected.len());
        for (seen, expected) in seen.iter().zip(expected) {
            prop_assert_eq!(&seen.meta, &expected.meta);
            prop_assert_eq!(seen.level, expected.level);
            prop_assert_eq!(seen.payload.as_deref(), Some(&*expected.payload));
        }
    }
}
