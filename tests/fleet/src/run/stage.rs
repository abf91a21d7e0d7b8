//! Executes a schedule on a rig.
//!
//! Invariant: what is done to networks and machines is what the schedule says, and each disturbance is reported with what
//! it met.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use windlass_fleet_model::scenario::DisturbanceKind as Kind;
use windlass_shared::id::{GatewayId, RecordId};
use windlass_shared::time::WallTime;
use windlass_shared::wire::up_topic;

use super::again;
use super::crew::Crew;
use super::schedule::{Event, Schedule, Step};
use crate::clock::{self, Stopwatch};
use crate::demo::say;
use crate::mqtt::{Peer, Tls};
use crate::proxy::{Quality, State};
use crate::rig::Rig;

/// Between two looks into the outboxes.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two looks at the clock.
const STEP_EVERY: Duration = Duration::from_millis(50);
/// Between two lines of progress.
const SAY_EVERY: Duration = Duration::from_secs(15);

/// Records and their gateways.
type Share<'r> = Vec<(&'r RecordId, &'r GatewayId)>;

/// What a disturbance did.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Done {
    /// Its kind.
    pub kind: String,
    /// When it began, seconds after the run's beginning.
    pub from_s: f64,
    /// When it ended; as `from_s` for a moment.
    pub to_s: f64,
    /// Whom it hit.
    pub gateways: Vec<String>,
    /// Steps that were executed.
    pub steps: u64,
    /// Records that were sent again or in another order.
    pub records_sent: u64,
    /// Which programs were killed: gateways by name.
    pub killed: Vec<String>,
    /// Records that waited for an acknowledgement when a process was killed.
    pub records_in_flight: u64,
    /// Pieces that the links lost so far: each made a stream stall or broke a connection.
    pub pieces_lost: u64,
}

/// The executor.
pub struct Stage<'a> {
    rig: &'a mut Rig,
    crew: &'a Crew,
    schedule: &'a Schedule,
    begins: WallTime,
    /// What was done so far.
    pub done: Vec<Done>,
    /// For each disturbance: up to where records were sent again.
    sent_until: Vec<i64>,
    peers: u64,
}

impl<'a> Stage<'a> {
    /// On a rig that runs, or will by `begins`.
    pub fn new(rig: &'a mut Rig, crew: &'a Crew, schedule: &'a Schedule, begins: WallTime) -> Self {
        let done = schedule.disturbances.iter().map(|d| Done {
            kind: d.kind.name().to_owned(),
            from_s: d.from_us as f64 / 1e6,
            to_s: d.to_us as f64 / 1e6,
            gateways: d.gateways.iter().map(|g| crew.0[*g].id.clone()).collect(),
            ..Done::default()
        });
        Self {
            done: done.collect(),
            sent_until: schedule
                .disturbances
                .iter()
                .map(|d| begins.0 + d.from_us)
                .collect(),
            rig,
            crew,
            schedule,
            begins,
            peers: 0,
        }
    }

    /// Plays to the end.
    pub fn play(&mut self, length_us: i64) -> Result<()> {
        for event in &self.schedule.events {
            self.wait_until(event.at_us)?;
            self.execute(event)?;
        }
        self.wait_until(length_us)
    }

    fn now_us(&self) -> i64 {
        clock::wall().0 - self.begins.0
    }

    /// Lets the fleet run; looks into the outboxes, says how it goes.
    fn wait_until(&mut self, at_us: i64) -> Result<()> {
        let (mut looked, mut said) = (Stopwatch::start(), Stopwatch::start());
        while self.now_us() < at_us {
            if looked.elapsed() > LOOK_EVERY {
                looked = Stopwatch::start();
                self.rig.check()?;
                let waiting = self.rig.look()?.len();
                if said.elapsed() > SAY_EVERY {
                    said = Stopwatch::start();
                    let records = self.rig.witness.records.len();
                    let text = format!(
                        "{records} records committed, {waiting} wait for an acknowledgement"
                    );
                    say(self.now_us() as f64 / 1e6, &text);
                }
            }
            clock::pause(STEP_EVERY);
        }
        Ok(())
    }

