//! `windlass-fleet run`: a scenario's fleet at wall time, with the agents, outboxes, broker and aggregator of the field.
//!
//! A thread for each gateway steps the model and pushes what is due into the sockets of its agent, as the driver of a
//! controller would; the agent stamps, commits and sends it. The scenario's disturbances happen to the links, processes
//! and clocks. In the end everything drains and the ledger is balanced, as the demo does it. `docs/generator.md` has the
//! scenario's format.
//!
//! Invariants: nothing reaches the aggregator but through an agent's outbox; the ground truth is written before the first
//! reading; a run passes when the ledger is right and every disturbance of its time was executed.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;
use windlass_fleet_model::fault::Truth;
use windlass_fleet_model::{Fleet, Pace, Scenario};
use windlass_shared::catalogue::Catalogue;
use windlass_shared::time::{EventTime, SECOND_US, WallTime};

pub mod again;
pub mod crew;
pub mod feed;
mod report;
pub mod schedule;
pub mod stage;
pub mod verdict;

use crate::clock::{self, Stopwatch};
use crate::demo::say;
use crate::generate::{read_profiles, read_scenario};
use crate::ledger::{Balance, alerts};
use crate::rig::{BrokerKind, Rig};
use crate::{closing, spec};
use crew::Crew;
use feed::Feed;
pub use report::Report;
use schedule::Schedule;
use stage::{Done, Stage};

/// Shortest run: a window of a minute begins and ends in it.
const MINUTES_MIN: f64 = 2.0;
/// Longest run: a day.
const MINUTES_MAX: f64 = 1_440.0;
/// From the first process to the first reading: the agents make their sockets meanwhile.
const PREPARE_US: i64 = 3 * SECOND_US;
/// Longest path of a Unix socket, bytes.
const SOCKET_PATH_MAX: usize = 107;

/// What to run.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// The scenario.
    #[arg(long)]
    pub scenario: PathBuf,
    /// Seed, instead of the scenario's.
    #[arg(long)]
    pub seed: Option<u64>,
    /// How long traffic runs, minutes.
    #[arg(long, default_value_t = 5.0)]
    pub minutes: f64,
    /// Where to write the JSON report.
    #[arg(long)]
    pub report: Option<PathBuf>,
    /// Folder of the run, new or empty, which stays; without it a temporary one.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Keep the temporary folder.
    #[arg(long)]
    pub keep: bool,
    /// Print the report as JSON instead of text.
    #[arg(long)]
    pub json: bool,
    /// Detectors, instead of the product's.
    #[arg(long)]
    pub detectors: Option<PathBuf>,
    /// Folder of the channel profiles.
    #[arg(long)]
    pub profiles: Option<PathBuf>,
}

/// `ground_truth.json`.
#[derive(Serialize)]
struct GroundTruth<'a> {
    scenario: &'a str,
    seed: u64,
    from_us: i64,
    to_us: i64,
    faults: &'a [Truth],
    disturbances: &'a [Done],
}

/// Runs it, and says how it went; true when all is well.
pub fn run(options: &Options) -> Result<bool> {
    let report = report(options)?;
    let json = serde_json::to_string_pretty(&report)?;
    let mut terminal = std::io::stdout().lock();
    if options.json {
        writeln!(terminal, "{json}")?;
    } else {
        write!(terminal, "{}", report.text())?;
    }
    if let Some(path) = &options.report {
        std::fs::write(path, json + "\n")
            .with_context(|| format!("could not write {}", path.display()))?;
    }
    Ok(report.passed)
}

/// What a run needs before anything is started.
struct Prepared {
    scenario: Scenario,
    seed: u64,
    profiles: Vec<Arc<Catalogue>>,
    crew: Crew,
    rig: Rig,
}

impl Prepared {
    /// Everything that can be wrong is told here.
    fn new(options: &Options) -> Result<Self> {
        ensure!(
            (MINUTES_MIN..=MINUTES_MAX).contains(&options.minutes),
            "--minutes: found {}, expected {MINUTES_MIN} to {MINUTES_MAX}",
            options.minutes
        );
        let scenario = read_scenario(&options.scenario)?;
        let seed = options.seed.unwrap_or(scenario.seed);
        let profiles = read_profiles(options.profiles.as_deref(), &scenario)?;
        // Who stands where and whose clocks are touched does not depend on when it begins.
        let now = EventTime(clock::wall().0);
        let draft = Fleet::new(&scenario, seed, &profiles, now, Pace::Second)?;
        let crew = Crew::new(&scenario, &draft)?;
        crew.fits(&draft, options.minutes)?;
        let clocks = schedule::clocks(draft.incidents(), &crew);
        let rig = rig(options, &crew, &draft, &clocks)?;
        sockets_fit(&rig)?;
        Ok(Self {
            scenario,
            seed,
            profiles,
            crew,
            rig,
        })
    }
}

