//! Figures with their spread, and how they were measured.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::Look;
use super::kernel::TICKS_PER_S;
use super::sight::Shown;
use crate::bench_edge::{Spread, cpu_model};
use crate::demo::latency::Percentiles;
use crate::load::Totals;

/// A fleet holds if this share of what was made is accepted in the same time.
const HELD_SHARE: f64 = 0.99;
/// And the status shows it within this time for 99 of 100 slices, milliseconds.
const HELD_P99_MS: f64 = 500.0;

const METHOD: &str = "one windlass-cloud (broker, ingest, log, process, serve, lake, console; four partitions) and one \
windlass-fleet on one machine, loopback, no TLS; one gateway and one MQTT connection for each turbine, sampling spread over \
the second, 299 channels once a second and one on change. latency: a reader of the status store looks every 5 ms at up to \
45 turbines; from the gateway's commit of the newest fast slice, and from its newest reading's event time. CPU: user and \
system time of /proc; by thread name, `runtime` being the threads of ingest, HTTP and of writing finished lake files, `load` \
the gateways. memory: RssAnon, what no file backs. lost, doubled: readings committed by the gateways against rows of \
the lake's committed files, whose SHA-256 is checked. held: accepted at least 99 % of what was made in the same \
interval, and p99 from slice close to status at most 500 ms";

/// Figures of one interval.
#[derive(Clone, Debug, Serialize)]
pub struct Interval {
    pub seconds: f64,
    pub made_per_s: f64,
    pub accepted_per_s: f64,
    pub slice_close_to_status_ms: Percentiles,
    pub event_to_status_ms: Percentiles,
    /// Cores, by role.
    pub cpu_cores: BTreeMap<&'static str, f64>,
    pub cloud_cpu_cores: f64,
    pub load_cpu_cores: f64,
    pub cloud_rss_mb: f64,
    pub cloud_anonymous_mb: f64,
    pub load_anonymous_mb: f64,
    pub written_mb_per_s: f64,
    pub stored_bytes_per_reading: f64,
    pub unacknowledged_records: u64,
    pub sampled_late_ms_max: u64,
}

impl Interval {
    /// From two looks and what showed between them.
    pub fn new(before: &Look, after: &Look, shown: &[Shown]) -> Self {
        let seconds = after.at_s - before.at_s;
        let per_s = |a: u64, b: u64| (b.saturating_sub(a)) as f64 / seconds;
        let cores = |a: u64, b: u64| per_s(a, b) / TICKS_PER_S;
        let of = |name: &str| before.cloud.roles.get(name).copied().unwrap_or(0);
        let made = after.load.readings - before.load.readings;
        Self {
            seconds,
            made_per_s: made as f64 / seconds,
            accepted_per_s: (after.accepted - before.accepted) / seconds,
            slice_close_to_status_ms: Percentiles::of(
                shown.iter().map(|s| s.from_slice_close).collect(),
            ),
            event_to_status_ms: Percentiles::of(shown.iter().map(|s| s.from_event_time).collect()),
            cpu_cores: (after.cloud.roles.iter())
                .map(|(name, ticks)| (*name, cores(of(name), *ticks)))
                .collect(),
            cloud_cpu_cores: cores(before.cloud.cpu, after.cloud.cpu),
            load_cpu_cores: cores(before.own.cpu, after.own.cpu),
            cloud_rss_mb: after.cloud.rss as f64 / 1e6,
            cloud_anonymous_mb: after.cloud.anonymous as f64 / 1e6,
            load_anonymous_mb: after.own.anonymous as f64 / 1e6,
            written_mb_per_s: per_s(before.cloud.written, after.cloud.written) / 1e6,
            stored_bytes_per_reading: (after.cloud.stored.saturating_sub(before.cloud.stored))
                as f64
                / made.max(1) as f64,
            unacknowledged_records: after.load.unacknowledged_records,
            sampled_late_ms_max: after.load.late_ms_max,
        }
    }

