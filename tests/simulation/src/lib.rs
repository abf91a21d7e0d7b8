//! Deterministic simulation of Windlass: the real cores of agents and partitions in a world whose disk, network, log,
//! sinks and clocks fail on purpose. One seed is one history of hours; the same seed always plays the same way.
//!
//! Run a seed again: `cargo xtask sim --seeds 1 --from N`.

pub mod cloud;
pub mod faults;
pub mod gateway;
pub mod heap;
pub mod oracle;
pub mod planted;
pub mod recount;
pub mod runner;
pub mod sinks;
pub mod world;

use windlass_cloud_core::fleet::Fleet;
use windlass_shared::time::SECOND_US;

pub use world::{Outcome, World};

/// The fleet of the simulation: two gateways, three turbines, one channel of every kind.
///
/// # Panics
/// When the simulation's own files are wrong.
pub fn fleet() -> Fleet {
    let profile = include_str!("../profile.toml").to_owned();
    Fleet::parse(
        "fleet.toml",
        include_str!("../fleet.toml"),
        &[("profile.toml".to_owned(), profile)],
    )
    .expect("the simulation's own fleet is valid")
}

/// Plays `seed` twice and compares: virtual hours of faults, then the healed phase.
pub fn run_seed(seed: u64) -> Result<Outcome, String> {
    let hours = 2 + seed % 3;
    let safety_us = hours * 3_600 * SECOND_US as u64;
    let first = World::new(seed).run(safety_us)?;
    let second = World::new(seed).run(safety_us)?;
    if first.trace != second.trace {
        return Err("two runs of this seed took different ways".into());
    }
    Ok(first)
}
