//! The MQTT connection: one task around rumqttc's event loop, one bookkeeper beside the core.
//!
//! Architecture invariant: this module owns no retry. rumqttc would republish and reconnect by itself; here the event loop
//! is dropped at the first error, and a new one is made only when the core's forwarder says so. So everything rumqttc holds
//! (pending publishes, packet ids) dies with the connection, and the outbox alone knows what is unacknowledged.
//!
//! rumqttc gives no packet id for a publish: its event loop handles requests in order, so the k-th `Outgoing::Publish` is
//! the k-th publish asked for. [`Uplink`] keeps both queues.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rumqttc::{
    AsyncClient, ConnectionError, Event as MqttEvent, EventLoop, MqttOptions, Outgoing, Packet,
    QoS, SubscribeReasonCode, TlsConfiguration, Transport,
};
use tokio::sync::mpsc;
use windlass_edge_core::PublishId;
use windlass_shared::id::GatewayId;
use windlass_shared::time::WallTime;
use windlass_shared::wire;

use crate::config::{Uplink as UplinkSettings, UplinkAddress};
use crate::tls;

/// Largest MQTT packet taken or sent, bytes: a record and its topic.
const PACKET_BYTES_MAX: usize = wire::RECORD_BYTES_MAX + 1024;
/// How long connecting (TCP, TLS and MQTT) or flushing may take, s.
const CONNECT_TIMEOUT_S: u64 = 20;
/// rumqttc refuses shorter keep-alives, s.
const KEEP_ALIVE_MIN_S: u64 = 5;
/// Publishes asked for that the event loop has not taken yet, over the core's own window.
const REQUESTS_SPARE: usize = 16;

/// Which connection an event is from; events of an older one are stale.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Generation(u64);

/// What the connection's task reports.
#[derive(Debug)]
pub enum LinkEvent {
    /// The broker has taken the connection and the subscription.
    Up,
    /// The connection is over.
    Down(LinkError),
    /// A publish got a packet id and left.
    Sent(u16),
    /// The broker has a publish.
    Acked(u16),
    /// Something came down.
    Message(Vec<u8>),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Certificates or key.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// Network, TLS handshake or MQTT.
    #[error("broker {peer}: {source}")]
    Connection {
        /// Where we connected to.
        peer: String,
        /// What rumqttc said.
        source: Box<ConnectionError>,
    },
    /// The broker does not let us hear acknowledgements.
    #[error("broker {peer} refuses the subscription to {topic}: its access control must allow it")]
    Subscription {
        /// Where we connected to.
        peer: String,
        /// The gateway's down topic.
        topic: String,
    },
    /// More was published than the event loop takes: the connection is given up rather than anything queued without limit.
    #[error("broker {peer} takes publishes too slowly: {queued} are waiting")]
    Stuck {
        /// Where we connected to.
        peer: String,
        /// How many.
        queued: usize,
    },
}

/// The bookkeeper: knows which publish has which packet id.
pub struct Uplink {
    gateway: GatewayId,
    settings: UplinkSettings,
    generation: Generation,
    events: mpsc::Sender<(Generation, LinkEvent)>,
    connection: Option<Connection>,
}

struct Connection {
    client: AsyncClient,
    task: tokio::task::JoinHandle<()>,
    /// Asked for, without packet id yet.
    queued: VecDeque<PublishId>,
    /// By packet id, without PUBACK yet.
    sent: BTreeMap<u16, PublishId>,
}

/// What the main loop tells the core about the link.
#[derive(Debug)]
pub enum LinkNews {
    /// Publishing may begin.
    Up,
    /// The connection is over; nothing of it will be heard again.
    Down(LinkError),
    /// The broker has this publish.
    Acked(PublishId),
    /// Bytes on the down topic.
    Message(Vec<u8>),
}

impl Uplink {
    /// Not connected; what the connections report goes to `events`.
    pub fn new(
        gateway: GatewayId,
        settings: UplinkSettings,
        events: mpsc::Sender<(Generation, LinkEvent)>,
    ) -> Self {
        Self {
            gateway,
            settings,
            generation: Generation::default(),
            events,
            connection: None,
        }
    }

    /// Begins a new connection; the one before, if any, is dropped with all it held.
    pub fn connect(&mut self, now: WallTime) {
        self.disconnect();
        self.generation.0 += 1;
        let generation = self.generation;
        let events = self.events.clone();
        let options = match options(&self.gateway, &self.settings, now) {
            Ok(options) => options,
            Err(e) => {
                // reported from a task, so that the core hears of it as of every other failure: later
                tokio::spawn(async move {
                    let _closed = events.send((generation, LinkEvent::Down(e.into()))).await;
                });
                return;
            }
        };
        let capacity = usize::from(self.settings.inflight_max) + REQUESTS_SPARE;
        let (client, mut event_loop) = AsyncClient::new(options, capacity);
        let mut network = event_loop.network_options();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(CONNECT_TIMEOUT_S);
        event_loop.set_network_options(network);
        let driver = Driver {
            generation,
            events,
            topic: wire::down_topic(&self.gateway),
            peer: self.settings.address.to_string(),
            client: client.clone(),
        };
        self.connection = Some(Connection {
            client,
            task: tokio::spawn(driver.run(event_loop)),
            queued: VecDeque::new(),
            sent: BTreeMap::new(),
        });
    }

