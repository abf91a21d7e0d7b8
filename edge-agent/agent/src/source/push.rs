//! Readings that another program on the gateway pushes: a Unix socket that takes a line of JSON per sample.
//!
//! ```toml
//! [[source]]
//! kind = "push"
//! name = "plc"
//! path = "plc.sock"                 # the agent makes it; whoever is its owner or in its group may write
//! turbine = "T001"
//! ```
//! A line is an object of values in the channels' units, for example `{"active_power": 1523.4, "hub_temperature": null}`;
//! `null` is a sensor that gives no number. It has no time: the line's arrival by the agent's clock is the event time of
//! all its readings, as if the agent had asked the controller itself.
//!
//! Invariants: a line that cannot be read is kept as a dead letter and ends nothing; a line that grows beyond
//! [`LINE_BYTES_MAX`] ends its connection, never the memory; one program writes at a time, the next one waits; event times
//! do not go back unless the clock does, and a program that says nothing holds no window back.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value as Json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use windlass_edge_core::{Input, Reading, SourceId, Value};
use windlass_shared::catalogue::Catalogue;
use windlass_shared::id::TurbineId;
use windlass_shared::record::Quality;
use windlass_shared::time::{EventTime, SECOND_US};

use super::{FromSource, Note};
use crate::clock::Clock;

/// Longest line, bytes: a few thousand channels.
const LINE_BYTES_MAX: usize = 256 * 1024;
/// Bytes of a bad line that are kept.
const LETTER_BYTES_MAX: usize = 1_024;
/// The time is promised at least so often, microseconds.
const PROMISE_EVERY_US: u64 = SECOND_US as u64;
/// A clock that falls back by less is being slewed: event times wait for it.
const SLEW_MAX_US: i64 = SECOND_US;
/// Who may write into the socket: its owner and its group.
const MODE: u32 = 0o660;

/// A socket that is about to be listened on.
pub struct Push {
    /// Its place in the configuration.
    pub index: usize,
    /// Its name.
    pub id: SourceId,
    /// Where the socket is.
    pub path: PathBuf,
    /// Whose readings come.
    pub turbine: TurbineId,
    /// With which channels.
    pub catalogue: Arc<Catalogue>,
}

/// The main loop is gone.
struct NobodyListens;

impl<T> From<mpsc::error::SendError<T>> for NobodyListens {
    fn from(_: mpsc::error::SendError<T>) -> Self {
        Self
    }
}

/// What came of a look at the connection.
enum Piece {
    Line,
    Part,
    End,
}

impl Push {
    /// Takes lines until nobody listens.
    pub async fn run(self, clock: Clock, out: mpsc::Sender<FromSource>) {
        let done = match listen(&self.path) {
            Ok(listener) => self.serve(&listener, clock, &out).await,
            Err(why) => self.fail(why, &out).await,
        };
        if done.is_err() {
            tracing::debug!(source = &*self.id.0, "nobody listens any more");
        }
    }

    async fn fail(&self, why: String, out: &mpsc::Sender<FromSource>) -> Result<(), NobodyListens> {
        let ended = Input::SourceEnded {
            turbine: self.turbine.clone(),
            source: self.id.clone(),
        };
        out.send(FromSource::Input(ended)).await?;
        self.note(Note::Failed(why), out).await
    }

