//! The end of a run: every record that a disk ever held is counted exactly once or its loss is recorded, and every
//! window's newest content equals a recomputation from the log that knows nothing of panes or coverage.

use std::collections::{BTreeMap, BTreeSet};

use windlass_cloud_core::fleet::Fleet;
use windlass_cloud_core::output::{DeadLetter, FeatureRow, Reason};
use windlass_cloud_core::topic::Topic;
use windlass_edge_core::{MemoryStore, RowLevel};
use windlass_shared::catalogue::Kind;
use windlass_shared::coverage::Coverage;
use windlass_shared::id::{ChannelId, RecordId, TurbineId};
use windlass_shared::pane::Aggregate;
use windlass_shared::record::{Body, Record};
use windlass_shared::time::EventTime;
use windlass_shared::window::{Status, WindowKind};
use windlass_shared::wire;

use crate::cloud::Log;
use crate::oracle::Ledger;
use crate::sinks::Sinks;

/// Everything durable at the end.
pub struct End<'a> {
    /// What disks held.
    pub ledger: &'a Ledger,
    /// The log and the committed outputs.
    pub logs: &'a [Log],
    /// Status and lake.
    pub sinks: &'a Sinks,
    /// The gateways' disks.
    pub disks: Vec<&'a MemoryStore>,
    /// Records whose bytes were damaged on the way.
    pub refused_by_ingest: &'a BTreeSet<RecordId>,
    /// Turbines whose gateway lost its disk or got an old one back.
    pub replaced: &'a [TurbineId],
    /// For the kinds of channels.
    pub fleet: &'a Fleet,
}

/// One channel of one window, the naive way.
#[derive(Clone, PartialEq, Debug, Default)]
struct Naive {
    n: u64,
    bad: u64,
    sum: i128,
    sum_sq: i128,
    min: Option<i64>,
    max: Option<i64>,
    states: BTreeMap<i64, u64>,
}

type Key = (TurbineId, WindowKind, EventTime);

#[derive(Clone, PartialEq, Debug, Default)]
struct Window {
    channels: BTreeMap<ChannelId, Naive>,
    from: BTreeSet<RecordId>,
}

/// All of it.
pub fn check(end: &End) -> Result<(), String> {
    let mut counted = BTreeMap::new();
    for (p, log) in end.logs.iter().enumerate() {
        let here = counted_records(end, log)?;
        for (id, n) in end.sinks.written(p) {
            if *n != 1 || !here.contains_key(id) {
                return Err(format!("the lake has {id} {n} times"));
            }
        }
        if let Some(id) = here
            .keys()
            .find(|id| !end.sinks.written(p).contains_key(id))
        {
            return Err(format!("the lake does not have {id}"));
        }
        counted.extend(here);
    }
    accounted(end, &counted)?;
    let expected = recompute(end, &counted);
    let found = results(end)?;
    compare(end, &expected, &found)?;
    verdicts(end, &found, &counted)
}

/// The records that must have counted: the first occurrence of each identity in the committed part of the log.
fn counted_records(end: &End, log: &Log) -> Result<BTreeMap<RecordId, Record>, String> {
    let mut out = BTreeMap::new();
    for entry in &log.entries[..log.position() as usize] {
        let Some((id, bytes)) = entry.record() else {
            continue;
        };
        match end.ledger.entries.get(&id) {
            Some(e) if *e.payload == *bytes => {}
            _ => {
                return Err(format!(
                    "the log holds bytes for {id} that no gateway committed"
                ));
            }
        }
        if let std::collections::btree_map::Entry::Vacant(e) = out.entry(id) {
            e.insert(wire::decode(&bytes).map_err(|e| e.to_string())?);
        }
    }
    for output in log.outputs.iter().filter(|o| o.topic == Topic::DeadLetter) {
        let letter = DeadLetter::decode(&output.bytes).map_err(|e| e.to_string())?;
        let Some(id) = letter.id() else { continue };
        let restored = end.replaced.contains(&id.turbine);
        match letter.meta.reason {
            Reason::Unverified => {}
            // after a disk was rolled back, what contradicts its Open may be refused, with its bytes kept
            Reason::Stamps if restored => {
                out.remove(&id);
            }
            reason => {
                return Err(format!(
                    "an honest record was refused: {id}, {reason:?}: {}",
                    letter.meta.detail
                ));
            }
        }
    }
    Ok(out)
}

