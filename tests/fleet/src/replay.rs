//! Real data through a real agent, MQTT and the aggregator: every value is looked up again in the lake.
//!
//! Invariants: the files are read by a parser of our own; a value is found only with the same turbine, channel, time and
//! bits; what is late is recomputed from the stamps on the records, and must be marked so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

pub mod files;

use crate::clock::{self, Stopwatch};
use crate::closing;
use crate::ledger::alerts::{self, Alert};
use crate::ledger::lake::Lake;
use crate::ledger::outbox::Witness;
use crate::rig::{BrokerKind, Rig};
use crate::spec::{Cloud, Gateway, Turbine};
use files::{Expected, Labels};

/// The agent may take so long to bring the files into its outbox.
const READ_BOUND: Duration = Duration::from_mins(10);
/// Between two looks into the outboxes.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Values that were not found and are named.
const EXAMPLES_MAX: usize = 10;
/// Episodes outside the labelled windows that are forgiven.
const EPISODES_OUTSIDE_MAX: usize = 3;

/// The result.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Non-empty values in the files.
    pub values: u64,
    /// Of those, found in the lake.
    pub values_found: u64,
    /// Readings in the lake that no file holds.
    pub values_foreign: u64,
    /// Examples of values that were not found.
    pub not_found: Vec<String>,
    /// Rows whose time is not after the time of a row before them.
    pub rows_back_in_time: u64,
    /// Readings that lie below the frontier stamped before them.
    pub below_frontier: u64,
    /// Of those, marked late.
    pub marked_late: u64,
    /// Marked late without lying below it.
    pub late_without_reason: u64,
    /// The ledger says that each reading counts once.
    pub ledger_is_right: bool,
    /// What the ledger found wrong.
    pub ledger_examples: Vec<String>,
    /// Windows whose last word is exact.
    pub windows_exact: u64,
    /// Confirmed episodes on the failing machine.
    pub episodes: usize,
    /// A confirmed alert lies in the last labelled window.
    pub failure_found: bool,
    /// When, in the machine's time.
    pub failure_found_at: Option<String>,
    /// Confirmed episodes outside all labelled windows.
    pub episodes_outside: usize,
    /// Seconds for all of it.
    pub seconds: f64,
    /// All is well.
    pub passed: bool,
}

/// Replays the files under `data`; true when all is well.
#[allow(clippy::print_stdout)] // the command's result
pub fn run(data: &Path, keep: bool) -> Result<bool> {
    let watch = Stopwatch::start();
    let expected = Expected::read(data)?;
    let labels = Labels::read(data)?;
    let mut rig = rig(data)?;
    if keep {
        eprintln!("the run's folder: {}", rig.keep().display());
    }
    let report = replay(&mut rig, &expected, &labels, &watch)?;
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(report.passed)
}

fn rig(data: &Path) -> Result<Rig> {
    let homer = files::HOMER_TURBINES.map(|t| Turbine::new(t, "scada-10min"));
    let machine = Turbine::new(files::MACHINE, "machine-temperature");
    let gateways = vec![
        Gateway::new("GW-SCADA", "scada", homer.to_vec())
            .with_source(&files::homer_source(&files::homer_path(data))),
        Gateway::new("GW-MACHINE", "factory", vec![machine])
            .with_source(&files::machine_source(&files::machine_path(data))),
    ];
    let detectors: PathBuf =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cloud-aggregator/detectors.example.toml");
    let detectors = std::fs::read_to_string(&detectors)
        .with_context(|| format!("could not read {}", detectors.display()))?;
    let cloud = Cloud {
        detectors: Some(detectors),
        ..Cloud::default()
    };
    Rig::new(gateways, &cloud, BrokerKind::Embedded)
}

/// The replay itself, on a rig that has not been started.
pub fn replay(
    rig: &mut Rig,
    expected: &Expected,
    labels: &Labels,
    watch: &Stopwatch,
) -> Result<Report> {
    rig.start()?;
    read_all(rig, expected.values.len() as u64)?;
    eprintln!(
        "{:6.1} s  all files lie in the outboxes",
        watch.elapsed().as_secs_f64()
    );
    closing::drain(rig)?;
    eprintln!(
        "{:6.1} s  every outbox is acknowledged",
        watch.elapsed().as_secs_f64()
    );
    let balance = closing::settle(rig, |_, _| Ok(true))?;
    let lookup = look_up(&rig.lake(), expected)?;
    let stamps = late(&rig.witness);
    let verdict = judge(&alerts::read(&rig.lake())?, labels);
    let report = Report {
        values: expected.values.len() as u64,
        values_found: lookup.found,
        values_foreign: lookup.foreign,
        not_found: lookup.not_found,
        rows_back_in_time: expected.rows_back_in_time,
        below_frontier: stamps.below,
        marked_late: stamps.marked,
        late_without_reason: stamps.without_reason,
        ledger_is_right: balance.is_right(),
        ledger_examples: balance.examples,
        windows_exact: balance.windows_exact,
        episodes: verdict.episodes,
        failure_found: verdict.found_at.is_some(),
        failure_found_at: verdict.found_at,
        episodes_outside: verdict.outside,
        seconds: watch.elapsed().as_secs_f64(),
        passed: false,
    };
    let passed = report.values_found == report.values
        && report.values_foreign == 0
        && report.marked_late == report.below_frontier
        && report.late_without_reason == 0
        && report.ledger_is_right
        && report.failure_found
        && report.episodes_outside <= EPISODES_OUTSIDE_MAX;
    Ok(Report { passed, ..report })
}

