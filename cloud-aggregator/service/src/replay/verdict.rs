//! The verdict of a replay: exact, or what is missing and why, and whether the evidence holds.
//!
//! Invariant: `exact` is said only when coverage, recomputed from the original bytes, says so, when every hash chain and
//! seal holds, and when the printed readings are those of the records, each once.

use std::collections::BTreeMap;

use serde::Serialize;
use windlass_shared::coverage;
use windlass_shared::id::{Seq, SeqRange};
use windlass_shared::record::LossReason;
use windlass_shared::time::EventTime;

use super::rows::Printed;
use super::{EXIT_EXACT, EXIT_NOT_EXACT, EXIT_NOT_PROVEN, Request, print};
use crate::lake::chain::Chain;
use crate::lake::proof::Proof;

/// Holes and losses that a verdict names.
const NAMED_MAX: usize = 100;

/// What was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// Nothing on time is missing, nothing can come any more.
    Exact,
    /// Nothing can come any more, but some records are lost.
    WithLoss,
    /// More may come.
    Open,
    /// The evidence contradicts itself.
    NotProven,
}

/// Seqs of an epoch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Seqs {
    /// Which run, 32 hexadecimal digits.
    pub epoch: String,
    /// First and last of each range; `None`: their number is not known.
    #[serde(rename = "seqs")]
    pub ranges: Option<Vec<(u64, u64)>>,
    /// Why, for lost ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}

/// The hash chains, recomputed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ChainReport {
    /// Every record joins the one before it, every seal and every link between epochs holds.
    pub verified: bool,
    /// Records whose head was recomputed.
    pub records: u64,
    /// Seals among them.
    pub seals: u64,
    /// Epochs.
    pub epochs: usize,
    /// Records that do not join the one before them.
    pub breaks: Vec<Seqs>,
    /// Seals that do not hold.
    pub bad_seals: Vec<Seqs>,
    /// Epochs whose end is not the one their successor names.
    pub broken_links: Vec<String>,
    /// Records whose bytes are not those their row names.
    pub damaged: u64,
}

/// The verdict.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Verdict {
    /// In one word.
    pub finding: Finding,
    /// Whose.
    pub turbine: String,
    /// Start, included.
    pub from: String,
    /// End, excluded.
    pub to: String,
    /// Readings printed.
    pub readings: u64,
    /// Of those, marked late.
    pub late: u64,
    /// Of those, ahead of the gateway's clock.
    pub suspect: u64,
    /// The printed readings are those of the original records, each once.
    pub readings_match: bool,
    /// Readings in the original records.
    pub readings_in_records: u64,
    /// Records that the readings come from.
    pub sources: Vec<Seqs>,
    /// Lost seqs that may have held readings of the range.
    pub lost: Vec<Seqs>,
    /// Unknown seqs of the turbine: they may still come.
    pub holes: Vec<Seqs>,
    /// How far the turbine's time has come; more may come behind it.
    pub frontier: Option<String>,
    /// Hashes.
    pub chain: ChainReport,
    /// Records of this turbine that came again.
    pub duplicate_records: u64,
    /// Records of this turbine that did not count, by reason.
    pub refused_records: BTreeMap<String, u64>,
    /// Records whose receipt in the lake is not what the bytes give.
    pub disagreements: u64,
}

/// The verdict of what was printed and what the evidence says.
pub fn of(request: &Request, proof: &Proof, printed: &Printed) -> Verdict {
    let verdict = proof.coverage.verdict(request.from, request.to);
    let readings_match = printed.sum == proof.readings;
    let proven = readings_match && proof.chain_holds() && proof.disagreements == 0;
    let (finding, losses) = match verdict {
        _ if !proven => (Finding::NotProven, Vec::new()),
        coverage::Verdict::Exact => (Finding::Exact, Vec::new()),
        coverage::Verdict::Open => (Finding::Open, Vec::new()),
        coverage::Verdict::WithLoss(losses) => (Finding::WithLoss, losses),
    };
    let holes = if finding == Finding::Open {
        proof.coverage.holes(NAMED_MAX)
    } else {
        Vec::new()
    };
    let frontier = proof.coverage.frontier();
    Verdict {
        finding,
        turbine: request.turbine.to_string(),
        from: print::time(request.from),
        to: print::time(request.to),
        readings: printed.sum.n,
        late: printed.late,
        suspect: printed.suspect,
        readings_match,
        readings_in_records: proof.readings.n,
        sources: proof
            .sources
            .iter()
            .map(|(epoch, seqs)| Seqs {
                epoch: epoch.to_string(),
                ranges: Some(seqs.clone()),
                reason: None,
            })
            .collect(),
        lost: losses.iter().take(NAMED_MAX).map(lost).collect(),
        holes: holes
            .into_iter()
            .map(|(epoch, range)| Seqs {
                epoch: epoch.to_string(),
                ranges: Some(vec![ends(range)]),
                reason: None,
            })
            .collect(),
        frontier: (frontier != EventTime::MIN).then(|| print::time(frontier)),
        chain: chain(proof),
        duplicate_records: proof.duplicates,
        refused_records: proof.refused.clone(),
        disagreements: proof.disagreements,
    }
}

