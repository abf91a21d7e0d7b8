//! What is true of a fleet, told before anything is measured: faults, operations, and the weather's ice.

use serde::Serialize;
use windlass_shared::time::EventTime;

use super::{Fleet, NEVER, text};
use crate::fault::Truth;
use crate::rime::{IceWatch, Icing};
use crate::weather::{SKY_US, Weather};

/// What somebody did with a turbine, or the grid and a scenario's ice did to it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Operated {
    /// With whom.
    pub turbine: String,
    /// What, as in the scenario.
    pub kind: &'static str,
    /// From when, microseconds since 1970.
    pub from_us: i64,
    /// Until when.
    pub to_us: i64,
}

impl Fleet {
    /// Which faults there are, where, since when, and when the machine should trip.
    pub fn ground_truth(&self) -> Vec<Truth> {
        let mut all = Vec::new();
        for seat in &self.seats {
            let sensors = seat.sensors.iter().map(|s| &s.defect);
            for defect in seat.site.defects.iter().chain(sensors) {
                let trip = defect.expected_trip();
                all.push(Truth {
                    turbine: seat.turbine.to_string(),
                    farm: seat.farm.to_string(),
                    kind: defect.kind.name(),
                    part: defect.part(),
                    since_us: defect.since.0,
                    since: text(defect.since),
                    ripe_us: defect.ripe.0,
                    expected_trip_us: trip.map(|t| t.0),
                    expected_trip: trip.map(text),
                    trip_code: trip.and(defect.trip_code()),
                    mended_us: (defect.until != NEVER).then_some(defect.until.0),
                    exponent: defect.exponent,
                    expect: defect.expect,
                });
            }
        }
        all.sort_by(|a, b| (a.since_us, &a.turbine, a.kind).cmp(&(b.since_us, &b.turbine, b.kind)));
        all
    }

    /// What the scenario's operations are, turbine by turbine, in the order of time.
    pub fn operations(&self) -> Vec<Operated> {
        let of = |seat: &super::Seat| {
            let turbine = seat.turbine.to_string();
            seat.site.orders.clone().into_iter().map(move |o| Operated {
                turbine: turbine.clone(),
                kind: o.action.name(),
                from_us: o.from.0,
                to_us: o.to.0,
            })
        };
        let mut all: Vec<Operated> = self.seats.iter().flat_map(of).collect();
        all.sort_by(|a, b| (a.from_us, &a.turbine, a.kind).cmp(&(b.from_us, &b.turbine, b.kind)));
        all
    }

    /// When the weather lays ice on the blades of which farm, from the run's beginning to `to`. A farm without cloud water
    /// in its climate costs nothing, another one a second of work for a year or two.
    pub fn icing(&self, to: EventTime) -> Vec<Icing> {
        let mut all = Vec::new();
        let mut before = "";
        for seat in &self.seats {
            // the seats of a farm stand together
            let (farm, climate) = (seat.site.farm.as_str(), &seat.site.climate);
            if std::mem::replace(&mut before, farm) == farm || climate.cloud_water_gm3 <= 0.0 {
                continue;
            }
            let mut weather = Weather::new(self.common.seed, farm, climate);
            let mut watch = IceWatch::default();
            let mut at = self.common.begins.floor_to(self.common.step_us);
            while at < to {
                watch.look(farm, at, &weather.at(at.0, &self.common.normals));
                at = EventTime((at.0.div_euclid(SKY_US) + 1) * SKY_US);
            }
            all.append(&mut watch.finish());
        }
        all.sort_by(|a, b| (a.from_us, &a.farm).cmp(&(b.from_us, &b.farm)));
        all
    }
}
