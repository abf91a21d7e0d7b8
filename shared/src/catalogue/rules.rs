//! What each kind of channel must have, so that its aggregate means something.

use std::collections::BTreeMap;

use super::{CHANNELS_MAX, Channel, Kind, RateGroup, Raw};
use crate::settings::Problem;

/// Longest channel or profile name, bytes.
const NAME_BYTES_MAX: usize = 64;
/// Longest unit, characters.
const UNIT_CHARS_MAX: usize = 16;
/// Shortest and longest period, microseconds: 1 ms to 1 h.
const PERIOD_US: std::ops::RangeInclusive<i64> = 1_000..=3_600_000_000;
/// Parts of scale and offset; with raws of 64 bits the arithmetic fits 128.
const PART_MAX: i64 = 1_000_000_000_000;

/// Every rule that is broken.
pub(super) fn check(name: &str, version: u32, channels: &[Channel]) -> Vec<Problem> {
    let mut out = Vec::new();
    if !is_name(name, b"-") {
        out.push(Problem::new(
            "name",
            format!("`{name}`"),
            "1 to 64 of a-z 0-9 _ - with a letter first",
        ));
    }
    if version == 0 {
        out.push(Problem::new("version", "0", "at least 1"));
    }
    if channels.is_empty() || channels.len() > CHANNELS_MAX {
        out.push(Problem::new(
            "channels",
            channels.len().to_string(),
            format!("1 to {CHANNELS_MAX}"),
        ));
    }
    let mut ids = BTreeMap::new();
    let mut names = BTreeMap::new();
    for channel in channels {
        let key = |what: &str| format!("channel {} ({}).{what}", channel.id.0, channel.name);
        if let Some(other) = ids.insert(channel.id, &channel.name) {
            out.push(Problem::new(
                key("id"),
                format!("{}, which `{other}` has too", channel.id.0),
                "an id of its own",
            ));
        }
        if let Some(other) = names.insert(&channel.name, channel.id) {
            out.push(Problem::new(
                key("name"),
                format!("`{}`, which channel {} has too", channel.name, other.0),
                "a name of its own",
            ));
        }
        for (what, found, expected) in broken(channel) {
            out.push(Problem::new(key(what), found, expected));
        }
    }
    out
}

fn is_name(name: &str, also: &[u8]) -> bool {
    name.len() <= NAME_BYTES_MAX
        && name.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || also.contains(&b))
}

type Rule = (&'static str, bool, String, &'static str);

/// The rules that one channel breaks: (key, found, expected).
fn broken(c: &Channel) -> Vec<(&'static str, String, &'static str)> {
    let rules: Vec<Rule> = general(c).into_iter().chain(of_the_kind(c)).collect();
    rules
        .into_iter()
        .filter(|(_, holds, _, _)| !holds)
        .map(|(key, _, found, expected)| (key, found, expected))
        .collect()
}

fn period(c: &Channel) -> String {
    if c.period_us == 0 {
        "on change".into()
    } else {
        format!("{} ms", c.period_us as f64 / 1000.0)
    }
}

fn general(c: &Channel) -> [Rule; 7] {
    [
        (
            "name",
            is_name(&c.name, b""),
            format!("`{}`", c.name),
            "1 to 64 of a-z 0-9 _ with a letter first",
        ),
        (
            "unit",
            c.unit.chars().count() <= UNIT_CHARS_MAX && !c.unit.chars().any(char::is_control),
            format!("`{}`", c.unit),
            "at most 16 printable characters",
        ),
        (
            "scale",
            (1..=PART_MAX).contains(&c.scale_num) && (1..=PART_MAX).contains(&c.scale_den),
            format!("{}/{}", c.scale_num, c.scale_den),
            "a positive fraction of parts up to 10^12",
        ),
        (
            "offset",
            (-PART_MAX..=PART_MAX).contains(&c.offset_num),
            format!("{}/{}", c.offset_num, c.scale_den),
            "a fraction of parts up to 10^12",
        ),
        (
            "period",
            c.period_us == 0 || PERIOD_US.contains(&c.period_us),
            period(c),
            "1ms to 60min, or \"on change\"",
        ),
        (
            "rate_group",
            c.rate_group != RateGroup::Event || c.period_us == 0,
            format!("event with a period of {}", period(c)),
            "period \"on change\" in rate group event",
        ),
        (
            "modulus",
            c.modulus.is_none_or(|m| m > 0 && c.kind == Kind::Counter),
            c.modulus.unwrap_or_default().to_string(),
            "a positive integer, on a counter only",
        ),
    ]
}

fn of_the_kind(c: &Channel) -> Vec<Rule> {
    let int = (
        "raw",
        c.raw == Raw::Int,
        "float".to_string(),
        "int for a counter, a state or an event",
    );
    match c.kind {
        Kind::State => vec![
            int,
            (
                "period",
                c.period_us > 0,
                period(c),
                "a period for a state: each reading stands for one",
            ),
        ],
        Kind::Event => vec![
            int,
            (
                "period",
                c.period_us == 0,
                period(c),
                "\"on change\" for an event",
            ),
            (
                "rate_group",
                c.rate_group == RateGroup::Event,
                c.rate_group.as_str().into(),
                "event for an event",
            ),
        ],
        Kind::Counter => vec![int],
        Kind::Angle => vec![(
            "unit",
            c.unit == "deg",
            format!("`{}`", c.unit),
            "deg for an angle",
        )],
        Kind::Analogue | Kind::Setpoint | Kind::Rms => vec![],
    }
}
