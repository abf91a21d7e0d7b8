//! Replays a CSV file: reads pieces of it, hands them to the core's parser, and waits where the parser or the disk says so.
//!
//! Invariants: the stored position decides where reading goes on, and only in the file that it speaks of; memory is bounded
//! by a piece and a batch, however long the file is; a file that cannot be read on ends its source, never the agent.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use tokio::sync::mpsc;
use windlass_edge_core::csv_replay::{BadRow, CsvLayout, CsvReplay, Pace, Taken, ValueColumns};
use windlass_edge_core::{Input, SourceId};
use windlass_shared::id::TurbineId;
use windlass_shared::time::EventTime;

use super::{FromSource, Note};
use crate::clock::Clock;

/// Bytes read at once: no longer than a page fault takes.
const PIECE_BYTES: usize = 64 * 1024;
/// Bytes of the beginning that must hold the header line.
const HEAD_BYTES_MAX: usize = 1 << 20;
/// Readings in one delivery, about.
const BATCH_READINGS: usize = 8 * 1024;
/// Bytes of a bad row that are kept.
const LETTER_BYTES_MAX: usize = 1_024;

/// A file and what it looks like.
#[derive(Clone, Debug)]
pub struct CsvFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it looks like.
    pub layout: CsvLayout,
    /// Seconds of the file in a second of the clock; 0: as fast as the disk takes it.
    pub speed: f64,
}

impl CsvFile {
    /// The turbines that it may feed.
    pub fn turbines(&self) -> Vec<TurbineId> {
        self.layout.turbines.turbines()
    }
}

/// A replay that is about to begin.
pub struct Replay {
    /// Its place in the configuration.
    pub index: usize,
    /// Its name: the key of its position.
    pub id: SourceId,
    /// What is replayed.
    pub file: CsvFile,
    /// Where the last run came to.
    pub position: Option<Vec<u8>>,
}

/// Why a replay ends early. The main loop is gone: not worth a word.
enum Stop {
    Failed(String),
    NobodyListens,
}

impl<T> From<mpsc::error::SendError<T>> for Stop {
    fn from(_: mpsc::error::SendError<T>) -> Self {
        Self::NobodyListens
    }
}

impl Replay {
    /// Replays to the end of the file.
    pub async fn run(self, clock: Clock, out: mpsc::Sender<FromSource>) {
        let note = match self.replay(clock, &out).await {
            Ok(()) => Note::Ended,
            Err(Stop::Failed(why)) => Note::Failed(why),
            Err(Stop::NobodyListens) => return,
        };
        for turbine in self.file.turbines() {
            let ended = Input::SourceEnded {
                turbine,
                source: self.id.clone(),
            };
            if out.send(FromSource::Input(ended)).await.is_err() {
                return;
            }
        }
        let last = FromSource::Note {
            source: self.index,
            note,
        };
        if out.send(last).await.is_err() {
            tracing::debug!(source = &*self.id.0, "nobody hears that the file has ended");
        }
    }

    async fn replay(&self, clock: Clock, out: &mpsc::Sender<FromSource>) -> Result<(), Stop> {
        let path = self.file.path.as_path();
        let failed = |e: std::io::Error| Stop::Failed(format!("{}: {e}", path.display()));
        let mut file = File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let mut replay = self.begin(&mut file, path)?;
        self.check(&mut file, path, size, &replay)?;
        file.seek(SeekFrom::Start(replay.offset()))
            .map_err(failed)?;
        let rows_max = self.rows_max();
        let mut promise: Option<(TurbineId, EventTime)> = None;
        let mut input: Vec<u8> = Vec::with_capacity(2 * PIECE_BYTES);
        let mut last = false;
        loop {
            while !last && input.len() < PIECE_BYTES {
                last = fill(&mut file, &mut input, PIECE_BYTES).map_err(failed)? == 0;
            }
            let taken = replay.take(clock.now().mono, &input, last, rows_max);
            let (rows, wait_until) = (taken.rows, taken.wait_until);
            input.drain(..taken.consumed);
            if rows > 0 {
                self.deliver(taken, &mut promise, out).await?;
                let position = format!("{} of {size} bytes", replay.offset());
                self.note(Note::Position(position), out).await?;
            }
            if let Some(at) = wait_until {
                tokio::time::sleep_until(clock.instant(at)).await;
            } else if rows == 0 && last {
                return Ok(());
            } else if rows == 0 {
                // the row is longer than what is there
                last = fill(&mut file, &mut input, PIECE_BYTES).map_err(failed)? == 0;
            }
        }
    }

