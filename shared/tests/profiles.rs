//! The shipped profiles load, and hold what they promise.

#![allow(clippy::unwrap_used)] // a test may; the lint only knows the functions marked as tests

use std::path::{Path, PathBuf};

use windlass_shared::catalogue::{Catalogue, Class, Kind, RateGroup, Raw, parse};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../hardware/profiles")
}

fn load(path: &Path) -> Catalogue {
    let text = std::fs::read_to_string(path).unwrap();
    parse(&path.display().to_string(), &text).unwrap_or_else(|e| panic!("{e}"))
}

fn named(name: &str) -> Catalogue {
    load(&folder().join(format!("{name}.toml")))
}

#[test]
fn every_profile_loads_under_its_file_name() {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .map(|path| {
            let name = load(&path).name;
            assert_eq!(path.file_stem().unwrap().to_str().unwrap(), name);
            name
        })
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "gearbox-history",
            "machine-temperature",
            "onshore-3mw",
            "scada-10min"
        ]
    );
}

#[test]
fn the_turbine_is_realistic() {
    let c = named("onshore-3mw");
    assert_eq!(c.channels.len(), 300);
    let count = |f: &dyn Fn(&windlass_shared::catalogue::Channel) -> bool| {
        c.channels.iter().filter(|c| f(c)).count()
    };
    // one record a second: what is fast has one class
    assert_eq!(count(&|c| c.rate_group == RateGroup::Fast), 12);
    assert_eq!(
        count(&|c| c.rate_group == RateGroup::Fast && c.class != Class::Compliance),
        0
    );
    assert_eq!(count(&|c| c.rate_group == RateGroup::Event), 1);
    for kind in Kind::ALL {
        assert!(count(&|c| c.kind == kind) > 0, "{kind:?}");
    }
    for class in Class::ALL {
        assert!(count(&|c| c.class == class) > 30, "{class:?}");
    }
    assert!((280.0..=310.0).contains(&c.readings_per_s()));
    for name in [
        "active_power",
        "available_power",
        "active_power_setpoint",
        "active_power_setpoint_source",
        "reactive_power_setpoint",
        "reactive_power_setpoint_source",
        "wind_speed",
        "wind_direction",
        "rotor_speed",
        "generator_speed",
        "pitch_angle_1",
        "pitch_angle_2",
        "pitch_angle_3",
        "nacelle_position",
        "gearbox_oil_temperature",
        "gearbox_oil_pressure",
        "gearbox_high_speed_rear_bearing_temperature",
        "generator_bearing_drive_end_temperature",
        "generator_winding_u_temperature",
        "hydraulic_pressure",
        "gearbox_planet_vibration_10_1000hz",
        "grid_voltage_l1",
        "grid_frequency",
        "iec_state",
        "alarm_code",
        "energy_export",
        "yaw_turns",
    ] {
        assert!(c.by_name(name).is_some(), "{name}");
    }
}

#[test]
fn file_profiles_carry_what_files_hold() {
    let scada = named("scada-10min");
    for channel in &scada.channels {
        assert_eq!(channel.period_us, 600_000_000, "{}", channel.name);
    }
    let machine = named("machine-temperature");
    assert_eq!(machine.channels[0].raw, Raw::Float);
    assert_eq!(machine.channels[0].period_us, 300_000_000);
    let value = 74.935_881_999_999_98;
    let fixed = machine.channels[0].fixed(value).unwrap();
    assert_eq!(fixed, 74_935_882);
    assert_eq!(named("gearbox-history").channels.len(), 6);
}
