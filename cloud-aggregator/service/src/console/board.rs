//! The one shared picture that all readers of the wall look at: built once a second, never changed afterwards.
//!
//! Invariants: building it is a pure function of the documents, the registry and the time; it holds every turbine of the
//! registry, also those that never spoke.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_cloud_core::facts::{
    AlertTally, Backlog, Fresh, Silence, Situation, Urgency, age_us, alarms, farm_link, limit,
    need, setpoint_source_name,
};
use windlass_cloud_core::fleet::Fleet;
use windlass_cloud_core::output::{AlertEvent, StatusDoc};
use windlass_shared::id::{FarmId, GatewayId, TurbineId};
use windlass_shared::time::{EventTime, WallTime};

use super::ask::time_text;
use super::model::{
    Alarm, Alert, AlertCounts, CoverageCounts, Farm, FarmLinkView, Turbine, TurbineLink, coded_iec,
    event_time, is_open,
};
use super::pipeline::Pipeline;

/// A turbine on the board.
#[derive(Clone, Debug)]
pub struct Card {
    /// As lists show it.
    pub row: Turbine,
    /// Its newest document; `None`: it never spoke.
    pub doc: Option<Arc<StatusDoc>>,
    silence: Silence,
}

/// Everything that lists and live clients show, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Board {
    /// When it was built; 0 before the first time.
    pub at: WallTime,
    /// By id.
    pub turbines: BTreeMap<String, Arc<Card>>,
    /// By id.
    pub farms: Vec<Farm>,
    /// Open alerts and those that ended not long ago, by id.
    pub alerts: BTreeMap<String, Arc<Alert>>,
    /// Links that are down, and what is wrong with the pipeline.
    pub alarms: Vec<Alarm>,
    /// The pipeline's health.
    pub pipeline: Pipeline,
}

/// Mean bytes of a turbine's records, and of those in a second.
pub type Rates<'a> = dyn Fn(&TurbineId) -> (Option<f64>, Option<f64>) + 'a;

/// What a board is built from.
pub struct Sources<'a> {
    /// Who stands where.
    pub fleet: &'a Fleet,
    /// Newest documents by turbine.
    pub docs: &'a BTreeMap<TurbineId, Arc<StatusDoc>>,
    /// Newest events of open alerts, and of some that ended, by alert.
    pub alerts: &'a BTreeMap<String, Arc<AlertEvent>>,
    /// Mean size and rate of a turbine's records.
    pub rates: &'a Rates<'a>,
    /// The pipeline as the log shows it.
    pub pipeline: Pipeline,
    /// Now.
    pub now: WallTime,
    /// Age at which a turbine is silent, microseconds.
    pub stale_after_us: i64,
}

impl Board {
    /// Builds one.
    pub fn of(mut s: Sources) -> Self {
        let mut tallies: BTreeMap<&str, AlertTally> = BTreeMap::new();
        for e in s.alerts.values().filter(|e| is_open(e.state)) {
            let alert = Alert::of(e);
            tallies.entry(e.turbine.as_str()).or_default().add(
                alert.level == "critical",
                alert.state == "provisional",
                alert.acknowledged.is_some(),
                alert.shelved.is_some(),
            );
        }
        let mut turbines = BTreeMap::new();
        for (id, binding) in s.fleet.turbines() {
            let place = (Some(&binding.farm), &binding.gateway);
            let tally = tallies.get(id.as_str()).copied().unwrap_or_default();
            turbines.insert(id.to_string(), card(&s, id, place, tally));
        }
        for (id, doc) in s.docs {
            if s.fleet.binding(id).is_none() {
                let tally = tallies.get(id.as_str()).copied().unwrap_or_default();
                let place = (doc.farm.as_ref(), &doc.gateway);
                turbines.insert(id.to_string(), card(&s, id, place, tally));
            }
        }
        let silences: Vec<Silence> = turbines.values().map(|c| c.silence.clone()).collect();
        let farms = farms(&s, &turbines);
        s.pipeline.add_documents(&turbines);
        let mut all_alarms: Vec<Alarm> = alarms(&silences, s.now)
            .iter()
            .map(Alarm::of_link)
            .collect();
        all_alarms.extend(s.pipeline.alarms());
        Self {
            at: s.now,
            farms,
            alerts: s
                .alerts
                .iter()
                .map(|(id, e)| (id.clone(), Arc::new(Alert::of(e))))
                .collect(),
            alarms: all_alarms,
            pipeline: s.pipeline,
            turbines: turbines
                .into_iter()
                .map(|(id, c)| (id, Arc::new(c)))
                .collect(),
        }
    }

    /// Open alerts, newest first.
    pub fn open_alerts(&self) -> Vec<Arc<Alert>> {
        let open = |a: &&Arc<Alert>| matches!(a.state, "provisional" | "confirmed");
        let mut all: Vec<_> = self.alerts.values().filter(open).cloned().collect();
        all.sort_by(|a, b| (&b.first, &a.id).cmp(&(&a.first, &b.id)));
        all
    }
}

/// The newest value of a channel.
fn value(doc: &StatusDoc, channel: &str) -> Option<f64> {
    let found = doc.values.iter().find(|v| v.channel == channel)?;
    found.value.filter(|x| x.is_finite())
}

