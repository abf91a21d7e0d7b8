//! Where turbines stand, and what the wakes of the others take from the wind.
//!
//! Jensen's model: a wake widens linearly behind a rotor and its deficit falls with the square of its width; the energies
//! of several wakes add. Each turbine gets a table over wind directions, so that a step costs a look-up.

use core::f64::consts::{PI, TAU};

/// Rotor radius, metres.
pub const ROTOR_RADIUS_M: f64 = 56.0;
/// Sectors of the table.
const SECTORS: usize = 72;
/// Wake decay on land.
const DECAY: f64 = 0.075;
/// 1 - sqrt(1 - thrust coefficient), with 0.8 as below rated wind.
const INDUCED: f64 = 0.552_786;

/// Columns of a farm for which nothing is said: about a square.
pub fn columns(turbines: usize) -> usize {
    (1..=turbines).find(|c| c * c >= turbines).unwrap_or(1)
}

/// Rows and columns; the rows run along `bearing_deg`, every other one shifted by half a spacing.
pub fn grid(
    turbines: usize,
    columns: usize,
    (spacing, row_spacing): (f64, f64),
    bearing_deg: f64,
) -> Vec<(f64, f64)> {
    let (sin, cos) = libm::sincos(bearing_deg * PI / 180.0);
    (0..turbines)
        .map(|i| {
            let (row, column) = (i / columns, i % columns);
            let along = spacing * (column as f64 + 0.5 * (row % 2) as f64);
            let across = row_spacing * row as f64;
            (along * sin + across * cos, along * cos - across * sin)
        })
        .collect()
}

/// What wakes take from one turbine's wind, by direction.
#[derive(Clone, Debug)]
pub struct Wakes {
    /// Relative loss of wind speed at full thrust.
    deficits: [f64; SECTORS],
}

impl Wakes {
    /// Of the turbine at `own` among `all`.
    pub fn new(own: (f64, f64), all: &[(f64, f64)]) -> Self {
        let mut deficits = [0.0; SECTORS];
        for (sector, deficit) in deficits.iter_mut().enumerate() {
            // the wind comes from this direction: upstream is towards it
            let (sin, cos) = libm::sincos(sector as f64 * TAU / SECTORS as f64);
            let mut squares = 0.0;
            for other in all {
                let (east, north) = (other.0 - own.0, other.1 - own.1);
                let upstream = east * sin + north * cos;
                let aside = (east * cos - north * sin).abs();
                if upstream > ROTOR_RADIUS_M {
                    let radius = ROTOR_RADIUS_M + DECAY * upstream;
                    let covered = ((radius + ROTOR_RADIUS_M - aside) / (2.0 * ROTOR_RADIUS_M))
                        .clamp(0.0, 1.0);
                    let shrunk = ROTOR_RADIUS_M / radius;
                    let one = INDUCED * shrunk * shrunk * covered;
                    squares += one * one;
                }
            }
            *deficit = squares.sqrt().min(0.6);
        }
        Self { deficits }
    }

    /// Relative loss of speed when the wind comes from `direction_deg` at full thrust.
    #[inline]
    pub fn deficit(&self, direction_deg: f64) -> f64 {
        let at = direction_deg.rem_euclid(360.0) * (SECTORS as f64 / 360.0);
        let left = (at as usize).min(SECTORS - 1);
        let right = (left + 1) % SECTORS;
        let part = at - left as f64;
        self.deficits[left] + (self.deficits[right] - self.deficits[left]) * part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_reaches_who_stands_behind_and_nobody_else() {
        let all = [(0.0, 0.0), (560.0, 0.0)];
        let behind = Wakes::new(all[1], &all);
        let ahead = Wakes::new(all[0], &all);
        // wind from the west
        let loss = behind.deficit(270.0);
        assert!((0.15..0.25).contains(&loss), "{loss}");
        assert_eq!(ahead.deficit(270.0), 0.0);
        assert_eq!(behind.deficit(0.0), 0.0);
        assert_eq!(behind.deficit(90.0), 0.0);
        assert!(ahead.deficit(90.0) > 0.15);
        let far = Wakes::new((2_000.0, 0.0), &[(0.0, 0.0), (2_000.0, 0.0)]);
        assert!(far.deficit(270.0) < 0.5 * loss);
    }

    #[test]
    fn a_grid_has_its_spacing() {
        let all = grid(6, 3, (500.0, 700.0), 90.0);
        assert_eq!(all.len(), 6);
        let off = |a: (f64, f64), b: (f64, f64)| libm::hypot(a.0 - b.0, a.1 - b.1);
        assert!((off(all[0], all[1]) - 500.0).abs() < 1e-6);
        assert!((all[3].1 - all[0].1 + 700.0).abs() < 1e-6);
        assert_eq!(columns(10), 4);
    }
}
