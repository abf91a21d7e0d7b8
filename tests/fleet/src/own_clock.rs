//! A wall clock of its own for one process: a preloaded library (Debian's libfaketime) adds to the machine's clock what a
//! file says, and the file may change while the process runs.
//!
//! Invariants: only the wall clock differs, monotonic time and the times of files are left as they are; the clock runs on at
//! the machine's pace after it was set; a change is there for the next look at the clock (the file is read at each).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use windlass_shared::time::WallTime;

use crate::clock;
use crate::process::Program;

/// What the package `faketime` brings, somewhere below [`LIBRARIES`].
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";
const LIBRARIES: &str = "/usr/lib";
/// The library's leftovers in shared memory, each followed by the process id. One of an earlier process with the same
/// id keeps a new one from starting.
const LEFTOVERS: [&str; 2] = ["/dev/shm/faketime_shm_", "/dev/shm/sem.faketime_sem_"];

/// A wall clock for one process after the other.
#[derive(Clone, Debug)]
pub struct OwnClock {
    file: PathBuf,
    ahead_us: i64,
}

impl OwnClock {
    /// One that shows the machine's time; `file` says what it adds to it.
    pub fn new(file: &Path) -> Result<Self> {
        let own = Self {
            file: file.to_owned(),
            ahead_us: 0,
        };
        own.write()?;
        Ok(own)
    }

    /// What it shows.
    pub fn now(&self) -> WallTime {
        WallTime(clock::wall().0 + self.ahead_us)
    }

    /// From now on it shows the machine's time.
    pub fn set_right(&mut self) -> Result<()> {
        self.ahead_us = 0;
        self.write()
    }

    /// It shows `time` now, and runs on from there. `WallTime(0)` is what a machine without a battery shows.
    pub fn set(&mut self, time: WallTime) -> Result<()> {
        self.ahead_us = time.0 - clock::wall().0;
        self.write()
    }

    /// It jumps by so many microseconds; back when negative.
    pub fn step(&mut self, by_us: i64) -> Result<()> {
        self.ahead_us += by_us;
        self.write()
    }

    /// The program, under this clock. Call it before the program gets namespaces of its own.
    pub fn of(&self, program: Program) -> Result<Program> {
        let library = library()?;
        let leftovers = LEFTOVERS.map(|path| format!("{path}$$")).join(" ");
        // The shell's process becomes the program's; only that one loads the library.
        let script = format!(
            "rm -f {leftovers}; exec env LD_PRELOAD='{}' FAKETIME_TIMESTAMP_FILE='{}' FAKETIME_NO_CACHE=1 \
             FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1 \"$@\"",
            library.display(),
            self.file.display()
        );
        let mut args = vec!["-c".to_owned(), script, "sh".to_owned()];
        args.push(program.path.to_string_lossy().into_owned());
        args.extend(program.args);
        Ok(Program {
            path: "/bin/sh".into(),
            args,
            ..program
        })
    }

    /// Under another name first: a clock that is looked at meanwhile shows the old time or the new one.
    fn write(&self) -> Result<()> {
        let failed = || format!("could not write {}", self.file.display());
        let part = self.file.with_extension("part");
        let sign = if self.ahead_us < 0 { '-' } else { '+' };
        let ahead = self.ahead_us.unsigned_abs();
        let text = format!("{sign}{}.{:06}\n", ahead / 1_000_000, ahead % 1_000_000);
        std::fs::write(&part, text).with_context(failed)?;
        std::fs::rename(&part, &self.file).with_context(failed)
    }
}

/// Removes what the library left of a process that has ended; that there is nothing is as good.
pub(crate) fn clear(process: u32) {
    for path in LEFTOVERS {
        std::fs::remove_file(format!("{path}{process}")).ok();
    }
}

fn library() -> Result<PathBuf> {
    let folders = std::fs::read_dir(LIBRARIES).context(LIBRARIES)?;
    folders
        .filter_map(Result::ok)
        .map(|folder| folder.path().join(LIBRARY))
        .find(|file| file.is_file())
        .with_context(|| {
            format!("no {LIBRARY} below {LIBRARIES}: run `cargo xtask setup` (package faketime)")
        })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const BOUND: Duration = Duration::from_secs(10);

    #[test]
    fn a_process_sees_its_clock_set_and_stepped_and_nobody_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let said = dir.path().join("said");
        let mut own = OwnClock::new(&dir.path().join("clock")).unwrap();
        own.set(WallTime(0)).unwrap();
        // perl is in every Debian, and asks the C library for the time; bash does not
        let script = format!(
            "chdir '{}'; while (1) {{ open F, '>', 'said.part'; print F time; close F; rename 'said.part', 'said'; \
             select undef, undef, undef, 0.01 }}",
            dir.path().display()
        );
        let program = Program {
            name: "perl".into(),
            path: "/usr/bin/perl".into(),
            args: vec!["-e".into(), script],
            env: Vec::new(),
            log: dir.path().join("log"),
        };
        let program = own.of(program).unwrap();
        let process = program.start().unwrap();
        let seen = |what: &str, own: &OwnClock| {
            clock::until(what, BOUND, || {
                let text = std::fs::read_to_string(&said).unwrap_or_default();
                let Ok(seconds) = text.trim().parse::<i64>() else {
                    return Ok(None);
                };
                let off = own.now().0 / 1_000_000 - seconds;
                Ok((0..=2).contains(&off).then_some(()))
            })
            .unwrap_or_else(|e| panic!("{e}: {}", process.log_tail()));
        };
        seen("the seventies", &own);
        assert!(own.now().0 < 60_000_000);
        own.set_right().unwrap();
        seen("today", &own);
        own.step(-120_000_000).unwrap();
        seen("two minutes ago", &own);
        own.step(7_320_000_000).unwrap();
        seen("in two hours", &own);
        assert!(own.now().0 - clock::wall().0 > 7_190_000_000);
        let leftovers = LEFTOVERS.map(|path| PathBuf::from(format!("{path}{}", process.id())));
        drop(process);
        assert!(leftovers.iter().all(|path| !path.exists()));
    }
}
