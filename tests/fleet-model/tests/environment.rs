//! What the weather forbids: ice that it brings itself, too little wind, too much; in the states and in the ground truth.

mod rig;

use rig::{BEGINS, DAY_US, fleet, profile};
use windlass_fleet_model::control::Mode;
use windlass_fleet_model::record::{Period, Recorder};
use windlass_fleet_model::signal::Signal as S;
use windlass_fleet_model::{Fleet, Icing, Pace, Scenario, Turbine};
use windlass_shared::time::SECOND_US;

const LOW_WIND: f64 = 101.0;
const HIGH_WIND: f64 = 102.0;
const ICE: f64 = 120.0;

/// Three turbines in a climate.
fn site(climate: &str, more: &str) -> Scenario {
    let text = format!(
        "name = \"test\"\nseed = 7\n[[farm]]\nid = \"BERG\"\nprefix = \"B\"\nzone = \"Europe/Berlin\"\n\
         profile = \"onshore-3mw\"\nturbines = 3\nclimate = {{ {climate} }}\n{more}"
    );
    Scenario::parse("test.toml", &text).unwrap_or_else(|e| panic!("{e}"))
}

const HILL: &str = "mean_wind_ms = 9.5, mean_temperature_c = 5, altitude_m = 900";

fn hill(more: &str) -> Scenario {
    site(&format!("{HILL}, cloud_water_gm3 = 0.3"), more)
}

/// Ten-second steps of a turbine, with the second.
fn each(scenario: &Scenario, seat: usize, days: i64, mut look: impl FnMut(i64, &Turbine)) {
    let mut turbine = fleet(scenario, Pace::TenSeconds).turbine(seat);
    for i in 0..days * 8_640 {
        turbine.skip_to(BEGINS.plus_us(i * 10 * SECOND_US));
        look(i * 10, &turbine);
    }
}

fn seconds(us: i64) -> i64 {
    (us - BEGINS.0) / SECOND_US
}

fn inside(icing: &[Icing], second: i64) -> bool {
    icing
        .iter()
        .any(|i| second >= seconds(i.from_us) && i.to_us.is_none_or(|to| second < seconds(to)))
}

fn stands(icing: &[Icing], second: i64) -> bool {
    let stops = icing.iter().flat_map(|i| &i.stops);
    stops
        .into_iter()
        .any(|s| second >= seconds(s.from_us) && s.to_us.is_none_or(|to| second < seconds(to)))
}

#[test]
fn frost_and_cloud_ice_a_farm_s_blades_until_they_thaw() {
    const DAYS: i64 = 30;
    let scenario = hill("");
    let ends = BEGINS.plus_us(DAYS * DAY_US);
    let icing = fleet(&scenario, Pace::TenSeconds).icing(ends);
    assert_eq!(
        icing,
        fleet(&scenario, Pace::Second).icing(ends),
        "whatever the pace"
    );
    let stops: Vec<_> = icing.iter().flat_map(|i| &i.stops).collect();
    assert!(!stops.is_empty() && stops[0].to_us.is_some(), "{icing:?}");
    let clear = site(HILL, "");
    for seat in [0, 2] {
        let mut twin = fleet(&clear, Pace::TenSeconds).turbine(seat);
        let (mut iced, mut standing, mut less, mut again) = (0, 0, 0, 0);
        let mut stood_at = None;
        each(&scenario, seat, DAYS, |second, t| {
            twin.skip_to(BEGINS.plus_us(second * SECOND_US));
            let state = t.truth(S::IecState);
            assert_eq!(t.truth(S::Ice) > 0.0, inside(&icing, second), "{second} s");
            if stands(&icing, second) {
                standing += 1;
                assert_eq!((state, t.truth(S::AlarmCode)), (4.0, ICE), "{second} s");
                let since = *stood_at.get_or_insert(second);
                assert!(second - since < 60 || t.truth(S::ActivePower) <= 0.0);
                return;
            }
            assert_ne!(t.truth(S::AlarmCode), ICE, "{second} s");
            if stood_at.take().is_some()
                && t.truth(S::OperatingState) != f64::from(Mode::Running as u8)
            {
                again += 1;
            }
            if t.truth(S::Ice) > 0.0 && state == 2.0 {
                iced += 1;
                less += i32::from(t.truth(S::ActivePower) < twin.truth(S::ActivePower));
            }
        });
        assert!(
            standing > 360 && iced > 360 && again > 0,
            "{standing} {iced} {again}"
        );
        assert!(
            f64::from(less) > 0.8 * f64::from(iced),
            "ice costs power: {less} of {iced}"
        );
        // the same air without clouds leaves the twin free
        assert_eq!(twin.truth(S::Ice), 0.0);
    }
    let other = Fleet::new(
        &scenario,
        8,
        &[profile("onshore-3mw")],
        BEGINS,
        Pace::TenSeconds,
    );
    assert_ne!(
        other.unwrap().icing(ends),
        icing,
        "another seed, other weather"
    );
}

