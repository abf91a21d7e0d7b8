//! Which records a result was computed from: ranges of seqs per epoch.

use serde::{Deserialize, Serialize};

use crate::id::{Epoch, Seq, SeqRange};

/// Which records a result was computed from: epochs by id, seqs in order, ranges neither overlapping nor adjacent.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Sources(pub Vec<(Epoch, Vec<SeqRange>)>);

impl Sources {
    /// Adds one record.
    pub fn add(&mut self, epoch: Epoch, seq: Seq) {
        if let Some((last, ranges)) = self.0.last_mut()
            && *last == epoch
            && let Some(range) = ranges.last_mut()
        {
            if range.last == seq {
                return;
            }
            if range.last.0 + 1 == seq.0 {
                range.last = seq;
                return;
            }
        }
        self.add_range(epoch, SeqRange::one(seq));
    }

    /// Adds a range of records.
    pub fn add_range(&mut self, epoch: Epoch, new: SeqRange) {
        let at = match self.0.binary_search_by_key(&epoch, |(e, _)| *e) {
            Ok(at) => at,
            Err(at) => {
                self.0.insert(at, (epoch, Vec::new()));
                at
            }
        };
        let ranges = &mut self.0[at].1;
        // those that overlap or touch it
        let from = ranges.partition_point(|r| r.last.0 + 1 < new.first.0);
        let to = ranges.partition_point(|r| r.first.0 <= new.last.0 + 1);
        let joined = ranges[from..to].iter().fold(new, |a, b| SeqRange {
            first: a.first.min(b.first),
            last: a.last.max(b.last),
        });
        ranges.splice(from..to, [joined]);
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (epoch, ranges) in &other.0 {
            for range in ranges {
                self.add_range(*epoch, *range);
            }
        }
    }

    /// Is this record among them?
    pub fn contains(&self, epoch: Epoch, seq: Seq) -> bool {
        self.0
            .binary_search_by_key(&epoch, |(e, _)| *e)
            .is_ok_and(|at| self.0[at].1.iter().any(|r| r.contains(seq)))
    }
}
