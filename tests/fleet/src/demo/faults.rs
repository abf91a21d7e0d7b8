//! Which alarms belong to which injected faults: the rule of `docs/demo.md`.
//!
//! Invariant: a confirmed episode is either a fault's or false; a fault is found or missed.

use std::collections::BTreeMap;

use serde::Serialize;
use windlass_shared::time::SECOND_US;

use crate::ledger::alerts::Alert;

/// A window that holds the first moment of a fault may begin up to this much before it.
const EARLY_US: i64 = 60 * SECOND_US;
/// A detector looks back over windows: a breach may begin up to this much after the fault has ended.
const LATE_US: i64 = 120 * SECOND_US;

/// A fault that the run puts in. Times in microseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// What it is, for people.
    pub what: String,
    /// Whose.
    pub turbine: String,
    /// Channels in which it shows.
    pub channels: Vec<String>,
    /// First event time.
    pub from: i64,
    /// Behind the last event time.
    pub until: i64,
}

/// A confirmed episode: what an operator would have been called for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Episode {
    /// Its id.
    pub episode: String,
    /// Whose.
    pub turbine: String,
    /// Rules that raised it.
    pub rules: Vec<String>,
    /// Channels.
    pub channels: Vec<String>,
    /// First event time of any breach.
    pub first: i64,
    /// Last event time of any breach.
    pub last: i64,
    /// The fault it belongs to; none: it is false.
    pub fault: Option<String>,
}

/// A fault, and what it led to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The fault.
    #[serde(flatten)]
    pub fault: Fault,
    /// The confirmed alert that lasted longest; none: it was missed.
    pub alert: Option<String>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// All faults, with what they led to.
    pub faults: Vec<Found>,
    /// All confirmed episodes.
    pub episodes: Vec<Episode>,
}

impl Verdict {
    /// Faults that an episode belongs to.
    pub fn detected(&self) -> usize {
        self.faults.iter().filter(|f| f.alert.is_some()).count()
    }
    /// Episodes that belong to no fault.
    pub fn false_alarms(&self) -> usize {
        self.episodes.iter().filter(|e| e.fault.is_none()).count()
    }
}

/// Matches.
pub fn judge(faults: &[Fault], alerts: &[Alert]) -> Verdict {
    let mut by_episode: BTreeMap<&str, Vec<&Alert>> = BTreeMap::new();
    for alert in alerts.iter().filter(|a| a.confirmed) {
        by_episode.entry(&alert.episode).or_default().push(alert);
    }
    let mut found: Vec<Option<&Alert>> = vec![None; faults.len()];
    let mut episodes = Vec::new();
    for (id, alerts) in by_episode {
        let mut fault = None;
        for (i, candidate) in faults.iter().enumerate() {
            let own = alerts.iter().copied().filter(|a| belongs(a, candidate));
            if let Some(longest) = own.max_by_key(|a| (lasted(a), &a.alert)) {
                if found[i].is_none_or(|f| lasted(f) < lasted(longest)) {
                    found[i] = Some(longest);
                }
                fault.get_or_insert_with(|| candidate.what.clone());
            }
        }
        let mut rules: Vec<String> = alerts.iter().map(|a| a.rule.clone()).collect();
        rules.sort();
        rules.dedup();
        let mut channels: Vec<String> = alerts.iter().map(|a| a.channel.clone()).collect();
        channels.sort();
        channels.dedup();
        episodes.push(Episode {
            episode: id.to_owned(),
            turbine: alerts[0].turbine.clone(),
            rules,
            channels,
            first: alerts.iter().map(|a| a.first).min().unwrap_or_default(),
            last: alerts.iter().map(|a| a.last).max().unwrap_or_default(),
            fault,
        });
    }
    Verdict {
        faults: faults
            .iter()
            .zip(found)
            .map(|(fault, alert)| Found {
                fault: fault.clone(),
                alert: alert.map(|a| a.alert.clone()),
            })
            .collect(),
        episodes,
    }
}

fn lasted(alert: &Alert) -> i64 {
    alert.last - alert.first
}

/// Is this alert a sign of this fault?
pub fn belongs(alert: &Alert, fault: &Fault) -> bool {
    alert.turbine == fault.turbine
        && fault.channels.contains(&alert.channel)
        && alert.first >= fault.from - EARLY_US
        && alert.first < fault.until + LATE_US
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(episode: &str, channel: &str, first_s: i64, confirmed: bool) -> Alert {
        Alert::example(episode, "T1", channel, first_s * SECOND_US, confirmed)
    }

    #[test]
    fn an_episode_is_matched_by_turbine_channel_and_time() {
        let fault = Fault {
            what: "ramp".into(),
            turbine: "T1".into(),
            channels: vec!["oil".into()],
            from: 1_000 * SECOND_US,
            until: 2_000 * SECOND_US,
        };
        let alerts = [
            alert("a", "oil", 1_500, true),
            alert("a", "wind", 1_400, true),
            alert("b", "oil", 900, true),
            alert("c", "wind", 1_500, true),
            alert("d", "wind", 1_500, false),
        ];
        let verdict = judge(std::slice::from_ref(&fault), &alerts);
        assert_eq!((verdict.detected(), verdict.false_alarms()), (1, 2));
        assert_eq!(verdict.faults[0].alert.as_deref(), Some("a-oil"));
        let missed = judge(&[fault], &alerts[2..]);
        assert_eq!((missed.detected(), missed.false_alarms()), (0, 2));
    }
}