#[test]
fn a_warm_site_and_one_without_clouds_never_ice() {
    let year = BEGINS.plus_us(365 * DAY_US);
    let of = |climate: &str| fleet(&site(climate, ""), Pace::TenSeconds).icing(year);
    assert_eq!(
        of("mean_temperature_c = 18, seasonal_k = 5, cloud_water_gm3 = 0.6"),
        []
    );
    assert_eq!(
        of("mean_wind_ms = 8"),
        [],
        "no climate has clouds at the hub unless it says so"
    );
    assert!(of("mean_temperature_c = 4, cloud_water_gm3 = 0.3").len() > 5);
}

#[test]
fn a_scenario_s_own_ice_works_as_before() {
    let ice = |severity: f64| {
        format!(
            "[[operation]]\nkind = \"icing\"\nturbine = \"B01\"\nfrom = \"1h\"\nto = \"3h\"\nseverity = {severity}"
        )
    };
    let scenario = site("mean_wind_ms = 9.5", &ice(0.8));
    let (mut stood, mut ran) = (0, 0);
    each(&scenario, 0, 1, |second, t| {
        if (3_600..10_800).contains(&second) {
            stood += 1;
            assert_eq!((t.truth(S::IecState), t.truth(S::AlarmCode)), (4.0, ICE));
        } else {
            ran += i32::from(t.truth(S::IecState) == 1.0);
        }
    });
    assert_eq!(stood, 720);
    assert!(ran > 3_000, "{ran}");
    let operations = fleet(&scenario, Pace::TenSeconds).operations();
    assert_eq!((operations.len(), operations[0].kind), (1, "icing"));
    assert_eq!(operations[0].from_us, BEGINS.plus_us(rig::HOUR_US).0);
    let light = site("mean_wind_ms = 9.5", &ice(0.3));
    each(&light, 0, 1, |second, t| {
        let inside = (3_600..10_800).contains(&second);
        assert_eq!(t.truth(S::Ice) > 0.0, inside);
        assert_ne!(t.truth(S::AlarmCode), ICE);
    });
}

/// Follows a wind's mean as the controller does.
struct Lag {
    mean: Option<f64>,
    part: f64,
}

impl Lag {
    fn of(tau_s: f64) -> Self {
        Self {
            mean: None,
            part: 1.0 - libm::exp(-10.0 / tau_s),
        }
    }

    fn add(&mut self, wind: f64) -> f64 {
        let mean = self.mean.get_or_insert(wind);
        *mean += self.part * (wind - *mean);
        *mean
    }
}

