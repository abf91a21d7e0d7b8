//! The open alerts of one turbine, and the events that they cause.
//!
//! Invariants: ids never change; an alert is confirmed only on settled windows.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use windlass_shared::id::{FarmId, TurbineId};
use windlass_shared::time::{EventTime, LogTime};

use super::alert::{
    ALERT_VERSION, Acknowledged, AlertEvent, AlertState, AlertWindow, Direction, Evidence, Level,
    Shelved,
};
use super::episodes::Episode;
use crate::output::{OpenAlert, hex};

/// Provisional alerts of one rule and side; what would be one more extends the newest.
const PROVISIONAL_MAX: usize = 16;
/// Where and when an event happens.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// Whose.
    pub turbine: &'a TurbineId,
    /// Where it stands.
    pub farm: Option<&'a FarmId>,
    /// Of the detectors.
    pub config_version: u64,
    /// Offset of the entry.
    pub position: u64,
    /// Its log time.
    pub now: LogTime,
}

/// What raised or confirmed an alert.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Origin {
    /// Readings of a batch.
    Live,
    /// Windows that are not settled.
    Fork,
    /// Settled windows, or a fact about the gateway.
    Settled,
}

/// A breach as a detector reports it.
#[derive(Clone, Debug)]
pub(super) struct Breach<'a> {
    pub origin: Origin,
    pub rule: &'a str,
    pub cause: &'a str,
    pub channel: &'a str,
    pub unit: &'a str,
    pub quiet_us: i64,
    /// From one window of the rule to the next. Provisional evidence further apart belongs to another alert.
    pub hop_us: i64,
    /// Start of the first window of the run that breaches.
    pub begun: EventTime,
    /// Said again although nothing changed.
    pub announce: bool,
    pub direction: Direction,
    pub level: Level,
    pub value: f64,
    pub limit: f64,
    pub score: Option<f64>,
    pub first: EventTime,
    pub last: EventTime,
    pub window: AlertWindow,
    pub sources: Vec<Evidence>,
    pub operating_state: Option<i64>,
    pub detail: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Id([u8; 16]);

impl Id {
    pub(super) fn text(self) -> String {
        hex(&self.0)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Alert {
    id: Id,
    pub(super) episode: Id,
    pub(super) revision: u32,
    level: Level,
    /// Highest level that settled windows bear out.
    confirmed: Option<Level>,
    /// Where the newest provisional evidence came from.
    origin: Origin,
    rule: String,
    cause: String,
    channel: String,
    unit: String,
    direction: Direction,
    value: f64,
    limit: f64,
    score: Option<f64>,
    first: EventTime,
    last: EventTime,
    /// Start of the first and of the newest window with evidence.
    begun: EventTime,
    evidence: EventTime,
    pub(super) acknowledged: Option<Acknowledged>,
    pub(super) shelved: Option<Shelved>,
    /// What the newest breach said, for what is said of the alert between breaches and at its end.
    pub(super) quoted: Option<Quoted>,
}

/// The evidence of a breach.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Quoted {
    pub window: AlertWindow,
    pub sources: Vec<Evidence>,
    pub operating_state: Option<i64>,
    pub detail: String,
}

/// Is the breach next to what the alert has seen?
fn near(a: &Alert, b: &Breach) -> bool {
    b.begun <= a.evidence.plus_us(b.hop_us) && a.begun <= b.window.start.plus_us(b.hop_us)
}

impl Alert {
    pub(super) fn is(&self, id: &str) -> bool {
        self.id.text() == id
    }
    pub(super) fn state(&self) -> AlertState {
        if self.confirmed == Some(self.level) {
            AlertState::Confirmed
        } else {
            AlertState::Provisional
        }
    }
}

/// Open alerts and episodes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Book {
    pub(super) alerts: Vec<Alert>,
    pub(super) episodes: Vec<Episode>,
    /// Counts alerts and episodes, so that ids are unique.
    pub(super) numbered: u64,
}

