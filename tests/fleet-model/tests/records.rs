//! Ten-minute statistics are those of the seconds, and SCADA profiles carry them.

mod rig;

use rig::{BEGINS, HOUR_US, profile};
use windlass_fleet_model::record::{Period, Recorder};
use windlass_fleet_model::signal::Signal as S;
use windlass_fleet_model::statistic::Spread;
use windlass_fleet_model::{Fleet, Pace, Scenario};
use windlass_shared::catalogue::Kind;
use windlass_shared::time::SECOND_US;

const ROW_US: i64 = 600 * SECOND_US;

/// A windy turbine of a profile, which is stopped for a while.
fn fleet(name: &str, pace: Pace) -> Fleet {
    let text = format!(
        "name = \"test\"\nseed = 11\n[[farm]]\nid = \"N\"\nzone = \"UTC\"\nprofile = \"{name}\"\nturbines = 1\n\
         climate = {{ mean_wind_ms = 9.5 }}\n\
         [[operation]]\nkind = \"stop\"\nfrom = \"25min\"\nto = \"47min 30s\""
    );
    let scenario = Scenario::parse("test.toml", &text).unwrap_or_else(|e| panic!("{e}"));
    Fleet::new(&scenario, 11, &[profile(name)], BEGINS, pace).unwrap_or_else(|e| panic!("{e}"))
}

/// By row and position: what the channel tells, and how far it lay apart.
type Rows = Vec<Vec<Option<(i64, Option<Spread>)>>>;

fn rows(name: &str, pace: Pace, hours: i64) -> Rows {
    let fleet = fleet(name, pace);
    let to = BEGINS.plus_us(hours * HOUR_US);
    let mut recorder = Recorder::new(fleet.turbine(0), BEGINS, to, Period::TenMinutes);
    let mut all = Vec::new();
    while let Some(due) = recorder.row() {
        let mut row = vec![None; profile(name).channels.len()];
        for (i, channel) in due.channels.iter().enumerate() {
            row[usize::from(*channel)] = Some((due.raw[i], due.spreads[i]));
        }
        all.push(row);
    }
    all
}

/// By row and position: the raw values of the seconds.
fn samples(name: &str, hours: i64) -> Vec<Vec<Vec<i64>>> {
    let fleet = fleet(name, Pace::Second);
    let mut turbine = fleet.turbine(0);
    let mut all = Vec::new();
    for second in 0..hours * 3_600 {
        if second % 600 == 0 {
            all.push(vec![Vec::new(); profile(name).channels.len()]);
        }
        let due = turbine.step(BEGINS.plus_us(second * SECOND_US));
        let row: &mut Vec<Vec<i64>> = all.last_mut().expect("a row");
        for (channel, raw) in due.channels.iter().zip(due.raw) {
            row[usize::from(*channel)].push(*raw);
        }
    }
    all
}

fn mean(of: &[i64]) -> f64 {
    of.iter().sum::<i64>() as f64 / of.len() as f64
}

fn sd(of: &[i64]) -> f64 {
    let mean = mean(of);
    let squares = of.iter().map(|x| (*x as f64 - mean) * (*x as f64 - mean));
    (squares.sum::<f64>() / of.len() as f64).sqrt()
}

