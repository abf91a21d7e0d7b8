//! The configuration file as it stands: its keys, which shape each has, and the serde struct behind them.
//!
//! The [`Spec`] names every key and denies all others; what it rejects is cut out before serde builds [`Raw`], so that the
//! rest of the file is still judged in the same go. Hence every field here has a default.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Deserialize;
use toml::{Table, Value};
use windlass_shared::id::{GatewayId, TurbineId};
use windlass_shared::settings::{Problem, Shape, Spec};

use super::{LogFormat, UplinkAddress};
use crate::source::simulator::FaultKind;

const TIB: i64 = 1 << 40;

/// All of the file.
#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub struct Raw {
    pub gateway: RawGateway,
    pub turbine: Vec<RawTurbine>,
    pub outbox: RawOutbox,
    pub seal: RawSeal,
    pub uplink: RawUplink,
    pub source: Vec<RawSource>,
    pub status: RawStatus,
    pub http: RawHttp,
    pub log: RawLog,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub struct RawGateway {
    pub id: Option<GatewayId>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub struct RawTurbine {
    pub id: Option<TurbineId>,
    pub profile: Option<String>,
    pub threshold: Vec<RawThreshold>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub struct RawThreshold {
    pub channel: Option<String>,
    pub low: Option<f64>,
    pub high: Option<f64>,
}

#[derive(Deserialize, Debug)]
#[serde(default)]
pub struct RawOutbox {
    pub path: Option<String>,
    pub bytes_max: u64,
    pub free_min_bytes: u64,
}
impl Default for RawOutbox {
    fn default() -> Self {
        Self {
            path: None,
            bytes_max: 2 << 30,
            free_min_bytes: 64 << 20,
        }
    }
}

#[derive(Deserialize, Debug)]
#[serde(default)]
pub struct RawSeal {
    pub every_s: u32,
}
impl Default for RawSeal {
    fn default() -> Self {
        Self { every_s: 60 }
    }
}

#[derive(Deserialize, Debug)]
#[serde(default)]
pub struct RawUplink {
    pub url: Option<String>,
    pub ca: Option<String>,
    pub cert: Option<String>,
    pub key: Option<String>,
    pub budget_bytes_per_s: u64,
    pub inflight_max: u16,
    pub ack_timeout_s: u32,
    pub keep_alive_s: u16,
    pub retry_delay_max_s: u32,
}
impl Default for RawUplink {
    fn default() -> Self {
        Self {
            url: None,
            ca: None,
            cert: None,
            key: None,
            budget_bytes_per_s: 256 * 1024,
            inflight_max: 512,
            ack_timeout_s: 30,
            keep_alive_s: 30,
            retry_delay_max_s: 60,
        }
    }
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub struct RawSource {
    pub name: Option<String>,
    pub kind: Option<String>,
    pub turbine: Option<TurbineId>,
    // simulator
    pub seed: Option<u64>,
    pub fault: Vec<RawFault>,
    // csv, push
    pub path: Option<String>,
    pub turbine_column: Option<String>,
    pub turbine_names: BTreeMap<String, TurbineId>,
    pub time_column: Option<String>,
    pub time_format: Option<String>,
    pub time_zone: Option<String>,
    pub dst: Option<String>,
    pub interval_s: Option<f64>,
    pub label: Option<String>,
    pub channel_column: Option<String>,
    pub value_column: Option<String>,
    pub column: Vec<RawColumn>,
    pub delimiter: Option<String>,
    pub decimal_comma: bool,
    pub absent: Vec<String>,
    pub speed: Option<f64>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub struct RawColumn {
    pub name: Option<String>,
    pub channel: Option<String>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub struct RawFault {
    pub channel: Option<String>,
    pub at_s: Option<f64>,
    pub lasts_s: Option<f64>,
    pub kind: Option<FaultKind>,
    pub amount: Option<f64>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub struct RawStatus {
    pub socket: Option<String>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub struct RawHttp {
    pub listen: Option<SocketAddr>,
}

#[derive(Deserialize, Debug)]
#[serde(default)]
pub struct RawLog {
    pub level: String,
    pub format: LogFormat,
}
impl Default for RawLog {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

/// Every key of the file.
pub fn spec() -> Spec {
    let turbine = Spec::new()
        .required("id", name())
        .required("profile", Shape::Text)
        .optional("threshold", list(0, threshold()));
    Spec::new()
        .required("gateway", Shape::Table(Spec::new().required("id", name())))
        .required("turbine", list(1, turbine))
        .required("outbox", Shape::Table(outbox()))
        .optional(
            "seal",
            Shape::Table(Spec::new().optional("every_s", Shape::Int(10, 86_400))),
        )
        .required("uplink", Shape::Table(uplink()))
        .required("source", sources())
        .optional(
            "status",
            Shape::Table(Spec::new().optional("socket", Shape::Text)),
        )
        .optional(
            "http",
            Shape::Table(Spec::new().optional("listen", listen())),
        )
        .optional("log", Shape::Table(log()))
}

pub fn list(least: usize, each: Spec) -> Shape {
    Shape::List(least, Box::new(Shape::Table(each)))
}

pub fn name() -> Shape {
    Shape::Parsed {
        expected: "a name of 1 to 32 of A-Z a-z 0-9 _ - with a letter or digit first",
        accepts: |s| TurbineId::new(s).is_ok(),
    }
}

fn number() -> Shape {
    Shape::Number(f64::MIN, f64::MAX)
}

fn threshold() -> Spec {
    Spec::new()
        .required("channel", Shape::Text)
        .optional("low", number())
        .optional("high", number())
}

fn outbox() -> Spec {
    Spec::new()
        .required("path", Shape::Text)
        .optional("bytes_max", Shape::Int(32 * 1024, TIB))
        .optional("free_min_bytes", Shape::Int(0, TIB))
}

fn uplink() -> Spec {
    let url = Shape::Parsed {
        expected: "mqtt://host[:1883] or mqtts://host[:8883]",
        accepts: |s| UplinkAddress::parse(s).is_some(),
    };
    Spec::new()
        .required("url", url)
        .optional("ca", Shape::Text)
        .optional("cert", Shape::Text)
        .optional("key", Shape::Text)
        .optional("budget_bytes_per_s", Shape::Int(500, 1 << 30))
        .optional("inflight_max", Shape::Int(1, 8_192))
        .optional("ack_timeout_s", Shape::Int(1, 3_600))
        .optional("keep_alive_s", Shape::Int(5, 1_177))
        .optional("retry_delay_max_s", Shape::Int(1, 3_600))
}

fn sources() -> Shape {
    let fault = Spec::new()
        .required("channel", Shape::Text)
        .required("at_s", Shape::Number(0.0, 1e9))
        .optional("lasts_s", Shape::Number(0.0, 1e9))
        .required("kind", Shape::OneOf(&["offset", "ramp", "stuck", "dead"]))
        .optional("amount", number());
    let simulator = Spec::new()
        .required("name", Shape::Text)
        .required("turbine", name())
        .optional("seed", Shape::Int(0, i64::MAX))
        .optional("fault", list(0, fault));
    let push = Spec::new()
        .required("name", Shape::Text)
        .required("path", Shape::Text)
        .required("turbine", name());
    let tagged = Shape::Tagged {
        tag: "kind",
        cases: vec![
            ("simulator", simulator),
            ("csv", super::csv::spec()),
            ("push", push),
        ],
    };
    Shape::List(0, Box::new(tagged))
}

fn listen() -> Shape {
    Shape::Parsed {
        expected: "a loopback address and port such as 127.0.0.1:9464 (metrics carry no authentication)",
        accepts: |s| s.parse::<SocketAddr>().is_ok_and(|a| a.ip().is_loopback()),
    }
}

fn log() -> Spec {
    let level = Shape::Parsed {
        expected: "error, warn, info, debug, trace, or a filter such as info,rumqttc=debug",
        accepts: |s| tracing_subscriber::EnvFilter::try_new(s).is_ok(),
    };
    Spec::new()
        .optional("level", level)
        .optional("format", Shape::OneOf(&["text", "json"]))
}

/// Cuts out what `problems` complain about, so that the rest can be read.
pub fn prune(tree: &mut Table, problems: &[Problem]) {
    let mut root = Value::Table(std::mem::take(tree));
    for problem in problems {
        let mut parts: Vec<Part> = problem.key.split('.').flat_map(parts).collect();
        let Some(last) = parts.pop() else { continue };
        let mut at = Some(&mut root);
        for part in parts {
            at = at.and_then(|value| match part {
                Part::Key(key) => value.get_mut(key),
                Part::Index(i) => value.get_mut(i),
            });
        }
        match (at, last) {
            (Some(Value::Table(table)), Part::Key(key)) => drop(table.remove(key)),
            // the place of the others must not change
            (Some(Value::Array(items)), Part::Index(i)) if i < items.len() => {
                items[i] = Value::Table(Table::new());
            }
            _ => {}
        }
    }
    if let Value::Table(table) = root {
        *tree = table;
    }
}

enum Part<'a> {
    Key(&'a str),
    Index(usize),
}

/// `source[1]` is a key and an index.
fn parts(text: &str) -> Vec<Part<'_>> {
    match text.strip_suffix(']').and_then(|t| t.rsplit_once('[')) {
        Some((key, index)) => match index.parse() {
            Ok(i) => vec![Part::Key(key), Part::Index(i)],
            Err(_) => vec![Part::Key(text)],
        },
        None => vec![Part::Key(text)],
    }
}
