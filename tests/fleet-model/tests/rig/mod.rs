//! Fleets for the tests, and readings of them as values.

#![allow(dead_code)] // not every test file uses everything

use std::path::Path;
use std::sync::Arc;

use windlass_fleet_model::signal::Signal;
use windlass_fleet_model::{Fleet, Pace, Scenario, Turbine};
use windlass_shared::catalogue::{self, Catalogue};
use windlass_shared::time::{EventTime, SECOND_US};

/// 2026-01-01T00:00:00Z.
pub const BEGINS: EventTime = EventTime(1_767_225_600_000_000);
pub const HOUR_US: i64 = 3_600 * SECOND_US;
pub const DAY_US: i64 = 24 * HOUR_US;

pub fn profile(name: &str) -> Arc<Catalogue> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../hardware/profiles/{name}.toml"));
    let text = std::fs::read_to_string(&path).expect("a profile");
    Arc::new(catalogue::parse(name, &text).expect("a good profile"))
}

pub fn example() -> Scenario {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/example.toml");
    let text = std::fs::read_to_string(path).expect("the example");
    Scenario::parse("example.toml", &text).unwrap_or_else(|e| panic!("{e}"))
}

/// A farm of four windy turbines, and what else the text says.
pub fn scenario(more: &str) -> Scenario {
    let text = format!(
        "name = \"test\"\nseed = 7\n[[farm]]\nid = \"NORD\"\nprefix = \"T\"\nzone = \"Europe/Berlin\"\n\
         profile = \"onshore-3mw\"\nturbines = 4\nclimate = {{ mean_wind_ms = 9.5 }}\n{more}"
    );
    Scenario::parse("test.toml", &text).unwrap_or_else(|e| panic!("{e}"))
}

pub fn fleet(scenario: &Scenario, pace: Pace) -> Fleet {
    let profiles = [profile("onshore-3mw")];
    Fleet::new(scenario, scenario.seed, &profiles, BEGINS, pace).unwrap_or_else(|e| panic!("{e}"))
}

/// The only turbine that the test looks at, over some hours of ten-second steps; `look` sees each.
pub fn run(scenario: &Scenario, seat: usize, hours: i64, mut look: impl FnMut(i64, &Turbine)) {
    let mut turbine = fleet(scenario, Pace::TenSeconds).turbine(seat);
    for i in 0..hours * 360 {
        let at = BEGINS.plus_us(i * 10 * SECOND_US);
        turbine.skip_to(at);
        look(i * 10, &turbine);
    }
}

/// Means of signals while `when` holds, over some hours.
pub fn means_of<const N: usize>(
    scenario: &Scenario,
    hours: std::ops::Range<i64>,
    signals: [Signal; N],
    when: impl Fn(&Turbine) -> bool,
) -> [f64; N] {
    let (mut sums, mut n) = ([0.0; N], 0.0);
    run(scenario, 0, hours.end, |second, turbine| {
        if second >= hours.start * 3_600 && when(turbine) {
            for (sum, signal) in sums.iter_mut().zip(signals) {
                *sum += turbine.truth(signal);
            }
            n += 1.0;
        }
    });
    assert!(n > 30.0, "hardly ever true: {n} steps");
    sums.map(|sum| sum / n)
}
