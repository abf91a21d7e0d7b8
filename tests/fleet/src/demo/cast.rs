//! Who plays in the demo: farms, gateways, turbines, and what is wrong with them from the start.
//!
//! Invariant: the parts are given by place in the list, so that any number of turbines from [`TURBINES_MIN`] up works.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use windlass_shared::time::{EventTime, MINUTE_US, SECOND_US};

use super::faults::Fault;
use super::history::{self, FAULT_CHANNELS, History};
use crate::clock;
use crate::rig::Rig;
use crate::spec::{self, Gateway, Turbine, simulator};

/// Turbines with a part of their own.
pub const TURBINES_MIN: u16 = 4;
/// Turbines of one gateway, for those without a part.
const TURBINES_PER_GATEWAY: usize = 2;
/// Budget of the gateway with the small disk, bytes: what less than a minute without a link fills.
const SMALL_DISK_BYTES: u64 = 96 * 1024;
/// Uplink of the gateway with the history, bytes a second: its backlog takes a while.
const HISTORY_BYTES_PER_S: u64 = 4_000;
/// Shortest run: each fault lasts into a whole window that settles before the traffic ends.
const MINUTES_MIN: f64 = 2.0;
/// Longest run: a day.
const MINUTES_MAX: f64 = 1_440.0;
/// A turbine without a reading for so long is silent, seconds: shorter than in the field, as the run is.
const STALE_AFTER_S: f64 = 10.0;
const PROFILE: &str = "onshore-3mw";
/// Shown of the history before its fault, microseconds: a week.
const HISTORY_SHOWN_US: i64 = 7 * 24 * 60 * MINUTE_US;
/// Seed of the simulators that run on after the ledger.
const SEED_AFTER: u64 = 7;
const HISTORY_FILE: &str = "history.csv";

/// Farm whose link is cut on the way.
pub const CUT_FARM: &str = "south";
/// Farm whose link is cut from the start, until its history is in the outbox.
pub const HISTORY_FARM: &str = "east";
const QUIET_FARM: &str = "north";

/// When the oil begins to grow hot, as a share of the run.
pub const OIL_HOT: f64 = 0.30;
/// When the oil pressure drops.
pub const OIL_PRESSURE: f64 = 0.45;

/// A fault in a simulator.
struct Injected {
    turbine: String,
    channel: &'static str,
    what: &'static str,
    /// Seconds after the agent's start.
    at_s: f64,
    lasts_s: f64,
    kind: &'static str,
    amount: f64,
}

impl Injected {
    fn table(&self) -> String {
        format!(
            "\n[[source.fault]]\nchannel = \"{}\"\nat_s = {:.1}\nlasts_s = {:.1}\nkind = \"{}\"\namount = {:.1}\n",
            self.channel, self.at_s, self.lasts_s, self.kind, self.amount
        )
    }
}

/// All parts.
pub struct Cast {
    gateways: Vec<Gateway>,
    injected: Vec<Injected>,
    history: History,
    history_turbine: String,
    /// Index of the gateway that is killed.
    pub victim: usize,
    /// Index of the gateway with the small disk.
    pub small_disk: usize,
    /// Index of the gateway with the history.
    pub historian: usize,
}

impl Cast {
    /// Gives the parts.
    pub fn new(turbines: u16, minutes: f64) -> Result<Self> {
        ensure!(
            turbines >= TURBINES_MIN,
            "--turbines {turbines}: expected at least {TURBINES_MIN}, one for each part"
        );
        ensure!(
            (MINUTES_MIN..=MINUTES_MAX).contains(&minutes),
            "--minutes: found {minutes}, expected {MINUTES_MIN} to {MINUTES_MAX}: an alarm is confirmed on settled windows \
             of a minute, so in a shorter run no fault could be found"
        );
        let run_s = minutes * 60.0;
        let id = |n: usize| format!("T{:03}", n + 1);
        let live = |n: usize| Turbine::new(&id(n), PROFILE);
        let injected = vec![
            Injected {
                turbine: id(2),
                channel: "gearbox_oil_temperature",
                what: "gearbox oil grows hot, while the farm is cut off",
                at_s: run_s * OIL_HOT,
                lasts_s: run_s * 0.50,
                kind: "ramp",
                amount: 90.0 / minutes,
            },
            Injected {
                turbine: id(if turbines > TURBINES_MIN { 4 } else { 2 }),
                channel: "gearbox_oil_pressure",
                what: "gearbox oil pressure drops",
                at_s: run_s * OIL_PRESSURE,
                lasts_s: run_s * 0.40,
                kind: "offset",
                amount: -3.0,
            },
        ];
        let simulated = |n: usize| {
            let mut table = simulator(&id(n), 100 + n as u64);
            for fault in injected.iter().filter(|f| f.turbine == id(n)) {
                table.push_str(&fault.table());
            }
            table
        };
        let history_turbine = id(0);
        let historian = Turbine::new(&history_turbine, "gearbox-history");
        let mut small =
            Gateway::new("GW-SMALL", CUT_FARM, vec![live(1)]).with_source(&simulated(1));
        small.outbox_bytes_max = Some(SMALL_DISK_BYTES);
        let mut with_history = Gateway::new("GW-HISTORY", HISTORY_FARM, vec![historian])
            .with_source(&history_source(&history_turbine));
        with_history.uplink_bytes_per_s = Some(HISTORY_BYTES_PER_S);
        let mut gateways = vec![
            with_history,
            small,
            Gateway::new("GW-SOUTH", CUT_FARM, vec![live(2)]).with_source(&simulated(2)),
            Gateway::new("GW-VICTIM", QUIET_FARM, vec![live(3)]).with_source(&simulated(3)),
        ];
        let others: Vec<usize> = (4..usize::from(turbines)).collect();
        for (k, pair) in others.chunks(TURBINES_PER_GATEWAY).enumerate() {
            let all = pair.iter().map(|&n| live(n)).collect();
            let mut gateway = Gateway::new(&format!("GW-NORTH-{}", k + 1), QUIET_FARM, all);
            for &n in pair {
                gateway = gateway.with_source(&simulated(n));
            }
            gateways.push(gateway);
        }
        let yesterday = EventTime(clock::wall().0).plus_us(-24 * 60 * MINUTE_US);
        Ok(Self {
            gateways,
            injected,
            history: history::generate(7, yesterday),
            history_turbine,
            victim: 3,
            small_disk: 1,
            historian: 0,
        })
    }

