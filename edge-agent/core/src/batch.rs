//! Readings of one slice become the columns of one batch.
//!
//! Invariant: every sample stands in the batch exactly once, in the order of its channel's samples; channels that share
//! times and flags share a block.

use std::collections::BTreeMap;

use windlass_shared::catalogue::{CatalogueHash, Channel, Class, RateGroup, Raw};
use windlass_shared::id::ChannelId;
use windlass_shared::record::{Batch, Block, Column, Flags, Quality, QualityMark, Times};
use windlass_shared::time::EventTime;

use crate::input::{Reading, Value};

/// A reading as it will be carried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sample {
    pub channel: ChannelId,
    pub time: EventTime,
    pub raw: i64,
    pub float: bool,
    pub quality: Quality,
    pub flags: Flags,
}

impl Sample {
    /// Does it count in stamps?
    pub fn on_time(&self) -> bool {
        !self.flags.late && !self.flags.suspect
    }
}

/// Scales a reading to what its channel carries. What is no number keeps its place with a quality that says so.
pub(crate) fn sample(channel: &Channel, reading: &Reading, flags: Flags) -> Sample {
    let (raw, quality) = match (channel.raw, reading.value) {
        (Raw::Int, Value::Int(raw)) => (raw, reading.quality),
        (Raw::Int, Value::Float(value)) => scale(channel, value, reading.quality),
        (Raw::Float, Value::Int(raw)) => float_bits(raw as f64, reading.quality),
        (Raw::Float, Value::Float(value)) => float_bits(value, reading.quality),
    };
    // a value that the source itself declares void means nothing: canonical zero
    let raw = if matches!(quality, Quality::NotANumber | Quality::OutOfRange) {
        0
    } else {
        raw
    };
    Sample {
        channel: reading.channel,
        time: reading.time,
        raw,
        float: channel.raw == Raw::Float,
        quality,
        flags,
    }
}

/// The samples of a batch, in the order of [`batch`]; `flags` marks each by its time.
pub(crate) fn samples(
    batch: &Batch,
    shift_us: i64,
    flags: impl Fn(EventTime) -> Flags,
) -> Vec<Sample> {
    let mut samples = Vec::with_capacity(batch.raw.len());
    for block in &batch.blocks {
        for (index, column) in block.columns.iter().enumerate() {
            for (row, time) in block.times.iter().enumerate() {
                let marked = block
                    .quality
                    .iter()
                    .find(|m| usize::from(m.column) == index && m.row as usize == row);
                let time = time.plus_us(shift_us);
                samples.push(Sample {
                    channel: column.channel,
                    time,
                    raw: batch.raw[column.at as usize + row],
                    float: column.float,
                    quality: marked.map_or(Quality::Good, |m| m.quality),
                    flags: flags(time),
                });
            }
        }
    }
    samples
}

fn float_bits(value: f64, quality: Quality) -> (i64, Quality) {
    if value.is_nan() {
        (0, Quality::NotANumber)
    } else if value.is_infinite() {
        (0, Quality::OutOfRange)
    } else {
        (value.to_bits() as i64, quality)
    }
}

fn scale(channel: &Channel, value: f64, quality: Quality) -> (i64, Quality) {
    if value.is_nan() {
        return (0, Quality::NotANumber);
    }
    let raw = channel.raw_nearest(value);
    raw.map_or((0, Quality::OutOfRange), |raw| (raw, quality))
}

/// A channel's value in its unit, for comparing it with a limit.
pub(crate) fn value_of(channel: &Channel, sample: &Sample) -> f64 {
    if sample.float {
        f64::from_bits(sample.raw as u64)
    } else {
        channel.value(sample.raw)
    }
}

/// The batch that holds `samples`, of which there is at least one.
pub(crate) fn batch(
    catalogue: CatalogueHash,
    class: Class,
    rate_group: RateGroup,
    samples: &[Sample],
) -> Batch {
    let mut columns: BTreeMap<(Flags, ChannelId), Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        columns
            .entry((sample.flags, sample.channel))
            .or_default()
            .push(sample);
    }
    let mut blocks: BTreeMap<(Flags, Vec<EventTime>), Vec<Vec<&Sample>>> = BTreeMap::new();
    for ((flags, _), column) in columns {
        let times = column.iter().map(|s| s.time).collect();
        blocks.entry((flags, times)).or_default().push(column);
    }
    let mut raw = Vec::with_capacity(samples.len());
    let blocks = blocks
        .into_iter()
        .map(|((flags, times), columns)| block(flags, times, &columns, &mut raw))
        .collect();
    Batch {
        catalogue,
        class,
        rate_group,
        blocks,
        raw,
    }
}

fn block(
    flags: Flags,
    times: Vec<EventTime>,
    columns: &[Vec<&Sample>],
    raw: &mut Vec<i64>,
) -> Block {
    let mut quality = Vec::new();
    let columns = columns
        .iter()
        .enumerate()
        .map(|(index, samples)| {
            let at = raw.len() as u32;
            for (row, sample) in samples.iter().enumerate() {
                raw.push(sample.raw);
                if sample.quality != Quality::Good {
                    quality.push(QualityMark {
                        column: index as u16,
                        row: row as u32,
                        quality: sample.quality,
                    });
                }
            }
            Column {
                channel: samples[0].channel,
                float: samples[0].float,
                at,
            }
        })
        .collect();
    Block {
        flags,
        times: regular(times),
        columns,
        quality,
    }
}

fn regular(times: Vec<EventTime>) -> Times {
    let period_us = match times.as_slice() {
        [_] => 0,
        [a, b, ..] => b.0 - a.0,
        [] => return Times::Listed(times),
    };
    let even =
        times.len() == 1 || period_us > 0 && times.windows(2).all(|w| w[1].0 - w[0].0 == period_us);
    if even {
        Times::Regular {
            start: times[0],
            period_us,
            n: times.len() as u32,
        }
    } else {
        Times::Listed(times)
    }
}