    async fn serve(
        &self,
        listener: &UnixListener,
        clock: Clock,
        out: &mpsc::Sender<FromSource>,
    ) -> Result<(), NobodyListens> {
        let mut last = EventTime(clock.now().wall.0);
        let started = Input::SourceStarted {
            turbine: self.turbine.clone(),
            source: self.id.clone(),
            not_before: last,
        };
        out.send(FromSource::Input(started)).await?;
        let mut peer: Option<BufReader<UnixStream>> = None;
        let mut line = Vec::new();
        let mut promise_at = clock.now().mono.plus_us(PROMISE_EVERY_US);
        loop {
            let due = tokio::time::sleep_until(clock.instant(promise_at));
            let piece = tokio::select! {
                piece = look(listener, &mut peer, &mut line) => piece,
                () = due => {
                    last = stamp(last, EventTime(clock.now().wall.0));
                    self.deliver(Vec::new(), last, out).await?;
                    promise_at = clock.now().mono.plus_us(PROMISE_EVERY_US);
                    continue;
                }
            };
            match piece {
                Piece::Line => {
                    last = stamp(last, EventTime(clock.now().wall.0));
                    self.take(&line, last, out).await?;
                    promise_at = clock.now().mono.plus_us(PROMISE_EVERY_US);
                    line.clear();
                }
                Piece::Part if line.len() <= LINE_BYTES_MAX => {}
                Piece::Part => {
                    let reason = format!("longer than {LINE_BYTES_MAX} bytes without an end");
                    self.note(rejected(&line, reason), out).await?;
                    (peer, line) = (None, Vec::new());
                }
                Piece::End => {
                    if !line.is_empty() {
                        let reason = "the connection ended within the line".to_owned();
                        self.note(rejected(&line, reason), out).await?;
                    }
                    (peer, line) = (None, Vec::new());
                }
            }
        }
    }

    async fn take(
        &self,
        line: &[u8],
        at: EventTime,
        out: &mpsc::Sender<FromSource>,
    ) -> Result<(), NobodyListens> {
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let (readings, bad) = read(line, &self.catalogue, at);
        for reason in bad {
            self.note(rejected(line, reason), out).await?;
        }
        self.deliver(readings, at, out).await
    }

    async fn deliver(
        &self,
        readings: Vec<Reading>,
        complete_until: EventTime,
        out: &mpsc::Sender<FromSource>,
    ) -> Result<(), NobodyListens> {
        let input = Input::Readings {
            turbine: self.turbine.clone(),
            source: self.id.clone(),
            readings,
            position: None,
            complete_until,
        };
        Ok(out.send(FromSource::Input(input)).await?)
    }

    async fn note(&self, note: Note, out: &mpsc::Sender<FromSource>) -> Result<(), NobodyListens> {
        let source = self.index;
        Ok(out.send(FromSource::Note { source, note }).await?)
    }
}

/// Takes the next program in, or the next bytes of the one that is there. Nothing is lost when it is cancelled.
async fn look(
    listener: &UnixListener,
    peer: &mut Option<BufReader<UnixStream>>,
    line: &mut Vec<u8>,
) -> Piece {
    let Some(reader) = peer else {
        match listener.accept().await {
            Ok((stream, _)) => *peer = Some(BufReader::new(stream)),
            Err(error) => {
                tracing::warn!(%error, "a program could not connect to the socket");
            }
        }
        return Piece::Part;
    };
    let bytes = match reader.fill_buf().await {
        Ok([]) | Err(_) => return Piece::End,
        Ok(bytes) => bytes,
    };
    let end = bytes.iter().position(|b| *b == b'\n');
    line.extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
    let used = end.map_or(bytes.len(), |n| n + 1);
    reader.consume(used);
    if end.is_some() {
        Piece::Line
    } else {
        Piece::Part
    }
}

/// Event time of what comes now.
fn stamp(last: EventTime, wall: EventTime) -> EventTime {
    if wall.0 < last.0 - SLEW_MAX_US {
        wall
    } else {
        last.max(wall)
    }
}

/// The readings of a line, and what is wrong with the rest of it.
fn read(line: &[u8], catalogue: &Catalogue, at: EventTime) -> (Vec<Reading>, Vec<String>) {
    let values: Map<String, Json> = match serde_json::from_slice(line) {
        Ok(values) => values,
        Err(error) => {
            let expected = "an object of channels and values such as {\"active_power\": 1523.4}";
            return (Vec::new(), vec![format!("{error}; expected {expected}")]);
        }
    };
    let mut readings = Vec::with_capacity(values.len());
    let mut bad = Vec::new();
    for (name, value) in &values {
        let Some(channel) = catalogue.by_name(name) else {
            let profile = &catalogue.name;
            bad.push(format!("`{name}`: expected a channel of profile {profile}"));
            continue;
        };
        let (value, quality) = match value {
            Json::Null => (f64::NAN, Quality::NotANumber),
            Json::Number(number) => (number.as_f64().unwrap_or(f64::NAN), Quality::Good),
            other => {
                bad.push(format!(
                    "`{name}`: found {other}, expected a number or null"
                ));
                continue;
            }
        };
        readings.push(Reading {
            channel: channel.id,
            time: at,
            value: Value::Float(value),
            quality,
        });
    }
    (readings, bad)
}

