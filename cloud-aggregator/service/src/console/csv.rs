//! Tables as CSV, streamed: a part in memory at a time, no faster than the client reads.
//!
//! Invariant: an answer that could not be finished ends in an error of the connection, never in a file that looks whole.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use windlass_shared::id::ChannelId;

use super::Api;
use super::ask::Range;
use super::history::{Past, Row, in_order};
use super::model::event_time;
use super::problem::Problem;
use crate::lake::reading::quality_name;

/// First line of exported readings.
pub(super) const HEADER: &str = "time,channel,value,raw,quality,late,suspect,epoch,seq,index\n";
/// Bytes of a piece, and pieces that wait for the client.
const PIECE_BYTES: usize = 64 * 1024;
const PIECES_MAX: usize = 4;
/// How long a client may not read before the export ends.
const UNREAD_MAX: Duration = Duration::from_secs(30);

type Pieces = mpsc::Sender<io::Result<Bytes>>;

/// A table on its way to the client.
pub(super) struct Out {
    text: String,
    pieces: Pieces,
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
        let piece = Bytes::from(std::mem::take(&mut self.text));
        self.pieces
            .send_timeout(Ok(piece), UNREAD_MAX)
            .await
            .map_err(|_| Problem::busy("the client does not read"))
    }
}

/// What `write` writes, as it is written, in a file named after the turbine.
pub(super) fn answer<F>(api: &Api, turbine: &str, header_line: &str, write: F) -> Response
where
    F: AsyncFnOnce(&mut Out) -> Result<(), Problem> + Send + 'static,
{
    let name = format!("attachment; filename=\"{turbine}.csv\"");
    let (pieces, taken) = mpsc::channel(PIECES_MAX);
    let mut out = Out {
        text: header_line.to_owned(),
        pieces,
    };
    let room = Arc::clone(&api.export_room);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        runtime.block_on(async move {
            let Ok(_turn) = room.acquire().await else {
                return;
            };
            let done = async {
                write(&mut out).await?;
                out.send().await
            };
            if let Err(problem) = done.await {
                let error = io::Error::other(problem.detail);
                // a client that is gone needs no error
                drop(out.pieces.send_timeout(Err(error), UNREAD_MAX).await);
            }
        });
    });
    let body = stream::unfold(taken, |mut taken| async move {
        let piece = taken.recv().await?;
        Some((piece, taken))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, name.as_str()),
    ];
    (headers, Body::from_stream(body)).into_response()
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
