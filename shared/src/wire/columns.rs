//! The column layout of a batch: `docs/protocol.md`, "Columns", byte by byte.
//!
//! Four parts follow one another: the structure (blocks, times, channels, quality), one header per column, the bases as
//! varints, and the packed bits of all columns. Like lies beside like, so that the compressor finds it.
//!
//! Invariants: equal batches give equal bytes; every count is bounded by the number of readings that the record declares
//! before anything is allocated for it; decoding never panics.

mod decode;
mod encode;

pub(super) use decode::decode;
pub(super) use encode::encode;

const FLAG_LATE: u8 = 1;
const FLAG_SUSPECT: u8 = 1 << 1;
const FLAG_LISTED: u8 = 1 << 2;
const FLAG_QUALITY: u8 = 1 << 3;
const FLAGS_KNOWN: u8 = FLAG_LATE | FLAG_SUSPECT | FLAG_LISTED | FLAG_QUALITY;

/// Upper two bits of a column header; the lower six are the bit width.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    /// Base: the least value. Bits: value - least. Width 0: all values are equal.
    Reference,
    /// Bases: the first value and the least difference. Bits: difference - least difference, one row fewer.
    Delta,
    /// Base: the first value. Bits: zigzag of the difference, one row fewer.
    DeltaZigzag,
    /// No base, width field 0. Bits: the values, 64 bits each.
    Plain,
}

const WIDTH_MASK: u8 = 0x3f;
/// Greatest width that a header can say; wider columns are [`Mode::Plain`].
const WIDTH_MAX: u32 = 63;

impl Mode {
    fn of(header: u8) -> Self {
        match header >> 6 {
            0 => Self::Reference,
            1 => Self::Delta,
            2 => Self::DeltaZigzag,
            _ => Self::Plain,
        }
    }
    fn header(self, width: u32) -> u8 {
        (self as u8) << 6 | width as u8
    }
}
