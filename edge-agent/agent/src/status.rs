//! What the agent says of itself: one document, shown as text or JSON, and the source of the metrics.
//!
//! Counters count from the start of the process; everything else is the state of the moment. The JSON field names are an
//! interface: add, never rename.

mod counters;

use std::fmt::Write;

use serde::{Deserialize, Serialize};

pub use counters::Counters;

use crate::procfs::ProcessFigures;

/// Version of the document.
pub const VERSION: u32 = 1;

/// How the agent is.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct StatusDoc {
    /// [`VERSION`].
    pub version: u32,
    /// Version of the agent.
    pub agent_version: String,
    /// Which gateway.
    pub gateway: String,
    /// False: no agent runs, this was read from the outbox, and only `turbines` and `disk` mean something.
    pub running: bool,
    /// When this was written, by the gateway's clock, microseconds since 1970.
    pub at_us: i64,
    /// Since the start of the process, s.
    pub uptime_s: u64,
    /// The way to the cloud.
    pub link: LinkDoc,
    /// Per turbine, by name.
    pub turbines: Vec<TurbineDoc>,
    /// Per source, in the order of the configuration.
    pub sources: Vec<SourceDoc>,
    /// The outbox.
    pub disk: DiskDoc,
    /// The gateway's clock.
    pub clock: ClockDoc,
    /// The process.
    pub process: ProcessFigures,
    /// The gateway's certificate, when TLS with a client certificate is configured.
    pub certificate: Option<CertificateDoc>,
    /// Counters of the process.
    pub counters: Counters,
    /// The last thing that went wrong.
    pub last_error: Option<String>,
}

/// The way to the cloud.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct LinkDoc {
    /// `online`, `connecting` or `offline`.
    pub state: String,
    /// How long it has been so, s.
    pub for_s: u64,
    /// Where to.
    pub peer: String,
    /// Records sent and not yet acknowledged by the cloud.
    pub in_flight: u64,
    /// Records committed since the link came up that were not sent yet.
    pub live_queued: u64,
    /// From publish to the cloud's acknowledgement, the last one, ms.
    pub ack_latency_ms: Option<u64>,
    /// From commit to the cloud's acknowledgement of the newest acknowledged record, ms: how live the cloud is.
    pub live_lag_ms: Option<u64>,
    /// Why the link is or was down.
    pub last_error: Option<String>,
}

/// One turbine.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct TurbineDoc {
    /// Which.
    pub turbine: String,
    /// The epoch that is written, 32 hexadecimal digits.
    pub epoch: Option<String>,
    /// Last committed seq of it.
    pub last_seq: u64,
    /// Every reading before it has its number, microseconds since 1970.
    pub frontier_us: Option<i64>,
    /// Records that the cloud has not acknowledged.
    pub backlog_records: u64,
    /// Bytes of them.
    pub backlog_bytes: u64,
    /// Age of the oldest of them since its commit, s.
    pub oldest_unacked_s: Option<u64>,
    /// Records that are kept although the cloud has them.
    pub ring_records: u64,
    /// Bytes of them.
    pub ring_bytes: u64,
}

/// One source.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SourceDoc {
    /// Its name.
    pub name: String,
    /// `simulator`, `csv`, `push`.
    pub kind: String,
    /// `running`, `ended`, or what is wrong.
    pub state: String,
    /// Readings it gave since the start.
    pub readings: u64,
    /// Cells or rows of it that could not be read; they are in the dead-letter file.
    pub rejected: u64,
    /// How far it is, in its own words.
    pub position: Option<String>,
}

/// The outbox.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DiskDoc {
    /// Its file.
    pub path: String,
    /// Bytes in use.
    pub used_bytes: u64,
    /// Bytes it may use.
    pub budget_bytes: u64,
    /// Bytes left on its file system.
    pub free_bytes: u64,
    /// Bytes that stay free there for others.
    pub free_min_bytes: u64,
    /// The last transaction found no room: readings wait in memory until there is some.
    #[serde(default)]
    pub full: bool,
}

