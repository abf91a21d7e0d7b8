//! Heat: the gear oil with its cooler, and a network of first-order nodes for everything else.
//!
//! Invariants: a node tends to its reference plus what its drivers add, with its own time constant, however long a step
//! is; references come before those that refer to them.

use crate::drive::{Drive, Lags};
use crate::fault::Damage;
use crate::machine::{RATED_KW, ROTOR_RATED_RPM};
use crate::signal::{Signal as S, Signals};

/// What warms a node.
#[derive(Clone, Copy)]
enum By {
    /// Power over rated power.
    Load,
    /// Its square: currents in copper.
    Copper,
    /// Speed over rated speed.
    Speed,
    /// Movement of the blades.
    Pitch,
    /// Movement of the nacelle.
    Yaw,
    /// The brake.
    Brake,
    /// The sun.
    Sun,
}

const DRIVERS: usize = 7;

struct Node {
    signal: S,
    reference: S,
    /// Above the reference at rest, kelvin.
    base: f64,
    rise: [(By, f64); 2],
    tau_s: f64,
}

/// `signal: reference + base at rest, driver rise, driver rise, time constant in seconds;`
macro_rules! nodes {
    ($($signal:ident: $reference:ident + $base:literal, $one:ident $by_one:literal, $two:ident $by_two:literal, $tau:literal;)*) => {
        &[$(Node {
            signal: S::$signal,
            reference: S::$reference,
            base: $base,
            rise: [(By::$one, $by_one), (By::$two, $by_two)],
            tau_s: $tau,
        }),*]
    };
}

const NODES: &[Node] = nodes! {
    NacelleAir: Ambient + 4.0, Load 9.0, Sun 2.0, 2_400.0;
    Hub: Ambient + 3.0, Load 5.0, Sun 2.0, 3_600.0;
    TowerBase: Ambient + 4.0, Load 6.0, Sun 1.0, 5_400.0;
    TowerMiddle: Ambient + 2.0, Load 3.0, Sun 3.0, 5_400.0;
    TowerTop: Ambient + 3.0, Load 6.0, Sun 3.0, 4_200.0;
    PlanetBearing: OilTemperature + 0.0, Load 5.0, Speed 3.0, 1_200.0;
    IntermediateFront: OilTemperature + 0.0, Load 7.0, Speed 4.0, 900.0;
    IntermediateRear: OilTemperature + 0.0, Load 6.0, Speed 4.0, 900.0;
    HighSpeedFront: OilTemperature + 0.0, Load 9.0, Speed 7.0, 700.0;
    HighSpeedRear: OilTemperature + 0.0, Load 8.0, Speed 6.5, 700.0;
    Housing: OilTemperature + -4.0, Load 1.0, Speed 1.0, 2_400.0;
    MainFront: Hub + 3.0, Load 6.0, Speed 6.0, 3_600.0;
    MainRear: NacelleAir + 1.0, Load 5.0, Speed 5.0, 3_600.0;
    CoolingAir: NacelleAir + 0.0, Copper 16.0, Speed 3.0, 600.0;
    CoolantIn: Ambient + 12.0, Copper 13.0, Load 4.0, 900.0;
    CoolantOut: CoolantIn + 0.0, Copper 9.0, Load 2.0, 300.0;
    WindingU: CoolantIn + 6.0, Copper 66.0, Speed 6.0, 900.0;
    WindingV: CoolantIn + 6.0, Copper 67.0, Speed 6.0, 900.0;
    WindingW: CoolantIn + 6.0, Copper 65.0, Speed 6.0, 900.0;
    DriveEnd: NacelleAir + 3.0, Speed 22.0, Copper 12.0, 1_800.0;
    NonDriveEnd: NacelleAir + 3.0, Speed 19.0, Copper 9.0, 1_800.0;
    SlipRing: CoolingAir + 4.0, Load 18.0, Speed 8.0, 500.0;
    ConverterCabinet: TowerBase + 6.0, Load 9.0, Copper 3.0, 1_500.0;
    ConverterCoolant: TowerBase + 8.0, Load 12.0, Copper 6.0, 600.0;
    GridSideIgbt: ConverterCoolant + 3.0, Load 16.0, Copper 8.0, 60.0;
    RotorSideIgbt: ConverterCoolant + 4.0, Load 20.0, Copper 10.0, 60.0;
    Choke: ConverterCabinet + 8.0, Load 20.0, Copper 22.0, 1_200.0;
    Chopper: ConverterCabinet + 2.0, Load 3.0, Brake 25.0, 400.0;
    TransformerRoom: Ambient + 6.0, Copper 10.0, Sun 1.0, 3_000.0;
    TransformerCore: TransformerRoom + 24.0, Copper 14.0, Load 2.0, 4_800.0;
    TransformerOil: TransformerRoom + 16.0, Copper 24.0, Load 4.0, 5_400.0;
    TransformerWinding: TransformerOil + 4.0, Copper 26.0, Load 4.0, 1_200.0;
    HydraulicOil: NacelleAir + 9.0, Pitch 8.0, Brake 10.0, 1_800.0;
    BrakeDisc: NacelleAir + 2.0, Brake 160.0, Speed 2.0, 600.0;
    YawMotor: NacelleAir + 2.0, Yaw 60.0, Load 1.0, 1_500.0;
    PitchMotor: Hub + 6.0, Pitch 26.0, Load 8.0, 1_200.0;
    PitchBatteryTemperature: Hub + 4.0, Pitch 2.0, Load 1.0, 5_400.0;
    PitchCabinet: Hub + 7.0, Pitch 4.0, Load 2.0, 2_400.0;
    PitchBearing: Hub + 1.0, Pitch 3.0, Speed 1.0, 3_600.0;
    HubCabinet: Hub + 6.0, Pitch 2.0, Load 1.0, 2_400.0;
    NacelleCabinet: NacelleAir + 6.0, Load 3.0, Yaw 2.0, 2_400.0;
    TowerCabinet: TowerBase + 6.0, Load 3.0, Sun 0.5, 2_400.0;
    UpsBattery: TowerBase + 3.0, Load 1.0, Sun 0.5, 7_200.0;
    Controller: NacelleCabinet + 14.0, Load 2.0, Yaw 1.0, 600.0;
};

