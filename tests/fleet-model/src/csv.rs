//! Rows as CSV text, a column per channel, as the agent's file source reads it.
//!
//! Invariant: a value has the decimals of its channel's scale, so that it comes back as the same raw integer. What is not
//! due is an empty field; what is no number is `NaN`. Times are UTC: `2026-01-01 00:00:00`. Ten-minute rows have a channel's
//! least and greatest value and its standard deviation in columns of their own behind it, `_min`, `_max` and `_sd` (with two
//! decimals more).

use std::fmt::Write as _;
use std::sync::Arc;

use windlass_shared::catalogue::{Catalogue, Channel, Raw};
use windlass_shared::record::Quality;
use windlass_shared::time::EventTime;

use crate::channels::statistic;
use crate::record::{Period, StateChange};
use crate::statistic::{Fold, Spread};
use crate::turbine::Due;

/// Name of the column with the time.
pub const TIME_COLUMN: &str = "time";
/// Its format.
pub const TIME_FORMAT: &str = "%Y-%m-%d %H:%M:%S";

/// Endings of the columns behind a channel's own.
const SPREADS: [&str; 3] = ["_min", "_max", "_sd"];

/// Writes rows of one catalogue.
#[derive(Clone, Debug)]
pub struct CsvText {
    catalogue: Arc<Catalogue>,
    /// Decimals by position; `None`: the scale is no power of ten.
    decimals: Vec<Option<u32>>,
    cells: Vec<Option<(i64, bool, Option<Spread>)>>,
    /// Which of least, greatest and deviation stand behind each channel.
    spreads: Vec<[bool; 3]>,
    dates: Dates,
}

impl CsvText {
    /// For rows of a period. A channel of the catalogue that has the name of a column of another one has it alone.
    pub fn new(catalogue: Arc<Catalogue>, period: Period) -> Self {
        let taken = |name: &str| catalogue.channels.iter().any(|c| c.name == name);
        let spread = |c: &Channel| {
            let has = period == Period::TenMinutes
                && Fold::new(c, statistic(&c.name), period.us()).spreads();
            SPREADS.map(|ending| has && !taken(&format!("{}{ending}", c.name)))
        };
        let spreads = catalogue.channels.iter().map(spread).collect();
        let decimals = catalogue.channels.iter().map(decimals).collect();
        Self {
            cells: vec![None; catalogue.channels.len()],
            spreads,
            decimals,
            catalogue,
            dates: Dates::new(),
        }
    }

    /// The first line.
    pub fn header(&self) -> String {
        let mut line = String::from(TIME_COLUMN);
        for (channel, spreads) in self.catalogue.channels.iter().zip(&self.spreads) {
            line.push(',');
            line.push_str(&channel.name);
            for (ending, _) in SPREADS.iter().zip(spreads).filter(|(_, has)| **has) {
                line.push(',');
                line.push_str(&channel.name);
                line.push_str(ending);
            }
        }
        line.push('\n');
        line
    }

    /// Appends a line.
    pub fn row(&mut self, due: &Due, out: &mut String) {
        self.cells.fill(None);
        for (i, (channel, raw)) in due.channels.iter().zip(due.raw).enumerate() {
            let spread = due.spreads.get(i).copied().flatten();
            self.cells[usize::from(*channel)] = Some((*raw, true, spread));
        }
        for (i, quality) in due.bad {
            let good = matches!(quality, Quality::Good | Quality::Uncertain);
            self.cells[usize::from(due.channels[usize::from(*i)])] = Some((0, good, None));
        }
        self.dates.write(due.at, out);
        for (position, cell) in self.cells.iter().enumerate() {
            let (channel, decimals) = (&self.catalogue.channels[position], self.decimals[position]);
            let behind = self.spreads[position];
            out.push(',');
            match cell {
                None => out.extend(behind.iter().filter(|has| **has).map(|_| ',')),
                Some((_, false, _)) => {
                    out.push_str("NaN");
                    for _ in behind.iter().filter(|has| **has) {
                        out.push_str(",NaN");
                    }
                }
                Some((raw, true, spread)) => {
                    number(channel, decimals, *raw, out);
                    apart(channel, decimals, (spread.as_ref(), behind), out);
                }
            }
        }
        out.push('\n');
    }
}

