//! Rebuilds a partition's state from the log and the snapshots: the reading around the core's recovery.
//!
//! Invariant: every decision (which snapshot, what is applied, whether the outputs agree) is
//! `windlass_cloud_core::recovery`'s.

use std::sync::Arc;
use std::time::Duration;

use windlass_cloud_core::recovery::{Durable, Recovered, Recovery, Step};

use super::{ProcessError, Processor, input, log_error};
use crate::causes::Causes;
use crate::log::{Group, Offset, PartitionId, Reader, Topic, TopicPartition};
use crate::stop::Stop;

/// A read within what is committed never waits; longer means that the log lost its tail.
const READ_WAIT: Duration = Duration::from_secs(5);

/// Rebuilds the state. `None`: told to stop meanwhile.
pub fn recover(
    shared: &Processor,
    partition: PartitionId,
    stop: &Stop,
) -> Result<Option<Recovered>, ProcessError> {
    let failed = |source| ProcessError::Recovery {
        partition: partition.0,
        source,
    };
    let at = TopicPartition::new(Topic::Telemetry, partition);
    let mut recovery = Recovery::begin(
        durable(shared, partition)?,
        shared.logic,
        Arc::clone(&shared.settings),
        Arc::clone(&shared.fleet),
    )
    .map_err(failed)?;
    let mut reader: Option<Box<dyn Reader>> = None;
    loop {
        match recovery.step().map_err(failed)? {
            Step::Snapshot(position) => {
                let read = shared.snapshots.read(partition, position);
                let state = read.as_deref().map_err(|e| Causes(e).to_string());
                if let Err(e) = recovery.snapshot(state) {
                    tracing::error!(partition = partition.0, error = %e, "an older snapshot is used");
                }
            }
            Step::Entries { .. } if stop.is_set() => return Ok(None),
            Step::Entries { from, .. } => {
                let reader = match &mut reader {
                    Some(reader) => reader,
                    none => none.insert(
                        shared
                            .log
                            .reader(vec![(at, Offset(from))])
                            .map_err(|e| log_error(partition, e))?,
                    ),
                };
                let entries = reader
                    .poll(shared.limits, READ_WAIT)
                    .map_err(|e| log_error(partition, e))?;
                if entries.is_empty() {
                    return Err(failed(recovery.short()));
                }
                for entry in &entries {
                    recovery.entry(&input(entry));
                }
            }
            Step::Finish => return recovery.finish().map(Some).map_err(failed),
        }
    }
}

/// What the log and the object store have.
fn durable(shared: &Processor, partition: PartitionId) -> Result<Durable, ProcessError> {
    let at = TopicPartition::new(Topic::Telemetry, partition);
    let committed = shared
        .log
        .committed(Group::Process, at)
        .map_err(|e| log_error(partition, e))?;
    let first = shared
        .log
        .bounds(at)
        .map_err(|e| log_error(partition, e))?
        .0;
    let snapshots = shared.snapshots.positions(partition).unwrap_or_else(|e| {
        tracing::error!(partition = partition.0, error = %Causes(&e), "no snapshot can be listed");
        Vec::new()
    });
    Ok(Durable {
        committed: committed.map(|c| (c.next.0, c.meta)),
        snapshots,
        first: first.0,
    })
}
