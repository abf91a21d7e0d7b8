//! The embedded log against a plain model: any sequence of appends, commits, trims, reads and reopenings.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use windlass_cloud::log::sqlite::{SqliteLog, SqliteLogSettings};
use windlass_cloud::log::{
    Commit, Committed, Fault, Group, Log, LogError, NewEntry, Offset, PartitionId, ReadLimits,
    StoredEntry, Topic, TopicPartition,
};
use windlass_shared::time::WallTime;

const PARTITIONS: u16 = 2;
const WRITER: u32 = 7;
const ALL: ReadLimits = ReadLimits {
    entries_max: usize::MAX >> 1,
    bytes_max: usize::MAX,
};
const NOW: Duration = Duration::ZERO;

fn settings(dir: &tempfile::TempDir) -> SqliteLogSettings {
    SqliteLogSettings {
        path: dir.path().join("log.db"),
        partitions: PARTITIONS,
        writer: WRITER,
        bytes_max: None,
        pace: Duration::ZERO,
    }
}

#[derive(Clone, Debug)]
enum Op {
    Append(Vec<NewEntry>),
    Commit(Commit),
    Trim(TopicPartition, u64, i64),
    Read(TopicPartition, u64, usize, usize),
    Reopen,
    Later(i64),
}

fn place() -> impl Strategy<Value = TopicPartition> {
    // one partition too many, so that refusals are met as well
    (
        prop::sample::select(vec![Topic::Telemetry, Topic::Features, Topic::DeadLetter]),
        0..=PARTITIONS,
    )
        .prop_map(|(topic, p)| TopicPartition::new(topic, PartitionId(p)))
}

fn entries() -> impl Strategy<Value = Vec<NewEntry>> {
    let entry = (
        place(),
        "[a-zé]{0,4}",
        prop::collection::vec(any::<u8>(), 0..20),
    )
        .prop_map(|(to, key, value)| NewEntry { to, key, value });
    prop::collection::vec(entry, 0..5)
}

fn op() -> impl Strategy<Value = Op> {
    let commit = (
        prop::sample::select(vec![Group::Process, Group::Lake]),
        place(),
        0..12_u64,
        "[a-z]{0,6}",
        entries(),
    )
        .prop_map(|(group, input, next, meta, outputs)| {
            Op::Commit(Commit {
                group,
                input,
                next: Offset(next),
                meta,
                outputs,
            })
        });
    prop_oneof![
        4 => entries().prop_map(Op::Append),
        4 => commit,
        1 => (place(), 0..12_u64, 0..60_i64).prop_map(|(at, o, t)| Op::Trim(at, o, t)),
        3 => (place(), 0..12_u64, 1..5_usize, 1..30_usize).prop_map(|(at, o, n, b)| Op::Read(at, o, n, b)),
        1 => Just(Op::Reopen),
        2 => (-5..10_i64).prop_map(Op::Later),
    ]
}

#[derive(Default)]
struct Model {
    entries: BTreeMap<TopicPartition, BTreeMap<u64, StoredEntry>>,
    next: BTreeMap<TopicPartition, u64>,
    positions: BTreeMap<(Group, TopicPartition), Committed>,
}

impl Model {
    fn known(at: TopicPartition) -> bool {
        at.partition.0 < PARTITIONS
    }
    fn next(&self, at: TopicPartition) -> u64 {
        self.next.get(&at).copied().unwrap_or(0)
    }
    fn append(&mut self, entries: &[NewEntry], now: i64) -> Option<Vec<Offset>> {
        if !entries.iter().all(|e| Self::known(e.to)) {
            return None;
        }
        let put = |e: &NewEntry| {
            let offset = self.next(e.to);
            let stored = StoredEntry {
                at: e.to,
                offset: Offset(offset),
                time: WallTime(now),
                writer: WRITER,
                key: e.key.clone(),
                value: e.value.clone(),
            };
            self.entries.entry(e.to).or_default().insert(offset, stored);
            self.next.insert(e.to, offset + 1);
            Offset(offset)
        };
        Some(entries.iter().map(put).collect())
    }
    fn commit(&mut self, c: &Commit, now: i64) -> bool {
        let low = self
            .positions
            .get(&(c.group, c.input))
            .map_or(0, |p| p.next.0);
        if !Self::known(c.input) || c.next.0 < low || c.next.0 > self.next(c.input) {
            return false;
        }
        if self.append(&c.outputs, now).is_none() {
            return false;
        }
        self.positions.insert(
            (c.group, c.input),
            Committed {
                next: c.next,
                meta: c.meta.clone(),
            },
        );
        true
    }
    fn trim(&mut self, at: TopicPartition, before: u64, older: i64) -> u64 {
        let before = before.min(self.next(at).saturating_sub(1));
        let Some(held) = self.entries.get_mut(&at) else {
            return 0;
        };
        let gone: Vec<u64> = held
            .iter()
            .take_while(|(o, e)| **o < before && e.time.0 < older)
            .map(|(o, _)| *o)
            .collect();
        for o in &gone {
            held.remove(o);
        }
        gone.len() as u64
    }
    fn read(&self, at: TopicPartition, from: u64, n: usize, bytes_max: usize) -> Vec<StoredEntry> {
        let mut out = Vec::new();
        let mut bytes = 0;
        for e in self.entries.get(&at).into_iter().flatten().map(|(_, e)| e) {
            if e.offset.0 >= from && out.len() < n && bytes < bytes_max {
                bytes += e.value.len();
                out.push(e.clone());
            }
        }
        out
    }
}

