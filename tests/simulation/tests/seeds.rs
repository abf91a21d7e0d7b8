//! Three hundred histories of hours, each played twice.

use windlass_simulation::runner::play;

/// Seeds that failed once; they stay.
const REGRESSIONS: [u64; 9] = [2, 7, 19, 31, 46, 92, 99, 122, 139];

#[test]
fn every_reading_counts_once_or_its_loss_is_recorded() {
    let total = play(1, 300, false, |seed, why| eprintln!("seed {seed}: {why}"));
    assert!(
        total.failed.is_empty(),
        "{} seeds failed, the first: {:?}; again: cargo xtask sim --seeds 1 --from {}",
        total.failed.len(),
        total.failed[0],
        total.failed[0].0
    );
    assert_eq!(total.held, 300);
    assert!(
        total.placed > 100_000 && total.untimed > 10_000,
        "clocks were away: {total:?}"
    );
    assert_eq!(
        total.missing(),
        [],
        "faults that never struck: the set proves nothing about them"
    );
    assert!(
        total.epochs > 1_500 && total.lost > 1_000 && total.exact > 10_000,
        "{total:?}"
    );
    println!("{total:?}");
}

#[test]
fn seeds_that_failed_once_hold() {
    for seed in REGRESSIONS {
        windlass_simulation::run_seed(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}
