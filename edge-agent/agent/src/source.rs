//! Where readings come from. Each source is a task that pushes; the main loop pulls at the speed of the outbox.
//!
//! Invariants: a file source's channel is not read while the core is busy, so that a file never outruns the disk; a live
//! source's is, because the world does not wait (what is too much is refused by the core and counted). A source that fails
//! ends alone, and says that it has ended, so that it holds no window back. A protocol is a further variant of [`Source`], with a task of its own.

pub mod csv;
pub mod push;
pub mod simulator;

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use windlass_edge_core::{Input, SourceId};

pub use csv::CsvFile;

use crate::clock::Clock;
use crate::config::{self, Config};
use simulator::live::LiveSimulator;

/// Batches that wait in a source's channel.
const BATCHES_MAX: usize = 4;

/// What a source says.
#[derive(Debug)]
pub enum FromSource {
    /// For the core.
    Input(Input),
    /// For the status and the dead-letter file.
    Note {
        /// Which source, by its place in the configuration.
        source: usize,
        /// What.
        note: Note,
    },
}

/// What a source says of itself.
#[derive(Debug)]
pub enum Note {
    /// How far it is.
    Position(String),
    /// It has no more.
    Ended,
    /// It cannot go on.
    Failed(String),
    /// Something in it could not be read; kept in the dead-letter file.
    Rejected {
        /// What stood there.
        what: String,
        /// Why it is no reading.
        reason: String,
        /// How many readings this stands for.
        count: u64,
    },
}

/// A configured source, ready to run.
pub enum Source {
    /// A turbine that does not exist.
    Simulator(LiveSimulator),
    /// A file.
    Csv(Box<csv::Replay>),
    /// A socket.
    Push(push::Push),
}

/// The tasks of all sources and the two channels that they push into.
pub struct Sources {
    /// From sources that sample now.
    pub live: mpsc::Receiver<FromSource>,
    /// From sources that can wait.
    pub files: mpsc::Receiver<FromSource>,
    tasks: Vec<JoinHandle<()>>,
}

impl Sources {
    /// Starts all sources; file sources go on behind their stored positions.
    pub fn start(config: &Config, clock: Clock, positions: &[(SourceId, Vec<u8>)]) -> Self {
        let (live_in, live) = mpsc::channel(BATCHES_MAX);
        let (files_in, files) = mpsc::channel(BATCHES_MAX);
        let mut tasks = Vec::new();
        for (index, source) in config.sources.iter().enumerate() {
            let id = SourceId::new(&source.name);
            let position = positions
                .iter()
                .find(|(s, _)| *s == id)
                .map(|(_, p)| p.clone());
            match Source::new(source, index, id, position) {
                Source::Simulator(s) => tasks.push(tokio::spawn(s.run(clock, live_in.clone()))),
                Source::Csv(s) => tasks.push(tokio::spawn(s.run(clock, files_in.clone()))),
                Source::Push(s) => tasks.push(tokio::spawn(s.run(clock, live_in.clone()))),
            }
        }
        Self { live, files, tasks }
    }

    /// Nothing more comes from any of them.
    pub fn stop(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
        }
        self.live.close();
        self.files.close();
    }
}

impl Drop for Sources {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Source {
    fn new(source: &config::Source, index: usize, id: SourceId, position: Option<Vec<u8>>) -> Self {
        match &source.kind {
            config::SourceKind::Simulator(s) => Self::Simulator(LiveSimulator {
                id,
                turbine: s.turbine.clone(),
                catalogue: Arc::clone(&s.catalogue),
                seed: s.seed,
                faults: s.faults.clone(),
            }),
            config::SourceKind::Csv(file) => Self::Csv(Box::new(csv::Replay {
                index,
                id,
                file: (**file).clone(),
                position,
            })),
            config::SourceKind::Push(s) => Self::Push(push::Push {
                index,
                id,
                path: s.path.clone(),
                turbine: s.turbine.clone(),
                catalogue: Arc::clone(&s.catalogue),
            }),
        }
    }
}