fn rejected(line: &[u8], reason: String) -> Note {
    let text = &line[..line.len().min(LETTER_BYTES_MAX)];
    Note::Rejected {
        what: String::from_utf8_lossy(text).into_owned(),
        reason,
        count: 1,
    }
}

/// Listens, in the place of a socket that a killed agent left behind.
fn listen(path: &Path) -> Result<UnixListener, String> {
    let failed = |what: String| format!("path: cannot listen on {}: {what}", path.display());
    if path.exists() {
        if StdUnixStream::connect(path).is_ok() {
            return Err(failed(
                "somebody listens there already; expected a socket of its own for each source"
                    .to_owned(),
            ));
        }
        // nobody behind it: a leftover; if it cannot be removed, bind says so
        std::fs::remove_file(path).ok();
    }
    let listener = UnixListener::bind(path).map_err(|e| {
        failed(format!(
            "{e}; does its directory exist, and may the agent's user write there?"
        ))
    })?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE))
        .map_err(|e| failed(e.to_string()))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use windlass_shared::id::ChannelId;

    use super::*;

    fn tiny() -> Catalogue {
        let text = "name = \"tiny\"\nversion = 1\n\
            defaults = { period = \"1s\", class = \"condition\", rate_group = \"slow\" }\n\
            channels = [{ id = 1, name = \"power\", unit = \"kW\", scale = 0.1 }, { id = 2, name = \"oil\", unit = \"°C\", scale = 0.1 }]";
        windlass_shared::catalogue::parse("tiny.toml", text).unwrap()
    }

    #[test]
    fn a_line_is_read_and_what_is_no_reading_is_told() {
        let at = EventTime(5);
        let (readings, bad) = read(b"{\"power\": 1523.4, \"oil\": null}", &tiny(), at);
        assert_eq!(bad, Vec::<String>::new());
        let seen: Vec<_> = readings
            .iter()
            .map(|r| (r.channel, r.time, r.quality))
            .collect();
        let mut expected = vec![
            (ChannelId(1), at, Quality::Good),
            (ChannelId(2), at, Quality::NotANumber),
        ];
        expected.sort_by_key(|e| seen.iter().position(|s| s.0 == e.0));
        assert_eq!(seen, expected);

        for (line, good, told) in [
            (
                "{\"power\": 1, \"pover\": 2}",
                1,
                "`pover`: expected a channel of profile tiny",
            ),
            (
                "{\"power\": \"much\"}",
                0,
                "`power`: found \"much\", expected a number or null",
            ),
            (
                "[1]",
                0,
                "invalid type: sequence, expected a map at line 1 column 0; expected an object of channels and values such as {\"active_power\": 1523.4}",
            ),
            (
                "{\"power\": NaN}",
                0,
                "expected value at line 1 column 11; expected an object of channels and values such as {\"active_power\": 1523.4}",
            ),
        ] {
            let (readings, bad) = read(line.as_bytes(), &tiny(), at);
            assert_eq!(
                (readings.len(), bad),
                (good, vec![told.to_owned()]),
                "{line}"
            );
        }
    }

    #[test]
    fn event_times_go_back_only_with_the_clock() {
        let at = |s: i64| EventTime(s * SECOND_US);
        assert_eq!(stamp(at(100), at(101)), at(101));
        assert_eq!(stamp(at(100), EventTime(99_000_001)), at(100));
        assert_eq!(stamp(at(100), at(40)), at(40));
    }
}
