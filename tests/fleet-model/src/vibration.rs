//! Vibration bands: they follow speed, load and turbulence, and show what the bearings suffer.
//!
//! Healthy levels at full load are about a third of the alert boundaries of VDI 3834-1. Energies add: a fault's part and
//! the healthy part are squared.

use crate::drive::Drive;
use crate::fault::Damage;
use crate::machine::{RATED_KW, ROTOR_RATED_RPM};
use crate::signal::{Signal as S, Signals};
use crate::weather::Local;

/// Bands of a stage: 0.1-10 Hz, 10-1000 Hz, 10-2000 Hz, envelope.
type Bands = [S; 4];

const STAGES: [Bands; 3] = [
    [
        S::PlanetLow,
        S::PlanetVelocity,
        S::PlanetAcceleration,
        S::PlanetEnvelope,
    ],
    [
        S::IntermediateLow,
        S::IntermediateVelocity,
        S::IntermediateAcceleration,
        S::IntermediateEnvelope,
    ],
    [
        S::HighSpeedLow,
        S::HighSpeedVelocity,
        S::HighSpeedAcceleration,
        S::HighSpeedEnvelope,
    ],
];
/// Healthy, at full load: m/s2, mm/s, m/s2, m/s2.
const HEALTHY: [[f64; 4]; 3] = [
    [0.11, 0.9, 1.5, 0.5],
    [0.10, 1.1, 2.1, 0.7],
    [0.09, 1.3, 2.7, 0.9],
];
/// What a ripe fault of the inner race adds at full load.
const INNER: [f64; 4] = [0.01, 2.6, 7.0, 7.5];
/// The same for the outer race: the load stays on one place, more of it reaches the housing.
const OUTER: [f64; 4] = [0.01, 3.2, 8.0, 9.0];
/// Part of a stage's fault that its neighbours feel.
const NEIGHBOUR: f64 = 0.12;

/// How strongly load and speed bring a bearing fault out, relative to full load.
pub fn modulation(speed: f64, load: f64) -> f64 {
    speed * (0.35 + 0.65 * load)
}

/// One step: writes the bands. The sways are standard normal.
pub fn step(
    drive: &Drive,
    local: &Local,
    damage: &Damage,
    (sway_fore, sway_side): (f64, f64),
    x: &mut Signals,
) {
    let speed = drive.rotor_rpm / ROTOR_RATED_RPM;
    let load = (drive.power_kw / RATED_KW).clamp(0.0, 1.0);
    let level = 0.04 + 0.96 * speed * speed * (0.4 + 0.6 * load);
    let fault = modulation(speed, load);
    for (stage, bands) in STAGES.iter().enumerate() {
        let felt = |of: &[f64; 3]| {
            let all: f64 = of.iter().sum();
            of[stage] + NEIGHBOUR * (all - of[stage])
        };
        let (inner, outer) = (felt(&damage.inner), felt(&damage.outer));
        for (band, signal) in bands.iter().enumerate() {
            let healthy = HEALTHY[stage][band] * level;
            let inner = INNER[band] * inner * fault;
            let outer = OUTER[band] * outer * fault;
            x.set(
                *signal,
                (healthy * healthy + inner * inner + outer * outer).sqrt(),
            );
        }
    }
    let wear: f64 = damage.inner.iter().chain(&damage.outer).sum();
    x.set(
        S::ParticlesFine,
        (3.0 + 9.0 * load) * speed + 70.0 * wear * speed,
    );
    x.set(S::ParticlesCoarse, 0.4 * speed + 18.0 * wear * wear * speed);
    x.set(S::GeneratorVelocity, 1.9 * level);
    x.set(S::GeneratorAcceleration, 3.0 * level);
    x.set(S::GeneratorEnvelope, 0.8 * level);
    x.set(S::MainVelocity, 0.6 * level);
    tower(drive, local, damage, x);
    x.set(S::TowerFore, sway_fore * x.get(S::TowerForeRms));
    x.set(S::TowerSide, sway_side * x.get(S::TowerSideRms));
}

/// Tower and nacelle: turbulence and unequal blades shake them.
fn tower(drive: &Drive, local: &Local, damage: &Damage, x: &mut Signals) {
    let wind = local.point;
    let thrust_rise = (local.turbulence * wind * wind / 14.0).min(6.0);
    let unequal: f64 = damage.pitch_off.iter().map(|d| d.abs()).sum();
    let turning = drive.rotor_rpm / ROTOR_RATED_RPM;
    let fore = 0.012 + 0.035 * thrust_rise * (0.3 + 0.7 * turning) + 0.05 * unequal * turning;
    let side = 0.010 + 0.018 * thrust_rise * (0.3 + 0.7 * turning) + 0.03 * unequal * turning;
    x.set(S::TowerForeRms, fore);
    x.set(S::TowerSideRms, side);
    x.set(S::Vertical, 0.6 * side);
    x.set(S::MainLow, 0.7 * fore);
}
