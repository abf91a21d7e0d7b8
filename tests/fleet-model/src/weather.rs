//! The air and the grid of a farm, and the wind that one turbine's rotor meets.
//!
//! Invariants: a function of (seed, farm, turbine, time) alone, but for the ice, which has gathered since the run's
//! beginning; every turbine of a farm sees the same farm weather. Wind has synoptic, diurnal and mesoscale variation in
//! common, and its own turbulence from minutes to seconds.

use core::f64::consts::{PI, TAU};

use crate::noise::{Normals, Octave, key_of, mix};
use crate::rime::Rime;
use crate::scenario::Climate;

const DAY_US: i64 = 86_400_000_000;
const YEAR_US: f64 = 365.2425 * DAY_US as f64;
/// Cooling, heating and the like of all farms together move the grid: its frequency is common to the fleet.
const GRID: u64 = 0x6772_6964;
/// The sky is looked at this often: it has no shorter scales.
pub const SKY_US: i64 = 10_000_000;
const HOUR_US: f64 = 3.6e9;

/// What all turbines of a farm have in common.
#[derive(Clone, Copy, Debug, Default)]
pub struct Air {
    /// Free wind at the hub, m/s.
    pub wind: f64,
    /// Where it comes from, degrees.
    pub direction: f64,
    /// Degrees Celsius.
    pub temperature: f64,
    /// At the site, hPa.
    pub pressure: f64,
    /// Percent.
    pub humidity: f64,
    /// kg/m3.
    pub density: f64,
    /// mm/h.
    pub rain: f64,
    /// Turbulence intensity of the free wind.
    pub turbulence: f64,
    /// Exponent of the wind's profile over height.
    pub shear: f64,
    /// -1 at midnight to 1 at noon.
    pub sun: f64,
    /// Thunder in the air.
    pub thunder: bool,
    /// Ice on the blades, 0 to 1.
    pub ice: f64,
    /// The rotors stand because of it.
    pub iced: bool,
}

/// Weather of a farm.
#[derive(Clone, Debug)]
pub struct Weather {
    climate: Climate,
    synoptic: [Octave; 3],
    mesoscale: [Octave; 3],
    veer: [Octave; 3],
    warmth: [Octave; 2],
    pressure: Octave,
    moisture: Octave,
    calm: Octave,
    showers: Octave,
    rime: Rime,
    sky_at: Option<i64>,
    sky: Air,
}

impl Weather {
    /// Of the farm `name` in a fleet of this seed.
    pub fn new(seed: u64, name: &str, climate: &Climate) -> Self {
        let key = key_of(seed, name);
        let octave = |n: u64, hours: i64| Octave::new(mix(key, n), hours * 3_600);
        let short = |n: u64, minutes: i64| Octave::new(mix(key, n), minutes * 60);
        Self {
            climate: *climate,
            synoptic: [octave(1, 120), octave(2, 46), octave(3, 17)],
            mesoscale: [octave(4, 5), short(5, 80), short(6, 21)],
            veer: [octave(7, 90), octave(8, 14), short(9, 25)],
            warmth: [octave(10, 150), octave(11, 30)],
            pressure: octave(12, 75),
            moisture: octave(13, 11),
            calm: octave(14, 8),
            showers: short(15, 50),
            rime: Rime::default(),
            sky_at: None,
            sky: Air::default(),
        }
    }

    /// At `at_us`; times ascend.
    #[inline]
    pub fn at(&mut self, at_us: i64, normals: &Normals) -> Air {
        let slot = at_us.div_euclid(SKY_US);
        if self.sky_at != Some(slot) {
            self.look(slot, normals);
        }
        self.sky
    }

    /// A new sky: what is slow is computed here, once in ten seconds.
    fn look(&mut self, slot: i64, normals: &Normals) {
        let passed = slot - self.sky_at.replace(slot).unwrap_or(slot);
        self.sky = self.compute(slot * SKY_US, normals);
        let hours = (passed.max(0) * SKY_US) as f64 / HOUR_US;
        self.rime
            .step(&self.sky, self.climate.cloud_water_gm3, hours);
        self.sky.ice = self.rime.severity();
        self.sky.iced = self.rime.stops();
    }

