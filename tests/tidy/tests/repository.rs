//! The rules, applied to the repository.

use std::path::Path;

use windlass_tidy::repository::{File, files, is_pure_source, root};
use windlass_tidy::{Finding, dependencies, text};

/// Fails with all findings, one on a line.
fn check(rule: &str, found: &[Finding]) {
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{rule}:\n{}\n", lines.join("\n"));
}

fn each(rule: &str, applies: impl Fn(&File) -> bool, find: impl Fn(&File) -> Vec<Finding>) {
    let files = files().expect("the files that git tracks");
    let chosen: Vec<&File> = files.iter().filter(|f| applies(f)).collect();
    assert!(!chosen.is_empty(), "{rule}: applies to no file");
    let found: Vec<Finding> = chosen.into_iter().flat_map(find).collect();
    check(rule, &found);
}

#[test]
fn files_are_short() {
    let kinds = ["rs", "md", "sh", "py", "proto"];
    each(
        "length",
        |f| kinds.iter().any(|k| f.is(k)),
        |f| text::length(&f.path, &f.text).into_iter().collect(),
    );
}

#[test]
fn sources_open_with_their_reason() {
    each(
        "opening",
        |f| f.is("rs"),
        |f| text::opening(&f.path, &f.text).into_iter().collect(),
    );
}

#[test]
fn pure_crates_know_no_world() {
    each(
        "purity",
        |f| f.is("rs") && is_pure_source(&f.path),
        |f| text::purity(&f.path, &f.text),
    );
}

#[test]
fn nothing_is_left_unfinished() {
    each(
        "unfinished",
        |f| f.is("rs") || f.is("sh"),
        |f| text::unfinished(&f.path, &f.text),
    );
}

#[test]
fn the_text_speaks_of_the_product_only() {
    each(
        "foreign words",
        |f| f.path != "Cargo.lock" && f.path != "LICENSE",
        |f| text::foreign(&f.path, &f.text),
    );
}

#[test]
fn links_lead_somewhere() {
    each(
        "links",
        |f| f.is("md"),
        |f| {
            let dir = Path::new(&f.path).parent().unwrap_or(Path::new(""));
            let mut found = Vec::new();
            for (line, target) in text::links(&f.text) {
                if target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
                let full = if path.is_empty() {
                    root().join(&f.path)
                } else {
                    root().join(dir).join(path)
                };
                let lost = !full.exists()
                    || (!anchor.is_empty()
                        && !std::fs::read_to_string(&full)
                            .is_ok_and(|t| text::anchors(&t).iter().any(|a| a == anchor)));
                if lost {
                    found.push(Finding::new(
                        &f.path,
                        line,
                        format!("`{target}` leads nowhere"),
                    ));
                }
            }
            found
        },
    );
}

#[test]
fn pages_that_are_named_exist() {
    each(
        "pages",
        |f| f.is("rs") || f.is("toml") || f.is("proto") || f.is("md"),
        |f| {
            if f.path.starts_with("tests/tidy/") {
                return Vec::new();
            }
            text::named_pages(&f.text)
                .into_iter()
                .filter(|(_, page)| !root().join(page).exists())
                .map(|(line, page)| Finding::new(&f.path, line, format!("there is no `{page}`")))
                .collect()
        },
    );
}

#[test]
fn dependencies_have_permissive_licences_and_pure_crates_pure_ones() {
    let metadata = dependencies::metadata().unwrap();
    check("licences", &dependencies::licences(&metadata));
    check("pure crates", &dependencies::purity(&metadata));
}

#[test]
fn manifests_name_what_is_used() {
    let found = dependencies::manifests(&files().unwrap()).unwrap();
    check("manifests", &found);
}
