//! `cargo xtask test`: everything that says whether the project is right.
//!
//! Invariants: a step that fails does not keep the others from running; the last line counts all test runs, and a check
//! that failed counts as one failure, so that `0 failed` means all is well.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::{console, run, setup, tester};

/// What the test runs said.
#[derive(Default, Clone, Copy, PartialEq, Eq, Debug)]
struct Tally {
    passed: u64,
    failed: u64,
}

/// Runs everything; true when nothing failed.
#[allow(clippy::print_stdout)] // the command's result
pub fn all() -> Result<bool> {
    setup::ensure(setup::FOR_TESTS)?;
    tester::ensure()?;
    let mut tally = Tally::default();
    let checks: [(&str, &[&str]); 3] = [
        ("formatting", &["fmt", "--all", "--check"]),
        (
            "lints",
            &[
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ],
        ),
        ("build", &["build", "--workspace", "--bins"]),
    ];
    let mut broken = Vec::new();
    // Before cargo: the service carries the console in its binary.
    if let Err(error) = console::build() {
        eprintln!("error: {error:#}");
        broken.push("console");
    }
    for (name, args) in checks {
        eprintln!("== {name}: cargo {}", args.join(" "));
        if !run::succeeds(run::cargo(args))? {
            broken.push(name);
        }
    }
    let all = run::cargo(&["test", "--workspace", "--no-fail-fast"]);
    let console = console::script("test");
    let browser = console::browser_tests()?;
    for (name, command) in [
        ("tests", all),
        ("console's tests", console),
        ("console in a browser", browser),
    ] {
        eprintln!("== {name}");
        let (counted, ok) = tests(command)?;
        tally.passed += counted.passed;
        tally.failed += counted.failed;
        if !ok && counted.failed == 0 {
            broken.push(name);
        }
    }
    for name in &broken {
        println!("FAILED: {name}");
    }
    tally.failed += broken.len() as u64;
    println!("{} passed, {} failed", tally.passed, tally.failed);
    Ok(tally.failed == 0)
}

/// Runs tests, passes their output on, and adds up what they say.
fn tests(mut command: Command) -> Result<(Tally, bool)> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not run {}", command.get_program().display()))?;
    let mut tally = Tally::default();
    let stdout = child.stdout.take().context("no output of the tests")?;
    let mut terminal = std::io::stdout().lock();
    for line in BufReader::new(stdout).split(b'\n') {
        let mut line = line.context("reading the tests' output")?;
        if let Some(one) = summary(&String::from_utf8_lossy(&line)) {
            tally.passed += one.passed;
            tally.failed += one.failed;
        }
        line.push(b'\n');
        terminal.write_all(&line)?;
    }
    terminal.flush()?;
    let ok = child.wait().context("waiting for the tests")?.success();
    Ok((tally, ok))
}

/// The numbers of `test result: ok. 3 passed; 0 failed; 0 ignored; ...`. A test that was left out has failed.
fn summary(line: &str) -> Option<Tally> {
    let rest = line.trim().strip_prefix("test result: ")?;
    let count = |word: &str| -> Option<u64> {
        let (before, _) = rest.split_once(&format!(" {word}"))?;
        before.rsplit(' ').next()?.parse().ok()
    };
    Some(Tally {
        passed: count("passed")?,
        failed: count("failed")? + count("ignored")?,
    })
}

#[cfg(test)]
mod tests {
    use super::{Tally, summary};

    #[test]
    fn summaries_of_test_runs_are_read() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(
            summary(line),
            Some(Tally {
                passed: 12,
                failed: 4
            })
        );
        assert_eq!(summary("test wire::golden ... ok"), None);
    }
}
