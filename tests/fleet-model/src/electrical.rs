//! Loads, torque, currents, voltages, reactive power.

use crate::control::{Decision, Mode};
use crate::drive::{Drive, Lags};
use crate::layout::ROTOR_RADIUS_M;
use crate::machine::{DENSITY, GEAR_RATIO, RATED_KW, RATED_MS, SYNCHRONOUS_RPM};
use crate::signal::{Signal as S, Signals};
use crate::weather::{Air, Local};

/// Nominal voltage between lines, V.
const LINE_V: f64 = 690.0;
/// Square root of three.
const ROOT_3: f64 = 1.732_050_807_568_877_2;
/// Radians a second in a revolution a minute.
const RAD_PER_RPM: f64 = core::f64::consts::TAU / 60.0;
/// Swept area, m2.
const AREA_M2: f64 = core::f64::consts::PI * ROTOR_RADIUS_M * ROTOR_RADIUS_M;
/// Hub height, metres.
const HUB_M: f64 = 94.0;

/// What has a memory.
#[derive(Clone, Debug, Default)]
pub struct Electrical {
    reactive: f64,
}

impl Electrical {
    /// One step: power at the terminals and what it takes inside.
    pub fn step(
        &mut self,
        decision: &Decision,
        drive: &Drive,
        (hertz, voltage): (f64, f64),
        lags: &Lags,
        x: &mut Signals,
    ) {
        let grid = f64::from(u8::from(decision.grid));
        let voltage = voltage * grid;
        x.set(S::Frequency, hertz * grid);
        x.set(S::Voltage, LINE_V * voltage);
        let running = decision.mode == Mode::Running;
        // the grid operator asks for reactive power against the voltage, in steps of 20 kvar
        let asked = if decision.grid {
            (libm::rint(-1_200.0 * (voltage - 1.0)) * 20.0).clamp(-600.0, 600.0)
        } else {
            0.0
        };
        let target = if running { asked } else { 0.0 };
        self.reactive += lags.s3 * (target - self.reactive);
        let power = drive.power_kw * grid;
        let apparent = (power * power + self.reactive * self.reactive).sqrt();
        let current = if voltage > 0.1 {
            1_000.0 * apparent / (ROOT_3 * LINE_V * voltage)
        } else {
            0.0
        };
        x.set(S::ReactivePower, self.reactive);
        x.set(S::ReactiveSetpoint, asked);
        x.set(S::ReactiveSource, 3.0 * grid);
        x.set(S::PowerFactorSetpoint, 1.0);
        let factor = if apparent > 20.0 {
            power.abs() / apparent
        } else {
            1.0
        };
        x.set(S::PowerFactor, factor);
        x.set(S::ApparentPower, apparent);
        x.set(S::Current, current);
        let part = (power / RATED_KW).clamp(0.0, 1.0);
        x.set(S::VoltageDistortion, (1.1 + 0.5 * part) * grid);
        x.set(S::CurrentDistortion, (6.5 - 4.3 * part) * grid);
        x.set(
            S::Tap,
            9.0 + libm::rint(-60.0 * (voltage - 1.0) * grid).clamp(-2.0, 2.0),
        );
        self.generator(decision, drive, power, voltage, x);
    }

