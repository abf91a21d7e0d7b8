//! From the start of a real process to its first result, with a log that has entries and a gateway that sends.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rumqttc::{Client, Event, MqttOptions, Packet, QoS};
use serde::Serialize;
use windlass_cloud_core::topic::partition_of;
use windlass_shared::id::{Epoch, GatewayId};
use windlass_shared::time::{EventTime, SECOND_US};
use windlass_shared::wire::{encode_telemetry, up_topic};

use super::load::{Load, Sent};
use super::spread::Spread;
use super::{BenchArgs, DETECTORS, PROFILE, PROFILE_PATH, fleet_file, profile, turbine_ids};
use crate::clock::Clock;
use crate::config::Config;
use crate::log::sqlite::{SqliteLog, SqliteView};
use crate::log::{Log, NewEntry, PartitionId, Topic, TopicPartition};

pub(super) const METHOD: &str = "start: wall time from the start of the process `windlass-cloud run`, all roles and the \
embedded broker, to the first status row committed to its log, read from the log's file by another process. Its log holds \
minutes of readings and it was killed (SIGKILL) before, without a snapshot, so that all of them are applied again; a gateway \
connects as soon as it can and sends its turbines' next second every 100 ms";

/// Turbines that send.
const TURBINES: u16 = 20;
/// Minutes in the log before the first start.
const MINUTES: i64 = 4;
/// How long a start may take at most.
const BOUND_US: u64 = 60_000_000;
/// Between two looks at the log, and between two seconds of readings, milliseconds.
const LOOK_EVERY: Duration = Duration::from_millis(1);
const SEND_EVERY_US: u64 = 100_000;
/// Messages that may wait for the broker.
const QUEUE_MAX: usize = 1_000;

/// What came out.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub start_to_first_result_ms: Spread,
    start_log_readings: u64,
}

/// A folder with configuration and log, gone with it.
struct Site {
    dir: PathBuf,
    config: Config,
    port: u16,
    gateway: GatewayId,
    loads: Vec<Load>,
    clock: Clock,
}

/// A process that does not outlive its handle.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // that it has ended already is as good
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            tracing::warn!(%error, dir = %self.dir.display(), "the folder stays");
        }
    }
}

pub(super) fn measure(args: &BenchArgs) -> anyhow::Result<Figures> {
    let mut site = Site::new()?;
    let readings = site.fill()?;
    let mut times = Vec::new();
    for _ in 0..args.starts.max(1) {
        times.push(site.start()? as f64 / 1e3);
    }
    Ok(Figures {
        start_to_first_result_ms: Spread::of(times),
        start_log_readings: readings,
    })
}

impl Site {
    fn new() -> anyhow::Result<Self> {
        let dir = std::env::temp_dir().join(format!("windlass-bench-{}", std::process::id()));
        std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        let (port, http) = (free_port()?, free_port()?);
        let config = format!(
            "data = {{ dir = \"data\" }}\nfleet = {{ file = \"fleet.toml\" }}\nlog = {{ partitions = 2 }}\n\
             broker = {{ listen = \"127.0.0.1:{port}\" }}\nhttp = {{ listen = \"127.0.0.1:{http}\" }}\n\
             process = {{ detectors = \"detectors.toml\" }}\n"
        );
        for (name, text) in [
            (PROFILE_PATH, PROFILE),
            ("detectors.toml", DETECTORS),
            ("fleet.toml", &fleet_file(TURBINES)?),
            (CONFIG, &config),
        ] {
            std::fs::write(dir.join(name), text).context(name)?;
        }
        let clock = Clock::start();
        let catalogue = Arc::new(profile()?);
        let begin = EventTime(clock.wall().0).plus_us(-MINUTES * 60 * SECOND_US);
        let load = |t| Load::new(Arc::clone(&catalogue), t, Epoch([7; 16]), begin);
        Ok(Self {
            config: Config::load(&dir.join(CONFIG))?,
            dir,
            port,
            gateway: GatewayId::new("GW1")?,
            loads: turbine_ids(TURBINES)?.into_iter().map(load).collect(),
            clock,
        })
    }

