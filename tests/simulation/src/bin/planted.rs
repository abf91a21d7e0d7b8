//! Plants known bugs one after the other; see [`windlass_simulation::planted`].

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use windlass_simulation::planted::{BUGS, hunt};

/// Plants known bugs in a copy of the sources and checks that the simulation finds each. Exit codes: 0 all found, 1 one
/// was not found or could not be planted.
#[derive(Parser)]
struct Args {
    /// Root of the project.
    #[arg(long)]
    root: PathBuf,
    /// Where the copy is built.
    #[arg(long)]
    work: PathBuf,
    /// Seeds to try for each bug.
    #[arg(long, default_value_t = 60)]
    seeds: u64,
    /// Only the bugs whose name contains this.
    #[arg(long)]
    only: Option<String>,
}

#[allow(clippy::print_stdout)] // the command's output
fn main() -> ExitCode {
    let args = Args::parse();
    let (mut found, mut failed) = (0, 0);
    for bug in BUGS.iter().filter(|b| {
        args.only
            .as_ref()
            .is_none_or(|o| b.name.contains(o.as_str()))
    }) {
        match hunt(&args.root, &args.work, args.seeds, bug) {
            Ok(line) => {
                println!("found: {}: {line}", bug.name);
                found += 1;
            }
            Err(why) => {
                println!("NOT FOUND: {}: {why:#}", bug.name);
                failed += 1;
            }
        }
    }
    println!("{found} passed, {failed} failed");
    if failed == 0 && found > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
