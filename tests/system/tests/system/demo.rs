//! The demo as a newcomer runs it: its ledger balances, every link of its report shows what it says, and nothing is left
//! behind when it ends.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use windlass_fleet::clock;
use windlass_fleet::http;
use windlass_fleet::process::{built, free_port};

/// From the start until the console is named: broker, aggregator and agents start within it.
const CONSOLE_BOUND: Duration = Duration::from_mins(2);
/// From the start until the report: traffic, backlogs, the last windows.
const REPORT_BOUND: Duration = Duration::from_mins(12);
const END_BOUND: Duration = Duration::from_mins(2);
/// Lines of the demo that wait to be looked at: far more than it says.
const LINES_MAX: usize = 10_000;

/// A demo that stays after its report, with a folder of its own for all that it writes.
struct Demo {
    child: Child,
    folder: tempfile::TempDir,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Demo {
    fn start(report: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut child = Command::new(built("windlass-fleet")?)
            .args(["demo", "--minutes", "2", "--stay", "--report"])
            .arg(report)
            .args(["--console-port", &free_port()?.to_string()])
            .env("TMPDIR", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let (send, lines) = sync_channel(LINES_MAX);
        let stderr = child.stderr.take().context("its messages")?;
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            child,
            folder,
            lines,
            said: Vec::new(),
        })
    }

    /// Waits for a line that holds `what`; `look` is asked all the time until then.
    fn says(
        &mut self,
        what: &str,
        bound: Duration,
        mut look: impl FnMut() -> Result<()>,
    ) -> Result<String> {
        let found = clock::until(what, bound, || {
            look()?;
            for line in self.lines.try_iter() {
                self.said.push(line);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the demo has ended with {status}");
            }
            Ok(self.said.iter().find(|l| l.contains(what)).cloned())
        });
        found.with_context(|| self.said.join("\n"))
    }

    /// Its end, and that neither a file nor a process is left.
    fn ends(mut self) -> Result<ExitStatus> {
        let child = &mut self.child;
        let status = clock::until("the demo ends", END_BOUND, || Ok(child.try_wait()?))?;
        let left: Vec<_> = std::fs::read_dir(self.folder.path())?.collect();
        assert!(left.is_empty(), "left in the folder: {left:?}");
        let name = self.folder.path().to_string_lossy().into_owned();
        let processes = commands_with(&name)?;
        assert!(processes.is_empty(), "left running: {processes:?}");
        Ok(status)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Its children end with it.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Command lines of this machine's processes that name the folder.
fn commands_with(folder: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Ok(bytes) = std::fs::read(entry?.path().join("cmdline")) else {
            continue;
        };
        let command = String::from_utf8_lossy(&bytes).replace('\0', " ");
        if command.contains(folder) {
            found.push(command);
        }
    }
    Ok(found)
}

/// Port and path of a link to the console.
fn split(link: &str) -> (u16, &str) {
    let rest = link.strip_prefix("http://127.0.0.1:").expect(link);
    let (port, path) = rest.split_once('/').expect(link);
    (
        port.parse().expect(link),
        &rest[rest.len() - path.len() - 1..],
    )
}

fn ask(port: u16, path: &str) -> Value {
    let answer = http::get(port, &format!("/api/v1{path}")).expect("as the demo writes it");
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    serde_json::from_str(&answer.body).expect("as the demo writes it")
}

fn list<'a>(value: &'a Value, field: &str) -> &'a Vec<Value> {
    value[field]
        .as_array()
        .unwrap_or_else(|| panic!("{field} of {value}"))
}

/// What stands behind `name=` in a link.
fn asked<'a>(link: &'a str, name: &str) -> &'a str {
    let query = link.split_once('?').expect(link).1;
    let mut pairs = query.split('&').filter_map(|p| p.split_once('='));
    pairs.find(|p| p.0 == name).expect(link).1
}

#[test]
fn every_link_of_the_demos_report_shows_its_fault_and_nothing_is_left_behind() {
    let dir = tempfile::tempdir().expect("as the demo writes it");
    let report = dir.path().join("report.json");
    let mut demo = Demo::start(&report).expect("as the demo writes it");
    let line = demo
        .says("The console: ", CONSOLE_BOUND, || Ok(()))
        .expect("as the demo writes it");
    let base = line
        .split("The console: ")
        .nth(1)
        .expect("as the demo writes it")
        .to_owned();
    let (port, _) = split(&base);
    assert_eq!(
        http::get(port, "/").expect("as the demo writes it").status,
        200
    );

    let stream_of = |port| {
        let turbines = ask(port, "/turbines");
        let items = list(&turbines, "items").iter();
        items.filter(|t| t["fresh"] == "live").count()
    };
    clock::until("the wall is alive", CONSOLE_BOUND, || {
        Ok((stream_of(port) >= 5).then_some(()))
    })
    .expect("as the demo writes it");
    // While the link is cut, one alarm says so for the whole farm.
    demo.says("the link of farm south goes silent", CONSOLE_BOUND, || {
        Ok(())
    })
    .expect("as the demo writes it");
    clock::until("an alarm of the farm", CONSOLE_BOUND, || {
        let alarms = ask(port, "/alarms");
        let mut items = list(&alarms, "items").iter();
        let south = items.any(|a| a["kind"] == "farm_link" && a["farm"] == "south");
        Ok(south.then_some(()))
    })
    .expect("as the demo writes it");

    demo.says("Enter or Ctrl-C ends it", REPORT_BOUND, || Ok(()))
        .expect("as the demo writes it");
    let text = std::fs::read_to_string(&report).expect("as the demo writes it");
    let report: Value = serde_json::from_str(&text).expect("as the demo writes it");
    assert_eq!(report["passed"], true, "{text}");
    assert_eq!(report["console"].as_str(), Some(base.as_str()));
    for field in [
        "missing_readings",
        "double_counted_readings",
        "windows_wrong",
    ] {
        assert_eq!(report[field], 0, "{field}");
    }
    check_links(&report, port);
    clock::until("the wall is alive again", CONSOLE_BOUND, || {
        Ok((stream_of(port) >= 5).then_some(()))
    })
    .expect("as the demo writes it");
    demo.child
        .stdin
        .take()
        .expect("as the demo writes it")
        .write_all(b"\n")
        .expect("as the demo writes it");
    assert!(demo.ends().expect("as the demo writes it").success());
}

