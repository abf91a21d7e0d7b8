//! Replays CSV files: bytes in, readings out. Pure: the shell reads the file and waits.
//!
//! Wide files have a column per channel, long ones a row per value. Rows are delivered in the order of the file, whatever
//! their clock does: it is the frontier that decides what is late. The promise of a turbine is the running maximum of
//! what its rows have completed: a wide row completes its interval, a long one only what is before it, because the same
//! time may follow for another channel.
//!
//! Invariants: [`Taken::position`] stands behind everything delivered so far and nothing else; committed with the readings,
//! it makes each row be read exactly once, over any number of restarts. A row below its turbine's promise is never taken
//! together with the rows that made the promise: the core can stamp those first, so that what is late does not depend on
//! how fast the file is read.

mod pace;
mod position;
mod row;
mod time;

use std::collections::BTreeMap;

use windlass_shared::id::{ChannelId, TurbineId};
use windlass_shared::time::{EventTime, MonoTime};

use crate::input::Reading;
pub use pace::Pace;
use position::Position;
use row::Columns;
pub use time::{DstRule, TimeText, Zone};

/// Longest row, bytes: a file with an unclosed quote is not swallowed whole.
const ROW_BYTES_MAX: usize = 1 << 20;

/// What a file looks like.
#[derive(Clone, Debug)]
pub struct CsvLayout {
    /// Between fields, for example `b','`.
    pub delimiter: u8,
    /// `1,5` is one and a half.
    pub decimal_comma: bool,
    /// Whose rows these are.
    pub turbines: TurbineColumn,
    /// Where values are.
    pub values: ValueColumns,
    /// The column with the time.
    pub time_column: String,
    /// How to read it.
    pub time: TimeText,
    /// What a row stands for, microseconds; 0: a moment.
    pub interval_us: i64,
    /// Which end of the interval the time names. The event time of an interval is its start.
    pub label: IntervalLabel,
    /// Texts, besides the empty one, that mean "no value".
    pub absent: Vec<String>,
}

/// Which end of its interval a row is labelled with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IntervalLabel {
    /// The start.
    Start,
    /// The end.
    End,
}

/// Whose rows.
#[derive(Clone, Debug)]
pub enum TurbineColumn {
    /// All rows are this turbine's.
    All(TurbineId),
    /// A column says; rows of names that are not listed are skipped.
    Named {
        /// The column.
        column: String,
        /// Turbine by text.
        turbines: BTreeMap<String, TurbineId>,
    },
}

impl TurbineColumn {
    /// The turbines that may be fed.
    pub fn turbines(&self) -> Vec<TurbineId> {
        match self {
            Self::All(id) => vec![id.clone()],
            Self::Named { turbines, .. } => {
                let mut all: Vec<_> = turbines.values().cloned().collect();
                all.sort();
                all.dedup();
                all
            }
        }
    }
}

/// Where values are.
#[derive(Clone, Debug)]
pub enum ValueColumns {
    /// A column per channel; other columns are not read.
    Wide(Vec<(String, ChannelId)>),
    /// A row per value; rows of names that are not listed are skipped.
    Long {
        /// The column that names the channel.
        channel_column: String,
        /// The column with the value.
        value_column: String,
        /// Channel by text.
        channels: BTreeMap<String, ChannelId>,
    },
}

/// Why a file cannot be replayed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CsvError {
    /// Columns that the configuration names and the file does not have.
    #[error("the file has no column {missing}; found {found}")]
    Columns {
        /// Those.
        missing: String,
        /// What it has.
        found: String,
    },
    /// The first line is no header.
    #[error("the file begins with no header line of at most {ROW_BYTES_MAX} bytes")]
    Header,
    /// The stored position is of another file.
    #[error(
        "the stored position is of a file with another header: this file was exchanged; give the source another id to replay it from its beginning"
    )]
    OtherFile,
    /// The file has become shorter than what was read of it.
    #[error(
        "the stored position is {offset} bytes into the file, which has {size}: it was cut or exchanged; give the source another id to replay it from its beginning"
    )]
    Shorter {
        /// Where the last run came to.
        offset: u64,
        /// What there is.
        size: u64,
    },
    /// Other bytes stand where the last row was read.
    #[error(
        "line {line}, the last one that was read, is another one now: this file was exchanged under the same header; give the source another id to replay it from its beginning"
    )]
    OtherContent {
        /// The line.
        line: u64,
    },
    /// The stored position makes no sense.
    #[error(
        "the stored position cannot be read: {0}; give the source another id to replay the file from its beginning"
    )]
    Position(String),
}

