//! `windlass-cloud replay`: what a turbine reported in a range of time, and the proof that it is all.
//!
//! Prints every reading of `[from, to)` in the order of event time with its flags, then a verdict that is computed from
//! the original bytes in the lake and from nothing else. Memory is bounded by the readings of one hour of one turbine.
//!
//! Exit codes: 0 exact; 1 the lake could not be read; 2 the request was wrong; 3 not exact (more may come, or records are
//! lost: the verdict names them); 4 the evidence does not hold (a broken hash chain, readings that are not the records').

mod print;
mod rows;
mod verdict;
#[cfg(test)]
mod verdicts;

use std::io::{BufWriter, Write};

use clap::{Args, ValueEnum};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use windlass_shared::id::TurbineId;
use windlass_shared::time::EventTime;

use crate::lake::proof::Proof;
use crate::lake::{Lake, LakeError};

pub use verdict::{Finding, Verdict};

/// Exit code of an exact range.
pub const EXIT_EXACT: u8 = 0;
/// Exit code when the lake could not be read.
pub const EXIT_FAILED: u8 = 1;
/// Exit code of a request that makes no sense.
pub const EXIT_USAGE: u8 = 2;
/// Exit code of a range that is not exact.
pub const EXIT_NOT_EXACT: u8 = 3;
/// Exit code when the evidence contradicts itself.
pub const EXIT_NOT_PROVEN: u8 = 4;

/// Turbines that an error message names.
const TURBINES_NAMED_MAX: usize = 20;

/// What to replay.
#[derive(Args, Clone, Debug)]
pub struct ReplayArgs {
    /// Turbine, for example T042
    #[arg(long)]
    pub turbine: String,
    /// Start, included: 2026-11-20T12:00:00Z (without an offset: UTC)
    #[arg(long, requires = "to", required_unless_present = "at")]
    pub from: Option<String>,
    /// End, excluded
    #[arg(long, requires = "from")]
    pub to: Option<String>,
    /// The moment in the middle of the range
    #[arg(long, conflicts_with_all = ["from", "to"])]
    pub at: Option<String>,
    /// How far around it: 10m, 1h30m, 45s
    #[arg(long, requires = "at", default_value = "10m")]
    pub around: String,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    pub format: Format,
}

/// How readings and the verdict are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Format {
    /// One JSON object a line; the last one is `{"verdict": ...}`.
    Json,
    /// A header, a line for each reading, then the verdict in lines that begin with `#`.
    Csv,
}

/// A checked request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Whose readings.
    pub turbine: TurbineId,
    /// From this event time on.
    pub from: EventTime,
    /// Up to this one, excluded.
    pub to: EventTime,
    /// How to print.
    pub format: Format,
}

impl ReplayArgs {
    /// Checks the arguments.
    pub fn request(&self) -> Result<Request, LakeError> {
        let wrong = |e: String| LakeError::Request(e);
        let turbine =
            TurbineId::new(&self.turbine).map_err(|e| wrong(format!("--turbine: {e}")))?;
        let (from, to) = match (&self.at, &self.from, &self.to) {
            (Some(at), _, _) => {
                let at = parse_time("--at", at)?;
                let around = parse_duration(&self.around)?;
                (at.saturating_sub(around), at.saturating_add(around))
            }
            (None, Some(from), Some(to)) => (parse_time("--from", from)?, parse_time("--to", to)?),
            _ => {
                return Err(wrong(
                    "a range is needed: --from and --to, or --at".to_owned(),
                ));
            }
        };
        if from >= to {
            return Err(wrong(format!(
                "the range is empty or reversed: it begins at {} and ends at {}",
                print::time(EventTime(from)),
                print::time(EventTime(to))
            )));
        }
        Ok(Request {
            turbine,
            from: EventTime(from),
            to: EventTime(to),
            format: self.format,
        })
    }
}

/// A time in microseconds: RFC 3339, or without an offset in UTC.
fn parse_time(key: &str, text: &str) -> Result<i64, LakeError> {
    if let Ok(t) = text.parse::<Timestamp>() {
        return Ok(t.as_microsecond());
    }
    let civil = text.parse::<DateTime>().ok();
    let utc = civil.and_then(|t| t.to_zoned(TimeZone::UTC).ok());
    utc.map(|t| t.timestamp().as_microsecond()).ok_or_else(|| {
        LakeError::Request(format!(
            "{key}: found `{text}`, expected a time like 2026-11-20T12:00:00Z"
        ))
    })
}

