//! How the epochs of a turbine follow each other, as their `Open`s say.
//!
//! Invariant: the order is a function of the set of `Open`s, not of their arrival. An `Open` names its predecessor; where
//! two name the same (a restored backup, a cloned image), the one with the earlier `not_before` follows it and the other,
//! like an `Open` that names none (a replaced disk), follows the newest of what began before it, with an unknown end.
//! An epoch that has no `Open` yet and is named by none takes no part.

use serde::{Deserialize, Serialize};

use super::{Coverage, DeclaredEnd, EpochState, Seqs};
use crate::id::Epoch;
use crate::time::EventTime;

/// A step of the walk from the newest epoch to the oldest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Link {
    /// Place in `Coverage::epochs`.
    pub(super) at: usize,
    /// It may still be on the gateway's disk.
    pub(super) held: bool,
}

/// What is wrong with how epochs hang together; each calls for an alarm.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum LinkFault {
    /// Two or more epochs name the same predecessor: a restored backup or a cloned image.
    Fork {
        /// The epoch that they name.
        predecessor: Epoch,
        /// Those that name it; the first is taken at its word.
        successors: Vec<Epoch>,
    },
    /// More or other records of an epoch were received than its successor declared: a restored backup. The end counts as
    /// unknown.
    EndContradicted {
        /// The epoch whose end was declared.
        epoch: Epoch,
        /// Who declared it.
        successor: Epoch,
    },
    /// An epoch names no predecessor although there is an older one: a replaced disk.
    Unlinked {
        /// The epoch that begins anew.
        epoch: Epoch,
        /// What it is taken to follow.
        follows: Epoch,
    },
}

impl Coverage {
    /// Makes the walk anew from the `Open`s.
    pub(super) fn relink(&mut self) {
        self.faults.clear();
        let follows = self.declared_links();
        let mut named = vec![false; self.epochs.len()];
        for predecessor in follows.iter().flatten() {
            named[*predecessor] = true;
        }
        // the tips, newest first: opened, and named by none
        let mut tips: Vec<(EventTime, Epoch, usize)> = self
            .epochs
            .iter()
            .enumerate()
            .filter(|(at, _)| !named[*at])
            .filter_map(|(at, e)| e.open.as_ref().map(|o| (o.not_before, e.epoch, at)))
            .collect();
        tips.sort_unstable_by(|a, b| b.cmp(a));
        self.chain.clear();
        let on_disk = self.on_disk(tips.first().map(|(_, _, at)| *at));
        'tips: for (i, (_, _, tip)) in tips.iter().enumerate() {
            let mut at = Some(*tip);
            let mut root = *tip;
            while let Some(here) = at {
                let held = on_disk.contains(&here);
                self.chain.push(Link { at: here, held });
                root = here;
                at = follows[here];
            }
            if self.epochs[root].open.is_none() {
                break 'tips; // what it follows is not known yet
            }
            if let Some((_, follows, _)) = tips.get(i + 1) {
                self.faults.push(LinkFault::Unlinked {
                    epoch: self.epochs[root].epoch,
                    follows: *follows,
                });
            }
        }
        self.note_whole();
        self.changed(EventTime::MIN, EventTime::MAX);
    }

    /// The epochs that may still be on the gateway's disk: the newest one's line of predecessors, by its own word, down to
    /// the oldest that it holds. Notes for each how far its records on that disk go: where a backup was restored, that is
    /// less than was received.
    fn on_disk(&mut self, newest: Option<usize>) -> Vec<usize> {
        for e in &mut self.epochs {
            e.held_to = None;
        }
        let mut line: Vec<usize> = newest.into_iter().collect();
        let oldest = newest
            .and_then(|at| self.epochs[at].open.as_ref())
            .map(|o| o.oldest_held);
        while let Some(here) = line.last().copied()
            && oldest != Some(self.epochs[here].epoch)
            && let Some((epoch, end)) = self.epochs[here].open.as_ref().and_then(|o| o.predecessor)
            && let Ok(before) = self.epochs.binary_search_by_key(&epoch, |e| e.epoch)
            && !line.contains(&before)
        {
            self.epochs[before].held_to = end.last;
            line.push(before);
        }
        line
    }

    /// For each epoch, the one that it follows by its own word, where that word is taken; sets the declared ends.
    fn declared_links(&mut self) -> Vec<Option<usize>> {
        let n = self.epochs.len();
        let mut by_predecessor: Vec<(usize, EventTime, Epoch, usize, DeclaredEnd)> = Vec::new();
        for (at, e) in self.epochs.iter().enumerate() {
            let Some(open) = &e.open else { continue };
            let Some((epoch, end)) = open.predecessor else {
                continue;
            };
            if let Ok(p) = self.epochs.binary_search_by_key(&epoch, |e| e.epoch) {
                by_predecessor.push((p, open.not_before, e.epoch, at, end));
            }
        }
        // a whole epoch keeps the end by which it was closed
        by_predecessor.sort_unstable_by_key(|(p, not_before, epoch, _, end)| {
            let other_end = match self.epochs[*p].seqs {
                Seqs::Whole(last) => end.last != Some(last),
                Seqs::Runs(_) => false,
            };
            (*p, other_end, *not_before, *epoch)
        });
        let mut follows = vec![None; n];
        for e in &mut self.epochs {
            e.end = None;
        }
        for group in by_predecessor.chunk_by(|a, b| a.0 == b.0) {
            let [(p, _, successor, at, end), others @ ..] = group else {
                continue;
            };
            follows[*at] = Some(*p);
            let epoch = self.epochs[*p].epoch;
            if self.epochs[*p].contradicts(end) {
                self.faults.push(LinkFault::EndContradicted {
                    epoch,
                    successor: *successor,
                });
            } else if end.ceiling.is_some() {
                self.epochs[*p].end = Some(*end);
            } // otherwise the store was damaged: there may have been more than it still knows of
            if !others.is_empty() {
                self.faults.push(LinkFault::Fork {
                    predecessor: epoch,
                    successors: group.iter().map(|(_, _, e, _, _)| *e).collect(),
                });
            }
        }
        for at in 0..n {
            self.shrink(at);
        }
        follows
    }

    /// Notes from where on the walk meets only whole epochs, back to the turbine's first.
    pub(super) fn note_whole(&mut self) {
        let whole = |link: &&Link| {
            let e = &self.epochs[link.at];
            e.open.is_some() && !e.quarantined && e.is_whole()
        };
        let n = self.chain.iter().rev().take_while(whole).count();
        self.whole_from = self.chain.len() - n;
    }

    /// Places of all epochs, oldest first; those that take no part come before.
    pub(super) fn in_order(&self) -> impl Iterator<Item = usize> + '_ {
        let linked: std::collections::BTreeSet<usize> = self.chain.iter().map(|l| l.at).collect();
        let apart: Vec<usize> = (0..self.epochs.len())
            .filter(|at| !linked.contains(at))
            .collect();
        apart
            .into_iter()
            .chain(self.chain.iter().rev().map(|link| link.at))
    }
}

impl EpochState {
    fn contradicts(&self, end: &DeclaredEnd) -> bool {
        match &self.seqs {
            Seqs::Whole(last) => end.last.is_some_and(|l| l != *last),
            Seqs::Runs(runs) => runs.contradicts(end),
        }
    }

    /// Closed by its successor's word, with nothing missing.
    fn is_whole(&self) -> bool {
        match &self.seqs {
            Seqs::Whole(last) => self.end.is_some_and(|end| end.last == Some(*last)),
            Seqs::Runs(_) => false,
        }
    }
}
