//! The binary itself: exit codes, messages, SIGTERM.

mod rig;

use std::io::Read;
use std::process::{Child, Command, Output, Stdio};

use rig::{Site, wait_for};

fn windlass(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_windlass-cloud"))
        .args(args)
        .output()
        .expect("it starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn start(site: &Site) -> Child {
    let path = site.path();
    Command::new(env!("CARGO_BIN_EXE_windlass-cloud"))
        .args(["run", "--config"])
        .arg(&path)
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts")
}

/// Sends SIGTERM and answers the exit code and what it wrote.
fn terminate(mut child: Child) -> (Option<i32>, String) {
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signal");
    let mut text = String::new();
    child
        .stderr
        .take()
        .expect("piped")
        .read_to_string(&mut text)
        .expect("read");
    (child.wait().expect("ends").code(), text)
}

#[test]
fn it_runs_is_seen_and_stops_cleanly() {
    let site = Site::new();
    let child = start(&site);
    let path = site.path();
    let path = path.to_str().expect("text");
    wait_for("the status store", || {
        site.data().join("status.db").exists()
    });
    wait_for("ticks in the log", || {
        let out = windlass(&["status", "--json", "--config", path]);
        serde_json::from_slice::<serde_json::Value>(&out.stdout).is_ok_and(|v| {
            let partitions = v["partitions"].as_array().cloned().unwrap_or_default();
            partitions
                .iter()
                .filter(|p| p["topic"] == "telemetry")
                .all(|p| {
                    let groups = p["groups"].as_array().cloned().unwrap_or_default();
                    let process = groups.iter().find(|g| g["group"] == "process");
                    process.is_some_and(|g| g["next"].as_u64() > Some(1))
                })
        })
    });
    let (code, text) = terminate(child);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("told to stop"), "{text}");
    let again = start(&site);
    wait_for("the second run", || {
        std::net::TcpStream::connect(("127.0.0.1", site.http)).is_ok()
    });
    // two owners of one log
    let second = windlass(&["run", "--config", path]);
    assert_eq!(second.status.code(), Some(1));
    assert!(
        stderr(&second).contains("another windlass-cloud is using it"),
        "{}",
        stderr(&second)
    );
    let (code, text) = terminate(again);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("partition recovered"), "{text}");
    let listed = windlass(&["deadletter", "--config", path, "list"]);
    assert_eq!(listed.status.code(), Some(0), "{}", stderr(&listed));
    let shown = windlass(&["deadletter", "--config", path, "show", "3"]);
    assert_eq!(shown.status.code(), Some(1));
    assert!(
        stderr(&shown).contains("there is no dead letter 3"),
        "{}",
        stderr(&shown)
    );
}

#[test]
fn a_wrong_configuration_says_everything_at_once_with_code_2() {
    let site = Site::with("[logs]\npartitions = 1\n[process]\nsnapshot_every_s = \"often\"\n");
    let out = windlass(&["run", "--config", site.path().to_str().expect("text")]);
    assert_eq!(out.status.code(), Some(2));
    let text = stderr(&out);
    assert!(text.contains("2 mistakes"), "{text}");
    assert!(text.contains("logs: found an unknown key"), "{text}");
    assert!(text.contains("did you mean `log`?"), "{text}");
    assert!(
        text.contains("process.snapshot_every_s: found \"often\""),
        "{text}"
    );
}

#[test]
fn a_taken_port_a_missing_file_and_a_read_only_directory_are_named() {
    let site = Site::new();
    let path = site.path();
    let path = path.to_str().expect("text");
    let taken = std::net::TcpListener::bind(("127.0.0.1", site.broker)).expect("bind");
    let out = windlass(&["run", "--config", path]);
    assert_eq!(out.status.code(), Some(1));
    let want = format!("broker.listen = \"127.0.0.1:{}\"", site.broker);
    assert!(stderr(&out).contains(&want), "{}", stderr(&out));
    drop(taken);
    std::fs::remove_file(site.dir.path().join("fleet.toml")).expect("remove");
    let out = windlass(&["run", "--config", path]);
    assert_eq!(out.status.code(), Some(2));
    assert!(stderr(&out).contains("fleet.toml"), "{}", stderr(&out));
    let site = Site::new();
    std::fs::write(site.data(), b"a file where the directory should be").expect("write");
    let out = windlass(&["run", "--config", site.path().to_str().expect("text")]);
    assert_eq!(out.status.code(), Some(1));
    assert!(stderr(&out).contains("data.dir = "), "{}", stderr(&out));
}
