//! `windlass-cloud`: the aggregator's command line.

use std::process::ExitCode;

use clap::Parser;
use windlass_cloud::cli::{self, Cli};

fn main() -> ExitCode {
    let cli = Cli::parse();
    cli::start_logging(&cli);
    match cli::execute(cli) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            cli::report(&failure);
            failure.exit.into()
        }
    }
}
