//! What the turbine does and why: start, run, stop, service, trips; derates and curtailments; IEC 61400-26 states.
//!
//! Invariants: a curtailment is requested and has a source; a derate has an internal cause; `setpoint` is the lower of the
//! two and names whose it is. State 1 (full performance) means that nothing limits the machine, state 2 that something
//! does, and outside 1 and 2 no power is made but for a ramp. Too little wind, too much and ice are state 4 (out of
//! environmental specification), each with a code; state 3 is a rotor that speeds up in wind enough.

use windlass_shared::time::EventTime;

use crate::fault::{Damage, Defect, codes};
use crate::machine::{
    CUT_IN_MS, CUT_IN_STOP_MS, CUT_OUT_MS, CUT_OUT_RESTART_MS, RATED_KW, ROTOR_MIN_RPM,
};
use crate::rime::ICE_STOP;
use crate::scenario::Action;

/// People are in the turbine for the last part of a repair, at most this long, microseconds.
const REPAIR_WORK_US: i64 = 6 * 3_600_000_000;
/// Somebody asks for at least this little: below it the turbine is stopped instead.
const RATED_TOLERANCE: f64 = 0.999;

/// Codes of `operating_state`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Stopped: somebody asked, or a storm, ice or the grid do not allow it.
    Stopped = 1,
    /// Waiting for wind.
    Waiting = 2,
    /// The rotor speeds up.
    Starting = 3,
    /// Makes power.
    Running = 4,
    /// The rotor slows down.
    Stopping = 5,
    /// People are inside.
    Service = 6,
    /// Tripped.
    Tripped = 7,
}

/// Why it must not run; ordered by what is shown first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Halt {
    Service,
    Repair,
    Trip(u16),
    Grid,
    Request,
    Ice,
    HighWind,
    LowWind,
}

impl Halt {
    fn iec_state(self) -> u8 {
        match self {
            Self::Service => 7,
            Self::Repair => 8,
            Self::Trip(_) => 9,
            Self::Grid => 6,
            Self::Request => 5,
            Self::Ice | Self::HighWind | Self::LowWind => 4,
        }
    }

    fn code(self) -> u16 {
        match self {
            Self::Service | Self::Repair => codes::SERVICE,
            Self::Trip(code) => code,
            Self::Grid => codes::GRID_LOST,
            Self::Request => codes::REQUESTED_STOP,
            Self::Ice => codes::ICE,
            Self::HighWind => codes::HIGH_WIND,
            Self::LowWind => codes::LOW_WIND,
        }
    }

    fn rest(self) -> Mode {
        match self {
            Self::Service | Self::Repair => Mode::Service,
            Self::Trip(_) => Mode::Tripped,
            Self::LowWind => Mode::Waiting,
            Self::Grid | Self::Request | Self::Ice | Self::HighWind => Mode::Stopped,
        }
    }
}

/// An operation of one turbine, with its times.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Order {
    /// From when.
    pub from: EventTime,
    /// Until when.
    pub to: EventTime,
    /// What.
    pub action: Action,
}

/// What the machine feels, for the protection.
#[derive(Clone, Copy, Debug)]
pub struct Felt {
    /// Wind of the last minute, m/s.
    pub wind_minute: f64,
    /// Wind of the last ten minutes, m/s.
    pub wind_ten: f64,
    /// Rotor speed, rpm.
    pub rotor_rpm: f64,
    /// Gear oil, degrees Celsius.
    pub oil: f64,
    /// Hottest gearbox bearing, degrees Celsius.
    pub bearing: f64,
    /// Hottest winding, degrees Celsius.
    pub winding: f64,
    /// Ice that the weather brought, 0 to 1.
    pub ice: f64,
    /// It has stopped the rotors, and has not thawed.
    pub iced: bool,
}

