//! `windlass-cloud.toml`, checked once, with all mistakes at once, and everything it names loaded.
//!
//! Invariant: what [`Config::load`] gives back needs no further check; relative paths are relative to the file.

mod files;
mod shape;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use windlass_cloud_core::fleet::Fleet;
use windlass_cloud_core::task::TaskSettings;
use windlass_shared::settings::{Problem, Problems, finish, read};
use windlass_shared::time::SECOND_US;

use crate::causes::Causes;
use crate::log::sqlite::SqliteLogSettings;
use crate::mqtt::{MqttSettings, TlsFiles};

pub use files::{DetectorFile, load_fleet};

/// Between two transactions of the log under load: a tenth of what the slowest step of an operator's view may take, and
/// at most 100 writes to the disk a second.
const LOG_PACE: Duration = Duration::from_millis(10);

/// Why there is no configuration. Reject: an operator has to change a file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file itself cannot be read.
    #[error("{what} {}: cannot read it", path.display())]
    File {
        /// Which kind of file.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Mistakes in it.
    #[error(transparent)]
    Problems(#[from] Problems),
    /// Mistakes in files that it names.
    #[error("{}", .0.join("\n"))]
    Named(Vec<String>),
}

/// Everything that the service needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the log, snapshots and the status store are.
    pub data_dir: PathBuf,
    /// Who may write what.
    pub fleet: Arc<Fleet>,
    /// The embedded log.
    pub log: SqliteLogSettings,
    /// Entries younger than this stay in the log.
    pub retention: Duration,
    /// Where the embedded broker listens; `None`: an external one.
    pub broker: Option<SocketAddr>,
    /// How to reach the broker.
    pub mqtt: MqttSettings,
    /// Limits and waits of the partition task.
    pub task: TaskSettings,
    /// Between two snapshots.
    pub snapshot_every: Duration,
    /// What the detectors should be; `None`: none.
    pub detectors: Option<DetectorFile>,
    /// Where the lake is.
    pub lake: LakeConfig,
    /// Where metrics are served.
    pub http: SocketAddr,
    /// The HTTP API and the pages; `None`: not served.
    pub console: Option<ConsoleConfig>,
}

/// The console.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsoleConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Age of the newest fast reading at which a turbine is shown as silent.
    pub stale_after: Duration,
}

/// The lake.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LakeConfig {
    /// `file:///absolute/folder`.
    pub url: String,
    /// Log time covered by a cut.
    pub cut_every: Duration,
}

impl Config {
    /// Reads and checks the file and all that it names.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = files::read_text("configuration", path)?;
        let absolute = std::path::absolute(path).map_err(|source| ConfigError::File {
            what: "configuration",
            path: path.to_owned(),
            source,
        })?;
        let base = absolute.parent().unwrap_or(Path::new("/"));
        let raw = parse(&path.display().to_string(), &text)?;
        raw.resolve(base)
    }

    /// The status store's file.
    pub fn status_path(&self) -> PathBuf {
        self.data_dir.join("status.db")
    }

    /// Folder of the snapshots.
    pub fn snapshots_dir(&self) -> PathBuf {
        self.data_dir.join("snapshots")
    }
}

/// The file as it stands.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    data: RawData,
    fleet: RawFleet,
    #[serde(default)]
    log: RawLog,
    broker: Option<RawBroker>,
    mqtt: Option<RawMqtt>,
    #[serde(default)]
    process: RawProcess,
    #[serde(default)]
    lake: RawLake,
    http: RawHttp,
    console: Option<RawConsole>,
}

#[derive(Debug, Deserialize)]
struct RawConsole {
    listen: SocketAddr,
    #[serde(default = "stale_after_default_s")]
    stale_after_s: f64,
}

fn stale_after_default_s() -> f64 {
    30.0
}

#[derive(Debug, Deserialize)]
struct RawData {
    dir: PathBuf,
}

