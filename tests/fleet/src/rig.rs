//! A fleet of real processes in a folder of its own: gateways, a link for each farm, a broker, the aggregator.
//!
//! Invariants: the rig's thread starts every process (they die with it); what a killed process leaves on its disk is
//! untouched until it is started again; the folder goes with the rig unless it is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use windlass_shared::id::RecordId;

use crate::clock;
use crate::ledger::outbox::{Look, Witness};
use crate::ledger::watcher::Watcher;
use crate::ledger::{self, Balance};
use crate::mosquitto::{INGEST, Mosquitto, listens};
use crate::own_clock::OwnClock;
use crate::pki::{Authority, Use};
use crate::process::{Process, Program, built, free_port};
use crate::proxy::Link;
use crate::spec::{self, Broker, Endpoint};

mod gateway;

pub use gateway::Gateway;

/// How long a process may take until it does its work.
const READY_BOUND: Duration = Duration::from_mins(1);

/// Which broker a rig uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BrokerKind {
    /// In the aggregator's process, without TLS.
    Embedded,
    /// A Mosquitto with TLS, client certificates and topics bound to them.
    Mosquitto,
}

/// The fleet.
pub struct Rig {
    root: PathBuf,
    /// The certificate authority of the run.
    pub authority: Authority,
    /// Gateways in the order of the specification.
    pub gateways: Vec<Gateway>,
    /// Links by name: a farm's, unless a gateway has one of its own.
    pub links: BTreeMap<String, Link>,
    /// The external broker, if there is one.
    pub mosquitto: Option<Mosquitto>,
    /// What was seen committed so far.
    pub witness: Witness,
    /// Readings that had no number at the last look: their gateways' clocks are not set.
    pub without_number: u64,
    cloud: Program,
    cloud_process: Option<Process>,
    broker_port: u16,
    console_port: Option<u16>,
    settle_wait_s: f64,
    /// Removes the folder when dropped: after all that lives in it.
    folder: Option<tempfile::TempDir>,
}

impl Rig {
    /// Makes folder, certificates, links, configuration; starts an external broker, and nothing else.
    pub fn new(
        gateways: Vec<spec::Gateway>,
        cloud: &spec::Cloud,
        broker: BrokerKind,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("windlass-").tempdir()?;
        let mut rig = Self::within(folder.path(), gateways, cloud, broker)?;
        rig.folder = Some(folder);
        Ok(rig)
    }

    /// The same in a folder that is there, and stays.
    pub fn within(
        root: &Path,
        gateways: Vec<spec::Gateway>,
        cloud: &spec::Cloud,
        broker: BrokerKind,
    ) -> Result<Self> {
        let root = root.to_owned();
        let authority = Authority::new(&root.join("pki"), "ca")?;
        let mosquitto = match broker {
            BrokerKind::Embedded => None,
            BrokerKind::Mosquitto => Some(Mosquitto::start(&root, &authority)?),
        };
        let broker_port = match &mosquitto {
            Some(mosquitto) => mosquitto.port(),
            None => free_port()?,
        };
        let cloud_dir = root.join("cloud");
        std::fs::create_dir_all(&cloud_dir)?;
        let cloud_broker = if mosquitto.is_some() {
            let identity = Some(authority.issue(INGEST, Use::Client)?);
            let port = broker_port;
            Broker::External(Endpoint { port, identity }, INGEST.to_owned())
        } else {
            Broker::Embedded(broker_port)
        };
        let config = spec::write_cloud(&cloud_dir, cloud, &gateways, &cloud_broker, free_port()?)?;
        let mut rig = Self {
            authority,
            gateways: Vec::new(),
            links: BTreeMap::new(),
            mosquitto,
            witness: Witness::default(),
            without_number: 0,
            cloud: Program {
                name: "windlass-cloud".into(),
                path: built("windlass-cloud")?,
                args: run_args(&config),
                env: Vec::new(),
                log: cloud_dir.join("cloud.log"),
            },
            cloud_process: None,
            broker_port,
            console_port: cloud.console.map(|c| c.port),
            settle_wait_s: cloud.settle_wait_s,
            root,
            folder: None,
        };
        for gateway in gateways {
            rig.add_gateway(gateway)?;
        }
        Ok(rig)
    }

