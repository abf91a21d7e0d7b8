//! How readings come in: live sources go straight to their slices; a file source's readings wait for its next position, and
//! are cut together with it.
//!
//! Invariant: a reading of a file that lies below what the file has promised is taken in only after everything that was
//! delivered before it has its number.

use std::collections::BTreeMap;

use windlass_shared::id::TurbineId;
use windlass_shared::time::{EventTime, MonoTime};

use super::AgentCore;
use crate::input::{Now, Reading, SourceId};
use crate::output::{AgentEvent, Output};
use crate::settings::{Settings, SourceKind};
use crate::slicer::Pushed;
use crate::turbine::Turbine;

#[derive(Debug)]
struct Part {
    turbine: TurbineId,
    readings: Vec<Reading>,
    complete_until: EventTime,
}

/// A source's own state.
#[derive(Debug)]
pub(super) struct Source {
    kind: SourceKind,
    turbines: Vec<TurbineId>,
    /// Delivered without a position yet.
    parts: Vec<Part>,
    /// Behind everything that is in slices now.
    position: Option<Vec<u8>>,
    position_since: MonoTime,
    /// Readings in slices since the last cut.
    uncut: usize,
    breach: bool,
    /// Cut: goes with the next commit, with everything before it.
    staged: Option<Vec<u8>>,
}

impl Source {
    pub fn all(settings: &Settings) -> BTreeMap<SourceId, Self> {
        let source = |s: &crate::settings::SourceSettings| Self {
            kind: s.kind,
            turbines: s.turbines.clone(),
            parts: Vec::new(),
            position: None,
            position_since: MonoTime(0),
            uncut: 0,
            breach: false,
            staged: None,
        };
        let all = settings.sources.iter();
        all.map(|s| (s.id.clone(), source(s))).collect()
    }

    pub fn kind(&self) -> SourceKind {
        self.kind
    }

    pub fn assembled(&self) -> usize {
        self.parts.iter().map(|p| p.readings.len()).sum()
    }

    /// When it is to be cut, by the clock.
    fn cut_at(&self, cut_readings: usize) -> Option<MonoTime> {
        let SourceKind::File { hold_us } = self.kind else {
            return None;
        };
        self.position.as_ref()?;
        Some(if self.breach || self.uncut >= cut_readings {
            self.position_since
        } else {
            self.position_since.plus_us(hold_us)
        })
    }
}

impl AgentCore {
    pub(super) fn source_started(
        &mut self,
        now: Now,
        turbine: &TurbineId,
        source: &SourceId,
        mut not_before: EventTime,
    ) {
        self.relabel(now, (turbine, source), &mut [], &mut not_before);
        if let Some(turbine) = self.turbines.get_mut(turbine) {
            turbine.slicer.start(source, not_before);
            if turbine.slicer.is_started(source) {
                turbine.first_started.get_or_insert(now.mono);
                self.commits.wanted(now, false);
            }
        }
    }

    #[allow(clippy::too_many_arguments)] // the fields of one input
    pub(super) fn readings(
        &mut self,
        now: Now,
        turbine: TurbineId,
        source: &SourceId,
        mut readings: Vec<Reading>,
        position: Option<Vec<u8>>,
        mut complete_until: EventTime,
        out: &mut Vec<Output>,
    ) {
        self.relabel(now, (&turbine, source), &mut readings, &mut complete_until);
        let count = readings.len() as u64;
        let waiting = self.waiting_readings();
        let feeds = |t: &Turbine| t.slicer.knows(source);
        let own = self.turbines.get(&turbine).is_some_and(feeds);
        let Some(state) = self.sources.get_mut(source).filter(|_| own) else {
            if count > 0 {
                let source = source.clone();
                let event = AgentEvent::Unassigned {
                    turbine,
                    source,
                    count,
                };
                out.push(Output::Event(event));
            }
            return;
        };
        let live = state.kind == SourceKind::Live;
        if live && waiting + readings.len() > self.settings.recording.waiting_readings_max {
            out.push(Output::Event(AgentEvent::Overrun { turbine, count }));
            return;
        }
        state.parts.push(Part {
            turbine,
            readings,
            complete_until,
        });
        if !live && position.is_none() {
            return;
        }
        let parts = std::mem::take(&mut state.parts);
        if !live {
            self.number_before(now, source, &parts);
        }
        let Some(state) = self.sources.get_mut(source) else {
            return;
        };
        if let Some(position) = position
            && state.position.replace(position).is_none()
        {
            state.position_since = now.mono;
        }
        for part in parts {
            self.part(now, source, &part, out);
        }
    }

