//! The pipeline's health: where every reader of the log is, what is incomplete, how old what is shown is.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::board::Card;
use super::model::Alarm;

/// Entries that a reader may be behind before it is an alarm: minutes of a large fleet.
const LAG_ALARM: u64 = 100_000;
/// Incomplete turbines that are listed, the worst first.
const INCOMPLETE_MAX: usize = 100;

/// `GET /pipeline`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, ToSchema)]
pub struct Pipeline {
    /// Of the service.
    pub version: &'static str,
    /// When it was started.
    #[schema(required)]
    pub started: Option<String>,
    /// Partitions of the telemetry topic.
    pub partitions: Vec<PartitionHealth>,
    /// Readers of the log, and how many entries they are behind.
    pub sinks: Vec<Sink>,
    /// How old the newest readings are, by farm.
    pub freshness: Vec<Freshness>,
    /// Turbines with unknown seqs, most first.
    pub incomplete: Vec<Incomplete>,
    /// What became of what came.
    pub counts: Totals,
    /// Ingest.
    pub ingest: IngestHealth,
    /// The lake.
    pub lake: LakeHealth,
}

/// A partition of the telemetry topic.
#[derive(Clone, PartialEq, Debug, Default, Serialize, ToSchema)]
pub struct PartitionHealth {
    /// Its number.
    pub partition: u16,
    /// Offset that the next entry will get.
    pub head: u64,
    /// First offset that the task has not committed; null: it never did.
    #[schema(required)]
    pub committed: Option<u64>,
    /// Entries in between.
    pub lag: u64,
    /// Append time of the newest entry.
    #[schema(required)]
    pub log_time: Option<String>,
    /// Position of the newest snapshot; null: none.
    #[schema(required)]
    pub snapshot_position: Option<u64>,
    /// Its age, s.
    #[schema(required)]
    pub snapshot_age_s: Option<f64>,
    /// Of the logic that the outputs come from.
    pub logic_version: u32,
}

/// A reader of the log.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, ToSchema)]
pub struct Sink {
    /// Its group.
    pub name: &'static str,
    /// Entries behind, over all its topics.
    pub lag: u64,
}

/// Age of the newest readings of a farm's live turbines.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, ToSchema)]
pub struct Freshness {
    /// Which.
    pub farm: String,
    /// Median, ms; null: none is live.
    #[schema(required)]
    pub p50_ms: Option<i64>,
    /// 99th percentile, ms.
    #[schema(required)]
    pub p99_ms: Option<i64>,
    /// Turbines that are silent.
    pub stale: u32,
}

/// A turbine with unknown seqs.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, ToSchema)]
pub struct Incomplete {
    /// Which.
    pub turbine: String,
    /// Ranges.
    pub holes: u32,
    /// Seqs in them.
    pub missing_seqs: u64,
    /// Seqs recorded as lost.
    pub lost_seqs: u64,
}

/// What became of what came, over all turbines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, ToSchema)]
pub struct Totals {
    /// Readings in records that counted.
    pub accepted_readings: u64,
    /// Of those, in panes.
    pub counted_readings: u64,
    /// Records that came again.
    pub duplicate_records: u64,
    /// Entries of the dead-letter topic, ever.
    pub dead_letters: u64,
    /// Readings that gateways declared lost.
    pub evicted_readings: u64,
    /// Readings marked late.
    pub late_readings: u64,
    /// Readings ahead of their gateway's clock.
    pub suspect_readings: u64,
}

/// Ingest.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, ToSchema)]
pub struct IngestHealth {
    /// To the broker; null: ingest is another process.
    #[schema(required)]
    pub connected: Option<bool>,
    /// Records in the last second; null: not measured yet.
    #[schema(required)]
    pub rate: Option<f64>,
}

/// The lake.
#[derive(Clone, PartialEq, Debug, Default, Serialize, ToSchema)]
pub struct LakeHealth {
    /// Log time of the last entry in a committed cut; null: none.
    #[schema(required)]
    pub last_cut: Option<String>,
    /// Telemetry entries that are not in the lake.
    pub lag: u64,
}

impl Pipeline {
    /// Adds what the turbines' documents say.
    pub(super) fn add_documents(&mut self, turbines: &BTreeMap<String, Card>) {
        let mut ages: BTreeMap<&str, (Vec<i64>, u32)> = BTreeMap::new();
        let mut incomplete = Vec::new();
        for card in turbines.values() {
            let row = &card.row;
            let farm = ages.entry(row.farm.as_deref().unwrap_or("")).or_default();
            match (row.fresh, row.age_ms) {
                ("live", Some(age)) => farm.0.push(age),
                ("stale", _) => farm.1 += 1,
                _ => {}
            }
            let Some(doc) = &card.doc else { continue };
            let (t, c) = (&mut self.counts, &doc.counts);
            t.accepted_readings += c.accepted_readings;
            t.counted_readings += c.counted_readings;
            t.duplicate_records += c.duplicate_records;
            t.evicted_readings += c.lost_readings;
            t.late_readings += c.late_readings;
            t.suspect_readings += c.suspect_readings;
            if doc.coverage.holes > 0 || doc.coverage.lost_seqs > 0 {
                incomplete.push(Incomplete {
                    turbine: row.id.clone(),
                    holes: doc.coverage.holes,
                    missing_seqs: doc.coverage.missing_seqs,
                    lost_seqs: doc.coverage.lost_seqs,
                });
            }
        }
        incomplete.sort_by(|a, b| {
            let key = |i: &Incomplete| (i.missing_seqs, i.lost_seqs);
            key(b).cmp(&key(a)).then_with(|| a.turbine.cmp(&b.turbine))
        });
        incomplete.truncate(INCOMPLETE_MAX);
        self.incomplete = incomplete;
        self.freshness = ages
            .into_iter()
            .map(|(farm, (mut ages, stale))| {
                ages.sort_unstable();
                let at = |percent: usize| ages.get(ages.len().saturating_sub(1) * percent / 100);
                Freshness {
                    farm: farm.to_owned(),
                    p50_ms: at(50).copied(),
                    p99_ms: at(99).copied(),
                    stale,
                }
            })
            .collect();
    }

    /// What is wrong with it.
    pub(super) fn alarms(&self) -> Vec<Alarm> {
        let behind = self.sinks.iter().filter(|s| s.lag > LAG_ALARM).map(|s| {
            let text = format!("{} is {} entries behind the log", s.name, s.lag);
            (format!("pipeline-{}", s.name), text)
        });
        let cut_off = (self.ingest.connected == Some(false)).then(|| {
            let text = "ingest is not connected to its broker: nothing comes in".to_owned();
            ("pipeline-ingest".to_owned(), text)
        });
        behind
            .chain(cut_off)
            .map(|(id, text)| Alarm {
                id,
                kind: "pipeline",
                farm: None,
                gateway: None,
                turbine: None,
                since: None,
                text,
                turbines: 0,
                waiting_bytes_estimate: None,
            })
            .collect()
    }
}
