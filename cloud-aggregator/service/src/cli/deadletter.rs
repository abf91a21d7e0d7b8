//! `windlass-cloud deadletter`: what could not be counted, straight from the log.
#![allow(clippy::print_stdout)] // command-line output

use anyhow::{Context as _, bail};
use clap::Subcommand;
use windlass_cloud_core::output::{DeadLetter, hex};

use crate::config::Config;
use crate::log::sqlite::SqliteView;
use crate::log::{Offset, PartitionId, ReadLimits, StoredEntry, Topic, TopicPartition};

/// Read at a time.
const LIMITS: ReadLimits = ReadLimits {
    entries_max: 500,
    bytes_max: 8 * 1024 * 1024,
};
/// Bytes of a message that `show` prints.
const SHOWN_BYTES_MAX: usize = 4_096;

#[derive(Subcommand, Debug)]
pub enum What {
    /// The newest ones, with their numbers
    List {
        /// How many at most
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// One of them, with its bytes
    Show {
        /// Its number, as listed
        number: u64,
    },
}

pub fn execute(config: &Config, what: &What) -> anyhow::Result<()> {
    let log = SqliteView::open(&config.log.path)?;
    match what {
        What::List { limit, json } => list(&log, *limit, *json),
        What::Show { number } => show(&log, *number),
    }
}

/// One number for partition and offset.
fn number(entry: &StoredEntry, partitions: u16) -> u64 {
    entry.offset.0 * u64::from(partitions) + u64::from(entry.at.partition.0)
}

fn list(log: &SqliteView, limit: usize, json: bool) -> anyhow::Result<()> {
    let partitions = log.partitions()?;
    let mut newest = Vec::new();
    for p in 0..partitions {
        let at = TopicPartition::new(Topic::DeadLetter, PartitionId(p));
        let (first, end) = log.bounds(at)?;
        let mut next = Offset(first.0.max(end.0.saturating_sub(limit as u64)));
        while next < end {
            let mut entries = Vec::new();
            log.read(at, next, LIMITS, &mut entries)?;
            let Some(last) = entries.last() else { break };
            next = Offset(last.offset.0 + 1);
            for entry in &entries {
                let letter = DeadLetter::decode(&entry.value)
                    .with_context(|| format!("{at}: offset {}", entry.offset.0))?;
                newest.push((entry.time, number(entry, partitions), letter.meta));
            }
        }
    }
    newest.sort_by_key(|(time, number, _)| (*time, *number));
    let skip = newest.len().saturating_sub(limit);
    for (time, number, meta) in &newest[skip..] {
        if json {
            let mut object = serde_json::to_value(meta)?;
            object["number"] = (*number).into();
            object["appended"] = time.0.into();
            println!("{object}");
            continue;
        }
        let whose = match (&meta.turbine, meta.epoch, meta.seq) {
            (Some(t), Some(e), Some(s)) => format!("{t}/{e}/{s}"),
            _ => meta
                .gateway
                .as_ref()
                .map_or_else(|| "unknown".into(), ToString::to_string),
        };
        let at = jiff::Timestamp::from_microsecond(time.0).unwrap_or_default();
        println!(
            "{number:>8}  {at:.3}  {:<7} {:<12} {whose}  {}",
            meta.stage,
            meta.reason.as_str(),
            meta.detail
        );
    }
    Ok(())
}

fn show(log: &SqliteView, number: u64) -> anyhow::Result<()> {
    let partitions = u64::from(log.partitions()?);
    let partition = PartitionId((number % partitions) as u16);
    let offset = Offset(number / partitions);
    let at = TopicPartition::new(Topic::DeadLetter, partition);
    let mut entries = Vec::new();
    if offset < log.bounds(at)?.1 {
        log.read(at, offset, LIMITS, &mut entries)?;
    }
    let Some(entry) = entries.first() else {
        bail!("there is no dead letter {number}; `deadletter list` shows the numbers");
    };
    let letter = DeadLetter::decode(&entry.value)?;
    println!("{}", serde_json::to_string_pretty(&letter.meta)?);
    let shown = &letter.bytes[..letter.bytes.len().min(SHOWN_BYTES_MAX)];
    println!("{} bytes", letter.bytes.len());
    for (i, line) in shown.chunks(32).enumerate() {
        println!("{:08x}  {}", i * 32, hex(line));
    }
    Ok(())
}
