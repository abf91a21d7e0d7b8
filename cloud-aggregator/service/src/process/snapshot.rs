//! Snapshots of a partition's state in object storage, named by the input position.
//!
//! A snapshot is a header (magic, partition, log generation, position, SHA-256) and the state's bytes. Invariants: it is
//! put whole or not at all, and read back before it counts as verified; one that does not check out is passed over for an
//! older one; the log keeps everything from the second-newest verified one on.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use windlass_cloud_core::task::Partition;

use crate::causes::Causes;
use crate::log::{Commit, Group, Log, LogError, Offset, PartitionId, Topic, TopicPartition};
use crate::metrics::{self, ProcessMetrics};

/// First bytes of a snapshot, with the version of the header.
const MAGIC: [u8; 8] = *b"WLSNAP01";
const HEADER_BYTES: usize = 8 + 2 + 8 + 8 + 32;
/// Snapshots kept of a partition.
const KEPT: usize = 3;
/// Copies that may wait to be written: each is as large as a partition's state.
const QUEUE_MAX: usize = 1;

/// Why a snapshot was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The object store failed.
    #[error("snapshot {path}: {doing} failed")]
    Store {
        /// Which object or folder.
        path: String,
        /// What was tried.
        doing: &'static str,
        /// What the store said.
        source: object_store::Error,
    },
    /// It is not what was written.
    #[error("snapshot {path}: {what}; an older one is used")]
    Damaged {
        /// Which.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Where snapshots are.
pub struct SnapshotStore {
    store: Arc<dyn ObjectStore>,
    runtime: Handle,
    generation: u64,
    metrics: ProcessMetrics,
}

impl SnapshotStore {
    /// Snapshots of the log with this generation. The runtime drives the store's calls; do not call from its tasks.
    pub fn new(
        store: Arc<dyn ObjectStore>,
        runtime: Handle,
        generation: u64,
        metrics: ProcessMetrics,
    ) -> Self {
        Self {
            store,
            runtime,
            generation,
            metrics,
        }
    }

    fn folder(&self, partition: PartitionId) -> ObjectPath {
        ObjectPath::from(format!("g{}/telemetry-{}", self.generation, partition.0))
    }

    fn path(&self, partition: PartitionId, position: u64) -> ObjectPath {
        self.folder(partition).join(format!("{position:020}.snap"))
    }

    /// Positions of the snapshots there are, newest first.
    pub fn positions(&self, partition: PartitionId) -> Result<Vec<u64>, SnapshotError> {
        let folder = self.folder(partition);
        let listed = self
            .runtime
            .block_on(self.store.list_with_delimiter(Some(&folder)))
            .map_err(|e| failed(&folder, "listing", e))?;
        let position = |path: &ObjectPath| -> Option<u64> {
            path.filename()?.strip_suffix(".snap")?.parse().ok()
        };
        let mut found: Vec<u64> = listed
            .objects
            .iter()
            .filter_map(|o| position(&o.location))
            .collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        Ok(found)
    }

    /// The state's bytes, checked.
    pub fn read(&self, partition: PartitionId, position: u64) -> Result<Vec<u8>, SnapshotError> {
        let path = self.path(partition, position);
        let bytes = self
            .runtime
            .block_on(async { self.store.get(&path).await?.bytes().await })
            .map_err(|e| failed(&path, "reading", e))?;
        let damaged = |what: &str| SnapshotError::Damaged {
            path: path.to_string(),
            what: what.to_owned(),
        };
        let (header, state) = bytes
            .split_at_checked(HEADER_BYTES)
            .ok_or_else(|| damaged("it is cut short"))?;
        if header != self.header(partition, position, state) {
            return Err(damaged("its header or its hash does not fit its content"));
        }
        Ok(state.to_vec())
    }

    fn header(&self, partition: PartitionId, position: u64, state: &[u8]) -> Vec<u8> {
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&partition.0.to_le_bytes());
        header.extend_from_slice(&self.generation.to_le_bytes());
        header.extend_from_slice(&position.to_le_bytes());
        header.extend_from_slice(&Sha256::digest(state));
        header
    }

    /// Writes a snapshot, reads it back, lets go of old ones, and tells the log from where on it is needed.
    pub fn write(
        &self,
        log: &dyn Log,
        partition: PartitionId,
        task: &Partition,
    ) -> Result<(), SnapshotError> {
        let position = task.position();
        let state = task.snapshot();
        let mut object = self.header(partition, position, &state);
        object.extend_from_slice(&state);
        let size = object.len();
        let path = self.path(partition, position);
        self.runtime
            .block_on(self.store.put(&path, PutPayload::from(object)))
            .map_err(|e| failed(&path, "writing", e))?;
        self.read(partition, position)?;
        self.metrics.snapshots.inc();
        self.metrics
            .snapshot_bytes
            .get_or_create(&metrics::Partition {
                partition: partition.0,
            })
            .set(size as i64);
        let positions = self.positions(partition)?;
        for old in positions.iter().skip(KEPT) {
            let path = self.path(partition, *old);
            self.runtime
                .block_on(self.store.delete(&path))
                .map_err(|e| failed(&path, "deleting", e))?;
        }
        if let Some(second) = positions.get(1) {
            keep_from(log, partition, *second)?;
        }
        Ok(())
    }
}

