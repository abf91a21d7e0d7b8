//! What a turbine's state weighs, and that every stage of the benchmark sees the same readings.

mod world;

use std::sync::Arc;

use windlass_cloud_core::bench::{Stage, Stream, naive};
use windlass_cloud_core::detect::Detectors;
use world::*;

const EXAMPLE: &str = include_str!("../../detectors.example.toml");

#[test]
fn the_state_of_a_300_channel_turbine_fits_its_budget() {
    let fleet = fleet();
    let catalogue = catalogue(&fleet, "onshore-3mw");
    let stream = Stream::build(&fleet, &catalogue, 660, 1);
    let (partition, outputs) = stream.task(&settings(), &fleet, Some(EXAMPLE));
    assert_eq!(partition.turbines(), 3);
    assert!(outputs > 0);
    let each = partition.snapshot().len() / 3;
    assert!(each <= 150_000, "{each} bytes");
    // every stage sees the same readings
    let detectors = Arc::new(Detectors::parse("detectors.example.toml", EXAMPLE).unwrap());
    let made = Stage::ALL.map(|stage| stream.pass(stage, &fleet, &detectors));
    assert!(made.iter().all(|m| m.readings == stream.readings));
    assert_eq!(
        made.map(|m| m.windows > 0),
        [false, false, false, true, true]
    );
    assert_eq!(made[3].windows, made[4].windows);
    assert_eq!(made[4].alerts, 0);
    // and so does the yardstick: a minute of each channel and turbine at least
    assert!(naive(&stream.rows()) >= 3 * 11 * 299);
}
