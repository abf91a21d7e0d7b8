//! What the outbox does with rows that wait for the clock: across openings, upgrades and damage.

mod rows;

use rows::{Maker, epoch, everything, filled, nothing, turbine};
use windlass_edge::outbox::Outbox;
use windlass_edge_core::{CommitBatch, Eviction, LoadRequest, Loaded, RowLevel, StoredRow};
use windlass_shared::catalogue::Class;
use windlass_shared::id::{BootId, Seq, SeqRange};

const BOOT: u8 = 9;

fn page(outbox: &mut Outbox) -> Vec<StoredRow> {
    let request = LoadRequest::Waiting {
        turbine: turbine(1),
        rows_max: 10_000,
        bytes_max: 1 << 30,
    };
    let Loaded::Waiting { rows, .. } = outbox.load(&request).expect("a page") else {
        panic!("another answer than was asked for")
    };
    rows
}

fn waiting(maker: &mut Maker, n: usize) -> CommitBatch {
    let boot = epoch(1, BOOT);
    let rows = (0..n).map(|_| maker.row(turbine(1), boot, Class::Condition, 60));
    CommitBatch {
        waiting: rows.collect(),
        ..nothing()
    }
}

#[test]
fn a_file_of_the_first_version_is_upgraded_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    let rows = filled(&path, 60);
    let db = rusqlite::Connection::open(&path).unwrap();
    db.pragma_update(None, "user_version", 1).unwrap();
    drop(db);
    let (mut outbox, recovered, report) = Outbox::open(&path, 0).unwrap();
    assert_eq!(report.quarantined, None);
    assert_eq!(recovered.turbines[0].epochs[0].rows, rows.len() as u64);
    assert_eq!(recovered.turbines[0].journals, []);
    outbox.apply(&waiting(&mut Maker::default(), 5)).unwrap();
    assert_eq!(page(&mut outbox).len(), 5);
    drop(outbox);
    let db = rusqlite::Connection::open(&path).unwrap();
    let version: i64 = db
        .pragma_query_value(None, "user_version", |r| r.get(0))
        .unwrap();
    assert_eq!(
        version, 2,
        "an older agent refuses it instead of calling it damaged"
    );
}

#[test]
fn a_journal_survives_the_process_and_is_gone_with_its_last_row() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    filled(&path, 20);
    let mut maker = Maker::default();
    let (mut outbox, ..) = Outbox::open(&path, 0).unwrap();
    outbox.apply(&waiting(&mut maker, 5)).unwrap();
    drop(outbox);

    let (mut outbox, recovered, _) = Outbox::open(&path, 0).unwrap();
    let held = &recovered.turbines[0];
    assert_eq!(held.epochs.len(), 1, "a boot is no epoch");
    let journal = &held.journals[0];
    assert_eq!(journal.boot, BootId(epoch(1, BOOT).0));
    assert_eq!((journal.rows, journal.last_seq), (5, Seq(5)));
    assert!(journal.whole);
    let rows = page(&mut outbox);
    assert!(rows.iter().all(|r| r.level == RowLevel::Waiting));
    // nothing of it is backlog
    let Loaded::Backlog { rows: backlog, .. } = outbox.load(&everything()).unwrap() else {
        panic!("another answer than was asked for")
    };
    assert_eq!(backlog.len(), 20);

    let left = Eviction {
        turbine: turbine(1),
        epoch: epoch(1, BOOT),
        seqs: SeqRange::new(1, 5).unwrap(),
    };
    let usage = outbox
        .apply(&CommitBatch {
            evictions: vec![left],
            ..nothing()
        })
        .unwrap();
    assert_eq!(usage.turbines[0].1.level(RowLevel::Waiting).rows, 0);
    drop(outbox);
    let (_, recovered, _) = Outbox::open(&path, 0).unwrap();
    assert_eq!(recovered.turbines[0].journals, []);
    assert_eq!(recovered.turbines[0].epochs.len(), 1);
}

#[test]
fn a_journal_is_salvaged_like_any_other_row() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    let mut maker = Maker::default();
    let (mut outbox, ..) = Outbox::open(&path, 0).unwrap();
    for _ in 0..4 {
        outbox.apply(&waiting(&mut maker, 20)).unwrap();
    }
    drop(outbox);
    std::fs::write(path.with_extension("db.suspect"), b"").unwrap();
    let (mut outbox, recovered, report) = Outbox::open(&path, 5).unwrap();
    assert!(report.quarantined.is_some());
    assert_eq!(report.salvaged, 80);
    assert_eq!(page(&mut outbox).len(), 80);
    let journal = &recovered.turbines[0].journals[0];
    assert_eq!((journal.rows, journal.whole), (80, false));
}
