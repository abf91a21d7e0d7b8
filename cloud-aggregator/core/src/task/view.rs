//! Coverage as an operator sees it: in numbers, and what is wrong with it in words.

use windlass_shared::coverage::{Coverage, LinkFault};

use super::resend::HOLES_SEEN_MAX;
use crate::output::{CoverageSummary, Level};

/// Rule, level and text of a fault's alert.
pub(super) fn fault_text(fault: &LinkFault) -> (&'static str, Level, String) {
    match fault {
        LinkFault::Fork {
            predecessor,
            successors,
        } => (
            "epoch-fork",
            Level::Alarm,
            format!(
                "{} epochs name {predecessor} as predecessor: a restored backup or a cloned image",
                successors.len()
            ),
        ),
        LinkFault::EndContradicted { epoch, successor } => (
            "epoch-end",
            Level::Alarm,
            format!(
                "epoch {epoch} has other records than its successor {successor} declared: a restored backup"
            ),
        ),
        LinkFault::Unlinked { epoch, follows } => (
            "epoch-unlinked",
            Level::Warning,
            format!("epoch {epoch} knows no predecessor, {follows} came before: a replaced disk"),
        ),
    }
}

/// Coverage in numbers.
pub(super) fn summary(coverage: &Coverage) -> CoverageSummary {
    let mut s = CoverageSummary::default();
    for epoch in coverage.epochs() {
        s.epochs += 1;
        s.quarantined_epochs += u32::from(epoch.quarantined);
        for (seqs, _) in epoch.runs.iter().flat_map(|r| &r.lost) {
            s.lost_seqs = s.lost_seqs.saturating_add(seqs.len());
        }
    }
    for (_, seqs) in coverage.holes(HOLES_SEEN_MAX) {
        s.holes += 1;
        s.missing_seqs = s.missing_seqs.saturating_add(seqs.len());
    }
    s
}
