//! A realistic stream of a fleet's records, and the stages of the task over it one by one, for benchmarks and tests.
//!
//! The stages are plain functions without a clock: whoever calls them measures. Each stage does everything that the one
//! before does, in the same order as the task, so a stage's own cost is the difference.

use std::sync::Arc;

use windlass_shared::catalogue::{Catalogue, Channel, RateGroup};
use windlass_shared::id::Epoch;
use windlass_shared::record::{Body, Record};
use windlass_shared::time::{EventTime, SECOND_US, WallTime};
use windlass_shared::wire;

use crate::fleet::Fleet;
use crate::task::{LogInput, Partition, TaskSettings};

mod feed;
mod naive;
mod stages;

pub use feed::{Feed, noise, realistic};
pub use naive::{InRows, naive};
pub use stages::Stage;

/// From the end of a slice to its append, microseconds.
const DELAY_US: i64 = 150_000;
/// When a stream begins.
const BEGIN: EventTime = EventTime(1_760_000_000 * SECOND_US);

/// One entry of a stream.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Append time.
    pub log_time: WallTime,
    /// The turbine.
    pub key: String,
    /// `Logged`.
    pub value: Vec<u8>,
}

/// A stream of one partition.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// In log order; the offset is the index.
    pub entries: Vec<Entry>,
    /// Readings in it.
    pub readings: u64,
    /// Records in it.
    pub records: u64,
    /// Bytes of its records.
    pub record_bytes: u64,
}

/// All turbines of a fleet in live operation, second by second.
#[derive(Clone, Debug)]
pub struct Live {
    feeds: Vec<Feed>,
    seed: u64,
    second: i64,
}

impl Live {
    /// Before the first second.
    pub fn new(fleet: &Fleet, catalogue: &Arc<Catalogue>, seed: u64) -> Self {
        let feed = |gateway: &_, id: &_| {
            Feed::new(Clone::clone(gateway), Clone::clone(id), catalogue.clone())
        };
        Self {
            feeds: fleet
                .turbines()
                .map(|(id, b)| feed(&b.gateway, id))
                .collect(),
            seed,
            second: 0,
        }
    }

    /// Appends the next second: in the first one the Opens, then slices as they close, then a tick.
    pub fn next_second(&mut self, stream: &mut Stream) {
        let start = BEGIN.plus_us(self.second * SECOND_US);
        let end = start.plus_us(SECOND_US);
        let now = WallTime(end.0 + DELAY_US);
        for (i, feed) in self.feeds.iter_mut().enumerate() {
            if self.second == 0 {
                let mut epoch = [7; 16];
                epoch[..8].copy_from_slice(&(i as u64).to_be_bytes());
                let open = feed.open(Epoch(epoch), BEGIN);
                stream.push(feed, &open, WallTime(BEGIN.0));
            }
            let seed = self.seed ^ i as u64;
            let raw = |c: &Channel, t| realistic(seed, c, t);
            // the slow slice is open until the tenth second, so the frontier waits for it
            let slow = end.0.rem_euclid(10 * SECOND_US) == 0;
            let frontier = end.floor_to(10 * SECOND_US);
            if slow {
                let start = end.plus_us(-10 * SECOND_US);
                for batch in feed.slice(RateGroup::Slow, start, 10 * SECOND_US, raw) {
                    let record = feed.record(Body::Batch(batch), start);
                    stream.push(feed, &record, now);
                }
            }
            for batch in feed.slice(RateGroup::Fast, start, SECOND_US, raw) {
                let record = feed.record(Body::Batch(batch), frontier);
                stream.push(feed, &record, now);
            }
        }
        stream.entries.push(Entry {
            log_time: now,
            key: String::new(),
            value: wire::encode_control(&wire::Control::Tick),
        });
        self.second += 1;
    }
}

impl Stream {
    /// All turbines of the fleet with one catalogue, `seconds` of live operation in order, with Opens and ticks.
    pub fn build(fleet: &Fleet, catalogue: &Arc<Catalogue>, seconds: i64, seed: u64) -> Self {
        let mut stream = Self::default();
        let mut live = Live::new(fleet, catalogue, seed);
        for _ in 0..seconds {
            live.next_second(&mut stream);
        }
        stream
    }

    fn push(&mut self, feed: &Feed, record: &Record, log_time: WallTime) {
        let bytes = wire::encode(record);
        self.readings += crate::ingest::readings_of(record);
        self.records += 1;
        self.record_bytes += bytes.len() as u64;
        self.entries.push(Entry {
            log_time,
            key: feed.turbine.to_string(),
            value: wire::encode_telemetry(&feed.gateway, &bytes),
        });
    }

    /// The entries as the log gives them.
    pub fn inputs(&self) -> impl Iterator<Item = LogInput<'_>> {
        self.inputs_from(0)
    }

    /// The same where the first entry has this offset.
    pub fn inputs_from(&self, offset: u64) -> impl Iterator<Item = LogInput<'_>> {
        self.entries
            .iter()
            .zip(offset..)
            .map(|(e, offset)| LogInput {
                offset,
                log_time: e.log_time,
                writer: 1,
                key: &e.key,
                value: &e.value,
            })
    }

    /// The whole task, outputs included. `detectors` is the text of a `detectors.toml`. Returns the partition and how
    /// many outputs it made.
    pub fn task(
        &self,
        settings: &Arc<TaskSettings>,
        fleet: &Arc<Fleet>,
        detectors: Option<&str>,
    ) -> (Partition, u64) {
        let mut partition = Partition::new(settings.clone(), fleet.clone());
        let (mut out, mut outputs) = (Vec::new(), 0);
        if let (Some(toml), Some(first)) = (detectors, self.inputs().next()) {
            let value = detectors_entry(toml);
            let value = &value;
            partition.apply(&LogInput { value, ..first }, &mut out);
        }
        for input in self.inputs_from(partition.position()) {
            partition.apply(&input, &mut out);
            outputs += out.len() as u64;
            out.clear();
        }
        (partition, outputs)
    }
}

/// The log entry that brings a `detectors.toml` into force.
pub fn detectors_entry(toml: &str) -> Vec<u8> {
    wire::encode_control(&wire::Control::DetectorConfig {
        version: 1,
        toml: toml.to_owned(),
    })
}
