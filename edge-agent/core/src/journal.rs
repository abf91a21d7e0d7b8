//! What one turbine recorded without a clock: the boot's journal, and how much of it, and of other boots', still waits.
//!
//! Invariants: while anything of this boot waits, no frontier passes the wall time of the earliest of it, and without a
//! clock none moves at all; a row of this boot is given a wall time once, also where a restored copy of the store brings
//! it back; a page that is being placed is in one place only: it is neither asked for again nor evicted.

use std::collections::BTreeMap;

use windlass_shared::id::{BootId, Epoch, RecordId, Seq, SeqRange, TurbineId};
use windlass_shared::record::{Gap, Untimed};
use windlass_shared::time::{EventTime, MonoTime};

use crate::batch::batch;
use crate::input::Now;
use crate::numberer::{Contents, Numberer};
use crate::slicer::Slice;
use crate::store::{Eviction, HeldJournal, NewRow, RowKind, RowMeta};

/// The page that is being placed.
#[derive(Debug, Default, PartialEq)]
enum Page {
    #[default]
    None,
    /// Asked for, when so many rows had ever left.
    Asked(u64),
    /// Read, with each row's readings: they leave with the commit that numbers what they hold.
    Read(BTreeMap<RecordId, u64>),
    /// That commit is under way.
    Leaves(BTreeMap<RecordId, u64>),
}

/// What waits, in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WaitingView {
    /// Rows in journals.
    pub records: u64,
    /// Readings in them.
    pub readings: u64,
    /// Earliest reading of this boot among them, by the monotonic clock.
    pub since: Option<MonoTime>,
}

/// The journals of one turbine.
#[derive(Debug)]
pub(crate) struct Journal {
    numberer: Numberer,
    turbine: TurbineId,
    boots: Vec<Epoch>,
    /// Processes before this one placed this boot's rows up to here.
    placed: Option<Seq>,
    records: u64,
    readings: u64,
    left: u64,
    since: Option<MonoTime>,
    /// Boots before this one left something that nobody can place, and no Gap says so yet.
    pub undeclared: bool,
    /// Wall time of the boot's start, once the clock is set.
    pub offset_us: Option<i64>,
    page: Page,
    /// Read from the page: to be sent without a time.
    pub untimed: Vec<Untimed>,
}

impl Journal {
    /// Continues what the store holds.
    pub fn new(
        turbine: TurbineId,
        boot: BootId,
        held: &[HeldJournal],
        placed: Option<Seq>,
    ) -> Self {
        let own = held.iter().find(|j| j.boot == boot);
        let mut boots: Vec<_> = held.iter().map(|j| Epoch(j.boot.0)).collect();
        if own.is_none() {
            boots.push(Epoch(boot.0));
        }
        Self {
            numberer: Numberer::journal(turbine.clone(), boot, own, placed),
            turbine,
            boots,
            placed,
            records: held.iter().map(|j| j.rows).sum(),
            readings: held.iter().map(|j| j.readings).sum(),
            left: 0,
            since: own.and_then(|j| j.since),
            undeclared: held.iter().any(|j| j.boot != boot),
            offset_us: None,
            page: Page::None,
            untimed: Vec::new(),
        }
    }

    pub fn view(&self) -> WaitingView {
        WaitingView {
            records: self.records,
            readings: self.readings,
            since: self.since,
        }
    }

    /// Is this the id of a boot, and not of an epoch?
    pub fn is_boot(&self, epoch: Epoch) -> bool {
        self.boots.contains(&epoch)
    }

    /// Is this this boot's?
    pub fn is_own(&self, epoch: Epoch) -> bool {
        self.numberer.position().is_some_and(|p| p.epoch == epoch)
    }

    /// Was this row of this boot given its time before, in a store that a copy has replaced since?
    pub fn is_back(&self, row: &RecordId) -> bool {
        self.is_own(row.epoch) && self.placed.is_some_and(|placed| row.seq <= placed)
    }

    /// The last number of this boot's rows among those that leave.
    pub fn own_last(&self, leaving: &[Eviction]) -> Option<Seq> {
        let own = leaving.iter().filter(|e| self.is_own(e.epoch));
        own.map(|e| e.seqs.last).max()
    }

    /// The wall time of a label that counts from this boot.
    pub fn placed(&self, label: EventTime) -> Option<EventTime> {
        Some(label.plus_us(self.offset_us?))
    }

    /// How far a frontier may go.
    pub fn bound(&self) -> EventTime {
        match (self.offset_us, self.since) {
            (None, _) => EventTime::MIN,
            (Some(_), None) => EventTime::MAX,
            (Some(offset), Some(since)) => label(since).plus_us(offset),
        }
    }

