//! What the cloud says: acknowledgements, requests to send again, orders.
//!
//! Invariants: an acknowledgement is believed only for seqs that are durable here; it is kept until the store has it, so
//! that a page read before that does not send the row again. Every Resend is answered by the record or by a Gap; a seq
//! that is still to come is never declared lost.

use std::collections::{BTreeMap, VecDeque};

use windlass_shared::id::{Epoch, RecordId, Seq, SeqRange, TurbineId};
use windlass_shared::record::LossReason;
use windlass_shared::wire::{Ack, AckLevel, Command, Downlink, Resend};

use super::AgentCore;
use super::eviction::unknown_gaps;
use crate::input::Now;
use crate::output::{AgentEvent, LoadRequest, Output};
use crate::seq_set::SeqSet;
use crate::store::{LevelChange, RowLevel};

type ByEpoch = BTreeMap<(TurbineId, Epoch), SeqSet>;

/// Level changes on their way to the store, and requests that wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Answers {
    logged: ByEpoch,
    safe: ByEpoch,
    resets: ByEpoch,
    /// Acknowledged, in the commit under way.
    committing: ByEpoch,
    resetting: ByEpoch,
    resends: VecDeque<(TurbineId, Epoch, Vec<SeqRange>)>,
    asked: bool,
}

fn has(sets: &ByEpoch, id: &RecordId) -> bool {
    let set = sets.get(&(id.turbine.clone(), id.epoch));
    set.is_some_and(|s| s.contains(id.seq))
}

fn changes(sets: &ByEpoch, level: RowLevel) -> impl Iterator<Item = LevelChange> {
    sets.iter().flat_map(move |((turbine, epoch), set)| {
        set.runs().iter().map(move |seqs| LevelChange {
            turbine: turbine.clone(),
            epoch: *epoch,
            seqs: *seqs,
            level,
        })
    })
}

impl Answers {
    /// Acknowledged, but perhaps not yet in the store.
    pub fn is_acked(&self, id: &RecordId) -> bool {
        has(&self.logged, id) || has(&self.safe, id) || has(&self.committing, id)
    }

    /// About to become unsent again.
    pub fn is_reset(&self, id: &RecordId) -> bool {
        has(&self.resets, id) || has(&self.resetting, id)
    }

    fn ack(&mut self, turbine: &TurbineId, epoch: Epoch, seqs: SeqRange, level: AckLevel) {
        let acked = match level {
            AckLevel::Logged => &mut self.logged,
            AckLevel::Safe => &mut self.safe,
        };
        let key = (turbine.clone(), epoch);
        acked.entry(key).or_default().insert(seqs);
    }

    fn reset(&mut self, turbine: &TurbineId, epoch: Epoch, seqs: SeqRange) {
        let key = (turbine.clone(), epoch);
        // the cloud has said since then that it misses them
        for sets in [&mut self.logged, &mut self.safe] {
            if let Some(set) = sets.get_mut(&key) {
                set.remove(seqs);
            }
        }
        self.resets.entry(key).or_default().insert(seqs);
    }

    /// What goes with the commit that is being made: resets, then acknowledgements (they came later).
    pub fn take_levels(&mut self) -> Vec<LevelChange> {
        let resets = std::mem::take(&mut self.resets);
        let logged = std::mem::take(&mut self.logged);
        let safe = std::mem::take(&mut self.safe);
        let levels = changes(&resets, RowLevel::Unacked)
            .chain(changes(&logged, RowLevel::Logged))
            .chain(changes(&safe, RowLevel::Safe))
            .collect();
        for (key, set) in logged.into_iter().chain(safe) {
            let committing = self.committing.entry(key).or_default();
            set.runs().iter().for_each(|r| committing.insert(*r));
        }
        for (key, set) in resets {
            let resetting = self.resetting.entry(key).or_default();
            set.runs().iter().for_each(|r| resetting.insert(*r));
        }
        levels
    }

    /// The commit is durable. Returns the turbines with rows to be sent again.
    pub fn committed(&mut self) -> Vec<TurbineId> {
        self.committing.clear();
        let resetting = std::mem::take(&mut self.resetting);
        resetting.into_keys().map(|(turbine, _)| turbine).collect()
    }
}

impl AgentCore {
    pub(super) fn downlink(&mut self, now: Now, message: Downlink, out: &mut Vec<Output>) {
        for ack in message.acks {
            self.acked(now, &ack, out);
        }
        for resend in message.resends {
            self.resend_wanted(resend, out);
        }
        for command in message.commands {
            match command {
                Command::NewEpoch {
                    turbine,
                    instead_of,
                    reason,
                } => {
                    let held = self.turbines.get(&turbine);
                    let current = held.and_then(|t| t.numberer.position()).map(|p| p.epoch);
                    let known = held.is_some_and(|t| t.known.iter().any(|k| k.epoch == instead_of));
                    if current == Some(instead_of) {
                        self.new_epoch(now, &turbine, &reason, false);
                    } else if !known {
                        // one that is known was left already: the order is repeated until the cloud hears of the new one
                        let what = format!(
                            "NewEpoch for {turbine} instead of {instead_of}, which is not written"
                        );
                        out.push(Output::Event(AgentEvent::BadDownlink { what }));
                    }
                }
            }
        }
    }

    /// Last durable seq of an epoch that this disk knows.
    fn durable_last(&self, turbine: &TurbineId, epoch: Epoch) -> Option<Seq> {
        let turbine = self.turbines.get(turbine)?;
        let known = turbine.known.iter().find(|k| k.epoch == epoch)?;
        Some(known.last)
    }

