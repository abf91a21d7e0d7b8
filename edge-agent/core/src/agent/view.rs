//! What the local status shows of the core.

use windlass_shared::id::{Epoch, Seq, TurbineId};
use windlass_shared::time::EventTime;

use super::AgentCore;
use crate::journal::WaitingView;
use crate::store::Usage;

/// The agent at a glance. Tallies are those of the last commit.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct AgentView {
    /// The link is up.
    pub online: bool,
    /// Records sent and not acknowledged.
    pub in_flight: usize,
    /// Records in the live queue.
    pub live_queued: usize,
    /// Readings that wait for a commit.
    pub waiting_readings: usize,
    /// A transaction met a full disk and waits for room.
    pub disk_full: bool,
    /// Store size and tallies by turbine.
    pub usage: Usage,
    /// Per turbine.
    pub turbines: Vec<TurbineView>,
}

/// A turbine at a glance.
#[derive(Clone, PartialEq, Debug)]
pub struct TurbineView {
    /// Which.
    pub turbine: TurbineId,
    /// The epoch that is written now, if it has begun.
    pub epoch: Option<Epoch>,
    /// Last durable seq of it.
    pub last_seq: Seq,
    /// Last numbered frontier; [`EventTime::MIN`] before the epoch.
    pub frontier: EventTime,
    /// What waits for the clock.
    pub waiting: WaitingView,
}

impl AgentCore {
    /// For the local status.
    pub fn view(&self) -> AgentView {
        AgentView {
            online: self.forwarder.is_online(),
            in_flight: self.forwarder.in_flight(),
            live_queued: self.forwarder.live_queued(),
            waiting_readings: self.waiting_readings(),
            disk_full: self.commits.is_stalled(),
            usage: self.usage.clone(),
            turbines: self
                .turbines
                .values()
                .map(|t| {
                    let epoch = t.numberer.position().map(|p| p.epoch);
                    let known = t.known.iter().find(|k| Some(k.epoch) == epoch);
                    TurbineView {
                        turbine: t.id.clone(),
                        epoch,
                        last_seq: known.map_or(Seq(0), |k| k.last),
                        frontier: t.numberer.frontier(),
                        waiting: t.journal.view(),
                    }
                })
                .collect(),
        }
    }
}
