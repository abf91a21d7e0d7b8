//! The running agent: one loop that owns the core, and executes what it says.
//!
//! Invariants: everything that can happen is an [`Event`]; outputs are executed in their order; nothing here decides what
//! is recorded, sent or evicted. A commit of unknown outcome and a broken invariant end the process with an error: systemd
//! starts it again and it recovers what is durable.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use windlass_edge_core::{
    AgentCore, DiskSettings, FatalFault, Input, Output, RecordingSettings, Recovered, Settings,
    SourceId, SourceKind as CoreSourceKind, SourceSettings, Threshold, TurbineSettings,
    UplinkSettings,
};
use windlass_shared::id::BootId;
use windlass_shared::time::MonoTime;
use windlass_shared::wire;

use crate::books::Books;
use crate::clock::{self, Clock};
use crate::config::{self, Config};
use crate::deadletter::DeadLetter;
use crate::disk::{Disk, DiskAnswer, DiskError, DiskRequest};
use crate::http::{self, HttpError};
use crate::mqtt::{Generation, LinkEvent, LinkNews, Uplink};
use crate::outbox::{OpenReport, Outbox, OutboxError};
use crate::placed::PlacedNote;
use crate::socket::{self, Asked, SocketError};
use crate::source::{FromSource, Sources};

/// Reports of the connection that wait for the loop.
const LINK_EVENTS_MAX: usize = 64;
/// Status questions that wait for the loop.
const QUESTIONS_MAX: usize = 4;
/// Disk figures are asked for this often, microseconds.
const HOUSEKEEPING_US: u64 = 10_000_000;
/// How long a stopping agent waits for the broker to take what was published, microseconds.
const GOODBYE_MAX_US: u64 = 1_000_000;
/// Longest time that a reading of a file waits for its record, microseconds.
const FILE_HOLD_US: u64 = 200_000;
/// Records of this many bytes may go at once after a pause, when the budget is small.
const BURST_MIN_BYTES: u64 = 32 * 1024;

