//! The rule and the aggregates once more, naively: everything is recomputed from the full list of records, one seq and
//! one reading at a time. Written after the design and the Python model, not after the code under test.

use std::collections::{BTreeMap, BTreeSet};

use windlass_shared::catalogue::{Catalogue, Kind};
use windlass_shared::id::{ChannelId, Epoch, Seq};
use windlass_shared::pane::{Aggregate, ChannelAggregate, Point};
use windlass_shared::record::{Body, Open, Record};
use windlass_shared::time::EventTime;

/// The rule, or one that is wrong on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    Right,
    /// What may be missing to the left of a run does not matter.
    NoLeft,
    /// Lost seqs hold nothing: a Gap counts as received.
    LostIsEmpty,
    /// A lost record holds nothing earlier than the ceiling before it.
    CeilingForFrontier,
    /// Epochs before the newest need not cover the window.
    OldDoNotCount,
    /// An older epoch is complete where its records end so far.
    OldEndWhereSeen,
    /// The newest epoch covers whatever was before it.
    NewestCoversAll,
    /// What is not on the disk any more is not missed.
    GoneIsExact,
    /// Nothing settles by frontier, only by a successor.
    NeedsSuccessor,
}

/// What a successor declares: last seq and ceiling.
type Declared = Option<(Option<Seq>, Option<EventTime>)>;

/// Everything that has arrived.
#[derive(Default)]
pub struct Seen {
    pub records: BTreeMap<(Epoch, u64), Record>,
    lost: BTreeSet<(Epoch, u64)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Says {
    Open,
    Exact,
    WithLoss,
}

impl Seen {
    pub fn take(&mut self, record: &Record) {
        let id = &record.header.id;
        self.records.insert((id.epoch, id.seq.0), record.clone());
        self.lost.remove(&(id.epoch, id.seq.0));
        if let Body::Gap(gap) = &record.body {
            for range in &gap.ranges {
                for seq in range.seqs.first.0..=range.seqs.last.0 {
                    if !self.records.contains_key(&(gap.epoch, seq)) {
                        self.lost.insert((gap.epoch, seq));
                    }
                }
            }
        }
    }

    fn open(&self, epoch: Epoch) -> Option<&Open> {
        match &self.records.get(&(epoch, 1))?.body {
            Body::Open(open) => Some(open),
            _ => None,
        }
    }

    /// Has an `Open` told of the epoch?
    pub fn knows(&self, epoch: Epoch) -> bool {
        self.open(epoch).is_some()
            || self.records.values().any(|r| match &r.body {
                Body::Open(open) => open.predecessor.as_ref().is_some_and(|p| p.epoch == epoch),
                _ => false,
            })
    }

    /// Runs of an epoch, each a list of seqs.
    pub fn runs(&self, epoch: Epoch) -> Vec<Vec<u64>> {
        let here = (epoch, 0)..=(epoch, u64::MAX);
        let known: BTreeSet<u64> = self
            .records
            .range(here.clone())
            .map(|((_, seq), _)| *seq)
            .chain(self.lost.range(here).map(|(_, seq)| *seq))
            .collect();
        let mut out: Vec<Vec<u64>> = Vec::new();
        for seq in known {
            match out.last_mut() {
                Some(run) if run[run.len() - 1] + 1 == seq => run.push(seq),
                _ => out.push(vec![seq]),
            }
        }
        out
    }

    pub fn is_lost(&self, epoch: Epoch, seq: u64) -> bool {
        self.lost.contains(&(epoch, seq))
    }

