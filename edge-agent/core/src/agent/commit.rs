//! When a transaction is made, what goes into it, and what follows from its answer.
//!
//! Invariants: one at a time; a failed one is tried again with the same rows (its numbers are given), extended by what
//! makes room; nothing but a full disk is survived.

use std::collections::BTreeSet;

use windlass_shared::id::{Epoch, RecordId, TurbineId};
use windlass_shared::time::MonoTime;

use super::eviction::Leaving;
use super::{AgentCore, Phase, draw_epoch, store_fault};
use crate::input::Now;
use crate::output::{AgentEvent, FatalFault, Output};
use crate::slicer::{Origin, Slice};
use crate::store::{CommitBatch, CommitId, RowMeta, StoreFault, Usage};

/// A commit that evicts so many times the bytes that it brings needs no further eviction: freed pages are written again in
/// the same transaction, and twice is ample for what rows cost beside their bytes.
const EVICTED_PER_NEW: u64 = 2;

/// The state of commits.
#[derive(Debug, Default)]
pub(super) struct Commits {
    last_id: u64,
    last_at: Option<MonoTime>,
    /// Something waits since.
    since: Option<MonoTime>,
    urgent: bool,
    /// Acknowledgements wait since.
    acks_since: Option<MonoTime>,
    under_way: Option<UnderWay>,
    /// The last try met a full disk; the next one is then.
    retry_at: Option<MonoTime>,
    /// Tries in a row that met one.
    full: u32,
}

#[derive(Debug)]
struct UnderWay {
    batch: CommitBatch,
    late: u64,
    suspect: u64,
    opened: Vec<(TurbineId, Epoch, String)>,
    leaving: Vec<Leaving>,
    /// Rows that waited in a journal.
    placed: BTreeSet<RecordId>,
}

impl Commits {
    /// Something waits for a commit.
    pub fn wanted(&mut self, now: Now, urgent: bool) {
        self.since.get_or_insert(now.mono);
        self.urgent |= urgent;
    }
    /// Acknowledgements wait: they ride on the next commit, or make one when there is none for long.
    pub fn acks_wait(&mut self, now: Now) {
        self.acks_since.get_or_insert(now.mono);
    }
    pub fn is_idle(&self) -> bool {
        self.under_way.is_none()
    }
    pub fn is_stalled(&self) -> bool {
        self.retry_at.is_some()
    }
    pub fn readings_in_flight(&self) -> usize {
        let batches = self.under_way.iter().map(|u| &u.batch);
        let rows = batches.flat_map(|b| b.rows.iter().chain(&b.waiting));
        rows.map(|r| r.meta.readings as usize).sum()
    }
    /// Is this row evicted by the commit under way?
    pub fn evicts(&self, id: &RecordId) -> bool {
        self.leaving().any(|r| r.id == *id)
    }
    /// Rows that the commit under way evicts: with a full disk they are still there.
    pub fn leaving(&self) -> impl Iterator<Item = &RowMeta> {
        self.leaving_together().flat_map(Leaving::rows)
    }
    /// The same by turbine and level.
    pub fn leaving_together(&self) -> impl Iterator<Item = &Leaving> {
        self.under_way.iter().flat_map(|u| &u.leaving)
    }
    /// Does the commit that met a full disk already give back more than it takes? Then more evictions would not help: it
    /// is the eviction itself that finds no room, and only somebody else can make some.
    pub fn gives_enough(&self) -> bool {
        let Some(work) = &self.under_way else {
            return false;
        };
        let gone: u64 = self.leaving().map(|r| r.bytes).sum();
        let rows = work.batch.rows.iter().chain(&work.batch.waiting);
        let new: u64 = rows.map(|r| r.meta.bytes).sum();
        gone > EVICTED_PER_NEW * new
    }
    /// Room was made for the one that failed: at once.
    pub fn retry_now(&mut self, now: MonoTime) {
        if self.retry_at.is_some() {
            self.retry_at = Some(now);
        }
    }
}

