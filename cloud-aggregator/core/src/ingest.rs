//! What ingest lets into the log: the stateless checks of a message from a gateway.
//!
//! Invariants: bytes that pass are appended unchanged; bytes that do not pass are kept in dead-letter with a reason, and
//! when their identity is known the turbine's partition is told, so that the seq becomes lost instead of a hole.
//! Whether event times are too far ahead is not decided here: that needs log time. In which order messages, log and
//! acknowledgements follow each other is [`order`]'s.

pub mod acks;
pub mod order;

use windlass_shared::catalogue::{Catalogue, Raw};
use windlass_shared::id::{GatewayId, RecordId};
use windlass_shared::record::{Batch, Body, Record};
use windlass_shared::wire::{self, Control, RECORD_BYTES_MAX, WireError};

use crate::fleet::Fleet;
use crate::output::{DeadLetter, DeadLetterMeta, Reason, hex};

/// Bytes of a refused message that dead-letter keeps; its hash is of all of them.
pub const DEAD_LETTER_BYTES_MAX: usize = RECORD_BYTES_MAX;
/// Bytes of an MQTT topic that dead-letter keeps.
const TOPIC_BYTES_MAX: usize = 200;

/// What to do with a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Checked {
    /// Append it, then acknowledge it.
    Accept(Accepted),
    /// Append what it says, then acknowledge with the verdict.
    Refuse(Box<Refusal>),
}

/// A message that goes into the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// Who sent it.
    pub gateway: GatewayId,
    /// Which record it is. The log key is `id.turbine`.
    pub id: RecordId,
    /// Entry for [`crate::topic::Topic::Telemetry`], keyed by the turbine.
    pub logged: Vec<u8>,
    /// Readings in it.
    pub readings: u64,
}

/// A message that does not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Who sent it, if the topic says so. Acknowledge to this gateway only when `id` is there.
    pub gateway: Option<GatewayId>,
    /// Which record it claims to be: known and bound to the gateway. `None`: nothing can be acknowledged.
    pub id: Option<RecordId>,
    /// Why.
    pub reason: Reason,
    /// Why, for the gateway's log: what was found and what was expected.
    pub detail: String,
    /// Entry for [`crate::topic::Topic::DeadLetter`], with the key [`Refusal::key`].
    pub dead_letter: DeadLetter,
    /// Entry for [`crate::topic::Topic::Telemetry`], keyed by the turbine; append it together with the dead letter.
    pub control: Option<Vec<u8>>,
}

impl Refusal {
    /// Log key of the dead letter: the turbine, or the gateway, or `unknown`.
    pub fn key(&self) -> String {
        let turbine = self.dead_letter.meta.turbine.as_ref();
        turbine
            .map(ToString::to_string)
            .or_else(|| self.gateway.as_ref().map(ToString::to_string))
            .unwrap_or_else(|| "unknown".to_owned())
    }
}

/// Why a message is refused, as far as its checks came.
struct Fault {
    reason: Reason,
    detail: String,
    readings: Option<u64>,
}

impl Fault {
    fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            readings: None,
        }
    }
}

/// Checks one MQTT message.
pub fn check(fleet: &Fleet, topic: &str, payload: &[u8]) -> Checked {
    let (gateway, id) = match wire::parse_up_topic(topic) {
        Ok(named) => named,
        Err(e) => {
            let fault = Fault::new(Reason::Topic, e.to_string());
            return refuse(topic, payload, None, None, fault);
        }
    };
    if let Err(fault) = check_binding(fleet, &gateway, &id) {
        return refuse(topic, payload, Some(gateway), Some((id, false)), fault);
    }
    match check_payload(fleet, &id, payload) {
        Ok(readings) => Checked::Accept(Accepted {
            logged: wire::encode_telemetry(&gateway, payload),
            gateway,
            id,
            readings,
        }),
        Err(fault) => refuse(topic, payload, Some(gateway), Some((id, true)), fault),
    }
}

fn check_binding(fleet: &Fleet, gateway: &GatewayId, id: &RecordId) -> Result<(), Fault> {
    let turbine = &id.turbine;
    match fleet.binding(turbine) {
        Some(bound) if bound.gateway == *gateway => Ok(()),
        Some(bound) => Err(Fault::new(
            Reason::Unbound,
            format!(
                "turbine {turbine} is bound to gateway {}, not to {gateway}",
                bound.gateway
            ),
        )),
        None => Err(Fault::new(
            Reason::Unbound,
            format!("turbine {turbine} is not in the fleet registry: add it to gateway {gateway}"),
        )),
    }
}

