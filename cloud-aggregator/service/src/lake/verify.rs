//! `windlass-cloud lake verify`: the whole lake against its markers, and every turbine's hash chains and seals.
//!
//! Invariant: goes on after what it finds, so that one report names everything that is wrong; reads, never writes.

use std::io::{self, Write};

use windlass_shared::time::EventTime;

use super::proof::Proof;
use super::read::{Filter, Lake, View};
use super::{LakeError, Table};

/// What was looked at, and what is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Committed cuts.
    pub cuts: u64,
    /// Files, read whole.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Rows of them.
    pub rows: u64,
    /// Turbines.
    pub turbines: u64,
    /// Records whose place in a chain was recomputed.
    pub records: u64,
    /// Seals checked.
    pub seals: u64,
    /// What is wrong, one line each.
    pub wrong: Vec<String>,
}

/// Checks the lake, or one turbine's evidence in it.
pub async fn verify(lake: &Lake, turbine: Option<&str>) -> Result<Report, LakeError> {
    let view = lake.view().await?;
    let filter = Filter {
        turbine: turbine.map(str::to_owned),
        time: None,
    };
    let mut report = Report {
        cuts: view.series.iter().map(|(_, cuts)| cuts.len() as u64).sum(),
        ..Report::default()
    };
    for table in Table::ALL {
        for file in view.files(table, &filter) {
            match view.read(file).await {
                Ok(bytes) => {
                    report.files += 1;
                    report.bytes += bytes.len() as u64;
                    report.rows += file.rows;
                }
                Err(e @ LakeError::Damaged { .. }) => report.wrong.push(e.to_string()),
                Err(e) => return Err(e),
            }
        }
    }
    let turbines = turbine.map_or_else(|| view.turbines(), |t| vec![t.to_owned()]);
    for turbine in turbines {
        chains(&view, &turbine, &mut report).await?;
    }
    Ok(report)
}

async fn chains(view: &View, turbine: &str, report: &mut Report) -> Result<(), LakeError> {
    report.turbines += 1;
    let proof = match Proof::read(view, turbine, EventTime::MIN, EventTime::MIN).await {
        Ok(proof) => proof,
        // named above already
        Err(LakeError::Damaged { .. }) => return Ok(()),
        Err(e) => return Err(e),
    };
    let mut wrong = |what: String| report.wrong.push(format!("{turbine}: {what}"));
    for (epoch, chain) in &proof.chains {
        for seq in chain.breaks() {
            wrong(format!("{epoch}/{seq} does not join the record before it"));
        }
        for seq in chain.bad_seals() {
            wrong(format!("the seal {epoch}/{seq} does not hold"));
        }
    }
    for epoch in proof.broken_links() {
        wrong(format!(
            "epoch {epoch} ends otherwise than its successor says"
        ));
    }
    if proof.damaged > 0 {
        wrong(format!(
            "{} records are not the bytes that their hash names",
            proof.damaged
        ));
    }
    if proof.disagreements > 0 {
        wrong(format!(
            "{} records have another receipt than follows from the bytes",
            proof.disagreements
        ));
    }
    report.records += proof
        .chains
        .values()
        .map(super::chain::Chain::records)
        .sum::<u64>();
    report.seals += proof
        .chains
        .values()
        .map(super::chain::Chain::seals)
        .sum::<u64>();
    Ok(())
}

impl Report {
    /// Is everything as it should be?
    pub fn holds(&self) -> bool {
        self.wrong.is_empty()
    }

    /// For people.
    pub fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        for line in &self.wrong {
            writeln!(out, "WRONG {line}")?;
        }
        writeln!(
            out,
            "{} cuts, {} files, {} rows, {} bytes; {} turbines, {} records in their chains, {} seals: {}",
            self.cuts,
            self.files,
            self.rows,
            self.bytes,
            self.turbines,
            self.records,
            self.seals,
            if self.holds() {
                "all holds"
            } else {
                "NOT all holds"
            }
        )
    }
}
