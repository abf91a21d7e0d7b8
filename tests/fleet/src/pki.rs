//! Certificates of a run: made for it, and gone with it.
//!
//! Invariant: a gateway's certificate has the gateway's id as its common name; that is what brokers bind topics to.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// A certificate authority and the folder its certificates go to.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    dir: PathBuf,
    ca: PathBuf,
}

/// Files of one identity.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The authority to trust.
    pub ca: PathBuf,
    /// Its certificate chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What a certificate is good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// A broker on this machine.
    Server,
    /// A gateway or the cloud's ingest.
    Client,
    /// A client whose time is over.
    ExpiredClient,
}

impl Authority {
    /// A new authority; its files go to `dir`, and begin with `name`.
    pub fn new(dir: &Path, name: &str) -> Result<Self> {
        std::fs::create_dir_all(dir)
            .with_context(|| format!("could not make {}", dir.display()))?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2120, 1, 1);
        let ca = dir.join(format!("{name}.pem"));
        write(&ca, &params.self_signed(&key)?.pem())?;
        Ok(Self {
            issuer: Issuer::new(params, key),
            dir: dir.to_owned(),
            ca,
        })
    }

    /// The authority's own certificate.
    pub fn ca(&self) -> &Path {
        &self.ca
    }

    /// Issues a certificate with common name `name`.
    pub fn issue(&self, name: &str, for_use: Use) -> Result<Identity> {
        let key = KeyPair::generate()?;
        let (hosts, usage, end_year) = match for_use {
            Use::Server => (
                vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
                ExtendedKeyUsagePurpose::ServerAuth,
                2119,
            ),
            Use::Client => (Vec::new(), ExtendedKeyUsagePurpose::ClientAuth, 2119),
            Use::ExpiredClient => (Vec::new(), ExtendedKeyUsagePurpose::ClientAuth, 2021),
        };
        let mut params = CertificateParams::new(hosts)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        params.not_before = date_time_ymd(2020, 1, 2);
        params.not_after = date_time_ymd(end_year, 1, 1);
        let stem = match for_use {
            Use::ExpiredClient => format!("{name}-expired"),
            Use::Server | Use::Client => name.to_owned(),
        };
        let ca_stem = self.ca.file_stem().unwrap_or_default().to_string_lossy();
        let identity = Identity {
            ca: self.ca.clone(),
            cert: self.dir.join(format!("{ca_stem}-{stem}.pem")),
            key: self.dir.join(format!("{ca_stem}-{stem}.key")),
        };
        write(&identity.cert, &params.signed_by(&key, &self.issuer)?.pem())?;
        write(&identity.key, &key.serialize_pem())?;
        Ok(identity)
    }
}

fn write(path: &Path, pem: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, pem).with_context(|| format!("could not write {}", path.display()))?;
    // Readable by the broker too, which gives up its root rights; the folder goes with the run.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644))?;
    Ok(())
}
