//! A partition that stops hard at any commit, and goes on: outputs and hash come out as if it had never stopped.

mod rig;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use object_store::local::LocalFileSystem;
use prometheus_client::registry::Registry;
use rig::{START, Site, load, wait_for};
use windlass_cloud::clock::Clock;
use windlass_cloud::log::sqlite::{SqliteLog, SqliteLogSettings, SqliteView};
use windlass_cloud::log::{
    Commit, Committed, Group, Log, LogError, NewEntry, Offset, PartitionId, ReadLimits, Reader,
    Ticket, Topic, TopicPartition,
};
use windlass_cloud::metrics::Metrics;
use windlass_cloud::process::snapshot::{SnapshotStore, queue};
use windlass_cloud::process::{ProcessError, Processor};
use windlass_cloud::stop::Stopper;
use windlass_cloud_core::output::{DeadLetter, LogicChange, Reason};
use windlass_cloud_core::recovery::{Progress, RecoveryError};
use windlass_cloud_core::task::{LOGIC_VERSION, TaskSettings};
use windlass_shared::id::GatewayId;
use windlass_shared::time::{SECOND_US, WallTime};
use windlass_shared::wire::{Control, encode_control, encode_telemetry};

const P0: PartitionId = PartitionId(0);
const INPUT: TopicPartition = TopicPartition {
    topic: Topic::Telemetry,
    partition: P0,
};
const ALL: ReadLimits = ReadLimits {
    entries_max: 1 << 30,
    bytes_max: usize::MAX,
};
const NEVER: Duration = Duration::from_hours(24);

fn open(dir: &Path, clock: &Arc<AtomicI64>) -> SqliteLog {
    let settings = SqliteLogSettings {
        path: dir.join("log.db"),
        partitions: 1,
        writer: 1,
        bytes_max: None,
        pace: Duration::ZERO,
    };
    let clock = Arc::clone(clock);
    SqliteLog::open(
        &settings,
        Box::new(move || WallTime(clock.load(Ordering::SeqCst))),
    )
    .expect("the log opens")
}

/// Four minutes of two turbines: out of order, doubled, with a restart of one gateway, and ticks to the end.
fn make_telemetry(dir: &Path) {
    let clock = Arc::new(AtomicI64::new(START.0));
    let log = open(dir, &clock);
    let gateway = GatewayId::new("GW1").expect("a name");
    let mut loads = [load("T1", 1, START), load("T2", 2, START)];
    let mut held = Vec::new();
    for second in 0..300_i64 {
        clock.store(START.0 + (second + 1) * SECOND_US, Ordering::SeqCst);
        let mut entries = Vec::new();
        for (i, l) in loads.iter_mut().enumerate() {
            if second == 0 {
                entries.push(l.open(None));
            }
            if second == 120 && i == 1 {
                let (next, open) = l.successor(windlass_shared::id::Epoch([9; 16]));
                *l = next;
                entries.push(open);
            }
            if second < 240 {
                entries.extend(l.next_second());
            }
        }
        // every seventh second is held back for a while, every fifth comes twice
        if second % 7 == 3 {
            held.append(&mut entries);
        } else if second % 7 == 6 {
            entries.append(&mut held);
        }
        if second % 5 == 0 {
            entries.extend(entries.clone());
        }
        let to_entry = |key: &str, value| NewEntry {
            to: INPUT,
            key: key.to_owned(),
            value,
        };
        let mut batch: Vec<NewEntry> = entries
            .iter()
            .map(|s| {
                let key = s.record.header.id.turbine.as_str();
                to_entry(key, encode_telemetry(&gateway, &s.bytes))
            })
            .collect();
        batch.push(to_entry("", encode_control(&Control::Tick)));
        log.append(batch).wait().expect("append");
    }
}

/// A log whose process dies at the n-th commit of the partition task: before it, or after it but before the answer.
struct Dying {
    inner: SqliteLog,
    left: AtomicU32,
    after: bool,
}

