//! Bytes to records and back: the only place that knows the Protobuf messages and the column layout.
//!
//! Invariants: `decode(&encode(&record)) == Ok(record)` for every record that [`check`] accepts; equal records give equal
//! bytes for one version of this code; whatever the bytes are, decoding neither panics nor allocates more than a fixed
//! multiple of what it was given.
//!
//! The format is explained for implementers in `docs/protocol.md`, and why it is so in `docs/decisions/0004-encoding.md`.

use sha2::{Digest, Sha256};

use crate::record::{Head, RecordHash};

mod bits;
mod check;
mod columns;
mod convert;
mod downlink;
mod float;
mod logged;
mod topic;

pub use check::check;
pub use convert::{decode, encode};
pub use downlink::{Ack, AckLevel, Command, Downlink, Resend, decode_downlink, encode_downlink};
pub use logged::{
    Control, Logged, MARK_NAME_BYTES_MAX, Mark, MarkAction, Refused, decode_logged, encode_control,
    encode_telemetry,
};
pub use topic::{down_topic, parse_down_topic, parse_up_topic, up_topic};

/// Version of the wire format that this code writes.
pub const VERSION: u32 = 1;
/// Largest record accepted, bytes (an Azure `IoT` Hub message is at most 256 KB).
pub const RECORD_BYTES_MAX: usize = 200 * 1024;
/// Most readings in one batch.
pub const BATCH_READINGS_MAX: usize = 65_536;
/// Largest columns of a batch before compression, bytes: every reading at full width, and room for the structure.
pub const COLUMNS_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Largest downlink message, bytes (an Azure `IoT` Hub message to a device is at most 64 KB).
pub const DOWNLINK_BYTES_MAX: usize = 64 * 1024;
/// Largest entry of the telemetry topic, bytes.
pub const LOGGED_BYTES_MAX: usize = 1024 * 1024;
/// Most ranges in one Gap.
pub const GAP_RANGES_MAX: usize = 4_096;
/// Greatest seq; a counter that starts at 1 never gets there.
pub const SEQ_MAX: u64 = 1 << 53;
/// Earliest event time accepted: 1970-01-01.
pub const EVENT_TIME_MIN_US: i64 = 0;
/// Event times are earlier than this: 2200-01-01.
pub const EVENT_TIME_END_US: i64 = 7_258_118_400_000_000;
/// Longest reason, agent version or other remark, bytes.
pub const TEXT_BYTES_MAX: usize = 1_024;

/// Why bytes are no record, message or topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Larger than the named limit.
    #[error("the {what} is too large: found {found}, expected at most {max}")]
    TooLarge {
        /// What is.
        what: &'static str,
        /// How large.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// Another version of the format.
    #[error("wire format version {found}, expected {expected}: update this software")]
    Version {
        /// What the bytes say.
        found: u32,
        /// What this code reads.
        expected: u32,
    },
    /// The bytes do not follow the format.
    #[error("malformed {at}: {why}")]
    Malformed {
        /// In which part.
        at: &'static str,
        /// What is wrong there.
        why: String,
    },
    /// A field holds what it must not hold.
    #[error("field {field}: found {found}, expected {expected}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What it holds.
        found: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// The stamps contradict the record that they stand on.
    #[error("stamps: {0}")]
    Stamps(String),
    /// Not a topic of this format.
    #[error(
        "topic `{found}`: {why}; expected wl1/up/<gateway>/<turbine>/<epoch, 22 of base64url>/<seq> or wl1/down/<gateway>"
    )]
    Topic {
        /// The topic, cut to a readable length.
        found: String,
        /// Which part is wrong.
        why: &'static str,
    },
}

impl WireError {
    fn malformed(at: &'static str, why: impl Into<String>) -> Self {
        Self::Malformed {
            at,
            why: why.into(),
        }
    }

    fn field(field: &'static str, found: impl std::fmt::Display, expected: &'static str) -> Self {
        Self::Field {
            field,
            found: found.to_string().chars().take(80).collect(),
            expected,
        }
    }
}

/// Fails when `found` is beyond `max`.
fn limit(what: &'static str, found: usize, max: usize) -> Result<(), WireError> {
    if found > max {
        return Err(WireError::TooLarge { what, found, max });
    }
    Ok(())
}

/// SHA-256 of a record's bytes.
pub fn hash(bytes: &[u8]) -> RecordHash {
    RecordHash(Sha256::digest(bytes).into())
}

/// `h(k)` from `h(k-1)` and the hash of record k.
pub fn next_head(prev: &Head, record: &RecordHash) -> Head {
    Head(
        Sha256::new()
            .chain_update(prev.0)
            .chain_update(record.0)
            .finalize()
            .into(),
    )
}
