//! Profiles: catalogues as TOML files under `hardware/profiles/`, written by people.
//!
//! ```toml
//! name = "example"
//! version = 1
//! [defaults]                 # any of kind, raw, period, class, rate_group
//! period = "1s"
//! class = "condition"
//! rate_group = "slow"
//! [[channels]]
//! id = 1
//! name = "gearbox_oil_temperature"
//! unit = "°C"
//! scale = 0.1                # value = raw * scale + offset; a number, or a fraction such as "360/4096"
//! ```
//! `kind` is analogue where nothing says otherwise, `raw` int, `scale` 1, `offset` 0; `modulus` belongs to counters.

use toml::{Table, Value};

use super::{Catalogue, Channel, Class, Kind, RateGroup, Raw};
use crate::id::ChannelId;
use crate::settings::{self, Problem, Problems, Shape, Spec};

const KINDS: &[&str] = &[
    "analogue", "angle", "counter", "state", "event", "setpoint", "rms",
];
const RAWS: &[&str] = &["int", "float"];
const CLASSES: &[&str] = &["compliance", "condition", "diagnostic"];
const RATE_GROUPS: &[&str] = &["fast", "slow", "event"];

/// Reads a profile; `file` is only for the message.
pub fn parse(file: &str, text: &str) -> Result<Catalogue, Problems> {
    let table = settings::read(file, text, &spec())?;
    let (name, version) = (text_of(&table, "name"), int_of(&table, "version"));
    let empty = Table::new();
    let defaults = table
        .get("defaults")
        .and_then(Value::as_table)
        .unwrap_or(&empty);
    let mut problems = Vec::new();
    let mut channels = Vec::new();
    let listed = table.get("channels").and_then(Value::as_array);
    for (i, entry) in listed.into_iter().flatten().enumerate() {
        if let Some(entry) = entry.as_table() {
            match channel(entry, defaults, &format!("channels[{i}]")) {
                Ok(channel) => channels.push(channel),
                Err(mut found) => problems.append(&mut found),
            }
        }
    }
    settings::finish(file, problems)?;
    Catalogue::new(name, version as u32, channels).map_err(|problems| Problems {
        file: file.into(),
        problems,
    })
}

fn spec() -> Spec {
    let period = || Shape::Parsed {
        expected: "a period such as \"1s\", \"100ms\", \"10min\", or \"on change\"",
        accepts: |s| period_us(s).is_some(),
    };
    let shared = |spec: Spec| {
        spec.optional("kind", Shape::OneOf(KINDS))
            .optional("raw", Shape::OneOf(RAWS))
            .optional("period", period())
            .optional("class", Shape::OneOf(CLASSES))
            .optional("rate_group", Shape::OneOf(RATE_GROUPS))
    };
    let channel = shared(
        Spec::new()
            .required("id", Shape::Int(0, i64::from(u16::MAX)))
            .required("name", Shape::Text)
            .required("unit", Shape::Any)
            .optional("scale", Shape::Any)
            .optional("offset", Shape::Any)
            .optional("modulus", Shape::Int(1, i64::MAX)),
    );
    Spec::new()
        .required("name", Shape::Text)
        .required("version", Shape::Int(1, i64::from(u32::MAX)))
        .optional("defaults", Shape::Table(shared(Spec::new())))
        .required("channels", Shape::List(1, Box::new(Shape::Table(channel))))
}

fn text_of<'a>(table: &'a Table, key: &str) -> &'a str {
    table.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn int_of(table: &Table, key: &str) -> i64 {
    table
        .get(key)
        .and_then(Value::as_integer)
        .unwrap_or_default()
}

