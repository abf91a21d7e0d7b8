//! Detectors over whole logs: what they raise, confirm, withdraw and clear, and into which episodes it falls.

#![allow(clippy::unwrap_used)] // a test that has not what it expects fails

mod world;

use std::sync::Arc;

use windlass_cloud_core::bench::Feed;
use windlass_cloud_core::detect::Detectors;
use windlass_cloud_core::fleet::Fleet;
use windlass_cloud_core::output::{AlertEvent, AlertState, Direction, Level};
use windlass_shared::catalogue::Channel;
use windlass_shared::record::Record;
use world::*;

const EXAMPLE: &str = include_str!("../../detectors.example.toml");

const HOT: &str = r#"
version = 4
[[threshold]]
id = "hot"
cause = "heat"
channel = "temperature"
on = "readings"
persistence = 3
warning_high = 75.0
alarm_high = 85.0
hysteresis = 5.0
when = { channel = "power", above = 10.0 }
"#;

/// A turbine whose temperature (in tenths) and power (in kW) are functions of the second.
struct Turbine {
    fleet: Arc<Fleet>,
    feed: Feed,
    log: TestLog,
}

impl Turbine {
    fn new(detectors: &str) -> Self {
        let fleet = fleet();
        let feed = feed(&fleet, "T1", "small");
        let mut log = TestLog::default();
        log.detectors(0, detectors);
        Self { fleet, feed, log }
    }

    fn open(&mut self) {
        let open = self.feed.open(epoch(1), at(0));
        self.log.record(0, &self.feed.gateway, &open);
    }

    /// The records of a second.
    fn second(
        &mut self,
        s: i64,
        temperature: impl Fn(i64) -> f64,
        power: impl Fn(i64) -> f64,
    ) -> Vec<Record> {
        second(&mut self.feed, s, |channel: &Channel, _| {
            match channel.name.as_str() {
                "temperature" => (temperature(s) * 10.0) as i64,
                "power" => (power(s) * 10.0) as i64,
                _ => 1,
            }
        })
    }

    fn live(
        &mut self,
        seconds: std::ops::Range<i64>,
        temperature: impl Fn(i64) -> f64,
        power: impl Fn(i64) -> f64,
    ) {
        for s in seconds {
            for record in self.second(s, &temperature, &power) {
                self.log.record(s + 1, &self.feed.gateway, &record);
            }
            self.log.tick(s + 1);
        }
    }

    fn alerts(&self) -> Vec<AlertEvent> {
        run(&self.fleet, &self.log).alerts()
    }
}

fn short(a: &AlertEvent) -> (AlertState, Level, u32) {
    (a.state, a.level, a.revision)
}

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

#[test]
fn a_file_tells_all_its_mistakes_at_once() {
    let text = r#"
version = 0
[operating]
state_channel = "iec_state"
normal = []
[[threshold]]
id = "a"
cause = "c"
channel = "x"
on = "readings"
statistic = "max"
warning_high = 5
alarm_high = 4
persistance = 3
[[threshold]]
id = "a"
cause = "c"
channel = "x"
on = "2m"
when = { channel = "p", above = 1.0, below = 2.0 }
[[robust_z]]
id = "z"
cause = "c"
channel = "x"
window = "1m"
baseline = 10
minimum = 20
spread_min = 0
direction = "up"
warning = 3
"#;
    let e = Detectors::parse("detectors.toml", text).unwrap_err();
    let keys: Vec<&str> = e.problems.iter().map(|p| p.key.as_str()).collect();
    for key in [
        "version",
        "operating.normal",
        "threshold[0].persistance",
        "threshold[1].on",
        "robust_z[0].spread_min",
        "robust_z[0].direction",
        "threshold[0].alarm_high",
        "threshold[0].statistic",
        "threshold[1].id",
        "threshold[1].when",
        "threshold[1]",
        "robust_z[0].baseline",
    ] {
        assert!(keys.contains(&key), "{key} in {keys:?}");
    }
    assert!(e.to_string().contains("did you mean `persistence`?"));
}