    fn acked(&mut self, now: Now, ack: &Ack, out: &mut Vec<Output>) {
        let Some(last) = self.durable_last(&ack.turbine, ack.epoch) else {
            let what = format!(
                "Ack for {}/{}, which this disk does not know",
                ack.turbine, ack.epoch
            );
            return out.push(Output::Event(AgentEvent::BadDownlink { what }));
        };
        let mut records = 0;
        for range in &ack.ranges {
            let Some(seqs) = SeqRange::new(range.first.0, range.last.0.min(last.0)) else {
                continue;
            };
            self.answers.ack(&ack.turbine, ack.epoch, seqs, ack.level);
            records += self.forwarder.gone(&ack.turbine, ack.epoch, seqs);
            self.commits.acks_wait(now);
        }
        if records > 0 {
            out.push(Output::Event(AgentEvent::Acked { records }));
        }
        for (seq, reason) in &ack.verdicts {
            let id = RecordId {
                turbine: ack.turbine.clone(),
                epoch: ack.epoch,
                seq: *seq,
            };
            let reason = reason.clone();
            out.push(Output::Event(AgentEvent::Refused { id, reason }));
        }
    }

    fn resend_wanted(&mut self, resend: Resend, out: &mut Vec<Output>) {
        let waiting = self.answers.resends.iter().map(|(_, _, r)| r.len());
        let waiting: usize = waiting.sum();
        if waiting + resend.ranges.len() > self.settings.uplink.resend_ranges_max
            || !self.turbines.contains_key(&resend.turbine)
        {
            let what = format!(
                "Resend for {}/{}: unknown turbine, or too many ranges wait",
                resend.turbine, resend.epoch
            );
            return out.push(Output::Event(AgentEvent::BadDownlink { what }));
        }
        // sorted and merged: the answer's Gap needs them so
        let ranges: SeqSet = resend.ranges.into_iter().collect();
        let ranges = ranges.runs().to_vec();
        self.answers
            .resends
            .push_back((resend.turbine, resend.epoch, ranges));
    }

    /// Looks up the next Resend in the store.
    pub(super) fn ask_what_is_held(&mut self, out: &mut Vec<Output>) {
        if self.answers.asked {
            return;
        }
        let Some((turbine, epoch, mut ranges)) = self.answers.resends.pop_front() else {
            return;
        };
        let current = self
            .turbines
            .get(&turbine)
            .and_then(|t| t.numberer.position());
        if current.is_some_and(|c| c.epoch == epoch) {
            // what is still to come is not lost
            let last = self.durable_last(&turbine, epoch).map_or(0, |s| s.0);
            let clamp = |r: SeqRange| SeqRange::new(r.first.0, r.last.0.min(last));
            ranges = ranges.into_iter().filter_map(clamp).collect();
        }
        if ranges.is_empty() {
            return;
        }
        self.answers.asked = true;
        out.push(Output::Load(LoadRequest::Held {
            turbine,
            epoch,
            ranges,
        }));
    }

    pub(super) fn held(
        &mut self,
        turbine: &TurbineId,
        epoch: Epoch,
        ranges: &[SeqRange],
        held: &[(SeqRange, RowLevel)],
        out: &mut Vec<Output>,
    ) {
        self.answers.asked = false;
        let mut here = SeqSet::default();
        let mut records = 0;
        for (range, level) in held {
            for seq in range.first.0..=range.last.0 {
                let id = RecordId {
                    turbine: turbine.clone(),
                    epoch,
                    seq: Seq(seq),
                };
                if self.evictions.leaves(&id) || self.commits.evicts(&id) {
                    continue;
                }
                here.insert(SeqRange::one(id.seq));
                // what is unacknowledged is on its way already, unless an acknowledgement waits for the store
                if *level > RowLevel::Unacked || self.answers.is_acked(&id) {
                    self.answers.reset(turbine, epoch, SeqRange::one(id.seq));
                    records += 1;
                }
            }
        }
        let missing = ranges.iter().flat_map(|r| here.missing_in(*r));
        let missing: Vec<_> = missing.collect();
        let lost = missing.iter().map(|r| r.len()).sum();
        self.declare_lost(turbine, epoch, &missing);
        out.push(Output::Event(AgentEvent::Resent {
            turbine: turbine.clone(),
            records,
            lost,
        }));
        if let Some(now) = self.clock {
            self.commits.wanted(now, false);
        }
    }

    fn declare_lost(&mut self, turbine: &TurbineId, epoch: Epoch, missing: &[SeqRange]) {
        let ranges_max = self.settings.recording.gap_ranges_max;
        let Some(turbine) = self.turbines.get_mut(turbine) else {
            return;
        };
        let known = turbine.known.iter().find(|k| k.epoch == epoch);
        let (last, whole) = known.map_or((0, true), |k| (k.last.0, k.whole));
        let was_here = |r: &SeqRange| SeqRange::new(r.first.0, r.last.0.min(last));
        let never_here = |r: &SeqRange| SeqRange::new(r.first.0.max(last + 1), r.last.0);
        let evicted: Vec<_> = missing.iter().filter_map(was_here).collect();
        let never: Vec<_> = missing.iter().filter_map(never_here).collect();
        let reason = if whole {
            LossReason::Evicted
        } else {
            LossReason::Corrupt
        };
        turbine
            .gaps
            .extend(unknown_gaps(epoch, reason, &evicted, ranges_max));
        let reason = LossReason::NeverHeld;
        turbine
            .gaps
            .extend(unknown_gaps(epoch, reason, &never, ranges_max));
    }
}
