//! Links: whose turbines are silent, since when, and what waits at the other end.
//!
//! A gateway is down when all its turbines that have ever spoken are silent; a farm when all its gateways are, or, of three
//! and more, at least nine tenths of them within the same few minutes. What is explained by a wider cut is not alarmed again.
//!
//! Invariant: a turbine whose newest slice was history when its gateway recorded it (a file of last year, say) has not
//! spoken yet: its age says nothing of a link.

use std::collections::BTreeMap;

use windlass_shared::id::{FarmId, GatewayId, TurbineId};
use windlass_shared::time::{EventTime, WallTime};

use super::Fresh;

/// Silences that begin within this time of each other have one cause, microseconds.
const SAME_CAUSE_US: i64 = 300_000_000;

/// A slice that was recorded so long after its newest reading is history, microseconds.
const HISTORY_US: i64 = 300_000_000;

/// How a farm is connected.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LinkState {
    /// All gateways that have ever spoken do.
    Up,
    /// Some do not.
    Degraded,
    /// None does.
    Down,
}

impl LinkState {
    /// As in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }
}

/// What is known of a turbine's silence and of what its gateway holds back.
#[derive(Clone, PartialEq, Debug)]
pub struct Silence {
    /// Which turbine.
    pub turbine: TurbineId,
    /// Its farm.
    pub farm: Option<FarmId>,
    /// Its gateway.
    pub gateway: GatewayId,
    /// How new its newest reading is.
    pub fresh: Fresh,
    /// Event time of that reading.
    pub newest: Option<EventTime>,
    /// When its gateway recorded that reading, if it is of a fast channel.
    pub recorded: Option<WallTime>,
    /// What waits at the gateway.
    pub backlog: Backlog,
}

impl Silence {
    /// When it fell silent; `None`: it speaks, or has not spoken yet.
    pub fn since(&self) -> Option<EventTime> {
        self.newest
            .filter(|_| self.fresh == Fresh::Stale && !self.history_only())
    }
    /// All that came of it was old when its gateway recorded it.
    pub fn history_only(&self) -> bool {
        self.newest
            .zip(self.recorded)
            .is_some_and(|(newest, at)| at.0.saturating_sub(newest.0) > HISTORY_US)
    }
    /// It has reported as it went.
    fn spoke(&self) -> bool {
        self.fresh != Fresh::Never && !self.history_only()
    }
    fn waiting_bytes(&self, now: WallTime) -> Option<u64> {
        self.backlog.bytes(self.since(), now)
    }
}

/// What is known of records on their way.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Backlog {
    /// Seqs that are known to exist and have not come.
    pub missing_seqs: u64,
    /// Mean bytes of the turbine's records; `None`: none seen yet.
    pub record_bytes: Option<f64>,
    /// Mean bytes of its records in a second; `None`: not known yet.
    pub bytes_per_s: Option<f64>,
}

impl Backlog {
    /// Estimate of what waits at the gateway. While the link is down: the time since then at the mean rate. While a
    /// backlog drains: the missing records at their mean size. `None`: no measure yet.
    pub fn bytes(&self, down_since: Option<EventTime>, now: WallTime) -> Option<u64> {
        let missing = match self.missing_seqs {
            0 => Some(0.0),
            n => self.record_bytes.map(|bytes| n as f64 * bytes),
        };
        let Some(since) = down_since else {
            return missing.map(|b| b.round() as u64);
        };
        let elapsed_s = now.0.saturating_sub(since.0).max(0) as f64 / 1e6;
        let held = self.bytes_per_s.map(|rate| elapsed_s * rate)?;
        Some((held + missing.unwrap_or(0.0)).round() as u64)
    }
}

/// A farm's link.
#[derive(Clone, PartialEq, Debug)]
pub struct FarmLink {
    /// How it is connected.
    pub state: LinkState,
    /// Since when, unless it is up.
    pub since: Option<EventTime>,
    /// Gateways that are silent.
    pub gateways_down: Vec<GatewayId>,
    /// Estimate of what waits at all its gateways; `None`: no measure yet.
    pub waiting_bytes: Option<u64>,
}

/// What is cut.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LinkKind {
    /// A farm.
    Farm,
    /// A gateway.
    Gateway,
    /// One turbine behind a gateway that others still speak through.
    Turbine,
}

/// One alarm of silence.
#[derive(Clone, PartialEq, Debug)]
pub struct LinkAlarm {
    /// What is cut.
    pub kind: LinkKind,
    /// Which farm, if known.
    pub farm: Option<FarmId>,
    /// Which gateway; `None` for a farm.
    pub gateway: Option<GatewayId>,
    /// Which turbine; only for one.
    pub turbine: Option<TurbineId>,
    /// Since when: the earliest of what it explains.
    pub since: EventTime,
    /// How many turbines it silences.
    pub turbines: u32,
    /// Estimate of what waits behind it.
    pub waiting_bytes: Option<u64>,
}

/// One gateway's turbines.
struct Gateway<'a> {
    id: &'a GatewayId,
    turbines: Vec<&'a Silence>,
}

impl Gateway<'_> {
    fn silent(&self) -> impl Iterator<Item = (&Silence, EventTime)> {
        self.turbines.iter().filter_map(|t| Some((*t, t.since()?)))
    }
    fn spoke(&self) -> usize {
        self.turbines.iter().filter(|t| t.spoke()).count()
    }
    /// When the last of its turbines fell silent, if all of them are.
    fn down_since(&self) -> Option<EventTime> {
        let spoke = self.spoke();
        let silent = self.silent().count();
        (spoke > 0 && silent == spoke)
            .then(|| self.silent().map(|(_, since)| since).min())
            .flatten()
    }
}