#[test]
fn a_breach_is_raised_at_once_confirmed_by_its_minute_and_cleared() {
    let mut t = Turbine::new(HOT);
    t.open();
    // 76 from second 90 on, 86 from 130 on, 60 from 150 on
    let temperature = |s| match s {
        90..130 => 76.0,
        130..150 => 86.0,
        _ => 60.0,
    };
    t.live(0..250, temperature, |_| 100.0);
    let alerts = t.alerts();
    let found: Vec<_> = alerts.iter().map(short).collect();
    assert_eq!(
        found,
        [
            (AlertState::Provisional, Level::Warning, 1), // three readings, at 92
            (AlertState::Confirmed, Level::Warning, 2),   // the minute 60 to 120 has settled
            (AlertState::Provisional, Level::Alarm, 3),   // three readings above 85, at 132
            (AlertState::Confirmed, Level::Alarm, 4),     // the minute 120 to 180
            (AlertState::Cleared, Level::Alarm, 5),       // the minute 180 to 240
        ]
    );
    let first = &alerts[0];
    assert_eq!((first.value, first.limit), (76.0, 75.0));
    assert_eq!((first.first, first.last), (at(90), at(92)));
    assert_eq!(first.log_time.0, at(93).0);
    assert_eq!(
        (first.direction, first.channel.as_str()),
        (Direction::High, "temperature")
    );
    assert_eq!(first.operating_state, Some(1));
    assert_eq!((first.config_version, first.unit.as_str()), (1, "°C"));
    // seq 1 is the Open, then two records a second; temperature is in the second of them
    assert_eq!(first.sources[0].seqs, [(2 * 93 + 1, 2 * 93 + 1)]);
    let confirmed = &alerts[1];
    assert_eq!(
        (confirmed.window.start, confirmed.window.end),
        (at(60), at(120))
    );
    assert_eq!(confirmed.window.revision, 1);
    assert!(
        alerts
            .iter()
            .all(|a| a.alert == first.alert && a.episode == first.episode)
    );
}

#[test]
fn too_few_readings_or_a_machine_that_stands_raise_nothing() {
    let mut t = Turbine::new(HOT);
    t.open();
    let spikes = |s| if s % 60 < 2 { 99.0 } else { 60.0 };
    t.live(0..180, spikes, |_| 100.0);
    t.live(180..400, |_| 99.0, |_| 0.0);
    assert_eq!(t.alerts(), []);
}

#[test]
fn what_the_settled_minute_does_not_bear_out_is_withdrawn() {
    let mut t = Turbine::new(HOT);
    t.open();
    // power is there when the readings come, and hardly at all over the minute
    let temperature = |s| if (70..80).contains(&s) { 80.0 } else { 60.0 };
    t.live(0..130, temperature, |s| {
        if (70..80).contains(&s) { 50.0 } else { 0.0 }
    });
    let alerts = t.alerts();
    let found: Vec<_> = alerts.iter().map(short).collect();
    assert_eq!(
        found,
        [
            (AlertState::Provisional, Level::Warning, 1),
            (AlertState::Withdrawn, Level::Warning, 2),
        ]
    );
}

#[test]
fn a_reading_within_the_hysteresis_does_not_clear() {
    let mut t = Turbine::new(HOT);
    t.open();
    let temperature = |s| match s {
        0..60 => 80.0,
        60..180 => 72.0, // below the limit, above 70
        _ => 69.0,
    };
    t.live(0..245, temperature, |_| 100.0);
    let mut alerts = t.alerts();
    let cleared = alerts.pop().unwrap();
    assert_eq!(cleared.state, AlertState::Cleared);
    assert_eq!(cleared.log_time.0, at(240).0);
    // the end still says what the alert was raised on
    let raised = alerts.pop().unwrap();
    assert_eq!(cleared.window.kind, raised.window.kind);
    assert_eq!(cleared.operating_state, raised.operating_state);
    assert!(!cleared.sources.is_empty(), "{cleared:?}");
    assert_eq!(cleared.detail, "normal again");
}

