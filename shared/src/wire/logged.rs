//! The entries of the log's telemetry topic: records as they came, and control records beside them.
//!
//! Invariant: a record's bytes are carried unchanged.

use prost::Message;

use super::check::seq;
use super::convert::{epoch_of, turbine_of};
use super::{LOGGED_BYTES_MAX, TEXT_BYTES_MAX, WireError, limit};
use crate::id::{GatewayId, RecordId, Seq, TurbineId};
use crate::proto;
use crate::record::RecordHash;
use crate::time::LogTime;

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
    /// What an operator says of an alert.
    Mark(Mark),
}

/// Longest name of an operator, bytes.
pub const MARK_NAME_BYTES_MAX: usize = 64;

/// What an operator says of an open alert. The texts are kept as they were typed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    /// Whose alert.
    pub turbine: TurbineId,
    /// Which alert: 32 hexadecimal digits.
    pub alert: String,
    /// Who says it, at most [`MARK_NAME_BYTES_MAX`].
    pub by: String,
    /// Why, at most [`TEXT_BYTES_MAX`] bytes.
    pub note: String,
    /// What is said.
    pub action: MarkAction,
}

/// What is done with an alert.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MarkAction {
    /// Somebody has seen it.
    Acknowledge,
    /// It is put aside until this log time.
    Shelve {
        /// When it comes back.
        until: LogTime,
    },
    /// It comes back now.
    Unshelve,
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
        Control::Mark(mark) => proto::control::Control::Mark(proto_mark(mark)),
    };
    proto::Logged {
        entry: Some(proto::logged::Entry::Control(proto::Control {
            control: Some(control),
        })),
    }
    .encode_to_vec()
}

fn proto_mark(mark: &Mark) -> proto::Mark {
    use proto::mark::Action;
    proto::Mark {
        turbine: mark.turbine.to_string(),
        alert: mark.alert.clone(),
        by: mark.by.clone(),
        note: mark.note.clone(),
        action: Some(match mark.action {
            MarkAction::Acknowledge => Action::Acknowledge(proto::Acknowledge {}),
            MarkAction::Shelve { until } => Action::Shelve(proto::Shelve { until: until.0 }),
            MarkAction::Unshelve => Action::Unshelve(proto::Unshelve {}),
        }),
    }
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
        proto::control::Control::Mark(m) => Control::Mark(mark_of(m)?),
    })
}

fn mark_of(m: proto::Mark) -> Result<Mark, WireError> {
    use proto::mark::Action;
    limit("by", m.by.len(), MARK_NAME_BYTES_MAX)?;
    limit("note", m.note.len(), TEXT_BYTES_MAX)?;
    let known = m.alert.len() == 32 && m.alert.bytes().all(|b| b.is_ascii_hexdigit());
    if !known {
        let found = format!("{} bytes", m.alert.len());
        return Err(WireError::field("alert", found, "32 hexadecimal digits"));
    }
    let action = match m.action {
        Some(Action::Acknowledge(proto::Acknowledge {})) => MarkAction::Acknowledge,
        Some(Action::Shelve(s)) => MarkAction::Shelve {
            until: LogTime(s.until),
        },
        Some(Action::Unshelve(proto::Unshelve {})) => MarkAction::Unshelve,
        None => {
            let expected = "acknowledge, shelve or unshelve";
            return Err(WireError::field(
                "action",
                "none that this version knows",
                expected,
            ));
        }
    };
    Ok(Mark {
        turbine: turbine_of(&m.turbine)?,
        alert: m.alert,
        by: m.by,
        note: m.note,
        action,
    })
}
