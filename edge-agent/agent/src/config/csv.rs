//! `kind = "csv"`: the keys of a file source.
//!
//! ```toml
//! [[source]]
//! kind = "csv"
//! name = "history"
//! path = "history.csv"
//! turbine = "T001"                  # or turbine_column = "Turbine" (its cells are ids, or the keys of turbine_names)
//! time_column = "time"
//! time_format = "%Y-%m-%d %H:%M:%S"
//! time_zone = "Europe/Berlin"       # left out: UTC, unless the text carries its offset (%z) or is epoch seconds (%s)
//! dst = "earlier"                   # a local time that occurs twice or never: earlier, later, reject
//! interval_s = 600                  # what a row stands for; 0: a moment
//! label = "end"                     # which end of the interval the time names
//! speed = 0                         # 0: as fast as the disk takes it; 1: real time; 60: a minute a second
//! column = [{ name = "Power (kW)", channel = "active_power" }]
//! # long files: one value per row; `column` then maps the texts of channel_column
//! # channel_column = "signal"
//! # value_column = "value"
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use windlass_edge_core::csv_replay::{
    CsvLayout, DstRule, IntervalLabel, TimeText, TurbineColumn, ValueColumns, Zone,
};
use windlass_shared::id::{ChannelId, TurbineId};
use windlass_shared::settings::{Problem, Shape, Spec};
use windlass_shared::time::SECOND_US;

use super::Turbine;
use super::raw::{RawColumn, RawSource};
use crate::source::CsvFile;

pub(super) fn spec() -> Spec {
    let column = Spec::new()
        .required("name", Shape::Text)
        .required("channel", Shape::Text);
    let zone = Shape::Parsed {
        expected: "an IANA time zone such as Europe/Berlin",
        accepts: |s| Zone::local(s, DstRule::Reject).is_some(),
    };
    let delimiter = Shape::Parsed {
        expected: "one ASCII character",
        accepts: |s| s.len() == 1 && s.is_ascii() && s != "\"",
    };
    Spec::new()
        .required("name", Shape::Text)
        .required("path", Shape::Text)
        .optional("turbine", super::raw::name())
        .optional("turbine_column", Shape::Text)
        .optional("turbine_names", Shape::Map(Box::new(super::raw::name())))
        .required("time_column", Shape::Text)
        .required("time_format", Shape::Text)
        .optional("time_zone", zone)
        .optional("dst", Shape::OneOf(&["earlier", "later", "reject"]))
        .optional("interval_s", Shape::Number(0.0, 86_400.0))
        .optional("label", Shape::OneOf(&["start", "end"]))
        .optional("channel_column", Shape::Text)
        .optional("value_column", Shape::Text)
        .required("column", super::raw::list(1, column))
        .optional("delimiter", delimiter)
        .optional("decimal_comma", Shape::Bool)
        .optional("absent", Shape::List(0, Box::new(Shape::Text)))
        .optional("speed", Shape::Number(0.0, 1e6))
}

pub(super) fn build(
    raw: RawSource,
    at: &str,
    dir: &Path,
    turbines: &[Option<Turbine>],
    problems: &mut Vec<Problem>,
) -> Option<CsvFile> {
    let before = problems.len();
    let fed = fed(&raw, at, turbines, problems);
    let time = time(&raw, at, problems);
    let values = values(&raw, at, fed.as_ref(), turbines, problems);
    if problems.len() > before {
        return None;
    }
    let us = |s: f64| (s * SECOND_US as f64) as i64;
    Some(CsvFile {
        path: dir.join(raw.path?),
        speed: raw.speed.unwrap_or(0.0),
        layout: CsvLayout {
            delimiter: raw.delimiter.map_or(b',', |d| d.as_bytes()[0]),
            decimal_comma: raw.decimal_comma,
            turbines: fed?,
            values: values?,
            time_column: raw.time_column?,
            time: time?,
            interval_us: raw.interval_s.map_or(0, us),
            label: match raw.label.as_deref() {
                Some("end") => IntervalLabel::End,
                _ => IntervalLabel::Start,
            },
            absent: raw.absent,
        },
    })
}

/// Whose rows.
fn fed(
    raw: &RawSource,
    at: &str,
    turbines: &[Option<Turbine>],
    problems: &mut Vec<Problem>,
) -> Option<TurbineColumn> {
    match (&raw.turbine, &raw.turbine_column) {
        (Some(id), None) => {
            if !raw.turbine_names.is_empty() {
                let expected = "turbine_column beside it, instead of turbine";
                problems.push(Problem::new(
                    format!("{at}.turbine_names"),
                    "a table",
                    expected,
                ));
            }
            super::read::turbine(id, &format!("{at}.turbine"), turbines, problems)?;
            Some(TurbineColumn::All(id.clone()))
        }
        (None, Some(column)) => {
            for (text, id) in &raw.turbine_names {
                let key = format!("{at}.turbine_names.{text}");
                super::read::turbine(id, &key, turbines, problems);
            }
            Some(TurbineColumn::Named {
                column: column.clone(),
                turbines: if raw.turbine_names.is_empty() {
                    own_names(raw, turbines)
                } else {
                    raw.turbine_names.clone()
                },
            })
        }
        (given, _) => {
            let found = if given.is_some() { "both" } else { "neither" };
            problems.push(Problem::new(
                format!("{at}.turbine"),
                format!("{found} of turbine and turbine_column"),
                "turbine (all rows are its) or turbine_column (each row says whose it is)",
            ));
            None
        }
    }
}

