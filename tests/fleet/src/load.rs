//! `windlass-fleet load`: a whole fleet from one process, over real MQTT connections.
//!
//! Each gateway is the agent's own core with its own MQTT client; only its outbox is in memory. So records are numbered,
//! stamped, kept, sent again and evicted as the field's are, and what is not acknowledged end to end stays.
//!
//! Invariants: a reading's event time is the moment at which the gateway was to sample it, however late the machine is; a
//! gateway that is behind samples every second it missed; memory is bounded by the outboxes' budgets.

mod counters;
mod gateway;
mod registry;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;
use windlass_edge::clock::Clock;
use windlass_fleet_model::{Fleet, Pace};
use windlass_shared::time::{EventTime, SECOND_US};

use crate::clock::Stopwatch;
use crate::interrupt::Interrupt;
pub use counters::{Counters, Totals};
use gateway::{Gateway, Plan};
pub use registry::Registry;

/// Between two lines of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// Between two looks at whether it is over.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Most turbines: two sockets and an outbox each.
pub const TURBINES_MAX: usize = 20_000;
/// Gateways that connect in a second at the start.
const CONNECTS_PER_S: i64 = 500;

/// What to play, and against whom.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Where the broker listens.
    #[arg(long, default_value = "127.0.0.1:1883")]
    pub broker: SocketAddr,
    /// The fleet.
    #[command(flatten)]
    pub fleet: FleetOptions,
    /// How long readings are made, minutes; without it until the process is told to stop.
    #[arg(long)]
    pub minutes: Option<f64>,
    /// How long the end may take, seconds, until everything is acknowledged.
    #[arg(long, default_value_t = 60.0)]
    pub drain_s: f64,
    /// Write the aggregator's `fleet.toml` and the channel profiles into this folder and end.
    #[arg(long, value_name = "DIR")]
    pub write_fleet: Option<PathBuf>,
    /// Print the totals as JSON, one object every ten seconds and one at the end.
    #[arg(long)]
    pub json: bool,
}

/// The fleet, and how its gateways behave.
#[derive(Args, Clone, Debug)]
pub struct FleetOptions {
    /// The fleet as a scenario file, instead of --turbines in farms of 150.
    #[arg(long, conflicts_with = "turbines")]
    pub scenario: Option<PathBuf>,
    /// Folder of the channel profiles that the scenario names.
    #[arg(long)]
    pub profiles: Option<PathBuf>,
    /// How many turbines, each with a gateway of its own.
    #[arg(long, default_value_t = 1_800)]
    pub turbines: usize,
    /// Seed, instead of the scenario's.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Only the first so many channels of each profile.
    #[arg(long)]
    pub channels: Option<usize>,
    /// Sample every periodic channel once a second, whatever period its profile gives.
    #[arg(long)]
    pub every_second: bool,
    /// All gateways sample at the same moment instead of spread over the second.
    #[arg(long)]
    pub in_step: bool,
    /// Memory of a gateway's outbox, kB; beyond it the agent's rules of eviction apply.
    #[arg(long, default_value_t = 256)]
    pub outbox_kb: u64,
}

/// What is printed.
#[derive(Clone, Debug, Serialize)]
struct Line {
    elapsed_s: f64,
    gateways: usize,
    #[serde(flatten)]
    totals: Totals,
    readings_per_s: f64,
    end: bool,
}

/// Plays until the time is over or a signal comes; false if something was not acknowledged at the end.
pub fn run(options: &Options) -> Result<bool> {
    if let Some(minutes) = options.minutes {
        ensure!(
            minutes > 0.0,
            "found --minutes {minutes}, expected more than 0"
        );
    }
    let registry = Registry::new(&options.fleet)?;
    if let Some(dir) = &options.write_fleet {
        let file = registry.write(dir)?;
        writeln!(std::io::stdout().lock(), "{}", file.display())?;
        return Ok(true);
    }
    let load = Load::start(&registry, &options.fleet, options.broker)?;
    let watch = Stopwatch::start();
    let interrupt = Interrupt::listen()?;
    let over = |watch: &Stopwatch| {
        let time = options.minutes.map(|m| m * 60.0);
        interrupt.raised() || time.is_some_and(|s| watch.elapsed().as_secs_f64() >= s)
    };
    let mut told = Duration::ZERO;
    while !over(&watch) {
        crate::clock::pause(LOOK_EVERY);
        load.check()?;
        if watch.elapsed() >= told + PROGRESS_EVERY {
            told = watch.elapsed();
            tell(options, &load, &watch, false)?;
        }
    }
    load.stop_sampling();
    let bound = Duration::from_secs_f64(options.drain_s.clamp(0.0, 86_400.0));
    let drained = load.drained(bound);
    tell(options, &load, &watch, true)?;
    let totals = load.totals();
    load.end();
    if let Err(error) = drained {
        eprintln!("error: {error:#}");
    }
    Ok(totals.unacknowledged_records == 0)
}