/// Runs it.
pub fn report(options: &Options) -> Result<Report> {
    let Prepared {
        scenario,
        seed,
        profiles,
        crew,
        mut rig,
    } = Prepared::new(options)?;
    let length_us = (options.minutes * 60e6) as i64;
    rig.start()?;
    let begins = EventTime(clock::wall().0 + PREPARE_US).floor_to(SECOND_US);
    let fleet = Fleet::new(&scenario, seed, &profiles, begins, Pace::Second)?;
    let schedule = Schedule::new(fleet.incidents(), &crew, begins, length_us, seed);
    let mut truths = fleet.ground_truth();
    truths.retain(|t| t.since_us < begins.0 + length_us);
    say(0.0, &format!("the run's folder: {}", rig.root().display()));
    let plan = (&crew, &schedule);
    let (done, delivered) = play(&mut rig, &scenario, &fleet, plan, length_us, &truths)?;
    let watch = Stopwatch::start();
    closing::drain(&mut rig)?;
    let drained_after_s = watch.elapsed().as_secs_f64();
    let balance = settle(&mut rig, options.minutes * 60.0, &watch)?;
    let verdict = verdict::judge(&fleet, &truths, &alerts::read(&rig.lake())?);
    if options.keep {
        rig.keep();
    }
    let outside = schedule.outside.iter().map(|k| k.name().to_owned());
    Ok(Report {
        scenario: scenario.name.clone(),
        seed,
        minutes: options.minutes,
        turbines: fleet.seats().len(),
        gateways: crew.0.len(),
        delivered_readings: delivered.readings,
        untaken_samples: delivered.untaken,
        passed: balance.is_right() && done.iter().all(|d| d.steps > 0),
        balance,
        disturbances: done,
        disturbances_outside: outside.collect(),
        verdict,
        drained_after_s,
    })
}

/// Waits until the lake holds everything; the traffic has ended after `length_s`, and `watch` has run since.
fn settle(rig: &mut Rig, length_s: f64, watch: &Stopwatch) -> Result<Balance> {
    let told = |text: &str| say(length_s + watch.elapsed().as_secs_f64(), text);
    told("every outbox is acknowledged");
    closing::settle(rig, |_, balance| {
        told(&format!(
            "{} of {} readings counted, {} windows settled, {} not yet",
            balance.counted_readings,
            balance.accepted_readings,
            balance.windows_settled,
            balance.windows_open
        ));
        Ok(true)
    })
}

fn rig(options: &Options, crew: &Crew, fleet: &Fleet, clocks: &[usize]) -> Result<Rig> {
    let detectors = match &options.detectors {
        Some(path) => std::fs::read_to_string(path)
            .with_context(|| format!("could not read the detectors {}", path.display()))?,
        None => spec::detectors()?,
    };
    let cloud = spec::Cloud {
        detectors: Some(detectors),
        ..spec::Cloud::default()
    };
    let gateways = crew.gateways(fleet, clocks);
    let Some(dir) = &options.dir else {
        return Rig::new(gateways, &cloud, BrokerKind::Embedded);
    };
    let failed = || format!("--dir {}", dir.display());
    std::fs::create_dir_all(dir).with_context(failed)?;
    let empty = std::fs::read_dir(dir)
        .with_context(failed)?
        .next()
        .is_none();
    ensure!(
        empty,
        "--dir {}: found files in it, expected a new or an empty folder",
        dir.display()
    );
    let dir = dir.canonicalize().with_context(failed)?;
    Rig::within(&dir, gateways, &cloud, BrokerKind::Embedded)
}

fn socket_path(rig: &Rig, fleet: &Fleet, gateway: usize, seat: usize) -> PathBuf {
    let turbine = fleet.seats()[seat].turbine.as_str();
    rig.gateways[gateway].dir().join(crew::socket(turbine))
}

/// A socket whose path is too long cannot be made.
fn sockets_fit(rig: &Rig) -> Result<()> {
    for gateway in &rig.gateways {
        for turbine in &gateway.spec.turbines {
            let path = gateway.dir().join(crew::socket(&turbine.id));
            let length = path.as_os_str().len();
            ensure!(
                length <= SOCKET_PATH_MAX,
                "the socket {} has a path of {length} bytes, expected at most {SOCKET_PATH_MAX}: choose a shorter --dir",
                path.display()
            );
        }
    }
    Ok(())
}

/// The traffic, with everything that happens in it.
fn play(
    rig: &mut Rig,
    scenario: &Scenario,
    fleet: &Fleet,
    (crew, schedule): (&Crew, &Schedule),
    length_us: i64,
    truths: &[Truth],
) -> Result<(Vec<Done>, feed::Delivered)> {
    let begins = fleet.begins();
    let sockets = crew.0.iter().enumerate().map(|(gateway, member)| {
        let seats = member.seats.iter();
        seats
            .map(|seat| (*seat, socket_path(rig, fleet, gateway, *seat)))
            .collect()
    });
    let sockets = sockets.collect();
    let truth_path = rig.root().join("ground_truth.json");
    let mut stage = Stage::new(rig, crew, schedule, WallTime(begins.0));
    let truth = GroundTruth {
        scenario: &scenario.name,
        seed: schedule.seed(),
        from_us: begins.0,
        to_us: begins.0 + length_us,
        faults: truths,
        disturbances: &stage.done,
    };
    write_json(&truth_path, &truth)?;
    let feed = Feed::start(fleet, sockets);
    stage.play(length_us)?;
    let done = stage.done;
    Ok((done, feed.finish()?))
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    std::fs::write(path, text + "\n").with_context(|| format!("could not write {}", path.display()))
}
