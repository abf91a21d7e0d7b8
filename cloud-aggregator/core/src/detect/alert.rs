//! What a detector says: one event each time that an alert begins, changes its state or ends.
//!
//! Invariants: an alert's id and its episode's id never change; `revision` counts up with each event of an alert.

use serde::{Deserialize, Serialize};
use windlass_shared::id::{Epoch, FarmId, SeqRange, TurbineId};
use windlass_shared::pane::Sources;
use windlass_shared::time::{EventTime, LogTime};

use crate::output::OutputError;

/// Version of the alert event.
pub const ALERT_VERSION: u32 = 1;

/// How bad.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Look at it.
    Warning,
    /// Act.
    Alarm,
}

/// Which side of the normal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Above.
    High,
    /// Below.
    Low,
}

/// Where an alert stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// Raised on live data or on windows that are not settled.
    Provisional,
    /// A settled window says so.
    Confirmed,
    /// The settled windows say otherwise.
    Withdrawn,
    /// It was confirmed, and is over.
    Cleared,
    /// Its episode turned out to be part of an older one: see `merged_into`.
    Merged,
}

/// The evidence window.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AlertWindow {
    /// `1m`, `5m`, `10m`, or `live` for readings of a batch.
    pub kind: String,
    /// Start.
    pub start: EventTime,
    /// End, excluded.
    pub end: EventTime,
    /// Revision of the window's result; 0 for live.
    pub revision: u32,
}

/// Records of one epoch that an alert was raised on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Evidence {
    /// 32 hexadecimal digits.
    pub epoch: String,
    /// First and last seq, both included.
    pub seqs: Vec<(u64, u64)>,
}

impl Evidence {
    /// The sources of a window as an alert quotes them.
    pub fn of(sources: &Sources) -> Vec<Self> {
        let ranges = |r: &Vec<SeqRange>| r.iter().map(|r| (r.first.0, r.last.0)).collect();
        let one = |(epoch, seqs): &(Epoch, Vec<SeqRange>)| Self {
            epoch: epoch.to_string(),
            seqs: ranges(seqs),
        };
        sources.0.iter().map(one).collect()
    }
}

/// One event of an alert.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AlertEvent {
    /// [`ALERT_VERSION`].
    pub v: u32,
    /// Alert id: 32 hexadecimal digits.
    pub alert: String,
    /// Episode id: 32 hexadecimal digits.
    pub episode: String,
    /// The older episode that this one turned out to be part of.
    pub merged_into: Option<String>,
    /// Counts up from 1.
    pub revision: u32,
    /// Where it stands.
    pub state: AlertState,
    /// Whose.
    pub turbine: TurbineId,
    /// Where it stands.
    pub farm: Option<FarmId>,
    /// Rule id.
    pub rule: String,
    /// What the rule suspects; breaches of one cause merge into an episode.
    pub cause: String,
    /// How bad.
    pub level: Level,
    /// Which side.
    pub direction: Direction,
    /// Channel name; empty for alerts about the gateway itself.
    pub channel: String,
    /// Unit of `value` and `limit`.
    pub unit: String,
    /// What was seen, in the unit.
    pub value: f64,
    /// What it was held against, in the unit.
    pub limit: f64,
    /// Robust z-score, for rules that have one.
    pub score: Option<f64>,
    /// IEC 61400-26 state then, if known.
    pub operating_state: Option<i64>,
    /// First event time of the breach.
    pub first: EventTime,
    /// Last event time of the breach so far.
    pub last: EventTime,
    /// Evidence.
    pub window: AlertWindow,
    /// Records the evidence came from.
    pub sources: Vec<Evidence>,
    /// Version of the detector configuration.
    pub config_version: u64,
    /// Offset of the entry that made this event.
    pub position: u64,
    /// Log time of that entry.
    pub log_time: LogTime,
    /// For people.
    pub detail: String,
    /// Who has seen it; left out: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledged>,
    /// Who has put it aside; left out: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shelved: Option<Shelved>,
}

/// Somebody has seen an alert.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Acknowledged {
    /// Name as it was typed.
    pub by: String,
    /// Note as it was typed.
    pub note: String,
    /// Log time of the entry that says so.
    pub at: LogTime,
}

/// Somebody has put an alert aside.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Shelved {
    /// Name as it was typed.
    pub by: String,
    /// Note as it was typed.
    pub note: String,
    /// Log time of the entry that says so.
    pub at: LogTime,
    /// Log time when it comes back.
    pub until: LogTime,
}

impl AlertEvent {
    /// JSON.
    pub fn encode(&self) -> Vec<u8> {
        // plain structs of numbers and texts always serialise
        serde_json::to_vec(self).unwrap_or_default()
    }
    /// Reads [`AlertEvent::encode`]'s bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, OutputError> {
        serde_json::from_slice(bytes).map_err(|e| OutputError {
            what: "alert event",
            why: e.to_string(),
        })
    }
}