type Farms<'a> = BTreeMap<Option<&'a FarmId>, BTreeMap<&'a GatewayId, Gateway<'a>>>;

fn by_farm(turbines: &[Silence]) -> Farms<'_> {
    let mut farms: Farms = BTreeMap::new();
    for t in turbines {
        let gateways = farms.entry(t.farm.as_ref()).or_default();
        let gateway = gateways.entry(&t.gateway).or_insert_with(|| Gateway {
            id: &t.gateway,
            turbines: Vec::new(),
        });
        gateway.turbines.push(t);
    }
    farms
}

/// The gateways of a farm that one cut explains; `None`: there is no such cut.
fn cut<'a, 'b>(gateways: &'b [&'a Gateway<'a>]) -> Option<(EventTime, Vec<&'b Gateway<'a>>)> {
    let speaking: Vec<_> = gateways.iter().filter(|g| g.spoke() > 0).collect();
    let mut down: Vec<(EventTime, &Gateway)> = speaking
        .iter()
        .filter_map(|g| Some((g.down_since()?, **g)))
        .collect();
    down.sort_by_key(|(since, _)| *since);
    // the widest set of gateways that fell silent together
    let together = |start: usize| {
        let from = down[start].0;
        down[start..]
            .iter()
            .take_while(|(since, _)| *since <= from.plus_us(SAME_CAUSE_US))
            .count()
    };
    let start = (0..down.len()).max_by_key(|s| (together(*s), std::cmp::Reverse(*s)))?;
    let n = together(start);
    let all = speaking.len();
    let wide = down.len() == all || (all >= 3 && n * 10 >= all * 9);
    if !wide {
        return None;
    }
    // when every gateway is silent, all of them are part of the cut, whenever each one fell silent
    let (start, n) = if down.len() == all {
        (0, all)
    } else {
        (start, n)
    };
    let part = down[start..start + n].iter().map(|(_, g)| *g).collect();
    Some((down[start].0, part))
}

/// The sum; `None` when a part is not known.
fn sum(mut parts: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    parts.try_fold(0, |all: u64, part| Some(all.saturating_add(part?)))
}

/// How a farm is connected, from its turbines.
pub fn farm_link(turbines: &[Silence], now: WallTime) -> FarmLink {
    let farms = by_farm(turbines);
    let gateways: Vec<&Gateway> = farms.values().flat_map(BTreeMap::values).collect();
    let down: Vec<(&Gateway, EventTime)> = gateways
        .iter()
        .filter_map(|g| Some((*g, g.down_since()?)))
        .collect();
    let speaking = gateways.iter().filter(|g| g.spoke() > 0).count();
    let state = match down.len() {
        0 => LinkState::Up,
        n if n == speaking => LinkState::Down,
        _ => LinkState::Degraded,
    };
    FarmLink {
        state,
        since: down.iter().map(|(_, since)| *since).min(),
        gateways_down: down.iter().map(|(g, _)| g.id.clone()).collect(),
        waiting_bytes: sum(turbines.iter().map(|t| t.waiting_bytes(now))),
    }
}

/// Every silence, each explained once: by the farm's cut, else by the gateway's, else by itself.
pub fn alarms(turbines: &[Silence], now: WallTime) -> Vec<LinkAlarm> {
    let mut out = Vec::new();
    for (farm, gateways) in by_farm(turbines) {
        let gateways: Vec<&Gateway> = gateways.values().collect();
        let cut = farm.and_then(|_| cut(&gateways));
        // one gateway's cut is the gateway's, also when it is the farm's only one
        let cut = cut.filter(|(_, part)| part.len() > 1);
        let in_cut: Vec<&GatewayId> = cut
            .iter()
            .flat_map(|(_, part)| part.iter().map(|g| g.id))
            .collect();
        if let Some((since, part)) = &cut {
            let silent = part.iter().flat_map(|g| &g.turbines);
            out.push(LinkAlarm {
                kind: LinkKind::Farm,
                farm: farm.cloned(),
                gateway: None,
                turbine: None,
                since: *since,
                turbines: silent.clone().filter(|t| t.since().is_some()).count() as u32,
                waiting_bytes: sum(silent.map(|t| t.waiting_bytes(now))),
            });
        }
        for g in gateways.iter().filter(|g| !in_cut.contains(&g.id)) {
            gateway_alarms(farm, g, now, &mut out);
        }
    }
    out
}

fn gateway_alarms(
    farm: Option<&FarmId>,
    gateway: &Gateway,
    now: WallTime,
    out: &mut Vec<LinkAlarm>,
) {
    let alarm = |kind, turbine: Option<&Silence>, since, turbines, waiting_bytes| LinkAlarm {
        kind,
        farm: farm.cloned(),
        gateway: Some(gateway.id.clone()),
        turbine: turbine.map(|t| t.turbine.clone()),
        since,
        turbines,
        waiting_bytes,
    };
    if let Some(since) = gateway.down_since() {
        let n = gateway.silent().count() as u32;
        let bytes = sum(gateway.turbines.iter().map(|t| t.waiting_bytes(now)));
        out.push(alarm(LinkKind::Gateway, None, since, n, bytes));
        return;
    }
    for (t, since) in gateway.silent() {
        out.push(alarm(
            LinkKind::Turbine,
            Some(t),
            since,
            1,
            t.waiting_bytes(now),
        ));
    }
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
