//! What is found: the alerts in the lake, gathered into episodes.
//!
//! Invariant: an alert's last event by revision is its last word; an episode that was merged counts as the older one.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::lake::Lake;

/// The last word on one alert. Times in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alert {
    /// Its id.
    pub alert: String,
    /// Its episode, merges followed.
    pub episode: String,
    /// Whose.
    pub turbine: String,
    /// Which rule raised it.
    pub rule: String,
    /// On which channel.
    pub channel: String,
    /// First event time of the breach.
    pub first: i64,
    /// Last event time of the breach.
    pub last: i64,
    /// It was confirmed at some time.
    pub confirmed: bool,
    /// What was seen last.
    pub value: f64,
    /// What it was held against.
    pub limit: f64,
    #[serde(skip)]
    revision: i64,
}

impl Alert {
    /// One for tests of what looks at alerts.
    #[cfg(test)]
    pub fn example(
        episode: &str,
        turbine: &str,
        channel: &str,
        first: i64,
        confirmed: bool,
    ) -> Self {
        Self {
            alert: format!("{episode}-{channel}"),
            episode: episode.into(),
            turbine: turbine.into(),
            rule: "rule".into(),
            channel: channel.into(),
            first,
            last: first,
            confirmed,
            value: 1.0,
            limit: 0.0,
            revision: 1,
        }
    }
}

/// All alerts in the lake.
pub fn read(lake_root: &Path) -> Result<Vec<Alert>> {
    let lake = Lake::open(lake_root)?;
    let mut alerts: BTreeMap<String, Alert> = BTreeMap::new();
    let mut merged: BTreeMap<String, String> = BTreeMap::new();
    lake.each("alerts", |row| {
        let episode = row.need("episode")?.to_owned();
        if let Some(into) = row.text("merged_into")? {
            merged.insert(episode.clone(), into.to_owned());
        }
        let event = Alert {
            alert: row.need("alert")?.to_owned(),
            episode,
            turbine: row.need("turbine")?.to_owned(),
            rule: row.need("rule")?.to_owned(),
            channel: row.need("channel")?.to_owned(),
            first: row.need_int("first")?,
            last: row.need_int("last")?,
            confirmed: row.need("state")? == "confirmed",
            value: row.float("value")?.unwrap_or(f64::NAN),
            limit: row.float("limit")?.unwrap_or(f64::NAN),
            revision: row.need_int("revision")?,
        };
        let known = alerts
            .entry(event.alert.clone())
            .or_insert_with(|| event.clone());
        let confirmed = known.confirmed | event.confirmed;
        let (first, last) = (known.first.min(event.first), known.last.max(event.last));
        if event.revision >= known.revision {
            *known = event;
        }
        (known.confirmed, known.first, known.last) = (confirmed, first, last);
        Ok(())
    })?;
    let mut alerts: Vec<Alert> = alerts.into_values().collect();
    for alert in &mut alerts {
        // A chain of merges is finite: each leads to an older episode.
        for _ in 0..merged.len() {
            match merged.get(&alert.episode) {
                Some(into) => into.clone_into(&mut alert.episode),
                None => break,
            }
        }
    }
    Ok(alerts)
}
