//! `windlass-cloud bench`: what a reading costs in the core, what a turbine weighs, and how soon a start shows results.
//!
//! Method: `docs/performance.md`, and in short in the report. Limits are quoted beside what was measured; nothing is
//! asserted, because a figure depends on the machine.
#![allow(clippy::print_stdout)] // command-line output

mod cpu;
pub mod load;
mod spread;
mod start;
mod state;
mod system;

use std::sync::Arc;

use clap::Args;
use serde::Serialize;
use windlass_cloud_core::fleet::Fleet;
use windlass_shared::catalogue::Catalogue;
use windlass_shared::id::TurbineId;

use spread::Spread;

/// The realistic profile.
const PROFILE: &str = include_str!("../../../hardware/profiles/onshore-3mw.toml");
const PROFILE_PATH: &str = "onshore-3mw.toml";
/// The detectors that come with the product.
const DETECTORS: &str = include_str!("../../detectors.example.toml");

/// The same values for every run.
const SEED: u64 = 1;

/// How much to run.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// Turbines of 300 channels that share the CPU measurement
    #[arg(long, default_value_t = 20)]
    pub turbines: u16,
    /// Minutes of their readings
    #[arg(long, default_value_t = 15)]
    pub minutes: u32,
    /// Runs of each stage
    #[arg(long, default_value_t = 5)]
    pub runs: u32,
    /// Turbines of the partition whose memory and snapshot are measured
    #[arg(long, default_value_t = 100)]
    pub state_turbines: u16,
    /// Minutes of their readings: two of the longest window's ends are in 21
    #[arg(long, default_value_t = 21)]
    pub state_minutes: u32,
    /// How often a real process is started on a log that has entries
    #[arg(long, default_value_t = 5)]
    pub starts: u32,
}

/// What came out.
#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    cpu: cpu::Figures,
    #[serde(flatten)]
    state: state::Figures,
    #[serde(flatten)]
    start: start::Figures,
    peak_rss_bytes: u64,
    limits: Vec<Bound>,
    cpu_model: String,
    cores: usize,
    optimised: bool,
    method: [&'static str; 4],
}

/// A limit of the project and what was measured against it.
#[derive(Debug, Serialize)]
struct Bound {
    name: &'static str,
    limit: f64,
    measured: f64,
    met: bool,
}

/// Runs it and prints.
pub fn print(args: &BenchArgs, json: bool) -> anyhow::Result<()> {
    let report = measure(args)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    println!("{}, {} cores", report.cpu_model, report.cores);
    for limit in &report.limits {
        let met = if limit.met { "met" } else { "NOT MET" };
        println!(
            "{}: {:.1}, limit {:.1}: {met}",
            limit.name, limit.measured, limit.limit
        );
    }
    if !report.optimised {
        println!("built with debug assertions: use a release build for figures");
    }
    Ok(())
}

/// The realistic profile.
pub fn profile() -> anyhow::Result<Catalogue> {
    Ok(windlass_shared::catalogue::parse(PROFILE_PATH, PROFILE)?)
}

fn measure(args: &BenchArgs) -> anyhow::Result<Report> {
    // first of all: later on the allocator has memory to give that the system does not see
    let state = state::measure(args)?;
    let start = start::measure(args)?;
    let cpu = cpu::measure(args)?;
    let limits = limits(&cpu, &state, &start);
    Ok(Report {
        cpu,
        state,
        start,
        peak_rss_bytes: system::peak_rss_bytes()?,
        limits,
        cpu_model: system::cpu_model(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        optimised: !cfg!(debug_assertions),
        method: [cpu::METHOD, state::METHOD, start::METHOD, Spread::METHOD],
    })
}

fn limits(cpu: &cpu::Figures, state: &state::Figures, start: &start::Figures) -> Vec<Bound> {
    let limit = |name, limit, measured| Bound {
        name,
        limit,
        measured,
        met: measured <= limit,
    };
    vec![
        limit(
            "cpu_ns_per_reading, decode to scoring",
            25.0,
            cpu.cpu_ns_per_reading,
        ),
        limit(
            "state_bytes_per_turbine, in memory",
            150_000.0,
            state.state_bytes_per_turbine as f64,
        ),
        limit(
            "state_bytes_per_turbine_serialised",
            150_000.0,
            state.state_bytes_per_turbine_serialised as f64,
        ),
        limit(
            "snapshot_pause_ms, with the copies that follow",
            20.0,
            state.snapshot_pause_ms.median,
        ),
        limit(
            "start_to_first_result_ms",
            1_000.0,
            start.start_to_first_result_ms.median,
        ),
    ]
}

/// A farm of one gateway with so many turbines.
fn fleet(turbines: u16) -> anyhow::Result<Arc<Fleet>> {
    let profiles = [(PROFILE_PATH.to_owned(), PROFILE.to_owned())];
    Ok(Arc::new(Fleet::parse(
        "bench",
        &fleet_file(turbines)?,
        &profiles,
    )?))
}

fn fleet_file(turbines: u16) -> anyhow::Result<String> {
    let names: Vec<String> = turbine_ids(turbines)?
        .iter()
        .map(|t| format!("\"{t}\""))
        .collect();
    Ok(format!(
        "profiles = [\"{PROFILE_PATH}\"]\n\
         [[farm]]\nid = \"bench\"\nname = \"Bench\"\ntimezone = \"UTC\"\n\
         [[gateway]]\nid = \"GW1\"\nfarm = \"bench\"\nturbines = [{}]\n",
        names.join(", ")
    ))
}

fn turbine_ids(turbines: u16) -> anyhow::Result<Vec<TurbineId>> {
    let id = |i| Ok(TurbineId::new(&format!("T{i:03}"))?);
    (1..=turbines).map(id).collect()
}
