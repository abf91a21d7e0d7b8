//! The task of one partition: a pure state machine from the telemetry topic to everything derived from it.
//!
//! Invariants: outputs are a function of the entries from offset 0 on, for one [`LOGIC_VERSION`]; nothing depends on where
//! a transaction ends or a snapshot was taken; the only clock is log time.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use windlass_shared::id::{GatewayId, TurbineId};
use windlass_shared::time::{LogTime, SECOND_US, WallTime};
use windlass_shared::window::WindowSettings;
use windlass_shared::wire::{self, Control, Logged};

use crate::admit::stamps_max;
use crate::detect::{Detectors, Plans};
use crate::fleet::Fleet;
use crate::logtime::LogClock;
use crate::output::{LogicChange, Reason};
use crate::topic::Topic;

mod dead;
mod marks;
mod order;
mod resend;
mod snapshot;
mod status;
mod turbine;
mod view;

pub use snapshot::RestoreError;
pub(crate) use status::Live;
use turbine::{Moment, Turbine};

/// Version of the logic: another number may give other bytes for the same log.
pub const LOGIC_VERSION: u32 = 4;

/// One entry of the telemetry topic as it lies in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogInput<'a> {
    /// Its offset in the partition.
    pub offset: u64,
    /// Append time as the writer stamped it.
    pub log_time: WallTime,
    /// Which writer (process) appended it.
    pub writer: u32,
    /// Its key: the turbine, or empty for entries of the whole partition.
    pub key: &'a str,
    /// Its bytes: `Logged`.
    pub value: &'a [u8],
}

/// One entry to append to another topic, same partition number unless it is [`Topic::Downlink`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TaskOutput {
    /// Where to.
    pub topic: Topic,
    /// The turbine; for [`Topic::Downlink`] the gateway.
    pub key: String,
    /// See the topic.
    pub bytes: Vec<u8>,
}

/// Limits and waits that are part of the logic.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TaskSettings {
    /// Windows.
    pub windows: WindowSettings,
    /// Stamps may be ahead of log time by this much, microseconds.
    pub skew_max_us: i64,
    /// A hole is asked for after this much log time without progress, microseconds; then after twice that, and so on. An
    /// order to begin a new epoch is given again after the same waits.
    pub resend_wait_us: i64,
    /// Longest such wait, microseconds.
    pub resend_wait_max_us: i64,
    /// Ranges in one request.
    pub resend_ranges_max: usize,
    /// Log time between two status documents of one turbine, microseconds.
    pub status_every_us: i64,
}

impl Default for TaskSettings {
    fn default() -> Self {
        Self {
            windows: WindowSettings::default(),
            skew_max_us: 300 * SECOND_US,
            resend_wait_us: 60 * SECOND_US,
            resend_wait_max_us: 3_600 * SECOND_US,
            resend_ranges_max: 16,
            status_every_us: SECOND_US / 5,
        }
    }
}

/// A detector configuration as it came through the log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Config {
    version: u64,
    toml: String,
}

/// What a snapshot holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    settings: Arc<TaskSettings>,
    clock: LogClock,
    position: u64,
    hash: [u8; 32],
    config: Option<Arc<Config>>,
    /// Shared with clones until it changes, so that a clone of the partition is cheap.
    turbines: BTreeMap<TurbineId, Arc<Turbine>>,
}

/// The state of one partition.
#[derive(Clone, Debug)]
pub struct Partition {
    state: State,
    fleet: Arc<Fleet>,
    plans: Plans,
}

impl Partition {
    /// Before the first entry.
    pub fn new(settings: Arc<TaskSettings>, fleet: Arc<Fleet>) -> Self {
        Self {
            state: State {
                settings,
                clock: LogClock::default(),
                position: 0,
                hash: [0; 32],
                config: None,
                turbines: BTreeMap::new(),
            },
            plans: Plans::new(Arc::new(Detectors::default()), &fleet),
            fleet,
        }
    }

