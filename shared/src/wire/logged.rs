//! The entries of the log's telemetry topic: records as they came, and control records beside them.
//!
//! Invariant: a record's bytes are carried unchanged.

use prost::Message;

use super::check::seq;
use super::convert::{epoch_of, turbine_of};
use super::{LOGGED_BYTES_MAX, TEXT_BYTES_MAX, WireError, limit};
use crate::id::{GatewayId, RecordId, Seq};
use crate::proto;
use crate::record::RecordHash;

/// An entry of the telemetry topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Logged {
    /// A record, as ingest accepted it.
    Telemetry {
        /// Who sent it, by its certificate.
        gateway: GatewayId,
        /// The record's bytes; [`super::decode`] reads them.
        record: Vec<u8>,
    },
    /// Written by the aggregator itself.
    Control(Control),
}

/// What the aggregator writes into a partition, so that its task has no second input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Control {
    /// Once a second: log time goes on where no record comes.
    Tick,
    /// Ingest could not accept the bytes that came under this identity.
    Refused(Refused),
    /// Detectors from here on.
    DetectorConfig {
        /// Counts up.
        version: u64,
        /// `detectors.toml`.
        toml: String,
    },
}

/// Bytes that ingest refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Who sent them.
    pub gateway: GatewayId,
    /// The identity that the topic gave them.
    pub id: RecordId,
    /// Why.
    pub reason: String,
    /// SHA-256 of the bytes, which are in dead-letter.
    pub sha256: RecordHash,
}

/// The log entry of a record's bytes.
pub fn encode_telemetry(gateway: &GatewayId, record: &[u8]) -> Vec<u8> {
    proto::Logged {
        entry: Some(proto::logged::Entry::Telemetry(proto::Telemetry {
            gateway: gateway.to_string(),
            record: record.to_vec(),
        })),
    }
    .encode_to_vec()
}

/// The log entry of a control record.
pub fn encode_control(control: &Control) -> Vec<u8> {
    let control = match control {
        Control::Tick => proto::control::Control::Tick(proto::Tick {}),
        Control::Refused(refused) => proto::control::Control::Refused(proto::Refused {
            gateway: refused.gateway.to_string(),
            turbine: refused.id.turbine.to_string(),
            epoch: refused.id.epoch.0.to_vec(),
            seq: refused.id.seq.0,
            reason: refused.reason.clone(),
            sha256: refused.sha256.0.to_vec(),
        }),
        Control::DetectorConfig { version, toml } => {
            proto::control::Control::DetectorConfig(proto::DetectorConfig {
                version: *version,
                toml: toml.clone(),
            })
        }
    };
    proto::Logged {
        entry: Some(proto::logged::Entry::Control(proto::Control {
            control: Some(control),
        })),
    }
    .encode_to_vec()
}

/// Decodes an entry of the telemetry topic. The record in it is not decoded yet.
pub fn decode_logged(value: &[u8]) -> Result<Logged, WireError> {
    limit("log entry, in bytes", value.len(), LOGGED_BYTES_MAX)?;
    let message = proto::Logged::decode(value)
        .map_err(|e| WireError::malformed("log entry", e.to_string()))?;
    match message.entry {
        Some(proto::logged::Entry::Telemetry(t)) => Ok(Logged::Telemetry {
            gateway: gateway_of(&t.gateway)?,
            record: t.record,
        }),
        Some(proto::logged::Entry::Control(proto::Control {
            control: Some(control),
        })) => control_of(control).map(Logged::Control),
        _ => Err(WireError::field(
            "entry",
            "none that this version knows",
            "telemetry or control",
        )),
    }
}

fn gateway_of(name: &str) -> Result<GatewayId, WireError> {
    GatewayId::new(name).map_err(|e| WireError::malformed("gateway", e.to_string()))
}

fn control_of(control: proto::control::Control) -> Result<Control, WireError> {
    Ok(match control {
        proto::control::Control::Tick(proto::Tick {}) => Control::Tick,
        proto::control::Control::Refused(r) => {
            seq("seq", r.seq)?;
            limit("reason", r.reason.len(), TEXT_BYTES_MAX)?;
            let sha256 = r.sha256.as_slice().try_into().map_err(|_| {
                WireError::field("sha256", format!("{} bytes", r.sha256.len()), "32 bytes")
            })?;
            Control::Refused(Refused {
                gateway: gateway_of(&r.gateway)?,
                id: RecordId {
                    turbine: turbine_of(&r.turbine)?,
                    epoch: epoch_of("epoch", &r.epoch)?,
                    seq: Seq(r.seq),
                },
                reason: r.reason,
                sha256: RecordHash(sha256),
            })
        }
        proto::control::Control::DetectorConfig(c) => Control::DetectorConfig {
            version: c.version,
            toml: c.toml,
        },
    })
}
