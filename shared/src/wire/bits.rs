//! The smallest parts of the column layout: varints, zigzag and packed bits, least significant bit first.
//!
//! Invariant: reading never panics and never reads past its slice, whatever the bytes are.

use super::WireError;

/// Longest varint: 64 bits in groups of 7.
const VARINT_BYTES_MAX: usize = 10;

/// Small magnitudes become small unsigned numbers: 0, -1, 1, -2, ...
#[inline]
pub(super) fn zigzag(v: i64) -> u64 {
    ((v << 1) ^ (v >> 63)) as u64
}

/// The inverse of [`zigzag`].
#[inline]
pub(super) fn unzigzag(v: u64) -> i64 {
    ((v >> 1) as i64) ^ -((v & 1) as i64)
}

/// Bytes that `v` takes as a varint.
#[inline]
pub(super) fn varint_len(v: u64) -> usize {
    (64 - (v | 1).leading_zeros() as usize).div_ceil(7)
}

/// Bits needed for `v`; 0 for 0.
#[inline]
pub(super) fn width_of(v: u64) -> u32 {
    64 - v.leading_zeros()
}

/// Appends a varint: 7 bits a byte, lowest first, the high bit says that more follow.
#[inline]
pub(super) fn put_varint(out: &mut Vec<u8>, mut v: u64) {
    while v >= 0x80 {
        out.push(v as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}

/// Reads bytes from the front.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    at: &'static str,
}

impl<'a> Reader<'a> {
    /// `at` names the place in errors.
    pub(super) fn new(bytes: &'a [u8], at: &'static str) -> Self {
        Self { rest: bytes, at }
    }

    pub(super) fn malformed(&self, why: impl Into<String>) -> WireError {
        WireError::malformed(self.at, why)
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, WireError> {
        match self.rest.split_first() {
            Some((&b, rest)) => {
                self.rest = rest;
                Ok(b)
            }
            None => Err(self.malformed("it ends too early")),
        }
    }

    /// The next `n` bytes.
    pub(super) fn take(&mut self, n: usize) -> Result<&'a [u8], WireError> {
        if n > self.rest.len() {
            return Err(self.malformed(format!(
                "expected {n} more bytes, found {}",
                self.rest.len()
            )));
        }
        let (head, rest) = self.rest.split_at(n);
        self.rest = rest;
        Ok(head)
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0;
        for i in 0..VARINT_BYTES_MAX {
            let b = self.byte()?;
            if i == VARINT_BYTES_MAX - 1 && b > 1 {
                break;
            }
            value |= u64::from(b & 0x7f) << (7 * i);
            if b < 0x80 {
                return Ok(value);
            }
        }
        Err(self.malformed("a varint is longer than 64 bits"))
    }

    #[inline]
    pub(super) fn signed(&mut self) -> Result<i64, WireError> {
        self.varint().map(unzigzag)
    }

    /// A varint that counts something, at most `max`.
    pub(super) fn count(&mut self, what: &str, max: usize) -> Result<usize, WireError> {
        let n = self.varint()?;
        if n > max as u64 {
            return Err(self.malformed(format!("{n} {what}, expected at most {max}")));
        }
        Ok(n as usize)
    }
}

/// Writes numbers of any width one after another, without padding between them.
#[derive(Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    pending: u64,
    used: u32,
}

impl BitWriter {
    /// Appends the `width` low bits of `v`, whose other bits are 0.
    #[inline]
    pub(super) fn put(&mut self, v: u64, width: u32) {
        if width == 0 {
            return;
        }
        self.pending |= v << self.used;
        let filled = self.used + width;
        if filled < 64 {
            self.used = filled;
            return;
        }
        self.bytes.extend_from_slice(&self.pending.to_le_bytes());
        let written = 64 - self.used;
        self.pending = if written == 64 { 0 } else { v >> written };
        self.used = filled - 64;
    }

    /// The bytes, the last one filled up with zero bits.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let n = self.used.div_ceil(8) as usize;
        self.bytes
            .extend_from_slice(&self.pending.to_le_bytes()[..n]);
        self.bytes
    }
}

