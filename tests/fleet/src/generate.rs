//! `windlass-fleet generate`: a scenario's fleet in event time, as files.
//!
//! A folder gets, for each turbine, `ID.csv` (a column per channel; `source.toml` has the agent's `[[source]]` tables for
//! all of them) or `ID.batches` (wire records, each behind its length as four bytes, little-endian), and
//! `ground_truth.json`.
//!
//! Invariants: a file is a function of scenario, seed, from, to and period, not of the number of threads; memory is bounded
//! by a row and a buffer for each thread; a file that is there under its own name is whole.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use serde::Serialize;
use windlass_fleet_model::csv::{CsvText, TIME_COLUMN, TIME_FORMAT};
use windlass_fleet_model::fault::Truth;
use windlass_fleet_model::moment::{Moment, timestamp};
use windlass_fleet_model::numbering::Numbering;
use windlass_fleet_model::record::{Period, Recorder};
use windlass_fleet_model::{Fleet, Scenario, Seat};
use windlass_shared::catalogue::{self, Catalogue};
use windlass_shared::time::EventTime;

pub mod bench;

/// Bytes of text or records that are written at once.
const BUFFER_BYTES: usize = 1 << 20;

/// What to generate.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// The scenario.
    #[arg(long)]
    pub scenario: PathBuf,
    /// Seed, instead of the scenario's.
    #[arg(long)]
    pub seed: Option<u64>,
    /// First event time, for example 2026-01-01T00:00:00Z.
    #[arg(long)]
    pub from: String,
    /// Where it ends: a time, or a length such as 30d.
    #[arg(long)]
    pub to: String,
    /// What a row stands for.
    #[arg(long, value_enum)]
    pub period: RowPeriod,
    /// As what.
    #[arg(long, value_enum)]
    pub format: Format,
    /// Folder of the files; made if it is not there.
    #[arg(long)]
    pub out: PathBuf,
    /// Only these turbines, by name; all without it.
    #[arg(long, value_delimiter = ',')]
    pub turbines: Vec<String>,
    /// Folder of the channel profiles.
    #[arg(long)]
    pub profiles: Option<PathBuf>,
    /// Turbines that are generated at once.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
}

/// What a row stands for.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum RowPeriod {
    /// A second.
    #[value(name = "1s")]
    Second,
    /// Means of ten minutes.
    #[value(name = "10min")]
    TenMinutes,
}

impl From<RowPeriod> for Period {
    fn from(period: RowPeriod) -> Self {
        match period {
            RowPeriod::Second => Self::Second,
            RowPeriod::TenMinutes => Self::TenMinutes,
        }
    }
}

/// Form of the files.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Text for the agent's file source.
    Csv,
    /// Wire records.
    Batches,
}

/// `ground_truth.json`.
#[derive(Serialize)]
struct GroundTruth<'a> {
    scenario: &'a str,
    seed: u64,
    from_us: i64,
    to_us: i64,
    faults: Vec<Truth>,
}

/// Generates; says what it wrote.
pub fn run(options: &Options) -> Result<bool> {
    let scenario = read_scenario(&options.scenario)?;
    let seed = options.seed.unwrap_or(scenario.seed);
    let from = timestamp(&options.from).with_context(|| {
        format!(
            "--from {}: expected a time such as 2026-01-01T00:00:00Z",
            options.from
        )
    })?;
    let to = Moment::parse(&options.to)
        .with_context(|| {
            format!(
                "--to {}: expected a time, or a length such as 30d",
                options.to
            )
        })?
        .resolve(from);
    ensure!(
        from < to,
        "--to {} is not later than --from {}",
        options.to,
        options.from
    );
    let period = Period::from(options.period);
    let profiles = read_profiles(options.profiles.as_deref(), &scenario)?;
    let fleet = Fleet::new(&scenario, seed, &profiles, from, period.pace())?;
    let seats = chosen(&fleet, &options.turbines)?;
    std::fs::create_dir_all(&options.out)
        .with_context(|| format!("could not make the folder {}", options.out.display()))?;
    let mut faults = fleet.ground_truth();
    faults.retain(|t| {
        seats
            .iter()
            .any(|s| fleet.seats()[*s].turbine.as_str() == t.turbine)
    });
    let truth = GroundTruth {
        scenario: &scenario.name,
        seed,
        from_us: from.0,
        to_us: to.0,
        faults,
    };
    let text = serde_json::to_string_pretty(&truth)?;
    write_whole(&options.out.join("ground_truth.json"), |file| {
        Ok(file.write_all(text.as_bytes())?)
    })?;
    let written = write_all(options, &fleet, &seats, (to, period, seed))?;
    if options.format == Format::Csv {
        let text = sources(&fleet, &seats, period)?;
        write_whole(&options.out.join("source.toml"), |file| {
            Ok(file.write_all(text.as_bytes())?)
        })?;
    }
    let mut terminal = std::io::stdout().lock();
    writeln!(
        terminal,
        "{written} readings of {} turbines in {}",
        seats.len(),
        options.out.display()
    )?;
    Ok(true)
}

/// Reads a scenario file.
pub(crate) fn read_scenario(path: &Path) -> Result<Scenario> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("could not read the scenario {}", path.display()))?;
    Ok(Scenario::parse(&path.display().to_string(), &text)?)
}

