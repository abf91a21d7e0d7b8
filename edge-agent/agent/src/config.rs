//! The agent's configuration: one TOML file, overridable from the environment, checked once with all mistakes at once.
//!
//! Invariant: a [`Config`] is complete and consistent: every key was known, every profile loaded, every channel named in it
//! exists. What can only be known by trying (disk, broker, certificate dates) is not judged here, because none of that may
//! keep a gateway from recording; `windlass-edge check` looks at it.

mod csv;
mod raw;
mod read;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use windlass_shared::catalogue::Catalogue;
use windlass_shared::id::{ChannelId, GatewayId, TurbineId};
use windlass_shared::settings::{self, Problem, Problems};

use crate::source::CsvFile;
use crate::source::simulator::Fault;
use crate::tls::TlsFiles;

/// `WINDLASS_EDGE__UPLINK__URL` sets `uplink.url`.
pub const ENV_PREFIX: &str = "WINDLASS_EDGE";
/// Where the status socket is unless the configuration says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/windlass/edge.sock";

/// Everything the agent is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who this gateway is: MQTT client id and the common name of its certificate.
    pub gateway: GatewayId,
    /// The turbines it serves.
    pub turbines: Vec<Turbine>,
    /// Where records are kept.
    pub outbox: Outbox,
    /// Where records go.
    pub uplink: Uplink,
    /// Where readings come from.
    pub sources: Vec<Source>,
    /// Seal at least this often while records are made, s.
    pub seal_every_s: u32,
    /// Where `windlass-edge status` asks.
    pub status_socket: PathBuf,
    /// Where `/metrics` is served, loopback only; `None`: nowhere.
    pub http_listen: Option<SocketAddr>,
    /// Log lines.
    pub log: Log,
}

/// One turbine of the gateway.
#[derive(Clone, Debug)]
pub struct Turbine {
    /// Which.
    pub id: TurbineId,
    /// File of its channel catalogue.
    pub profile: PathBuf,
    /// What is in it.
    pub catalogue: Arc<Catalogue>,
    /// Crossing one of them sends the slice at once.
    pub thresholds: Vec<Threshold>,
}

/// A live limit in the channel's unit.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Threshold {
    /// Of which channel.
    pub channel: ChannelId,
    /// Below it is a breach.
    pub low: Option<f64>,
    /// Above it is a breach.
    pub high: Option<f64>,
}

/// The outbox and its disk budget.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outbox {
    /// The SQLite file.
    pub path: PathBuf,
    /// Most bytes it may use on disk.
    pub bytes_max: u64,
    /// Bytes that stay free for everybody else on that disk.
    pub free_min_bytes: u64,
}

/// The way to the cloud.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Uplink {
    /// The broker.
    pub address: UplinkAddress,
    /// Certificates, when the url is `mqtts://`.
    pub tls: Option<TlsFiles>,
    /// Most bytes a second sent, live and backlog together.
    pub budget_bytes_per_s: u64,
    /// Most records sent and not yet acknowledged by the cloud.
    pub inflight_max: u16,
    /// A record is sent again when it is not acknowledged after this, s.
    pub ack_timeout_s: u32,
    /// MQTT keep-alive, s.
    pub keep_alive_s: u16,
    /// Longest pause between two attempts to connect, s.
    pub retry_delay_max_s: u32,
}

/// Host and port of the broker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UplinkAddress {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// `mqtts://` rather than `mqtt://`.
    pub tls: bool,
}

impl fmt::Display for UplinkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl UplinkAddress {
    /// `mqtt://host[:1883]` or `mqtts://host[:8883]`.
    pub fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let (tls, default_port) = match scheme {
            "mqtt" => (false, 1883),
            "mqtts" => (true, 8883),
            _ => return None,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !host.ends_with(':') => (host, port.parse().ok()?),
            _ => (rest, default_port),
        };
        let plain = !host.is_empty()
            && !host
                .chars()
                .any(|c| c.is_whitespace() || matches!(c, '/' | '@' | '?' | '#' | ':'));
        plain.then(|| Self {
            host: host.to_owned(),
            port,
            tls,
        })
    }
}

/// One source of readings.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name, unique on the gateway: the key of its stored position.
    pub name: String,
    /// What it is.
    pub kind: SourceKind,
}

/// What a source is.
#[derive(Clone, Debug)]
pub enum SourceKind {
    /// A turbine that does not exist.
    Simulator(SimulatorSource),
    /// A file that is replayed.
    Csv(Box<CsvFile>),
    /// A socket into which another program writes.
    Push(PushSource),
}

/// `kind = "push"`.
#[derive(Clone, PartialEq, Debug)]
pub struct PushSource {
    /// The socket.
    pub path: PathBuf,
    /// Which turbine it feeds.
    pub turbine: TurbineId,
    /// With which channels.
    pub catalogue: Arc<Catalogue>,
}

/// `kind = "simulator"`.
#[derive(Clone, PartialEq, Debug)]
pub struct SimulatorSource {
    /// Which turbine it feeds.
    pub turbine: TurbineId,
    /// With which channels.
    pub catalogue: Arc<Catalogue>,
    /// Same seed, same readings.
    pub seed: u64,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

/// Log lines on standard error.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, or a filter such as `info,rumqttc=debug`.
    pub level: String,
    /// Text for people, JSON for collectors.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Everything that is wrong in it.
    #[error(transparent)]
    Problems(#[from] Problems),
}

impl Config {
    /// Loads `path` with overrides from the environment; relative paths in it are relative to its directory.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_with(path, std::env::vars().collect())
    }

    /// As [`Config::load`], with the environment passed in.
    pub fn load_with(
        path: &Path,
        env: std::collections::HashMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        let file = path.display().to_string();
        settings::parse(&file, &text)?; // a syntax error with its line
        let overrides = config::Environment::with_prefix(ENV_PREFIX)
            .prefix_separator("__")
            .separator("__")
            .try_parsing(true)
            .source(Some(env));
        let tree: toml::Table = config::Config::builder()
            .add_source(config::File::from_str(&text, config::FileFormat::Toml))
            .add_source(overrides)
            .build()
            .and_then(config::Config::try_deserialize)
            .map_err(|e| Problems {
                problems: vec![Problem::new(
                    format!("environment {ENV_PREFIX}__*"),
                    e.to_string(),
                    "values that fit into the file's tables",
                )],
                file: file.clone(),
            })?;
        let dir = path.parent().unwrap_or(Path::new("."));
        Ok(read::config(&file, tree, dir)?)
    }

    /// The turbine of that name.
    pub fn turbine(&self, id: &TurbineId) -> Option<&Turbine> {
        self.turbines.iter().find(|t| &t.id == id)
    }
}

#[cfg(test)]
mod tests;