impl Book {
    /// A breach goes on or begins.
    pub(super) fn breach(&mut self, scene: &Scene, b: &Breach, out: &mut Vec<AlertEvent>) {
        let at = match self.find(b) {
            Some(at) => at,
            None => self.begin(scene, b),
        };
        let alert = &mut self.alerts[at];
        let before = (alert.state(), alert.level, alert.confirmed);
        alert.first = alert.first.min(b.first);
        alert.last = alert.last.max(b.last);
        alert.begun = alert.begun.min(b.begun);
        alert.evidence = alert.evidence.max(b.window.start);
        alert.level = alert.level.max(b.level);
        if b.origin == Origin::Settled {
            alert.confirmed = alert.confirmed.max(Some(b.level));
        } else {
            alert.origin = b.origin;
        }
        (alert.value, alert.limit, alert.score) = (b.value, b.limit, b.score);
        alert.quoted = Some(Quoted {
            window: b.window.clone(),
            sources: b.sources.clone(),
            operating_state: b.operating_state,
            detail: b.detail.clone(),
        });
        let fresh = alert.revision == 0 || b.announce;
        if fresh || before != (alert.state(), alert.level, alert.confirmed) {
            // what is settled is said at the level that is borne out, although live data may be worse already
            let state = match b.origin {
                Origin::Settled => AlertState::Confirmed,
                Origin::Live | Origin::Fork => alert.state(),
            };
            self.say(scene, at, state, Some(b), out);
        }
        let (first, last) = (self.alerts[at].first, self.alerts[at].last);
        self.join(scene, at, b.cause, first, last, b.quiet_us, out);
        if b.origin == Origin::Settled {
            self.absorb(scene, at, b, out);
        }
    }

    /// The alert that the breach is part of: for settled windows the one that is confirmed and not over, wherever it
    /// began, so that what is confirmed depends on them alone; otherwise, or where there is none, one that is near.
    fn find(&self, b: &Breach) -> Option<usize> {
        let same = |a: &Alert| a.rule == b.rule && a.direction == b.direction;
        let confirmed = |a: &&Alert| same(a) && a.confirmed.is_some();
        if b.origin == Origin::Settled && self.alerts.iter().any(|a| confirmed(&a)) {
            return self.alerts.iter().position(|a| confirmed(&a));
        }
        let found = self.alerts.iter().position(|a| same(a) && near(a, b));
        if found.is_none() {
            let all = self
                .alerts
                .iter()
                .filter(|a| same(a) && a.confirmed.is_none());
            if b.origin != Origin::Settled && all.count() >= PROVISIONAL_MAX {
                return self.alerts.iter().rposition(same);
            }
        }
        found
    }

    /// Provisional alerts that the confirmed one has reached are part of it.
    fn absorb(&mut self, scene: &Scene, at: usize, b: &Breach, out: &mut Vec<AlertEvent>) {
        let mine = self.alerts[at].id;
        let detail = format!("it goes on as alert {}", mine.text());
        self.end(scene, out, |a| {
            let part = a.rule == b.rule && a.direction == b.direction && near(a, b);
            let gone = part && a.id != mine && a.confirmed.is_none();
            gone.then_some((AlertState::Withdrawn, detail.as_str()))
        });
    }

    fn begin(&mut self, scene: &Scene, b: &Breach) -> usize {
        let id = self.id(scene, "alert", b.rule, b.first);
        let episode = self.episode(scene, b);
        self.alerts.push(Alert {
            id,
            episode,
            revision: 0,
            level: b.level,
            confirmed: None,
            origin: b.origin,
            rule: b.rule.to_owned(),
            cause: b.cause.to_owned(),
            channel: b.channel.to_owned(),
            unit: b.unit.to_owned(),
            direction: b.direction,
            value: b.value,
            limit: b.limit,
            score: b.score,
            first: b.first,
            last: b.last,
            begun: b.begun,
            evidence: b.window.start,
            acknowledged: None,
            shelved: None,
            quoted: None,
        });
        self.alerts.len() - 1
    }

