//! The hash chain of one epoch, recomputed from what the lake holds.
//!
//! Invariants: memory depends on the number of holes, not of records; the order of arrival makes no difference to what is
//! found to be joined; a record is never taken on trust: its head is computed from its bytes' hash.

use std::collections::BTreeMap;

use windlass_shared::id::{Seq, SeqRange};
use windlass_shared::record::{Head, RecordHash};
use windlass_shared::wire;

/// Seqs whose hashes join.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    last: u64,
    /// Head before the first.
    before: Head,
    /// Head after the last.
    after: Head,
}

/// The chain of one epoch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Chain {
    /// By first seq.
    runs: BTreeMap<u64, Run>,
    /// Records added.
    records: u64,
    /// Seqs that do not join the seq before them.
    breaks: Vec<Seq>,
    seals: u64,
    bad_seals: Vec<Seq>,
}

/// Breaks that are named; there can be one for each record.
const NAMED_MAX: usize = 100;

impl Chain {
    /// Takes a record: its seq, the head it says was before it, the hash of its bytes. One that came before is ignored.
    pub fn add(&mut self, seq: Seq, before: Head, hash: &RecordHash) {
        let after = wire::next_head(&before, hash);
        if self.insert(SeqRange::one(seq), before, after) {
            self.records += 1;
        }
    }

    /// Takes what a Gap says of the heads around lost records.
    pub fn add_lost(&mut self, seqs: SeqRange, before: Head, after: Head) {
        self.insert(seqs, before, after);
    }

    /// Takes what a Seal says; `before` is the head that the seal's own record names.
    pub fn add_seal(&mut self, seq: Seq, upto: Seq, head: &Head, before: &Head) {
        self.seals += 1;
        if upto.next() != seq || head != before {
            name(&mut self.bad_seals, seq);
        }
    }

    fn insert(&mut self, seqs: SeqRange, before: Head, after: Head) -> bool {
        let (first, last) = (seqs.first.0, seqs.last.0);
        if let Some((_, r)) = self.runs.range(..=last).next_back()
            && r.last >= first
        {
            return false;
        }
        if first == 1 && before != Head::default() {
            name(&mut self.breaks, seqs.first);
        }
        let mut run = Run {
            last,
            before,
            after,
        };
        let mut at = first;
        let left = self.runs.range(..first).next_back().map(|(f, r)| (*f, *r));
        if let Some((f, left)) = left.filter(|(_, r)| r.last + 1 == first) {
            if left.after == before {
                self.runs.remove(&f);
                at = f;
                run.before = left.before;
            } else {
                name(&mut self.breaks, seqs.first);
            }
        }
        if let Some(right) = self.runs.get(&(last + 1)).copied() {
            if right.before == after {
                self.runs.remove(&(last + 1));
                run.last = right.last;
                run.after = right.after;
            } else {
                name(&mut self.breaks, Seq(last + 1));
            }
        }
        self.runs.insert(at, run);
        true
    }

    /// Does the chain end at `last` with `head`? `None`: that end is not known.
    pub fn ends_with(&self, last: Seq, head: &Head) -> Option<bool> {
        let run = self.runs.values().find(|r| r.last == last.0)?;
        Some(run.after == *head)
    }

    /// Records taken.
    pub fn records(&self) -> u64 {
        self.records
    }
    /// Seals taken.
    pub fn seals(&self) -> u64 {
        self.seals
    }
    /// Seqs (the first hundred) that do not join the one before.
    pub fn breaks(&self) -> &[Seq] {
        &self.breaks
    }
    /// Seals (the first hundred) that do not hold.
    pub fn bad_seals(&self) -> &[Seq] {
        &self.bad_seals
    }
    /// Ranges whose hashes join.
    pub fn joined(&self) -> Vec<SeqRange> {
        let runs = self.runs.iter();
        runs.filter_map(|(first, r)| SeqRange::new(*first, r.last))
            .collect()
    }
    /// Nothing contradicts.
    pub fn holds(&self) -> bool {
        self.breaks.is_empty() && self.bad_seals.is_empty()
    }
}

fn name(list: &mut Vec<Seq>, seq: Seq) {
    if list.len() < NAMED_MAX {
        list.push(seq);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Heads before and hashes of records 1..=n.
    fn records(n: u64) -> Vec<(Seq, Head, RecordHash)> {
        let mut head = Head::default();
        let record = |seq| {
            let hash = wire::hash(&[seq as u8; 9]);
            let before = head;
            head = wire::next_head(&before, &hash);
            (Seq(seq), before, hash)
        };
        (1..=n).map(record).collect()
    }

    fn chain(records: &[(Seq, Head, RecordHash)]) -> Chain {
        let mut chain = Chain::default();
        for (seq, before, hash) in records {
            chain.add(*seq, *before, hash);
        }
        chain
    }

    #[test]
    fn any_order_joins_and_repeats_change_nothing() {
        let all = records(9);
        let mut mixed = all.clone();
        mixed.reverse();
        mixed.swap(2, 7);
        mixed.extend_from_slice(&all[3..5]);
        let chain = chain(&mixed);
        assert_eq!(chain.joined(), [SeqRange::new(1, 9).unwrap()]);
        assert_eq!(chain.records(), 9);
        assert!(chain.holds());
        let (_, before, hash) = all[8];
        let end = wire::next_head(&before, &hash);
        assert_eq!(chain.ends_with(Seq(9), &end), Some(true));
        assert_eq!(chain.ends_with(Seq(9), &before), Some(false));
        assert_eq!(chain.ends_with(Seq(8), &before), None);
    }

    #[test]
    fn a_hole_is_no_break_and_a_gap_bridges_it() {
        let all = records(6);
        let mut some = all.clone();
        some.drain(2..4);
        let mut chain = chain(&some);
        assert!(chain.holds());
        assert_eq!(chain.joined().len(), 2);
        chain.add_lost(SeqRange::new(3, 4).unwrap(), all[2].1, all[4].1);
        assert_eq!(chain.joined(), [SeqRange::new(1, 6).unwrap()]);
        assert_eq!(chain.records(), 4);
        assert!(chain.holds());
    }

    #[test]
    fn changed_bytes_break_it_where_they_are() {
        let mut all = records(6);
        all[2].2 = wire::hash(b"other");
        let chain = chain(&all);
        assert_eq!(chain.breaks(), [Seq(4)]);
        assert!(!chain.holds());
    }

    #[test]
    fn a_seal_must_speak_of_what_is_before_it() {
        let all = records(3);
        let mut chain = chain(&all[..2]);
        chain.add_seal(Seq(3), Seq(2), &all[2].1, &all[2].1);
        assert!(chain.holds());
        chain.add_seal(Seq(3), Seq(2), &all[1].1, &all[2].1);
        assert_eq!(chain.bad_seals(), [Seq(3)]);
        assert_eq!(chain.seals(), 2);
    }
}
