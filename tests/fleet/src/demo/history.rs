//! Sixty days of ten-minute records of a gearbox whose bearing fails towards the end, as a file that a condition
//! monitoring system would export.
//!
//! Invariant: a function of the seed and of its end; every value has the decimals that the profile's scale can hold.

use std::fmt::Write as _;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use windlass_shared::time::{EventTime, MINUTE_US};

use crate::calendar;

/// One row every ten minutes.
pub const ROW_US: i64 = 10 * MINUTE_US;
/// Rows of a day.
const ROWS_PER_DAY: i64 = 144;
/// Length of the history, days.
pub const DAYS: i64 = 60;
/// The bearing begins to fail this long before the end, days.
pub const FAULT_DAYS: i64 = 9;
/// Channels in which the fault shows.
pub const FAULT_CHANNELS: [&str; 3] = [
    "gearbox_bearing_vibration",
    "gearbox_bearing_envelope",
    "gearbox_bearing_temperature",
];
/// Columns of the file after the time, named as the profile names them.
pub const COLUMNS: [&str; 6] = [
    "active_power",
    "rotor_speed",
    "gearbox_bearing_temperature",
    "gearbox_oil_temperature",
    "gearbox_bearing_vibration",
    "gearbox_bearing_envelope",
];

/// A history.
pub struct History {
    /// The file's text.
    pub csv: String,
    /// First row.
    pub begins: EventTime,
    /// When the fault begins.
    pub fault_begins: EventTime,
    /// Behind the last row.
    pub ends: EventTime,
    /// Rows.
    pub rows: u64,
}

/// Generates one that ends at or before `end`.
pub fn generate(seed: u64, end: EventTime) -> History {
    let rows = DAYS * ROWS_PER_DAY;
    let ends = end.floor_to(ROW_US);
    let begins = ends.plus_us(-rows * ROW_US);
    let fault_row = (DAYS - FAULT_DAYS) * ROWS_PER_DAY;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut csv = format!("time,{}\n", COLUMNS.join(","));
    let mut wind = 8.0_f64;
    let mut warmth = 0.5_f64;
    for row in 0..rows {
        let at = begins.plus_us(row * ROW_US);
        wind = (wind + 0.05 * (8.0 - wind) + noise(&mut rng, 0.5)).clamp(0.0, 24.0);
        let load = ((wind - 3.0) / 9.0).clamp(0.0, 1.0);
        warmth += 0.2 * (load - warmth);
        // Damage grows from nothing to its worst over the fault's days, as spalling does: slowly, then fast.
        let progress = (row - fault_row).max(0) as f64 / (FAULT_DAYS * ROWS_PER_DAY) as f64;
        let damage = progress * progress;
        let day = (row % ROWS_PER_DAY) as f64 / ROWS_PER_DAY as f64;
        let ambient = 12.0 + 5.0 * triangle(day);
        let oil = ambient + 22.0 + 24.0 * warmth + noise(&mut rng, 0.4);
        let values = [
            (3_000.0 * load * load * (3.0 - 2.0 * load) + noise(&mut rng, 8.0)).max(0.0),
            6.0 + 9.0 * load + noise(&mut rng, 0.05),
            oil + 6.0 + 6.0 * warmth + 22.0 * damage + noise(&mut rng, 0.4),
            oil,
            (0.6 + 0.9 * load) * (1.0 + 4.0 * damage) + noise(&mut rng, 0.04),
            (1.2 + 1.6 * load) * (1.0 + 8.0 * damage) + noise(&mut rng, 0.08),
        ];
        let [power, rpm, bearing, oil, vibration, envelope] = values.map(|v| v.max(0.0));
        writeln!(
            csv,
            "{},{power:.1},{rpm:.2},{bearing:.1},{oil:.1},{vibration:.3},{envelope:.3}",
            calendar::text(at.0)
        )
        .ok();
    }
    History {
        csv,
        begins,
        fault_begins: begins.plus_us(fault_row * ROW_US),
        ends,
        rows: rows as u64,
    }
}

/// From -1 at midnight to 1 at noon and back.
fn triangle(day: f64) -> f64 {
    1.0 - (4.0 * (day - 0.5)).abs()
}

/// About normal with standard deviation `sigma`: the sum of twelve uniforms.
fn noise(rng: &mut ChaCha8Rng, sigma: f64) -> f64 {
    let sum: f64 = (0..12).map(|_| rng.random_range(0.0..1.0)).sum();
    (sum - 6.0) * sigma
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_a_function_of_its_seed_and_its_bearing_fails() {
        let end = EventTime(1_709_210_096_000_000);
        let one = generate(7, end);
        assert_eq!(one.csv, generate(7, end).csv);
        assert_ne!(one.csv, generate(8, end).csv);
        assert_eq!(one.csv.lines().count() as u64, one.rows + 1);
        assert_eq!(one.rows, 8_640);
        assert_eq!(calendar::text(one.ends.0), "2024-02-29 12:30:00");
        let envelope = |line: &str| -> f64 { line.rsplit(',').next().unwrap().parse().unwrap() };
        let mean = |lines: &[&str]| -> f64 {
            lines.iter().map(|l| envelope(l)).sum::<f64>() / lines.len() as f64
        };
        let lines: Vec<&str> = one.csv.lines().skip(1).collect();
        assert!(mean(&lines[8_496..]) > 3.0 * mean(&lines[..7_344]));
    }
}
