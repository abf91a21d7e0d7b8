//! Configuration checks for both binaries: every mistake at once, each with its key, what was found and what was expected.
//!
//! A [`Spec`] says which keys a table may have; [`check`] compares; the caller then lets serde build its struct.
//!
//! Invariant: a table that [`check`] accepts holds no key that the spec does not name, and every required one, with the
//! right type and within its range.

use std::fmt;

use toml::{Table, Value};

/// One mistake.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Path of the key, for example `source[1].period`; or the line of a syntax error.
    pub key: String,
    /// What stands there.
    pub found: String,
    /// What should.
    pub expected: String,
    /// What was probably meant.
    pub hint: Option<String>,
}

impl Problem {
    /// A mistake without a hint.
    pub fn new(
        key: impl Into<String>,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self {
            key: key.into(),
            found: found.into(),
            expected: expected.into(),
            hint: None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: found {}, expected {}",
            self.key, self.found, self.expected
        )?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// All mistakes of one file.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct Problems {
    /// Which file, as the operator named it.
    pub file: String,
    /// In the order of the spec.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.problems.len();
        let s = if n == 1 { "" } else { "s" };
        write!(f, "{}: {n} mistake{s}", self.file)?;
        self.problems.iter().try_for_each(|p| write!(f, "\n  {p}"))
    }
}

