//! Scenarios: which farms, what is done with them, what breaks, and what happens to the machines and networks around them.
//!
//! ```toml
//! name = "example"
//! seed = 1
//! [[farm]]
//! id = "NORD"
//! zone = "Europe/Berlin"
//! profile = "onshore-3mw"
//! turbines = 12                      # NORD01 to NORD12; prefix = "N" names them N01 to N12
//! turbines_per_gateway = 4           # where real agents run
//! layout = { columns = 4, spacing_m = 560, row_spacing_m = 700, bearing_deg = 250 }
//! climate = { mean_wind_ms = 7.8, prevailing_deg = 240 }
//! [[operation]]                      # curtailment, derate, service, stop, trip, icing, grid_fault
//! kind = "curtailment"
//! farm = "NORD"                      # or turbine = "NORD03", or random = 2 with or without a farm
//! from = "36h"                       # after the beginning, or a time such as 2026-01-03T10:00:00Z
//! to = "38h"
//! setpoint_kw = 1500
//! source = "grid_operator"
//! [[fault]]                          # gearbox_bearing_inner, oil_cooler_clogging, sensor_stuck, ...
//! kind = "gearbox_bearing_inner"
//! random = 2
//! from = "3d"
//! growth = "40d"                     # from the first sign to the trip
//! [[disturbance]]                    # link_cut, broker_restart, agent_killed, clock_1970, ...
//! kind = "link_cut"
//! farm = "NORD"
//! from = "2h"
//! to = "5h"
//! ```
//! Disturbances are data: whoever runs real processes executes them.
//!
//! Invariant: a [`Scenario`] that [`Scenario::parse`] gives names only farms and turbines that it has, and every
//! mistake of a file is told at once with its key, what was found and what was expected.

use windlass_shared::id::{FarmId, TurbineId};
use windlass_shared::settings::Problems;

use crate::moment::Moment;

mod check;
mod raw;
mod shape;

/// A whole scenario.
#[derive(Clone, PartialEq, Debug)]
pub struct Scenario {
    /// What it is called.
    pub name: String,
    /// Seed, unless the caller gives another.
    pub seed: u64,
    /// In the order of the file.
    pub farms: Vec<Farm>,
    /// What is asked of turbines, and what the weather and the grid do to them.
    pub operations: Vec<Operation>,
    /// What breaks.
    pub faults: Vec<Fault>,
    /// What happens to networks and machines; executed elsewhere.
    pub disturbances: Vec<Disturbance>,
}

impl Scenario {
    /// Reads one; `file` is only for the message.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        check::read(file, text)
    }
}

/// A farm.
#[derive(Clone, PartialEq, Debug)]
pub struct Farm {
    /// Name.
    pub id: FarmId,
    /// IANA time zone.
    pub zone: String,
    /// Channel profile.
    pub profile: String,
    /// Its turbines, in the order of the layout.
    pub turbines: Vec<TurbineId>,
    /// How many of them share a gateway, in their order.
    pub turbines_per_gateway: usize,
    /// Where each stands, metres east and north.
    pub positions: Vec<(f64, f64)>,
    /// Its weather.
    pub climate: Climate,
}

/// Weather of a farm over the years.
#[derive(Clone, Copy, PartialEq, Debug, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Climate {
    /// Mean wind speed at the hub, m/s.
    pub mean_wind_ms: f64,
    /// Where the wind mostly comes from, degrees.
    pub prevailing_deg: f64,
    /// Turbulence intensity of the free wind.
    pub turbulence: f64,
    /// Mean temperature, degrees Celsius.
    pub mean_temperature_c: f64,
    /// Half of the difference between July and January, kelvin.
    pub seasonal_k: f64,
    /// Half of the difference between day and night, kelvin.
    pub diurnal_k: f64,
    /// Height above the sea, metres.
    pub altitude_m: f64,
    /// Solar noon, hours UTC.
    pub noon_utc_h: f64,
}

impl Default for Climate {
    fn default() -> Self {
        Self {
            mean_wind_ms: 8.0,
            prevailing_deg: 240.0,
            turbulence: 0.11,
            mean_temperature_c: 9.0,
            seasonal_k: 9.0,
            diurnal_k: 4.0,
            altitude_m: 150.0,
            noon_utc_h: 11.5,
        }
    }
}

/// Whom an entry is about.
#[derive(Clone, PartialEq, Debug)]
pub enum Target {
    /// One turbine.
    Turbine(TurbineId),
    /// Every turbine of a farm.
    Farm(FarmId),
    /// So many, drawn with the seed, of a farm or of the fleet.
    Random(usize, Option<FarmId>),
    /// Every turbine.
    Fleet,
}

/// What is done with turbines for a while.
#[derive(Clone, PartialEq, Debug)]
pub struct Operation {
    /// With whom.
    pub target: Target,
    /// From when.
    pub from: Moment,
    /// Until when.
    pub to: Moment,
    /// What.
    pub action: Action,
}

/// Who asks for less power; the codes of `active_power_setpoint_source`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Requester {
    /// The farm controller.
    FarmController = 2,
    /// The grid operator.
    GridOperator = 3,
    /// An operator.
    Operator = 4,
}

