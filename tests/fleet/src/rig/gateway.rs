//! A gateway of the rig: its folder, its program, and its process while it runs.
//!
//! Invariant: what others may know of it does not depend on whether it runs; what they may do to it, the rig does.

use std::path::{Path, PathBuf};

use crate::ledger::outbox::Place;
use crate::ledger::watcher::Watcher;
use crate::own_clock::OwnClock;
use crate::process::{Process, Program};
use crate::spec::{self, Endpoint};

/// A gateway of the rig.
pub struct Gateway {
    /// What it is.
    pub spec: spec::Gateway,
    pub(super) dir: PathBuf,
    pub(super) uplink: Endpoint,
    pub(super) program: Program,
    pub(super) own_clock: Option<OwnClock>,
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
    /// Its process id, if it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }
    /// The end of its log.
    pub fn log_tail(&self) -> String {
        crate::process::tail(&self.program.log, 4_000)
    }
}
