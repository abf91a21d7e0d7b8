//! What may stand in `windlass-cloud.toml`.

use std::net::{IpAddr, SocketAddr};

use toml::{Table, Value};
use windlass_shared::settings::{Problem, Shape, Spec};

/// A day and ten years, the longest waits that make sense.
const WAIT_MAX_S: f64 = 86_400.0;
const RETENTION_MAX_HOURS: i64 = 87_600;

fn is_loopback(text: &str) -> bool {
    text.parse::<SocketAddr>()
        .is_ok_and(|a| a.ip().is_loopback())
}

fn loopback() -> Shape {
    Shape::Parsed {
        expected: "a loopback address and port such as 127.0.0.1:1883",
        accepts: is_loopback,
    }
}

fn seconds(min: f64) -> Shape {
    Shape::Number(min, WAIT_MAX_S)
}

/// The keys.
pub fn spec() -> Spec {
    let data = Spec::new().required("dir", Shape::Text);
    let fleet = Spec::new().required("file", Shape::Text);
    let log = Spec::new()
        .optional("partitions", Shape::Int(1, 256))
        .optional("retention_hours", Shape::Int(1, RETENTION_MAX_HOURS))
        .optional("disk_max_mb", Shape::Int(1, 1 << 30));
    let broker = Spec::new().required("listen", loopback());
    let mqtt = Spec::new()
        .required(
            "url",
            Shape::Parsed {
                expected: "mqtts://host:port, or mqtt://host:port on this machine",
                accepts: |s| split_url(s).is_some(),
            },
        )
        .optional("client_id", Shape::Text)
        .optional("ca", Shape::Text)
        .optional("cert", Shape::Text)
        .optional("key", Shape::Text);
    let process = Spec::new()
        .optional("settle_wait_s", seconds(0.0))
        .optional("skew_max_s", seconds(0.0))
        .optional("resend_wait_s", seconds(0.1))
        .optional("status_every_ms", Shape::Int(0, 60_000))
        .optional("snapshot_every_s", seconds(0.1))
        .optional("detectors", Shape::Text);
    let lake = Spec::new()
        .optional("url", Shape::Text)
        .optional("cut_every_s", seconds(0.1));
    let http = Spec::new().required("listen", loopback());
    let console = Spec::new()
        .required("listen", loopback())
        .optional("stale_after_s", seconds(0.1));
    Spec::new()
        .required("data", Shape::Table(data))
        .required("fleet", Shape::Table(fleet))
        .optional("log", Shape::Table(log))
        .optional("broker", Shape::Table(broker))
        .optional("mqtt", Shape::Table(mqtt))
        .optional("process", Shape::Table(process))
        .optional("lake", Shape::Table(lake))
        .required("http", Shape::Table(http))
        .optional("console", Shape::Table(console))
}

/// Is it TLS, the host and the port.
pub fn split_url(url: &str) -> Option<(bool, String, u16)> {
    let (tls, rest) = match url.strip_prefix("mqtts://") {
        Some(rest) => (true, rest),
        None => (false, url.strip_prefix("mqtt://")?),
    };
    let (host, port) = rest.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let ok = !host.is_empty() && !host.contains(['/', '@', ' ']);
    ok.then_some((tls, host.to_owned(), port.parse().ok()?))
}

/// What the keys say together.
pub fn across(table: &Table) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mqtt = table.get("mqtt").and_then(Value::as_table);
    match (table.contains_key("broker"), mqtt.is_some()) {
        (true, true) => problems.push(Problem::new(
            "mqtt",
            "both [broker] and [mqtt]",
            "one of them: the embedded broker or an external one",
        )),
        (false, false) => problems.push(Problem::new(
            "broker",
            "neither [broker] nor [mqtt]",
            "one of them: the embedded broker or an external one",
        )),
        _ => {}
    }
    if let Some(mqtt) = mqtt {
        across_mqtt(mqtt, &mut problems);
    }
    problems
}

fn across_mqtt(mqtt: &Table, problems: &mut Vec<Problem>) {
    let Some(url) = mqtt.get("url").and_then(Value::as_str) else {
        return;
    };
    let Some((tls, host, _)) = split_url(url) else {
        return;
    };
    let files = [
        ("ca", "a certificate authority"),
        ("cert", "a certificate"),
        ("key", "a private key"),
    ];
    if tls {
        for (key, _) in files.iter().filter(|(key, _)| !mqtt.contains_key(*key)) {
            problems.push(Problem::new(
                format!("mqtt.{key}"),
                "nothing",
                "a PEM file: mqtts:// needs ca, cert and key",
            ));
        }
        return;
    }
    let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if !here {
        problems.push(Problem::new(
            "mqtt.url",
            format!("{url:?}"),
            "mqtts:// for a broker on another machine",
        ));
    }
    for (key, what) in files.iter().filter(|(key, _)| mqtt.contains_key(*key)) {
        problems.push(Problem::new(
            format!("mqtt.{key}"),
            *what,
            "none without mqtts://",
        ));
    }
}
