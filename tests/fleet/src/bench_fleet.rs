//! `windlass-fleet bench-fleet`: the whole fleet on one machine. A load of in-memory gateways sends over real MQTT to a real
//! `windlass-cloud` with the settings of its example configuration: broker, ingest, log, process, serve, lake, console.
//!
//! Invariants: latency is what a reader of the status store sees; CPU and memory are the kernel's; what was committed by
//! the gateways is looked for, row by row counted, in the lake at the end. Nothing is asserted about speed.

mod kernel;
mod report;
mod sight;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::clock::{self, Stopwatch};
use crate::ledger::lake::Lake;
use crate::load::{FleetOptions, Load, Registry};
use crate::mosquitto::listens;
use crate::process::{Process, Program, built, free_port};
use kernel::Usage;
use report::{Interval, Outcome, Report, Step};
use sight::Watch;

/// How long a process may take until it does its work.
const READY_BOUND: Duration = Duration::from_mins(2);
/// How long the lake may take to hold the end of what was sent.
const LAKE_BOUND: Duration = Duration::from_mins(10);
/// Turbines that the reader of the status store looks at.
const WATCHED_MAX: usize = 45;
/// Log time in one set of lake files, seconds, instead of five minutes: so that a run sees many and ends soon.
const CUT_EVERY_S: u32 = 60;

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// How long to measure, minutes.
    #[arg(long, default_value_t = 10.0)]
    pub minutes: f64,
    /// How long everything runs before it is measured, seconds.
    #[arg(long, default_value_t = 90.0)]
    pub warm_s: f64,
    /// How long an interval of the spread is, seconds.
    #[arg(long, default_value_t = 60.0)]
    pub interval_s: f64,
    /// How many turbines: 1,806 with 299 readings a second each are 540,000 readings a second.
    #[arg(long, default_value_t = 1_806)]
    pub turbines: usize,
    /// Then fleets so many times as large, two minutes each, to find the highest rate that holds.
    #[arg(long, value_delimiter = ',', default_value = "1.5,2,2.5,3")]
    pub steps: Vec<f64>,
    /// No larger fleets.
    #[arg(long)]
    pub no_steps: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Where to put the run's folder, which is removed at the end; it needs about 2 GB for ten minutes.
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

/// Measures and prints; false if a reading was lost or doubled.
pub fn run(options: &Options) -> Result<bool> {
    for (name, value) in [
        ("--minutes", options.minutes),
        ("--interval-s", options.interval_s),
    ] {
        ensure!(value > 0.0, "found {name} {value}, expected more than 0");
    }
    let main = measure(
        options,
        options.turbines,
        options.minutes * 60.0,
        options.warm_s,
    )?;
    let mut steps = vec![Step::of(&main)];
    if !options.no_steps {
        for factor in &options.steps {
            let turbines = (options.turbines as f64 * factor).round() as usize;
            let step = measure(options, turbines, 2.0 * options.interval_s, options.warm_s)?;
            let held = Step::of(&step);
            let goes_on = held.held;
            steps.push(held);
            if !goes_on {
                break;
            }
        }
    }
    let report = Report::new(main, steps);
    let mut terminal = std::io::stdout().lock();
    if options.json {
        serde_json::to_writer_pretty(&mut terminal, &report)?;
        writeln!(terminal)?;
    } else {
        write!(terminal, "{}", report.text())?;
    }
    Ok(report.run.lost == 0 && report.run.doubled == 0)
}

/// The aggregator of one run.
struct Cloud {
    process: Process,
    dir: PathBuf,
    http: u16,
}

impl Cloud {
    fn start(dir: &Path, registry: &Registry, broker: u16) -> Result<Self> {
        registry.write(dir)?;
        let detectors = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../cloud-aggregator/detectors.example.toml");
        std::fs::copy(&detectors, dir.join("detectors.toml"))
            .with_context(|| format!("could not copy {}", detectors.display()))?;
        let (http, console) = (free_port()?, free_port()?);
        let text = format!(
            "[data]\ndir = \"data\"\n\n[fleet]\nfile = \"fleet.toml\"\n\n[broker]\nlisten = \"127.0.0.1:{broker}\"\n\n\
             [process]\ndetectors = \"detectors.toml\"\n\n[lake]\ncut_every_s = {CUT_EVERY_S}\n\n[http]\nlisten = \
             \"127.0.0.1:{http}\"\n\n[console]\nlisten = \"127.0.0.1:{console}\"\n"
        );
        let config = dir.join("windlass-cloud.toml");
        std::fs::write(&config, text)
            .with_context(|| format!("could not write {}", config.display()))?;
        let program = Program {
            name: "windlass-cloud".into(),
            path: built("windlass-cloud")?,
            args: vec![
                "run".into(),
                "--config".into(),
                config.to_string_lossy().into_owned(),
            ],
            env: Vec::new(),
            log: dir.join("cloud.log"),
        };
        let mut process = program.start()?;
        listens(broker, &mut process)?;
        Ok(Self {
            process,
            dir: dir.to_owned(),
            http,
        })
    }

