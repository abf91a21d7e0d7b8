//! What the task of a partition writes: status documents, alerts, window results and dead letters, versioned.
//!
//! Invariant: the bytes are a function of the value alone (field order is fixed, numbers are printed by one algorithm),
//! so that two runs over the same log compare equal.

use serde::{Deserialize, Serialize};
use windlass_shared::id::{Epoch, FarmId, GatewayId, RecordId, Seq, TurbineId};
use windlass_shared::record::Quality;
use windlass_shared::time::{EventTime, LogTime, WallTime};
use windlass_shared::window::WindowResult;

pub use crate::detect::alert::{
    Acknowledged, AlertEvent, AlertState, AlertWindow, Direction, Level, Shelved,
};

/// Version of the status document.
pub const STATUS_VERSION: u32 = 1;
/// Version of a feature row; its first byte.
pub const FEATURE_VERSION: u8 = 1;
/// First bytes of a dead letter, with its version.
pub const DEAD_LETTER_MAGIC: [u8; 4] = *b"WLD1";

/// Bytes that are not what their topic holds.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no {what}: {why}")]
pub struct OutputError {
    /// What was expected.
    pub what: &'static str,
    /// What is wrong.
    pub why: String,
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    // plain structs of numbers and texts always serialise; an empty document would be refused by every reader
    serde_json::to_vec(value).unwrap_or_default()
}

fn from_json<'a, T: Deserialize<'a>>(
    what: &'static str,
    bytes: &'a [u8],
) -> Result<T, OutputError> {
    serde_json::from_slice(bytes).map_err(|e| OutputError {
        what,
        why: e.to_string(),
    })
}

/// The newest state of one turbine: what an operator watches.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StatusDoc {
    /// [`STATUS_VERSION`].
    pub v: u32,
    /// Whose.
    pub turbine: TurbineId,
    /// Where it stands; `None` when the fleet registry did not know it.
    pub farm: Option<FarmId>,
    /// Who sent its newest record.
    pub gateway: GatewayId,
    /// Offset of the newest entry that this says something of; a status store refuses to go back.
    pub position: u64,
    /// Log time of that entry.
    pub log_time: LogTime,
    /// Event time of the newest on-time reading.
    pub event_time: Option<EventTime>,
    /// Event time of the newest on-time reading of the fast channels.
    pub fast_event_time: Option<EventTime>,
    /// The gateway's wall clock when it committed the newest record with fast channels: the slice was closed just before.
    pub slice_committed_at: Option<WallTime>,
    /// How far the turbine's time has come without a hole.
    pub frontier: Option<EventTime>,
    /// IEC 61400-26 state, raw code of the channel `iec_state`.
    pub iec_state: Option<i64>,
    /// Newest value of each fast channel.
    pub values: Vec<LiveValue>,
    /// What came and what did not.
    pub coverage: CoverageSummary,
    /// Readings and records so far.
    pub counts: Counts,
    /// Windows so far.
    pub windows: WindowCounts,
    /// Alerts that are open.
    pub alerts: Vec<OpenAlert>,
}

impl StatusDoc {
    /// JSON.
    pub fn encode(&self) -> Vec<u8> {
        json(self)
    }
    /// Reads [`StatusDoc::encode`]'s bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, OutputError> {
        from_json("status document", bytes)
    }
}

/// Newest value of a channel.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LiveValue {
    /// Channel name.
    #[serde(rename = "c")]
    pub channel: String,
    /// In the channel's unit; `None` when the reading carries no number.
    #[serde(rename = "x")]
    pub value: Option<f64>,
    /// Event time.
    #[serde(rename = "t")]
    pub time: EventTime,
    /// Left out when good.
    #[serde(rename = "q", default = "good", skip_serializing_if = "is_good")]
    pub quality: Quality,
}

fn good() -> Quality {
    Quality::Good
}
#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes a reference
fn is_good(q: &Quality) -> bool {
    *q == Quality::Good
}

/// Coverage in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CoverageSummary {
    /// Epochs known.
    pub epochs: u32,
    /// Ranges of seqs that are unknown between what is known.
    pub holes: u32,
    /// Seqs in those ranges.
    pub missing_seqs: u64,
    /// Seqs that are recorded as lost.
    pub lost_seqs: u64,
    /// Epochs in which conflicting bytes were seen.
    pub quarantined_epochs: u32,
}

