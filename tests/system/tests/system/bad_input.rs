//! What operators, disks and strangers do to the programs: a clear error, and nothing lost.

use std::path::{Path, PathBuf};
use std::time::Duration;

use windlass_fleet::process::{Process, Program, built};

/// A program that refuses to run does so at once.
const REFUSAL_BOUND: Duration = Duration::from_secs(20);

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("a file");
        path
    }

    fn program(&self, name: &str, args: &[&str]) -> Program {
        Program {
            name: name.into(),
            path: built(name).expect("built"),
            args: args.iter().map(|a| (*a).to_owned()).collect(),
            env: Vec::new(),
            log: self.path("log"),
        }
    }

    fn edge(&self, config: &Path) -> Program {
        let config = config.to_string_lossy();
        self.program("windlass-edge", &["run", "--config", &config])
    }

    fn cloud(&self, config: &Path) -> Program {
        let config = config.to_string_lossy();
        self.program("windlass-cloud", &["run", "--config", &config])
    }
}

/// Runs to its end; gives its exit code and all it said.
fn refused(program: &Program) -> (Option<i32>, String) {
    let mut process: Process = program.start().expect("started");
    let status = process.ended(REFUSAL_BOUND).expect("it ends");
    let said = windlass_fleet::process::tail(&program.log, 100_000);
    (status.code(), said)
}

/// Everything that the message must say.
fn assert_says(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "expected `{word}` in:\n{said}");
    }
}

fn edge_config(outbox: &str, more: &str) -> String {
    let profile = windlass_fleet::spec::profiles().join("onshore-3mw.toml");
    format!(
        "source = []\n\n[gateway]\nid = \"GW1\"\n\n[[turbine]]\nid = \"T001\"\nprofile = \"{}\"\n\n[outbox]\npath = \"{outbox}\"\n\n[uplink]\nurl = \"mqtt://127.0.0.1:1\"\n\n[status]\nsocket = \"edge.sock\"\n{more}",
        profile.display()
    )
}

fn cloud_config(data: &str, broker_port: u16, http_port: u16) -> String {
    format!(
        "[data]\ndir = \"{data}\"\n\n[fleet]\nfile = \"fleet.toml\"\n\n[broker]\nlisten = \"127.0.0.1:{broker_port}\"\n\n[http]\nlisten = \"127.0.0.1:{http_port}\"\n"
    )
}

fn fleet(bench: &Bench) {
    let profile = windlass_fleet::spec::profiles().join("onshore-3mw.toml");
    let text = format!(
        "profiles = [\"{}\"]\n\n[[farm]]\nid = \"north\"\nname = \"North\"\ntimezone = \"Europe/Berlin\"\n\n[[gateway]]\nid = \"GW1\"\nfarm = \"north\"\nturbines = [\"T001\"]\n",
        profile.display()
    );
    bench.write("fleet.toml", &text);
}

#[test]
fn all_typos_in_the_agents_configuration_are_told_at_once() {
    let bench = Bench::new();
    let text = edge_config("outbox.db", "")
        .replace("[[turbine]]\nid", "[[turbine]]\nidd")
        .replace("mqtt://127.0.0.1:1", "http://somewhere")
        .replace(
            "path = \"outbox.db\"",
            "path = \"outbox.db\"\nbytes_max = \"lots\"",
        );
    let config = bench.write("edge.toml", &text);
    let (code, said) = refused(&bench.edge(&config));
    assert_eq!(code, Some(2), "{said}");
    assert_says(
        &said,
        &[
            "edge.toml",
            "idd",
            "url",
            "http://somewhere",
            "mqtt",
            "bytes_max",
            "lots",
        ],
    );
}

