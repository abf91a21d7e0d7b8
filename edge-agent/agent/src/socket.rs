//! The status socket: one question per connection, a JSON line each way. Works without any network.
//!
//! The running agent answers from its own state, so that what `status` shows is what the agent believes right now. A peer
//! that says nothing, or too much, is dropped; it never holds the main loop up.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use crate::status::StatusDoc;

/// Longest question, bytes.
const QUESTION_BYTES_MAX: u64 = 1_024;
/// Longest answer that the client reads, bytes.
const ANSWER_BYTES_MAX: u64 = 4 * 1_024 * 1_024;
/// How long either side waits for the other, s.
const PATIENCE_S: u64 = 5;

/// What a client may ask.
#[derive(Serialize, Deserialize, Debug, PartialEq, Eq)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Question {
    /// How are you?
    Status,
}

/// The answer: a document, or why there is none.
#[derive(Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// How the agent is.
    Status(Box<StatusDoc>),
    /// The question was not understood.
    Error(String),
}

/// A request to the main loop, which answers through the sender.
pub type Asked = oneshot::Sender<Box<StatusDoc>>;

/// Why the socket does not work.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another agent answers on it.
    #[error(
        "status.socket: an agent is already running behind {}: stop it first, or give this one its own socket and outbox",
        .0.display()
    )]
    InUse(PathBuf),
    /// It cannot be made.
    #[error("status.socket: cannot listen on {}: {source}; does its directory exist, and may the agent's user write there?", path.display())]
    Bind {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No agent answers.
    #[error("no agent answers behind {}: {source}", path.display())]
    NoAgent {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The agent answers something else.
    #[error("the agent behind {} answers nonsense: {why}", path.display())]
    Nonsense {
        /// Where.
        path: PathBuf,
        /// What.
        why: String,
    },
}

/// Listens on `path`, taking the place of a socket that a killed agent left behind.
pub fn listen(path: &Path) -> Result<UnixListener, SocketError> {
    if path.exists() {
        if StdUnixStream::connect(path).is_ok() {
            return Err(SocketError::InUse(path.to_owned()));
        }
        // nobody behind it: a leftover; if it cannot be removed, bind says so
        if let Err(e) = std::fs::remove_file(path) {
            tracing::debug!(path = %path.display(), error = %e, "leftover socket stays");
        }
    }
    UnixListener::bind(path).map_err(|source| SocketError::Bind {
        path: path.to_owned(),
        source,
    })
}

/// Answers one connection after the other until the main loop is gone.
pub async fn serve(listener: UnixListener, asked: mpsc::Sender<Asked>) {
    let patience = Duration::from_secs(PATIENCE_S);
    while !asked.is_closed() {
        match listener.accept().await {
            Ok((stream, _)) => match tokio::time::timeout(patience, answer(stream, &asked)).await {
                Ok(Ok(())) => {}
                Ok(Err(e)) => tracing::debug!(error = %e, "status question failed"),
                Err(_) => tracing::debug!("status question took too long"),
            },
            Err(e) => {
                tracing::warn!(error = %e, "the status socket is closed; recording goes on");
                return;
            }
        }
    }
}

async fn answer(stream: UnixStream, asked: &mpsc::Sender<Asked>) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    tokio::io::BufReader::new(read.take(QUESTION_BYTES_MAX))
        .read_line(&mut line)
        .await?;
    let answer = match serde_json::from_str::<Question>(line.trim()) {
        Ok(Question::Status) => {
            let (sender, receiver) = oneshot::channel();
            if asked.send(sender).await.is_err() {
                Answer::Error("the agent is stopping".to_owned())
            } else {
                match receiver.await {
                    Ok(doc) => Answer::Status(doc),
                    Err(_) => Answer::Error("the agent is stopping".to_owned()),
                }
            }
        }
        Err(e) => Answer::Error(format!("expected {{\"ask\":\"status\"}}: {e}")),
    };
    let mut bytes = serde_json::to_vec(&answer)?;
    bytes.push(b'\n');
    write.write_all(&bytes).await?;
    write.shutdown().await
}

/// Asks the agent behind `path` how it is; blocking, for the command line.
pub fn ask(path: &Path) -> Result<StatusDoc, SocketError> {
    let unreachable = |source| SocketError::NoAgent {
        path: path.to_owned(),
        source,
    };
    let nonsense = |why: String| SocketError::Nonsense {
        path: path.to_owned(),
        why,
    };
    let mut stream = StdUnixStream::connect(path).map_err(unreachable)?;
    let patience = Some(Duration::from_secs(PATIENCE_S));
    stream.set_read_timeout(patience).map_err(unreachable)?;
    stream.set_write_timeout(patience).map_err(unreachable)?;
    let mut question =
        serde_json::to_vec(&Question::Status).map_err(|e| nonsense(e.to_string()))?;
    question.push(b'\n');
    stream.write_all(&question).map_err(unreachable)?;
    let mut line = String::new();
    BufReader::new(stream.take(ANSWER_BYTES_MAX))
        .read_line(&mut line)
        .map_err(unreachable)?;
    match serde_json::from_str(&line) {
        Ok(Answer::Status(doc)) => Ok(*doc),
        Ok(Answer::Error(why)) => Err(nonsense(why)),
        Err(e) => Err(nonsense(e.to_string())),
    }
}
