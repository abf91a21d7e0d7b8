//! What the machine must have, and how it gets it.
//!
//! Invariants: nothing is installed that is there; nothing that is installed is started; without the right to install,
//! the one line to run is named and the command fails.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A program that is needed.
pub struct Need {
    /// Its name, looked for in the path and the system folders.
    program: &'static str,
    /// Arguments with which it must succeed, where being there is not enough.
    check: &'static [&'static str],
    /// The Debian packages that bring it.
    packages: &'static [&'static str],
    /// What for.
    reason: &'static str,
}

/// To build.
pub const FOR_BUILD: &[Need] = &[
    Need {
        program: "cc",
        check: &[],
        packages: &["gcc", "libc6-dev"],
        reason: "SQLite, zstd and ring are compiled from C",
    },
    Need {
        program: "setpriv",
        check: &[],
        packages: &["util-linux"],
        reason: "ties a started process to the life of the one that started it",
    },
];

/// To build the console.
pub const FOR_CONSOLE: &[Need] = &[
    Need {
        program: "node",
        check: &[],
        packages: &["nodejs"],
        reason: "builds the console",
    },
    Need {
        program: "npm",
        check: &[],
        packages: &["npm"],
        reason: "installs what the console is built with, as its lock file names it",
    },
];

/// To test.
pub const FOR_TESTS: &[Need] = &[
    Need {
        program: "cc",
        check: &[],
        packages: &["gcc", "libc6-dev"],
        reason: "SQLite, zstd and ring are compiled from C",
    },
    Need {
        program: "setpriv",
        check: &[],
        packages: &["util-linux"],
        reason: "ties a started process to the life of the one that started it",
    },
    Need {
        program: "nsenter",
        check: &[],
        packages: &["util-linux"],
        reason: "gives a test a small disk of its own",
    },
    Need {
        program: "mosquitto",
        check: &[],
        packages: &["mosquitto"],
        reason: "the tests need a real broker with certificates",
    },
    Need {
        program: "faketime",
        check: &[],
        packages: &["faketime"],
        reason: "a gateway's wall clock is set and stepped in the tests",
    },
    Need {
        program: "chromium",
        check: &[],
        packages: &["chromium"],
        reason: "the console is tested in a real browser",
    },
    Need {
        program: "python3",
        check: &["-m", "ensurepip", "--version"],
        packages: &["python3", "python3-venv"],
        reason: "runs the tester of the HTTP API, which is installed from PyPI",
    },
    Need {
        program: "git",
        check: &[],
        packages: &["git"],
        reason: "the repository's rules apply to what git tracks",
    },
];

impl Need {
    fn is_met(&self) -> bool {
        let Some(program) = find(self.program) else {
            return false;
        };
        self.check.is_empty()
            || Command::new(program)
                .args(self.check)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|s| s.success())
    }
}

/// Installs what is missing.
pub fn ensure(needs: &[Need]) -> Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|n| !n.is_met()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().flat_map(|n| n.packages).copied().collect();
    packages.sort_unstable();
    packages.dedup();
    let list = packages.join(" ");
    for need in &missing {
        eprintln!("missing: {} ({})", need.program, need.reason);
    }
    let line = format!("apt-get install --yes --no-install-recommends {list}");
    let may =
        rustix::process::geteuid().is_root() && std::env::var_os("WINDLASS_OFFLINE").is_none();
    if !may || find("apt-get").is_none() {
        bail!("install what is missing, for example with: sudo {line}");
    }
    eprintln!("installing: {line}");
    install(&packages)?;
    match needs.iter().find(|n| !n.is_met()) {
        None => Ok(()),
        Some(need) => bail!(
            "{} is still missing after installing {list}: install it by hand",
            need.program
        ),
    }
}

/// Where a program is; servers live in `sbin`, which is not in everyone's path.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into(), "/usr/local/sbin".into()])
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

fn install(packages: &[&str]) -> Result<()> {
    let guard = NoServices::new()?;
    // The lists may be old or absent: try at once, refresh them only if that fails.
    let first = apt(&["install"], packages)?;
    if !first {
        if !apt(&["update"], &[])? {
            bail!("apt-get update failed: is there a network?");
        }
        if !apt(&["install"], packages)? {
            bail!("apt-get could not install {}", packages.join(" "));
        }
    }
    drop(guard);
    Ok(())
}

fn apt(verb: &[&str], packages: &[&str]) -> Result<bool> {
    let status = Command::new("apt-get")
        .args(["--yes", "--quiet", "-o", "DPkg::Lock::Timeout=120"])
        .args(verb)
        .args((!packages.is_empty()).then_some("--no-install-recommends"))
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("could not run apt-get")?;
    Ok(status.success())
}

/// While it lives, a package that brings a service does not start it (the policy file that `invoke-rc.d` asks).
struct NoServices {
    written: bool,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

impl NoServices {
    fn new() -> Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        if Path::new(POLICY).exists() {
            return Ok(Self { written: false });
        }
        std::fs::write(POLICY, "#!/bin/sh\nexit 101\n").context(POLICY)?;
        std::fs::set_permissions(POLICY, std::fs::Permissions::from_mode(0o755)).context(POLICY)?;
        Ok(Self { written: true })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.written
            && let Err(error) = std::fs::remove_file(POLICY)
        {
            eprintln!("could not remove {POLICY}: {error}; remove it by hand");
        }
    }
}
