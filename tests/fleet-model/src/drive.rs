//! From wind to power: rotor, pitch, yaw and power of one turbine.
//!
//! Invariants: power never exceeds what the wind offers nor, but for a ramp, the limit in force; generator speed is rotor
//! speed times the gear ratio; available power does not know of limits, ice or misalignment.

use crate::control::{Decision, Mode};
use crate::fault::Damage;
use crate::machine::{
    AUXILIARY_KW, FEATHER_DEG, GEAR_RATIO, PowerCurve, RATED_KW, ROTOR_MIN_RPM, ROTOR_RATED_RPM,
    RPM_PER_MS, normal_wind, rated_pitch,
};
use crate::signal::{Signal as S, Signals};
use crate::weather::{Air, Local, cos_small, turn};

/// Yaw speed, degrees a second.
const YAW_DEG_PER_S: f64 = 0.4;
/// The nacelle follows beyond this error, degrees.
const YAW_START_DEG: f64 = 7.0;

/// What a step is worth for first-order lags, by time constant.
#[derive(Clone, Copy, Debug)]
pub struct Lags {
    /// Length of a step, seconds.
    pub dt_s: f64,
    /// Three seconds.
    pub s3: f64,
    /// Eight seconds.
    pub s8: f64,
    /// Half a minute.
    pub s30: f64,
    /// A minute.
    pub s60: f64,
    /// Ten minutes.
    pub s600: f64,
}

impl Lags {
    /// For steps of `dt_s`.
    pub fn new(dt_s: f64) -> Self {
        let lag = |tau: f64| 1.0 - libm::exp(-dt_s / tau);
        Self {
            dt_s,
            s3: lag(3.0),
            s8: lag(8.0),
            s30: lag(30.0),
            s60: lag(60.0),
            s600: lag(600.0),
        }
    }
}

/// State of the drive.
#[derive(Clone, Debug)]
pub struct Drive {
    /// What the wind offers, kW.
    pub available_kw: f64,
    /// What is fed in; negative: own consumption, kW.
    pub power_kw: f64,
    /// Rotor speed, rpm.
    pub rotor_rpm: f64,
    /// Where the rotor stands, degrees.
    pub azimuth: f64,
    /// Common blade angle, degrees.
    pub pitch: f64,
    /// Where the nacelle points, degrees.
    pub nacelle: f64,
    /// Wind of the last minute, m/s.
    pub wind_minute: f64,
    /// Wind of the last ten minutes, m/s.
    pub wind_ten: f64,
    /// How much the blades move, degrees a second.
    pub pitch_work: f64,
    /// How much the nacelle turns, 0 to 1.
    pub yaw_work: f64,
    /// How hard the brake works, 0 to 1.
    pub brake_work: f64,
    wind_fast: f64,
    vane_error: f64,
    yawing: bool,
    twist: f64,
    turns: f64,
    starts: f64,
}

impl Drive {
    /// Running or waiting, as the wind has it.
    pub fn new(local: &Local, air: &Air, curve: &PowerCurve, running: bool, twist: f64) -> Self {
        let available = curve.at(normal_wind(local.rotor, air.density));
        Self {
            available_kw: available,
            power_kw: if running { available } else { -AUXILIARY_KW },
            rotor_rpm: if running { speed(local.rotor) } else { 0.3 },
            azimuth: 0.0,
            pitch: if running {
                rated_pitch(local.rotor)
            } else {
                FEATHER_DEG
            },
            nacelle: local.direction,
            wind_minute: local.point,
            wind_ten: local.point,
            pitch_work: 0.0,
            yaw_work: 0.0,
            brake_work: 0.0,
            wind_fast: local.rotor,
            vane_error: 0.0,
            yawing: false,
            twist,
            turns: libm::floor(twist.abs() * 3.0),
            starts: libm::floor(twist.abs() * 700.0),
        }
    }

    /// Follows the wind of this step, before the controller decides.
    pub fn feel(&mut self, local: &Local, air: &Air, curve: &PowerCurve, lags: &Lags) {
        self.wind_fast += lags.s3 * (local.rotor - self.wind_fast);
        self.wind_minute += lags.s60 * (local.point - self.wind_minute);
        self.wind_ten += lags.s600 * (local.point - self.wind_ten);
        let offered = curve.at(normal_wind(self.wind_fast, air.density));
        self.available_kw += lags.s3 * (offered - self.available_kw);
    }

