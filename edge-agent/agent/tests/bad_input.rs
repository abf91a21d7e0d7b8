//! What an operator gets wrong, and what the agent says: the exit code and the line on standard error.

#![allow(clippy::unwrap_used)] // a test ends where it cannot go on

mod common;

use std::net::TcpListener;
use std::process::Output;

use common::{Agent, free_port, simulated};
use rcgen::{CertificateParams, DnType, KeyPair};

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Runs to its end: exit code and what it printed.
fn run(agent: &Agent, args: &[&str]) -> (i32, String) {
    let output = agent.command(args).output().unwrap();
    let dir = agent.dir.path().display().to_string();
    (
        output.status.code().unwrap(),
        text(&output).replace(&dir, "DIR"),
    )
}

#[test]
fn a_wrong_configuration_starts_nothing() {
    let agent = Agent::new("[gatway]\nid = \"gw-1\"\n");
    for command in ["run", "check", "status"] {
        let (code, said) = run(&agent, &[command]);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains("gatway: found an unknown key"), "{said}");
        assert!(said.contains("did you mean `gateway`?"), "{said}");
        assert!(said.contains("uplink: found nothing"), "{said}");
    }
    assert!(!agent.path("outbox.db").exists());
}

#[test]
fn a_taken_metrics_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let agent = Agent::simulated(free_port(), &format!("[http]\nlisten = \"{address}\"\n"));
    let (code, said) = run(&agent, &["run"]);
    assert_eq!(code, 1, "{said}");
    let expected = format!("http.listen: cannot listen on {address}: Address already in use");
    assert!(said.contains(&expected), "{said}");
    let (code, said) = run(&agent, &["check"]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains(&format!("FAILURE  http.listen: {address}")),
        "{said}"
    );
}

#[test]
fn an_outbox_directory_that_cannot_be_written_is_named() {
    let agent = Agent::simulated(free_port(), "");
    let config = std::fs::read_to_string(agent.path("edge.toml")).unwrap();
    let config = config.replace("\"outbox.db\"", "\"/proc/windlass/outbox.db\"");
    std::fs::write(agent.path("edge.toml"), config).unwrap();
    let (code, said) = run(&agent, &["run"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("/proc/windlass"), "{said}");
    let (code, said) = run(&agent, &["check"]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("FAILURE  outbox.path: cannot write in /proc/windlass: "),
        "{said}"
    );
}

#[test]
fn two_agents_do_not_share_an_outbox_or_a_socket() {
    let mut agent = Agent::simulated(free_port(), "");
    agent.start();
    let (code, said) = run(&agent, &["run"]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("DIR/outbox.db is in use by another process"),
        "{said}"
    );
    let config = std::fs::read_to_string(agent.path("edge.toml")).unwrap();
    let other = config.replace("\"outbox.db\"", "\"other.db\"");
    std::fs::write(agent.path("edge.toml"), other).unwrap();
    let (code, said) = run(&agent, &["run"]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("an agent is already running behind DIR/edge.sock"),
        "{said}"
    );
    assert!(agent.terminate().success());
}

#[test]
fn status_works_without_a_network_and_without_an_agent() {
    let mut agent = Agent::simulated(free_port(), "");
    let (code, said) = run(&agent, &["status"]);
    assert_eq!(code, 3, "{said}");
    assert!(
        said.contains("no agent answers behind DIR/edge.sock"),
        "{said}"
    );
    agent.start();
    agent.wait_status("records", |s| s.turbines[0].last_seq >= 3);
    let (code, said) = run(&agent, &["status"]);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("gateway gw-1  agent ") && said.contains("Connection refused"),
        "{said}"
    );
    let (code, said) = run(&agent, &["status", "--json"]);
    let doc: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &doc["running"]), (0, &serde_json::Value::Bool(true)));
    agent.kill();
    let output = agent.command(&["status", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let doc: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(doc["running"], false);
    assert!(
        doc["turbines"][0]["backlog_records"].as_u64().unwrap() >= 3,
        "{doc}"
    );
    let (code, said) = run(&agent, &["outbox", "inspect", "--turbine", "T001"]);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.starts_with("outbox DIR/outbox.db\nT001  epoch "),
        "{said}"
    );
    let (code, said) = run(&agent, &["outbox", "inspect", "--turbine", "T002"]);
    assert_eq!(
        (code, said.as_str()),
        (0, "outbox DIR/outbox.db\nholds no records\n")
    );
}

#[test]
fn metrics_are_served_on_loopback() {
    let port = free_port();
    let mut agent = Agent::simulated(
        free_port(),
        &format!("[http]\nlisten = \"127.0.0.1:{port}\"\n"),
    );
    agent.start();
    let doc = agent.wait_status("readings", |s| s.counters.readings_committed > 0);
    let page = get(port, "/metrics");
    let value = |name: &str| -> u64 {
        let line = page.lines().find_map(|l| l.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {page}"))
            .trim()
            .parse()
            .unwrap()
    };
    assert!(value("windlass_edge_readings_committed_total ") >= doc.counters.readings_committed);
    assert_eq!(value("windlass_edge_link_online "), 0);
    assert!(get(port, "/healthz").ends_with("ok\n"));
    assert!(agent.terminate().success());
}

fn get(port: u16, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

#[test]
fn another_gateways_certificate_does_not_stop_recording() {
    let port = free_port();
    let tls = simulated(port, "").replace(
        &format!("mqtt://127.0.0.1:{port}\""),
        &format!(
            "mqtts://localhost:{port}\"\nca = \"gw.pem\"\ncert = \"gw.pem\"\nkey = \"gw.key\""
        ),
    );
    let mut agent = Agent::new(&tls);
    let mut certificate = CertificateParams::new(vec![]).unwrap();
    certificate
        .distinguished_name
        .push(DnType::CommonName, "gw-2");
    let key = KeyPair::generate().unwrap();
    let pem = certificate.self_signed(&key).unwrap().pem();
    std::fs::write(agent.path("gw.pem"), pem).unwrap();
    std::fs::write(agent.path("gw.key"), key.serialize_pem()).unwrap();
    let (code, said) = run(&agent, &["check"]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("gw.pem is the certificate of `gw-2`, but gateway.id is `gw-1`"),
        "{said}"
    );
    agent.start();
    let doc = agent.wait_status("records in spite of it", |s| {
        s.counters.readings_committed > 300 && s.counters.link_downs >= 2
    });
    let certificate = doc.certificate.unwrap();
    assert_eq!(certificate.common_name, "gw-2");
    assert!(certificate.problem.unwrap().contains("`gw-2`"));
    assert!(doc.link.last_error.unwrap().contains("`gw-2`"));
    assert!(agent.terminate().success());
}

#[test]
fn an_unreachable_broker_is_an_exit_code_of_its_own() {
    let agent = Agent::simulated(free_port(), "");
    let (code, said) = run(&agent, &["check", "--connect"]);
    assert_eq!(code, 3, "{said}");
    assert!(
        said.contains("NO LINK  uplink.url: mqtt://127.0.0.1:"),
        "{said}"
    );
    let (code, said) = run(&agent, &["check", "--connect", "--json"]);
    assert_eq!(code, 3);
    let findings: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert!(
        findings
            .as_array()
            .unwrap()
            .iter()
            .any(|f| f["grade"] == "unreachable")
    );
}