/// The profiles that the scenario's farms name.
pub(crate) fn read_profiles(
    dir: Option<&Path>,
    scenario: &Scenario,
) -> Result<Vec<Arc<Catalogue>>> {
    sources_of_profiles(dir, scenario)?
        .into_iter()
        .map(|(path, text)| {
            Ok(Arc::new(catalogue::parse(
                &path.display().to_string(),
                &text,
            )?))
        })
        .collect()
}

/// The files of the profiles that the scenario's farms name, with their text.
pub(crate) fn sources_of_profiles(
    dir: Option<&Path>,
    scenario: &Scenario,
) -> Result<Vec<(PathBuf, String)>> {
    let dir = dir.map_or_else(crate::spec::profiles, Path::to_owned);
    let mut names: Vec<&str> = scenario.farms.iter().map(|f| f.profile.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .map(|name| {
            let path = dir.join(format!("{name}.toml"));
            let text = std::fs::read_to_string(&path).with_context(|| {
                format!("could not read {}, the profile of a farm", path.display())
            })?;
            Ok((path, text))
        })
        .collect()
}

fn chosen(fleet: &Fleet, names: &[String]) -> Result<Vec<usize>> {
    let seats = fleet.seats();
    if names.is_empty() {
        return Ok((0..seats.len()).collect());
    }
    let find = |name: &String| {
        seats
            .iter()
            .position(|s| s.turbine.as_str() == name)
            .with_context(|| format!("--turbines {name}: the scenario has no such turbine"))
    };
    names.iter().map(find).collect()
}

/// Every chosen turbine's file, on so many threads; readings written.
fn write_all(
    options: &Options,
    fleet: &Fleet,
    seats: &[usize],
    run: (EventTime, Period, u64),
) -> Result<u64> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<u64> {
        let mut written = 0;
        while let Some(seat) = seats.get(next.fetch_add(1, Ordering::Relaxed)) {
            written += write_turbine(options, fleet, *seat, run)?;
        }
        Ok(written)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..options.threads.clamp(1, 256))
            .map(|_| scope.spawn(work))
            .collect();
        let mut written = 0;
        for thread in threads {
            match thread.join() {
                Ok(done) => written += done?,
                Err(_) => bail!("a generating thread panicked"),
            }
        }
        Ok(written)
    })
}

fn write_turbine(
    options: &Options,
    fleet: &Fleet,
    seat: usize,
    (to, period, seed): (EventTime, Period, u64),
) -> Result<u64> {
    let from = fleet.begins();
    let Seat {
        turbine, catalogue, ..
    } = &fleet.seats()[seat];
    let mut rows = Recorder::new(fleet.turbine(seat), from, to, period);
    let mut readings = 0;
    match options.format {
        Format::Csv => write_whole(&options.out.join(format!("{turbine}.csv")), |file| {
            let mut csv = CsvText::new(Arc::clone(catalogue));
            let mut text = csv.header();
            while let Some(due) = rows.row() {
                readings += due.raw.len() as u64;
                csv.row(&due, &mut text);
                if text.len() >= BUFFER_BYTES {
                    file.write_all(text.as_bytes())?;
                    text.clear();
                }
            }
            Ok(file.write_all(text.as_bytes())?)
        })?,
        Format::Batches => write_whole(&options.out.join(format!("{turbine}.batches")), |file| {
            let mut records = Vec::new();
            let mut numbering = Numbering::new(
                turbine.clone(),
                Arc::clone(catalogue),
                seed,
                from,
                &mut records,
            );
            while let Some(due) = rows.row() {
                readings += due.raw.len() as u64;
                numbering.add(&due, period.us(), &mut records);
                flush(file, &mut records)?;
            }
            numbering.finish(to, &mut records);
            flush(file, &mut records)
        })?,
    }
    Ok(readings)
}

fn flush(file: &mut impl Write, records: &mut Vec<Vec<u8>>) -> Result<()> {
    for record in records.drain(..) {
        file.write_all(&u32::try_from(record.len())?.to_le_bytes())?;
        file.write_all(&record)?;
    }
    Ok(())
}

/// Writes under another name first.
fn write_whole(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
    let part = path.with_extension("part");
    let failed = || format!("could not write {}", path.display());
    let mut file =
        BufWriter::with_capacity(BUFFER_BYTES, File::create(&part).with_context(failed)?);
    write(&mut file).with_context(failed)?;
    file.into_inner()
        .map_err(std::io::IntoInnerError::into_error)
        .with_context(failed)?;
    std::fs::rename(&part, path).with_context(failed)
}

/// The agent's sources that read the files.
fn sources(fleet: &Fleet, seats: &[usize], period: Period) -> Result<String> {
    let mut text =
        String::from("# For the configuration of an agent that serves these turbines.\n");
    for seat in seats {
        let Seat {
            turbine, catalogue, ..
        } = &fleet.seats()[*seat];
        let interval_s = if period == Period::Second {
            0
        } else {
            period.us() / 1_000_000
        };
        write!(
            text,
            "\n[[source]]\nkind = \"csv\"\nname = \"history-{turbine}\"\npath = \"{turbine}.csv\"\nturbine = \"{turbine}\"\n\
             time_column = \"{TIME_COLUMN}\"\ntime_format = \"{TIME_FORMAT}\"\ninterval_s = {interval_s}\nspeed = 0\ncolumn = [\n"
        )?;
        for channel in &catalogue.channels {
            let name = &channel.name;
            writeln!(text, "    {{ name = \"{name}\", channel = \"{name}\" }},")?;
        }
        text.push_str("]\n");
    }
    Ok(text)
}
