//! What an agent costs: memory, CPU, bytes on the uplink and on the disk, by the kernel's own figures.
//!
//! A real agent with one simulated turbine of 300 channels at 1 Hz sends to the broker in a real aggregator. Limits are
//! quoted beside what was measured; nothing is asserted, because a figure depends on the machine.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::clock::{self, Stopwatch};
use crate::ledger::status;
use crate::rig::{BrokerKind, Rig};
use crate::spec::{Cloud, Gateway, Turbine};

/// The turbine.
const PROFILE: &str = "onshore-3mw";
/// Intervals that a run is divided into, for the spread.
const INTERVALS: u32 = 4;
/// Slow channels are sent this often: what is measured is whole multiples of it, if it is that long.
const SLOW_S: f64 = 10.0;
/// How long the agent runs before it is measured, seconds: its first slow slices are out.
const WARM_S: f64 = 20.0;
/// A run this short, minutes, is not measured but tried.
const TRIAL_MINUTES: f64 = 1.0;
const DAY_S: f64 = 86_400.0;
/// Ticks of `/proc/PID/stat` in a second: 100 on every Linux ABI.
const TICKS_PER_S: f64 = 100.0;

const METHOD: &str = "one windlass-edge, one simulated turbine, the aggregator's embedded broker, no TLS. rss: VmHWM of \
/proc/PID/status at the end. cpu: utime + stime of /proc/PID/stat over the interval. uplink: TCP payload that a relay \
between agent and broker counted towards the broker, so MQTT with topics, identities and keep-alive but not the headers of \
TCP and IP, over the readings of the records that were committed meanwhile. flash: write_bytes of /proc/PID/io, and the \
growth of the database file, which the next checkpoint writes once more, over the time, times a day. spread: median, least \
and greatest of the intervals; where a figure is one number it is that of the whole time";

/// What came out.
#[derive(Debug, Serialize)]
struct Report {
    rss_bytes: u64,
    cpu_percent_of_core: f64,
    uplink_bytes_per_reading: f64,
    flash_bytes_per_day: f64,
    spread: Spreads,
    downlink_bytes_per_reading: f64,
    readings: u64,
    records: u64,
    readings_per_s: f64,
    measured_s: f64,
    intervals: u32,
    limits: Vec<Bound>,
    cpu_model: String,
    cores: usize,
    optimised: bool,
    method: &'static str,
}

#[derive(Debug, Serialize)]
struct Spreads {
    cpu_percent_of_core: Spread,
    uplink_bytes_per_reading: Spread,
    flash_bytes_per_day: Spread,
}

/// Median and extremes.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(crate) struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

/// A limit of the project, what would be good, and what was measured.
#[derive(Debug, Serialize)]
struct Bound {
    name: &'static str,
    limit: f64,
    goal: Option<f64>,
    measured: f64,
    met: bool,
}

/// Counters at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Look {
    at_s: f64,
    cpu_ticks: u64,
    written: u64,
    database: u64,
    up: u64,
    down: u64,
    readings: u64,
    records: u64,
}

/// Measures for `minutes` and prints JSON.
pub fn run(minutes: f64) -> Result<bool> {
    ensure!(
        minutes > 0.0,
        "found --minutes {minutes}, expected more than 0"
    );
    let report = measure(minutes)?;
    let mut terminal = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut terminal, &report)?;
    writeln!(terminal)?;
    Ok(true)
}

fn measure(minutes: f64) -> Result<Report> {
    let gateway = Gateway::new("GW1", "bench", vec![Turbine::new("T01", PROFILE)]);
    let gateways = vec![gateway.with_simulators(1)];
    let mut rig = Rig::new(gateways, &Cloud::default(), BrokerKind::Embedded)?;
    rig.start()?;
    rig.all_seen()?;
    let watch = Stopwatch::start();
    let mut interval_s = minutes * 60.0 / f64::from(INTERVALS);
    if minutes >= TRIAL_MINUTES {
        interval_s = (interval_s / SLOW_S).round().max(1.0) * SLOW_S;
        wait(&mut rig, &watch, WARM_S)?;
    }
    let mut looks = vec![look(&rig, &watch)?];
    let begun_s = looks[0].at_s;
    for i in 1..=INTERVALS {
        wait(&mut rig, &watch, begun_s + f64::from(i) * interval_s)?;
        looks.push(look(&rig, &watch)?);
    }
    let process = rig.gateways[0].process_id().context("the agent runs")?;
    let rss_bytes = field(&proc_file(process, "status")?, "VmHWM:")? * 1_024;
    rig.stop_gateway(0)?;
    rig.stop_cloud()?;
    report(rss_bytes, &looks)
}

/// Lets it run until so long after the start.
fn wait(rig: &mut Rig, watch: &Stopwatch, until_s: f64) -> Result<()> {
    let what = format!("{until_s:.0} s are over");
    let bound = Duration::from_secs_f64(until_s + 60.0);
    clock::until(&what, bound, || {
        rig.check()?;
        Ok((watch.elapsed().as_secs_f64() >= until_s).then_some(()))
    })
}

fn look(rig: &Rig, watch: &Stopwatch) -> Result<Look> {
    let gateway = &rig.gateways[0];
    let process = gateway.process_id().context("the agent does not run")?;
    let (up, down) = rig.links[&gateway.spec.farm].bytes();
    let database = status::open(&gateway.outbox())?;
    let (records, readings): (i64, i64) = database.query_row(
        "SELECT count(*), coalesce(sum(readings), 0) FROM record",
        [],
        |r| Ok((r.get(0)?, r.get(1)?)),
    )?;
    let pages: i64 = database.pragma_query_value(None, "page_count", |r| r.get(0))?;
    let page: i64 = database.pragma_query_value(None, "page_size", |r| r.get(0))?;
    Ok(Look {
        at_s: watch.elapsed().as_secs_f64(),
        cpu_ticks: cpu_ticks(&proc_file(process, "stat")?)?,
        written: field(&proc_file(process, "io")?, "write_bytes:")?,
        database: (pages * page) as u64,
        up,
        down,
        readings: readings as u64,
        records: records as u64,
    })
}

