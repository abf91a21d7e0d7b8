//! What the derived topics hold, as rows of their tables.
//!
//! Invariant: an entry that its topic should not hold stops the lake: it is the work of another version, and skipping it
//! would lose it.

use serde::Serialize;
use windlass_cloud_core::fleet::Fleet;
use windlass_cloud_core::output::{AlertEvent, DeadLetter, FeatureRow};
use windlass_shared::id::FarmId;
use windlass_shared::time::LogTime;

use super::LakeError;
use super::event::{Alerts, DeadLetters};
use super::feature::Features;
use super::file::DataFile;

/// The farm of rows whose turbine the fleet registry did not know.
pub const NO_FARM: &str = "unknown";

/// An entry with its place in the log.
#[derive(Debug)]
pub(super) struct Placed<T> {
    pub offset: u64,
    pub log_time: LogTime,
    pub value: T,
}

/// Rows of a cut of a derived topic.
#[derive(Debug)]
pub enum Derived {
    /// Window results.
    Features(Features),
    /// Alert events.
    Alerts(Alerts),
    /// Dead letters.
    DeadLetters(DeadLetters),
}

impl Derived {
    /// Takes an entry; the text says why it is none of this topic.
    pub fn add(&mut self, offset: u64, log_time: LogTime, value: &[u8]) -> Result<(), String> {
        match self {
            Self::Features(f) => f.rows.push(Placed {
                offset,
                log_time,
                value: FeatureRow::decode(value).map_err(|e| e.to_string())?,
            }),
            Self::Alerts(a) => a.rows.push(Placed {
                offset,
                log_time,
                value: AlertEvent::decode(value).map_err(|e| e.to_string())?,
            }),
            Self::DeadLetters(d) => d.rows.push(Placed {
                offset,
                log_time,
                value: DeadLetter::decode(value).map_err(|e| e.to_string())?,
            }),
        }
        Ok(())
    }

    /// The files, in the order of their paths.
    pub fn files(&mut self, fleet: &Fleet, file_name: &str) -> Result<Vec<DataFile>, LakeError> {
        match self {
            Self::Features(f) => f.files(fleet, file_name),
            Self::Alerts(a) => a.files(file_name),
            Self::DeadLetters(d) => d.files(file_name),
        }
    }
}

pub(super) fn farm_name(farm: Option<&FarmId>) -> String {
    farm.map_or_else(|| NO_FARM.to_owned(), ToString::to_string)
}

pub(super) fn text<T: Serialize>(value: &T) -> String {
    // plain data always serialises; an empty text would be seen
    serde_json::to_string(value).unwrap_or_default()
}
