//! The simulator is a function of its inputs, keeps to the periods, and looks like a turbine.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;

const START: EventTime = EventTime(1_700_000_000_250_000);

fn catalogue() -> Catalogue {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../hardware/profiles/onshore-3mw.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    windlass_shared::catalogue::parse("onshore-3mw.toml", &text).unwrap()
}

fn turbine() -> TurbineId {
    TurbineId::new("T001").unwrap()
}

fn run(seed: u64, seconds: i64, chunks: i64, faults: &[Fault]) -> Vec<Reading> {
    let mut simulator = Simulator::new(&catalogue(), &turbine(), seed, START, faults);
    let mut out = Vec::new();
    for i in 1..=chunks {
        simulator.advance(START.plus_us(seconds * SECOND_US * i / chunks), &mut out);
    }
    out
}

/// NaN is equal to itself here.
fn bits(readings: &[Reading]) -> Vec<(u16, i64, i64, Quality)> {
    let value = |v| match v {
        Value::Int(i) => i,
        Value::Float(f) => f.to_bits() as i64,
    };
    readings
        .iter()
        .map(|r| (r.channel.0, r.time.0, value(r.value), r.quality))
        .collect()
}

fn ints(readings: &[Reading], channel: ChannelId) -> Vec<i64> {
    readings
        .iter()
        .filter(|r| r.channel == channel)
        .map(|r| match r.value {
            Value::Int(i) => i,
            Value::Float(_) => panic!("the profile has integers only"),
        })
        .collect()
}

#[test]
fn the_same_seed_gives_the_same_readings_however_it_is_chunked() {
    let whole = bits(&run(7, 120, 1, &[]));
    assert_eq!(bits(&run(7, 120, 97, &[])), whole);
    assert_ne!(bits(&run(8, 120, 1, &[])), whole);
}

#[test]
fn every_channel_keeps_its_period_and_event_time_never_goes_back() {
    let catalogue = catalogue();
    let readings = run(3, 60, 7, &[]);
    assert!(readings.is_sorted_by_key(|r| r.time));
    let mut counts: BTreeMap<ChannelId, usize> = BTreeMap::new();
    for reading in &readings {
        *counts.entry(reading.channel).or_default() += 1;
        let channel = catalogue.channel(reading.channel).unwrap();
        if channel.period_us > 0 {
            assert_eq!(reading.time.0 % channel.period_us, 0, "{}", channel.name);
        }
    }
    for channel in catalogue.channels.iter().filter(|c| c.period_us > 0) {
        let n = counts.get(&channel.id).copied().unwrap_or(0);
        assert_eq!(
            n as i64,
            60 * SECOND_US / channel.period_us,
            "{}",
            channel.name
        );
    }
}

#[test]
fn a_fault_changes_its_own_channel_only() {
    let catalogue = catalogue();
    let hit = catalogue.by_name("gearbox_oil_temperature").unwrap().id;
    let fault = |kind| Fault {
        channel: hit,
        at_us: 30 * SECOND_US,
        lasts_us: Some(20 * SECOND_US),
        kind,
        amount: 30.0,
    };
    let healthy = run(5, 60, 1, &[]);
    let good = ints(&healthy, hit);
    for kind in [
        FaultKind::Offset,
        FaultKind::Ramp,
        FaultKind::Stuck,
        FaultKind::Dead,
    ] {
        let faulty = run(5, 60, 1, &[fault(kind)]);
        let others = |r: &[Reading]| {
            let others: Vec<Reading> = r.iter().filter(|r| r.channel != hit).copied().collect();
            bits(&others)
        };
        assert_eq!(others(&faulty), others(&healthy), "{kind:?}");
        let bad = ints(&faulty, hit);
        // the first reading is 0.75 s after the start, so the 30th is the first one with the fault
        assert_eq!(bad[..30], good[..30], "{kind:?}");
        assert_eq!(bad[50..], good[50..], "{kind:?}");
        match kind {
            FaultKind::Offset => assert!((30..50).all(|i| bad[i] == good[i] + 300)),
            FaultKind::Ramp => assert!(bad[49] - good[49] > 90 && bad[49] > bad[31]),
            FaultKind::Stuck => assert!((30..50).all(|i| bad[i] == bad[30])),
            FaultKind::Dead => {
                let dead = faulty.iter().filter(|r| r.channel == hit);
                assert_eq!(
                    dead.filter(|r| r.quality == Quality::NotANumber).count(),
                    20
                );
            }
        }
    }
}

#[test]
fn an_hour_looks_like_a_healthy_turbine() {
    let catalogue = catalogue();
    let readings = run(1, 3_600, 1, &[]);
    let range = |name: &str| {
        let channel = catalogue.by_name(name).unwrap();
        let raw = ints(&readings, channel.id);
        let scale = channel.scale_num as f64 / channel.scale_den as f64;
        let (min, max) = (raw.iter().min().unwrap(), raw.iter().max().unwrap());
        (*min as f64 * scale, *max as f64 * scale)
    };
    let (low, high) = range("active_power");
    assert!(
        low >= -10.0 && high <= 3_050.0 && high - low > 300.0,
        "{low} {high}"
    );
    let (low, high) = range("wind_speed");
    assert!(low >= 0.0 && high < 30.0 && high > 4.0, "{low} {high}");
    let (low, high) = range("gearbox_oil_temperature");
    assert!(low > 10.0 && high < 75.0, "{low} {high}");
    let (low, high) = range("gearbox_planet_vibration_10_1000hz");
    assert!(
        low >= 0.0 && high < 3.5,
        "below the alert boundary: {low} {high}"
    );
    let (low, high) = range("grid_frequency");
    assert!(low > 49.8 && high < 50.2, "{low} {high}");
}

#[test]
fn a_suspended_process_did_not_sample() {
    let mut simulator = Simulator::new(&catalogue(), &turbine(), 1, START, &[]);
    let mut out = Vec::new();
    simulator.advance(START.plus_us(2 * SECOND_US), &mut out);
    out.clear();
    let woken = START.plus_us(3_600 * SECOND_US);
    simulator.skip_to(woken);
    assert!(simulator.next_due() >= woken);
    simulator.advance(woken.plus_us(SECOND_US), &mut out);
    assert!(out.iter().all(|r| r.time >= woken) && !out.is_empty());
}
