//! The physics hangs together: power follows wind, heat follows load, faults grow, limits hold, states tell the truth.

mod rig;

use rig::{HOUR_US, fleet, means_of, run, scenario};
use windlass_fleet_model::Pace;
use windlass_fleet_model::control::Mode;
use windlass_fleet_model::machine::{GEAR_RATIO, PowerCurve, RATED_KW, normal_wind};
use windlass_fleet_model::signal::Signal as S;
use windlass_shared::time::SECOND_US;

#[test]
fn power_follows_the_wind_along_the_curve() {
    let curve = PowerCurve::new();
    // ten-minute means by wind bins, as a power curve is measured
    let mut bins = vec![(0.0, 0.0, 0.0); 30];
    let (mut wind, mut power, mut cubes, mut n) = (0.0, 0.0, 0.0, 0);
    run(&scenario(""), 0, 24 * 20, |_, t| {
        wind += t.truth(S::WindPoint);
        power += t.truth(S::ActivePower);
        cubes += curve.at(normal_wind(t.truth(S::WindPoint), t.truth(S::Density)));
        n += 1;
        if n == 60 {
            let bin = (wind / 60.0) as usize;
            bins[bin].0 += power / 60.0;
            bins[bin].1 += cubes / 60.0;
            bins[bin].2 += 1.0;
            (wind, power, cubes, n) = (0.0, 0.0, 0.0, 0);
        }
    });
    let filled: Vec<(usize, f64, f64)> = bins
        .iter()
        .enumerate()
        .filter(|(_, b)| b.2 >= 8.0)
        .map(|(i, b)| (i, b.0 / b.2, b.1 / b.2))
        .collect();
    assert!(filled.len() >= 8, "{filled:?}");
    for (bin, made, offered) in &filled {
        if (5..18).contains(bin) {
            let off = (made - offered) / RATED_KW;
            assert!(
                off.abs() < 0.04,
                "{bin} m/s: {made} kW, the curve has {offered}"
            );
        }
    }
    assert!(
        filled.windows(2).all(|w| w[1].1 > w[0].1 - 0.02 * RATED_KW),
        "{filled:?}"
    );
}

#[test]
fn actual_power_never_exceeds_what_the_wind_offers_and_speeds_keep_the_gear_ratio() {
    run(&rig::example(), 0, 24 * 6, |second, t| {
        let (made, offered) = (t.truth(S::ActivePower), t.truth(S::AvailablePower));
        assert!(made <= offered + 1e-9, "{second} s: {made} kW of {offered}");
        assert!(made >= -20.0 && offered <= RATED_KW);
        let ratio = t.truth(S::RotorSpeed) * GEAR_RATIO - t.truth(S::GeneratorSpeed);
        assert!(ratio.abs() < 1e-6);
        if made > 50.0 {
            // torque x speed = power, but for the losses
            let shaft =
                t.truth(S::ShaftTorque) * t.truth(S::RotorSpeed) * std::f64::consts::TAU / 60.0;
            assert!(
                (0.90..0.96).contains(&(made / shaft)),
                "{second} s: {made} {shaft}"
            );
        }
        let parts = t.truth(S::GridSidePower).abs();
        assert!(parts < 0.5 * made.max(1.0), "slip power {parts} of {made}");
    });
}

#[test]
fn a_curtailed_turbine_keeps_the_setpoint_while_more_is_available() {
    let asked = "[[operation]]\nkind = \"curtailment\"\nfarm = \"NORD\"\nfrom = \"2h\"\nto = \"60h\"\nsetpoint_kw = 900\nsource = \"grid_operator\"";
    let mut held = 0;
    run(&scenario(asked), 0, 72, |second, t| {
        let inside = (2 * 3_600 + 120..60 * 3_600).contains(&second);
        if inside {
            assert!(
                t.truth(S::ActivePower) <= 900.5,
                "{second} s: {} kW",
                t.truth(S::ActivePower)
            );
            assert_eq!(t.truth(S::Setpoint), 900.0);
            assert_eq!(t.truth(S::SetpointSource), 3.0);
            assert_eq!(t.truth(S::CurtailmentReason), 1.0);
            assert_eq!(t.truth(S::DerateLevel), 0.0, "requested, not internal");
            if t.truth(S::AvailablePower) > 1_000.0 && t.truth(S::OperatingState) == 4.0 {
                held += 1;
                assert_eq!(t.truth(S::IecState), 2.0);
            }
        } else if second > 60 * 3_600 + 10 {
            assert_eq!(t.truth(S::SetpointSource), 0.0);
            assert_eq!(t.truth(S::Setpoint), RATED_KW);
        }
    });
    assert!(held > 2_000, "{held}");
}

