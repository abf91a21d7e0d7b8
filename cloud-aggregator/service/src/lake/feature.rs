//! The table `features`: one row for each emission of a window and each of its channels.
//!
//! Invariant: a row is a function of the entry and of the catalogue it names; `aggregate` is the exact one, the numbers
//! beside it are for people and plots.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, StringArray, UInt16Array, UInt32Array, UInt64Array,
};
use arrow_schema::{DataType, Schema};
use windlass_cloud_core::fleet::Fleet;
use windlass_cloud_core::output::FeatureRow;
use windlass_shared::catalogue::{Catalogue, CatalogueHash, Channel};
use windlass_shared::pane::{Aggregate, ChannelAggregate};
use windlass_shared::window::{Status, WindowResult};

use super::derived::{Placed, farm_name, text};
use super::file::{DataFile, Place, Slot, encode, field, name_field, names, time_field, times};
use super::reading::bounds;
use super::{LakeError, Table};

/// Files of an hour that a cut makes for one farm and date; when there are more hours, the whole day is one file.
const HOUR_FILES_MAX: usize = 4;

/// Window results of a cut.
#[derive(Debug, Default)]
pub struct Features {
    pub(super) rows: Vec<Placed<FeatureRow>>,
}

/// One row of `features`.
pub(super) struct FeatureCell<'a> {
    pub row: &'a Placed<FeatureRow>,
    pub aggregate: &'a ChannelAggregate,
    pub catalogue: Option<&'a Catalogue>,
    sources: &'a str,
    losses: Option<&'a str>,
}

impl<'a> FeatureCell<'a> {
    pub(super) fn of(
        row: &'a Placed<FeatureRow>,
        aggregate: &'a ChannelAggregate,
        catalogue: Option<&'a Catalogue>,
        (sources, losses): (&'a str, Option<&'a str>),
    ) -> Self {
        Self {
            row,
            aggregate,
            catalogue,
            sources,
            losses,
        }
    }
    pub(super) fn channel(&self) -> Option<&'a Channel> {
        self.catalogue?.channel(self.aggregate.channel)
    }
    /// Least and greatest, in the unit.
    pub(super) fn extremes(&self) -> Option<(f64, f64)> {
        match self.aggregate.value {
            Aggregate::Sums { min, max, .. } | Aggregate::Latest { min, max, .. }
                if self.aggregate.n > 0 =>
            {
                let channel = self.channel()?;
                Some((channel.value(min), channel.value(max)))
            }
            _ => None,
        }
    }
    /// Mean and population standard deviation, in the unit.
    pub(super) fn moments(&self) -> Option<(f64, f64)> {
        let Aggregate::Sums { sum, sum_sq, .. } = self.aggregate.value else {
            return None;
        };
        let channel = self.channel()?;
        let n = self.aggregate.n as f64;
        if n == 0.0 {
            return None;
        }
        let scale = channel.scale_num as f64 / channel.scale_den as f64;
        let offset = channel.offset_num as f64 / channel.scale_den as f64;
        let mean = sum as f64 / n;
        let variance = (sum_sq as f64 / n - mean * mean).max(0.0);
        Some((mean * scale + offset, variance.sqrt() * scale.abs()))
    }
}

impl Features {
    /// The files, in the order of their paths.
    pub fn files(&mut self, fleet: &Fleet, file_name: &str) -> Result<Vec<DataFile>, LakeError> {
        let rows = std::mem::take(&mut self.rows);
        let mut groups: BTreeMap<(String, Slot), Vec<&Placed<FeatureRow>>> = BTreeMap::new();
        for row in &rows {
            let key = (
                farm_name(row.value.farm.as_ref()),
                Slot::of(row.value.result.start.0),
            );
            groups.entry(key).or_default().push(row);
        }
        let groups = merge_small(groups);
        let mut files = Vec::new();
        for ((farm, slot), rows) in groups {
            let texts: Vec<(String, Option<String>)> = rows
                .iter()
                .map(|r| {
                    (
                        text(&r.value.result.sources),
                        losses(&r.value.result.status),
                    )
                })
                .collect();
            let mut cells: Vec<FeatureCell> = rows
                .iter()
                .zip(&texts)
                .flat_map(|(row, (sources, losses))| {
                    let hash = CatalogueHash(row.value.catalogue);
                    let catalogue = fleet.catalogue(hash).map(AsRef::as_ref);
                    row.value.result.channels.iter().map(move |aggregate| {
                        let texts = (sources.as_str(), losses.as_deref());
                        FeatureCell::of(row, aggregate, catalogue, texts)
                    })
                })
                .collect();
            cells.sort_by_key(|c| {
                let r = &c.row.value;
                let window = (r.result.kind, r.result.start, c.row.offset);
                (r.turbine.clone(), c.aggregate.channel, window)
            });
            let place = Place {
                table: Table::Features,
                path: format!("features/farm={farm}/{}/{file_name}", slot.folder()),
                bounds: bounds(rows.iter().map(|r| r.value.result.start.0)),
                turbines: rows.iter().map(|r| r.value.turbine.to_string()).collect(),
            };
            let columns = feature_columns(&cells);
            let sorted_by = ["turbine", "channel_id", "window", "start"];
            files.push(encode(place, feature_schema(), columns, &sorted_by)?);
        }
        Ok(files)
    }
}

