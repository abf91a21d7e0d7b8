//! Records that reach the log twice or in another order than the gateway's: which ones, and in which order.
//!
//! Invariants: both are functions of their arguments; in an order with depth `d` nobody stands more than `d` places from
//! where it was.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Of `n` records, those that come again: about so many percent, by place.
pub fn chosen(n: usize, percent: f64, seed: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..n)
        .filter(|_| rng.random_range(0.0..100.0) < percent)
        .collect()
}

/// `n` records, so many percent of them overtaken by up to `depth` of those behind them.
pub fn order(n: usize, percent: f64, depth: u64, seed: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut keyed: Vec<(u64, usize)> = (0..n)
        .map(|i| {
            let (lot, back) = (rng.random_range(0.0..100.0), rng.random_range(0..=depth));
            (i as u64 + if lot < percent { back } else { 0 }, i)
        })
        .collect();
    // Who waits for a place lets those through who belong there.
    keyed.sort_by_key(|(place, i)| (*place, std::cmp::Reverse(*i)));
    keyed.into_iter().map(|(_, i)| i).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_order_is_a_permutation_in_which_nobody_goes_far(
            n in 0_usize..300, percent in 0.0..=100.0, depth in 0_u64..40, seed: u64,
        ) {
            let order = order(n, percent, depth, seed);
            prop_assert_eq!(&order, &super::order(n, percent, depth, seed));
            let mut sorted = order.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..n).collect::<Vec<_>>());
            for (place, i) in order.iter().enumerate() {
                prop_assert!(place.abs_diff(*i) as u64 <= depth, "{} at {}", i, place);
            }
        }

        #[test]
        fn those_that_come_again_are_the_seed_s(n in 0_usize..300, percent in 0.0..=100.0, seed: u64) {
            let chosen = chosen(n, percent, seed);
            prop_assert_eq!(&chosen, &super::chosen(n, percent, seed));
            prop_assert!(chosen.iter().all(|i| *i < n) && chosen.is_sorted());
        }
    }

    #[test]
    fn percent_is_what_it_says() {
        assert_eq!(chosen(50, 100.0, 3), (0..50).collect::<Vec<_>>());
        assert_eq!(chosen(50, 0.0, 3), Vec::<usize>::new());
        assert!((1_800..2_200).contains(&chosen(10_000, 20.0, 3).len()));
        assert_eq!(order(50, 0.0, 9, 3), (0..50).collect::<Vec<_>>());
        assert_ne!(order(50, 100.0, 9, 3), (0..50).collect::<Vec<_>>());
    }
}
