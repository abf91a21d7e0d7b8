//! The files of the replay: which column is which channel, and every value that they hold.
//!
//! Invariants: read by plain splitting (the files have no quotes), so that the product's reader is checked by another one;
//! what is late is computed from the rows alone: a row that begins before an earlier row of its turbine ends.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::calendar;
use crate::spec::{Gateway, Turbine};

/// Turbines of the SCADA file.
const HOMER_TURBINES: [&str; 2] = ["HMR_T01", "HMR_T02"];
/// The machine of the temperature file.
const MACHINE: &str = "MACHINE1";
/// Columns of the SCADA file and their channels. The file's second time column repeats the first as the interval's end,
/// and is no measured value.
pub const SCADA_COLUMNS: [(&str, &str); 13] = [
    ("ActivePowerMean", "active_power_mean"),
    ("ActivePowerSD", "active_power_sd"),
    ("WindSpeedMean", "wind_speed_mean"),
    ("WindSpeedSD", "wind_speed_sd"),
    ("YawAngleMean", "yaw_angle_mean"),
    ("YawAngleMin", "yaw_angle_min"),
    ("YawAngleMax", "yaw_angle_max"),
    ("PitchAngleMean", "pitch_angle_mean"),
    ("GenRpmMean", "generator_rpm_mean"),
    ("AmbientTemp", "ambient_temperature"),
    ("ShutdownDuration", "shutdown_duration"),
    ("RunningLossCategory", "running_loss_category"),
    ("pw_clipped", "power_clipped"),
];

/// The SCADA file.
fn homer_path(data: &Path) -> PathBuf {
    data.join("homer_scada_10min_july2023.csv")
}

/// The temperature file.
fn machine_path(data: &Path) -> PathBuf {
    data.join("nab/machine_temperature_system_failure.csv")
}

/// `[[source]]` for a SCADA file; `time`: further keys that say how its times are written.
pub fn scada_source(path: &Path, time: &str) -> String {
    let mut text = format!(
        "\n[[source]]\nname = \"scada\"\nkind = \"csv\"\npath = \"{}\"\nturbine_column = \"TurbineName\"\n\
         time_column = \"TimeStamp_StartFormat\"\ninterval_s = 600\n{time}",
        path.display()
    );
    for (column, channel) in SCADA_COLUMNS {
        write!(
            text,
            "\n[[source.column]]\nname = \"{column}\"\nchannel = \"{channel}\"\n"
        )
        .ok();
    }
    text
}

/// `[[source]]` for a temperature file; `speed` as in the configuration.
pub fn machine_source(path: &Path, turbine: &str, speed: u32) -> String {
    format!(
        "\n[[source]]\nname = \"machine\"\nkind = \"csv\"\npath = \"{}\"\nturbine = \"{turbine}\"\nspeed = {speed}\n\
         time_column = \"timestamp\"\ntime_format = \"%Y-%m-%d %H:%M:%S\"\ninterval_s = 300\n\
         column = [{{ name = \"value\", channel = \"machine_temperature\" }}]\n",
        path.display()
    )
}

/// One value of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Whose.
    pub turbine: String,
    /// Channel name.
    pub channel: String,
    /// Event time, microseconds.
    pub time: i64,
    /// As the file's text says.
    pub value: f64,
    /// Its row begins before an earlier row of its turbine ends.
    pub late: bool,
}

/// A file that is replayed, and what must come of it.
#[derive(Clone, Debug)]
pub struct Expected {
    /// How the report calls it.
    pub name: String,
    /// The gateway that reads it, and nothing else; its turbines are the file's alone.
    pub gateway: Gateway,
    /// In the order of the file.
    pub values: Vec<Value>,
    /// Labelled windows, microseconds, both ends included, in order of time; the last one holds the failure. Empty: nothing
    /// is known about failures.
    pub windows: Vec<(i64, i64)>,
}

