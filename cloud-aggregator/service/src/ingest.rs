//! Ingest: from MQTT into the log, and only then an acknowledgement.
//!
//! The thin side: connections, the log, counters. What is refused, what goes into the log and who may hear of it when is
//! decided in `windlass_cloud_core::ingest`. Invariants: what the core says is done in its order; a failed append ends
//! the role; ingest keeps no state.

use std::sync::Arc;

use rumqttc::QoS;
use windlass_cloud_core::fleet::Fleet;
use windlass_cloud_core::ingest::order::{self, Answer, Output, Taken};
use windlass_cloud_core::topic::Entry;
use windlass_shared::wire::{AckLevel, down_topic, encode_downlink};

use crate::clock::Clock;
use crate::log::{Log, LogError, NewEntry, PartitionId, TopicPartition};
use crate::metrics::{IngestMetrics, Reason};
use crate::mqtt::{Link, LinkEvent, LinkRole, Message, MqttError, MqttSettings};
use crate::stop::Stop;

/// What every gateway publishes.
pub const UP_FILTER: &str = "wl1/up/#";

/// Why ingest ends. Fatal.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// No client.
    #[error(transparent)]
    Mqtt(#[from] MqttError),
    /// The log failed.
    #[error("ingest cannot append")]
    Log(#[from] LogError),
    /// The client's task is gone.
    #[error("ingest: the MQTT client ended")]
    ClientEnded,
}

/// The ingest role.
pub struct Ingest {
    /// Where to.
    pub log: Arc<dyn Log>,
    /// Who may write what.
    pub fleet: Arc<Fleet>,
    /// Which broker.
    pub mqtt: MqttSettings,
    /// Counters.
    pub metrics: IngestMetrics,
    /// For measuring.
    pub clock: Clock,
}

/// The core, with messages as the client knows them.
type Core = order::Ingest<Message>;

impl Ingest {
    /// Runs until told to stop. What was not acknowledged by then comes again.
    pub async fn run(self, mut stop: Stop) -> Result<(), IngestError> {
        let mut up = Link::start(&self.mqtt, LinkRole::Uplink)?;
        let mut down = Link::start(&self.mqtt, LinkRole::Acknowledge)?;
        // the log has no mirror: what it has is safe
        let partitions = self.log.partitions().into();
        let mut core = Core::new(Arc::clone(&self.fleet), partitions, AckLevel::Safe);
        loop {
            let first = tokio::select! {
                biased;
                () = stop.raised() => return Ok(()),
                event = up.events.recv() => event.ok_or(IngestError::ClientEnded)?,
                event = down.events.recv() => {
                    // nothing is subscribed here; only that the connection lives matters
                    event.ok_or(IngestError::ClientEnded)?;
                    continue;
                }
            };
            self.gather(first, &mut core, &mut up).await;
            let mut out = Vec::new();
            core.close(&mut out);
            self.act(out, &mut core, &up, &down).await?;
        }
    }

    /// Everything that waits, as far as there is room.
    async fn gather(&self, first: LinkEvent, core: &mut Core, up: &mut Link) {
        let (mut refused, mut example) = (0, String::new());
        let mut next = Some(first);
        while let Some(event) = next.take() {
            match event {
                LinkEvent::Up => {
                    self.metrics.connected.set(1);
                    tracing::info!(host = %self.mqtt.host, port = self.mqtt.port, "connected to the broker");
                    if let Err(e) = up.client.subscribe(UP_FILTER, QoS::AtLeastOnce).await {
                        tracing::warn!(error = %e, "cannot subscribe; the connection is tried again");
                    }
                }
                LinkEvent::Down(why) => {
                    self.metrics.connected.set(0);
                    self.metrics.connections_lost.inc();
                    tracing::warn!(why, "no connection to the broker; trying again");
                }
                LinkEvent::Message(message) => {
                    if let Some(why) = self.take(core, message) {
                        refused += 1;
                        if refused == 1 {
                            example = why;
                        }
                    }
                }
            }
            if core.has_room() {
                next = up.events.try_recv().ok();
            }
        }
        if refused > 0 {
            tracing::warn!(
                refused,
                first = example,
                "messages refused; they are in dead-letter"
            );
        }
    }

    /// Hands one message to the core; why it is refused, if it is.
    fn take(&self, core: &mut Core, message: Message) -> Option<String> {
        // cheap copies: both share their bytes with the packet
        let (topic, payload) = (
            message.publish.topic.clone(),
            message.publish.payload.clone(),
        );
        self.metrics.bytes.inc_by(payload.len() as u64);
        match core.take(message, &topic, &payload) {
            Taken::Accepted { readings } => {
                self.metrics.accepted.inc();
                self.metrics.readings.inc_by(readings);
                None
            }
            Taken::Refused { reason, detail } => {
                let reason = reason.as_str();
                self.metrics.refused.get_or_create(&Reason { reason }).inc();
                Some(format!("{topic} ({detail})"))
            }
        }
    }

    /// Does what the core says, in its order.
    async fn act(
        &self,
        mut todo: Vec<Output<Message>>,
        core: &mut Core,
        up: &Link,
        down: &Link,
    ) -> Result<(), LogError> {
        let mut failure = None;
        while !todo.is_empty() {
            let mut next = Vec::new();
            for output in todo {
                match output {
                    Output::Append(entries) => {
                        let answer = match self.append(entries).await {
                            Ok(()) => Answer::Appended,
                            Err(e) => {
                                failure = Some(e);
                                Answer::Failed
                            }
                        };
                        core.answered(answer, &mut next);
                    }
                    Output::Acknowledge(message) => {
                        if !up.acknowledge(&message) {
                            self.metrics.mqtt_acks_skipped.inc();
                        }
                    }
                    Output::Downlink(gateway, message) => {
                        let payload = encode_downlink(&message);
                        let topic = down_topic(&gateway);
                        let sent = down
                            .client
                            .try_publish(topic, QoS::AtLeastOnce, false, payload);
                        if sent.is_err() {
                            self.metrics.downlinks_dropped.inc();
                        }
                    }
                    Output::Halt => {
                        return Err(failure.unwrap_or(LogError::Stopped { cause: None }));
                    }
                }
            }
            todo = next;
        }
        Ok(())
    }

    async fn append(&self, entries: Vec<Entry>) -> Result<(), LogError> {
        let started = self.clock.mono();
        let entries = entries.into_iter().map(new_entry).collect();
        self.log.append(entries).await?;
        let took_us = self.clock.mono().since_us(started);
        self.metrics.append_seconds.observe(took_us as f64 / 1e6);
        self.metrics.batches.inc();
        Ok(())
    }
}

fn new_entry(entry: Entry) -> NewEntry {
    NewEntry {
        to: TopicPartition::new(entry.topic, PartitionId(entry.partition as u16)),
        key: entry.key,
        value: entry.value,
    }
}
