//! Readings of one turbine wait here until they are cut into slices of one class and rate group.
//!
//! Invariants: a reading is in exactly one open slice or one closed one until it is numbered; [`Slicer::bound`] is never
//! above the event time of a reading that waits (late and suspect ones aside), nor above what a running source has
//! promised; so a stamp made from it never passes a reading without a number.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_shared::catalogue::{Catalogue, CatalogueHash, Channel, Class, RateGroup};
use windlass_shared::id::ChannelId;
use windlass_shared::record::Flags;
use windlass_shared::time::{EventTime, MonoTime};
use windlass_shared::wire::{EVENT_TIME_END_US, EVENT_TIME_MIN_US};

use crate::batch::{Sample, sample, value_of};
use crate::input::{CLOCK_SET_FROM, Now, Reading, SourceId};
use crate::settings::{RecordingSettings, SourceKind, SourceSettings, TurbineSettings};

/// A slice that waits for its number.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Slice {
    pub class: Class,
    pub group: RateGroup,
    pub samples: Vec<Sample>,
    /// Which catalogue its channels are of.
    pub catalogue: CatalogueHash,
    /// When its first reading came in.
    pub since: MonoTime,
    /// Where it comes from.
    pub origin: Origin,
}

/// What the times of a slice are, and since when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// Times of the wall clock or of a file.
    Timed,
    /// They count from the boot: it has no number before the clock is set.
    Boot,
    /// It waited in a journal and has its wall time since then: backlog.
    Journal,
}

impl Slice {
    /// Earliest event time that counts in stamps; [`EventTime::MAX`]: none.
    pub fn earliest(samples: &[Sample]) -> EventTime {
        samples
            .iter()
            .filter(|s| s.on_time())
            .map(|s| s.time)
            .min()
            .unwrap_or(EventTime::MAX)
    }
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct SliceKey {
    source: SourceId,
    class: Class,
    group: RateGroup,
    /// Start of the slot; [`EventTime::MIN`] for file sources, whose slices are cut by position.
    slot: EventTime,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Configured,
    Running,
    Ended,
}

#[derive(Debug)]
struct SourceClock {
    kind: SourceKind,
    phase: Phase,
    not_before: EventTime,
    complete_until: EventTime,
}

#[derive(Debug)]
struct Limit {
    low: Option<f64>,
    high: Option<f64>,
    outside: bool,
}

/// What one input of readings led to.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Pushed {
    /// A live slice that may not wait was closed.
    pub urgent: bool,
    /// A limit was crossed in a file source: cut it.
    pub breach: bool,
    /// Readings of channels that the catalogue does not have: first one and count, by channel.
    pub unknown: BTreeMap<ChannelId, (Reading, u64)>,
    /// Readings whose event time no record can carry: first one and count.
    pub untimed: Option<(Reading, u64)>,
}

/// The open slices of one turbine.
#[derive(Debug)]
pub(crate) struct Slicer {
    /// `None`: a turbine that is only on disk, not configured.
    catalogue: Option<Arc<Catalogue>>,
    limits: BTreeMap<ChannelId, Limit>,
    sources: BTreeMap<SourceId, SourceClock>,
    open: BTreeMap<SliceKey, Slice>,
    waiting: usize,
    suspect_ahead_us: i64,
    slice_wait_max_us: u64,
}

impl Slicer {
    pub fn new(
        turbine: Option<&TurbineSettings>,
        sources: &[SourceSettings],
        recording: &RecordingSettings,
    ) -> Self {
        let clock = |s: &SourceSettings| SourceClock {
            kind: s.kind,
            phase: Phase::Configured,
            not_before: EventTime::MIN,
            complete_until: EventTime::MIN,
        };
        let limit = |t: &crate::settings::Threshold| Limit {
            low: t.low,
            high: t.high,
            outside: false,
        };
        let thresholds = turbine.iter().flat_map(|t| &t.thresholds);
        let own = |s: &&SourceSettings| turbine.is_some_and(|t| s.turbines.contains(&t.id));
        Self {
            catalogue: turbine.map(|t| t.catalogue.clone()),
            limits: thresholds.map(|t| (t.channel, limit(t))).collect(),
            sources: sources
                .iter()
                .filter(own)
                .map(|s| (s.id.clone(), clock(s)))
                .collect(),
            open: BTreeMap::new(),
            waiting: 0,
            suspect_ahead_us: recording.suspect_ahead_us,
            slice_wait_max_us: recording.slice_wait_max_us,
        }
    }

    /// What its batches speak of; zero for a turbine without a catalogue, which has none.
    pub fn catalogue(&self) -> CatalogueHash {
        (self.catalogue.as_ref()).map_or(CatalogueHash(0), |c| c.hash)
    }

    /// Readings in open slices.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Does the source feed this turbine?
    pub fn knows(&self, source: &SourceId) -> bool {
        self.sources.contains_key(source)
    }

