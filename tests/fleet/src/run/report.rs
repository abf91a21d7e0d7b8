//! What a run says in the end.
//!
//! Invariant: the text and the JSON come from the same report.

use serde::Serialize;

use super::stage::Done;
use super::verdict::{Found, Verdict};
use crate::ledger::Balance;

/// The report.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// Its seed.
    pub seed: u64,
    /// How long traffic ran, minutes.
    pub minutes: f64,
    /// How many turbines.
    pub turbines: usize,
    /// How many gateways.
    pub gateways: usize,
    /// Readings that the model gave and an agent took.
    pub delivered_readings: u64,
    /// Samples that no agent took, because it was down.
    pub untaken_samples: u64,
    /// The ledger.
    #[serde(flatten)]
    pub balance: Balance,
    /// What happened to networks and machines.
    pub disturbances: Vec<Done>,
    /// Disturbances that lie outside the run's time.
    pub disturbances_outside: Vec<String>,
    /// Faults, and which alarms found them.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Seconds from the end of the traffic to the last acknowledgement.
    pub drained_after_s: f64,
    /// All is well.
    pub passed: bool,
}

impl Report {
    /// For people.
    pub fn text(&self) -> String {
        let mut lines = self.totals();
        lines.extend(self.disturbances.iter().map(disturbance));
        if !self.disturbances_outside.is_empty() {
            let kinds = self.disturbances_outside.join(", ");
            lines.push(format!("outside the run's time: {kinds}"));
        }
        lines.extend(self.verdict.faults.iter().map(fault));
        for a in &self.verdict.other_alarms {
            lines.push(format!(
                "alarm of no fault: {} on {} of {}",
                a.rule, a.channel, a.turbine
            ));
        }
        let examples = self.balance.examples.iter();
        lines.extend(examples.map(|e| format!("wrong: {e}")));
        lines.push(if self.passed { "passed" } else { "FAILED" }.to_owned());
        lines.join("\n") + "\n"
    }

    fn totals(&self) -> Vec<String> {
        let b = &self.balance;
        vec![
            format!(
                "{} with seed {}: {} turbines on {} gateways, {} minutes; {} readings pushed, {} samples found no agent",
                self.scenario,
                self.seed,
                self.turbines,
                self.gateways,
                self.minutes,
                self.delivered_readings,
                self.untaken_samples
            ),
            format!(
                "{} readings accepted: {} counted, {} late, {} evicted on record, {} rejected, {} suspect, {} untimed, {} missing, {} doubled",
                b.accepted_readings,
                b.counted_readings,
                b.late_readings,
                b.evicted_readings,
                b.rejected_readings,
                b.suspect_readings,
                b.untimed_readings,
                b.missing_readings,
                b.double_counted_readings
            ),
            format!(
                "{} duplicate records suppressed; {} windows settled, {} exact, {} once provisional",
                b.duplicate_records_suppressed,
                b.windows_settled,
                b.windows_exact,
                b.windows_provisional
            ),
        ]
    }
}

fn disturbance(d: &Done) -> String {
    format!(
        "disturbance {} from {:.1} s to {:.1} s on {}: {} records sent, {} in flight at kills, {} pieces lost",
        d.kind,
        d.from_s,
        d.to_s,
        d.gateways.join(", "),
        d.records_sent,
        d.records_in_flight,
        d.pieces_lost
    )
}

fn fault(f: &Found) -> String {
    let alarms: Vec<String> = f
        .alarms
        .iter()
        .map(|a| {
            let after = (a.first - f.truth.since_us) as f64 / 1e6;
            format!("{} on {} after {after:.0} s", a.rule, a.channel)
        })
        .collect();
    let found = if alarms.is_empty() {
        "not found".to_owned()
    } else {
        format!("found by {}", alarms.join("; "))
    };
    format!(
        "fault {} ({}) of {} since {}: {found}",
        f.truth.kind, f.truth.part, f.truth.turbine, f.truth.since
    )
}
