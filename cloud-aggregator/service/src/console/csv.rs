//! Tables as CSV, streamed: a part in memory at a time, no faster than the client reads.
//!
//! Invariants: an answer that could not be finished ends in an error of the connection, never in a file that looks whole;
//! a client that does not read, or reads for ever, loses its place to the next one after a named time.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use windlass_shared::id::ChannelId;

use super::ask::Range;
use super::history::{Past, Row, in_order};
use super::model::event_time;
use super::problem::Problem;
use super::room::{Bounds, Room};
use crate::lake::reading::quality_name;

/// First line of exported readings.
pub(super) const HEADER: &str = "time,channel,value,raw,quality,late,suspect,epoch,seq,index\n";
/// Bytes of a piece, and pieces that wait for the client.
const PIECE_BYTES: usize = 64 * 1024;
const PIECES_MAX: usize = 4;
/// Exports at once, those that may wait, and how long.
const BOUNDS: Bounds = Bounds {
    running: 2,
    waiting: 8,
    wait: Duration::from_secs(5),
    what: "exports",
    instead: "ask for a page at a time as JSON",
    retry_after_s: 10,
};

/// Places for exports, and how long a client may keep one.
#[derive(Clone, Debug)]
pub struct Exports {
    /// Places.
    pub room: Room,
    /// How long a client may take to make room for a piece.
    pub unread: Duration,
    /// How long all of it may take.
    pub whole: Duration,
}

impl Default for Exports {
    fn default() -> Self {
        Self {
            room: Room::new(BOUNDS),
            unread: Duration::from_secs(10),
            whole: Duration::from_hours(1),
        }
    }
}

/// What goes to the client. Without an end, what went was not all.
enum Piece {
    Text(Bytes),
    End,
}

/// A table on its way to the client.
pub(super) struct Out {
    text: String,
    pieces: mpsc::Sender<Piece>,
    unread: Duration,
}

impl Out {
    /// Adds a line; waits while the client does not read.
    pub(super) async fn line(&mut self, line: &str) -> Result<(), Problem> {
        self.text.push_str(line);
        if self.text.len() >= PIECE_BYTES {
            self.send().await?;
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<(), Problem> {
        let piece = Piece::Text(std::mem::take(&mut self.text).into());
        self.piece(piece).await
    }

    async fn piece(&self, piece: Piece) -> Result<(), Problem> {
        let sent = self.pieces.send_timeout(piece, self.unread).await;
        sent.map_err(|_| Problem::busy("the client does not read"))
    }
}

impl Exports {
    /// What `write` writes, as it is written, in a file named after the turbine; 503 when there is no place for it.
    pub(super) async fn answer<F>(
        &self,
        turbine: &str,
        header_line: &str,
        write: F,
    ) -> Result<Response, Problem>
    where
        F: AsyncFnOnce(&mut Out) -> Result<(), Problem> + Send + 'static,
    {
        let turn = self.room.turn().await?;
        let name = format!("attachment; filename=\"{turbine}.csv\"");
        let (pieces, taken) = mpsc::channel(PIECES_MAX);
        let mut out = Out {
            text: header_line.to_owned(),
            pieces,
            unread: self.unread,
        };
        let whole = self.whole;
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || {
            let all = async {
                write(&mut out).await?;
                out.send().await?;
                out.piece(Piece::End).await
            };
            let done = runtime.block_on(async { tokio::time::timeout(whole, all).await });
            drop(turn);
            match done {
                Ok(Ok(())) => {}
                Ok(Err(e)) => tracing::info!(why = %e.detail, "an export was broken off"),
                Err(_) => tracing::info!(?whole, "an export that took too long was broken off"),
            }
        });
        let body = stream::unfold(Some(taken), |taken| async move {
            let mut taken = taken?;
            match taken.recv().await {
                Some(Piece::Text(bytes)) => Some((Ok(bytes), Some(taken))),
                Some(Piece::End) => None,
                None => Some((Err(io::Error::other("the export was broken off")), None)),
            }
        });
        let headers = [
            (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
            (header::CONTENT_DISPOSITION, name.as_str()),
        ];
        Ok((headers, Body::from_stream(body)).into_response())
    }
}

/// Writes every reading of the range.
pub(super) async fn readings(
    past: &Past,
    range: Range,
    names: &BTreeMap<ChannelId, String>,
    out: &mut Out,
) -> Result<(), Problem> {
    let sorted = async |part| past.sorted(part).await;
    in_order(past.parts(range), sorted, async |rows: Vec<Row>| {
        for row in &rows {
            out.line(&line(row, names)).await?;
        }
        Ok(true)
    })
    .await
}

fn line(row: &Row, names: &BTreeMap<ChannelId, String>) -> String {
    let number = |x: Option<f64>| x.map(|v| v.to_string()).unwrap_or_default();
    let raw = row.raw.map(|v| v.to_string()).unwrap_or_default();
    // channel names are snake case, so nothing needs quotes
    format!(
        "{},{},{},{raw},{},{},{},{},{},{}\n",
        event_time(row.time).unwrap_or_default(),
        names.get(&row.channel).map_or("", String::as_str),
        number(row.value),
        quality_name(row.quality),
        row.late,
        row.suspect,
        row.epoch,
        row.seq,
        row.index,
    )
}
