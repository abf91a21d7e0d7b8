//! The MQTT client of the cloud side: a connection that comes back by itself, as a stream of events.
//!
//! rumqttc's event loop must not be cancelled in the middle of a packet, so it is driven by a task of its own that waits
//! for nothing but the network and the receiver. Invariant: what came over one connection is marked with that
//! connection's number, and is acknowledged on no other.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rumqttc::{
    AsyncClient, Event, EventLoop, MqttOptions, Packet, Publish, TlsConfiguration, Transport,
};
use tokio::sync::mpsc;

/// Requests that may wait for the event loop; the broker's own limit on unacknowledged messages is far below.
const REQUESTS_MAX: usize = 4_096;
/// Messages that may wait for the receiver.
const EVENTS_MAX: usize = 1_024;
/// Publishes of ours that the broker has not acknowledged.
const INFLIGHT_MAX: u16 = 100;
/// Largest packet: the protocol's own limit. A broker with a persistent session would send a larger one again and again;
/// ingest refuses what is larger than a record, and keeps the beginning of it.
const PACKET_BYTES_MAX: usize = 268_435_455;
/// Keep-alive, s.
const KEEP_ALIVE_S: u64 = 20;
/// Time to connect or to flush, s.
const CONNECT_TIMEOUT_S: u64 = 10;
/// First and longest wait before the next attempt to connect, ms.
const RETRY_DELAY_MIN_MS: u64 = 100;
const RETRY_DELAY_MAX_MS: u64 = 5_000;

/// Which broker, and who we are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MqttSettings {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// `None`: plain TCP, for the embedded broker on loopback.
    pub tls: Option<TlsFiles>,
    /// Client ids begin with it; stable, so that a persistent session is found again.
    pub client_id: String,
    /// Keep a session on the broker while we are away (the embedded broker has none worth keeping).
    pub persistent: bool,
}

/// PEM files for mutual TLS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsFiles {
    /// Whom we trust.
    pub ca: PathBuf,
    /// Our certificate chain.
    pub cert: PathBuf,
    /// Our private key.
    pub key: PathBuf,
}

/// Why there is no client. Fatal.
#[derive(Debug, thiserror::Error)]
pub enum MqttError {
    /// A PEM file cannot be read.
    #[error("mqtt.{key} = \"{}\": cannot read the file", path.display())]
    File {
        /// Which setting.
        key: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What a connection is for. Subscribing and publishing have connections of their own, so that acknowledgements to the
/// broker never wait behind publishes of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkRole {
    /// Takes what gateways publish; the only one with a session worth keeping.
    Uplink,
    /// Publishes acknowledgements to gateways.
    Acknowledge,
    /// Publishes what the partition tasks ask for.
    Downlink,
}

impl LinkRole {
    fn as_str(self) -> &'static str {
        match self {
            Self::Uplink => "up",
            Self::Acknowledge => "ack",
            Self::Downlink => "down",
        }
    }
}

/// What happens on a link.
#[derive(Debug)]
pub enum LinkEvent {
    /// Connected: subscribe now.
    Up,
    /// A message.
    Message(Message),
    /// The connection is gone; the next one is tried by itself.
    Down(String),
}

/// A message as it came.
#[derive(Clone, Debug)]
pub struct Message {
    /// Topic, payload, packet id.
    pub publish: Publish,
    connection: u64,
}

/// A connection to the broker.
#[derive(Debug)]
pub struct Link {
    /// For subscribing and publishing.
    pub client: AsyncClient,
    /// What happens; the connection ends when this is dropped.
    pub events: mpsc::Receiver<LinkEvent>,
    connection: Arc<AtomicU64>,
}

impl Link {
    /// Begins to connect. Call it within a tokio runtime.
    pub fn start(settings: &MqttSettings, role: LinkRole) -> Result<Self, MqttError> {
        let client_id = format!("{}-{}", settings.client_id, role.as_str());
        let mut options = MqttOptions::new(&client_id, &settings.host, settings.port);
        options
            .set_keep_alive(Duration::from_secs(KEEP_ALIVE_S))
            .set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX)
            .set_inflight(INFLIGHT_MAX)
            .set_manual_acks(true)
            .set_clean_session(!(settings.persistent && role == LinkRole::Uplink));
        if let Some(tls) = &settings.tls {
            options.set_transport(Transport::Tls(tls_configuration(tls)?));
        }
        let (client, mut event_loop) = AsyncClient::new(options, REQUESTS_MAX);
        let mut network = event_loop.network_options();
        network.set_connection_timeout(CONNECT_TIMEOUT_S);
        network.set_tcp_nodelay(true);
        event_loop.set_network_options(network);
        let (tx, events) = mpsc::channel(EVENTS_MAX);
        let connection = Arc::new(AtomicU64::new(0));
        tokio::spawn(drive(
            event_loop,
            tx,
            Arc::clone(&connection),
            jitter_ms(&client_id),
        ));
        Ok(Self {
            client,
            events,
            connection,
        })
    }

    /// Tells the broker that the message is safe. False: not now (the connection is another one, or the queue is full),
    /// and the broker will send it again.
    pub fn acknowledge(&self, message: &Message) -> bool {
        message.connection == self.connection.load(Ordering::Acquire)
            && self.client.try_ack(&message.publish).is_ok()
    }
}

fn tls_configuration(files: &TlsFiles) -> Result<TlsConfiguration, MqttError> {
    let read = |key, path: &PathBuf| {
        std::fs::read(path).map_err(|source| MqttError::File {
            key,
            path: path.clone(),
            source,
        })
    };
    Ok(TlsConfiguration::Simple {
        ca: read("ca", &files.ca)?,
        alpn: None,
        client_auth: Some((read("cert", &files.cert)?, read("key", &files.key)?)),
    })
}

/// Replicas have different ids: their attempts fall on different moments.
fn jitter_ms(client_id: &str) -> u64 {
    client_id
        .bytes()
        .fold(7_u64, |h, b| h.wrapping_mul(31).wrapping_add(b.into()))
        % RETRY_DELAY_MIN_MS
}

async fn drive(
    mut event_loop: EventLoop,
    events: mpsc::Sender<LinkEvent>,
    connection: Arc<AtomicU64>,
    jitter_ms: u64,
) {
    let mut failures = 0_u32;
    loop {
        let polled = tokio::select! {
            () = events.closed() => return,
            polled = event_loop.poll() => polled,
        };
        let event = match polled {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                failures = 0;
                Some(LinkEvent::Up)
            }
            Ok(Event::Incoming(Packet::Publish(publish))) => Some(LinkEvent::Message(Message {
                publish,
                connection: connection.load(Ordering::Acquire),
            })),
            Ok(_) => None,
            Err(e) => {
                connection.fetch_add(1, Ordering::AcqRel);
                Some(LinkEvent::Down(e.to_string()))
            }
        };
        let lost = matches!(event, Some(LinkEvent::Down(_)));
        if let Some(event) = event
            && events.send(event).await.is_err()
        {
            return;
        }
        if lost {
            let delay =
                (RETRY_DELAY_MIN_MS << failures.min(10)).min(RETRY_DELAY_MAX_MS) + jitter_ms;
            failures += 1;
            // waits for the delay, or ends with the receiver
            if tokio::time::timeout(Duration::from_millis(delay), events.closed())
                .await
                .is_ok()
            {
                return;
            }
        }
    }
}