pub(crate) fn proc_file(process: u32, name: &str) -> Result<String> {
    let path = format!("/proc/{process}/{name}");
    std::fs::read_to_string(&path).with_context(|| path)
}

/// The number after `name` at the beginning of a line.
pub(crate) fn field(text: &str, name: &str) -> Result<u64> {
    let line = text.lines().find_map(|l| l.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number
        .and_then(|n| n.parse().ok())
        .with_context(|| format!("no number after {name} in what the kernel says of the process"))
}

/// Fields 14 and 15 of `/proc/PID/stat`; the second one is the program's name in brackets and may hold spaces.
pub(crate) fn cpu_ticks(stat: &str) -> Result<u64> {
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields = after_name.split_whitespace().skip(11).take(2);
    let ticks: Vec<u64> = fields.map(str::parse).collect::<Result<_, _>>()?;
    ensure!(ticks.len() == 2, "/proc/PID/stat is too short: {stat}");
    Ok(ticks[0] + ticks[1])
}

fn report(rss_bytes: u64, looks: &[Look]) -> Result<Report> {
    let (first, last) = (looks[0], looks[looks.len() - 1]);
    let readings = last.readings - first.readings;
    ensure!(readings > 0, "no reading was committed meanwhile");
    let pairs = || looks.windows(2).map(|w| (w[0], w[1]));
    let whole = |f: &dyn Fn(Look, Look) -> f64| f(first, last);
    let measured = [
        ("rss_bytes", 30e6, None, rss_bytes as f64),
        ("cpu_percent_of_core", 5.0, None, whole(&cpu_percent)),
        ("uplink_bytes_per_reading", 1.8, Some(1.3), whole(&uplink)),
        ("flash_bytes_per_day", 1.2e9, Some(0.5e9), whole(&flash)),
    ];
    Ok(Report {
        rss_bytes,
        cpu_percent_of_core: whole(&cpu_percent),
        uplink_bytes_per_reading: whole(&uplink),
        flash_bytes_per_day: whole(&flash),
        spread: Spreads {
            cpu_percent_of_core: Spread::of(pairs().map(|(a, b)| cpu_percent(a, b))),
            uplink_bytes_per_reading: Spread::of(pairs().map(|(a, b)| uplink(a, b))),
            flash_bytes_per_day: Spread::of(pairs().map(|(a, b)| flash(a, b))),
        },
        downlink_bytes_per_reading: (last.down - first.down) as f64 / readings as f64,
        readings,
        records: last.records - first.records,
        readings_per_s: readings as f64 / (last.at_s - first.at_s),
        measured_s: last.at_s - first.at_s,
        intervals: looks.len() as u32 - 1,
        limits: measured
            .map(|(name, limit, goal, measured)| Bound {
                name,
                limit,
                goal,
                measured,
                // a file system in memory writes nothing, and proves nothing
                met: measured > 0.0 && measured <= limit,
            })
            .into(),
        cpu_model: cpu_model(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        optimised: !cfg!(debug_assertions),
        method: METHOD,
    })
}

fn cpu_percent(a: Look, b: Look) -> f64 {
    (b.cpu_ticks - a.cpu_ticks) as f64 / TICKS_PER_S / (b.at_s - a.at_s) * 100.0
}

fn uplink(a: Look, b: Look) -> f64 {
    (b.up - a.up) as f64 / (b.readings - a.readings).max(1) as f64
}

fn flash(a: Look, b: Look) -> f64 {
    let bytes = (b.written - a.written) + b.database.saturating_sub(a.database);
    bytes as f64 / (b.at_s - a.at_s) * DAY_S
}

impl Spread {
    /// Of at least one value.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let n = values.len();
        Self {
            median: f64::midpoint(values[(n - 1) / 2], values[n / 2]),
            min: values[0],
            max: values[n - 1],
        }
    }
}

pub(crate) fn cpu_model() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines()
        .find_map(|l| l.strip_prefix("model name")?.split_once(": "))
        .map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, m)| m.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_differences_over_readings_and_time() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 1 2 3 4 7 5 0 0 20 0 3 0 99";
        assert_eq!(cpu_ticks(stat).unwrap(), 12);
        assert!(cpu_ticks("42 (a) S 1").is_err());
        assert_eq!(
            field("VmRSS: 3 kB\nVmHWM:\t 25 kB\n", "VmHWM:").unwrap(),
            25
        );
        assert!(field("VmRSS: 3 kB\n", "VmHWM:").is_err());
        let look = |s: u64| Look {
            at_s: s as f64,
            cpu_ticks: 3 * s,
            written: 5_000 * s,
            database: 500 * s,
            up: 390 * s,
            down: 30 * s,
            readings: 300 * s,
            records: 2 * s,
        };
        let report = report(9_000_000, &[look(10), look(20), look(40)]).unwrap();
        let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 1e-12;
        assert!(near(report.cpu_percent_of_core, 3.0));
        assert!(near(report.uplink_bytes_per_reading, 1.3));
        assert!(near(report.flash_bytes_per_day, 5_500.0 * DAY_S));
        assert_eq!((report.readings, report.records), (9_000, 60));
        assert_eq!(report.intervals, 2);
        assert!(report.limits.iter().all(|l| l.met));
        assert!(super::report(1, &[look(1), look(1)]).is_err());
    }
}
