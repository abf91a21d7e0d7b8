//! A scenario with a seed and a beginning: who stands where, who is hit, and what is true.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use windlass_shared::catalogue::Catalogue;
use windlass_shared::id::{FarmId, TurbineId};
use windlass_shared::settings::{Problem, Problems, finish};
use windlass_shared::time::{EventTime, SECOND_US};

use crate::channels::{Errors, Intervals, Plan};
use crate::control::Order;
use crate::fault::Defect;
use crate::layout::Wakes;
use crate::machine::PowerCurve;
use crate::moment::Moment;
use crate::noise::{Normals, key_of, mix};
use crate::plant::{Common, Plant, Site};
use crate::scenario::{Disturbance, FaultKind, Scenario, Target};
use crate::turbine::{SensorDefect, Turbine};

mod truth;

pub use truth::Operated;

/// Times that nobody reaches.
const NEVER: EventTime = EventTime::MAX;

/// Length of a step of the physics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// A second: for readings of a second or less.
    Second,
    /// Ten seconds: for years of ten-minute records.
    TenSeconds,
    /// A second, for ten-minute records of what every second was.
    EachSecond,
}

impl Pace {
    /// Length of a step, microseconds.
    pub(crate) fn step_us(self) -> i64 {
        match self {
            Self::Second | Self::EachSecond => SECOND_US,
            Self::TenSeconds => 10 * SECOND_US,
        }
    }

    /// Is it for ten-minute records?
    pub(crate) fn records(self) -> bool {
        self != Self::Second
    }
}

/// Who stands in the fleet.
#[derive(Clone, Debug)]
pub struct Seat {
    /// The turbine.
    pub turbine: TurbineId,
    /// Its farm.
    pub farm: FarmId,
    /// The farm's time zone.
    pub zone: String,
    /// Its channels.
    pub catalogue: Arc<Catalogue>,
    plan: Arc<Plan>,
    site: Site,
    sensors: Vec<SensorDefect>,
}

/// A disturbance with its times and turbines.
#[derive(Clone, PartialEq, Debug)]
pub struct Incident {
    /// As in the scenario.
    pub disturbance: Disturbance,
    /// From when.
    pub from: EventTime,
    /// Until when.
    pub to: Option<EventTime>,
    /// Whom it hits, as indexes of seats.
    pub seats: Vec<usize>,
}

/// A fleet: makes its turbines one by one, so that a caller keeps as many as it wants, on as many threads as it wants.
#[derive(Clone, Debug)]
pub struct Fleet {
    common: Common,
    seats: Vec<Seat>,
    incidents: Vec<Incident>,
}

impl Fleet {
    /// The fleet of a scenario. `profiles`: the catalogues that its farms name; `begins`: the first event time.
    ///
    /// Fails with all that does not fit together: profiles that are not given, channels that no signal drives, faults of
    /// channels that a turbine does not have, times the wrong way round.
    pub fn new(
        scenario: &Scenario,
        seed: u64,
        profiles: &[Arc<Catalogue>],
        begins: EventTime,
        pace: Pace,
    ) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let mut seats = seats(scenario, seed, (profiles, pace), &mut problems);
        orders(scenario, seed, begins, &mut seats, &mut problems);
        defects(scenario, seed, begins, &mut seats, &mut problems);
        let incidents = incidents(scenario, seed, begins, &seats, &mut problems);
        finish(&format!("scenario {}", scenario.name), problems)?;
        Ok(Self {
            common: Common {
                normals: Normals::new(seed),
                curve: PowerCurve::new(),
                seed,
                begins,
                step_us: pace.step_us(),
            },
            seats,
            incidents,
        })
    }

    /// Everybody, in the order of the scenario.
    pub fn seats(&self) -> &[Seat] {
        &self.seats
    }

    /// When the run begins.
    pub fn begins(&self) -> EventTime {
        self.common.begins
    }

    /// What happens to networks and machines, by time.
    pub fn incidents(&self) -> &[Incident] {
        &self.incidents
    }

    /// The turbine of a seat, at the run's beginning. The same however many others there are.
    ///
    /// # Panics
    /// When there is no such seat.
    pub fn turbine(&self, seat: usize) -> Turbine {
        let seat = &self.seats[seat];
        Turbine {
            id: seat.turbine.clone(),
            farm: seat.farm.clone(),
            plant: Plant::new(&self.common, &seat.site),
            errors: Errors::new(
                &seat.plan,
                &seat.catalogue,
                seat.site.key,
                &self.common.normals,
            ),
            intervals: Intervals::new(&seat.plan),
            key: mix(seat.site.key, 0x7365_6e73),
            catalogue: Arc::clone(&seat.catalogue),
            plan: Arc::clone(&seat.plan),
            sensors: seat.sensors.clone(),
            last: None,
            channels: Vec::with_capacity(seat.catalogue.channels.len()),
            raw: Vec::with_capacity(seat.catalogue.channels.len()),
            bad: Vec::new(),
        }
    }
}

