//! What happens to an agent: the closed list of everything that can reach the core.

use windlass_shared::id::{ChannelId, TurbineId};
use windlass_shared::record::Quality;
use windlass_shared::time::{EventTime, MonoTime, SECOND_US, WallTime};
use windlass_shared::wire::Downlink;

use crate::store::{CommitId, Loaded, Recovered, StoreFault, Usage};

/// A wall clock that says less was never set (no battery, no network time yet): 2024-01-01T00:00:00Z.
pub const CLOCK_SET_FROM: WallTime = WallTime(1_704_067_200 * SECOND_US);

/// What the shell's clocks say as it hands over an input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// Labels. May jump. While nobody has set the clock it is the monotonic time: a label before [`CLOCK_SET_FROM`]
    /// counts from the boot, and live sources label their readings and promises in the same way.
    pub wall: WallTime,
    /// Orders. Never goes back; counts from the boot, so that a process that starts anew goes on with it.
    pub mono: MonoTime,
}

impl Now {
    /// Has anybody set the wall clock?
    pub fn is_set(&self) -> bool {
        self.wall >= CLOCK_SET_FROM
    }
    /// Wall time minus monotonic time: the wall time of the boot's start, microseconds.
    pub fn offset_us(&self) -> i64 {
        let mono = i64::try_from(self.mono.0).unwrap_or(i64::MAX);
        self.wall.0.saturating_sub(mono)
    }
}

/// Name of a source on this gateway; the key of its stored position.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SourceId(pub std::sync::Arc<str>);

impl SourceId {
    /// From its configured name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }
}

/// A measured value as a source delivers it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Value {
    /// The raw integer of the channel's scale.
    Int(i64),
    /// The value in the channel's unit; scaled to the raw integer if the channel has one.
    Float(f64),
}

/// One reading, before it has a number.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Reading {
    /// Of which channel of the turbine's catalogue.
    pub channel: ChannelId,
    /// When it was taken.
    pub time: EventTime,
    /// What was read.
    pub value: Value,
    /// How good it is.
    pub quality: Quality,
}

/// Names one publish until its PUBACK. Never reused within a process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PublishId(pub u64);

/// Everything that can happen to an agent.
#[derive(Clone, Debug)]
pub enum Input {
    /// First input: what the outbox holds.
    Start(Recovered),
    /// A source runs for this turbine and promises that nothing on time is earlier than `not_before`: for a live
    /// source the wall time now, for a file what its position says. Readings from a source that was not announced
    /// announce it with their earliest time.
    SourceStarted {
        /// For which turbine.
        turbine: TurbineId,
        /// Which source.
        source: SourceId,
        /// Earlier readings are late.
        not_before: EventTime,
    },
    /// Readings of one turbine in the order of the source.
    Readings {
        /// Whose.
        turbine: TurbineId,
        /// From which source.
        source: SourceId,
        /// The readings.
        readings: Vec<Reading>,
        /// File sources: the position behind everything delivered so far. Readings without one wait for it
        /// (so that a file may feed several turbines from one position).
        position: Option<Vec<u8>>,
        /// The source promises nothing earlier for this turbine from now on; whatever comes all the same is late
        /// once the promise has been stamped on a record.
        complete_until: EventTime,
    },
    /// The source has no more for this turbine (end of file) and no longer holds its time back.
    SourceEnded {
        /// For which turbine.
        turbine: TurbineId,
        /// Which source.
        source: SourceId,
    },
    /// The transaction is durable.
    Committed {
        /// Which.
        id: CommitId,
        /// The store after it.
        usage: Usage,
    },
    /// The transaction left no trace.
    CommitFailed {
        /// Which.
        id: CommitId,
        /// Why.
        fault: StoreFault,
    },
    /// Answer to [`crate::Output::Load`].
    Loaded(Loaded),
    /// The store could not read.
    LoadFailed(StoreFault),
    /// The store's size, when it changed for other reasons than a commit (somebody else fills the disk).
    Usage(Usage),
    /// The session is up and the down topic is subscribed.
    LinkUp,
    /// The session is gone, or the connection attempt failed.
    LinkDown,
    /// The broker has taken a publish off our hands: frees its slot, proves nothing.
    PubAck(PublishId),
    /// A message from the cloud.
    Downlink(Downlink),
    /// The deadline has come.
    Timer,
    /// Stop cleanly: close every slice, commit, then [`crate::Output::Stopped`].
    Stop,
}
