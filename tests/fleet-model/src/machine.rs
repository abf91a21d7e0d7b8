//! The numbers of the simulated machine: a 3 MW onshore turbine with gearbox and doubly-fed generator.
//!
//! Typical data-sheet values, not a particular product's.

use std::sync::Arc;

/// Rated power, kW.
pub const RATED_KW: f64 = 3_000.0;
/// Starts above this wind, m/s.
pub const CUT_IN_MS: f64 = 3.2;
/// Stops below this wind, m/s.
pub const CUT_IN_STOP_MS: f64 = 2.7;
/// Stops above this ten-minute wind, m/s.
pub const CUT_OUT_MS: f64 = 25.0;
/// Starts again below this one, m/s.
pub const CUT_OUT_RESTART_MS: f64 = 22.0;
/// Wind of rated power, m/s.
pub const RATED_MS: f64 = 12.0;
/// Slowest rotor that makes power, rpm.
pub const ROTOR_MIN_RPM: f64 = 9.2;
/// Rated rotor speed, rpm.
pub const ROTOR_RATED_RPM: f64 = 14.0;
/// Generator revolutions in one of the rotor.
pub const GEAR_RATIO: f64 = 128.0;
/// Synchronous speed of the generator, rpm.
pub const SYNCHRONOUS_RPM: f64 = 1_500.0;
/// Rotor speed over wind at the best tip speed ratio (8), rpm per m/s.
pub const RPM_PER_MS: f64 = 1.364;
/// Own consumption at rest, kW.
pub const AUXILIARY_KW: f64 = 14.0;
/// Blade angle at rest, degrees.
pub const FEATHER_DEG: f64 = 88.0;
/// Density that the power curve holds for, kg/m3.
pub const DENSITY: f64 = 1.225;

const STEPS_PER_MS: f64 = 10.0;
const STEPS: usize = 401;

/// Power over wind speed at standard density.
#[derive(Clone, Debug)]
pub struct PowerCurve(Arc<[f64; STEPS]>);

impl Default for PowerCurve {
    fn default() -> Self {
        Self::new()
    }
}

impl PowerCurve {
    /// Aerodynamic power with the soft knee that measured curves have, less losses.
    pub fn new() -> Self {
        let area =
            core::f64::consts::PI * crate::layout::ROTOR_RADIUS_M * crate::layout::ROTOR_RADIUS_M;
        let mut table = [0.0; STEPS];
        for (i, power) in table.iter_mut().enumerate() {
            let wind = i as f64 / STEPS_PER_MS;
            if wind < 2.5 {
                continue;
            }
            let aerodynamic = 0.5e-3 * DENSITY * area * 0.455 * wind * wind * wind;
            let made = (0.945 * aerodynamic - 28.0).max(0.0);
            let over = libm::pow(made / RATED_KW, 5.0);
            *power = made / libm::pow(1.0 + over, 0.2);
        }
        Self(Arc::new(table))
    }

    /// kW.
    #[inline]
    pub fn at(&self, wind: f64) -> f64 {
        let x = (wind * STEPS_PER_MS).clamp(0.0, (STEPS - 2) as f64);
        let i = x as usize;
        let (a, b) = (self.0[i], self.0[i + 1]);
        a + (b - a) * (x - i as f64)
    }
}

/// Wind at standard density that carries the same power: the cube root of the relative density, by two of its terms.
#[inline]
pub fn normal_wind(wind: f64, density: f64) -> f64 {
    let off = density / DENSITY - 1.0;
    wind * (1.0 + off * (1.0 / 3.0 - off / 9.0))
}

/// Blade angle at a wind above rated, degrees.
#[inline]
pub fn rated_pitch(wind: f64) -> f64 {
    let over = (wind - RATED_MS + 1.0).max(0.0);
    // steeper at first: 4 degrees at 13 m/s, 23 at 25
    (over * (2.4 - 0.045 * over)).min(26.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_power_curve_rises_to_rated() {
        let curve = PowerCurve::new();
        let powers: Vec<f64> = (0..300).map(|i| curve.at(f64::from(i) / 10.0)).collect();
        assert!(powers.is_sorted());
        assert_eq!(curve.at(2.0), 0.0);
        assert!((100.0..200.0).contains(&curve.at(4.0)), "{}", curve.at(4.0));
        assert!(
            (1_100.0..1_500.0).contains(&curve.at(8.0)),
            "{}",
            curve.at(8.0)
        );
        assert!(curve.at(12.0) > 0.93 * RATED_KW);
        assert!(curve.at(15.0) <= RATED_KW && curve.at(15.0) > 0.99 * RATED_KW);
        let dense = normal_wind(8.0, 1.3);
        assert!((dense - 8.0 * libm::cbrt(1.3 / DENSITY)).abs() < 2e-3);
    }
}