/// Why an agent ended with an error.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The outbox cannot be used.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// Its thread failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The status socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The metrics port.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The core cannot go on.
    #[error(transparent)]
    Fatal(#[from] FatalFault),
    /// The system refuses something basic.
    #[error("{what}: {source}")]
    System {
        /// What we asked for.
        what: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// The operator asked twice.
    #[error("stopped at once by a second signal; what was committed is durable")]
    Impatience,
}

/// Everything that can happen to the process.
enum Event {
    /// SIGTERM or SIGINT.
    Signal(&'static str),
    /// The outbox answered; `None`: its thread is gone.
    Disk(Option<DiskAnswer>),
    /// The connection reported.
    Link(Generation, LinkEvent),
    /// A source spoke.
    Source(FromSource),
    /// Somebody wants the status document.
    Asked(Asked),
    /// A deadline has come: the core's or housekeeping's.
    Timer,
}

/// The process after an event.
#[derive(PartialEq, Eq)]
enum Flow {
    Go,
    Stopped,
}

/// Runs until a signal; everything is committed when it returns `Ok`.
pub async fn run(config: Config) -> Result<(), RunError> {
    let clock = Clock;
    let (outbox, recovered, report) = Outbox::open(&config.outbox.path, clock.now().wall.0)?;
    log_opened(&config.outbox.path, &report);
    let listener = socket::listen(&config.status_socket)?;
    let (asked_in, asked) = mpsc::channel(QUESTIONS_MAX);
    let mut helpers = vec![tokio::spawn(socket::serve(listener, asked_in.clone()))];
    if let Some(address) = config.http_listen {
        helpers.push(tokio::spawn(http::serve(
            http::bind(address).await?,
            asked_in,
        )));
    }
    let seed: [u8; 32] = random()?;
    let boot = match clock::boot_id() {
        Some(boot) => boot,
        None => BootId(random()?),
    };
    let note = PlacedNote::beside(&config.status_socket, boot);
    let (links_in, links) = mpsc::channel(LINK_EVENTS_MAX);
    let agent = Agent {
        core: AgentCore::new(core_settings(&config, boot, &note), seed),
        uplink: Uplink::new(config.gateway.clone(), config.uplink.clone(), links_in),
        sources: Sources::start(&config, clock, &recovered.positions),
        books: Books::new(&config, clock.now()),
        dead: DeadLetter::beside(&config.outbox.path),
        disk: Disk::start(outbox, note)?,
        config,
        clock,
        links,
        asked,
        housekeeping: MonoTime(0),
        inputs: VecDeque::new(),
        outputs: Vec::new(),
        stopping: false,
    };
    let socket_path = agent.config.status_socket.clone();
    let result = agent.run(recovered).await;
    for helper in helpers {
        helper.abort();
    }
    if let Err(e) = std::fs::remove_file(&socket_path) {
        tracing::debug!(error = %e, "the status socket stays");
    }
    result
}

struct Agent {
    core: AgentCore,
    uplink: Uplink,
    sources: Sources,
    books: Books,
    dead: DeadLetter,
    disk: Disk,
    config: Config,
    clock: Clock,
    links: mpsc::Receiver<(Generation, LinkEvent)>,
    asked: mpsc::Receiver<Asked>,
    housekeeping: MonoTime,
    inputs: VecDeque<Input>,
    outputs: Vec<Output>,
    stopping: bool,
}

impl Agent {
    async fn run(mut self, recovered: Recovered) -> Result<(), RunError> {
        let listen = |kind| {
            signal(kind).map_err(|source| RunError::System {
                what: "cannot listen to signals",
                source,
            })
        };
        let mut terminate = listen(SignalKind::terminate())?;
        let mut interrupt = listen(SignalKind::interrupt())?;
        tracing::info!(
            gateway = %self.config.gateway,
            turbines = self.config.turbines.len(),
            sources = self.config.sources.len(),
            uplink = %self.config.uplink.address,
            "recording"
        );
        self.inputs.push_back(Input::Start(recovered));
        let mut flow = self.turn()?;
        while flow == Flow::Go {
            let event = self.next(&mut terminate, &mut interrupt).await;
            flow = self.handle(event)?;
        }
        self.goodbye().await;
        self.disk.stop();
        tracing::info!("stopped; everything is committed");
        Ok(())
    }

    /// The next event; the disk's answers first, so that its queue never fills.
    async fn next(&mut self, terminate: &mut Signal, interrupt: &mut Signal) -> Event {
        let deadline = self.core.next_deadline().unwrap_or(self.housekeeping);
        let deadline = self.clock.instant(deadline.min(self.housekeeping));
        let files_may = !self.core.is_busy() && !self.stopping;
        let live_may = !self.stopping;
        tokio::select! {
            biased;
            _ = terminate.recv() => Event::Signal("SIGTERM"),
            _ = interrupt.recv() => Event::Signal("SIGINT"),
            answer = self.disk.answers.recv() => Event::Disk(answer),
            Some(asked) = self.asked.recv() => Event::Asked(asked),
            Some((generation, event)) = self.links.recv() => Event::Link(generation, event),
            () = tokio::time::sleep_until(deadline) => Event::Timer,
            Some(said) = self.sources.live.recv(), if live_may => Event::Source(said),
            Some(said) = self.sources.files.recv(), if files_may => Event::Source(said),
        }
    }

    fn handle(&mut self, event: Event) -> Result<Flow, RunError> {
        match event {
            Event::Signal(name) => {
                if self.stopping {
                    return Err(RunError::Impatience);
                }
                tracing::info!(signal = name, "stopping: closing slices, last commit");
                self.stopping = true;
                self.sources.stop();
                self.inputs.push_back(Input::Stop);
            }
            Event::Disk(Some(DiskAnswer::Input(input))) => self.inputs.push_back(input),
            Event::Disk(Some(DiskAnswer::Oldest(oldest))) => self.books.oldest(oldest),
            Event::Disk(None) => return Err(DiskError::Gone.into()),
            Event::Link(generation, event) => {
                if let Some(news) = self.uplink.interpret(generation, event) {
                    self.link_news(news);
                }
            }
            Event::Source(FromSource::Input(input)) => {
                self.books.source_input(&input);
                self.inputs.push_back(input);
            }
            Event::Source(FromSource::Note { source, note }) => {
                self.books.source_note(source, &note, &mut self.dead);
            }
            Event::Asked(asked) => {
                let doc = self
                    .books
                    .document(&self.config, &self.core.view(), self.clock.now());
                // whoever asked may have gone
                drop(asked.send(Box::new(doc)));
            }
            Event::Timer => self.timer()?,
        }
        self.turn()
    }

    fn timer(&mut self) -> Result<(), RunError> {
        let now = self.clock.now();
        if now.mono >= self.housekeeping {
            self.housekeeping = now.mono.plus_us(HOUSEKEEPING_US);
            let turbines = self.config.turbines.iter().map(|t| t.id.clone()).collect();
            self.disk.ask(DiskRequest::Housekeeping(turbines))?;
        }
        self.inputs.push_back(Input::Timer);
        Ok(())
    }

    fn link_news(&mut self, news: LinkNews) {
        let now = self.clock.now();
        match news {
            LinkNews::Up => {
                self.books.link_up(now);
                self.inputs.push_back(Input::LinkUp);
            }
            LinkNews::Down(error) => {
                self.books.link_down(now, &error.to_string());
                self.inputs.push_back(Input::LinkDown);
            }
            LinkNews::Acked(id) => {
                self.books.counters.pubacks += 1;
                self.inputs.push_back(Input::PubAck(id));
            }
            LinkNews::Message(bytes) => match wire::decode_downlink(&bytes) {
                Ok(downlink) => {
                    self.books.downlink(&downlink, now);
                    self.inputs.push_back(Input::Downlink(downlink));
                }
                Err(e) => self.books.bad_downlink(&e.to_string()),
            },
        }
    }

    /// Feeds the core all inputs, executes all outputs.
    fn turn(&mut self) -> Result<Flow, RunError> {
        let mut flow = Flow::Go;
        while let Some(input) = self.inputs.pop_front() {
            let mut outputs = std::mem::take(&mut self.outputs);
            self.core.handle(self.clock.now(), input, &mut outputs);
            for output in outputs.drain(..) {
                if self.execute(output)? == Flow::Stopped {
                    flow = Flow::Stopped;
                }
            }
            self.outputs = outputs;
        }
        Ok(flow)
    }

    fn execute(&mut self, output: Output) -> Result<Flow, RunError> {
        match output {
            Output::Commit(batch) => {
                self.books.commit(&batch, self.clock.now());
                self.disk.ask(DiskRequest::Commit(batch))?;
            }
            Output::Load(request) => self.disk.ask(DiskRequest::Load(request))?,
            Output::Publish { id, topic, payload } => {
                self.books
                    .published(&topic, payload.len(), self.clock.now());
                if let Err(error) = self.uplink.publish(id, &topic, &payload) {
                    self.link_news(LinkNews::Down(error));
                }
            }
            Output::Connect => {
                let now = self.clock.now();
                self.books.connecting(&self.config, now);
                self.uplink.connect(now.wall);
            }
            Output::Disconnect => {
                self.uplink.disconnect();
                self.books
                    .link_down(self.clock.now(), "given up by the forwarder");
            }
            Output::Event(event) => self.books.event(&event, &mut self.dead),
            Output::Stopped => return Ok(Flow::Stopped),
            Output::Fatal(fault) => return Err(fault.into()),
        }
        Ok(Flow::Go)
    }

    /// Lets the broker take what is on its way, for a moment.
    async fn goodbye(&mut self) {
        self.uplink.say_goodbye();
        let deadline = self.clock.now().mono.plus_us(GOODBYE_MAX_US);
        let until = self.clock.instant(deadline);
        while self.uplink.is_connected() {
            match tokio::time::timeout_at(until, self.links.recv()).await {
                Ok(Some((generation, event))) => {
                    let _news = self.uplink.interpret(generation, event);
                }
                _ => break,
            }
        }
    }
}

fn log_opened(path: &std::path::Path, report: &OpenReport) {
    if let Some(quarantined) = &report.quarantined {
        tracing::error!(
            outbox = %path.display(),
            damage = report.damage,
            quarantined = %quarantined.display(),
            salvaged = report.salvaged,
            unreadable = report.unreadable,
            "the outbox was damaged: set aside, salvaged what could be read; keep the file for analysis"
        );
    }
    if report.compacted > 0 {
        tracing::info!(bytes = report.compacted, "the outbox gave space back");
    }
}

fn random<const N: usize>() -> Result<[u8; N], RunError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| RunError::System {
        what: "the system gives no random numbers",
        source: std::io::Error::other(e.to_string()),
    })?;
    Ok(bytes)
}