/// Heat capacity of gear oil and gearbox, kJ/K.
const GEAR_KJ_PER_K: f64 = 2_600.0;
/// From the gearbox to the nacelle's air, kW/K.
const GEAR_PASSIVE: f64 = 0.35;

/// A thermostat.
#[derive(Clone, Copy, Debug)]
struct Thermostat {
    on_above: f64,
    off_below: f64,
    on: bool,
}

impl Thermostat {
    const fn new(on_above: f64, off_below: f64) -> Self {
        Self {
            on_above,
            off_below,
            on: false,
        }
    }

    fn at(&mut self, celsius: f64) -> bool {
        self.on = celsius
            > if self.on {
                self.off_below
            } else {
                self.on_above
            };
        self.on
    }
}

/// Temperatures of a turbine.
#[derive(Clone, Debug)]
pub struct Heat {
    celsius: [f64; NODES.len()],
    lags: [f64; NODES.len()],
    oil: f64,
    fan_1: Thermostat,
    fan_2: Thermostat,
    switches: [(S, S, Thermostat); 9],
}

impl Heat {
    /// In the state that lasts under the given load: nothing has to warm up.
    pub fn new(lags: &Lags, drive: &Drive, x: &mut Signals) -> Self {
        let ambient = x.get(S::Ambient);
        let load = (drive.power_kw / RATED_KW).clamp(0.0, 1.0);
        let mut heat = Self {
            celsius: [0.0; NODES.len()],
            lags: std::array::from_fn(|i| 1.0 - libm::exp(-lags.dt_s / NODES[i].tau_s)),
            oil: if load > 0.02 {
                46.0 + 10.0 * load
            } else {
                (ambient + 8.0).max(18.0)
            },
            fan_1: Thermostat::new(52.0, 46.0),
            fan_2: Thermostat::new(59.0, 54.0),
            switches: [
                (S::GeneratorFan1, S::CoolingAir, Thermostat::new(30.0, 25.0)),
                (S::GeneratorFan2, S::WindingV, Thermostat::new(80.0, 70.0)),
                (
                    S::ConverterFan,
                    S::ConverterCoolant,
                    Thermostat::new(32.0, 27.0),
                ),
                (
                    S::TransformerFan1,
                    S::TransformerOil,
                    Thermostat::new(42.0, 36.0),
                ),
                (
                    S::TransformerFan2,
                    S::TransformerWinding,
                    Thermostat::new(70.0, 60.0),
                ),
                (S::NacelleFan1, S::NacelleAir, Thermostat::new(19.0, 16.0)),
                (S::NacelleFan2, S::NacelleAir, Thermostat::new(26.0, 23.0)),
                (S::TowerFan, S::TowerBase, Thermostat::new(20.0, 17.0)),
                (S::PumpHigh, S::OilTemperature, Thermostat::new(45.0, 38.0)),
            ],
        };
        x.set(S::OilTemperature, heat.oil);
        let drivers = drivers(drive, x);
        for (i, node) in NODES.iter().enumerate() {
            heat.celsius[i] = target(node, x, &drivers);
            x.set(node.signal, heat.celsius[i]);
        }
        heat
    }

    /// Hottest gearbox bearing and winding.
    pub fn hottest(x: &Signals) -> (f64, f64) {
        let most = |of: &[S]| of.iter().map(|s| x.get(*s)).fold(f64::MIN, f64::max);
        (
            most(&[
                S::PlanetBearing,
                S::IntermediateFront,
                S::IntermediateRear,
                S::HighSpeedFront,
                S::HighSpeedRear,
            ]),
            most(&[S::WindingU, S::WindingV, S::WindingW]),
        )
    }

