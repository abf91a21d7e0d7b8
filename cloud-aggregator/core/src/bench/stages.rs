//! The task's stages up to one of them, over a whole stream.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_shared::catalogue::CatalogueHash;
use windlass_shared::coverage::Coverage;
use windlass_shared::id::TurbineId;
use windlass_shared::record::{Batch, Body, Record};
use windlass_shared::time::{EventTime, LogTime, MINUTE_US, SECOND_US};
use windlass_shared::window::{WindowResult, WindowSettings, Windows};
use windlass_shared::wire::{self, Logged};

use super::Stream;
use crate::admit::{Admission, admit, stamps_max};
use crate::detect::{Chain, Detectors, Plans, Scene};
use crate::fleet::Fleet;
use crate::task::{Live, LogInput};

/// How far a pass goes. Each stage does everything that those before it do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    /// Log entry and record, checked.
    Decode,
    /// Hash, dedupe, coverage.
    Coverage,
    /// Readings into the minutes.
    Panes,
    /// Windows that become due, composed.
    Windows,
    /// Detectors on live batches and on windows.
    Scoring,
}

impl Stage {
    /// In the order of the task.
    pub const ALL: [Self; 5] = [
        Self::Decode,
        Self::Coverage,
        Self::Panes,
        Self::Windows,
        Self::Scoring,
    ];
}

/// What a pass made.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Made {
    /// Readings that the stage took.
    pub readings: u64,
    /// Windows emitted.
    pub windows: u64,
    /// Alert events.
    pub alerts: u64,
}

/// One turbine, without the rest of the task.
struct Turbine {
    coverage: Coverage,
    speaks: Option<CatalogueHash>,
    windows: Windows,
    chain: Chain,
    live: Live,
}

struct Pass<'a> {
    upto: Stage,
    fleet: &'a Fleet,
    plans: Plans,
    settings: WindowSettings,
    turbines: BTreeMap<TurbineId, Turbine>,
    results: Vec<WindowResult>,
    made: Made,
}

impl Stream {
    /// Runs the stages up to `upto` over all entries.
    pub fn pass(&self, upto: Stage, fleet: &Fleet, detectors: &Arc<Detectors>) -> Made {
        let mut pass = Pass {
            upto,
            fleet,
            plans: Plans::new(detectors.clone(), fleet),
            settings: WindowSettings::default(),
            turbines: BTreeMap::new(),
            results: Vec::new(),
            made: Made::default(),
        };
        for input in self.inputs() {
            pass.entry(&input);
        }
        pass.made
    }
}

impl Pass<'_> {
    fn entry(&mut self, input: &LogInput) {
        let now = LogTime(input.log_time.0);
        match wire::decode_logged(input.value) {
            Ok(Logged::Telemetry { record: bytes, .. }) => {
                if let Ok(record) = wire::decode(&bytes) {
                    self.record(input, &record, &bytes, now);
                }
            }
            Ok(Logged::Control(_)) => self.tick(input, now),
            Err(_) => {}
        }
    }

    fn record(&mut self, input: &LogInput, record: &Record, bytes: &[u8], now: LogTime) {
        let readings = crate::ingest::readings_of(record);
        if self.upto == Stage::Decode {
            self.made.readings += readings;
            return;
        }
        let hash = wire::hash(bytes);
        let id = &record.header.id;
        if !self.turbines.contains_key(&id.turbine) {
            let new = Turbine {
                coverage: Coverage::default(),
                speaks: None,
                windows: Windows::default(),
                chain: Chain::new(self.plans.detectors()),
                live: Live::default(),
            };
            self.turbines.insert(id.turbine.clone(), new);
        }
        let Some(turbine) = self.turbines.get_mut(&id.turbine) else {
            return;
        };
        let (next, frontier) = (
            turbine.coverage.is_next(&record.header),
            turbine.coverage.frontier(),
        );
        let limit = stamps_max(now, input.log_time, 300 * SECOND_US);
        let (coverage, speaks) = (&mut turbine.coverage, &mut turbine.speaks);
        let admission = admit(coverage, speaks, self.fleet, record, &hash, limit);
        if admission != Admission::Counts {
            return;
        }
        self.made.readings += readings;
        let Body::Batch(batch) = &record.body else {
            return;
        };
        if self.upto == Stage::Coverage {
            return;
        }
        let Some(catalogue) = self.fleet.catalogue(batch.catalogue) else {
            return;
        };
        turbine.windows.add(catalogue, id.epoch, id.seq, batch, now);
        if self.upto == Stage::Scoring {
            self.score_live(input, record, batch, now);
        }
        let Some(turbine) = self.turbines.get(&id.turbine) else {
            return;
        };
        let minute = |t: EventTime| t.floor_to(MINUTE_US);
        if !next || minute(frontier) != minute(turbine.coverage.frontier()) {
            self.poll(input, &id.turbine, now);
        }
    }

    fn score_live(&mut self, input: &LogInput, record: &Record, batch: &Batch, now: LogTime) {
        let id = &record.header.id;
        if let Some(turbine) = self.turbines.get_mut(&id.turbine)
            && let Some(plan) = self.plans.of(batch.catalogue)
            && let Some(catalogue) = self.fleet.catalogue(batch.catalogue)
        {
            let mut alerts = Vec::new();
            let scene = scene(&id.turbine, input, now);
            turbine.live.take(plan, batch, &record.header);
            let (chain, live) = (&mut turbine.chain, &turbine.live);
            chain.live(&scene, plan, catalogue, live, id, batch, &mut alerts);
            self.made.alerts += alerts.len() as u64;
        }
    }

    fn tick(&mut self, input: &LogInput, now: LogTime) {
        if self.upto < Stage::Windows {
            return;
        }
        let due = |t: &Turbine| t.windows.next_deadline() <= now;
        let ids: Vec<_> = self
            .turbines
            .iter()
            .filter(|(_, t)| due(t))
            .map(|(id, _)| id.clone())
            .collect();
        for id in ids {
            self.poll(input, &id, now);
        }
    }

    fn poll(&mut self, input: &LogInput, id: &TurbineId, now: LogTime) {
        let Some(turbine) = self.turbines.get_mut(id) else {
            return;
        };
        let Some((hash, catalogue)) = turbine
            .speaks
            .and_then(|hash| Some((hash, self.fleet.catalogue(hash)?)))
        else {
            return;
        };
        if self.upto < Stage::Windows {
            return;
        }
        let (coverage, results) = (&turbine.coverage, &mut self.results);
        turbine
            .windows
            .poll(&self.settings, catalogue, coverage, now, results);
        self.made.windows += results.len() as u64;
        if self.upto == Stage::Scoring
            && let Some(plan) = self.plans.of(hash)
            && (!results.is_empty() || turbine.chain.waits())
        {
            let mut alerts = Vec::new();
            let scene = scene(id, input, now);
            let until = coverage.settled_until();
            let chain = &mut turbine.chain;
            chain.windows(&scene, plan, catalogue, results, until, &mut alerts);
            self.made.alerts += alerts.len() as u64;
        }
        results.clear();
    }
}

fn scene<'a>(turbine: &'a TurbineId, input: &LogInput, now: LogTime) -> Scene<'a> {
    Scene {
        turbine,
        farm: None,
        config_version: 1,
        position: input.offset,
        now,
    }
}
