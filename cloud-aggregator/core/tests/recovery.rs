//! Recovery and the worker: whatever snapshots there are, and wherever a worker died, the outputs come out once and as if
//! it had never died; a change of the logic is said once.

#![allow(clippy::unwrap_used)] // a test that has not what it expects fails

mod world;

use std::sync::Arc;

use windlass_cloud_core::bench::noise;
use windlass_cloud_core::output::{DeadLetter, LogicChange, Reason};
use windlass_cloud_core::recovery::{Durable, Progress, Recovered, Recovery, RecoveryError, Step};
use windlass_cloud_core::task::{TaskOutput, TaskSettings};
use windlass_cloud_core::worker::{POSITION_EVERY_US, Worker};
use windlass_shared::time::MonoTime;
use world::*;

/// Two minutes and a half of a turbine with ticks.
fn log() -> TestLog {
    let fleet = fleet();
    let mut feed = feed(&fleet, "T1", "small");
    let mut log = TestLog::default();
    let open = feed.open(epoch(1), at(0));
    log.record(0, &feed.gateway, &open);
    for s in 0..150 {
        let raw = |c: &windlass_shared::catalogue::Channel, _| i64::from(c.id.0) * 10 + s % 7;
        for record in second(&mut feed, s, raw) {
            log.record(s + 1, &feed.gateway, &record);
        }
        log.tick(s + 1);
    }
    log
}

/// Durable parts of a partition.
#[derive(Clone, Default)]
struct Disk {
    committed: Option<(u64, String)>,
    snapshots: Vec<(u64, Vec<u8>)>,
    outputs: Vec<TaskOutput>,
    first: u64,
}

impl Disk {
    fn durable(&self) -> Durable {
        Durable {
            committed: self.committed.clone(),
            snapshots: self.snapshots.iter().map(|(at, _)| *at).collect(),
            first: self.first,
        }
    }

    /// Also which snapshots were asked for.
    fn recover(&self, log: &TestLog, logic: u32) -> Result<(Recovered, Vec<u64>), RecoveryError> {
        let settings = Arc::new(TaskSettings::default());
        let mut recovery = Recovery::begin(self.durable(), logic, settings, fleet())?;
        let mut asked = Vec::new();
        loop {
            match recovery.step()? {
                Step::Snapshot(at) => {
                    asked.push(at);
                    let found = self.snapshots.iter().find(|(p, _)| *p == at).unwrap();
                    let state = (!found.1.is_empty()).then_some(&found.1[..]);
                    drop(recovery.snapshot(state.ok_or_else(|| "it is gone".to_owned())));
                }
                Step::Entries { from, .. } => {
                    if from as usize >= log.0.len() {
                        return Err(recovery.short());
                    }
                    // more than was asked for: what is behind the committed position is left for later
                    for offset in from as usize..log.0.len().min(from as usize + 11) {
                        recovery.entry(&log.input(offset));
                    }
                }
                Step::Finish => return Ok((recovery.finish()?, asked)),
            }
        }
    }

    fn commit(&mut self, worker: &mut Worker) {
        let transaction = worker.transaction();
        self.outputs.extend(transaction.outputs);
        self.committed = Some((transaction.position, transaction.progress.to_text()));
        worker.committed(MonoTime(0));
    }

    fn snapshot(&mut self, worker: &mut Worker) {
        let state = worker.snapshot().unwrap();
        self.snapshots.push((state.position(), state.snapshot()));
        worker.snapshotted();
    }

    /// Works from where it is up to `to`, with a commit every `every` entries.
    fn work(&mut self, log: &TestLog, logic: u32, to: usize, every: usize) -> Worker {
        let (recovered, _) = self.recover(log, logic).unwrap();
        let mut worker = Worker::new(recovered, MonoTime(0));
        if worker.is_open() {
            self.commit(&mut worker);
        }
        for offset in worker.task().position() as usize..to {
            worker.apply(&log.input(offset));
            if offset % every == every - 1 {
                self.commit(&mut worker);
            }
        }
        self.commit(&mut worker);
        worker
    }