    /// One step.
    pub fn step(&mut self, drive: &Drive, damage: &Damage, lags: &Lags, x: &mut Signals) {
        self.gear_oil(drive, damage, lags, x);
        let drivers = drivers(drive, x);
        for (i, node) in NODES.iter().enumerate() {
            let extra = excess(node.signal, damage, &drivers);
            self.celsius[i] += self.lags[i] * (target(node, x, &drivers) + extra - self.celsius[i]);
            x.set(node.signal, self.celsius[i]);
        }
        for (switch, watched, thermostat) in &mut self.switches {
            let on = thermostat.at(x.get(*watched));
            x.switch(*switch, on);
        }
        let running = drive.power_kw > 0.0;
        let pumps = x.get(S::PumpHigh) > 0.0 && running;
        x.switch(S::PumpHigh, pumps);
        x.switch(S::PumpLow, !pumps);
        x.switch(S::CoolantPump, running);
        x.switch(S::GeneratorHeater, !running && x.get(S::WindingV) < 20.0);
        x.switch(S::ConverterHeater, x.get(S::ConverterCabinet) < 14.0);
        x.switch(S::NacelleHeater, x.get(S::NacelleAir) < 6.0);
        x.switch(S::AnemometerHeater, x.get(S::Ambient) < 4.0);
    }

    /// Losses of the gears against housing and cooler.
    fn gear_oil(&mut self, drive: &Drive, damage: &Damage, lags: &Lags, x: &mut Signals) {
        let speed = drive.rotor_rpm / ROTOR_RATED_RPM;
        let losses = 0.018 * drive.power_kw.max(0.0) + 14.0 * speed * speed;
        let warming = self.oil < 18.0 && drive.power_kw <= 0.0;
        let (one, two) = (self.fan_1.at(self.oil), self.fan_2.at(self.oil));
        let conductance = match (one, two) {
            (_, true) => 1.6,
            (true, false) => 0.7,
            (false, false) => 0.05,
        };
        let through = conductance * (1.0 - 0.93 * damage.clogging.min(1.0));
        let cooled = through * (self.oil - x.get(S::Ambient));
        let passive = GEAR_PASSIVE * (self.oil - x.get(S::NacelleAir));
        let heated = if warming { 8.0 } else { 0.0 };
        self.oil += lags.dt_s * (losses + heated - cooled - passive) / GEAR_KJ_PER_K;
        // thin when warm; the pump's flow falls with what the filter holds back
        let thick = (70.0 - self.oil).max(0.0);
        let flow = if drive.power_kw > 0.0 {
            118.0 - 0.4 * thick
        } else {
            42.0
        };
        let across = cooled / (flow / 60.0 * 1.75);
        x.set(S::OilTemperature, self.oil);
        x.set(S::OilFlow, flow);
        x.set(S::OilInlet, self.oil - across);
        x.set(S::CoolerInlet, self.oil - 0.8);
        x.set(S::CoolerOutlet, self.oil - 0.8 - across);
        let filter = 0.5 + 0.012 * thick;
        let delivered = if drive.power_kw > 0.0 { 4.6 } else { 2.9 };
        let pump = delivered + 0.05 * thick + 1.2 * damage.clogging;
        x.set(S::FilterDifference, filter);
        x.set(S::PumpPressure, pump);
        x.set(S::OilPressure, pump - filter - 1.3 * damage.clogging);
        x.switch(S::OilFan1, one);
        x.switch(S::OilFan2, two);
        x.switch(S::OilHeater, warming);
    }
}

fn drivers(drive: &Drive, x: &Signals) -> [f64; DRIVERS] {
    let load = (drive.power_kw / RATED_KW).clamp(0.0, 1.0);
    [
        load,
        load * load,
        drive.rotor_rpm / ROTOR_RATED_RPM,
        drive.pitch_work,
        drive.yaw_work,
        drive.brake_work,
        // the sun's height is carried by the shear of the air: it is steep at night
        (2.25 - 12.5 * x.get(S::Shear)).clamp(-1.0, 1.0),
    ]
}

fn target(node: &Node, x: &Signals, drivers: &[f64; DRIVERS]) -> f64 {
    let [(one, by_one), (two, by_two)] = node.rise;
    x.get(node.reference)
        + node.base
        + by_one * drivers[one as usize]
        + by_two * drivers[two as usize]
}

/// What defects add.
fn excess(signal: S, damage: &Damage, drivers: &[f64; DRIVERS]) -> f64 {
    let worn = |stage: usize, kelvin: f64| {
        kelvin
            * (damage.inner[stage] + damage.outer[stage]).min(1.5)
            * (0.3 + 0.7 * drivers[By::Load as usize])
            * drivers[By::Speed as usize]
    };
    let hot = |phase: usize| 62.0 * damage.winding[phase] * drivers[By::Copper as usize];
    match signal {
        S::PlanetBearing => worn(0, 10.0),
        S::IntermediateFront => worn(1, 14.0),
        S::IntermediateRear => worn(1, 5.0),
        S::HighSpeedFront => worn(2, 17.0),
        S::HighSpeedRear => worn(2, 6.0),
        S::WindingU => hot(0),
        S::WindingV => hot(1),
        S::WindingW => hot(2),
        _ => 0.0,
    }
}
