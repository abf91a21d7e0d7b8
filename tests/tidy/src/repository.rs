//! Which files the rules apply to.
//!
//! Invariant: what git tracks, or would track; never what a build or a run left behind.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The sources of these crates are pure: no runtime, network, disk, clock or random numbers.
pub const PURE: &[(&str, &str)] = &[
    ("windlass-shared", "shared/src/"),
    ("windlass-edge-core", "edge-agent/core/src/"),
    ("windlass-cloud-core", "cloud-aggregator/core/src/"),
    ("windlass-fleet-model", "tests/fleet-model/src/"),
];

/// A file of the repository.
pub struct File {
    /// From the root, with `/`.
    pub path: String,
    /// Its text; files that are no UTF-8 are not listed.
    pub text: String,
}

impl File {
    /// Does the path end in `.{extension}`?
    pub fn is(&self, extension: &str) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|e| e == extension)
    }
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every text file that git tracks or would track, sorted by path.
pub fn files() -> Result<Vec<File>> {
    let out = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root())
        .output()
        .context("could not run git: install it")?;
    ensure!(
        out.status.success(),
        "git ls-files failed: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    let mut files = Vec::new();
    for path in String::from_utf8(out.stdout)?.split_terminator('\0') {
        // Deleted but not yet committed files are listed; binary ones have no rules.
        let Ok(bytes) = std::fs::read(root().join(path)) else {
            continue;
        };
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(File {
                path: path.to_owned(),
                text,
            });
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files.dedup_by(|a, b| a.path == b.path);
    Ok(files)
}

/// Is this a source of a pure crate, and not one of its tests?
pub fn is_pure_source(path: &str) -> bool {
    let test = path.ends_with("/tests.rs") || path.contains("/tests/");
    !test && PURE.iter().any(|(_, dir)| path.starts_with(dir))
}