    /// Torque and the currents of stator, rotor and converter; a doubly-fed machine passes its slip through the latter.
    fn generator(
        &self,
        decision: &Decision,
        drive: &Drive,
        power: f64,
        voltage: f64,
        x: &mut Signals,
    ) {
        let made = power.max(0.0);
        let rpm = drive.rotor_rpm * GEAR_RATIO;
        let shaft = if made > 0.0 {
            made / 0.93 / (drive.rotor_rpm.max(1.0) * RAD_PER_RPM)
        } else {
            0.0
        };
        x.set(S::ShaftTorque, shaft);
        x.set(S::GeneratorTorque, shaft * 0.975 / GEAR_RATIO);
        let slip = (SYNCHRONOUS_RPM - rpm) / SYNCHRONOUS_RPM;
        let through = if decision.mode == Mode::Running {
            -slip * made / (1.0 - slip)
        } else {
            0.0
        };
        let stator = made - through;
        let amperes = |kw: f64| 1_000.0 * kw.abs() / (ROOT_3 * LINE_V * voltage.max(0.5));
        x.set(S::StatorVoltage, LINE_V * voltage);
        x.set(S::StatorCurrent, amperes(stator));
        x.set(
            S::RotorCurrent,
            60.0 * f64::from(u8::from(made > 0.0)) + 0.32 * amperes(stator),
        );
        x.set(S::GridSidePower, through);
        x.set(S::RotorSidePower, through * 1.01);
        x.set(
            S::GridSideCurrent,
            amperes(through) + 0.1 * self.reactive.abs(),
        );
        x.set(S::RotorSideCurrent, 40.0 + 0.3 * amperes(stator));
        let charged = if decision.grid { 1_100.0 } else { 380.0 };
        x.set(S::DcLink, charged + 6.0 * slip);
        x.set(
            S::ConverterState,
            match decision.mode {
                Mode::Running => 4.0,
                Mode::Starting | Mode::Stopping => 3.0,
                Mode::Waiting => 2.0,
                Mode::Stopped => 1.0,
                Mode::Service | Mode::Tripped => 0.0,
            },
        );
        let working = decision.mode == Mode::Running;
        x.switch(S::ConverterPump, decision.grid && !decision.service);
        x.set(S::ConverterFlow, if working { 182.0 } else { 64.0 });
        x.set(S::ConverterPressure, if working { 2.9 } else { 1.8 });
        x.set(S::ShaftCurrent, 4.0 + 0.01 * made);
    }
}

/// What the wind does to blades, shaft and tower.
pub fn loads(drive: &Drive, local: &Local, air: &Air, x: &mut Signals) {
    let wind = local.rotor;
    let running = drive.power_kw > 0.0;
    let over = (RATED_MS - 1.0) / wind.max(RATED_MS - 1.0);
    let coefficient = if running {
        let part = (drive.power_kw / drive.available_kw.max(1.0)).clamp(0.3, 1.0);
        0.8 * over * over * over.sqrt() * part
    } else {
        0.06
    };
    let relative = air.density / DENSITY;
    let thrust = 0.5e-3 * DENSITY * relative * AREA_M2 * coefficient * wind * wind;
    let (sin, cos) = libm::sincos(drive.azimuth.to_radians());
    // a third of a turn from blade to blade
    let third = [(0.0, 1.0), (0.866_025_4, -0.5), (-0.866_025_4, -0.5)];
    let flaps = [S::Flap1, S::Flap2, S::Flap3];
    let edges = [S::Edge1, S::Edge2, S::Edge3];
    let mean = thrust / 3.0 * 0.66 * ROTOR_RADIUS_M;
    let torque = x.get(S::ShaftTorque);
    for (blade, (ts, tc)) in third.into_iter().enumerate() {
        let (s, c) = (sin * tc + cos * ts, cos * tc - sin * ts);
        let off = x.get([S::Pitch1, S::Pitch2, S::Pitch3][blade]) - drive.pitch;
        x.set(
            flaps[blade],
            mean * (1.0 + 0.6 * air.shear * c) * (1.0 - 0.04 * off),
        );
        x.set(edges[blade], 1_450.0 * s + torque / 3.0);
    }
    x.set(S::AxialDisplacement, 0.12 + 0.000_9 * thrust);
    x.set(S::BaseFore, thrust * HUB_M);
    x.set(S::BaseSide, torque * 1.1 + 0.04 * thrust * HUB_M);
    x.set(S::InclinationFore, 0.000_62 * thrust);
    x.set(S::InclinationSide, 0.000_03 * torque);
}