    fn compute(&mut self, at: i64, n: &Normals) -> Air {
        let c = self.climate;
        let day = at.rem_euclid(DAY_US) as f64 / DAY_US as f64;
        let sun = libm::cos((day - c.noon_utc_h / 24.0) * TAU);
        // warmest three hours after noon
        let afternoon = libm::cos((day - (c.noon_utc_h + 3.0) / 24.0) * TAU);
        // days since the middle of July 1970
        let season = libm::cos((at as f64 / YEAR_US - 196.0 / 365.2425) * TAU);
        let [long, middle, short] = &mut self.synoptic;
        let synoptic = 0.62 * long.at(at, n) + 0.55 * middle.at(at, n) + 0.33 * short.at(at, n);
        let [hours, hour, minutes] = &mut self.mesoscale;
        let mesoscale = 0.10 * hours.at(at, n) + 0.06 * hour.at(at, n) + 0.04 * minutes.at(at, n);
        // nights are windier at hub height on land
        let relative = 1.0 + 0.42 * synoptic + mesoscale - 0.05 * sun - 0.10 * season;
        let wind = (c.mean_wind_ms * relative).max(0.25 + 0.1 * self.calm.at(at, n).abs());
        let [fronts, half_day, gusts] = &mut self.veer;
        let direction = c.prevailing_deg
            + 55.0 * fronts.at(at, n)
            + 14.0 * half_day.at(at, n)
            + 3.0 * gusts.at(at, n);
        let [weeks, days] = &mut self.warmth;
        let temperature = c.mean_temperature_c
            + c.seasonal_k * season
            + c.diurnal_k * afternoon
            + 3.2 * weeks.at(at, n)
            + 1.6 * days.at(at, n);
        let pressure = 1_013.0 * libm::exp(-c.altitude_m / 8_430.0) + 8.0 * self.pressure.at(at, n)
            - 2.0 * synoptic;
        let shower = self.showers.at(at, n);
        let rain = (4.0 * (shower - 1.3)).clamp(0.0, 30.0);
        let humidity = (76.0 - 12.0 * afternoon
            + 9.0 * self.moisture.at(at, n)
            + if rain > 0.0 { 12.0 } else { 0.0 })
        .clamp(18.0, 100.0);
        Air {
            wind,
            direction: direction.rem_euclid(360.0),
            temperature,
            pressure,
            humidity,
            density: density(pressure, temperature, humidity),
            rain,
            turbulence: (c.turbulence + 0.02 * sun).max(0.03),
            shear: 0.18 - 0.08 * sun,
            sun,
            thunder: shower > 2.6 && season > 0.0,
            ice: 0.0,
            iced: false,
        }
    }
}

/// Of moist air, kg/m3 (Tetens' formula for the vapour).
fn density(pressure_hpa: f64, celsius: f64, humidity: f64) -> f64 {
    let saturated = 6.1078 * libm::exp(17.27 * celsius / (celsius + 237.3));
    let vapour = 0.01 * humidity * saturated;
    let kelvin = celsius + 273.15;
    100.0 * ((pressure_hpa - vapour) / (287.05 * kelvin) + vapour / (461.5 * kelvin))
}

/// Voltage and frequency.
#[derive(Clone, Debug)]
pub struct Grid {
    load: [Octave; 3],
    voltage: [Octave; 2],
}

impl Grid {
    /// Of a farm: the frequency is the fleet's, the voltage its own.
    pub fn new(seed: u64, farm: &str) -> Self {
        let key = mix(seed, GRID);
        let own = key_of(seed, farm);
        Self {
            load: [
                Octave::new(key, 900),
                Octave::new(key, 60),
                Octave::new(key, 7),
            ],
            voltage: [
                Octave::new(mix(own, GRID), 1_800),
                Octave::new(mix(own, GRID), 20),
            ],
        }
    }

    /// Hz, and voltage relative to nominal.
    #[inline]
    pub fn at(&mut self, at_us: i64, n: &Normals) -> (f64, f64) {
        let [slow, minute, fast] = &mut self.load;
        let hertz = 50.0
            + 0.014 * slow.at(at_us, n)
            + 0.009 * minute.at(at_us, n)
            + 0.004 * fast.at(at_us, n);
        let [hour, seconds] = &mut self.voltage;
        let voltage = 1.0 + 0.007 * hour.at(at_us, n) + 0.0025 * seconds.at(at_us, n);
        (hertz, voltage)
    }
}

/// The wind that one turbine meets.
#[derive(Clone, Debug)]
pub struct LocalWind {
    slow: [Octave; 2],
    gusts: [Octave; 4],
    sway: [Octave; 2],
}

/// At one turbine's hub.
#[derive(Clone, Copy, Debug)]
pub struct Local {
    /// At the anemometer, m/s.
    pub point: f64,
    /// What the whole rotor feels: short gusts are smaller than it, m/s.
    pub rotor: f64,
    /// Degrees.
    pub direction: f64,
    /// Turbulence intensity, wakes included.
    pub turbulence: f64,
}

