//! Mutual TLS against a real Mosquitto: a good certificate connects, others do not, and nothing stops the recording.

#![allow(clippy::unwrap_used)] // a test ends where it cannot go on

mod common;

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::{Agent, free_port, simulated, wait_for};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};

/// Certificates signed by one authority.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// Writes `{file}.pem` and `{file}.key` for `name` into `dir`.
    fn issue(&self, dir: &Path, file: &str, name: &str) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(dir.join(format!("{file}.pem")), certificate.pem()).unwrap();
        std::fs::write(dir.join(format!("{file}.key")), key.serialize_pem()).unwrap();
    }
}

struct Mosquitto(Child);

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// A broker that takes only certificates of `authority`, and lets each name use its own topics only.
fn mosquitto(dir: &Path, authority: &Authority, port: u16) -> Mosquitto {
    std::fs::write(dir.join("clients-ca.pem"), &authority.pem).unwrap();
    authority.issue(dir, "broker", "broker");
    std::fs::write(
        dir.join("acl"),
        "pattern write wl1/up/%u/#\npattern read wl1/down/%u\n",
    )
    .unwrap();
    let at = dir.display();
    let conf = format!(
        "listener {port} 127.0.0.1\ncafile {at}/clients-ca.pem\ncertfile {at}/broker.pem\nkeyfile {at}/broker.key\n\
         require_certificate true\nuse_identity_as_username true\nacl_file {at}/acl\nallow_anonymous false\nuser root\n"
    );
    std::fs::write(dir.join("mosquitto.conf"), conf).unwrap();
    let path = [
        "/usr/sbin/mosquitto",
        "/usr/local/sbin/mosquitto",
        "/usr/bin/mosquitto",
    ];
    let program = path.iter().find(|p| Path::new(p).exists());
    let child = Command::new(program.expect("Mosquitto: apt-get install mosquitto"))
        .arg("-c")
        .arg(dir.join("mosquitto.conf"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let broker = Mosquitto(child.unwrap());
    wait_for("Mosquitto's port", || {
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
    broker
}

/// A gateway `gw-1` with the certificate files `gw.pem`, `gw.key` that trusts `trusted`.
fn agent(port: u16, trusted: &Authority) -> Agent {
    let tls = simulated(port, "").replace(
        &format!("mqtt://127.0.0.1:{port}\""),
        &format!(
            "mqtts://localhost:{port}\"\nca = \"ca.pem\"\ncert = \"gw.pem\"\nkey = \"gw.key\""
        ),
    );
    let agent = Agent::new(&tls);
    std::fs::write(agent.path("ca.pem"), &trusted.pem).unwrap();
    agent
}

#[test]
fn a_good_certificate_connects_and_a_renewed_one_is_used_without_a_restart() {
    let (fleet, stranger) = (Authority::new("fleet"), Authority::new("stranger"));
    let port = free_port();
    let mut agent = agent(port, &fleet);
    let _broker = mosquitto(agent.dir.path(), &fleet, port);
    stranger.issue(agent.dir.path(), "gw", "gw-1");
    agent.start();
    let doc = agent.wait_status(
        "recording with a certificate that the broker refuses",
        |s| s.counters.link_downs >= 2 && s.counters.readings_committed > 300,
    );
    assert_eq!(doc.counters.link_ups, 0);
    assert!(
        doc.certificate.unwrap().problem.is_none(),
        "only the broker knows"
    );
    fleet.issue(agent.dir.path(), "gw", "gw-1");
    let doc = agent.wait_status("the link, with the new certificate", |s| {
        s.link.state == "online" && s.counters.pubacks > 0
    });
    let certificate = doc.certificate.unwrap();
    assert_eq!(
        (certificate.common_name.as_str(), certificate.problem),
        ("gw-1", None)
    );
    let check = agent.command(&["check", "--connect"]).output().unwrap();
    let said = String::from_utf8_lossy(&check.stdout);
    assert!(said.contains("TLS handshake works"), "{said}");
    assert!(agent.terminate().success());
}

#[test]
fn a_broker_of_another_authority_gets_nothing() {
    let (fleet, stranger) = (Authority::new("fleet"), Authority::new("stranger"));
    let port = free_port();
    let mut agent = agent(port, &fleet);
    let _broker = mosquitto(agent.dir.path(), &stranger, port);
    fleet.issue(agent.dir.path(), "gw", "gw-1");
    agent.start();
    let doc = agent.wait_status("recording without trust", |s| {
        s.counters.link_downs >= 2 && s.counters.readings_committed > 300
    });
    assert_eq!((doc.counters.link_ups, doc.counters.publishes), (0, 0));
    let error = doc.link.last_error.unwrap();
    assert!(
        error.contains("invalid peer certificate: UnknownIssuer"),
        "{error}"
    );
    let check = agent.command(&["check", "--connect"]).output().unwrap();
    assert_eq!(check.status.code(), Some(3));
    assert!(agent.terminate().success());
}
