//! `windlass-edge outbox inspect`, and the status when no agent runs: reads an outbox without changing it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use windlass_edge_core::{RowKind, RowLevel};
use windlass_shared::id::{IdError, TurbineId};
use windlass_shared::time::WallTime;

use crate::cli::{Exit, InspectArgs};
use crate::clock::Clock;
use crate::config::{Config, ConfigError};
use crate::outbox::{InspectedRow, Inspector, OutboxError};
use crate::procfs;
use crate::status::{ClockDoc, DiskDoc, StatusDoc, TurbineDoc, VERSION};

/// Why an outbox cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The configuration that should name it.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `--turbine` is no name.
    #[error("--turbine: {0}")]
    Turbine(#[from] IdError),
    /// The file.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
}

impl InspectError {
    /// The exit code for it.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Turbine(_) => Exit::Usage,
            Self::Outbox(_) => Exit::Failed,
        }
    }
}

/// One epoch of one turbine as the outbox holds it.
#[derive(Serialize, Debug, Default)]
struct EpochDoc {
    turbine: String,
    epoch: String,
    /// Records that are held.
    records: u64,
    /// Among those, by how far the cloud has them.
    unacked: u64,
    logged: u64,
    safe: u64,
    /// Bytes of all of them, and of the unacknowledged ones.
    bytes: u64,
    unacked_bytes: u64,
    readings: u64,
    first_seq: u64,
    last_seq: u64,
    /// Seqs between first and last that are not held (evicted; a Gap says so).
    holes: u64,
    /// Rows that wait for the clock: then `epoch` is a boot, and its numbers are none.
    waiting: u64,
    waiting_readings: u64,
    /// Gateway's clock at the first and the last commit, and at the oldest unacknowledged one, microseconds.
    first_committed_us: i64,
    last_committed_us: i64,
    oldest_unacked_us: Option<i64>,
}

/// One record, for `--records`.
#[derive(Serialize, Debug)]
struct RecordDoc {
    turbine: String,
    epoch: String,
    seq: u64,
    kind: &'static str,
    level: &'static str,
    readings: u64,
    bytes: u64,
    first_event_us: Option<i64>,
    last_event_us: Option<i64>,
    committed_us: i64,
}

/// Text or JSON.
pub fn inspect(args: &InspectArgs) -> Result<String, InspectError> {
    let turbine = args.turbine.as_deref().map(TurbineId::new).transpose()?;
    let path = match (&args.path, &args.config) {
        (Some(path), _) => path.clone(),
        (None, Some(config)) => Config::load(config)?.outbox.path,
        (None, None) => PathBuf::new(), // the command line asks for one of them
    };
    let inspector = Inspector::open(&path)?;
    let wanted = |row: &InspectedRow| turbine.as_ref().is_none_or(|t| *t == row.meta.id.turbine);
    if args.records {
        let mut lines = String::new();
        inspector.rows(false, |row| {
            if wanted(&row) {
                lines.push_str(&record_line(&row, args.json));
            }
        })?;
        return Ok(lines);
    }
    let mut epochs: Vec<EpochDoc> = Vec::new();
    inspector.rows(false, |row| {
        if wanted(&row) {
            add(&mut epochs, &row);
        }
    })?;
    Ok(if args.json {
        let doc = serde_json::json!({ "path": path, "epochs": epochs });
        serde_json::to_string_pretty(&doc).unwrap_or_else(|e| e.to_string())
    } else {
        text(&path, &epochs, Clock.now().wall)
    })
}

fn add(epochs: &mut Vec<EpochDoc>, row: &InspectedRow) {
    let meta = &row.meta;
    let (turbine, epoch) = (meta.id.turbine.to_string(), meta.id.epoch.to_string());
    // rows come epoch by epoch
    if epochs
        .last()
        .is_none_or(|e| e.epoch != epoch || e.turbine != turbine)
    {
        epochs.push(EpochDoc {
            turbine,
            epoch,
            first_seq: meta.id.seq.0,
            first_committed_us: meta.committed_at.0,
            ..EpochDoc::default()
        });
    }
    let Some(doc) = epochs.last_mut() else { return };
    doc.records += 1;
    doc.bytes += meta.bytes;
    doc.readings += meta.readings;
    doc.last_seq = meta.id.seq.0;
    doc.holes = doc.last_seq - doc.first_seq + 1 - doc.records;
    doc.last_committed_us = meta.committed_at.0;
    match row.level {
        RowLevel::Waiting => {
            doc.waiting += 1;
            doc.waiting_readings += meta.readings;
        }
        RowLevel::Unacked => {
            doc.unacked += 1;
            doc.unacked_bytes += meta.bytes;
            doc.oldest_unacked_us.get_or_insert(meta.committed_at.0);
        }
        RowLevel::Logged => doc.logged += 1,
        RowLevel::Safe => doc.safe += 1,
    }
}