impl Log for Dying {
    fn partitions(&self) -> u16 {
        self.inner.partitions()
    }
    fn generation(&self) -> u64 {
        self.inner.generation()
    }
    fn append(&self, entries: Vec<NewEntry>) -> Ticket<Vec<Offset>> {
        self.inner.append(entries)
    }
    fn commit(&self, commit: Commit) -> Ticket<()> {
        if commit.group != Group::Process {
            return self.inner.commit(commit);
        }
        let dies = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
            .is_err();
        if !dies {
            return self.inner.commit(commit);
        }
        if self.after {
            self.inner.commit(commit).wait().expect("commit");
        }
        let (answer, ticket) = Ticket::pair();
        drop(answer.send(Err(LogError::Stopped { cause: None })));
        ticket
    }
    fn reader(&self, from: Vec<(TopicPartition, Offset)>) -> Result<Box<dyn Reader>, LogError> {
        self.inner.reader(from)
    }
    fn committed(&self, group: Group, at: TopicPartition) -> Result<Option<Committed>, LogError> {
        self.inner.committed(group, at)
    }
    fn bounds(&self, at: TopicPartition) -> Result<(Offset, Offset), LogError> {
        self.inner.bounds(at)
    }
    fn trim(&self, at: TopicPartition, before: Offset, older_than: WallTime) -> Ticket<u64> {
        self.inner.trim(at, before, older_than)
    }
}

struct Bench {
    site: Site,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn new() -> Self {
        let bench = Self {
            site: Site::new(),
            runtime: tokio::runtime::Runtime::new().expect("a runtime"),
        };
        make_telemetry(&bench.dir("origin"));
        bench
    }

    fn dir(&self, name: &str) -> std::path::PathBuf {
        let dir = self.site.dir.path().join(name);
        std::fs::create_dir_all(&dir).expect("a directory");
        dir
    }

    /// A fresh copy of the telemetry, with nothing derived from it.
    fn fresh(&self, name: &str) -> std::path::PathBuf {
        let dir = self.dir(name);
        rig::copy_files(&self.dir("origin"), &dir);
        dir
    }

    /// Runs the partition once: until it has done everything, or dies at a commit.
    fn run_once(&self, dir: &Path, run: &Run) -> Result<(), ProcessError> {
        let clock = Arc::new(AtomicI64::new(START.0));
        let log: Arc<dyn Log> = Arc::new(Dying {
            inner: open(dir, &clock),
            left: AtomicU32::new(run.commits),
            after: run.dies_after,
        });
        let snapshots_dir = dir.join("snapshots");
        std::fs::create_dir_all(&snapshots_dir).expect("a directory");
        let store = LocalFileSystem::new_with_prefix(&snapshots_dir).expect("a store");
        let metrics = Metrics::new(&mut Registry::default()).process;
        let snapshots = Arc::new(SnapshotStore::new(
            Arc::new(store),
            self.runtime.handle().clone(),
            log.generation(),
            metrics.clone(),
        ));
        let (snapshot_queue, writer) = queue(Arc::clone(&snapshots), Arc::clone(&log));
        let processor = Processor {
            log: Arc::clone(&log),
            snapshots,
            snapshot_queue,
            settings: Arc::new(TaskSettings::default()),
            fleet: self.site.config().fleet,
            detectors: None,
            snapshot_every: run.snapshot_every,
            limits: ReadLimits {
                entries_max: run.entries_max,
                ..ALL
            },
            logic: run.logic,
            metrics,
            clock: Clock::start(),
        };
        let (stopper, stop) = Stopper::new();
        let end = log.bounds(INPUT).expect("bounds").1;
        let done = || {
            let c = log.committed(Group::Process, INPUT).expect("position");
            c.is_some_and(|c| c.next == end)
        };
        std::thread::scope(|s| {
            let snapshotting = s.spawn(|| writer.run());
            let working = s.spawn(move || processor.run(P0, &stop));
            wait_for("the partition", || working.is_finished() || done());
            if run.stops_cleanly {
                stopper.stop();
            }
            let result = working.join().expect("no panic");
            snapshotting.join().expect("no panic");
            result
        })
    }