/// Every record is counted, or somebody says why not.
fn accounted(end: &End, counted: &BTreeMap<RecordId, Record>) -> Result<(), String> {
    let waiting: BTreeSet<&RecordId> = end
        .disks
        .iter()
        .flat_map(|d| d.rows())
        .filter(|r| r.level == RowLevel::Unacked)
        .map(|r| &r.meta.id)
        .collect();
    for (id, entry) in &end.ledger.entries {
        let known = counted.contains_key(id)
            || end.ledger.gaps.contains(id)
            || end.refused_by_ingest.contains(id)
            || entry.erased
            || waiting.contains(id)
            || end.logs.iter().any(|l| l.refused.contains(id));
        // what went up in the last moments may lie in the log behind the committed position
        let tail = || {
            end.logs.iter().any(|l| {
                l.entries[l.position() as usize..]
                    .iter()
                    .any(|e| e.key == id.turbine.as_str())
            })
        };
        if !known && !tail() {
            return Err(format!(
                "{id} is lost: neither counted, nor declared lost, nor waiting"
            ));
        }
    }
    Ok(())
}

fn windows_of(t: EventTime) -> Vec<(WindowKind, EventTime)> {
    let mut out = Vec::new();
    for kind in WindowKind::ALL {
        let mut start = t.floor_to(kind.hop_us());
        while start.0 + kind.len_us() > t.0 {
            out.push((kind, start));
            start = start.plus_us(-kind.hop_us());
        }
    }
    out
}

fn recompute(end: &End, counted: &BTreeMap<RecordId, Record>) -> BTreeMap<Key, Window> {
    let mut out: BTreeMap<Key, Window> = BTreeMap::new();
    for (id, record) in counted {
        let Body::Batch(batch) = &record.body else {
            continue;
        };
        let Some(catalogue) = end.fleet.catalogue(batch.catalogue) else {
            continue;
        };
        for block in batch.blocks.iter().filter(|b| !b.flags.suspect) {
            for (c, column) in block.columns.iter().enumerate() {
                let Some(channel) = catalogue.channels.iter().find(|x| x.id == column.channel)
                else {
                    continue;
                };
                for (row, t) in block.times.iter().enumerate() {
                    let raw = batch.raw[column.at as usize + row];
                    let bad = block.quality.iter().any(|q| {
                        q.column as usize == c && q.row as usize == row && !q.quality.counts()
                    });
                    for (kind, start) in windows_of(t) {
                        let w = out.entry((id.turbine.clone(), kind, start)).or_default();
                        w.from.insert(id.clone());
                        add(
                            w.channels.entry(channel.id).or_default(),
                            channel.kind,
                            raw,
                            bad,
                        );
                    }
                }
            }
        }
    }
    out
}

fn add(naive: &mut Naive, kind: Kind, raw: i64, bad: bool) {
    if bad {
        naive.bad += 1;
        return;
    }
    naive.n += 1;
    match kind {
        Kind::Analogue | Kind::Rms => {
            naive.sum += i128::from(raw);
            naive.sum_sq += i128::from(raw) * i128::from(raw);
            naive.min = Some(naive.min.map_or(raw, |m| m.min(raw)));
            naive.max = Some(naive.max.map_or(raw, |m| m.max(raw)));
        }
        Kind::Setpoint => {
            naive.min = Some(naive.min.map_or(raw, |m| m.min(raw)));
            naive.max = Some(naive.max.map_or(raw, |m| m.max(raw)));
        }
        Kind::State => *naive.states.entry(raw).or_default() += 1,
        _ => {}
    }
}

/// The newest content of each window: its last full revision and the partials after it.
struct Found {
    window: Window,
    revision: u32,
    status: Status,
    partial: bool,
}

fn results(end: &End) -> Result<BTreeMap<Key, Found>, String> {
    let mut out: BTreeMap<Key, Found> = BTreeMap::new();
    for output in end
        .logs
        .iter()
        .flat_map(|l| &l.outputs)
        .filter(|o| o.topic == Topic::Features)
    {
        let row = FeatureRow::decode(&output.bytes).map_err(|e| e.to_string())?;
        let r = row.result;
        let key = (row.turbine.clone(), r.kind, r.start);
        let mut window = Window::default();
        for (epoch, ranges) in &r.sources.0 {
            for seq in ranges.iter().flat_map(|s| s.first.0..=s.last.0) {
                let id = RecordId {
                    turbine: row.turbine.clone(),
                    epoch: *epoch,
                    seq: windlass_shared::id::Seq(seq),
                };
                window.from.insert(id);
            }
        }
        for c in &r.channels {
            let mut naive = Naive {
                n: c.n,
                bad: c.bad,
                ..Naive::default()
            };
            match &c.value {
                Aggregate::Sums {
                    sum,
                    sum_sq,
                    min,
                    max,
                } if c.n > 0 => {
                    (naive.sum, naive.sum_sq, naive.min, naive.max) =
                        (*sum, *sum_sq, Some(*min), Some(*max));
                }
                Aggregate::Latest { min, max, .. } if c.n > 0 => {
                    (naive.min, naive.max) = (Some(*min), Some(*max));
                }
                Aggregate::States(states) => naive.states = states.iter().copied().collect(),
                _ => {}
            }
            window.channels.insert(c.channel, naive);
        }
        match out.get_mut(&key) {
            Some(found) if r.partial => {
                merge(&mut found.window, window);
                found.partial = true;
            }
            Some(found) if r.revision <= found.revision => {
                return Err(format!(
                    "{key:?}: revision {} after {}",
                    r.revision, found.revision
                ));
            }
            Some(found) if found.partial => {
                return Err(format!("{key:?}: a full revision after a partial"));
            }
            _ => {
                let found = Found {
                    window,
                    revision: r.revision,
                    status: r.status,
                    partial: r.partial,
                };
                out.insert(key, found);
            }
        }
    }
    Ok(out)
}