#[derive(Debug, Deserialize)]
struct RawFleet {
    file: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct RawLog {
    partitions: u16,
    retention_hours: u32,
    disk_max_mb: Option<u64>,
}

impl Default for RawLog {
    fn default() -> Self {
        Self {
            partitions: 4,
            retention_hours: 168,
            disk_max_mb: None,
        }
    }
}

#[derive(Debug, Deserialize)]
struct RawBroker {
    listen: SocketAddr,
}

#[derive(Debug, Deserialize)]
struct RawMqtt {
    url: String,
    client_id: Option<String>,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct RawProcess {
    settle_wait_s: f64,
    skew_max_s: f64,
    resend_wait_s: f64,
    status_every_ms: i64,
    snapshot_every_s: f64,
    detectors: Option<PathBuf>,
}

impl Default for RawProcess {
    fn default() -> Self {
        let task = TaskSettings::default();
        let seconds = |us: i64| us as f64 / SECOND_US as f64;
        Self {
            settle_wait_s: seconds(task.windows.settle_wait_us),
            skew_max_s: seconds(task.skew_max_us),
            resend_wait_s: seconds(task.resend_wait_us),
            status_every_ms: task.status_every_us / 1_000,
            snapshot_every_s: 60.0,
            detectors: None,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct RawLake {
    url: Option<String>,
    cut_every_s: f64,
}

impl Default for RawLake {
    fn default() -> Self {
        Self {
            url: None,
            cut_every_s: 300.0,
        }
    }
}

#[derive(Debug, Deserialize)]
struct RawHttp {
    listen: SocketAddr,
}

/// Parses and checks everything that the file alone can tell.
fn parse(file: &str, text: &str) -> Result<Raw, Problems> {
    let table = windlass_shared::settings::parse(file, text)?;
    let mut problems = windlass_shared::settings::check(&shape::spec(), &table);
    problems.extend(shape::across(&table));
    finish(file, problems)?;
    let table = read(file, text, &shape::spec())?;
    table.try_into().map_err(|e: toml::de::Error| Problems {
        file: file.into(),
        problems: vec![Problem::new("file", e.message(), "a valid configuration")],
    })
}

fn us(seconds: f64) -> i64 {
    (seconds * SECOND_US as f64).round() as i64
}

impl Raw {
    fn resolve(self, base: &Path) -> Result<Config, ConfigError> {
        let mut wrong = Vec::new();
        let fleet = load_fleet(&base.join(&self.fleet.file));
        let detectors = self
            .process
            .detectors
            .as_ref()
            .map(|p| DetectorFile::load(&base.join(p)))
            .transpose();
        let mut say = |e: ConfigError| wrong.push(Causes(&e).to_string());
        let fleet = fleet.map_err(&mut say).ok();
        let detectors = detectors.map_err(&mut say).ok();
        let (Some(fleet), Some(detectors)) = (fleet, detectors) else {
            return Err(ConfigError::Named(wrong));
        };
        let data_dir = base.join(&self.data.dir);
        let task = self.task();
        let lake_url = self
            .lake
            .url
            .clone()
            .unwrap_or_else(|| format!("file://{}", data_dir.join("lake").display()));
        Ok(Config {
            fleet: Arc::new(fleet),
            log: SqliteLogSettings {
                path: data_dir.join("log.db"),
                partitions: self.log.partitions,
                writer: 1,
                bytes_max: self.log.disk_max_mb.map(|mb| mb * 1024 * 1024),
                pace: LOG_PACE,
            },
            retention: Duration::from_secs(u64::from(self.log.retention_hours) * 3_600),
            mqtt: self.mqtt(base),
            broker: self.broker.map(|b| b.listen),
            task,
            snapshot_every: Duration::from_micros(us(self.process.snapshot_every_s) as u64),
            detectors,
            lake: LakeConfig {
                url: lake_url,
                cut_every: Duration::from_micros(us(self.lake.cut_every_s) as u64),
            },
            http: self.http.listen,
            console: self.console.map(|c| ConsoleConfig {
                listen: c.listen,
                stale_after: Duration::from_micros(us(c.stale_after_s) as u64),
            }),
            data_dir,
        })
    }

    fn task(&self) -> TaskSettings {
        let mut task = TaskSettings::default();
        task.windows.settle_wait_us = us(self.process.settle_wait_s);
        task.skew_max_us = us(self.process.skew_max_s);
        task.resend_wait_us = us(self.process.resend_wait_s);
        task.resend_wait_max_us = task.resend_wait_max_us.max(task.resend_wait_us);
        task.status_every_us = self.process.status_every_ms * 1_000;
        task
    }

    fn mqtt(&self, base: &Path) -> MqttSettings {
        let default_id = || "windlass-ingest".to_owned();
        match (&self.mqtt, &self.broker) {
            (Some(m), _) => {
                let (tls, host, port) = shape::split_url(&m.url).unwrap_or_default();
                let file = |p: &Option<PathBuf>| base.join(p.clone().unwrap_or_default());
                MqttSettings {
                    host,
                    port,
                    tls: tls.then(|| TlsFiles {
                        ca: file(&m.ca),
                        cert: file(&m.cert),
                        key: file(&m.key),
                    }),
                    client_id: m.client_id.clone().unwrap_or_else(default_id),
                    persistent: true,
                }
            }
            (None, broker) => {
                let listen = broker
                    .as_ref()
                    .map_or_else(|| SocketAddr::from(([127, 0, 0, 1], 1883)), |b| b.listen);
                MqttSettings {
                    host: match listen.ip() {
                        IpAddr::V4(ip) => ip.to_string(),
                        IpAddr::V6(ip) => ip.to_string(),
                    },
                    port: listen.port(),
                    tls: None,
                    client_id: default_id(),
                    persistent: false,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_come_at_once() {
        let text = r#"
            [data]
            dri = "x"
            [log]
            partitions = 0
            retention_hours = "week"
            [broker]
            listen = "0.0.0.0:1883"
            [mqtt]
            url = "mqtt://broker.example:1883"
            ca = "ca.pem"
            [process]
            settle_wait_s = -1
            snapshot_every = 5
            [http]
            listen = "localhost"
            [console]
            listen = "0.0.0.0:8480"
            stale_after_s = 0
        "#;
        let expected = "\
x.toml: 14 mistakes
  data.dir: found nothing, expected a text
  data.dri: found an unknown key, expected one of dir
  fleet: found nothing, expected a table
  log.partitions: found 0, expected an integer from 1 to 256
  log.retention_hours: found \"week\", expected an integer from 1 to 87600
  broker.listen: found \"0.0.0.0:1883\", expected a loopback address and port such as 127.0.0.1:1883
  process.settle_wait_s: found -1, expected a number from 0 to 86400
  process.snapshot_every: found an unknown key, expected one of settle_wait_s, skew_max_s, resend_wait_s, status_every_ms, snapshot_every_s, detectors (did you mean `snapshot_every_s`?)
  http.listen: found \"localhost\", expected a loopback address and port such as 127.0.0.1:1883
  console.listen: found \"0.0.0.0:8480\", expected a loopback address and port such as 127.0.0.1:1883
  console.stale_after_s: found 0, expected a number from 0.1 to 86400
  mqtt: found both [broker] and [mqtt], expected one of them: the embedded broker or an external one
  mqtt.url: found \"mqtt://broker.example:1883\", expected mqtts:// for a broker on another machine
  mqtt.ca: found a certificate authority, expected none without mqtts://";
        assert_eq!(parse("x.toml", text).unwrap_err().to_string(), expected);
    }

    #[test]
    fn mutual_tls_wants_all_three_files() {
        let text = r#"
            data = { dir = "x" }
            fleet = { file = "f" }
            http = { listen = "127.0.0.1:1" }
            [mqtt]
            url = "mqtts://broker.example:8883"
            cert = "c.pem"
        "#;
        let expected = "\
x.toml: 2 mistakes
  mqtt.ca: found nothing, expected a PEM file: mqtts:// needs ca, cert and key
  mqtt.key: found nothing, expected a PEM file: mqtts:// needs ca, cert and key";
        assert_eq!(parse("x.toml", text).unwrap_err().to_string(), expected);
    }

    #[test]
    fn the_example_is_loaded() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let config = Config::load(&dir.join("windlass-cloud.example.toml")).unwrap();
        assert!(config.fleet.turbines().count() >= 2);
        assert_eq!(config.mqtt.port, 1883);
        assert!(config.mqtt.tls.is_none());
        let console = config.console.unwrap();
        assert_eq!(console.listen.to_string(), "127.0.0.1:8480");
        assert_eq!(console.stale_after, Duration::from_secs(30));
        assert_eq!(config.task.windows.settle_wait_us, 30 * SECOND_US);
    }
}