/// A row, or a value in it, that could not be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadRow {
    /// Line of the file, from 1 (the header).
    pub line: u64,
    /// What was found and expected.
    pub what: String,
    /// The row's bytes, as found.
    pub text: Vec<u8>,
}

/// Readings of one turbine.
#[derive(Clone, PartialEq, Debug)]
pub struct Part {
    /// Whose.
    pub turbine: TurbineId,
    /// In the order of the file.
    pub readings: Vec<Reading>,
    /// The file's promise behind them.
    pub complete_until: EventTime,
}

/// What was read.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Taken {
    /// Turbines whose first row in this run is among the readings, and what the file promises for them
    /// ([`crate::Input::SourceStarted`]).
    pub started: Vec<(TurbineId, EventTime)>,
    /// Readings by turbine, to be handed in before `position`.
    pub parts: Vec<Part>,
    /// What could not be read: kept by the shell.
    pub bad: Vec<BadRow>,
    /// Rows taken, bad ones included.
    pub rows: usize,
    /// Bytes of the input that are done with.
    pub consumed: usize,
    /// Behind everything delivered so far: goes with the last part.
    pub position: Vec<u8>,
    /// The next row is due then, and not before.
    pub wait_until: Option<MonoTime>,
}

/// A file that is replayed.
#[derive(Debug)]
pub struct CsvReplay {
    layout: CsvLayout,
    columns: Columns,
    position: Position,
    started: Vec<TurbineId>,
    /// Below these the frontier is, or will be, before the next row is looked at.
    stamped: BTreeMap<TurbineId, EventTime>,
    resumed: bool,
    pace: Pace,
}

impl CsvReplay {
    /// Begins a file, or goes on at a stored position. `head`: the beginning of the file, at least its first line.
    pub fn begin(
        layout: CsvLayout,
        head: &[u8],
        position: Option<&[u8]>,
        pace: Pace,
    ) -> Result<Self, CsvError> {
        let header = record_len(head, false).unwrap_or_else(|| head.len().min(ROW_BYTES_MAX));
        let columns = Columns::find(&layout, &head[..header])?;
        let fresh = Position::behind_header(&head[..header]);
        let resumed = position.is_some();
        let position = match position {
            None => fresh,
            Some(bytes) => Position::parse(bytes)
                .map_err(CsvError::Position)
                .and_then(|p| {
                    (p.header == fresh.header)
                        .then_some(p)
                        .ok_or(CsvError::OtherFile)
                })?,
        };
        let mut replay = Self {
            layout,
            columns,
            position,
            started: Vec::new(),
            stamped: BTreeMap::new(),
            resumed,
            pace,
        };
        for (turbine, done) in replay.position.done.clone() {
            let promise = replay.promise(done);
            replay.stamped.insert(turbine, promise);
        }
        Ok(replay)
    }

    /// Where the last row that was read stands: first byte and length. `None`: none was read.
    pub fn last_row(&self) -> Option<(u64, usize)> {
        let last = self.position.last_row?;
        Some((self.position.offset - last.len, last.len as usize))
    }

    /// Is this still the file that was read so far? `size` in bytes, and the bytes at [`CsvReplay::last_row`].
    pub fn check(&self, size: u64, last_row: &[u8]) -> Result<(), CsvError> {
        let offset = self.position.offset;
        if size < offset {
            return Err(CsvError::Shorter { offset, size });
        }
        match self.position.last_row {
            Some(last) if !last.is(last_row) => Err(CsvError::OtherContent {
                line: self.position.line_of_last_row(last_row),
            }),
            _ => Ok(()),
        }
    }

    /// Where in the file to read next, bytes.
    pub fn offset(&self) -> u64 {
        self.position.offset
    }