/// The configuration in the core's words.
fn core_settings(config: &Config, boot: BootId, note: &PlacedNote) -> Settings {
    let second = 1_000_000_u64;
    let uplink = &config.uplink;
    Settings {
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        boot,
        placed: note.upto().clone(),
        turbines: config
            .turbines
            .iter()
            .map(|t| TurbineSettings {
                id: t.id.clone(),
                catalogue: Arc::clone(&t.catalogue),
                thresholds: t
                    .thresholds
                    .iter()
                    .map(|x| Threshold {
                        channel: x.channel,
                        low: x.low,
                        high: x.high,
                    })
                    .collect(),
            })
            .collect(),
        sources: config.sources.iter().map(source_settings).collect(),
        recording: RecordingSettings {
            seal_every_us: u64::from(config.seal_every_s) * second,
            ..RecordingSettings::default()
        },
        disk: DiskSettings {
            budget_bytes: config.outbox.bytes_max,
            disk_free_min_bytes: config.outbox.free_min_bytes,
            ..DiskSettings::default()
        },
        uplink: UplinkSettings {
            needs_clock: uplink.tls.is_some(),
            budget_bytes_per_s: uplink.budget_bytes_per_s,
            burst_bytes: uplink.budget_bytes_per_s.max(BURST_MIN_BYTES),
            slots_max: usize::from(uplink.inflight_max).min(64),
            inflight_max: usize::from(uplink.inflight_max),
            ack_timeout_us: u64::from(uplink.ack_timeout_s) * second,
            retry_delay_max_us: u64::from(uplink.retry_delay_max_s) * second,
            ..UplinkSettings::default()
        },
        ..Settings::new(config.gateway.clone())
    }
}

fn source_settings(source: &config::Source) -> SourceSettings {
    let (kind, turbines) = match &source.kind {
        config::SourceKind::Simulator(s) => (CoreSourceKind::Live, vec![s.turbine.clone()]),
        config::SourceKind::Push(s) => (CoreSourceKind::Live, vec![s.turbine.clone()]),
        config::SourceKind::Csv(file) => (
            CoreSourceKind::File {
                hold_us: FILE_HOLD_US,
            },
            file.turbines(),
        ),
    };
    SourceSettings {
        id: SourceId::new(&source.name),
        kind,
        turbines,
    }
}

/// Where the dead-letter file of an outbox is.
pub fn dead_letter_path(outbox: &std::path::Path) -> PathBuf {
    outbox.with_extension("dead-letter.jsonl")
}
