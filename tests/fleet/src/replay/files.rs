//! The files of the replay: which column is which channel, and every value that they hold.
//!
//! Invariant: read by plain splitting (the files have no quotes), so that the product's reader is checked by another one.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::calendar;

/// Turbines of the SCADA file.
pub const HOMER_TURBINES: [&str; 2] = ["HMR_T01", "HMR_T02"];
/// The machine of the temperature file.
pub const MACHINE: &str = "MACHINE1";
/// Columns of the SCADA file and their channels. The file's second time column repeats the first as the interval's end,
/// and is no measured value.
const HOMER_COLUMNS: [(&str, &str); 13] = [
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
pub fn homer_path(data: &Path) -> PathBuf {
    data.join("homer_scada_10min_july2023.csv")
}

/// The temperature file.
pub fn machine_path(data: &Path) -> PathBuf {
    data.join("nab/machine_temperature_system_failure.csv")
}

/// `[[source]]` for the SCADA file.
pub fn homer_source(path: &Path) -> String {
    let mut text = format!(
        "\n[[source]]\nname = \"scada\"\nkind = \"csv\"\npath = \"{}\"\nturbine_column = \"TurbineName\"\n\
         time_column = \"TimeStamp_StartFormat\"\ntime_format = \"%Y-%m-%d %H:%M:%S%:z\"\ninterval_s = 600\n",
        path.display()
    );
    for (column, channel) in HOMER_COLUMNS {
        write!(
            text,
            "\n[[source.column]]\nname = \"{column}\"\nchannel = \"{channel}\"\n"
        )
        .ok();
    }
    text
}

/// `[[source]]` for the temperature file.
pub fn machine_source(path: &Path) -> String {
    format!(
        "\n[[source]]\nname = \"machine\"\nkind = \"csv\"\npath = \"{}\"\nturbine = \"{MACHINE}\"\n\
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
}

/// All values of both files.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// In the order of the files.
    pub values: Vec<Value>,
    /// Rows whose time is not after that of the row before (of the same turbine).
    pub rows_back_in_time: u64,
}

impl Expected {
    /// Reads both files.
    pub fn read(data: &Path) -> Result<Self> {
        let mut expected = Self::default();
        let homer = homer_path(data);
        expected
            .homer(&text(&homer)?)
            .with_context(|| homer.display().to_string())?;
        let machine = machine_path(data);
        expected
            .machine(&text(&machine)?)
            .with_context(|| machine.display().to_string())?;
        Ok(expected)
    }

    fn homer(&mut self, text: &str) -> Result<()> {
        let (names, rows) = table(text)?;
        let at = |name: &str| {
            let found = names.iter().position(|n| *n == name);
            found.with_context(|| format!("no column {name}"))
        };
        let (turbine, time) = (at("TurbineName")?, at("TimeStamp_StartFormat")?);
        for row in rows {
            let when = calendar::parse(row[time]).context("a time")?;
            for (column, channel) in HOMER_COLUMNS {
                let field = row[at(column)?];
                if !field.is_empty() {
                    self.values.push(Value {
                        turbine: row[turbine].to_owned(),
                        channel: channel.to_owned(),
                        time: when,
                        value: field.parse()?,
                    });
                }
            }
        }
        Ok(())
    }

    fn machine(&mut self, text: &str) -> Result<()> {
        let (names, rows) = table(text)?;
        ensure!(names == ["timestamp", "value"], "columns {names:?}");
        let mut latest = i64::MIN;
        for row in rows {
            let time = calendar::parse(row[0]).context("a time")?;
            self.rows_back_in_time += u64::from(time <= latest);
            latest = latest.max(time);
            self.values.push(Value {
                turbine: MACHINE.to_owned(),
                channel: "machine_temperature".to_owned(),
                time,
                value: row[1].parse()?,
            });
        }
        Ok(())
    }
}

/// The labelled windows of the temperature file, microseconds, both ends included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// In order of time; the last one holds the catastrophic failure.
    pub windows: Vec<(i64, i64)>,
}

impl Labels {
    /// Reads them from beside the file.
    pub fn read(data: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct File {
            windows: Vec<(String, String)>,
        }
        let path = machine_path(data).with_extension("labels.json");
        let file: File = serde_json::from_str(&text(&path)?)
            .with_context(|| format!("{} is not as expected", path.display()))?;
        let window = |(from, to): &(String, String)| -> Option<(i64, i64)> {
            Some((calendar::parse(from)?, calendar::parse(to)?))
        };
        let windows: Option<Vec<_>> = file.windows.iter().map(window).collect();
        Ok(Self {
            windows: windows.context("a labelled window without times")?,
        })
    }
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
