//! The outbox against what disks and people do to its files.
#![allow(clippy::unwrap_used)] // a test that cannot go on shall panic

mod rows;

use std::os::unix::fs::FileExt;
use std::path::Path;

use rows::*;
use windlass_edge::outbox::{Inspector, Outbox, OutboxError};
use windlass_edge_core::{CommitBatch, Loaded, RowKind, SourceId, StoreFault};
use windlass_shared::catalogue::Class;
use windlass_shared::id::Seq;

#[test]
fn a_transaction_is_all_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b/outbox.db");
    let mut maker = Maker::default();
    let (mut outbox, recovered, _) = Outbox::open(&path, 0).unwrap();
    assert_eq!(recovered.turbines, []);
    outbox.apply(&maker.batch(3, 10)).unwrap();
    let mut next = maker.batch(2, 10);
    let good = next.rows[0].clone();
    next.rows[1] = Maker::default().batch(1, 1).rows[0].clone();
    assert!(matches!(outbox.apply(&next), Err(StoreFault::Broken(_))));
    assert_eq!(count(&path), 3);
    // and an inspection beside the running agent sees what is committed
    let rows = vec![good];
    outbox.apply(&CommitBatch { rows, ..nothing() }).unwrap();
    assert_eq!(count(&path), 4);
}

#[test]
fn a_second_process_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    let (outbox, _, _) = Outbox::open(&path, 0).unwrap();
    let error = Outbox::open(&path, 0).unwrap_err();
    assert!(matches!(error, OutboxError::Busy { .. }));
    assert!(
        error.to_string().contains("stop the other agent"),
        "{error}"
    );
    drop(outbox);
    Outbox::open(&path, 0).unwrap();
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "x").unwrap();
    // a file where a directory is expected, and a file system that takes no files (not even root's)
    for place in [dir.path().join("file/outbox.db"), "/proc/outbox.db".into()] {
        let text = Outbox::open(&place, 0).unwrap_err().to_string();
        let named = text.contains(place.to_str().unwrap());
        assert!(named && text.contains("expected a directory"), "{text}");
    }
}

#[test]
fn another_version_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    drop(Outbox::open(&path, 0).unwrap());
    let db = rusqlite::Connection::open(&path).unwrap();
    db.pragma_update(None, "user_version", 9).unwrap();
    drop(db);
    let text = Outbox::open(&path, 0).unwrap_err().to_string();
    assert!(text.contains("schema version 9, expected 2"), "{text}");
    let inspected = Inspector::open(&path);
    assert!(matches!(inspected, Err(OutboxError::Version { .. })));
}

#[test]
fn a_full_disk_leaves_no_trace_and_an_eviction_makes_room() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    let mut maker = Maker::default();
    let (mut outbox, _, _) = Outbox::open(&path, 0).unwrap();
    outbox.limit_pages(800).unwrap();
    let mut n = 0;
    let refused = loop {
        let next = maker.batch(10, 300);
        match outbox.apply(&next) {
            Ok(_) => n += 10,
            Err(fault) => {
                assert_eq!(fault, StoreFault::DiskFull);
                break next;
            }
        }
    };
    assert!(n > 100, "{n}");
    assert_eq!(count(&path), n);
    let before = outbox.usage().unwrap();
    let retried = CommitBatch {
        evictions: vec![eviction(1, 40)],
        ..refused
    };
    let after = outbox.apply(&retried).unwrap();
    assert_eq!(count(&path), n - 40 + 10);
    assert!(after.reusable > 0);
    assert!(
        after.turbines[0]
            .1
            .level(windlass_edge_core::RowLevel::Unacked)
            .rows
            == n - 30
    );
    assert_eq!(
        before.turbines[0]
            .1
            .level(windlass_edge_core::RowLevel::Unacked)
            .rows,
        n
    );
}

