//! The clock is set, or lost; what was recorded without one gets its wall time and its number.
//!
//! Invariant: a row leaves its journal in the transaction that brings what it holds under a number.

use windlass_shared::catalogue::Class;
use windlass_shared::id::{SeqRange, TurbineId};
use windlass_shared::record::{Body, Flags, Gap, GapRange, LossReason, Untimed};
use windlass_shared::time::EventTime;
use windlass_shared::wire;

use super::AgentCore;
use crate::batch::samples;
use crate::input::{Now, Reading, SourceId};
use crate::journal::label;
use crate::output::{AgentEvent, LoadRequest, Output};
use crate::settings::SourceKind;
use crate::slicer::{Origin, Slice, counts_from_boot};
use crate::store::{RowLevel, RowMeta, StoredRow};
use crate::turbine::Turbine;

/// Pages of journals that may be asked for at a time: a store serves one request after the other, and queues few.
const PAGES_ASKED_MAX: usize = 4;

impl AgentCore {
    /// Notices that somebody set the clock, or that it is gone.
    pub(super) fn watch_setting(&mut self, now: Now, out: &mut Vec<Output>) {
        let before = self.clock.is_some_and(|c| c.is_set());
        if before == now.is_set() {
            return;
        }
        for turbine in self.turbines.values_mut() {
            if now.is_set() {
                turbine.clock_set(now.offset_us());
            } else {
                turbine.clock_lost(now);
            }
        }
        self.commits.wanted(now, true);
        out.push(Output::Event(if now.is_set() {
            AgentEvent::ClockSet {
                boot_at_us: now.offset_us(),
            }
        } else {
            AgentEvent::ClockUnset
        }));
    }

    /// Brings what a live source said by another clock than the one of now to this one: it was on its way while the clock
    /// was set, or lost.
    pub(super) fn relabel(
        &self,
        now: Now,
        (turbine, source): (&TurbineId, &SourceId),
        readings: &mut [Reading],
        until: &mut EventTime,
    ) {
        let live = |kind| kind == SourceKind::Live;
        if !self.sources.get(source).is_some_and(|s| live(s.kind())) {
            return;
        }
        let offset = (self.turbines.get(turbine)).and_then(|t| t.journal.offset_us);
        let reached = label(now.mono).plus_us(self.settings.recording.suspect_ahead_us);
        let labels = readings.iter_mut().map(|r| &mut r.time).chain([until]);
        for time in labels.filter(|t| counts_from_boot(**t) == now.is_set()) {
            match offset {
                // what this boot has not come to yet is no label of it
                Some(offset) if (0..=reached.0).contains(&time.0) => *time = time.plus_us(offset),
                Some(_) => {}
                None => *time = label(now.mono),
            }
        }
    }

    /// Asks for the next page of a journal.
    pub(super) fn ask_what_waits(&mut self, now: Now, out: &mut Vec<Output>) {
        // with nothing under way the tallies are the store's
        if !now.is_set() || !self.commits.is_idle() || self.evictions.leaves_any() {
            return;
        }
        let asked = self.turbines.values().filter(|t| t.journal.is_asked());
        let mut room = PAGES_ASKED_MAX.saturating_sub(asked.count());
        for (id, tallies) in &self.usage.turbines {
            let Some(turbine) = self.turbines.get_mut(id).filter(|_| room > 0) else {
                continue;
            };
            if tallies.level(RowLevel::Waiting).rows > 0 && turbine.journal.wants_page() {
                turbine.journal.asked();
                room -= 1;
                out.push(Output::Load(LoadRequest::Waiting {
                    turbine: id.clone(),
                    rows_max: self.settings.recording.place_rows_max,
                    bytes_max: self.settings.recording.place_bytes_max,
                }));
            }
        }
    }

