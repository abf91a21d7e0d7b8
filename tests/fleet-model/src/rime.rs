//! Rime on the blades of a farm: cloud water that freezes where the wind drives it, and what melts, wears off and falls.
//!
//! The measure is that of ISO 12494: kilograms on a metre of a reference cylinder of 30 mm. It grows as Makkonen's model has
//! it ("Models for the growth of rime, glaze, icicles and wet snow on structures", Phil. Trans. R. Soc. A 358, 2000):
//! dM/dt = collection x liquid water x wind x width, where the hub stands in cloud and frost. Above freezing it melts with
//! the degrees, in dry frost it wears off slowly. Blades are no cylinders, and heated ones shed ice: a scenario's climate
//! says with one number how much cloud water there is, and 0 is a site whose hubs never stand in cloud.
//!
//! Invariants: a function of the farm's weather since the run's beginning, in steps of the sky's ten seconds, so the same
//! for every turbine of the farm and for every pace; nothing grows at or above freezing.

use serde::Serialize;
use windlass_shared::time::EventTime;

use crate::weather::Air;

/// Ice of this severity stops the rotor.
pub const ICE_STOP: f64 = 0.6;
/// A rotor that the weather's ice stopped may turn again below this one.
pub const ICE_FREE: f64 = 0.05;
/// What the ice detector sees first.
const ICE_SEEN: f64 = 0.02;
/// Ice of severity 1, kg/m.
const FULL_KG_M: f64 = 1.0;
/// More than this falls off, kg/m.
const MASS_MAX_KG_M: f64 = 2.0;
/// Above this relative humidity at the mast the hub stands in cloud, percent.
const CLOUD_PERCENT: f64 = 95.0;
/// Width of the reference cylinder, metres.
const WIDTH_M: f64 = 0.03;
/// Part of the droplets that hit the cylinder, stick and freeze: of 20 micrometres at 10 m/s about a half.
const COLLECTED: f64 = 0.5;
/// What a degree above freezing melts, kg/m in an hour.
const MELT_KG_M_K_H: f64 = 0.15;
/// What sublimation and flexing take in dry frost, kg/m in an hour.
const WORN_KG_M_H: f64 = 0.02;

/// Ice of a farm.
#[derive(Clone, Copy, Default, Debug)]
pub struct Rime {
    kg_m: f64,
    stopped: bool,
}

impl Rime {
    /// Follows the air for `hours`; `cloud_water_gm3`: liquid water of a cloud at the hub.
    pub fn step(&mut self, air: &Air, cloud_water_gm3: f64, hours: f64) {
        let cloud = ((air.humidity - CLOUD_PERCENT) / (100.0 - CLOUD_PERCENT)).clamp(0.0, 1.0);
        let rate = if air.temperature >= 0.0 {
            -MELT_KG_M_K_H * air.temperature
        } else if cloud > 0.0 {
            // grams a second become kilograms an hour
            3.6 * COLLECTED * cloud_water_gm3 * cloud * air.wind * WIDTH_M
        } else {
            -WORN_KG_M_H
        };
        self.kg_m = (self.kg_m + rate * hours).clamp(0.0, MASS_MAX_KG_M);
        let limit = if self.stopped { ICE_FREE } else { ICE_STOP };
        self.stopped = self.severity() >= limit;
    }

    /// 0 to 1, as the detector shows it.
    pub fn severity(&self) -> f64 {
        let severity = (self.kg_m / FULL_KG_M).min(1.0);
        if severity < ICE_SEEN { 0.0 } else { severity }
    }

    /// The rotors stand because of it, until it has thawed.
    pub fn stops(&self) -> bool {
        self.stopped
    }
}

/// A time with ice on a farm's blades, for the ground truth. Ends are open where the run ends before.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Icing {
    /// Whose blades.
    pub farm: String,
    /// First ice that a detector sees, microseconds since 1970.
    pub from_us: i64,
    /// Free of ice.
    pub to_us: Option<i64>,
    /// Greatest severity, 0 to 1.
    pub greatest: f64,
    /// When it keeps the rotors from turning.
    pub stops: Vec<Stop>,
}

