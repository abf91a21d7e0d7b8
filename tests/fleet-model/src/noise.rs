//! Noise as a function of a key and a time: nothing is drawn, so nothing depends on who asked before.
//!
//! Invariant: every value is a function of (key, time); what is kept between calls only saves work. No platform's libm is
//! in it: normals come from sums of uniforms.

use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Entries of the table of normals: a power of two.
const NORMALS: usize = 4_096;
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
/// Smooth noise between two lattice points varies less than on them: 1 / sqrt(26 / 35).
const SMOOTH_GAIN: f64 = 1.160_239;

/// Spreads `a` and `b` over 64 bits.
#[inline]
pub fn mix(a: u64, b: u64) -> u64 {
    let mut x = a ^ b.wrapping_mul(GOLDEN);
    x = (x ^ (x >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    x = (x ^ (x >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^ (x >> 32)
}

/// A key for a text.
pub fn key_of(seed: u64, text: &str) -> u64 {
    text.bytes()
        .fold(mix(seed, 0x7769_6e64), |h, b| mix(h, u64::from(b)))
}

/// From 0 to below 1.
#[inline]
pub fn uniform(bits: u64) -> f64 {
    (bits >> 11) as f64 / 9_007_199_254_740_992.0
}

/// A table of standard normal values, looked up by random bits.
#[derive(Clone, Debug)]
pub struct Normals(Arc<[f64; NORMALS]>);

impl Normals {
    /// Each entry is a sum of twelve uniforms; mean and variance of the whole are then made exact.
    #[allow(clippy::large_stack_arrays)] // 32 kB, once
    pub fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut table = [0.0; NORMALS];
        for x in &mut table {
            *x = (0..12).map(|_| uniform(rng.next_u64())).sum::<f64>() - 6.0;
        }
        let n = NORMALS as f64;
        let mean = table.iter().sum::<f64>() / n;
        let spread = (table.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n).sqrt();
        for x in &mut table {
            *x = (*x - mean) / spread;
        }
        Self(Arc::new(table))
    }

    /// The value for these bits; the upper ones decide.
    #[inline]
    pub fn at(&self, bits: u64) -> f64 {
        self.0[(bits >> 52) as usize]
    }
}

/// Smooth noise with one time scale: normals on a lattice, smoothed in between; standard deviation about 1.
#[derive(Clone, Debug)]
pub struct Octave {
    key: u64,
    period_us: i64,
    per_us: f64,
    cell: i64,
    left: f64,
    right: f64,
}

impl Octave {
    /// Lattice points lie `period_s` apart.
    pub fn new(key: u64, period_s: i64) -> Self {
        Self {
            key: mix(key, period_s as u64),
            period_us: period_s * 1_000_000,
            per_us: 1.0 / (period_s as f64 * 1e6),
            cell: i64::MIN,
            left: 0.0,
            right: 0.0,
        }
    }

    /// Its value at `at_us`.
    #[inline]
    pub fn at(&mut self, at_us: i64, normals: &Normals) -> f64 {
        let cell = at_us.div_euclid(self.period_us);
        if cell != self.cell {
            self.cell = cell;
            self.left = normals.at(mix(self.key, cell as u64));
            self.right = normals.at(mix(self.key, (cell + 1) as u64));
        }
        let x = (at_us - cell * self.period_us) as f64 * self.per_us;
        let s = x * x * (3.0 - 2.0 * x);
        SMOOTH_GAIN * (self.left + (self.right - self.left) * s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smooth_noise_is_a_function_of_time_and_about_normal() {
        let normals = Normals::new(1);
        let mut forward = Octave::new(7, 60);
        let mut backward = Octave::new(7, 60);
        let times: Vec<i64> = (0..40_000).map(|i| i * 7_000_000).collect();
        let up: Vec<f64> = times.iter().map(|t| forward.at(*t, &normals)).collect();
        let mut down: Vec<f64> = times
            .iter()
            .rev()
            .map(|t| backward.at(*t, &normals))
            .collect();
        down.reverse();
        assert_eq!(up, down);
        let n = up.len() as f64;
        let mean = up.iter().sum::<f64>() / n;
        let sigma = (up.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n).sqrt();
        assert!(
            mean.abs() < 0.05 && (sigma - 1.0).abs() < 0.05,
            "{mean} {sigma}"
        );
        // no jumps: seven seconds of a minute's noise
        assert!(up.windows(2).all(|w| (w[1] - w[0]).abs() < 1.4));
    }
}