    /// One step; writes what can be measured of it.
    pub fn step(
        &mut self,
        decision: &Decision,
        local: &Local,
        damage: &Damage,
        lags: &Lags,
        out: &mut Signals,
    ) {
        self.yaw(decision, local, damage, lags, out);
        let misaligned = turn(local.direction, self.nacelle);
        let aligned = cos_small(misaligned.clamp(-60.0, 60.0));
        let rough: f64 = damage.pitch_off.iter().map(|off| off * off).sum();
        let possible = self.available_kw
            * (aligned * aligned * aligned)
            * (1.0 - 0.5 * decision.ice)
            * (1.0 - 0.004 * rough).max(0.5);
        let running = decision.mode == Mode::Running;
        if running {
            let target = possible.min(decision.limit_kw());
            self.power_kw += lags.s3 * (target - self.power_kw);
            self.power_kw = self.power_kw.min(self.available_kw).max(0.0);
        } else {
            let down = 200.0 * lags.dt_s;
            self.power_kw = (self.power_kw - down)
                .min(self.available_kw)
                .max(-AUXILIARY_KW);
        }
        self.speed(decision, lags);
        self.blades(decision, possible, lags, damage, out);
        self.write(decision, local, out);
    }

    fn speed(&mut self, decision: &Decision, lags: &Lags) {
        match decision.mode {
            Mode::Running => {
                self.rotor_rpm += lags.s8 * (speed(self.wind_fast) - self.rotor_rpm);
            }
            Mode::Starting => {
                self.rotor_rpm = (self.rotor_rpm + 0.12 * lags.dt_s).min(ROTOR_MIN_RPM + 0.1);
            }
            mode => {
                // feathered it turns slowly; people lock it
                let idle = if matches!(mode, Mode::Service | Mode::Tripped) {
                    0.0
                } else {
                    0.05 * self.wind_fast
                };
                self.rotor_rpm += lags.s8 * (idle - self.rotor_rpm);
            }
        }
        self.azimuth = (self.azimuth + 6.0 * self.rotor_rpm * lags.dt_s).rem_euclid(360.0);
        let braking = matches!(decision.mode, Mode::Stopping | Mode::Tripped);
        let work = f64::from(u8::from(braking)) * (self.rotor_rpm / ROTOR_RATED_RPM).min(1.0);
        self.brake_work += lags.s30 * (work - self.brake_work);
    }

    fn blades(
        &mut self,
        decision: &Decision,
        possible: f64,
        lags: &Lags,
        damage: &Damage,
        out: &mut Signals,
    ) {
        let target = match decision.mode {
            Mode::Running => {
                let spilled = (1.0 - self.power_kw / possible.max(1.0)).clamp(0.0, 1.0);
                rated_pitch(self.wind_fast) + if spilled > 0.03 { 12.0 * spilled } else { 0.0 }
            }
            Mode::Starting => 15.0,
            _ => FEATHER_DEG,
        };
        let most = 5.0 * lags.dt_s;
        let moved = (lags.s3 * 2.0 * (target - self.pitch)).clamp(-most, most);
        self.pitch += moved;
        let rate = moved / lags.dt_s;
        self.pitch_work += lags.s60 * (rate.abs() - self.pitch_work);
        let signals = [S::Pitch1, S::Pitch2, S::Pitch3];
        let encoders = [S::EncoderOff1, S::EncoderOff2, S::EncoderOff3];
        for blade in 0..3 {
            let drift = damage.pitch_drift[blade];
            out.set(signals[blade], self.pitch + damage.pitch_off[blade] + drift);
            out.set(encoders[blade], drift);
        }
        out.set(S::PitchRate, rate);
        let load = 12.0 + 0.006 * self.power_kw.max(0.0);
        out.set(S::PitchTorque, load + 9.0 * rate.abs());
        let currents = [S::PitchCurrent1, S::PitchCurrent2, S::PitchCurrent3];
        for (blade, current) in currents.into_iter().enumerate() {
            let strain = 1.0 + 0.15 * damage.pitch_off[blade].abs();
            out.set(current, (2.0 + 0.1 * load + 6.0 * rate.abs()) * strain);
        }
    }

