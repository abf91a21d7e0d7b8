//! Which gateway serves which turbines of a scenario's fleet, and whether this machine can run them all.
//!
//! Invariant: every seat has one gateway, a gateway has turbines of one farm, in the order of the scenario.

use anyhow::{Context, Result, ensure};
use windlass_fleet_model::{Fleet, Scenario};
use windlass_shared::catalogue::Catalogue;
use windlass_shared::id::GatewayId;
use windlass_shared::time::SECOND_US;

use crate::spec::{self, Turbine};

/// Most gateways: each is a process that syncs its disk every second, beside the aggregator that serves them all.
pub const GATEWAYS_MAX: usize = 32;
/// Most readings of a run: the ledger holds each of them in memory twice, from the outbox and from the lake, at about a
/// hundred bytes together.
pub const READINGS_MAX: f64 = 20e6;

/// A gateway of the run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its name.
    pub id: String,
    /// Its farm.
    pub farm: String,
    /// Seats of its turbines.
    pub seats: Vec<usize>,
}

/// All of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Crew(pub Vec<Member>);

impl Crew {
    /// Of a scenario's fleet; fails where a name does not fit.
    pub fn new(scenario: &Scenario, fleet: &Fleet) -> Result<Self> {
        let mut members = Vec::new();
        let mut seat = 0;
        for farm in &scenario.farms {
            let turbines = fleet.seats()[seat..].iter();
            let seats: Vec<usize> =
                (seat..seat + turbines.take_while(|s| s.farm == farm.id).count()).collect();
            seat += seats.len();
            for (n, seats) in seats.chunks(farm.turbines_per_gateway).enumerate() {
                let id = format!("{}-gw{}", farm.id, n + 1);
                GatewayId::new(&id).with_context(|| {
                    format!(
                        "farm {}: the name is too long, expected one that leaves room for \"-gw{}\" within 32 characters",
                        farm.id,
                        n + 1
                    )
                })?;
                members.push(Member {
                    id,
                    farm: farm.id.to_string(),
                    seats: seats.to_vec(),
                });
            }
        }
        Ok(Self(members))
    }

    /// Fails when the fleet is too large to be run for so long as real processes.
    pub fn fits(&self, fleet: &Fleet, minutes: f64) -> Result<()> {
        let gateways = self.0.len();
        ensure!(
            gateways <= GATEWAYS_MAX,
            "the scenario has {gateways} gateways, expected at most {GATEWAYS_MAX}: each is a process that syncs its disk \
             every second; give its farms fewer turbines, or more turbines_per_gateway"
        );
        let per_s: f64 = fleet.seats().iter().map(|s| per_second(&s.catalogue)).sum();
        let readings = per_s * minutes * 60.0;
        ensure!(
            readings <= READINGS_MAX,
            "{} turbines make about {:.1} million readings in {minutes} minutes, expected at most {:.0} million: the ledger \
             holds them all in memory; give the scenario fewer turbines, or --minutes less",
            fleet.seats().len(),
            readings / 1e6,
            READINGS_MAX / 1e6
        );
        Ok(())
    }

    /// Gateways that serve any of these seats.
    pub fn of(&self, seats: &[usize]) -> Vec<usize> {
        (0..self.0.len())
            .filter(|g| self.0[*g].seats.iter().any(|s| seats.contains(s)))
            .collect()
    }

    /// What the rig needs: each gateway with a link of its own, and a push source for each turbine.
    pub fn gateways(&self, fleet: &Fleet, with_clock: &[usize]) -> Vec<spec::Gateway> {
        let one = |(index, member): (usize, &Member)| {
            let seats = member.seats.iter().map(|s| &fleet.seats()[*s]);
            let turbines = seats
                .map(|s| Turbine::new(s.turbine.as_str(), &s.catalogue.name))
                .collect();
            let mut gateway = spec::Gateway::new(&member.id, &member.farm, turbines);
            gateway.link.clone_from(&member.id);
            gateway.own_clock = with_clock.contains(&index);
            for turbine in gateway.turbines.clone() {
                gateway = gateway.with_source(&source(&turbine.id));
            }
            gateway
        };
        self.0.iter().enumerate().map(one).collect()
    }
}

/// Name of a turbine's push socket in its gateway's folder.
pub fn socket(turbine: &str) -> String {
    format!("{turbine}.sock")
}

fn source(turbine: &str) -> String {
    format!(
        "\n[[source]]\nname = \"push-{turbine}\"\nkind = \"push\"\nturbine = \"{turbine}\"\npath = \"{}\"\n",
        socket(turbine)
    )
}

/// Readings a second, without those that come on change.
fn per_second(catalogue: &Catalogue) -> f64 {
    let periods = catalogue.channels.iter().map(|c| c.period_us);
    periods
        .filter(|p| *p > 0)
        .map(|p| SECOND_US as f64 / p as f64)
        .sum()
}