/// The date of the last time that was written.
#[derive(Clone, Debug)]
struct Dates {
    day: i64,
    text: String,
}

impl Dates {
    fn new() -> Self {
        Self {
            day: i64::MIN,
            text: String::new(),
        }
    }

    fn write(&mut self, at: EventTime, out: &mut String) {
        let seconds = at.0.div_euclid(1_000_000);
        let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        if day != self.day {
            self.day = day;
            self.text = jiff::Timestamp::from_second(day * 86_400)
                .map_or_else(|_| day.to_string(), |t| t.strftime("%Y-%m-%d").to_string());
        }
        let (hour, minute) = (second / 3_600, second / 60 % 60);
        // writing to a String does not fail
        write!(
            out,
            "{} {hour:02}:{minute:02}:{:02}",
            self.text,
            second % 60
        )
        .ok();
    }
}

/// What a turbine did from when on: a line for each change of its IEC 61400-26-1 state, operating state or alarm code.
pub fn states_text(changes: &[StateChange]) -> String {
    let mut text = format!("{TIME_COLUMN},iec_state,operating_state,alarm_code\n");
    let mut dates = Dates::new();
    for change in changes {
        dates.write(change.at, &mut text);
        let (iec, operating) = (change.iec_state, change.operating_state);
        // writing to a String does not fail
        writeln!(text, ",{iec},{operating},{}", change.alarm_code).ok();
    }
    text
}

/// Least, greatest and deviation, as far as they have columns.
fn apart(
    channel: &Channel,
    decimals: Option<u32>,
    (spread, behind): (Option<&Spread>, [bool; 3]),
    out: &mut String,
) {
    for (column, has) in behind.into_iter().enumerate() {
        if !has {
            continue;
        }
        out.push(',');
        match (spread, column) {
            (None, _) => {}
            (Some(spread), 0) => number(channel, decimals, spread.least, out),
            (Some(spread), 1) => number(channel, decimals, spread.most, out),
            (Some(spread), _) => {
                let unit = match channel.raw {
                    Raw::Int => channel.scale_num as f64 / channel.scale_den as f64,
                    Raw::Float => 1.0,
                };
                let sd = spread.sd * unit;
                // writing to a String does not fail
                match decimals {
                    Some(decimals) => write!(out, "{sd:.*}", decimals as usize + 2).ok(),
                    None => write!(out, "{sd}").ok(),
                };
            }
        }
    }
}

fn decimals(channel: &Channel) -> Option<u32> {
    let exact = |digits: &u32| 10_i64.pow(*digits) == channel.scale_den;
    (channel.raw == Raw::Int)
        .then(|| (0..=12).find(exact))
        .flatten()
}

fn number(channel: &Channel, decimals: Option<u32>, raw: i64, out: &mut String) {
    let Some(decimals) = decimals else {
        let value = match channel.raw {
            Raw::Int => channel.value(raw),
            Raw::Float => f64::from_bits(raw as u64),
        };
        write!(out, "{value}").ok();
        return;
    };
    let scaled = i128::from(raw) * i128::from(channel.scale_num) + i128::from(channel.offset_num);
    let one = 10_u128.pow(decimals);
    let (whole, part) = (scaled.unsigned_abs() / one, scaled.unsigned_abs() % one);
    if scaled < 0 {
        out.push('-');
    }
    if decimals == 0 {
        write!(out, "{whole}").ok();
    } else {
        let width = decimals as usize;
        write!(out, "{whole}.{part:0width$}").ok();
    }
}
