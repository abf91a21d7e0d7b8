//! Repeated measurements.

use serde::Serialize;

/// Median and extremes.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(super) struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    pub(super) const METHOD: &'static str = "spread: median, least and greatest of the runs; where a figure is one number it is the median";

    /// Of at least one measurement; zeros without.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |i: usize| values.get(i).copied().unwrap_or_default();
        let n = values.len();
        Self {
            median: f64::midpoint(at(n.saturating_sub(1) / 2), at(n / 2)),
            min: at(0),
            max: at(n.saturating_sub(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn the_middle_and_the_ends() {
        let spread = |median, min, max| Spread { median, min, max };
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), spread(2.0, 1.0, 3.0));
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]), spread(2.5, 1.0, 4.0));
        assert_eq!(Spread::of([7.0]), spread(7.0, 7.0, 7.0));
        assert_eq!(Spread::of([]), spread(0.0, 0.0, 0.0));
    }
}