fn open(dir: &tempfile::TempDir, clock: &Arc<AtomicI64>) -> SqliteLog {
    let clock = Arc::clone(clock);
    SqliteLog::open(
        &settings(dir),
        Box::new(move || WallTime(clock.load(Ordering::SeqCst))),
    )
    .expect("the log opens")
}

fn compare_read(
    log: &SqliteLog,
    model: &Model,
    (at, from, n, b): (TopicPartition, u64, usize, usize),
) {
    let limits = ReadLimits {
        entries_max: n,
        bytes_max: b,
    };
    let got = log
        .reader(vec![(at, Offset(from))])
        .and_then(|mut r| r.poll(limits, NOW));
    let want = model.read(at, from, n, b);
    match got {
        Err(LogError::Request { .. }) => assert!(!Model::known(at)),
        Err(LogError::Trimmed { first, wanted, .. }) => {
            assert_eq!(wanted, Offset(from));
            assert_eq!(want.first().map(|e| e.offset), Some(first));
            assert!(first.0 > from);
        }
        Err(e) => panic!("{e}"),
        Ok(got) => {
            assert!(want.first().is_none_or(|e| e.offset.0 == from));
            assert_eq!(got, want);
        }
    }
}

fn compare_all(log: &SqliteLog, model: &Model) {
    for topic in Topic::ALL {
        for p in 0..PARTITIONS {
            let at = TopicPartition::new(topic, PartitionId(p));
            let held = model.entries.get(&at);
            let first = held.and_then(|h| h.keys().next()).copied().unwrap_or(0);
            assert_eq!(
                log.bounds(at).expect("bounds"),
                (Offset(first), Offset(model.next(at)))
            );
            compare_read(log, model, (at, first, ALL.entries_max, ALL.bytes_max));
            for group in Group::ALL {
                assert_eq!(
                    log.committed(group, at).expect("committed"),
                    model.positions.get(&(group, at)).cloned()
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_log_does_what_the_model_does(ops in prop::collection::vec(op(), 1..40)) {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = Arc::new(AtomicI64::new(10));
        let mut log = Some(open(&dir, &clock));
        let mut model = Model::default();
        for op in ops {
            let now = clock.load(Ordering::SeqCst);
            let l = log.as_ref().expect("open");
            match op {
                Op::Append(entries) => {
                    let want = model.append(&entries, now);
                    let got = l.append(entries).wait();
                    prop_assert_eq!(got.ok(), want);
                }
                Op::Commit(c) => {
                    let want = model.commit(&c, now);
                    prop_assert_eq!(l.commit(c).wait().is_ok(), want);
                }
                Op::Trim(at, before, older) if Model::known(at) => {
                    let want = model.trim(at, before, older);
                    let got = l.trim(at, Offset(before), WallTime(older)).wait();
                    prop_assert_eq!(got.expect("trim"), want);
                }
                Op::Trim(..) => {}
                Op::Read(at, from, n, b) => compare_read(l, &model, (at, from, n, b)),
                Op::Reopen => {
                    drop(log.take());
                    log = Some(open(&dir, &clock));
                }
                Op::Later(by) => {
                    clock.fetch_add(by, Ordering::SeqCst);
                }
            }
        }
        compare_all(log.as_ref().expect("open"), &model);
        drop(log.take());
        compare_all(&open(&dir, &clock), &model);
    }
}

fn fixed_clock() -> Box<dyn Fn() -> WallTime + Send> {
    Box::new(|| WallTime(1))
}

fn telemetry(value: Vec<u8>) -> NewEntry {
    NewEntry {
        to: TopicPartition::new(Topic::Telemetry, PartitionId(0)),
        key: "T001".into(),
        value,
    }
}

#[test]
fn a_reader_that_waits_is_woken_by_an_append() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = SqliteLog::open(&settings(&dir), fixed_clock()).expect("opens");
    let at = TopicPartition::new(Topic::Telemetry, PartitionId(0));
    let mut reader = log.reader(vec![(at, Offset(0))]).expect("reader");
    let got = std::thread::scope(|s| {
        let waiting = s.spawn(move || reader.poll(ALL, Duration::from_mins(1)));
        log.append(vec![telemetry(vec![5])]).wait().expect("append");
        waiting.join().expect("no panic").expect("read")
    });
    assert_eq!(got.len(), 1);
    assert_eq!((got[0].offset, &got[0].value[..]), (Offset(0), &[5][..]));
}

#[test]
fn requests_that_come_faster_than_the_pace_share_a_transaction() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut slow = settings(&dir);
    slow.pace = Duration::from_secs(3);
    let log = SqliteLog::open(&slow, fixed_clock()).expect("opens");
    let at = TopicPartition::new(Topic::Telemetry, PartitionId(0));
    log.append(vec![telemetry(vec![0])]).wait().expect("append");
    let mut reader = log.reader(vec![(at, Offset(1))]).expect("reader");
    let tickets: Vec<_> = (1..=50)
        .map(|i| log.append(vec![telemetry(vec![i])]))
        .collect();
    // what becomes visible at once was one transaction
    let seen = reader.poll(ALL, Duration::from_mins(1)).expect("read");
    assert_eq!(seen.len(), 50);
    for (i, ticket) in (1..).zip(tickets) {
        assert_eq!(ticket.wait().expect("append"), [Offset(i)]);
    }
}

#[test]
fn a_full_log_says_so_and_stops_and_keeps_what_it_answered() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut small = settings(&dir);
    small.bytes_max = Some(400 * 1024);
    let log = SqliteLog::open(&small, fixed_clock()).expect("opens");
    let mut answered = 0;
    let error = loop {
        match log.append(vec![telemetry(vec![1; 20_000])]).wait() {
            Ok(_) => answered += 1,
            Err(e) => break e,
        }
        assert!(answered < 100, "the limit was ignored");
    };
    assert!(
        matches!(
            error,
            LogError::Store {
                fault: Fault::Full,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("log.disk_max_mb"), "{error}");
    let after = log.append(vec![telemetry(vec![])]).wait();
    assert!(
        matches!(after, Err(LogError::Stopped { .. })),
        "fail-stop: {after:?}"
    );
    drop(log);
    let log = SqliteLog::open(&settings(&dir), fixed_clock()).expect("opens with more room");
    let at = TopicPartition::new(Topic::Telemetry, PartitionId(0));
    assert_eq!(log.bounds(at).expect("bounds").1, Offset(answered));
    log.append(vec![telemetry(vec![])]).wait().expect("goes on");
}

#[test]
fn a_second_owner_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = SqliteLog::open(&settings(&dir), fixed_clock()).expect("opens");
    let second = SqliteLog::open(&settings(&dir), fixed_clock());
    assert!(matches!(second, Err(LogError::InUse { .. })));
    drop(first);
    SqliteLog::open(&settings(&dir), fixed_clock()).expect("opens when the first is gone");
}

#[test]
fn a_corrupt_file_and_other_partitions_are_refused_with_a_clear_error() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut s = settings(&dir);
    drop(SqliteLog::open(&s, fixed_clock()).expect("opens"));
    s.partitions = 3;
    let e = SqliteLog::open(&s, fixed_clock()).expect_err("other partitions");
    assert!(
        e.to_string()
            .ends_with("found `log.partitions` = 2, expected 3"),
        "{e}"
    );
    std::fs::write(&s.path, vec![0x55; 8192]).expect("overwrite");
    let e = SqliteLog::open(&s, fixed_clock()).expect_err("garbage");
    assert!(
        matches!(
            e,
            LogError::Store {
                fault: Fault::Corrupt,
                ..
            }
        ),
        "{e}"
    );
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    std::fs::write(&file, b"x").expect("write");
    let mut s = settings(&dir);
    s.path = file.join("log.db");
    let e = SqliteLog::open(&s, fixed_clock()).expect_err("no directory");
    assert!(e.to_string().contains("file"), "{e}");
}