    fn begin(&self, file: &mut File, path: &Path) -> Result<CsvReplay, Stop> {
        let failed = |why: String| Stop::Failed(format!("{}: {why}", path.display()));
        let mut head = Vec::new();
        while head.len() < HEAD_BYTES_MAX && !head.contains(&b'\n') {
            if fill(file, &mut head, PIECE_BYTES).map_err(|e| failed(e.to_string()))? == 0 {
                break;
            }
        }
        let pace = if self.file.speed > 0.0 {
            Pace::real_time(self.file.speed)
        } else {
            Pace::unbounded()
        };
        let layout = self.file.layout.clone();
        CsvReplay::begin(layout, &head, self.position.as_deref(), pace)
            .map_err(|e| failed(e.to_string()))
    }

    /// Is this the file that the stored position speaks of?
    fn check(
        &self,
        file: &mut File,
        path: &Path,
        size: u64,
        replay: &CsvReplay,
    ) -> Result<(), Stop> {
        let failed = |why: String| Stop::Failed(format!("{}: {why}", path.display()));
        let mut last_row = Vec::new();
        if let Some((at, len)) = replay.last_row().filter(|_| self.position.is_some()) {
            file.seek(SeekFrom::Start(at))
                .and_then(|_| fill(file, &mut last_row, len))
                .map_err(|e| failed(e.to_string()))?;
        }
        replay
            .check(size, &last_row)
            .map_err(|e| failed(e.to_string()))
    }

    fn rows_max(&self) -> usize {
        let columns = match &self.file.layout.values {
            ValueColumns::Wide(columns) => columns.len(),
            ValueColumns::Long { .. } => 1,
        };
        (BATCH_READINGS / columns.max(1)).max(1)
    }

    /// Hands over what was taken: the position goes with the last part, or with an empty one.
    async fn deliver(
        &self,
        taken: Taken,
        promise: &mut Option<(TurbineId, EventTime)>,
        out: &mpsc::Sender<FromSource>,
    ) -> Result<(), Stop> {
        for (turbine, not_before) in taken.started {
            let started = Input::SourceStarted {
                turbine,
                source: self.id.clone(),
                not_before,
            };
            out.send(FromSource::Input(started)).await?;
        }
        for bad in &taken.bad {
            self.note(rejected(bad), out).await?;
        }
        let mut parts: Vec<_> = taken
            .parts
            .into_iter()
            .map(|p| (p.turbine, p.readings, p.complete_until))
            .collect();
        match parts.last() {
            Some((turbine, _, until)) => *promise = Some((turbine.clone(), *until)),
            // nothing but bad or skipped rows: they are read once, too
            None => parts.extend(promise.clone().map(|(t, until)| (t, Vec::new(), until))),
        }
        let mut position = Some(taken.position);
        let count = parts.len();
        for (i, (turbine, readings, complete_until)) in parts.into_iter().enumerate() {
            let input = Input::Readings {
                turbine,
                source: self.id.clone(),
                readings,
                position: if i + 1 == count {
                    position.take()
                } else {
                    None
                },
                complete_until,
            };
            out.send(FromSource::Input(input)).await?;
        }
        Ok(())
    }

    async fn note(&self, note: Note, out: &mpsc::Sender<FromSource>) -> Result<(), Stop> {
        let source = self.index;
        Ok(out.send(FromSource::Note { source, note }).await?)
    }
}

fn rejected(bad: &BadRow) -> Note {
    let text = &bad.text[..bad.text.len().min(LETTER_BYTES_MAX)];
    Note::Rejected {
        what: format!(
            "line {}: {}",
            bad.line,
            String::from_utf8_lossy(text).trim_end()
        ),
        reason: bad.what.clone(),
        count: 1,
    }
}

/// Appends up to `max` bytes; 0 at the end of the file.
fn fill(file: &mut File, to: &mut Vec<u8>, max: usize) -> std::io::Result<usize> {
    file.by_ref().take(max as u64).read_to_end(to)
}