/// RFC 3339, UTC.
fn text(at: EventTime) -> String {
    jiff::Timestamp::from_microsecond(at.0).map_or_else(|_| at.0.to_string(), |t| t.to_string())
}

fn seats(
    scenario: &Scenario,
    seed: u64,
    (profiles, pace): (&[Arc<Catalogue>], Pace),
    problems: &mut Vec<Problem>,
) -> Vec<Seat> {
    let mut plans: BTreeMap<&str, Option<Arc<Plan>>> = BTreeMap::new();
    let mut seats = Vec::new();
    for (i, farm) in scenario.farms.iter().enumerate() {
        let Some(catalogue) = profiles.iter().find(|p| p.name == farm.profile) else {
            let known: Vec<&str> = profiles.iter().map(|p| p.name.as_str()).collect();
            problems.push(Problem::new(
                format!("farm[{i}].profile"),
                format!("\"{}\"", farm.profile),
                format!("one of {}", known.join(", ")),
            ));
            continue;
        };
        let plan = plans.entry(&farm.profile).or_insert_with(|| {
            Plan::new(catalogue, pace)
                .map_err(|mut found| problems.append(&mut found))
                .ok()
                .map(Arc::new)
        });
        let Some(plan) = plan else { continue };
        for (turbine, position) in farm.turbines.iter().zip(&farm.positions) {
            seats.push(Seat {
                turbine: turbine.clone(),
                farm: farm.id.clone(),
                zone: farm.zone.clone(),
                catalogue: Arc::clone(catalogue),
                plan: Arc::clone(plan),
                site: Site {
                    key: key_of(seed, turbine.as_str()),
                    farm: farm.id.to_string(),
                    climate: farm.climate,
                    wakes: Arc::new(Wakes::new(*position, &farm.positions)),
                    orders: Vec::new(),
                    defects: Vec::new(),
                },
                sensors: Vec::new(),
            });
        }
    }
    seats
}

/// Indexes of the seats that a target means; random ones are drawn by the entry's own place, so that an entry that is
/// added behind changes nothing before it.
fn hit(target: &Target, seats: &[Seat], seed: u64, entry: &str) -> Vec<usize> {
    let of_farm = |farm: &FarmId| -> Vec<usize> {
        (0..seats.len())
            .filter(|i| seats[*i].farm == *farm)
            .collect()
    };
    match target {
        Target::Turbine(id) => (0..seats.len())
            .filter(|i| seats[*i].turbine == *id)
            .collect(),
        Target::Farm(farm) => of_farm(farm),
        Target::Fleet => (0..seats.len()).collect(),
        Target::Random(n, farm) => {
            let mut left = farm
                .as_ref()
                .map_or_else(|| (0..seats.len()).collect(), of_farm);
            let mut rng = ChaCha8Rng::seed_from_u64(key_of(seed, entry));
            let mut drawn: Vec<usize> = (0..(*n).min(left.len()))
                .map(|_| left.swap_remove(rng.random_range(0..left.len())))
                .collect();
            drawn.sort_unstable();
            drawn
        }
    }
}

