//! One turbine of the gateway: its slices, its numbers, the epochs it has on disk.

use std::collections::BTreeSet;

use windlass_shared::catalogue::Class;
use windlass_shared::id::{Epoch, RecordId, Seq, SeqRange, TurbineId};
use windlass_shared::record::{Gap, GapRange, LossReason, Untimed};
use windlass_shared::time::{EventTime, MonoTime};

use crate::batch::{Sample, batch};
use crate::input::Now;
use crate::journal::Journal;
use crate::numberer::{Contents, Numberer};
use crate::settings::{RecordingSettings, Settings};
use crate::slicer::{Origin, Slice, Slicer, mark_late};
use crate::store::{NewRow, RecoveredTurbine, RowKind};

/// An epoch that has rows on disk, or had.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub epoch: Epoch,
    /// Rows numbered and not evicted.
    pub rows: u64,
    /// Last seq that is durable.
    pub last: Seq,
    pub whole: bool,
}

/// Rows of one turbine for one commit.
#[derive(Debug, Default)]
pub(crate) struct Numbered {
    pub rows: Vec<NewRow>,
    /// Rows without a number: the clock is not set.
    pub waiting: Vec<NewRow>,
    /// Those of `rows` that waited in a journal: they are no live data.
    pub placed: BTreeSet<RecordId>,
    pub late: u64,
    pub suspect: u64,
    /// An epoch that began with these rows, and why.
    pub opened: Vec<(Epoch, String)>,
}

/// One turbine.
#[derive(Debug)]
pub(crate) struct Turbine {
    pub id: TurbineId,
    /// Has it sources of its own here, or is it only on disk?
    pub configured: bool,
    pub slicer: Slicer,
    pub numberer: Numberer,
    pub journal: Journal,
    pub known: Vec<Known>,
    /// Closed slices without a number.
    pub staged: Vec<Slice>,
    /// Numbered ahead of the next commit.
    pub ready: Numbered,
    pub gaps: Vec<Gap>,
    pub first_started: Option<MonoTime>,
    /// An epoch must begin even though sources are missing: there is something to number.
    pub must_open: bool,
    pub seal_wanted: bool,
    last_frontier: Option<EventTime>,
}

impl Turbine {
    pub fn new(id: TurbineId, settings: &Settings, recovered: Option<&RecoveredTurbine>) -> Self {
        let own = settings.turbines.iter().find(|t| t.id == id);
        let configured = own.is_some() && settings.sources.iter().any(|s| s.turbines.contains(&id));
        let epochs = recovered.map_or(&[][..], |r| &r.epochs);
        let journals = recovered.map_or(&[][..], |r| &r.journals);
        Self {
            journal: Journal::new(
                id.clone(),
                settings.boot,
                journals,
                settings.placed.get(&id).copied(),
            ),
            slicer: Slicer::new(own, &settings.sources, &settings.recording),
            numberer: Numberer::new(id.clone(), epochs.last()),
            known: epochs
                .iter()
                .map(|e| Known {
                    epoch: e.epoch,
                    rows: e.rows,
                    last: e.last_seq,
                    whole: e.whole,
                })
                .collect(),
            id,
            configured,
            staged: Vec::new(),
            ready: Numbered::default(),
            gaps: Vec::new(),
            first_started: None,
            must_open: false,
            seal_wanted: false,
            last_frontier: epochs.last().map(|e| e.frontier),
        }
    }

    /// Readings that wait for a commit.
    pub fn waiting(&self) -> usize {
        let ready = self.ready.rows.iter().chain(&self.ready.waiting);
        let ready = ready.map(|r| r.meta.readings as usize);
        let staged = self.staged.iter().map(|s| s.samples.len());
        self.slicer.waiting() + staged.chain(ready).sum::<usize>()
    }

    /// When its first epoch may begin; `None`: it has begun, or no source has, or the clock is not set.
    pub fn open_at(&self, recording: &RecordingSettings) -> Option<MonoTime> {
        if self.numberer.position().is_some() || !self.is_clock_set() && !self.must_open {
            return None;
        }
        let started = self.first_started?;
        Some(if self.slicer.all_started() || self.must_open {
            started
        } else {
            started.plus_us(recording.open_wait_max_us)
        })
    }

