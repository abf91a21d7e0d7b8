//! A row becomes readings.

use std::collections::BTreeMap;

use csv::{ByteRecord, ReaderBuilder};
use windlass_shared::id::{ChannelId, TurbineId};
use windlass_shared::record::Quality;
use windlass_shared::time::EventTime;

use super::{CsvError, CsvLayout, IntervalLabel, TurbineColumn, ValueColumns};
use crate::input::{Reading, Value};

/// A row that could be read.
#[derive(Debug)]
pub(super) struct Row {
    pub turbine: TurbineId,
    /// Event time: the start of the interval.
    pub time: EventTime,
    pub readings: Vec<Reading>,
    /// Values that could not be read.
    pub bad: Vec<String>,
}

/// Where the layout's columns are in this file.
#[derive(Debug)]
pub(super) struct Columns {
    time: usize,
    turbine: Option<usize>,
    values: Values,
    names: Vec<String>,
}

#[derive(Debug)]
enum Values {
    Wide(Vec<(usize, ChannelId)>),
    Long { channel: usize, value: usize },
}

impl Columns {
    /// Finds them in the header line; all that is missing at once.
    pub fn find(layout: &CsvLayout, header: &[u8]) -> Result<Self, CsvError> {
        // some exporters begin with a byte order mark
        let header = header.strip_prefix(b"\xef\xbb\xbf").unwrap_or(header);
        let record = split(layout, header).ok_or(CsvError::Header)?;
        let names: Vec<String> = record
            .iter()
            .map(|f| String::from_utf8_lossy(f).trim().to_owned())
            .collect();
        let at: BTreeMap<&str, usize> = names.iter().map(String::as_str).zip(0..).collect();
        let mut missing = Vec::new();
        let mut find = |name: &str| {
            let found = at.get(name).copied();
            if found.is_none() {
                missing.push(format!("`{name}`"));
            }
            found.unwrap_or(0)
        };
        let time = find(&layout.time_column);
        let turbine = match &layout.turbines {
            TurbineColumn::All(_) => None,
            TurbineColumn::Named { column, .. } => Some(find(column)),
        };
        let values = match &layout.values {
            ValueColumns::Wide(columns) => {
                Values::Wide(columns.iter().map(|(n, c)| (find(n), *c)).collect())
            }
            ValueColumns::Long {
                channel_column,
                value_column,
                ..
            } => Values::Long {
                channel: find(channel_column),
                value: find(value_column),
            },
        };
        if !missing.is_empty() {
            return Err(CsvError::Columns {
                missing: missing.join(", "),
                found: names.join(", "),
            });
        }
        Ok(Self {
            time,
            turbine,
            values,
            names,
        })
    }

    /// Reads a row. `Ok(None)`: nothing for us in it (an empty line, another turbine).
    pub fn read(&self, layout: &CsvLayout, text: &[u8]) -> Result<Option<Row>, String> {
        let Some(record) = split(layout, text) else {
            return Ok(None);
        };
        if record.len() != self.names.len() {
            let (found, expected) = (record.len(), self.names.len());
            return Err(format!(
                "{found} fields, expected {expected} as in the header"
            ));
        }
        let field = |at: usize| {
            let bytes = record.get(at).unwrap_or_default();
            let text = std::str::from_utf8(bytes);
            text.map(str::trim)
                .map_err(|_| format!("column `{}`: not UTF-8", self.names[at]))
        };
        let turbine = match (&layout.turbines, self.turbine) {
            (TurbineColumn::Named { turbines, .. }, Some(at)) => match turbines.get(field(at)?) {
                Some(id) => id.clone(),
                None => return Ok(None),
            },
            (TurbineColumn::All(id), _) => id.clone(),
            (TurbineColumn::Named { .. }, None) => return Ok(None),
        };
        let label = layout.time.read(field(self.time)?);
        let label = label.map_err(|what| format!("column `{}`: {what}", self.names[self.time]))?;
        let time = match layout.label {
            IntervalLabel::Start => label,
            IntervalLabel::End => label.plus_us(-layout.interval_us),
        };
        let mut row = Row {
            turbine,
            time,
            readings: Vec::new(),
            bad: Vec::new(),
        };
        let mut add = |at: usize, channel: ChannelId| match field(at).and_then(|f| value(layout, f))
        {
            Ok(None) => {}
            Ok(Some((value, quality))) => row.readings.push(Reading {
                channel,
                time,
                value,
                quality,
            }),
            Err(what) => row.bad.push(format!("column `{}`: {what}", self.names[at])),
        };
        match (&self.values, &layout.values) {
            (Values::Wide(columns), _) => columns.iter().for_each(|(at, c)| add(*at, *c)),
            (Values::Long { channel, value }, ValueColumns::Long { channels, .. }) => {
                match channels.get(field(*channel)?) {
                    Some(c) => add(*value, *c),
                    None => return Ok(None),
                }
            }
            (Values::Long { .. }, ValueColumns::Wide(_)) => {}
        }
        Ok(Some(row))
    }
}

/// The fields of a row; `None`: an empty line.
fn split(layout: &CsvLayout, text: &[u8]) -> Option<ByteRecord> {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(layout.delimiter)
        .buffer_capacity(text.len().clamp(1, 4096))
        .from_reader(text);
    let mut record = ByteRecord::new();
    // a slice of memory cannot fail, and flexible rows are never wrong
    let found = reader.read_byte_record(&mut record).unwrap_or(false);
    found.then_some(record)
}

/// A value; `None`: the field says that there is none.
fn value(layout: &CsvLayout, field: &str) -> Result<Option<(Value, Quality)>, String> {
    if field.is_empty() || layout.absent.iter().any(|a| a == field) {
        return Ok(None);
    }
    let number = if layout.decimal_comma {
        field.replace(',', ".").parse()
    } else {
        field.parse()
    };
    let number: f64 = number.map_err(|_| format!("`{field}`, expected a number"))?;
    let quality = if number.is_nan() {
        Quality::NotANumber
    } else if number.is_infinite() {
        Quality::OutOfRange
    } else {
        Quality::Good
    };
    Ok(Some((Value::Float(number), quality)))
}
