//! `windlass-fleet bench-generate`: readings per second and core.
//!
//! Counted is the CPU time of the thread that generates, as the kernel accounts it, so that what else runs on the machine
//! does not count; only the model runs, nothing is written.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;
use windlass_fleet_model::{Fleet, Pace, Scenario};
use windlass_shared::catalogue;
use windlass_shared::time::{EventTime, SECOND_US};

/// 2026-01-01T00:00:00Z.
const BEGINS: EventTime = EventTime(1_767_225_600_000_000);

/// Less CPU time than this is no measurement: the kernel accounts it by ticks, seconds.
const CPU_MIN_S: f64 = 0.05;

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Turbines that take turns, second by second: their state is read from memory, as in a large fleet.
    #[arg(long, default_value_t = 200)]
    pub turbines: usize,
    /// Seconds of event time.
    #[arg(long, default_value_t = 300)]
    pub seconds: i64,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Figures {
    readings: u64,
    cpu_s: f64,
    readings_per_cpu_s: f64,
    turbines: usize,
    seconds: i64,
    channels: usize,
    method: &'static str,
    cpu: String,
    optimised: bool,
}

/// Measures and prints.
pub fn run(options: &Options) -> Result<bool> {
    let path: PathBuf = crate::spec::profiles().join("onshore-3mw.toml");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("could not read {}", path.display()))?;
    let profile = Arc::new(catalogue::parse(&path.display().to_string(), &text)?);
    let scenario = format!(
        "name = \"bench\"\nseed = 1\n[[farm]]\nid = \"B\"\nzone = \"UTC\"\nprofile = \"{}\"\nturbines = {}",
        profile.name, options.turbines
    );
    let scenario = Scenario::parse("bench", &scenario)?;
    let channels = profile.channels.len();
    let fleet = Fleet::new(&scenario, 1, &[profile], BEGINS, Pace::Second)?;
    let mut turbines: Vec<_> = (0..fleet.seats().len()).map(|s| fleet.turbine(s)).collect();
    let mut readings = 0;
    let mut check = 0_i64;
    let before = thread_cpu_s()?;
    for second in 0..options.seconds {
        for turbine in &mut turbines {
            let due = turbine.step(BEGINS.plus_us(second * SECOND_US));
            readings += due.raw.len() as u64;
            check = due
                .raw
                .iter()
                .fold(check, |sum, raw| sum.wrapping_add(*raw));
        }
    }
    let cpu_s = thread_cpu_s()? - before;
    std::hint::black_box(check);
    ensure!(
        cpu_s >= CPU_MIN_S,
        "{cpu_s:.3} s of CPU time are too few to measure, expected {CPU_MIN_S}: raise --seconds"
    );
    let figures = Figures {
        readings,
        cpu_s,
        readings_per_cpu_s: readings as f64 / cpu_s,
        turbines: options.turbines,
        seconds: options.seconds,
        channels,
        method: "one thread, its CPU time from /proc/thread-self/schedstat; every turbine each second; nothing written",
        cpu: cpu_model(),
        optimised: !cfg!(debug_assertions),
    };
    let mut terminal = std::io::stdout().lock();
    if options.json {
        writeln!(terminal, "{}", serde_json::to_string(&figures)?)?;
    } else {
        writeln!(
            terminal,
            "{:.1} million readings per second and core ({} readings in {cpu_s:.2} s of CPU time; {})",
            figures.readings_per_cpu_s / 1e6,
            figures.readings,
            figures.cpu
        )?;
    }
    Ok(true)
}

/// CPU time of this thread, seconds.
fn thread_cpu_s() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")
        .context("could not read this thread's CPU time; expected a Linux kernel with schedstat")?;
    let ns: u64 = text
        .split_whitespace()
        .next()
        .and_then(|n| n.parse().ok())
        .with_context(|| {
            format!(
                "/proc/thread-self/schedstat: found `{}`, expected nanoseconds first",
                text.trim()
            )
        })?;
    Ok(ns as f64 / 1e9)
}

fn cpu_model() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|l| l.starts_with("model name"));
    line.and_then(|l| l.split(": ").nth(1))
        .unwrap_or("unknown")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_is_too_short_is_no_measurement() {
        let options = Options {
            turbines: 1,
            seconds: 2,
            json: true,
        };
        let error = run(&options).unwrap_err().to_string();
        assert!(error.contains("raise --seconds"), "{error}");
        assert!(!cpu_model().is_empty());
    }
}
