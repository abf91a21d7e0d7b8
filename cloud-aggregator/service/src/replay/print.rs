//! Readings and the verdict as text.
//!
//! Invariant: a value is printed so that it reads back as the same `f64`.

use std::io::{self, Write};

use jiff::Timestamp;
use serde::Serialize;
use windlass_shared::time::EventTime;

use super::Format;
use super::verdict::Verdict;

/// RFC 3339 in UTC; times beyond the calendar as microseconds.
pub fn time(t: EventTime) -> String {
    Timestamp::from_microsecond(t.0).map_or_else(|_| format!("{}us", t.0), |t| t.to_string())
}

/// A reading as it is printed.
#[derive(Clone, Debug, Serialize)]
pub struct Line<'a> {
    /// Event time.
    pub time: &'a str,
    /// Channel number.
    pub channel_id: u16,
    /// Channel name.
    pub channel: &'a str,
    /// In the unit.
    pub value: Option<f64>,
    /// Unit.
    pub unit: &'a str,
    /// Raw register.
    pub raw: Option<i64>,
    /// How good.
    pub quality: &'a str,
    /// Marked late by the gateway.
    pub late: bool,
    /// Ahead of the gateway's clock.
    pub suspect: bool,
    /// Which run.
    pub epoch: &'a str,
    /// Which record.
    pub seq: u64,
    /// Place in it.
    pub index: u32,
}

/// Writes lines.
pub struct Printer<'a> {
    out: &'a mut dyn Write,
    format: Format,
}

impl<'a> Printer<'a> {
    /// Begins.
    pub fn new(out: &'a mut dyn Write, format: Format) -> io::Result<Self> {
        if format == Format::Csv {
            out.write_all(
                b"time,channel_id,channel,value,unit,raw,quality,late,suspect,epoch,seq,index\n",
            )?;
        }
        Ok(Self { out, format })
    }

    /// One reading.
    pub fn reading(&mut self, line: &Line) -> io::Result<()> {
        match self.format {
            Format::Json => {
                serde_json::to_writer(&mut self.out, line)?;
                self.out.write_all(b"\n")
            }
            Format::Csv => {
                let value = line.value.map(|v| v.to_string()).unwrap_or_default();
                let raw = line.raw.map(|v| v.to_string()).unwrap_or_default();
                writeln!(
                    self.out,
                    "{},{},{},{value},{},{raw},{},{},{},{},{},{}",
                    line.time,
                    line.channel_id,
                    quoted(line.channel),
                    quoted(line.unit),
                    line.quality,
                    line.late,
                    line.suspect,
                    line.epoch,
                    line.seq,
                    line.index
                )
            }
        }
    }

    /// The end.
    pub fn verdict(&mut self, verdict: &Verdict) -> io::Result<()> {
        match self.format {
            Format::Json => {
                #[derive(Serialize)]
                struct Last<'a> {
                    verdict: &'a Verdict,
                }
                serde_json::to_writer(&mut self.out, &Last { verdict })?;
                self.out.write_all(b"\n")?;
            }
            Format::Csv => {
                for line in verdict.lines() {
                    writeln!(self.out, "# {line}")?;
                }
            }
        }
        self.out.flush()
    }
}

fn quoted(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\"")).into()
    } else {
        text.into()
    }
}
