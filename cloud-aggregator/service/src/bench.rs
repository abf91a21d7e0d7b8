//! `windlass-cloud bench`: how much CPU a reading costs in the core, from its bytes in the log to the results.
//!
//! Method: the entries of some turbines and minutes are made first; then each stage runs alone over all of them on one
//! thread, and last the whole partition task. CPU time is the thread's own, from the kernel. Nothing is written anywhere.
#![allow(clippy::print_stdout)] // command-line output

pub mod load;

use std::fs;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use windlass_cloud_core::fleet::Fleet;
use windlass_cloud_core::task::{LogInput, Partition, TaskSettings};
use windlass_shared::catalogue::Catalogue;
use windlass_shared::coverage::Coverage;
use windlass_shared::id::{Epoch, GatewayId, TurbineId};
use windlass_shared::record::{Body, Record, RecordHash};
use windlass_shared::time::{EventTime, LogTime, SECOND_US, WallTime};
use windlass_shared::window::{WindowSettings, Windows};
use windlass_shared::wire::{self, Control, Logged, encode_control, encode_telemetry};

use load::Load;

/// The realistic profile.
const PROFILE: &str = include_str!("../../../hardware/profiles/onshore-3mw.toml");
const PROFILE_PATH: &str = "onshore-3mw.toml";
/// When the made-up readings begin.
const START: EventTime = EventTime(1_790_000_000 * SECOND_US);

/// How much to run.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// Turbines of 300 channels
    #[arg(long, default_value_t = 20)]
    pub turbines: u16,
    /// Minutes of readings
    #[arg(long, default_value_t = 15)]
    pub minutes: u32,
    /// Runs; the fastest counts
    #[arg(long, default_value_t = 3)]
    pub runs: u32,
}

/// What came out.
#[derive(Debug, Serialize)]
struct Report {
    cpu_ns_per_reading: f64,
    cpu_ns_per_reading_by_stage: Stages,
    readings: u64,
    records: u64,
    bytes_per_reading: f64,
    peak_rss_bytes: u64,
    state_bytes_per_turbine: u64,
    snapshot_ms: f64,
    clone_ms: f64,
    outputs: u64,
    output_bytes: u64,
    turbines: u16,
    minutes: u32,
    cpu: String,
    cores: usize,
    optimised: bool,
    method: &'static str,
}

const METHOD: &str = "fastest of the runs; thread CPU time (/proc/thread-self/schedstat) over readings; total: \
Partition::apply over the log entries of all turbines with a tick a second; decode, coverage and windows: the same entries \
through that stage alone; rest: total minus those (scoring, status, outputs)";

#[derive(Debug, Default, Serialize)]
struct Stages {
    decode: f64,
    coverage: f64,
    windows: f64,
    rest: f64,
}

struct Entry {
    time: WallTime,
    key: String,
    value: Vec<u8>,
}

/// The entries of one partition.
struct Work {
    fleet: Arc<Fleet>,
    catalogue: Arc<Catalogue>,
    turbines: Vec<TurbineId>,
    entries: Vec<Entry>,
    readings: u64,
    records: u64,
    payload_bytes: u64,
}

