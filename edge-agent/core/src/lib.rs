//! The edge agent's state machines: what to record, under which number, what to evict, what to send.
//!
//! Pure: time, randomness, the disk's answers and the network's come in as [`Input`]; what shall happen goes out as
//! [`Output`]; [`AgentCore::next_deadline`] says when to call again. The shell executes outputs in their order and
//! feeds the answers back in the order in which the disk (and, for itself, the link) gave them.
//!
//! Architecture invariant: nothing is published, and no position of a source is taken as read, before the
//! [`CommitBatch`] that holds it is confirmed. No clock, no runtime, no file is reachable from this crate.

mod agent;
mod backoff;
mod batch;
mod bucket;
mod budget;
pub mod csv_replay;
mod forwarder;
mod input;
mod journal;
mod memory_store;
mod numberer;
mod output;
mod seq_set;
mod settings;
mod slicer;
mod store;
mod turbine;

pub use agent::{AgentCore, AgentView, TurbineView};
pub use input::{CLOCK_SET_FROM, Input, Now, PublishId, Reading, SourceId, Value};
pub use journal::WaitingView;
pub use memory_store::MemoryStore;
pub use output::{AgentEvent, FatalFault, LoadRequest, Output};
pub use seq_set::SeqSet;
pub use settings::{
    DiskSettings, RecordingSettings, Settings, SourceKind, SourceSettings, Threshold,
    TurbineSettings, UplinkSettings,
};
pub use store::{
    CommitBatch, CommitId, Eviction, HeldEpoch, HeldJournal, LevelChange, Loaded, NewRow,
    Recovered, RecoveredTurbine, RowClass, RowKind, RowLevel, RowMeta, StoreFault, StoredRow,
    Tallies, Tally, Usage,
};