    fn outputs(dir: &Path) -> Outputs {
        let view = SqliteView::open(&dir.join("log.db")).expect("the log");
        let mut out = Vec::new();
        for topic in Topic::ALL.into_iter().skip(1) {
            let mut entries = Vec::new();
            view.read(TopicPartition::new(topic, P0), Offset(0), ALL, &mut entries)
                .expect("read");
            out.extend(entries.into_iter().map(|e| (topic, e.key, e.value)));
        }
        let progress = view
            .committed(Group::Process, INPUT)
            .expect("position")
            .expect("a position");
        Outputs {
            entries: out,
            progress,
        }
    }
}

#[derive(PartialEq)]
struct Outputs {
    entries: Vec<(Topic, String, Vec<u8>)>,
    progress: Committed,
}

impl Outputs {
    fn assert_same(&self, other: &Self, what: &str) {
        assert_eq!(self.progress, other.progress, "{what}");
        assert_eq!(self.entries.len(), other.entries.len(), "{what}");
        assert!(self.entries == other.entries, "{what}: other outputs");
    }
}

struct Run {
    commits: u32,
    dies_after: bool,
    entries_max: usize,
    snapshot_every: Duration,
    stops_cleanly: bool,
    logic: u32,
}

fn straight() -> Run {
    Run {
        commits: u32::MAX,
        dies_after: false,
        entries_max: 64,
        snapshot_every: NEVER,
        stops_cleanly: true,
        logic: LOGIC_VERSION,
    }
}

#[test]
fn hard_stops_leave_no_trace_in_the_outputs() {
    let bench = Bench::new();
    let dir = bench.fresh("straight");
    bench.run_once(&dir, &straight()).expect("done");
    let want = Bench::outputs(&dir);
    assert!(want.entries.len() > 400, "{}", want.entries.len());
    let mut deaths = 0;
    for seed in 1..=6_u32 {
        let dir = bench.fresh(&format!("dying-{seed}"));
        let mut round = 0;
        loop {
            round += 1;
            let run = Run {
                commits: (seed * 7 + round * 5) % 7,
                dies_after: (seed + round) % 2 == 0,
                entries_max: [3, 17, 40, 100][((seed + round) % 4) as usize],
                snapshot_every: if seed % 2 == 0 {
                    Duration::from_millis(1)
                } else {
                    NEVER
                },
                stops_cleanly: true,
                logic: LOGIC_VERSION,
            };
            match bench.run_once(&dir, &run) {
                Ok(()) => break,
                Err(ProcessError::Log { .. }) => deaths += 1,
                Err(e) => panic!("seed {seed}, round {round}: {e}"),
            }
        }
        want.assert_same(&Bench::outputs(&dir), &format!("seed {seed}"));
    }
    assert!(deaths >= 30, "only {deaths} hard stops");
}

fn snapshot_files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.join("snapshots")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_damaged_snapshot_is_passed_over_for_an_older_one_or_the_start() {
    let bench = Bench::new();
    let dir = bench.fresh("straight");
    bench.run_once(&dir, &straight()).expect("done");
    let want = Bench::outputs(&dir);

    let dir = bench.fresh("damaged");
    let run = Run {
        snapshot_every: Duration::from_millis(1),
        entries_max: 20,
        ..straight()
    };
    bench.run_once(&dir, &run).expect("done");
    let files = snapshot_files(&dir);
    assert!(files.len() >= 2 && files.len() <= 3, "{files:?}");
    let mut newest = std::fs::read(files.last().expect("a snapshot")).expect("read");
    let middle = newest.len() / 2;
    newest[middle] ^= 1;
    std::fs::write(files.last().expect("a snapshot"), &newest).expect("write");
    bench.run_once(&dir, &straight()).expect("an older one");
    want.assert_same(&Bench::outputs(&dir), "an older one");
    for file in snapshot_files(&dir) {
        std::fs::write(file, b"WLSNAP01").expect("write");
    }
    bench.run_once(&dir, &straight()).expect("from the start");
    want.assert_same(&Bench::outputs(&dir), "from the start");
}