fn merge(into: &mut Window, other: Window) {
    into.from.extend(other.from);
    for (channel, o) in other.channels {
        let n = into.channels.entry(channel).or_default();
        n.n += o.n;
        n.bad += o.bad;
        n.sum += o.sum;
        n.sum_sq += o.sum_sq;
        n.min = [n.min, o.min].into_iter().flatten().min();
        n.max = [n.max, o.max].into_iter().flatten().max();
        for (state, count) in o.states {
            *n.states.entry(state).or_default() += count;
        }
    }
}

fn compare(
    end: &End,
    expected: &BTreeMap<Key, Window>,
    found: &BTreeMap<Key, Found>,
) -> Result<(), String> {
    for (key, want) in expected {
        let frontier = end.sinks.status(&key.0).and_then(|s| s.frontier);
        let due = frontier.is_some_and(|f| key.2.plus_us(key.1.len_us() + 300_000_000) <= f);
        match found.get(key) {
            None if due => return Err(format!("{key:?} has readings and was never emitted")),
            Some(f) if due && f.window.channels != want.channels => {
                return Err(format!(
                    "{key:?} is not what the log says: found {:?}, expected {:?}",
                    f.window, want
                ));
            }
            Some(f) if due && f.window.from != want.from => {
                return Err(format!(
                    "{key:?} names other sources than it has: {:?} not {:?}",
                    f.window.from, want.from
                ));
            }
            _ => {}
        }
    }
    match found.keys().find(|k| !expected.contains_key(k)) {
        Some(key) => Err(format!("{key:?} was emitted and has no reading in the log")),
        None => Ok(()),
    }
}

/// What has settled says so, and where nothing was lost it is exact.
fn verdicts(
    end: &End,
    found: &BTreeMap<Key, Found>,
    counted: &BTreeMap<RecordId, Record>,
) -> Result<(), String> {
    let lossy: BTreeSet<&TurbineId> = end
        .ledger
        .entries
        .keys()
        .filter(|id| {
            end.ledger.gaps.contains(id) && !counted.contains_key(id)
                || end.refused_by_ingest.contains(id)
        })
        .map(|id| &id.turbine)
        .chain(end.replaced)
        .chain(&end.ledger.holes)
        .collect();
    for (key, f) in found.iter().filter(|(_, f)| !f.partial) {
        let frontier = end.sinks.status(&key.0).and_then(|s| s.frontier);
        let due = frontier.is_some_and(|x| key.2.plus_us(key.1.len_us() + 300_000_000) <= x);
        if due && f.status == Status::Provisional && f.revision > 0 && !end.left_early(key) {
            return Err(format!("{key:?} never settled; {}", explain(end, key)));
        }
        if due && !lossy.contains(&key.0) && matches!(f.status, Status::WithLoss(_)) {
            return Err(format!(
                "{key:?} claims a loss, but nothing was lost: {:?}; {}",
                f.status,
                explain(end, key)
            ));
        }
    }
    Ok(())
}

/// What coverage makes of the log now, for the message.
fn explain(end: &End, key: &Key) -> String {
    let mut coverage = Coverage::default();
    for entry in end
        .logs
        .iter()
        .flat_map(|l| &l.entries)
        .filter(|e| e.key == key.0.as_str())
    {
        if let Some((_, bytes)) = entry.record()
            && let Ok(record) = wire::decode(&bytes)
        {
            coverage.receive(&record, &wire::hash(&bytes));
        }
    }
    let opens = end
        .ledger
        .entries
        .iter()
        .filter(|(id, _)| id.turbine == key.0)
        .filter_map(|(id, e)| match &e.record.body {
            Body::Open(o) => Some(format!("\n  {}: {o:?}", id.epoch)),
            _ => None,
        });
    format!(
        "now {:?}; newest {:?}; faults {:?}; holes {:?}; epochs {:?}{}",
        coverage.verdict(key.2, key.2.plus_us(key.1.len_us())),
        coverage.newest(),
        coverage.link_faults(),
        coverage.holes(8),
        coverage.epochs(),
        opens.collect::<String>(),
    )
}

impl End<'_> {
    /// Windows that left the state unsettled because too many panes were open stay provisional.
    fn left_early(&self, key: &Key) -> bool {
        self.sinks
            .status(&key.0)
            .is_some_and(|s| s.windows.partials > 0)
            || self.small_windows()
    }
    fn small_windows(&self) -> bool {
        self.logs.iter().any(|l| l.small_windows)
    }
}