/// A time in which ice keeps the rotors from turning.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Stop {
    /// Severe enough, microseconds since 1970.
    pub from_us: i64,
    /// Thawed.
    pub to_us: Option<i64>,
}

/// Finds the times with ice in a farm's weather.
#[derive(Clone, Debug, Default)]
pub struct IceWatch {
    found: Vec<Icing>,
    open: bool,
}

impl IceWatch {
    /// Takes the air of the next time.
    pub fn look(&mut self, farm: &str, at: EventTime, air: &Air) {
        if !self.open && air.ice > 0.0 {
            self.found.push(Icing {
                farm: farm.to_owned(),
                from_us: at.0,
                to_us: None,
                greatest: 0.0,
                stops: Vec::new(),
            });
            self.open = true;
        }
        let Some(icing) = self.found.last_mut().filter(|_| self.open) else {
            return;
        };
        icing.greatest = icing.greatest.max(air.ice);
        let stands = icing.stops.last().is_some_and(|s| s.to_us.is_none());
        if air.iced && !stands {
            icing.stops.push(Stop {
                from_us: at.0,
                to_us: None,
            });
        } else if !air.iced
            && stands
            && let Some(stop) = icing.stops.last_mut()
        {
            stop.to_us = Some(at.0);
        }
        if air.ice <= 0.0 {
            icing.to_us = Some(at.0);
            self.open = false;
        }
    }

    /// All of them.
    pub fn finish(self) -> Vec<Icing> {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn air(temperature: f64, humidity: f64) -> Air {
        Air {
            wind: 10.0,
            temperature,
            humidity,
            ..Air::default()
        }
    }

    #[test]
    fn ice_grows_in_cold_cloud_stops_the_rotor_and_thaws() {
        let mut rime = Rime::default();
        let mut watch = IceWatch::default();
        let mut hour = 0;
        let mut run = |air: &Air, hours: i64, rime: &mut Rime| {
            for _ in 0..hours {
                rime.step(air, 0.4, 1.0);
                hour += 1;
                let seen = Air {
                    ice: rime.severity(),
                    iced: rime.stops(),
                    ..*air
                };
                watch.look("N", EventTime(hour), &seen);
            }
        };
        // 3.6 x 0.5 x 0.4 g/m3 x 10 m/s x 0.03 m = 0.216 kg/m in an hour
        run(&air(-3.0, 100.0), 2, &mut rime);
        assert!((rime.severity() - 0.432).abs() < 1e-12 && !rime.stops());
        run(&air(-3.0, 100.0), 1, &mut rime);
        assert!((rime.severity() - 0.648).abs() < 1e-12 && rime.stops());
        // dry frost takes a little; the rotor waits for the thaw
        run(&air(-3.0, 80.0), 5, &mut rime);
        assert!((rime.severity() - 0.548).abs() < 1e-12 && rime.stops());
        // 2 degrees take 0.3 kg/m in an hour
        run(&air(2.0, 100.0), 1, &mut rime);
        assert!((rime.severity() - 0.248).abs() < 1e-12 && rime.stops());
        run(&air(2.0, 100.0), 1, &mut rime);
        assert!(rime.severity() == 0.0 && !rime.stops());
        let found = watch.finish();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].from_us, found[0].to_us), (1, Some(10)));
        assert!((found[0].greatest - 0.648).abs() < 1e-12);
        assert_eq!(
            found[0].stops,
            [Stop {
                from_us: 3,
                to_us: Some(10)
            }]
        );
    }

    #[test]
    fn nothing_grows_in_the_warm_in_the_dry_or_without_cloud_water() {
        for (temperature, humidity, water) in
            [(0.0, 100.0, 1.0), (-9.0, 95.0, 1.0), (-9.0, 100.0, 0.0)]
        {
            let mut rime = Rime::default();
            for _ in 0..1_000 {
                rime.step(&air(temperature, humidity), water, 1.0);
            }
            assert_eq!(rime.severity(), 0.0);
        }
    }
}
