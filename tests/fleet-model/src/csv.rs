//! Rows as CSV text, a column per channel, as the agent's file source reads it.
//!
//! Invariant: a value has the decimals of its channel's scale, so that it comes back as the same raw integer. What is not
//! due is an empty field; what is no number is `NaN`. Times are UTC: `2026-01-01 00:00:00`.

use std::fmt::Write as _;
use std::sync::Arc;

use windlass_shared::catalogue::{Catalogue, Channel, Raw};
use windlass_shared::record::Quality;
use windlass_shared::time::EventTime;

use crate::turbine::Due;

/// Name of the column with the time.
pub const TIME_COLUMN: &str = "time";
/// Its format.
pub const TIME_FORMAT: &str = "%Y-%m-%d %H:%M:%S";

/// Writes rows of one catalogue.
#[derive(Clone, Debug)]
pub struct CsvText {
    catalogue: Arc<Catalogue>,
    /// Decimals by position; `None`: the scale is no power of ten.
    decimals: Vec<Option<u32>>,
    cells: Vec<Option<(i64, bool)>>,
    day: (i64, String),
}

impl CsvText {
    /// For a catalogue.
    pub fn new(catalogue: Arc<Catalogue>) -> Self {
        let decimals = catalogue.channels.iter().map(decimals).collect();
        Self {
            cells: vec![None; catalogue.channels.len()],
            decimals,
            catalogue,
            day: (i64::MIN, String::new()),
        }
    }

    /// The first line.
    pub fn header(&self) -> String {
        let mut line = String::from(TIME_COLUMN);
        for channel in &self.catalogue.channels {
            line.push(',');
            line.push_str(&channel.name);
        }
        line.push('\n');
        line
    }

    /// Appends a line.
    pub fn row(&mut self, due: &Due, out: &mut String) {
        self.cells.fill(None);
        for (channel, raw) in due.channels.iter().zip(due.raw) {
            self.cells[usize::from(*channel)] = Some((*raw, true));
        }
        for (i, quality) in due.bad {
            let good = matches!(quality, Quality::Good | Quality::Uncertain);
            self.cells[usize::from(due.channels[usize::from(*i)])] = Some((0, good));
        }
        self.time(due.at, out);
        for (position, cell) in self.cells.iter().enumerate() {
            out.push(',');
            match cell {
                None => {}
                Some((_, false)) => out.push_str("NaN"),
                Some((raw, true)) => {
                    let channel = &self.catalogue.channels[position];
                    number(channel, self.decimals[position], *raw, out);
                }
            }
        }
        out.push('\n');
    }

    fn time(&mut self, at: EventTime, out: &mut String) {
        let seconds = at.0.div_euclid(1_000_000);
        let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        if day != self.day.0 {
            let date = jiff::Timestamp::from_second(day * 86_400)
                .map_or_else(|_| day.to_string(), |t| t.strftime("%Y-%m-%d").to_string());
            self.day = (day, date);
        }
        let (hour, minute) = (second / 3_600, second / 60 % 60);
        // writing to a String does not fail
        write!(
            out,
            "{} {hour:02}:{minute:02}:{:02}",
            self.day.1,
            second % 60
        )
        .ok();
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