    /// What to build the rig from.
    pub fn gateways(&self) -> Vec<Gateway> {
        self.gateways.clone()
    }

    /// The aggregator's settings, with the detectors that come with the product and the console on this port.
    pub fn cloud(&self, console_port: u16) -> Result<spec::Cloud> {
        Ok(spec::Cloud {
            detectors: Some(spec::detectors()?),
            console: Some(spec::Console {
                port: console_port,
                stale_after_s: STALE_AFTER_S,
            }),
            ..spec::Cloud::default()
        })
    }

    /// Writes the history's file where its gateway looks for it.
    pub fn prepare(&self, rig: &Rig) -> Result<()> {
        let path = rig.gateways[self.historian].dir().join(HISTORY_FILE);
        std::fs::write(&path, &self.history.csv)
            .with_context(|| format!("could not write {}", path.display()))
    }

    /// Rows of the history.
    pub fn history_rows(&self) -> u64 {
        self.history.rows
    }

    /// The faults, once the simulators have been started at `started` (wall time, microseconds).
    pub fn faults(&self, started: i64) -> Vec<Fault> {
        let us = |s: f64| (s * SECOND_US as f64) as i64;
        let mut faults: Vec<Fault> = self
            .injected
            .iter()
            .map(|f| Fault {
                what: f.what.to_owned(),
                turbine: f.turbine.clone(),
                channels: vec![f.channel.to_owned()],
                from: started + us(f.at_s),
                until: started + us(f.at_s + f.lasts_s),
            })
            .collect();
        faults.push(Fault {
            what: "a gearbox bearing fails, in the history".to_owned(),
            turbine: self.history_turbine.clone(),
            channels: FAULT_CHANNELS.map(str::to_owned).to_vec(),
            from: self.history.fault_begins.0,
            until: self.history.ends.0,
        });
        faults
    }

    /// The history: from some days before its fault to its end, microseconds.
    pub fn history_range(&self) -> (i64, i64) {
        let before = self.history.fault_begins.plus_us(-HISTORY_SHOWN_US);
        (before.0, self.history.ends.0)
    }

    /// What makes the turbines of gateway `i` go on, healthy.
    pub fn healthy_sources(&self, i: usize) -> String {
        if i == self.historian {
            return String::new();
        }
        let turbines = self.gateways[i].turbines.iter();
        turbines.map(|t| simulator(&t.id, SEED_AFTER)).collect()
    }

    /// Turbines of a farm.
    pub fn turbines_of(&self, farm: &str) -> Vec<String> {
        let gateways = self.gateways.iter().filter(|g| g.farm == farm);
        let turbines = gateways.flat_map(|g| g.turbines.iter());
        turbines.map(|t| t.id.clone()).collect()
    }

    /// Turbines of a gateway.
    pub fn turbines_at(&self, gateway: usize) -> Vec<String> {
        let turbines = self.gateways[gateway].turbines.iter();
        turbines.map(|t| t.id.clone()).collect()
    }

    /// All turbines.
    pub fn turbines(&self) -> Vec<String> {
        let turbines = self.gateways.iter().flat_map(|g| g.turbines.iter());
        turbines.map(|t| t.id.clone()).collect()
    }
}

/// The file source of the history's gateway.
fn history_source(turbine: &str) -> String {
    let mut table = format!(
        "\n[[source]]\nname = \"history\"\nkind = \"csv\"\npath = \"{HISTORY_FILE}\"\nturbine = \"{turbine}\"\n\
         time_column = \"time\"\ntime_format = \"%Y-%m-%d %H:%M:%S\"\ninterval_s = 600\n"
    );
    for column in history::COLUMNS {
        table.push_str("\n[[source.column]]\n");
        write!(table, "name = \"{column}\"\nchannel = \"{column}\"\n").ok();
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_could_find_no_fault_is_refused() {
        for minutes in [0.0, 1.0, 1.99, -3.0, f64::NAN, f64::INFINITY] {
            let refused = Cast::new(6, minutes).err().expect("refused").to_string();
            assert!(
                refused.starts_with("--minutes: found") && refused.contains("expected 2 to 1440"),
                "{refused}"
            );
        }
        assert!(Cast::new(4, 2.0).is_ok());
        let few = Cast::new(3, 2.0).err().expect("refused").to_string();
        assert!(few.contains("--turbines 3"), "{few}");
    }
}