    /// Is there something to number, and may it be?
    pub fn has_work(&self, now: Now, recording: &RecordingSettings) -> bool {
        let opened = self.numberer.position().is_some();
        let opens = self.open_at(recording).is_some_and(|at| at <= now.mono);
        let waits = !self.staged.is_empty() || self.seal_wanted || !self.journal.untimed.is_empty();
        let seal = self.seal_at(recording).is_some_and(|at| at <= now.mono);
        let ready = !self.ready.rows.is_empty() || !self.ready.waiting.is_empty();
        let unplaced = self.staged.iter().any(|s| s.origin == Origin::Boot);
        ready || opens || seal || waits && opened || unplaced || !self.gaps.is_empty()
    }

    fn is_clock_set(&self) -> bool {
        self.journal.offset_us.is_some()
    }

    /// The clock is set: what live sources said by the boot's time is over.
    pub fn clock_set(&mut self, offset_us: i64) {
        self.slicer.close_live(&mut self.staged);
        self.slicer.clock_set(offset_us);
        self.journal.offset_us = Some(offset_us);
    }

    /// The clock is no longer set.
    pub fn clock_lost(&mut self, now: Now) {
        self.slicer.close_live(&mut self.staged);
        self.slicer.clock_lost(now);
        self.journal.offset_us = None;
    }

    /// When its next Seal is due.
    pub fn seal_at(&self, recording: &RecordingSettings) -> Option<MonoTime> {
        let at = self.numberer.position()?;
        let (records, sealed_at) = self.numberer.since_seal();
        let moved = records > 0 || self.bound(EventTime::MAX) > at.frontier;
        moved.then(|| sealed_at.plus_us(recording.seal_every_us))
    }

    fn bound(&self, unnumbered: EventTime) -> EventTime {
        self.slicer.bound(unnumbered).min(self.journal.bound())
    }

    /// Numbers everything that is closed.
    pub fn number(
        &mut self,
        now: Now,
        settings: &Settings,
        draw: &mut dyn FnMut() -> Epoch,
    ) -> Numbered {
        let mut done = std::mem::take(&mut self.ready);
        self.number_staged(now, settings, draw, &mut done);
        done
    }

    /// Numbers everything that is closed now, ahead of the next commit, and stamps the frontier as far as it may go. The
    /// rows go with that commit.
    pub fn number_ahead(&mut self, now: Now, settings: &Settings, draw: &mut dyn FnMut() -> Epoch) {
        self.must_open = true;
        let mut done = std::mem::take(&mut self.ready);
        self.number_staged(now, settings, draw, &mut done);
        // rows without a value make a promise, too
        if self.bound(EventTime::MAX) > self.numberer.frontier() {
            self.seal_wanted = true;
            self.number_staged(now, settings, draw, &mut done);
        }
        self.ready = done;
    }

    fn number_staged(
        &mut self,
        now: Now,
        settings: &Settings,
        draw: &mut dyn FnMut() -> Epoch,
        done: &mut Numbered,
    ) {
        let recording = &settings.recording;
        self.write_journal(now, recording.record_readings_max, done);
        if self.numberer.position().is_none() {
            let due = self.open_at(recording).is_some_and(|at| at <= now.mono);
            if !due && self.gaps.is_empty() {
                return;
            }
            let not_before = self.first_promise(now);
            self.open(now, draw(), "start", not_before, settings, done);
        }
        self.declare_untimed(now, done);
        self.holes(now, done);
        let chunks = self.chunks(recording.record_readings_max);
        let mut behind = vec![EventTime::MAX; chunks.len()];
        for i in (1..chunks.len()).rev() {
            behind[i - 1] = behind[i].min(Slice::earliest(&chunks[i].samples));
        }
        for (chunk, behind) in chunks.iter().zip(behind) {
            let bound = self.bound(behind);
            let (contents, late, suspect) = contents(chunk);
            let body = batch(chunk.catalogue, chunk.class, chunk.group, &chunk.samples);
            let id = self.add(done, |n| n.batch(now, bound, body, contents));
            if chunk.origin == Origin::Journal {
                done.placed.insert(id);
            }
            done.late += late;
            done.suspect += suspect;
        }
        let bound = self.bound(EventTime::MAX);
        for untimed in std::mem::take(&mut self.journal.untimed) {
            let contents = timeless(&untimed);
            let id = self.add(done, |n| n.untimed(now, bound, untimed, contents));
            done.placed.insert(id);
        }
        for gap in std::mem::take(&mut self.gaps) {
            self.add(done, |n| n.gap(now, bound, gap));
        }
        let (records, _) = self.numberer.since_seal();
        let due = self.seal_at(recording).is_some_and(|at| at <= now.mono);
        if due || records >= recording.seal_every_records || self.seal_wanted {
            self.seal_wanted = false;
            self.add(done, |n| n.seal(now, bound));
        }
    }

