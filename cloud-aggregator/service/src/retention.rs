//! What the log may let go of.
//!
//! Invariant: an entry goes only when every group that needs its topic has read it, when recovery from the second-newest
//! verified snapshot does not need it, and when it is older than the configured age.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use windlass_shared::time::WallTime;

use crate::log::{Group, Log, LogError, Offset, PartitionId, Topic, TopicPartition};
use crate::metrics::TopicLabel;

/// Trims of one partition in one round: a bounded piece of work.
const TRIMS_MAX: usize = 20;

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
    use super::*;
    use crate::log::sqlite::{SqliteLog, SqliteLogSettings};
    use crate::log::{Commit, NewEntry};

    #[tokio::test]
    async fn only_what_nobody_needs_goes() {
        let dir = tempfile::tempdir().unwrap();
        let settings = SqliteLogSettings {
            path: dir.path().join("log.db"),
            partitions: 1,
            writer: 1,
            bytes_max: None,
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
