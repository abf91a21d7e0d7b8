//! The files of an outbox and their neighbours: lock, reserve, mark of damage.
//!
//! `x.db` (with SQLite's `x.db-wal` and `x.db-shm`), `x.db.lock` (held while a process uses it), `x.db.reserve` (room that
//! is given up when an eviction meets a full disk), `x.db.suspect` (a run found damage: the next opening salvages).

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock, statvfs};

use super::OutboxError;

/// Room for a transaction that evicts, bytes: the greatest of these of which [`RESERVE_SHARE`] would be free.
const RESERVE_BYTES: [u64; 4] = [4 << 20, 1 << 20, 256 << 10, 64 << 10];
/// The reserve takes at most one part in so many of what is free.
const RESERVE_SHARE: u64 = 4;

#[derive(Debug)]
pub(super) struct Files {
    path: PathBuf,
    // holds the lock as long as it lives
    _lock: File,
}

impl Files {
    /// Creates the directory if need be and takes the lock.
    pub fn claim(path: &Path) -> Result<Self, OutboxError> {
        let unusable = |at: &Path, e: &io::Error| OutboxError::Unusable {
            path: path.into(),
            what: format!(
                "{}: {e}; expected a directory on a local disk that the agent's user may write: check owner, mode and mount",
                at.display()
            ),
        };
        if let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
            std::fs::create_dir_all(directory).map_err(|e| unusable(directory, &e))?;
        }
        let at = beside(path, "lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&at);
        let lock = lock.map_err(|e| unusable(&at, &e))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self {
                path: path.into(),
                _lock: lock,
            }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(OutboxError::Busy { path: path.into() }),
            Err(e) => Err(unusable(&at, &e.into())),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn wal_bytes(&self) -> u64 {
        std::fs::metadata(suffixed(&self.path, "-wal")).map_or(0, |m| m.len())
    }

    /// Bytes that the file system has left for this user.
    pub fn disk_free(&self) -> u64 {
        let directory = self.path.parent().filter(|d| !d.as_os_str().is_empty());
        let stat = statvfs(directory.unwrap_or(Path::new(".")));
        stat.map_or(u64::MAX, |s| s.f_bavail.saturating_mul(s.f_frsize))
    }

    pub fn is_suspect(&self) -> bool {
        beside(&self.path, "suspect").exists()
    }

    /// Remembers damage. If even that fails, the next run finds it again.
    pub fn suspect(&self) {
        File::create(beside(&self.path, "suspect")).ok();
    }

    /// Moves the database aside; returns its new place. SQLite's log goes with it, so that it can still be read.
    pub fn quarantine(&self, stamp: i64) -> io::Result<PathBuf> {
        let mut to = beside(&self.path, &format!("corrupt-{stamp}"));
        let mut n = 1;
        while to.exists() {
            n += 1;
            to = beside(&self.path, &format!("corrupt-{stamp}-{n}"));
        }
        for suffix in ["-wal", "-shm"] {
            let from = suffixed(&self.path, suffix);
            if from.exists() {
                std::fs::rename(from, suffixed(&to, suffix))?;
            }
        }
        if self.path.exists() {
            std::fs::rename(&self.path, &to)?;
        }
        Ok(to)
    }

    /// The damage is dealt with.
    pub fn clear(&self) {
        std::fs::remove_file(beside(&self.path, "suspect")).ok();
    }

    /// Makes the reserve if there is room enough that nobody misses it.
    pub fn keep_reserve(&mut self) {
        let at = beside(&self.path, "reserve");
        if at.exists() {
            return;
        }
        let free = self.disk_free();
        let Some(bytes) = RESERVE_BYTES
            .into_iter()
            .find(|b| free >= RESERVE_SHARE * b)
        else {
            return;
        };
        let made = File::create(&at)
            .is_ok_and(|f| fallocate(&f, FallocateFlags::empty(), 0, bytes).is_ok());
        if !made {
            // a file system that cannot allocate ahead has no reserve; evictions still work while pages are reused
            std::fs::remove_file(&at).ok();
        }
    }

    /// Gives the reserve up; was there one?
    pub fn give_up_reserve(&mut self) -> bool {
        std::fs::remove_file(beside(&self.path, "reserve")).is_ok()
    }
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn beside(path: &Path, what: &str) -> PathBuf {
    suffixed(path, &format!(".{what}"))
}
