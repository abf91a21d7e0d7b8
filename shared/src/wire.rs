//! Bytes to records and back: the only place that knows the Protobuf messages and the column layout.

use crate::id::{Epoch, RecordId, Seq, TurbineId};
use crate::record::{Head, Record, RecordHash};

/// Version of the wire format that this code writes.
pub const VERSION: u32 = 1;
/// Largest record accepted, bytes (an Azure IoT Hub message is at most 256 KB).
pub const RECORD_BYTES_MAX: usize = 200 * 1024;

/// Why bytes are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Placeholder.
    #[error("{0}")]
    Malformed(String),
}

/// A record's bytes. Deterministic for one version of this code; the gateway calls it once for a record.
pub fn encode(record: &Record) -> Vec<u8> {
    todo!("{record:?}")
}

/// Decodes and checks everything that can be checked without history or catalogue.
pub fn decode(bytes: &[u8]) -> Result<Record, WireError> {
    todo!("{bytes:?}")
}

/// SHA-256 of a record's bytes.
pub fn hash(bytes: &[u8]) -> RecordHash {
    todo!("{bytes:?}")
}

/// `h(k)` from `h(k-1)` and the hash of record k.
pub fn next_head(prev: &Head, record: &RecordHash) -> Head {
    todo!("{prev:?} {record:?}")
}

/// MQTT topic of a record: `wl1/up/{gateway}/{turbine}/{epoch, 22 characters base64url}/{seq}`.
pub fn up_topic(gateway: &crate::id::GatewayId, id: &RecordId) -> String {
    todo!("{gateway:?} {id:?}")
}

/// The gateway and the identity in an MQTT topic.
pub fn parse_up_topic(topic: &str) -> Result<(crate::id::GatewayId, RecordId), WireError> {
    todo!("{topic}")
}

/// MQTT topic of what goes down to a gateway: `wl1/down/{gateway}`.
pub fn down_topic(gateway: &crate::id::GatewayId) -> String {
    format!("wl1/down/{gateway}")
}

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
    pub ranges: Vec<crate::id::SeqRange>,
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
    pub ranges: Vec<crate::id::SeqRange>,
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

/// Bytes of a downlink message.
pub fn encode_downlink(message: &Downlink) -> Vec<u8> {
    todo!("{message:?}")
}

/// Decodes a downlink message.
pub fn decode_downlink(bytes: &[u8]) -> Result<Downlink, WireError> {
    todo!("{bytes:?}")
}
