//! What the role tests share: a small fleet on disk, made-up records, and waiting for a condition.
#![allow(dead_code, clippy::disallowed_methods)] // each test uses a part; tests wait by the wall clock

pub mod gateway;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use windlass_cloud::bench::load::Load;
use windlass_cloud::bench::profile;
use windlass_cloud::config::Config;
use windlass_shared::id::{Epoch, TurbineId};
use windlass_shared::time::{EventTime, SECOND_US};

/// Generous: a shared machine may be busy.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// Wall time that made-up readings are at.
pub const START: EventTime = EventTime(1_790_000_000 * SECOND_US);

pub const PROFILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../hardware/profiles/onshore-3mw.toml"
);

/// Polls until `done` says so.
pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < DEADLINE, "waited in vain for: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A port that nobody listens on just now.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// A directory with configuration files: gateway GW1 serves T1 and T2, GW2 serves T3.
pub struct Site {
    pub dir: tempfile::TempDir,
    pub broker: u16,
    pub http: u16,
}

impl Site {
    pub fn new() -> Self {
        Self::with("")
    }

    /// `more`: further lines of the configuration.
    pub fn with(more: &str) -> Self {
        let site = Self {
            dir: tempfile::tempdir().expect("a directory"),
            broker: free_port(),
            http: free_port(),
        };
        let fleet = format!(
            "profiles = [\"{PROFILE}\"]\n\
             [[farm]]\nid = \"F1\"\nname = \"One\"\ntimezone = \"Europe/Berlin\"\n\
             [[gateway]]\nid = \"GW1\"\nfarm = \"F1\"\nturbines = [\"T1\", \"T2\"]\n\
             [[gateway]]\nid = \"GW2\"\nfarm = \"F1\"\nturbines = [\"T3\"]\n"
        );
        let config = format!(
            "data = {{ dir = \"data\" }}\nfleet = {{ file = \"fleet.toml\" }}\nlog = {{ partitions = 2 }}\n\
             broker = {{ listen = \"127.0.0.1:{}\" }}\nhttp = {{ listen = \"127.0.0.1:{}\" }}\n{more}",
            site.broker, site.http
        );
        std::fs::write(site.dir.path().join("fleet.toml"), fleet).expect("write");
        std::fs::write(site.path(), config).expect("write");
        site
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("windlass-cloud.toml")
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn config(&self) -> Config {
        Config::load(&self.path()).expect("a good configuration")
    }
}

pub fn turbine(name: &str) -> TurbineId {
    TurbineId::new(name).expect("a name")
}

/// A run of a turbine's gateway.
pub fn load(name: &str, epoch: u8, start: EventTime) -> Load {
    let catalogue = Arc::new(profile().expect("the profile"));
    Load::new(catalogue, turbine(name), Epoch([epoch; 16]), start)
}

/// Copies the files of a directory, one level deep.
pub fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("a type").is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copy");
        }
    }
}

/// That long ago.
pub fn minutes_before(minutes: i64) -> EventTime {
    let now = windlass_cloud::clock::Clock::start().wall();
    EventTime(now.0).plus_us(-minutes * 60 * SECOND_US)
}
