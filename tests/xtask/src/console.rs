//! The operations console: built with npm before the service is, because the service carries it in its binary.
//!
//! Invariants: what is unchanged is not built again (the stamp is a hash over every source); what npm installs is what the
//! lock file names; a failed build leaves no stamp.

use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{run, setup};

/// Oldest major version of node that builds it.
const NODE_MIN: u32 = 18;

/// The console's folder.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cloud-aggregator/console")
}

/// Installs, checks types and builds into `dist`, unless nothing changed since the last time.
pub fn build() -> Result<()> {
    setup::ensure(setup::FOR_CONSOLE)?;
    let dir = folder();
    let stamp = dir.join("build/stamp");
    let now = sources(&dir)?;
    let before = std::fs::read_to_string(&stamp).unwrap_or_default();
    let built = ["dist/index.html", "node_modules/.package-lock.json"];
    if before == now && built.iter().all(|file| dir.join(file).is_file()) {
        return Ok(());
    }
    node_is_recent()?;
    eprintln!("== console: npm ci, types, build");
    if stamp.exists() {
        std::fs::remove_file(&stamp).with_context(|| stamp.display().to_string())?;
    }
    npm(&["ci", "--no-fund", "--no-audit", "--loglevel=error"])?;
    npm(&["run", "--silent", "check"])?;
    npm(&["run", "--silent", "build"])?;
    std::fs::create_dir_all(dir.join("build"))?;
    std::fs::write(&stamp, now).with_context(|| stamp.display().to_string())
}

/// A script of the console's `package.json`; its output counts tests as cargo's does.
pub fn script(name: &str) -> Command {
    let mut command = Command::new("npm");
    command
        .args(["run", "--silent", name])
        .current_dir(folder());
    command
}

/// The console in a real browser, before the service with a small fleet: the programs that were built beside this one.
pub fn browser_tests() -> Result<Command> {
    let own = std::env::current_exe().context("where this program is")?;
    let mut command = script("test:browser");
    command.env("WINDLASS_BIN", own.parent().context("its folder")?);
    Ok(command)
}

fn npm(args: &[&str]) -> Result<()> {
    let mut command = Command::new("npm");
    command.args(args).current_dir(folder());
    ensure!(
        run::succeeds(command)?,
        "npm {} failed in cloud-aggregator/console",
        args.join(" ")
    );
    Ok(())
}

fn node_is_recent() -> Result<()> {
    let out = Command::new("node")
        .arg("--version")
        .output()
        .context("could not run node")?;
    let text = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    ensure!(
        major(&text).is_some_and(|n| n >= NODE_MIN),
        "node is {text}: expected version {NODE_MIN} or later to build the console; install it from your distribution or nodejs.org"
    );
    Ok(())
}

/// 18 of `v18.19.0`.
fn major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

/// A hash over the path and the bytes of every source, in the order of their paths.
fn sources(dir: &Path) -> Result<String> {
    let mut files = Vec::new();
    list(dir, &mut files)?;
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in &files {
        let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
        let name = file.strip_prefix(dir).unwrap_or(file);
        hasher.write(name.as_os_str().as_encoded_bytes());
        hasher.write_usize(bytes.len());
        hasher.write(&bytes);
    }
    Ok(format!("{:016x}\n", hasher.finish()))
}

/// Every file but those that a build makes.
fn list(dir: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name();
        if ["node_modules", "dist", "build"].iter().any(|n| name == *n) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            list(&entry.path(), into)?;
        } else {
            into.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{folder, major, sources};

    #[test]
    fn versions_of_node_are_read() {
        assert_eq!(major("v18.19.0"), Some(18));
        assert_eq!(major("v22.1.0-nightly"), Some(22));
        assert_eq!(major("18"), None);
    }

    #[test]
    fn the_hash_follows_the_sources_and_nothing_else() {
        let dir = std::env::temp_dir().join(format!("windlass-console-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("src")).unwrap();
        std::fs::create_dir_all(dir.join("dist")).unwrap();
        std::fs::write(dir.join("src/a.ts"), "1").unwrap();
        let first = sources(&dir).unwrap();
        std::fs::write(dir.join("dist/a.js"), "1").unwrap();
        assert_eq!(sources(&dir).unwrap(), first);
        std::fs::write(dir.join("src/a.ts"), "2").unwrap();
        assert_ne!(sources(&dir).unwrap(), first);
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(sources(&folder()).unwrap(), sources(&folder()).unwrap());
    }

    #[test]
    fn the_lock_file_names_no_download_address() {
        let lock = std::fs::read_to_string(folder().join("package-lock.json")).unwrap();
        assert!(lock.contains("\"integrity\""));
        assert!(!lock.contains("\"resolved\""));
    }
}
