//! One agent per outbox: two of them on one file would each number records.
//!
//! The lock is the kernel's, on a file beside the outbox, so that it is gone when the process is, however it ended.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Held while the agent runs.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why the outbox is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("outbox.path: another agent already uses {}; stop it first, or give this one its own outbox", .0.display())]
    Held(PathBuf),
    /// Its directory cannot be written.
    #[error("outbox.path: cannot write in {}: {source}; the directory must exist on a writable disk and belong to the agent's user", path.display())]
    Unwritable {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Lock {
    /// Takes the lock of the outbox at `outbox`, making its directory if that is missing.
    pub fn take(outbox: &Path) -> Result<Self, LockError> {
        let dir = outbox.parent().filter(|d| !d.as_os_str().is_empty());
        let dir = dir.unwrap_or(Path::new("."));
        let unwritable = |source| LockError::Unwritable {
            path: dir.to_owned(),
            source,
        };
        std::fs::create_dir_all(dir).map_err(unwritable)?;
        let file = File::create(outbox.with_extension("lock")).map_err(unwritable)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(LockError::Held(outbox.to_owned())),
            Err(e) => Err(unwritable(e.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_agent_is_told_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = dir.path().join("new/outbox.db");
        let first = Lock::take(&outbox).unwrap();
        let error = Lock::take(&outbox).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "outbox.path: another agent already uses {}; stop it first, or give this one its own outbox",
                outbox.display()
            )
        );
        drop(first);
        Lock::take(&outbox).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_named() {
        let error = Lock::take(Path::new("/proc/windlass/outbox.db")).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("outbox.path: cannot write in /proc/windlass: "),
            "{text}"
        );
    }
}
