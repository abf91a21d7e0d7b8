//! Detectors resolved against a catalogue: which channel a rule looks at, and which channels are worth remembering.
//!
//! Invariant: derived from the detector file and the catalogue alone, so it is never part of a snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_shared::catalogue::{Catalogue, CatalogueHash, Channel, RateGroup, Raw};
use windlass_shared::id::ChannelId;

use super::config::{Detectors, Limits, On, Rule, RuleKind, Threshold};
use super::track::nearest;
use crate::fleet::Fleet;

/// Channels in a status document.
const SHOWN_MAX: usize = 32;
const NO_SLOT: u16 = u16::MAX;

/// The channel of the IEC 61400-26 state where the detector file names none.
const STATE_CHANNEL: &str = "iec_state";

/// The plans of all catalogues.
#[derive(Clone, Debug)]
pub struct Plans {
    detectors: Arc<Detectors>,
    by_catalogue: BTreeMap<CatalogueHash, Plan>,
}

impl Plans {
    /// Resolves the detectors against every catalogue of the fleet.
    pub fn new(detectors: Arc<Detectors>, fleet: &Fleet) -> Self {
        let plan = |c: &Arc<Catalogue>| (c.hash, Plan::new(&detectors, c));
        Self {
            by_catalogue: fleet.catalogues().map(plan).collect(),
            detectors,
        }
    }

    /// The detectors.
    pub fn detectors(&self) -> &Arc<Detectors> {
        &self.detectors
    }

    /// The plan for a catalogue.
    pub fn of(&self, hash: CatalogueHash) -> Option<&Plan> {
        self.by_catalogue.get(&hash)
    }
}

/// What of a catalogue the detectors and the status document need.
#[derive(Clone, Debug)]
pub struct Plan {
    detectors: Arc<Detectors>,
    /// Channels whose newest value is remembered; the first `shown` are in the status document.
    tracked: Vec<ChannelId>,
    shown: usize,
    /// Slot in `tracked` by channel id.
    slots: Vec<u16>,
    /// Rules on readings, by channel id.
    on_readings: Vec<Vec<(u16, Band)>>,
    /// Channel and condition channel of each rule; `None`: this catalogue has no use for it.
    rules: Vec<Option<Resolved>>,
    state: Option<ChannelId>,
}

/// Raw integers between which no reading breaches a rule, both included; a fast first look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Band {
    pub least: i64,
    pub greatest: i64,
}

impl Band {
    /// Of a rule on an integer channel whose values grow with the raw ones; otherwise nothing is between.
    fn of(t: &Threshold, channel: &Channel) -> Self {
        let none = Self {
            least: 0,
            greatest: -1,
        };
        if channel.raw != Raw::Int || channel.scale_num <= 0 {
            return none;
        }
        let at = |limits: &Option<Limits>| limits.as_ref().map(|l| channel.raw_nearest(nearest(l)));
        // one step inside the nearest raw value is on the good side for sure
        let greatest = at(&t.high).map_or(Some(i64::MAX), |raw| raw.map(|r| r.saturating_sub(1)));
        let least = at(&t.low).map_or(Some(i64::MIN), |raw| raw.map(|r| r.saturating_add(1)));
        match (least, greatest) {
            (Some(least), Some(greatest)) => Self { least, greatest },
            _ => none,
        }
    }
}

/// The channels of a rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resolved {
    pub channel: ChannelId,
    pub when: Option<ChannelId>,
}

impl Plan {
    /// Resolves the detectors against one catalogue.
    pub fn new(detectors: &Arc<Detectors>, catalogue: &Catalogue) -> Self {
        let rules: Vec<_> = detectors
            .rules
            .iter()
            .map(|r| resolve(r, catalogue))
            .collect();
        let state_name = detectors.operating.state_channel.as_deref();
        let state = catalogue
            .by_name(state_name.unwrap_or(STATE_CHANNEL))
            .map(|c| c.id);
        let mut tracked = shown(catalogue);
        let shown = tracked.len();
        let conditions = rules.iter().flatten().filter_map(|r| r.when);
        for id in conditions.chain(state) {
            if !tracked.contains(&id) {
                tracked.push(id);
            }
        }
        let ids = catalogue.channels.iter().map(|c| usize::from(c.id.0) + 1);
        let ids = ids.max().unwrap_or(0);
        let mut slots = vec![NO_SLOT; ids];
        for (slot, id) in tracked.iter().enumerate() {
            slots[usize::from(id.0)] = slot as u16;
        }
        let mut on_readings = vec![Vec::new(); ids];
        for (at, (rule, resolved)) in detectors.rules.iter().zip(&rules).enumerate() {
            if let (RuleKind::Threshold(t), Some(r)) = (&rule.kind, resolved)
                && t.on == On::Readings
            {
                let channel = catalogue.channel(r.channel);
                let band = channel.map(|c| (at as u16, Band::of(t, c)));
                on_readings[usize::from(r.channel.0)].extend(band);
            }
        }
        Self {
            detectors: detectors.clone(),
            tracked,
            shown,
            slots,
            on_readings,
            rules,
            state,
        }
    }