    /// The source runs from now on.
    pub fn start(&mut self, source: &SourceId, not_before: EventTime) {
        if let Some(clock) = self.sources.get_mut(source)
            && clock.phase == Phase::Configured
        {
            clock.phase = Phase::Running;
            clock.not_before = in_range(not_before);
            clock.complete_until = clock.not_before;
        }
    }

    /// Is the source running or over?
    pub fn is_started(&self, source: &SourceId) -> bool {
        self.sources
            .get(source)
            .is_some_and(|c| c.phase != Phase::Configured)
    }

    /// Have all configured sources begun?
    pub fn all_started(&self) -> bool {
        self.sources.values().all(|c| c.phase != Phase::Configured)
    }

    /// Are all of them over?
    pub fn all_ended(&self) -> bool {
        self.sources.values().all(|c| c.phase == Phase::Ended)
    }

    /// The source has no more and its open slices close.
    pub fn end(&mut self, source: &SourceId, closed: &mut Vec<Slice>) {
        self.close_where(closed, |key, _| key.source == *source);
        if let Some(clock) = self.sources.get_mut(source) {
            clock.phase = Phase::Ended;
        }
    }

    /// What the first epoch may promise: the least of what the sources promised as they began. `None`: none has begun.
    pub fn not_before(&self) -> Option<EventTime> {
        let begun = self
            .sources
            .values()
            .filter(|c| c.phase != Phase::Configured);
        begun.map(|c| c.not_before).min()
    }

    /// What a source has promised so far.
    pub fn promise_of(&self, source: &SourceId) -> EventTime {
        (self.sources.get(source)).map_or(EventTime::MIN, |c| c.complete_until)
    }

    fn promise(&self) -> EventTime {
        let of = |phase| {
            let clocks = self.sources.values().filter(move |c| c.phase == phase);
            clocks.map(|c| c.complete_until)
        };
        of(Phase::Running)
            .min()
            .or_else(|| of(Phase::Ended).max())
            .unwrap_or(EventTime::MIN)
    }

    /// How far a frontier may go now, given the earliest on-time reading that is closed but not yet numbered.
    pub fn bound(&self, unnumbered: EventTime) -> EventTime {
        let open = self.open.values().map(|s| Slice::earliest(&s.samples));
        open.min()
            .unwrap_or(EventTime::MAX)
            .min(self.promise())
            .min(unnumbered)
    }

    /// Takes readings in; closes what the promise completes. `frontier`: the last one stamped.
    pub fn push(
        &mut self,
        now: Now,
        source: &SourceId,
        readings: &[Reading],
        complete_until: EventTime,
        frontier: EventTime,
        closed: &mut Vec<Slice>,
    ) -> Pushed {
        let mut pushed = Pushed::default();
        let Some(clock) = self.sources.get(source) else {
            return pushed;
        };
        let (kind, from) = (clock.kind, clock.complete_until);
        let catalogue = self.catalogue();
        let mut flush = Vec::new();
        for reading in readings {
            if !(EVENT_TIME_MIN_US..EVENT_TIME_END_US).contains(&reading.time.0) {
                pushed.untimed.get_or_insert((*reading, 0)).1 += 1;
                continue;
            }
            let Some(channel) = self
                .catalogue
                .as_ref()
                .and_then(|c| c.channel(reading.channel))
            else {
                let unknown = pushed.unknown.entry(reading.channel);
                unknown.or_insert((*reading, 0)).1 += 1;
                continue;
            };
            // flags compare a time with a clock
            let timed = kind != SourceKind::Live || !counts_from_boot(reading.time);
            let suspect =
                timed && reading.time.0 > now.wall.0.saturating_add(self.suspect_ahead_us);
            let late = timed && !suspect && reading.time < frontier;
            let sample = sample(channel, reading, Flags { late, suspect });
            let crossed = crossed(&mut self.limits, channel, &sample);
            let slot = match kind {
                SourceKind::File { .. } => EventTime::MIN,
                SourceKind::Live => {
                    let latest = now.wall.0.saturating_add(self.suspect_ahead_us).max(from.0);
                    let time = EventTime(reading.time.0.clamp(from.0, latest));
                    time.floor_to(channel.rate_group.slice_us().max(1))
                }
            };
            let key = SliceKey {
                source: source.clone(),
                class: channel.class,
                group: channel.rate_group,
                slot,
            };
            let at_once = crossed || channel.rate_group == RateGroup::Event;
            match kind {
                SourceKind::Live if at_once && !flush.contains(&key) => flush.push(key.clone()),
                SourceKind::Live => {}
                SourceKind::File { .. } => pushed.breach |= crossed,
            }
            let slice = self.open.entry(key).or_insert_with_key(|key| Slice {
                class: key.class,
                group: key.group,
                samples: Vec::new(),
                catalogue,
                since: now.mono,
                origin: if key.slot != EventTime::MIN && counts_from_boot(key.slot) {
                    Origin::Boot
                } else {
                    Origin::Timed
                },
            });
            slice.samples.push(sample);
            self.waiting += 1;
        }
        for key in flush {
            pushed.urgent = true;
            self.close(&key, closed);
        }
        self.promised(source, complete_until, closed);
        pushed
    }