    fn yaw(
        &mut self,
        decision: &Decision,
        local: &Local,
        damage: &Damage,
        lags: &Lags,
        out: &mut Signals,
    ) {
        let error = turn(local.direction, self.nacelle) + damage.vane_off;
        self.vane_error += lags.s30 * (error - self.vane_error);
        let may = !decision.service && self.wind_minute > 2.5 && decision.grid;
        let was = self.yawing;
        self.yawing = may && self.vane_error.abs() > if was { 1.0 } else { YAW_START_DEG };
        let mut moved = 0.0;
        if self.yawing {
            let most = YAW_DEG_PER_S * lags.dt_s;
            moved = self.vane_error.clamp(-most, most);
            self.nacelle = (self.nacelle + moved).rem_euclid(360.0);
            self.vane_error -= moved;
            self.twist += moved;
            self.starts += f64::from(u8::from(!was));
            self.turns += moved.abs() / 360.0;
        }
        self.yaw_work += lags.s600 * (f64::from(u8::from(self.yawing)) - self.yaw_work);
        out.set(S::YawError, error);
        out.set(S::VaneDirection, (self.nacelle + error).rem_euclid(360.0));
        out.set(S::WindDirection, (self.nacelle + error).rem_euclid(360.0));
        out.set(S::Nacelle, self.nacelle);
        out.set(S::YawRate, moved / lags.dt_s);
        out.switch(S::YawActive, self.yawing);
        out.set(S::CableTwist, self.twist);
        out.set(S::YawTurns, self.turns);
        out.set(S::YawStarts, self.starts);
        out.set(S::YawMotorCurrent, if self.yawing { 9.5 } else { 0.1 });
        out.set(S::YawBrakePressure, if self.yawing { 22.0 } else { 158.0 });
    }

    fn write(&self, decision: &Decision, local: &Local, out: &mut Signals) {
        out.set(S::ActivePower, self.power_kw);
        out.set(S::AvailablePower, self.available_kw);
        out.set(S::WindPoint, local.point);
        out.set(S::Turbulence, 100.0 * local.turbulence);
        out.set(S::RotorSpeed, self.rotor_rpm);
        out.set(S::GeneratorSpeed, self.rotor_rpm * GEAR_RATIO);
        out.set(S::RotorPosition, self.azimuth);
        out.switch(S::Feathered, self.pitch > FEATHER_DEG - 1.0);
        let parked = matches!(decision.mode, Mode::Service | Mode::Tripped);
        out.switch(S::Brake, parked);
        let limit = decision.limit_kw();
        out.set(S::Setpoint, limit);
        out.set(S::SetpointSource, f64::from(decision.source()));
        let percent = |kw: f64| 100.0 * (1.0 - (kw / RATED_KW).min(1.0));
        out.set(S::CurtailmentLevel, percent(decision.curtailment_kw));
        let reason = f64::from(decision.curtailment_reason);
        out.set(S::CurtailmentReason, reason);
        out.switch(S::NoiseMode, decision.curtailment_reason == 3);
        out.switch(S::BatStop, decision.curtailment_reason == 4);
        out.switch(S::ShadowStop, decision.curtailment_reason == 5);
        out.set(S::DerateLevel, percent(decision.derate_kw));
        out.set(S::DerateReason, f64::from(decision.derate_reason));
        out.switch(S::Ice, decision.ice > 0.0);
        out.set(S::IecState, f64::from(decision.iec_state));
        out.set(S::OperatingState, f64::from(decision.mode as u8));
        out.set(S::AlarmCode, f64::from(decision.alarm));
        out.switch(S::Service, decision.service);
        out.switch(S::Remote, !decision.service);
        out.switch(S::StopChain, decision.mode == Mode::Tripped);
        out.switch(S::Standing, decision.mode != Mode::Running);
        let connected = decision.grid && decision.mode == Mode::Running;
        out.switch(S::GridConnected, connected);
        out.switch(S::MainBreaker, connected);
        out.switch(S::MediumBreaker, decision.grid);
        out.switch(S::OnBattery, !decision.grid);
    }
}

/// Rotor speed at a wind, rpm.
fn speed(wind: f64) -> f64 {
    (RPM_PER_MS * wind).clamp(ROTOR_MIN_RPM, ROTOR_RATED_RPM)
}
