//! Blocks of accelerometer samples on demand: shaft orders, gear mesh, and the impulses of a damaged bearing.
//!
//! Invariant: a block is a function of the turbine's state, the place, the rate and the length; its impulses come at the
//! bearing's fault orders, as strong as the damage and the load make them.

use core::f64::consts::TAU;

use crate::machine::{GEAR_RATIO, RATED_KW, ROTOR_RATED_RPM};
use crate::noise::mix;
use crate::scenario::Stage;
use crate::signal::Signal as S;
use crate::turbine::Turbine;
use crate::vibration::modulation;

/// Rolling elements, and (d / D) cos(phi), of the bearings that fail.
const ROLLERS: f64 = 14.0;
const SLENDER: f64 = 0.18;
/// Passes of rolling elements over a fault of the outer race, per revolution of the shaft.
pub const BPFO: f64 = ROLLERS * (1.0 - SLENDER) / 2.0;
/// The same for the inner race.
pub const BPFI: f64 = ROLLERS * (1.0 + SLENDER) / 2.0;
/// Teeth of the pinion.
const TEETH: f64 = 27.0;
/// What an impulse makes ring, Hz, and how fast that dies away, 1/s.
const RESONANCE_HZ: f64 = 3_100.0;
const DECAY: f64 = 900.0;

/// Revolutions of a stage's shaft in one of the rotor.
pub fn shaft_ratio(stage: Stage) -> f64 {
    match stage {
        Stage::Planet => 5.2,
        Stage::Intermediate => 27.0,
        Stage::HighSpeed => GEAR_RATIO,
    }
}

impl Turbine {
    /// `samples` accelerations in m/s2 at the housing of a stage, as the turbine runs now, `rate_hz` of them a second.
    pub fn waveform(&self, stage: Stage, rate_hz: f64, samples: usize) -> Vec<f32> {
        let speed = self.truth(S::RotorSpeed) / ROTOR_RATED_RPM;
        let load = (self.truth(S::ActivePower) / RATED_KW).clamp(0.0, 1.0);
        let shaft_hz = self.truth(S::RotorSpeed) / 60.0 * shaft_ratio(stage);
        let damage = self.plant.damage();
        let strength = 40.0 * modulation(speed, load);
        let outer = strength * damage.outer[stage as usize];
        let inner = strength * damage.inner[stage as usize];
        let mesh = 1.6 * speed * (0.3 + 0.7 * load);
        let key = mix(self.key, self.truth(S::RotorPosition).to_bits());
        let block = (0..samples).map(|i| {
            let turns = i as f64 / rate_hz * shaft_hz;
            let shaft = libm::sin(TAU * turns);
            let teeth = libm::sin(TAU * TEETH * turns) + 0.4 * libm::sin(TAU * 2.0 * TEETH * turns);
            let noise = self.plant.normals().at(mix(key, i as u64));
            let mut x =
                0.3 * speed * shaft + mesh * (1.0 + 0.2 * shaft) * teeth + 0.5 * speed * noise;
            x += outer * ring(turns * BPFO, shaft_hz * BPFO);
            // a fault of the inner race passes through the loaded zone once a revolution
            x += inner * (0.5 + 0.5 * shaft) * ring(turns * BPFI, shaft_hz * BPFI);
            x as f32
        });
        block.collect()
    }
}

/// The ringing since the last of so many passes, of which there are `hertz` a second.
fn ring(passes: f64, hertz: f64) -> f64 {
    if hertz < 0.1 {
        return 0.0;
    }
    let since_s = (passes - libm::floor(passes)) / hertz;
    libm::exp(-DECAY * since_s) * libm::sin(TAU * RESONANCE_HZ * since_s)
}
