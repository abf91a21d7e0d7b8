//! From the file to a [`Config`]: defaults, and everything that must fit together.

use std::path::Path;
use std::sync::Arc;

use toml::Table;
use windlass_shared::catalogue::{self, Catalogue};
use windlass_shared::id::{ChannelId, TurbineId};
use windlass_shared::settings::{self, Problem, Problems, nearest};
use windlass_shared::time::SECOND_US;

use super::raw::{self, Raw, RawFault, RawSource, RawThreshold, RawTurbine, RawUplink};
use super::{
    Config, DEFAULT_SOCKET, Log, Outbox, PushSource, SimulatorSource, Source, SourceKind,
    Threshold, Turbine, Uplink, UplinkAddress,
};
use crate::source::simulator::{Fault, FaultKind};
use crate::tls::{ClientFiles, TlsFiles};

/// Reads the whole tree of `file`; relative paths are relative to `dir`.
pub(super) fn config(file: &str, mut tree: Table, dir: &Path) -> Result<Config, Problems> {
    let mut problems = settings::check(&raw::spec(), &tree);
    raw::prune(&mut tree, &problems);
    let config = match tree.try_into::<Raw>() {
        Ok(raw) => build(raw, dir, &mut problems),
        Err(e) => {
            problems.push(Problem::new(
                "(file)",
                e.message(),
                "values of the right type",
            ));
            None
        }
    };
    settings::finish(file, problems)?;
    config.ok_or_else(|| Problems {
        file: file.to_owned(),
        problems: vec![Problem::new(
            "(file)",
            "something",
            "a complete configuration",
        )],
    })
}

fn build(raw: Raw, dir: &Path, problems: &mut Vec<Problem>) -> Option<Config> {
    let turbines = turbines(raw.turbine, dir, problems);
    let sources = sources(raw.source, dir, &turbines, problems);
    let uplink = uplink(&raw.uplink, dir, problems);
    let socket = raw.status.socket.as_deref().unwrap_or(DEFAULT_SOCKET);
    Some(Config {
        gateway: raw.gateway.id?,
        outbox: Outbox {
            path: dir.join(raw.outbox.path?),
            bytes_max: raw.outbox.bytes_max,
            free_min_bytes: raw.outbox.free_min_bytes,
        },
        uplink: uplink?,
        turbines: turbines.into_iter().collect::<Option<_>>()?,
        sources,
        seal_every_s: raw.seal.every_s,
        status_socket: dir.join(socket),
        http_listen: raw.http.listen,
        log: Log {
            level: raw.log.level,
            format: raw.log.format,
        },
    })
}

/// One for each in the file; `None` for one that has problems.
fn turbines(raw: Vec<RawTurbine>, dir: &Path, problems: &mut Vec<Problem>) -> Vec<Option<Turbine>> {
    let mut turbines: Vec<Option<Turbine>> = Vec::new();
    let mut ids: Vec<TurbineId> = Vec::new();
    for (i, turbine) in raw.into_iter().enumerate() {
        let at = format!("turbine[{i}]");
        if let Some(id) = &turbine.id {
            if ids.contains(id) {
                problems.push(again(&at, "id", id.as_str(), "each turbine once"));
            }
            ids.push(id.clone());
        }
        let profile = turbine.profile.map(|p| dir.join(p));
        let catalogue = profile.as_ref().and_then(|p| profile_of(p, &at, problems));
        turbines.push(match (turbine.id, profile, catalogue) {
            (Some(id), Some(profile), Some(catalogue)) => Some(Turbine {
                thresholds: thresholds(turbine.threshold, &at, &catalogue, problems),
                id,
                profile,
                catalogue: Arc::new(catalogue),
            }),
            _ => None,
        });
    }
    turbines
}

fn again(at: &str, key: &str, found: &str, expected: &str) -> Problem {
    Problem::new(
        format!("{at}.{key}"),
        format!("\"{found}\" again"),
        expected,
    )
}

