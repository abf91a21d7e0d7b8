//! Windows, recomputed naively from what the gateways committed, and held against the last word of each window.
//!
//! Invariant: the recomputation sees all readings at once and keeps no state; it knows nothing of coverage or panes.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use windlass_shared::id::RecordId;
use windlass_shared::pane::Aggregate;
use windlass_shared::time::{EventTime, MINUTE_US};
use windlass_shared::window::WindowKind;

use super::Balance;
use super::lake::Lake;
use super::reading::Reading;

/// Window, by turbine, kind, and start.
type Window = (String, &'static str, i64);

/// What the naive recomputation keeps of a channel in a window.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Cell {
    n: u64,
    bad: u64,
    sum: i128,
    min: i64,
    max: i64,
    /// Holds floats, whose sums are in another unit: compared by count.
    float: bool,
}

/// What was emitted of a window.
#[derive(Default)]
struct Emitted {
    revision: i64,
    /// Where the last word stands in the log, and what it says.
    offset: i64,
    status: String,
    settled: bool,
    provisional: bool,
    /// The same channel stands twice in one revision.
    repeated: bool,
    cells: BTreeMap<u16, Cell>,
    /// What came after the window had left the state, to be added.
    partials: BTreeMap<u16, Cell>,
    /// Aggregates whose sums can be compared: the others compare by count.
    summed: BTreeMap<u16, bool>,
}

/// Compares, and counts the windows into the balance. A window whose end is later than `due` (the log's time, less the wait
/// after which an unsettled window is emitted all the same) need not have been emitted yet.
pub fn check(
    balance: &mut Balance,
    lake: &Lake,
    counted: &BTreeMap<RecordId, &[Reading]>,
    due: EventTime,
) -> Result<()> {
    let expected = recompute(counted);
    let emitted = emitted(lake)?;
    for window in emitted.iter().filter(|(_, e)| e.repeated) {
        balance.windows_wrong += 1;
        balance.example(|| format!("window {:?}: a revision was emitted twice", window.0));
    }
    for (window, what) in &emitted {
        balance.windows_settled += u64::from(what.settled);
        balance.windows_exact += u64::from(what.status == "exact");
        balance.windows_provisional += u64::from(what.provisional);
        if what.status == "provisional" {
            balance.windows_open += 1;
            let key = format!("{} {}", window.0, window.1);
            *balance.windows_open_by.entry(key).or_default() += 1;
        }
        let Some(cells) = expected.get(window) else {
            balance.windows_wrong += 1;
            balance.example(|| format!("window {window:?} was emitted, and nothing lies in it"));
            continue;
        };
        compare(balance, window, cells, what);
    }
    for window in expected.keys().filter(|w| !emitted.contains_key(*w)) {
        if window.2 + length(window.1) > due.0 {
            balance.windows_not_due += 1;
            balance.minutes_not_due += u64::from(window.1 == "1m");
            continue;
        }
        balance.windows_wrong += 1;
        balance.example(|| format!("window {window:?} has readings and was never emitted"));
    }
    Ok(())
}

/// In microseconds.
fn length(kind: &str) -> i64 {
    WindowKind::ALL
        .iter()
        .find(|k| k.as_str() == kind)
        .map_or(0, |k| k.len_us())
}

fn compare(
    balance: &mut Balance,
    window: &Window,
    expected: &BTreeMap<u16, Cell>,
    emitted: &Emitted,
) {
    let mut wrong = None;
    for (channel, cell) in expected {
        let mut there = emitted.cells.get(channel).copied().unwrap_or_default();
        if let Some(partial) = emitted.partials.get(channel) {
            there.add(partial);
        }
        let summed = !cell.float && emitted.summed.get(channel) == Some(&true);
        let same = (there.n, there.bad) == (cell.n, cell.bad) && (!summed || there == *cell);
        if !same {
            wrong.get_or_insert((*channel, *cell, there));
        }
        // Only the one-minute windows tile the time once, so only they say how often a reading counted.
        if window.1 == "1m" {
            let (found, due) = (there.n + there.bad, cell.n + cell.bad);
            balance.double_counted_readings += found.saturating_sub(due);
            balance.missing_readings += due.saturating_sub(found);
        }
    }
    let invented = emitted.cells.keys().find(|c| !expected.contains_key(c));
    if let Some((channel, due, there)) = wrong {
        balance.windows_wrong += 1;
        balance.example(|| {
            format!("window {window:?} channel {channel}: expected {due:?}, found {there:?}")
        });
    } else if let Some(channel) = invented {
        balance.windows_wrong += 1;
        balance.example(|| format!("window {window:?}: channel {channel} has no reading in it"));
    }
}

