//! A file of `readings`, `late` or `untimed` in the making: rows come in their order and leave by the row group.
//!
//! Invariant: no more than a row group's rows wait here; the bytes do not depend on how rows were handed over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Float64Builder, Int64Builder};
use arrow_array::{ArrayRef, Int64Array, UInt16Array, UInt32Array, UInt64Array};
use windlass_shared::catalogue::CatalogueHash;
use windlass_shared::id::{BootId, ChannelId, Epoch};

use super::rows::{PieceOf, Row, TurbineRows};
use super::{
    LakeError, QUALITIES, SORTED_BY, SORTED_BY_BOOT, TIME, Table, has_number, late_schema,
    quality_key, schema, untimed_schema,
};
use crate::lake::file::{DataFile, FileWriter, GROUP_ROWS_MAX, names_by_key, times};

/// A file in the making.
pub struct Sheet {
    file: FileWriter,
    table: Table,
    bounds: (i64, i64),
    turbines: Vec<String>,
    epochs: Vec<Epoch>,
    boots: Vec<BootId>,
    /// Index in `names` and `units`.
    channels: BTreeMap<(CatalogueHash, ChannelId), i32>,
    names: Vec<String>,
    units: Vec<String>,
    rows: Rows,
}

/// Rows that wait, by column.
#[derive(Default)]
struct Rows {
    turbine: Vec<i32>,
    channel_id: Vec<u16>,
    channel: Vec<i32>,
    time: Vec<i64>,
    value: Float64Builder,
    raw: Int64Builder,
    quality: Vec<i32>,
    late: BooleanBuilder,
    suspect: BooleanBuilder,
    epoch: Vec<i32>,
    seq: Vec<u64>,
    index: Vec<u32>,
    boot: Vec<i32>,
    log_time: Vec<i64>,
    log_offset: Vec<u64>,
}

impl Sheet {
    /// Without rows.
    pub fn new(table: Table, path: String) -> Result<Self, LakeError> {
        let (schema, sorted_by) = match table {
            Table::Late => (late_schema(), SORTED_BY),
            Table::Untimed => (untimed_schema(), SORTED_BY_BOOT),
            _ => (schema(), SORTED_BY),
        };
        Ok(Self {
            file: FileWriter::new(table, path, schema, sorted_by)?,
            table,
            bounds: (i64::MAX, i64::MIN),
            turbines: Vec::new(),
            epochs: Vec::new(),
            boots: Vec::new(),
            channels: BTreeMap::new(),
            names: Vec::new(),
            units: Vec::new(),
            rows: Rows::default(),
        })
    }

    /// The next rows, of one channel of one turbine.
    pub fn add(
        &mut self,
        turbine: &str,
        channel: ChannelId,
        of: &TurbineRows,
        rows: &[Row],
    ) -> Result<(), LakeError> {
        if self.turbines.last().is_none_or(|t| t != turbine) {
            self.turbines.push(turbine.to_owned());
        }
        let turbine = self.turbines.len() as i32 - 1;
        for run in rows.chunk_by(|a, b| a.piece == b.piece) {
            let piece = of.piece(&run[0]);
            let epoch = key_of(&mut self.epochs, piece.epoch);
            let boot = piece.boot.map(|b| key_of(&mut self.boots, b));
            let name = self.channel(piece, channel);
            let known = piece.catalogue.as_ref().and_then(|c| c.channel(channel));
            for row in run {
                let number = has_number(row.quality);
                let value = if row.float {
                    Some(f64::from_bits(row.raw as u64))
                } else {
                    known.map(|c| c.value(row.raw))
                };
                let columns = &mut self.rows;
                columns.turbine.push(turbine);
                columns.channel_id.push(channel.0);
                columns.channel.push(name);
                columns.time.push(row.time);
                columns.value.append_option(value.filter(|_| number));
                let register = (number && !row.float).then_some(row.raw);
                columns.raw.append_option(register);
                columns.quality.push(quality_key(row.quality));
                columns.late.append_value(row.flags.late);
                columns.suspect.append_value(row.flags.suspect);
                columns.epoch.push(epoch);
                columns.seq.push(piece.seq.0);
                columns.index.push(row.index);
                columns.boot.extend(boot);
                let bound = if self.table == Table::Readings {
                    row.time
                } else {
                    columns.log_time.push(piece.log_time.0);
                    columns.log_offset.push(piece.offset);
                    piece.log_time.0
                };
                self.bounds = (self.bounds.0.min(bound), self.bounds.1.max(bound));
            }
            if self.rows.time.len() >= GROUP_ROWS_MAX {
                self.write()?;
            }
        }
        Ok(())
    }

    fn channel(&mut self, piece: &PieceOf, id: ChannelId) -> i32 {
        *self.channels.entry((piece.hash, id)).or_insert_with(|| {
            let channel = piece.catalogue.as_ref().and_then(|c| c.channel(id));
            self.names
                .push(channel.map_or_else(String::new, |c| c.name.clone()));
            self.units
                .push(channel.map_or_else(String::new, |c| c.unit.clone()));
            self.names.len() as i32 - 1
        })
    }

    /// Waiting rows go to the file.
    fn write(&mut self) -> Result<(), LakeError> {
        let path = self.file.path().to_owned();
        let epochs: Vec<String> = self.epochs.iter().map(ToString::to_string).collect();
        let qualities: Vec<String> = QUALITIES.iter().map(|q| (*q).to_owned()).collect();
        let rows = std::mem::take(&mut self.rows);
        let Rows {
            mut value,
            mut raw,
            mut late,
            mut suspect,
            ..
        } = rows;
        let mut columns: Vec<ArrayRef> = vec![
            names_by_key(&path, rows.turbine, &self.turbines)?,
            Arc::new(UInt16Array::from(rows.channel_id)),
            names_by_key(&path, rows.channel.iter().copied(), &self.names)?,
            times(rows.time.iter().map(|t| Some(*t))),
            Arc::new(value.finish()),
            Arc::new(raw.finish()),
            names_by_key(&path, rows.channel.iter().copied(), &self.units)?,
            names_by_key(&path, rows.quality, &qualities)?,
            Arc::new(late.finish()),
            Arc::new(suspect.finish()),
            names_by_key(&path, rows.epoch, &epochs)?,
            Arc::new(UInt64Array::from(rows.seq)),
            Arc::new(UInt32Array::from(rows.index)),
        ];
        if self.table == Table::Untimed {
            columns[TIME] = Arc::new(Int64Array::from(rows.time));
            let boots: Vec<String> = self.boots.iter().map(ToString::to_string).collect();
            columns.push(names_by_key(&path, rows.boot, &boots)?);
        }
        if self.table != Table::Readings {
            columns.push(times(rows.log_time.into_iter().map(Some)));
            columns.push(Arc::new(UInt64Array::from(rows.log_offset)));
        }
        self.file.write(columns)
    }

    /// The file.
    pub fn finish(mut self) -> Result<DataFile, LakeError> {
        if !self.rows.time.is_empty() {
            self.write()?;
        }
        let turbines: BTreeSet<String> = self.turbines.into_iter().collect();
        self.file.finish(self.bounds, turbines)
    }
}

/// Where `value` stands among those seen so far: mostly it is the newest.
fn key_of<T: PartialEq>(seen: &mut Vec<T>, value: T) -> i32 {
    let known = seen.iter().rposition(|v| *v == value);
    known.unwrap_or_else(|| {
        seen.push(value);
        seen.len() - 1
    }) as i32
}
