//! The tables `alerts` and `dead_letter`: one row for each event, by log time.
//!
//! Invariant: a dead letter's bytes are kept as they came.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, Float64Array, Int64Array, StringArray, UInt32Array, UInt64Array,
};
use arrow_schema::{DataType, Schema};
use serde::Serialize;
use windlass_cloud_core::output::{AlertEvent, DeadLetter};

use super::derived::{Placed, farm_name, text};
use super::file::{DataFile, Place, Slot, encode, field, name_field, names, time_field, times};
use super::reading::bounds;
use super::{LakeError, Table};

/// Alert events of a cut.
#[derive(Debug, Default)]
pub struct Alerts {
    pub(super) rows: Vec<Placed<AlertEvent>>,
}

/// Dead letters of a cut.
#[derive(Debug, Default)]
pub struct DeadLetters {
    pub(super) rows: Vec<Placed<DeadLetter>>,
}

impl Alerts {
    /// The files, in the order of their paths.
    pub fn files(&mut self, file_name: &str) -> Result<Vec<DataFile>, LakeError> {
        let mut groups: BTreeMap<(String, Slot), Vec<Placed<AlertEvent>>> = BTreeMap::new();
        for row in std::mem::take(&mut self.rows) {
            let key = (farm_name(row.value.farm.as_ref()), Slot::of(row.log_time.0));
            groups.entry(key).or_default().push(row);
        }
        let mut files = Vec::new();
        for ((farm, slot), mut rows) in groups {
            rows.sort_by(|a, b| (&a.value.turbine, a.offset).cmp(&(&b.value.turbine, b.offset)));
            let place = Place {
                table: Table::Alerts,
                path: format!("alerts/farm={farm}/{}/{file_name}", slot.folder()),
                bounds: bounds(rows.iter().map(|r| r.log_time.0)),
                turbines: rows.iter().map(|r| r.value.turbine.to_string()).collect(),
            };
            let sorted_by = ["turbine", "log_offset"];
            files.push(encode(
                place,
                alert_schema(),
                alert_columns(&rows),
                &sorted_by,
            )?);
        }
        Ok(files)
    }
}

/// The name that serde gives a unit variant.
fn code<T: Serialize>(value: &T) -> String {
    text(value).trim_matches('"').to_owned()
}

fn owned_names(texts: impl Iterator<Item = Option<String>>) -> ArrayRef {
    let texts: Vec<Option<String>> = texts.collect();
    names(texts.iter().map(Option::as_deref))
}

fn alert_columns(rows: &[Placed<AlertEvent>]) -> Vec<ArrayRef> {
    let name = |f: fn(&AlertEvent) -> Option<String>| -> ArrayRef {
        owned_names(rows.iter().map(|r| f(&r.value)))
    };
    let time = |f: fn(&AlertEvent) -> i64| times(rows.iter().map(|r| Some(f(&r.value))));
    let float = |f: fn(&AlertEvent) -> Option<f64>| -> ArrayRef {
        Arc::new(rows.iter().map(|r| f(&r.value)).collect::<Float64Array>())
    };
    let count = |f: fn(&AlertEvent) -> u64| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(
            rows.iter().map(|r| f(&r.value)),
        ))
    };
    let state: Int64Array = rows.iter().map(|r| r.value.operating_state).collect();
    let detail = StringArray::from_iter_values(rows.iter().map(|r| r.value.detail.as_str()));
    vec![
        name(|a| Some(a.turbine.to_string())),
        name(|a| Some(a.alert.clone())),
        name(|a| Some(a.episode.clone())),
        name(|a| a.merged_into.clone()),
        Arc::new(UInt32Array::from_iter_values(
            rows.iter().map(|r| r.value.revision),
        )),
        name(|a| Some(code(&a.state))),
        name(|a| Some(a.rule.clone())),
        name(|a| Some(a.cause.clone())),
        name(|a| Some(code(&a.level))),
        name(|a| Some(code(&a.direction))),
        name(|a| Some(a.channel.clone())),
        name(|a| Some(a.unit.clone())),
        float(|a| Some(a.value)),
        float(|a| Some(a.limit)),
        float(|a| a.score),
        Arc::new(state),
        time(|a| a.first.0),
        time(|a| a.last.0),
        name(|a| Some(a.window.kind.clone())),
        time(|a| a.window.start.0),
        time(|a| a.window.end.0),
        count(|a| u64::from(a.window.revision)),
        name(|a| Some(text(&a.sources))),
        count(|a| a.config_version),
        count(|a| a.position),
        Arc::new(detail),
        times(rows.iter().map(|r| Some(r.log_time.0))),
        Arc::new(UInt64Array::from_iter_values(rows.iter().map(|r| r.offset))),
    ]
}