/// The gateway's clock.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ClockDoc {
    /// False: it was never set (1970 after a power cut).
    pub set: bool,
    /// What the system's time service says; `None`: there is none that we know.
    pub synchronised: Option<bool>,
    /// Rows that were recorded without a clock and wait for their number.
    #[serde(default)]
    pub waiting_records: u64,
    /// Readings in them.
    #[serde(default)]
    pub waiting_readings: u64,
    /// Age of the oldest of this boot, s.
    #[serde(default)]
    pub waiting_for_s: Option<u64>,
}

/// The gateway's certificate.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CertificateDoc {
    /// Its common name.
    pub common_name: String,
    /// Whole days until it expires, negative when it has.
    pub days_left: Option<i64>,
    /// Why it cannot be used.
    pub problem: Option<String>,
}

/// The document for people.
pub fn text(doc: &StatusDoc) -> String {
    let mut out = String::new();
    // writing to a String cannot fail
    match render(doc, &mut out) {
        Ok(()) => out,
        Err(e) => e.to_string(),
    }
}

fn render(doc: &StatusDoc, out: &mut String) -> std::fmt::Result {
    if doc.running {
        writeln!(
            out,
            "gateway {}  agent {}  up {}",
            doc.gateway,
            doc.agent_version,
            duration(doc.uptime_s)
        )?;
        render_link(doc, out)?;
    } else {
        writeln!(
            out,
            "gateway {}  NOT RUNNING (read from the outbox)",
            doc.gateway
        )?;
    }
    for t in &doc.turbines {
        write!(out, "{}  ", t.turbine)?;
        match &t.epoch {
            Some(epoch) => write!(
                out,
                "epoch {}.. seq {}",
                &epoch[..epoch.len().min(8)],
                t.last_seq
            )?,
            None => write!(out, "no epoch yet")?,
        }
        write!(
            out,
            "  backlog {} records, {}",
            t.backlog_records,
            bytes(t.backlog_bytes)
        )?;
        if let Some(age) = t.oldest_unacked_s {
            write!(out, ", oldest {}", duration(age))?;
        }
        writeln!(out, "  kept {} ({})", t.ring_records, bytes(t.ring_bytes))?;
    }
    for s in &doc.sources {
        write!(
            out,
            "source {} ({})  {}  {} readings",
            s.name, s.kind, s.state, s.readings
        )?;
        if s.rejected > 0 {
            write!(out, ", {} rejected", s.rejected)?;
        }
        if let Some(position) = &s.position {
            write!(out, "  at {position}")?;
        }
        writeln!(out)?;
    }
    let d = &doc.disk;
    writeln!(
        out,
        "outbox {}  {} of {}  disk free {} (keeps {} free)",
        d.path,
        bytes(d.used_bytes),
        bytes(d.budget_bytes),
        bytes(d.free_bytes),
        bytes(d.free_min_bytes)
    )?;
    if d.full {
        writeln!(
            out,
            "  FULL: readings wait in memory until there is room; free space on this file system"
        )?;
    }
    if doc.running {
        render_health(doc, out)?;
    }
    Ok(())
}

fn render_link(doc: &StatusDoc, out: &mut String) -> std::fmt::Result {
    let l = &doc.link;
    write!(
        out,
        "link {} for {} to {}",
        l.state,
        duration(l.for_s),
        l.peer
    )?;
    write!(
        out,
        "  in flight {}, live queue {}",
        l.in_flight, l.live_queued
    )?;
    if let Some(ms) = l.live_lag_ms {
        write!(out, ", live lag {ms} ms")?;
    }
    writeln!(out)?;
    if let Some(e) = &l.last_error {
        writeln!(out, "  last link error: {e}")?;
    }
    Ok(())
}

