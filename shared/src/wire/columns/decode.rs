//! Reads the column layout in one pass into flat values.

use super::super::bits::{Packed, Reader, unzigzag};
use super::super::float::{DECIMALS_MAX, EXPONENT_BITS, from_decimal};
use super::super::{BATCH_READINGS_MAX, WireError};
use super::{FLAG_LATE, FLAG_LISTED, FLAG_QUALITY, FLAG_SUSPECT, FLAGS_KNOWN, Mode, WIDTH_MASK};
use crate::id::ChannelId;
use crate::record::{Block, Column, Flags, Quality, QualityMark, Times};
use crate::time::EventTime;

/// The blocks and values in `bytes`, which must hold exactly `readings` readings.
pub(in super::super) fn decode(
    bytes: &[u8],
    base: EventTime,
    readings: usize,
) -> Result<(Vec<Block>, Vec<i64>), WireError> {
    if readings > BATCH_READINGS_MAX {
        return Err(WireError::TooLarge {
            what: "batch, in readings",
            found: readings,
            max: BATCH_READINGS_MAX,
        });
    }
    let mut reader = Reader::new(bytes, "batch structure");
    let (blocks, headers) = take_blocks(&mut reader, base.0, readings)?;
    let headers = reader.take(headers)?;
    let bases_len = reader.count("bytes of bases", reader.rest().len())?;
    let bases = reader.take(bases_len)?;
    let mut values = Values {
        headers: headers.iter(),
        bases: Reader::new(bases, "column bases"),
        bits: reader.rest(),
        bit: 0,
        raw: Vec::with_capacity(readings),
    };
    for block in &blocks {
        let rows = block.times.len();
        for column in &block.columns {
            values.column(rows, column.float)?;
        }
    }
    values.finish().map(|raw| (blocks, raw))
}

/// All blocks, and how many header bytes follow.
fn take_blocks(
    reader: &mut Reader<'_>,
    mut base: i64,
    readings: usize,
) -> Result<(Vec<Block>, usize), WireError> {
    let count = reader.count("blocks", readings)?;
    let mut blocks = Vec::with_capacity(count.min(16));
    let mut left = readings;
    let mut headers = 0;
    for _ in 0..count {
        let at = readings - left;
        let block = take_block(reader, base, at, left)?;
        base = block.times.at(0).0;
        let rows = block.times.len();
        left -= rows * block.columns.len();
        headers += block
            .columns
            .iter()
            .map(|c| usize::from(c.float) + usize::from(rows > 1))
            .sum::<usize>();
        blocks.push(block);
    }
    if left > 0 {
        return Err(reader.malformed(format!(
            "the blocks hold {} readings, expected {readings}",
            readings - left
        )));
    }
    Ok((blocks, headers))
}

/// One block of at most `left` readings, whose values begin at `at`.
fn take_block(
    reader: &mut Reader<'_>,
    base: i64,
    at: usize,
    left: usize,
) -> Result<Block, WireError> {
    let flags = reader.byte()?;
    if flags & !FLAGS_KNOWN != 0 {
        return Err(reader.malformed(format!(
            "block flags {flags:#x}, expected none beyond {FLAGS_KNOWN:#x}"
        )));
    }
    let rows = reader.count("rows", left)?;
    if rows == 0 {
        return Err(reader.malformed("a block without rows"));
    }
    let first = base.wrapping_add(reader.signed()?);
    let times = if flags & FLAG_LISTED == 0 {
        Times::Regular {
            start: EventTime(first),
            period_us: reader.signed()?,
            n: rows as u32,
        }
    } else {
        let mut time = first;
        // each further time takes a byte, so the message bounds the allocation
        let mut times = Vec::with_capacity(rows.min(reader.rest().len() + 1));
        times.push(EventTime(time));
        for _ in 1..rows {
            time = time.wrapping_add(reader.signed()?);
            times.push(EventTime(time));
        }
        Times::Listed(times)
    };
    let columns = take_channels(reader, rows, at, left / rows)?;
    let quality = if flags & FLAG_QUALITY == 0 {
        Vec::new()
    } else {
        take_quality(reader, columns.len(), rows)?
    };
    Ok(Block {
        flags: Flags {
            late: flags & FLAG_LATE != 0,
            suspect: flags & FLAG_SUSPECT != 0,
        },
        times,
        columns,
        quality,
    })
}

fn take_channels(
    reader: &mut Reader<'_>,
    rows: usize,
    mut at: usize,
    columns_max: usize,
) -> Result<Vec<Column>, WireError> {
    let runs = reader.count("runs of channels", columns_max)?;
    let mut columns: Vec<Column> = Vec::new();
    let mut next: usize = 0;
    for _ in 0..runs {
        let first = next + reader.count("channels skipped", usize::from(u16::MAX))?;
        let run = reader.varint()?;
        let float = run & 1 == 1;
        let len = (run >> 1) + 1;
        if len > (columns_max - columns.len()) as u64 {
            return Err(reader.malformed(format!(
                "a run of {len} channels, expected at most {} for the readings that are declared",
                columns_max - columns.len()
            )));
        }
        next = first + len as usize;
        if next > usize::from(u16::MAX) + 1 {
            return Err(reader.malformed(format!(
                "channel {}, expected at most {}",
                next - 1,
                u16::MAX
            )));
        }
        columns.reserve(len as usize);
        for id in first..next {
            columns.push(Column {
                channel: ChannelId(id as u16),
                float,
                at: at as u32,
            });
            at += rows;
        }
    }
    if columns.is_empty() {
        return Err(reader.malformed("a block without columns"));
    }
    Ok(columns)
}