const MINUTES: &str = r#"
version = 1
[[threshold]]
id = "warm"
cause = "heat"
channel = "temperature"
on = "1m"
persistence = 2
warning_high = 50.0
[[threshold]]
id = "warm-ten"
cause = "heat"
channel = "temperature"
on = "10m"
statistic = "max"
alarm_high = 90.0
quiet_s = 120
"#;

/// A hole from second 60 to 120 holds the settled chain up; minutes 2 to 4 are warm.
fn held_up(fill: f64) -> Vec<AlertEvent> {
    let mut t = Turbine::new(MINUTES);
    t.open();
    t.live(0..60, |_| 20.0, |_| 1.0);
    let missing: Vec<Record> = (60..120)
        .flat_map(|s| t.second(s, |_| fill, |_| 1.0))
        .collect();
    let (hole, rest) = missing.split_at(60);
    for record in rest {
        t.log.record(120, &t.feed.gateway, record);
    }
    t.live(120..240, |_| 60.0, |_| 1.0);
    t.live(240..400, |_| 20.0, |_| 1.0);
    for record in hole {
        t.log.record(401, &t.feed.gateway, record);
    }
    t.log.tick(402);
    t.alerts()
}

#[test]
fn windows_behind_a_hole_raise_provisional_alerts_that_the_settled_chain_confirms() {
    let alerts = held_up(20.0);
    let found: Vec<_> = alerts.iter().map(short).collect();
    assert_eq!(
        found,
        [
            (AlertState::Provisional, Level::Warning, 1),
            (AlertState::Confirmed, Level::Warning, 2),
            (AlertState::Cleared, Level::Warning, 3),
        ]
    );
    // the second warm minute in a row makes it, and it begins with the first
    assert_eq!(alerts[0].first, at(120));
    assert_eq!(alerts[0].window.start, at(180));
    assert!(alerts[0].log_time.0 < at(280).0);
    assert_eq!(alerts[1].log_time.0, at(401).0);
}

#[test]
fn a_limit_that_is_never_reached_when_all_has_come_is_withdrawn() {
    // minute 1 came half, and that half was hot: with the cold half its mean is normal
    let mut t = Turbine::new(&MINUTES.replace("persistence = 2", "persistence = 1"));
    t.open();
    let first: Vec<Record> = (0..30)
        .flat_map(|s| t.second(s, |_| 20.0, |_| 1.0))
        .collect();
    t.live(30..60, |_| 60.0, |_| 1.0);
    t.live(60..150, |_| 20.0, |_| 1.0);
    for record in &first {
        t.log.record(151, &t.feed.gateway, record);
    }
    t.log.tick(152);
    let found: Vec<_> = t.alerts().iter().map(short).collect();
    assert_eq!(
        found,
        [
            (AlertState::Provisional, Level::Warning, 1),
            (AlertState::Withdrawn, Level::Warning, 2),
        ]
    );
}

#[test]
fn breaches_of_one_cause_are_one_episode_until_it_has_been_quiet() {
    let mut t =
        Turbine::new(&MINUTES.replace("warning_high = 50.0", "warning_high = 50.0\nquiet_s = 120"));
    t.open();
    let temperature = |s| match s {
        60..200 | 1_800..1_920 => 60.0,
        300..305 => 95.0, // only the ten-minute window sees it
        _ => 20.0,
    };
    t.live(0..2_500, temperature, |_| 1.0);
    let alerts = t.alerts();
    let confirmed: Vec<_> = alerts
        .iter()
        .filter(|a| a.state == AlertState::Confirmed)
        .map(|a| (a.rule.as_str(), a.first, a.episode.clone()))
        .collect();
    let rules: Vec<_> = confirmed.iter().map(|c| (c.0, c.1)).collect();
    assert_eq!(
        rules,
        [("warm", at(60)), ("warm-ten", at(0)), ("warm", at(1_800))]
    );
    assert_eq!(confirmed[0].2, confirmed[1].2);
    assert_ne!(confirmed[0].2, confirmed[2].2);
}

