//! What a turbine weighs in memory and in a snapshot, and how long a snapshot holds its partition up.

use std::hint::black_box;
use std::sync::Arc;

use serde::Serialize;
use windlass_cloud_core::bench::{Live, Stream, detectors_entry};
use windlass_cloud_core::fleet::Fleet;
use windlass_cloud_core::task::{LogInput, Partition, TaskOutput, TaskSettings};

use super::spread::Spread;
use super::system::{rss_bytes, timed};
use super::{BenchArgs, DETECTORS, SEED, fleet, profile};

pub(super) const METHOD: &str = "state: the greatest resident set (/proc/self/status) at the end of any second of a \
partition in live operation, less that before the partition began, over its turbines: what the allocator holds and does \
not return counts. Serialised: the longest snapshot at the end of any tenth second, of fewer turbines. Snapshot pause: CPU \
time of the copy that the task's thread makes, and of what the next second costs more because the copy shares its turbines";

/// Turbines of the partition that is serialised again and again.
const SERIALISED_TURBINES_MAX: u16 = 4;
/// Seconds between two looks at the snapshot's length.
const LOOK_EVERY_S: u32 = 10;
/// Seconds of a stream whose generation alone is over before memory is looked at.
const WARM_S: u32 = 20;
/// Snapshots taken.
const SNAPSHOTS: usize = 5;

/// What came out.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub state_bytes_per_turbine: u64,
    pub state_bytes_per_turbine_serialised: u64,
    state_turbines: u16,
    state_minutes: u32,
    pub snapshot_pause_ms: Spread,
    snapshot_copy_ms: Spread,
    snapshot_encode_ms: Spread,
}

/// A partition that is fed second by second.
struct Fed {
    live: Live,
    stream: Stream,
    partition: Partition,
    out: Vec<TaskOutput>,
}

impl Fed {
    fn new(fleet: &Arc<Fleet>) -> anyhow::Result<Self> {
        let live = Live::new(fleet, &Arc::new(profile()?), SEED);
        let mut partition = Partition::new(Arc::new(TaskSettings::default()), fleet.clone());
        let mut warm = (live.clone(), Stream::default());
        for _ in 0..WARM_S {
            warm.1.entries.clear();
            warm.0.next_second(&mut warm.1);
        }
        let mut out = Vec::new();
        let value = detectors_entry(DETECTORS);
        if let Some(first) = warm.1.inputs().next() {
            let (log_time, value) = (windlass_shared::time::WallTime(0), &value[..]);
            let entry = LogInput {
                log_time,
                value,
                key: "",
                ..first
            };
            partition.apply(&entry, &mut out);
        }
        out.clear();
        warm.1.entries.clear();
        Ok(Self {
            live,
            stream: warm.1,
            partition,
            out,
        })
    }

    /// Makes the next second's entries.
    fn prepare(&mut self) {
        self.stream.entries.clear();
        self.live.next_second(&mut self.stream);
    }

    /// Applies them.
    fn apply(&mut self) {
        for input in self.stream.inputs_from(self.partition.position()) {
            self.partition.apply(&input, &mut self.out);
            self.out.clear();
        }
    }
}

pub(super) fn measure(args: &BenchArgs) -> anyhow::Result<Figures> {
    let turbines = args.state_turbines.max(1);
    let seconds = args.state_minutes.max(1) * 60;
    let mut fed = Fed::new(&fleet(turbines)?)?;
    let before = rss_bytes()?;
    let mut most = before;
    for _ in 0..seconds {
        fed.prepare();
        fed.apply();
        most = most.max(rss_bytes()?);
    }
    let (mut copies, mut pauses, mut encodes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..SNAPSHOTS {
        fed.prepare();
        let ((), alone) = timed(|| fed.apply())?;
        let (copy, copy_ns) = timed(|| fed.partition.clone())?;
        fed.prepare();
        let ((), shared) = timed(|| fed.apply())?;
        let (bytes, encode_ns) = timed(|| copy.snapshot())?;
        black_box(bytes);
        copies.push(copy_ns as f64 / 1e6);
        pauses.push((copy_ns + shared.saturating_sub(alone)) as f64 / 1e6);
        encodes.push(encode_ns as f64 / 1e6);
    }
    drop(fed);
    Ok(Figures {
        state_bytes_per_turbine: (most - before) / u64::from(turbines),
        state_bytes_per_turbine_serialised: serialised(
            turbines.min(SERIALISED_TURBINES_MAX),
            seconds,
        )?,
        state_turbines: turbines,
        state_minutes: args.state_minutes.max(1),
        snapshot_pause_ms: Spread::of(pauses),
        snapshot_copy_ms: Spread::of(copies),
        snapshot_encode_ms: Spread::of(encodes),
    })
}

fn serialised(turbines: u16, seconds: u32) -> anyhow::Result<u64> {
    let mut fed = Fed::new(&fleet(turbines)?)?;
    let mut longest = 0;
    for second in 1..=seconds {
        fed.prepare();
        fed.apply();
        if second % LOOK_EVERY_S == 0 {
            longest = longest.max(fed.partition.snapshot().len());
        }
    }
    Ok(longest as u64 / u64::from(turbines))
}