/// Each link answers, and what the API says behind it is what the link is for.
fn check_links(report: &Value, port: u16) {
    let mut kinds = [0, 0, 0];
    for deed in list(report, "links") {
        let link = deed["link"].as_str().expect("as the demo writes it");
        let (of, path) = split(link);
        let page = http::get(of, path).expect("as the demo writes it");
        assert_eq!((of, page.status), (port, 200), "{link}");
        assert!(page.body.contains("<!doctype html>"), "{link}");
        let place: Vec<&str> = path.split(['/', '?']).collect();
        match place[1] {
            "turbine" => shows_an_alert(report, port, place[2], asked(link, "alert")),
            "proof" => shows_a_proof(deed, port, place[2], link),
            "platform" => {
                let counts = ask(port, "/pipeline")["counts"].clone();
                assert!(
                    counts["duplicate_records"]
                        .as_u64()
                        .expect("as the demo writes it")
                        > 0,
                    "{counts}"
                );
            }
            other => panic!("{link}: {other}"),
        }
        let kind = ["turbine", "proof", "platform"]
            .iter()
            .position(|k| *k == place[1]);
        kinds[kind.expect("as the demo writes it")] += 1;
    }
    // Three faults; two turbines cut off, an agent and the aggregator killed; two storms.
    assert_eq!(kinds, [3, 4, 2], "{}", report["links"]);
}

fn shows_an_alert(report: &Value, port: u16, turbine: &str, id: &str) {
    let fault = list(report, "faults").iter().find(|f| f["alert"] == id);
    let fault = fault.expect("a fault leads to the alert");
    let alert = ask(port, &format!("/alerts/{id}"));
    assert_eq!(alert["turbine"].as_str(), Some(turbine));
    assert_eq!(fault["turbine"], alert["turbine"]);
    assert!(
        list(fault, "channels").contains(&alert["channel"]),
        "{alert}"
    );
    assert!(
        !alert["limit"].is_null() && !alert["value"].is_null(),
        "{alert}"
    );
    let mut episodes = list(report, "episodes").iter();
    let episode = episodes.find(|e| e["episode"] == alert["episode"]);
    let episode = episode.expect("the alert's episode is in the report");
    assert_eq!(episode["fault"], fault["what"]);
    let known = ask(port, &format!("/episodes?turbine={turbine}"));
    let mut known = list(&known, "items").iter();
    let known = known
        .find(|e| e["id"] == alert["episode"])
        .expect("the episode");
    assert!(
        known["alerts"].as_u64().expect("as the demo writes it") > 0,
        "{known}"
    );
}

fn shows_a_proof(deed: &Value, port: u16, turbine: &str, link: &str) {
    let (from, to, at) = (asked(link, "from"), asked(link, "to"), asked(link, "at"));
    let coverage = ask(
        port,
        &format!("/turbines/{turbine}/coverage?from={from}&to={to}"),
    );
    let moment = ask(
        port,
        &format!("/turbines/{turbine}/at?time={at}&around=10m"),
    );
    assert!(!list(&moment, "values").is_empty(), "{link}: {moment}");
    let what = deed["what"].as_str().expect("as the demo writes it");
    let lost = what.contains("farm south") && turbine == "T002";
    let expected = if lost { "recorded_loss" } else { "exact" };
    assert_eq!(coverage["verdict"], expected, "{what}: {coverage}");
    if what.contains("agent was killed") {
        assert!(list(&coverage, "epochs").len() >= 2, "{coverage}");
    }
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind() {
    let dir = tempfile::tempdir().expect("as the demo writes it");
    let mut demo = Demo::start(&dir.path().join("report.json")).expect("as the demo writes it");
    demo.says("The console: ", CONSOLE_BOUND, || Ok(()))
        .expect("as the demo writes it");
    let name = demo.folder.path().to_string_lossy().into_owned();
    assert!(commands_with(&name).expect("as the demo writes it").len() >= 5);
    let interrupted = Command::new("kill")
        .args(["-INT", &demo.child.id().to_string()])
        .status()
        .expect("as the demo writes it");
    assert!(interrupted.success());
    assert!(!demo.ends().expect("as the demo writes it").success());
}