    /// Channels whose newest value is remembered.
    pub(crate) fn tracked(&self) -> &[ChannelId] {
        &self.tracked
    }

    /// How many of them are in the status document.
    pub(crate) fn shown(&self) -> usize {
        self.shown
    }

    /// Where a channel's newest value is remembered.
    #[inline]
    pub(crate) fn slot(&self, id: ChannelId) -> Option<usize> {
        match self.slots.get(usize::from(id.0)) {
            None | Some(&NO_SLOT) => None,
            Some(slot) => Some(usize::from(*slot)),
        }
    }

    /// Where the operating state is remembered.
    pub(crate) fn state_slot(&self) -> Option<usize> {
        self.slot(self.state?)
    }

    /// The operating state's channel.
    pub(super) fn state(&self) -> Option<ChannelId> {
        self.state
    }

    /// Rules on readings of a channel.
    #[inline]
    pub(super) fn on_readings(&self, id: ChannelId) -> &[(u16, Band)] {
        self.on_readings
            .get(usize::from(id.0))
            .map_or(&[], Vec::as_slice)
    }

    /// A rule and its channels, if this catalogue has use for it.
    pub(super) fn rule(&self, at: usize) -> Option<(&Rule, Resolved)> {
        Some((self.detectors.rules.get(at)?, (*self.rules.get(at)?)?))
    }

    /// The detectors.
    pub(super) fn detectors(&self) -> &Detectors {
        &self.detectors
    }
}

fn resolve(rule: &Rule, catalogue: &Catalogue) -> Option<Resolved> {
    let fits = rule.profiles.is_empty() || rule.profiles.contains(&catalogue.name);
    if !fits {
        return None;
    }
    let channel = catalogue.by_name(&rule.channel)?.id;
    let when = match &rule.when {
        None => None,
        Some(when) => Some(catalogue.by_name(&when.channel)?.id),
    };
    Some(Resolved { channel, when })
}

/// The fast channels, or all where none is fast, up to a limit.
fn shown(catalogue: &Catalogue) -> Vec<ChannelId> {
    let fast = |c: &&Channel| c.rate_group == RateGroup::Fast;
    let any = catalogue.channels.iter().any(|c| fast(&c));
    let wanted = catalogue.channels.iter().filter(|c| !any || fast(c));
    wanted.take(SHOWN_MAX).map(|c| c.id).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use windlass_shared::catalogue;

    use super::super::alert::Direction;
    use super::super::track::beyond;
    use super::*;

    proptest! {
        #[test]
        fn what_is_within_the_band_breaches_nothing(
            limit in -500.0_f64..500.0,
            near in -3_i64..4,
            scale in prop::sample::select(vec!["0.1", "0.01", "3", "360/4096"]),
        ) {
            let text = format!(
                "name = \"p\"\nversion = 1\n[defaults]\nperiod = \"1s\"\nclass = \"condition\"\nrate_group = \"slow\"\n\
                 [[channels]]\nid = 1\nname = \"c\"\nunit = \"V\"\nscale = {}\n",
                if scale.contains('/') { format!("\"{scale}\"") } else { scale.to_owned() }
            );
            let catalogue = catalogue::parse("p.toml", &text).unwrap();
            let channel = &catalogue.channels[0];
            let limits = Some(Limits { warning: Some(limit), alarm: None });
            let mut t = Threshold {
                on: On::Readings,
                persistence: 1,
                high: limits,
                low: None,
                hysteresis: 0.0,
            };
            let raw = channel.raw_nearest(limit).unwrap() + near;
            for direction in [Direction::High, Direction::Low] {
                let band = Band::of(&t, channel);
                let within = (band.least..=band.greatest).contains(&raw);
                let limits = t.high.or(t.low).unwrap();
                let breaches = beyond(channel.value(raw), &limits, direction).is_some();
                prop_assert!(!(within && breaches));
                // and it is not wider than it has to be
                let far = if direction == Direction::High { near < -1 } else { near > 1 };
                prop_assert!(within || !far);
                std::mem::swap(&mut t.high, &mut t.low);
            }
        }
    }
}
