//! `windlass-cloud lake`: is the lake what its markers say?

use anyhow::Context as _;
use clap::Subcommand;

use super::{Exit, Failure, runtime};
use crate::config::Config;
use crate::lake::Lake;
use crate::lake::verify::verify;

#[derive(Subcommand, Debug)]
pub enum What {
    /// Reads every committed file against its hash, and recomputes every turbine's hash chains and seals;
    /// exit code 4 when something does not hold
    Verify {
        /// Only what concerns this turbine
        #[arg(long)]
        turbine: Option<String>,
    },
}

pub fn execute(config: &Config, what: &What) -> Result<Exit, Failure> {
    let What::Verify { turbine } = what;
    let failed = |e| Failure::from(anyhow::Error::from(e));
    let lake = Lake::open(&config.lake.url).map_err(failed)?;
    let report = runtime()?
        .block_on(verify(&lake, turbine.as_deref()))
        .map_err(failed)?;
    report
        .print(&mut std::io::stdout().lock())
        .context("cannot print the report")?;
    Ok(if report.holds() {
        Exit::Done
    } else {
        Exit::NotProven
    })
}