/// What is decided for one step.
#[derive(Clone, Copy, Debug)]
pub struct Decision {
    /// What it does.
    pub mode: Mode,
    /// IEC 61400-26-1, coded as in the profile.
    pub iec_state: u8,
    /// Code that is on, or 0.
    pub alarm: u16,
    /// Requested limit, kW; rated: none.
    pub curtailment_kw: f64,
    /// Who asked: code of the setpoint's source, or 0.
    pub curtailment_source: u8,
    /// Code of `curtailment_reason`.
    pub curtailment_reason: u8,
    /// Limit with an internal cause, kW; rated: none.
    pub derate_kw: f64,
    /// Code of `derate_reason`: 1 gear oil, 2 gearbox bearing, 3 winding, 4 other.
    pub derate_reason: u8,
    /// Ice on the blades, 0 to 1.
    pub ice: f64,
    /// The grid is there.
    pub grid: bool,
    /// People are inside.
    pub service: bool,
}

impl Decision {
    /// What holds, kW.
    pub fn limit_kw(&self) -> f64 {
        self.curtailment_kw.min(self.derate_kw).min(RATED_KW)
    }

    /// Whose limit that is: a code of `active_power_setpoint_source`.
    pub fn source(&self) -> u8 {
        if self.derate_kw < RATED_KW && self.derate_kw < self.curtailment_kw {
            1
        } else {
            self.curtailment_source
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Tripped {
    defect: usize,
    code: u16,
    until: EventTime,
    work_from: EventTime,
}

/// The controller of one turbine.
#[derive(Clone, Debug)]
pub struct Control {
    mode: Mode,
    orders: Vec<Order>,
    defects: Vec<Defect>,
    tripped: Option<Tripped>,
    high_wind: bool,
    /// What heat leaves of rated power, smoothed.
    heat_limit: f64,
    heat_reason: u8,
    /// What the defects do now.
    damage: Damage,
}

impl Control {
    /// Of a turbine with these orders and defects, in `mode`.
    pub fn new(mode: Mode, orders: Vec<Order>, defects: Vec<Defect>) -> Self {
        Self {
            mode,
            orders,
            defects,
            tripped: None,
            high_wind: false,
            heat_limit: 1.0,
            heat_reason: 0,
            damage: Damage::default(),
        }
    }

    /// What the defects do, as of the last step.
    pub fn damage(&self) -> &Damage {
        &self.damage
    }

    /// Decides for the step that ends at `at`; `minute`: part of a minute's smoothing that a step is.
    pub fn step(&mut self, at: EventTime, felt: &Felt, minute: f64) -> Decision {
        self.grow(at);
        self.heat(felt, minute);
        let mut decision = Decision {
            mode: self.mode,
            iec_state: 0,
            alarm: 0,
            curtailment_kw: RATED_KW,
            curtailment_source: 0,
            curtailment_reason: 0,
            derate_kw: RATED_KW * self.heat_limit,
            derate_reason: self.heat_reason,
            ice: felt.ice,
            grid: true,
            service: false,
        };
        if self.heat_limit > RATED_TOLERANCE {
            decision.derate_kw = RATED_KW;
            decision.derate_reason = 0;
        }
        let halt = self.halt(at, felt, &mut decision);
        self.mode = self.next_mode(halt, felt);
        decision.mode = self.mode;
        decision.service = self.mode == Mode::Service;
        let limited = decision.limit_kw() < RATED_KW || decision.ice > 0.0;
        decision.iec_state = match halt {
            Some(halt) => halt.iec_state(),
            None if self.mode == Mode::Running => 1 + u8::from(limited),
            None => 3,
        };
        decision.alarm = match halt {
            Some(halt) => halt.code(),
            None if decision.derate_reason > 0 && self.mode == Mode::Running => {
                codes::THERMAL_DERATE
            }
            None => 0,
        };
        decision
    }

    /// Defects grow, trip the machine, and are mended.
    fn grow(&mut self, at: EventTime) {
        if let Some(tripped) = self.tripped
            && at >= tripped.until
        {
            self.tripped = None;
            self.defects[tripped.defect].until = tripped.until;
        }
        self.damage = Damage::default();
        for (i, defect) in self.defects.iter().enumerate() {
            let severity = defect.severity(at);
            if severity <= 0.0 {
                continue;
            }
            self.damage.add(&defect.kind, severity);
            let Some(code) = defect.trip_code() else {
                continue;
            };
            if severity >= 1.0 && self.tripped.is_none() && self.mode == Mode::Running {
                let until = at.plus_us(defect.repair_us);
                let work = REPAIR_WORK_US.min(defect.repair_us / 2);
                self.tripped = Some(Tripped {
                    defect: i,
                    code,
                    until,
                    work_from: until.plus_us(-work),
                });
            }
        }
    }

    /// Heat takes power away: from nothing at the lower temperature to six tenths at the upper one.
    fn heat(&mut self, felt: &Felt, minute: f64) {
        let causes = [
            (1, felt.oil, 78.0, 84.0),
            (2, felt.bearing, 96.0, 104.0),
            (3, felt.winding, 140.0, 154.0),
        ];
        let mut target = 1.0;
        let mut reason = 0;
        for (code, celsius, from, to) in causes {
            let left = (1.0 - 0.6 * (celsius - from) / (to - from)).clamp(0.3, 1.0);
            if left < target {
                target = left;
                reason = code;
            }
        }
        self.heat_limit += minute * (target - self.heat_limit);
        if reason > 0 {
            self.heat_reason = reason;
        } else if self.heat_limit > RATED_TOLERANCE {
            self.heat_reason = 0;
        }
    }

    /// Orders and conditions that stop it; limits go into `decision`.
    fn halt(&mut self, at: EventTime, felt: &Felt, decision: &mut Decision) -> Option<Halt> {
        let mut halts: [Option<Halt>; 8] = [None; 8];
        if let Some(tripped) = self.tripped {
            if at >= tripped.work_from {
                halts[1] = Some(Halt::Repair);
            }
            halts[2] = Some(Halt::Trip(tripped.code));
        }
        for order in &self.orders {
            if at < order.from || at >= order.to {
                continue;
            }
            match order.action {
                Action::Curtailment {
                    setpoint_kw,
                    source,
                    reason,
                } => {
                    if setpoint_kw < decision.curtailment_kw {
                        decision.curtailment_kw = setpoint_kw;
                        decision.curtailment_source = source as u8;
                        decision.curtailment_reason = reason;
                    }
                }
                Action::Derate { limit_kw } => {
                    if limit_kw < decision.derate_kw {
                        decision.derate_kw = limit_kw;
                        decision.derate_reason = 4;
                    }
                }
                Action::Service => halts[0] = Some(Halt::Service),
                Action::Trip { code } => halts[2] = Some(Halt::Trip(code)),
                Action::GridFault => {
                    decision.grid = false;
                    halts[3] = Some(Halt::Grid);
                }
                Action::Stop => halts[4] = Some(Halt::Request),
                Action::Icing { severity } => {
                    decision.ice = decision.ice.max(severity);
                    if severity >= ICE_STOP {
                        halts[5] = Some(Halt::Ice);
                    }
                }
            }
        }
        if felt.iced {
            halts[5] = Some(Halt::Ice);
        }
        self.high_wind = felt.wind_ten
            > if self.high_wind {
                CUT_OUT_RESTART_MS
            } else {
                CUT_OUT_MS
            };
        if self.high_wind {
            halts[6] = Some(Halt::HighWind);
        }
        // who turns goes on in less wind than who waits for it
        let turns = matches!(self.mode, Mode::Running | Mode::Starting);
        if felt.wind_minute < if turns { CUT_IN_STOP_MS } else { CUT_IN_MS } {
            halts[7] = Some(Halt::LowWind);
        }
        halts.into_iter().flatten().next()
    }

    fn next_mode(&self, halt: Option<Halt>, felt: &Felt) -> Mode {
        let slow = felt.rotor_rpm < 2.0;
        match (halt, self.mode) {
            (Some(_), Mode::Running | Mode::Starting) => Mode::Stopping,
            (_, Mode::Stopping) if !slow => Mode::Stopping,
            (Some(halt), _) => halt.rest(),
            (None, Mode::Running) => Mode::Running,
            (None, Mode::Starting) if felt.rotor_rpm >= ROTOR_MIN_RPM => Mode::Running,
            (None, _) => Mode::Starting,
        }
    }
}