impl AgentCore {
    /// When the next commit, or what leads to one, is due.
    pub(super) fn commit_at(&self) -> Option<MonoTime> {
        if let Some(at) = self.commits.retry_at {
            return Some(at);
        }
        if !self.commits.is_idle() {
            return None;
        }
        let recording = &self.settings.recording;
        let last = self.commits.last_at;
        let not_before = |us: u64| last.map_or(MonoTime(0), |at| at.plus_us(us));
        let asked = self.commits.since.map(|since| {
            if self.commits.urgent {
                since.max(not_before(recording.urgent_interval_us))
            } else {
                let gathered = since.plus_us(recording.commit_gather_us);
                gathered.max(not_before(recording.commit_interval_us))
            }
        });
        let acks = (self.commits.acks_since).map(|at| at.plus_us(recording.ack_commit_max_us));
        let turbines = self.turbines.values();
        let marks = turbines.flat_map(|t| [t.seal_at(recording), t.open_at(recording)]);
        asked
            .into_iter()
            .chain(acks)
            .chain(marks.flatten())
            .chain(self.cut_at())
            .min()
    }

    pub(super) fn commit_if_due(&mut self, now: Now, out: &mut Vec<Output>) {
        let stopping = self.phase == Phase::Stopping;
        let due = self.commit_at().is_some_and(|at| at <= now.mono);
        // a stopping agent does not wait, but one that waits for room does
        let idle = self.commits.is_idle() && (due || stopping);
        if idle || self.commits.is_stalled() && due {
            self.make_commit(now, out);
        }
    }

    fn make_commit(&mut self, now: Now, out: &mut Vec<Output>) {
        let stopping = self.phase == Phase::Stopping;
        if stopping {
            self.close_everything(now);
        }
        self.commits.retry_at = None;
        let mut work = self.commits.under_way.take().unwrap_or_else(UnderWay::new);
        self.fill(now, &mut work);
        work.batch.clean_stop = stopping;
        self.commits.since = None;
        self.commits.urgent = false;
        self.commits.acks_since = None;
        if work.batch.is_empty() && !stopping {
            return;
        }
        self.commits.last_id += 1;
        work.batch.id = CommitId(self.commits.last_id);
        self.commits.last_at = Some(now.mono);
        out.push(Output::Commit(work.batch.clone()));
        self.commits.under_way = Some(work);
    }

    fn close_everything(&mut self, now: Now) {
        let ids: Vec<_> = self.turbines.keys().cloned().collect();
        for id in ids {
            self.cut_sources_of(now, &id);
        }
        for turbine in self.turbines.values_mut() {
            turbine.slicer.close_live(&mut turbine.staged);
            let timed = |s: &Slice| s.origin != Origin::Boot;
            let waits = turbine.staged.iter().any(timed);
            turbine.must_open |= waits;
            turbine.seal_wanted |= turbine.numberer.since_seal().0 > 0 || waits;
        }
    }

    fn fill(&mut self, now: Now, work: &mut UnderWay) {
        let batch = &mut work.batch;
        batch.levels.extend(self.answers.take_levels());
        for leaving in self.evictions.take_leaving() {
            batch.evictions.extend(leaving.evictions());
            if let Some(turbine) = self.turbines.get_mut(&leaving.turbine) {
                turbine
                    .gaps
                    .extend(leaving.gaps(self.settings.recording.gap_ranges_max));
                turbine.left(&leaving);
            }
            work.leaving.push(leaving);
        }
        for turbine in self.turbines.values_mut() {
            if !turbine.has_work(now, &self.settings.recording) {
                continue;
            }
            let rng = &mut self.rng;
            let numbered = turbine.number(now, &self.settings, &mut || draw_epoch(rng));
            work.late += numbered.late;
            work.suspect += numbered.suspect;
            batch.rows.extend(numbered.rows);
            batch.waiting.extend(numbered.waiting);
            work.placed.extend(numbered.placed);
            if turbine.numberer.position().is_some() {
                let page = turbine.journal.take_page();
                let upto = turbine.journal.own_last(&page);
                batch
                    .placed
                    .extend(upto.map(|seq| (turbine.id.clone(), seq)));
                batch.evictions.extend(page);
            }
            let opened = numbered.opened.into_iter();
            work.opened
                .extend(opened.map(|(epoch, why)| (turbine.id.clone(), epoch, why)));
        }
        batch.positions.extend(self.staged_positions());
    }

