//! What the forwarder keeps of a record on its way, and of how far a turbine's backlog has been read.

use std::sync::Arc;

use windlass_shared::id::{Epoch, RecordId, Seq};
use windlass_shared::time::MonoTime;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lane {
    Live,
    Backlog,
}

#[derive(Clone, Debug)]
pub(super) struct Queued {
    pub id: RecordId,
    pub payload: Arc<[u8]>,
    pub attempts: u32,
}

#[derive(Debug)]
pub(super) struct Flight {
    pub queued: Queued,
    pub lane: Lane,
    pub deadline: MonoTime,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Scan {
    pub after: Option<(Epoch, Seq)>,
    /// Nothing was behind `after` when it was read.
    pub ended: bool,
    /// Rows before `after` became unsent: once more from the start.
    pub again: bool,
}

#[derive(Debug, Default)]
pub(super) struct Window {
    pub records: usize,
    pub bytes: u64,
}
