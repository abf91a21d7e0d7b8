//! The panes of a turbine by minute: the few that are being added to are dense, the others are packed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::catalogue::Catalogue;
use crate::pane::{Added, ChannelAggregate, Packed, Pane, Sources};
use crate::time::{EventTime, LogTime};

/// Dense panes: the current minute and the one before (slow slices) of the live lane, and one of the backlog. Each costs
/// 300 channels about 15 kB; a fourth would save the backlog a packing a minute.
const HOT_PANES_MAX: usize = 3;

/// Panes by start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Panes {
    by_start: BTreeMap<EventTime, Kept>,
    /// How many are dense.
    hot: usize,
    /// Counts additions, to find the pane that was left alone longest.
    clock: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Kept {
    data: Data,
    /// Counts additions.
    version: u64,
    first_seen: LogTime,
    /// Nothing was added since a window with this pane was emitted.
    clean: bool,
    /// `clock` at the last addition.
    used: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Data {
    Open(Box<Pane>),
    Packed(Packed),
}

/// What some panes say together.
#[derive(Default)]
pub(super) struct Composed {
    pub(super) sources: Sources,
    pub(super) late: u64,
    pub(super) channels: Vec<ChannelAggregate>,
}

impl Panes {
    pub(super) fn len(&self) -> usize {
        self.by_start.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_start.is_empty()
    }

    /// Start of pane number `i`, counted from the oldest.
    pub(super) fn start(&self, i: usize) -> Option<EventTime> {
        self.by_start.keys().nth(i).copied()
    }

    pub(super) fn starts(&self) -> impl Iterator<Item = EventTime> + '_ {
        self.by_start.keys().copied()
    }

    /// Log time of the first reading of the oldest addition.
    pub(super) fn first_seen(&self) -> LogTime {
        self.by_start
            .values()
            .map(|k| k.first_seen)
            .min()
            .unwrap_or(LogTime::MAX)
    }

    /// Lets `f` add to the pane at `minute`. Also says whether the pane was new or clean before.
    pub(super) fn add(
        &mut self,
        minute: EventTime,
        now: LogTime,
        f: impl FnOnce(&mut Pane) -> Added,
    ) -> (Added, bool) {
        self.clock += 1;
        let mut warmed = false;
        let kept = self.by_start.entry(minute).or_insert_with(|| {
            warmed = true;
            Kept {
                data: Data::Open(Box::new(Pane::new(minute))),
                version: 0,
                first_seen: now,
                clean: true,
                used: 0,
            }
        });
        if let Data::Packed(packed) = &kept.data {
            kept.data = Data::Open(Box::new(packed.unpack()));
            warmed = true;
        }
        let mut added = Added::default();
        if let Data::Open(pane) = &mut kept.data {
            added = f(pane);
        }
        kept.used = self.clock;
        let changed = added.counted + added.bad > 0;
        let touched = changed && kept.clean;
        if changed {
            kept.version += 1;
            kept.clean = false;
        }
        let empty = kept.version == 0;
        self.hot += usize::from(warmed);
        if empty {
            self.by_start.remove(&minute);
            self.hot -= 1;
        } else if self.hot > HOT_PANES_MAX {
            self.cool();
        }
        (added, touched)
    }

    /// Packs the dense pane that was left alone longest.
    fn cool(&mut self) {
        let coldest = self
            .by_start
            .values_mut()
            .filter(|k| matches!(k.data, Data::Open(_)))
            .min_by_key(|k| k.used);
        if let Some(kept) = coldest
            && let Data::Open(pane) = &kept.data
        {
            kept.data = Data::Packed(Packed::new(pane));
            self.hot -= 1;
        }
    }

    /// Version of the content of `[start, end)`, and the log time of its first reading.
    pub(super) fn content(&self, start: EventTime, end: EventTime) -> (u64, LogTime) {
        self.by_start
            .range(start..end)
            .fold((0, LogTime::MAX), |(n, t), (_, k)| {
                (n + k.version, t.min(k.first_seen))
            })
    }

    /// What `[start, end)` says. Marks its panes clean.
    pub(super) fn compose(
        &mut self,
        start: EventTime,
        end: EventTime,
        catalogue: &Catalogue,
    ) -> Composed {
        let mut out = Composed::default();
        for (_, kept) in self.by_start.range_mut(start..end) {
            kept.clean = true;
            let unpacked;
            let pane = match &kept.data {
                Data::Open(pane) => pane,
                Data::Packed(packed) => {
                    unpacked = packed.unpack();
                    &unpacked
                }
            };
            out.late += pane.late();
            out.sources.merge(pane.sources());
            pane.fold_into(&mut out.channels, catalogue);
        }
        out
    }

    /// Drops the panes before `horizon`.
    pub(super) fn drop_before(&mut self, horizon: EventTime) {
        let kept = self.by_start.split_off(&horizon);
        let gone = std::mem::replace(&mut self.by_start, kept);
        self.hot -= gone
            .values()
            .filter(|k| matches!(k.data, Data::Open(_)))
            .count();
    }

    /// Memory held, in bytes, roughly: dense panes by their arrays, packed ones by their bytes.
    pub(super) fn bytes(&self) -> usize {
        self.by_start
            .values()
            .map(|k| {
                size_of::<Kept>()
                    + match &k.data {
                        Data::Open(pane) => pane.bytes(),
                        Data::Packed(packed) => packed.len(),
                    }
            })
            .sum()
    }
}