    fn promised(&mut self, source: &SourceId, until: EventTime, closed: &mut Vec<Slice>) {
        let Some(clock) = self.sources.get_mut(source) else {
            return;
        };
        clock.complete_until = clock.complete_until.max(in_range(until));
        let (until, live) = (clock.complete_until, clock.kind == SourceKind::Live);
        if live {
            self.close_where(closed, |key, _| {
                key.source == *source && key.slot.plus_us(key.group.slice_us()) <= until
            });
        }
    }

    /// Cuts everything that a file source has delivered.
    pub fn cut(&mut self, source: &SourceId, closed: &mut Vec<Slice>) {
        self.close_where(closed, |key, _| key.source == *source);
    }

    /// Closes live slices that their source leaves open for too long; was there one?
    pub fn close_overdue(&mut self, now: Now, closed: &mut Vec<Slice>) {
        let wait = self.slice_wait_max_us;
        self.close_where(closed, |key, slice| {
            key.slot != EventTime::MIN && now.mono.since_us(slice.since) >= wait
        });
    }

    /// When [`Slicer::close_overdue`] has something to do.
    pub fn deadline(&self) -> Option<MonoTime> {
        let live = self.open.iter().filter(|(k, _)| k.slot != EventTime::MIN);
        live.map(|(_, s)| s.since.plus_us(self.slice_wait_max_us))
            .min()
    }

    /// Closes the slices of live sources.
    pub fn close_live(&mut self, closed: &mut Vec<Slice>) {
        self.close_where(closed, |key, _| key.slot != EventTime::MIN);
    }

    /// Closes every slice.
    pub fn close_all(&mut self, closed: &mut Vec<Slice>) {
        self.close_where(closed, |_, _| true);
    }

    /// The epoch begins with this promise: what waits below it is late.
    pub fn epoch_begins(&mut self, not_before: EventTime) {
        for slice in self.open.values_mut().filter(|s| s.origin != Origin::Boot) {
            mark_late(&mut slice.samples, not_before);
        }
    }

    /// The clock is set: what live sources promised by the boot's time becomes wall time. Their slices are closed.
    pub fn clock_set(&mut self, offset_us: i64) {
        for clock in self.live() {
            for label in [&mut clock.not_before, &mut clock.complete_until] {
                if *label != EventTime::MIN && counts_from_boot(*label) {
                    *label = in_range(label.plus_us(offset_us));
                }
            }
        }
    }

    /// The clock is no longer set: live sources promise by the boot's time from here on. Their slices are closed.
    pub fn clock_lost(&mut self, now: Now) {
        for clock in self.live() {
            clock.complete_until = in_range(EventTime(now.wall.0));
        }
    }

    fn live(&mut self) -> impl Iterator<Item = &mut SourceClock> {
        let live = |c: &&mut SourceClock| c.kind == SourceKind::Live;
        self.sources.values_mut().filter(live)
    }

    /// The wall clock was set back: what live sources promised was by the old one.
    pub fn clock_set_back(&mut self, now: Now) {
        let wall = in_range(EventTime(now.wall.0));
        for clock in self.sources.values_mut() {
            if clock.kind == SourceKind::Live && clock.phase == Phase::Running {
                clock.complete_until = clock.complete_until.min(wall);
            }
        }
    }

    fn close(&mut self, key: &SliceKey, closed: &mut Vec<Slice>) {
        if let Some(slice) = self.open.remove(key) {
            self.waiting -= slice.samples.len();
            closed.push(slice);
        }
    }

    fn close_where(&mut self, closed: &mut Vec<Slice>, which: impl Fn(&SliceKey, &Slice) -> bool) {
        let due = self.open.iter().filter(|(key, slice)| which(key, slice));
        let keys: Vec<_> = due.map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.close(&key, closed);
        }
    }
}

/// Marks what lies below an epoch's promise.
pub(crate) fn mark_late(samples: &mut [Sample], not_before: EventTime) {
    for sample in samples {
        sample.flags.late |= !sample.flags.suspect && sample.time < not_before;
    }
}

/// Does this label of a live source count from the boot?
pub(crate) fn counts_from_boot(label: EventTime) -> bool {
    label.0 < CLOCK_SET_FROM.0
}

fn in_range(time: EventTime) -> EventTime {
    EventTime(time.0.clamp(EVENT_TIME_MIN_US, EVENT_TIME_END_US - 1))
}

fn crossed(limits: &mut BTreeMap<ChannelId, Limit>, channel: &Channel, sample: &Sample) -> bool {
    let Some(limit) = limits.get_mut(&channel.id) else {
        return false;
    };
    if !sample.quality.counts() {
        return false;
    }
    let value = value_of(channel, sample);
    let outside = limit.low.is_some_and(|l| value < l) || limit.high.is_some_and(|h| value > h);
    std::mem::replace(&mut limit.outside, outside) != outside
}