    /// A slice whose times count from the boot.
    pub fn slice(&mut self, now: Now, slice: &Slice) -> NewRow {
        let times = || slice.samples.iter().map(|s| s.time);
        let bounds = times().min().zip(times().max());
        let boot = self.numberer.position().map_or([0; 16], |p| p.epoch.0);
        let untimed = Untimed {
            boot: BootId(boot),
            batch: batch(slice.catalogue, slice.class, slice.group, &slice.samples),
        };
        let contents = Contents {
            kind: RowKind::Batch(slice.class, slice.group),
            readings: slice.samples.len() as u64,
            bounds,
            latest_on_time: EventTime::MIN,
        };
        let row = (self.numberer).untimed(now, EventTime(0), untimed, contents);
        self.added(row)
    }

    /// A loss that no epoch can number before the clock is set.
    pub fn gap(&mut self, now: Now, gap: Gap) -> NewRow {
        let bounds = || gap.ranges.iter().filter_map(|r| r.bounds);
        let (first, last) = (bounds().map(|b| b.0).min(), bounds().map(|b| b.1).max());
        // times of an epoch's readings are none of the boot's
        let own = self.is_own(gap.epoch);
        let mut row = self.numberer.gap(now, EventTime(0), gap);
        row.meta.bounds = first.zip(last).filter(|_| own);
        self.added(row)
    }

    fn added(&mut self, row: NewRow) -> NewRow {
        self.records += 1;
        self.readings += row.meta.readings;
        if let Some((first, _)) = row.meta.bounds {
            let first = MonoTime(first.0.max(0) as u64);
            self.since = Some(self.since.map_or(first, |s| s.min(first)));
        }
        row
    }

    /// A row leaves, placed or evicted.
    pub fn leaves(&mut self, readings: u64) {
        self.left += 1;
        self.records = self.records.saturating_sub(1);
        self.readings = self.readings.saturating_sub(readings);
        if self.records == 0 {
            self.since = None;
        }
    }

    /// May the next page be asked for?
    pub fn wants_page(&self) -> bool {
        self.page == Page::None && self.records > 0 && self.offset_us.is_some()
    }

    /// Has a page been asked for, and not come?
    pub fn is_asked(&self) -> bool {
        matches!(self.page, Page::Asked(_))
    }

    /// It is asked for.
    pub fn asked(&mut self) {
        self.page = Page::Asked(self.left);
    }

    /// It came; is it still what the store holds?
    pub fn answered(&mut self) -> bool {
        std::mem::take(&mut self.page) == Page::Asked(self.left)
    }

    /// These rows are being placed.
    pub fn read(&mut self, rows: impl Iterator<Item = (RecordId, u64)>) {
        self.page = Page::Read(rows.collect());
    }

    /// Is this row being placed?
    pub fn places(&self, id: &RecordId) -> bool {
        match &self.page {
            Page::Read(ids) | Page::Leaves(ids) => ids.contains_key(id),
            Page::None | Page::Asked(_) => false,
        }
    }

    /// What the page holds is numbered: its rows leave with the same commit.
    pub fn take_page(&mut self) -> Vec<Eviction> {
        let ids = match std::mem::take(&mut self.page) {
            Page::Read(ids) => ids,
            other => {
                self.page = other;
                return Vec::new();
            }
        };
        let mut runs: Vec<Eviction> = Vec::new();
        for (id, readings) in &ids {
            self.leaves(*readings);
            match runs.last_mut() {
                Some(run) if run.epoch == id.epoch && run.seqs.last.next() == id.seq => {
                    run.seqs.last = id.seq;
                }
                _ => runs.push(Eviction {
                    turbine: self.turbine.clone(),
                    epoch: id.epoch,
                    seqs: SeqRange::one(id.seq),
                }),
            }
        }
        self.page = Page::Leaves(ids);
        runs
    }

    /// The commit under way is durable.
    pub fn committed(&mut self) {
        if matches!(self.page, Page::Leaves(_)) {
            self.page = Page::None;
        }
    }

    /// Rows left the disk: those of journals are counted here.
    pub fn left(&mut self, rows: &[RowMeta]) {
        for row in rows {
            if self.is_boot(row.id.epoch) {
                self.leaves(row.readings);
            }
        }
    }
}

/// What a live source calls this time while the clock is not set.
pub(crate) fn label(mono: MonoTime) -> EventTime {
    EventTime(i64::try_from(mono.0).unwrap_or(i64::MAX))
}
