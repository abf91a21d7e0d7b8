//! Runs a [`Simulator`] against the wall clock, as a poller of a real controller would run.
//!
//! Invariant: what would have been sampled while the process was suspended was not sampled.

use std::sync::Arc;

use tokio::sync::mpsc;
use windlass_edge_core::{Input, SourceId};
use windlass_shared::catalogue::Catalogue;
use windlass_shared::id::TurbineId;
use windlass_shared::time::{EventTime, SECOND_US};

use super::{Fault, Simulator};
use crate::clock::Clock;
use crate::source::FromSource;

/// Fast channels are delivered together, at most so often, microseconds.
const BATCH_US: i64 = 100_000;
/// A pause longer than this is not caught up, microseconds.
const CATCH_UP_MAX_US: i64 = 5 * SECOND_US;
/// The clock is looked at least so often, microseconds: it may have been set back.
const LOOK_US: i64 = 2 * SECOND_US;

/// A simulated turbine at wall time.
pub struct LiveSimulator {
    /// Its name.
    pub id: SourceId,
    /// Which turbine it plays.
    pub turbine: TurbineId,
    /// With which channels.
    pub catalogue: Arc<Catalogue>,
    /// Same seed, same readings.
    pub seed: u64,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

impl LiveSimulator {
    /// Samples until nobody listens.
    pub async fn run(self, clock: Clock, out: mpsc::Sender<FromSource>) {
        let mut anchor = EventTime(clock.now().wall.0);
        let mut simulator = self.simulator(anchor);
        let started = Input::SourceStarted {
            turbine: self.turbine.clone(),
            source: self.id.clone(),
            not_before: anchor,
        };
        if out.send(FromSource::Input(started)).await.is_err() {
            return;
        }
        loop {
            let now = clock.now();
            let wall = EventTime(now.wall.0);
            let due = simulator.next_due();
            // behind an old schedule, or before the anchor: the clock was set; begin again there
            if wall.0 < anchor.0 - SECOND_US {
                anchor = wall;
                simulator = self.simulator(anchor);
                continue;
            }
            if wall.0 - due.0 > CATCH_UP_MAX_US {
                simulator.skip_to(wall);
                continue;
            }
            anchor = anchor.max(wall);
            if due > wall {
                let pause = (due.0 - wall.0).clamp(0, LOOK_US) as u64;
                tokio::time::sleep_until(clock.instant(now.mono.plus_us(pause))).await;
                continue;
            }
            let mut readings = Vec::with_capacity(self.catalogue.channels.len());
            simulator.advance(wall, &mut readings);
            let input = Input::Readings {
                turbine: self.turbine.clone(),
                source: self.id.clone(),
                readings,
                position: None,
                // the next sample is known: until then nothing comes
                complete_until: simulator.next_due().min(wall.plus_us(SECOND_US)),
            };
            if out.send(FromSource::Input(input)).await.is_err() {
                return;
            }
            let pause = clock.instant(now.mono.plus_us(BATCH_US as u64));
            tokio::time::sleep_until(pause).await;
        }
    }

    fn simulator(&self, start: EventTime) -> Simulator {
        Simulator::new(
            &self.catalogue,
            &self.turbine,
            self.seed,
            start,
            &self.faults,
        )
    }
}