/// Waits until as many readings as there are values lie in the outboxes.
fn read_all(rig: &mut Rig, values: u64) -> Result<()> {
    let watch = Stopwatch::start();
    loop {
        rig.check()?;
        rig.look()?;
        let records = rig.witness.records.values();
        let readings: usize = records.map(|c| c.readings.len()).sum();
        if readings as u64 >= values {
            return Ok(());
        }
        ensure!(
            watch.elapsed() < READ_BOUND,
            "the file sources brought {readings} of {values} readings; {}",
            rig.gateways[0].log_tail()
        );
        clock::pause(LOOK_EVERY);
    }
}

#[derive(Default)]
struct Lookup {
    found: u64,
    foreign: u64,
    not_found: Vec<String>,
}

/// How often a value is due, by channel (`turbine/channel`), time and bits.
type Due = BTreeMap<String, BTreeMap<(i64, u64), u64>>;

/// Looks up every value; each reading of the lake answers for one value.
fn look_up(lake_root: &Path, expected: &Expected) -> Result<Lookup> {
    let mut due = Due::new();
    for value in &expected.values {
        let channel = format!("{}/{}", value.turbine, value.channel);
        let values = due.entry(channel).or_default();
        *values
            .entry((value.time, value.value.to_bits()))
            .or_default() += 1;
    }
    let mut lookup = Lookup::default();
    Lake::open(lake_root)?.each("readings", |row| {
        let value = row.float("value")?.unwrap_or(f64::NAN);
        let channel = format!("{}/{}", row.need("turbine")?, row.need("channel")?);
        let values = due.get_mut(&channel);
        let n = values.and_then(|v| v.get_mut(&(row.need_int("time").ok()?, value.to_bits())));
        match n {
            Some(n) if *n > 0 => {
                *n -= 1;
                lookup.found += 1;
            }
            _ => lookup.foreign += 1,
        }
        Ok(())
    })?;
    for (channel, values) in due {
        for ((time, bits), _) in values.into_iter().filter(|(_, n)| *n > 0) {
            if lookup.not_found.len() < EXAMPLES_MAX {
                let (time, value) = (crate::calendar::text(time), f64::from_bits(bits));
                lookup.not_found.push(format!("{channel} {time} {value}"));
            }
        }
    }
    Ok(lookup)
}

#[derive(Default)]
struct Late {
    below: u64,
    marked: u64,
    without_reason: u64,
}

/// Holds the late flags against the frontier of the record before.
fn late(witness: &Witness) -> Late {
    let mut late = Late::default();
    let mut frontier = i64::MIN;
    let mut run = None;
    // By identity, so record by record in each epoch.
    for (id, committed) in &witness.records {
        let this = Some((id.turbine.clone(), id.epoch));
        if this != run {
            run = this;
            frontier = i64::MIN;
        }
        for reading in &committed.readings {
            let below = reading.time < frontier && !reading.suspect;
            late.below += u64::from(below);
            late.marked += u64::from(below && reading.late);
            late.without_reason += u64::from(reading.late && !below);
        }
        frontier = frontier.max(committed.header.stamps.frontier.0);
    }
    late
}

struct Judged {
    episodes: usize,
    found_at: Option<String>,
    outside: usize,
}

/// Episodes of the failing machine against the labelled windows.
fn judge(alerts: &[Alert], labels: &Labels) -> Judged {
    let mut episodes: BTreeMap<&str, Vec<&Alert>> = BTreeMap::new();
    let own = alerts.iter().filter(|a| a.turbine == files::MACHINE);
    for alert in own.filter(|a| a.confirmed) {
        episodes.entry(&alert.episode).or_default().push(alert);
    }
    let touches = |a: &Alert, w: &(i64, i64)| a.first <= w.1 && a.last >= w.0;
    let outside = episodes
        .values()
        .filter(|alerts| {
            let inside = |a: &&Alert| labels.windows.iter().any(|w| touches(a, w));
            !alerts.iter().any(inside)
        })
        .count();
    let last = labels.windows.last().copied().unwrap_or_default();
    let found = episodes
        .values()
        .flatten()
        .filter(|a| a.first >= last.0 && a.first <= last.1)
        .map(|a| a.first)
        .min();
    Judged {
        episodes: episodes.len(),
        found_at: found.map(crate::calendar::text),
        outside,
    }
}