    fn execute(&mut self, event: &Event) -> Result<()> {
        let disturbance = event.disturbance;
        if event.step != Step::Hold {
            say(event.at_us as f64 / 1e6, &self.told(event));
        }
        match event.step {
            Step::Link(gateway) => self.link(gateway, event),
            Step::BrokerRestart => self.restart_broker(disturbance)?,
            Step::Kill(gateway) => self.kill(gateway, disturbance)?,
            Step::Start(gateway) => {
                if self.rig.gateways[gateway].process_id().is_none() {
                    self.rig.start_gateway(gateway)?;
                }
            }
            Step::Clock1970(gateway) => {
                self.kill(gateway, disturbance)?;
                self.rig.gateways[gateway].boot()?;
                self.rig.clock(gateway)?.set(WallTime(0))?;
                self.rig.start_gateway(gateway)?;
            }
            Step::ClockRight(gateway) => self.rig.clock(gateway)?.set_right()?,
            Step::ClockStep(gateway, by_us) => self.rig.clock(gateway)?.step(by_us)?,
            Step::Again { seed } => self.again(disturbance, seed)?,
            Step::Hold => {
                for gateway in &self.schedule.disturbances[disturbance].gateways {
                    self.rig.links[&self.crew.0[*gateway].id].set(State::Silent);
                }
            }
            Step::Overtake { seed } => {
                self.overtake(disturbance, seed)?;
                for gateway in &self.schedule.disturbances[disturbance].gateways {
                    self.link(*gateway, event);
                }
            }
        }
        self.done[disturbance].steps += 1;
        Ok(())
    }

    /// A step in words.
    fn told(&self, event: &Event) -> String {
        let disturbance = &self.done[event.disturbance];
        let name = |gateway: usize| self.crew.0[gateway].id.as_str();
        let what = match event.step {
            Step::Link(g) => match self.schedule.link(g, event.at_us) {
                None => format!("the link of {} carries nothing", name(g)),
                Some(q) if q == Quality::default() => {
                    format!("the link of {} carries as it should", name(g))
                }
                Some(q) => format!("the link of {} carries badly: {q:?}", name(g)),
            },
            Step::BrokerRestart if self.rig.mosquitto.is_some() => {
                "the broker is killed and started again".to_owned()
            }
            Step::BrokerRestart => "broker and aggregator are killed and started again".to_owned(),
            Step::Kill(g) => format!("the agent of {} is killed", name(g)),
            Step::Start(g) => format!("the agent of {} starts", name(g)),
            Step::Clock1970(g) => format!("{} starts again in 1970", name(g)),
            Step::ClockRight(g) => format!("the clock of {} is set right", name(g)),
            Step::ClockStep(g, us) => {
                format!("the clock of {} jumps by {} s", name(g), us as f64 / 1e6)
            }
            Step::Again { .. } => "records are sent a second time".to_owned(),
            Step::Hold => "records wait".to_owned(),
            Step::Overtake { .. } => "waiting records are sent in another order".to_owned(),
        };
        format!("{}: {what}", disturbance.kind)
    }

    fn link(&mut self, gateway: usize, event: &Event) {
        let link = &self.rig.links[&self.crew.0[gateway].id];
        match self.schedule.link(gateway, event.at_us) {
            None => link.set(State::Silent),
            Some(quality) => {
                if self.schedule.disturbances[event.disturbance].kind == Kind::LinkCut {
                    // who held on to a connection through the cut has lost it
                    link.set(State::Refused);
                }
                link.degrade(quality);
                link.set(State::Up);
            }
        }
        let (stalls, breaks) = link.losses();
        self.done[event.disturbance].pieces_lost = stalls + breaks;
    }

    /// The embedded broker takes the aggregator with it, in whose process it lives.
    fn restart_broker(&mut self, disturbance: usize) -> Result<()> {
        match &mut self.rig.mosquitto {
            Some(mosquitto) => mosquitto.kill()?,
            None => self.rig.kill_cloud()?,
        }
        let waiting = self.rig.look()?.len() as u64;
        self.done[disturbance].records_in_flight += waiting;
        let name = if let Some(mosquitto) = &mut self.rig.mosquitto {
            mosquitto.restart()?;
            "mosquitto"
        } else {
            self.rig.start_cloud()?;
            "windlass-cloud"
        };
        self.done[disturbance].killed.push(name.to_owned());
        Ok(())
    }