    /// Takes the next entry and appends what follows from it to `out`.
    ///
    /// # Panics
    /// When the offset is one that was applied before: going on would count twice.
    pub fn apply(&mut self, input: &LogInput, out: &mut Vec<TaskOutput>) {
        assert!(
            input.offset >= self.state.position,
            "offset {} applied again, expected {} or later",
            input.offset,
            self.state.position
        );
        let from = out.len();
        let now = self.state.clock.advance(input.log_time, input.writer);
        match wire::decode_logged(input.value) {
            Ok(Logged::Telemetry { gateway, record }) => {
                self.telemetry(input, now, &gateway, &record, out);
            }
            Ok(Logged::Control(control)) => self.control(input, now, control, out),
            Err(e) => out.push(dead::entry(
                input,
                now,
                None,
                Reason::Entry,
                e.to_string(),
                input.value,
            )),
        }
        self.state.position = input.offset + 1;
        for output in &out[from..] {
            self.state.hash = chain(&self.state.hash, output);
        }
    }

    fn telemetry(
        &mut self,
        input: &LogInput,
        now: LogTime,
        gateway: &GatewayId,
        bytes: &[u8],
        out: &mut Vec<TaskOutput>,
    ) {
        let record = match wire::decode(bytes) {
            Ok(record) => record,
            Err(e) => {
                let detail = e.to_string();
                let reason = Reason::Malformed;
                out.push(dead::entry(
                    input,
                    now,
                    Some(gateway),
                    reason,
                    detail,
                    bytes,
                ));
                return;
            }
        };
        let hash = wire::hash(bytes);
        let id = record.header.id.turbine.clone();
        let (turbine, moment) = self.turbine(&id, gateway, input, now);
        turbine.record(&moment, &record, &hash, bytes, out);
    }

    fn control(
        &mut self,
        input: &LogInput,
        now: LogTime,
        control: Control,
        out: &mut Vec<TaskOutput>,
    ) {
        match control {
            Control::Tick => self.each_turbine(input, now, |id, turbine, moment| {
                if !turbine.rests(moment) {
                    Arc::make_mut(turbine).tick(id, moment, out);
                }
            }),
            Control::Refused(refused) => {
                let (turbine, moment) =
                    self.turbine(&refused.id.turbine, &refused.gateway, input, now);
                turbine.refused(&moment, &refused, out);
            }
            Control::Mark(mark) => self.mark(input, now, &mark, out),
            Control::DetectorConfig { version, toml } => {
                match Detectors::parse("detectors", &toml) {
                    Ok(detectors) => self.configure(input, now, version, toml, detectors, out),
                    Err(e) => out.push(dead::entry(
                        input,
                        now,
                        None,
                        Reason::Detectors,
                        e.to_string(),
                        toml.as_bytes(),
                    )),
                }
            }
        }
    }

    fn mark(
        &mut self,
        input: &LogInput,
        now: LogTime,
        mark: &wire::Mark,
        out: &mut Vec<TaskOutput>,
    ) {
        let known = self.state.turbines.get(&mark.turbine);
        let taken = known.map(|t| t.gateway.clone()).is_some_and(|gateway| {
            let (turbine, moment) = self.turbine(&mark.turbine, &gateway, input, now);
            turbine.mark(&moment, mark, out)
        });
        if !taken {
            let detail = format!("alert {} of {} is not open", mark.alert, mark.turbine);
            let reason = Reason::Mark;
            out.push(dead::entry(input, now, None, reason, detail, input.value));
        }
    }

    fn configure(
        &mut self,
        input: &LogInput,
        now: LogTime,
        version: u64,
        toml: String,
        detectors: Detectors,
        out: &mut Vec<TaskOutput>,
    ) {
        let plans = Plans::new(Arc::new(detectors), &self.fleet);
        let before = std::mem::replace(&mut self.plans, plans);
        self.state.config = Some(Arc::new(Config { version, toml }));
        self.each_turbine(input, now, |id, turbine, moment| {
            Arc::make_mut(turbine).reconfigure(id, moment, before.detectors(), out);
        });
    }

