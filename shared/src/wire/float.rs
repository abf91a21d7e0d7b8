//! Columns of `f64`: most come from decimal text, so they are carried as integers over a power of ten where that gives
//! back every bit, and as their bits otherwise.

/// Header of a float column whose integers are the bits of the values.
pub(super) const EXPONENT_BITS: u8 = 255;
/// Most decimals that are tried: beyond that the integers are no shorter than the bits.
pub(super) const DECIMALS_MAX: u8 = 15;

const POWERS: [f64; DECIMALS_MAX as usize + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
];
/// Integers up to here are exact as `f64`: 2^53.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// The value of `integer / 10^decimals` as bits, by one correctly rounded division.
#[inline]
pub(super) fn from_decimal(integer: i64, decimals: u8) -> i64 {
    (integer as f64 / POWERS[usize::from(decimals)]).to_bits() as i64
}

/// The integer that [`from_decimal`] turns into exactly these bits.
pub(super) fn to_decimal(bits: i64, decimals: u8) -> Option<i64> {
    let scaled = (f64::from_bits(bits as u64) * POWERS[usize::from(decimals)]).round();
    if scaled.is_nan() || scaled.abs() > EXACT_MAX {
        return None;
    }
    let integer = scaled as i64;
    (from_decimal(integer, decimals) == bits).then_some(integer)
}

/// The fewest decimals that carry all of `values` (the bits of `f64`s) exactly.
pub(super) fn decimals_of(values: &[i64]) -> Option<u8> {
    let mut decimals = 0;
    for &bits in values {
        while to_decimal(bits, decimals).is_none() {
            if decimals == DECIMALS_MAX {
                return None;
            }
            decimals += 1;
        }
    }
    // a value that fits fewer decimals need not fit more: 2^53 and 0.1 in one column
    values
        .iter()
        .all(|bits| to_decimal(*bits, decimals).is_some())
        .then_some(decimals)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(values: &[f64]) -> Vec<i64> {
        values.iter().map(|v| v.to_bits() as i64).collect()
    }

    #[test]
    fn decimals_are_found_where_every_bit_comes_back() {
        assert_eq!(decimals_of(&bits(&[1.0, -2.0, 0.0])), Some(0));
        assert_eq!(decimals_of(&bits(&[73.967_322_07, 74.0])), Some(8));
        assert_eq!(decimals_of(&bits(&[0.1 + 0.2])), None);
        assert_eq!(decimals_of(&bits(&[-0.0])), None);
        assert_eq!(decimals_of(&bits(&[f64::NAN])), None);
        assert_eq!(decimals_of(&bits(&[f64::INFINITY])), None);
        assert_eq!(decimals_of(&bits(&[9e15, 0.000_000_1])), None);
    }
}