fn newest(doc: &StatusDoc) -> Option<EventTime> {
    doc.fast_event_time.or(doc.event_time)
}

fn card(
    s: &Sources,
    id: &TurbineId,
    (farm, gateway): (Option<&FarmId>, &GatewayId),
    tally: AlertTally,
) -> Card {
    let doc = s.docs.get(id);
    let newest = doc.and_then(|d| newest(d));
    let fresh = Fresh::of(newest, s.now, s.stale_after_us);
    let value = |channel: &str| doc.and_then(|d| value(d, channel));
    let source = value("active_power_setpoint_source").map(|x| x as i64);
    let situation = Situation {
        iec_state: doc.and_then(|d| d.iec_state),
        power_kw: value("active_power"),
        available_kw: value("available_power"),
        setpoint_kw: value("active_power_setpoint"),
        setpoint_source: source,
    };
    let limit = limit(&situation);
    let coverage = doc.map(|d| d.coverage).unwrap_or_default();
    let (record_bytes, bytes_per_s) = (s.rates)(id);
    let silence = Silence {
        turbine: id.clone(),
        farm: farm.cloned(),
        gateway: gateway.clone(),
        fresh,
        newest,
        recorded: doc.and_then(|d| d.fast_event_time.and(d.slice_committed_at)),
        backlog: Backlog {
            missing_seqs: coverage.missing_seqs,
            record_bytes,
            bytes_per_s,
        },
    };
    let down_since = silence.since();
    let need = need(&Urgency {
        // nobody need go to a turbine because its history is old
        fresh: if silence.history_only() {
            Fresh::Never
        } else {
            fresh
        },
        alerts: tally,
        iec_state: situation.iec_state,
        limit,
        power: situation.power_kw.zip(situation.available_kw),
        quarantined_epochs: coverage.quarantined_epochs,
    });
    let row = Turbine {
        id: id.to_string(),
        farm: farm.map(ToString::to_string),
        gateway: gateway.to_string(),
        fresh: fresh.as_str(),
        age_ms: age_us(newest, s.now).map(|us| us / 1_000),
        event_time: newest.and_then(event_time),
        log_time: doc.and_then(|d| time_text(d.log_time.0)),
        iec_state: situation.iec_state.map(coded_iec),
        power_kw: situation.power_kw,
        available_kw: situation.available_kw,
        setpoint_kw: situation.setpoint_kw,
        setpoint_source: source.map(setpoint_source_name),
        limit: limit.as_str(),
        wind_ms: value("wind_speed"),
        need,
        alerts: AlertCounts {
            open: tally.open,
            critical: tally.critical,
            provisional: tally.provisional,
            unacknowledged: tally.unacknowledged,
        },
        link: TurbineLink {
            down_since: down_since.and_then(event_time),
            waiting_records: doc.map(|_| coverage.missing_seqs),
            waiting_bytes_estimate: doc.and_then(|_| silence.backlog.bytes(down_since, s.now)),
        },
        frontier: doc.and_then(|d| d.frontier).and_then(event_time),
        coverage: CoverageCounts {
            epochs: coverage.epochs,
            holes: coverage.holes,
            missing_seqs: coverage.missing_seqs,
            lost_seqs: coverage.lost_seqs,
            quarantined_epochs: coverage.quarantined_epochs,
        },
    };
    Card {
        row,
        doc: doc.cloned(),
        silence,
    }
}

fn farms(s: &Sources, turbines: &BTreeMap<String, Card>) -> Vec<Farm> {
    let of_farm = |id: &FarmId| -> Vec<&Card> {
        let of = |c: &&Card| c.silence.farm.as_ref() == Some(id);
        turbines.values().filter(of).collect()
    };
    s.fleet
        .farms()
        .map(|farm| {
            let cards = of_farm(&farm.id);
            let count = |f: &str| cards.iter().filter(|c| c.row.fresh == f).count() as u32;
            let sum = |f: fn(&Turbine) -> Option<f64>| {
                let live = cards.iter().filter(|c| c.row.fresh == "live");
                let known: Vec<f64> = live.filter_map(|c| f(&c.row)).collect();
                (!known.is_empty()).then(|| (known.iter().sum::<f64>() * 10.0).round() / 10.0)
            };
            let silences: Vec<Silence> = cards.iter().map(|c| c.silence.clone()).collect();
            let link = farm_link(&silences, s.now);
            Farm {
                id: farm.id.to_string(),
                name: farm.name.clone(),
                zone: farm.timezone.clone(),
                turbines: cards.len() as u32,
                live: count("live"),
                stale: count("stale"),
                never: count("never"),
                power_kw: sum(|t| t.power_kw),
                available_kw: sum(|t| t.available_kw),
                alerts_open: cards.iter().map(|c| c.row.alerts.open).sum(),
                link: FarmLinkView {
                    state: link.state.as_str(),
                    since: link.since.and_then(event_time),
                    gateways_down: link.gateways_down.iter().map(ToString::to_string).collect(),
                    waiting_bytes_estimate: link.waiting_bytes,
                },
            }
        })
        .collect()
}