/// What became of what came, since the turbine's first record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Records that counted.
    pub records: u64,
    /// Readings in those records.
    pub accepted_readings: u64,
    /// Of those, readings that went to the panes: all but the suspect ones.
    pub counted_readings: u64,
    /// Of those, readings that the gateway marked late.
    pub late_readings: u64,
    /// Readings ahead of the gateway's clock: kept, in no pane.
    pub suspect_readings: u64,
    /// Readings in refused records that could be decoded.
    pub rejected_readings: u64,
    /// Readings that gateways declared lost (where they knew how many).
    pub lost_readings: u64,
    /// Records that came again.
    pub duplicate_records: u64,
    /// Records that came again too late to compare their bytes in memory.
    pub unverified_records: u64,
    /// Records that were refused, here or by ingest.
    pub refused_records: u64,
    /// Records that contradicted one that had come before.
    pub conflict_records: u64,
    /// Records of quarantined epochs.
    pub quarantined_records: u64,
}

/// Windows of all kinds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct WindowCounts {
    /// Windows that settled, each counted once.
    pub settled: u64,
    /// Of those, windows whose first settled result was exact.
    pub exact: u64,
    /// Windows that were emitted as provisional at least once.
    pub provisional: u64,
    /// Results emitted again for a window that had settled.
    pub revised: u64,
    /// Partials.
    pub partials: u64,
}

/// An open alert, in short.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct OpenAlert {
    /// Alert id.
    pub id: String,
    /// Episode id.
    pub episode: String,
    /// Rule id.
    pub rule: String,
    /// How bad.
    pub level: Level,
    /// Provisional or confirmed.
    pub state: AlertState,
    /// Value that raised it last.
    pub value: f64,
}

/// One emission of one window of one turbine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FeatureRow {
    /// Whose.
    pub turbine: TurbineId,
    /// Where it stands.
    pub farm: Option<FarmId>,
    /// Offset of the entry that made it.
    pub position: u64,
    /// Log time of that entry.
    pub log_time: LogTime,
    /// Catalogue hash that names the channels.
    pub catalogue: u64,
    /// The result.
    pub result: WindowResult,
}

impl FeatureRow {
    /// A version byte, then postcard.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![FEATURE_VERSION]).unwrap_or_default()
    }
    /// Reads [`FeatureRow::encode`]'s bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, OutputError> {
        let bad = |why: String| OutputError {
            what: "feature row",
            why,
        };
        match bytes.split_first() {
            Some((&FEATURE_VERSION, rest)) => {
                postcard::from_bytes(rest).map_err(|e| bad(e.to_string()))
            }
            Some((v, _)) => Err(bad(format!("version {v}, expected {FEATURE_VERSION}"))),
            None => Err(bad("empty".into())),
        }
    }
}

/// Why something did not count. The codes are stable: they are labels of metrics and columns of the lake.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The MQTT topic names no identity.
    Topic,
    /// The turbine is not bound to the gateway that sent it.
    Unbound,
    /// Larger than a record may be.
    Oversized,
    /// Its bytes are no record.
    Malformed,
    /// It is a record of a version this code does not speak.
    Version,
    /// The identity in the record is not the one it came under.
    Identity,
    /// It speaks of a catalogue that is not known.
    Catalogue,
    /// It speaks of a channel that its catalogue does not have, or carries it in the wrong way.
    Channel,
    /// Its stamps contradict themselves or what came before.
    Stamps,
    /// Its stamps are further ahead than log time and `skew_max`.
    Skew,
    /// Same identity, other bytes.
    Conflict,
    /// The epoch is quarantined.
    Quarantined,
    /// Same identity; too long ago to compare the bytes in memory.
    Unverified,
    /// An entry of the log that cannot be read.
    Entry,
    /// A detector configuration that does not parse.
    Detectors,
    /// Its catalogue does not fit the one the turbine's windows were made with.
    Incompatible,
    /// No loss: a [`LogicChange`], kept where everything is kept that is neither a result nor a reading.
    Logic,
    /// An operator's mark of an alert that is not open.
    Mark,
}

impl Reason {
    /// The stable code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Unbound => "unbound",
            Self::Oversized => "oversized",
            Self::Malformed => "malformed",
            Self::Version => "version",
            Self::Identity => "identity",
            Self::Catalogue => "catalogue",
            Self::Channel => "channel",
            Self::Stamps => "stamps",
            Self::Skew => "skew",
            Self::Conflict => "conflict",
            Self::Quarantined => "quarantined",
            Self::Unverified => "unverified",
            Self::Entry => "entry",
            Self::Detectors => "detectors",
            Self::Incompatible => "incompatible",
            Self::Logic => "logic",
            Self::Mark => "mark",
        }
    }
}