#[test]
fn a_derate_has_an_internal_cause() {
    let limit = "[[operation]]\nkind = \"derate\"\nturbine = \"T01\"\nfrom = \"1h\"\nto = \"40h\"\nlimit_kw = 1500";
    run(&scenario(limit), 0, 40, |second, t| {
        if second > 3_720 {
            assert_eq!(
                t.truth(S::SetpointSource),
                1.0,
                "the turbine's own controller"
            );
            assert_eq!(t.truth(S::CurtailmentLevel), 0.0);
            assert_eq!(t.truth(S::DerateLevel), 50.0);
            assert_eq!(t.truth(S::DerateReason), 4.0);
            assert!(t.truth(S::ActivePower) <= 1_500.5);
        }
    });
}

#[test]
fn states_agree_with_power_and_limits() {
    for seat in [0, 1, 3, 4, 13] {
        let mut since = (0.0, 0);
        let mut seen = [0; 12];
        run(&rig::example(), seat, 24 * 6, |second, t| {
            let state = t.truth(S::IecState);
            let power = t.truth(S::ActivePower);
            seen[state as usize] += 1;
            if since.0 != state {
                since = (state, second);
            }
            let limited = t.truth(S::Setpoint) < RATED_KW || t.truth(S::Ice) > 0.0;
            let running = t.truth(S::OperatingState) == f64::from(Mode::Running as u8);
            assert_eq!(state <= 2.0, running, "{second} s");
            match state as u8 {
                1 => assert!(!limited, "{second} s: full performance under a limit"),
                2 => assert!(limited, "{second} s: partial performance without a limit"),
                _ => assert!(
                    power <= 0.0 || second - since.1 < 60,
                    "{second} s: {power} kW in state {state}"
                ),
            }
            let code = t.truth(S::AlarmCode);
            assert!(
                state < 4.0 || code > 0.0,
                "{second} s: state {state} without a code"
            );
        });
        assert!(seen[1] > 1_000, "seat {seat}: {seen:?}");
        // the example's service, trip, grid fault
        match seat {
            1 => assert!(seen[7] > 1_500, "{seen:?}"),
            13 => assert!(seen[6] > 100, "{seen:?}"),
            _ => {}
        }
    }
}

#[test]
fn temperatures_rise_with_the_load_and_with_a_clogged_cooler() {
    let healthy = scenario("");
    let hours = 0..24 * 24;
    let idle = |t: &windlass_fleet_model::Turbine| t.truth(S::ActivePower) < 300.0;
    let busy = |t: &windlass_fleet_model::Turbine| t.truth(S::ActivePower) > 2_400.0;
    let signals = [
        S::OilTemperature,
        S::HighSpeedFront,
        S::PlanetBearing,
        S::WindingU,
        S::DriveEnd,
        S::RotorSideIgbt,
        S::TransformerWinding,
    ];
    let cold = means_of(&healthy, hours.clone(), signals, idle);
    let hot = means_of(&healthy, hours, signals, busy);
    for (signal, (cold, hot)) in signals.iter().zip(cold.iter().zip(hot)) {
        assert!(
            hot > cold + 4.0,
            "{signal:?}: {cold} at rest, {hot} under load"
        );
    }
    let clogged = scenario(
        "[[fault]]\nkind = \"oil_cooler_clogging\"\nturbine = \"T01\"\nfrom = \"0s\"\ngrowth = \"30d\"\nexponent = 0.3",
    );
    let [well] = means_of(&healthy, 72..24 * 24, [S::OilTemperature], busy);
    let [ill] = means_of(&clogged, 72..24 * 24, [S::OilTemperature], |t| {
        t.truth(S::AvailablePower) > 2_400.0 && t.truth(S::ActivePower) > 500.0
    });
    assert!(ill > well + 8.0, "{well} {ill}");
    assert!((40.0..68.0).contains(&well), "{well}");
    // what is too hot makes less power, for a cause of its own
    let mut derated = 0;
    run(&clogged, 0, 24 * 24, |_, t| {
        derated += i32::from(t.truth(S::DerateReason) == 1.0 && t.truth(S::IecState) == 2.0);
        assert!(t.truth(S::OilTemperature) < 88.0);
    });
    assert!(derated > 100, "{derated}");
}