#[test]
fn evicted_pages_are_written_again_and_given_back_at_an_opening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    let mut maker = Maker::default();
    let (mut outbox, _, _) = Outbox::open(&path, 0).unwrap();
    for _ in 0..60 {
        outbox.apply(&maker.batch(100, 500)).unwrap();
    }
    let file = |outbox: &Outbox| {
        let usage = outbox.usage().unwrap();
        usage.used + usage.reusable
    };
    let full = file(&outbox);
    for round in 0..20 {
        let evictions = vec![eviction(1 + round * 100, 100 + round * 100)];
        let next = maker.batch(100, 500);
        outbox.apply(&CommitBatch { evictions, ..next }).unwrap();
    }
    assert!(
        file(&outbox) <= full + (6 << 20),
        "{} after {full}",
        file(&outbox)
    );
    let evictions = vec![eviction(1, 7900)];
    outbox
        .apply(&CommitBatch {
            evictions,
            ..nothing()
        })
        .unwrap();
    drop(outbox);
    let (outbox, recovered, report) = Outbox::open(&path, 0).unwrap();
    assert!(
        report.compacted > full / 2,
        "{} of {full}",
        report.compacted
    );
    assert!(file(&outbox) < full / 10);
    assert_eq!(recovered.turbines[0].epochs[0].rows, 100);
    assert_eq!(recovered.turbines[0].epochs[0].last_seq, Seq(8000));
}

#[test]
fn the_end_of_an_epoch_outlives_its_last_row() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    let mut maker = Maker::default();
    let (mut outbox, _, _) = Outbox::open(&path, 0).unwrap();
    let rows = maker.batch(9, 5);
    let last = rows.rows[8].meta.clone();
    outbox.apply(&rows).unwrap();
    let evictions = vec![eviction(3, 9)];
    outbox
        .apply(&CommitBatch {
            evictions,
            ..nothing()
        })
        .unwrap();
    drop(outbox);
    let (_, recovered, _) = Outbox::open(&path, 0).unwrap();
    let held = &recovered.turbines[0].epochs[0];
    assert_eq!(
        (held.rows, held.last_seq, held.head),
        (2, Seq(9), last.head)
    );
    assert_eq!((held.ceiling, held.frontier), (last.ceiling, last.frontier));
    assert!(held.whole);
}

fn overwrite(path: &Path, at: u64, bytes: usize) {
    let file = std::fs::OpenOptions::new().write(true).open(path);
    file.unwrap().write_all_at(&vec![0xA5; bytes], at).unwrap();
}

#[test]
fn a_damaged_page_costs_only_its_rows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    let rows = filled(&path, 400);
    let size = std::fs::metadata(&path).unwrap().len();
    overwrite(&path, size / 2 / 4096 * 4096, 3 * 4096);
    let damaged = std::fs::read(&path).unwrap();
    let (mut outbox, recovered, report) = Outbox::open(&path, 77).unwrap();
    let held = &recovered.turbines[0].epochs[0];
    assert_eq!(report.salvaged, held.rows);
    assert!((370..400).contains(&report.salvaged), "{report:?}");
    assert!(report.unreadable > 0);
    assert!(!held.whole);
    let missing: u64 = held.missing.iter().map(|r| r.len()).sum();
    assert_eq!(missing, 400 - report.salvaged);
    let positions = [(SourceId::new("file"), vec![1, 2, 3])];
    assert_eq!(recovered.positions, positions);
    // the evidence is as it was
    let aside = dir.path().join("outbox.db.corrupt-77");
    assert_eq!(report.quarantined.as_ref(), Some(&aside));
    assert_eq!(std::fs::read(aside).unwrap(), damaged);
    // what was salvaged is what was written
    let Loaded::Backlog {
        rows: loaded,
        corrupt,
        ..
    } = outbox.load(&everything()).unwrap()
    else {
        panic!()
    };
    assert_eq!(corrupt, []);
    for row in &loaded {
        assert_eq!(row.payload, rows[row.meta.id.seq.0 as usize - 1].payload);
    }
    // declared once the Gap is committed, and not again
    drop(outbox);
    let (mut outbox, again, _) = Outbox::open(&path, 78).unwrap();
    assert_eq!(again.turbines[0].epochs[0].missing, held.missing);
    let mut gap = Maker::default().row(turbine(1), epoch(1, 2), Class::Compliance, 1);
    gap.meta.kind = RowKind::Gap;
    let rows = vec![gap];
    outbox.apply(&CommitBatch { rows, ..nothing() }).unwrap();
    drop(outbox);
    let (_, again, _) = Outbox::open(&path, 79).unwrap();
    assert_eq!(again.turbines[0].epochs[0].missing, []);
    assert!(!again.turbines[0].epochs[0].whole);
}