    /// `None`: does not cover; else whether anything lost may lie in the window.
    fn covers(
        &self,
        rule: Rule,
        epoch: Epoch,
        declared: Declared,
        (t0, t1): (EventTime, EventTime),
    ) -> Option<bool> {
        let newest = declared.is_none();
        let (last, ceiling) = declared.unwrap_or((None, None));
        if rule == Rule::NewestCoversAll && newest {
            return Some(false);
        }
        if self.open(epoch).is_some_and(|o| o.not_before >= t1) {
            return Some(false);
        }
        if ceiling.is_some_and(|c| c < t0) {
            return Some(false);
        }
        for run in self.runs(epoch) {
            let got: Vec<u64> = run
                .iter()
                .copied()
                .filter(|seq| self.records.contains_key(&(epoch, *seq)))
                .collect();
            let (Some(first), Some(end)) = (got.first(), got.last()) else {
                continue;
            };
            let stamps = |seq: &u64| self.records[&(epoch, *seq)].header.stamps;
            let left = run[0] == 1 || stamps(first).prev_ceiling < t0 || rule == Rule::NoLeft;
            let by_end = !newest
                && (last.is_some_and(|last| run[run.len() - 1] >= last.0)
                    || rule == Rule::OldEndWhereSeen);
            let by_frontier = stamps(end).frontier >= t1 && rule != Rule::NeedsSuccessor;
            if left && (by_frontier || by_end) {
                return Some(
                    run.iter()
                        .filter(|seq| self.is_lost(epoch, **seq))
                        .any(|seq| self.may_hold(rule, epoch, *seq, &got, (t0, t1))),
                );
            }
        }
        None
    }

    fn may_hold(
        &self,
        rule: Rule,
        epoch: Epoch,
        seq: u64,
        got: &[u64],
        (t0, t1): (EventTime, EventTime),
    ) -> bool {
        if rule == Rule::LostIsEmpty {
            return false;
        }
        let stamps = |seq: &u64| self.records[&(epoch, *seq)].header.stamps;
        let before = got.iter().rfind(|k| **k < seq);
        let after = got.iter().find(|k| **k > seq);
        let lo = before.map_or(EventTime::MIN, |k| {
            if rule == Rule::CeilingForFrontier {
                stamps(k).ceiling
            } else {
                stamps(k).frontier
            }
        });
        let hi = after.map_or(EventTime::MAX, |k| stamps(k).prev_ceiling);
        lo < t1 && hi >= t0
    }

    /// The epochs from the newest back: (epoch, what its successor declares, may be on the disk), and whether the last
    /// is the turbine's first. For histories without forks.
    fn walk(&self) -> Vec<(Epoch, Declared, bool)> {
        let mut opens: Vec<(EventTime, Epoch)> = self
            .records
            .iter()
            .filter_map(|((epoch, _), r)| match &r.body {
                Body::Open(open) => Some((open.not_before, *epoch)),
                _ => None,
            })
            .collect();
        opens.sort_unstable();
        let mut out = Vec::new();
        let Some((_, newest)) = opens.last().copied() else {
            return out;
        };
        let oldest_held = self.open(newest).map(|o| o.oldest_held);
        let (mut epoch, mut declared, mut held): (_, Declared, _) = (newest, None, true);
        loop {
            out.push((epoch, declared, held));
            held = held && oldest_held != Some(epoch);
            let Some(open) = self.open(epoch) else { break };
            if let Some(p) = &open.predecessor {
                (epoch, declared) = (p.epoch, Some((p.last_seq, p.ceiling)));
            } else {
                // what began before it, if the log knows of any
                let before = opens.iter().rfind(|(at, _)| *at < open.not_before);
                let Some((_, older)) = before else { break };
                (epoch, declared) = (*older, Some((None, None)));
            }
        }
        out
    }

    pub fn verdict(&self, rule: Rule, t0: EventTime, t1: EventTime) -> Says {
        let walk = self.walk();
        if walk.is_empty() {
            return Says::Open;
        }
        let mut exact = true;
        for (i, (epoch, declared, held)) in walk.iter().enumerate() {
            if i > 0 && rule == Rule::OldDoNotCount {
                break;
            }
            match self.covers(rule, *epoch, *declared, (t0, t1)) {
                None if *held => return Says::Open,
                None => exact &= rule == Rule::GoneIsExact,
                Some(lost) => exact &= !lost,
            }
            if self.open(*epoch).is_none() {
                if *held {
                    return Says::Open;
                }
                exact &= rule == Rule::GoneIsExact;
                break;
            }
        }
        if exact { Says::Exact } else { Says::WithLoss }
    }

    pub fn newest_frontier(&self) -> EventTime {
        let Some((newest, _, _)) = self.walk().first().copied() else {
            return EventTime::MIN;
        };
        self.records
            .range((newest, 0)..=(newest, u64::MAX))
            .next_back()
            .map_or(EventTime::MIN, |(_, r)| r.header.stamps.frontier)
    }

