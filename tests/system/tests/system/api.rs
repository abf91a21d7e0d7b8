//! The HTTP API against its own description: a schema-driven tester asks a real service that has data of every kind.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use windlass_fleet::mqtt::Peer;
use windlass_fleet::process::{built, free_port};
use windlass_fleet::rig::{BrokerKind, Rig};
use windlass_fleet::spec::{Cloud, Gateway, Turbine};
use windlass_fleet::{calendar, clock};

/// Until there is something of every kind: the first minute's windows have to settle.
const DATA_BOUND: Duration = Duration::from_mins(3);
const HOUR_US: i64 = 3_600_000_000;
const REQUEST_BOUND: Duration = Duration::from_secs(30);
/// The tester draws the same requests every time.
const SEED: &str = "20261121";

/// Whatever the power is, it is too high.
const ALWAYS: &str = "version = 1\n[[threshold]]\nid = \"any\"\ncause = \"test\"\nchannel = \"active_power\"\n\
                      on = \"readings\"\npersistence = 1\nwarning_high = -100000.0\n";

/// Two simulated turbines, a console, and a message that nobody can read.
fn site() -> Result<(Rig, u16)> {
    let turbines = ["T001", "T002"].map(|t| Turbine::new(t, "onshore-3mw"));
    let gateway = Gateway::new("GW1", "north", turbines.to_vec()).with_simulators(1);
    let cloud = Cloud {
        detectors: Some(ALWAYS.to_owned()),
        ..Cloud::default()
    };
    let mut rig = Rig::new(vec![gateway], &cloud, BrokerKind::Embedded)?;
    let port = free_port()?;
    let config = std::fs::read_to_string(rig.cloud_config())?;
    let console = format!("\n[console]\nlisten = \"127.0.0.1:{port}\"\n");
    std::fs::write(rig.cloud_config(), config + &console)?;
    rig.start()?;
    rig.all_seen()?;
    let mut peer = Peer::connect(rig.broker_port(), "stranger", None)?;
    peer.publish_all([("wl1/up/GW1/nonsense".to_owned(), b"?".to_vec())])?;
    Ok((rig, port))
}

fn get(port: u16, path: &str) -> Result<Value> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(REQUEST_BOUND))?;
    write!(
        stream,
        "GET /api/v1{path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no head")?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    serde_json::from_str(body).with_context(|| format!("{path}: {answer}"))
}

fn some(list: &Value) -> bool {
    list["items"]
        .as_array()
        .is_some_and(|items| !items.is_empty())
}

/// An hour ago and in an hour.
fn hours() -> (String, String) {
    let now = clock::wall().0;
    let time = |us: i64| calendar::text(us).replace(' ', "T") + "Z";
    (time(now - HOUR_US), time(now + HOUR_US))
}

/// Waits until every list has something in it.
fn data(rig: &mut Rig, port: u16) -> Result<()> {
    let (from, to) = hours();
    let windows =
        format!("/turbines/T001/windows?channels=active_power&window=1m&from={from}&to={to}");
    clock::until("data of every kind", DATA_BOUND, || {
        rig.check()?;
        let lists = ["/alerts", "/episodes", "/dead-letters"];
        let mut all = !get(port, "/pipeline")?["lake"]["last_cut"].is_null();
        for path in lists.into_iter().chain([windows.as_str()]) {
            all = all && some(&get(port, path)?);
        }
        Ok(all.then_some(()))
    })
}

/// The tester in the target folder.
fn tester() -> Result<PathBuf> {
    let cloud = built("windlass-cloud")?;
    let target = cloud.ancestors().nth(2).context("the target folder")?;
    let tester = target.join("schemathesis/bin/schemathesis");
    ensure!(
        tester.is_file(),
        "no {}: run `cargo xtask setup`",
        tester.display()
    );
    Ok(tester)
}

#[test]
fn the_api_is_as_its_description_says() {
    let tester = tester().unwrap();
    let (mut rig, port) = site().unwrap();
    data(&mut rig, port).unwrap();
    let (begin, end) = hours();
    let text = include_str!("../../schemathesis.toml");
    let text = text.replace("\"BEGIN\"", &format!("\"{begin}\""));
    let text = text.replace("\"END\"", &format!("\"{end}\""));
    let config = rig.root().join("schemathesis.toml");
    std::fs::write(&config, text).unwrap();
    let out = Command::new(tester)
        .arg("--config-file")
        .arg(&config)
        .args(["--no-color", "run"])
        .arg(format!("http://127.0.0.1:{port}/api/v1/openapi.json"))
        .args(["--checks", "all", "--seed", SEED, "--request-timeout", "30"])
        // its answer has no end; tests/console asks for it
        .args(["--exclude-path", "/api/v1/live"])
        .current_dir(rig.root())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{said}\n{errors}");
    assert!(said.contains("Tested: 18"), "{said}");
    rig.check().unwrap();
    get(port, "/farms").unwrap();
    let log = rig.cloud_log_tail();
    assert!(!log.contains("panicked"), "{log}");
    rig.stop_cloud().unwrap();
}
