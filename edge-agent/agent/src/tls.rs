//! Mutual TLS for the uplink: reads the files, checks what can be checked before a handshake, and says which file is wrong.
//!
//! Invariants: the files are read again for every connection, so that a renewed certificate is used without a restart; no
//! problem here stops recording: the caller reports it and tries again later. Certificates are checked against wall time
//! that is passed in. Only the ring provider is used.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use windlass_shared::id::GatewayId;
use windlass_shared::time::WallTime;

/// Seconds in a day.
const DAY_S: i64 = 86_400;

/// Where the files are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsFiles {
    /// Certificate authorities that may sign the broker's certificate, PEM.
    pub ca: PathBuf,
    /// This gateway's certificate chain, leaf first, and its private key, PEM.
    pub client: Option<ClientFiles>,
}

/// The gateway's own certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientFiles {
    /// Chain, leaf first, PEM.
    pub cert: PathBuf,
    /// Private key, PEM (PKCS#8, SEC1 or PKCS#1).
    pub key: PathBuf,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It cannot be read.
    #[error("{key}: cannot read {}: {source}; the agent's user needs read access", path.display())]
    Read {
        /// Configuration key.
        key: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what its key says.
    #[error("{key}: {} holds no usable {expected}: {why}", path.display())]
    Content {
        /// Configuration key.
        key: &'static str,
        /// Which file.
        path: PathBuf,
        /// What should be in it.
        expected: &'static str,
        /// What the parser said.
        why: String,
    },
    /// The certificate is another gateway's.
    #[error(
        "uplink.cert: {} is the certificate of `{found}`, but gateway.id is `{expected}`: a broker would refuse every topic of this gateway",
        path.display()
    )]
    CommonName {
        /// Which file.
        path: PathBuf,
        /// Its common name.
        found: String,
        /// The gateway's id.
        expected: GatewayId,
    },
    /// It has expired.
    #[error("uplink.cert: {} expired {days} days ago; renew it (recording goes on, nothing is sent)", path.display())]
    Expired {
        /// Which file.
        path: PathBuf,
        /// Whole days since.
        days: i64,
    },
    /// It is valid only later: renewed too early, or this machine's clock is wrong.
    #[error("uplink.cert: {} is not valid for another {days} days; is this machine's clock right?", path.display())]
    NotYetValid {
        /// Which file.
        path: PathBuf,
        /// Whole days until.
        days: i64,
    },
    /// Certificate and key do not belong together, or rustls does not like them.
    #[error("uplink.cert {} with uplink.key {}: {source}", cert.display(), key.display())]
    Pair {
        /// Certificate file.
        cert: PathBuf,
        /// Key file.
        key: PathBuf,
        /// What rustls said.
        source: rustls::Error,
    },
}

/// What a certificate says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certificate {
    /// Common name of the subject.
    pub common_name: String,
    /// First second of validity, seconds since 1970.
    pub not_before_s: i64,
    /// Last second of validity, seconds since 1970.
    pub not_after_s: i64,
}

impl Certificate {
    /// Whole days from `now` to the end of validity, negative when over.
    pub fn days_left(&self, now: WallTime) -> i64 {
        (self.not_after_s - now.0.div_euclid(1_000_000)).div_euclid(DAY_S)
    }
}

/// Reads the gateway's certificate without judging it.
pub fn inspect(files: &ClientFiles) -> Result<Certificate, TlsError> {
    let chain = read_certs("uplink.cert", &files.cert)?;
    let leaf = chain
        .first()
        .ok_or_else(|| content(&files.cert, "no certificate"))?;
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf)
        .map_err(|e| content(&files.cert, &e.to_string()))?;
    let common_name = parsed
        .subject()
        .iter_common_name()
        .next()
        .and_then(|cn| cn.as_str().ok())
        .unwrap_or_default()
        .to_owned();
    Ok(Certificate {
        common_name,
        not_before_s: parsed.validity().not_before.timestamp(),
        not_after_s: parsed.validity().not_after.timestamp(),
    })
}

/// Judges a certificate: name first, then validity. A clock that was never set says nothing about validity.
pub fn judge(
    files: &ClientFiles,
    certificate: &Certificate,
    gateway: &GatewayId,
    now: WallTime,
) -> Result<(), TlsError> {
    if certificate.common_name != gateway.as_str() {
        return Err(TlsError::CommonName {
            path: files.cert.clone(),
            found: certificate.common_name.clone(),
            expected: gateway.clone(),
        });
    }
    if !crate::clock::is_set(now) {
        return Ok(());
    }
    let now_s = now.0.div_euclid(1_000_000);
    if now_s > certificate.not_after_s {
        return Err(TlsError::Expired {
            path: files.cert.clone(),
            days: (now_s - certificate.not_after_s) / DAY_S,
        });
    }
    if now_s < certificate.not_before_s {
        return Err(TlsError::NotYetValid {
            path: files.cert.clone(),
            days: (certificate.not_before_s - now_s) / DAY_S,
        });
    }
    Ok(())
}

/// Everything a connection needs, from the files as they are now.
pub fn client_config(
    files: &TlsFiles,
    gateway: &GatewayId,
    now: WallTime,
) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(read_certs("uplink.ca", &files.ca)?);
    if added == 0 {
        return Err(TlsError::Content {
            key: "uplink.ca",
            path: files.ca.clone(),
            expected: "CA certificate",
            why: "no certificate in it can be a trust anchor".to_owned(),
        });
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|source| pair(files, source))?
        .with_root_certificates(roots);
    let Some(client) = &files.client else {
        return Ok(Arc::new(builder.with_no_client_auth()));
    };
    judge(client, &inspect(client)?, gateway, now)?;
    let chain = read_certs("uplink.cert", &client.cert)?;
    let key = read_key(&client.key)?;
    let config = builder
        .with_client_auth_cert(chain, key)
        .map_err(|source| pair(files, source))?;
    Ok(Arc::new(config))
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read {
        key,
        path: path.to_owned(),
        source,
    })
}

fn read_certs(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(key, path)?;
    let certs: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let why = match certs {
        Ok(certs) if !certs.is_empty() => return Ok(certs),
        Ok(_) => "no BEGIN CERTIFICATE in it".to_owned(),
        Err(e) => e.to_string(),
    };
    Err(TlsError::Content {
        key,
        path: path.to_owned(),
        expected: "PEM certificate",
        why,
    })
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = read("uplink.key", path)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|e| TlsError::Content {
        key: "uplink.key",
        path: path.to_owned(),
        expected: "PEM private key",
        why: e.to_string(),
    })
}

fn content(path: &Path, why: &str) -> TlsError {
    TlsError::Content {
        key: "uplink.cert",
        path: path.to_owned(),
        expected: "PEM certificate",
        why: why.to_owned(),
    }
}

fn pair(files: &TlsFiles, source: rustls::Error) -> TlsError {
    let client = files.client.clone().unwrap_or(ClientFiles {
        cert: PathBuf::new(),
        key: PathBuf::new(),
    });
    TlsError::Pair {
        cert: client.cert,
        key: client.key,
        source,
    }
}

#[cfg(test)]
mod tests;