#[test]
fn every_page_may_be_the_damaged_one() {
    let master = tempfile::tempdir().unwrap();
    let source = master.path().join("outbox.db");
    let rows = filled(&source, 60);
    let bytes = std::fs::read(&source).unwrap();
    let mut roots = 0;
    for page in 0..bytes.len() / 1024 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox.db");
        std::fs::write(&path, &bytes).unwrap();
        overwrite(&path, page as u64 * 1024, 1024);
        let (mut outbox, _, _) = Outbox::open(&path, 1).unwrap();
        let loaded = outbox.load(&everything()).unwrap_or_else(|_| {
            // found only when the bytes were read: the next opening salvages
            Loaded::Backlog {
                turbine: turbine(1),
                rows: Vec::new(),
                corrupt: Vec::new(),
                last: None,
                end: false,
            }
        });
        let Loaded::Backlog {
            rows: mut loaded,
            mut end,
            ..
        } = loaded
        else {
            panic!()
        };
        if !end {
            drop(outbox);
            let (again, _, report) = Outbox::open(&path, 2).unwrap();
            assert!(report.quarantined.is_some(), "page {page}");
            outbox = again;
            let Loaded::Backlog { rows, end: e, .. } = outbox.load(&everything()).unwrap() else {
                panic!()
            };
            (loaded, end) = (rows, e);
        }
        assert!(end);
        // whatever is left is what was written, under its own name
        for row in &loaded {
            assert_eq!(row.payload, rows[row.meta.id.seq.0 as usize - 1].payload);
        }
        // the root of the table leads to all rows; any other page, the first of the file included, costs a few
        let lost = rows.len() - loaded.len();
        roots += usize::from(lost == rows.len());
        assert!(
            lost < 15 || lost == rows.len(),
            "page {page}: {lost} rows lost"
        );
        let next = Maker::default().row(turbine(1), epoch(1, 5), Class::Condition, 3);
        let rows = vec![next];
        let batch = CommitBatch { rows, ..nothing() };
        if outbox.apply(&batch).is_err() {
            // found only when it was written to: fail, stop, and salvage at the next start
            drop(outbox);
            let (mut again, _, report) = Outbox::open(&path, 3).unwrap();
            assert!(report.quarantined.is_some(), "page {page}");
            again.apply(&batch).unwrap();
        }
        let aside = [1, 2, 3].map(|n| dir.path().join(format!("outbox.db.corrupt-{n}")));
        if let Some(aside) = aside.iter().find(|a| a.exists()) {
            let damaged = std::fs::read(aside).unwrap();
            assert_eq!(
                damaged[..1024 * 2] == bytes[..1024 * 2],
                page > 1,
                "page {page}"
            );
        }
    }
    assert!(roots <= 1, "{roots}");
}

#[test]
fn a_file_that_is_no_database_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    std::fs::write(&path, vec![7; 10_000]).unwrap();
    let (_, recovered, report) = Outbox::open(&path, 5).unwrap();
    assert_eq!(recovered.turbines, []);
    let aside = std::fs::read(report.quarantined.unwrap()).unwrap();
    assert_eq!(aside, vec![7; 10_000]);
    assert!(report.damage.unwrap().contains("not a database"));
}

#[test]
fn a_garbled_record_is_handed_over_as_corrupt() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    filled(&path, 20);
    let db = rusqlite::Connection::open(&path).unwrap();
    let garble = "UPDATE record SET bytes = zeroblob(length(bytes)) WHERE id & 0xff = 7";
    db.execute(garble, []).unwrap();
    drop(db);
    let (mut outbox, _, report) = Outbox::open(&path, 5).unwrap();
    assert_eq!(report.quarantined, None);
    let Loaded::Backlog {
        rows,
        corrupt,
        last,
        end,
        ..
    } = outbox.load(&everything()).unwrap()
    else {
        panic!()
    };
    assert_eq!((rows.len(), corrupt.len(), end), (19, 1, true));
    assert_eq!(corrupt[0].id.seq, Seq(7));
    assert_eq!(last, Some((epoch(1, 1), Seq(20))));
}
