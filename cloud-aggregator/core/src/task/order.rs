//! Orders to a gateway to end a quarantined epoch and begin another.
//!
//! The way down loses what is on it when a connection breaks, so an order is given again, each time after twice the wait,
//! until the turbine's newest epoch is another one: the gateway has obeyed, or began anew for a reason of its own.
//! Invariant: an epoch has one order, which is given at once when the epoch is quarantined and after that on ticks only.

use serde::{Deserialize, Serialize};
use windlass_shared::coverage::Coverage;
use windlass_shared::id::{Epoch, TurbineId};
use windlass_shared::time::LogTime;
use windlass_shared::wire::Command;

use super::TaskSettings;

/// The order about one epoch.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    epoch: Epoch,
    reason: String,
    /// The turbine's newest epoch when it was given first.
    newest: Option<Epoch>,
    /// Last time it was given.
    since: LogTime,
    wait_us: i64,
    stands: bool,
}

impl Order {
    fn command(&self, turbine: &TurbineId) -> Command {
        Command::NewEpoch {
            turbine: turbine.clone(),
            instead_of: self.epoch,
            reason: self.reason.clone(),
        }
    }

    fn is_due(&self, now: LogTime) -> bool {
        self.stands && now >= self.since.plus_us(self.wait_us)
    }

    /// May the gateway still be writing the epoch, by all that is known?
    fn still_needed(&self, coverage: &Coverage) -> bool {
        match coverage.newest() {
            None => true,
            Some(newest) if newest == self.epoch => true,
            // an epoch whose Open is still to come may be the one that is written
            newest => {
                let opened =
                    |e: &windlass_shared::coverage::EpochView| e.epoch == self.epoch && e.opened;
                newest == self.newest && !coverage.epochs().iter().any(opened)
            }
        }
    }
}

/// The orders of one turbine; as many as it has quarantined epochs, which coverage bounds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Orders(Vec<Order>);

impl Orders {
    /// Was this epoch ordered to end?
    pub(super) fn knows(&self, epoch: Epoch) -> bool {
        self.0.iter().any(|o| o.epoch == epoch)
    }

    /// This epoch is to end. Returns what to say now: nothing if it was said before.
    pub(super) fn give(
        &mut self,
        coverage: &Coverage,
        settings: &TaskSettings,
        now: LogTime,
        (turbine, epoch): (&TurbineId, Epoch),
        reason: &str,
    ) -> Option<Command> {
        if self.knows(epoch) {
            return None;
        }
        let order = Order {
            epoch,
            reason: reason.to_owned(),
            newest: coverage.newest(),
            since: now,
            wait_us: settings.resend_wait_us,
            stands: true,
        };
        let command = order.command(turbine);
        self.0.push(order);
        Some(command)
    }

    /// Would a poll do nothing now?
    pub(super) fn rests(&self, now: LogTime) -> bool {
        !self.0.iter().any(|o| o.is_due(now))
    }

    /// What to say again now.
    pub(super) fn poll(
        &mut self,
        coverage: &Coverage,
        settings: &TaskSettings,
        now: LogTime,
        turbine: &TurbineId,
    ) -> Vec<Command> {
        let mut commands = Vec::new();
        for order in self.0.iter_mut().filter(|o| o.is_due(now)) {
            order.stands = order.still_needed(coverage);
            if order.stands {
                order.since = now;
                order.wait_us = (order.wait_us.saturating_mul(2)).min(settings.resend_wait_max_us);
                commands.push(order.command(turbine));
            }
        }
        commands
    }
}