    fn usage(&self) -> Result<Usage> {
        Usage::of(self.process.id(), &self.dir.join("data"))
    }

    /// A counter without labels, or the sum over its labels.
    fn metric(&self, name: &str) -> Result<f64> {
        kernel::metric(self.http, name)
    }
}

fn measure(options: &Options, turbines: usize, measured_s: f64, warm_s: f64) -> Result<Outcome> {
    let folder = match &options.dir {
        Some(dir) => tempfile::Builder::new()
            .prefix("windlass-fleet-")
            .tempdir_in(dir),
        None => tempfile::Builder::new().prefix("windlass-fleet-").tempdir(),
    }
    .context("could not make the run's folder")?;
    let fleet = FleetOptions {
        scenario: None,
        profiles: None,
        turbines,
        seed: None,
        channels: None,
        every_second: true,
        in_step: false,
        outbox_kb: 256,
    };
    let registry = Registry::new(&fleet)?;
    let broker = free_port()?;
    let mut cloud = Cloud::start(folder.path(), &registry, broker)?;
    let watch = Watch::start(cloud.dir.join("data/status.db"), watched(&registry));
    let load = Load::start(&registry, &fleet, ([127, 0, 0, 1], broker).into())?;
    clock::until("every gateway is connected", READY_BOUND, || {
        cloud.process.check()?;
        load.check()?;
        Ok((load.totals().online == turbines as u64).then_some(()))
    })?;
    wait(&mut cloud, &load, warm_s)?;
    let mut intervals = Vec::new();
    let stopwatch = Stopwatch::start();
    let mut before = look(&cloud, &load, &stopwatch)?;
    drop(watch.take());
    while stopwatch.elapsed().as_secs_f64() + 0.5 * options.interval_s < measured_s {
        let end = (before.at_s + options.interval_s).min(measured_s.max(before.at_s + 1.0));
        wait(&mut cloud, &load, end - stopwatch.elapsed().as_secs_f64())?;
        let after = look(&cloud, &load, &stopwatch)?;
        intervals.push(Interval::new(&before, &after, &watch.take()));
        before = after;
    }
    finish(cloud, load, &registry, intervals)
}

/// Everything at one moment.
struct Look {
    at_s: f64,
    load: crate::load::Totals,
    cloud: Usage,
    own: Usage,
    accepted: f64,
}

fn look(cloud: &Cloud, load: &Load, stopwatch: &Stopwatch) -> Result<Look> {
    Ok(Look {
        at_s: stopwatch.elapsed().as_secs_f64(),
        load: load.totals(),
        cloud: cloud.usage()?,
        own: Usage::of(std::process::id(), Path::new("/nonexistent"))?,
        accepted: cloud.metric("windlass_ingest_readings_total")?,
    })
}

fn wait(cloud: &mut Cloud, load: &Load, seconds: f64) -> Result<()> {
    let stopwatch = Stopwatch::start();
    while stopwatch.elapsed().as_secs_f64() < seconds {
        clock::pause(Duration::from_millis(20));
        cloud.process.check()?;
        load.check()?;
    }
    Ok(())
}

/// Stops sampling, waits for the end of what was sent, and counts it in the lake.
fn finish(
    mut cloud: Cloud,
    load: Load,
    registry: &Registry,
    intervals: Vec<Interval>,
) -> Result<Outcome> {
    load.stop_sampling();
    let drained = load.drained(READY_BOUND);
    let totals = load.totals();
    let stopwatch = Stopwatch::start();
    let expected = totals.committed_readings - totals.evicted_readings;
    let lake = cloud.dir.join("data/lake");
    let mut found = BTreeMap::new();
    let arrived = clock::until("the lake holds everything", LAKE_BOUND, || {
        cloud.process.check()?;
        found = Lake::counted(&lake)?;
        Ok((found.get("readings").copied().unwrap_or(0) >= expected).then_some(()))
    });
    let lake_s = stopwatch.elapsed().as_secs_f64();
    let appended = cloud.metric("windlass_ingest_records_total")?;
    load.end();
    let status = cloud.process.terminate()?;
    ensure!(
        status.success(),
        "windlass-cloud ended with {status}:\n{}",
        cloud.process.log_tail()
    );
    for result in [drained, arrived] {
        if let Err(error) = result {
            eprintln!("warning: {error:#}");
        }
    }
    let found = Lake::open(&lake)?.rows("readings");
    Ok(Outcome {
        turbines: registry
            .scenario
            .farms
            .iter()
            .map(|f| f.turbines.len())
            .sum(),
        intervals,
        totals,
        expected,
        found,
        lake_s,
        duplicate_records: appended - totals.records as f64,
    })
}

/// Turbines from all over the fleet.
fn watched(registry: &Registry) -> Vec<String> {
    let all: Vec<_> = registry
        .scenario
        .farms
        .iter()
        .flat_map(|f| &f.turbines)
        .collect();
    let step = all.len().div_ceil(WATCHED_MAX).max(1);
    let chosen = all.into_iter().step_by(step);
    chosen.map(|t| t.as_str().to_owned()).collect()
}
