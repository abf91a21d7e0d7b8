//! The demo: a small fleet at work, faults on the way, a ledger at the end. `docs/demo.md` tells its story.
//!
//! Invariants: the processes, outboxes, broker and aggregator are the ones of the field; what the demo does to them is
//! kills, cuts, resends and a small disk; the report comes from the ledger, not from the product's counters.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Serialize;

pub mod cast;
pub mod faults;
pub mod history;
pub mod latency;
pub mod pages;
pub mod script;

use crate::clock::Stopwatch;
use crate::closing;
use crate::interrupt::Interrupt;
use crate::ledger::{Balance, alerts};
use crate::rig::Rig;
use cast::Cast;
use faults::{Episode, Found, Verdict};
use latency::{Latency, Observer};
use pages::{Deed, Pages};
use script::Played;

/// One false alarm is forgiven.
const FALSE_ALARMS_MAX: usize = 1;

/// What `demo` is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long traffic runs.
    pub minutes: f64,
    /// How many turbines.
    pub turbines: u16,
    /// Where the report goes.
    pub report: Option<PathBuf>,
    /// Keep the folder.
    pub keep: bool,
    /// Let fleet and console run on after the report, until somebody ends it.
    pub stay: bool,
    /// Where the console listens; none: where people expect it, if nobody else is there.
    pub console_port: Option<u16>,
}

/// The report.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// How long traffic ran, minutes.
    pub minutes: f64,
    /// How many turbines.
    pub turbines: u16,
    /// The ledger.
    #[serde(flatten)]
    pub balance: Balance,
    /// Faults put in.
    pub faults_injected: usize,
    /// Of those, found.
    pub faults_detected: usize,
    /// Confirmed episodes that belong to no fault.
    pub false_alarms: usize,
    /// From slice close and from event time to committed status, for connected turbines.
    pub latency_ms: Latency,
    /// Records that were sent again on purpose.
    pub duplicates_sent: u64,
    /// Records that were committed and not acknowledged when a process was killed.
    pub records_in_flight_at_kills: u64,
    /// Rows of history that went through the file source while the gateway was cut off.
    pub history_rows: u64,
    /// Seconds from the end of the traffic to the last acknowledgement.
    pub drained_after_s: f64,
    /// The faults, and what they led to.
    pub faults: Vec<Found>,
    /// The confirmed episodes.
    pub episodes: Vec<Episode>,
    /// What happened when, seconds after the start.
    pub events: Vec<(f64, String)>,
    /// Where the console was.
    pub console: String,
    /// All that was done to the fleet, with the page of the console that shows it.
    pub links: Vec<Deed>,
    /// All is well by the demo's rule.
    pub passed: bool,
}

/// Runs it; true when all is well.
pub fn run(options: &Options) -> Result<bool> {
    let cast = Cast::new(options.turbines, options.minutes)?;
    let interrupt = Interrupt::listen()?;
    let console_port = match options.console_port {
        Some(port) => port,
        None => pages::port()?,
    };
    let pages = Pages::new(console_port);
    let mut rig = Rig::new(
        cast.gateways(),
        &cast.cloud(console_port)?,
        crate::rig::BrokerKind::Embedded,
    )?;
    cast.prepare(&rig)?;
    if options.keep {
        say(0.0, &format!("the run's folder: {}", rig.keep().display()));
    }
    rig.watch(cast.small_disk);
    let observer = Observer::start(rig.status_db());
    let mut played = script::play(&mut rig, &cast, &pages, &interrupt, options.minutes)?;
    let samples = observer.finish()?;
    played.event("traffic ends; the gateways go on without sources until all is acknowledged");
    let watch = Stopwatch::start();
    closing::drain(&mut rig)?;
    let drained_after_s = watch.elapsed().as_secs_f64();
    played.event("every outbox is acknowledged");
    let (balance, verdict) = settle(&mut rig, &played, &interrupt)?;
    let latency_ms = latency::summarise(&samples, &played.outages);
    let mut links = played.deeds;
    links.extend(verdict.faults.iter().map(|found| pages.found(found)));
    links.sort_by_key(|deed| deed.from);
    let report = Report {
        minutes: options.minutes,
        turbines: options.turbines,
        faults_injected: verdict.faults.len(),
        faults_detected: verdict.detected(),
        false_alarms: verdict.false_alarms(),
        passed: balance.is_right()
            && verdict.detected() == verdict.faults.len()
            && verdict.false_alarms() <= FALSE_ALARMS_MAX,
        balance,
        latency_ms,
        duplicates_sent: played.duplicates_sent,
        records_in_flight_at_kills: played.in_flight_at_kills,
        history_rows: cast.history_rows(),
        drained_after_s,
        faults: verdict.faults,
        episodes: verdict.episodes,
        events: played.events,
        console: pages.wall(),
        links,
    };
    tell(&report, options)?;
    if options.stay {
        stay(&mut rig, &cast, &pages, &interrupt)?;
    }
    Ok(report.passed)
}