impl Cell {
    fn take(&mut self, reading: &Reading) {
        let Some(value) = reading.value.filter(|_| reading.quality.counts()) else {
            self.bad += 1;
            return;
        };
        let one = Self {
            n: 1,
            bad: 0,
            sum: i128::from(value),
            min: value,
            max: value,
            float: reading.float,
        };
        self.add(&one);
    }

    fn add(&mut self, other: &Self) {
        if self.n == 0 {
            (self.min, self.max) = (other.min, other.max);
        } else if other.n > 0 {
            self.min = self.min.min(other.min);
            self.max = self.max.max(other.max);
        }
        self.n += other.n;
        self.bad += other.bad;
        self.sum += other.sum;
        self.float |= other.float;
    }
}

fn recompute(counted: &BTreeMap<RecordId, &[Reading]>) -> BTreeMap<Window, BTreeMap<u16, Cell>> {
    // Minutes first, then every window from its minutes.
    let mut minutes: BTreeMap<(&str, i64), BTreeMap<u16, Cell>> = BTreeMap::new();
    for (id, readings) in counted {
        for reading in readings.iter().filter(|r| !r.suspect) {
            let start = EventTime(reading.time).floor_to(MINUTE_US).0;
            let minute = minutes.entry((id.turbine.as_str(), start)).or_default();
            minute.entry(reading.channel).or_default().take(reading);
        }
    }
    let mut windows: BTreeMap<Window, BTreeMap<u16, Cell>> = BTreeMap::new();
    for ((turbine, start), cells) in &minutes {
        let five = (0..5).map(|back| ("5m", start - back * MINUTE_US));
        let ten = ("10m", EventTime(*start).floor_to(10 * MINUTE_US).0);
        for (kind, at) in five.chain([("1m", *start), ten]) {
            let window = windows
                .entry(((*turbine).to_owned(), kind, at))
                .or_default();
            for (channel, cell) in cells {
                window.entry(*channel).or_default().add(cell);
            }
        }
    }
    windows
}

fn emitted(lake: &Lake) -> Result<BTreeMap<Window, Emitted>> {
    let mut windows: BTreeMap<Window, Emitted> = BTreeMap::new();
    lake.each("features", |row| {
        let kind = match row.need("window")? {
            "1m" => "1m",
            "5m" => "5m",
            "10m" => "10m",
            other => anyhow::bail!("a window of kind {other}"),
        };
        let key = (
            row.need("turbine")?.to_owned(),
            kind,
            row.need_int("start")?,
        );
        let window = windows.entry(key).or_default();
        let channel = row.need_int("channel_id")? as u16;
        let text = row.need("aggregate")?;
        let aggregate: Aggregate =
            serde_json::from_str(text).with_context(|| format!("aggregate {text}"))?;
        let (sum, min, max) = match aggregate {
            Aggregate::Sums { sum, min, max, .. } => (sum, min, max),
            _ => (0, 0, 0),
        };
        let cell = Cell {
            n: row.need_int("n")? as u64,
            bad: row.need_int("bad")? as u64,
            sum,
            min,
            max,
            float: false,
        };
        let summed = matches!(aggregate, Aggregate::Sums { .. });
        window.summed.insert(channel, summed);
        // A window that had left the state settles by its last partial.
        let status = row.need("status")?;
        window.provisional |= status == "provisional";
        window.settled |= status != "provisional";
        let offset = row.need_int("log_offset")?;
        if offset >= window.offset {
            window.offset = offset;
            status.clone_into(&mut window.status);
        }
        if row.flag("partial")? {
            window.partials.entry(channel).or_default().add(&cell);
            return Ok(());
        }
        let revision = row.need_int("revision")?;
        if revision > window.revision {
            window.cells.clear();
            window.revision = revision;
        }
        if revision == window.revision {
            window.repeated |= window.cells.insert(channel, cell).is_some();
        }
        Ok(())
    })?;
    Ok(windows)
}
