//! The faults that the simulator may inject, all of them drawn from the seed:
//!
//! - disk: a crash loses what was not committed; a commit can fail for want of room; a small budget forces eviction; a
//!   disk is replaced; a backup of the outbox is restored;
//! - agent: killed at any moment, started again;
//! - clock: steps forward and back; a reboot without one, until somebody sets it or the next reboot comes; it is lost
//!   while the agent runs;
//! - network: a message is dropped, delayed, duplicated, reordered; a session is lost; an acknowledgement is lost; a broker
//!   acknowledges and then forgets;
//! - ingest: killed before the log's append, or between it and the acknowledgement; an append that fails, or that is done
//!   and answered with a failure;
//! - log: its clock jumps; a failover loses the tail that was not mirrored;
//! - partition task: killed at any moment, before its transaction or before the log's answer to it; a snapshot is lost,
//!   damaged, of another layout, or newer than what is committed; a second owner works for a while; another version of
//!   the logic takes over;
//! - sinks: killed between writing and committing.
//!
//! A set of seeds in which one of these never happened proves nothing about it: [`Counts`] says what did.

use std::collections::BTreeMap;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Everything that can go wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fault {
    /// The agent process ends without warning.
    AgentKilled,
    /// A commit fails because the disk is full.
    CommitFailed,
    /// The disk budget forces records out.
    Evicted,
    /// The gateway comes back with an empty disk.
    DiskReplaced,
    /// The gateway comes back with an old copy of its disk.
    BackupRestored,
    /// The gateway's wall clock is set forward.
    ClockForward,
    /// The gateway's wall clock is set back beyond slewing.
    ClockBack,
    /// The gateway boots without a clock: nobody has set it.
    ClockUnset,
    /// A running gateway's clock is no longer set.
    ClockLost,
    /// A reading older than the frontier.
    LateReading,
    /// A reading ahead of the gateway's clock.
    SuspectReading,
    /// A message to the cloud vanishes although the broker acknowledged it.
    UplinkDropped,
    /// A message to the cloud arrives twice.
    UplinkDuplicated,
    /// A message to the cloud is overtaken by others.
    UplinkReordered,
    /// The connection is cut.
    LinkCut,
    /// An end-to-end acknowledgement vanishes.
    AckDropped,
    /// A byte of a message is changed on the way.
    Corrupted,
    /// Ingest ends after the log's append and before the acknowledgement, or before the append.
    IngestKilled,
    /// An append fails, or is answered with a failure although it is done.
    AppendFailed,
    /// The log's clock jumps ahead for a moment.
    LogClockJump,
    /// The log loses its unmirrored tail.
    LogTailLost,
    /// The partition task ends without warning.
    TaskKilled,
    /// The newest snapshot is gone or unreadable.
    SnapshotLost,
    /// Another version of the logic takes a partition over.
    LogicChanged,
    /// Two owners of one partition.
    Zombie,
    /// A sink ends between writing and committing.
    SinkKilled,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 26] = [
        Self::AgentKilled,
        Self::CommitFailed,
        Self::Evicted,
        Self::DiskReplaced,
        Self::BackupRestored,
        Self::ClockForward,
        Self::ClockBack,
        Self::ClockUnset,
        Self::ClockLost,
        Self::LateReading,
        Self::SuspectReading,
        Self::UplinkDropped,
        Self::UplinkDuplicated,
        Self::UplinkReordered,
        Self::LinkCut,
        Self::AckDropped,
        Self::Corrupted,
        Self::IngestKilled,
        Self::AppendFailed,
        Self::LogClockJump,
        Self::LogTailLost,
        Self::TaskKilled,
        Self::SnapshotLost,
        Self::LogicChanged,
        Self::Zombie,
        Self::SinkKilled,
    ];
}

/// How often each fault happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(pub BTreeMap<Fault, u64>);

impl Counts {
    /// One more.
    pub fn add(&mut self, fault: Fault) {
        *self.0.entry(fault).or_default() += 1;
    }
    /// Those of another run.
    pub fn merge(&mut self, other: &Self) {
        for (fault, n) in &other.0 {
            *self.0.entry(*fault).or_default() += n;
        }
    }
    /// Faults that never happened.
    pub fn missing(&self) -> Vec<Fault> {
        Fault::ALL
            .into_iter()
            .filter(|f| !self.0.contains_key(f))
            .collect()
    }
}

/// Probabilities of this seed. Most seeds have each fault at a rate of its own, some have it not at all, so that faults are
/// seen alone and together.
#[derive(Debug)]
pub struct Rates {
    of: BTreeMap<Fault, f64>,
    rng: ChaCha8Rng,
    /// Off in the healed phase.
    pub active: bool,
    /// What happened so far.
    pub counts: Counts,
}

impl Rates {
    /// Draws a rate for every fault from `seed`.
    pub fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xfau64.rotate_left(40));
        let of = Fault::ALL
            .into_iter()
            .map(|f| {
                (
                    f,
                    if rng.random_bool(0.5) {
                        rng.random_range(0.2..2.0)
                    } else {
                        0.0
                    },
                )
            })
            .collect();
        Self {
            of,
            rng,
            active: true,
            counts: Counts::default(),
        }
    }
    /// Does `fault` happen now? `usual` is its probability at rate 1.
    pub fn strikes(&mut self, fault: Fault, usual: f64) -> bool {
        let p = (self.of.get(&fault).copied().unwrap_or(0.0) * usual).min(0.9);
        // the draw is made in any case, so that switching one fault off does not change the others
        let hit = self.rng.random_bool(p) && self.active;
        if hit {
            self.counts.add(fault);
        }
        hit
    }
    /// A random number in `0..n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.rng.random_range(0..n.max(1))
    }
    /// A random number generator of its own, for one component.
    pub fn split(&mut self) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.rng.next_u64())
    }
}