    /// Puts the first minutes into the log.
    fn fill(&mut self) -> anyhow::Result<u64> {
        let clock = self.clock;
        let log = SqliteLog::open(&self.config.log, Box::new(move || clock.wall()))?;
        let partitions = u32::from(log.partitions());
        let mut readings = 0;
        for second in 0..MINUTES * 60 {
            let mut entries = Vec::new();
            for load in &mut self.loads {
                let opened = (second == 0).then(|| load.open(None));
                for sent in opened.into_iter().chain(load.next_second()) {
                    readings += sent.readings();
                    let key = sent.record.header.id.turbine.to_string();
                    let partition = PartitionId(partition_of(&key, partitions) as u16);
                    entries.push(NewEntry {
                        to: TopicPartition::new(Topic::Telemetry, partition),
                        key,
                        value: encode_telemetry(&self.gateway, &sent.bytes),
                    });
                }
            }
            log.append(entries).wait()?;
        }
        Ok(readings)
    }

    /// Ends of the status topic's partitions.
    fn results(&self) -> anyhow::Result<Vec<u64>> {
        let view = SqliteView::open(&self.config.log.path)?;
        let end = |p| {
            let at = TopicPartition::new(Topic::Status, PartitionId(p));
            Ok(view.bounds(at)?.1.0)
        };
        (0..self.config.log.partitions).map(end).collect()
    }

    /// One start; microseconds to the first result. Ends with SIGKILL.
    fn start(&mut self) -> anyhow::Result<u64> {
        let before = self.results()?;
        let connected = Arc::new(AtomicBool::new(false));
        let client = self.connect(&connected);
        let started = self.clock.mono();
        let mut process = start(&self.dir.join(CONFIG))?;
        let mut sent_at = 0;
        let took = loop {
            let now = self.clock.mono().since_us(started);
            if let Some(status) = process.0.try_wait()? {
                bail!("windlass-cloud ended with {status}");
            }
            // before anybody can connect, the log is not open yet either: a look at it would be in the way
            if connected.load(Ordering::Relaxed) {
                if self.results()? != before {
                    break self.clock.mono().since_us(started);
                }
                if sent_at == 0 || now >= sent_at + SEND_EVERY_US {
                    sent_at = now;
                    self.send(&client)?;
                }
            }
            anyhow::ensure!(now < BOUND_US, "no result within {BOUND_US} us");
            std::thread::park_timeout(LOOK_EVERY);
        };
        // the connection's thread ends with the client, whether or not the broker still hears it
        client.try_disconnect().ok();
        Ok(took)
    }

    fn connect(&self, connected: &Arc<AtomicBool>) -> Client {
        let mut options = MqttOptions::new(self.gateway.as_str(), "127.0.0.1", self.port);
        options.set_max_packet_size(1 << 20, 1 << 20);
        let (client, mut connection) = Client::new(options, QUEUE_MAX);
        let connected = Arc::clone(connected);
        std::thread::spawn(move || {
            for event in connection.iter() {
                match event {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => {
                        connected.store(true, Ordering::Relaxed);
                    }
                    Ok(_) => {}
                    Err(_) if connected.load(Ordering::Relaxed) => return,
                    Err(_) => std::thread::park_timeout(LOOK_EVERY),
                }
            }
        });
        client
    }

    fn send(&mut self, client: &Client) -> anyhow::Result<()> {
        let sent: Vec<Sent> = self.loads.iter_mut().flat_map(Load::next_second).collect();
        for sent in sent {
            let topic = up_topic(&self.gateway, &sent.record.header.id);
            client.try_publish(topic, QoS::AtLeastOnce, false, sent.bytes)?;
        }
        Ok(())
    }
}

/// Name of the configuration file.
const CONFIG: &str = "windlass-cloud.toml";

fn start(config: &Path) -> anyhow::Result<Killed> {
    let own = std::env::current_exe().context("our own path")?;
    let child = Command::new(own)
        .args(["run", "--config"])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("could not start windlass-cloud")?;
    Ok(Killed(child))
}

/// A port of the loopback interface that was free a moment ago.
fn free_port() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}