fn tell(options: &Options, load: &Load, watch: &Stopwatch, end: bool) -> Result<()> {
    let elapsed_s = watch.elapsed().as_secs_f64();
    let totals = load.totals();
    let line = Line {
        elapsed_s,
        gateways: load.gateways,
        readings_per_s: totals.readings as f64 / elapsed_s.max(1e-9),
        totals,
        end,
    };
    let mut terminal = std::io::stdout().lock();
    if options.json {
        writeln!(terminal, "{}", serde_json::to_string(&line)?)?;
    } else {
        let t = &line.totals;
        writeln!(
            terminal,
            "{elapsed_s:6.0} s  {} of {} gateways online  {} readings ({:.0}/s)  {} records, {} not acknowledged, {} \
             sends, {} evicted  sampled at most {} ms late",
            t.online,
            line.gateways,
            t.readings,
            line.readings_per_s,
            t.records,
            t.unacknowledged_records,
            t.publishes,
            t.evicted_records,
            t.late_ms_max
        )?;
    }
    Ok(())
}

/// Gateways at work on a thread of their own.
pub struct Load {
    counters: Arc<Counters>,
    gateways: usize,
    sampling: tokio::sync::watch::Sender<bool>,
    stop: tokio::sync::watch::Sender<bool>,
    thread: Option<std::thread::JoinHandle<Result<()>>>,
}

impl Load {
    /// Starts one gateway for each turbine of the registry.
    pub fn start(registry: &Registry, options: &FleetOptions, broker: SocketAddr) -> Result<Self> {
        let turbines = registry.scenario.farms.iter().map(|f| f.turbines.len());
        let gateways: usize = turbines.sum();
        ensure!(
            gateways <= TURBINES_MAX,
            "found {gateways} turbines, expected at most {TURBINES_MAX}"
        );
        raise_file_limit(gateways)?;
        let clock = Clock;
        let connects_s = gateways as i64 / CONNECTS_PER_S + 1;
        let begins = EventTime(clock.now().wall.0)
            .floor_to(SECOND_US)
            .plus_us((connects_s + 1) * SECOND_US);
        let fleet = Fleet::new(
            &registry.scenario,
            registry.seed,
            &registry.catalogues,
            begins,
            Pace::Second,
        )?;
        let (sampling, samples) = tokio::sync::watch::channel(true);
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let counters = Arc::new(Counters::default());
        let plan = Plan {
            broker,
            begins,
            clock,
            gateways,
            connects_s,
            in_step: options.in_step,
            outbox_bytes: options.outbox_kb * 1_024,
            seed: registry.seed,
            sampling: samples,
            stop: stopped,
            counters: Arc::clone(&counters),
        };
        let thread = std::thread::Builder::new()
            .name("load".into())
            .spawn(move || play(&fleet, &plan))
            .context("could not start the load's thread")?;
        Ok(Self {
            counters,
            gateways,
            sampling,
            stop,
            thread: Some(thread),
        })
    }

    /// So far.
    pub fn totals(&self) -> Totals {
        self.counters.totals()
    }

    /// Everything that was counted so far, and how late acknowledgements were.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Fails if the gateways' thread has ended by itself.
    pub fn check(&self) -> Result<()> {
        let ended = self
            .thread
            .as_ref()
            .is_none_or(std::thread::JoinHandle::is_finished);
        ensure!(!ended, "the gateways ended: {}", self.counters.failure());
        Ok(())
    }

    /// No more readings; what is there is closed, committed and sent.
    pub fn stop_sampling(&self) {
        self.sampling.send_replace(false);
    }

    /// Waits until everything is acknowledged end to end.
    pub fn drained(&self, bound: Duration) -> Result<()> {
        crate::clock::until("every record is acknowledged", bound, || {
            self.check()?;
            let totals = self.totals();
            let all = self.counters.all_closed(self.gateways) && totals.unacknowledged_records == 0;
            Ok(all.then_some(()))
        })
    }

    /// Ends the gateways.
    pub fn end(mut self) {
        self.finish();
    }

    fn finish(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("error: the gateways' thread panicked");
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Every gateway on one thread.
fn play(fleet: &Fleet, plan: &Plan) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("could not start a runtime")?;
    let result = runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for seat in 0..fleet.seats().len() {
            let gateway = Gateway::new(fleet, seat, plan)?;
            tasks.spawn(gateway.run());
        }
        while let Some(ended) = tasks.join_next().await {
            ended.context("a gateway panicked")??;
        }
        Ok(())
    });
    if let Err(error) = &result {
        plan.counters.fail(error);
    }
    result
}

/// Two sockets at most for each gateway while it reconnects, and some more.
fn raise_file_limit(gateways: usize) -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = 2 * gateways as u64 + 256;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    ensure!(
        limit.maximum.is_none_or(|maximum| maximum >= wanted),
        "{gateways} gateways need {wanted} open files, the system allows {}: raise `ulimit -Hn`",
        limit.maximum.unwrap_or_default()
    );
    let raised = Rlimit {
        current: Some(wanted),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).context("could not raise the limit of open files")
}

#[cfg(test)]
mod tests;