    fn add_gateway(&mut self, spec: spec::Gateway) -> Result<()> {
        if !self.links.contains_key(&spec.link) {
            let link = Link::new(self.broker_port)?;
            self.links.insert(spec.link.clone(), link);
        }
        let dir = self.root.join(&spec.id);
        std::fs::create_dir_all(dir.join(spec::OUTBOX_DIR))?;
        let identity = match self.mosquitto {
            Some(_) => Some(self.authority.issue(&spec.id, Use::Client)?),
            None => None,
        };
        let uplink = Endpoint {
            port: self.links[&spec.link].port(),
            identity,
        };
        let config = spec::write_edge(&dir, &spec, &uplink)?;
        let env = if spec.own_clock {
            let path = dir.join(gateway::BOOT_ID).display().to_string();
            vec![("WINDLASS_BOOT_ID_FILE".to_owned(), path)]
        } else {
            Vec::new()
        };
        let agent = Program {
            name: spec.id.clone(),
            path: built("windlass-edge")?,
            args: run_args(&config),
            env,
            log: dir.join("edge.log"),
        };
        let own_clock = if spec.own_clock {
            Some(OwnClock::new(&dir.join("clock"))?)
        } else {
            None
        };
        let agent = match &own_clock {
            Some(own) => own.of(agent)?.with_boot(&dir.join(gateway::BOOTED_AT)),
            None => agent,
        };
        let program = match spec.disk_bytes {
            Some(bytes) => agent.with_disk(&dir.join(spec::OUTBOX_DIR), bytes),
            None => agent,
        };
        let mut gateway = Gateway {
            spec,
            dir,
            uplink,
            program,
            own_clock,
            boots: 0,
            process: None,
            watcher: None,
        };
        gateway.boot()?;
        self.gateways.push(gateway);
        Ok(())
    }

    /// The run's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Keeps the folder after the run; gives its path.
    pub fn keep(&mut self) -> PathBuf {
        if let Some(folder) = self.folder.take() {
            return folder.keep();
        }
        self.root.clone()
    }

    /// The aggregator's data folder.
    pub fn data(&self) -> PathBuf {
        self.root.join("cloud/data")
    }

    /// The lake.
    pub fn lake(&self) -> PathBuf {
        self.data().join("lake")
    }

    /// The status store.
    pub fn status_db(&self) -> PathBuf {
        self.data().join("status.db")
    }

    /// The aggregator's configuration.
    pub fn cloud_config(&self) -> PathBuf {
        self.root.join("cloud/windlass-cloud.toml")
    }

    /// The end of the aggregator's log.
    pub fn cloud_log_tail(&self) -> String {
        crate::process::tail(&self.cloud.log, 4_000)
    }

    /// Port of the broker itself, without a link in between.
    pub fn broker_port(&self) -> u16 {
        self.broker_port
    }

    /// The aggregator's wait before it emits a window that is not settled, microseconds.
    pub fn settle_wait_us(&self) -> i64 {
        (self.settle_wait_s * 1e6) as i64
    }

    /// Strikes the balance between what was seen committed and what the lake holds now.
    pub fn balance(&mut self) -> Result<Balance> {
        let (lake, wait) = (self.lake(), self.settle_wait_us());
        ledger::balance(&mut self.witness, &lake, wait)
    }

    /// The aggregator's process id, if it runs.
    pub fn cloud_id(&self) -> Option<u32> {
        self.cloud_process.as_ref().map(Process::id)
    }

    /// Starts the aggregator; with the embedded broker, waits until that listens.
    pub fn start_cloud(&mut self) -> Result<()> {
        let mut process = self.cloud.start()?;
        if self.mosquitto.is_none() {
            listens(self.broker_port, &mut process)?;
        }
        self.cloud_process = Some(process);
        Ok(())
    }