/// Both ends, when they are the right way round.
fn span(
    from: Moment,
    to: Moment,
    key: &str,
    begins: EventTime,
    problems: &mut Vec<Problem>,
) -> Option<(EventTime, EventTime)> {
    let (from, to) = (from.resolve(begins), to.resolve(begins));
    if from >= to {
        let found = format!(
            "{}, which is {}",
            key.rsplit('.').next().unwrap_or(key),
            text(to)
        );
        problems.push(Problem::new(
            key,
            found,
            format!("later than {}", text(from)),
        ));
        return None;
    }
    Some((from, to))
}

fn orders(
    scenario: &Scenario,
    seed: u64,
    begins: EventTime,
    seats: &mut [Seat],
    problems: &mut Vec<Problem>,
) {
    for (i, operation) in scenario.operations.iter().enumerate() {
        let at = format!("operation[{i}]");
        let key = format!("{at}.to");
        let Some((from, to)) = span(operation.from, operation.to, &key, begins, problems) else {
            continue;
        };
        for seat in hit(&operation.target, seats, seed, &at) {
            seats[seat].site.orders.push(Order {
                from,
                to,
                action: operation.action,
            });
        }
    }
}

fn defects(
    scenario: &Scenario,
    seed: u64,
    begins: EventTime,
    seats: &mut [Seat],
    problems: &mut Vec<Problem>,
) {
    for (i, fault) in scenario.faults.iter().enumerate() {
        let at = format!("fault[{i}]");
        let since = fault.from.resolve(begins);
        let mut until = NEVER;
        if let Some(end) = fault.until {
            let key = format!("{at}.until");
            let Some((_, end)) = span(fault.from, end, &key, begins, problems) else {
                continue;
            };
            until = end;
        }
        let defect = Defect {
            kind: fault.kind.clone(),
            since,
            ripe: since.plus_us(fault.growth_us),
            until,
            exponent: fault.exponent,
            repair_us: fault.repair_us,
            expect: fault.expect,
        };
        let mut unknown = false;
        for seat in hit(&fault.target, seats, seed, &at) {
            let seat = &mut seats[seat];
            let (FaultKind::SensorStuck(channel)
            | FaultKind::SensorNoisy(channel)
            | FaultKind::SensorDead(channel)) = &fault.kind
            else {
                seat.site.defects.push(defect.clone());
                continue;
            };
            let channels = &seat.catalogue.channels;
            if let Some(position) = channels.iter().position(|c| c.name == *channel) {
                seat.sensors.push(SensorDefect {
                    position: position as u16,
                    defect: defect.clone(),
                    key: mix(seat.site.key, i as u64),
                    held: None,
                });
            } else if !std::mem::replace(&mut unknown, true) {
                let expected = format!("a channel of {}", seat.catalogue.name);
                let names: Vec<&str> = channels.iter().map(|c| c.name.as_str()).collect();
                let mut problem =
                    Problem::new(format!("{at}.channel"), format!("\"{channel}\""), expected);
                problem.hint = windlass_shared::settings::nearest(channel, &names)
                    .map(|n| format!("did you mean `{n}`?"));
                problems.push(problem);
            }
        }
    }
}

fn incidents(
    scenario: &Scenario,
    seed: u64,
    begins: EventTime,
    seats: &[Seat],
    problems: &mut Vec<Problem>,
) -> Vec<Incident> {
    let mut all = Vec::new();
    for (i, disturbance) in scenario.disturbances.iter().enumerate() {
        let at = format!("disturbance[{i}]");
        if let Some(to) = disturbance.to
            && span(disturbance.from, to, &format!("{at}.to"), begins, problems).is_none()
        {
            continue;
        }
        all.push(Incident {
            from: disturbance.from.resolve(begins),
            to: disturbance.to.map(|t| t.resolve(begins)),
            seats: hit(&disturbance.target, seats, seed, &at),
            disturbance: disturbance.clone(),
        });
    }
    all.sort_by_key(|i| i.from);
    all
}
