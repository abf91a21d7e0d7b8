//! Kinds of sensors: how far one is off, how noisy it is, and what it can show.

/// A kind of sensor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sensor {
    /// Standard deviation of its constant error, in its unit.
    pub bias: f64,
    /// Standard deviation of its gain, relative.
    pub spread: f64,
    /// Standard deviation of its noise, in its unit.
    pub noise: f64,
    /// Standard deviation of its noise relative to the value.
    pub relative: f64,
    /// Least and greatest that it can show.
    pub range: (f64, f64),
}

/// `name: bias, spread, noise, relative noise, least to greatest;`
macro_rules! sensors {
    ($($name:ident: $bias:literal, $spread:literal, $noise:literal, $relative:literal, $low:literal to $high:literal;)*) => {
        $(pub(crate) const $name: Sensor = Sensor {
            bias: $bias,
            spread: $spread,
            noise: $noise,
            relative: $relative,
            range: ($low, $high),
        };)*
    };
}

sensors! {
    AMPERE: 0.0, 0.004, 0.4, 0.003, 0.0 to 6_000.0;
    AUXILIARY: 0.0, 0.02, 0.1, 0.01, 0.0 to 200.0;
    BAND: 0.0, 0.08, 0.003, 0.02, 0.0 to 100.0;
    BAND_LOW: 0.0, 0.08, 0.001, 0.03, 0.0 to 20.0;
    BAR: 0.4, 0.0, 0.15, 0.0, 0.0 to 300.0;
    BAR_FINE: 0.03, 0.0, 0.015, 0.0, 0.0 to 20.0;
    BAR_LOW: 0.2, 0.0, 0.1, 0.0, 0.0 to 100.0;
    BATTERY: 0.8, 0.0, 0.15, 0.0, 0.0 to 400.0;
    CODE: 0.0, 0.0, 0.0, 0.0, 0.0 to 65_535.0;
    COMPASS: 0.0, 0.0, 0.03, 0.0, 0.0 to 360.0;
    COUNT: 0.0, 0.0, 0.0, 0.0, 0.0 to 9e15;
    CYCLE: 0.1, 0.0, 0.15, 0.0, 0.0 to 100.0;
    DENSITY: 0.002, 0.0, 0.0004, 0.0, 0.8 to 1.7;
    DIRECTION: 0.8, 0.0, 1.2, 0.0, 0.0 to 360.0;
    ENCODER: 0.01, 0.0, 0.012, 0.0, -20.0 to 20.0;
    ERROR: 0.5, 0.0, 1.0, 0.0, -180.0 to 180.0;
    EXACT_POWER: 0.0, 0.0, 0.0, 0.0, -500.0 to 3_600.0;
    FACTOR: 0.0, 0.0, 0.0008, 0.0, 0.0 to 1.0;
    FLOW: 0.8, 0.0, 0.4, 0.0, 0.0 to 300.0;
    GENERATOR_RPM: 0.0, 0.0, 0.6, 0.0, 0.0 to 2_200.0;
    HERTZ: 0.0, 0.0, 0.0008, 0.0, 0.0 to 60.0;
    HOT: 0.4, 0.0, 0.05, 0.0, -40.0 to 600.0;
    JITTER: 1.0, 0.0, 3.0, 0.0, 0.0 to 10_000.0;
    KILOVOLT: 0.02, 0.0, 0.01, 0.0, 0.0 to 30.0;
    LENGTH: 2.0, 0.0, 0.5, 0.0, 0.0 to 300.0;
    LEVEL: 0.0, 0.0, 0.0, 0.0, 0.0 to 100.0;
    MILLIMETRE: 0.03, 0.0, 0.01, 0.0, -10.0 to 10.0;
    MOMENT: 0.0, 0.01, 3.0, 0.01, -200_000.0 to 200_000.0;
    PARTICLES: 0.0, 0.15, 0.6, 0.12, 0.0 to 10_000.0;
    PERCENT: 0.5, 0.0, 0.25, 0.0, 0.0 to 100.0;
    PERCENT_FINE: 0.05, 0.0, 0.04, 0.01, 0.0 to 100.0;
    PERCENT_SIGNED: 0.5, 0.0, 0.6, 0.0, -200.0 to 200.0;
    PITCH: 0.03, 0.0, 0.015, 0.0, -10.0 to 120.0;
    PART_POWER: 0.0, 0.0, 1.5, 0.0005, 0.0 to 3_000.0;
    POWER: 0.0, 0.0, 1.5, 0.0005, -500.0 to 3_600.0;
    PRESSURE: 0.3, 0.0, 0.05, 0.0, 800.0 to 1_100.0;
    RAIN: 0.0, 0.05, 0.02, 0.02, 0.0 to 200.0;
    RATE: 0.0, 0.0, 0.01, 0.0, -12.0 to 12.0;
    REACTIVE: 0.0, 0.0, 0.8, 0.0, -3_000.0 to 3_000.0;
    REACTIVE_SET: 0.0, 0.0, 0.0, 0.0, -3_000.0 to 3_000.0;
    RPM: 0.0, 0.0, 0.006, 0.0, 0.0 to 25.0;
    SLIP_POWER: 0.0, 0.0, 0.8, 0.001, -1_500.0 to 1_500.0;
    SLOPE: 0.01, 0.0, 0.004, 0.0, -10.0 to 10.0;
    SMALL_CURRENT: 0.05, 0.02, 0.06, 0.01, 0.0 to 100.0;
    SUPPLY: 0.05, 0.0, 0.015, 0.0, 0.0 to 60.0;
    SUPPLY_CURRENT: 0.05, 0.05, 0.03, 0.01, 0.0 to 60.0;
    SWAY: 0.001, 0.0, 0.0008, 0.0, -20.0 to 20.0;
    SWITCH: 0.0, 0.0, 0.0, 0.0, 0.0 to 1.0;
    TEMP: 0.4, 0.0, 0.04, 0.0, -45.0 to 220.0;
    TORQUE: 0.0, 0.004, 0.01, 0.004, -50.0 to 50.0;
    TWIST: 0.0, 0.0, 0.2, 0.0, -2_000.0 to 2_000.0;
    VOLT: 0.0, 0.0015, 0.15, 0.0004, 0.0 to 1_300.0;
    WEAR: 0.0, 0.02, 0.0, 0.0, 0.0 to 100.0;
    WIND: 0.08, 0.006, 0.1, 0.01, 0.0 to 60.0;
}
