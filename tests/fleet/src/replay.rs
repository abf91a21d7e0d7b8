//! Files through real agents, MQTT and the aggregator: every value is looked up again in the lake.
//!
//! Invariants: the files are read by a parser of our own; a value is found only with the same turbine, channel, time, bits
//! and late flag, good and not suspect; what is late is computed twice, from the rows of the file and from the stamps on
//! the records.

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
use crate::spec::{Cloud, Gateway};
use files::Expected;

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
    /// By file.
    pub files: Vec<FileReport>,
    /// Readings in the lake that no file holds.
    pub values_foreign: u64,
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
    /// Seconds for all of it.
    pub seconds: f64,
    /// All is well.
    pub passed: bool,
}

/// What became of one file.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FileReport {
    /// Which.
    pub file: String,
    /// Non-empty values in it.
    pub values: u64,
    /// Of those, found in the lake, with the flags that they must have.
    pub values_found: u64,
    /// Examples of values that were not found.
    pub not_found: Vec<String>,
    /// Values whose row begins before an earlier row of its turbine ends.
    pub late_expected: u64,
    /// Readings of its turbines that are marked late in the lake.
    pub late_found: u64,
    /// Labelled windows.
    pub windows: usize,
    /// Confirmed episodes that touch a labelled window.
    pub episodes_inside: usize,
    /// Confirmed episodes that touch none.
    pub episodes_outside: usize,
    /// Beginning of the first confirmed alert in the last labelled window, in the file's time.
    pub failure_raised_at: Option<String>,
    /// As it must be.
    pub passed: bool,
}

impl FileReport {
    fn is_right(&self) -> bool {
        let failures = self.windows == 0
            || self.failure_raised_at.is_some() && self.episodes_outside <= EPISODES_OUTSIDE_MAX;
        self.values_found == self.values && self.late_found == self.late_expected && failures
    }
}

/// Replays the files under `data`; true when all is well.
#[allow(clippy::print_stdout)] // the command's result
pub fn run(data: &Path, keep: bool) -> Result<bool> {
    let files = files::read(data)?;
    let mut rig = rig(&files)?;
    if keep {
        eprintln!("the run's folder: {}", rig.keep().display());
    }
    let report = replay(&mut rig, &files)?;
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(report.passed)
}

