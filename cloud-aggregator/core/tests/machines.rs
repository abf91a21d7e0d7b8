//! The detectors that come with the product, on series of the shape of real failures.

#![allow(clippy::unwrap_used)] // a test that has not what it expects fails

mod world;

use windlass_cloud_core::bench::noise;
use windlass_cloud_core::output::{AlertEvent, AlertState, Level};
use windlass_shared::catalogue::{Class, RateGroup, Raw};
use windlass_shared::record::{Batch, Block, Body, Column, Flags, Times};
use windlass_shared::time::{EventTime, MINUTE_US};
use world::*;

const EXAMPLE: &str = include_str!("../../detectors.example.toml");

/// One reading of one channel of a profile, in the order of time.
fn series(profile: &str, channel: &str, rows: &[(i64, f64)]) -> Vec<AlertEvent> {
    let fleet = fleet();
    let mut feed = feed(&fleet, "T3", profile);
    let catalogue = catalogue(&fleet, profile);
    let channel = catalogue.by_name(channel).unwrap();
    let float = channel.raw == Raw::Float;
    let mut log = TestLog::default();
    log.detectors(0, EXAMPLE);
    let open = feed.open(epoch(1), EventTime(rows[0].0));
    let long_after = 90 * 86_400;
    log.record(long_after, &feed.gateway, &open);
    for _ in 0..10 {
        log.tick(long_after);
    }
    for (i, (time, value)) in rows.iter().enumerate() {
        let raw = if float {
            value.to_bits() as i64
        } else {
            channel.raw_nearest(*value).unwrap()
        };
        let batch = Batch {
            catalogue: catalogue.hash,
            class: Class::Condition,
            rate_group: RateGroup::Slow,
            blocks: vec![Block {
                flags: Flags::default(),
                times: Times::Listed(vec![EventTime(*time)]),
                columns: vec![Column {
                    channel: channel.id,
                    float,
                    at: 0,
                }],
                quality: Vec::new(),
            }],
            raw: vec![raw],
        };
        let record = feed.record(Body::Batch(batch), EventTime(time + 1));
        log.record(long_after + i as i64 / 100, &feed.gateway, &record);
    }
    run(&fleet, &log).alerts()
}

fn episodes(alerts: &[AlertEvent]) -> Vec<(String, EventTime)> {
    let mut found: Vec<(String, EventTime)> = Vec::new();
    for a in alerts.iter().filter(|a| a.state == AlertState::Confirmed) {
        match found.iter_mut().find(|(id, _)| *id == a.episode) {
            Some((_, first)) => *first = (*first).min(a.first),
            None => found.push((a.episode.clone(), a.first)),
        }
    }
    found
}

/// A machine around 90 °F that wanders, dips for an hour now and then, stands cold for half a day once it fails.
#[test]
fn a_machine_that_goes_cold_is_one_episode_and_its_dips_are_none() {
    let fails = 5_000;
    let rows: Vec<(i64, f64)> = (0..5_400)
        .map(|i: i64| {
            let wander = (i.rem_euclid(600) - 300).abs() as f64 / 60.0;
            let jitter = noise(3, 1, i as u64, 1_000) as f64 / 250.0;
            let dip = if i % 1_100 > 1_085 { 40.0 } else { 0.0 };
            let cold = if i >= fails {
                8.0 * ((i - fails) as f64 / 24.0).min(7.0)
            } else {
                0.0
            };
            (
                T0.0 + i * 5 * MINUTE_US,
                88.0 + wander + jitter - dip - cold,
            )
        })
        .collect();
    let alerts = series("machine-temperature", "machine_temperature", &rows);
    let found = episodes(&alerts);
    assert_eq!(found.len(), 1, "{found:?}");
    let after_h = (found[0].1.0 - rows[fails as usize].0) / (60 * MINUTE_US);
    assert!((0..=12).contains(&after_h), "{after_h} h after it began");
    assert!(alerts.iter().all(|a| a.rule == "machine-temperature-falls"));
    assert_eq!(alerts.last().unwrap().level, Level::Alarm);
}

/// About normal with standard deviation 1: the sum of twelve uniforms.
fn gauss(seed: u64, i: i64, n: u64) -> f64 {
    let one = |k| noise(seed, i as u64, n * 100 + k, 1 << 20) as f64 / f64::from(1 << 20);
    (0..12).map(one).sum::<f64>() - 6.0
}

/// Sixty days of ten-minute records under changing wind; the bearing's vibration and envelope grow over the last nine.
#[test]
fn a_bearing_that_fails_over_days_is_one_episode_and_the_wind_is_none() {
    let fault = 51 * 144;
    for (channel, idle, rise, worst, sigma, expected) in [
        (
            "gearbox_bearing_vibration",
            0.6,
            0.9,
            4.0,
            0.04,
            vec![
                "history-gearbox-bearing-vibration",
                "history-gearbox-bearing-vibration-rises",
            ],
        ),
        (
            "gearbox_bearing_envelope",
            1.2,
            1.6,
            8.0,
            0.08,
            vec!["history-gearbox-bearing-envelope-rises"],
        ),
    ] {
        let mut wind = 8.0_f64;
        let rows: Vec<(i64, f64)> = (0..60 * 144)
            .map(|i: i64| {
                wind = (wind + 0.05 * (8.0 - wind) + 0.5 * gauss(7, i, 1)).clamp(0.0, 24.0);
                let load = ((wind - 3.0) / 9.0).clamp(0.0, 1.0);
                let progress = (i - fault).max(0) as f64 / f64::from(9 * 144);
                let healthy = idle + rise * load;
                let value = healthy * (1.0 + worst * progress * progress) + sigma * gauss(7, i, 2);
                (T0.0 + i * 10 * MINUTE_US, value.max(0.0))
            })
            .collect();
        let alerts = series("gearbox-history", channel, &rows);
        let found = episodes(&alerts);
        assert_eq!(found.len(), 1, "{channel}: {found:?}");
        let after_days = (found[0].1.0 - rows[fault as usize].0) / (24 * 60 * MINUTE_US);
        assert!(
            (0..=6).contains(&after_days),
            "{after_days} days after it began"
        );
        let mut rules: Vec<&str> = alerts.iter().map(|a| a.rule.as_str()).collect();
        rules.sort_unstable();
        rules.dedup();
        assert_eq!(rules, expected);
    }
}