fn render_health(doc: &StatusDoc, out: &mut String) -> std::fmt::Result {
    let c = &doc.counters;
    writeln!(
        out,
        "readings {} committed, {} late, {} suspect  lost: {} evicted, {} overrun, {} unknown channel, {} untimed, {} unassigned",
        c.readings_committed,
        c.readings_late,
        c.readings_suspect,
        c.readings_evicted_unacked,
        c.readings_overrun,
        c.readings_unknown_channel,
        c.readings_untimed,
        c.readings_unassigned
    )?;
    writeln!(
        out,
        "records {} committed, {} acked, {} refused, {} timed out, {} resent",
        c.records_committed,
        c.records_acked,
        c.records_refused,
        c.records_ack_timeout,
        c.records_resent
    )?;
    let c = &doc.clock;
    if c.waiting_records > 0 {
        write!(
            out,
            "waiting for the clock  {} readings in {} rows, {}",
            c.waiting_readings,
            c.waiting_records,
            if c.set {
                "being numbered"
            } else {
                "recording goes on"
            }
        )?;
        match c.waiting_for_s {
            Some(age) => writeln!(out, ", for {}", duration(age))?,
            None => writeln!(out)?,
        }
    }
    let clock = match (doc.clock.set, doc.clock.synchronised) {
        (false, _) => "NOT SET",
        (true, Some(true)) => "synchronised",
        (true, Some(false)) => "set, not synchronised",
        (true, None) => "set",
    };
    writeln!(
        out,
        "clock {clock}  memory {}  cpu {} s  written to disk {}",
        bytes(doc.process.rss_bytes),
        doc.process.cpu_ms / 1_000,
        bytes(doc.process.disk_written_bytes)
    )?;
    if let Some(cert) = &doc.certificate {
        match (&cert.problem, cert.days_left) {
            (Some(problem), _) => writeln!(out, "certificate UNUSABLE: {problem}")?,
            (None, Some(days)) => writeln!(
                out,
                "certificate {} valid for {days} days",
                cert.common_name
            )?,
            (None, None) => writeln!(out, "certificate {}", cert.common_name)?,
        }
    }
    if let Some(e) = &doc.last_error {
        writeln!(out, "last error: {e}")?;
    }
    Ok(())
}

/// `3d 4h`, `2h 5m`, `1m 3s`, `7s`.
fn duration(s: u64) -> String {
    match s {
        0..60 => format!("{s}s"),
        60..3_600 => format!("{}m {}s", s / 60, s % 60),
        3_600..86_400 => format!("{}h {}m", s / 3_600, s % 3_600 / 60),
        _ => format!("{}d {}h", s / 86_400, s % 86_400 / 3_600),
    }
}

/// `812 B`, `4.2 kB`, `1.9 GB`: powers of ten, as disks and uplinks are sold.
fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if n < 1_000 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1_000.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if value < 1_000.0 {
            break;
        }
        value /= 1_000.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_read_well() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(4_200), "4.2 kB");
        assert_eq!(bytes(1_900_000_000), "1.9 GB");
        assert_eq!(duration(7), "7s");
        assert_eq!(duration(63), "1m 3s");
        assert_eq!(duration(273_600), "3d 4h");
    }

    #[test]
    fn every_counter_has_a_name_and_a_help_text() {
        let c = Counters {
            readings_committed: 7,
            ..Counters::default()
        };
        let first = c.each().next().unwrap();
        assert_eq!(
            first,
            (
                "readings_committed",
                " Readings committed to the outbox.",
                7
            )
        );
        assert!(c.each().all(|(_, help, _)| help.len() > 10));
    }

    #[test]
    fn a_stopped_agent_says_so() {
        let doc = StatusDoc {
            gateway: "gw-1".to_owned(),
            turbines: vec![TurbineDoc {
                turbine: "T001".to_owned(),
                epoch: Some("00112233445566778899aabbccddeeff".to_owned()),
                last_seq: 12,
                backlog_records: 3,
                backlog_bytes: 2_048,
                oldest_unacked_s: Some(125),
                ..TurbineDoc::default()
            }],
            ..StatusDoc::default()
        };
        assert_eq!(
            text(&doc),
            "gateway gw-1  NOT RUNNING (read from the outbox)\n\
             T001  epoch 00112233.. seq 12  backlog 3 records, 2.0 kB, oldest 2m 5s  kept 0 (0 B)\n\
             outbox   0 B of 0 B  disk free 0 B (keeps 0 B free)\n"
        );
    }
}