#[test]
fn a_bearing_fault_grows_along_its_curve_and_trips_when_it_is_ripe() {
    let ill = scenario(
        "[[fault]]\nkind = \"gearbox_bearing_inner\"\nturbine = \"T01\"\nfrom = \"1d\"\ngrowth = \"10d\"\nexponent = 2\nrepair = \"1d\"",
    );
    let truth = fleet(&ill, Pace::TenSeconds).ground_truth();
    assert_eq!(truth.len(), 1);
    assert_eq!(truth[0].turbine, "T01");
    assert_eq!(truth[0].part, "gearbox_high_speed_bearing_inner_race");
    let expected_s = (truth[0].expected_trip_us.unwrap() - rig::BEGINS.0) / SECOND_US;
    assert_eq!(expected_s, 11 * 86_400);
    let mut twin = fleet(&scenario(""), Pace::TenSeconds).turbine(0);
    // added energy over the healthy twin's, by day, at the same speed and load
    let mut days = vec![(0.0, 0.0); 14];
    let mut tripped = None;
    run(&ill, 0, 24 * 14, |second, t| {
        twin.skip_to(rig::BEGINS.plus_us(second * SECOND_US));
        if t.truth(S::AlarmCode) == 320.0 && tripped.is_none() {
            tripped = Some(second);
        }
        let power = t.truth(S::ActivePower);
        if tripped.is_none() && power > 1_500.0 && (power - twin.truth(S::ActivePower)).abs() < 1.0
        {
            let ratio = t.truth(S::HighSpeedEnvelope) / twin.truth(S::HighSpeedEnvelope);
            let day = &mut days[(second / 86_400) as usize];
            day.0 += ratio * ratio - 1.0;
            day.1 += 1.0;
        }
        if second > expected_s + 30 * 3_600 {
            // mended: as good as new
            let off = t.truth(S::HighSpeedEnvelope) - twin.truth(S::HighSpeedEnvelope);
            assert!(off.abs() < 0.5, "{second} s: {off}");
        }
    });
    let tripped = tripped.expect("a ripe fault trips");
    assert!(
        tripped >= expected_s && tripped < expected_s + 2 * 86_400,
        "{tripped}"
    );
    let energy: Vec<(f64, f64)> = days[..11]
        .iter()
        .enumerate()
        .filter(|(_, d)| d.1 > 100.0)
        .map(|(i, d)| (i as f64 + 0.5, d.0 / d.1))
        .collect();
    assert!(energy.len() >= 4, "{energy:?}");
    assert!(energy.windows(2).all(|w| w[1].1 > w[0].1), "{energy:?}");
    // severity is quadratic in time, energy the square of severity
    let (first, last) = (energy[energy.len() / 2], energy[energy.len() - 1]);
    let expected = ((last.0 - 1.0) / (first.0 - 1.0)).powi(4);
    let found = last.1 / first.1;
    assert!(
        (0.6..1.7).contains(&(found / expected)),
        "{found} {expected}"
    );
}

#[test]
fn wakes_turbulence_and_the_yaw_drive_show() {
    let mut worst: f64 = 0.0;
    let mut errors = (0.0, 0.0);
    run(&scenario(""), 0, 72, |_, t| {
        let error = t.truth(S::YawError);
        errors.0 += error.abs();
        errors.1 += 1.0;
        worst = worst.max(error.abs());
    });
    assert!(
        errors.0 / errors.1 < 8.0,
        "the nacelle follows: {}",
        errors.0 / errors.1
    );
    let off = scenario(
        "[[fault]]\nkind = \"yaw_misalignment\"\nturbine = \"T01\"\nfrom = \"0s\"\ngrowth = \"1s\"\nangle_deg = 20",
    );
    let busy =
        |t: &windlass_fleet_model::Turbine| (600.0..2_000.0).contains(&t.truth(S::AvailablePower));
    let part = |of| {
        let [made, offered] = means_of(of, 1..72, [S::ActivePower, S::AvailablePower], busy);
        made / offered
    };
    let (straight, askew) = (part(&scenario("")), part(&off));
    assert!(askew < straight - 0.08, "{straight} {askew}");
}

#[test]
fn counters_count_what_was_made() {
    let scenario = scenario("");
    let mut turbine = fleet(&scenario, Pace::Second).turbine(0);
    let mut made = 0.0;
    turbine.skip_to(rig::BEGINS);
    let before = (
        turbine.truth(S::EnergyExport),
        turbine.truth(S::GeneratorSeconds),
    );
    for second in 1..=7_200 {
        turbine.skip_to(rig::BEGINS.plus_us(second * SECOND_US));
        made += turbine.truth(S::ActivePower).max(0.0) / 3_600.0;
    }
    let counted = turbine.truth(S::EnergyExport) - before.0;
    assert!((counted - made).abs() < 0.01, "{counted} {made}");
    assert!(turbine.truth(S::GeneratorSeconds) - before.1 <= (2 * HOUR_US / SECOND_US) as f64);
}
