//! The simulation finds the bugs that it is for.

use std::path::Path;

use windlass_simulation::planted::{BUGS, hunt};

#[test]
fn every_planted_bug_is_found() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join("planted");
    let mut missed = Vec::new();
    for bug in BUGS {
        match hunt(&root, &work, 60, bug) {
            Ok(line) => println!("found: {}: {line}", bug.name),
            Err(why) => missed.push(format!("{}: {why:#}", bug.name)),
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}