    /// Waits until the console answers, if there is to be one.
    pub fn console_answers(&mut self) -> Result<()> {
        let Some(port) = self.console_port else {
            return Ok(());
        };
        clock::until("the console answers", READY_BOUND, || {
            self.check()?;
            let answer = crate::http::get(port, "/api/v1/farms").ok();
            Ok(answer.filter(|a| a.status == 200).map(|_| ()))
        })
    }

    /// Starts gateway `i`.
    pub fn start_gateway(&mut self, i: usize) -> Result<()> {
        let gateway = &mut self.gateways[i];
        gateway.process = Some(gateway.program.start()?);
        Ok(())
    }

    /// Starts everything.
    pub fn start(&mut self) -> Result<()> {
        self.start_cloud()?;
        for i in 0..self.gateways.len() {
            self.start_gateway(i)?;
        }
        Ok(())
    }

    /// Fails if a process that should run has ended.
    pub fn check(&mut self) -> Result<()> {
        let gateways = self.gateways.iter_mut().filter_map(|g| g.process.as_mut());
        for process in gateways.chain(self.cloud_process.as_mut()) {
            process.check()?;
        }
        Ok(())
    }

    /// SIGKILL to the aggregator.
    pub fn kill_cloud(&mut self) -> Result<()> {
        match self.cloud_process.take() {
            Some(mut process) => running(process.kill()?, "windlass-cloud", &process),
            None => Ok(()),
        }
    }

    /// SIGKILL to gateway `i`; the witness sees what it left.
    pub fn kill_gateway(&mut self, i: usize) -> Result<Look> {
        let gateway = &mut self.gateways[i];
        if let Some(mut process) = gateway.process.take() {
            running(process.kill()?, &gateway.spec.id, &process)?;
        }
        self.witness.look(&self.gateways[i].place())
    }

    /// Moves a gateway's outbox from the disk of its own to the run's folder, as if the disk had been copied to a larger
    /// one, and starts it there.
    pub fn move_to_plain_disk(&mut self, i: usize) -> Result<()> {
        let gateway = &mut self.gateways[i];
        let disk = gateway.disk().context("it does not run")?;
        let inside = disk.join(gateway.outbox().file_name().context("a name")?);
        let process = gateway.process.as_mut().context("it does not run")?;
        process.pause()?;
        let plain = gateway.dir.join(spec::OUTBOX);
        for tail in ["", "-wal"] {
            let with_tail = |path: &Path| {
                let mut path = path.as_os_str().to_owned();
                path.push(tail);
                PathBuf::from(path)
            };
            let from = with_tail(&inside);
            if from.exists() {
                std::fs::copy(&from, with_tail(&plain))
                    .with_context(|| format!("copying {}", from.display()))?;
            }
        }
        process.kill()?;
        gateway.process = None;
        gateway.spec.disk_bytes = None;
        gateway.program.path = built("windlass-edge")?;
        gateway.program.args = run_args(&gateway.config());
        self.start_gateway(i)
    }

    /// SIGTERM to gateway `i`.
    pub fn stop_gateway(&mut self, i: usize) -> Result<()> {
        let gateway = &mut self.gateways[i];
        if let Some(mut process) = gateway.process.take() {
            let status = process.terminate()?;
            ensure!(
                ended_well(status),
                "{} ended with {status} on SIGTERM:\n{}",
                gateway.spec.id,
                process.log_tail()
            );
        }
        Ok(())
    }

    /// SIGTERM to the aggregator.
    pub fn stop_cloud(&mut self) -> Result<()> {
        if let Some(mut process) = self.cloud_process.take() {
            let status = process.terminate()?;
            ensure!(
                ended_well(status),
                "windlass-cloud ended with {status} on SIGTERM:\n{}",
                process.log_tail()
            );
        }
        Ok(())
    }

    /// Writes gateway `i`'s configuration anew, with other sources; takes effect when it is started.
    pub fn set_sources(&mut self, i: usize, sources: &str) -> Result<()> {
        let gateway = &mut self.gateways[i];
        sources.clone_into(&mut gateway.spec.sources);
        spec::write_edge(&gateway.dir, &gateway.spec, &gateway.uplink)?;
        Ok(())
    }

