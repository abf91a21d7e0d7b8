//! Readings are a function of scenario and seed, every channel of the profile lives, and values are possible ones.

mod rig;

use std::collections::BTreeMap;

use rig::{BEGINS, DAY_US, example, fleet, profile, scenario};
use sha2::{Digest, Sha256};
use windlass_fleet_model::{Fleet, Pace, Turbine};
use windlass_shared::catalogue::Kind;
use windlass_shared::record::Quality;
use windlass_shared::time::{EventTime, SECOND_US};

/// Everything that a turbine says, asked every `every` seconds, as a hash.
fn hash(turbine: &mut Turbine, seconds: i64) -> String {
    let mut hash = Sha256::new();
    for i in 0..=seconds {
        let due = turbine.step(BEGINS.plus_us(i * SECOND_US));
        for (channel, raw) in due.channels.iter().zip(due.raw) {
            hash.update(channel.to_le_bytes());
            hash.update(raw.to_le_bytes());
        }
        for (at, _) in due.bad {
            hash.update(at.to_le_bytes());
        }
    }
    let digest = hash.finalize();
    let first: [u8; 8] = digest[..8].try_into().expect("32 bytes");
    format!("{:016x}", u64::from_be_bytes(first))
}

#[test]
fn the_same_seed_gives_the_same_bytes_whatever_else_runs() {
    let fleet_7 = fleet(&scenario(""), Pace::Second);
    let alone = hash(&mut fleet_7.turbine(2), 600);
    // after and between others, on another thread
    let together = std::thread::scope(|s| {
        let others: Vec<_> = (0..4)
            .map(|seat| {
                let mut turbine = fleet_7.turbine(seat);
                s.spawn(move || hash(&mut turbine, 600))
            })
            .collect();
        others
            .into_iter()
            .map(|t| t.join().unwrap())
            .collect::<Vec<_>>()
    });
    assert_eq!(together[2], alone);
    assert_ne!(together[1], alone);
    let other = Fleet::new(
        &scenario(""),
        8,
        &[profile("onshore-3mw")],
        BEGINS,
        Pace::Second,
    )
    .unwrap();
    assert_ne!(hash(&mut other.turbine(2), 600), alone);
}

#[test]
fn bytes_are_the_same_on_every_platform() {
    let hash = hash(&mut fleet(&example(), Pace::Second).turbine(0), 1_800);
    assert_eq!(hash, "10edae1fd40d8b4e");
}

#[test]
fn a_turbine_does_not_notice_how_far_apart_it_is_asked() {
    let fleet = fleet(&scenario(""), Pace::Second);
    let (mut often, mut seldom) = (fleet.turbine(0), fleet.turbine(0));
    for i in 0..=900 {
        let at = BEGINS.plus_us(i * SECOND_US);
        let (channels, raw) = {
            let due = often.step(at);
            (due.channels.to_vec(), due.raw.to_vec())
        };
        if i % 90 == 0 && i > 0 {
            let due = seldom.step(at);
            // on-change channels say more to who asks less often: they stand last
            let periodic = channels.len().min(due.channels.len());
            assert_eq!(due.channels[..periodic], channels[..periodic]);
            assert_eq!(due.raw[..299], raw[..299]);
        }
    }
}

#[test]
fn channels_come_at_their_periods_and_on_change() {
    let stopped = "[[operation]]\nkind = \"stop\"\nfarm = \"NORD\"\nfrom = \"300s\"\nto = \"400s\"";
    let mut turbine = fleet(&scenario(stopped), Pace::Second).turbine(0);
    let catalogue = turbine.catalogue().clone();
    let mut counts: BTreeMap<u16, i64> = BTreeMap::new();
    let mut alarms = Vec::new();
    for i in 0..600 {
        let due = turbine.step(BEGINS.plus_us(i * SECOND_US));
        assert!(due.channels.len() == due.raw.len());
        for (channel, raw) in due.channels.iter().zip(due.raw) {
            *counts.entry(*channel).or_default() += 1;
            if catalogue.channels[usize::from(*channel)].kind == Kind::Event {
                alarms.push((i, *raw));
            }
        }
    }
    for (i, channel) in catalogue.channels.iter().enumerate() {
        if channel.period_us > 0 {
            assert_eq!(
                counts[&(i as u16)],
                600 * SECOND_US / channel.period_us,
                "{}",
                channel.name
            );
        }
    }
    assert_eq!(alarms, [(300, 110), (400, 0)]);
    assert_eq!(
        turbine.next_due(EventTime(BEGINS.0 + 1)),
        BEGINS.plus_us(SECOND_US)
    );
    assert_eq!(turbine.next_due(BEGINS), BEGINS);
}

/// Constant, and meant to be: nothing burns, no lamp breaks, the power factor is asked for as it is.
const MEANT: [&str; 4] = [
    "smoke_detector_nacelle_state",
    "smoke_detector_tower_state",
    "aviation_light_fault",
    "power_factor_setpoint",
];

