//! Placeholder.
use tokio::sync::mpsc;
use windlass_edge_core::SourceId;
use windlass_shared::id::TurbineId;

use super::FromSource;
use crate::clock::Clock;

/// A file.
#[derive(Clone, Debug)]
pub struct CsvFile {}

impl CsvFile {
    /// The turbines it feeds.
    pub fn turbines(&self) -> Vec<TurbineId> {
        Vec::new()
    }
}

/// Replays.
pub struct Replay {
    /// Index.
    pub index: usize,
    /// Name.
    pub id: SourceId,
    /// File.
    pub file: CsvFile,
    /// Position.
    pub position: Option<Vec<u8>>,
}

impl Replay {
    /// Runs.
    pub async fn run(self, _clock: Clock, _out: mpsc::Sender<FromSource>) {}
}