    /// Every window's content at once.
    pub fn window(&self, catalogue: &Catalogue, t0: EventTime, t1: EventTime) -> Window {
        let mut out = Window::default();
        let mut readings: BTreeMap<ChannelId, Vec<(Point, bool)>> = BTreeMap::new();
        for ((epoch, seq), record) in &self.records {
            let Body::Batch(batch) = &record.body else {
                continue;
            };
            for block in batch.blocks.iter().filter(|b| !b.flags.suspect) {
                for (c, column) in block.columns.iter().enumerate() {
                    let channel = catalogue.channel(column.channel).unwrap();
                    for row in 0..block.times.len() {
                        let at = block.times.at(row);
                        if at < t0 || at >= t1 {
                            continue;
                        }
                        let index = column.at + row as u32;
                        let raw = batch.raw[index as usize];
                        let marked_bad = block.quality.iter().any(|m| {
                            m.column as usize == c && m.row as usize == row && !m.quality.counts()
                        });
                        let raw = if column.float {
                            channel.fixed(f64::from_bits(raw as u64))
                        } else {
                            Some(raw)
                        };
                        out.late += u64::from(block.flags.late);
                        out.sources.insert((*epoch, *seq));
                        let point = Point {
                            at,
                            epoch: *epoch,
                            seq: Seq(*seq),
                            index,
                            raw: raw.unwrap_or_default(),
                        };
                        let counts = raw.is_some() && !marked_bad;
                        readings
                            .entry(column.channel)
                            .or_default()
                            .push((point, counts));
                    }
                }
            }
        }
        for (id, mut list) in readings {
            list.sort_unstable();
            let bad = list.iter().filter(|(_, counts)| !counts).count() as u64;
            let good: Vec<Point> = list
                .into_iter()
                .filter(|(_, c)| *c)
                .map(|(p, _)| p)
                .collect();
            out.channels.push(ChannelAggregate {
                channel: id,
                n: good.len() as u64,
                bad,
                value: aggregate(catalogue, id, &good),
            });
        }
        out
    }
}

#[derive(Default)]
pub struct Window {
    pub late: u64,
    pub sources: BTreeSet<(Epoch, u64)>,
    pub channels: Vec<ChannelAggregate>,
}

fn aggregate(catalogue: &Catalogue, id: ChannelId, sorted: &[Point]) -> Aggregate {
    let channel = catalogue.channel(id).unwrap();
    let (Some(first), Some(last)) = (sorted.first(), sorted.last()) else {
        return Aggregate::Nothing;
    };
    let raws = || sorted.iter().map(|p| p.raw);
    let (min, max) = (raws().min().unwrap(), raws().max().unwrap());
    match channel.kind {
        Kind::Analogue | Kind::Rms => Aggregate::Sums {
            sum: raws().map(i128::from).sum(),
            sum_sq: raws()
                .map(|r| i128::from(r) * i128::from(r))
                .fold(0, i128::saturating_add),
            min,
            max,
        },
        Kind::Angle => {
            let part = |f: fn(f64) -> f64| -> i64 {
                raws()
                    .map(|r| {
                        let tenths = (r + channel.offset_num).rem_euclid(3_600);
                        let radians = tenths as f64 / 10.0 * (std::f64::consts::PI / 180.0);
                        (f(radians) * 1_073_741_824.0).round() as i64
                    })
                    .sum()
            };
            Aggregate::Circular {
                cos: part(libm::cos),
                sin: part(libm::sin),
            }
        }
        Kind::Counter => {
            let mut delta = 0i128;
            for (a, b) in sorted.iter().zip(&sorted[1..]) {
                let (a, b) = (i128::from(a.raw), i128::from(b.raw));
                delta += match channel.modulus.map(i128::from) {
                    _ if b >= a => b - a,
                    Some(m) if a - b > m / 2 => m - a + b,
                    _ => b,
                };
            }
            Aggregate::Delta {
                delta,
                first: *first,
                last: *last,
            }
        }
        Kind::State => {
            let mut counts: BTreeMap<i64, u64> = BTreeMap::new();
            for r in raws() {
                *counts.entry(r).or_default() += 1;
            }
            Aggregate::States(counts.into_iter().collect())
        }
        Kind::Setpoint => Aggregate::Latest {
            last: *last,
            min,
            max,
        },
        Kind::Event => Aggregate::Codes(sorted.to_vec()),
    }
}
