//! `detectors.toml`: threshold bands and robust z-scores as data, checked as a whole.
//!
//! Invariant: a [`Detectors`] value is valid; every mistake of a file is reported at once, with key, found and expected.

use std::collections::BTreeSet;

use toml::{Table, Value};
use windlass_shared::settings::{self, Problem, Problems, Shape, Spec};
use windlass_shared::time::SECOND_US;
use windlass_shared::window::WindowKind;

/// Everything that is wrong with a detector file, at once.
pub type DetectorErrors = Problems;

/// Longest baseline, windows.
const BASELINE_MAX: i64 = 8_192;
/// Longest quiet time, seconds: 90 days.
const QUIET_S_MAX: i64 = 90 * 86_400;
/// Breaches of a cause further apart than this are two episodes, seconds, where the rule says nothing else.
const QUIET_S: i64 = 3_600;
/// Rules in a file.
const RULES_MAX: usize = 512;

/// A parsed and checked `detectors.toml`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Detectors {
    /// Counts up with each change of the file.
    pub version: u64,
    /// Which states are normal operation.
    pub operating: Operating,
    /// In the order of the file, thresholds first.
    pub rules: Vec<Rule>,
}

/// How to see whether a turbine runs normally.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Operating {
    /// The state channel; without it, or in a catalogue that lacks it, everything is normal.
    pub state_channel: Option<String>,
    /// Its raw codes that are normal: windows with any other one stay out of baselines.
    pub normal: Vec<i64>,
}

/// One detector.
#[derive(Clone, PartialEq, Debug)]
pub struct Rule {
    /// Unique in the file.
    pub id: String,
    /// What it suspects: breaches of one cause on one turbine merge into an episode.
    pub cause: String,
    /// Channel name.
    pub channel: String,
    /// Profiles it is for; empty: every one that has the channel.
    pub profiles: Vec<String>,
    /// Breaches of the cause further apart than this are two episodes, microseconds.
    pub quiet_us: i64,
    /// Only while this holds.
    pub when: Option<When>,
    /// What it does.
    pub kind: RuleKind,
}

/// What a rule does.
#[derive(Clone, PartialEq, Debug)]
pub enum RuleKind {
    /// Threshold bands.
    Threshold(Threshold),
    /// Robust z-score.
    Score(Score),
}

/// Threshold bands on readings or on a window's statistic.
#[derive(Clone, PartialEq, Debug)]
pub struct Threshold {
    /// What is held against the limits.
    pub on: On,
    /// Readings in one minute, or windows in a row, that must breach.
    pub persistence: u32,
    /// Above is a breach.
    pub high: Option<Limits>,
    /// Below is a breach.
    pub low: Option<Limits>,
    /// A breach ends this far on the good side of the warning limit, in the unit.
    pub hysteresis: f64,
}

/// What a threshold looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum On {
    /// Single readings, at once; confirmed by the settled minute that holds them.
    Readings,
    /// A statistic of a window.
    Window(WindowKind, Statistic),
}

/// A number of a window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Statistic {
    /// The headline: mean, circular mean, delta, root mean square, ...
    Mean,
    /// Greatest.
    Max,
    /// Least.
    Min,
}

/// Where a breach begins.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Limits {
    /// Nearer to normal.
    pub warning: Option<f64>,
    /// Further from it.
    pub alarm: Option<f64>,
}

/// Robust z-score of a window's headline against the median and MAD of a baseline of normal windows before it.
#[derive(Clone, PartialEq, Debug)]
pub struct Score {
    /// Which windows.
    pub window: WindowKind,
    /// Applied before scoring.
    pub transform: Transform,
    /// Windows in the baseline.
    pub baseline: usize,
    /// Windows in it before anything is scored.
    pub minimum: usize,
    /// The newest windows that are kept out of it, so that a slow drift does not become normal as it goes.
    pub lag: usize,
    /// Least standard deviation assumed, in the unit (after the transform).
    pub spread_min: f64,
    /// Which sides.
    pub sides: Sides,
    /// |z| beyond this is a breach.
    pub limits: Limits,
    /// Windows in a row that must breach.
    pub persistence: u32,
    /// After so many breaching windows in a row the baseline is forgotten and learnt anew; 0: never.
    pub relearn_after: u32,
}

/// Applied to a headline before scoring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transform {
    /// As it is.
    None,
    /// Natural logarithm; what is not positive is not scored.
    Log,
}

/// Which sides of the normal a score watches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sides {
    /// Above.
    High,
    /// Below.
    Low,
    /// Both.
    Both,
}

/// A condition on another channel of the same turbine.
#[derive(Clone, PartialEq, Debug)]
pub struct When {
    /// Channel name; a catalogue without it has no use for the rule.
    pub channel: String,
    /// What must hold.
    pub is: Condition,
}

/// What must hold of the other channel's newest value, or of its headline in the window.
#[derive(Clone, PartialEq, Debug)]
pub enum Condition {
    /// Value is above.
    Above(f64),
    /// Value is below.
    Below(f64),
    /// Raw code is one of these.
    States(Vec<i64>),
}

