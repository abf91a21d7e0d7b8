//! One simulated turbine: [`Turbine::step`] gives the raw values of every channel that is due.
//!
//! Invariants: what a turbine says at a time depends on the scenario, the seed, its name, the run's beginning and the
//! physics' step, and on nothing else: not on other turbines, threads, or how far apart the calls are.

use std::sync::Arc;

use windlass_shared::catalogue::{Catalogue, Raw};
use windlass_shared::id::{FarmId, TurbineId};
use windlass_shared::record::Quality;
use windlass_shared::time::EventTime;

use crate::channels::{Errors, Intervals, Plan, rounded, sample};
use crate::fault::Defect;
use crate::noise::{Normals, mix};
use crate::plant::Plant;
use crate::scenario::FaultKind;
use crate::signal::Signal;
use crate::statistic::Spread;

/// Noise of a noisy sensor at its worst, in thirds of what the sensor can tell apart; times the raw's own size.
const NOISY_RAWS: f64 = 30.0;

/// What is due at one time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Due<'a> {
    /// Event time of all of them.
    pub at: EventTime,
    /// Positions in the catalogue's channels. Whenever the same channels are due, the list is the same; on-change
    /// channels that changed come last.
    pub channels: &'a [u16],
    /// Raw value of each: a scaled integer, or the bits of an `f64` for a float channel.
    pub raw: &'a [i64],
    /// Those that are not good, by index into `channels`, ascending.
    pub bad: &'a [(u16, Quality)],
    /// How far the values of a ten-minute row lay apart, for each of `channels`; empty for moments.
    pub spreads: &'a [Option<Spread>],
}

/// A sensor that fails.
#[derive(Clone, Debug)]
pub(crate) struct SensorDefect {
    pub position: u16,
    pub defect: Defect,
    /// Key of its noise.
    pub key: u64,
    pub held: Option<i64>,
}

/// One simulated turbine.
#[derive(Clone, Debug)]
pub struct Turbine {
    pub(crate) id: TurbineId,
    pub(crate) farm: FarmId,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) plant: Plant,
    pub(crate) errors: Errors,
    pub(crate) intervals: Intervals,
    pub(crate) key: u64,
    pub(crate) sensors: Vec<SensorDefect>,
    pub(crate) last: Option<Box<[i64]>>,
    pub(crate) channels: Vec<u16>,
    pub(crate) raw: Vec<i64>,
    pub(crate) bad: Vec<(u16, Quality)>,
}

impl Turbine {
    /// Its name.
    pub fn id(&self) -> &TurbineId {
        &self.id
    }

    /// Its farm.
    pub fn farm(&self) -> &FarmId {
        &self.farm
    }

    /// Its channels.
    pub fn catalogue(&self) -> &Arc<Catalogue> {
        &self.catalogue
    }

    /// The first time at or after `at` at which a channel is due.
    pub fn next_due(&self, at: EventTime) -> EventTime {
        EventTime(self.plan.next_due(at.0))
    }

    /// Advances to `at` and reads every channel whose period's grid (aligned to 1970-01-01) has a point there.
    ///
    /// Times ascend from the run's beginning. Times between that nobody asks for are simulated all the same, so calls may
    /// be any distance apart; a time at which nothing is due gives an empty list. No allocation after the first calls.
    pub fn step(&mut self, at: EventTime) -> Due<'_> {
        self.advance(at);
        self.channels.clear();
        self.raw.clear();
        let told = (&mut self.channels, &mut self.raw);
        self.intervals.tell(&self.plan, at.0, told.0, told.1);
        sample(
            &self.plan,
            &self.errors,
            self.plant.normals(),
            self.plant.signals(),
            (at.0, self.key),
            &mut self.last,
            (&mut self.channels, &mut self.raw),
        );
        self.bad.clear();
        if !self.sensors.is_empty() {
            self.fail(at);
        }
        Due {
            at,
            channels: &self.channels,
            raw: &self.raw,
            bad: &self.bad,
            spreads: &[],
        }
    }

    /// Length of a step of its physics, microseconds.
    pub(crate) fn step_us(&self) -> i64 {
        self.plant.step_us()
    }

    /// Follows the physics; what the controller keeps of intervals, it keeps of each step.
    #[inline]
    pub(crate) fn advance(&mut self, to: EventTime) {
        if self.plan.intervals.is_empty() {
            return self.plant.advance(to.0);
        }
        let step = self.plant.step_us();
        loop {
            let at = self.plant.at_us();
            let (plan, plant) = (&self.plan, &self.plant);
            self.intervals.keep(
                (plan, &self.errors),
                plant.normals(),
                plant.signals(),
                (at, self.key),
            );
            if at + step > to.0 {
                break;
            }
            self.plant.advance(at + step);
        }
    }

    /// Advances without reading: on-change channels do not notice.
    pub fn skip_to(&mut self, at: EventTime) {
        self.advance(at);
    }

    /// A quantity of the plant as it is, without a sensor: what tests compare with.
    pub fn truth(&self, signal: Signal) -> f64 {
        self.plant.signals().get(signal)
    }

    /// Sensors that are stuck, noisy or dead.
    fn fail(&mut self, at: EventTime) {
        for sensor in &mut self.sensors {
            let severity = sensor.defect.severity(at);
            if severity <= 0.0 {
                sensor.held = None;
                continue;
            }
            let Some(i) = self.channels.iter().position(|p| *p == sensor.position) else {
                continue;
            };
            let raw = &mut self.raw[i];
            let channel = &self.catalogue.channels[usize::from(sensor.position)];
            match sensor.defect.kind {
                FaultKind::SensorStuck(_) => *raw = *sensor.held.get_or_insert(*raw),
                FaultKind::SensorNoisy(_) if channel.raw == Raw::Int => {
                    *raw += noisy(
                        *raw,
                        severity,
                        mix(sensor.key, at.0 as u64),
                        self.plant.normals(),
                    );
                }
                FaultKind::SensorDead(_) => {
                    *raw = 0;
                    self.bad.push((i as u16, Quality::NotANumber));
                }
                _ => {}
            }
        }
        self.bad.sort_unstable();
        self.bad.dedup();
    }
}

/// What a noisy sensor adds: a loose contact is worse than a few steps, and worse on large values.
fn noisy(raw: i64, severity: f64, bits: u64, normals: &Normals) -> i64 {
    let sigma = severity * (NOISY_RAWS + 0.05 * raw.abs() as f64);
    rounded(sigma * normals.at(bits))
}