    /// A file that steps back behind its promise: what was read before is cut and numbered first, so that the frontier has
    /// passed what comes now, however fast the file is read.
    fn number_before(&mut self, now: Now, source: &SourceId, parts: &[Part]) {
        let steps_back = |t: &Turbine, part: &Part| {
            let from = t.numberer.frontier();
            let to = t.slicer.promise_of(source);
            (part.readings.iter()).any(|r| from <= r.time && r.time < to)
        };
        let back = parts.iter().filter(|part| {
            let turbine = self.turbines.get(&part.turbine);
            turbine.is_some_and(|t| steps_back(t, part))
        });
        let back: Vec<TurbineId> = back.map(|part| part.turbine.clone()).collect();
        if back.is_empty() {
            return;
        }
        self.cut_source(now, source);
        for id in back {
            if let Some(turbine) = self.turbines.get_mut(&id) {
                let rng = &mut self.rng;
                turbine.number_ahead(now, &self.settings, &mut || super::draw_epoch(rng));
            }
        }
        self.commits.wanted(now, true);
    }

    fn part(&mut self, now: Now, source: &SourceId, part: &Part, out: &mut Vec<Output>) {
        let Some(turbine) = self.turbines.get_mut(&part.turbine) else {
            return;
        };
        if !turbine.slicer.is_started(source) {
            let earliest = part.readings.iter().map(|r| r.time).min();
            let not_before = earliest.unwrap_or(part.complete_until);
            turbine.slicer.start(source, not_before);
        }
        turbine.first_started.get_or_insert(now.mono);
        let staged_before = turbine.staged.len();
        let pushed = turbine.slicer.push(
            now,
            source,
            &part.readings,
            part.complete_until,
            turbine.numberer.frontier(),
            &mut turbine.staged,
        );
        if pushed.urgent || turbine.staged.len() > staged_before {
            self.commits.wanted(now, pushed.urgent);
        }
        if let Some(state) = self.sources.get_mut(source) {
            state.uncut += part.readings.len();
            state.breach |= pushed.breach;
        }
        report(source, &part.turbine, pushed, out);
    }

    pub(super) fn source_ended(&mut self, now: Now, turbine: &TurbineId, source: &SourceId) {
        self.cut_source(now, source);
        if let Some(turbine) = self.turbines.get_mut(turbine) {
            turbine.slicer.end(source, &mut turbine.staged);
            // the last word of a file: its frontier must not wait for a next record
            let begun = turbine.numberer.position().is_some() || !turbine.staged.is_empty();
            turbine.seal_wanted |= turbine.slicer.all_ended() && begun;
            self.commits.wanted(now, false);
        }
    }

    /// Cuts a file source: everything up to its position goes with the next commit.
    fn cut_source(&mut self, now: Now, source: &SourceId) {
        let Some(state) = self.sources.get_mut(source) else {
            return;
        };
        let Some(position) = state.position.take() else {
            return;
        };
        state.staged = Some(position);
        state.uncut = 0;
        state.breach = false;
        for id in &state.turbines {
            if let Some(turbine) = self.turbines.get_mut(id) {
                let before = turbine.staged.len();
                turbine.slicer.cut(source, &mut turbine.staged);
                // its part may not miss the commit that takes the position
                turbine.must_open |= turbine.staged.len() > before;
            }
        }
        self.commits.wanted(now, true);
    }

    /// Cuts the file sources that feed this turbine.
    pub(super) fn cut_sources_of(&mut self, now: Now, turbine: &TurbineId) {
        let feeds = |s: &Source| s.turbines.contains(turbine);
        let ids = self.sources.iter().filter(|(_, s)| feeds(s));
        let ids: Vec<_> = ids.map(|(id, _)| id.clone()).collect();
        for id in ids {
            self.cut_source(now, &id);
        }
    }

    /// Cuts the file sources whose time has come. While a commit is under way they go on filling.
    pub(super) fn cut_due(&mut self, now: Now) {
        if !self.commits.is_idle() {
            return;
        }
        let readings = self.settings.recording.file_cut_readings;
        let stopping = self.phase == super::Phase::Stopping;
        let due = |s: &Source| {
            s.cut_at(readings)
                .is_some_and(|at| stopping || at <= now.mono)
        };
        let ids = self.sources.iter().filter(|(_, s)| due(s));
        let ids: Vec<_> = ids.map(|(id, _)| id.clone()).collect();
        for id in ids {
            self.cut_source(now, &id);
        }
    }

    /// When the next file source is to be cut.
    pub(super) fn cut_at(&self) -> Option<MonoTime> {
        let readings = self.settings.recording.file_cut_readings;
        self.sources
            .values()
            .filter_map(|s| s.cut_at(readings))
            .min()
    }

    /// Positions that go with the commit that is being made.
    pub(super) fn staged_positions(&mut self) -> Vec<(SourceId, Vec<u8>)> {
        let staged = self.sources.iter_mut();
        staged
            .filter_map(|(id, s)| s.staged.take().map(|p| (id.clone(), p)))
            .collect()
    }
}

fn report(source: &SourceId, turbine: &TurbineId, pushed: Pushed, out: &mut Vec<Output>) {
    for (channel, (example, count)) in pushed.unknown {
        out.push(Output::Event(AgentEvent::UnknownChannel {
            turbine: turbine.clone(),
            source: source.clone(),
            channel,
            example,
            count,
        }));
    }
    if let Some((example, count)) = pushed.untimed {
        out.push(Output::Event(AgentEvent::Untimed {
            turbine: turbine.clone(),
            source: source.clone(),
            example,
            count,
        }));
    }
}
