//! Every file that can be wrong, and what the operator is told.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};

use super::*;

const DAY_US: i64 = 86_400 * 1_000_000;
/// 2026-01-01T00:00:00Z: the certificates below begin here and last ten days.
const BEGIN: WallTime = WallTime(1_767_225_600 * 1_000_000);

struct Files {
    dir: tempfile::TempDir,
    tls: TlsFiles,
}

fn files(common_name: &str) -> Files {
    let dir = tempfile::tempdir().unwrap();
    let mut ca = CertificateParams::new(vec![]).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, "test CA");
    let ca_key = KeyPair::generate().unwrap();
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let mut leaf = CertificateParams::new(vec![]).unwrap();
    leaf.distinguished_name
        .push(DnType::CommonName, common_name);
    leaf.not_before = rcgen::date_time_ymd(2026, 1, 1);
    leaf.not_after = rcgen::date_time_ymd(2026, 1, 11);
    let key = KeyPair::generate().unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("ca.pem"), ca_pem).unwrap();
    std::fs::write(path("gw.pem"), leaf.pem()).unwrap();
    std::fs::write(path("gw.key"), key.serialize_pem()).unwrap();
    let tls = TlsFiles {
        ca: path("ca.pem"),
        client: Some(ClientFiles {
            cert: path("gw.pem"),
            key: path("gw.key"),
        }),
    };
    Files { dir, tls }
}

impl Files {
    fn error(&self, now: WallTime) -> String {
        let gateway = GatewayId::new("gw-1").unwrap();
        let error = client_config(&self.tls, &gateway, now)
            .unwrap_err()
            .to_string();
        error.replace(&self.dir.path().display().to_string(), "DIR")
    }
}

#[test]
fn a_good_certificate_counts_its_days() {
    let files = files("gw-1");
    let now = WallTime(BEGIN.0 + 3 * DAY_US + 1_000_000);
    let gateway = GatewayId::new("gw-1").unwrap();
    client_config(&files.tls, &gateway, now).unwrap();
    let certificate = inspect(files.tls.client.as_ref().unwrap()).unwrap();
    assert_eq!(certificate.common_name, "gw-1");
    assert_eq!(certificate.days_left(now), 6);
}

#[test]
fn another_gateways_certificate_is_named() {
    assert_eq!(
        files("gw-2").error(BEGIN),
        "uplink.cert: DIR/gw.pem is the certificate of `gw-2`, but gateway.id is `gw-1`: \
         a broker would refuse every topic of this gateway"
    );
}

#[test]
fn validity_is_judged_by_the_gateways_clock_unless_it_was_never_set() {
    let files = files("gw-1");
    assert_eq!(
        files.error(WallTime(BEGIN.0 + 15 * DAY_US)),
        "uplink.cert: DIR/gw.pem expired 5 days ago; renew it (recording goes on, nothing is sent)"
    );
    assert_eq!(
        files.error(WallTime(BEGIN.0 - 2 * DAY_US)),
        "uplink.cert: DIR/gw.pem is not valid for another 2 days; is this machine's clock right?"
    );
    let gateway = GatewayId::new("gw-1").unwrap();
    client_config(&files.tls, &gateway, WallTime(0)).unwrap();
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_its_key() {
    let files = files("gw-1");
    let key = files.dir.path().join("gw.key");
    std::fs::write(&key, "nothing").unwrap();
    let error = files.error(BEGIN);
    assert!(
        error.starts_with("uplink.key: DIR/gw.key holds no usable PEM private key: "),
        "{error}"
    );
    std::fs::remove_file(&key).unwrap();
    assert_eq!(
        files.error(BEGIN),
        "uplink.key: cannot read DIR/gw.key: No such file or directory (os error 2); the agent's user needs read access"
    );
    std::fs::write(files.dir.path().join("ca.pem"), "").unwrap();
    assert_eq!(
        files.error(BEGIN),
        "uplink.ca: DIR/ca.pem holds no usable PEM certificate: no BEGIN CERTIFICATE in it"
    );
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (one, other) = (files("gw-1"), files("gw-1"));
    std::fs::copy(
        other.dir.path().join("gw.key"),
        one.dir.path().join("gw.key"),
    )
    .unwrap();
    let error = one.error(BEGIN);
    assert!(
        error.starts_with("uplink.cert DIR/gw.pem with uplink.key DIR/gw.key: "),
        "{error}"
    );
}
