//! A cut in the making: entries of one topic's partition become files.
//!
//! Invariant: what [`CutBuilder::finish`] gives is a function of the state it began with and of the entries taken.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use windlass_cloud_core::cut::{Cut, CutSettings, Cutter, Dedupe, Taken};
use windlass_cloud_core::fleet::Fleet;
use windlass_cloud_core::task::LogInput;
use windlass_cloud_core::topic::Topic;
use windlass_shared::id::TurbineId;
use windlass_shared::record::Body;
use windlass_shared::time::LogTime;

use super::LakeError;
use super::derived::{Derived, NO_FARM};
use super::event::{Alerts, DeadLetters};
use super::evidence::Evidence;
use super::feature::Features;
use super::file::DataFile;
use super::marker::Series;
use super::reading::{Origin, Readings};

/// Version of the saved state.
const STATE_VERSION: u32 = 1;

/// What the next cut goes on from.
#[derive(Serialize, Deserialize)]
struct State {
    version: u32,
    settings: CutSettings,
    cutter: Cutter,
    dedupe: Dedupe,
}

#[derive(Debug)]
enum Content {
    Telemetry(Box<Telemetry>),
    Derived(Derived),
}

#[derive(Debug, Default)]
struct Telemetry {
    evidence: Evidence,
    readings: Readings,
}

/// A cut in the making.
#[derive(Debug)]
pub struct CutBuilder {
    settings: CutSettings,
    cutter: Cutter,
    dedupe: Dedupe,
    content: Content,
    entries: u64,
    log_time: LogTime,
}

/// A cut whose files are ready to be put.
#[derive(Debug)]
pub struct ReadyCut {
    /// Its entries.
    pub cut: Cut,
    /// How many.
    pub entries: u64,
    /// The log's time at its end.
    pub log_time: LogTime,
    /// Its files.
    pub files: Vec<DataFile>,
    /// The state after it.
    pub state: Vec<u8>,
}

impl CutBuilder {
    /// At the beginning of `topic`'s partition; `None` for topics that the lake does not keep.
    pub fn new(topic: Topic, settings: CutSettings) -> Option<Self> {
        let content = Content::of(topic)?;
        Some(Self {
            cutter: Cutter::new(settings.clone()),
            settings,
            dedupe: Dedupe::default(),
            content,
            entries: 0,
            log_time: LogTime::MIN,
        })
    }

    /// After a committed cut, from its state.
    pub fn restore(topic: Topic, settings: CutSettings, state: &[u8]) -> Result<Self, String> {
        let state: State = postcard::from_bytes(state).map_err(|e| e.to_string())?;
        if state.version != STATE_VERSION {
            return Err(format!("version {}", state.version));
        }
        let content = Content::of(topic).ok_or("a topic that the lake does not keep")?;
        // other settings: from here on a cut ends elsewhere, and log time begins anew with the next entry
        let cutter = if state.settings == settings {
            state.cutter
        } else {
            Cutter::new(settings.clone())
        };
        Ok(Self {
            settings,
            cutter,
            dedupe: state.dedupe,
            content,
            entries: 0,
            log_time: LogTime::MIN,
        })
    }

    /// What a committed cut's state knows of every turbine's records.
    pub fn dedupe(state: &[u8]) -> Result<Dedupe, String> {
        let state: State = postcard::from_bytes(state).map_err(|e| e.to_string())?;
        if state.version != STATE_VERSION {
            return Err(format!("version {}", state.version));
        }
        Ok(state.dedupe)
    }

    /// No entry taken since the last cut?
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Log time of the last entry taken; [`LogTime::MIN`] before the first since the last recovery.
    pub fn log_time(&self) -> LogTime {
        self.log_time
    }

    /// Does the open cut end before this entry?
    pub fn ends_before(&self, input: &LogInput) -> bool {
        let full = matches!(&self.content, Content::Telemetry(t) if t.readings.is_full());
        !self.is_empty() && (full || self.cutter.ends_before(input))
    }

    /// Takes the next entry.
    pub fn take(
        &mut self,
        fleet: &Fleet,
        skew_max_us: i64,
        series: &Series,
        input: &LogInput,
    ) -> Result<(), LakeError> {
        let log_time = self.cutter.take(input);
        match &mut self.content {
            Content::Telemetry(t) => {
                let taken = self.dedupe.take(fleet, skew_max_us, input, log_time);
                t.evidence.add(input, log_time, &taken);
                if let Taken::Fresh { record, bytes, .. } = &taken
                    && let Body::Batch(_) | Body::Untimed(_) = &record.body
                {
                    let id = &record.header.id;
                    let farm = farm_of(fleet, &id.turbine);
                    let origin = Origin {
                        turbine: &id.turbine,
                        farm,
                        epoch: id.epoch,
                        seq: id.seq,
                        log_time,
                        offset: input.offset,
                    };
                    t.readings.add(&origin, &record.body, Arc::clone(bytes));
                }
            }
            Content::Derived(derived) => {
                derived
                    .add(input.offset, log_time, input.value)
                    .map_err(|found| LakeError::Damaged {
                        path: format!("log entry {}@{}", series.name(), input.offset),
                        what: "its form",
                        expected: "what this version writes to the topic".to_owned(),
                        found,
                    })?;
            }
        }
        self.entries += 1;
        self.log_time = log_time;
        Ok(())
    }

    /// Ends the cut: its files, whose names hold its ends (`first` is the position it begins at). `None` when it is empty.
    pub fn finish(
        &mut self,
        fleet: &Fleet,
        series: &Series,
        first: u64,
    ) -> Result<Option<ReadyCut>, LakeError> {
        let Some(cut) = self.cutter.close() else {
            return Ok(None);
        };
        let name = series.file_name(first, cut.last);
        let files = match &mut self.content {
            Content::Telemetry(t) => {
                let mut files = t.evidence.files(&name)?;
                files.extend(t.readings.files(fleet, &name)?);
                **t = Telemetry::default();
                files
            }
            Content::Derived(derived) => derived.files(fleet, &name)?,
        };
        let state = State {
            version: STATE_VERSION,
            settings: self.settings.clone(),
            cutter: self.cutter.clone(),
            dedupe: self.dedupe.clone(),
        };
        let state = postcard::to_stdvec(&state).map_err(|e| LakeError::Damaged {
            path: series.name(),
            what: "the state",
            expected: "plain data".to_owned(),
            found: e.to_string(),
        })?;
        Ok(Some(ReadyCut {
            cut: Cut { first, ..cut },
            entries: std::mem::take(&mut self.entries),
            log_time: self.log_time,
            files,
            state,
        }))
    }
}

/// Where a turbine stands, as a folder name.
fn farm_of<'a>(fleet: &'a Fleet, turbine: &TurbineId) -> &'a str {
    fleet.binding(turbine).map_or(NO_FARM, |b| b.farm.as_str())
}

impl Content {
    fn of(topic: Topic) -> Option<Self> {
        match topic {
            Topic::Telemetry => Some(Self::Telemetry(Box::default())),
            Topic::Features => Some(Self::Derived(Derived::Features(Features::default()))),
            Topic::Alerts => Some(Self::Derived(Derived::Alerts(Alerts::default()))),
            Topic::DeadLetter => Some(Self::Derived(Derived::DeadLetters(DeadLetters::default()))),
            Topic::Status | Topic::Downlink => None,
        }
    }
}
