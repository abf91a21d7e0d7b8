//! Rules that look at the text of one file.

use crate::Finding;

/// Longest source or page, lines.
pub const FILE_LINES_MAX: usize = 500;

/// What a pure crate must not mention outside its tests, and why.
const IMPURE: &[(&str, &str)] = &[
    ("std::net", "a pure crate knows no network"),
    ("std::fs", "a pure crate knows no disk"),
    ("std::env", "a pure crate knows no environment"),
    ("std::process", "a pure crate knows no process"),
    (
        "std::thread",
        "a pure crate has no threads: one partition, one thread",
    ),
    ("std::sync::mpsc", "a pure crate has no channels"),
    ("SystemTime", "time is passed in"),
    ("Instant", "time is passed in"),
    ("Timestamp::now", "time is passed in"),
    ("Zoned::now", "time is passed in"),
    ("thread_rng", "randomness is passed in"),
    ("rand::rng()", "randomness is passed in"),
    ("OsRng", "randomness is passed in"),
    ("getrandom", "randomness is passed in"),
    ("tokio", "a pure crate knows no runtime"),
    ("RandomState", "hash order must not reach a result"),
];

/// Marks of unfinished work and of tests that are switched off. Written in two parts so that this file has none.
const UNFINISHED: &[&str] = &[
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("d", "bg!("),
    concat!("#[ig", "nore"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
];

/// Words that say something about how the text came to be instead of about the product.
const FOREIGN: &[&str] = &[
    concat!("iss", "ue #"),
    concat!("iss", "ues show"),
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("pl", "an.md"),
    concat!("co-auth", "ored-by"),
    concat!("hand", "book"),
];

/// A file that is too long to find one's way in.
pub fn length(path: &str, text: &str) -> Option<Finding> {
    let lines = text.lines().count();
    (lines > FILE_LINES_MAX).then(|| {
        Finding::new(
            path,
            0,
            format!("{lines} lines: expected at most {FILE_LINES_MAX}; split it by what changes together"),
        )
    })
}

/// A Rust file that does not open with `//!`.
pub fn opening(path: &str, text: &str) -> Option<Finding> {
    (!text.starts_with("//!")).then(|| {
        Finding::new(
            path,
            1,
            "expected `//!` first: why this file exists, and its invariants",
        )
    })
}

/// Clocks, disks, networks and runtimes in the sources of a pure crate; its tests may use them.
pub fn purity(path: &str, text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    for (line, code) in code_lines(text) {
        for (word, why) in IMPURE {
            if has_word(code, word) {
                found.push(Finding::new(path, line, format!("`{word}`: {why}")));
            }
        }
    }
    found
}

/// Marks of unfinished work.
pub fn unfinished(path: &str, text: &str) -> Vec<Finding> {
    marks(path, text, UNFINISHED, "finish it, or take it out")
}

/// Words that do not belong into the product.
pub fn foreign(path: &str, text: &str) -> Vec<Finding> {
    marks(
        path,
        text,
        FOREIGN,
        "the text speaks of the product only, with relative paths",
    )
}

fn marks(path: &str, text: &str, words: &[&str], advice: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let lower = line.to_ascii_lowercase();
        for word in words {
            if lower.contains(&word.to_ascii_lowercase()) {
                found.push(Finding::new(path, i + 1, format!("`{word}`: {advice}")));
            }
        }
    }
    found
}

/// Lines of code before the unit tests, without line comments, with their numbers.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, l)| !l.starts_with("#[cfg(test)]"))
        .filter_map(|(i, l)| {
            let code = l.split("//").next().unwrap_or("");
            (!code.trim().is_empty()).then_some((i + 1, code))
        })
}

/// Does `word` stand in `code` with no identifier character before or after it?
fn has_word(code: &str, word: &str) -> bool {
    let ident = |c: char| c.is_ascii_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        !code[..at].chars().next_back().is_some_and(ident)
            && !code[at + word.len()..].chars().next().is_some_and(ident)
    })
}

/// Targets of Markdown links, with their line numbers; code blocks are left out.
pub fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (i, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if fenced {
            continue;
        }
        for (at, _) in line.match_indices("](") {
            if let Some(len) = line[at + 2..].find(')') {
                found.push((i + 1, line[at + 2..at + 2 + len].to_owned()));
            }
        }
    }
    found
}

/// Pages that any text names by their path from the root, as `docs/...md`, with their line numbers.
pub fn named_pages(text: &str) -> Vec<(usize, String)> {
    let part = |c: char| c.is_ascii_alphanumeric() || "/_.-".contains(c);
    let mut found = Vec::new();
    for (i, line) in text.lines().enumerate() {
        for (at, _) in line.match_indices("docs/") {
            let before = line[..at].chars().next_back();
            let path: String = line[at..].chars().take_while(|&c| part(c)).collect();
            let path = path.trim_end_matches('.');
            let page = std::path::Path::new(path).extension() == Some("md".as_ref());
            if page && !before.is_some_and(part) {
                found.push((i + 1, path.to_owned()));
            }
        }
    }
    found
}

/// The anchors that a page's headings give.
pub fn anchors(text: &str) -> Vec<String> {
    text.lines()
        .filter(|l| l.starts_with('#'))
        .map(|l| {
            l.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_and_one_without_an_opening_are_found() {
        let long = "//! x\n".repeat(FILE_LINES_MAX + 1);
        assert_eq!(length("a.rs", &long).map(|f| f.line), Some(0));
        assert_eq!(length("a.rs", &"x\n".repeat(FILE_LINES_MAX)), None);
        assert_eq!(opening("a.rs", "use std;\n").map(|f| f.line), Some(1));
        assert_eq!(opening("a.rs", "//! Why.\n"), None);
    }

    #[test]
    fn purity_looks_at_code_only() {
        let text = "//! no SystemTime here\nlet t = SystemTime::now(); // std::net\nInstantiate();\n#[cfg(test)]\nuse std::fs;\n";
        let found = purity("a.rs", text);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].line, &found[0].what[..12]), (2, "`SystemTime`"));
    }

    #[test]
    fn marks_are_found_whatever_their_case() {
        let text = format!("a\n{}\n", concat!("To", "Do!(x)"));
        assert_eq!(unfinished("a.rs", &text)[0].line, 2);
        assert_eq!(foreign("a.md", concat!("see Iss", "ue #4")).len(), 1);
        assert_eq!(foreign("a.md", "a broker's session"), vec![]);
    }

    #[test]
    fn links_pages_and_anchors() {
        let text =
            "[a](b.md#c-d) `x`\n```\n[no](no.md)\n```\nsee docs/x.md, and mydocs/y.md.\n## C d\n";
        assert_eq!(links(text), vec![(1, "b.md#c-d".to_owned())]);
        assert_eq!(named_pages(text), vec![(5, "docs/x.md".to_owned())]);
        assert_eq!(anchors(text), vec!["c-d".to_owned()]);
    }
}