/// Eight bytes from `at` as a little-endian number; what lies beyond the end is 0.
#[inline]
fn load(bytes: &[u8], at: usize) -> u64 {
    if let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        return u64::from_le_bytes(*chunk);
    }
    load_tail(bytes, at)
}

#[cold]
#[inline(never)]
fn load_tail(bytes: &[u8], at: usize) -> u64 {
    let mut chunk = [0; 8];
    for (to, from) in chunk.iter_mut().zip(bytes.iter().skip(at)) {
        *to = *from;
    }
    u64::from_le_bytes(chunk)
}

/// Numbers of one width, from a bit position on. The caller has checked that they lie within the bytes.
#[derive(Clone, Copy)]
pub(super) struct Packed<'a> {
    bytes: &'a [u8],
    first_bit: usize,
    width: u32,
}

impl<'a> Packed<'a> {
    pub(super) fn new(bytes: &'a [u8], first_bit: usize, width: u32) -> Self {
        Self {
            bytes,
            first_bit,
            width,
        }
    }

    /// `n` numbers in order. `width` is at most 64.
    #[inline]
    pub(super) fn for_each(self, n: usize, mut f: impl FnMut(u64)) {
        let Self {
            bytes,
            first_bit,
            width,
        } = self;
        let step = width as usize;
        if width <= 56 {
            let mask = (1u64 << width) - 1;
            let mut bit = first_bit;
            for _ in 0..n {
                f((load(bytes, bit >> 3) >> (bit & 7)) & mask);
                bit += step;
            }
        } else {
            let mask = u64::MAX >> (64 - width);
            for i in 0..n {
                let bit = first_bit + i * step;
                let low = u128::from(load(bytes, bit >> 3));
                let high = u128::from(load(bytes, (bit >> 3) + 8));
                f(((low | high << 64) >> (bit & 7)) as u64 & mask);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn zigzag_of_the_extremes() {
        for v in [0, -1, 1, i64::MAX, i64::MIN] {
            assert_eq!(unzigzag(zigzag(v)), v);
        }
        assert_eq!(zigzag(-1), 1);
        assert_eq!(zigzag(1), 2);
        assert_eq!(zigzag(i64::MIN), u64::MAX);
    }

    #[test]
    fn a_varint_beyond_64_bits_is_refused() {
        let mut ok = Reader::new(
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            "x",
        );
        assert_eq!(ok.varint(), Ok(u64::MAX));
        for bytes in [
            &[0xff; 11][..],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
            &[0x80],
            &[],
        ] {
            assert!(Reader::new(bytes, "x").varint().is_err());
        }
    }

    proptest! {
        #[test]
        fn varints_come_back(v in any::<u64>(), shift in 0u32..64) {
            let v = v >> shift;
            let mut out = Vec::new();
            put_varint(&mut out, v);
            prop_assert_eq!(out.len(), varint_len(v));
            prop_assert_eq!(Reader::new(&out, "x").varint(), Ok(v));
        }

        #[test]
        fn packed_numbers_come_back(groups in prop::collection::vec(
            (0u32..=64, prop::collection::vec(any::<u64>(), 1..20)), 1..8))
        {
            let cut = |w: u32, v: u64| if w == 0 { 0 } else { v >> (64 - w) };
            let mut bits = BitWriter::default();
            for (w, values) in &groups {
                for v in values {
                    bits.put(cut(*w, *v), *w);
                }
            }
            let bytes = bits.finish();
            let total: usize = groups.iter().map(|(w, v)| *w as usize * v.len()).sum();
            prop_assert_eq!(bytes.len(), total.div_ceil(8));
            let mut at = 0;
            for (w, values) in &groups {
                let mut found = Vec::new();
                Packed::new(&bytes, at, *w).for_each(values.len(), |v| found.push(v));
                let expected: Vec<u64> = values.iter().map(|v| cut(*w, *v)).collect();
                prop_assert_eq!(found, expected);
                at += *w as usize * values.len();
            }
        }
    }
}
