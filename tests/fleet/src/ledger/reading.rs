//! A reading as both sides of the ledger see it.
//!
//! Invariant: two of them are equal only if nothing about the reading changed on its way.

use windlass_shared::record::{Batch, Quality};

/// One reading of a record. Its identity is the record's, and `index`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Reading {
    /// Place in its record.
    pub index: u32,
    /// Channel number.
    pub channel: u16,
    /// Event time, microseconds.
    pub time: i64,
    /// The raw integer or the bits of the float; `None`: the source gave no number.
    pub value: Option<i64>,
    /// The value is a float's bits.
    pub float: bool,
    /// How good.
    pub quality: Quality,
    /// Below the frontier when it was committed.
    pub late: bool,
    /// Ahead of the gateway's clock.
    pub suspect: bool,
}

impl Reading {
    /// All readings of a batch, by index.
    pub fn of(batch: &Batch) -> Vec<Self> {
        let mut all = Vec::with_capacity(batch.raw.len());
        for block in &batch.blocks {
            for (at, column) in block.columns.iter().enumerate() {
                for (row, time) in block.times.iter().enumerate() {
                    let index = column.at + row as u32;
                    let marked = block
                        .quality
                        .iter()
                        .find(|m| usize::from(m.column) == at && m.row as usize == row);
                    let quality = marked.map_or(Quality::Good, |m| m.quality);
                    let number = !matches!(quality, Quality::NotANumber | Quality::OutOfRange);
                    all.push(Self {
                        index,
                        channel: column.channel.0,
                        time: time.0,
                        value: number.then(|| batch.raw[index as usize]),
                        float: column.float,
                        quality,
                        late: block.flags.late,
                        suspect: block.flags.suspect,
                    });
                }
            }
        }
        all.sort_unstable();
        all
    }
}

/// A quality by the name that the lake gives it.
pub fn quality(name: &str) -> Option<Quality> {
    Some(match name {
        "good" => Quality::Good,
        "uncertain" => Quality::Uncertain,
        "bad" => Quality::Bad,
        "not_a_number" => Quality::NotANumber,
        "out_of_range" => Quality::OutOfRange,
        _ => return None,
    })
}