    fn add(
        &mut self,
        done: &mut Numbered,
        number: impl FnOnce(&mut Numberer) -> NewRow,
    ) -> RecordId {
        let row = number(&mut self.numberer);
        let id = row.meta.id.clone();
        if let Some(known) = self.known.last_mut() {
            known.rows += 1;
        }
        done.rows.push(row);
        id
    }

    /// Writes down without a number what has none before the clock is set.
    fn write_journal(&mut self, now: Now, readings_max: usize, done: &mut Numbered) {
        let staged = std::mem::take(&mut self.staged);
        let (unplaced, staged) = staged
            .into_iter()
            .partition(|s: &Slice| s.origin == Origin::Boot);
        self.staged = staged;
        for slice in chunks(unplaced, readings_max) {
            done.waiting.push(self.journal.slice(now, &slice));
        }
        if !self.is_clock_set() {
            for gap in std::mem::take(&mut self.gaps) {
                done.waiting.push(self.journal.gap(now, gap));
            }
        }
    }

    /// Readings of earlier boots that never saw a clock may belong anywhere between what was promised before them and this
    /// boot's start: a seq without a record stands there for them, so that no window of that time is called exact.
    fn declare_untimed(&mut self, now: Now, done: &mut Numbered) {
        let Some(boot_at) = self.journal.placed(EventTime(0)) else {
            return;
        };
        if std::mem::take(&mut self.journal.undeclared) {
            let range = GapRange {
                seqs: SeqRange::one(Seq::FIRST),
                readings: Some(0),
                bounds: None,
                end: None,
                heads: None,
            };
            self.add_hole(
                now,
                boot_at,
                &range,
                Class::Compliance,
                LossReason::Untimed,
                done,
            );
        }
    }

    /// A loss out of a journal: what is lost never had a seq, so each range of it gets one.
    ///
    /// Before anything else is numbered: the frontier has not passed it yet.
    fn holes(&mut self, now: Now, done: &mut Numbered) {
        let is_boot = |g: &Gap| self.journal.is_boot(g.epoch);
        let (lost, others): (Vec<_>, _) = (self.gaps.drain(..)).partition(is_boot);
        self.gaps = others;
        for gap in lost {
            self.hole(now, &gap, done);
        }
    }

    fn hole(&mut self, now: Now, gap: &Gap, done: &mut Numbered) {
        let own = self.journal.is_own(gap.epoch);
        for range in &gap.ranges {
            let placed = |t| self.journal.placed(t).filter(|_| own);
            let bounds = range.bounds.and_then(|(a, b)| placed(a).zip(placed(b)));
            let now_at = EventTime(now.wall.0.max(0));
            // of an earlier boot it is said already that its readings may be anywhere before this one
            let latest = bounds.map_or(if own { now_at } else { EventTime::MIN }, |b| b.1);
            let range = GapRange {
                bounds,
                heads: None,
                ..range.clone()
            };
            self.add_hole(now, latest, &range, gap.class, gap.reason, done);
        }
    }

    fn add_hole(
        &mut self,
        now: Now,
        latest: EventTime,
        range: &GapRange,
        class: Class,
        reason: LossReason,
        done: &mut Numbered,
    ) {
        let (seq, end) = self.numberer.hole(latest);
        let Some(at) = self.numberer.position() else {
            return;
        };
        let gap = Gap {
            epoch: at.epoch,
            class,
            reason,
            ranges: vec![GapRange {
                seqs: SeqRange::one(seq),
                end: Some(end),
                ..range.clone()
            }],
        };
        let bound = self.bound(EventTime::MAX);
        self.add(done, |n| n.gap(now, bound, gap));
    }