fn alert_schema() -> Schema {
    Schema::new(vec![
        name_field("turbine", false),
        name_field("alert", false),
        name_field("episode", false),
        name_field("merged_into", true),
        field("revision", DataType::UInt32, false),
        name_field("state", false),
        name_field("rule", false),
        name_field("cause", false),
        name_field("level", false),
        name_field("direction", false),
        name_field("channel", false),
        name_field("unit", false),
        field("value", DataType::Float64, false),
        field("limit", DataType::Float64, false),
        field("score", DataType::Float64, true),
        field("operating_state", DataType::Int64, true),
        time_field("first", false),
        time_field("last", false),
        name_field("window", false),
        time_field("window_start", false),
        time_field("window_end", false),
        field("window_revision", DataType::UInt64, false),
        name_field("sources", false),
        field("config_version", DataType::UInt64, false),
        field("position", DataType::UInt64, false),
        field("detail", DataType::Utf8, false),
        time_field("log_time", false),
        field("log_offset", DataType::UInt64, false),
    ])
}

impl DeadLetters {
    /// The files, in the order of their paths.
    pub fn files(&mut self, file_name: &str) -> Result<Vec<DataFile>, LakeError> {
        let mut groups: BTreeMap<Slot, Vec<Placed<DeadLetter>>> = BTreeMap::new();
        for row in std::mem::take(&mut self.rows) {
            groups
                .entry(Slot::of(row.log_time.0))
                .or_default()
                .push(row);
        }
        let mut files = Vec::new();
        for (slot, mut rows) in groups {
            rows.sort_by(|a, b| {
                (&a.value.meta.turbine, a.offset).cmp(&(&b.value.meta.turbine, b.offset))
            });
            let turbines = rows.iter().filter_map(|r| r.value.meta.turbine.as_ref());
            let turbines: BTreeSet<String> = turbines.map(ToString::to_string).collect();
            let place = Place {
                table: Table::DeadLetter,
                path: format!("dead_letter/{}/{file_name}", slot.folder()),
                bounds: bounds(rows.iter().map(|r| r.log_time.0)),
                turbines,
            };
            let sorted_by = ["turbine", "log_offset"];
            files.push(encode(
                place,
                dead_schema(),
                dead_columns(&rows),
                &sorted_by,
            )?);
        }
        Ok(files)
    }
}

fn dead_columns(rows: &[Placed<DeadLetter>]) -> Vec<ArrayRef> {
    let name = |f: fn(&DeadLetter) -> Option<String>| -> ArrayRef {
        owned_names(rows.iter().map(|r| f(&r.value)))
    };
    let count = |f: fn(&DeadLetter) -> Option<u64>| -> ArrayRef {
        Arc::new(rows.iter().map(|r| f(&r.value)).collect::<UInt64Array>())
    };
    let detail = StringArray::from_iter_values(rows.iter().map(|r| r.value.meta.detail.as_str()));
    let bytes: BinaryArray = rows
        .iter()
        .map(|r| Some(r.value.bytes.as_slice()))
        .collect();
    vec![
        name(|d| d.meta.turbine.as_ref().map(ToString::to_string)),
        name(|d| d.meta.gateway.as_ref().map(ToString::to_string)),
        name(|d| d.meta.epoch.map(|e| e.to_string())),
        count(|d| d.meta.seq.map(|s| s.0)),
        name(|d| Some(d.meta.stage.clone())),
        name(|d| Some(d.meta.reason.as_str().to_owned())),
        Arc::new(detail),
        count(|d| d.meta.readings),
        name(|d| Some(d.meta.sha256.clone())),
        name(|d| d.meta.mqtt_topic.clone()),
        count(|d| d.meta.position),
        Arc::new(bytes),
        times(rows.iter().map(|r| Some(r.log_time.0))),
        Arc::new(UInt64Array::from_iter_values(rows.iter().map(|r| r.offset))),
    ]
}

fn dead_schema() -> Schema {
    Schema::new(vec![
        name_field("turbine", true),
        name_field("gateway", true),
        name_field("epoch", true),
        field("seq", DataType::UInt64, true),
        name_field("stage", false),
        name_field("reason", false),
        field("detail", DataType::Utf8, false),
        field("readings", DataType::UInt64, true),
        name_field("sha256", false),
        name_field("mqtt_topic", true),
        field("position", DataType::UInt64, true),
        field("bytes", DataType::Binary, false),
        time_field("log_time", false),
        field("log_offset", DataType::UInt64, false),
    ])
}
