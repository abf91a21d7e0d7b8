//! Broker and ingest: the real ingest core between a broker that may forget and a log that may fail.
//!
//! Every acknowledgement that leaves is held against the log: what it names must be there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::Digest;
use windlass_cloud_core::ingest::order::{self, Answer, Output};
use windlass_cloud_core::output::DeadLetter;
use windlass_cloud_core::topic::{Entry, Topic, partition_of};
use windlass_shared::id::{GatewayId, RecordId, Seq};
use windlass_shared::time::{SECOND_US, WallTime};
use windlass_shared::wire::{AckLevel, Downlink};

use super::{Check, Event, PARTITIONS, World};
use crate::cloud::LogEntry;
use crate::faults::Fault;
use crate::gateway::BASE_US;

/// The ingest process and the broker's session with it.
#[derive(Debug)]
pub struct Ingest {
    /// The broker keeps what ingest has not acknowledged, and sends it again to the next process.
    persistent: bool,
    core: Option<order::Ingest<u64>>,
    /// Counts processes: what was meant for an earlier one is void.
    life: u64,
    /// A batch will be closed.
    closing: bool,
    /// What the broker keeps, by its number.
    kept: BTreeMap<u64, (String, Arc<[u8]>)>,
    numbers: u64,
}

impl Ingest {
    pub(super) fn new(persistent: bool) -> Self {
        Self {
            persistent,
            core: None,
            life: 0,
            closing: false,
            kept: BTreeMap::new(),
            numbers: 0,
        }
    }
}

impl World {
    /// Appends to the telemetry topic.
    pub(super) fn append(&mut self, p: usize, key: &str, value: Vec<u8>) {
        let jump = if self.heap.now() < self.log_jump_until {
            7_200 * SECOND_US
        } else {
            0
        };
        let time = WallTime(BASE_US + self.heap.now() as i64 + jump);
        self.trace.update(&value);
        self.logs[p].append(LogEntry {
            time,
            writer: 1,
            key: key.to_owned(),
            value,
        });
    }

    /// A message reaches the broker, which hands it on.
    pub(super) fn broker(&mut self, topic: String, payload: Arc<[u8]>) {
        let number = self.ingest.numbers;
        self.ingest.numbers += 1;
        if self.ingest.core.is_some() || self.ingest.persistent {
            self.ingest.kept.insert(number, (topic, payload));
            self.deliver(number);
        }
    }

    fn deliver(&mut self, number: u64) {
        let Some(core) = &mut self.ingest.core else {
            return;
        };
        let Some((topic, payload)) = self.ingest.kept.get(&number) else {
            return;
        };
        core.take(number, topic, payload);
        self.close_soon();
    }

    fn close_soon(&mut self) {
        if !self.ingest.closing {
            self.ingest.closing = true;
            let delay = 1 + self.rates.below(400_000);
            self.heap.after(delay, Event::Close(self.ingest.life));
        }
    }

    pub(super) fn ingest_start(&mut self) {
        let level = if self.mirrored {
            AckLevel::Logged
        } else {
            AckLevel::Safe
        };
        self.ingest.life += 1;
        self.ingest.closing = false;
        self.ingest.core = Some(order::Ingest::new(self.fleet.clone(), PARTITIONS, level));
        let again: Vec<u64> = self.ingest.kept.keys().copied().collect();
        for number in again {
            self.deliver(number);
        }
    }

    fn ingest_dies(&mut self) {
        self.ingest.core = None;
        if !self.ingest.persistent {
            self.ingest.kept.clear();
        }
        let delay = 200_000 + self.rates.below(20_000_000);
        self.heap.after(delay, Event::IngestStart);
    }

    pub(super) fn close(&mut self, life: u64) -> Check {
        if life != self.ingest.life {
            return Ok(());
        }
        self.ingest.closing = false;
        let mut out = Vec::new();
        if let Some(core) = &mut self.ingest.core {
            core.close(&mut out);
        }
        self.act(out)
    }

    /// Does what the core says, in its order.
    fn act(&mut self, out: Vec<Output<u64>>) -> Check {
        for output in out {
            match output {
                Output::Append(entries) => {
                    let delay = 500 + self.rates.below(150_000);
                    let life = self.ingest.life;
                    self.heap.after(delay, Event::Appended(life, entries));
                }
                Output::Acknowledge(number) => {
                    self.ingest.kept.remove(&number);
                }
                Output::Downlink(gateway, message) => self.acknowledge(&gateway, &message)?,
                Output::Halt => self.ingest_dies(),
            }
        }
        Ok(())
    }

    /// The log's turn: one transaction over all topics, or none.
    pub(super) fn appended(&mut self, life: u64, entries: Vec<Entry>) -> Check {
        if life != self.ingest.life || self.ingest.core.is_none() {
            return Ok(());
        }
        let killed = self.rates.strikes(Fault::IngestKilled, 0.004);
        let failed = self.rates.strikes(Fault::AppendFailed, 0.004);
        // killed before, or failed in earnest
        let done = !(killed || failed) || self.rates.below(2) == 0;
        if done {
            for entry in entries {
                let p = entry.partition as usize;
                if entry.topic == Topic::DeadLetter {
                    let letter = DeadLetter::decode(&entry.value).map_err(|e| e.to_string())?;
                    self.logs[p].dead.push(letter);
                } else {
                    self.append(p, &entry.key, entry.value);
                }
            }
        }
        if killed {
            self.ingest_dies();
            return Ok(());
        }
        let answer = if failed {
            Answer::Failed
        } else {
            Answer::Appended
        };
        let mut out = Vec::new();
        if let Some(core) = &mut self.ingest.core {
            core.answered(answer, &mut out);
        }
        self.act(out)?;
        // what came meanwhile
        self.close_soon();
        Ok(())
    }

    /// What an acknowledgement says must be so: the log has the record, or the word that its bytes were refused.
    pub(super) fn acknowledge(&mut self, gateway: &GatewayId, message: &Downlink) -> Check {
        for ack in &message.acks {
            let p = partition_of(ack.turbine.as_str(), PARTITIONS) as usize;
            let log = &self.logs[p];
            for seq in ack
                .ranges
                .iter()
                .flat_map(|r| (r.first.0..=r.last.0).map(Seq))
            {
                let id = RecordId {
                    turbine: ack.turbine.clone(),
                    epoch: ack.epoch,
                    seq,
                };
                let refused = ack.verdicts.iter().any(|(s, _)| *s == seq);
                let known = log.held.contains(&id) || (refused && log.told.contains(&id));
                if !known {
                    return Err(format!(
                        "{gateway} was told that the log has {id}, and it has not"
                    ));
                }
            }
        }
        self.send_down(gateway, message);
        Ok(())
    }

    /// Records whose bytes were damaged on the way: each is in dead-letter, and its partition was told.
    pub(super) fn refused_by_ingest(&self) -> Result<BTreeSet<RecordId>, String> {
        let letters = self.logs.iter().flat_map(|l| &l.dead);
        let kept: BTreeSet<RecordId> = letters.filter_map(DeadLetter::id).collect();
        let told = self.logs.iter().flat_map(|l| &l.told);
        match told.into_iter().find(|id| !kept.contains(id)) {
            Some(id) => Err(format!("{id} was refused and is not in dead-letter")),
            None => Ok(kept),
        }
    }
}
