//! Ingest: from MQTT into the log, and only then an acknowledgement.
//!
//! What waits is taken as one batch, checked message by message, and appended in one log transaction: accepted records,
//! refusals as control entries, and dead letters. Invariants: neither the broker nor the gateway hears of a message before
//! the log has answered; a message is appended at least once for each time the broker delivers it; ingest keeps no state.

use std::collections::BTreeMap;
use std::sync::Arc;

use rumqttc::QoS;
use windlass_cloud_core::fleet::Fleet;
use windlass_cloud_core::ingest::{Checked, check};
use windlass_cloud_core::topic::partition_of;
use windlass_shared::id::{Epoch, GatewayId, RecordId, Seq, SeqRange, TurbineId};
use windlass_shared::wire::{Ack, AckLevel, Downlink, down_topic, encode_downlink};

use crate::clock::Clock;
use crate::log::{Log, LogError, NewEntry, PartitionId, Topic, TopicPartition};
use crate::metrics::{IngestMetrics, Reason};
use crate::mqtt::{Link, LinkEvent, LinkRole, Message, MqttError, MqttSettings};
use crate::stop::Stop;

/// What every gateway publishes.
pub const UP_FILTER: &str = "wl1/up/#";
/// Messages in one batch.
const BATCH_MESSAGES_MAX: usize = 512;
/// Bytes of payload after which a batch takes no further message.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Acknowledged seqs and verdicts in one downlink message: far below what a downlink message may hold.
const DOWNLINK_ITEMS_MAX: usize = 256;
/// Longest verdict, bytes.
const VERDICT_BYTES_MAX: usize = 160;

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

impl Ingest {
    /// Runs until told to stop. What was not acknowledged by then comes again.
    pub async fn run(self, mut stop: Stop) -> Result<(), IngestError> {
        let mut up = Link::start(&self.mqtt, LinkRole::Uplink)?;
        let mut down = Link::start(&self.mqtt, LinkRole::Acknowledge)?;
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
            let batch = self.drain(first, &mut up).await;
            if !batch.is_empty() {
                self.take(batch, &up, &down).await?;
            }
        }
    }

    /// Everything that waits, within the limits.
    async fn drain(&self, first: LinkEvent, up: &mut Link) -> Vec<Message> {
        let mut batch = Vec::new();
        let mut bytes = 0;
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
                    bytes += message.publish.payload.len();
                    batch.push(message);
                }
            }
            if batch.len() < BATCH_MESSAGES_MAX && bytes < BATCH_BYTES_MAX {
                next = up.events.try_recv().ok();
            }
        }
        self.metrics.bytes.inc_by(bytes as u64);
        batch
    }

    async fn take(&self, batch: Vec<Message>, up: &Link, down: &Link) -> Result<(), LogError> {
        let (entries, acks) = self.check(&batch);
        let started = self.clock.mono();
        self.log.append(entries).await?;
        let took_us = self.clock.mono().since_us(started);
        self.metrics.append_seconds.observe(took_us as f64 / 1e6);
        self.metrics.batches.inc();
        for message in &batch {
            if !up.acknowledge(message) {
                self.metrics.mqtt_acks_skipped.inc();
            }
        }
        for (gateway, message) in acks.into_downlinks() {
            let payload = encode_downlink(&message);
            let sent =
                down.client
                    .try_publish(down_topic(&gateway), QoS::AtLeastOnce, false, payload);
            if sent.is_err() {
                self.metrics.downlinks_dropped.inc();
            }
        }
        Ok(())
    }

    fn check(&self, batch: &[Message]) -> (Vec<NewEntry>, Acks) {
        let mut entries = Vec::with_capacity(batch.len());
        let mut acks = Acks::default();
        let (mut refused, mut first) = (0, String::new());
        for message in batch {
            match check(
                &self.fleet,
                &message.publish.topic,
                &message.publish.payload,
            ) {
                Checked::Accept(accepted) => {
                    self.metrics.accepted.inc();
                    self.metrics.readings.inc_by(accepted.readings);
                    entries.push(self.entry(
                        Topic::Telemetry,
                        accepted.id.turbine.as_str(),
                        accepted.logged,
                    ));
                    acks.add(accepted.gateway, accepted.id, None);
                }
                Checked::Refuse(refusal) => {
                    let reason = refusal.reason.as_str();
                    self.metrics.refused.get_or_create(&Reason { reason }).inc();
                    if refused == 0 {
                        first = format!("{} ({})", message.publish.topic, refusal.detail);
                    }
                    refused += 1;
                    entries.push(self.entry(
                        Topic::DeadLetter,
                        &refusal.key(),
                        refusal.dead_letter.encode(),
                    ));
                    if let (Some(id), Some(control)) = (&refusal.id, refusal.control) {
                        entries.push(self.entry(Topic::Telemetry, id.turbine.as_str(), control));
                    }
                    if let (Some(gateway), Some(id)) = (refusal.gateway, refusal.id) {
                        acks.add(gateway, id, Some(verdict(reason, &refusal.detail)));
                    }
                }
            }
        }
        if refused > 0 {
            tracing::warn!(refused, first, "messages refused; they are in dead-letter");
        }
        (entries, acks)
    }

    fn entry(&self, topic: Topic, key: &str, value: Vec<u8>) -> NewEntry {
        let partition = partition_of(key, self.log.partitions().into()) as u16;
        NewEntry {
            to: TopicPartition::new(topic, PartitionId(partition)),
            key: key.to_owned(),
            value,
        }
    }
}

