//! `windlass-cloud run`: starts the roles, watches them, and brings them down together.
//!
//! Invariant: a role that fails takes the process with it, with its error and a non-zero exit; the next start recovers
//! from what is durable. On SIGTERM or SIGINT everything ends cleanly, with snapshots.

mod start;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use windlass_shared::wire::{Control, encode_control};

use crate::broker;
use crate::clock::Clock;
use crate::config::Config;
use crate::console::server::{self, ListenError};
use crate::http;
use crate::lake::LakeError;
use crate::log::sqlite::SqliteLog;
use crate::log::{Log, LogError, NewEntry, PartitionId, Topic, TopicPartition};
use crate::metrics::Metrics;
use crate::retention::{retain, watch};
use crate::stop::{Stop, Stopper};

/// Ticks and retention, s.
const TICK_EVERY: Duration = Duration::from_secs(1);
const RETENTION_EVERY: Duration = Duration::from_mins(1);
/// Ends of roles that may wait for the loop.
const EVENTS_MAX: usize = 64;
/// How long the roles have to end.
const END_TIMEOUT: Duration = Duration::from_secs(30);

/// A part of the service.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// The embedded broker.
    Broker,
    /// From MQTT into the log.
    Ingest,
    /// The partition tasks, and the ticks.
    Process,
    /// Status and alerts into the status store.
    Serve,
    /// Parquet.
    Lake,
    /// The HTTP API and the pages.
    Console,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 6] = [
        Self::Broker,
        Self::Ingest,
        Self::Process,
        Self::Serve,
        Self::Lake,
        Self::Console,
    ];
    /// Its name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Ingest => "ingest",
            Self::Process => "process",
            Self::Serve => "serve",
            Self::Lake => "lake",
            Self::Console => "console",
        }
    }
    /// By its name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.as_str() == name)
    }
}

/// What any role may end with.
pub type RoleError = Box<dyn std::error::Error + Send + Sync>;

