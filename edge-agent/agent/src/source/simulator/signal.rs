//! What one channel of a simulated turbine shows, chosen by its kind, unit and name.
//!
//! A profile may name any channel: what no rule knows gets a steady signal with a little noise, so that every channel lives.

use rand::{Rng, RngExt};
use windlass_shared::catalogue::{Channel, Kind};
use windlass_shared::time::EventTime;

use super::plant::{Plant, RATED_KW, gauss};

/// What a channel follows.
#[derive(Clone, Copy, Debug)]
enum Follows {
    Wind,
    WindDirection,
    NacelleDirection,
    YawError,
    Pitch,
    Power,
    AvailablePower,
    ReactivePower,
    PowerSetpoint,
    Rotor {
        ratio: f64,
    },
    /// First-order lag towards ambient + `base` + `rise` x load; `tau_s` seconds.
    Temperature {
        base: f64,
        rise: f64,
        tau_s: f64,
    },
    Ambient,
    /// Grows with the load, from `idle` to `idle + rise`.
    Loaded {
        idle: f64,
        rise: f64,
    },
    /// Noise around nothing.
    Sway {
        sigma: f64,
    },
    RotorPosition,
    Voltage {
        nominal: f64,
    },
    Frequency,
    State {
        running: f64,
        waiting: f64,
    },
    Code,
    Energy,
    /// Seconds of production over `unit_s`.
    RunningTime {
        unit_s: f64,
    },
    Steady {
        level: f64,
    },
}

/// One channel's signal: what it follows, this sensor's own error, its noise, and its memory.
pub struct Signal {
    follows: Follows,
    /// This sensor's constant error, in its unit.
    bias: f64,
    /// Standard deviation of its noise, in its unit.
    noise: f64,
    /// A lag's state and when it was last moved.
    lag: Option<(f64, EventTime)>,
}

impl Signal {
    /// The signal of `channel`; the sensor's own error comes from `rng`.
    pub fn of(channel: &Channel, rng: &mut impl Rng) -> Self {
        let step = channel.scale_num as f64 / channel.scale_den as f64;
        let follows = follows(channel, rng);
        let spread = rng.random_range(-1.0..1.0);
        let (bias, noise) = match follows {
            Follows::Wind | Follows::YawError => (0.1 * spread, 0.15),
            Follows::WindDirection => (spread, 1.0),
            Follows::NacelleDirection => (0.0, 0.5 * step),
            Follows::Pitch => (0.05 * spread, 0.02),
            Follows::Power | Follows::AvailablePower | Follows::ReactivePower => (0.0, 2.0),
            Follows::Rotor { ratio } => (0.0, 0.01 * ratio),
            // resistance thermometers: half a kelvin of tolerance, noise about one step of 0.1
            Follows::Temperature { .. } | Follows::Ambient => (0.5 * spread, 0.04),
            Follows::Sway { sigma } => (0.1 * sigma * spread, sigma),
            Follows::Loaded { idle, rise } => (0.0, 0.02 * (idle + rise)),
            Follows::Voltage { nominal } => (0.002 * nominal * spread, 0.0008 * nominal),
            Follows::Frequency => (0.0, 0.002),
            Follows::Steady { .. } if channel.kind != Kind::Analogue => (0.0, 0.0),
            Follows::Steady { level } => (0.0, 0.001 * level.abs()),
            Follows::PowerSetpoint
            | Follows::RotorPosition
            | Follows::State { .. }
            | Follows::Code
            | Follows::Energy
            | Follows::RunningTime { .. } => (0.0, 0.0),
        };
        Self {
            follows,
            bias,
            noise,
            lag: None,
        }
    }

