//! What the options make of a fleet, and what they refuse.

use super::*;

fn options() -> FleetOptions {
    FleetOptions {
        scenario: None,
        profiles: None,
        turbines: 301,
        seed: None,
        channels: None,
        every_second: false,
        in_step: false,
        outbox_kb: 64,
    }
}

fn refusal(options: &FleetOptions) -> String {
    match Registry::new(options) {
        Ok(_) => panic!("accepted: {options:?}"),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn turbines_stand_in_farms_and_the_aggregator_gets_the_same_channels() {
    let registry = Registry::new(&options()).unwrap();
    let sizes: Vec<_> = registry
        .scenario
        .farms
        .iter()
        .map(|f| f.turbines.len())
        .collect();
    assert_eq!(sizes, [150, 150, 1]);
    let dir = tempfile::tempdir().unwrap();
    let file = registry.write(dir.path()).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let fleet: toml::Table = toml::from_str(&text).unwrap();
    assert_eq!(fleet["gateway"].as_array().unwrap().len(), 301);
    assert_eq!(fleet["profiles"][0].as_str(), Some("onshore-3mw.toml"));
    let profile = std::fs::read_to_string(dir.path().join("onshore-3mw.toml")).unwrap();
    let written = windlass_shared::catalogue::parse("onshore-3mw.toml", &profile).unwrap();
    assert_eq!(written.hash, registry.catalogues[0].hash);
}

#[test]
fn channels_and_periods_change_the_profile_and_its_name_in_the_records() {
    let whole = Registry::new(&options()).unwrap();
    let few = Registry::new(&FleetOptions {
        channels: Some(13),
        ..options()
    })
    .unwrap();
    let often = Registry::new(&FleetOptions {
        every_second: true,
        ..options()
    })
    .unwrap();
    assert_eq!(few.catalogues[0].channels.len(), 13);
    let rate = |r: &Registry| r.catalogues[0].readings_per_s();
    assert!(
        (rate(&often) - 299.0).abs() < 1e-9,
        "all but the alarm code: {}",
        rate(&often)
    );
    assert!(rate(&whole) < rate(&often));
    assert_ne!(whole.catalogues[0].hash, often.catalogues[0].hash);
}

#[test]
fn what_cannot_be_is_named() {
    let none = refusal(&FleetOptions {
        turbines: 0,
        ..options()
    });
    assert_eq!(none, "found --turbines 0, expected 1 to 20000");
    let channels = refusal(&FleetOptions {
        channels: Some(301),
        ..options()
    });
    assert!(
        channels.starts_with("found --channels 301, expected 1 to 300, the channels of "),
        "{channels}"
    );
    let missing = refusal(&FleetOptions {
        scenario: Some("no-such.toml".into()),
        ..options()
    });
    assert!(
        missing.starts_with("could not read the scenario no-such.toml"),
        "{missing}"
    );
}
