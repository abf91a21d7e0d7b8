//! One turbine as a whole: weather in, signals out, in steps of fixed length.
//!
//! Invariants: the state after a step is a function of the scenario, the seed, the turbine, the run's beginning and the
//! step's length; steps lie on a grid aligned to 1970-01-01, however far a caller advances at once.

use std::sync::Arc;

use windlass_shared::time::EventTime;

use crate::auxiliary::Auxiliary;
use crate::control::{Control, Felt, Mode, Order};
use crate::drive::{Drive, Lags};
use crate::electrical::{self, Electrical};
use crate::fault::{Damage, Defect};
use crate::layout::Wakes;
use crate::machine::{CUT_IN_MS, CUT_OUT_MS, PowerCurve, normal_wind};
use crate::noise::{Normals, mix, uniform};
use crate::scenario::Climate;
use crate::signal::{Signal as S, Signals};
use crate::thermal::Heat;
use crate::vibration;
use crate::weather::{Air, Grid, Local, LocalWind, Weather};

/// What all turbines of a run share.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    pub normals: Normals,
    pub curve: PowerCurve,
    pub seed: u64,
    pub begins: EventTime,
    pub step_us: i64,
}

/// What makes one turbine differ from another.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub key: u64,
    pub farm: String,
    pub climate: Climate,
    pub wakes: Arc<Wakes>,
    pub orders: Vec<Order>,
    pub defects: Vec<Defect>,
}

/// The physics of one turbine.
#[derive(Clone, Debug)]
pub(crate) struct Plant {
    common: Common,
    key: u64,
    wakes: Arc<Wakes>,
    lags: Lags,
    weather: Weather,
    grid: Grid,
    wind: LocalWind,
    control: Control,
    drive: Drive,
    heat: Heat,
    electrical: Electrical,
    auxiliary: Auxiliary,
    signals: Signals,
    at_us: i64,
}

impl Plant {
    /// As it stands at the run's beginning: in the middle of its life, at the temperatures that last.
    pub fn new(common: &Common, site: &Site) -> Self {
        let at_us = common.begins.floor_to(common.step_us).0;
        let mut weather = Weather::new(common.seed, &site.farm, &site.climate);
        let mut wind = LocalWind::new(site.key);
        let air = weather.at(at_us, &common.normals);
        let local = meet(&mut wind, &site.wakes, at_us, &air, &common.normals);
        let running = (CUT_IN_MS..CUT_OUT_MS).contains(&local.point);
        let mode = if running {
            Mode::Running
        } else {
            Mode::Waiting
        };
        let lags = Lags::new(common.step_us as f64 / 1e6);
        let twist = 500.0 * (uniform(mix(site.key, 1)) - 0.5);
        let drive = Drive::new(&local, &air, &common.curve, running, twist);
        let mut signals = Signals::default();
        weather_signals(&air, &mut signals);
        let heat = Heat::new(&lags, &drive, &mut signals);
        let mut plant = Self {
            common: common.clone(),
            key: site.key,
            wakes: Arc::clone(&site.wakes),
            lags,
            grid: Grid::new(common.seed, &site.farm),
            weather,
            wind,
            control: Control::new(mode, site.orders.clone(), site.defects.clone()),
            drive,
            heat,
            electrical: Electrical::default(),
            auxiliary: Auxiliary::new(site.key),
            signals,
            at_us: at_us - common.step_us,
        };
        plant.step();
        plant
    }

    /// Steps to the last grid point at or before `to_us`.
    #[inline]
    pub fn advance(&mut self, to_us: i64) {
        while self.at_us + self.common.step_us <= to_us {
            self.step();
        }
    }

    /// When it stands, microseconds since 1970.
    pub fn at_us(&self) -> i64 {
        self.at_us
    }

    /// Length of a step, microseconds.
    pub fn step_us(&self) -> i64 {
        self.common.step_us
    }

    /// What can be measured now.
    #[inline]
    pub fn signals(&self) -> &Signals {
        &self.signals
    }

    /// What its defects do now.
    pub fn damage(&self) -> &Damage {
        self.control.damage()
    }

    pub fn normals(&self) -> &Normals {
        &self.common.normals
    }

    fn step(&mut self) {
        self.at_us += self.common.step_us;
        let (at, normals) = (self.at_us, &self.common.normals);
        let air = self.weather.at(at, normals);
        let local = meet(&mut self.wind, &self.wakes, at, &air, normals);
        let bits = mix(self.key, at as u64);
        let x = &mut self.signals;
        self.drive
            .feel(&local, &air, &self.common.curve, &self.lags);
        let (bearing, winding) = Heat::hottest(x);
        let felt = Felt {
            wind_minute: self.drive.wind_minute,
            wind_ten: self.drive.wind_ten,
            rotor_rpm: self.drive.rotor_rpm,
            oil: x.get(S::OilTemperature),
            bearing,
            winding,
            ice: air.ice,
            iced: air.iced,
        };
        let decision = self.control.step(EventTime(at), &felt, self.lags.s60);
        let damage = *self.control.damage();
        weather_signals(&air, x);
        let met = self.common.curve.at(normal_wind(air.wind, air.density));
        x.set(S::MetMastPower, met);
        self.drive.step(&decision, &local, &damage, &self.lags, x);
        let grid = self.grid.at(at, normals);
        self.electrical
            .step(&decision, &self.drive, grid, &self.lags, x);
        electrical::loads(&self.drive, &local, &air, x);
        self.heat.step(&self.drive, &damage, &self.lags, x);
        let sway = (normals.at(bits), normals.at(mix(bits, 9)));
        vibration::step(&self.drive, &local, &damage, sway, x);
        self.auxiliary.step(
            (at, bits),
            (&decision, &self.drive),
            &air,
            &damage,
            &self.lags,
            x,
        );
    }
}

fn meet(wind: &mut LocalWind, wakes: &Wakes, at_us: i64, air: &Air, normals: &Normals) -> Local {
    wind.at(at_us, air, wakes.deficit(air.direction), normals)
}

fn weather_signals(air: &Air, x: &mut Signals) {
    x.set(S::Ambient, air.temperature);
    x.set(S::AirPressure, air.pressure);
    x.set(S::Humidity, air.humidity);
    x.set(S::Density, air.density);
    x.set(S::Shear, air.shear);
    x.set(S::Rain, air.rain);
}