#[test]
fn a_replay_that_gives_other_outputs_halts_loudly() {
    let bench = Bench::new();
    let dir = bench.fresh("halts");
    bench.run_once(&dir, &straight()).expect("done");
    {
        let log = open(&dir, &Arc::default());
        let now = log
            .committed(Group::Process, INPUT)
            .expect("position")
            .expect("a position");
        let mut progress = Progress::parse(&now.meta).expect("ours");
        progress.outputs.replace_range(..2, "zz");
        log.commit(Commit {
            group: Group::Process,
            input: INPUT,
            next: now.next,
            meta: progress.to_text(),
            outputs: Vec::new(),
        })
        .wait()
        .expect("commit");
    }
    let e = bench.run_once(&dir, &straight()).expect_err("halts");
    assert!(
        matches!(
            e,
            ProcessError::Recovery {
                source: RecoveryError::Hash { .. },
                ..
            }
        ),
        "{e}"
    );
    let text = windlass_cloud::causes::Causes(&e).to_string();
    assert!(text.contains("halting"), "{text}");
}

#[test]
fn a_log_that_lost_its_start_and_its_snapshots_is_not_guessed_at() {
    let bench = Bench::new();
    let dir = bench.fresh("trimmed");
    bench.run_once(&dir, &straight()).expect("done");
    for file in snapshot_files(&dir) {
        std::fs::remove_file(file).expect("remove");
    }
    {
        let log = open(&dir, &Arc::default());
        let gone = log.trim(INPUT, Offset(100), WallTime::MAX).wait();
        assert_eq!(gone.expect("trim"), 100);
    }
    let e = bench.run_once(&dir, &straight()).expect_err("no start");
    assert!(
        matches!(
            e,
            ProcessError::Recovery {
                source: RecoveryError::NoStart { first: 100, .. },
                ..
            }
        ),
        "{e}"
    );
}

#[test]
fn another_version_of_the_logic_says_so_once_and_goes_on() {
    let bench = Bench::new();
    let dir = bench.fresh("straight");
    bench.run_once(&dir, &straight()).expect("done");
    let before = Bench::outputs(&dir);
    let next = Run {
        logic: LOGIC_VERSION + 1,
        ..straight()
    };
    // dies after the commit that says so, before its snapshot; then twice with nothing to do; then without snapshots
    let dies = Run {
        commits: 0,
        dies_after: true,
        ..next
    };
    bench.run_once(&dir, &dies).expect_err("dies");
    for _ in 0..2 {
        bench.run_once(&dir, &next).expect("goes on");
    }
    for file in snapshot_files(&dir) {
        std::fs::remove_file(file).expect("remove");
    }
    {
        let tick = NewEntry {
            to: INPUT,
            key: String::new(),
            value: encode_control(&Control::Tick),
        };
        let log = open(&dir, &Arc::default());
        log.append(vec![tick]).wait().expect("append");
    }
    bench
        .run_once(&dir, &next)
        .expect("from the start of the log");
    let mut after = Bench::outputs(&dir);
    let mut said = Vec::new();
    after.entries.retain(|(topic, _, bytes)| {
        let letter = DeadLetter::decode(bytes).ok();
        let letter =
            letter.filter(|l| *topic == Topic::DeadLetter && l.meta.reason == Reason::Logic);
        let change = letter.map(|l| LogicChange::decode(&l.bytes).expect("a change"));
        said.extend(change);
        change.is_none()
    });
    let change = LogicChange {
        from: LOGIC_VERSION,
        to: LOGIC_VERSION + 1,
        position: before.progress.next.0,
    };
    assert_eq!(said, [change]);
    for topic in Topic::ALL {
        let of = |all: &Outputs| -> Vec<_> {
            let of = all.entries.iter().filter(|e| e.0 == topic);
            of.cloned().collect()
        };
        assert!(of(&after).starts_with(&of(&before)), "{topic}");
    }
    let progress = Progress::parse(&after.progress.meta).expect("ours");
    assert_eq!(after.progress.next.0, change.position + 1);
    let since = progress.since.expect("a change");
    assert_eq!((progress.logic, since.from), (change.to, change.from));
    assert_eq!(since.position, change.position);
}
