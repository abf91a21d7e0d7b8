//! The order in which ingest speaks: messages come in, the log answers, and only then does anybody hear of them.
//!
//! A shell takes what waits message by message, closes the batch, appends what [`Output::Append`] holds in one log
//! transaction, and tells how that went. Invariants: neither the broker nor a gateway hears of a message before the log
//! has answered for it; when the log's answer is a failure, or unknown, nobody hears of the batch at all and nothing more
//! is taken (a failed append may still be in the log: the gateway sends again and the partition task counts once); one
//! append is under way at a time, so that the log has the messages of a gateway in the order in which they came.

use std::mem;
use std::sync::Arc;

use windlass_shared::id::GatewayId;
use windlass_shared::wire::{AckLevel, Downlink};

use super::acks::{Acks, verdict};
use super::{Checked, check};
use crate::fleet::Fleet;
use crate::output::Reason;
use crate::topic::{Entry, Topic, partition_of};

/// Messages in one batch.
pub const BATCH_MESSAGES_MAX: usize = 512;
/// Bytes of payload after which a batch takes no further message.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What the log answered to an append.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// All entries are durable.
    Appended,
    /// It failed, or nobody knows.
    Failed,
}

/// What the shell has to do, in order. `M` is the shell's name for a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output<M> {
    /// Append these in one transaction, then call [`Ingest::answered`].
    Append(Vec<Entry>),
    /// Tell the broker that this message is safe.
    Acknowledge(M),
    /// Tell a gateway where its records are.
    Downlink(GatewayId, Downlink),
    /// End: the log cannot be trusted. What was not acknowledged comes again.
    Halt,
}

/// What became of a message, for counters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Taken {
    /// Its record goes into the log.
    Accepted {
        /// Readings in it.
        readings: u64,
    },
    /// It goes to dead-letter.
    Refused {
        /// Why.
        reason: Reason,
        /// Why, for people.
        detail: String,
    },
}

/// Messages on their way into the log.
#[derive(Clone, Debug)]
struct Batch<M> {
    messages: Vec<M>,
    bytes: usize,
    entries: Vec<Entry>,
    acks: Acks,
}

impl<M> Batch<M> {
    fn new() -> Self {
        Self {
            messages: Vec::new(),
            bytes: 0,
            entries: Vec::new(),
            acks: Acks::default(),
        }
    }

    /// Everybody may hear of it.
    fn release(self, level: AckLevel, out: &mut Vec<Output<M>>) {
        out.extend(self.messages.into_iter().map(Output::Acknowledge));
        let downlinks = self.acks.into_downlinks(level);
        out.extend(downlinks.into_iter().map(|(g, d)| Output::Downlink(g, d)));
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Ingest<M> {
    fleet: Arc<Fleet>,
    partitions: u32,
    /// How safe a record is once the log has it.
    level: AckLevel,
    gathered: Batch<M>,
    /// What the log was asked to append.
    asked: Option<Batch<M>>,
    halted: bool,
}

impl<M> Ingest<M> {
    /// Nothing taken yet. `level`: how safe a record is once the log has it (without a mirror: safe).
    pub fn new(fleet: Arc<Fleet>, partitions: u32, level: AckLevel) -> Self {
        Self {
            fleet,
            partitions,
            level,
            gathered: Batch::new(),
            asked: None,
            halted: false,
        }
    }

    /// May the batch take another message?
    pub fn has_room(&self) -> bool {
        !self.halted
            && self.gathered.messages.len() < BATCH_MESSAGES_MAX
            && self.gathered.bytes < BATCH_BYTES_MAX
    }

    /// Is the log's answer awaited?
    pub fn waits(&self) -> bool {
        self.asked.is_some()
    }

    /// Checks a message and takes it into the batch.
    pub fn take(&mut self, message: M, topic: &str, payload: &[u8]) -> Taken {
        let checked = check(&self.fleet, topic, payload);
        self.gathered.messages.push(message);
        self.gathered.bytes += payload.len();
        match checked {
            Checked::Accept(accepted) => {
                self.entry(
                    Topic::Telemetry,
                    accepted.id.turbine.as_str(),
                    accepted.logged,
                );
                self.gathered.acks.add(accepted.gateway, accepted.id, None);
                Taken::Accepted {
                    readings: accepted.readings,
                }
            }
            Checked::Refuse(refusal) => {
                self.entry(
                    Topic::DeadLetter,
                    &refusal.key(),
                    refusal.dead_letter.encode(),
                );
                if let (Some(id), Some(control)) = (&refusal.id, refusal.control) {
                    self.entry(Topic::Telemetry, id.turbine.as_str(), control);
                }
                if let (Some(gateway), Some(id)) = (refusal.gateway, refusal.id) {
                    let said = verdict(refusal.reason.as_str(), &refusal.detail);
                    self.gathered.acks.add(gateway, id, Some(said));
                }
                Taken::Refused {
                    reason: refusal.reason,
                    detail: refusal.detail,
                }
            }
        }
    }

    fn entry(&mut self, topic: Topic, key: &str, value: Vec<u8>) {
        self.gathered.entries.push(Entry {
            topic,
            partition: partition_of(key, self.partitions),
            key: key.to_owned(),
            value,
        });
    }

    /// Closes the batch: it goes to the log, unless it is empty or the log has not answered for the one before.
    pub fn close(&mut self, out: &mut Vec<Output<M>>) {
        if self.halted || self.asked.is_some() || self.gathered.messages.is_empty() {
            return;
        }
        let mut batch = mem::replace(&mut self.gathered, Batch::new());
        out.push(Output::Append(mem::take(&mut batch.entries)));
        self.asked = Some(batch);
    }

    /// The log's answer to the append: only now, and only if it has everything, does anybody hear of the batch.
    pub fn answered(&mut self, answer: Answer, out: &mut Vec<Output<M>>) {
        let Some(batch) = self.asked.take() else {
            return;
        };
        match answer {
            Answer::Appended => batch.release(self.level, out),
            Answer::Failed => {
                self.halted = true;
                out.push(Output::Halt);
            }
        }
    }
}