    /// Its value at `at`, in the channel's unit.
    pub fn value(&mut self, at: EventTime, plant: &Plant, rng: &mut impl Rng) -> f64 {
        let noise = if self.noise > 0.0 {
            self.noise * gauss(rng)
        } else {
            0.0
        };
        let ideal = match self.follows {
            Follows::Wind => return (plant.wind + self.bias + noise).max(0.0),
            Follows::WindDirection => {
                return (plant.wind_dir + self.bias + noise).rem_euclid(360.0);
            }
            Follows::NacelleDirection => plant.nacelle_dir,
            Follows::YawError => {
                (plant.wind_dir - plant.nacelle_dir + 540.0).rem_euclid(360.0) - 180.0
            }
            Follows::Pitch => plant.pitch,
            Follows::Power => plant.power_kw,
            Follows::AvailablePower => plant.available_kw,
            Follows::ReactivePower => 0.1 * plant.power_kw,
            Follows::PowerSetpoint => RATED_KW,
            Follows::Rotor { ratio } => return (plant.rotor_rpm * ratio + noise).max(0.0),
            Follows::Temperature { base, rise, tau_s } => {
                self.lagged(at, plant.ambient + base + rise * plant.warm_load, tau_s)
            }
            Follows::Ambient => plant.ambient,
            Follows::Loaded { idle, rise } => {
                return (idle + rise * plant.load() + self.bias + noise).max(0.0);
            }
            Follows::Voltage { nominal } => nominal * plant.voltage,
            Follows::Frequency => plant.frequency,
            Follows::State { running, waiting } => {
                if plant.producing() {
                    running
                } else {
                    waiting
                }
            }
            Follows::Sway { .. } => 0.0,
            Follows::RotorPosition => plant.rotor_deg,
            Follows::Code => plant.alarm as f64,
            Follows::Energy => plant.energy_kwh,
            Follows::RunningTime { unit_s } => plant.producing_s / unit_s,
            Follows::Steady { level } => level,
        };
        ideal + self.bias + noise
    }

    /// First-order lag towards `target`.
    fn lagged(&mut self, at: EventTime, target: f64, tau_s: f64) -> f64 {
        let (value, since) = self.lag.unwrap_or((target, at));
        let dt_s = (at.0 - since.0).max(0) as f64 / 1e6;
        let moved = value + (target - value) * (dt_s / tau_s).min(1.0);
        self.lag = Some((moved, at));
        moved
    }
}

fn follows(channel: &Channel, rng: &mut impl Rng) -> Follows {
    let name = channel.name.as_str();
    let has = |part: &str| name.contains(part);
    let steady = |level| Follows::Steady { level };
    match channel.kind {
        Kind::State => state(name),
        Kind::Event => Follows::Code,
        Kind::Counter if channel.unit == "s" => Follows::RunningTime { unit_s: 1.0 },
        Kind::Counter if channel.unit == "h" => Follows::RunningTime { unit_s: 3_600.0 },
        Kind::Counter if has("energy") && has("export") && !has("reactive") => Follows::Energy,
        Kind::Counter => steady(f64::from(rng.random_range(0..5_000_u16))),
        Kind::Setpoint if has("active_power") && !has("reactive") => Follows::PowerSetpoint,
        Kind::Setpoint if has("power_factor") => steady(1.0),
        Kind::Setpoint => steady(0.0),
        Kind::Angle if has("wind") => Follows::WindDirection,
        Kind::Angle if has("pitch") || has("blade") => Follows::Pitch,
        Kind::Angle if has("rotor") => Follows::RotorPosition,
        Kind::Angle => Follows::NacelleDirection,
        Kind::Rms => vibration(name, rng),
        Kind::Analogue => analogue(name, &channel.unit, rng),
    }
}

/// Switches rest; what says that the machine runs follows it.
fn state(name: &str) -> Follows {
    let has = |part: &str| name.contains(part);
    let (running, waiting) = if has("iec_state") {
        (1.0, 3.0) // full performance, ready standby
    } else if has("operating_state") || has("converter_state") {
        (4.0, 2.0)
    } else if has("grid_connected") || has("breaker") {
        (1.0, 0.0)
    } else if has("source") || has("enabled") || has("chain") || has("pump") || has("drive_state") {
        (1.0, 1.0)
    } else {
        (0.0, 0.0)
    };
    Follows::State { running, waiting }
}