    /// Drops the connection without a word to the broker.
    pub fn disconnect(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.task.abort();
        }
    }

    /// Is there a connection, or an attempt at one?
    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Asks the broker to close, so that it does not have to wait for the keep-alive.
    pub fn say_goodbye(&mut self) {
        if let Some(connection) = &self.connection
            && let Err(e) = connection.client.try_disconnect()
        {
            tracing::debug!(error = %e, "no goodbye to the broker");
        }
    }

    /// Publishes with QoS 1. The error is the end of the connection.
    pub fn publish(&mut self, id: PublishId, topic: &str, payload: &[u8]) -> Result<(), LinkError> {
        let peer = self.settings.address.to_string();
        let Some(connection) = &mut self.connection else {
            return Ok(()); // the core hears Down, if it has not yet
        };
        if connection
            .client
            .try_publish(topic, QoS::AtLeastOnce, false, payload)
            .is_err()
        {
            let queued = connection.queued.len();
            self.disconnect();
            return Err(LinkError::Stuck { peer, queued });
        }
        connection.queued.push_back(id);
        Ok(())
    }

    /// Translates what a task reported; `None` when it is stale or means nothing to the core.
    pub fn interpret(&mut self, from: Generation, event: LinkEvent) -> Option<LinkNews> {
        if from != self.generation {
            return None;
        }
        match event {
            LinkEvent::Up => Some(LinkNews::Up),
            LinkEvent::Down(e) => {
                self.disconnect();
                Some(LinkNews::Down(e))
            }
            LinkEvent::Message(bytes) => Some(LinkNews::Message(bytes)),
            LinkEvent::Sent(packet) => {
                let connection = self.connection.as_mut()?;
                let id = connection.queued.pop_front()?;
                connection.sent.insert(packet, id);
                None
            }
            LinkEvent::Acked(packet) => {
                let id = self.connection.as_mut()?.sent.remove(&packet)?;
                Some(LinkNews::Acked(id))
            }
        }
    }
}

impl Drop for Uplink {
    fn drop(&mut self) {
        self.disconnect();
    }
}

fn options(
    gateway: &GatewayId,
    settings: &UplinkSettings,
    now: WallTime,
) -> Result<MqttOptions, tls::TlsError> {
    let UplinkAddress { host, port, .. } = &settings.address;
    let mut options = MqttOptions::new(gateway.as_str(), host, *port);
    options
        .set_clean_session(true)
        .set_keep_alive(Duration::from_secs(
            u64::from(settings.keep_alive_s).max(KEEP_ALIVE_MIN_S),
        ))
        .set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX)
        // wider than the core's window, so that a packet id comes round long after its PUBACK
        .set_inflight(settings.inflight_max.saturating_mul(4).max(64));
    if let Some(files) = &settings.tls {
        let config = tls::client_config(files, gateway, now)?;
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(config)));
    }
    Ok(options)
}

/// Runs one connection to its end.
struct Driver {
    generation: Generation,
    events: mpsc::Sender<(Generation, LinkEvent)>,
    topic: String,
    peer: String,
    client: AsyncClient,
}

impl Driver {
    async fn run(self, mut event_loop: EventLoop) {
        loop {
            let event = match event_loop.poll().await {
                Ok(event) => self.translate(event),
                Err(source) => Some(LinkEvent::Down(LinkError::Connection {
                    peer: self.peer.clone(),
                    source: Box::new(source),
                })),
            };
            let Some(event) = event else { continue };
            let over = matches!(event, LinkEvent::Down(_));
            // a closed channel: the main loop is gone
            if self.events.send((self.generation, event)).await.is_err() || over {
                return;
            }
        }
    }

    fn translate(&self, event: MqttEvent) -> Option<LinkEvent> {
        match event {
            MqttEvent::Incoming(Packet::ConnAck(_)) => {
                // before anything is published: an acknowledgement must not come while nobody listens
                match self.client.try_subscribe(&self.topic, QoS::AtLeastOnce) {
                    Ok(()) => None,
                    Err(_) => Some(self.refused()),
                }
            }
            MqttEvent::Incoming(Packet::SubAck(ack)) => {
                let refused = ack
                    .return_codes
                    .iter()
                    .any(|c| matches!(c, SubscribeReasonCode::Failure));
                Some(if refused {
                    self.refused()
                } else {
                    LinkEvent::Up
                })
            }
            MqttEvent::Incoming(Packet::PubAck(ack)) => Some(LinkEvent::Acked(ack.pkid)),
            MqttEvent::Incoming(Packet::Publish(publish)) => {
                Some(LinkEvent::Message(publish.payload.to_vec()))
            }
            MqttEvent::Outgoing(Outgoing::Publish(packet)) => Some(LinkEvent::Sent(packet)),
            _ => None,
        }
    }

    fn refused(&self) -> LinkEvent {
        LinkEvent::Down(LinkError::Subscription {
            peer: self.peer.clone(),
            topic: self.topic.clone(),
        })
    }
}
