//! Readings of one turbine in the order of event time, with bounded memory.
//!
//! Invariant: at most [`ROWS_MAX`] readings are held: those of an hour, or of less when there are more of them.

use std::collections::{BTreeMap, BTreeSet};

use arrow_array::RecordBatch;
use windlass_shared::id::{ChannelId, Epoch};
use windlass_shared::record::Quality;
use windlass_shared::time::EventTime;

use super::print::{self, Line, Printer};
use super::{ReplayError, Request};
use crate::lake::file::HOUR_US;
use crate::lake::proof::{Counted, ReadingSum};
use crate::lake::read::{Filter, View};
use crate::lake::reading::{Reading, ReadingColumns, quality_name};
use crate::lake::{FileEntry, LakeError, Table};

/// Readings in memory (64 bytes each): three hours of 300 channels at 1 Hz.
const ROWS_MAX: usize = 3_000_000;

/// What was printed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Printed {
    /// All readings.
    pub sum: ReadingSum,
    /// Of those, late ones.
    pub late: u64,
    /// Of those, suspect ones.
    pub suspect: u64,
}

struct Row {
    time: EventTime,
    channel: u32,
    epoch: u32,
    seq: u64,
    index: u32,
    value: Option<f64>,
    raw: Option<i64>,
    quality: Quality,
    late: bool,
    suspect: bool,
}

/// Names of the rows in memory.
#[derive(Default)]
struct Names {
    channels: Vec<(ChannelId, String, String)>,
    channel_keys: BTreeMap<(ChannelId, String), u32>,
    epochs: Vec<(Epoch, String)>,
}

impl Names {
    fn channel(&mut self, r: &Reading) -> u32 {
        // one entry for each channel and name: a catalogue's next version may rename it
        let key = (r.channel_id, r.channel.to_owned());
        let next = self.channels.len() as u32;
        let found = *self.channel_keys.entry(key).or_insert(next);
        if found == next {
            self.channels
                .push((r.channel_id, r.channel.to_owned(), r.unit.to_owned()));
        }
        found
    }
    fn epoch(&mut self, epoch: Epoch) -> u32 {
        let found = self.epochs.iter().rposition(|(e, _)| *e == epoch);
        found.unwrap_or_else(|| {
            self.epochs.push((epoch, epoch.to_string()));
            self.epochs.len() - 1
        }) as u32
    }
}

/// Prints all readings of the request.
pub async fn in_event_time(
    view: &View,
    request: &Request,
    printer: &mut Printer<'_>,
) -> Result<Printed, ReplayError> {
    let (from, to) = (request.from.0, request.to.0);
    let filter = Filter {
        turbine: Some(request.turbine.to_string()),
        time: Some((from, to)),
    };
    let files = view.files(Table::Readings, &filter);
    let mut hours = BTreeSet::new();
    for file in &files {
        // a file holds a day at most, so these are 25 at most
        let last = file.time_max.min(to - 1).div_euclid(HOUR_US);
        hours.extend(file.time_min.max(from).div_euclid(HOUR_US)..=last);
    }
    let mut shown = Printed::default();
    for hour in hours {
        let start = hour.saturating_mul(HOUR_US);
        let part = (start.max(from), start.saturating_add(HOUR_US).min(to));
        let mut parts = vec![part];
        while let Some((a, b)) = parts.pop() {
            let Some((rows, names)) = load(view, &files, &filter, (a, b)).await? else {
                let middle = a + (b - a) / 2;
                parts.push((middle, b));
                parts.push((a, middle));
                continue;
            };
            print_rows(&rows, &names, printer, &mut shown)?;
        }
    }
    Ok(shown)
}

/// Rows of `[a, b)`, sorted; `None` when they are too many.
async fn load(
    view: &View,
    files: &[&FileEntry],
    filter: &Filter,
    (a, b): (i64, i64),
) -> Result<Option<(Vec<Row>, Names)>, LakeError> {
    let mut rows = Vec::new();
    let mut names = Names::default();
    let mut full = false;
    for file in files.iter().filter(|f| f.overlaps(a, b)) {
        let mut each = |batch: &RecordBatch| {
            let columns = ReadingColumns::new(batch, &file.path)?;
            for i in 0..columns.len() {
                let time = columns.time(i).0;
                if a <= time && time < b && !full {
                    rows.push(row(&columns.get(i)?, &mut names));
                    // a microsecond cannot be divided
                    full = rows.len() >= ROWS_MAX && b - a > 1;
                }
            }
            Ok(())
        };
        view.scan(file, filter, &[], &mut each).await?;
        if full {
            return Ok(None);
        }
    }
    rows.sort_unstable_by_key(|r| {
        let channel = names.channels[r.channel as usize].0;
        let epoch = names.epochs[r.epoch as usize].0;
        (r.time, channel, epoch, r.seq, r.index)
    });
    Ok(Some((rows, names)))
}

fn row(r: &Reading, names: &mut Names) -> Row {
    Row {
        time: r.time,
        channel: names.channel(r),
        epoch: names.epoch(r.epoch),
        seq: r.seq.0,
        index: r.index,
        value: r.value,
        raw: r.raw,
        quality: r.quality,
        late: r.late,
        suspect: r.suspect,
    }
}

fn print_rows(
    rows: &[Row],
    names: &Names,
    printer: &mut Printer,
    shown: &mut Printed,
) -> Result<(), ReplayError> {
    for r in rows {
        let (channel_id, channel, unit) = &names.channels[r.channel as usize];
        let (epoch, epoch_text) = &names.epochs[r.epoch as usize];
        shown.late += u64::from(r.late);
        shown.suspect += u64::from(r.suspect);
        shown.sum.add(&Counted {
            epoch: *epoch,
            seq: windlass_shared::id::Seq(r.seq),
            index: r.index,
            channel: *channel_id,
            time: r.time,
            late: r.late,
            suspect: r.suspect,
            content: r.raw.or(r.value.map(|v| v.to_bits() as i64)),
        });
        printer.reading(&Line {
            time: &print::time(r.time),
            channel_id: channel_id.0,
            channel,
            value: r.value,
            unit,
            raw: r.raw,
            quality: quality_name(r.quality),
            late: r.late,
            suspect: r.suspect,
            epoch: epoch_text,
            seq: r.seq,
            index: r.index,
        })?;
    }
    Ok(())
}
