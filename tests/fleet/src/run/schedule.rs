//! When a run does what to networks and machines: the scenario's disturbances as steps of an executor.
//!
//! Invariants: a schedule is a function of the incidents, the gateways and the length of the run; steps come in the order
//! of time; whatever begins in a run ends in it, at its end at the latest: links carry, agents run, clocks of 1970 are set.

use std::time::Duration;

use windlass_fleet_model::Incident;
use windlass_fleet_model::noise::mix;
use windlass_fleet_model::scenario::DisturbanceKind as Kind;
use windlass_shared::time::{EventTime, SECOND_US};

use super::crew::Crew;
use crate::proxy::Quality;

/// Records are sent again this often.
const AGAIN_EVERY_US: i64 = 2 * SECOND_US;
/// Records are held back to overtake each other this often.
const REORDER_EVERY_US: i64 = 4 * SECOND_US;
/// And so long: less than what a session survives.
const HOLD_US: i64 = 3 * SECOND_US / 2;

/// What is done. Gateways by place in the crew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The gateway's link becomes what [`Schedule::link`] says.
    Link(usize),
    /// The broker is killed and started again.
    BrokerRestart,
    /// The agent is killed.
    Kill(usize),
    /// The agent is started if it does not run.
    Start(usize),
    /// The agent is killed and starts with a clock in 1970.
    Clock1970(usize),
    /// The gateway's clock is set right.
    ClockRight(usize),
    /// The gateway's clock jumps by so many microseconds.
    ClockStep(usize, i64),
    /// New records of the incident's gateways are sent again.
    Again {
        /// Draw of this round.
        seed: u64,
    },
    /// The links of the incident's gateways fall silent, so that records wait.
    Hold,
    /// What waits is sent past the links in another order; then the links carry again.
    Overtake {
        /// Draw of this round.
        seed: u64,
    },
}

/// A step at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// Microseconds after the run's beginning.
    pub at_us: i64,
    /// Which disturbance it belongs to.
    pub disturbance: usize,
    /// What is done.
    pub step: Step,
}

/// A disturbance that happens in the run.
#[derive(Clone, PartialEq, Debug)]
pub struct Disturbance {
    /// What.
    pub kind: Kind,
    /// From when, microseconds after the run's beginning.
    pub from_us: i64,
    /// Until when; as `from_us` for a moment.
    pub to_us: i64,
    /// Whose.
    pub gateways: Vec<usize>,
}

/// All of a run.
#[derive(Clone, PartialEq, Debug)]
pub struct Schedule {
    /// By the scenario's times.
    pub disturbances: Vec<Disturbance>,
    /// By time.
    pub events: Vec<Event>,
    /// Disturbances of the scenario that lie outside the run.
    pub outside: Vec<Kind>,
    seed: u64,
}

impl Schedule {
    /// Of a run that begins at `begins` and lasts `length_us`.
    pub fn new(
        incidents: &[Incident],
        crew: &Crew,
        begins: EventTime,
        length_us: i64,
        seed: u64,
    ) -> Self {
        let mut schedule = Self {
            disturbances: Vec::new(),
            events: Vec::new(),
            outside: Vec::new(),
            seed,
        };
        for incident in incidents {
            let from_us = incident.from.0 - begins.0;
            let to_us = incident.to.map_or(from_us, |to| to.0 - begins.0);
            let kind = incident.disturbance.kind;
            if from_us >= length_us || to_us < 0 {
                schedule.outside.push(kind);
                continue;
            }
            schedule.disturbances.push(Disturbance {
                kind,
                from_us: from_us.max(0),
                to_us: to_us.min(length_us),
                gateways: crew.of(&incident.seats),
            });
            schedule.steps(schedule.disturbances.len() - 1);
        }
        schedule.events.sort_by_key(|e| e.at_us);
        schedule
    }