    /// Takes whole rows from `input`, which begins at [`CsvReplay::offset`]; `last`: it reaches the end of the file. At
    /// most `rows_max` rows, none before it is due, and none that steps back behind what the rows before it complete: that
    /// one comes first in the next call.
    pub fn take(&mut self, now: MonoTime, input: &[u8], last: bool, rows_max: usize) -> Taken {
        let mut taken = Taken::default();
        let mut parts: BTreeMap<TurbineId, Part> = BTreeMap::new();
        while taken.rows < rows_max && taken.consumed < input.len() {
            let rest = &input[taken.consumed..];
            let Some(len) = record_len(rest, last) else {
                if rest.len() < ROW_BYTES_MAX {
                    break;
                }
                self.too_long(rest, &mut taken);
                continue;
            };
            let text = &rest[..len];
            match self.columns.read(&self.layout, text) {
                Ok(None) => {}
                Ok(Some(row)) => {
                    let done = row.time.plus_us(self.step_us());
                    if let Err(at) = self.pace.due(now, done) {
                        taken.wait_until = Some(at);
                        break;
                    }
                    if self.steps_back(&row) && !parts.is_empty() {
                        break;
                    }
                    self.deliver(row, done, text, &mut parts, &mut taken);
                }
                Err(what) => taken.bad.push(BadRow {
                    line: self.position.line,
                    what,
                    text: text.to_vec(),
                }),
            }
            taken.rows += 1;
            taken.consumed += len;
            self.position.pass(text);
        }
        if last && taken.consumed == input.len() && taken.rows > 0 {
            self.complete(&mut parts);
        }
        taken.parts = parts.into_values().collect();
        taken.position = self.position.to_bytes();
        taken
    }

    /// What a row stands for.
    fn step_us(&self) -> i64 {
        self.layout.interval_us.max(1)
    }

    /// What is complete while rows may follow, when the latest one ends at `done`.
    fn promise(&self, done: EventTime) -> EventTime {
        match self.layout.values {
            ValueColumns::Wide(_) => done,
            ValueColumns::Long { .. } => done.plus_us(-self.step_us()),
        }
    }

    /// Is the row below a promise that no call has ended with? From then on that promise is as good as stamped.
    fn steps_back(&mut self, row: &row::Row) -> bool {
        let Some(done) = self.position.done.get(&row.turbine) else {
            return false;
        };
        let promise = self.promise(*done);
        let stamped = self.stamped.get(&row.turbine);
        if row.time >= promise || stamped.is_some_and(|s| row.time < *s) {
            return false;
        }
        self.stamped.insert(row.turbine.clone(), promise);
        true
    }

    fn deliver(
        &mut self,
        row: row::Row,
        done: EventTime,
        text: &[u8],
        parts: &mut BTreeMap<TurbineId, Part>,
        taken: &mut Taken,
    ) {
        let before = self.position.done.get(&row.turbine).copied();
        if !self.started.contains(&row.turbine) {
            // a file that goes on keeps the promise that it gave before
            let promised = before.filter(|_| self.resumed).map(|d| self.promise(d));
            let not_before = promised.unwrap_or(row.time);
            taken.started.push((row.turbine.clone(), not_before));
            self.started.push(row.turbine.clone());
        }
        let done = before.map_or(done, |d| d.max(done));
        self.position.done.insert(row.turbine.clone(), done);
        for what in row.bad {
            taken.bad.push(BadRow {
                line: self.position.line,
                what,
                text: text.to_vec(),
            });
        }
        let promise = self.promise(done);
        let part = parts.entry(row.turbine.clone()).or_insert_with(|| Part {
            turbine: row.turbine,
            readings: Vec::new(),
            complete_until: promise,
        });
        part.readings.extend(row.readings);
        part.complete_until = promise;
    }

    /// The file ends: no other channel follows at the time of the latest row.
    fn complete(&self, parts: &mut BTreeMap<TurbineId, Part>) {
        for turbine in &self.started {
            let Some(done) = self.position.done.get(turbine) else {
                continue;
            };
            let part = parts.entry(turbine.clone()).or_insert_with(|| Part {
                turbine: turbine.clone(),
                readings: Vec::new(),
                complete_until: *done,
            });
            part.complete_until = *done;
        }
    }

    /// Skips a piece of something that has no end of a row.
    fn too_long(&mut self, rest: &[u8], taken: &mut Taken) {
        let piece = &rest[..ROW_BYTES_MAX];
        taken.bad.push(BadRow {
            line: self.position.line,
            what: format!("a row of more than {ROW_BYTES_MAX} bytes: is a quote unclosed?"),
            text: piece[..1024].to_vec(),
        });
        taken.rows += 1;
        taken.consumed += piece.len();
        self.position.pass(piece);
    }
}

/// Length of the first row with its line end: a line feed outside quotes. At the end of the file the rest is a row.
fn record_len(bytes: &[u8], last: bool) -> Option<usize> {
    let mut quoted = false;
    for (at, byte) in bytes.iter().take(ROW_BYTES_MAX).enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' if !quoted => return Some(at + 1),
            _ => {}
        }
    }
    (last && bytes.len() <= ROW_BYTES_MAX && !bytes.is_empty()).then_some(bytes.len())
}