/// A positive duration in microseconds.
fn parse_duration(text: &str) -> Result<i64, LakeError> {
    let duration = text.parse::<SignedDuration>().ok();
    let us = duration.and_then(|d| i64::try_from(d.as_micros()).ok());
    us.filter(|us| *us > 0).ok_or_else(|| {
        LakeError::Request(format!(
            "--around: found `{text}`, expected a duration like 10m, 1h30m or 45s"
        ))
    })
}

/// Prints readings and verdict.
pub async fn run(
    lake: &Lake,
    request: &Request,
    out: &mut dyn Write,
) -> Result<Verdict, ReplayError> {
    let view = lake.view().await?;
    let turbine = request.turbine.as_str();
    let known = view.turbines();
    if known.binary_search_by(|t| t.as_str().cmp(turbine)).is_err() {
        return Err(unknown(turbine, &known, lake).into());
    }
    let mut out = BufWriter::new(out);
    let mut printer = print::Printer::new(&mut out, request.format)?;
    let shown = rows::in_event_time(&view, request, &mut printer).await?;
    let proof = Proof::read(&view, turbine, request.from, request.to).await?;
    let verdict = verdict::of(request, &proof, &shown);
    printer.verdict(&verdict)?;
    Ok(verdict)
}

fn unknown(turbine: &str, known: &[String], lake: &Lake) -> LakeError {
    let some = known.iter().take(TURBINES_NAMED_MAX);
    let mut names: Vec<&str> = some.map(String::as_str).collect();
    if known.len() > TURBINES_NAMED_MAX {
        names.push("...");
    }
    let names = if names.is_empty() {
        "nothing of any turbine yet".to_owned()
    } else {
        names.join(", ")
    };
    LakeError::Request(format!(
        "--turbine: the lake at `{}` has nothing of `{turbine}`; it has {names}",
        lake.url()
    ))
}

/// Why a replay ended early.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The lake said no.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The output could not be written.
    #[error("replay output: {0}")]
    Output(#[from] std::io::Error),
}

impl ReplayError {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Lake(LakeError::Request(_) | LakeError::Url { .. }) => EXIT_USAGE,
            _ => EXIT_FAILED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(turbine: &str, times: [Option<&str>; 3], around: &str) -> ReplayArgs {
        let [from, to, at] = times.map(|t| t.map(str::to_owned));
        ReplayArgs {
            turbine: turbine.to_owned(),
            from,
            to,
            at,
            around: around.to_owned(),
            format: Format::Csv,
        }
    }

    fn range(times: [Option<&str>; 3], around: &str) -> Result<(i64, i64), String> {
        let request = args("T1", times, around).request();
        request
            .map(|r| (r.from.0, r.to.0))
            .map_err(|e| e.to_string())
    }

    #[test]
    fn ranges_are_understood() {
        let hour = 3_600_000_000;
        let both = [
            Some("1970-01-01T01:00:00+01:00"),
            Some("1970-01-01 01:00:00"),
            None,
        ];
        assert_eq!(range(both, "10m"), Ok((0, hour)));
        let at = [None, None, Some("1970-01-01T01:00:00Z")];
        assert_eq!(range(at, "30m"), Ok((hour / 2, hour / 2 * 3)));
        assert_eq!(range(at, "1h30m"), Ok((-hour / 2, hour / 2 * 5)));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let reversed = [
            Some("2026-01-02T00:00:00Z"),
            Some("2026-01-01T00:00:00Z"),
            None,
        ];
        assert_eq!(
            range(reversed, "10m").unwrap_err(),
            "the range is empty or reversed: it begins at 2026-01-02T00:00:00Z and ends at 2026-01-01T00:00:00Z"
        );
        let odd = [Some("yesterday"), Some("2026-01-01T00:00:00Z"), None];
        assert_eq!(
            range(odd, "10m").unwrap_err(),
            "--from: found `yesterday`, expected a time like 2026-11-20T12:00:00Z"
        );
        let at = [None, None, Some("2026-01-01T00:00:00Z")];
        assert_eq!(
            range(at, "ten").unwrap_err(),
            "--around: found `ten`, expected a duration like 10m, 1h30m or 45s"
        );
        assert!(range(at, "-10m").is_err());
        assert!(range([None, None, None], "10m").is_err());
        let name = args("T 1", [None, None, Some("2026-01-01T00:00:00Z")], "1m");
        assert!(
            name.request()
                .unwrap_err()
                .to_string()
                .starts_with("--turbine: `T 1`")
        );
    }
}
