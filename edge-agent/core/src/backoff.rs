//! How long to wait before the next attempt to connect: doubling, jittered, bounded.
//!
//! Invariant: a wait lies between half of the doubled delay and the whole of it, and never above the greatest delay.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The waits between attempts.
#[derive(Debug)]
pub(crate) struct Backoff {
    rng: ChaCha8Rng,
    first_us: u64,
    max_us: u64,
    failures: u32,
}

impl Backoff {
    pub fn new(seed: [u8; 32], first_us: u64, max_us: u64) -> Self {
        Self {
            rng: ChaCha8Rng::from_seed(seed),
            first_us,
            max_us,
            failures: 0,
        }
    }

    /// Before the very first attempt: a farm that comes back after a power cut does not come as one.
    pub fn at_start_us(&mut self) -> u64 {
        self.rng.random_range(0..=self.first_us)
    }

    /// After a failure.
    pub fn next_us(&mut self) -> u64 {
        let doubled = self.first_us.saturating_mul(1 << self.failures.min(20));
        let delay = doubled.min(self.max_us);
        self.failures = self.failures.saturating_add(1);
        self.rng.random_range(delay / 2..=delay)
    }

    /// The connection held: begin again with short waits.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}
