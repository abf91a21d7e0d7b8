//! What the kernel says of a process, and what the aggregator's metrics say.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::bench_edge::{cpu_ticks, field, proc_file};
use crate::http;

/// Ticks of `/proc/PID/stat` in a second: 100 on every Linux ABI.
pub const TICKS_PER_S: f64 = 100.0;

/// A process at one moment.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// CPU ticks of all its threads, those that ended as well.
    pub cpu: u64,
    /// CPU ticks by role, of threads that are there.
    pub roles: BTreeMap<&'static str, u64>,
    /// Resident set, bytes.
    pub rss: u64,
    /// Of it, what no file backs: memory that the kernel cannot take back.
    pub anonymous: u64,
    /// Bytes written to disks.
    pub written: u64,
    /// Bytes in its folder.
    pub stored: u64,
}

impl Usage {
    /// Of a running process with its data in `dir`.
    pub fn of(process: u32, dir: &Path) -> Result<Self> {
        let status = proc_file(process, "status")?;
        let mut roles = BTreeMap::new();
        for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
            let task = task?.path();
            let read = |name: &str| std::fs::read_to_string(task.join(name));
            // a thread may end between two looks
            if let (Ok(name), Ok(stat)) = (read("comm"), read("stat")) {
                *roles.entry(role(name.trim())).or_default() += cpu_ticks(&stat)?;
            }
        }
        Ok(Self {
            cpu: cpu_ticks(&proc_file(process, "stat")?)?,
            roles,
            rss: field(&status, "VmRSS:")? * 1_024,
            anonymous: field(&status, "RssAnon:")? * 1_024,
            written: field(&proc_file(process, "io")?, "write_bytes:")?,
            stored: size(dir),
        })
    }
}

/// The role of a thread of the aggregator by its name, which the kernel cuts to 15 characters.
fn role(thread: &str) -> &'static str {
    match thread {
        "broker" | "windlass" | "timer" => "broker",
        t if t.starts_with("router-") => "broker",
        t if t.starts_with("process-") || t == "snapshots" => "process",
        "serve" => "serve",
        "lake" => "lake",
        "log-writer" => "log",
        "downlink" => "downlink",
        "console-poller" => "console",
        // ingest, HTTP, and the lake's writing of finished files
        t if t.starts_with("tokio") => "runtime",
        "load" => "load",
        _ => "other",
    }
}

fn size(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(m) if m.is_dir() => size(&entry.path()),
        Ok(m) => m.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// A counter of `/metrics`, summed over its labels.
pub fn metric(port: u16, name: &str) -> Result<f64> {
    sum(&http::get(port, "/metrics")?.body, name)
}

fn sum(text: &str, name: &str) -> Result<f64> {
    let mut total = None;
    for line in text.lines() {
        let Some(rest) = line.strip_prefix(name) else {
            continue;
        };
        if rest.starts_with('{') || rest.starts_with(' ') {
            let value = rest.rsplit(' ').next().and_then(|v| v.parse::<f64>().ok());
            *total.get_or_insert(0.0) += value.with_context(|| format!("/metrics: {line}"))?;
        }
    }
    match total {
        Some(total) => Ok(total),
        None => bail!("/metrics has no {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_over_labels_and_missing_ones_are_named() {
        let text = "# TYPE a counter\na_total{p=\"0\"} 3\na_total{p=\"1\"} 4\na_total_more 9\n";
        assert_eq!(sum(text, "a_total").unwrap(), 7.0);
        assert_eq!(sum(text, "a_total_more").unwrap(), 9.0);
        assert_eq!(sum(text, "b").unwrap_err().to_string(), "/metrics has no b");
    }

    #[test]
    fn every_thread_of_this_process_has_a_role_and_some_memory() {
        let own = Usage::of(std::process::id(), Path::new("/nonexistent")).unwrap();
        assert!(own.anonymous > 0 && own.anonymous <= own.rss);
        assert_eq!(own.stored, 0);
        assert_eq!(role("process-3"), "process");
        assert_eq!(role("tokio-runtime-w"), "runtime");
        assert_eq!(role("console-poller"), "console");
    }
}
