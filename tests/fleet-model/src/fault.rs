//! Faults of one turbine: how far each has grown, and what the machine feels of all of them.
//!
//! Invariant: severity is a function of time, of the onset and of when it was mended; it is 1 when the machine trips.

use serde::Serialize;
use windlass_shared::time::EventTime;

use crate::scenario::{FaultKind, Stage};

/// A fault of one turbine.
#[derive(Clone, PartialEq, Debug)]
pub struct Defect {
    /// What.
    pub kind: FaultKind,
    /// First sign.
    pub since: EventTime,
    /// Severity is 1 then.
    pub ripe: EventTime,
    /// Somebody mends it then, tripped or not.
    pub until: EventTime,
    /// Severity is the part of the way from `since` to `ripe`, to this power.
    pub exponent: f64,
    /// From the trip to the mended machine, microseconds.
    pub repair_us: i64,
    /// Is it to be found? `None`: when it is ripe.
    pub expect: Option<bool>,
}

impl Defect {
    /// 0 to 1.
    pub fn severity(&self, at: EventTime) -> f64 {
        if at < self.since || at >= self.until {
            return 0.0;
        }
        let part = (at.0 - self.since.0 + 1) as f64 / (self.ripe.0 - self.since.0).max(1) as f64;
        if part >= 1.0 {
            1.0
        } else {
            libm::pow(part, self.exponent)
        }
    }

    /// The alarm code with which the machine trips; `None`: it runs on.
    pub fn trip_code(&self) -> Option<u16> {
        Some(match self.kind {
            FaultKind::BearingInner(_) | FaultKind::BearingOuter(_) => codes::GEARBOX_VIBRATION,
            FaultKind::CoolerClogging => codes::GEAR_OIL_HOT,
            FaultKind::WindingOverheating(_) => codes::WINDING_HOT,
            FaultKind::PitchDrift(_) => codes::PITCH_ENCODER,
            FaultKind::PitchAsymmetry(_) => codes::PITCH_ASYMMETRY,
            FaultKind::HydraulicLeak => codes::HYDRAULIC_LOW,
            FaultKind::YawMisalignment(_)
            | FaultKind::SensorStuck(_)
            | FaultKind::SensorNoisy(_)
            | FaultKind::SensorDead(_) => return None,
        })
    }

    /// When it trips a machine that runs then; `None`: never, or it is mended before.
    pub fn expected_trip(&self) -> Option<EventTime> {
        self.trip_code()?;
        (self.ripe < self.until).then_some(self.ripe)
    }

    /// Where, for the ground truth.
    pub fn part(&self) -> String {
        let stage = |s: Stage| match s {
            Stage::Planet => "gearbox_planet_bearing",
            Stage::Intermediate => "gearbox_intermediate_bearing",
            Stage::HighSpeed => "gearbox_high_speed_bearing",
        };
        match &self.kind {
            FaultKind::BearingInner(s) => format!("{}_inner_race", stage(*s)),
            FaultKind::BearingOuter(s) => format!("{}_outer_race", stage(*s)),
            FaultKind::CoolerClogging => "gearbox_oil_cooler".into(),
            FaultKind::WindingOverheating(p) => {
                format!("generator_winding_{}", ["u", "v", "w"][*p % 3])
            }
            FaultKind::PitchDrift(b) => format!("pitch_encoder_{}", b + 1),
            FaultKind::PitchAsymmetry(b) => format!("blade_{}", b + 1),
            FaultKind::YawMisalignment(_) => "wind_vane".into(),
            FaultKind::HydraulicLeak => "hydraulics".into(),
            FaultKind::SensorStuck(c) | FaultKind::SensorNoisy(c) | FaultKind::SensorDead(c) => {
                c.clone()
            }
        }
    }
}

/// Alarm codes.
pub mod codes {
    /// No wind to speak of; information.
    pub const LOW_WIND: u16 = 101;
    /// Wind above cut-out; information.
    pub const HIGH_WIND: u16 = 102;
    /// The nacelle untwists its cables; information.
    pub const CABLE_UNTWIST: u16 = 103;
    /// Somebody asked it to stop.
    pub const REQUESTED_STOP: u16 = 110;
    /// Service switch on.
    pub const SERVICE: u16 = 111;
    /// Ice on the blades: stopped.
    pub const ICE: u16 = 120;
    /// Grid lost.
    pub const GRID_LOST: u16 = 130;
    /// It runs with less power because something is hot; warning.
    pub const THERMAL_DERATE: u16 = 210;
    /// Gear oil too hot.
    pub const GEAR_OIL_HOT: u16 = 310;
    /// Gearbox vibration.
    pub const GEARBOX_VIBRATION: u16 = 320;
    /// Winding too hot.
    pub const WINDING_HOT: u16 = 330;
    /// Encoders of a blade disagree.
    pub const PITCH_ENCODER: u16 = 340;
    /// Blades at different angles.
    pub const PITCH_ASYMMETRY: u16 = 341;
    /// Hydraulic pressure too low.
    pub const HYDRAULIC_LOW: u16 = 350;
}

/// What the machine feels of its faults.
#[derive(Clone, Copy, Default, Debug)]
pub struct Damage {
    /// Bearings by stage: inner race.
    pub inner: [f64; 3],
    /// Bearings by stage: outer race.
    pub outer: [f64; 3],
    /// Cooler.
    pub clogging: f64,
    /// Windings u, v, w.
    pub winding: [f64; 3],
    /// What the encoders of the blades show too much, degrees.
    pub pitch_drift: [f64; 3],
    /// How far the blades really stand off, degrees.
    pub pitch_off: [f64; 3],
    /// What the vane shows too much, degrees.
    pub vane_off: f64,
    /// Hydraulic oil lost, 0 to 1.
    pub leak: f64,
}

impl Damage {
    /// Of defects at their severities.
    pub fn add(&mut self, kind: &FaultKind, severity: f64) {
        match kind {
            FaultKind::BearingInner(s) => self.inner[*s as usize] += severity,
            FaultKind::BearingOuter(s) => self.outer[*s as usize] += severity,
            FaultKind::CoolerClogging => self.clogging += severity,
            FaultKind::WindingOverheating(p) => self.winding[*p % 3] += severity,
            FaultKind::PitchDrift(b) => self.pitch_drift[*b % 3] += 3.0 * severity,
            FaultKind::PitchAsymmetry(b) => self.pitch_off[*b % 3] += 4.0 * severity,
            FaultKind::YawMisalignment(angle) => self.vane_off += angle * severity,
            FaultKind::HydraulicLeak => self.leak += severity,
            FaultKind::SensorStuck(_) | FaultKind::SensorNoisy(_) | FaultKind::SensorDead(_) => {}
        }
    }
}

/// One line of the ground truth.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Truth {
    /// Whose.
    pub turbine: String,
    /// Its farm.
    pub farm: String,
    /// Kind, as in the scenario.
    pub kind: &'static str,
    /// Which part.
    pub part: String,
    /// First sign, microseconds since 1970.
    pub since_us: i64,
    /// First sign, RFC 3339.
    pub since: String,
    /// Severity is 1 from then on.
    pub ripe_us: i64,
    /// When it trips a machine that runs then.
    pub expected_trip_us: Option<i64>,
    /// The same, RFC 3339.
    pub expected_trip: Option<String>,
    /// With which alarm code.
    pub trip_code: Option<u16>,
    /// When it is mended though it has not tripped.
    pub mended_us: Option<i64>,
    /// Severity is (time / growth) to this power.
    pub exponent: f64,
    /// Whether the scenario says that a run must find it, or need not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<bool>,
}
