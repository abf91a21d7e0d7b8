//! What the kernel says of this process and machine.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// CPU time of this thread, ns, and what `work` gives.
pub(super) fn timed<T>(work: impl FnOnce() -> T) -> anyhow::Result<(T, u64)> {
    let before = thread_cpu_ns()?;
    let result = work();
    Ok((result, thread_cpu_ns()? - before))
}

fn thread_cpu_ns() -> anyhow::Result<u64> {
    // the kernel adds up what a thread has used when it goes to sleep, and else at its ticks only
    std::thread::park_timeout(Duration::from_micros(1));
    let path = "/proc/thread-self/schedstat";
    let text = fs::read_to_string(path).context(path)?;
    let first = text.split_whitespace().next().context(path)?;
    first.parse().context(path)
}

/// The most memory that this process has held.
pub(super) fn peak_rss_bytes() -> anyhow::Result<u64> {
    status_bytes("VmHWM:")
}

/// The memory that this process holds.
pub(super) fn rss_bytes() -> anyhow::Result<u64> {
    status_bytes("VmRSS:")
}

fn status_bytes(name: &str) -> anyhow::Result<u64> {
    let path = "/proc/self/status";
    let text = fs::read_to_string(path).context(path)?;
    let kb = text
        .lines()
        .find_map(|l| l.strip_prefix(name))
        .and_then(|l| l.split_whitespace().next())
        .context(path)?;
    Ok(kb.parse::<u64>().context(path)? * 1_024)
}

pub(super) fn cpu_model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines()
        .find_map(|l| l.strip_prefix("model name")?.split_once(": "))
        .map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, m)| m.to_owned())
}