/// `reason: detail`, cut at a character.
fn verdict(reason: &str, detail: &str) -> String {
    let mut text = format!("{reason}: {detail}");
    if text.len() > VERDICT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(VERDICT_BYTES_MAX));
    }
    text
}

/// Seqs with their verdicts.
type Seqs = BTreeMap<Seq, Option<String>>;

/// Acknowledgements of a batch, in the making.
#[derive(Debug, Default)]
struct Acks(BTreeMap<GatewayId, BTreeMap<(TurbineId, Epoch), Seqs>>);

impl Acks {
    fn add(&mut self, gateway: GatewayId, id: RecordId, verdict: Option<String>) {
        let seqs = self
            .0
            .entry(gateway)
            .or_default()
            .entry((id.turbine, id.epoch))
            .or_default();
        // the same seq twice, once refused: what was accepted counts
        seqs.entry(id.seq)
            .and_modify(|v| {
                if verdict.is_none() {
                    *v = None;
                }
            })
            .or_insert(verdict);
    }

    /// One message a gateway, or several small ones.
    fn into_downlinks(self) -> Vec<(GatewayId, Downlink)> {
        let mut out = Vec::new();
        for (gateway, runs) in self.0 {
            let mut acks = Vec::new();
            let mut items = 0;
            for ((turbine, epoch), seqs) in runs {
                let seqs: Vec<_> = seqs.into_iter().collect();
                for chunk in seqs.chunks(DOWNLINK_ITEMS_MAX) {
                    if items + chunk.len() > DOWNLINK_ITEMS_MAX {
                        out.push((gateway.clone(), downlink(std::mem::take(&mut acks))));
                        items = 0;
                    }
                    items += chunk.len();
                    acks.push(ack(turbine.clone(), epoch, chunk));
                }
            }
            out.push((gateway, downlink(acks)));
        }
        out
    }
}

fn downlink(acks: Vec<Ack>) -> Downlink {
    Downlink {
        acks,
        ..Downlink::default()
    }
}

/// The log has no mirror: what it has is safe.
fn ack(turbine: TurbineId, epoch: Epoch, seqs: &[(Seq, Option<String>)]) -> Ack {
    let mut ranges: Vec<SeqRange> = Vec::new();
    for (seq, _) in seqs {
        match ranges.last_mut() {
            Some(range) if range.last.next() == *seq => range.last = *seq,
            _ => ranges.push(SeqRange::one(*seq)),
        }
    }
    let verdicts = seqs
        .iter()
        .filter_map(|(seq, verdict)| verdict.clone().map(|v| (*seq, v)))
        .collect();
    Ack {
        turbine,
        epoch,
        ranges,
        level: AckLevel::Safe,
        verdicts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(turbine: &str, seq: u64) -> RecordId {
        RecordId {
            turbine: TurbineId::new(turbine).unwrap(),
            epoch: Epoch([3; 16]),
            seq: Seq(seq),
        }
    }

    #[test]
    fn acks_are_ranges_by_gateway_with_verdicts() {
        let gateway = GatewayId::new("GW1").unwrap();
        let mut acks = Acks::default();
        for seq in [5, 1, 2, 3, 9] {
            acks.add(gateway.clone(), id("T1", seq), None);
        }
        acks.add(gateway.clone(), id("T1", 4), Some("malformed: x".into()));
        acks.add(gateway.clone(), id("T1", 9), Some("conflict".into()));
        let downlinks = acks.into_downlinks();
        assert_eq!(downlinks.len(), 1);
        let ack = &downlinks[0].1.acks[0];
        assert_eq!(
            ack.ranges,
            [SeqRange::new(1, 5).unwrap(), SeqRange::new(9, 9).unwrap()]
        );
        assert_eq!(ack.verdicts, [(Seq(4), "malformed: x".to_owned())]);
        assert_eq!(ack.level, AckLevel::Safe);
    }

    #[test]
    fn many_acks_are_several_messages_and_none_is_lost() {
        let gateway = GatewayId::new("GW1").unwrap();
        let mut acks = Acks::default();
        for turbine in ["T1", "T2", "T3"] {
            for seq in 1..=200 {
                acks.add(gateway.clone(), id(turbine, seq * 2), None);
            }
        }
        let downlinks = acks.into_downlinks();
        assert_eq!(downlinks.len(), 3);
        let ranges: usize = downlinks
            .iter()
            .flat_map(|(_, d)| &d.acks)
            .map(|a| a.ranges.len())
            .sum();
        assert_eq!(ranges, 600);
    }

    #[test]
    fn a_verdict_is_cut_at_a_character() {
        let long = "ü".repeat(200);
        assert_eq!(verdict("malformed", &long).len(), 159);
    }
}