fn record_line(row: &InspectedRow, json: bool) -> String {
    let meta = &row.meta;
    let doc = RecordDoc {
        turbine: meta.id.turbine.to_string(),
        epoch: meta.id.epoch.to_string(),
        seq: meta.id.seq.0,
        kind: match meta.kind {
            RowKind::Batch(..) => "batch",
            RowKind::Open => "open",
            RowKind::Gap => "gap",
            RowKind::Seal => "seal",
        },
        level: match row.level {
            RowLevel::Waiting => "waiting",
            RowLevel::Unacked => "unacked",
            RowLevel::Logged => "logged",
            RowLevel::Safe => "safe",
        },
        readings: meta.readings,
        bytes: meta.bytes,
        first_event_us: meta.bounds.map(|b| b.0.0),
        last_event_us: meta.bounds.map(|b| b.1.0),
        committed_us: meta.committed_at.0,
    };
    if json {
        let line = serde_json::to_string(&doc).unwrap_or_else(|e| e.to_string());
        return line + "\n";
    }
    format!(
        "{}/{}/{}  {:<5}  {:<7}  {:>6} readings  {:>7} bytes\n",
        doc.turbine, doc.epoch, doc.seq, doc.kind, doc.level, doc.readings, doc.bytes
    )
}

fn text(path: &Path, epochs: &[EpochDoc], now: WallTime) -> String {
    let line = |e: &EpochDoc| {
        if e.waiting > 0 {
            return format!(
                "{}  boot {}  {} rows wait for the clock, {} readings, {} bytes\n",
                e.turbine, e.epoch, e.waiting, e.waiting_readings, e.bytes
            );
        }
        let oldest = e.oldest_unacked_us.map_or_else(String::new, |at| {
            format!(", oldest unacked {} s old", age_s(at, now))
        });
        format!(
            "{}  epoch {}  seq {}-{}  {} records ({} unacked, {} logged, {} safe, {} gone), {} readings, {} bytes{oldest}\n",
            e.turbine,
            e.epoch,
            e.first_seq,
            e.last_seq,
            e.records,
            e.unacked,
            e.logged,
            e.safe,
            e.holes,
            e.readings,
            e.bytes,
        )
    };
    let lines: String = epochs.iter().map(line).collect();
    let lines = if lines.is_empty() {
        "holds no records\n".to_owned()
    } else {
        lines
    };
    format!("outbox {}\n{lines}", path.display())
}

fn age_s(at: i64, now: WallTime) -> u64 {
    (now.0 - at).max(0) as u64 / 1_000_000
}

/// What the outbox tells of a gateway whose agent does not run.
pub fn offline_status(config: &Config) -> Result<StatusDoc, InspectError> {
    let path = &config.outbox.path;
    let inspector = Inspector::open(path)?;
    let mut epochs = Vec::new();
    inspector.rows(false, |row| add(&mut epochs, &row))?;
    let now = Clock.now().wall;
    let mut turbines: BTreeMap<String, TurbineDoc> = BTreeMap::new();
    let mut waiting = ClockDoc {
        set: crate::clock::is_set(now),
        ..ClockDoc::default()
    };
    for e in epochs {
        let doc = turbines.entry(e.turbine.clone()).or_default();
        doc.turbine = e.turbine;
        if e.waiting > 0 {
            waiting.waiting_records += e.waiting;
            waiting.waiting_readings += e.waiting_readings;
            continue;
        }
        doc.epoch = Some(e.epoch); // the last one stays
        doc.last_seq = e.last_seq;
        doc.backlog_records += e.unacked;
        doc.backlog_bytes += e.unacked_bytes;
        let oldest = e.oldest_unacked_us.map(|at| age_s(at, now));
        doc.oldest_unacked_s = doc.oldest_unacked_s.max(oldest);
        doc.ring_records += e.logged + e.safe;
        doc.ring_bytes += e.bytes - e.unacked_bytes;
    }
    let size = |p: &Path| std::fs::metadata(p).map_or(0, |m| m.len());
    Ok(StatusDoc {
        version: VERSION,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        gateway: config.gateway.to_string(),
        running: false,
        at_us: now.0,
        turbines: turbines.into_values().collect(),
        disk: DiskDoc {
            path: path.display().to_string(),
            used_bytes: size(path) + size(&wal(path)),
            budget_bytes: config.outbox.bytes_max,
            free_bytes: path
                .parent()
                .and_then(|dir| procfs::free_bytes(dir).ok())
                .unwrap_or(0),
            free_min_bytes: config.outbox.free_min_bytes,
            full: false,
        },
        clock: waiting,
        ..StatusDoc::default()
    })
}

/// The write-ahead log beside the file.
fn wal(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}