/// Runs it and prints.
pub fn print(args: &BenchArgs, json: bool) -> anyhow::Result<()> {
    let report = measure(args)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    let s = &report.cpu_ns_per_reading_by_stage;
    println!(
        "{} readings in {} records on {}",
        report.readings, report.records, report.cpu
    );
    println!(
        "CPU ns per reading: {:.1} (decode {:.1}, coverage {:.1}, windows {:.1}, rest {:.1})",
        report.cpu_ns_per_reading, s.decode, s.coverage, s.windows, s.rest
    );
    println!(
        "{:.2} bytes per reading; {} bytes of state per turbine; clone {:.1} ms, snapshot {:.1} ms; peak RSS {} MB",
        report.bytes_per_reading,
        report.state_bytes_per_turbine,
        report.clone_ms,
        report.snapshot_ms,
        report.peak_rss_bytes / 1_000_000
    );
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
    let work = work(args)?;
    let mut best = [f64::INFINITY; 4];
    let mut last = None;
    for _ in 0..args.runs.max(1) {
        let (records, decode) = timed(|| decode(&work))?;
        let ((), coverage) = timed(|| coverage(&work, &records))?;
        let ((), windows) = timed(|| windows(&work, &records))?;
        drop(records);
        let (result, total) = timed(|| task(&work))?;
        last = Some(result);
        // the window stage keeps a coverage of its own: it is measured with it and without
        let stages = [decode, coverage, windows - coverage, total];
        for (b, s) in best.iter_mut().zip(stages) {
            *b = b.min(s as f64);
        }
    }
    let result = last.context("nothing ran")?;
    let (copy, clone_ns) = timed(|| result.partition.clone())?;
    let (snapshot, snapshot_ns) = timed(|| copy.snapshot())?;
    let per = |ns: f64| ns / work.readings as f64;
    let [decode, coverage, windows, total] = best.map(per);
    Ok(Report {
        cpu_ns_per_reading: total,
        cpu_ns_per_reading_by_stage: Stages {
            decode,
            coverage,
            windows,
            rest: total - decode - coverage - windows,
        },
        readings: work.readings,
        records: work.records,
        bytes_per_reading: work.payload_bytes as f64 / work.readings as f64,
        peak_rss_bytes: peak_rss_bytes()?,
        state_bytes_per_turbine: snapshot.len() as u64 / u64::from(args.turbines.max(1)),
        snapshot_ms: snapshot_ns as f64 / 1e6,
        clone_ms: clone_ns as f64 / 1e6,
        outputs: result.outputs,
        output_bytes: result.output_bytes,
        turbines: args.turbines,
        minutes: args.minutes,
        cpu: cpu_model(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        optimised: !cfg!(debug_assertions),
        method: METHOD,
    })
}

fn work(args: &BenchArgs) -> anyhow::Result<Work> {
    let turbines = (1..=args.turbines)
        .map(|i| TurbineId::new(&format!("T{i:03}")))
        .collect::<Result<Vec<_>, _>>()?;
    let fleet = Arc::new(fleet(&turbines)?);
    let catalogue = Arc::new(profile()?);
    let gateway = GatewayId::new("GW1")?;
    let mut loads: Vec<Load> = turbines
        .iter()
        .map(|t| Load::new(Arc::clone(&catalogue), t.clone(), Epoch([7; 16]), START))
        .collect();
    let mut work = Work {
        fleet,
        catalogue,
        turbines,
        entries: Vec::new(),
        readings: 0,
        records: 0,
        payload_bytes: 0,
    };
    let tick = encode_control(&Control::Tick);
    for second in 0..i64::from(args.minutes) * 60 {
        let time = WallTime(START.0 + (second + 1) * SECOND_US);
        for load in &mut loads {
            let opened = (second == 0).then(|| load.open(None));
            for sent in opened.into_iter().chain(load.next_second()) {
                work.readings += sent.readings();
                work.records += 1;
                work.payload_bytes += sent.bytes.len() as u64;
                work.entries.push(Entry {
                    time,
                    key: sent.record.header.id.turbine.to_string(),
                    value: encode_telemetry(&gateway, &sent.bytes),
                });
            }
        }
        work.entries.push(Entry {
            time,
            key: String::new(),
            value: tick.clone(),
        });
    }
    Ok(work)
}

fn fleet(turbines: &[TurbineId]) -> anyhow::Result<Fleet> {
    let names: Vec<String> = turbines.iter().map(|t| format!("\"{t}\"")).collect();
    let text = format!(
        "profiles = [\"{PROFILE_PATH}\"]\n\
         [[farm]]\nid = \"bench\"\nname = \"Bench\"\ntimezone = \"UTC\"\n\
         [[gateway]]\nid = \"GW1\"\nfarm = \"bench\"\nturbines = [{}]\n",
        names.join(", ")
    );
    let profiles = [(PROFILE_PATH.to_owned(), PROFILE.to_owned())];
    Ok(Fleet::parse("bench", &text, &profiles)?)
}

type Decoded = Vec<(usize, Record, RecordHash)>;

fn decode(work: &Work) -> Decoded {
    let mut out = Vec::with_capacity(work.entries.len());
    for (i, entry) in work.entries.iter().enumerate() {
        if let Ok(Logged::Telemetry { record, .. }) = wire::decode_logged(&entry.value)
            && let Ok(decoded) = wire::decode(&record)
        {
            out.push((i, decoded, wire::hash(&record)));
        }
    }
    out
}

fn place(work: &Work, record: &Record) -> usize {
    let turbine = &record.header.id.turbine;
    work.turbines.binary_search(turbine).unwrap_or_default()
}

fn coverage(work: &Work, records: &Decoded) {
    let mut coverage = vec![Coverage::default(); work.turbines.len()];
    for (_, record, hash) in records {
        std::hint::black_box(coverage[place(work, record)].receive(record, hash));
    }
}

fn windows(work: &Work, records: &Decoded) {
    let settings = WindowSettings::default();
    let mut state = vec![(Coverage::default(), Windows::default()); work.turbines.len()];
    let mut out = Vec::new();
    for (i, record, hash) in records {
        let (coverage, windows) = &mut state[place(work, record)];
        let now = LogTime(work.entries[*i].time.0);
        coverage.receive(record, hash);
        if let Body::Batch(batch) = &record.body {
            let id = &record.header.id;
            windows.add(&work.catalogue, id.epoch, id.seq, batch, now);
        }
        windows.poll(&settings, &work.catalogue, coverage, now, &mut out);
        out.clear();
    }
}

struct TaskResult {
    partition: Partition,
    outputs: u64,
    output_bytes: u64,
}

fn task(work: &Work) -> TaskResult {
    let settings = Arc::new(TaskSettings::default());
    let mut partition = Partition::new(settings, Arc::clone(&work.fleet));
    let (mut out, mut outputs, mut output_bytes) = (Vec::new(), 0, 0);
    for (offset, entry) in work.entries.iter().enumerate() {
        let input = LogInput {
            offset: offset as u64,
            log_time: entry.time,
            writer: 1,
            key: &entry.key,
            value: &entry.value,
        };
        partition.apply(&input, &mut out);
        outputs += out.len() as u64;
        output_bytes += out.iter().map(|o| o.bytes.len() as u64).sum::<u64>();
        out.clear();
    }
    TaskResult {
        partition,
        outputs,
        output_bytes,
    }
}

/// CPU time of this thread, ns.
fn timed<T>(work: impl FnOnce() -> T) -> anyhow::Result<(T, u64)> {
    let before = thread_cpu_ns()?;
    let result = work();
    Ok((result, thread_cpu_ns()? - before))
}

fn thread_cpu_ns() -> anyhow::Result<u64> {
    let path = "/proc/thread-self/schedstat";
    let text = fs::read_to_string(path).context(path)?;
    let first = text.split_whitespace().next().context(path)?;
    first.parse().context(path)
}

fn peak_rss_bytes() -> anyhow::Result<u64> {
    let path = "/proc/self/status";
    let text = fs::read_to_string(path).context(path)?;
    let kb = text
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:"))
        .and_then(|l| l.split_whitespace().next())
        .context(path)?;
    Ok(kb.parse::<u64>().context(path)? * 1_024)
}

fn cpu_model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines()
        .find_map(|l| l.strip_prefix("model name")?.split_once(": "))
        .map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, m)| m.to_owned())
}