/// Healthy levels: about a third of the alert boundaries of VDI 3834-1 at full load.
fn vibration(name: &str, rng: &mut impl Rng) -> Follows {
    let has = |part: &str| name.contains(part);
    let full = if has("0p1_10hz") {
        0.12 // m/s2
    } else if has("10_1000hz") && has("gearbox") {
        1.2 // mm/s
    } else if has("10_1000hz") && has("generator") {
        2.0 // mm/s
    } else if has("10_1000hz") {
        0.7 // mm/s
    } else if has("10_2000hz") || has("10_5000hz") {
        2.8 // m/s2
    } else {
        0.8
    };
    let full = full * rng.random_range(0.8..1.2);
    Follows::Loaded {
        idle: 0.15 * full,
        rise: 0.85 * full,
    }
}

fn analogue(name: &str, unit: &str, rng: &mut impl Rng) -> Follows {
    let has = |part: &str| name.contains(part);
    let steady = |level| Follows::Steady { level };
    match unit {
        "m/s" => Follows::Wind,
        "m/s2" => Follows::Sway { sigma: 0.05 },
        "deg" if has("error") => Follows::YawError,
        "deg" if has("inclination") => Follows::Sway { sigma: 0.02 },
        "deg" | "deg/s" => Follows::Sway { sigma: 0.01 },
        "kW" | "kVA" if has("available") || has("potential") => Follows::AvailablePower,
        "kW" | "kVA" if name == "active_power" || has("apparent") => Follows::Power,
        "kW" => Follows::Loaded {
            idle: 5.0,
            rise: if has("auxiliary") { 25.0 } else { 700.0 },
        },
        "kvar" => Follows::ReactivePower,
        "rpm" if has("rotor") || has("hub") => Follows::Rotor { ratio: 1.0 },
        "rpm" => Follows::Rotor { ratio: 104.0 },
        "°C" | "Cel" | "degC" => temperature(name, rng),
        "bar" => Follows::Loaded {
            idle: if has("hydraulic") || has("accumulator") || has("brake") {
                180.0
            } else if has("difference") {
                0.4
            } else {
                3.0
            },
            rise: 0.3,
        },
        "V" | "kV" => Follows::Voltage {
            nominal: if unit == "kV" {
                20.0
            } else if has("dc_link") {
                1_100.0
            } else if has("24v") || has("battery") {
                24.0
            } else {
                400.0
            },
        },
        "A" => Follows::Loaded {
            idle: rng.random_range(0.5..3.0),
            rise: match () {
                () if has("motor") => 4.0,
                () if has("supply") => 1.0,
                () => 1_800.0,
            },
        },
        "kNm" => Follows::Loaded {
            idle: 150.0,
            rise: if has("base") { 40_000.0 } else { 1_600.0 },
        },
        "Hz" => Follows::Frequency,
        "hPa" => steady(1_000.0 + rng.random_range(-20.0..20.0)),
        "kg/m3" => steady(1.2),
        "mm/h" => steady(0.0),
        "" => steady(rng.random_range(0.1..1.0)),
        _ => steady(rng.random_range(5.0..60.0)),
    }
}

/// Warm-up and time constants by component; warning levels are well above (gear oil 75, generator bearing 95, winding 140).
fn temperature(name: &str, rng: &mut impl Rng) -> Follows {
    let has = |part: &str| name.contains(part);
    let (base, rise, tau_s) = if has("ambient") || has("outside") {
        return Follows::Ambient;
    } else if has("winding") {
        (25.0, 60.0, 900.0)
    } else if has("generator") && has("bearing") {
        (15.0, 40.0, 1_800.0)
    } else if has("gear") && has("bearing") {
        (18.0, 42.0, 1_800.0)
    } else if has("gear") {
        (20.0, 28.0, 2_400.0)
    } else if has("main_bearing") {
        (8.0, 15.0, 3_600.0)
    } else if has("transformer") || has("converter") || has("igbt") {
        (18.0, 40.0, 1_200.0)
    } else {
        (6.0, 10.0, 3_600.0)
    };
    Follows::Temperature {
        base,
        rise: rise * rng.random_range(0.9..1.1),
        tau_s,
    }
}