    fn held(&self) -> bool {
        self.accepted_per_s >= HELD_SHARE * self.made_per_s
            && self.slice_close_to_status_ms.p99 <= HELD_P99_MS
    }
}

/// What came of one run.
pub struct Outcome {
    pub turbines: usize,
    pub intervals: Vec<Interval>,
    pub totals: Totals,
    pub expected: u64,
    pub found: u64,
    pub lake_s: f64,
    pub duplicate_records: f64,
}

/// Figures of one size of fleet.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    pub turbines: usize,
    pub made_per_s: f64,
    pub accepted_per_s: f64,
    pub slice_close_to_status_p99_ms: f64,
    pub cloud_cpu_cores: f64,
    pub load_cpu_cores: f64,
    pub lost: u64,
    pub doubled: u64,
    /// Every interval but at most one in ten held.
    pub held: bool,
}

impl Step {
    /// Of one run.
    pub fn of(outcome: &Outcome) -> Self {
        let of = |f: &dyn Fn(&Interval) -> f64| Spread::of(outcome.intervals.iter().map(f)).median;
        let held = outcome.intervals.iter().filter(|i| i.held()).count();
        Self {
            turbines: outcome.turbines,
            made_per_s: of(&|i| i.made_per_s),
            accepted_per_s: of(&|i| i.accepted_per_s),
            slice_close_to_status_p99_ms: of(&|i| i.slice_close_to_status_ms.p99),
            cloud_cpu_cores: of(&|i| i.cloud_cpu_cores),
            load_cpu_cores: of(&|i| i.load_cpu_cores),
            lost: outcome.expected.saturating_sub(outcome.found),
            doubled: outcome.found.saturating_sub(outcome.expected),
            held: held * 10 >= outcome.intervals.len() * 9,
        }
    }
}

/// A limit, what would be good, and what was measured.
#[derive(Clone, Debug, Serialize)]
struct Bound {
    name: &'static str,
    limit: Option<f64>,
    goal: Option<f64>,
    measured: f64,
    met: bool,
}

/// The run that the figures are of.
#[derive(Debug, Serialize)]
pub struct Run {
    pub turbines: usize,
    pub measured_s: f64,
    pub lost: u64,
    pub doubled: u64,
    pub evicted_readings: u64,
    pub readings_in_the_lake: u64,
    /// Records that came to the log more than once, and count once.
    pub duplicate_records: f64,
    /// From the last record's acknowledgement until the lake had everything.
    pub lake_caught_up_s: f64,
    pub intervals: Vec<Interval>,
}

/// What is printed.
#[derive(Debug, Serialize)]
pub struct Report {
    limits: Vec<Bound>,
    spread: BTreeMap<&'static str, Spread>,
    roles_cpu_cores: BTreeMap<&'static str, Spread>,
    pub run: Run,
    steps: Vec<Step>,
    highest_held_readings_per_s: Option<f64>,
    cpu_model: String,
    cores: usize,
    optimised: bool,
    method: &'static str,
}

