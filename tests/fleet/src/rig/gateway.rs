//! A gateway of the rig: its folder, its program, and its process while it runs.
//!
//! Invariant: what others may know of it does not depend on whether it runs; what they may do to it, the rig does.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::ledger::outbox::Place;
use crate::ledger::watcher::Watcher;
use crate::own_clock::OwnClock;
use crate::process::{Process, Program};
use crate::spec::{self, Endpoint};

/// Which boot its machine is in, for a gateway with a clock of its own.
pub(super) const BOOT_ID: &str = "boot_id";
/// How long our machine had been up when that boot began, seconds.
pub(super) const BOOTED_AT: &str = "booted_at";

/// A gateway of the rig.
pub struct Gateway {
    /// What it is.
    pub spec: spec::Gateway,
    pub(super) dir: PathBuf,
    pub(super) uplink: Endpoint,
    pub(super) program: Program,
    pub(super) own_clock: Option<OwnClock>,
    pub(super) boots: u32,
    pub(super) process: Option<Process>,
    pub(super) watcher: Option<Watcher>,
}

impl Gateway {
    /// Its outbox's path, as the agent sees it.
    pub fn outbox(&self) -> PathBuf {
        self.dir.join(spec::OUTBOX)
    }
    /// Where to look for its outbox. One on a disk of its own is seen through its process, and gone with it.
    pub fn place(&self) -> Place {
        let path = self.outbox();
        match (self.spec.disk_bytes, self.process_id()) {
            (Some(_), Some(process)) => Place::Inside { process, path },
            _ => Place::Plain(path),
        }
    }
    /// The disk of its own, from outside.
    pub fn disk(&self) -> Option<PathBuf> {
        let path = self.dir.join(spec::OUTBOX_DIR);
        let inside = path.strip_prefix("/").ok()?;
        let root = Path::new("/proc").join(self.process_id()?.to_string());
        Some(root.join("root").join(inside))
    }
    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.dir.join("windlass-edge.toml")
    }
    /// Its machine boots: the next process is one of another boot. Gives the boot's id; only a gateway with a clock of its
    /// own knows it.
    pub fn boot(&mut self) -> Result<String> {
        self.boots += 1;
        let id = format!("{:032x}", self.boots);
        let up = std::fs::read_to_string("/proc/uptime").context("/proc/uptime")?;
        let (seconds, _) = up.split_once('.').context("an uptime without a point")?;
        for (file, text) in [(BOOT_ID, id.as_str()), (BOOTED_AT, seconds)] {
            let path = self.dir.join(file);
            std::fs::write(&path, text).with_context(|| path.display().to_string())?;
        }
        Ok(id)
    }
    /// Its process id, if it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }
    /// The end of its log.
    pub fn log_tail(&self) -> String {
        crate::process::tail(&self.program.log, 4_000)
    }
}