    fn kill(&mut self, gateway: usize, disturbance: usize) -> Result<()> {
        if self.rig.gateways[gateway].process_id().is_some() {
            let look = self.rig.kill_gateway(gateway)?;
            let name = self.crew.0[gateway].id.clone();
            self.done[disturbance].killed.push(name);
            self.done[disturbance].records_in_flight += look.unacknowledged.len() as u64;
        }
        Ok(())
    }

    /// What the disturbance's gateways committed since the last round comes again.
    fn again(&mut self, disturbance: usize, seed: u64) -> Result<()> {
        let Kind::Duplicates { percent } = self.schedule.disturbances[disturbance].kind else {
            return Ok(());
        };
        self.rig.look()?;
        let until = clock::wall().0;
        let since = std::mem::replace(&mut self.sent_until[disturbance], until);
        let mut fresh = self.records(disturbance, |id, rig| {
            let at = rig.witness.records[id].header.committed_at.0;
            (since..until).contains(&at)
        })?;
        fresh.sort();
        let chosen = again::chosen(fresh.len(), percent, seed);
        let records: Vec<_> = chosen.into_iter().map(|i| fresh[i].clone()).collect();
        self.send(disturbance, &records)
    }

    /// What waits behind a silent link goes past it, in another order.
    fn overtake(&mut self, disturbance: usize, seed: u64) -> Result<()> {
        let Kind::Reordering { percent, depth } = self.schedule.disturbances[disturbance].kind
        else {
            return Ok(());
        };
        let waiting: std::collections::BTreeSet<RecordId> = self.rig.look()?.into_iter().collect();
        let mut waiting = self.records(disturbance, |id, _| waiting.contains(id))?;
        waiting.sort();
        let order = again::order(waiting.len(), percent, depth, seed);
        let records: Vec<_> = order.into_iter().map(|i| waiting[i].clone()).collect();
        self.send(disturbance, &records)
    }

    /// Records of the disturbance's gateways, with the gateway.
    fn records(
        &self,
        disturbance: usize,
        wanted: impl Fn(&RecordId, &Rig) -> bool,
    ) -> Result<Vec<(RecordId, GatewayId)>> {
        let mut found = Vec::new();
        for gateway in &self.schedule.disturbances[disturbance].gateways {
            let spec = &self.rig.gateways[*gateway].spec;
            let id = GatewayId::new(&spec.id)?;
            let own = self.rig.witness.records.keys().filter(|record| {
                let mut turbines = spec.turbines.iter();
                turbines.any(|t| record.turbine.as_str() == t.id)
                    // what a gateway has declared lost stays lost
                    && wanted(record, self.rig)
                    && !self.rig.witness.declared_lost(record)
            });
            found.extend(own.map(|record| (record.clone(), id.clone())));
        }
        Ok(found)
    }

    fn send(&mut self, disturbance: usize, records: &[(RecordId, GatewayId)]) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        for (tls, records) in self.shares(records) {
            self.peers += 1;
            let name = format!("again-{}", self.peers);
            let mut peer = Peer::connect(self.rig.broker_port(), &name, tls.as_ref())?;
            let witness = &self.rig.witness;
            let messages = records.into_iter().map(|(record, gateway)| {
                let bytes = witness.records[record].bytes.clone();
                (up_topic(gateway, record), bytes)
            });
            let sent = peer.publish_all(messages)?;
            self.done[disturbance].records_sent += sent as u64;
        }
        Ok(())
    }

    /// Who sends what: a broker that binds topics to certificates takes a gateway's records from it alone.
    fn shares<'r>(&self, records: &'r [(RecordId, GatewayId)]) -> Vec<(Option<Tls>, Share<'r>)> {
        let mut shares: Vec<(Option<Tls>, Share<'r>)> = Vec::new();
        for gateway in &self.rig.gateways {
            let Some(own) = gateway.identity() else {
                return vec![(None, records.iter().map(|(r, g)| (r, g)).collect())];
            };
            let its = records
                .iter()
                .filter(|(_, g)| g.as_str() == gateway.spec.id);
            let share: Share<'r> = its.map(|(r, g)| (r, g)).collect();
            if !share.is_empty() {
                let tls = Tls {
                    ca: own.ca.clone(),
                    own: Some(own.clone()),
                };
                shares.push((Some(tls), share));
            }
        }
        shares
    }
}
