//! What the log may let go of.
//!
//! Invariant: an entry goes only when every group that needs its topic has read it, when recovery from the second-newest
//! verified snapshot does not need it, and when it is older than the configured age. Where the age comes near what recovery
//! needs, snapshots are not being written: that is an alarm long before a log that deletes by age alone would take it.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use windlass_shared::time::WallTime;

use crate::log::{Group, Log, LogError, Offset, PartitionId, ReadLimits, Topic, TopicPartition};
use crate::metrics::{Partition, RetentionMetrics, TopicLabel};

/// Trims of one partition in one round: a bounded piece of work.
const TRIMS_MAX: usize = 20;

/// Part of the configured age, in percent, at which what recovery needs is too old.
const NEAR_PERCENT: i64 = 75;
/// The first entry is all that is looked at.
pub const ONE: ReadLimits = ReadLimits {
    entries_max: 1,
    bytes_max: 1,
};

/// The first entry that recovery from the second-newest verified snapshot would read, and how old it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Needed {
    /// Its offset.
    pub position: Offset,
    /// Since it was appended, µs.
    pub age_us: i64,
}

impl Needed {
    /// Does an age limit of `keep_us` come near it? In words.
    pub fn alarm(&self, keep_us: i64) -> Option<String> {
        let hours = |us: i64| us as f64 / 3.6e9;
        (self.age_us >= keep_us / 100 * NEAR_PERCENT).then(|| {
            format!(
                "recovery needs the log from position {} on, which is {:.1} h old, and `log.retention_hours` is {:.1}: \
                 snapshots are not being written; see the errors of the process role, or raise the retention",
                self.position.0,
                hours(self.age_us),
                hours(keep_us)
            )
        })
    }
}

/// What recovery of a partition needs; `None`: the partition is empty.
fn needed(log: &dyn Log, at: TopicPartition, now: WallTime) -> Result<Option<Needed>, LogError> {
    let (first, end) = log.bounds(at)?;
    let snapshot = log.committed(Group::Snapshot, at)?.map(|c| c.next);
    let position = snapshot.unwrap_or_default().max(first);
    if position >= end {
        return Ok(None);
    }
    let entries = log
        .reader(vec![(at, position)])?
        .poll(ONE, Duration::ZERO)?;
    Ok(entries.first().map(|e| Needed {
        position,
        age_us: now.0.saturating_sub(e.time.0),
    }))
}

/// Measures how near an age limit of `keep_us` comes to what recovery needs, and says so where it is too near. Answers the
/// partitions that are.
pub fn watch(
    log: &dyn Log,
    now: WallTime,
    keep_us: i64,
    metrics: &RetentionMetrics,
) -> Result<Vec<PartitionId>, LogError> {
    let mut near = Vec::new();
    for p in 0..log.partitions() {
        let at = TopicPartition::new(Topic::Telemetry, PartitionId(p));
        let needed = needed(log, at, now)?;
        let alarm = needed.and_then(|n| n.alarm(keep_us));
        let label = Partition { partition: p };
        let age_us = needed.map_or(0, |n| n.age_us);
        metrics
            .needed_age
            .get_or_create(&label)
            .set(age_us as f64 / 1e6);
        metrics
            .near_snapshot
            .get_or_create(&label)
            .set(alarm.is_some().into());
        if let Some(why) = alarm {
            tracing::error!(
                partition = p,
                why,
                "retention comes near the second-newest snapshot"
            );
            near.push(PartitionId(p));
        }
    }
    Ok(near)
}

/// Who has to have read a topic before its entries may go.
fn readers(topic: Topic) -> &'static [Group] {
    match topic {
        Topic::Telemetry => &[Group::Process, Group::Snapshot, Group::Lake],
        Topic::Features | Topic::DeadLetter => &[Group::Lake],
        Topic::Alerts => &[Group::Serve, Group::Lake],
        Topic::Status => &[Group::Serve],
        Topic::Downlink => &[Group::Downlink],
    }
}

/// The first offset that somebody still needs. A group that has never committed needs everything.
fn floor(log: &dyn Log, at: TopicPartition) -> Result<Offset, LogError> {
    let mut floor: Option<Offset> = None;
    for group in readers(at.topic) {
        let next = log.committed(*group, at)?.map_or(Offset(0), |c| c.next);
        floor = Some(floor.map_or(next, |f| f.min(next)));
    }
    Ok(floor.unwrap_or_default())
}

