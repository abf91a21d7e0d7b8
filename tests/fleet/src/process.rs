//! A child process under test.
//!
//! Invariants: the kernel kills it when the thread that started it ends (so a killed test leaves nothing behind); it is
//! killed and waited for when its handle is dropped; what it says goes to one log file over all its lives.

use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::{clock, own_clock};

/// How long a process may take to end after SIGTERM.
const TERM_BOUND: Duration = Duration::from_secs(30);
/// How much of the log's end an error quotes, bytes.
const LOG_TAIL_BYTES: usize = 2_000;

/// What to start, and how often one likes.
#[derive(Clone, Debug)]
pub struct Program {
    /// For messages.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// Arguments.
    pub args: Vec<String>,
    /// Environment on top of our own.
    pub env: Vec<(String, String)>,
    /// Where its output is appended.
    pub log: PathBuf,
}

/// A running (or ended) child.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// The same, but `dir` is a file system in memory of `bytes` that it alone sees.
    #[must_use]
    pub fn with_disk(self, dir: &Path, bytes: u64) -> Self {
        let mount = format!("mount -t tmpfs -o size={bytes} tmpfs '{}'", dir.display());
        self.within(&mount)
    }

    /// The same, but `dir` cannot be written, not even by root.
    #[must_use]
    pub fn with_read_only(self, dir: &Path) -> Self {
        let dir = dir.display();
        let mount = format!("mount --bind '{dir}' '{dir}' && mount -o remount,bind,ro '{dir}'");
        self.within(&mount)
    }

    /// The same on a machine that booted when ours had been up for as many seconds as `file` says at the start: in a time
    /// namespace of its own.
    #[must_use]
    pub fn with_boot(self, file: &Path) -> Self {
        let user = if rustix::process::geteuid().is_root() {
            ""
        } else {
            "--map-root-user "
        };
        let script = format!(
            "exec unshare {user}--time --boottime \"-$(cat '{}')\" setpriv --pdeathsig KILL -- \"$@\"",
            file.display()
        );
        let mut args = vec!["-c".to_owned(), script, "sh".to_owned()];
        args.push(self.path.to_string_lossy().into_owned());
        args.extend(self.args);
        Self {
            path: "/bin/sh".into(),
            args,
            ..self
        }
    }

    /// The same, in a mount namespace of its own, after `mount`.
    fn within(self, mount: &str) -> Self {
        let mut args = vec!["--mount".to_owned()];
        if !rustix::process::geteuid().is_root() {
            args.push("--map-root-user".to_owned());
        }
        args.extend(["sh".to_owned(), "-c".to_owned()]);
        // A change of rights ends the tie to the parent's life: it is made again inside.
        args.push(format!(
            "{mount} && exec setpriv --pdeathsig KILL -- \"$@\""
        ));
        args.push("sh".to_owned());
        args.push(self.path.to_string_lossy().into_owned());
        args.extend(self.args);
        Self {
            path: "unshare".into(),
            args,
            ..self
        }
    }

    /// Starts it.
    pub fn start(&self) -> Result<Process> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("could not open {}", self.log.display()))?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&self.path)
            .args(&self.args)
            .envs(self.env.iter().map(|(k, v)| (k, v)))
            // An interrupt from the terminal is for us: we end the children in our own order.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("log handle")?)
            .stderr(log);
        let child = command
            .spawn()
            .with_context(|| format!("could not start {} (setpriv is needed)", self.name))?;
        Ok(Process {
            name: self.name.clone(),
            child,
            log: self.log.clone(),
        })
    }
}

impl Process {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails, quoting its log, if it has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => anyhow::bail!(
                "{} has ended with {status}; its log ends with:\n{}",
                self.name,
                self.log_tail()
            ),
        }
    }

    /// SIGKILL, and waits until it is gone. True if it was still running.
    pub fn kill(&mut self) -> Result<bool> {
        let running = self.child.try_wait()?.is_none();
        if running {
            self.child.kill()?;
            self.child.wait()?;
        }
        Ok(running)
    }

    /// SIGSTOP: it does nothing until it is killed.
    pub fn pause(&mut self) -> Result<()> {
        let pid = Pid::from_raw(self.id() as i32).context("process id")?;
        Ok(kill_process(pid, Signal::STOP)?)
    }

    /// SIGTERM, and waits for the end it makes of itself.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        if self.child.try_wait()?.is_none() {
            let pid = Pid::from_raw(self.id() as i32).context("process id")?;
            kill_process(pid, Signal::TERM)?;
        }
        self.ended(TERM_BOUND)
    }

    /// Waits for it to end by itself.
    pub fn ended(&mut self, bound: Duration) -> Result<ExitStatus> {
        let what = format!("{} ends", self.name);
        let child = &mut self.child;
        clock::until(&what, bound, || Ok(child.try_wait()?))
    }

    /// The end of what it said.
    pub fn log_tail(&self) -> String {
        tail(&self.log, LOG_TAIL_BYTES)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("could not kill {}: {error:#}", self.name);
        }
        own_clock::clear(self.id());
    }
}

/// The last `bytes` of a file, or why they cannot be read.
pub fn tail(path: &Path, bytes: usize) -> String {
    match std::fs::read(path) {
        Ok(all) => String::from_utf8_lossy(&all[all.len().saturating_sub(bytes)..]).into_owned(),
        Err(error) => format!("({}: {error})", path.display()),
    }
}

/// A binary of the workspace: it lies in the target folder, where our own executable is or one above.
pub fn built(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("our own path")?;
    let found = own
        .ancestors()
        .skip(1)
        .take(2)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file());
    found.with_context(|| {
        format!(
            "no {name} beside {}: run `cargo build --workspace --bins` (`cargo xtask` does)",
            own.display()
        )
    })
}

/// A program of the machine, from the path or the system folders.
pub fn installed(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
        .with_context(|| format!("no {name} on this machine: run `cargo xtask setup`"))
}

/// A TCP port of the loopback interface that was free a moment ago.
pub fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(dir: &Path, script: &str) -> Program {
        Program {
            name: "shell".into(),
            path: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            env: vec![("WHAT".into(), "tea".into())],
            log: dir.join("log"),
        }
    }

    #[test]
    fn a_process_is_killed_terminated_and_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let endless = shell(dir.path(), "echo $WHAT; exec tail -f /dev/null");
        let mut one = endless.start().unwrap();
        let said = clock::until("it speaks", Duration::from_secs(10), || {
            Ok(one.log_tail().contains("tea").then_some(()))
        });
        said.unwrap();
        one.check().unwrap();
        assert!(one.kill().unwrap());
        assert!(!one.kill().unwrap());
        assert!(one.check().unwrap_err().to_string().contains("tea"));
        let mut two = endless.start().unwrap();
        assert!(!two.terminate().unwrap().success());
        let three = endless.start().unwrap();
        let proc = format!("/proc/{}", three.id());
        assert!(Path::new(&proc).exists());
        drop(three);
        assert!(!Path::new(&proc).exists());
        let mut four = shell(dir.path(), "exit 3").start().unwrap();
        let code = four.ended(Duration::from_secs(10)).unwrap().code();
        assert_eq!(code, Some(3));
    }
}
