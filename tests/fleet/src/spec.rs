//! What a fleet under test looks like, and the configuration files that say so.
//!
//! Invariant: the files hold what an operator would write; every wait that is shorter than in the field is set here, in
//! the open.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::pki::Identity;

/// Folder of the outbox in a gateway's folder.
pub const OUTBOX_DIR: &str = "disk";
/// The outbox in a gateway's folder.
pub const OUTBOX: &str = "disk/outbox.db";

/// The folder of channel profiles.
pub fn profiles() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../hardware/profiles")
}

/// The detectors that come with the product.
pub fn detectors() -> Result<String> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cloud-aggregator/detectors.example.toml");
    std::fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))
}

/// A turbine and its channels.
#[derive(Clone, Debug)]
pub struct Turbine {
    /// Name.
    pub id: String,
    /// Profile without folder and ending, for example `onshore-3mw`.
    pub profile: String,
}

impl Turbine {
    /// A turbine with a profile of the repository.
    pub fn new(id: &str, profile: &str) -> Self {
        Self {
            id: id.to_owned(),
            profile: profile.to_owned(),
        }
    }

    fn profile_path(&self) -> PathBuf {
        profiles().join(format!("{}.toml", self.profile))
    }
}

/// A gateway.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// Name: MQTT client id and the certificate's common name.
    pub id: String,
    /// Its farm.
    pub farm: String,
    /// Its link to the broker: gateways that name the same one share it. The farm's, unless it is changed.
    pub link: String,
    /// The turbines it serves.
    pub turbines: Vec<Turbine>,
    /// `[[source]]` tables of its configuration.
    pub sources: String,
    /// Disk budget, bytes.
    pub outbox_bytes_max: Option<u64>,
    /// Uplink budget, bytes a second.
    pub uplink_bytes_per_s: Option<u64>,
    /// A disk of its own for the outbox, of so many bytes: a file system in memory that only the agent sees.
    pub disk_bytes: Option<u64>,
    /// A wall clock of its own, which the rig sets.
    pub own_clock: bool,
}

impl Gateway {
    /// A gateway without sources and limits.
    pub fn new(id: &str, farm: &str, turbines: Vec<Turbine>) -> Self {
        Self {
            id: id.to_owned(),
            farm: farm.to_owned(),
            link: farm.to_owned(),
            turbines,
            sources: String::new(),
            outbox_bytes_max: None,
            uplink_bytes_per_s: None,
            disk_bytes: None,
            own_clock: false,
        }
    }

    /// Gives it a wall clock of its own.
    #[must_use]
    pub fn with_own_clock(mut self) -> Self {
        self.own_clock = true;
        self
    }

    /// Adds a `[[source]]` table as text.
    #[must_use]
    pub fn with_source(mut self, source: &str) -> Self {
        self.sources.push_str(source);
        self
    }

    /// Adds a simulator for each of its turbines.
    #[must_use]
    pub fn with_simulators(mut self, seed: u64) -> Self {
        for turbine in self.turbines.clone() {
            self.sources.push_str(&simulator(&turbine.id, seed));
        }
        self
    }
}

/// A `[[source]]` table for a simulated turbine.
pub fn simulator(turbine: &str, seed: u64) -> String {
    format!(
        "\n[[source]]\nname = \"sim-{turbine}\"\nkind = \"simulator\"\nturbine = \"{turbine}\"\nseed = {seed}\n"
    )
}

/// The aggregator's settings that runs change.
#[derive(Clone, Debug)]
pub struct Cloud {
    /// Log time before an unsettled window is emitted as provisional, seconds.
    pub settle_wait_s: f64,
    /// Log time in one set of lake files, seconds.
    pub cut_every_s: f64,
    /// Between two snapshots, seconds.
    pub snapshot_every_s: f64,
    /// Log time before a hole is asked for, seconds.
    pub resend_wait_s: f64,
    /// Log time between two status documents of a turbine, milliseconds.
    pub status_every_ms: u64,
    /// Partitions of the log.
    pub partitions: u16,
    /// `detectors.toml`.
    pub detectors: Option<String>,
    /// The console, if it is to listen.
    pub console: Option<Console>,
}

/// Where the console listens, and what it takes for silence.
#[derive(Clone, Copy, Debug)]
pub struct Console {
    /// Port of the loopback interface.
    pub port: u16,
    /// Age of the newest fast reading at which a turbine is silent, seconds.
    pub stale_after_s: f64,
}

impl Default for Cloud {
    fn default() -> Self {
        Self {
            settle_wait_s: 5.0,
            cut_every_s: 5.0,
            snapshot_every_s: 5.0,
            resend_wait_s: 10.0,
            status_every_ms: 200,
            partitions: 2,
            detectors: None,
            console: None,
        }
    }
}

/// How a gateway or the aggregator reaches the broker.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Port on this machine.
    pub port: u16,
    /// With TLS and this certificate.
    pub identity: Option<Identity>,
}

impl Endpoint {
    fn url(&self) -> String {
        match self.identity {
            Some(_) => format!("mqtts://localhost:{}", self.port),
            None => format!("mqtt://127.0.0.1:{}", self.port),
        }
    }