fn profile_of(path: &Path, at: &str, problems: &mut Vec<Problem>) -> Option<Catalogue> {
    let key = format!("{at}.profile");
    let shown = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => match catalogue::parse(&shown, &text) {
            Ok(catalogue) => return Some(catalogue),
            Err(inner) => problems.extend(inner.problems.into_iter().map(|p| Problem {
                key: format!("{key} ({shown}) {}", p.key),
                ..p
            })),
        },
        Err(e) => problems.push(Problem::new(
            key,
            format!("{shown} ({e})"),
            "a readable channel catalogue (TOML), relative to this file",
        )),
    }
    None
}

fn thresholds(
    raw: Vec<RawThreshold>,
    at: &str,
    catalogue: &Catalogue,
    problems: &mut Vec<Problem>,
) -> Vec<Threshold> {
    let mut out = Vec::new();
    for (i, threshold) in raw.into_iter().enumerate() {
        let at = format!("{at}.threshold[{i}]");
        let Some(name) = threshold.channel else {
            continue;
        };
        let channel = channel(&name, &format!("{at}.channel"), catalogue, problems);
        if threshold.low.is_none() && threshold.high.is_none() {
            problems.push(Problem::new(&at, "no limit", "low or high, or both"));
        }
        if let Some(channel) = channel {
            out.push(Threshold {
                channel,
                low: threshold.low,
                high: threshold.high,
            });
        }
    }
    out
}

/// A channel by its name.
pub(super) fn channel(
    name: &str,
    key: &str,
    catalogue: &Catalogue,
    problems: &mut Vec<Problem>,
) -> Option<ChannelId> {
    if let Some(channel) = catalogue.by_name(name) {
        return Some(channel.id);
    }
    let names: Vec<&str> = catalogue.channels.iter().map(|c| c.name.as_str()).collect();
    problems.push(Problem {
        key: key.to_owned(),
        found: format!("\"{name}\""),
        expected: format!(
            "a channel of profile {} version {}",
            catalogue.name, catalogue.version
        ),
        hint: nearest(name, &names).map(|n| format!("did you mean `{n}`?")),
    });
    None
}

/// A turbine of this file by its id; one that has problems of its own is not complained about again.
pub(super) fn turbine<'t>(
    id: &TurbineId,
    key: &str,
    turbines: &'t [Option<Turbine>],
    problems: &mut Vec<Problem>,
) -> Option<&'t Turbine> {
    let found = turbines.iter().flatten().find(|t| &t.id == id);
    if found.is_none() && turbines.iter().all(Option::is_some) {
        let ids: Vec<&str> = turbines.iter().flatten().map(|t| t.id.as_str()).collect();
        problems.push(Problem::new(
            key,
            format!("\"{id}\""),
            format!("the id of a [[turbine]]: {}", ids.join(", ")),
        ));
    }
    found
}

fn uplink(raw: &RawUplink, dir: &Path, problems: &mut Vec<Problem>) -> Option<Uplink> {
    let address = UplinkAddress::parse(raw.url.as_deref()?)?;
    let tls = tls(raw, &address, dir, problems);
    Some(Uplink {
        address,
        tls,
        budget_bytes_per_s: raw.budget_bytes_per_s,
        inflight_max: raw.inflight_max,
        ack_timeout_s: raw.ack_timeout_s,
        keep_alive_s: raw.keep_alive_s,
        retry_delay_max_s: raw.retry_delay_max_s,
    })
}

