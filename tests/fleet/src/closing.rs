//! How a run ends: the traffic stops, everything drains, and the ledger is balanced.
//!
//! Invariant: nothing waits for seconds to pass; each step waits for what it needs, and says what is missing when its
//! bound is over.

use std::time::Duration;

use anyhow::Result;

use crate::clock::{self, Stopwatch};
use crate::ledger::Balance;
use crate::rig::Rig;

/// Backlogs must be gone within this after the traffic.
const DRAIN_BOUND: Duration = Duration::from_mins(5);
/// The lake and the last windows must have caught up within this.
const SETTLE_BOUND: Duration = Duration::from_mins(4);
/// Between two looks at the whole lake.
const BALANCE_EVERY: Duration = Duration::from_secs(4);

/// Ends the traffic: the gateways stop, and start again without sources, until everything is acknowledged.
pub fn drain(rig: &mut Rig) -> Result<()> {
    for i in 0..rig.gateways.len() {
        rig.stop_gateway(i)?;
    }
    rig.look()?;
    for i in 0..rig.gateways.len() {
        rig.set_sources(i, "")?;
        rig.start_gateway(i)?;
    }
    rig.drained(DRAIN_BOUND)
}

/// Waits until the lake holds everything, every window that is due was emitted, no further one settles between two looks,
/// and `also` holds; then stops all
/// processes, and balances once more, so that nothing that came after the last look is overlooked.
pub fn settle(
    rig: &mut Rig,
    mut also: impl FnMut(&Rig, &Balance) -> Result<bool>,
) -> Result<Balance> {
    let watch = Stopwatch::start();
    let mut before = None;
    loop {
        rig.check()?;
        rig.look()?;
        let balance = rig.balance()?;
        let windows = (balance.windows_open, balance.windows_settled);
        let at_rest = before.replace(windows) == Some(windows);
        let done = also(rig, &balance)? && balance.is_right() && at_rest;
        if done || watch.elapsed() > SETTLE_BOUND {
            break;
        }
        let looked = Stopwatch::start();
        clock::until("the time of the next look", BALANCE_EVERY * 2, || {
            Ok((looked.elapsed() > BALANCE_EVERY).then_some(()))
        })?;
    }
    for i in 0..rig.gateways.len() {
        rig.stop_gateway(i)?;
    }
    rig.stop_cloud()?;
    rig.look()?;
    rig.balance()
}
