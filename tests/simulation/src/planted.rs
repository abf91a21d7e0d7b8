//! Proves that the simulation finds what it is for: plants a bug in a copy of the real sources, builds the copy, and expects
//! a seed to fail. The oracle knows nothing of these bugs.
//!
//! Invariant: a planted bug is a change of the real code path. When the code moves on and a change no longer applies, this
//! fails and names it.

mod bugs;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

pub use bugs::{BUGS, Bug};

/// The crates that the simulation is built from.
const CRATES: [&str; 4] = [
    "shared",
    "edge-agent/core",
    "cloud-aggregator/core",
    "tests/simulation",
];

/// Plants `bug` in a copy of `root` under `work`, builds it, plays `seeds` seeds; the first failure's line.
pub fn hunt(root: &Path, work: &Path, seeds: u64, bug: &Bug) -> Result<String> {
    let tree = work.join("tree");
    copy_sources(root, &tree)?;
    for (file, find, replace) in bug.changes {
        let path = tree.join(file);
        let text =
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let hits = text.matches(find).count();
        ensure!(
            hits == 1,
            "{file} has the text to change {hits} times, expected once: {find:?}"
        );
        fs::write(&path, text.replacen(find, replace, 1))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(&tree)
        .env("CARGO_TARGET_DIR", work.join("target"))
        .args([
            "run",
            "--quiet",
            "--package",
            "windlass-simulation",
            "--bin",
            "windlass-simulation",
            "--",
        ])
        .args(["--few", "--stop-at-failure", "--seeds", &seeds.to_string()])
        .output()
        .context("running cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text
        .lines()
        .find(|l| l.starts_with("seed ") && l.contains(" failed: "))
    {
        Some(line) => Ok(line.chars().take(220).collect()),
        None if output.status.success() => bail!("{seeds} seeds held with the bug in place"),
        None => bail!(
            "the copy does not build or run: {}",
            String::from_utf8_lossy(&output.stderr)
        ),
    }
}

/// Copies the crates, with a workspace of their own. Unchanged files keep their time, so that only what differs is built.
fn copy_sources(root: &Path, tree: &Path) -> Result<()> {
    for member in CRATES {
        copy_dir(&root.join(member), &tree.join(member))?;
    }
    copy_file(&root.join("Cargo.lock"), &tree.join("Cargo.lock"))?;
    let text = fs::read_to_string(root.join("Cargo.toml")).context("reading Cargo.toml")?;
    let (_, rest) = text
        .split_once("members = [")
        .context("Cargo.toml has no members")?;
    let (_, rest) = rest
        .split_once("\n]")
        .context("Cargo.toml's members have no end")?;
    let (rest, _) = rest.split_once("[profile.dev]").unwrap_or((rest, ""));
    let members = CRATES.map(|c| format!("{c:?}")).join(", ");
    let text = format!(
        "[workspace]\nresolver = \"3\"\nmembers = [{members}]\n{rest}\n[profile.dev]\nopt-level = 1\ndebug = false\n"
    );
    write_if_other(&tree.join("Cargo.toml"), text.as_bytes())
}

fn copy_dir(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("making {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_dir(&from, &to)?;
        } else {
            copy_file(&from, &to)?;
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> Result<()> {
    let bytes = fs::read(from).with_context(|| format!("reading {}", from.display()))?;
    write_if_other(to, &bytes)
}

fn write_if_other(to: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(to).is_ok_and(|b| b == bytes) {
        return Ok(());
    }
    fs::write(to, bytes).with_context(|| format!("writing {}", to.display()))
}