fn specs() -> Spec {
    let number = || Shape::Number(f64::MIN, f64::MAX);
    let when = Spec::new()
        .required("channel", Shape::Text)
        .optional("above", number())
        .optional("below", number())
        .optional(
            "states",
            Shape::List(1, Box::new(Shape::Int(i64::MIN, i64::MAX))),
        );
    let rule = || {
        Spec::new()
            .required("id", Shape::Text)
            .required("cause", Shape::Text)
            .required("channel", Shape::Text)
            .optional("profiles", Shape::List(1, Box::new(Shape::Text)))
            .optional("quiet_s", Shape::Int(0, QUIET_S_MAX))
            .optional("when", Shape::Table(when.clone()))
            .optional("persistence", Shape::Int(1, 10_000))
    };
    let threshold = rule()
        .required("on", Shape::OneOf(&["readings", "1m", "5m", "10m"]))
        .optional("statistic", Shape::OneOf(&["mean", "max", "min"]))
        .optional("hysteresis", Shape::Number(0.0, f64::MAX))
        .optional("warning_high", number())
        .optional("alarm_high", number())
        .optional("warning_low", number())
        .optional("alarm_low", number());
    let score = rule()
        .required("window", Shape::OneOf(&["1m", "5m", "10m"]))
        .optional("transform", Shape::OneOf(&["none", "log"]))
        .required("baseline", Shape::Int(8, BASELINE_MAX))
        .required("minimum", Shape::Int(8, BASELINE_MAX))
        .optional("lag", Shape::Int(0, BASELINE_MAX))
        .required("spread_min", Shape::Number(1e-9, f64::MAX))
        .required("direction", Shape::OneOf(&["high", "low", "both"]))
        .optional("warning", Shape::Number(1.0, 1e6))
        .optional("alarm", Shape::Number(1.0, 1e6))
        .optional("relearn_after", Shape::Int(0, i64::from(u32::MAX)));
    let operating = Spec::new().required("state_channel", Shape::Text).required(
        "normal",
        Shape::List(1, Box::new(Shape::Int(i64::MIN, i64::MAX))),
    );
    let tables = |s| Shape::List(0, Box::new(Shape::Table(s)));
    Spec::new()
        .required("version", Shape::Int(1, i64::MAX))
        .optional("operating", Shape::Table(operating))
        .optional("threshold", tables(threshold))
        .optional("robust_z", tables(score))
}

impl Detectors {
    /// Parses `detectors.toml` (`path` is for the messages) and reports all mistakes at once.
    pub fn parse(path: &str, text: &str) -> Result<Self, DetectorErrors> {
        let table = settings::parse(path, text)?;
        let mut problems = settings::check(&specs(), &table);
        if !problems.is_empty() {
            // what a number has to be is checked; what numbers mean together needs all of them there
            consistency(&table, &mut problems);
            return Err(Problems {
                file: path.to_owned(),
                problems,
            });
        }
        let rules = rules(&table);
        consistency(&table, &mut problems);
        settings::finish(path, problems)?;
        let operating = table.get("operating").and_then(Value::as_table);
        Ok(Self {
            version: int(&table, "version").unwrap_or(1) as u64,
            operating: operating.map_or_else(Operating::default, |t| Operating {
                state_channel: text_of(t, "state_channel"),
                normal: ints(t, "normal"),
            }),
            rules,
        })
    }
}

impl Rule {
    /// The window that the rule is judged on.
    pub fn window(&self) -> WindowKind {
        match &self.kind {
            RuleKind::Threshold(t) => match t.on {
                On::Readings => WindowKind::Minute,
                On::Window(kind, _) => kind,
            },
            RuleKind::Score(s) => s.window,
        }
    }
}

fn int(t: &Table, key: &str) -> Option<i64> {
    t.get(key).and_then(Value::as_integer)
}

fn number(t: &Table, key: &str) -> Option<f64> {
    let value = t.get(key)?;
    value
        .as_float()
        .or_else(|| value.as_integer().map(|i| i as f64))
}

fn text_of(t: &Table, key: &str) -> Option<String> {
    t.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn array<'a>(t: &'a Table, key: &str) -> &'a [Value] {
    t.get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn ints(t: &Table, key: &str) -> Vec<i64> {
    array(t, key).iter().filter_map(Value::as_integer).collect()
}

/// Every rule's table with its path for messages, thresholds first.
fn rule_tables(table: &Table) -> impl Iterator<Item = (String, &Table)> {
    ["threshold", "robust_z"].into_iter().flat_map(|key| {
        let tables = array(table, key).iter().enumerate();
        tables.filter_map(move |(i, t)| Some((format!("{key}[{i}]"), t.as_table()?)))
    })
}

fn rules(table: &Table) -> Vec<Rule> {
    let one = |(path, t): (String, &Table)| Rule {
        id: text_of(t, "id").unwrap_or_default(),
        cause: text_of(t, "cause").unwrap_or_default(),
        channel: text_of(t, "channel").unwrap_or_default(),
        profiles: array(t, "profiles")
            .iter()
            .filter_map(|v| v.as_str().map(str::to_owned))
            .collect(),
        quiet_us: int(t, "quiet_s").unwrap_or(QUIET_S) * SECOND_US,
        when: t.get("when").and_then(Value::as_table).and_then(when),
        kind: if path.starts_with("threshold") {
            RuleKind::Threshold(threshold(t))
        } else {
            RuleKind::Score(score(t))
        },
    };
    rule_tables(table).map(one).collect()
}

