//! Rules about what the workspace is built from, over `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::Finding;
use crate::repository::{File, PURE, root};

/// Licences that need no more than a notice.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "Zlib",
];

/// What a pure crate must not depend on, directly or through others.
const IMPURE: &[&str] = &[
    "async-std",
    "axum",
    "chrono",
    "hyper",
    "mio",
    "object_store",
    "reqwest",
    "rumqttc",
    "rumqttd",
    "rusqlite",
    "rustix",
    "rustls",
    "socket2",
    "tempfile",
    "tokio",
];

/// `cargo metadata` of the workspace, for this platform.
pub fn metadata() -> Result<Value> {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root())
        .output()
        .context("could not run cargo")?;
    ensure!(
        out.status.success(),
        "cargo metadata failed: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    Ok(serde_json::from_slice(&out.stdout)?)
}

/// Every package has a licence from the list, or a choice of licences with one from the list in each part.
pub fn licences(metadata: &Value) -> Vec<Finding> {
    let mut found = Vec::new();
    for package in list(&metadata["packages"]) {
        let licence = package["license"].as_str().unwrap_or("");
        if !allowed(licence) {
            found.push(Finding::new(
                "Cargo.lock",
                0,
                format!(
                    "{} {} has licence `{licence}`: expected one of {LICENCES:?}; replace the package",
                    text(&package["name"]),
                    text(&package["version"]),
                ),
            ));
        }
    }
    found
}

/// `A AND (B OR C)`: all of the parts, one of each choice. `/` is the old way to write OR.
fn allowed(licence: &str) -> bool {
    let plain = licence.replace('/', " OR ");
    let plain = plain.trim();
    if let Some((a, b)) = split_outside(plain, " AND ") {
        return allowed(a) && allowed(b);
    }
    if let Some((a, b)) = split_outside(plain, " OR ") {
        return allowed(a) || allowed(b);
    }
    match plain.strip_prefix('(').and_then(|p| p.strip_suffix(')')) {
        Some(inner) => allowed(inner),
        None => LICENCES.contains(&plain),
    }
}

/// Splits at the first `word` that is in no parenthesis.
fn split_outside<'a>(text: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    text.match_indices(word).find_map(|(at, _)| {
        let before = &text[..at];
        (before.matches('(').count() == before.matches(')').count())
            .then(|| (before.trim(), text[at + word.len()..].trim()))
    })
}

/// The pure crates' dependencies are pure; those of their tests and build scripts may be anything.
pub fn purity(metadata: &Value) -> Vec<Finding> {
    let names: BTreeMap<&str, &str> = list(&metadata["packages"])
        .iter()
        .map(|p| (text(&p["id"]), text(&p["name"])))
        .collect();
    let needs: BTreeMap<&str, Vec<&str>> = list(&metadata["resolve"]["nodes"])
        .iter()
        .map(|node| {
            let normal = list(&node["deps"])
                .iter()
                .filter(|d| list(&d["dep_kinds"]).iter().any(|k| k["kind"].is_null()))
                .map(|d| text(&d["pkg"]))
                .collect();
            (text(&node["id"]), normal)
        })
        .collect();
    let mut found = Vec::new();
    for (name, _) in PURE {
        let Some((start, _)) = names.iter().find(|(_, n)| *n == name) else {
            found.push(Finding::new("Cargo.toml", 0, format!("no crate `{name}`")));
            continue;
        };
        // Breadth first, with the way that led there, so that the finding says whom to ask.
        let mut seen = BTreeSet::from([*start]);
        let mut queue = std::collections::VecDeque::from([(*start, (*name).to_owned())]);
        while let Some((id, way)) = queue.pop_front() {
            for next in needs.get(id).into_iter().flatten() {
                let next_name = names.get(next).copied().unwrap_or("?");
                let way = format!("{way} > {next_name}");
                if IMPURE.contains(&next_name) {
                    found.push(Finding::new(
                        "Cargo.toml",
                        0,
                        format!("{way}: a pure crate must not depend on it"),
                    ));
                } else if seen.insert(next) {
                    queue.push_back((next, way));
                }
            }
        }
    }
    found
}

/// Every dependency that a crate names is used by its sources, and its lints are the workspace's.
pub fn manifests(files: &[File]) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    let mut used = BTreeSet::new();
    let mut offered = BTreeSet::new();
    for file in files.iter().filter(|f| f.path.ends_with("Cargo.toml")) {
        let manifest: toml::Table = file
            .text
            .parse()
            .with_context(|| format!("{} is no TOML", file.path))?;
        if let Some(deps) = manifest
            .get("workspace")
            .and_then(|w| w.get("dependencies"))
            .and_then(|d| d.as_table())
        {
            offered.extend(deps.keys().cloned());
        }
        if !manifest.contains_key("package") {
            continue;
        }
        let lints = manifest.get("lints").and_then(|l| l.get("workspace"));
        if lints.and_then(toml::Value::as_bool) != Some(true) {
            found.push(Finding::new(
                &file.path,
                0,
                "expected `[lints] workspace = true`",
            ));
        }
        let dir = file.path.trim_end_matches("Cargo.toml");
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(deps) = manifest.get(kind).and_then(|d| d.as_table()) else {
                continue;
            };
            for name in deps.keys() {
                used.insert(name.clone());
                let ident = name.replace('-', "_");
                let named = files
                    .iter()
                    .any(|f| f.path.starts_with(dir) && f.is("rs") && f.text.contains(&ident));
                if !named {
                    found.push(Finding::new(
                        &file.path,
                        0,
                        format!("{kind}: `{name}` is not used: take it out"),
                    ));
                }
            }
        }
    }
    for name in offered.difference(&used) {
        found.push(Finding::new(
            "Cargo.toml",
            0,
            format!("workspace dependency `{name}` is not used: take it out"),
        ));
    }
    Ok(found)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_expressions() {
        for (licence, expected) in [
            ("MIT", true),
            ("MIT/Apache-2.0", true),
            ("(MIT OR GPL-3.0) AND Unicode-3.0", true),
            ("MIT AND GPL-3.0", false),
            ("GPL-2.0-only", false),
            ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true),
            ("", false),
        ] {
            assert_eq!(allowed(licence), expected, "{licence}");
        }
    }

    #[test]
    fn an_impure_dependency_of_a_dependency_is_found_with_its_way() {
        let kinds = serde_json::json!([{"kind": null}]);
        let dev = serde_json::json!([{"kind": "dev"}]);
        let packages: Vec<Value> = crate::repository::PURE
            .iter()
            .map(|(name, _)| *name)
            .chain(["a", "tokio"])
            .map(|n| serde_json::json!({"id": n, "name": n}))
            .collect();
        let metadata = serde_json::json!({"packages": packages, "resolve": {"nodes": [
            {"id": "windlass-shared", "deps": [{"pkg": "a", "dep_kinds": kinds}]},
            {"id": "windlass-edge-core", "deps": [{"pkg": "tokio", "dep_kinds": dev}]},
            {"id": "a", "deps": [{"pkg": "tokio", "dep_kinds": kinds}]},
        ]}});
        let found: Vec<String> = purity(&metadata).iter().map(|f| f.what.clone()).collect();
        assert_eq!(
            found,
            ["windlass-shared > a > tokio: a pure crate must not depend on it"]
        );
    }
}
