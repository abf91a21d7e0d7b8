//! One turbine of the gateway: its slices, its numbers, the epochs it has on disk.

use windlass_shared::id::{Epoch, Seq, TurbineId};
use windlass_shared::record::Gap;
use windlass_shared::time::{EventTime, MonoTime};

use crate::batch::{Sample, batch};
use crate::input::Now;
use crate::numberer::{Contents, Numberer};
use crate::settings::{RecordingSettings, Settings};
use crate::slicer::{Slice, Slicer, mark_late};
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
        Self {
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
        let ready = self.ready.rows.iter().map(|r| r.meta.readings as usize);
        let staged = self.staged.iter().map(|s| s.samples.len());
        self.slicer.waiting() + staged.chain(ready).sum::<usize>()
    }

    /// When its first epoch may begin; `None`: it has begun, or no source has.
    pub fn open_at(&self, recording: &RecordingSettings) -> Option<MonoTime> {
        if self.numberer.position().is_some() {
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
        let waits = !self.staged.is_empty() || self.seal_wanted;
        let seal = self.seal_at(recording).is_some_and(|at| at <= now.mono);
        !self.ready.rows.is_empty() || opens || seal || waits && opened || !self.gaps.is_empty()
    }

    /// When its next Seal is due.
    pub fn seal_at(&self, recording: &RecordingSettings) -> Option<MonoTime> {
        let at = self.numberer.position()?;
        let (records, sealed_at) = self.numberer.since_seal();
        let moved = records > 0 || self.bound(EventTime::MAX) > at.frontier;
        moved.then(|| sealed_at.plus_us(recording.seal_every_us))
    }

    fn bound(&self, unnumbered: EventTime) -> EventTime {
        self.slicer.bound(unnumbered)
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
        if self.numberer.position().is_none() {
            let due = self.open_at(recording).is_some_and(|at| at <= now.mono);
            if !due && self.gaps.is_empty() {
                return;
            }
            let not_before = self.first_promise(now);
            self.open(now, draw(), "start", not_before, settings, done);
        }
        let chunks = self.chunks(recording.record_readings_max);
        let mut behind = vec![EventTime::MAX; chunks.len()];
        for i in (1..chunks.len()).rev() {
            behind[i - 1] = behind[i].min(Slice::earliest(&chunks[i].samples));
        }
        for (chunk, behind) in chunks.iter().zip(behind) {
            let bound = self.bound(behind);
            let (contents, late, suspect) = contents(chunk);
            let body = batch(
                self.slicer.catalogue(),
                chunk.class,
                chunk.group,
                &chunk.samples,
            );
            self.add(done, |n| n.batch(now, bound, body, contents));
            done.late += late;
            done.suspect += suspect;
        }
        let bound = self.bound(EventTime::MAX);
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

    fn add(&mut self, done: &mut Numbered, number: impl FnOnce(&mut Numberer) -> NewRow) {
        let row = number(&mut self.numberer);
        if let Some(known) = self.known.last_mut() {
            known.rows += 1;
        }
        done.rows.push(row);
    }

    fn chunks(&mut self, readings_max: usize) -> Vec<Slice> {
        let mut chunks = Vec::new();
        for slice in std::mem::take(&mut self.staged) {
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

    /// What the first epoch of this process promises.
    fn first_promise(&self, now: Now) -> EventTime {
        let wall = EventTime(now.wall.0.max(0));
        // without a source: what waits below the last frontier was late before, and nothing else may be called late
        let unknown = if self.configured {
            self.last_frontier.unwrap_or(EventTime(0))
        } else {
            wall
        };
        self.slicer.not_before().unwrap_or(unknown)
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