fn when(t: &Table) -> Option<When> {
    let is = number(t, "above")
        .map(Condition::Above)
        .or_else(|| number(t, "below").map(Condition::Below))
        .unwrap_or_else(|| Condition::States(ints(t, "states")));
    Some(When {
        channel: text_of(t, "channel")?,
        is,
    })
}

fn window(name: &str) -> WindowKind {
    let known = WindowKind::ALL.into_iter().find(|k| k.as_str() == name);
    known.unwrap_or(WindowKind::Minute) // the spec lets nothing else through
}

fn limits(warning: Option<f64>, alarm: Option<f64>) -> Option<Limits> {
    (warning.is_some() || alarm.is_some()).then_some(Limits { warning, alarm })
}

fn threshold(t: &Table) -> Threshold {
    let statistic = match text_of(t, "statistic").as_deref() {
        Some("max") => Statistic::Max,
        Some("min") => Statistic::Min,
        _ => Statistic::Mean,
    };
    let on = text_of(t, "on").unwrap_or_default();
    Threshold {
        on: if on == "readings" {
            On::Readings
        } else {
            On::Window(window(&on), statistic)
        },
        persistence: int(t, "persistence").unwrap_or(1) as u32,
        high: limits(number(t, "warning_high"), number(t, "alarm_high")),
        low: limits(number(t, "warning_low"), number(t, "alarm_low")),
        hysteresis: number(t, "hysteresis").unwrap_or(0.0),
    }
}

fn score(t: &Table) -> Score {
    Score {
        window: window(&text_of(t, "window").unwrap_or_default()),
        transform: match text_of(t, "transform").as_deref() {
            Some("log") => Transform::Log,
            _ => Transform::None,
        },
        baseline: int(t, "baseline").unwrap_or(8) as usize,
        minimum: int(t, "minimum").unwrap_or(8) as usize,
        lag: int(t, "lag").unwrap_or(0) as usize,
        spread_min: number(t, "spread_min").unwrap_or(1.0),
        sides: match text_of(t, "direction").as_deref() {
            Some("high") => Sides::High,
            Some("low") => Sides::Low,
            _ => Sides::Both,
        },
        limits: Limits {
            warning: number(t, "warning"),
            alarm: number(t, "alarm"),
        },
        persistence: int(t, "persistence").unwrap_or(1) as u32,
        relearn_after: int(t, "relearn_after").unwrap_or(0) as u32,
    }
}

/// What the shapes cannot say: ids that are unique, limits that are there and in order.
fn consistency(table: &Table, problems: &mut Vec<Problem>) {
    let mut ids = BTreeSet::new();
    let mut n = 0;
    for (path, t) in rule_tables(table) {
        n += 1;
        if let Some(id) = text_of(t, "id")
            && !ids.insert(id.clone())
        {
            problems.push(Problem::new(
                format!("{path}.id"),
                format!("\"{id}\" again"),
                "an id that no other rule has",
            ));
        }
        if let Some(when) = t.get("when").and_then(Value::as_table) {
            let has = ["above", "below", "states"]
                .iter()
                .filter(|k| when.contains_key(**k))
                .count();
            if has != 1 {
                problems.push(Problem::new(
                    format!("{path}.when"),
                    format!("{has} conditions"),
                    "exactly one of above, below, states",
                ));
            }
        }
        limits_in_order(&path, t, problems);
    }
    if n > RULES_MAX {
        problems.push(Problem::new(
            "threshold, robust_z",
            format!("{n} rules"),
            format!("at most {RULES_MAX}"),
        ));
    }
}

fn limits_in_order(path: &str, t: &Table, problems: &mut Vec<Problem>) {
    let mut order = |less: &str, more: &str| {
        if let (Some(a), Some(b)) = (number(t, less), number(t, more))
            && a > b
        {
            problems.push(Problem::new(
                format!("{path}.{more}"),
                format!("{b}"),
                format!("at least {less}, which is {a}"),
            ));
        }
    };
    let keys: &[&str] = if path.starts_with("threshold") {
        order("warning_high", "alarm_high");
        order("alarm_low", "warning_low");
        order("warning_low", "warning_high");
        &["warning_high", "alarm_high", "warning_low", "alarm_low"]
    } else {
        order("warning", "alarm");
        order("minimum", "baseline");
        &["warning", "alarm"]
    };
    if !keys.iter().any(|k| t.contains_key(*k)) {
        problems.push(Problem::new(
            path,
            "no limit",
            format!("at least one of {}", keys.join(", ")),
        ));
    }
    let on_readings = text_of(t, "on").as_deref() == Some("readings");
    if on_readings && t.contains_key("statistic") {
        problems.push(Problem::new(
            format!("{path}.statistic"),
            "a statistic",
            "none with on = \"readings\"",
        ));
    }
}