    fn changes(&self) -> Vec<LogicChange> {
        let letters = self
            .outputs
            .iter()
            .filter_map(|o| DeadLetter::decode(&o.bytes).ok());
        letters
            .filter(|l| l.meta.reason == Reason::Logic)
            .map(|l| LogicChange::decode(&l.bytes).unwrap())
            .collect()
    }
}

#[test]
fn deaths_at_any_commit_leave_no_trace_in_the_outputs() {
    let log = log();
    let mut straight = Disk::default();
    straight.work(&log, 1, log.0.len(), 1_000_000);
    assert!(straight.outputs.len() > 100, "{}", straight.outputs.len());
    for seed in 0..20 {
        let mut disk = Disk::default();
        let mut at = 0;
        let mut n = 0;
        while at < log.0.len() {
            n += 1;
            at = log.0.len().min(at + 1 + noise(seed, n, 1, 90) as usize);
            let mut worker = disk.work(&log, 1, at, 1 + noise(seed, n, 2, 30) as usize);
            if noise(seed, n, 3, 2) == 0 && worker.snapshot().is_some() {
                disk.snapshot(&mut worker);
                if noise(seed, n, 4, 3) == 0 {
                    // lost, or damaged
                    let bytes = &mut disk.snapshots.last_mut().unwrap().1;
                    bytes.truncate(noise(seed, n, 5, 2) as usize * 60);
                }
            }
            // applied, and never committed
            for offset in at..log.0.len().min(at + 5) {
                worker.apply(&log.input(offset));
            }
        }
        assert!(disk.outputs == straight.outputs, "seed {seed}");
        assert_eq!(disk.committed, straight.committed, "seed {seed}");
    }
}

#[test]
fn the_newest_usable_snapshot_is_taken() {
    let log = log();
    let mut disk = Disk::default();
    for to in [40, 80, 120] {
        let mut worker = disk.work(&log, 1, to, 10);
        disk.snapshot(&mut worker);
    }
    let asked = |disk: &Disk| {
        let (recovered, asked) = disk.recover(&log, 1).unwrap();
        (recovered.snapshot, recovered.replayed, asked)
    };
    assert_eq!(asked(&disk), (Some(120), 0, vec![120]));
    // a state that was never committed is not asked for
    let mut newer = disk.clone();
    newer.snapshots.push((121, newer.snapshots[2].1.clone()));
    assert_eq!(asked(&newer), (Some(120), 0, vec![120]));
    // cut short, of another layout, with the state of another position
    disk.snapshots[2].1.truncate(100);
    assert_eq!(asked(&disk), (Some(80), 40, vec![120, 80]));
    disk.snapshots[1].1[4] ^= 1;
    assert_eq!(asked(&disk), (Some(40), 80, vec![120, 80, 40]));
    let other = disk.snapshots[0].1.clone();
    disk.snapshots[1] = (80, other);
    assert_eq!(asked(&disk), (Some(40), 80, vec![120, 80, 40]));
    // none: from the start, if the log has it
    disk.snapshots.remove(0);
    assert_eq!(asked(&disk), (None, 120, vec![120, 80]));
    disk.first = 7;
    let no_start = RecoveryError::NoStart {
        committed: 120,
        first: 7,
    };
    assert_eq!(disk.recover(&log, 1).unwrap_err(), no_start);
    // what begins before the log does cannot be brought up to date
    disk.snapshots = vec![(5, Vec::new())];
    assert_eq!(disk.recover(&log, 1).unwrap_err(), no_start);
}

#[test]
fn other_outputs_and_a_short_log_halt() {
    let mut log = log();
    let mut disk = Disk::default();
    disk.work(&log, 1, 100, 10);
    let short = TestLog(log.0[..60].to_vec());
    let error = disk.recover(&short, 1).unwrap_err();
    assert_eq!(
        error,
        RecoveryError::Short {
            position: 60,
            committed: 100
        }
    );
    log.0.remove(10);
    let error = disk.recover(&log, 1).unwrap_err();
    assert!(
        matches!(
            error,
            RecoveryError::Hash {
                from: 0,
                to: 100,
                logic: 1,
                ..
            }
        ),
        "{error}"
    );
    disk.committed = Some((100, "{}".into()));
    let error = disk.recover(&log, 1).unwrap_err();
    assert!(error.to_string().contains("found `{}`"), "{error}");
}