#[test]
fn ten_minutes_of_seconds_are_exactly_what_the_seconds_give() {
    let rows = rows("onshore-3mw", Pace::EachSecond, 1);
    let samples = samples("onshore-3mw", 1);
    assert_eq!((rows.len(), samples.len()), (6, 6));
    let catalogue = profile("onshore-3mw");
    let mut compared = 0;
    for (row, samples) in rows.iter().zip(&samples) {
        for ((channel, told), samples) in catalogue.channels.iter().zip(row).zip(samples) {
            if channel.kind == Kind::Event {
                continue;
            }
            let (value, spread) = told.unwrap_or_else(|| panic!("{} is there", channel.name));
            let squares = samples
                .iter()
                .map(|x| (*x as f64) * (*x as f64))
                .sum::<f64>();
            let expected = match channel.kind {
                Kind::Analogue => libm::rint(mean(samples)),
                Kind::Rms => libm::rint((squares / samples.len() as f64).sqrt()),
                // the short way round has its own test
                Kind::Angle => continue,
                _ => {
                    assert_eq!(spread, None, "{}", channel.name);
                    samples[samples.len() - 1] as f64
                }
            };
            // where the mean lies just between two raw values, either is right
            assert!((value as f64 - expected).abs() <= 1.0, "{}", channel.name);
            if channel.kind != Kind::Analogue && channel.kind != Kind::Rms {
                continue;
            }
            let spread = spread.expect("a spread");
            assert_eq!(
                Some(&spread.least),
                samples.iter().min(),
                "{}",
                channel.name
            );
            assert_eq!(Some(&spread.most), samples.iter().max(), "{}", channel.name);
            assert!(
                (spread.sd - sd(samples)).abs() < 1e-6 * (1.0 + spread.sd),
                "{}",
                channel.name
            );
            compared += 1;
        }
    }
    assert!(compared > 6 * 200, "{compared}");
}

#[test]
fn ten_second_samples_come_close_to_the_seconds() {
    const HOURS: i64 = 24;
    let rows = rows("onshore-3mw", Pace::TenSeconds, HOURS);
    let samples = samples("onshore-3mw", HOURS);
    let catalogue = profile("onshore-3mw");
    let at = |name: &str| {
        catalogue
            .channels
            .iter()
            .position(|c| c.name == name)
            .expect("it")
    };
    let wind = at("wind_speed");
    let (mut sds, mut n) = ((0.0, 0.0), 0.0);
    for (row, samples) in rows.iter().zip(&samples) {
        let (value, spread) = row[wind].expect("wind");
        let (spread, samples) = (spread.expect("a spread"), &samples[wind]);
        // the wind is a function of time: each tenth of the same readings
        assert!(Some(&spread.least) >= samples.iter().min());
        assert!(Some(&spread.most) <= samples.iter().max());
        assert!((value as f64 - mean(samples)).abs() < 0.35 * sd(samples) + 5.0);
        sds = (sds.0 + spread.sd, sds.1 + sd(samples));
        n += 1.0;
    }
    assert!(
        (sds.0 / sds.1 - 1.0).abs() < 0.02,
        "deviations of the wind: {sds:?}"
    );
    // what follows the wind with lags: the physics' step is another one
    for (name, tolerance) in [
        ("active_power", 300.0),
        ("rotor_speed", 10.0),
        ("gearbox_oil_temperature", 3.0),
    ] {
        let at = at(name);
        let off: f64 = rows
            .iter()
            .zip(&samples)
            .map(|(row, samples)| (row[at].expect("it").0 as f64 - mean(&samples[at])).abs())
            .sum();
        assert!(off / n < tolerance, "{name}: {} raws off", off / n);
    }
}

/// Values of the scada profile by name.
fn scada(row: &[Option<(i64, Option<Spread>)>], name: &str) -> f64 {
    let catalogue = profile("scada-10min");
    let at = catalogue
        .channels
        .iter()
        .position(|c| c.name == name)
        .expect("it");
    let (raw, spread) = row[at].expect("it");
    assert!(
        spread.is_none() || name == "ambient_temperature",
        "{name} is a statistic itself"
    );
    if name == "running_loss_category" {
        return raw as f64;
    }
    f64::from_bits(raw as u64)
}