/// Why the service ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The data directory cannot be made.
    #[error("data.dir = \"{}\": cannot make the directory", path.display())]
    DataDir {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The folder of the snapshots cannot be used.
    #[error("snapshots in {}: the folder cannot be used", path.display())]
    Snapshots {
        /// Which.
        path: PathBuf,
        /// What the store said.
        source: object_store::Error,
    },
    /// A thread could not be started, or signals cannot be heard.
    #[error("cannot start: {what}")]
    Start {
        /// What.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The log cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A port cannot be used.
    #[error(transparent)]
    Http(#[from] http::HttpError),
    /// A port cannot be used.
    #[error(transparent)]
    Console(#[from] ListenError),
    /// A port cannot be used.
    #[error(transparent)]
    Broker(#[from] broker::BrokerError),
    /// The lake's place cannot be used.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// A role failed.
    #[error("role {role} failed")]
    Role {
        /// Which.
        role: String,
        /// Why.
        source: RoleError,
    },
    /// Roles that did not end.
    #[error("these did not end within {} s: {}", END_TIMEOUT.as_secs(), .0.join(", "))]
    Stuck(Vec<String>),
}

/// Everything that the loop reacts to.
enum Event {
    /// A role ended.
    Ended {
        name: String,
        result: Result<(), RoleError>,
    },
    /// SIGTERM or SIGINT.
    Signal,
    /// A second is over.
    Tick,
    /// Time to look for entries that nobody needs any more.
    Retention,
}

/// What a role is started with.
#[derive(Clone)]
pub struct Context {
    /// As loaded.
    pub config: Arc<Config>,
    /// The log.
    pub log: Arc<dyn Log>,
    /// Counters.
    pub metrics: Metrics,
    /// For object stores and MQTT.
    pub runtime: Handle,
    /// Clocks.
    pub clock: Clock,
    /// When to end.
    pub stop: Stop,
    ended: mpsc::Sender<Event>,
}

impl Context {
    /// Starts a thread that is watched.
    fn thread<F>(&self, running: &mut Running, name: String, body: F) -> Result<(), RunError>
    where
        F: FnOnce() -> Result<(), RoleError> + Send + 'static,
    {
        let ended = Ended {
            name: name.clone(),
            to: self.ended.clone(),
            done: false,
        };
        running.names.insert(name.clone());
        std::thread::Builder::new()
            .name(name)
            .spawn(move || ended.with(body()))
            .map(drop)
            .map_err(|source| RunError::Start {
                what: "a role's thread",
                source,
            })
    }

    /// Starts a task that is watched.
    fn task<F>(&self, running: &mut Running, name: &str, body: F)
    where
        F: Future<Output = Result<(), RoleError>> + Send + 'static,
    {
        let ended = Ended {
            name: name.to_owned(),
            to: self.ended.clone(),
            done: false,
        };
        running.names.insert(name.to_owned());
        drop(self.runtime.spawn(async move { ended.with(body.await) }));
    }
}

/// Says that a role ended, also when it panicked.
struct Ended {
    name: String,
    to: mpsc::Sender<Event>,
    done: bool,
}

impl Ended {
    fn with(mut self, result: Result<(), RoleError>) {
        self.done = true;
        self.send(result);
    }
    fn send(&self, result: Result<(), RoleError>) {
        // nobody listens any more: the process is ending
        drop(self.to.try_send(Event::Ended {
            name: self.name.clone(),
            result,
        }));
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        if !self.done {
            self.send(Err("it panicked; the panic is above".into()));
        }
    }
}

/// What has been started and has not ended.
#[derive(Default)]
struct Running {
    names: BTreeSet<String>,
}

/// Runs the roles until a signal, the end of `stop`, or the first failure.
pub async fn run(config: Config, roles: &[Role], outside: Option<Stop>) -> Result<(), RunError> {
    let clock = Clock::start();
    fs::create_dir_all(&config.data_dir).map_err(|source| RunError::DataDir {
        path: config.data_dir.clone(),
        source,
    })?;
    let log: Arc<dyn Log> = Arc::new(SqliteLog::open(
        &config.log,
        Box::new(move || clock.wall()),
    )?);
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let listener = http::bind(config.http).await?;
    let console = match &config.console {
        Some(console) if roles.contains(&Role::Console) => {
            Some(server::bind(console.listen).await?)
        }
        _ => None,
    };
    let (stopper, stop) = Stopper::new();
    let (ended, events) = mpsc::channel(EVENTS_MAX);
    let context = Context {
        config: Arc::new(config),
        log,
        metrics,
        runtime: Handle::current(),
        clock,
        stop,
        ended,
    };
    let mut running = Running::default();
    let result = match start::start(&context, roles, (listener, console), registry, &mut running) {
        Ok(()) => supervise(&context, roles, &mut running, events, outside, &stopper).await,
        Err(e) => {
            end(&mut running, events, &stopper).await?;
            Err(e)
        }
    };
    drop(context);
    result
}

/// The one loop.
async fn supervise(
    context: &Context,
    roles: &[Role],
    running: &mut Running,
    mut events: mpsc::Receiver<Event>,
    outside: Option<Stop>,
    stopper: &Stopper,
) -> Result<(), RunError> {
    let listen = |kind| {
        signal(kind).map_err(|source| RunError::Start {
            what: "listening for signals",
            source,
        })
    };
    let mut signals = (
        listen(SignalKind::terminate())?,
        listen(SignalKind::interrupt())?,
    );
    let mut ticks = interval(TICK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut retention = interval(RETENTION_EVERY);
    retention.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut outside = outside;
    let result = loop {
        let event = tokio::select! {
            event = events.recv() => event.unwrap_or(Event::Signal),
            () = heard(&mut signals, outside.as_mut()) => Event::Signal,
            _ = ticks.tick() => Event::Tick,
            _ = retention.tick() => Event::Retention,
        };
        match event {
            Event::Ended { name, result } => {
                running.names.remove(&name);
                let source = result
                    .err()
                    .unwrap_or_else(|| "it ended by itself, which it never should".into());
                break Err(role_error(name, source));
            }
            Event::Signal => {
                tracing::info!("told to stop");
                break Ok(());
            }
            Event::Tick if roles.contains(&Role::Process) => {
                if let Err(e) = tick(context).await {
                    break Err(RunError::Log(e));
                }
            }
            Event::Tick => {}
            Event::Retention => {
                if let Err(e) = release(context).await {
                    break Err(RunError::Log(e));
                }
            }
        }
    };
    let ended = end(running, events, stopper).await;
    result.and(ended)
}

fn role_error(name: String, source: RoleError) -> RunError {
    RunError::Role { role: name, source }
}

async fn heard(signals: &mut (Signal, Signal), outside: Option<&mut Stop>) {
    let raised = async {
        match outside {
            Some(stop) => stop.raised().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = signals.0.recv() => {}
        _ = signals.1.recv() => {}
        () = raised => {}
    }
}

/// Raises the flag and waits for every role.
async fn end(
    running: &mut Running,
    mut events: mpsc::Receiver<Event>,
    stopper: &Stopper,
) -> Result<(), RunError> {
    stopper.stop();
    let mut failed = None;
    let all = async {
        while !running.names.is_empty()
            && let Some(event) = events.recv().await
        {
            if let Event::Ended { name, result } = event {
                running.names.remove(&name);
                if let Err(source) = result
                    && failed.is_none()
                {
                    failed = Some(role_error(name, source));
                }
            }
        }
    };
    let in_time = tokio::time::timeout(END_TIMEOUT, all).await.is_ok();
    match failed {
        Some(e) => Err(e),
        None if in_time => Ok(()),
        None => Err(RunError::Stuck(running.names.iter().cloned().collect())),
    }
}

/// Lets go of what nobody needs, and looks how near that comes to what recovery needs.
async fn release(context: &Context) -> Result<(), LogError> {
    let keep_us = context.config.retention.as_micros() as i64;
    let now = context.clock.wall();
    let log = context.log.as_ref();
    retain(log, now.plus_us(-keep_us), &context.metrics.trimmed).await?;
    watch(log, now, keep_us, &context.metrics.retention).map(drop)
}

/// One tick a partition: log time goes on in silence.
async fn tick(context: &Context) -> Result<(), LogError> {
    let value = encode_control(&Control::Tick);
    let entries = (0..context.log.partitions())
        .map(|p| NewEntry {
            to: TopicPartition::new(Topic::Telemetry, PartitionId(p)),
            key: String::new(),
            value: value.clone(),
        })
        .collect();
    context.log.append(entries).await.map(drop)
}
