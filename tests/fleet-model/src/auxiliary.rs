//! Hydraulics, counters, doors, supplies: what surrounds the drive train.

use crate::control::{Decision, Mode};
use crate::drive::{Drive, Lags};
use crate::fault::Damage;
use crate::machine::AUXILIARY_KW;
use crate::noise::{mix, uniform};
use crate::signal::{Signal as S, Signals};
use crate::weather::Air;

const HOUR_US: i64 = 3_600_000_000;
const MINUTE_US: i64 = 60_000_000;
/// The pump starts below this pressure and stops above the other, bar.
const PUMP_ON_BAR: f64 = 182.0;
const PUMP_OFF_BAR: f64 = 198.0;

/// What adds up, and the pressure of the hydraulics.
#[derive(Clone, Debug)]
pub struct Auxiliary {
    export_kwh: f64,
    import_kwh: f64,
    reactive_export: f64,
    reactive_import: f64,
    operating_s: f64,
    generator_s: f64,
    lightning: f64,
    fieldbus: [f64; 2],
    network: f64,
    restarts: f64,
    pressure: f64,
    pumping: bool,
    wear: [f64; 2],
    service_since: Option<i64>,
}

impl Auxiliary {
    /// Somewhere in the turbine's life.
    pub fn new(key: u64) -> Self {
        let draw = |n: u64, most: f64| libm::floor(uniform(mix(key, 200 + n)) * most);
        let hours = 2_000.0 + draw(0, 60_000.0);
        Self {
            export_kwh: libm::floor(hours * (750.0 + draw(1, 300.0))),
            import_kwh: libm::floor(hours * 2.4),
            reactive_export: libm::floor(hours * 21.0),
            reactive_import: libm::floor(hours * 28.0),
            operating_s: libm::floor(hours * 3_420.0),
            generator_s: libm::floor(hours * 2_860.0),
            lightning: draw(2, 12.0),
            fieldbus: [draw(3, 900.0), draw(4, 9_000.0)],
            network: draw(5, 4_000.0),
            restarts: 1.0 + draw(6, 40.0),
            pressure: PUMP_ON_BAR + draw(7, 15.0),
            pumping: false,
            wear: [14.0 + 0.1 * draw(8, 80.0), 30.0 + 0.1 * draw(9, 200.0)],
            service_since: None,
        }
    }

    /// One step; `bits`: this step's random bits.
    pub fn step(
        &mut self,
        (at_us, bits): (i64, u64),
        (decision, drive): (&Decision, &Drive),
        air: &Air,
        damage: &Damage,
        lags: &Lags,
        x: &mut Signals,
    ) {
        self.count(bits, decision, drive, air, lags, x);
        self.hydraulics(decision, drive, damage, lags, x);
        self.people(at_us, decision, x);
        let every =
            |hours: i64, minutes: i64| at_us.rem_euclid(hours * HOUR_US) < minutes * MINUTE_US;
        let greasing = every(6, 4);
        x.switch(S::GreasePump, greasing);
        x.set(S::GreasePressure, if greasing { 38.0 } else { 6.0 });
        x.switch(S::YawGrease, every(12, 5));
        x.switch(S::PitchGrease, every(8, 3));
        x.switch(S::BladeHeating, decision.ice > 0.0);
        x.switch(S::Aviation, air.sun < 0.1);
        x.set(S::CabinetHumidity, 22.0 + 0.38 * air.humidity);
        let supplied = if decision.grid { 24.1 } else { 23.2 };
        x.set(S::Supply, supplied);
        x.set(S::SupplyCurrent, 5.5 + 0.8 * drive.pitch_work);
        x.set(S::UpsVoltage, if decision.grid { 27.2 } else { 24.6 });
        x.set(S::UpsLoad, if decision.grid { 21.0 } else { 47.0 });
        x.set(S::PitchBattery, if decision.grid { 288.0 } else { 271.0 });
        x.set(
            S::PitchDrive,
            match decision.mode {
                Mode::Service | Mode::Tripped => 0.0,
                _ => 1.0,
            },
        );
        let fans = [
            S::OilFan1,
            S::OilFan2,
            S::NacelleFan1,
            S::NacelleFan2,
            S::TransformerFan2,
        ];
        let fans: f64 = fans.iter().map(|s| x.get(*s)).sum();
        let heaters = x.get(S::OilHeater) + x.get(S::GeneratorHeater) + x.get(S::BladeHeating);
        let consumed = if decision.grid {
            AUXILIARY_KW + 2.6 * fans + 8.0 * heaters + 6.0 * x.get(S::YawActive)
        } else {
            0.0
        };
        x.set(S::AuxiliaryPower, consumed);
        let busy = f64::from(u8::from(decision.mode == Mode::Running));
        x.set(S::CpuLoad, 31.0 + 9.0 * busy);
        x.set(
            S::MemoryUsed,
            44.0 + (at_us.rem_euclid(24 * HOUR_US) / HOUR_US) as f64 * 0.4,
        );
        let spike = if bits.trailing_zeros() >= 10 {
            5.0
        } else {
            0.0
        };
        x.set(S::CycleTime, 8.4 + 0.5 * busy + spike);
        x.set(S::Jitter, 22.0 + 40.0 * spike);
    }

