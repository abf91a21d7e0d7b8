//! What gateways are told of a batch: ranges of seqs with their verdicts.
//!
//! Invariants: a seq is in one answer; of the same seq taken and refused in one batch, what was taken counts.

use std::collections::BTreeMap;

use windlass_shared::id::{Epoch, GatewayId, RecordId, Seq, SeqRange, TurbineId};
use windlass_shared::wire::{Ack, AckLevel, Downlink};

/// Acknowledged seqs and verdicts in one downlink message: far below what a downlink message may hold.
const DOWNLINK_ITEMS_MAX: usize = 256;
/// Longest verdict, bytes.
const VERDICT_BYTES_MAX: usize = 160;

/// `reason: detail`, cut at a character.
pub fn verdict(reason: &str, detail: &str) -> String {
    let mut text = format!("{reason}: {detail}");
    if text.len() > VERDICT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(VERDICT_BYTES_MAX));
    }
    text
}

/// Seqs with their verdicts.
type Seqs = BTreeMap<Seq, Option<String>>;

/// Acknowledgements of a batch, in the making.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Acks(BTreeMap<GatewayId, BTreeMap<(TurbineId, Epoch), Seqs>>);

impl Acks {
    /// One more record; `verdict`: why it was refused.
    pub fn add(&mut self, gateway: GatewayId, id: RecordId, verdict: Option<String>) {
        let seqs = self
            .0
            .entry(gateway)
            .or_default()
            .entry((id.turbine, id.epoch))
            .or_default();
        seqs.entry(id.seq)
            .and_modify(|v| {
                if verdict.is_none() {
                    *v = None;
                }
            })
            .or_insert(verdict);
    }

    /// One message a gateway, or several small ones.
    pub fn into_downlinks(self, level: AckLevel) -> Vec<(GatewayId, Downlink)> {
        let mut out = Vec::new();
        for (gateway, runs) in self.0 {
            let mut acks = Vec::new();
            let mut items = 0;
            for ((turbine, epoch), seqs) in runs {
                let seqs: Vec<_> = seqs.into_iter().collect();
                for chunk in seqs.chunks(DOWNLINK_ITEMS_MAX) {
                    if items + chunk.len() > DOWNLINK_ITEMS_MAX {
                        out.push((gateway.clone(), downlink(std::mem::take(&mut acks))));
                        items = 0;
                    }
                    items += chunk.len();
                    acks.push(ack(turbine.clone(), epoch, level, chunk));
                }
            }
            out.push((gateway, downlink(acks)));
        }
        out
    }
}

fn downlink(acks: Vec<Ack>) -> Downlink {
    Downlink {
        acks,
        ..Downlink::default()
    }
}

fn ack(turbine: TurbineId, epoch: Epoch, level: AckLevel, seqs: &[(Seq, Option<String>)]) -> Ack {
    let mut ranges: Vec<SeqRange> = Vec::new();
    for (seq, _) in seqs {
        match ranges.last_mut() {
            Some(range) if range.last.next() == *seq => range.last = *seq,
            _ => ranges.push(SeqRange::one(*seq)),
        }
    }
    let verdicts = seqs
        .iter()
        .filter_map(|(seq, verdict)| verdict.clone().map(|v| (*seq, v)))
        .collect();
    Ack {
        turbine,
        epoch,
        ranges,
        level,
        verdicts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(turbine: &str, seq: u64) -> RecordId {
        RecordId {
            turbine: TurbineId::new(turbine).unwrap(),
            epoch: Epoch([3; 16]),
            seq: Seq(seq),
        }
    }

    #[test]
    fn acks_are_ranges_by_gateway_with_verdicts() {
        let gateway = GatewayId::new("GW1").unwrap();
        let mut acks = Acks::default();
        for seq in [5, 1, 2, 3, 9] {
            acks.add(gateway.clone(), id("T1", seq), None);
        }
        acks.add(gateway.clone(), id("T1", 4), Some("malformed: x".into()));
        acks.add(gateway.clone(), id("T1", 9), Some("conflict".into()));
        let downlinks = acks.into_downlinks(AckLevel::Logged);
        assert_eq!(downlinks.len(), 1);
        let ack = &downlinks[0].1.acks[0];
        assert_eq!(
            ack.ranges,
            [SeqRange::new(1, 5).unwrap(), SeqRange::new(9, 9).unwrap()]
        );
        assert_eq!(ack.verdicts, [(Seq(4), "malformed: x".to_owned())]);
        assert_eq!(ack.level, AckLevel::Logged);
    }

    #[test]
    fn many_acks_are_several_messages_and_none_is_lost() {
        let gateway = GatewayId::new("GW1").unwrap();
        let mut acks = Acks::default();
        for turbine in ["T1", "T2", "T3"] {
            for seq in 1..=200 {
                acks.add(gateway.clone(), id(turbine, seq * 2), None);
            }
        }
        let downlinks = acks.into_downlinks(AckLevel::Safe);
        assert_eq!(downlinks.len(), 3);
        let ranges: usize = downlinks
            .iter()
            .flat_map(|(_, d)| &d.acks)
            .map(|a| a.ranges.len())
            .sum();
        assert_eq!(ranges, 600);
    }

    #[test]
    fn a_verdict_is_cut_at_a_character() {
        let long = "ü".repeat(200);
        assert_eq!(verdict("malformed", &long).len(), 159);
    }
}