/// One channel; the shapes of its keys have been checked.
fn channel(entry: &Table, defaults: &Table, path: &str) -> Result<Channel, Vec<Problem>> {
    let name = text_of(entry, "name");
    let path = format!("{path} ({name})");
    let mut problems = Vec::new();
    let chosen = |key: &str| {
        let value = entry.get(key).or_else(|| defaults.get(key));
        value.and_then(Value::as_str)
    };
    let mut needed = |key: &str| {
        chosen(key).unwrap_or_else(|| {
            problems.push(Problem::new(
                format!("{path}.{key}"),
                "nothing",
                format!("a {key}, here or under [defaults]"),
            ));
            ""
        })
    };
    let (period, class, rate_group) = (needed("period"), needed("class"), needed("rate_group"));
    let mut fraction = |key: &str, default: Fraction| match entry.get(key) {
        None => default,
        Some(value) => Fraction::of(value).unwrap_or_else(|| {
            problems.push(Problem::new(
                format!("{path}.{key}"),
                value.to_string(),
                "a decimal such as 0.1, or a fraction such as \"360/4096\"",
            ));
            default
        }),
    };
    let scale = fraction("scale", Fraction { num: 1, den: 1 });
    let offset = fraction("offset", Fraction { num: 0, den: 1 });
    let unit = entry.get("unit").and_then(Value::as_str);
    if unit.is_none() {
        problems.push(Problem::new(
            format!("{path}.unit"),
            entry.get("unit").map_or_else(String::new, Value::to_string),
            "a text, empty for a number without unit",
        ));
    }
    let common = common_denominator(scale, offset);
    if common.is_none() {
        problems.push(Problem::new(
            format!("{path}.scale"),
            "parts that do not fit 64 bits with the offset",
            "a shorter scale or offset",
        ));
    }
    let (Some((scale_num, offset_num, scale_den)), true) = (common, problems.is_empty()) else {
        return Err(problems);
    };
    let pick = |word: &str, of: &[&str]| of.iter().position(|w| *w == word).unwrap_or(0);
    Ok(Channel {
        id: ChannelId(int_of(entry, "id") as u16),
        name: name.into(),
        unit: unit.unwrap_or_default().into(),
        kind: Kind::ALL[pick(chosen("kind").unwrap_or("analogue"), KINDS)],
        raw: Raw::ALL[pick(chosen("raw").unwrap_or("int"), RAWS)],
        scale_num,
        scale_den,
        offset_num,
        period_us: period_us(period).unwrap_or_default(),
        class: Class::ALL[pick(class, CLASSES)],
        rate_group: RateGroup::ALL[pick(rate_group, RATE_GROUPS)],
        modulus: entry.get("modulus").and_then(Value::as_integer),
    })
}

/// `1s`, `100ms`, `10min`; 0 for `on change`.
fn period_us(text: &str) -> Option<i64> {
    if text == "on change" {
        return Some(0);
    }
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let unit = match text[digits..].trim_start() {
        "ms" => 1_000,
        "s" => 1_000_000,
        "min" => 60_000_000,
        _ => return None,
    };
    let n: i64 = text[..digits].parse().ok()?;
    n.checked_mul(unit).filter(|us| *us > 0)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Fraction {
    num: i64,
    den: i64,
}

impl Fraction {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Integer(i) => Some(Self { num: *i, den: 1 }),
            // the shortest decimal that means this number is what the author wrote
            Value::Float(x) => Self::decimal(&x.to_string()),
            Value::String(s) => match s.split_once('/') {
                Some((num, den)) => {
                    let (num, den) = (Self::decimal(num.trim())?, den.trim().parse::<i64>().ok()?);
                    (den > 0).then_some(())?;
                    Some(
                        Self {
                            num: num.num,
                            den: num.den.checked_mul(den)?,
                        }
                        .reduced(),
                    )
                }
                None => Self::decimal(s.trim()),
            },
            _ => None,
        }
    }

    fn decimal(text: &str) -> Option<Self> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        if !decimals.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        Some(
            Self {
                num: format!("{whole}{decimals}").parse().ok()?,
                den: 10i64.checked_pow(decimals.len() as u32)?,
            }
            .reduced(),
        )
    }

    fn reduced(self) -> Self {
        let by = gcd(self.num, self.den);
        Self {
            num: self.num / by,
            den: self.den / by,
        }
    }
}

/// Greatest common divisor; `b` is positive.
fn gcd(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (i128::from(a).abs(), i128::from(b));
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a as i64
}

/// (scale numerator, offset numerator, denominator of both).
fn common_denominator(scale: Fraction, offset: Fraction) -> Option<(i64, i64, i64)> {
    let by = gcd(scale.den, offset.den);
    let den = scale.den.checked_mul(offset.den / by)?;
    Some((
        scale.num.checked_mul(den / scale.den)?,
        offset.num.checked_mul(den / offset.den)?,
        den,
    ))
}
