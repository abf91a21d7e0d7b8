//! How well a link carries: how many bytes a second, how late, and what is lost on the way.
//!
//! MQTT runs over TCP, so nobody above sees a lost packet: TCP sends it again, and the stream stands still meanwhile; now
//! and then a connection breaks. That is what a lossy link does here.
//!
//! Invariant: what happens to the pieces of a connection is drawn from the link's seed, the connection's number and its
//! direction, and from nothing else.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How long the stream stands still for a lost piece, milliseconds: TCP's first retransmissions.
const STALL_MS: std::ops::Range<u64> = 200..1_600;
/// Of so many lost pieces, one breaks the connection.
const LOST_PER_RESET: u32 = 8;
/// A slow link's second is cut into so many pieces at least.
const PIECES_PER_S: u64 = 20;
/// Least piece, bytes.
const PIECE_MIN_BYTES: usize = 64;

/// How well a link carries, each way.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Quality {
    /// Bytes a second of each connection; `None`: as many as come.
    pub bytes_per_s: Option<u64>,
    /// Each piece is so late; the next one waits for it, as with a window of one piece (16 KiB).
    pub delay: Duration,
    /// So many of the pieces are lost at first, percent.
    pub loss_percent: f64,
    /// Of the draws.
    pub seed: u64,
}

impl Quality {
    /// The most that is passed on at once, of a buffer of `all` bytes.
    pub fn piece_bytes(&self, all: usize) -> usize {
        match self.bytes_per_s {
            Some(rate) => usize::try_from(rate / PIECES_PER_S)
                .unwrap_or(all)
                .clamp(PIECE_MIN_BYTES, all),
            None => all,
        }
    }

    /// How long the link is busy with so many bytes.
    pub fn time_of(&self, bytes: usize) -> Duration {
        match self.bytes_per_s {
            Some(rate) => Duration::from_micros(bytes as u64 * 1_000_000 / rate.max(1)),
            None => Duration::ZERO,
        }
    }
}

/// What becomes of a piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It passes.
    Passes,
    /// It is lost and sent again: everything waits so long.
    Stalls(Duration),
    /// The connection breaks.
    Breaks,
}

/// The draws for one direction of one connection.
#[derive(Clone, Debug)]
pub struct Fates(ChaCha8Rng);

impl Fates {
    /// For the connection with this number; `up`: towards the broker.
    pub fn new(seed: u64, connection: u64, up: bool) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(2 * connection + u64::from(up));
        Self(rng)
    }

    /// Of the next piece.
    pub fn draw(&mut self, loss_percent: f64) -> Fate {
        // Always the same number of draws for a piece, so that a change of the loss does not shift what follows.
        let lost = self.0.random_range(0.0..100.0) < loss_percent;
        let stall = self.0.random_range(STALL_MS);
        let breaks = self.0.random_range(0..LOST_PER_RESET) == 0;
        match (lost, breaks) {
            (false, _) => Fate::Passes,
            (true, true) => Fate::Breaks,
            (true, false) => Fate::Stalls(Duration::from_millis(stall)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(seed: u64, connection: u64, up: bool) -> Vec<Fate> {
        let mut fates = Fates::new(seed, connection, up);
        (0..4_000).map(|_| fates.draw(5.0)).collect()
    }

    #[test]
    fn fates_are_the_seed_s_and_as_frequent_as_asked() {
        assert_eq!(draws(1, 1, true), draws(1, 1, true));
        assert_ne!(draws(1, 1, true), draws(2, 1, true));
        assert_ne!(draws(1, 1, true), draws(1, 2, true));
        assert_ne!(draws(1, 1, true), draws(1, 1, false));
        let all = draws(7, 3, true);
        let of = |wanted: fn(&Fate) -> bool| all.iter().filter(|f| wanted(f)).count();
        let (stalls, breaks) = (
            of(|f| matches!(f, Fate::Stalls(_))),
            of(|f| *f == Fate::Breaks),
        );
        // 5 % of 4,000, an eighth of them breaks
        assert!(
            (140..=260).contains(&(stalls + breaks)),
            "{stalls} {breaks}"
        );
        assert!((10..=45).contains(&breaks), "{breaks}");
        let mut none = Fates::new(7, 3, true);
        assert!((0..4_000).all(|_| none.draw(0.0) == Fate::Passes));
    }

    #[test]
    fn a_rate_gives_pieces_and_times() {
        let slow = Quality {
            bytes_per_s: Some(4_000),
            ..Quality::default()
        };
        assert_eq!(slow.piece_bytes(16_384), 200);
        assert_eq!(slow.time_of(200), Duration::from_millis(50));
        let crawl = Quality {
            bytes_per_s: Some(100),
            ..Quality::default()
        };
        assert_eq!(crawl.piece_bytes(16_384), 64);
        assert_eq!(Quality::default().piece_bytes(16_384), 16_384);
        assert_eq!(Quality::default().time_of(1 << 20), Duration::ZERO);
    }
}
