//! The console's listener: loopback, a bounded number of connections, none of which can hang for ever.
//!
//! Invariants: a peer that never finishes its request, or never reads its answer, is let go after a named time; where there
//! is no room for a connection, the one that has asked nothing for the longest time makes it, so that silent peers keep
//! nobody out; a stop ends every connection within [`GRACE`], whatever its client does.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use hyper::Request;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::stop::Stop;

/// How long a stop waits for answers in flight.
const GRACE: Duration = Duration::from_secs(1);

/// How many peers there may be, and how long one may keep us waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// For a request's header, also between two requests.
    pub header: Duration,
    /// For an acknowledgement of bytes sent: a peer that is gone, or does not read.
    pub unread: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
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
pub async fn serve(listener: TcpListener, app: Router, limits: Limits, mut stop: Stop) {
    let room = Arc::new(Semaphore::new(limits.connections));
    let peers = Arc::new(Peers::default());
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = stop.raised() => break,
            accepted = accept(&listener, &room, &peers) => accepted,
        };
        let Some((stream, permit)) = accepted else {
            continue;
        };
        let (app, stop) = (app.clone(), stop.clone());
        let seat = Arc::new(Seat::new(&peers));
        connections.spawn(async move {
            connection(stream, app, limits, &seat, stop).await;
            drop(permit);
        });
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    // what is left is dropped with the set, which aborts it
    drop(tokio::time::timeout(GRACE, all).await);
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    peers: &Peers,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let stream = match listener.accept().await {
        Ok((stream, _)) => stream,
        Err(error) => {
            // the peer went away again, or there are no descriptors left: the next one may do better
            tracing::warn!(%error, "a connection to the console was not accepted");
            tokio::task::yield_now().await;
            return None;
        }
    };
    if let Ok(permit) = Arc::clone(room).try_acquire_owned() {
        return Some((stream, permit));
    }
    let mut gone = false;
    loop {
        gone = gone || peers.let_one_go();
        tokio::select! {
            permit = Arc::clone(room).acquire_owned() => return Some((stream, permit.ok()?)),
            () = peers.rested.notified(), if !gone => {}
        }
    }
}

async fn connection(
    stream: TcpStream,
    app: Router,
    limits: Limits,
    seat: &Arc<Seat>,
    mut stop: Stop,
) {
    let socket = SockRef::from(&stream);
    let ready = socket
        .set_tcp_user_timeout(Some(limits.unread))
        .and_then(|()| socket.set_tcp_nodelay(true));
    if let Err(error) = ready {
        tracing::debug!(%error, "a connection went away at once");
        return;
    }
    let inner = TowerToHyperService::new(app);
    let service = service_fn(|request: Request<Incoming>| {
        let working = seat.work();
        let answer = inner.call(request);
        async move {
            let response = answer.await?;
            Ok::<_, Infallible>(response.map(|body| Answer {
                body,
                _working: working,
            }))
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = seat.end.notified() => return,
        () = stop.raised() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Connections on which nothing is asked, the longest so first.
#[derive(Debug, Default)]
struct Peers {
    idle: Mutex<Idle>,
    /// One of them has just become so.
    rested: Notify,
}

#[derive(Debug, Default)]
struct Idle {
    next: u64,
    ends: BTreeMap<u64, Arc<Notify>>,
}

impl Peers {
    fn with<T>(&self, change: impl FnOnce(&mut Idle) -> T) -> T {
        // a map of small values is whole whatever panicked
        change(&mut self.idle.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends the connection that has asked nothing for the longest time; no: each is being answered.
    fn let_one_go(&self) -> bool {
        let oldest = self.with(|idle| idle.ends.pop_first());
        oldest.inspect(|(_, end)| end.notify_one()).is_some()
    }
}

/// A connection's place among the others; it begins idle.
#[derive(Debug)]
struct Seat {
    peers: Arc<Peers>,
    end: Arc<Notify>,
    /// Its number while it is idle.
    number: Mutex<Option<u64>>,
}

impl Seat {
    fn new(peers: &Arc<Peers>) -> Self {
        let seat = Self {
            peers: Arc::clone(peers),
            end: Arc::default(),
            number: Mutex::new(None),
        };
        seat.rest();
        seat
    }

    fn rest(&self) {
        let number = self.peers.with(|idle| {
            idle.next += 1;
            idle.ends.insert(idle.next, Arc::clone(&self.end));
            idle.next
        });
        self.number(Some(number));
        self.peers.rested.notify_one();
    }

    /// Not idle until what comes back is dropped.
    fn work(self: &Arc<Self>) -> Working {
        self.leave();
        Working(Arc::clone(self))
    }

    fn leave(&self) {
        if let Some(number) = self.number(None) {
            self.peers.with(|idle| idle.ends.remove(&number));
        }
    }

    fn number(&self, new: Option<u64>) -> Option<u64> {
        let mut held = self.number.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut held, new)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave();
    }
}

/// A request that is being answered.
#[derive(Debug)]
struct Working(Arc<Seat>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.rest();
    }
}

/// The body of an answer; its connection is idle again once it has been taken.
#[derive(Debug)]
struct Answer {
    body: Body,
    _working: Working,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
