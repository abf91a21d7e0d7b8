//! The schema-driven tester of the HTTP API: Schemathesis, from `PyPI`, in an environment of its own inside the target folder.
//!
//! Invariants: what is installed is what `tests/system/schemathesis.txt` pins; an environment that is as pinned is not made
//! again; one that was not finished has no stamp, and is.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{run, setup};

/// The pins: packages with their versions.
const PINS: &str = include_str!("../../system/schemathesis.txt");
/// The environment's folder beside the profiles' folders; the test looks for it there.
const FOLDER: &str = "schemathesis";

/// Makes the environment unless it is there.
pub fn ensure() -> Result<()> {
    let own = std::env::current_exe().context("where this program is")?;
    let target = own.parent().and_then(Path::parent);
    let folder = target.context("the target folder")?.join(FOLDER);
    let stamp = folder.join("pins.txt");
    if std::fs::read_to_string(&stamp).unwrap_or_default() == PINS {
        return Ok(());
    }
    if std::env::var_os("WINDLASS_OFFLINE").is_some() {
        bail!(
            "{} is missing or old: run `cargo xtask setup` with a network",
            folder.display()
        );
    }
    eprintln!("== schemathesis: an environment in {}", folder.display());
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    let python = setup::find("python3").context("python3 is missing")?;
    let mut venv = Command::new(python);
    venv.args(["-m", "venv"]).arg(&folder);
    ensure!(run::succeeds(venv)?, "python3 -m venv failed");
    let pins = folder.join("pins.new");
    std::fs::write(&pins, PINS).with_context(|| pins.display().to_string())?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps"])
        .args(["--disable-pip-version-check", "--requirement"])
        .arg(&pins);
    ensure!(
        run::succeeds(pip)?,
        "pip could not install the pinned packages"
    );
    std::fs::rename(&pins, &stamp).with_context(|| stamp.display().to_string())
}
