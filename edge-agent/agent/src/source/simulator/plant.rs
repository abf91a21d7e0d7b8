//! The state of a simulated turbine: weather, and what the machine makes of it. Steps of one second.
//!
//! A 3 MW onshore machine; the numbers are typical data-sheet values, not a particular product's.

use rand::{Rng, RngExt};
use windlass_shared::time::{EventTime, SECOND_US};

/// Rated power, kW.
pub const RATED_KW: f64 = 3_000.0;
/// Longest gap that is simulated second by second; the weather of a longer one is not.
const CATCH_UP_MAX_S: i64 = 60;
const CUT_IN_MS: f64 = 3.0;
const RATED_MS: f64 = 12.0;
const CUT_OUT_MS: f64 = 25.0;

/// What the whole machine does.
pub struct Plant {
    at: EventTime,
    mean_wind: f64,
    gust: f64,
    /// Wind at the hub, m/s.
    pub wind: f64,
    /// Where it blows from, degrees.
    pub wind_dir: f64,
    /// Where the nacelle points, degrees.
    pub nacelle_dir: f64,
    /// Power that the wind would give, kW.
    pub available_kw: f64,
    /// Power that is made, kW.
    pub power_kw: f64,
    /// Rotor speed, rpm.
    pub rotor_rpm: f64,
    /// Where the rotor stands, degrees.
    pub rotor_deg: f64,
    /// Blade angle, degrees.
    pub pitch: f64,
    /// Outside temperature, degrees Celsius.
    pub ambient: f64,
    /// Load averaged over ten minutes, 0 to 1: what warms the machine.
    pub warm_load: f64,
    /// Grid voltage, relative to nominal.
    pub voltage: f64,
    /// Grid frequency, Hz.
    pub frequency: f64,
    /// Energy made so far, kWh.
    pub energy_kwh: f64,
    /// Seconds the machine has produced.
    pub producing_s: f64,
    /// A code that is on, or 0.
    pub alarm: i64,
    alarm_left_s: u32,
    ambient_base: f64,
}

/// About standard normal: the sum of twelve uniforms (Irwin-Hall), so that no platform's libm is in it.
pub fn gauss(rng: &mut impl Rng) -> f64 {
    let mut sum = -6.0;
    for _ in 0..12 {
        sum += f64::from(rng.next_u32()) / 4_294_967_296.0;
    }
    sum
}

/// Power over wind speed, kW.
fn power_curve(wind: f64) -> f64 {
    if !(CUT_IN_MS..CUT_OUT_MS).contains(&wind) {
        return 0.0;
    }
    let x = ((wind - CUT_IN_MS) / (RATED_MS - CUT_IN_MS)).min(1.0);
    // cubic below, with the knee that real curves have before rated power
    RATED_KW * (x * x * (3.0 - 2.0 * x))
}

/// Rotor speed that goes with a power, rpm.
fn steady_rpm(power_kw: f64) -> f64 {
    if power_kw > 1.0 {
        7.0 + 7.5 * (power_kw / RATED_KW).clamp(0.0, 1.0).sqrt()
    } else {
        0.4
    }
}

impl Plant {
    /// Somewhere in its life, at `start`.
    pub fn new(start: EventTime, rng: &mut impl Rng) -> Self {
        let mean_wind = rng.random_range(6.0..11.0);
        let wind_dir = rng.random_range(180.0..320.0);
        let power_kw = power_curve(mean_wind);
        // it has been running: nothing has to spin up
        let rotor_rpm = steady_rpm(power_kw);
        let mut plant = Self {
            at: start.floor_to(SECOND_US),
            mean_wind,
            gust: 0.0,
            wind: mean_wind,
            wind_dir,
            nacelle_dir: wind_dir,
            available_kw: power_kw,
            power_kw,
            rotor_rpm,
            rotor_deg: 0.0,
            pitch: 0.0,
            ambient: 0.0,
            warm_load: power_kw / RATED_KW,
            voltage: 1.0,
            frequency: 50.0,
            energy_kwh: rng.random_range(1.0e6..9.0e6),
            producing_s: rng.random_range(1.0e7..9.0e7),
            alarm: 0,
            alarm_left_s: 0,
            ambient_base: rng.random_range(2.0..16.0),
        };
        plant.step(rng);
        plant
    }