    pub(super) fn committed(&mut self, id: CommitId, usage: Usage, out: &mut Vec<Output>) {
        let Some(work) = self.commits.under_way.take().filter(|w| w.batch.id == id) else {
            let what = format!("commit {} was confirmed and is not under way", id.0);
            return self.fatal(FatalFault::Protocol(what), out);
        };
        self.usage = usage;
        self.commits.full = 0;
        self.evictions.usage_changed();
        for row in &work.batch.rows {
            if let Some(turbine) = self.turbines.get_mut(&row.meta.id.turbine) {
                turbine.durable(row.meta.id.epoch, row.meta.id.seq);
            }
        }
        for turbine in self.turbines.values_mut() {
            turbine.journal.committed();
        }
        self.forwarder.committed(&work.batch.rows, &work.placed);
        for turbine in self.answers.committed() {
            self.forwarder.scan_again(&turbine);
        }
        work.report(out);
        if work.batch.clean_stop {
            self.phase = Phase::Ended;
            out.push(Output::Stopped);
        }
    }

    pub(super) fn commit_failed(
        &mut self,
        now: Now,
        id: CommitId,
        fault: StoreFault,
        out: &mut Vec<Output>,
    ) {
        let current = self.commits.under_way.as_ref().map(|w| w.batch.id);
        match fault {
            StoreFault::DiskFull if current == Some(id) => {
                let wait = self.settings.disk.full_wait_us(self.commits.full);
                self.commits.full = self.commits.full.saturating_add(1);
                self.commits.retry_at = Some(now.mono.plus_us(wait));
                self.evictions.make_room();
                out.push(Output::Event(AgentEvent::DiskFull));
            }
            StoreFault::DiskFull => {
                let what = format!("commit {} failed and is not under way", id.0);
                self.fatal(FatalFault::Protocol(what), out);
            }
            broken @ StoreFault::Broken(_) => self.fatal(store_fault(broken), out),
        }
    }
}

impl UnderWay {
    fn new() -> Self {
        Self {
            batch: CommitBatch {
                id: CommitId(0),
                evictions: Vec::new(),
                levels: Vec::new(),
                rows: Vec::new(),
                waiting: Vec::new(),
                placed: Vec::new(),
                positions: Vec::new(),
                clean_stop: false,
            },
            late: 0,
            suspect: 0,
            opened: Vec::new(),
            leaving: Vec::new(),
            placed: BTreeSet::new(),
        }
    }

    fn report(&self, out: &mut Vec<Output>) {
        for (turbine, epoch, reason) in &self.opened {
            out.push(Output::Event(AgentEvent::EpochOpened {
                turbine: turbine.clone(),
                epoch: *epoch,
                reason: reason.clone(),
            }));
        }
        for leaving in &self.leaving {
            leaving.report(out);
        }
        let waiting = &self.batch.waiting;
        if !waiting.is_empty() {
            out.push(Output::Event(AgentEvent::Waiting {
                records: waiting.len() as u64,
                readings: waiting.iter().map(|r| r.meta.readings).sum(),
                bytes: waiting.iter().map(|r| r.meta.bytes).sum(),
            }));
        }
        let rows = &self.batch.rows;
        if !rows.is_empty() {
            out.push(Output::Event(AgentEvent::Committed {
                records: rows.len() as u64,
                readings: rows.iter().map(|r| r.meta.readings).sum(),
                late: self.late,
                suspect: self.suspect,
                bytes: rows.iter().map(|r| r.meta.bytes).sum(),
            }));
        }
    }
}
