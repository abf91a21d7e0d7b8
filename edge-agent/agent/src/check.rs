//! `windlass-edge check`: tries what the agent will need, without starting anything.
//!
//! Invariant: it changes nothing but a probe file in the outbox's directory, which it removes.

use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::cli::Exit;
use crate::clock::{self, Clock};
use crate::config::{Config, UplinkAddress};
use crate::{procfs, socket, tls};

/// How long the broker may take to answer, s.
const CONNECT_TIMEOUT_S: u64 = 10;
/// A certificate that ends sooner is a warning, days.
const CERTIFICATE_WARN_DAYS: i64 = 30;

/// How grave a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// As it should be.
    Ok,
    /// The agent will run; look at it.
    Warning,
    /// The broker does not answer: the agent will record, and send nothing.
    Unreachable,
    /// The agent will not do its work.
    Failure,
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// How grave.
    pub grade: Grade,
    /// What was looked at: a configuration key or a part.
    pub about: String,
    /// What was seen.
    pub text: String,
}

fn finding(grade: Grade, about: impl Into<String>, text: impl Into<String>) -> Finding {
    Finding {
        grade,
        about: about.into(),
        text: text.into(),
    }
}

/// Looks at everything; `connect` also talks to the broker.
pub fn check(config: &Config, connect: bool) -> Vec<Finding> {
    let mut out = vec![finding(
        Grade::Ok,
        "configuration",
        format!("gateway {}", config.gateway),
    )];
    for turbine in &config.turbines {
        let c = &turbine.catalogue;
        let text = format!(
            "{}: profile {} version {}, {} channels, {:.1} readings/s",
            turbine.id,
            c.name,
            c.version,
            c.channels.len(),
            c.readings_per_s()
        );
        out.push(finding(Grade::Ok, "turbine", text));
    }
    if config.sources.is_empty() {
        out.push(finding(
            Grade::Warning,
            "source",
            "no [[source]]: nothing will be recorded",
        ));
    }
    disk(config, &mut out);
    status_socket(config, &mut out);
    if let Some(address) = config.http_listen {
        out.push(match std::net::TcpListener::bind(address) {
            Ok(_) => finding(Grade::Ok, "http.listen", format!("{address} is free")),
            Err(e) => finding(
                Grade::Failure,
                "http.listen",
                format!("{address}: {e}; choose another port or stop what uses it"),
            ),
        });
    }
    let now = Clock.now().wall;
    out.push(match (clock::is_set(now), clock::synchronised()) {
        (false, _) => finding(
            Grade::Warning,
            "clock",
            "was never set: readings cannot be placed in time",
        ),
        (true, Some(false)) => finding(Grade::Warning, "clock", "set, but not synchronised yet"),
        (true, Some(true)) => finding(Grade::Ok, "clock", "synchronised"),
        (true, None) => finding(
            Grade::Ok,
            "clock",
            "set (no systemd-timesyncd to ask whether it is synchronised)",
        ),
    });
    let tls = certificates(config, now, &mut out);
    broker(config, connect, tls, &mut out);
    out
}

fn disk(config: &Config, out: &mut Vec<Finding>) {
    let path = &config.outbox.path;
    let dir = path.parent().unwrap_or(Path::new("."));
    let probe = dir.join(".windlass-check");
    match std::fs::create_dir_all(dir).and_then(|()| std::fs::write(&probe, b"probe")) {
        Ok(()) => {
            let removed = std::fs::remove_file(&probe);
            let grade = if removed.is_ok() {
                Grade::Ok
            } else {
                Grade::Warning
            };
            out.push(finding(
                grade,
                "outbox.path",
                format!("{} is writable", dir.display()),
            ));
        }
        Err(e) => {
            let text = format!(
                "cannot write in {}: {e}; the directory must be on a writable disk and belong to the agent's user",
                dir.display()
            );
            out.push(finding(Grade::Failure, "outbox.path", text));
            return;
        }
    }
    let used = std::fs::metadata(path).map_or(0, |m| m.len());
    match procfs::free_bytes(dir) {
        Ok(free) => {
            let needed =
                (config.outbox.bytes_max + config.outbox.free_min_bytes).saturating_sub(used);
            let (grade, note) = if free < needed {
                (
                    Grade::Warning,
                    "less than bytes_max and free_min_bytes together: older data will be evicted sooner than the budget says",
                )
            } else {
                (Grade::Ok, "enough for the budget")
            };
            let text = format!(
                "{} MB free, budget {} MB: {note}",
                free / 1_000_000,
                config.outbox.bytes_max / 1_000_000
            );
            out.push(finding(grade, "outbox.bytes_max", text));
        }
        Err(e) => out.push(finding(
            Grade::Warning,
            "outbox.bytes_max",
            format!("free space unknown: {e}"),
        )),
    }
}