fn check_payload(fleet: &Fleet, id: &RecordId, payload: &[u8]) -> Result<u64, Fault> {
    if payload.len() > RECORD_BYTES_MAX {
        return Err(Fault::new(
            Reason::Oversized,
            format!(
                "{} bytes, expected at most {RECORD_BYTES_MAX}",
                payload.len()
            ),
        ));
    }
    let record = wire::decode(payload).map_err(|e| Fault::new(reason_of(&e), e.to_string()))?;
    let readings = readings_of(&record);
    check_record(fleet, id, &record).map_err(|fault| Fault {
        readings: Some(readings),
        ..fault
    })?;
    Ok(readings)
}

fn reason_of(e: &WireError) -> Reason {
    match e {
        WireError::TooLarge { .. } => Reason::Oversized,
        WireError::Version { .. } => Reason::Version,
        WireError::Stamps(_) => Reason::Stamps,
        _ => Reason::Malformed,
    }
}

fn check_record(fleet: &Fleet, id: &RecordId, record: &Record) -> Result<(), Fault> {
    if record.header.id != *id {
        return Err(Fault::new(
            Reason::Identity,
            format!("the bytes say {}, they came as {id}", record.header.id),
        ));
    }
    let Body::Batch(batch) = &record.body else {
        return Ok(());
    };
    let Some(catalogue) = fleet.catalogue(batch.catalogue) else {
        return Err(Fault::new(
            Reason::Catalogue,
            format!(
                "catalogue {:016x} is not known: add its profile to the fleet registry",
                batch.catalogue.0
            ),
        ));
    };
    check_channels(catalogue, batch)
}

/// Every column is a channel of the catalogue, carried as the catalogue says.
fn check_channels(catalogue: &Catalogue, batch: &Batch) -> Result<(), Fault> {
    let bad = |channel: u16, found: &str| {
        Err(Fault::new(
            Reason::Channel,
            format!(
                "channel {channel} of {} version {}: {found}",
                catalogue.name, catalogue.version
            ),
        ))
    };
    for column in batch.blocks.iter().flat_map(|b| &b.columns) {
        let channels = &catalogue.channels;
        let Ok(at) = channels.binary_search_by_key(&column.channel, |c| c.id) else {
            return bad(column.channel.0, "there is no such channel");
        };
        if column.float != (channels[at].raw == Raw::Float) {
            let found = if column.float {
                "carried as a float, expected a scaled integer"
            } else {
                "carried as an integer, expected a float"
            };
            return bad(column.channel.0, found);
        }
    }
    Ok(())
}

/// How many readings a record holds.
pub fn readings_of(record: &Record) -> u64 {
    match &record.body {
        Body::Batch(batch) => batch.raw.len() as u64,
        Body::Untimed(untimed) => untimed.batch.raw.len() as u64,
        _ => 0,
    }
}

/// `id` comes with whether its turbine is bound to the gateway.
fn refuse(
    topic: &str,
    payload: &[u8],
    gateway: Option<GatewayId>,
    id: Option<(RecordId, bool)>,
    fault: Fault,
) -> Checked {
    let sha256 = wire::hash(payload);
    let (id, bound) = match id {
        Some((id, bound)) => (Some(id), bound),
        None => (None, false),
    };
    let meta = DeadLetterMeta {
        stage: "ingest".to_owned(),
        reason: fault.reason,
        detail: fault.detail.clone(),
        gateway: gateway.clone(),
        turbine: id.as_ref().map(|i| i.turbine.clone()),
        epoch: id.as_ref().map(|i| i.epoch),
        seq: id.as_ref().map(|i| i.seq),
        readings: fault.readings,
        sha256: hex(&sha256.0),
        mqtt_topic: Some(topic.chars().take(TOPIC_BYTES_MAX).collect()),
        position: None,
        log_time: None,
    };
    let control = match (&gateway, &id) {
        (Some(gateway), Some(id)) if bound => {
            Some(wire::encode_control(&Control::Refused(wire::Refused {
                gateway: gateway.clone(),
                id: id.clone(),
                reason: format!("{}: {}", fault.reason.as_str(), fault.detail),
                sha256,
            })))
        }
        _ => None,
    };
    Checked::Refuse(Box::new(Refusal {
        gateway,
        id: id.filter(|_| bound),
        reason: fault.reason,
        detail: fault.detail,
        dead_letter: DeadLetter {
            meta,
            bytes: payload[..payload.len().min(DEAD_LETTER_BYTES_MAX)].to_vec(),
        },
        control,
    }))
}