    fn chunks(&mut self, readings_max: usize) -> Vec<Slice> {
        chunks(std::mem::take(&mut self.staged), readings_max)
    }

    /// What the first epoch of this process promises.
    fn first_promise(&self, now: Now) -> EventTime {
        let wall = EventTime(now.wall.0.max(0));
        let before = self.last_frontier.unwrap_or(EventTime(0));
        if !self.is_clock_set() {
            return before;
        }
        // without a source: what waits below the last frontier was late before, and nothing else may be called late
        let unknown = if self.configured {
            self.last_frontier.unwrap_or(EventTime(0))
        } else {
            wall
        };
        let promise = self.slicer.not_before().unwrap_or(unknown);
        let promise = promise.min(self.journal.bound());
        if self.journal.undeclared {
            promise.min(before)
        } else {
            promise
        }
    }

    fn open(
        &mut self,
        now: Now,
        epoch: Epoch,
        reason: &str,
        not_before: EventTime,
        settings: &Settings,
        done: &mut Numbered,
    ) {
        let oldest = self.known.iter().find(|k| k.rows > 0).map(|k| k.epoch);
        self.known.push(Known {
            epoch,
            rows: 0,
            last: Seq(0),
            whole: true,
        });
        self.slicer.epoch_begins(not_before);
        for slice in &mut self.staged {
            mark_late(&mut slice.samples, not_before);
        }
        let version = &settings.agent_version;
        self.add(done, |n| n.open(now, epoch, oldest, not_before, version));
        done.opened.push((epoch, reason.into()));
        self.must_open = false;
    }

    /// Ends the epoch: everything that waits is numbered in it, then the next one begins. The rows go with the next commit.
    pub fn begin_epoch(
        &mut self,
        now: Now,
        reason: &str,
        clock_set_back: bool,
        settings: &Settings,
        draw: &mut dyn FnMut() -> Epoch,
    ) {
        if self.numberer.position().is_none() {
            // nothing is numbered yet: the first epoch is still to come
            if clock_set_back {
                self.slicer.clock_set_back(now);
            }
            return;
        }
        self.slicer.close_all(&mut self.staged);
        let mut done = std::mem::take(&mut self.ready);
        self.number_staged(now, settings, draw, &mut done);
        if clock_set_back {
            self.slicer.clock_set_back(now);
        }
        let promise = self.bound(EventTime::MAX);
        let not_before = if promise == EventTime::MIN || promise == EventTime::MAX {
            EventTime(now.wall.0.max(0))
        } else {
            promise
        };
        self.open(now, draw(), reason, not_before, settings, &mut done);
        self.ready = done;
    }
}

/// Slices of at most so many readings.
fn chunks(slices: Vec<Slice>, readings_max: usize) -> Vec<Slice> {
    let mut chunks = Vec::new();
    for slice in slices {
        if slice.samples.len() <= readings_max {
            chunks.push(slice);
            continue;
        }
        for samples in slice.samples.chunks(readings_max.max(1)) {
            chunks.push(Slice {
                samples: samples.to_vec(),
                ..Slice {
                    samples: Vec::new(),
                    ..slice
                }
            });
        }
    }
    chunks
}

fn timeless(untimed: &Untimed) -> Contents {
    Contents {
        kind: RowKind::Batch(untimed.batch.class, untimed.batch.rate_group),
        readings: untimed.batch.raw.len() as u64,
        bounds: None,
        latest_on_time: EventTime::MIN,
    }
}

fn contents(slice: &Slice) -> (Contents, u64, u64) {
    let count = |f: fn(&Sample) -> bool| slice.samples.iter().filter(|s| f(s)).count() as u64;
    let times = || {
        slice
            .samples
            .iter()
            .filter(|s| !s.flags.suspect)
            .map(|s| s.time)
    };
    let on_time = slice.samples.iter().filter(|s| s.on_time()).map(|s| s.time);
    let contents = Contents {
        kind: RowKind::Batch(slice.class, slice.group),
        readings: slice.samples.len() as u64,
        bounds: times().min().zip(times().max()),
        latest_on_time: on_time.max().unwrap_or(EventTime::MIN),
    };
    (
        contents,
        count(|s| s.flags.late),
        count(|s| s.flags.suspect),
    )
}