#[test]
fn all_typos_in_the_aggregators_configuration_are_told_at_once() {
    let bench = Bench::new();
    fleet(&bench);
    let text = cloud_config("data", 1, 2)
        .replace("[http]", "[htttp]")
        .replace("dir = \"data\"", "dir = 7")
        + "\n[process]\nsettle_wait_s = \"soon\"\n";
    let config = bench.write("cloud.toml", &text);
    let (code, said) = refused(&bench.cloud(&config));
    assert_eq!(code, Some(2), "{said}");
    assert_says(
        &said,
        &["cloud.toml", "htttp", "dir", "settle_wait_s", "soon"],
    );
}

#[test]
fn a_configuration_that_is_not_there_or_no_toml_is_named() {
    let bench = Bench::new();
    let absent = bench.path("absent.toml");
    let broken = bench.write("broken.toml", "[gateway\n");
    for program in [bench.edge(&absent), bench.cloud(&absent)] {
        let (code, said) = refused(&program);
        assert_eq!(code, Some(2), "{said}");
        assert_says(&said, &["absent.toml"]);
    }
    for program in [bench.edge(&broken), bench.cloud(&broken)] {
        let (code, said) = refused(&program);
        assert_eq!(code, Some(2), "{said}");
        assert_says(&said, &["broken.toml"]);
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let bench = Bench::new();
    fleet(&bench);
    let folder = bench.path("locked");
    std::fs::create_dir(&folder).unwrap();
    let config = bench.write("edge.toml", &edge_config("locked/outbox.db", ""));
    let (code, said) = refused(&bench.edge(&config).with_read_only(&folder));
    assert_eq!(code, Some(1), "{said}");
    assert_says(
        &said,
        &[
            "outbox",
            "locked",
            "Read-only file system",
            "expected a directory",
        ],
    );
    let config = bench.write("cloud.toml", &cloud_config("locked/data", 1, 2));
    let (code, said) = refused(&bench.cloud(&config).with_read_only(&folder));
    assert_eq!(code, Some(1), "{said}");
    assert_says(&said, &["locked"]);
}

#[test]
fn a_folder_that_is_a_file_is_named() {
    let bench = Bench::new();
    fleet(&bench);
    bench.write("file", "");
    let config = bench.write("edge.toml", &edge_config("file/outbox.db", ""));
    let (code, said) = refused(&bench.edge(&config));
    assert_eq!(code, Some(1), "{said}");
    assert_says(&said, &["outbox", "/file", "expected a directory"]);
    let config = bench.write("cloud.toml", &cloud_config("file", 1, 2));
    let (code, said) = refused(&bench.cloud(&config));
    assert_eq!(code, Some(1), "{said}");
    assert_says(&said, &["file"]);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let bench = Bench::new();
    fleet(&bench);
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let http = format!("\n[http]\nlisten = \"{address}\"\n");
    let config = bench.write("edge.toml", &edge_config("outbox.db", &http));
    let (code, said) = refused(&bench.edge(&config));
    assert_eq!(code, Some(1), "{said}");
    assert_says(&said, &[&address]);
    let free = windlass_fleet::process::free_port().unwrap();
    for (broker, http) in [(port, free), (free, port)] {
        let config = bench.write("cloud.toml", &cloud_config("data", broker, http));
        let (code, said) = refused(&bench.cloud(&config));
        assert_eq!(code, Some(1), "{said}");
        assert_says(&said, &[&address]);
    }
}

#[test]
fn a_second_agent_on_the_same_outbox_is_refused() {
    let bench = Bench::new();
    let config = bench.write("edge.toml", &edge_config("outbox.db", ""));
    let first = bench.edge(&config);
    let mut running = first.start().unwrap();
    windlass_fleet::clock::until("the outbox is there", REFUSAL_BOUND, || {
        running.check()?;
        Ok(bench.path("edge.sock").exists().then_some(()))
    })
    .unwrap();
    let (code, said) = refused(&bench.edge(&config));
    assert_eq!(code, Some(1), "{said}");
    assert_says(&said, &["outbox.db"]);
    assert!(running.terminate().unwrap().success());
}