/// Retention stops before this position. It does not go back: a position that was let go cannot be asked for again.
fn keep_from(log: &dyn Log, partition: PartitionId, position: u64) -> Result<(), LogError> {
    let input = TopicPartition::new(Topic::Telemetry, partition);
    let now = log.committed(Group::Snapshot, input)?.map(|c| c.next.0);
    if now.is_some_and(|now| now >= position) {
        return Ok(());
    }
    log.commit(Commit {
        group: Group::Snapshot,
        input,
        next: Offset(position),
        meta: String::new(),
        outputs: Vec::new(),
    })
    .wait()
}

fn failed(path: &ObjectPath, doing: &'static str, source: object_store::Error) -> SnapshotError {
    SnapshotError::Store {
        path: path.to_string(),
        doing,
        source,
    }
}

/// Takes copies from the partitions' threads.
#[derive(Clone, Debug)]
pub struct SnapshotQueue {
    tx: SyncSender<(PartitionId, Box<Partition>)>,
    busy: Arc<std::sync::atomic::AtomicUsize>,
    metrics: ProcessMetrics,
}

/// Writes them, one at a time.
pub struct SnapshotWriter {
    rx: Receiver<(PartitionId, Box<Partition>)>,
    busy: Arc<std::sync::atomic::AtomicUsize>,
    store: Arc<SnapshotStore>,
    log: Arc<dyn Log>,
}

/// A queue and its writer; the writer ends when no queue is left.
pub fn queue(store: Arc<SnapshotStore>, log: Arc<dyn Log>) -> (SnapshotQueue, SnapshotWriter) {
    let (tx, rx) = sync_channel(QUEUE_MAX);
    let busy = Arc::default();
    let queue = SnapshotQueue {
        tx,
        busy: Arc::clone(&busy),
        metrics: store.metrics.clone(),
    };
    let writer = SnapshotWriter {
        rx,
        busy,
        store,
        log,
    };
    (queue, writer)
}

impl SnapshotQueue {
    /// Clones the state and hands it over, unless there is no room: then the next one will do.
    pub fn offer(&self, partition: PartitionId, clone: impl FnOnce() -> Partition) -> bool {
        use std::sync::atomic::Ordering;
        // a clone that nobody takes would only cost time
        if self.busy.load(Ordering::Acquire) > QUEUE_MAX {
            self.metrics.snapshots_deferred.inc();
            return false;
        }
        self.busy.fetch_add(1, Ordering::AcqRel);
        let sent = self.tx.try_send((partition, Box::new(clone()))).is_ok();
        if !sent {
            self.busy.fetch_sub(1, Ordering::AcqRel);
            self.metrics.snapshots_deferred.inc();
        }
        sent
    }
}

impl SnapshotWriter {
    /// Runs until no partition is left. A snapshot that fails is an alarm, not the end: the log has everything.
    pub fn run(self) {
        while let Ok((partition, task)) = self.rx.recv() {
            if let Err(e) = self.store.write(self.log.as_ref(), partition, &task) {
                self.store.metrics.snapshots_failed.inc();
                tracing::error!(partition = partition.0, error = %Causes(&e), "no snapshot; recovery would take longer");
            }
            self.busy.fetch_sub(1, std::sync::atomic::Ordering::AcqRel);
        }
    }
}