    /// Steps to the second that holds `to`.
    pub fn advance(&mut self, to: EventTime, rng: &mut impl Rng) {
        if to.0 - self.at.0 > CATCH_UP_MAX_S * SECOND_US {
            self.skip_to(to);
        }
        while self.at.plus_us(SECOND_US) <= to {
            self.at = self.at.plus_us(SECOND_US);
            self.step(rng);
        }
    }

    /// Goes on from `to` with the state as it is.
    pub fn skip_to(&mut self, to: EventTime) {
        self.at = self.at.max(to.floor_to(SECOND_US));
    }

    fn step(&mut self, rng: &mut impl Rng) {
        // weather: an hour's drift around 8.5 m/s, gusts of ten seconds, 10 % turbulence
        self.mean_wind += (8.5 - self.mean_wind) / 7_200.0 + 0.03 * gauss(rng);
        self.mean_wind = self.mean_wind.clamp(3.0, 22.0);
        self.gust += -self.gust / 10.0 + 0.045 * self.mean_wind * gauss(rng);
        self.wind += 0.4 * ((self.mean_wind + self.gust).max(0.0) - self.wind);
        self.wind_dir = (self.wind_dir + 0.15 * gauss(rng)).rem_euclid(360.0);
        let day = (self.at.0.rem_euclid(86_400 * SECOND_US)) as f64 / (86_400 * SECOND_US) as f64;
        self.ambient = self.ambient_base + 4.0 * libm::sin((day - 0.375) * core::f64::consts::TAU);
        // the machine: inertia of the rotor, yaw only beyond 8 degrees
        self.available_kw = power_curve(self.wind);
        self.power_kw += 0.25 * (self.available_kw - self.power_kw);
        let load = (self.power_kw / RATED_KW).clamp(0.0, 1.0);
        let producing = self.power_kw > 1.0;
        self.rotor_rpm += 0.2 * (steady_rpm(self.power_kw) - self.rotor_rpm);
        // revolutions per minute are six degrees a second
        self.rotor_deg = (self.rotor_deg + 6.0 * self.rotor_rpm).rem_euclid(360.0);
        let pitch = if producing {
            (self.wind - RATED_MS).max(0.0) * 1.9
        } else {
            88.0
        };
        self.pitch += (pitch - self.pitch).clamp(-4.0, 4.0);
        let off = (self.wind_dir - self.nacelle_dir + 540.0).rem_euclid(360.0) - 180.0;
        if off.abs() > 8.0 {
            self.nacelle_dir = (self.nacelle_dir + off.signum() * 0.5).rem_euclid(360.0);
        }
        self.warm_load += (load - self.warm_load) / 600.0;
        self.voltage += (1.0 - self.voltage) / 60.0 + 0.0004 * gauss(rng);
        self.frequency += (50.0 - self.frequency) / 30.0 + 0.002 * gauss(rng);
        self.energy_kwh += self.power_kw / 3_600.0;
        self.producing_s += f64::from(u8::from(producing));
        self.step_alarm(rng);
    }

    /// An information code about every half hour, for a minute.
    fn step_alarm(&mut self, rng: &mut impl Rng) {
        if self.alarm_left_s > 0 {
            self.alarm_left_s -= 1;
            if self.alarm_left_s == 0 {
                self.alarm = 0;
            }
        } else if rng.random_range(0..1_800) == 0 {
            self.alarm = rng.random_range(100..140);
            self.alarm_left_s = 60;
        }
    }

    /// Is power made?
    pub fn producing(&self) -> bool {
        self.power_kw > 1.0
    }

    /// Load of this second, 0 to 1.
    pub fn load(&self) -> f64 {
        (self.power_kw / RATED_KW).clamp(0.0, 1.0)
    }
}