    /// A page came.
    pub(super) fn placing(
        &mut self,
        id: &TurbineId,
        rows: &[StoredRow],
        mut corrupt: Vec<RowMeta>,
        out: &mut Vec<Output>,
    ) {
        let Some(now) = self.clock else { return };
        let suspect_ahead_us = self.settings.recording.suspect_ahead_us;
        let leaves = |row: &StoredRow| {
            self.evictions.leaves(&row.meta.id) || self.commits.evicts(&row.meta.id)
        };
        let rows: Vec<_> = rows.iter().filter(|row| !leaves(row)).collect();
        let Some(turbine) = self.turbines.get_mut(id) else {
            return;
        };
        if !turbine.journal.answered() || !now.is_set() {
            return;
        }
        let (mut readings, mut untimed, mut read) = (0, 0, Vec::new());
        let metas = rows.iter().map(|row| &row.meta);
        let back: Vec<_> = metas.filter(|m| turbine.journal.is_back(&m.id)).collect();
        turbine.gaps.extend(in_doubt(&back));
        for row in rows {
            let n = row.meta.readings;
            match turbine.place(now, row, suspect_ahead_us) {
                Placed::Wall => readings += n,
                Placed::Untimed => untimed += n,
                Placed::Loss => {}
                Placed::Unreadable => {
                    corrupt.push(row.meta.clone());
                    continue;
                }
            }
            read.push((row.meta.id.clone(), n));
        }
        if !read.is_empty() {
            turbine.journal.read(read.into_iter());
            turbine.first_started.get_or_insert(now.mono);
            turbine.must_open |= !turbine.configured;
            self.commits.wanted(now, true);
            out.push(Output::Event(AgentEvent::Placed {
                turbine: id.clone(),
                readings,
                untimed,
            }));
        }
        if !corrupt.is_empty() {
            self.leave(
                id.clone(),
                RowLevel::Waiting,
                LossReason::Corrupt,
                corrupt,
                false,
            );
        }
    }
}

/// What became of a journal's row.
enum Placed {
    Wall,
    Untimed,
    Loss,
    Unreadable,
}

/// What says of rows that a copy of the store brought back that their windows may be short of them: whether the cloud has
/// what they became, nobody here knows.
fn in_doubt(rows: &[&RowMeta]) -> Option<Gap> {
    let seqs = || rows.iter().map(|r| r.id.seq);
    let bounds = || rows.iter().filter_map(|r| r.bounds);
    Some(Gap {
        epoch: rows.first()?.id.epoch,
        class: Class::Compliance,
        reason: LossReason::Untimed,
        ranges: vec![GapRange {
            seqs: SeqRange::new(seqs().min()?.0, seqs().max()?.0)?,
            readings: Some(0),
            bounds: bounds().map(|b| b.0).min().zip(bounds().map(|b| b.1).max()),
            end: None,
            heads: None,
        }],
    })
}

impl Turbine {
    fn place(&mut self, now: Now, row: &StoredRow, suspect_ahead_us: i64) -> Placed {
        let Ok(record) = wire::decode(&row.payload) else {
            return Placed::Unreadable;
        };
        match (record.body, self.journal.offset_us) {
            (Body::Untimed(untimed), Some(offset))
                if self.journal.is_own(row.meta.id.epoch)
                    && !self.journal.is_back(&row.meta.id) =>
            {
                let slice = self.at_wall_time(now, &untimed, offset, suspect_ahead_us);
                self.staged.push(slice);
                Placed::Wall
            }
            (Body::Untimed(untimed), _) => {
                self.journal.untimed.push(untimed);
                Placed::Untimed
            }
            (Body::Gap(gap), _) => {
                self.gaps.push(gap);
                Placed::Loss
            }
            _ => Placed::Unreadable,
        }
    }

    fn at_wall_time(
        &self,
        now: Now,
        untimed: &Untimed,
        offset: i64,
        suspect_ahead_us: i64,
    ) -> Slice {
        let frontier = self.numberer.frontier();
        let flags = |time: EventTime| {
            let suspect = time.0 > now.wall.0.saturating_add(suspect_ahead_us);
            Flags {
                late: !suspect && time < frontier,
                suspect,
            }
        };
        Slice {
            class: untimed.batch.class,
            group: untimed.batch.rate_group,
            samples: samples(&untimed.batch, offset, flags),
            catalogue: untimed.batch.catalogue,
            since: now.mono,
            origin: Origin::Journal,
        }
    }
}