impl LocalWind {
    /// Of a turbine with this key.
    pub fn new(key: u64) -> Self {
        let octave = |n: u64, seconds: i64| Octave::new(mix(key, 100 + n), seconds);
        Self {
            slow: [octave(0, 700), octave(1, 250)],
            gusts: [octave(2, 90), octave(3, 35), octave(4, 12), octave(5, 4)],
            sway: [octave(6, 120), octave(7, 15)],
        }
    }

    /// `deficit`: what wakes take, relative.
    #[inline]
    pub fn at(&mut self, at_us: i64, air: &Air, deficit: f64, n: &Normals) -> Local {
        // above rated wind, thrust and with it the wakes fall
        let thrust = (11.0 / air.wind.max(11.0)).powi(2);
        let deficit = deficit * thrust;
        let turbulence = (air.turbulence * air.turbulence + 0.09 * deficit * deficit).sqrt();
        let [slow, slower] = &mut self.slow;
        let mean = air.wind
            * (1.0 - deficit)
            * (1.0 + 0.02 * slow.at(at_us, n) + 0.015 * slower.at(at_us, n));
        // lasting 90, 35, 12 and 4 seconds: what of each the point feels, and what the whole rotor
        let weights = [(0.60, 0.58), (0.55, 0.48), (0.45, 0.24), (0.36, 0.08)];
        let (mut at_point, mut at_rotor) = (0.0, 0.0);
        for (gust, (point, rotor)) in self.gusts.iter_mut().zip(weights) {
            let x = gust.at(at_us, n);
            at_point += point * x;
            at_rotor += rotor * x;
        }
        let sigma = turbulence * mean;
        let (point, rotor) = (mean + sigma * at_point, mean + sigma * at_rotor);
        let [minutes, seconds] = &mut self.sway;
        let swing = 57.3 * turbulence * (0.5 * minutes.at(at_us, n) + 0.35 * seconds.at(at_us, n));
        Local {
            point: point.max(0.1),
            rotor: rotor.max(0.1),
            direction: (air.direction + swing).rem_euclid(360.0),
            turbulence,
        }
    }
}

/// Degrees from `to` to `from`, -180 to below 180.
#[inline]
pub fn turn(from: f64, to: f64) -> f64 {
    (from - to + 540.0).rem_euclid(360.0) - 180.0
}

/// Cosine for angles up to a right one, by its series: within 2.5e-5, the same on every platform.
#[inline]
pub fn cos_small(degrees: f64) -> f64 {
    let x = (degrees * (PI / 180.0)).clamp(-PI / 2.0, PI / 2.0);
    let s = x * x;
    1.0 + s * (-0.5 + s * (1.0 / 24.0 + s * (-1.0 / 720.0 + s / 40_320.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_year_has_seasons_days_and_wind_that_fits_the_climate() {
        let normals = Normals::new(1);
        let climate = Climate::default();
        let mut weather = Weather::new(5, "NORD", &climate);
        let begins = 1_767_225_600_000_000; // 2026-01-01
        let hours: Vec<Air> = (0..8_760)
            .map(|h| weather.at(begins + h * 3_600_000_000, &normals))
            .collect();
        let mean = |of: &dyn Fn(&Air) -> f64, part: &[Air]| {
            part.iter().map(of).sum::<f64>() / part.len() as f64
        };
        let wind = mean(&|a| a.wind, &hours);
        assert!((wind - climate.mean_wind_ms).abs() < 1.2, "{wind}");
        let calm = hours.iter().filter(|a| a.wind < 3.0).count();
        let storm = hours.iter().filter(|a| a.wind > 14.0).count();
        assert!(calm > 200 && storm > 100, "{calm} {storm}");
        let january = mean(&|a| a.temperature, &hours[..744]);
        let july = mean(&|a| a.temperature, &hours[4_344..5_088]);
        assert!(july - january > 12.0, "{january} {july}");
        assert!(hours.iter().all(|a| (1.0..1.5).contains(&a.density)));
        assert!(hours.iter().any(|a| a.rain > 0.5));
        let afternoons: Vec<Air> = hours.iter().skip(14).step_by(24).copied().collect();
        let nights: Vec<Air> = hours.iter().skip(3).step_by(24).copied().collect();
        let swing = mean(&|a| a.temperature, &afternoons) - mean(&|a| a.temperature, &nights);
        assert!((5.0..11.0).contains(&swing), "{swing}");
    }

    #[test]
    fn the_cosine_is_one() {
        for d in -90..=90 {
            let exact = libm::cos(f64::from(d) * PI / 180.0);
            assert!((cos_small(f64::from(d)) - exact).abs() < 3e-5, "{d}");
        }
    }
}
