//! Writes the column layout: for each column the mode that takes the fewest bits.

use super::super::bits::{BitWriter, put_varint, varint_len, width_of, zigzag};
use super::super::float::{EXPONENT_BITS, decimals_of, to_decimal};
use super::{FLAG_LATE, FLAG_LISTED, FLAG_QUALITY, FLAG_SUSPECT, Mode, WIDTH_MAX};
use crate::record::{Batch, Block, Column, Quality, QualityMark, Times};
use crate::time::EventTime;

/// The parts of the layout while they are written.
#[derive(Default)]
struct Parts {
    structure: Vec<u8>,
    headers: Vec<u8>,
    bases: Vec<u8>,
    bits: BitWriter,
    decimals: Vec<i64>,
}

/// The columns of `batch`. The times of the first block are relative to `base`.
///
/// # Panics
/// When the batch breaks the layout that [`crate::record::Block`] describes: a bug of the caller.
pub(in super::super) fn encode(batch: &Batch, base: EventTime) -> Vec<u8> {
    let mut parts = Parts::default();
    parts.structure.reserve(64);
    put_varint(&mut parts.structure, batch.blocks.len() as u64);
    let mut base = base.0;
    let mut at = 0;
    for block in &batch.blocks {
        base = parts.block(block, base);
        let rows = block.times.len();
        for column in &block.columns {
            assert_eq!(
                column.at as usize, at,
                "columns lie one after another in Batch::raw"
            );
            let values = &batch.raw[at..at + rows];
            parts.column(values, column.float);
            at += rows;
        }
    }
    assert_eq!(
        at,
        batch.raw.len(),
        "Batch::raw holds the columns' values and no more"
    );
    let mut out = parts.structure;
    out.extend_from_slice(&parts.headers);
    put_varint(&mut out, parts.bases.len() as u64);
    out.extend_from_slice(&parts.bases);
    out.extend_from_slice(&parts.bits.finish());
    out
}

impl Parts {
    /// Writes a block's structure and returns its first time, the base of the next block.
    fn block(&mut self, block: &Block, base: i64) -> i64 {
        let rows = block.times.len();
        assert!(
            rows > 0 && !block.columns.is_empty(),
            "a block is never empty"
        );
        let out = &mut self.structure;
        let mut flags = 0;
        for (set, bit) in [
            (block.flags.late, FLAG_LATE),
            (block.flags.suspect, FLAG_SUSPECT),
            (matches!(block.times, Times::Listed(_)), FLAG_LISTED),
            (!block.quality.is_empty(), FLAG_QUALITY),
        ] {
            flags |= if set { bit } else { 0 };
        }
        out.push(flags);
        put_varint(out, rows as u64);
        let first = block.times.at(0).0;
        put_varint(out, zigzag(first.wrapping_sub(base)));
        match &block.times {
            Times::Regular { period_us, .. } => put_varint(out, zigzag(*period_us)),
            Times::Listed(times) => {
                for pair in times.windows(2) {
                    put_varint(out, zigzag(pair[1].0.wrapping_sub(pair[0].0)));
                }
            }
        }
        put_channels(out, &block.columns);
        if !block.quality.is_empty() {
            put_quality(out, &block.quality, block.columns.len(), rows);
        }
        first
    }

    fn column(&mut self, values: &[i64], float: bool) {
        if !float {
            self.integers(values);
            return;
        }
        let mut scaled = std::mem::take(&mut self.decimals);
        if let Some(decimals) = decimals_of(values) {
            self.headers.push(decimals);
            scaled.clear();
            scaled.extend(
                values
                    .iter()
                    .map(|v| to_decimal(*v, decimals).unwrap_or_default()),
            );
            self.integers(&scaled);
        } else {
            self.headers.push(EXPONENT_BITS);
            self.integers(values);
        }
        self.decimals = scaled;
    }

