//! The agent's state: composes the turbines' slices and numbers, the commits, the disk budget and the forwarder.
//!
//! Invariants: one commit at a time; what it holds becomes visible (published, acknowledged to a source) only when it is
//! confirmed; a file source's readings and its position are in one commit.

mod commit;
mod downlink;
mod eviction;
mod place;
mod restate;
mod sources;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;
use windlass_shared::id::{Epoch, TurbineId};
use windlass_shared::time::{MonoTime, WallTime};

use crate::forwarder::Forwarder;
use crate::input::{Input, Now, SourceId};
use crate::output::{AgentEvent, FatalFault, Output};
use crate::settings::Settings;
use crate::store::{Loaded, Recovered, StoreFault, Usage};
use crate::turbine::Turbine;
use commit::Commits;
use downlink::Answers;
use eviction::Evictions;
use sources::Source;
pub use view::{AgentView, TurbineView};

/// One gateway's agent.
#[derive(Debug)]
pub struct AgentCore {
    settings: Settings,
    rng: ChaCha20Rng,
    turbines: BTreeMap<TurbineId, Turbine>,
    sources: BTreeMap<SourceId, Source>,
    commits: Commits,
    answers: Answers,
    evictions: Evictions,
    forwarder: Forwarder,
    usage: Usage,
    clock: Option<Now>,
    /// The last look at a clock that was set.
    last_set: Option<Now>,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    New,
    Running,
    Stopping,
    Ended,
}

impl AgentCore {
    /// An agent that has not started: the first input is [`Input::Start`]. The seed is fresh randomness at every start:
    /// epochs are drawn from it.
    pub fn new(settings: Settings, seed: [u8; 32]) -> Self {
        let mut rng = ChaCha20Rng::from_seed(seed);
        let mut jitter = [0; 32];
        rng.fill_bytes(&mut jitter);
        Self {
            forwarder: Forwarder::new(settings.uplink.clone(), settings.gateway.clone(), jitter),
            sources: Source::all(&settings),
            settings,
            rng,
            turbines: BTreeMap::new(),
            commits: Commits::default(),
            answers: Answers::default(),
            evictions: Evictions::default(),
            usage: Usage::default(),
            clock: None,
            last_set: None,
            phase: Phase::New,
        }
    }