    /// The turbine, made when it is new, and everything it may look at.
    fn turbine<'a>(
        &'a mut self,
        id: &TurbineId,
        gateway: &GatewayId,
        input: &LogInput,
        now: LogTime,
    ) -> (&'a mut Turbine, Moment<'a>) {
        let Self {
            state,
            fleet,
            plans,
        } = self;
        let turbines = &mut state.turbines;
        if !turbines.contains_key(id) {
            let farm = fleet.binding(id).map(|b| b.farm.clone());
            let new = Turbine::new(gateway.clone(), farm, plans.detectors());
            turbines.insert(id.clone(), Arc::new(new));
        }
        let Some(slot) = turbines.get_mut(id) else {
            unreachable!("it was inserted above")
        };
        let turbine = Arc::make_mut(slot);
        if turbine.gateway != *gateway {
            turbine.gateway = gateway.clone();
        }
        let moment = Moment {
            offset: input.offset,
            now,
            stamps_max: stamps_max(now, input.log_time, state.settings.skew_max_us),
            settings: &state.settings,
            fleet,
            plans,
            config_version: state.config.as_ref().map_or(0, |c| c.version),
        };
        (turbine, moment)
    }

    fn each_turbine(
        &mut self,
        input: &LogInput,
        now: LogTime,
        mut f: impl FnMut(&TurbineId, &mut Arc<Turbine>, &Moment),
    ) {
        let state = &mut self.state;
        let moment = Moment {
            offset: input.offset,
            now,
            stamps_max: stamps_max(now, input.log_time, state.settings.skew_max_us),
            settings: &state.settings,
            fleet: &self.fleet,
            plans: &self.plans,
            config_version: state.config.as_ref().map_or(0, |c| c.version),
        };
        for (id, turbine) in &mut state.turbines {
            f(id, turbine, &moment);
        }
    }

    /// The chain goes on from here: what was committed counts, not what a replay by another version of the logic made.
    pub(crate) fn resume_hash(&mut self, hash: [u8; 32]) {
        self.state.hash = hash;
    }

    /// Says among the outputs that another version of the logic has taken over.
    pub(crate) fn announce(&mut self, change: &LogicChange, out: &mut Vec<TaskOutput>) {
        let output = dead::logic(change, self.state.clock.now());
        self.state.hash = chain(&self.state.hash, &output);
        out.push(output);
    }

    /// SHA-256 chain over all outputs so far.
    pub fn output_hash(&self) -> [u8; 32] {
        self.state.hash
    }

    /// Offset of the next entry to apply.
    pub fn position(&self) -> u64 {
        self.state.position
    }

    /// Log time after the last entry; [`LogTime::MIN`] before the first.
    pub fn log_time(&self) -> LogTime {
        self.state.clock.now()
    }

    /// Version and text of the detector configuration in force; `None`: none yet. When the file's differs, append a
    /// `Control::DetectorConfig` to each partition.
    pub fn detectors(&self) -> Option<(u64, &str)> {
        let config = self.state.config.as_ref()?;
        Some((config.version, &config.toml))
    }

    /// The settings in force (a restored state keeps the ones it was made with until [`Partition::adopt`]).
    pub fn settings(&self) -> &TaskSettings {
        &self.state.settings
    }

    /// How many turbines it knows.
    pub fn turbines(&self) -> usize {
        self.state.turbines.len()
    }

    /// Takes new settings and the fleet's present farms into force, and says whether anything changed. Call it after
    /// recovery has caught up; when it says true, write a snapshot before the next output is committed, so that no replay
    /// ever spans the change.
    pub fn adopt(&mut self, settings: Arc<TaskSettings>, fleet: Arc<Fleet>) -> bool {
        let mut changed = *settings != *self.state.settings;
        self.state.settings = settings;
        self.plans = Plans::new(self.plans.detectors().clone(), &fleet);
        for (id, turbine) in &mut self.state.turbines {
            let farm = fleet.binding(id).map(|b| b.farm.clone());
            if turbine.farm != farm {
                Arc::make_mut(turbine).farm = farm;
                changed = true;
            }
        }
        self.fleet = fleet;
        changed
    }
}

/// The chain over outputs: each one by itself, so that it does not matter how they are batched.
fn chain(before: &[u8; 32], output: &TaskOutput) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(before);
    for part in [
        output.topic.as_str().as_bytes(),
        output.key.as_bytes(),
        &output.bytes,
    ] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
