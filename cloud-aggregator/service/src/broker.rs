//! The embedded MQTT broker: rumqttd in this process, for one machine.
//!
//! It keeps nothing on disk, knows no access rules, and drops what a lagging subscriber has not read when its memory is
//! full; end-to-end acknowledgements make up for the last of these. Invariant: it listens on loopback and nowhere else.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, SegmentConfig, ServerSettings};

/// Largest MQTT payload, bytes: a record is at most 200 KiB.
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1024;
/// Connections at once: hundreds of agents, twice over while they reconnect.
pub const CONNECTIONS_MAX: usize = 2_048;
/// Publishes a client may have unacknowledged.
const INFLIGHT_MAX: usize = 500;
/// Time for a client's first packet, ms.
const CONNECT_TIMEOUT_MS: u16 = 10_000;
/// Memory of the uplink before the oldest unread message is dropped: 16 segments of 4 MiB, minutes of a small fleet.
const UP_SEGMENT_BYTES: usize = 4 * 1024 * 1024;
const UP_SEGMENTS: usize = 16;
/// The same for the downlink of one gateway, which is mostly acknowledgements; it is kept for each gateway.
const DOWN_SEGMENT_BYTES: usize = 128 * 1024;
const DOWN_SEGMENTS: usize = 2;
/// How often, and how far apart, the new broker is looked for.
const START_TRIES_MAX: u32 = 500;
const START_TRY_DELAY: Duration = Duration::from_millis(10);
/// Packets taken from a subscription at a time.
const OUTGOING_PACKETS_MAX: u64 = 200;

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

/// Starts the broker on a thread of its own; `ended` is called if it ever ends. It cannot be stopped: it ends with the
/// process.
pub fn start(
    listen: SocketAddr,
    ended: impl FnOnce(BrokerError) + Send + 'static,
) -> Result<(), BrokerError> {
    check_listen(listen)?;
    // rumqttd only logs that it cannot listen: find out before
    drop(TcpListener::bind(listen).map_err(|source| BrokerError::Listen { listen, source })?);
    let mut broker = Broker::new(config(listen));
    std::thread::Builder::new()
        .name("broker".into())
        .spawn(move || {
            let why = match broker.start() {
                Ok(()) => "its server thread is gone".to_owned(),
                Err(e) => e.to_string(),
            };
            ended(BrokerError::Ended(why));
        })
        .map_err(BrokerError::Thread)?;
    wait_until_listening(listen)
}

/// The thread listens a moment later; clients that start before that would only complain.
fn wait_until_listening(listen: SocketAddr) -> Result<(), BrokerError> {
    let mut tries = 0;
    loop {
        match TcpStream::connect_timeout(&listen, START_TRY_DELAY) {
            Ok(_) => return Ok(()),
            Err(source) if tries == START_TRIES_MAX => {
                return Err(BrokerError::Listen { listen, source });
            }
            Err(_) => tries += 1,
        }
        std::thread::park_timeout(START_TRY_DELAY);
    }
}

fn config(listen: SocketAddr) -> Config {
    let connections = ConnectionSettings {
        connection_timeout_ms: CONNECT_TIMEOUT_MS,
        max_payload_size: PAYLOAD_BYTES_MAX,
        max_inflight_count: INFLIGHT_MAX,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server = ServerSettings {
        name: "windlass".into(),
        listen,
        tls: None,
        next_connection_delay_ms: 1,
        connections,
    };
    let down = SegmentConfig {
        max_segment_size: DOWN_SEGMENT_BYTES,
        max_segment_count: DOWN_SEGMENTS,
    };
    let router = RouterConfig {
        max_connections: CONNECTIONS_MAX,
        max_outgoing_packet_count: OUTGOING_PACKETS_MAX,
        max_segment_size: UP_SEGMENT_BYTES,
        max_segment_count: UP_SEGMENTS,
        custom_segment: Some(HashMap::from([("wl1/down/+".to_owned(), down)])),
        ..RouterConfig::default()
    };
    Config {
        router,
        v4: Some(HashMap::from([("windlass".to_owned(), server)])),
        ..Config::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_listens_on_loopback_only() {
        for listen in ["0.0.0.0:1883", "192.0.2.1:1883", "[::]:1883"] {
            let e = start(listen.parse().unwrap(), |_| ()).unwrap_err();
            assert!(
                e.to_string()
                    .starts_with(&format!("broker.listen = \"{listen}\"")),
                "{e}"
            );
            assert!(matches!(e, BrokerError::NotLoopback(_)));
        }
        check_listen("[::1]:1883".parse().unwrap()).unwrap();
    }

    #[test]
    fn a_taken_port_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = taken.local_addr().unwrap();
        let e = start(listen, |_| ()).unwrap_err();
        assert!(e.to_string().contains(&listen.to_string()), "{e}");
        assert!(matches!(e, BrokerError::Listen { .. }));
    }
}