    fn count(
        &mut self,
        bits: u64,
        decision: &Decision,
        drive: &Drive,
        air: &Air,
        lags: &Lags,
        x: &mut Signals,
    ) {
        let hours = lags.dt_s / 3_600.0;
        let power = if decision.grid { drive.power_kw } else { 0.0 };
        self.export_kwh += power.max(0.0) * hours;
        self.import_kwh += (-power).max(0.0) * hours;
        let reactive = x.get(S::ReactivePower);
        self.reactive_export += reactive.max(0.0) * hours;
        self.reactive_import += (-reactive).max(0.0) * hours;
        if !matches!(decision.mode, Mode::Service | Mode::Tripped) {
            self.operating_s += lags.dt_s;
        }
        if decision.mode == Mode::Running {
            self.generator_s += lags.dt_s;
        }
        // rare things: so many in a second, on average
        let happens =
            |n: u64, rate: f64| f64::from(u8::from(uniform(mix(bits, n)) < rate * lags.dt_s));
        if air.thunder {
            self.lightning += happens(1, 1.0 / 900.0);
        }
        self.fieldbus[0] += happens(2, 1.0 / 5_000.0);
        self.fieldbus[1] += happens(3, 1.0 / 400.0);
        self.network += happens(4, 1.0 / 1_500.0);
        if decision.service {
            self.restarts += happens(5, 1.0 / 7_200.0);
        }
        // millimetres: a stop wears the pads, a year the brushes; whoever comes replaces what is thin
        self.wear[0] -= 5e-3 * drive.brake_work * lags.dt_s;
        self.wear[1] -= 1e-6 * drive.rotor_rpm / 14.0 * lags.dt_s;
        for (left, thin, new) in [(0, 6.0, 22.0), (1, 15.0, 50.0)] {
            let wear = &mut self.wear[left];
            *wear = if decision.service && *wear < thin {
                new
            } else {
                wear.max(0.5)
            };
        }
        x.set(S::EnergyExport, self.export_kwh);
        x.set(S::EnergyImport, self.import_kwh);
        x.set(S::ReactiveExport, self.reactive_export);
        x.set(S::ReactiveImport, self.reactive_import);
        x.set(S::OperatingSeconds, self.operating_s);
        x.set(S::GeneratorSeconds, self.generator_s);
        x.set(S::Lightning, self.lightning);
        x.set(S::FieldbusErrors, self.fieldbus[0]);
        x.set(S::FieldbusRetries, self.fieldbus[1]);
        x.set(S::NetworkErrors, self.network);
        x.set(S::Restarts, self.restarts);
        x.set(S::PadWear, self.wear[0]);
        x.set(S::BrushWear, self.wear[1]);
    }

    fn hydraulics(
        &mut self,
        decision: &Decision,
        drive: &Drive,
        damage: &Damage,
        lags: &Lags,
        x: &mut Signals,
    ) {
        let leak = damage.leak.min(1.0);
        let used = 0.012 + 0.08 * drive.pitch_work + 0.35 * leak * leak;
        self.pumping = decision.grid
            && self.pressure
                < if self.pumping {
                    PUMP_OFF_BAR
                } else {
                    PUMP_ON_BAR
                };
        let pumped = if self.pumping {
            1.6 * (1.0 - 0.5 * leak)
        } else {
            0.0
        };
        // with little oil left the pump draws air
        let most = 204.0 - 70.0 * ((leak - 0.6) / 0.4).max(0.0);
        self.pressure = (self.pressure + (pumped - used) * lags.dt_s).clamp(60.0, most);
        x.switch(S::HydraulicPump, self.pumping);
        x.set(S::HydraulicPressure, self.pressure);
        x.set(S::AccumulatorPressure, 0.93 * self.pressure);
        x.set(S::HydraulicLevel, 182.0 - 130.0 * leak);
        x.set(
            S::HydraulicFilter,
            0.3 + 0.5 * f64::from(u8::from(self.pumping)),
        );
        let braked = x.get(S::Brake) > 0.0;
        x.set(S::BrakePressure, if braked { 96.0 } else { 4.0 });
        x.set(S::OilLevel, 148.0 - 6.0 * (drive.rotor_rpm / 14.0));
        x.set(S::OilMoisture, 9.0 + 0.06 * x.get(S::CabinetHumidity));
    }

    /// Doors and the lift: people come, climb, work and leave.
    fn people(&mut self, at_us: i64, decision: &Decision, x: &mut Signals) {
        if decision.service {
            let since = *self.service_since.get_or_insert(at_us);
            let minutes = (at_us - since) / MINUTE_US;
            x.switch(S::TowerDoor, minutes < 10);
            x.switch(S::Lift, (10..16).contains(&minutes));
            x.switch(S::NacelleHatch, minutes >= 16);
            x.switch(S::HubHatch, minutes >= 40);
            x.switch(S::TransformerDoor, (2..6).contains(&minutes));
        } else {
            self.service_since = None;
            for door in [
                S::TowerDoor,
                S::Lift,
                S::NacelleHatch,
                S::HubHatch,
                S::TransformerDoor,
            ] {
                x.set(door, 0.0);
            }
        }
    }
}