/// What a unit's readings can be at all.
fn possible(unit: &str) -> (f64, f64) {
    match unit {
        "kW" | "kvar" | "kVA" => (-1_500.0, 3_200.0),
        "m/s" => (0.0, 45.0),
        "rpm" => (0.0, 1_900.0),
        "Hz" => (0.0, 52.0),
        "°C" => (-30.0, 200.0),
        "%" | "mA" => (0.0, 100.0),
        "bar" => (0.0, 210.0),
        "kg/m3" => (0.9, 1.5),
        "hPa" => (850.0, 1_080.0),
        "deg" => (-720.0, 720.0),
        "deg/s" => (-10.0, 10.0),
        "m/s2" => (-5.0, 12.0),
        "mm/s" => (0.0, 12.0),
        "V" => (0.0, 1_250.0),
        "kV" => (0.0, 22.0),
        "A" => (0.0, 4_000.0),
        "kNm" => (-12_000.0, 100_000.0),
        "mm" => (-1.0, 250.0),
        "L/min" => (0.0, 300.0),
        "mm/h" => (0.0, 60.0),
        "ms" | "1/min" => (0.0, 500.0),
        "us" => (0.0, 1_000.0),
        _ => (0.0, 4_294_967_296.0),
    }
}

#[test]
fn every_channel_lives_and_says_what_is_possible() {
    let busy = "
[[operation]]
kind = \"curtailment\"
turbine = \"T01\"
from = \"5h\"
to = \"6h\"
setpoint_kw = 800
source = \"operator\"
reason = \"noise\"
[[operation]]
kind = \"curtailment\"
turbine = \"T01\"
from = \"7h\"
to = \"8h\"
setpoint_kw = 0
source = \"operator\"
reason = \"bats\"
[[operation]]
kind = \"curtailment\"
turbine = \"T01\"
from = \"9h\"
to = \"10h\"
setpoint_kw = 0
source = \"farm_controller\"
reason = \"shadow\"
[[operation]]
kind = \"derate\"
turbine = \"T01\"
from = \"12h\"
to = \"13h\"
limit_kw = 1000
[[operation]]
kind = \"service\"
turbine = \"T01\"
from = \"20h\"
to = \"26h\"
[[operation]]
kind = \"icing\"
turbine = \"T01\"
from = \"30h\"
to = \"31h\"
severity = 0.3
[[operation]]
kind = \"trip\"
turbine = \"T01\"
from = \"32h\"
to = \"33h\"
code = 360
[[operation]]
kind = \"grid_fault\"
turbine = \"T01\"
from = \"34h\"
to = \"36h\"
";
    let scenario = scenario(busy);
    let mut ranges: Vec<Option<(i64, i64)>> = vec![None; 300];
    // two weeks of each season, so that heaters and thunder have their time
    for season in 0..4 {
        let begins = BEGINS.plus_us(season * 91 * DAY_US);
        let profiles = [profile("onshore-3mw")];
        let fleet = Fleet::new(&scenario, 7, &profiles, begins, Pace::TenSeconds).unwrap();
        let mut turbine = fleet.turbine(0);
        for i in 0..14 * 8_640 {
            let due = turbine.step(begins.plus_us(i * 10 * SECOND_US));
            for (channel, raw) in due.channels.iter().zip(due.raw) {
                let range = ranges[usize::from(*channel)].get_or_insert((*raw, *raw));
                *range = (range.0.min(*raw), range.1.max(*raw));
            }
        }
    }
    let catalogue = profile("onshore-3mw");
    let mut wrong = Vec::new();
    for (channel, range) in catalogue.channels.iter().zip(&ranges) {
        let Some((low, high)) = range else {
            wrong.push(format!("{} says nothing", channel.name));
            continue;
        };
        if low == high && !MEANT.contains(&channel.name.as_str()) {
            wrong.push(format!("{} is always {low}", channel.name));
        }
        let (least, most) = possible(&channel.unit);
        if channel.value(*low) < least || channel.value(*high) > most {
            wrong.push(format!(
                "{}: {} to {} {}",
                channel.name,
                channel.value(*low),
                channel.value(*high),
                channel.unit
            ));
        }
        if let Some(modulus) = channel.modulus {
            assert!(*low >= 0 && *high < modulus);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn sensors_stick_rattle_and_die() {
    let text = |kind: &str| {
        format!(
            "[[fault]]\nkind = \"sensor_{kind}\"\nturbine = \"T01\"\nchannel = \"gearbox_oil_temperature\"\nfrom = \"60s\"\nuntil = \"120s\""
        )
    };
    let catalogue = profile("onshore-3mw");
    let hit = catalogue
        .channels
        .iter()
        .position(|c| c.name == "gearbox_oil_temperature")
        .unwrap();
    let read = |more: &str| {
        let mut turbine = fleet(&scenario(more), Pace::Second).turbine(0);
        (0..180)
            .map(|i| {
                let due = turbine.step(BEGINS.plus_us(i * SECOND_US));
                let at = due
                    .channels
                    .iter()
                    .position(|c| usize::from(*c) == hit)
                    .unwrap();
                let others: i64 = due.raw.iter().sum::<i64>() - due.raw[at];
                (
                    due.raw[at],
                    due.bad.to_vec() == [(at as u16, Quality::NotANumber)],
                    others,
                )
            })
            .collect::<Vec<_>>()
    };
    let healthy = read("");
    for kind in ["stuck", "noisy", "dead"] {
        let ill = read(&text(kind));
        for i in 0..180 {
            assert_eq!(ill[i].2, healthy[i].2, "{kind}: another channel changed");
            if !(60..120).contains(&i) {
                assert_eq!(ill[i], healthy[i], "{kind} {i}");
            }
        }
        let inside = &ill[60..120];
        match kind {
            "stuck" => assert!(inside.iter().all(|r| r.0 == healthy[60].0)),
            "noisy" => {
                let wide = inside
                    .iter()
                    .zip(&healthy[60..])
                    .map(|(a, b)| (a.0 - b.0).abs())
                    .max();
                assert!(wide.unwrap() > 30);
            }
            _ => assert!(inside.iter().all(|r| r.1)),
        }
    }
}