#[test]
fn the_scada_profile_holds_the_statistics_of_the_machine() {
    let rows = rows("scada-10min", Pace::EachSecond, 2);
    assert_eq!(rows.len(), 12);
    let mut turbine = fleet("onshore-3mw", Pace::Second).turbine(0);
    for (i, row) in rows.iter().enumerate() {
        let (mut powers, mut made, mut standing, mut state) = (Vec::new(), 0.0, 0.0, 0.0);
        let mut wind = 0.0;
        for second in 0..600 {
            let at = BEGINS.plus_us(i as i64 * ROW_US + second * SECOND_US);
            turbine.skip_to(at);
            powers.push(turbine.truth(S::ActivePower));
            made += turbine.truth(S::ActivePower).max(0.0);
            wind += turbine.truth(S::WindPoint);
            standing += f64::from(u8::from(turbine.truth(S::OperatingState) != 4.0));
            state = turbine.truth(S::IecState);
        }
        let mean = powers.iter().sum::<f64>() / 600.0;
        let sd = (powers.iter().map(|p| (p - mean) * (p - mean)).sum::<f64>() / 600.0).sqrt();
        let near = |name: &str, expected: f64, off: f64| {
            let found = scada(row, name);
            assert!(
                (found - expected).abs() <= off,
                "row {i}: {name} {found}, {expected}"
            );
        };
        near("active_power_mean", mean, 1e-6);
        near("active_power_sd", sd, 1e-3);
        near("power_clipped", made / 600.0, 1e-6);
        near("shutdown_duration", standing, 1e-9);
        near("running_loss_category", state, 0.0);
        // this sensor's own error
        near("wind_speed_mean", wind / 600.0, 0.6);
        let (least, most) = (scada(row, "yaw_angle_min"), scada(row, "yaw_angle_max"));
        let turned = (most - least).rem_euclid(360.0);
        assert!(turned < 180.0, "{least} {most}");
    }
    let stopped: f64 = rows.iter().map(|row| scada(row, "shutdown_duration")).sum();
    // stopped for 22.5 minutes, and longer until it ran again
    assert!((1_350.0..1_700.0).contains(&stopped), "{stopped}");
}

#[test]
fn a_live_turbine_tells_a_statistic_when_its_ten_minutes_end() {
    let rows = rows("scada-10min", Pace::EachSecond, 2);
    let catalogue = profile("scada-10min");
    let mut turbine = fleet("scada-10min", Pace::Second).turbine(0);
    let mut told = Vec::new();
    for second in 0..7_200 {
        if second % 7 == 3 {
            // nobody asks at some times, which changes nothing
            continue;
        }
        let at = BEGINS.plus_us(second * SECOND_US);
        let due = turbine.step(at);
        assert!(due.raw.is_empty() || second % 600 == 0, "{second} s");
        let statistic = |c: &u16| catalogue.channels[usize::from(*c)].name.contains("_m");
        for (channel, raw) in due.channels.iter().zip(due.raw) {
            if statistic(channel) {
                told.push((second / 600, *channel, *raw));
            }
        }
    }
    let asked = |row: i64| (row * 600) % 7 != 3;
    let expected = |row: i64| (row > 0 && asked(row)).then_some(7);
    let per_row: Vec<usize> = (0..12)
        .map(|row| told.iter().filter(|t| t.0 == row).count())
        .collect();
    let wanted: Vec<usize> = (0..12).map(|row| expected(row).unwrap_or(0)).collect();
    assert_eq!(per_row, wanted);
    for (row, channel, raw) in told {
        let recorded = rows[row as usize - 1][usize::from(channel)].expect("it").0;
        assert_eq!(
            raw,
            recorded,
            "{}",
            catalogue.channels[usize::from(channel)].name
        );
    }
}

#[test]
fn a_machine_s_temperature_is_a_generator_bearing_s_in_fahrenheit() {
    let mut turbine = fleet("machine-temperature", Pace::Second).turbine(0);
    let mut n = 0;
    for second in 0..3_600 {
        let due = turbine.step(BEGINS.plus_us(second * SECOND_US));
        let raw = due.raw.first().copied();
        assert_eq!(raw.is_some(), second % 300 == 0);
        if let Some(raw) = raw {
            let celsius = (f64::from_bits(raw as u64) - 32.0) / 1.8;
            assert!(
                (celsius - turbine.truth(S::DriveEnd)).abs() < 2.0,
                "{celsius}"
            );
            n += 1;
        }
    }
    assert_eq!(n, 12);
    let rows = rows("machine-temperature", Pace::TenSeconds, 1);
    assert!(rows.len() == 6 && rows.iter().all(|r| r[0].expect("it").1.is_some()));
}