/// A rig with a gateway for each file and the detectors that come with the product.
pub fn rig(files: &[Expected]) -> Result<Rig> {
    let gateways: Vec<Gateway> = files.iter().map(|f| f.gateway.clone()).collect();
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
pub fn replay(rig: &mut Rig, files: &[Expected]) -> Result<Report> {
    let watch = Stopwatch::start();
    let told = |what: &str| eprintln!("{:6.1} s  {what}", watch.elapsed().as_secs_f64());
    rig.start()?;
    let values: usize = files.iter().map(|f| f.values.len()).sum();
    read_all(rig, values as u64)?;
    told("all files lie in the outboxes");
    closing::drain(rig)?;
    told("every outbox is acknowledged");
    let balance = closing::settle(rig, |_, _| Ok(true))?;
    let alerts = alerts::read(&rig.lake())?;
    let (mut reports, values_foreign) = look_up(&rig.lake(), files)?;
    for (report, file) in reports.iter_mut().zip(files) {
        judge(report, &alerts, file);
        report.passed = report.is_right();
    }
    let stamps = late(&rig.witness);
    let passed = reports.iter().all(|f| f.passed)
        && values_foreign == 0
        && stamps.marked == stamps.below
        && stamps.without_reason == 0
        && balance.is_right();
    Ok(Report {
        files: reports,
        values_foreign,
        below_frontier: stamps.below,
        marked_late: stamps.marked,
        late_without_reason: stamps.without_reason,
        ledger_is_right: balance.is_right(),
        ledger_examples: balance.examples,
        windows_exact: balance.windows_exact,
        seconds: watch.elapsed().as_secs_f64(),
        passed,
    })
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

/// How often a value is due, by time, bits and late flag.
type Due = BTreeMap<(i64, u64, bool), u64>;

/// Looks up every value; each reading of the lake answers for one value. Gives a report by file, and how many readings no
/// file holds.
fn look_up(lake_root: &Path, files: &[Expected]) -> Result<(Vec<FileReport>, u64)> {
    let mut reports = Vec::new();
    // by turbine and channel
    let mut due: BTreeMap<String, Due> = BTreeMap::new();
    let mut file_of: BTreeMap<&str, usize> = BTreeMap::new();
    for (i, file) in files.iter().enumerate() {
        let turbines = file.gateway.turbines.iter();
        file_of.extend(turbines.map(|t| (t.id.as_str(), i)));
        for value in &file.values {
            let channel = format!("{}/{}", value.turbine, value.channel);
            let key = (value.time, value.value.to_bits(), value.late);
            *due.entry(channel).or_default().entry(key).or_default() += 1;
        }
        reports.push(FileReport {
            file: file.name.clone(),
            values: file.values.len() as u64,
            late_expected: file.values.iter().filter(|v| v.late).count() as u64,
            windows: file.windows.len(),
            ..FileReport::default()
        });
    }
    let mut foreign = 0;
    Lake::open(lake_root)?.each("readings", |row| {
        let Some(report) = file_of.get(row.need("turbine")?).map(|i| &mut reports[*i]) else {
            foreign += 1;
            return Ok(());
        };
        let late = row.flag("late")?;
        report.late_found += u64::from(late);
        let value = row.float("value")?.unwrap_or(f64::NAN);
        let plain = !row.flag("suspect")? && row.need("quality")? == "good";
        let channel = format!("{}/{}", row.need("turbine")?, row.need("channel")?);
        let key = (row.need_int("time")?, value.to_bits(), late);
        let n = due.get_mut(&channel).and_then(|v| v.get_mut(&key));
        match n {
            Some(n) if *n > 0 && plain => {
                *n -= 1;
                report.values_found += 1;
            }
            _ => foreign += 1,
        }
        Ok(())
    })?;
    for (channel, values) in due {
        let turbine = channel.split('/').next().unwrap_or_default();
        let report = &mut reports[file_of.get(turbine).copied().context("a file's turbine")?];
        for ((time, bits, late), _) in values.into_iter().filter(|(_, n)| *n > 0) {
            if report.not_found.len() < EXAMPLES_MAX {
                let (time, value) = (crate::calendar::text(time), f64::from_bits(bits));
                let mark = if late { " late" } else { "" };
                let text = format!("{channel} {time} {value}{mark}");
                report.not_found.push(text);
            }
        }
    }
    Ok((reports, foreign))
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

/// Episodes of the file's turbines against its labelled windows.
fn judge(report: &mut FileReport, alerts: &[Alert], file: &Expected) {
    let mut episodes: BTreeMap<&str, Vec<&Alert>> = BTreeMap::new();
    let turbines = &file.gateway.turbines;
    let own = alerts
        .iter()
        .filter(|a| turbines.iter().any(|t| t.id == a.turbine));
    for alert in own.filter(|a| a.confirmed) {
        episodes.entry(&alert.episode).or_default().push(alert);
    }
    let touches = |a: &Alert, w: &(i64, i64)| a.first <= w.1 && a.last >= w.0;
    let inside = |alerts: &&Vec<&Alert>| {
        let any = |a: &&Alert| file.windows.iter().any(|w| touches(a, w));
        alerts.iter().any(any)
    };
    report.episodes_inside = episodes.values().filter(inside).count();
    report.episodes_outside = episodes.len() - report.episodes_inside;
    let Some(last) = file.windows.last() else {
        return;
    };
    let found = episodes.values().flatten().map(|a| a.first);
    let found = found.filter(|first| (last.0..=last.1).contains(first));
    report.failure_raised_at = found.min().map(crate::calendar::text);
}