/// Lets go of what everybody has read and is older than `older_than`.
pub async fn retain(
    log: &dyn Log,
    older_than: WallTime,
    trimmed: &Family<TopicLabel, Counter>,
) -> Result<(), LogError> {
    for topic in Topic::ALL {
        for p in 0..log.partitions() {
            let at = TopicPartition::new(topic, PartitionId(p));
            let floor = floor(log, at)?;
            for _ in 0..TRIMS_MAX {
                let gone = log.trim(at, floor, older_than).await?;
                let topic = topic.as_str();
                trimmed.get_or_create(&TopicLabel { topic }).inc_by(gone);
                if gone == 0 {
                    break;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicI64;
    use std::sync::atomic::Ordering::SeqCst;

    use prometheus_client::registry::Registry;

    use super::*;
    use crate::log::sqlite::{SqliteLog, SqliteLogSettings};
    use crate::log::{Commit, NewEntry};
    use crate::metrics::Metrics;

    #[tokio::test]
    async fn an_age_limit_that_comes_near_what_recovery_needs_is_an_alarm() {
        let dir = tempfile::tempdir().unwrap();
        let settings = SqliteLogSettings {
            path: dir.path().join("log.db"),
            partitions: 2,
            writer: 1,
            bytes_max: None,
            pace: Duration::ZERO,
        };
        let clock = Arc::new(AtomicI64::new(0));
        let hand = Arc::clone(&clock);
        let log =
            SqliteLog::open(&settings, Box::new(move || WallTime(hand.load(SeqCst)))).unwrap();
        let at = TopicPartition::new(Topic::Telemetry, PartitionId(1));
        for time in [1_000, 2_000, 3_000] {
            clock.store(time, SeqCst);
            let entry = NewEntry {
                to: at,
                key: String::new(),
                value: vec![1],
            };
            log.append(vec![entry]).await.unwrap();
        }
        let metrics = Metrics::new(&mut Registry::default()).retention;
        let watch = |now| watch(&log, WallTime(now), 1_000, &metrics).unwrap();
        let gauge = |p| {
            metrics
                .near_snapshot
                .get_or_create(&Partition { partition: p })
                .get()
        };
        // without any snapshot recovery needs everything
        assert_eq!(watch(1_749), []);
        assert_eq!(watch(1_750), [PartitionId(1)]);
        assert_eq!((gauge(0), gauge(1)), (0, 1));
        let snapshot = |next| Commit {
            group: Group::Snapshot,
            input: at,
            next: Offset(next),
            meta: String::new(),
            outputs: Vec::new(),
        };
        log.commit(snapshot(2)).await.unwrap();
        assert_eq!(watch(3_749), []);
        assert_eq!(gauge(1), 0);
        assert_eq!(watch(3_750), [PartitionId(1)]);
        log.commit(snapshot(3)).await.unwrap();
        assert_eq!(watch(9_000), [], "nothing is needed");
        let needed = Needed {
            position: Offset(7),
            age_us: 3 * 3_600_000_000,
        };
        let why = needed.alarm(4 * 3_600_000_000).unwrap();
        assert!(
            why.contains("position 7 on, which is 3.0 h old, and `log.retention_hours` is 4.0"),
            "{why}"
        );
    }

    #[tokio::test]
    async fn only_what_nobody_needs_goes() {
        let dir = tempfile::tempdir().unwrap();
        let settings = SqliteLogSettings {
            path: dir.path().join("log.db"),
            partitions: 1,
            writer: 1,
            bytes_max: None,
            pace: Duration::ZERO,
        };
        let log = SqliteLog::open(&settings, Box::new(|| WallTime(100))).unwrap();
        let at = TopicPartition::new(Topic::Telemetry, PartitionId(0));
        let entry = NewEntry {
            to: at,
            key: String::new(),
            value: vec![1],
        };
        log.append(vec![entry; 10]).await.unwrap();
        let trimmed = Family::default();
        let first = || log.bounds(at).unwrap().0;
        let needed_from = async |group: Group, next: u64, older_than: i64| {
            let commit = Commit {
                group,
                input: at,
                next: Offset(next),
                meta: String::new(),
                outputs: Vec::new(),
            };
            log.commit(commit).await.unwrap();
            retain(&log, WallTime(older_than), &trimmed).await.unwrap();
            first()
        };
        assert_eq!(needed_from(Group::Process, 10, 1_000).await, Offset(0));
        assert_eq!(needed_from(Group::Lake, 7, 1_000).await, Offset(0));
        assert_eq!(needed_from(Group::Snapshot, 4, 100).await, Offset(0));
        assert_eq!(needed_from(Group::Snapshot, 4, 101).await, Offset(4));
        assert_eq!(needed_from(Group::Snapshot, 9, 1_000).await, Offset(7));
        let topic = "telemetry";
        let gone = trimmed.get_or_create(&TopicLabel { topic }).get();
        assert_eq!(gone, 7);
    }
}
