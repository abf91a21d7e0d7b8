//! A gateway at the other end of the broker, as far as ingest can see.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rumqttc::{Client, Event, MqttOptions, Packet, QoS};
use windlass_cloud::bench::load::Sent;
use windlass_shared::id::{GatewayId, RecordId, Seq};
use windlass_shared::wire::{AckLevel, Resend, decode_downlink, down_topic, up_topic};

use super::wait_for;

/// What the cloud said of a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It is in the log.
    Accepted,
    /// It is in dead-letter, for this reason.
    Refused(String),
}

/// A gateway that publishes what it is told to, and notes what comes back.
pub struct Gateway {
    pub id: GatewayId,
    client: Client,
    acked: Arc<Mutex<BTreeMap<RecordId, Answer>>>,
    pubacks: Arc<Mutex<u64>>,
    resends: Arc<Mutex<Vec<Resend>>>,
}

impl Gateway {
    pub fn connect(broker: u16, id: &str) -> Self {
        let id = GatewayId::new(id).expect("a name");
        let mut options = MqttOptions::new(id.as_str(), "127.0.0.1", broker);
        options
            .set_keep_alive(Duration::from_secs(30))
            .set_max_packet_size(1 << 20, 1 << 20);
        let (client, mut connection) = Client::new(options, 1_000);
        client
            .subscribe(down_topic(&id), QoS::AtLeastOnce)
            .expect("subscribe");
        let gateway = Self {
            id,
            client,
            acked: Arc::default(),
            pubacks: Arc::default(),
            resends: Arc::default(),
        };
        let (acked, pubacks) = (gateway.acked.clone(), gateway.pubacks.clone());
        let resends = gateway.resends.clone();
        let hears = Arc::new(AtomicBool::new(false));
        let subscribed = Arc::clone(&hears);
        std::thread::spawn(move || {
            let mut failures = 0;
            for event in connection.iter() {
                match event {
                    Ok(Event::Incoming(Packet::Publish(p))) => {
                        let down = decode_downlink(&p.payload).expect("a downlink");
                        resends.lock().expect("lock").extend(down.resends);
                        for ack in down.acks {
                            assert_eq!(ack.level, AckLevel::Safe);
                            let verdicts: BTreeMap<_, _> = ack.verdicts.into_iter().collect();
                            for seq in ack.ranges.iter().flat_map(|r| r.first.0..=r.last.0) {
                                let seq = Seq(seq);
                                let id = RecordId {
                                    turbine: ack.turbine.clone(),
                                    epoch: ack.epoch,
                                    seq,
                                };
                                let verdict = verdicts.get(&seq).cloned();
                                let verdict = verdict.map_or(Answer::Accepted, Answer::Refused);
                                acked.lock().expect("lock").insert(id, verdict);
                            }
                        }
                    }
                    Ok(Event::Incoming(Packet::SubAck(_))) => {
                        subscribed.store(true, Ordering::SeqCst);
                    }
                    Ok(Event::Incoming(Packet::PubAck(_))) => {
                        *pubacks.lock().expect("lock") += 1;
                    }
                    Ok(_) => {}
                    Err(_) => {
                        failures += 1;
                        if failures > 1_000 {
                            return;
                        }
                        std::thread::park_timeout(Duration::from_millis(50));
                    }
                }
            }
        });
        wait_for("the subscription", || hears.load(Ordering::SeqCst));
        gateway
    }

    pub fn publish(&self, sent: &Sent) {
        self.publish_as(&sent.record.header.id, &sent.bytes);
    }

    pub fn publish_as(&self, id: &RecordId, bytes: &[u8]) {
        self.client
            .publish(up_topic(&self.id, id), QoS::AtLeastOnce, false, bytes)
            .expect("publish");
    }

    /// Messages that the broker has acknowledged.
    pub fn pubacks(&self) -> u64 {
        *self.pubacks.lock().expect("lock")
    }

    pub fn resends(&self) -> Vec<Resend> {
        self.resends.lock().expect("lock").clone()
    }

    pub fn verdict(&self, id: &RecordId) -> Option<Answer> {
        self.acked.lock().expect("lock").get(id).cloned()
    }

    /// Publishes again, as a gateway does, until all are acknowledged.
    pub fn deliver(&self, sent: &[Sent]) {
        let mut round = 0;
        wait_for("acknowledgements of all records", || {
            let missing: Vec<_> = sent
                .iter()
                .filter(|s| self.verdict(&s.record.header.id).is_none())
                .collect();
            if round % 100 == 0 {
                for s in &missing {
                    self.publish(s);
                }
            }
            round += 1;
            missing.is_empty()
        });
    }
}