/// Both files under `data`.
pub fn read(data: &Path) -> Result<Vec<Expected>> {
    let (homer, machine) = (homer_path(data), machine_path(data));
    let turbines = HOMER_TURBINES.map(|t| Turbine::new(t, "scada-10min"));
    let homer_time = "time_format = \"%Y-%m-%d %H:%M:%S%:z\"\n";
    Ok(vec![
        Expected {
            name: name(&homer),
            gateway: Gateway::new("GW-SCADA", "scada", turbines.to_vec())
                .with_source(&scada_source(&homer, homer_time)),
            values: scada(&text(&homer)?).with_context(|| homer.display().to_string())?,
            windows: Vec::new(),
        },
        Expected {
            name: name(&machine),
            gateway: Gateway::new(
                "GW-MACHINE",
                "factory",
                vec![Turbine::new(MACHINE, "machine-temperature")],
            )
            .with_source(&machine_source(&machine, MACHINE, 0)),
            values: temperatures(&text(&machine)?)
                .with_context(|| machine.display().to_string())?,
            windows: labels(&machine.with_extension("labels.json"))?,
        },
    ])
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Which rows are late.
#[derive(Default)]
pub struct Lateness(BTreeMap<String, i64>);

impl Lateness {
    /// The next row of the file: is it late?
    pub fn row(&mut self, turbine: &str, time: i64, interval_us: i64) -> bool {
        let end = self.0.entry(turbine.to_owned()).or_insert(i64::MIN);
        let late = time < *end;
        *end = (*end).max(time + interval_us);
        late
    }
}

fn scada(text: &str) -> Result<Vec<Value>> {
    let (names, rows) = table(text)?;
    let at = |name: &str| {
        let found = names.iter().position(|n| *n == name);
        found.with_context(|| format!("no column {name}"))
    };
    let (turbine, time) = (at("TurbineName")?, at("TimeStamp_StartFormat")?);
    let mut lateness = Lateness::default();
    let mut values = Vec::new();
    for row in rows {
        let when = calendar::parse(row[time]).context("a time")?;
        let late = lateness.row(row[turbine], when, 600_000_000);
        for (column, channel) in SCADA_COLUMNS {
            let field = row[at(column)?];
            if !field.is_empty() {
                values.push(Value {
                    turbine: row[turbine].to_owned(),
                    channel: channel.to_owned(),
                    time: when,
                    value: field.parse()?,
                    late,
                });
            }
        }
    }
    Ok(values)
}

fn temperatures(text: &str) -> Result<Vec<Value>> {
    let (names, rows) = table(text)?;
    ensure!(names == ["timestamp", "value"], "columns {names:?}");
    let mut lateness = Lateness::default();
    let value = |row: Vec<&str>| -> Result<Value> {
        let time = calendar::parse(row[0]).context("a time")?;
        Ok(Value {
            turbine: MACHINE.to_owned(),
            channel: "machine_temperature".to_owned(),
            time,
            value: row[1].parse()?,
            late: lateness.row(MACHINE, time, 300_000_000),
        })
    };
    rows.into_iter().map(value).collect()
}

fn labels(path: &Path) -> Result<Vec<(i64, i64)>> {
    #[derive(Deserialize)]
    struct File {
        windows: Vec<(String, String)>,
    }
    let file: File = serde_json::from_str(&text(path)?)
        .with_context(|| format!("{} is not as expected", path.display()))?;
    let window = |(from, to): &(String, String)| -> Option<(i64, i64)> {
        Some((calendar::parse(from)?, calendar::parse(to)?))
    };
    let windows: Option<Vec<_>> = file.windows.iter().map(window).collect();
    windows.context("a labelled window without times")
}

fn text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))
}

type Table<'a> = (Vec<&'a str>, Vec<Vec<&'a str>>);

fn table(text: &str) -> Result<Table<'_>> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().context("an empty file")?.split(',').collect();
    let rows: Vec<Vec<&str>> = lines.map(|l| l.split(',').collect()).collect();
    let wrong = rows.iter().position(|r| r.len() != names.len());
    ensure!(
        wrong.is_none(),
        "row {wrong:?} has another number of fields"
    );
    Ok((names, rows))
}