fn status_socket(config: &Config, out: &mut Vec<Finding>) {
    let path = &config.status_socket;
    let dir = path.parent().unwrap_or(Path::new("."));
    let shown = path.display();
    out.push(if socket::ask(path).is_ok() {
        finding(
            Grade::Warning,
            "status.socket",
            format!("an agent is running behind {shown}"),
        )
    } else if dir.is_dir() {
        finding(Grade::Ok, "status.socket", format!("{shown}"))
    } else {
        finding(
            Grade::Failure,
            "status.socket",
            format!("its directory {} does not exist", dir.display()),
        )
    });
}

fn certificates(
    config: &Config,
    now: windlass_shared::time::WallTime,
    out: &mut Vec<Finding>,
) -> Option<Arc<rustls::ClientConfig>> {
    let Some(files) = &config.uplink.tls else {
        let text = "without TLS: only for a broker on this machine or behind a tunnel";
        out.push(finding(Grade::Warning, "uplink.url", text));
        return None;
    };
    match tls::client_config(files, &config.gateway, now) {
        Ok(tls) => {
            match files.client.as_ref().map(|c| (c, tls::inspect(c))) {
                Some((_, Ok(certificate))) => {
                    let days = certificate.days_left(now);
                    let grade = if days < CERTIFICATE_WARN_DAYS {
                        Grade::Warning
                    } else {
                        Grade::Ok
                    };
                    let text = format!("{} valid for another {days} days", certificate.common_name);
                    out.push(finding(grade, "uplink.cert", text));
                }
                Some((_, Err(e))) => {
                    out.push(finding(Grade::Failure, "uplink.cert", e.to_string()));
                }
                None => out.push(finding(
                    Grade::Warning,
                    "uplink.cert",
                    "none: the broker cannot tell this gateway from others",
                )),
            }
            Some(tls)
        }
        Err(e) => {
            out.push(finding(Grade::Failure, "certificates", e.to_string()));
            None
        }
    }
}

fn broker(
    config: &Config,
    connect: bool,
    tls: Option<Arc<rustls::ClientConfig>>,
    out: &mut Vec<Finding>,
) {
    let address = &config.uplink.address;
    let resolved = (address.host.as_str(), address.port).to_socket_addrs();
    let first = match resolved.map(|mut a| a.next()) {
        Ok(Some(first)) => first,
        Ok(None) => {
            out.push(finding(
                Grade::Unreachable,
                "uplink.url",
                format!("{} has no address", address.host),
            ));
            return;
        }
        Err(e) => {
            out.push(finding(
                Grade::Unreachable,
                "uplink.url",
                format!("cannot resolve {}: {e}", address.host),
            ));
            return;
        }
    };
    if !connect {
        out.push(finding(
            Grade::Ok,
            "uplink.url",
            format!("{address} is {first} (not tried: --connect)"),
        ));
        return;
    }
    out.push(match try_connect(address, first, tls) {
        Ok(text) => finding(
            Grade::Ok,
            "uplink.url",
            format!("{address} ({first}): {text}"),
        ),
        Err(e) => finding(
            Grade::Unreachable,
            "uplink.url",
            format!("{address} ({first}): {e}"),
        ),
    });
}

fn try_connect(
    address: &UplinkAddress,
    at: std::net::SocketAddr,
    tls: Option<Arc<rustls::ClientConfig>>,
) -> Result<&'static str, String> {
    let patience = Duration::from_secs(CONNECT_TIMEOUT_S);
    let mut tcp = TcpStream::connect_timeout(&at, patience).map_err(|e| e.to_string())?;
    if !address.tls {
        return Ok("TCP connection works");
    }
    let Some(tls) = tls else {
        return Err("TCP connection works; TLS not tried, see the certificates above".to_owned());
    };
    let timeouts = tcp
        .set_read_timeout(Some(patience))
        .and_then(|()| tcp.set_write_timeout(Some(patience)));
    timeouts.map_err(|e| e.to_string())?;
    let name =
        rustls::pki_types::ServerName::try_from(address.host.clone()).map_err(|e| e.to_string())?;
    let mut session = rustls::ClientConnection::new(tls, name).map_err(|e| e.to_string())?;
    while session.is_handshaking() {
        session
            .complete_io(&mut tcp)
            .map_err(|e| format!("TLS handshake: {e}"))?;
    }
    Ok("TLS handshake works")
}

/// As text, one line each, or as JSON.
pub fn render(findings: &[Finding], json: bool) -> String {
    if json {
        return serde_json::to_string_pretty(findings).unwrap_or_else(|e| e.to_string());
    }
    let line = |f: &Finding| {
        let grade = match f.grade {
            Grade::Ok => "ok     ",
            Grade::Warning => "WARNING",
            Grade::Unreachable => "NO LINK",
            Grade::Failure => "FAILURE",
        };
        format!("{grade}  {}: {}\n", f.about, f.text)
    };
    findings.iter().map(line).collect()
}

/// The worst finding decides.
pub fn exit(findings: &[Finding]) -> Exit {
    match findings.iter().map(|f| f.grade).max() {
        Some(Grade::Failure) => Exit::Failed,
        Some(Grade::Unreachable) => Exit::Unreachable,
        _ => Exit::Ok,
    }
}
