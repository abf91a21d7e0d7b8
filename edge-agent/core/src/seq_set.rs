//! A set of seqs as sorted runs: what acknowledgements and resends are made of.
//!
//! Invariant: runs are sorted, disjoint and not adjacent, so equal sets are equal values.

use windlass_shared::id::{Seq, SeqRange};

/// A set of seqs of one epoch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SeqSet(Vec<SeqRange>);

impl SeqSet {
    /// Adds a run, merging what touches it.
    pub fn insert(&mut self, range: SeqRange) {
        let (mut first, mut last) = (range.first.0, range.last.0);
        let from = self
            .0
            .partition_point(|r| r.last.0.saturating_add(1) < first);
        let to = self
            .0
            .partition_point(|r| r.first.0 <= last.saturating_add(1));
        for run in &self.0[from..to] {
            first = first.min(run.first.0);
            last = last.max(run.last.0);
        }
        let merged = SeqRange {
            first: Seq(first),
            last: Seq(last),
        };
        self.0.splice(from..to, [merged]);
    }

    /// Takes a run out.
    pub fn remove(&mut self, range: SeqRange) {
        let from = self.0.partition_point(|r| r.last < range.first);
        let to = self.0.partition_point(|r| r.first <= range.last);
        if from >= to {
            return;
        }
        let (left, right) = (self.0[from], self.0[to - 1]);
        let before = SeqRange::new(left.first.0, range.first.0.saturating_sub(1));
        let after = SeqRange::new(range.last.0.saturating_add(1), right.last.0);
        let rest = before
            .filter(|_| left.first < range.first)
            .into_iter()
            .chain(after.filter(|_| right.last > range.last));
        self.0.splice(from..to, rest);
    }

    /// Is `seq` in it?
    pub fn contains(&self, seq: Seq) -> bool {
        let at = self.0.partition_point(|r| r.last < seq);
        self.0.get(at).is_some_and(|r| r.contains(seq))
    }

    /// The runs in order.
    pub fn runs(&self) -> &[SeqRange] {
        &self.0
    }

    /// Has it none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many seqs it holds.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|r| r.len()).sum()
    }

    /// What of `range` is not in the set, in order.
    pub fn missing_in(&self, range: SeqRange) -> Vec<SeqRange> {
        let mut rest = Self(vec![range]);
        for run in &self.0 {
            rest.remove(*run);
        }
        rest.0
    }
}

impl FromIterator<SeqRange> for SeqSet {
    fn from_iter<I: IntoIterator<Item = SeqRange>>(ranges: I) -> Self {
        let mut set = Self::default();
        for range in ranges {
            set.insert(range);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_as_a_set_of_numbers(steps in prop::collection::vec((any::<bool>(), 1u64..40, 0u64..8), 0..40)) {
            let mut set = SeqSet::default();
            let mut model = BTreeSet::new();
            for (add, first, extra) in steps {
                let range = SeqRange::new(first, first + extra).unwrap();
                for seq in first..=first + extra {
                    if add { model.insert(seq); } else { model.remove(&seq); }
                }
                if add { set.insert(range); } else { set.remove(range); }
                for pair in set.runs().windows(2) {
                    prop_assert!(pair[0].last.0 + 1 < pair[1].first.0);
                }
                prop_assert_eq!(set.len(), model.len() as u64);
                for seq in 1..60 {
                    prop_assert_eq!(set.contains(Seq(seq)), model.contains(&seq));
                }
                let holes: u64 = set.missing_in(SeqRange::new(1, 60).unwrap()).iter().map(|r| r.len()).sum();
                prop_assert_eq!(holes, 60 - model.len() as u64);
            }
        }
    }
}