#[test]
fn a_change_of_the_logic_is_said_once_and_replays_go_on_from_it() {
    let log = log();
    let mut straight = Disk::default();
    straight.work(&log, 1, log.0.len(), 7);
    let mut disk = Disk::default();
    let mut worker = disk.work(&log, 1, 50, 7);
    disk.snapshot(&mut worker);
    assert_eq!(disk.changes(), []);
    // dies before it could say so: nothing happened
    let before = disk.clone();
    let (recovered, _) = disk.recover(&log, 2).unwrap();
    let change = LogicChange {
        from: 1,
        to: 2,
        position: 50,
    };
    assert_eq!(recovered.changed, Some(change));
    assert_eq!(recovered.outputs.len(), 1);
    // goes on, with deaths, over snapshots before and at the change, and none
    for snapshots in [0, 1, 2] {
        let mut disk = before.clone();
        disk.snapshots.truncate(snapshots);
        for to in [50, 51, 90, 90, 140, log.0.len()] {
            let mut worker = disk.work(&log, 2, to, 7);
            if snapshots == 2 && to < 100 && worker.snapshot().is_some() {
                disk.snapshot(&mut worker);
            }
        }
        assert_eq!(disk.changes(), [change]);
        let (at, text) = disk.committed.clone().unwrap();
        let progress = Progress::parse(&text).unwrap();
        assert_eq!((at, progress.logic), (log.0.len() as u64, 2));
        let since = progress.since.unwrap();
        assert_eq!((since.from, since.position), (1, 50));
        // nothing else changed
        let other = |o: &&TaskOutput| {
            DeadLetter::decode(&o.bytes).map_or(true, |l| l.meta.reason != Reason::Logic)
        };
        let results: Vec<&TaskOutput> = disk.outputs.iter().filter(other).collect();
        assert_eq!(results, straight.outputs.iter().collect::<Vec<_>>());
        // a damaged log is still found, at and behind the change
        let mut damaged = TestLog(log.0.clone());
        damaged.0.remove(100);
        damaged.tick(200);
        disk.snapshots.clear();
        let error = disk.recover(&damaged, 2).unwrap_err();
        assert!(
            matches!(error, RecoveryError::Hash { logic: 2, .. }),
            "{error}"
        );
        // and back again
        disk.work(&log, 1, log.0.len(), 7);
        let back = LogicChange {
            from: 2,
            to: 1,
            position: log.0.len() as u64,
        };
        assert_eq!(disk.changes(), [change, back]);
    }
}

#[test]
fn a_position_without_outputs_waits_and_only_committed_states_become_snapshots() {
    let log = log();
    let mut disk = Disk::default();
    let (recovered, _) = disk.recover(&log, 1).unwrap();
    let mut worker = Worker::new(recovered, MonoTime(5));
    assert!(!worker.is_open() && !worker.is_due(MonoTime(u64::MAX)));
    // a tick before anything else makes nothing
    let mut quiet = TestLog::default();
    quiet.tick(0);
    worker.apply(&quiet.input(0));
    assert!(worker.is_open() && worker.snapshot().is_none());
    assert!(!worker.is_due(MonoTime(4 + POSITION_EVERY_US)));
    assert!(worker.is_due(MonoTime(5 + POSITION_EVERY_US)));
    disk.commit(&mut worker);
    assert!(!worker.is_open());
    disk.snapshot(&mut worker);
    assert!(worker.snapshot().is_none(), "there is one");
    // outputs do not wait
    worker.apply(&log.input(1));
    while worker.task().position() < 20 {
        let offset = worker.task().position() as usize;
        worker.apply(&log.input(offset));
    }
    assert!(worker.is_due(MonoTime(0)) && worker.snapshot().is_none());
}
