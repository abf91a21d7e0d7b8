//! The console's listener: loopback, a bounded number of connections, none of which can hang for ever.
//!
//! Invariants: a peer that never finishes its request, or never reads its answer, is let go after a named time; a stop ends
//! every connection within [`GRACE`], whatever its client does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::stop::Stop;

/// Connections at once; the next ones wait in the system's queue.
const CONNECTIONS_MAX: usize = 512;
/// How long a stop waits for answers in flight.
const GRACE: Duration = Duration::from_secs(1);

/// How long a peer may keep us waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// For a request's header, also between two requests.
    pub header: Duration,
    /// For an acknowledgement of bytes sent: a peer that is gone, or does not read.
    pub unread: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(30),
            unread: Duration::from_mins(1),
        }
    }
}

/// Why nothing listens. Fatal.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Not for other machines.
    #[error(
        "console.listen = \"{0}\": expected a loopback address, for example \"127.0.0.1:8480\": a reverse proxy in front does TLS and login"
    )]
    NotLoopback(SocketAddr),
    /// Somebody else listens there.
    #[error("console.listen = \"{listen}\": cannot listen there; is the port taken?")]
    Listen {
        /// Where.
        listen: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Takes the port.
pub async fn bind(listen: SocketAddr) -> Result<TcpListener, ListenError> {
    if !listen.ip().is_loopback() {
        return Err(ListenError::NotLoopback(listen));
    }
    TcpListener::bind(listen)
        .await
        .map_err(|source| ListenError::Listen { listen, source })
}

/// Serves until told to stop.
pub async fn serve(listener: TcpListener, app: Router, patience: Patience, mut stop: Stop) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = stop.raised() => break,
            accepted = accept(&listener, &room) => accepted,
        };
        let Some((stream, permit)) = accepted else {
            continue;
        };
        let (app, stop) = (app.clone(), stop.clone());
        connections.spawn(async move {
            connection(stream, app, patience, stop).await;
            drop(permit);
        });
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    // what is left is dropped with the set, which aborts it
    drop(tokio::time::timeout(GRACE, all).await);
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, permit)),
        Err(error) => {
            // the peer went away again, or there are no descriptors left: the next one may do better
            tracing::warn!(%error, "a connection to the console was not accepted");
            tokio::task::yield_now().await;
            None
        }
    }
}

async fn connection(stream: TcpStream, app: Router, patience: Patience, mut stop: Stop) {
    let socket = SockRef::from(&stream);
    let set = socket
        .set_tcp_user_timeout(Some(patience.unread))
        .and_then(|()| socket.set_tcp_nodelay(true));
    if let Err(error) = set {
        tracing::debug!(%error, "a connection went away at once");
        return;
    }
    let service = TowerToHyperService::new(app);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.header)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stop.raised() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
