//! Who may do what at a real Mosquitto, configured as the field needs it: the certificate decides, and nothing else.

use std::time::Duration;

use windlass_fleet::mosquitto::{INGEST, Mosquitto};
use windlass_fleet::mqtt::{Peer, Tls};
use windlass_fleet::pki::{Authority, Use};

/// Silence after which nothing more is expected from a broker on this machine.
const SILENCE: Duration = Duration::from_millis(500);

struct Field {
    broker: Mosquitto,
    authority: Authority,
    dir: tempfile::TempDir,
}

impl Field {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let authority = Authority::new(&dir.path().join("pki"), "ca").expect("an authority");
        let broker = Mosquitto::start(dir.path(), &authority).expect("a broker");
        Self {
            broker,
            authority,
            dir,
        }
    }

    fn tls(&self, name: &str) -> Tls {
        let own = self.authority.issue(name, Use::Client).expect("issued");
        Tls {
            ca: self.authority.ca().to_owned(),
            own: Some(own),
        }
    }

    fn connect(&self, tls: &Tls, client: &str) -> anyhow::Result<Peer> {
        Peer::connect(self.broker.port(), client, Some(tls))
    }
}

#[test]
fn a_gateway_writes_its_own_topics_and_no_others() {
    let field = Field::new();
    let mut ingest = field.connect(&field.tls(INGEST), INGEST).unwrap();
    assert!(ingest.subscribe("wl1/up/#").unwrap());
    let mut gateway = field.connect(&field.tls("GW1"), "GW1").unwrap();
    let message = |topic: &str| (topic.to_owned(), topic.as_bytes().to_vec());
    gateway
        .publish_all([
            message("wl1/up/GW2/T9/AAAAAAAAAAAAAAAAAAAAAA/1"),
            message("wl1/down/GW1"),
            message("wl1/up/GW1/T1/AAAAAAAAAAAAAAAAAAAAAA/1"),
        ])
        .unwrap();
    let received = ingest.receive(SILENCE).unwrap();
    assert_eq!(
        received,
        [message("wl1/up/GW1/T1/AAAAAAAAAAAAAAAAAAAAAA/1")],
        "{}",
        field.broker.log_tail()
    );
}

#[test]
fn a_gateway_reads_its_own_downlink_and_no_others() {
    let field = Field::new();
    let mut one = field.connect(&field.tls("GW1"), "GW1").unwrap();
    one.subscribe("wl1/down/GW1").unwrap();
    let mut nosy = field.connect(&field.tls("GW2"), "GW2").unwrap();
    nosy.subscribe("wl1/down/GW1").unwrap();
    nosy.subscribe("wl1/up/#").unwrap();
    let mut ingest = field.connect(&field.tls(INGEST), INGEST).unwrap();
    let ack = ("wl1/down/GW1".to_owned(), b"ack".to_vec());
    ingest.publish_all([ack.clone()]).unwrap();
    one.publish_all([("wl1/up/GW1/T1/AAAAAAAAAAAAAAAAAAAAAA/1".into(), vec![1])])
        .unwrap();
    assert_eq!(one.receive(SILENCE).unwrap(), [ack]);
    assert_eq!(nosy.receive(SILENCE).unwrap(), []);
}

#[test]
fn a_peer_without_a_valid_certificate_gets_no_connection() {
    let field = Field::new();
    let ca = field.authority.ca().to_owned();
    let stranger = Authority::new(&field.dir.path().join("stranger"), "other").unwrap();
    for (what, own) in [
        ("none", None),
        (
            "another authority's",
            Some(stranger.issue("GW1", Use::Client).unwrap()),
        ),
        (
            "an expired one",
            Some(field.authority.issue("GW1", Use::ExpiredClient).unwrap()),
        ),
    ] {
        let tls = Tls {
            ca: ca.clone(),
            own,
        };
        assert!(field.connect(&tls, "GW1").is_err(), "certificate: {what}");
    }
    assert!(
        Peer::connect(field.broker.port(), "GW1", None).is_err(),
        "no TLS at all"
    );
    // The other way round: a gateway refuses a broker whose certificate its authority did not sign.
    let distrustful = Tls {
        ca: stranger.ca().to_owned(),
        own: Some(field.authority.issue("GW1", Use::Client).unwrap()),
    };
    assert!(field.connect(&distrustful, "GW1").is_err());
    field
        .connect(&field.tls("GW1"), "GW1")
        .expect("a valid certificate is accepted");
}
