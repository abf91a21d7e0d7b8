//! Exact readings as CSV, streamed: a part in memory at a time, no faster than the client reads.
//!
//! Invariant: an answer that could not be finished ends in an error of the connection, never in a file that looks whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use windlass_shared::id::{ChannelId, TurbineId};

use super::Api;
use super::ask::Range;
use super::history::{Row, halves};
use super::model::event_time;
use super::problem::Problem;
use crate::lake::reading::quality_name;

const HEADER: &str = "time,channel,value,raw,quality,late,suspect,epoch,seq,index\n";
/// Bytes of a piece, and pieces that wait for the client.
const PIECE_BYTES: usize = 64 * 1024;
const PIECES_MAX: usize = 4;
/// How long a client may not read before the export ends.
const UNREAD_MAX: Duration = Duration::from_secs(30);

type Pieces = mpsc::Sender<io::Result<Bytes>>;

/// The readings of the range, as they are read.
pub(super) fn answer(
    api: &Arc<Api>,
    turbine: TurbineId,
    channels: BTreeSet<ChannelId>,
    names: BTreeMap<ChannelId, String>,
    range: Range,
) -> Response {
    let name = format!("attachment; filename=\"{turbine}.csv\"");
    let (pieces, taken) = mpsc::channel(PIECES_MAX);
    let places = api.places.clone();
    let room = Arc::clone(&api.export_room);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        runtime.block_on(async move {
            let Ok(_turn) = room.acquire().await else {
                return;
            };
            let done = async {
                let past = places.open(&turbine, channels).await?;
                let mut parts = past.parts(range);
                parts.reverse();
                let mut text = HEADER.to_owned();
                while let Some(part) = parts.pop() {
                    match past.sorted(part).await? {
                        Some(rows) => write(&rows, &names, &mut text, &pieces).await?,
                        None => {
                            let (first, second) = halves(part);
                            parts.extend([second, first]);
                        }
                    }
                }
                send(&mut text, &pieces).await
            };
            if let Err(problem) = done.await {
                let error = io::Error::other(problem.detail);
                // a client that is gone needs no error
                drop(pieces.send_timeout(Err(error), UNREAD_MAX).await);
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

async fn write(
    rows: &[Row],
    names: &BTreeMap<ChannelId, String>,
    text: &mut String,
    pieces: &Pieces,
) -> Result<(), Problem> {
    for row in rows {
        line(row, names, text);
        if text.len() >= PIECE_BYTES {
            send(text, pieces).await?;
        }
    }
    Ok(())
}

async fn send(text: &mut String, pieces: &Pieces) -> Result<(), Problem> {
    let piece = Bytes::from(std::mem::take(text));
    pieces
        .send_timeout(Ok(piece), UNREAD_MAX)
        .await
        .map_err(|_| Problem::busy("the client does not read"))
}

fn line(row: &Row, names: &BTreeMap<ChannelId, String>, text: &mut String) {
    let number = |x: Option<f64>| x.map(|v| v.to_string()).unwrap_or_default();
    let raw = row.raw.map(|v| v.to_string()).unwrap_or_default();
    // writing to a String does not fail; channel names are snake case, so nothing needs quotes
    writeln!(
        text,
        "{},{},{},{raw},{},{},{},{},{},{}",
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
    .ok();
}
