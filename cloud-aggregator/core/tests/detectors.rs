//! Detectors over whole logs: what they raise, confirm, withdraw and clear, and into which episodes it falls.

mod world;

use windlass_cloud_core::detect::Detectors;
use world::*;

const EXAMPLE: &str = include_str!("../../detectors.example.toml");

#[test]
fn the_example_is_valid_and_every_rule_finds_its_channel() {
    let detectors = Detectors::parse("detectors.example.toml", EXAMPLE).unwrap();
    let fleet = fleet();
    for rule in &detectors.rules {
        for profile in &rule.profiles {
            let catalogue = catalogue(&fleet, profile);
            assert!(catalogue.by_name(&rule.channel).is_some(), "{}", rule.id);
            if let Some(when) = &rule.when {
                assert!(catalogue.by_name(&when.channel).is_some(), "{}", rule.id);
            }
        }
    }
    assert_eq!(detectors.rules.len(), 12 + 22 + 2 + 3);
}
