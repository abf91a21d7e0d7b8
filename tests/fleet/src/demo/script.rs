//! What happens in the demo, and when.
//!
//! Invariant: moments are shares of the run's length, so that a longer run has the same story.

use std::time::Duration;

use anyhow::Result;
use windlass_shared::time::SECOND_US;

use super::cast::{CUT_FARM, Cast, HISTORY_FARM};
use super::faults::Fault;
use super::latency::Outages;
use super::say;
use crate::clock::{self, Stopwatch};
use crate::proxy::State;
use crate::rig::Rig;
use crate::storm;

/// Between two lines of progress.
const SAY_EVERY: Duration = Duration::from_secs(10);
/// Between two looks into the outboxes: what the small disk evicts was seen before.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The file source may take so long to bring its history into the outbox.
const HISTORY_BOUND: Duration = Duration::from_mins(2);
/// Records of a turbine that a storm sends again, and how often.
const STORM: (usize, usize) = (200, 3);

/// What the run did.
pub struct Played {
    /// Faults that were put in.
    pub faults: Vec<Fault>,
    /// When which turbine was not connected.
    pub outages: Outages,
    /// Records sent again.
    pub duplicates_sent: u64,
    /// Records that waited when something was killed.
    pub in_flight_at_kills: u64,
    /// What happened when.
    pub events: Vec<(f64, String)>,
    watch: Stopwatch,
}

impl Played {
    /// Seconds since the start.
    pub fn since_start(&self) -> f64 {
        self.watch.elapsed().as_secs_f64()
    }

    /// Notes and prints what happens now.
    pub fn event(&mut self, what: &str) {
        let at = self.since_start();
        say(at, what);
        self.events.push((at, what.to_owned()));
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Act {
    CutLink,
    ConnectHistory,
    Storm,
    KillAgent,
    RestoreLink,
    KillAggregator,
    RestartAggregator,
    End,
}

/// By share of the run's length.
const ACTS: [(f64, Act); 9] = [
    (0.05, Act::CutLink),
    (0.12, Act::ConnectHistory),
    (0.20, Act::Storm),
    (0.35, Act::KillAgent),
    (0.60, Act::RestoreLink),
    (0.65, Act::KillAggregator),
    (0.68, Act::RestartAggregator),
    (0.80, Act::Storm),
    (1.00, Act::End),
];

/// Plays for so many minutes.
pub fn play(rig: &mut Rig, cast: &Cast, minutes: f64) -> Result<Played> {
    rig.links[HISTORY_FARM].set(State::Refused);
    let started = clock::wall().0;
    let mut played = Played {
        faults: cast.faults(started),
        outages: Outages::default(),
        duplicates_sent: 0,
        in_flight_at_kills: 0,
        events: Vec::new(),
        watch: Stopwatch::start(),
    };
    rig.start()?;
    played.event("broker, aggregator and gateways start; the history's gateway is cut off");
    let mut stage = Stage {
        rig,
        cast,
        cut_at: None,
        killed_at: 0,
    };
    for (share, act) in ACTS {
        stage.wait_until(&mut played, minutes * 60.0 * share)?;
        stage.act(&mut played, act)?;
    }
    Ok(played)
}

struct Stage<'a> {
    rig: &'a mut Rig,
    cast: &'a Cast,
    cut_at: Option<i64>,
    killed_at: i64,
}

impl Stage<'_> {
    /// Lets the fleet run; looks into the outboxes, says how it goes.
    fn wait_until(&mut self, played: &mut Played, at_s: f64) -> Result<()> {
        let mut said = Stopwatch::start();
        while played.since_start() < at_s {
            if self.rig.cloud_id().is_some() {
                self.rig.check()?;
            }
            let waiting = self.rig.look()?.len();
            if said.elapsed() > SAY_EVERY {
                said = Stopwatch::start();
                let records = self.rig.witness.records.len();
                say(
                    played.since_start(),
                    &format!("{records} records committed, {waiting} wait for an acknowledgement"),
                );
            }
            clock::pause(LOOK_EVERY);
        }
        Ok(())
    }

    /// The history's gateway gets its link once the whole file lies in its outbox.
    fn connect_history(&mut self, played: &mut Played) -> Result<()> {
        let turbine = self.cast.turbines_at(self.cast.historian).remove(0);
        let due = self.cast.history_rows() * super::history::COLUMNS.len() as u64;
        clock::until("the history lies in the outbox", HISTORY_BOUND, || {
            self.rig.check()?;
            self.rig.look()?;
            let own = self.rig.witness.records.iter();
            let readings: usize = own
                .filter(|(id, _)| id.turbine.as_str() == turbine)
                .map(|(_, committed)| committed.readings.len())
                .sum();
            Ok((readings as u64 >= due).then_some(()))
        })?;
        self.rig.links[HISTORY_FARM].set(State::Up);
        played.event("60 days of history lie in an outbox; its link comes up, the backlog drains");
        Ok(())
    }

    fn act(&mut self, played: &mut Played, act: Act) -> Result<()> {
        match act {
            Act::CutLink => {
                self.cut_at = Some(clock::wall().0);
                self.rig.links[CUT_FARM].set(State::Silent);
                played.event("the link of farm south goes silent");
            }
            Act::ConnectHistory => self.connect_history(played)?,
            Act::RestoreLink => {
                self.rig.links[CUT_FARM].set(State::Refused);
                self.rig.links[CUT_FARM].set(State::Up);
                let now = clock::wall().0;
                for turbine in self.cast.turbines_of(CUT_FARM) {
                    // The gateway finds out when its keep-alive runs out: that is part of the outage.
                    let from = self.cut_at.unwrap_or(now) - 2 * SECOND_US;
                    played.outages.add(&turbine, from, now);
                }
                played.event("the link of farm south is back");
            }
            Act::Storm => self.storm(played)?,
            Act::KillAgent => {
                let from = clock::wall().0;
                let look = self.rig.kill_gateway(self.cast.victim)?;
                let waiting = look.unacknowledged.len();
                played.in_flight_at_kills += waiting as u64;
                self.rig.start_gateway(self.cast.victim)?;
                for turbine in self.cast.turbines_at(self.cast.victim) {
                    let until = clock::wall().0;
                    played.outages.add(&turbine, from - 2 * SECOND_US, until);
                }
                played.event(&format!(
                    "an agent is killed with {waiting} records in flight, and restarted"
                ));
            }
            Act::KillAggregator => {
                self.killed_at = clock::wall().0;
                self.rig.kill_cloud()?;
                let waiting = self.rig.look()?.len();
                played.in_flight_at_kills += waiting as u64;
                played.event(&format!(
                    "broker and aggregator are killed with {waiting} records in flight"
                ));
            }
            Act::RestartAggregator => {
                self.rig.start_cloud()?;
                let now = clock::wall().0;
                for turbine in self.cast.turbines() {
                    let from = self.killed_at - 2 * SECOND_US;
                    played.outages.add(&turbine, from, now);
                }
                played.event("broker and aggregator are back");
            }
            Act::End => {}
        }
        Ok(())
    }

    fn storm(&mut self, played: &mut Played) -> Result<()> {
        let gateways: Vec<_> = self.rig.gateways.iter().map(|g| &g.spec).collect();
        let (newest, times) = STORM;
        let seed = played.duplicates_sent + 1;
        let port = self.rig.broker_port();
        let sent = storm::rage(&self.rig.witness, &gateways, newest, times, port, seed)?;
        played.duplicates_sent += sent as u64;
        played.event(&format!("{sent} records are sent again, in a random order"));
        Ok(())
    }
}