/// What may stand under a key.
#[derive(Clone, Debug)]
pub enum Shape {
    /// Any text that is not empty.
    Text,
    /// A text that `accepts` agrees with; `expected` says what that is.
    Parsed {
        /// For the message: "a duration such as 10s".
        expected: &'static str,
        /// Decides.
        accepts: fn(&str) -> bool,
    },
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// An integer in this range, both ends included.
    Int(i64, i64),
    /// A finite number in this range, both ends included; an integer will do.
    Number(f64, f64),
    /// `true` or `false`.
    Bool,
    /// An array of at least so many of these; arrays of tables too.
    List(usize, Box<Shape>),
    /// A table with these keys.
    Table(Spec),
    /// A table whose keys are the user's own, with values of one shape.
    Map(Box<Shape>),
    /// A table whose key `tag` decides which other keys it has.
    Tagged {
        /// Name of the deciding key.
        tag: &'static str,
        /// Its values, and the other keys that go with each.
        cases: Vec<(&'static str, Spec)>,
    },
    /// Anything: checked elsewhere.
    Any,
}

/// The keys of a table.
#[derive(Clone, Debug, Default)]
pub struct Spec(Vec<(&'static str, bool, Shape)>);

impl Spec {
    /// No keys yet.
    pub fn new() -> Self {
        Self::default()
    }
    /// A key that must be there.
    #[must_use]
    pub fn required(mut self, key: &'static str, shape: Shape) -> Self {
        self.0.push((key, true, shape));
        self
    }
    /// A key that has a default.
    #[must_use]
    pub fn optional(mut self, key: &'static str, shape: Shape) -> Self {
        self.0.push((key, false, shape));
        self
    }
}

/// Parses `text` and checks it; `file` is only for the message.
pub fn read(file: &str, text: &str, spec: &Spec) -> Result<Table, Problems> {
    let table = parse(file, text)?;
    finish(file, check(spec, &table)).map(|()| table)
}

/// Parses `text`; a syntax error becomes a problem with its line.
pub fn parse(file: &str, text: &str) -> Result<Table, Problems> {
    text.parse().map_err(|e: toml::de::Error| {
        let line = e.span().map_or(1, |span| {
            1 + text
                .bytes()
                .take(span.start)
                .filter(|b| *b == b'\n')
                .count()
        });
        Problems {
            file: file.into(),
            problems: vec![Problem::new(
                format!("line {line}"),
                e.message().replace('\n', ", "),
                "valid TOML",
            )],
        }
    })
}

/// An error when there are problems.
pub fn finish(file: &str, problems: Vec<Problem>) -> Result<(), Problems> {
    if problems.is_empty() {
        return Ok(());
    }
    Err(Problems {
        file: file.into(),
        problems,
    })
}

/// Every way in which `table` differs from `spec`.
pub fn check(spec: &Spec, table: &Table) -> Vec<Problem> {
    let mut problems = Vec::new();
    check_table(&[spec], table, "", &mut problems);
    problems
}

/// `specs` together name the keys of `table`.
fn check_table(specs: &[&Spec], table: &Table, path: &str, out: &mut Vec<Problem>) {
    let keys = || specs.iter().flat_map(|spec| &spec.0);
    for (key, required, shape) in keys() {
        match table.get(*key) {
            Some(value) => check_value(shape, value, &join(path, key), out),
            None if *required => {
                out.push(Problem::new(join(path, key), "nothing", shape.expected()));
            }
            None => {}
        }
    }
    for key in table.keys() {
        if keys().any(|(known, _, _)| known == key) {
            continue;
        }
        let known: Vec<&str> = keys().map(|(known, _, _)| *known).collect();
        let mut problem = Problem::new(
            join(path, key),
            "an unknown key",
            if known.is_empty() {
                "no key here".into()
            } else {
                format!("one of {}", known.join(", "))
            },
        );
        problem.hint = nearest(key, &known).map(|k| format!("did you mean `{k}`?"));
        out.push(problem);
    }
}

fn check_value(shape: &Shape, value: &Value, path: &str, out: &mut Vec<Problem>) {
    let fits = match (shape, value) {
        (Shape::Any, _) | (Shape::Bool, Value::Boolean(_)) => true,
        (Shape::Text, Value::String(s)) => !s.is_empty(),
        (Shape::Parsed { accepts, .. }, Value::String(s)) => accepts(s),
        (Shape::OneOf(allowed), Value::String(s)) => {
            if !allowed.contains(&s.as_str()) {
                let mut problem = Problem::new(path, show(value), shape.expected());
                problem.hint = nearest(s, allowed).map(|k| format!("did you mean `{k}`?"));
                out.push(problem);
            }
            true
        }
        (Shape::Int(min, max), Value::Integer(i)) => (min..=max).contains(&i),
        (Shape::Number(min, max), Value::Float(x)) => (min..=max).contains(&x),
        (Shape::Number(min, max), Value::Integer(i)) => (*min..=*max).contains(&(*i as f64)),
        (Shape::List(least, each), Value::Array(items)) => {
            for (i, item) in items.iter().enumerate() {
                check_value(each, item, &format!("{path}[{i}]"), out);
            }
            items.len() >= *least
        }
        (Shape::Table(spec), Value::Table(table)) => {
            check_table(&[spec], table, path, out);
            true
        }
        (Shape::Map(each), Value::Table(table)) => {
            for (key, item) in table {
                check_value(each, item, &join(path, key), out);
            }
            true
        }
        (Shape::Tagged { tag, cases }, Value::Table(table)) => {
            check_tagged(tag, cases, table, path, out);
            true
        }
        _ => false,
    };
    if !fits {
        out.push(Problem::new(path, show(value), shape.expected()));
    }
}

fn check_tagged(
    tag: &'static str,
    cases: &[(&'static str, Spec)],
    table: &Table,
    path: &str,
    out: &mut Vec<Problem>,
) {
    let allowed: Vec<&str> = cases.iter().map(|(case, _)| *case).collect();
    let expected = format!("one of {}", allowed.join(", "));
    let Some(value) = table.get(tag) else {
        out.push(Problem::new(join(path, tag), "nothing", expected));
        return;
    };
    let text = value.as_str().unwrap_or_default();
    let Some((_, spec)) = cases.iter().find(|(case, _)| *case == text) else {
        let mut problem = Problem::new(join(path, tag), show(value), expected);
        problem.hint = nearest(text, &allowed).map(|k| format!("did you mean `{k}`?"));
        out.push(problem);
        return;
    };
    let with_tag = Spec::new().required(tag, Shape::Text);
    check_table(&[&with_tag, spec], table, path, out);
}

impl Shape {
    fn expected(&self) -> String {
        match self {
            Self::Text => "a text".into(),
            Self::Parsed { expected, .. } => (*expected).into(),
            Self::OneOf(allowed) => format!("one of {}", allowed.join(", ")),
            Self::Int(min, i64::MAX) => format!("an integer of at least {min}"),
            Self::Int(min, max) => format!("an integer from {min} to {max}"),
            Self::Number(min, max) if max.is_infinite() || *max == f64::MAX => {
                format!("a number of at least {min}")
            }
            Self::Number(min, max) => format!("a number from {min} to {max}"),
            Self::Bool => "true or false".into(),
            Self::List(0, _) => "an array".into(),
            Self::List(least, _) => format!("an array of at least {least}"),
            Self::Table(_) | Self::Map(_) | Self::Tagged { .. } => "a table".into(),
            Self::Any => "a value".into(),
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.into()
    } else {
        format!("{path}.{key}")
    }
}

/// A value as it stands in a message: short, on one line.
fn show(value: &Value) -> String {
    const CHARS_MAX: usize = 60;
    match value {
        Value::Table(_) => "a table".into(),
        Value::Array(items) => format!("an array of {}", items.len()),
        other => {
            let text = other.to_string();
            if text.chars().count() > CHARS_MAX {
                format!("{}...", text.chars().take(CHARS_MAX).collect::<String>())
            } else {
                text
            }
        }
    }
}

/// The known word that `word` was probably meant to be: at most a third of its letters differ.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    const CHARS_MAX: usize = 64;
    if word.chars().count() > CHARS_MAX {
        return None;
    }
    known
        .iter()
        .map(|k| (edits(word, k), *k))
        .min()
        .filter(|(edits, k)| *edits <= k.chars().count().max(3) / 3)
        .map(|(_, k)| k)
}

/// Insertions, deletions and replacements from `a` to `b`; a swap of neighbours counts as two.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Spec {
        Spec::new()
            .required(
                "gateway",
                Shape::Table(Spec::new().required(
                    "id",
                    Shape::Parsed {
                        expected: "a name",
                        accepts: |s| crate::id::GatewayId::new(s).is_ok(),
                    },
                )),
            )
            .optional(
                "outbox",
                Shape::Table(
                    Spec::new()
                        .required("path", Shape::Text)
                        .optional("budget_mb", Shape::Int(1, 100_000))
                        .optional("sync", Shape::OneOf(&["full", "normal"])),
                ),
            )
            .required(
                "source",
                Shape::List(
                    1,
                    Box::new(Shape::Tagged {
                        tag: "kind",
                        cases: vec![
                            (
                                "simulator",
                                Spec::new().optional("seed", Shape::Int(0, i64::MAX)),
                            ),
                            (
                                "csv",
                                Spec::new()
                                    .required("files", Shape::List(1, Box::new(Shape::Text)))
                                    .optional("columns", Shape::Map(Box::new(Shape::Text)))
                                    .optional("speed", Shape::Number(0.0, f64::INFINITY)),
                            ),
                        ],
                    }),
                ),
            )
            .optional("verbose", Shape::Bool)
    }

    fn problems_of(text: &str) -> String {
        match read("windlass-edge.toml", text, &spec()) {
            Ok(_) => "fine".into(),
            Err(problems) => problems.to_string(),
        }
    }

    #[test]
    fn a_good_file_passes() {
        let text = r#"
            verbose = true
            gateway = { id = "GW01" }
            outbox = { path = "/var/lib/windlass", budget_mb = 500, sync = "full" }
            [[source]]
            kind = "csv"
            files = ["a.csv"]
            columns = { ActivePowerMean = "active_power" }
            speed = 10
            [[source]]
            kind = "simulator"
        "#;
        assert_eq!(problems_of(text), "fine");
    }

    #[test]
    fn all_mistakes_come_at_once() {
        let text = r#"
            gatewy = 1
            verbose = "yes"
            gateway = { id = "GW 01" }
            outbox = { budget_mb = 0, budgetmb = 3, sync = "ful" }
            [[source]]
            kind = "csv"
            files = []
            columns = { ActivePowerMean = 3 }
            speed = nan
            [[source]]
            kind = "simulatr"
            [[source]]
            seed = 1
        "#;
        let expected = "\
windlass-edge.toml: 12 mistakes
  gateway.id: found \"GW 01\", expected a name
  outbox.path: found nothing, expected a text
  outbox.budget_mb: found 0, expected an integer from 1 to 100000
  outbox.sync: found \"ful\", expected one of full, normal (did you mean `full`?)
  outbox.budgetmb: found an unknown key, expected one of path, budget_mb, sync (did you mean `budget_mb`?)
  source[0].files: found an array of 0, expected an array of at least 1
  source[0].columns.ActivePowerMean: found 3, expected a text
  source[0].speed: found nan, expected a number of at least 0
  source[1].kind: found \"simulatr\", expected one of simulator, csv (did you mean `simulator`?)
  source[2].kind: found nothing, expected one of simulator, csv
  verbose: found \"yes\", expected true or false
  gatewy: found an unknown key, expected one of gateway, outbox, source, verbose (did you mean `gateway`?)";
        assert_eq!(problems_of(text), expected);
    }

    #[test]
    fn a_syntax_error_names_its_line() {
        let text = "a = 1\nb = = 2\n";
        let e = parse("x.toml", text).unwrap_err();
        assert_eq!(e.problems[0].key, "line 2");
        assert!(
            e.to_string()
                .starts_with("x.toml: 1 mistake\n  line 2: found "),
            "{e}"
        );
    }

    #[test]
    fn a_word_too_far_away_is_no_hint() {
        assert_eq!(nearest("budget", &["path", "budget_mb"]), Some("budget_mb"));
        assert_eq!(nearest("colour", &["path", "budget_mb"]), None);
        assert_eq!(nearest("", &[]), None);
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