/// Without names of the file's own, its cells are ids: of the turbines whose profile knows any of the file's channels
/// (of all, when none does, so that the mapping's mistakes are told).
fn own_names(raw: &RawSource, turbines: &[Option<Turbine>]) -> BTreeMap<String, TurbineId> {
    let channels = || raw.column.iter().filter_map(|c| c.channel.as_deref());
    let knows = |t: &&Turbine| channels().any(|c| t.catalogue.by_name(c).is_some());
    let all = || turbines.iter().flatten();
    let any = all().any(|t| knows(&t));
    all()
        .filter(|t| !any || knows(t))
        .map(|t| (t.id.to_string(), t.id.clone()))
        .collect()
}

fn time(raw: &RawSource, at: &str, problems: &mut Vec<Problem>) -> Option<TimeText> {
    let format = raw.time_format.clone()?;
    let says_zone = format.contains("%s") || format.contains("%z") || format.contains("%:z");
    let rule = match raw.dst.as_deref() {
        Some("later") => DstRule::Later,
        Some("reject") => DstRule::Reject,
        _ => DstRule::Earlier,
    };
    let zone = match &raw.time_zone {
        Some(name) if says_zone => {
            let expected = "no time_zone, as time_format reads an offset or epoch seconds";
            problems.push(Problem::new(
                format!("{at}.time_zone"),
                format!("\"{name}\""),
                expected,
            ));
            Zone::InText
        }
        Some(name) => Zone::local(name, rule)?,
        None if says_zone => Zone::InText,
        None => Zone::local("UTC", rule)?,
    };
    let time = TimeText { format, zone };
    if let Err(why) = time.check() {
        problems.push(Problem::new(
            format!("{at}.time_format"),
            format!("\"{}\" ({why})", time.format),
            "strftime directives that make a whole time, such as %Y-%m-%d %H:%M:%S",
        ));
    }
    Some(time)
}

/// Where the values are, and of which channels: the same for every turbine that is fed.
fn values(
    raw: &RawSource,
    at: &str,
    fed: Option<&TurbineColumn>,
    turbines: &[Option<Turbine>],
    problems: &mut Vec<Problem>,
) -> Option<ValueColumns> {
    // whoever is fed, the names are judged: by the profiles of all turbines if need be
    let ids = fed.map(TurbineColumn::turbines);
    let fed: Vec<&Turbine> = turbines
        .iter()
        .flatten()
        .filter(|t| ids.as_ref().is_none_or(|ids| ids.contains(&t.id)))
        .collect();
    let mut columns: Vec<(String, ChannelId)> = Vec::new();
    for (i, column) in raw.column.iter().enumerate() {
        columns.extend(mapped(column, &format!("{at}.column[{i}]"), &fed, problems));
    }
    match (&raw.channel_column, &raw.value_column) {
        (None, None) => Some(ValueColumns::Wide(columns)),
        (Some(channel_column), Some(value_column)) => Some(ValueColumns::Long {
            channel_column: channel_column.clone(),
            value_column: value_column.clone(),
            channels: columns.into_iter().collect::<BTreeMap<_, _>>(),
        }),
        (channel, _) => {
            let key = if channel.is_some() {
                "value_column"
            } else {
                "channel_column"
            };
            let expected =
                "channel_column and value_column together (long file), or neither (wide file)";
            problems.push(Problem::new(format!("{at}.{key}"), "nothing", expected));
            None
        }
    }
}

fn mapped(
    column: &RawColumn,
    at: &str,
    fed: &[&Turbine],
    problems: &mut Vec<Problem>,
) -> Option<(String, ChannelId)> {
    let (name, channel) = (column.name.clone()?, column.channel.as_deref()?);
    let (first, others) = fed.split_first()?;
    let key = format!("{at}.channel");
    let id = super::read::channel(channel, &key, &first.catalogue, problems)?;
    let differs = others
        .iter()
        .find(|t| t.catalogue.by_name(channel).map(|c| c.id) != Some(id));
    if let Some(turbine) = differs {
        problems.push(Problem::new(
            key,
            format!("\"{channel}\""),
            format!(
                "the same channel in the profiles of {} and {}",
                first.id, turbine.id
            ),
        ));
    }
    Some((name, id))
}