    fn integers(&mut self, values: &[i64]) {
        let first = values[0];
        if values.len() == 1 {
            put_varint(&mut self.bases, zigzag(first));
            return;
        }
        let plan = Plan::of(values);
        self.headers.push(plan.mode.header(plan.width));
        match plan.mode {
            Mode::Reference => {
                put_varint(&mut self.bases, zigzag(plan.least));
                if plan.width > 0 {
                    for v in values {
                        self.bits.put(v.wrapping_sub(plan.least) as u64, plan.width);
                    }
                }
            }
            Mode::Delta => {
                put_varint(&mut self.bases, zigzag(first));
                put_varint(&mut self.bases, zigzag(plan.least));
                for pair in values.windows(2) {
                    let d = pair[1].wrapping_sub(pair[0]);
                    self.bits.put(d.wrapping_sub(plan.least) as u64, plan.width);
                }
            }
            Mode::DeltaZigzag => {
                put_varint(&mut self.bases, zigzag(first));
                for pair in values.windows(2) {
                    self.bits
                        .put(zigzag(pair[1].wrapping_sub(pair[0])), plan.width);
                }
            }
            Mode::Plain => {
                for v in values {
                    self.bits.put(*v as u64, 64);
                }
            }
        }
    }
}

/// The cheapest mode for a column of at least two rows.
struct Plan {
    mode: Mode,
    width: u32,
    /// Least value or least difference.
    least: i64,
}

impl Plan {
    fn of(values: &[i64]) -> Self {
        let (mut low, mut high) = (values[0], values[0]);
        let (mut dlow, mut dhigh) = (i64::MAX, i64::MIN);
        let mut folded = 0;
        let mut last = values[0];
        for &v in &values[1..] {
            low = low.min(v);
            high = high.max(v);
            let d = v.wrapping_sub(last);
            dlow = dlow.min(d);
            dhigh = dhigh.max(d);
            folded |= zigzag(d);
            last = v;
        }
        let n = values.len();
        let bytes = |v: i64| 8 * varint_len(zigzag(v));
        let mut best = Self {
            mode: Mode::Plain,
            width: 0,
            least: 0,
        };
        let mut best_cost = 64 * n;
        for (mode, width, least, rows, bases) in [
            (
                Mode::Reference,
                width_of(high.wrapping_sub(low) as u64),
                low,
                n,
                bytes(low),
            ),
            (
                Mode::DeltaZigzag,
                width_of(folded),
                0,
                n - 1,
                bytes(values[0]),
            ),
            (
                Mode::Delta,
                width_of(dhigh.wrapping_sub(dlow) as u64),
                dlow,
                n - 1,
                bytes(values[0]) + bytes(dlow),
            ),
        ] {
            let cost = width as usize * rows + bases;
            if width <= WIDTH_MAX && cost < best_cost {
                best = Self { mode, width, least };
                best_cost = cost;
            }
        }
        best
    }
}

/// Runs of channels with consecutive ids and the same kind of value.
fn put_channels(out: &mut Vec<u8>, columns: &[Column]) {
    let same_run = |a: &Column, b: &Column| {
        assert!(
            a.channel < b.channel,
            "the columns of a block ascend by channel"
        );
        u32::from(b.channel.0) == u32::from(a.channel.0) + 1 && a.float == b.float
    };
    put_varint(out, columns.chunk_by(same_run).count() as u64);
    let mut next = 0;
    for run in columns.chunk_by(same_run) {
        let first = u64::from(run[0].channel.0);
        put_varint(out, first - next);
        put_varint(out, (run.len() as u64 - 1) << 1 | u64::from(run[0].float));
        next = first + run.len() as u64;
    }
}

fn quality_code(quality: Quality) -> u64 {
    match quality {
        Quality::Good => unreachable!("a quality mark is never good"),
        Quality::Uncertain => 0,
        Quality::Bad => 1,
        Quality::NotANumber => 2,
        Quality::OutOfRange => 3,
    }
}

fn put_quality(out: &mut Vec<u8>, marks: &[QualityMark], columns: usize, rows: usize) {
    put_varint(out, marks.len() as u64);
    let mut next = 0;
    for mark in marks {
        assert!(
            usize::from(mark.column) < columns && (mark.row as usize) < rows,
            "a quality mark lies in its block"
        );
        let position = u64::from(mark.column) * rows as u64 + u64::from(mark.row);
        assert!(
            position >= next,
            "quality marks ascend by (column, row), one for a reading"
        );
        put_varint(out, (position - next) << 2 | quality_code(mark.quality));
        next = position + 1;
    }
}