    /// The wall clock of gateway `i`, to be set: before it is started or while it runs. It must have one of its own.
    pub fn clock(&mut self, i: usize) -> Result<&mut OwnClock> {
        let gateway = &mut self.gateways[i];
        let none = || format!("{} has no clock of its own", gateway.spec.id);
        gateway.own_clock.as_mut().with_context(none)
    }

    /// Looks into gateway `i`'s outbox all the time from now on: for a disk so small that rows leave between two looks.
    pub fn watch(&mut self, i: usize) {
        let gateway = &mut self.gateways[i];
        gateway.watcher = Some(Watcher::start(gateway.outbox()));
    }

    /// Looks into all outboxes: what is committed is seen, what no acknowledgement has come for is given.
    pub fn look(&mut self) -> Result<Vec<RecordId>> {
        let mut waiting = Vec::new();
        self.without_number = 0;
        for gateway in &self.gateways {
            if let Some(watcher) = &gateway.watcher {
                self.witness.take_rows(watcher.take(), &gateway.outbox())?;
            }
            let look = self.witness.look(&gateway.place())?;
            waiting.extend(look.unacknowledged);
            self.without_number += look.without_number;
        }
        Ok(waiting)
    }

    /// Waits until nothing in any outbox waits for its number or for an acknowledgement.
    pub fn drained(&mut self, bound: Duration) -> Result<()> {
        let what = "every outbox is acknowledged";
        let done = clock::until(what, bound, || {
            self.check()?;
            let acknowledged = self.look()?.is_empty();
            Ok((acknowledged && self.without_number == 0).then_some(()))
        });
        done.with_context(|| self.waiting())
    }

    /// Waits until everything that is committed now is acknowledged, whatever is committed meanwhile.
    pub fn caught_up(&mut self, bound: Duration) -> Result<()> {
        let due: BTreeSet<RecordId> = self.look()?.into_iter().collect();
        let done = clock::until("what was committed is acknowledged", bound, || {
            self.check()?;
            let waits = self.look()?.iter().any(|id| due.contains(id));
            Ok((!waits).then_some(()))
        });
        done.with_context(|| self.waiting())
    }

    /// Who still waits, and what the processes said last.
    fn waiting(&mut self) -> String {
        let waiting = self.look().unwrap_or_default();
        let logs: Vec<String> = self
            .gateways
            .iter()
            .map(|g| format!("--- {}\n{}", g.spec.id, g.log_tail()))
            .collect();
        format!(
            "{} records wait, the first ones: {:?}; {} readings have no number\n{}\n--- windlass-cloud\n{}",
            waiting.len(),
            &waiting[..waiting.len().min(5)],
            self.without_number,
            logs.join("\n"),
            self.cloud_log_tail()
        )
    }

    /// Waits until the status store knows all turbines.
    pub fn all_seen(&mut self) -> Result<()> {
        let turbines: Vec<String> = self
            .gateways
            .iter()
            .filter(|g| g.process.is_some())
            .flat_map(|g| g.spec.turbines.iter().map(|t| t.id.clone()))
            .collect();
        let path = self.status_db();
        clock::until("every turbine has a status", READY_BOUND, || {
            self.check()?;
            let known = crate::ledger::status::turbines(&path)?;
            Ok(turbines.iter().all(|t| known.contains_key(t)).then_some(()))
        })
        .with_context(|| self.waiting())
    }
}

fn run_args(config: &Path) -> Vec<String> {
    let config = config.to_string_lossy().into_owned();
    vec!["run".into(), "--config".into(), config]
}

/// By itself after SIGTERM, or by the signal when it came before the program had begun.
fn ended_well(status: ExitStatus) -> bool {
    status.success() || status.signal() == Some(Signal::TERM.as_raw())
}

/// A process that had ended before it was killed has failed by itself.
fn running(killed: bool, name: &str, process: &Process) -> Result<()> {
    ensure!(
        killed,
        "{name} had ended before it was killed; its log ends with:\n{}",
        process.log_tail()
    );
    Ok(())
}