fn tls(
    raw: &RawUplink,
    address: &UplinkAddress,
    dir: &Path,
    problems: &mut Vec<Problem>,
) -> Option<TlsFiles> {
    let files = [("ca", &raw.ca), ("cert", &raw.cert), ("key", &raw.key)];
    if !address.tls {
        for (key, file) in files {
            if let Some(file) = file {
                problems.push(Problem::new(
                    format!("uplink.{key}"),
                    format!("\"{file}\""),
                    "nothing, as uplink.url is mqtt:// (mqtts:// for TLS)",
                ));
            }
        }
        return None;
    }
    let why = match (&raw.ca, &raw.cert, &raw.key) {
        (None, _, _) => Some((
            "ca",
            "the CA that signs the broker's certificate (PEM), as uplink.url is mqtts://",
        )),
        (_, Some(_), None) => Some(("key", "the private key of uplink.cert (PEM)")),
        (_, None, Some(_)) => Some(("cert", "the certificate of uplink.key (PEM)")),
        _ => None,
    };
    if let Some((key, expected)) = why {
        problems.push(Problem::new(format!("uplink.{key}"), "nothing", expected));
    }
    let path = |p: &Option<String>| p.as_ref().map(|p| dir.join(p));
    Some(TlsFiles {
        ca: path(&raw.ca)?,
        client: path(&raw.cert)
            .zip(path(&raw.key))
            .map(|(cert, key)| ClientFiles { cert, key }),
    })
}

fn sources(
    raw: Vec<RawSource>,
    dir: &Path,
    turbines: &[Option<Turbine>],
    problems: &mut Vec<Problem>,
) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for (i, raw) in raw.into_iter().enumerate() {
        let at = format!("source[{i}]");
        let Some(name) = raw.name.clone() else {
            continue;
        };
        if names.contains(&name) {
            let expected = "each name once: it is the key of the stored position";
            problems.push(again(&at, "name", &name, expected));
        }
        names.push(name.clone());
        let kind = match raw.kind.as_deref() {
            Some("simulator") => simulator(raw, &at, turbines, problems).map(SourceKind::Simulator),
            Some("csv") => super::csv::build(raw, &at, dir, turbines, problems)
                .map(|file| SourceKind::Csv(Box::new(file))),
            Some("push") => push(raw, &at, dir, turbines, problems).map(SourceKind::Push),
            _ => None, // told by the spec
        };
        if let Some(kind) = kind {
            sources.push(Source { name, kind });
        }
    }
    sources
}

fn push(
    raw: RawSource,
    at: &str,
    dir: &Path,
    turbines: &[Option<Turbine>],
    problems: &mut Vec<Problem>,
) -> Option<PushSource> {
    let turbine = turbine(&raw.turbine?, &format!("{at}.turbine"), turbines, problems)?;
    Some(PushSource {
        path: dir.join(raw.path?),
        turbine: turbine.id.clone(),
        catalogue: Arc::clone(&turbine.catalogue),
    })
}

fn simulator(
    raw: RawSource,
    at: &str,
    turbines: &[Option<Turbine>],
    problems: &mut Vec<Problem>,
) -> Option<SimulatorSource> {
    let turbine = turbine(&raw.turbine?, &format!("{at}.turbine"), turbines, problems)?;
    let mut faults = Vec::new();
    for (i, fault) in raw.fault.into_iter().enumerate() {
        let at = format!("{at}.fault[{i}]");
        faults.extend(simulated_fault(fault, &at, &turbine.catalogue, problems));
    }
    Some(SimulatorSource {
        turbine: turbine.id.clone(),
        catalogue: Arc::clone(&turbine.catalogue),
        seed: raw.seed.unwrap_or(1),
        faults,
    })
}

fn simulated_fault(
    raw: RawFault,
    at: &str,
    catalogue: &Catalogue,
    problems: &mut Vec<Problem>,
) -> Option<Fault> {
    let us = |s: f64| (s * SECOND_US as f64) as i64;
    let channel = channel(&raw.channel?, &format!("{at}.channel"), catalogue, problems);
    let kind = raw.kind?;
    if matches!(kind, FaultKind::Offset | FaultKind::Ramp) && raw.amount.is_none() {
        let expected = "how much, in the channel's unit (per minute for a ramp)";
        problems.push(Problem::new(format!("{at}.amount"), "nothing", expected));
    }
    Some(Fault {
        channel: channel?,
        at_us: us(raw.at_s?),
        lasts_us: raw.lasts_s.map(us),
        kind,
        amount: raw.amount.unwrap_or(0.0),
    })
}