#[test]
fn two_episodes_that_turn_out_to_be_one_are_merged_into_the_older() {
    let rule = r#"
version = 1
[[threshold]]
id = "hot"
cause = "heat"
channel = "temperature"
on = "readings"
persistence = 1
warning_high = 75.0
quiet_s = 90
"#;
    let mut t = Turbine::new(rule);
    t.open();
    t.live(0..30, |_| 80.0, |_| 1.0);
    let between: Vec<Record> = (30..240)
        .flat_map(|s| t.second(s, |_| 80.0, |_| 1.0))
        .collect();
    t.live(240..300, |_| 80.0, |_| 1.0);
    for record in &between {
        t.log.record(301, &t.feed.gateway, record);
    }
    t.log.tick(302);
    let alerts = t.alerts();
    let merged: Vec<_> = alerts
        .iter()
        .filter(|a| a.state == AlertState::Merged)
        .collect();
    assert_eq!(merged.len(), 1);
    assert_eq!(merged[0].merged_into.as_ref(), Some(&alerts[0].episode));
    assert_ne!(merged[0].episode, alerts[0].episode);
    // whoever follows `merged_into` sees one episode
    let into = |e: &String| {
        if *e == merged[0].episode {
            alerts[0].episode.clone()
        } else {
            e.clone()
        }
    };
    assert!(alerts.iter().all(|a| into(&a.episode) == alerts[0].episode));
}

#[test]
fn a_new_configuration_takes_effect_where_the_log_has_it() {
    let mut t = Turbine::new(HOT);
    t.open();
    t.live(0..70, |_| 80.0, |_| 100.0);
    t.log.detectors(70, "version = 5");
    t.live(70..140, |_| 80.0, |_| 100.0);
    let alerts = t.alerts();
    let found: Vec<_> = alerts.iter().map(short).collect();
    assert_eq!(
        found,
        [
            (AlertState::Provisional, Level::Warning, 1),
            (AlertState::Confirmed, Level::Warning, 2),
            (AlertState::Cleared, Level::Warning, 3),
        ]
    );
    assert_eq!(alerts[2].detail, "the rule was changed or removed");
}

#[test]
fn a_score_learns_from_normal_operation_only() {
    let rule = r#"
version = 1
[operating]
state_channel = "iec_state"
normal = [1]
[[robust_z]]
id = "power-odd"
cause = "power"
channel = "power"
window = "1m"
baseline = 20
minimum = 10
spread_min = 1.0
direction = "both"
warning = 4.0
alarm = 8.0
persistence = 2
"#;
    let mut t = Turbine::new(rule);
    t.open();
    // derated minutes at half power must neither alarm nor teach
    let derated = |s: i64| (600..1_500).contains(&s);
    for s in 0..2_700 {
        let power = match s {
            _ if derated(s) => 50.0,
            2_400.. => 90.0,
            _ => 100.0,
        };
        let records = second(&mut t.feed, s, |c: &Channel, _| match c.name.as_str() {
            "power" => (power * 10.0) as i64,
            "iec_state" => {
                if derated(s) {
                    2
                } else {
                    1
                }
            }
            _ => 200,
        });
        for record in records {
            t.log.record(s + 1, &t.feed.gateway, &record);
        }
    }
    let alerts = t.alerts();
    let found: Vec<_> = alerts.iter().map(short).collect();
    assert_eq!(found, [(AlertState::Confirmed, Level::Alarm, 1)]);
    assert_eq!(alerts[0].first, at(2_400));
    assert_eq!(alerts[0].direction, Direction::Low);
    // ten below the median at a spread of one
    assert_eq!(alerts[0].score, Some(-10.0));
    assert_eq!((alerts[0].value, alerts[0].limit), (90.0, 92.0));
}