/// Another version of the logic took over a partition: the bytes of a dead letter with [`Reason::Logic`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogicChange {
    /// The version that made the outputs before.
    pub from: u32,
    /// The version that makes them from here on.
    pub to: u32,
    /// First input offset of the new version.
    pub position: u64,
}

impl LogicChange {
    /// JSON.
    pub fn encode(&self) -> Vec<u8> {
        json(self)
    }
    /// Reads [`LogicChange::encode`]'s bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, OutputError> {
        from_json("change of logic", bytes)
    }
}

/// What is known of bytes that did not count.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeadLetterMeta {
    /// Who could not accept it: `ingest` or `task`.
    pub stage: String,
    /// Why.
    pub reason: Reason,
    /// Why, for people: what was found and what was expected.
    pub detail: String,
    /// Who sent it, if known.
    pub gateway: Option<GatewayId>,
    /// Whose, if known.
    pub turbine: Option<TurbineId>,
    /// Which run, if known.
    #[serde(with = "hex_epoch")]
    pub epoch: Option<Epoch>,
    /// Which record, if known.
    pub seq: Option<Seq>,
    /// Readings in it, if it could be decoded.
    pub readings: Option<u64>,
    /// Of the bytes, as hexadecimal digits.
    pub sha256: String,
    /// The MQTT topic it came under; `None` from the task.
    pub mqtt_topic: Option<String>,
    /// Offset in the telemetry topic; `None` from ingest.
    pub position: Option<u64>,
    /// Log time of that entry; `None` from ingest.
    pub log_time: Option<LogTime>,
}

mod hex_epoch {
    //! An epoch as 32 hexadecimal digits in JSON.
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
    use windlass_shared::id::Epoch;

    #[allow(clippy::ref_option)] // serde passes a reference
    pub fn serialize<S: Serializer>(epoch: &Option<Epoch>, s: S) -> Result<S::Ok, S::Error> {
        epoch.map(|e| e.to_string()).serialize(s)
    }
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Epoch>, D::Error> {
        Option::<String>::deserialize(d)?
            .map(|s| s.parse().map_err(de::Error::custom))
            .transpose()
    }
}

/// Bytes that did not count, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeadLetter {
    /// What is known.
    pub meta: DeadLetterMeta,
    /// The bytes as they came, cut at `DEAD_LETTER_BYTES_MAX` of ingest.
    pub bytes: Vec<u8>,
}

impl DeadLetter {
    /// Identity, if all of it is known.
    pub fn id(&self) -> Option<RecordId> {
        Some(RecordId {
            turbine: self.meta.turbine.clone()?,
            epoch: self.meta.epoch?,
            seq: self.meta.seq?,
        })
    }

    /// [`DEAD_LETTER_MAGIC`], length of the JSON (u32 little-endian), the JSON, the bytes.
    pub fn encode(&self) -> Vec<u8> {
        let meta = json(&self.meta);
        let mut out = Vec::with_capacity(8 + meta.len() + self.bytes.len());
        out.extend_from_slice(&DEAD_LETTER_MAGIC);
        out.extend_from_slice(&(meta.len() as u32).to_le_bytes());
        out.extend_from_slice(&meta);
        out.extend_from_slice(&self.bytes);
        out
    }

    /// Reads [`DeadLetter::encode`]'s bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, OutputError> {
        let bad = |why: &str| OutputError {
            what: "dead letter",
            why: why.to_owned(),
        };
        let rest = bytes
            .strip_prefix(&DEAD_LETTER_MAGIC)
            .ok_or_else(|| bad("it does not begin with WLD1"))?;
        let (len, rest) = rest
            .split_first_chunk::<4>()
            .ok_or_else(|| bad("cut short"))?;
        let (meta, bytes) = rest
            .split_at_checked(u32::from_le_bytes(*len) as usize)
            .ok_or_else(|| bad("cut short"))?;
        Ok(Self {
            meta: from_json("dead letter", meta)?,
            bytes: bytes.to_vec(),
        })
    }
}

/// Hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(2 * bytes.len());
    for b in bytes {
        out.push(char::from(DIGITS[usize::from(b >> 4)]));
        out.push(char::from(DIGITS[usize::from(b & 15)]));
    }
    out
}
