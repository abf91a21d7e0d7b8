//! The embedded MQTT broker, for one machine: MQTT 3.1.1, QoS 0 and 1, on loopback.
//!
//! It keeps nothing on disk and no session, knows no access rules, no retained messages and no wills; what it is asked to
//! publish with QoS 2 ends the connection. Invariants: it listens on loopback and nowhere else; its memory is bounded by the
//! limits below, however many topics there ever were; a publish that ingest has no room for is not acknowledged and not
//! dropped, its gateway waits; only what nobody has subscribed to (ingest is away) and what a lagging gateway does not read is
//! dropped, and end-to-end acknowledgements make up for that.

mod connection;
mod router;

use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;

use connection::Connection;
use router::Router;

/// Largest MQTT payload, bytes: a record is at most 200 KiB.
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1024;
/// Connections at once: thousands of gateways, twice over while they reconnect.
pub const CONNECTIONS_MAX: usize = 16_384;
/// Files that the process needs besides.
const OTHER_FILES: u64 = 512;

/// Why there is no broker. Fatal.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// It has no access rules, so it must not be reachable from outside.
    #[error(
        "broker.listen = \"{0}\": the embedded broker knows no certificates and listens on a loopback address only; \
         expected for example \"127.0.0.1:1883\", or an external broker under [mqtt]"
    )]
    NotLoopback(SocketAddr),
    /// Somebody else listens there, or the address is not ours.
    #[error(
        "broker.listen = \"{listen}\": cannot listen there; is the port taken by another broker?"
    )]
    Listen {
        /// Where.
        listen: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The thread could not be started.
    #[error("cannot start the broker's thread")]
    Thread(#[source] std::io::Error),
    /// It ended, which it never should.
    #[error("the embedded broker ended: {0}")]
    Ended(String),
}

/// Is the address one on which the embedded broker may listen?
pub fn check_listen(listen: SocketAddr) -> Result<(), BrokerError> {
    if listen.ip().is_loopback() {
        Ok(())
    } else {
        Err(BrokerError::NotLoopback(listen))
    }
}

/// Starts the broker on a thread of its own; it listens when this returns. `ended` is called if it ever ends: it cannot be
/// stopped, it ends with the process.
pub fn start(
    listen: SocketAddr,
    ended: impl FnOnce(BrokerError) + Send + 'static,
) -> Result<(), BrokerError> {
    check_listen(listen)?;
    allow_files();
    let cannot_listen = |source| BrokerError::Listen { listen, source };
    let listener = TcpListener::bind(listen).map_err(cannot_listen)?;
    listener.set_nonblocking(true).map_err(cannot_listen)?;
    std::thread::Builder::new()
        .name("broker".into())
        .spawn(move || ended(BrokerError::Ended(run(listener).to_string())))
        .map(drop)
        .map_err(BrokerError::Thread)
}

/// A file for each connection; where the system allows fewer, connections beyond are refused by it.
fn allow_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = CONNECTIONS_MAX as u64 + OTHER_FILES;
    let possible = limit.maximum.map_or(wanted, |most| most.min(wanted));
    if limit.current.is_some_and(|current| current < possible) {
        let raised = Rlimit {
            current: Some(possible),
            maximum: limit.maximum,
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, possible, "cannot raise the limit of open files");
        }
    }
}

/// Everything on the calling thread; returns with the error that ends it.
fn run(listener: TcpListener) -> std::io::Error {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return error,
    };
    let tasks = tokio::task::LocalSet::new();
    let result = tasks.block_on(&runtime, async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        accept(&listener).await
    });
    match result {
        Ok(never) => never,
        Err(error) => error,
    }
}

async fn accept(listener: &tokio::net::TcpListener) -> std::io::Result<std::io::Error> {
    let router = Rc::new(Router::default());
    loop {
        match listener.accept().await {
            Ok((stream, _)) if router.connections.get() < CONNECTIONS_MAX => {
                // small packets, each of which somebody waits for
                stream.set_nodelay(true)?;
                let connection = Connection::new(Rc::clone(&router), stream);
                tokio::task::spawn_local(connection.run());
            }
            Ok((stream, _)) => {
                tracing::warn!(CONNECTIONS_MAX, "too many connections; one is refused");
                drop(stream);
            }
            Err(error) => {
                // too many open files, or a peer that was gone at once: others may still come
                tracing::warn!(%error, "cannot take a connection");
                connection::moment().await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
