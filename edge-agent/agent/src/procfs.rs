//! What the kernel says about this process and its disk: memory, CPU time, bytes written, space left.
//!
//! Figures of our own would count what we meant to write; wear of the flash is what the kernel wrote.

use std::path::Path;

/// Figures of this process, from `/proc/self`; 0 where the kernel does not say.
#[derive(Clone, Copy, PartialEq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct ProcessFigures {
    /// Memory in use, bytes.
    pub rss_bytes: u64,
    /// Most memory ever in use, bytes.
    pub rss_peak_bytes: u64,
    /// CPU time used since the start, user and system, milliseconds.
    pub cpu_ms: u64,
    /// Bytes this process caused to be written to storage since its start.
    pub disk_written_bytes: u64,
    /// Threads.
    pub threads: u64,
}

/// Reads them now.
pub fn process_figures() -> ProcessFigures {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    ProcessFigures {
        rss_bytes: field(&status, "VmRSS:") * 1024,
        rss_peak_bytes: field(&status, "VmHWM:") * 1024,
        cpu_ms: cpu_ms(&stat),
        disk_written_bytes: field(&io, "write_bytes:"),
        threads: field(&status, "Threads:"),
    }
}

/// The number after `name` at the beginning of a line.
fn field(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|l| l.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}

/// Fields 14 and 15 of `/proc/self/stat`, in ticks of 10 ms (`USER_HZ` is 100 on every Linux ABI that we run on).
fn cpu_ms(stat: &str) -> u64 {
    const TICK_MS: u64 = 10;
    // the second field is the program's name in brackets and may hold spaces
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut fields = after_name.split_whitespace().skip(11);
    let mut ticks = || {
        fields
            .next()
            .and_then(|f| f.parse::<u64>().ok())
            .unwrap_or(0)
    };
    (ticks() + ticks()) * TICK_MS
}

/// Bytes that an ordinary user may still write on the file system that holds `path`.
pub fn free_bytes(path: &Path) -> std::io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name() {
        let io =
            "rchar: 10\nwchar: 20\nread_bytes: 0\nwrite_bytes: 4096\ncancelled_write_bytes: 1\n";
        assert_eq!(field(io, "write_bytes:"), 4096);
        assert_eq!(field(io, "absent:"), 0);
    }

    #[test]
    fn cpu_time_survives_a_name_with_brackets_and_spaces() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 1 2 3 4 7 5 0 0 20 0 3 0 99";
        assert_eq!(cpu_ms(stat), 120);
    }

    #[test]
    fn this_process_has_memory_and_disk() {
        let figures = process_figures();
        assert!(figures.rss_bytes > 0 && figures.rss_peak_bytes >= figures.rss_bytes);
        assert!(free_bytes(Path::new("/tmp")).unwrap() > 0);
    }
}