#[test]
fn below_cut_in_it_is_out_of_environmental_specification_with_hysteresis() {
    let calm = site("mean_wind_ms = 3.4", "");
    let mut minute = Lag::of(60.0);
    let mut before = None;
    let (mut waiting, mut starts, mut stops, mut between) = (0, 0, 0, 0);
    each(&calm, 0, 10, |second, t| {
        let wind = minute.add(t.truth(S::WindPoint));
        let mode = t.truth(S::OperatingState) as u8;
        let (state, code) = (t.truth(S::IecState), t.truth(S::AlarmCode));
        if mode == Mode::Waiting as u8 {
            waiting += 1;
            assert_eq!((state, code), (4.0, LOW_WIND), "{second} s");
            assert!(wind < 3.2, "{second} s: waits in {wind} m/s");
            between += i32::from(wind > 2.7);
        }
        if mode == Mode::Starting as u8 {
            assert_eq!(
                (state, code),
                (3.0, 0.0),
                "{second} s: ready, not yet running"
            );
        }
        let running = mode == Mode::Running as u8;
        if running {
            assert!(
                wind >= 2.7 && state <= 2.0,
                "{second} s: runs in {wind} m/s"
            );
            between += i32::from(wind < 3.2);
        }
        let started = before == Some(Mode::Waiting as u8) && mode == Mode::Starting as u8;
        let stopped = before == Some(Mode::Running as u8) && mode == Mode::Stopping as u8;
        assert!(!started || wind >= 3.2, "{second} s: starts in {wind} m/s");
        if stopped {
            assert!(wind < 2.7, "{second} s: stops in {wind} m/s");
            assert_eq!((state, code), (4.0, LOW_WIND));
        }
        starts += i32::from(started);
        stops += i32::from(stopped);
        before = Some(mode);
    });
    assert!(
        waiting > 1_000 && starts > 3 && stops > 3,
        "{waiting} {starts} {stops}"
    );
    assert!(
        between > 100,
        "neither starts nor stops between the two: {between}"
    );
}

#[test]
fn above_cut_out_it_is_out_of_environmental_specification_with_hysteresis() {
    let storm = site("mean_wind_ms = 19", "");
    let mut ten = Lag::of(600.0);
    let (mut stormy, mut calmer, mut was) = (0, 0, false);
    each(&storm, 0, 10, |second, t| {
        let wind = ten.add(t.truth(S::WindPoint));
        let stopped = t.truth(S::AlarmCode) == HIGH_WIND;
        assert_eq!(
            stopped,
            wind > if was { 22.0 } else { 25.0 },
            "{second} s: {wind} m/s"
        );
        if stopped {
            stormy += 1;
            calmer += i32::from(wind < 25.0);
            assert_eq!(t.truth(S::IecState), 4.0);
        }
        was = stopped;
    });
    assert!(stormy > 1_000 && calmer > 100, "{stormy} {calmer}");
}

#[test]
fn changes_of_state_are_noted_beside_the_rows() {
    let stop =
        "[[operation]]\nkind = \"stop\"\nturbine = \"B01\"\nfrom = \"30min\"\nto = \"45min\"";
    let scenario = site("mean_wind_ms = 9.5", stop);
    let to = BEGINS.plus_us(2 * rig::HOUR_US);
    for period in [Period::Second, Period::TenMinutes] {
        let mut expected = Vec::new();
        let mut turbine = fleet(&scenario, period.pace()).turbine(0);
        let each_s = if period == Period::Second { 1 } else { 10 };
        for second in (0..7_200).step_by(each_s) {
            turbine.skip_to(BEGINS.plus_us(second * SECOND_US));
            let of = |s| turbine.truth(s) as u16;
            let state = (of(S::IecState), of(S::OperatingState), of(S::AlarmCode));
            if expected.last().is_none_or(|(_, last)| *last != state) {
                expected.push((second, state));
            }
        }
        let turbine = fleet(&scenario, period.pace()).turbine(0);
        let mut recorder = Recorder::new(turbine, BEGINS, to, period);
        let mut found = Vec::new();
        while recorder.row().is_some() {
            found.extend(recorder.states().map(|c| {
                let state = (
                    u16::from(c.iec_state),
                    u16::from(c.operating_state),
                    c.alarm_code,
                );
                (seconds(c.at.0), state)
            }));
        }
        assert_eq!(found, expected);
        assert!(found.contains(&(1_800, (5, 5, 110))), "{found:?}");
    }
}