    /// The link of a gateway at a time; `None`: it is cut. Of what overlaps, the worst counts.
    pub fn link(&self, gateway: usize, at_us: i64) -> Option<Quality> {
        let mut quality = Quality::default();
        let now = self.disturbances.iter().enumerate().filter(|(_, d)| {
            (d.from_us..d.to_us).contains(&at_us) && d.gateways.contains(&gateway)
        });
        for (i, disturbance) in now {
            let mut late = |ms: u64| quality.delay = quality.delay.max(Duration::from_millis(ms));
            match disturbance.kind {
                Kind::LinkCut => return None,
                Kind::LinkSlow {
                    bytes_per_s,
                    delay_ms,
                } => {
                    late(delay_ms);
                    let rate = quality.bytes_per_s.unwrap_or(bytes_per_s);
                    quality.bytes_per_s = Some(rate.min(bytes_per_s));
                }
                Kind::LinkLossy {
                    loss_percent,
                    delay_ms,
                } => {
                    late(delay_ms);
                    quality.loss_percent = quality.loss_percent.max(loss_percent);
                    quality.seed = mix(self.seed, mix(i as u64, gateway as u64));
                }
                _ => {}
            }
        }
        Some(quality)
    }

    /// The seed of all draws.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    fn steps(&mut self, disturbance: usize) {
        let Disturbance {
            kind,
            from_us,
            to_us,
            gateways,
        } = self.disturbances[disturbance].clone();
        let mut add = |at_us: i64, step: Step| {
            self.events.push(Event {
                at_us,
                disturbance,
                step,
            });
        };
        let mut each = |at_us: i64, step: fn(usize) -> Step| {
            for gateway in &gateways {
                add(at_us, step(*gateway));
            }
        };
        match kind {
            Kind::LinkCut | Kind::LinkSlow { .. } | Kind::LinkLossy { .. } => {
                each(from_us, Step::Link);
                each(to_us, Step::Link);
            }
            Kind::AgentKilled => {
                each(from_us, Step::Kill);
                each(to_us, Step::Start);
            }
            Kind::Clock1970 => {
                each(from_us, Step::Clock1970);
                each(to_us, Step::ClockRight);
            }
            Kind::ClockStep { by_ms } => {
                for gateway in gateways {
                    add(from_us, Step::ClockStep(gateway, by_ms * 1_000));
                    if to_us > from_us {
                        add(to_us, Step::ClockRight(gateway));
                    }
                }
            }
            Kind::BrokerRestart => add(from_us, Step::BrokerRestart),
            Kind::Duplicates { .. } => {
                for (round, at_us) in rounds(from_us + AGAIN_EVERY_US, to_us, AGAIN_EVERY_US) {
                    let seed = mix(self.seed, mix(disturbance as u64, round));
                    add(at_us, Step::Again { seed });
                }
            }
            Kind::Reordering { .. } => {
                for (round, at_us) in rounds(from_us, to_us - HOLD_US, REORDER_EVERY_US) {
                    let seed = mix(self.seed, mix(disturbance as u64, round));
                    add(at_us, Step::Hold);
                    add(at_us + HOLD_US, Step::Overtake { seed });
                }
            }
        }
    }
}

/// Gateways whose clock is touched, in this run or in a longer one.
pub fn clocks(incidents: &[Incident], crew: &Crew) -> Vec<usize> {
    let touched = incidents.iter().filter(|i| {
        let kind = i.disturbance.kind;
        matches!(kind, Kind::Clock1970 | Kind::ClockStep { .. })
    });
    let mut all: Vec<usize> = touched.flat_map(|i| crew.of(&i.seats)).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Times from `from` to `to`, both included; at least the first one, not later than `to`.
fn rounds(from: i64, to: i64, every: i64) -> impl Iterator<Item = (u64, i64)> {
    let first = from.min(to.max(0));
    (0..)
        .map(move |n| (n, first + n as i64 * every))
        .take_while(move |(n, at)| *n == 0 || *at <= to)
}

#[cfg(test)]
mod tests;