/// What an operation does.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Action {
    /// Requested: no more than this power.
    Curtailment {
        /// Setpoint, kW.
        setpoint_kw: f64,
        /// Who asked.
        source: Requester,
        /// Code of `curtailment_reason`: 1 grid, 2 market, 3 noise, 4 bats, 5 shadow.
        reason: u8,
    },
    /// An internal cause: no more than this power.
    Derate {
        /// Limit, kW.
        limit_kw: f64,
    },
    /// People are in the turbine: scheduled maintenance.
    Service,
    /// Somebody asked it to stop.
    Stop,
    /// The machine tripped, and is reset at the end.
    Trip {
        /// Alarm code.
        code: u16,
    },
    /// Ice on the blades.
    Icing {
        /// 0 to 1; from [`crate::control::ICE_STOP`] on it does not run.
        severity: f64,
    },
    /// The grid is gone.
    GridFault,
}

/// What breaks.
#[derive(Clone, PartialEq, Debug)]
pub struct Fault {
    /// Where.
    pub target: Target,
    /// When it begins.
    pub from: Moment,
    /// When somebody mends it, if before it trips.
    pub until: Option<Moment>,
    /// From the first sign to the trip, microseconds.
    pub growth_us: i64,
    /// Severity is (time / growth) to this power: spalling is slow, then fast.
    pub exponent: f64,
    /// From the trip to the mended machine, microseconds.
    pub repair_us: i64,
    /// What.
    pub kind: FaultKind,
}

/// A stage of the gearbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Planetary stage.
    Planet,
    /// Intermediate shaft.
    Intermediate,
    /// High-speed shaft.
    HighSpeed,
}

/// Kinds of faults.
#[derive(Clone, PartialEq, Debug)]
pub enum FaultKind {
    /// Inner race of a gearbox bearing.
    BearingInner(Stage),
    /// Outer race of a gearbox bearing.
    BearingOuter(Stage),
    /// The oil cooler lets less and less through.
    CoolerClogging,
    /// A generator winding (0 to 2) gets too hot.
    WindingOverheating(usize),
    /// A blade's (0 to 2) encoder drifts.
    PitchDrift(usize),
    /// A blade (0 to 2) stands off the others.
    PitchAsymmetry(usize),
    /// The vane is off by this angle when it is at its worst, degrees.
    YawMisalignment(f64),
    /// Hydraulic oil is lost.
    HydraulicLeak,
    /// The sensor of a channel says what it said.
    SensorStuck(String),
    /// The sensor of a channel gets noisier.
    SensorNoisy(String),
    /// The sensor of a channel gives no number.
    SensorDead(String),
}

impl FaultKind {
    /// As in scenario files and in the ground truth.
    pub fn name(&self) -> &'static str {
        match self {
            Self::BearingInner(_) => "gearbox_bearing_inner",
            Self::BearingOuter(_) => "gearbox_bearing_outer",
            Self::CoolerClogging => "oil_cooler_clogging",
            Self::WindingOverheating(_) => "winding_overheating",
            Self::PitchDrift(_) => "pitch_drift",
            Self::PitchAsymmetry(_) => "pitch_asymmetry",
            Self::YawMisalignment(_) => "yaw_misalignment",
            Self::HydraulicLeak => "hydraulic_leak",
            Self::SensorStuck(_) => "sensor_stuck",
            Self::SensorNoisy(_) => "sensor_noisy",
            Self::SensorDead(_) => "sensor_dead",
        }
    }
}

/// What happens to a network or a machine.
#[derive(Clone, PartialEq, Debug)]
pub struct Disturbance {
    /// Whose gateways; the broker's is everybody's.
    pub target: Target,
    /// From when.
    pub from: Moment,
    /// Until when; `None`: it is a moment.
    pub to: Option<Moment>,
    /// What.
    pub kind: DisturbanceKind,
}

/// Kinds of disturbances.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum DisturbanceKind {
    /// Nothing passes.
    LinkCut,
    /// So little passes.
    LinkSlow {
        /// Bytes a second.
        bytes_per_s: u64,
        /// Added delay, milliseconds.
        delay_ms: u64,
    },
    /// Some is lost, all is late.
    LinkLossy {
        /// Percent of what is sent at once that is lost on its way.
        loss_percent: f64,
        /// Added delay, milliseconds.
        delay_ms: u64,
    },
    /// Records come a second time.
    Duplicates {
        /// How many, percent.
        percent: f64,
    },
    /// Records overtake each other.
    Reordering {
        /// How many, percent.
        percent: f64,
        /// By so many places at most.
        depth: u64,
    },
    /// The broker starts again.
    BrokerRestart,
    /// The agent's process is killed; it starts again at the end, or at once.
    AgentKilled,
    /// The gateway starts again with a clock in 1970, which is set at the end.
    Clock1970,
    /// The gateway's clock jumps; it is right again at the end, if there is one.
    ClockStep {
        /// By so much, milliseconds; back when negative.
        by_ms: i64,
    },
}

impl DisturbanceKind {
    /// As in scenario files and in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::LinkCut => "link_cut",
            Self::LinkSlow { .. } => "link_slow",
            Self::LinkLossy { .. } => "link_lossy",
            Self::Duplicates { .. } => "duplicates",
            Self::Reordering { .. } => "reordering",
            Self::BrokerRestart => "broker_restart",
            Self::AgentKilled => "agent_killed",
            Self::Clock1970 => "clock_1970",
            Self::ClockStep { .. } => "clock_step",
        }
    }
}