fn ends(range: SeqRange) -> (u64, u64) {
    (range.first.0, range.last.0)
}

fn lost(loss: &coverage::Loss) -> Seqs {
    Seqs {
        epoch: loss.epoch.to_string(),
        ranges: loss.seqs.map(|r| vec![ends(r)]),
        reason: loss.reason.map(reason),
    }
}

fn reason(reason: LossReason) -> &'static str {
    match reason {
        LossReason::Evicted => "evicted",
        LossReason::Corrupt => "corrupt",
        LossReason::NeverHeld => "never_held",
        LossReason::Refused => "refused",
        LossReason::Untimed => "untimed",
    }
}

fn chain(proof: &Proof) -> ChainReport {
    let list = |f: fn(&Chain) -> &[Seq]| -> Vec<Seqs> {
        let broken = proof.chains.iter().filter(|(_, c)| !f(c).is_empty());
        broken
            .map(|(epoch, c)| Seqs {
                epoch: epoch.to_string(),
                ranges: Some(f(c).iter().map(|s| (s.0, s.0)).collect()),
                reason: None,
            })
            .collect()
    };
    let links = proof.broken_links();
    ChainReport {
        verified: proof.chain_holds(),
        records: proof.chains.values().map(Chain::records).sum(),
        seals: proof.chains.values().map(Chain::seals).sum(),
        epochs: proof.chains.len(),
        breaks: list(|c| c.breaks()),
        bad_seals: list(|c| c.bad_seals()),
        broken_links: links.iter().map(ToString::to_string).collect(),
        damaged: proof.damaged,
    }
}

impl Seqs {
    fn text(&self) -> String {
        let seqs = self.ranges.as_ref().map_or_else(
            || "an unknown number of seqs".to_owned(),
            |seqs| {
                let parts = seqs.iter().map(|(a, b)| {
                    if a == b {
                        a.to_string()
                    } else {
                        format!("{a}-{b}")
                    }
                });
                parts.collect::<Vec<_>>().join(",")
            },
        );
        format!("{} {seqs}", self.epoch)
    }
}

impl Verdict {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self.finding {
            Finding::Exact => EXIT_EXACT,
            Finding::WithLoss | Finding::Open => EXIT_NOT_EXACT,
            Finding::NotProven => EXIT_NOT_PROVEN,
        }
    }

    /// The verdict for people, line by line.
    pub fn lines(&self) -> Vec<String> {
        let word = match self.finding {
            Finding::Exact => "exact",
            Finding::WithLoss => "not exact: records are lost",
            Finding::Open => "not exact yet: more may come",
            Finding::NotProven => "not proven: the evidence does not hold",
        };
        let mut lines = vec![
            format!(
                "verdict: {word}; {} {} to {}",
                self.turbine, self.from, self.to
            ),
            format!(
                "readings: {} ({} late, {} suspect), {} in the original records",
                self.readings, self.late, self.suspect, self.readings_in_records
            ),
        ];
        for s in &self.sources {
            lines.push(format!("source: {}", s.text()));
        }
        for s in &self.lost {
            let why = s.reason.unwrap_or("nobody said why");
            lines.push(format!("lost: {} ({why})", s.text()));
        }
        for s in &self.holes {
            lines.push(format!("unknown: {} (may still come)", s.text()));
        }
        if self.finding == Finding::Open {
            let frontier = self.frontier.as_deref().unwrap_or("nowhere yet");
            lines.push(format!("the turbine's time has come to {frontier}"));
        }
        let c = &self.chain;
        let holds = if c.verified { "verified" } else { "BROKEN" };
        lines.push(format!(
            "chain: {holds}; {} records, {} seals, {} epochs",
            c.records, c.seals, c.epochs
        ));
        for s in &c.breaks {
            lines.push(format!("chain broken at: {}", s.text()));
        }
        for s in &c.bad_seals {
            lines.push(format!("seal does not hold: {}", s.text()));
        }
        for e in &c.broken_links {
            lines.push(format!("epoch ends otherwise than its successor says: {e}"));
        }
        if c.damaged > 0 {
            lines.push(format!("records whose bytes were changed: {}", c.damaged));
        }
        if self.disagreements > 0 {
            lines.push(format!(
                "records whose receipt does not follow from the bytes: {}",
                self.disagreements
            ));
        }
        for (code, n) in &self.refused_records {
            lines.push(format!("refused: {n} ({code})"));
        }
        lines
    }
}