fn take_quality(
    reader: &mut Reader<'_>,
    columns: usize,
    rows: usize,
) -> Result<Vec<QualityMark>, WireError> {
    let total = columns * rows;
    let count = reader.count("quality marks", total)?;
    if count == 0 {
        return Err(reader.malformed("quality marks are announced, and there are none"));
    }
    let mut marks = Vec::with_capacity(count.min(reader.rest().len()));
    let mut next: u64 = 0;
    for _ in 0..count {
        let v = reader.varint()?;
        let position = next + (v >> 2);
        if position >= total as u64 {
            return Err(reader.malformed(format!(
                "a quality mark at reading {position} of its block, expected below {total}"
            )));
        }
        next = position + 1;
        let position = position as usize;
        marks.push(QualityMark {
            column: (position / rows) as u16,
            row: (position % rows) as u32,
            quality: match v & 3 {
                0 => Quality::Uncertain,
                1 => Quality::Bad,
                2 => Quality::NotANumber,
                _ => Quality::OutOfRange,
            },
        });
    }
    Ok(marks)
}

/// The value parts while they are read.
struct Values<'a> {
    headers: std::slice::Iter<'a, u8>,
    bases: Reader<'a>,
    bits: &'a [u8],
    bit: usize,
    raw: Vec<i64>,
}

impl<'a> Values<'a> {
    fn header(&mut self) -> Result<u8, WireError> {
        self.headers
            .next()
            .copied()
            .ok_or_else(|| WireError::malformed("column headers", "too few of them"))
    }

    fn column(&mut self, rows: usize, float: bool) -> Result<(), WireError> {
        if !float {
            return self.integers(rows);
        }
        let exponent = self.header()?;
        let from = self.raw.len();
        self.integers(rows)?;
        if exponent == EXPONENT_BITS {
            return Ok(());
        }
        if exponent > DECIMALS_MAX {
            return Err(WireError::malformed(
                "column headers",
                format!(
                    "{exponent} decimals, expected at most {DECIMALS_MAX}, or {EXPONENT_BITS} for bits"
                ),
            ));
        }
        for v in &mut self.raw[from..] {
            *v = from_decimal(*v, exponent);
        }
        Ok(())
    }

    #[inline]
    fn integers(&mut self, rows: usize) -> Result<(), WireError> {
        if rows == 1 {
            let v = self.bases.signed()?;
            self.raw.push(v);
            return Ok(());
        }
        let header = self.header()?;
        let width = u32::from(header & WIDTH_MASK);
        match Mode::of(header) {
            Mode::Reference => {
                let least = self.bases.signed()?;
                if width == 0 {
                    self.raw.resize(self.raw.len() + rows, least);
                    return Ok(());
                }
                let packed = self.packed(rows, width)?;
                let raw = &mut self.raw;
                packed.for_each(rows, |v| raw.push(least.wrapping_add(v as i64)));
            }
            Mode::Delta => {
                let mut value = self.bases.signed()?;
                let least = self.bases.signed()?;
                let packed = self.packed(rows - 1, width)?;
                let raw = &mut self.raw;
                raw.push(value);
                packed.for_each(rows - 1, |v| {
                    value = value.wrapping_add(least).wrapping_add(v as i64);
                    raw.push(value);
                });
            }
            Mode::DeltaZigzag => {
                let mut value = self.bases.signed()?;
                let packed = self.packed(rows - 1, width)?;
                let raw = &mut self.raw;
                raw.push(value);
                packed.for_each(rows - 1, |v| {
                    value = value.wrapping_add(unzigzag(v));
                    raw.push(value);
                });
            }
            Mode::Plain => {
                if width != 0 {
                    return Err(WireError::malformed(
                        "column headers",
                        format!("a plain column of width {width}, expected 0"),
                    ));
                }
                let packed = self.packed(rows, 64)?;
                let raw = &mut self.raw;
                packed.for_each(rows, |v| raw.push(v as i64));
            }
        }
        Ok(())
    }

    /// `rows` numbers of `width` bits from here on, if there are so many.
    #[inline]
    fn packed(&mut self, rows: usize, width: u32) -> Result<Packed<'a>, WireError> {
        let from = self.bit;
        let to = from + rows * width as usize;
        if to > self.bits.len() * 8 {
            return Err(WireError::malformed("column bits", "too few of them"));
        }
        self.bit = to;
        Ok(Packed::new(self.bits, from, width))
    }

    fn finish(self) -> Result<Vec<i64>, WireError> {
        let used = self.bit.div_ceil(8);
        if !self.bases.is_empty() || used != self.bits.len() {
            return Err(WireError::malformed(
                "batch columns",
                format!(
                    "{} bytes after the last column",
                    self.bases.rest().len() + self.bits.len() - used
                ),
            ));
        }
        Ok(self.raw)
    }
}
