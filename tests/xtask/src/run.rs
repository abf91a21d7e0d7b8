//! Running cargo and what it built.
//!
//! Invariant: every child is waited for; it shares the terminal's process group, so that an interrupt reaches it too.

use std::os::unix::process::CommandExt;
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

/// Runs a binary that [`binaries`] has built. Not through `cargo run --package`, which would build it and much of what it
/// depends on again with other features.
pub fn built(binary: &str, profile: &str, args: &[&str]) -> Result<bool> {
    succeeds(of_workspace(binary, profile, args)?)
}

/// Becomes a binary that [`binaries`] has built: an interrupt from the terminal is then its own to answer. Comes back only
/// to fail.
pub fn become_built(binary: &str, profile: &str, args: &[&str]) -> Result<bool> {
    let mut command = of_workspace(binary, profile, args)?;
    let error = command.exec();
    Err(error).with_context(|| format!("could not run {}", command.get_program().display()))
}

fn of_workspace(binary: &str, profile: &str, args: &[&str]) -> Result<Command> {
    let folder = if profile == "dev" { "debug" } else { profile };
    let own = std::env::current_exe().context("where this program is")?;
    let target = own.parent().and_then(Path::parent);
    let target = target.with_context(|| format!("{} is in no target folder", own.display()))?;
    let mut command = Command::new(target.join(folder).join(binary));
    command.args(args);
    Ok(command)
}
