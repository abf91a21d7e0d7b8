//! A real Mosquitto with TLS, client certificates, and topics bound to the certificate's common name.
//!
//! Invariant: the configuration is the one that the documentation recommends for the field, except for its ports and
//! paths; sessions are saved at every change, so that a killed broker comes back with them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::clock;
use crate::pki::{Authority, Identity, Use};
use crate::process::{Process, Program, free_port, installed};

/// How long it may take to listen.
const START_BOUND: Duration = Duration::from_secs(20);

/// Common name of the cloud's ingest.
pub const INGEST: &str = "windlass-ingest";

/// A broker of its own.
pub struct Mosquitto {
    program: Program,
    process: Process,
    port: u16,
}

impl Mosquitto {
    /// Starts one in `dir`, with a server certificate of `authority`.
    pub fn start(dir: &Path, authority: &Authority) -> Result<Self> {
        let dir = dir.join("mosquitto");
        std::fs::create_dir_all(&dir)?;
        let server = authority.issue("localhost", Use::Server)?;
        let port = free_port()?;
        let conf = configure(&dir, port, &server)?;
        let program = Program {
            name: "mosquitto".into(),
            path: installed("mosquitto")?,
            args: vec!["-c".into(), conf.to_string_lossy().into_owned()],
            env: Vec::new(),
            log: dir.join("mosquitto.log"),
        };
        let mut process = program.start()?;
        listens(port, &mut process)?;
        Ok(Self {
            program,
            process,
            port,
        })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        let running = self.process.kill()?;
        anyhow::ensure!(running, "mosquitto had ended:\n{}", self.log_tail());
        Ok(())
    }

    /// A new start with what it had saved.
    pub fn restart(&mut self) -> Result<()> {
        self.process = self.program.start()?;
        listens(self.port, &mut self.process)
    }

    /// What it logged last.
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }
}

/// Waits until something accepts connections on `port`, as long as `process` lives.
pub fn listens(port: u16, process: &mut Process) -> Result<()> {
    let what = format!("something listens on port {port}");
    clock::until(&what, START_BOUND, || {
        process.check()?;
        Ok(std::net::TcpStream::connect(("127.0.0.1", port)).ok())
    })?;
    Ok(())
}

fn configure(dir: &Path, port: u16, server: &Identity) -> Result<PathBuf> {
    let acl = dir.join("acl");
    // `%u` is the certificate's common name: a gateway writes its own topics only, and reads its own downlink only.
    let rules = format!(
        "pattern write wl1/up/%u/#\npattern read wl1/down/%u\n\nuser {INGEST}\ntopic read wl1/up/#\ntopic write wl1/down/#\n"
    );
    std::fs::write(&acl, rules).context("acl")?;
    let conf = dir.join("mosquitto.conf");
    let user = if rustix::process::geteuid().is_root() {
        "user root\n"
    } else {
        ""
    };
    let text = format!(
        "{user}per_listener_settings false
listener {port} 127.0.0.1
allow_anonymous false
cafile {ca}
certfile {cert}
keyfile {key}
require_certificate true
use_identity_as_username true
acl_file {acl}
persistence true
persistence_location {dir}/
autosave_on_changes true
autosave_interval 1
max_inflight_messages 256
max_queued_messages 100000
max_packet_size 300000
connection_messages true
log_dest stdout
",
        ca = server.ca.display(),
        cert = server.cert.display(),
        key = server.key.display(),
        acl = acl.display(),
        dir = dir.display(),
    );
    std::fs::write(&conf, text).context("mosquitto.conf")?;
    Ok(conf)
}