impl Report {
    /// Of the main run and the steps, the first of which is the main run.
    pub fn new(main: Outcome, steps: Vec<Step>) -> Self {
        let spread = spreads(&main.intervals);
        let names = main
            .intervals
            .iter()
            .flat_map(|i| i.cpu_cores.keys().copied());
        let roles_cpu_cores = names
            .map(|name| {
                let of = |i: &Interval| i.cpu_cores.get(name).copied().unwrap_or(0.0);
                (name, Spread::of(main.intervals.iter().map(of)))
            })
            .collect();
        let median = |name: &str| spread.get(name).map_or(f64::NAN, |s| s.median);
        let worst = |f: &dyn Fn(&Interval) -> f64| main.intervals.iter().map(f).fold(0.0, f64::max);
        let limits = vec![
            bound(
                "readings_per_s",
                Some(540_000.0),
                None,
                median("accepted_per_s"),
            ),
            bound(
                "slice_close_to_status_p99_ms",
                Some(500.0),
                Some(250.0),
                worst(&|i| i.slice_close_to_status_ms.p99),
            ),
            bound(
                "event_to_status_p99_ms",
                Some(1_500.0),
                None,
                worst(&|i| i.event_to_status_ms.p99),
            ),
            bound(
                "cloud_cpu_cores",
                None,
                Some(0.5),
                median("cloud_cpu_cores"),
            ),
        ];
        let held = steps
            .iter()
            .filter(|s| s.held && s.lost == 0 && s.doubled == 0);
        Self {
            highest_held_readings_per_s: held.map(|s| s.accepted_per_s).reduce(f64::max),
            limits,
            spread,
            roles_cpu_cores,
            run: Run {
                turbines: main.turbines,
                measured_s: main.intervals.iter().map(|i| i.seconds).sum(),
                lost: main.expected.saturating_sub(main.found),
                doubled: main.found.saturating_sub(main.expected),
                evicted_readings: main.totals.evicted_readings,
                readings_in_the_lake: main.found,
                duplicate_records: main.duplicate_records,
                lake_caught_up_s: main.lake_s,
                intervals: main.intervals,
            },
            steps,
            cpu_model: cpu_model(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            optimised: !cfg!(debug_assertions),
            method: METHOD,
        }
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, spread: &Spread| {
            let Spread { median, min, max } = spread;
            // writing into a string does not fail
            writeln!(text, "{name:34} {median:12.2}   {min:.2} to {max:.2}").ok();
        };
        for (name, spread) in &self.spread {
            line(name, spread);
        }
        for (name, spread) in &self.roles_cpu_cores {
            line(&format!("cpu cores: {name}"), spread);
        }
        for step in &self.steps {
            writeln!(
                text,
                "{} turbines: {:.0} readings/s accepted, p99 {:.0} ms, {:.2} + {:.2} cores, {}",
                step.turbines,
                step.accepted_per_s,
                step.slice_close_to_status_p99_ms,
                step.cloud_cpu_cores,
                step.load_cpu_cores,
                if step.held { "held" } else { "not held" }
            )
            .ok();
        }
        let run = &self.run;
        writeln!(
            text,
            "{} readings in the lake, {} lost, {} doubled; {} with {} cores",
            run.readings_in_the_lake, run.lost, run.doubled, self.cpu_model, self.cores
        )
        .ok();
        text
    }
}

/// At most so much; where there is no limit, the goal decides whether it is met.
fn bound(name: &'static str, limit: Option<f64>, goal: Option<f64>, measured: f64) -> Bound {
    Bound {
        name,
        limit,
        goal,
        measured,
        met: limit.or(goal).is_some_and(|most| measured <= most),
    }
}

fn spreads(intervals: &[Interval]) -> BTreeMap<&'static str, Spread> {
    type Figure = fn(&Interval) -> f64;
    let figures: [(&'static str, Figure); 13] = [
        ("made_per_s", |i| i.made_per_s),
        ("accepted_per_s", |i| i.accepted_per_s),
        ("slice_close_to_status_p50_ms", |i| {
            i.slice_close_to_status_ms.p50
        }),
        ("slice_close_to_status_p99_ms", |i| {
            i.slice_close_to_status_ms.p99
        }),
        ("event_to_status_p50_ms", |i| i.event_to_status_ms.p50),
        ("event_to_status_p99_ms", |i| i.event_to_status_ms.p99),
        ("cloud_cpu_cores", |i| i.cloud_cpu_cores),
        ("load_cpu_cores", |i| i.load_cpu_cores),
        ("cloud_rss_mb", |i| i.cloud_rss_mb),
        ("cloud_anonymous_mb", |i| i.cloud_anonymous_mb),
        ("load_anonymous_mb", |i| i.load_anonymous_mb),
        ("written_mb_per_s", |i| i.written_mb_per_s),
        ("stored_bytes_per_reading", |i| i.stored_bytes_per_reading),
    ];
    figures
        .into_iter()
        .map(|(name, figure)| (name, Spread::of(intervals.iter().map(figure))))
        .collect()
}
