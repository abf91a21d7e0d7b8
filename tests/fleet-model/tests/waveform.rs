//! A damaged bearing knocks at its own order, and only then.

mod rig;

use rig::{BEGINS, fleet, scenario};
use windlass_fleet_model::Pace;
use windlass_fleet_model::scenario::Stage;
use windlass_fleet_model::signal::Signal as S;
use windlass_fleet_model::waveform::{BPFI, BPFO, shaft_ratio};
use windlass_shared::time::SECOND_US;

/// Amplitude of the rectified signal at a frequency.
fn envelope(block: &[f32], rate_hz: f64, hertz: f64) -> f64 {
    let (mut re, mut im) = (0.0, 0.0);
    for (i, x) in block.iter().enumerate() {
        let angle = std::f64::consts::TAU * hertz * i as f64 / rate_hz;
        re += f64::from(x.abs()) * angle.cos();
        im += f64::from(x.abs()) * angle.sin();
    }
    re.hypot(im) / block.len() as f64
}

#[test]
fn impulses_come_at_the_fault_s_order() {
    let fault = |race: &str| {
        scenario(&format!(
            "[[fault]]\nkind = \"gearbox_bearing_{race}\"\nturbine = \"T01\"\nfrom = \"0s\"\ngrowth = \"40d\"\nexponent = 0.2"
        ))
    };
    let rate = 20_000.0;
    for (race, order) in [("inner", BPFI), ("outer", BPFO)] {
        let ill = fleet(&fault(race), Pace::TenSeconds);
        let well = fleet(&scenario(""), Pace::TenSeconds);
        let (mut ill, mut well) = (ill.turbine(0), well.turbine(0));
        let busy = (0..40_000)
            .map(|i| BEGINS.plus_us(86_400 * SECOND_US + i * 10 * SECOND_US))
            .find(|at| {
                ill.skip_to(*at);
                ill.truth(S::ActivePower) > 1_500.0
            })
            .unwrap();
        well.skip_to(busy);
        let shaft_hz = ill.truth(S::RotorSpeed) / 60.0 * shaft_ratio(Stage::HighSpeed);
        let block = ill.waveform(Stage::HighSpeed, rate, 20_000);
        assert_eq!(block, ill.waveform(Stage::HighSpeed, rate, 20_000));
        let at = |block: &[f32], order: f64| envelope(block, rate, order * shaft_hz);
        let knocks = at(&block, order);
        assert!(knocks > 6.0 * at(&block, order * 0.87), "{race}: {knocks}");
        let healthy = at(&well.waveform(Stage::HighSpeed, rate, 20_000), order);
        assert!(knocks > 6.0 * healthy, "{race}: {knocks} {healthy}");
    }
}
