//! Running cargo and what it built.
//!
//! Invariant: every child is waited for; it shares the terminal's process group, so that an interrupt reaches it too.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

/// `cargo` as it was called, in the workspace's root.
pub fn cargo(args: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
    command
}

/// Runs to the end; true when it succeeded.
pub fn succeeds(mut command: Command) -> Result<bool> {
    let status = command
        .status()
        .with_context(|| format!("could not run {}", command.get_program().display()))?;
    Ok(status.success())
}

/// Builds all binaries of the workspace: the ones under test are started by name from the target folder.
pub fn binaries(profile: &str) -> Result<()> {
    let args = ["build", "--workspace", "--bins", "--profile", profile];
    anyhow::ensure!(succeeds(cargo(&args))?, "the build failed");
    Ok(())
}

/// Runs a binary of the workspace.
pub fn built(binary: &str, profile: &str, args: &[&str]) -> Result<bool> {
    let mut all = vec!["run", "--quiet", "--profile", profile, "--package", binary];
    all.extend(["--bin", binary, "--"]);
    all.extend(args);
    succeeds(cargo(&all))
}