    pub(super) fn id(&mut self, scene: &Scene, what: &str, name: &str, first: EventTime) -> Id {
        self.numbered += 1;
        let mut hash = Sha256::new();
        for part in [what, scene.turbine.as_str(), name] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        hash.update(first.0.to_le_bytes());
        hash.update(self.numbered.to_le_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Id(id)
    }

    /// The settled chain says normal for a rule.
    pub(super) fn normal(&mut self, scene: &Scene, rule: &str, out: &mut Vec<AlertEvent>) {
        self.end(scene, out, |a| {
            let over = a.rule == rule && a.confirmed.is_some();
            over.then_some((AlertState::Cleared, "normal again"))
        });
    }

    /// The settled chain of these rules has come to the window at `start`: what is not confirmed by now is withdrawn.
    pub(super) fn passed(
        &mut self,
        scene: &Scene,
        start: EventTime,
        rule: impl Fn(&str) -> bool,
        out: &mut Vec<AlertEvent>,
    ) {
        let detail = "the settled windows do not bear it out";
        self.withdraw(scene, out, detail, |a| rule(&a.rule) && a.evidence <= start);
    }

    /// What windows that are not settled said of rules other than these no longer holds.
    pub(super) fn forked(
        &mut self,
        scene: &Scene,
        holds: impl Fn(&str, Direction) -> bool,
        out: &mut Vec<AlertEvent>,
    ) {
        let detail = "later data do not bear it out";
        self.withdraw(scene, out, detail, |a| {
            a.origin == Origin::Fork && !holds(&a.rule, a.direction)
        });
    }

    /// The rule is gone or another one.
    pub(super) fn dropped(&mut self, scene: &Scene, rule: &str, out: &mut Vec<AlertEvent>) {
        self.end(scene, out, |a| {
            let state = match a.confirmed {
                Some(_) => AlertState::Cleared,
                None => AlertState::Withdrawn,
            };
            (a.rule == rule).then_some((state, "the rule was changed or removed"))
        });
    }

    /// Takes back what is provisional: to the level that is confirmed, or altogether.
    fn withdraw(
        &mut self,
        scene: &Scene,
        out: &mut Vec<AlertEvent>,
        detail: &str,
        which: impl Fn(&Alert) -> bool,
    ) {
        for at in 0..self.alerts.len() {
            let a = &mut self.alerts[at];
            if let Some(level) = a.confirmed.filter(|l| *l < a.level)
                && which(a)
            {
                a.level = level;
                a.origin = Origin::Settled;
                self.say(scene, at, AlertState::Confirmed, None, out);
            }
        }
        self.end(scene, out, |a| {
            let gone = a.confirmed.is_none() && which(a);
            gone.then_some((AlertState::Withdrawn, detail))
        });
    }

    /// Ends alerts, each with the state and the text that `which` gives it.
    fn end<'t>(
        &mut self,
        scene: &Scene,
        out: &mut Vec<AlertEvent>,
        which: impl Fn(&Alert) -> Option<(AlertState, &'t str)>,
    ) {
        let mut at = 0;
        while at < self.alerts.len() {
            let Some((state, detail)) = which(&self.alerts[at]) else {
                at += 1;
                continue;
            };
            self.alerts[at].revision += 1;
            let mut event = self.event(scene, at, state, None);
            self.quote(at, &mut event);
            detail.clone_into(&mut event.detail);
            out.push(event);
            self.alerts.remove(at);
        }
    }

    pub(super) fn say(
        &mut self,
        scene: &Scene,
        at: usize,
        state: AlertState,
        breach: Option<&Breach>,
        out: &mut Vec<AlertEvent>,
    ) {
        self.alerts[at].revision += 1;
        out.push(self.event(scene, at, state, breach));
    }

    pub(super) fn event(
        &self,
        scene: &Scene,
        at: usize,
        state: AlertState,
        breach: Option<&Breach>,
    ) -> AlertEvent {
        let a = &self.alerts[at];
        let none = || AlertWindow {
            kind: "none".to_owned(),
            start: a.evidence,
            end: a.last,
            revision: 0,
        };
        AlertEvent {
            v: ALERT_VERSION,
            alert: a.id.text(),
            episode: a.episode.text(),
            merged_into: None,
            revision: a.revision,
            state,
            turbine: scene.turbine.clone(),
            farm: scene.farm.cloned(),
            rule: a.rule.clone(),
            cause: a.cause.clone(),
            level: match state {
                AlertState::Confirmed | AlertState::Cleared => a.confirmed.unwrap_or(a.level),
                _ => a.level,
            },
            direction: a.direction,
            channel: a.channel.clone(),
            unit: a.unit.clone(),
            value: a.value,
            limit: a.limit,
            score: a.score,
            operating_state: breach.and_then(|b| b.operating_state),
            first: a.first,
            last: a.last,
            window: breach.map_or_else(none, |b| b.window.clone()),
            sources: breach.map_or_else(Vec::new, |b| b.sources.clone()),
            config_version: scene.config_version,
            position: scene.position,
            log_time: scene.now,
            detail: breach.map_or_else(String::new, |b| b.detail.clone()),
            acknowledged: a.acknowledged.clone(),
            shelved: a.shelved.clone(),
        }
    }

    /// Gives an event that no breach caused what the newest breach said.
    pub(super) fn quote(&self, at: usize, event: &mut AlertEvent) {
        let Some(quoted) = &self.alerts[at].quoted else {
            return;
        };
        event.window = quoted.window.clone();
        event.sources.clone_from(&quoted.sources);
        event.operating_state = quoted.operating_state;
        event.detail.clone_from(&quoted.detail);
    }

    /// The open alerts in short, the newest last, at most `max`.
    pub(super) fn open(&self, max: usize) -> Vec<OpenAlert> {
        let skip = self.alerts.len().saturating_sub(max);
        let short = |a: &Alert| OpenAlert {
            id: a.id.text(),
            episode: a.episode.text(),
            rule: a.rule.clone(),
            level: a.level,
            state: a.state(),
            value: a.value,
        };
        self.alerts[skip..].iter().map(short).collect()
    }
}
