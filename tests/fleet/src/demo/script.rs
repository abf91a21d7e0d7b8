//! What happens in the demo, and when.
//!
//! Invariant: moments are shares of the run's length, so that a longer run has the same story.

use std::time::Duration;

use anyhow::Result;
use windlass_shared::time::SECOND_US;

use super::cast::{CUT_FARM, Cast, HISTORY_FARM, OIL_HOT, OIL_PRESSURE};
use super::faults::Fault;
use super::latency::Outages;
use super::pages::{Deed, Pages};
use super::say;
use crate::clock::{self, Stopwatch};
use crate::interrupt::Interrupt;
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
    /// What was done besides the faults, and where it shows.
    pub deeds: Vec<Deed>,
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

    /// The same, with the page that shows it now.
    fn event_at(&mut self, what: &str, link: &str) {
        self.event(what);
        eprintln!("          {link}");
    }

    fn deed(&mut self, what: &str, (from, until): (i64, i64), shows: &str, link: String) {
        self.deeds.push(Deed {
            what: what.to_owned(),
            from,
            until,
            shows: shows.to_owned(),
            link,
        });
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Act {
    CutLink,
    ConnectHistory,
    Storm,
    /// The simulators put it in; this only says so.
    Fault(usize),
    KillAgent,
    RestoreLink,
    KillAggregator,
    RestartAggregator,
    End,
}

/// By share of the run's length.
const ACTS: [(f64, Act); 11] = [
    (0.05, Act::CutLink),
    (0.12, Act::ConnectHistory),
    (0.20, Act::Storm),
    (OIL_HOT, Act::Fault(0)),
    (0.35, Act::KillAgent),
    (OIL_PRESSURE, Act::Fault(1)),
    (0.60, Act::RestoreLink),
    (0.65, Act::KillAggregator),
    (0.68, Act::RestartAggregator),
    (0.80, Act::Storm),
    (1.00, Act::End),
];

/// Plays for so many minutes.
pub fn play(
    rig: &mut Rig,
    cast: &Cast,
    pages: &Pages,
    interrupt: &Interrupt,
    minutes: f64,
) -> Result<Played> {
    rig.links[HISTORY_FARM].set(State::Refused);
    let started = clock::wall().0;
    let mut played = Played {
        faults: cast.faults(started),
        outages: Outages::default(),
        duplicates_sent: 0,
        in_flight_at_kills: 0,
        events: Vec::new(),
        deeds: Vec::new(),
        watch: Stopwatch::start(),
    };
    rig.start()?;
    rig.console_answers()?;
    played.event("broker, aggregator and gateways start; the history's gateway is cut off");
    eprintln!("\n          The console: {}\n", pages.wall());
    let mut stage = Stage {
        rig,
        cast,
        pages,
        interrupt,
        cut_at: started,
        killed_at: started,
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
    pages: &'a Pages,
    interrupt: &'a Interrupt,
    cut_at: i64,
    killed_at: i64,
}

impl Stage<'_> {
    /// Lets the fleet run; looks into the outboxes, says how it goes.
    fn wait_until(&mut self, played: &mut Played, at_s: f64) -> Result<()> {
        let mut said = Stopwatch::start();
        while played.since_start() < at_s {
            self.interrupt.check()?;
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
            self.interrupt.check()?;
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
        let channels = super::history::FAULT_CHANNELS.map(str::to_owned);
        played.event_at(
            "60 days of history lie in an outbox; its link comes up, the backlog drains",
            &self
                .pages
                .past(&turbine, &channels, self.cast.history_range()),
        );
        Ok(())
    }

    fn act(&mut self, played: &mut Played, act: Act) -> Result<()> {
        match act {
            Act::CutLink => {
                self.cut_at = clock::wall().0;
                self.rig.links[CUT_FARM].set(State::Silent);
                let page = self.pages.farm(CUT_FARM);
                played.event_at("the link of farm south goes silent", &page);
            }
            Act::ConnectHistory => self.connect_history(played)?,
            Act::RestoreLink => self.restore_link(played),
            Act::Storm => self.storm(played)?,
            Act::Fault(i) => {
                let fault = played.faults[i].clone();
                let page = self.pages.live(&fault.turbine, &fault.channels);
                played.event_at(&format!("{}: {}", fault.turbine, fault.what), &page);
            }
            Act::KillAgent => self.kill_agent(played)?,
            Act::KillAggregator => {
                self.killed_at = clock::wall().0;
                self.rig.kill_cloud()?;
                let waiting = self.rig.look()?.len();
                played.in_flight_at_kills += waiting as u64;
                played.event_at(
                    &format!(
                        "broker and aggregator are killed with {waiting} records in flight; the console is gone with them"
                    ),
                    &self.pages.wall(),
                );
            }
            Act::RestartAggregator => self.restart_aggregator(played)?,
            Act::End => {}
        }
        Ok(())
    }

    fn restore_link(&self, played: &mut Played) {
        self.rig.links[CUT_FARM].set(State::Refused);
        self.rig.links[CUT_FARM].set(State::Up);
        let now = clock::wall().0;
        for turbine in self.cast.turbines_of(CUT_FARM) {
            // The gateway finds out when its keep-alive runs out: that is part of the outage.
            let from = self.cut_at - 2 * SECOND_US;
            played.outages.add(&turbine, from, now);
        }
        let cut = (self.cut_at, now);
        let small = self.cast.turbines_at(self.cast.small_disk).remove(0);
        let small_page = self.pages.proof(&small, cut);
        played.event_at("the link of farm south is back", &small_page);
        for turbine in self.cast.turbines_of(CUT_FARM) {
            let shows = if turbine == small {
                "what its small disk had to evict is missing, on record; the rest came later"
            } else {
                "all of that time came later, nothing is missing"
            };
            let what = format!("{turbine}: the link of farm south was cut");
            let page = self.pages.proof(&turbine, cut);
            played.deed(&what, cut, shows, page);
        }
    }

    fn kill_agent(&mut self, played: &mut Played) -> Result<()> {
        let from = clock::wall().0;
        let look = self.rig.kill_gateway(self.cast.victim)?;
        let waiting = look.unacknowledged.len();
        played.in_flight_at_kills += waiting as u64;
        self.rig.start_gateway(self.cast.victim)?;
        for turbine in self.cast.turbines_at(self.cast.victim) {
            let until = clock::wall().0;
            played.outages.add(&turbine, from - 2 * SECOND_US, until);
            let page = self.pages.proof(&turbine, (from, until));
            played.event_at(
                &format!(
                    "{turbine}: its agent is killed with {waiting} records in flight, and restarted"
                ),
                &page,
            );
            played.deed(
                &format!("{turbine}: its agent was killed"),
                (from, until),
                "a second epoch begins where the first one ends",
                page,
            );
        }
        Ok(())
    }

    fn restart_aggregator(&mut self, played: &mut Played) -> Result<()> {
        self.rig.start_cloud()?;
        let now = clock::wall().0;
        for turbine in self.cast.turbines() {
            let from = self.killed_at - 2 * SECOND_US;
            played.outages.add(&turbine, from, now);
        }
        self.rig.console_answers()?;
        let turbine = self.cast.turbines_at(self.cast.victim).remove(0);
        let page = self.pages.proof(&turbine, (self.killed_at, now));
        played.event_at("broker and aggregator are back", &page);
        played.deed(
            "broker and aggregator were killed",
            (self.killed_at, now),
            &format!("what {turbine} measured meanwhile is all there"),
            page,
        );
        Ok(())
    }

    fn storm(&mut self, played: &mut Played) -> Result<()> {
        let from = clock::wall().0;
        let gateways: Vec<_> = self.rig.gateways.iter().map(|g| &g.spec).collect();
        let (newest, times) = STORM;
        let seed = played.duplicates_sent + 1;
        let port = self.rig.broker_port();
        let sent = storm::rage(&self.rig.witness, &gateways, newest, times, port, seed)?;
        played.duplicates_sent += sent as u64;
        let page = self.pages.platform();
        let what = format!("{sent} records are sent again, in a random order");
        played.event_at(&what, &page);
        played.deed(
            &format!("{sent} records were sent again"),
            (from, clock::wall().0),
            "duplicate records that count nowhere",
            page,
        );
        Ok(())
    }
}