/// Hours of one farm and date with few windows each become one file: a backlog of slow data.
fn merge_small<T>(groups: BTreeMap<(String, Slot), Vec<T>>) -> BTreeMap<(String, Slot), Vec<T>> {
    let mut hours: BTreeMap<(String, i64), usize> = BTreeMap::new();
    for (farm, slot) in groups.keys() {
        *hours.entry((farm.clone(), slot.day)).or_default() += 1;
    }
    let mut merged: BTreeMap<(String, Slot), Vec<T>> = BTreeMap::new();
    for ((farm, slot), rows) in groups {
        let many = hours[&(farm.clone(), slot.day)] > HOUR_FILES_MAX;
        let hour = if many { None } else { slot.hour };
        merged
            .entry((farm, Slot { hour, ..slot }))
            .or_default()
            .extend(rows);
    }
    merged
}

fn losses(status: &Status) -> Option<String> {
    match status {
        Status::WithLoss(losses) => Some(text(losses)),
        Status::Provisional | Status::Exact => None,
    }
}

pub(super) fn status_name(status: &Status) -> &'static str {
    match status {
        Status::Provisional => "provisional",
        Status::Exact => "exact",
        Status::WithLoss(_) => "with_loss",
    }
}

fn feature_columns(cells: &[FeatureCell]) -> Vec<ArrayRef> {
    let heads: Vec<_> = cells.iter().map(|c| head(&c.row.value.result)).collect();
    let headlines = cells.iter().map(|c| c.aggregate.headline(c.catalogue?));
    let extreme = |f: fn((f64, f64)) -> f64| {
        let values = cells.iter().map(move |c| c.extremes().map(f));
        Arc::new(values.collect::<Float64Array>())
    };
    let moment = |f: fn((f64, f64)) -> f64| {
        let values = cells.iter().map(move |c| c.moments().map(f));
        Arc::new(values.collect::<Float64Array>())
    };
    let aggregates: Vec<String> = cells.iter().map(|c| text(&c.aggregate.value)).collect();
    let partials: BooleanArray = heads.iter().map(|h| Some(h.partial)).collect();
    vec![
        names(cells.iter().map(|c| Some(c.row.value.turbine.as_str()))),
        Arc::new(UInt16Array::from_iter_values(
            cells.iter().map(|c| c.aggregate.channel.0),
        )),
        names(cells.iter().map(|c| c.channel().map(|x| x.name.as_str()))),
        names(cells.iter().map(|c| c.channel().map(|x| x.unit.as_str()))),
        names(heads.iter().map(|h| Some(h.kind))),
        times(heads.iter().map(|h| Some(h.start))),
        times(heads.iter().map(|h| Some(h.end))),
        Arc::new(UInt32Array::from_iter_values(
            heads.iter().map(|h| h.revision),
        )),
        Arc::new(partials),
        names(
            cells
                .iter()
                .map(|c| Some(status_name(&c.row.value.result.status))),
        ),
        Arc::new(UInt64Array::from_iter_values(
            cells.iter().map(|c| c.aggregate.n),
        )),
        Arc::new(UInt64Array::from_iter_values(
            cells.iter().map(|c| c.aggregate.bad),
        )),
        Arc::new(headlines.collect::<Float64Array>()),
        moment(|m| m.0),
        moment(|m| m.1),
        extreme(|e| e.0),
        extreme(|e| e.1),
        Arc::new(StringArray::from_iter_values(aggregates)),
        Arc::new(UInt64Array::from_iter_values(heads.iter().map(|h| h.late))),
        names(cells.iter().map(|c| Some(c.sources))),
        names(cells.iter().map(|c| c.losses)),
        Arc::new(UInt64Array::from_iter_values(
            cells.iter().map(|c| c.row.value.position),
        )),
        times(cells.iter().map(|c| Some(c.row.log_time.0))),
        Arc::new(UInt64Array::from_iter_values(
            cells.iter().map(|c| c.row.offset),
        )),
    ]
}

/// What a window's rows share, in the form of the columns.
struct ResultHead {
    kind: &'static str,
    start: i64,
    end: i64,
    revision: u32,
    partial: bool,
    late: u64,
}

fn head(result: &WindowResult) -> ResultHead {
    ResultHead {
        kind: result.kind.as_str(),
        start: result.start.0,
        end: result.start.plus_us(result.kind.len_us()).0,
        revision: result.revision,
        partial: result.partial,
        late: result.late,
    }
}

fn feature_schema() -> Schema {
    Schema::new(vec![
        name_field("turbine", false),
        field("channel_id", DataType::UInt16, false),
        name_field("channel", true),
        name_field("unit", true),
        name_field("window", false),
        time_field("start", false),
        time_field("end", false),
        field("revision", DataType::UInt32, false),
        field("partial", DataType::Boolean, false),
        name_field("status", false),
        field("n", DataType::UInt64, false),
        field("bad", DataType::UInt64, false),
        field("headline", DataType::Float64, true),
        field("mean", DataType::Float64, true),
        field("std", DataType::Float64, true),
        field("min", DataType::Float64, true),
        field("max", DataType::Float64, true),
        field("aggregate", DataType::Utf8, false),
        field("late", DataType::UInt64, false),
        name_field("sources", false),
        name_field("losses", true),
        field("position", DataType::UInt64, false),
        time_field("log_time", false),
        field("log_offset", DataType::UInt64, false),
    ])
}