    /// Takes what happened, appends what to do.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        match (self.phase, &input) {
            (Phase::New, Input::Start(_)) => self.phase = Phase::Running,
            (Phase::New, _) | (_, Input::Start(_)) => {
                let what = "the first input, and only the first, is Start";
                return self.fatal(FatalFault::Protocol(what.into()), out);
            }
            (Phase::Ended, _) => return,
            _ => self.watch_clock(now, out),
        }
        self.clock = Some(now);
        match input {
            Input::Start(recovered) => self.start(now, &recovered, out),
            Input::SourceStarted {
                turbine,
                source,
                not_before,
            } => self.source_started(now, &turbine, &source, not_before),
            Input::Readings {
                turbine,
                source,
                readings,
                position,
                complete_until,
            } => self.readings(
                now,
                turbine,
                &source,
                readings,
                position,
                complete_until,
                out,
            ),
            Input::SourceEnded { turbine, source } => self.source_ended(now, &turbine, &source),
            Input::Committed { id, usage } => self.committed(id, usage, out),
            Input::CommitFailed { id, fault } => self.commit_failed(now, id, fault, out),
            Input::Loaded(loaded) => self.loaded(loaded, out),
            Input::LoadFailed(fault) => self.fatal(store_fault(fault), out),
            Input::Usage(usage) => self.used(usage),
            Input::LinkUp => self.forwarder.link_up(now, out),
            Input::LinkDown => self.forwarder.link_down(now, out),
            Input::PubAck(id) => self.forwarder.puback(id),
            Input::Downlink(message) => self.downlink(now, message, out),
            Input::Timer => {}
            Input::Stop => self.phase = Phase::Stopping,
        }
        if self.phase != Phase::Ended {
            self.advance(now, out);
        }
    }

    /// When to hand in [`Input::Timer`] if nothing else happens before. May lie in the past: at once.
    pub fn next_deadline(&self) -> Option<MonoTime> {
        if matches!(self.phase, Phase::New | Phase::Ended) {
            return None;
        }
        let slices = self.turbines.values().filter_map(|t| t.slicer.deadline());
        let commit = self.commit_at();
        let link = self.forwarder.deadline();
        slices.chain(commit).chain(link).min()
    }

    /// Too many readings wait for the disk, or nobody can say whether a file's times are ahead of the clock: a file source
    /// pauses until this is false.
    pub fn is_busy(&self) -> bool {
        let unset = self.clock.is_some_and(|now| !now.is_set());
        unset || self.waiting_readings() >= self.settings.recording.waiting_readings_pause
    }

    fn start(&mut self, now: Now, recovered: &Recovered, out: &mut Vec<Output>) {
        let on_disk = recovered.turbines.iter().map(|t| &t.turbine);
        let own = self.settings.turbines.iter().map(|t| &t.id);
        let ids: BTreeSet<_> = on_disk.chain(own).cloned().collect();
        for id in ids {
            let held = recovered.turbines.iter().find(|t| t.turbine == id);
            let mut turbine = Turbine::new(id.clone(), &self.settings, held);
            turbine.gaps = eviction::corrupt_gaps(held, self.settings.recording.gap_ranges_max);
            if now.is_set() {
                turbine.clock_set(now.offset_us());
            }
            if !turbine.gaps.is_empty() && !turbine.configured {
                // no source will ever open an epoch for it
                self.commits.wanted(now, false);
            }
            self.turbines.insert(id, turbine);
        }
        self.forwarder.start(now, self.turbines.keys().cloned());
        if now.is_set() {
            self.last_set = Some(now);
        } else {
            out.push(Output::Event(AgentEvent::ClockUnset));
        }
        self.usage = recovered.usage.clone();
        self.evictions.usage_changed();
    }

    /// The wall clock falling behind the monotonic one begins a new epoch: the old one's frontier is ahead of it.
    fn watch_clock(&mut self, now: Now, out: &mut Vec<Output>) {
        self.watch_setting(now, out);
        if !now.is_set() {
            return;
        }
        let Some(last) = self.last_set.replace(now) else {
            return;
        };
        let elapsed = now.mono.since_us(last.mono) as i64;
        let expected = WallTime(last.wall.0.saturating_add(elapsed));
        let by_us = expected.0.saturating_sub(now.wall.0);
        if by_us <= self.settings.recording.clock_back_max_us {
            return;
        }
        out.push(Output::Event(AgentEvent::ClockSetBack { by_us }));
        for turbine in self.turbines.values_mut() {
            turbine.journal.offset_us = Some(now.offset_us());
        }
        let ids: Vec<_> = self.turbines.keys().cloned().collect();
        for id in ids {
            self.new_epoch(now, &id, "clock set back", true);
        }
    }

    fn new_epoch(&mut self, now: Now, turbine: &TurbineId, reason: &str, clock_set_back: bool) {
        self.cut_sources_of(now, turbine);
        if let Some(turbine) = self.turbines.get_mut(turbine) {
            let rng = &mut self.rng;
            let mut draw = || draw_epoch(rng);
            turbine.begin_epoch(now, reason, clock_set_back, &self.settings, &mut draw);
            self.commits.wanted(now, true);
        }
    }

    fn loaded(&mut self, loaded: Loaded, out: &mut Vec<Output>) {
        match loaded {
            Loaded::Backlog {
                turbine,
                rows,
                corrupt,
                last,
                end,
            } => {
                let acked = |id: &_| self.answers.is_acked(id);
                self.forwarder.loaded(&turbine, rows, last, end, acked);
                self.leave_corrupt(&turbine, corrupt);
            }
            Loaded::Evictable {
                turbine,
                level,
                class,
                rows,
            } => self.evictable((turbine, level, class), rows),
            Loaded::Waiting {
                turbine,
                rows,
                corrupt,
            } => self.placing(&turbine, &rows, corrupt, out),
            Loaded::Marks { turbine, rows } => self.marks(turbine, &rows),
            Loaded::Held {
                turbine,
                epoch,
                ranges,
                held,
            } => self.held(&turbine, epoch, &ranges, &held, out),
        }
    }

    fn advance(&mut self, now: Now, out: &mut Vec<Output>) {
        for turbine in self.turbines.values_mut() {
            let before = turbine.staged.len();
            turbine.slicer.close_overdue(now, &mut turbine.staged);
            if turbine.staged.len() > before {
                self.commits.wanted(now, false);
            }
        }
        self.cut_due(now);
        self.commit_if_due(now, out);
        self.ask_what_to_evict(out);
        self.ask_what_waits(now, out);
        self.ask_what_is_held(out);
        self.forwarder.advance(now, out);
    }

    fn fatal(&mut self, fault: FatalFault, out: &mut Vec<Output>) {
        self.phase = Phase::Ended;
        out.push(Output::Fatal(fault));
    }

    fn waiting_readings(&self) -> usize {
        let waiting = self.turbines.values().map(Turbine::waiting);
        let assembled = self.sources.values().map(Source::assembled);
        waiting.chain(assembled).sum::<usize>() + self.commits.readings_in_flight()
    }
}

fn draw_epoch(rng: &mut ChaCha20Rng) -> Epoch {
    Epoch(rng.random())
}

fn store_fault(fault: StoreFault) -> FatalFault {
    FatalFault::Store(match fault {
        StoreFault::DiskFull => "no room to read".into(),
        StoreFault::Broken(what) => what,
    })
}
