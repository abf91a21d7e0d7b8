//! The agent's state: composes the slicer, the numberer, the disk budget and the forwarder.

use windlass_shared::time::MonoTime;

use crate::input::{Input, Now};
use crate::output::Output;
use crate::settings::Settings;

/// One gateway's agent.
#[derive(Debug)]
pub struct AgentCore {
    settings: Settings,
    seed: [u8; 32],
}

impl AgentCore {
    /// An agent that has not started: the first input is [`Input::Start`]. The seed is fresh randomness at every start:
    /// epochs are drawn from it.
    pub fn new(settings: Settings, seed: [u8; 32]) -> Self {
        Self { settings, seed }
    }
    /// Takes what happened, appends what to do.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        todo!(
            "{now:?} {input:?} {out:?} {:?} {:?}",
            self.settings,
            self.seed
        )
    }
    /// When to hand in [`Input::Timer`] if nothing else happens before.
    pub fn next_deadline(&self) -> Option<MonoTime> {
        todo!()
    }
    /// Too many readings wait for the disk: a file source pauses until this is false.
    pub fn is_busy(&self) -> bool {
        todo!()
    }
    /// For the local status.
    pub fn view(&self) -> AgentView {
        todo!()
    }
}

/// What the local status shows of the core. Tallies are those of the last commit.
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
    /// Store size and tallies by turbine.
    pub usage: crate::store::Usage,
    /// Per turbine: current epoch, last committed seq, frontier.
    pub turbines: Vec<TurbineView>,
}

/// What the local status shows of a turbine.
#[derive(Clone, PartialEq, Debug)]
pub struct TurbineView {
    /// Which.
    pub turbine: windlass_shared::id::TurbineId,
    /// The epoch that is written now, if it has begun.
    pub epoch: Option<windlass_shared::id::Epoch>,
    /// Last committed seq.
    pub last_seq: u64,
    /// Its frontier.
    pub frontier: windlass_shared::time::EventTime,
}
