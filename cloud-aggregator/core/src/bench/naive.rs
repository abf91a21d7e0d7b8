//! The same readings aggregated in the obvious way, as a yardstick: minutes only, no stamps, no windows, no detectors.

use std::collections::{HashMap, HashSet};

use windlass_shared::id::RecordId;
use windlass_shared::record::Body;
use windlass_shared::time::MINUTE_US;
use windlass_shared::wire::{self, Logged};

use super::Stream;

/// The readings of a record as rows, as another decoder would have left them in memory.
#[derive(Clone, Debug)]
pub struct InRows {
    id: RecordId,
    turbine: u16,
    rows: Vec<Row>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    channel: u16,
    time_us: i64,
    raw: i64,
}

/// What a channel's minute adds up to.
#[derive(Clone, Copy, Debug)]
struct Sums {
    n: u64,
    sum: i128,
    sum_sq: i128,
    min: i64,
    max: i64,
}

impl Stream {
    /// All readings as rows.
    pub fn rows(&self) -> Vec<InRows> {
        let mut turbines: Vec<&str> = Vec::new();
        let mut all = Vec::new();
        for input in self.inputs() {
            let Ok(Logged::Telemetry { record, .. }) = wire::decode_logged(input.value) else {
                continue;
            };
            let known = turbines.iter().position(|t| *t == input.key);
            let turbine = known.unwrap_or_else(|| {
                turbines.push(input.key);
                turbines.len() - 1
            });
            let Ok(record) = wire::decode(&record) else {
                continue;
            };
            let Body::Batch(batch) = &record.body else {
                continue;
            };
            let rows = batch.blocks.iter().flat_map(|block| {
                block.columns.iter().flat_map(move |column| {
                    (0..block.times.len()).map(move |row| Row {
                        channel: column.channel.0,
                        time_us: block.times.at(row).0,
                        raw: batch.raw[column.at as usize + row],
                    })
                })
            });
            all.push(InRows {
                rows: rows.collect(),
                id: record.header.id,
                turbine: turbine as u16,
            });
        }
        all
    }
}

/// A set of the records that came, and a map of what each channel's minute adds up to. Returns the size of the map.
pub fn naive(records: &[InRows]) -> usize {
    let mut seen: HashSet<&RecordId> = HashSet::new();
    let mut minutes: HashMap<(u16, u16, i64), Sums> = HashMap::new();
    for record in records {
        if !seen.insert(&record.id) {
            continue;
        }
        for row in &record.rows {
            let key = (
                record.turbine,
                row.channel,
                row.time_us.div_euclid(MINUTE_US),
            );
            let sums = minutes.entry(key).or_insert(Sums {
                n: 0,
                sum: 0,
                sum_sq: 0,
                min: i64::MAX,
                max: i64::MIN,
            });
            sums.n += 1;
            sums.sum += i128::from(row.raw);
            sums.sum_sq += i128::from(row.raw) * i128::from(row.raw);
            sums.min = sums.min.min(row.raw);
            sums.max = sums.max.max(row.raw);
        }
    }
    minutes.len()
}