/// Prints the report, and writes it where it is wanted.
#[allow(clippy::print_stdout)] // the demo's result
fn tell(report: &Report, options: &Options) -> Result<()> {
    let text = serde_json::to_string_pretty(report)?;
    println!("{text}");
    if let Some(path) = &options.report {
        std::fs::write(path, text + "\n")
            .with_context(|| format!("could not write {}", path.display()))?;
    }
    summary(report);
    shown(&report.links);
    if !options.stay {
        eprintln!("\nThe console has ended; `--stay` keeps it after the report.");
    }
    Ok(())
}

/// The ledger is closed: fleet and console run on, to be looked at.
fn stay(rig: &mut Rig, cast: &Cast, pages: &Pages, interrupt: &Interrupt) -> Result<()> {
    rig.start_cloud()?;
    for i in 0..rig.gateways.len() {
        rig.set_sources(i, &cast.healthy_sources(i))?;
        rig.start_gateway(i)?;
    }
    rig.console_answers()?;
    eprintln!(
        "\nThe fleet runs on without faults, {} is silent (its history is over); the ledger above is closed.\n\n          The console: {}\n\nEnter or Ctrl-C ends it.",
        cast.turbines_at(cast.historian).join(", "),
        pages.wall()
    );
    interrupt.or_enter(|| rig.check())?;
    eprintln!("ending");
    for i in 0..rig.gateways.len() {
        rig.stop_gateway(i)?;
    }
    rig.stop_cloud()
}

/// A line of progress.
pub fn say(at_s: f64, what: &str) {
    eprintln!("{at_s:6.1} s  {what}");
}

/// Waits until the lake holds everything and every fault was found that will be; stops, and counts.
fn settle(rig: &mut Rig, played: &Played, interrupt: &Interrupt) -> Result<(Balance, Verdict)> {
    let judge = |rig: &Rig| -> Result<Verdict> {
        Ok(faults::judge(&played.faults, &alerts::read(&rig.lake())?))
    };
    let balance = closing::settle(rig, |rig, balance| {
        interrupt.check()?;
        let verdict = judge(rig)?;
        let found_all = verdict.detected() == verdict.faults.len();
        let text = format!(
            "{} of {} readings counted, {} windows settled, {} not yet, {} of {} faults found{}",
            balance.counted_readings,
            balance.accepted_readings,
            balance.windows_settled,
            balance.windows_open,
            verdict.detected(),
            verdict.faults.len(),
            if balance.is_right() {
                ""
            } else {
                "; the ledger does not balance yet"
            },
        );
        say(played.since_start(), &text);
        Ok(found_all)
    })?;
    let verdict = judge(rig)?;
    Ok((balance, verdict))
}

fn summary(report: &Report) {
    let b = &report.balance;
    let latency = &report.latency_ms;
    eprintln!(
        "\n{} readings accepted: {} counted, {} evicted on record, {} rejected, {} suspect, {} missing, {} doubled",
        b.accepted_readings,
        b.counted_readings,
        b.evicted_readings,
        b.rejected_readings,
        b.suspect_readings,
        b.missing_readings,
        b.double_counted_readings
    );
    eprintln!(
        "{} duplicate records suppressed; {} windows settled, {} exact",
        b.duplicate_records_suppressed, b.windows_settled, b.windows_exact
    );
    eprintln!(
        "{} of {} faults detected, {} false alarms; slice close to status p50 {:.0} ms, p99 {:.0} ms; event to status p50 {:.0} ms, p99 {:.0} ms",
        report.faults_detected,
        report.faults_injected,
        report.false_alarms,
        latency.from_slice_close.p50,
        latency.from_slice_close.p99,
        latency.from_event_time.p50,
        latency.from_event_time.p99
    );
    for example in &b.examples {
        eprintln!("wrong: {example}");
    }
    eprintln!("{}", if report.passed { "passed" } else { "FAILED" });
}

/// What was done to the fleet, with the page that shows it.
fn shown(links: &[Deed]) {
    eprintln!("\nWhat happened, and where it shows:");
    for deed in links {
        eprintln!("  {}\n    {}\n    {}", deed.what, deed.shows, deed.link);
    }
}
