//! Raw integers and values: `value = (raw * scale_num + offset_num) / scale_den`, rounded once.
//!
//! Invariants: [`Channel::value`] is the `f64` nearest to the exact quotient (ties to even), on every platform;
//! `raw_exact(value(raw)) == Some(raw)` where neighbouring raws have different values.

use super::Channel;

/// Greatest magnitude of a fixed-point number: 2^53, so that sums of squares of billions of them fit 128 bits.
pub const FIXED_MAX: i64 = 1 << 53;

impl Channel {
    /// The value of a raw integer, in the channel's unit.
    #[inline]
    pub fn value(&self, raw: i64) -> f64 {
        ratio(
            i128::from(raw) * i128::from(self.scale_num) + i128::from(self.offset_num),
            self.scale_den,
        )
    }

    /// The raw integer whose value is exactly `value`; `-0.0` counts as `0.0`.
    pub fn raw_exact(&self, value: f64) -> Option<i64> {
        self.near(value)?.find(|raw| self.value(*raw) == value)
    }

    /// The raw integer whose value is nearest to `value`; `None` for what is not finite or does not fit.
    pub fn raw_nearest(&self, value: f64) -> Option<i64> {
        self.near(value)?.min_by(|a, b| {
            let off = |raw: i64| (self.value(raw) - value).abs();
            off(*a).total_cmp(&off(*b))
        })
    }

    /// A float channel's value in fixed point at the channel's resolution: [`Channel::value`] turns it back. `None` for
    /// what is not finite or beyond [`FIXED_MAX`] steps.
    pub fn fixed(&self, value: f64) -> Option<i64> {
        self.raw_nearest(value).filter(|raw| raw.abs() <= FIXED_MAX)
    }

    /// The step from one raw integer to the next, in the channel's unit.
    pub fn resolution(&self) -> f64 {
        ratio(i128::from(self.scale_num), self.scale_den)
    }

    /// The candidates around `value`: the division in `f64` is off by less than one where raws are exact as `f64`.
    fn near(&self, value: f64) -> Option<impl Iterator<Item = i64> + use<>> {
        /// 2^62: the neighbours do not overflow.
        const RAW_MAX: f64 = 4_611_686_018_427_387_904.0;
        let raw = ((value * self.scale_den as f64 - self.offset_num as f64)
            / self.scale_num as f64)
            .round();
        (raw.abs() <= RAW_MAX).then(|| {
            let raw = raw as i64;
            [raw, raw - 1, raw + 1].into_iter()
        })
    }
}

/// The `f64` nearest to `num / den`, ties to even; `den` is positive.
pub(crate) fn ratio(num: i128, den: i64) -> f64 {
    /// Integers up to here are exact as `f64`, and IEEE 754 rounds the quotient of two of them correctly.
    const EXACT: u128 = 1 << 53;
    let magnitude = num.unsigned_abs();
    let sign = if num < 0 { -1.0 } else { 1.0 };
    let den = den.unsigned_abs();
    if magnitude <= EXACT && u128::from(den) <= EXACT {
        return sign * (magnitude as f64 / den as f64);
    }
    let den = u128::from(den);
    let (mut quotient, mut rest) = (magnitude / den, magnitude % den);
    let mut shift = 0;
    // two bits more than an f64 holds, and the last of them says whether anything follows
    while quotient < 4 * EXACT {
        rest <<= 1;
        quotient = quotient << 1 | u128::from(rest >= den);
        if rest >= den {
            rest -= den;
        }
        shift += 1;
    }
    let rounded = (quotient | u128::from(rest > 0)) as f64;
    sign * (rounded * 0.5f64.powi(shift))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::tests::channel;
    use proptest::prelude::*;

    #[test]
    fn a_decimal_text_comes_back() {
        let c = channel(1, "x"); // scale 0.1
        for (text, raw) in [("12.3", 123), ("-0.1", -1), ("0.3", 3), ("1e6", 10_000_000)] {
            let value: f64 = text.parse().unwrap();
            assert_eq!(c.raw_exact(value), Some(raw), "{text}");
            assert_eq!(c.value(raw).to_bits(), value.to_bits(), "{text}");
        }
        assert_eq!(c.raw_exact(12.34), None);
        assert_eq!(c.raw_nearest(12.34), Some(123));
        assert_eq!(c.raw_exact(-0.0), Some(0));
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
            assert_eq!(c.raw_exact(bad), None);
            assert_eq!(c.raw_nearest(bad), None);
            assert_eq!(c.fixed(bad), None);
        }
        assert_eq!(c.fixed(1e15), None);
        assert_eq!(c.resolution(), 0.1);
    }

    #[test]
    fn the_offset_counts() {
        // value = raw * 0.1 - 40
        let c = crate::catalogue::Channel {
            offset_num: -400,
            ..channel(1, "x")
        };
        assert_eq!(c.value(0), -40.0);
        assert_eq!(c.value(653), 25.3);
        assert_eq!(c.raw_exact(25.3), Some(653));
    }

    proptest! {
        #[test]
        fn raws_come_back(raw in -(1i64 << 40)..1 << 40, num in 1i64..10_000, den in 1i64..1_000_000, off in -1_000_000_000i64..1_000_000_000) {
            let c = crate::catalogue::Channel {
                scale_num: num, scale_den: den, offset_num: off, ..channel(1, "x")
            };
            prop_assert_eq!(c.raw_exact(c.value(raw)), Some(raw));
            prop_assert_eq!(c.raw_nearest(c.value(raw)), Some(raw));
        }

        #[test]
        fn a_wide_ratio_is_rounded_once(num in any::<i128>(), den in 1i64..1 << 53, shift in 0u32..120) {
            let num = num >> shift >> 2;
            let found = ratio(num, den);
            // oracle: no f64 is nearer; compare |found * den - num| exactly, scaled to integers where found is one
            if found.abs() >= 2f64.powi(54) && found.abs() < 2f64.powi(60) {
                let off = |x: f64| (x as i128 * i128::from(den) - num).abs();
                prop_assert!(off(found) <= off(found.next_up()));
                prop_assert!(off(found) <= off(found.next_down()));
            }
            if num.unsigned_abs() < 1 << 53 {
                prop_assert_eq!(found, num as f64 / den as f64);
            }
        }
    }
}
