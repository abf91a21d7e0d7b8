//! An MQTT peer of our own: a resender of what was sent before, a stranger without rights, a source of hostile bytes.
//!
//! Invariant: what is said to be published was acknowledged by the broker (which says nothing about who reads it).

use std::time::Duration;

use anyhow::{Context, Result, bail};
use rumqttc::{
    Client, Connection, Event, MqttOptions, Packet, QoS, RecvTimeoutError, SubscribeReasonCode,
    TlsConfiguration, Transport,
};

use crate::clock::Stopwatch;
use crate::pki::Identity;

/// Publishes that wait for the broker's acknowledgement.
const IN_FLIGHT_MAX: usize = 64;
/// How long a broker may take for one answer.
const ANSWER_BOUND: Duration = Duration::from_secs(10);
/// Largest packet sent, bytes: more than any broker of ours takes, to see that it refuses.
const PACKET_BYTES_MAX: usize = 8 << 20;

/// A connection to a broker on this machine.
pub struct Peer {
    client: Client,
    connection: Connection,
    received: Vec<(String, Vec<u8>)>,
}

impl Peer {
    /// Connects and waits for the broker's yes. `identity`: over TLS, with this certificate.
    pub fn connect(port: u16, client_id: &str, tls: Option<&Tls>) -> Result<Self> {
        let host = if tls.is_some() {
            "localhost"
        } else {
            "127.0.0.1"
        };
        let mut options = MqttOptions::new(client_id, host, port);
        options
            .set_keep_alive(Duration::from_secs(30))
            .set_clean_session(true)
            .set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX)
            .set_inflight(IN_FLIGHT_MAX as u16);
        if let Some(tls) = tls {
            options.set_transport(Transport::Tls(tls.configuration()?));
        }
        let (client, connection) = Client::new(options, 2 * IN_FLIGHT_MAX);
        let mut peer = Self {
            client,
            connection,
            received: Vec::new(),
        };
        peer.wait_for("the broker accepts the connection", |packet| {
            matches!(packet, Packet::ConnAck(_)).then_some(())
        })?;
        Ok(peer)
    }

    /// Publishes everything with `QoS` 1 and waits until the broker has acknowledged all of it.
    pub fn publish_all(
        &mut self,
        messages: impl IntoIterator<Item = (String, Vec<u8>)>,
    ) -> Result<usize> {
        let mut waiting = 0;
        let mut sent = 0;
        for (topic, payload) in messages {
            if waiting == IN_FLIGHT_MAX {
                self.acknowledged()?;
                waiting -= 1;
            }
            self.client
                .try_publish(topic, QoS::AtLeastOnce, false, payload)
                .context("publishing")?;
            waiting += 1;
            sent += 1;
        }
        for _ in 0..waiting {
            self.acknowledged()?;
        }
        Ok(sent)
    }

    fn acknowledged(&mut self) -> Result<()> {
        self.wait_for("the broker acknowledges a publish", |packet| {
            matches!(packet, Packet::PubAck(_)).then_some(())
        })
    }

    /// Subscribes with `QoS` 1; true if the broker grants it.
    pub fn subscribe(&mut self, filter: &str) -> Result<bool> {
        self.client.subscribe(filter, QoS::AtLeastOnce)?;
        self.wait_for("the broker answers a subscription", |packet| {
            let Packet::SubAck(ack) = packet else {
                return None;
            };
            let refused = |c: &SubscribeReasonCode| matches!(c, SubscribeReasonCode::Failure);
            Some(!ack.return_codes.iter().any(refused))
        })
    }

    /// Messages that come within `time` of silence.
    pub fn receive(&mut self, time: Duration) -> Result<Vec<(String, Vec<u8>)>> {
        loop {
            match self.connection.recv_timeout(time) {
                Ok(Ok(event)) => self.take(&event),
                Ok(Err(error)) => return Err(error.into()),
                Err(RecvTimeoutError::Timeout) => return Ok(std::mem::take(&mut self.received)),
                Err(RecvTimeoutError::Disconnected) => bail!("the connection is gone"),
            }
        }
    }

    fn take(&mut self, event: &Event) {
        if let Event::Incoming(Packet::Publish(publish)) = event {
            self.received
                .push((publish.topic.clone(), publish.payload.to_vec()));
        }
    }

    fn wait_for<T>(&mut self, what: &str, found: impl Fn(&Packet) -> Option<T>) -> Result<T> {
        let watch = Stopwatch::start();
        while watch.elapsed() < ANSWER_BOUND {
            match self.connection.recv_timeout(ANSWER_BOUND) {
                Ok(Ok(event)) => {
                    self.take(&event);
                    if let Event::Incoming(packet) = &event
                        && let Some(t) = found(packet)
                    {
                        return Ok(t);
                    }
                }
                Ok(Err(error)) => return Err(error).context(what.to_owned()),
                Err(_) => break,
            }
        }
        bail!("waited {} s in vain: {what}", ANSWER_BOUND.as_secs())
    }
}

/// How to speak TLS: whom to trust, and who one is.
#[derive(Clone, Debug)]
pub struct Tls {
    /// PEM file of the authority to trust.
    pub ca: std::path::PathBuf,
    /// One's own certificate and key, if one shows any.
    pub own: Option<Identity>,
}

impl Tls {
    fn configuration(&self) -> Result<TlsConfiguration> {
        // Installing it twice is an error that changes nothing.
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let read = |path: &std::path::Path| {
            std::fs::read(path).with_context(|| format!("could not read {}", path.display()))
        };
        let client_auth = match &self.own {
            Some(own) => Some((read(&own.cert)?, read(&own.key)?)),
            None => None,
        };
        Ok(TlsConfiguration::Simple {
            ca: read(&self.ca)?,
            alpn: None,
            client_auth,
        })
    }
}
