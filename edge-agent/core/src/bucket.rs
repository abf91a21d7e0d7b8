//! The uplink's byte budget: a token bucket that may go into debt by one message, so that a message of any size passes.

use windlass_shared::time::{MonoTime, SECOND_US};

/// Longest pause that fills, microseconds (any burst is full by then; keeps the products small).
const FILL_MAX_US: u64 = 60 * SECOND_US as u64;
/// Tokens count millionths of a byte, so that short pauses are not lost to rounding.
const SCALE: i64 = SECOND_US;

/// A token bucket.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: u64,
    burst: i64,
    tokens: i64,
    filled_at: Option<MonoTime>,
}

impl Bucket {
    /// `rate` in bytes a second, at most 64 GB; starts with `burst` bytes.
    pub fn new(rate: u64, burst: u64) -> Self {
        let burst = burst.min(1 << 40) as i64 * SCALE;
        Self {
            rate: rate.min(1 << 36),
            burst,
            tokens: burst,
            filled_at: None,
        }
    }
    pub fn fill(&mut self, now: MonoTime) {
        let since = self.filled_at.replace(now).unwrap_or(now);
        let elapsed = now.since_us(since).min(FILL_MAX_US);
        let tokens = self.tokens.saturating_add((elapsed * self.rate) as i64);
        self.tokens = tokens.min(self.burst);
    }
    /// May another message go?
    pub fn is_open(&self) -> bool {
        self.tokens > 0
    }
    pub fn pay(&mut self, bytes: u64) {
        self.tokens = self.tokens.saturating_sub(bytes as i64 * SCALE);
    }
    /// Pays, but never goes deeper into debt than this one message.
    pub fn pay_spare(&mut self, bytes: u64) {
        self.pay(bytes);
        self.tokens = self.tokens.max(-(bytes as i64) * SCALE);
    }
    /// When it opens; `None`: never.
    pub fn opens_at(&self) -> Option<MonoTime> {
        let at = self.filled_at?;
        if self.is_open() {
            return Some(at);
        }
        let missing = (1 - self.tokens) as u64;
        (self.rate > 0).then(|| at.plus_us(missing.div_ceil(self.rate)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_through_what_the_rate_allows() {
        let mut bucket = Bucket::new(1000, 500);
        let mut sent = 0;
        for us in (0..10 * SECOND_US as u64).step_by(100) {
            bucket.fill(MonoTime(us));
            while bucket.is_open() {
                bucket.pay(70);
                sent += 70;
            }
        }
        // 10 s at 1000 bytes, the burst, and at most one message of debt
        assert!((10_400..=10_570).contains(&sent), "{sent}");
    }

    #[test]
    fn opens_exactly_when_it_says() {
        let mut bucket = Bucket::new(333, 100);
        bucket.fill(MonoTime(7));
        bucket.pay(1234);
        let at = bucket.opens_at().unwrap();
        bucket.fill(MonoTime(at.0 - 1));
        assert!(!bucket.is_open());
        bucket.fill(at);
        assert!(bucket.is_open());
    }
}