    fn tls_keys(&self) -> String {
        self.identity.as_ref().map_or_else(String::new, |i| {
            format!(
                "ca = \"{}\"\ncert = \"{}\"\nkey = \"{}\"\n",
                i.ca.display(),
                i.cert.display(),
                i.key.display()
            )
        })
    }
}

/// Writes a gateway's configuration into `dir`; gives its path.
pub fn write_edge(dir: &Path, gateway: &Gateway, uplink: &Endpoint) -> Result<PathBuf> {
    let mut text = String::new();
    if gateway.sources.is_empty() {
        text.push_str("source = []\n\n");
    }
    write!(text, "[gateway]\nid = \"{}\"\n", gateway.id)?;
    for turbine in &gateway.turbines {
        write!(
            text,
            "\n[[turbine]]\nid = \"{}\"\nprofile = \"{}\"\n",
            turbine.id,
            turbine.profile_path().display()
        )?;
    }
    write!(
        text,
        "\n[outbox]\npath = \"{OUTBOX}\"\nfree_min_bytes = 0\n"
    )?;
    if let Some(bytes) = gateway.outbox_bytes_max {
        writeln!(text, "bytes_max = {bytes}")?;
    }
    write!(
        text,
        "\n[uplink]\nurl = \"{}\"\n{}keep_alive_s = 5\nack_timeout_s = 5\nretry_delay_max_s = 2\n",
        uplink.url(),
        uplink.tls_keys()
    )?;
    if let Some(bytes) = gateway.uplink_bytes_per_s {
        writeln!(text, "budget_bytes_per_s = {bytes}")?;
    }
    text.push_str("\n[status]\nsocket = \"edge.sock\"\n");
    text.push_str(&gateway.sources);
    write(&dir.join("windlass-edge.toml"), &text)
}

/// Writes the aggregator's configuration and the fleet registry into `dir`; gives the configuration's path.
pub fn write_cloud(
    dir: &Path,
    cloud: &Cloud,
    gateways: &[Gateway],
    broker: &Broker,
    http_port: u16,
) -> Result<PathBuf> {
    write_fleet(&dir.join("fleet.toml"), gateways)?;
    let detectors = match &cloud.detectors {
        Some(text) => {
            write(&dir.join("detectors.toml"), text)?;
            "detectors = \"detectors.toml\"\n"
        }
        None => "",
    };
    let broker = match broker {
        Broker::Embedded(port) => format!("[broker]\nlisten = \"127.0.0.1:{port}\"\n"),
        Broker::External(endpoint, client) => format!(
            "[mqtt]\nurl = \"{}\"\nclient_id = \"{client}\"\n{}",
            endpoint.url(),
            endpoint.tls_keys()
        ),
    };
    let console = cloud.console.map_or_else(String::new, |c| {
        format!(
            "\n[console]\nlisten = \"127.0.0.1:{}\"\nstale_after_s = {}\n",
            c.port, c.stale_after_s
        )
    });
    let text = format!(
        "[data]
dir = \"data\"

[fleet]
file = \"fleet.toml\"

[log]
partitions = {partitions}

{broker}
[process]
settle_wait_s = {settle}
resend_wait_s = {resend}
snapshot_every_s = {snapshot}
status_every_ms = {status}
{detectors}
[lake]
cut_every_s = {cut}

[http]
listen = \"127.0.0.1:{http_port}\"
{console}",
        partitions = cloud.partitions,
        settle = cloud.settle_wait_s,
        resend = cloud.resend_wait_s,
        snapshot = cloud.snapshot_every_s,
        status = cloud.status_every_ms,
        cut = cloud.cut_every_s,
    );
    write(&dir.join("windlass-cloud.toml"), &text)
}

/// Which broker the aggregator uses.
#[derive(Clone, Debug)]
pub enum Broker {
    /// Its own, on this port.
    Embedded(u16),
    /// Another one, under this client id.
    External(Endpoint, String),
}

fn write_fleet(path: &Path, gateways: &[Gateway]) -> Result<()> {
    let mut profiles: Vec<PathBuf> = gateways
        .iter()
        .flat_map(|g| &g.turbines)
        .map(Turbine::profile_path)
        .collect();
    profiles.sort();
    profiles.dedup();
    let list: Vec<String> = profiles
        .iter()
        .map(|p| format!("\"{}\"", p.display()))
        .collect();
    let mut text = format!("profiles = [{}]\n", list.join(", "));
    let mut farms: Vec<&str> = gateways.iter().map(|g| g.farm.as_str()).collect();
    farms.sort_unstable();
    farms.dedup();
    for farm in farms {
        write!(
            text,
            "\n[[farm]]\nid = \"{farm}\"\nname = \"Farm {farm}\"\ntimezone = \"Europe/Berlin\"\n"
        )?;
    }
    for gateway in gateways {
        let turbines: Vec<String> = gateway
            .turbines
            .iter()
            .map(|t| format!("\"{}\"", t.id))
            .collect();
        write!(
            text,
            "\n[[gateway]]\nid = \"{}\"\nfarm = \"{}\"\nturbines = [{}]\n",
            gateway.id,
            gateway.farm,
            turbines.join(", ")
        )?;
    }
    write(path, &text)?;
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<PathBuf> {
    std::fs::write(path, text).with_context(|| format!("could not write {}", path.display()))?;
    Ok(path.to_owned())
}
