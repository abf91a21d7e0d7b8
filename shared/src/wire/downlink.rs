//! What the cloud tells a gateway: where its records are, what is missing, what to do.
//!
//! Invariant: a decoded message holds only names and ranges that are valid; ranges are in order and apart.

use prost::Message;

use super::check::seq;
use super::convert::{epoch_of, turbine_of};
use super::{DOWNLINK_BYTES_MAX, TEXT_BYTES_MAX, WireError, limit};
use crate::id::{Epoch, Seq, SeqRange, TurbineId};
use crate::proto;

/// How far a record is safe in the cloud.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AckLevel {
    /// The log has acknowledged it.
    Logged,
    /// The log's mirror has it too; without a mirror, logged is safe.
    Safe,
}

/// What the cloud tells a gateway.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Downlink {
    /// Where records are.
    pub acks: Vec<Ack>,
    /// Records to send again, or to declare lost.
    pub resends: Vec<Resend>,
    /// Orders.
    pub commands: Vec<Command>,
}

/// Records of one epoch that the cloud has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ack {
    /// Whose.
    pub turbine: TurbineId,
    /// Of which epoch.
    pub epoch: Epoch,
    /// Which seqs, in order.
    pub ranges: Vec<SeqRange>,
    /// How safe they are.
    pub level: AckLevel,
    /// Those among them that were refused, and why.
    pub verdicts: Vec<(Seq, String)>,
}

/// Records that the cloud misses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resend {
    /// Whose.
    pub turbine: TurbineId,
    /// Of which epoch.
    pub epoch: Epoch,
    /// Which seqs, in order.
    pub ranges: Vec<SeqRange>,
}

/// An order to the gateway.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Begin a new epoch for `turbine` if `instead_of` is the current one.
    NewEpoch {
        /// Whose.
        turbine: TurbineId,
        /// The quarantined epoch.
        instead_of: Epoch,
        /// For the gateway's log.
        reason: String,
    },
}

/// Bytes of a downlink message. The caller keeps it within [`DOWNLINK_BYTES_MAX`].
pub fn encode_downlink(message: &Downlink) -> Vec<u8> {
    let ranges = |ranges: &[SeqRange]| {
        ranges
            .iter()
            .map(|r| proto::SeqRange {
                first: r.first.0,
                last: r.last.0,
            })
            .collect()
    };
    proto::Downlink {
        acks: message
            .acks
            .iter()
            .map(|ack| proto::Ack {
                turbine: ack.turbine.to_string(),
                epoch: ack.epoch.0.to_vec(),
                ranges: ranges(&ack.ranges),
                level: match ack.level {
                    AckLevel::Logged => proto::AckLevel::Logged,
                    AckLevel::Safe => proto::AckLevel::Safe,
                }
                .into(),
                verdicts: ack
                    .verdicts
                    .iter()
                    .map(|(seq, reason)| proto::Verdict {
                        seq: seq.0,
                        reason: reason.clone(),
                    })
                    .collect(),
            })
            .collect(),
        resends: message
            .resends
            .iter()
            .map(|resend| proto::Resend {
                turbine: resend.turbine.to_string(),
                epoch: resend.epoch.0.to_vec(),
                ranges: ranges(&resend.ranges),
            })
            .collect(),
        commands: message
            .commands
            .iter()
            .map(
                |Command::NewEpoch {
                     turbine,
                     instead_of,
                     reason,
                 }| proto::Command {
                    command: Some(proto::command::Command::NewEpoch(proto::NewEpoch {
                        turbine: turbine.to_string(),
                        instead_of: instead_of.0.to_vec(),
                        reason: reason.clone(),
                    })),
                },
            )
            .collect(),
    }
    .encode_to_vec()
}

/// Decodes a downlink message. Commands that this version does not know are left out.
pub fn decode_downlink(bytes: &[u8]) -> Result<Downlink, WireError> {
    limit(
        "downlink message, in bytes",
        bytes.len(),
        DOWNLINK_BYTES_MAX,
    )?;
    let message = proto::Downlink::decode(bytes)
        .map_err(|e| WireError::malformed("downlink message", e.to_string()))?;
    Ok(Downlink {
        acks: message
            .acks
            .into_iter()
            .map(ack_of)
            .collect::<Result<_, _>>()?,
        resends: message
            .resends
            .into_iter()
            .map(|resend| {
                Ok(Resend {
                    turbine: turbine_of(&resend.turbine)?,
                    epoch: epoch_of("epoch", &resend.epoch)?,
                    ranges: ranges_of(&resend.ranges)?,
                })
            })
            .collect::<Result<_, WireError>>()?,
        commands: message
            .commands
            .into_iter()
            .filter_map(|command| command.command)
            .map(|proto::command::Command::NewEpoch(order)| {
                limit("reason", order.reason.len(), TEXT_BYTES_MAX)?;
                Ok(Command::NewEpoch {
                    turbine: turbine_of(&order.turbine)?,
                    instead_of: epoch_of("instead_of", &order.instead_of)?,
                    reason: order.reason,
                })
            })
            .collect::<Result<_, WireError>>()?,
    })
}

fn ack_of(ack: proto::Ack) -> Result<Ack, WireError> {
    let ranges = ranges_of(&ack.ranges)?;
    let level = match proto::AckLevel::try_from(ack.level) {
        Ok(proto::AckLevel::Logged) => AckLevel::Logged,
        Ok(proto::AckLevel::Safe) => AckLevel::Safe,
        Ok(proto::AckLevel::AckUnspecified) | Err(_) => {
            return Err(WireError::field("level", ack.level, "LOGGED or SAFE"));
        }
    };
    let mut verdicts = Vec::with_capacity(ack.verdicts.len());
    for verdict in ack.verdicts {
        seq("verdicts.seq", verdict.seq)?;
        limit("verdicts.reason", verdict.reason.len(), TEXT_BYTES_MAX)?;
        verdicts.push((Seq(verdict.seq), verdict.reason));
    }
    Ok(Ack {
        turbine: turbine_of(&ack.turbine)?,
        epoch: epoch_of("epoch", &ack.epoch)?,
        ranges,
        level,
        verdicts,
    })
}

fn ranges_of(ranges: &[proto::SeqRange]) -> Result<Vec<SeqRange>, WireError> {
    let mut last = 0;
    ranges
        .iter()
        .map(|r| {
            seq("ranges.last", r.last)?;
            let range = SeqRange::new(r.first, r.last)
                .filter(|r| r.first.0 > last)
                .ok_or_else(|| {
                    WireError::field(
                        "ranges",
                        format!("{}-{}", r.first, r.last),
                        "ranges in order, apart from each other",
                    )
                })?;
            last = r.last;
            Ok(range)
        })
        .collect()
}
