//! CPU time of a reading, in total and by stage, and of a simple aggregation of the same readings.

use std::hint::black_box;
use std::sync::Arc;

use serde::Serialize;
use windlass_cloud_core::bench::{Stage, Stream, naive};
use windlass_cloud_core::detect::Detectors;
use windlass_cloud_core::task::TaskSettings;

use super::spread::Spread;
use super::system::timed;
use super::{BenchArgs, DETECTORS, SEED, fleet, profile};

pub(super) const METHOD: &str = "cpu: one thread's own CPU time (/proc/thread-self/schedstat) over readings. Each stage \
runs with all before it over the same log entries of all turbines and minutes, and its cost is the difference to the run \
without it; cpu_ns_per_reading is decode to scoring; outputs is the whole task (Partition::apply, a tick a second, the \
example's detectors) without those: status, feature rows, hash chain. baseline: the same readings, already decoded to rows, \
a HashSet of records and a HashMap of count, sum, sum of squares, min and max by turbine, channel and minute";

/// What came out.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub cpu_ns_per_reading: f64,
    cpu_ns_per_reading_by_stage: Stages<f64>,
    cpu_ns_per_reading_outputs: f64,
    cpu_ns_per_reading_whole_task: f64,
    cpu_ns_per_reading_spread: AllSpreads,
    baseline_cpu_ns_per_reading: Spread,
    /// How many times as much the simple aggregation costs as decode to scoring.
    baseline_ratio: f64,
    runs: u32,
    turbines: u16,
    minutes: u32,
    readings: u64,
    records: u64,
    bytes_per_reading: f64,
    outputs: u64,
}

#[derive(Debug, Serialize)]
struct AllSpreads {
    decode_to_scoring: Spread,
    #[serde(flatten)]
    stages: Stages<Spread>,
    outputs: Spread,
    whole_task: Spread,
}

#[derive(Debug, Serialize)]
struct Stages<T> {
    decode: T,
    dedupe_coverage: T,
    panes: T,
    windows: T,
    scoring: T,
}

/// CPU ns per reading of one run, each up to and with its stage.
struct Run {
    upto: [f64; Stage::ALL.len()],
    task: f64,
    baseline: f64,
}

impl Run {
    fn stage(&self, i: usize) -> f64 {
        self.upto[i] - if i > 0 { self.upto[i - 1] } else { 0.0 }
    }
    fn scored(&self) -> f64 {
        self.upto[Stage::ALL.len() - 1]
    }
}

pub(super) fn measure(args: &BenchArgs) -> anyhow::Result<Figures> {
    let fleet = fleet(args.turbines.max(1))?;
    let catalogue = Arc::new(profile()?);
    let seconds = i64::from(args.minutes.max(1)) * 60;
    let stream = Stream::build(&fleet, &catalogue, seconds, SEED);
    let detectors = Arc::new(Detectors::parse("detectors.example.toml", DETECTORS)?);
    let settings = Arc::new(TaskSettings::default());
    let rows = stream.rows();
    let per = |ns: u64| ns as f64 / stream.readings as f64;
    let mut runs = Vec::new();
    let mut outputs = 0;
    for _ in 0..args.runs.max(1) {
        let mut upto = [0.0; Stage::ALL.len()];
        for (stage, upto) in Stage::ALL.into_iter().zip(&mut upto) {
            let (made, ns) = timed(|| stream.pass(stage, &fleet, &detectors))?;
            anyhow::ensure!(
                made.readings == stream.readings,
                "{stage:?} saw {} readings, expected {}",
                made.readings,
                stream.readings
            );
            *upto = per(ns);
        }
        let (result, ns) = timed(|| stream.task(&settings, &fleet, Some(DETECTORS)))?;
        let (minutes, baseline) = timed(|| naive(&rows))?;
        black_box(minutes);
        outputs = result.1;
        runs.push(Run {
            upto,
            task: per(ns),
            baseline: per(baseline),
        });
    }
    let spread = |f: &dyn Fn(&Run) -> f64| Spread::of(runs.iter().map(f));
    let stage = |i| spread(&|r| r.stage(i));
    let spreads = AllSpreads {
        decode_to_scoring: spread(&Run::scored),
        stages: Stages {
            decode: stage(0),
            dedupe_coverage: stage(1),
            panes: stage(2),
            windows: stage(3),
            scoring: stage(4),
        },
        outputs: spread(&|r| r.task - r.scored()),
        whole_task: spread(&|r| r.task),
    };
    let s = &spreads.stages;
    Ok(Figures {
        cpu_ns_per_reading: spreads.decode_to_scoring.median,
        cpu_ns_per_reading_by_stage: Stages {
            decode: s.decode.median,
            dedupe_coverage: s.dedupe_coverage.median,
            panes: s.panes.median,
            windows: s.windows.median,
            scoring: s.scoring.median,
        },
        cpu_ns_per_reading_outputs: spreads.outputs.median,
        cpu_ns_per_reading_whole_task: spreads.whole_task.median,
        cpu_ns_per_reading_spread: spreads,
        baseline_cpu_ns_per_reading: spread(&|r| r.baseline),
        baseline_ratio: spread(&|r| r.baseline / r.scored()).median,
        runs: args.runs.max(1),
        turbines: args.turbines.max(1),
        minutes: args.minutes.max(1),
        readings: stream.readings,
        records: stream.records,
        bytes_per_reading: stream.record_bytes as f64 / stream.readings as f64,
        outputs,
    })
}
