//! What ingest lets into the log: the stateless checks of a message from a gateway.
//!
//! Invariants: bytes that pass are appended unchanged; bytes that do not pass are kept in dead-letter with a reason, and
//! when their identity is known the turbine's partition is told, so that the seq becomes lost instead of a hole.
//! Whether event times are too far ahead is not decided here: that needs log time.

use windlass_shared::id::{GatewayId, RecordId};

use crate::fleet::Fleet;
use crate::output::{DeadLetter, Reason};

/// Bytes of a refused message that dead-letter keeps.
pub const DEAD_LETTER_BYTES_MAX: usize = windlass_shared::wire::RECORD_BYTES_MAX;

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
        let m = &self.dead_letter.meta;
        let name = m.turbine.as_ref().map(ToString::to_string);
        name.or_else(|| self.gateway.as_ref().map(ToString::to_string))
            .unwrap_or_else(|| "unknown".to_owned())
    }
}

/// Checks one MQTT message.
pub fn check(fleet: &Fleet, topic: &str, payload: &[u8]) -> Checked {
    todo!("{fleet:?} {topic} {payload:?}")
}
