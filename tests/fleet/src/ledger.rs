//! The ledger: every reading that a gateway committed is found once, or its loss is on record.
//!
//! Invariants: `accepted = counted + suspect + untimed + rejected + evicted + damaged + missing`; no counter of the product is believed. What
//! counts is the identity (turbine, epoch, seq, index), and nothing about a reading may change on its way.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use windlass_shared::id::{Epoch, RecordId, Seq, TurbineId};
use windlass_shared::record::{Body, LossReason, Untimed};
use windlass_shared::time::{EventTime, SECOND_US};
use windlass_shared::wire;

pub mod alerts;
mod chain;
pub mod lake;
mod lost;
pub mod outbox;
pub mod reading;
pub mod status;
pub mod watcher;
pub mod windows;

use lake::Lake;
use outbox::Witness;
use reading::Reading;

/// How many examples of a kind of mistake are kept for the message.
const EXAMPLES_MAX: usize = 10;
/// Features lag behind telemetry in the lake by at most a cut or two.
const DUE_SLACK_US: i64 = 15 * SECOND_US;

/// The balance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// Records that were committed to an outbox.
    pub accepted_records: u64,
    /// Readings in them.
    pub accepted_readings: u64,
    /// Records that left a small disk before anyone looked, and that the hash chain or a Gap vouches for (in this look
    /// at the lake).
    pub vouched_records: u64,
    /// Readings found in the lake once, unchanged, and not suspect.
    pub counted_readings: u64,
    /// Readings whose record a gateway declared lost, and that never came.
    pub evicted_readings: u64,
    /// Readings in seqs that a damaged outbox lost, as its Gaps declare.
    pub damaged_readings: u64,
    /// Readings in records that were refused, and are in dead-letter.
    pub rejected_readings: u64,
    /// Readings ahead of the gateway's clock: in the lake, in no window.
    pub suspect_readings: u64,
    /// Readings of boots that never saw a clock: in the lake's table `untimed` once, in no window.
    pub untimed_readings: u64,
    /// Readings that are nowhere.
    pub missing_readings: u64,
    /// Readings found more than once, or counted more than once in a window.
    pub double_counted_readings: u64,
    /// Readings found changed.
    pub altered_readings: u64,
    /// Readings that no gateway committed.
    pub foreign_readings: u64,
    /// Readings that the gateway marked late and that were found so, in `readings` and in `late`.
    pub late_readings: u64,
    /// Records that the log has more than once.
    pub duplicate_records_suppressed: u64,
    /// Windows that settled, per turbine and window.
    pub windows_settled: u64,
    /// Windows whose last word is exact.
    pub windows_exact: u64,
    /// Windows that were provisional at least once.
    pub windows_provisional: u64,
    /// Windows whose last word is still provisional.
    pub windows_open: u64,
    /// The same by turbine and kind.
    pub windows_open_by: BTreeMap<String, u64>,
    /// Windows that are too young to have been emitted at all.
    pub windows_not_due: u64,
    /// Among those, windows of one minute.
    pub minutes_not_due: u64,
    /// Windows whose numbers are not those of a naive recomputation.
    pub windows_wrong: u64,
    /// Examples of what is wrong.
    pub examples: Vec<String>,
}

impl Balance {
    /// Nothing lost beyond recorded evictions, nothing doubled, changed or invented.
    pub fn is_right(&self) -> bool {
        self.missing_readings == 0
            && self.double_counted_readings == 0
            && self.altered_readings == 0
            && self.foreign_readings == 0
            && self.windows_wrong == 0
            && self.examples.is_empty()
    }

    fn example(&mut self, text: impl FnOnce() -> String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(text());
        }
    }
}

/// What the lake holds, by identity.
#[derive(Default)]
struct Found {
    readings: BTreeMap<RecordId, Vec<Reading>>,
    untimed: BTreeMap<RecordId, Vec<Reading>>,
    /// Of which boots the untimed ones are.
    boots: BTreeMap<RecordId, BTreeSet<String>>,
    late: BTreeMap<RecordId, Vec<u32>>,
    refused: BTreeSet<RecordId>,
    gaps: Vec<(TurbineId, windlass_shared::record::Gap)>,
    times_logged: BTreeMap<RecordId, u64>,
    /// Bytes of the records that no one saw in an outbox.
    unseen: BTreeMap<RecordId, Vec<u8>>,
    /// Of the newest entry.
    log_time: i64,
}

/// Strikes the balance between what the gateways committed and what the lake holds. `settle_wait_us` is the aggregator's
/// wait before it emits a window that is not settled.
pub fn balance(witness: &mut Witness, lake_root: &Path, settle_wait_us: i64) -> Result<Balance> {
    let lake = Lake::open(lake_root)?;
    let mut found = found(&lake, witness)?;
    witness.confirm(|id| found.times_logged.contains_key(id));
    let mut balance = Balance {
        vouched_records: chain::vouch(witness, &found.unseen)?,
        duplicate_records_suppressed: found.times_logged.values().map(|n| n - 1).sum(),
        ..Balance::default()
    };
    let mut counted = BTreeMap::new();
    for (id, committed) in &witness.records {
        balance.accepted_records += 1;
        balance.accepted_readings += committed.readings.len() as u64;
        if let Some(Body::Untimed(untimed)) = &committed.mark {
            compare_untimed(&mut balance, &mut found, (id, untimed), &committed.readings);
            continue;
        }
        let there = found.readings.remove(id).unwrap_or_default();
        let late_rows = found.late.remove(id).unwrap_or_default();
        if there.is_empty() && !committed.readings.is_empty() {
            absent(&mut balance, &found, id, committed.readings.len() as u64);
            continue;
        }
        compare(&mut balance, id, &committed.readings, there);
        compare_late(&mut balance, id, &committed.readings, late_rows);
        counted.insert(id.clone(), committed.readings.as_slice());
    }
    for (id, rows) in found.readings.iter().chain(&found.untimed) {
        balance.foreign_readings += rows.len() as u64;
        balance.example(|| format!("{id}: in the lake, and no gateway committed it"));
    }
    unseen(&mut balance, witness, &found);
    let gone = lost::unwitnessed(witness, &found.gaps, |id| {
        found.times_logged.contains_key(id)
    });
    balance.accepted_readings += gone;
    balance.evicted_readings += gone;
    // Ticks come once a second; what the newest ones would have made due may lie in the next cut.
    let due = EventTime(found.log_time - settle_wait_us - DUE_SLACK_US);
    windows::check(&mut balance, &lake, &counted, due)?;
    Ok(balance)
}

/// A record whose readings are not in the lake: declared lost, refused, or missing.
fn absent(balance: &mut Balance, found: &Found, id: &RecordId, readings: u64) {
    if found.refused.contains(id) {
        balance.rejected_readings += readings;
    } else if declared(found, LossReason::Evicted, id) {
        balance.evicted_readings += readings;
    } else if declared(found, LossReason::Corrupt, id) {
        balance.damaged_readings += readings;
    } else {
        balance.missing_readings += readings;
        balance.example(|| format!("{id}: {readings} readings are nowhere"));
    }
}

fn declared(found: &Found, reason: LossReason, id: &RecordId) -> bool {
    found.gaps.iter().any(|(of, gap)| {
        *of == id.turbine
            && gap.epoch == id.epoch
            && gap.reason == reason
            && gap.ranges.iter().any(|r| r.seqs.contains(id.seq))
    })
}

/// Readings without a time stand in their own table, and count nowhere.
fn compare_untimed(
    balance: &mut Balance,
    found: &mut Found,
    (id, untimed): (&RecordId, &Untimed),
    expected: &[Reading],
) {
    let there = found.untimed.remove(id).unwrap_or_default();
    if there.is_empty() && !expected.is_empty() {
        return absent(balance, found, id, expected.len() as u64);
    }
    let boot = BTreeSet::from([untimed.boot.to_string()]);
    let boots = found.boots.remove(id).unwrap_or_default();
    if boots != boot {
        balance.example(|| format!("{id}: of boot {boot:?}, in the lake of {boots:?}"));
    }
    let before = balance.counted_readings;
    compare(balance, id, expected, there);
    balance.untimed_readings += balance.counted_readings - before;
    balance.counted_readings = before;
}

fn compare(balance: &mut Balance, id: &RecordId, expected: &[Reading], mut there: Vec<Reading>) {
    there.sort_unstable();
    let rows = there.len() as u64;
    there.dedup_by_key(|r| r.index);
    let doubled = rows - there.len() as u64;
    balance.double_counted_readings += doubled;
    if doubled > 0 {
        balance.example(|| format!("{id}: {doubled} readings stand twice"));
    }
    let by_index: BTreeMap<u32, Reading> = there.into_iter().map(|r| (r.index, r)).collect();
    for reading in expected {
        match by_index.get(&reading.index) {
            None => {
                balance.missing_readings += 1;
                balance.example(|| format!("{id}: {reading:?} is missing"));
            }
            Some(same) if same == reading => {
                if reading.suspect {
                    balance.suspect_readings += 1;
                } else {
                    balance.counted_readings += 1;
                }
            }
            Some(other) => {
                balance.altered_readings += 1;
                balance.example(|| format!("{id}: {reading:?} became {other:?}"));
            }
        }
    }
    let invented = by_index.len().saturating_sub(expected.len()) as u64;
    balance.foreign_readings += invented;
    if invented > 0 {
        balance.example(|| format!("{id}: {invented} readings more than it has"));
    }
}

fn compare_late(balance: &mut Balance, id: &RecordId, expected: &[Reading], mut late: Vec<u32>) {
    late.sort_unstable();
    let marked: Vec<u32> = expected
        .iter()
        .filter(|r| r.late)
        .map(|r| r.index)
        .collect();
    if late == marked {
        balance.late_readings += marked.len() as u64;
    } else {
        balance.example(|| {
            format!(
                "{id}: {} readings are marked late, {} are in the late table",
                marked.len(),
                late.len()
            )
        });
    }
}

/// Seqs that no one saw in an outbox: they were numbered, for later ones are there, so they must be accounted for.
fn unseen(balance: &mut Balance, witness: &Witness, found: &Found) {
    for ((turbine, epoch), last) in &witness.last_seq {
        for seq in 1..=last.0 {
            let id = RecordId {
                turbine: turbine.clone(),
                epoch: *epoch,
                seq: Seq(seq),
            };
            let known = witness.records.contains_key(&id)
                || witness.perhaps.contains_key(&id)
                || found.times_logged.contains_key(&id)
                || [
                    LossReason::Evicted,
                    LossReason::Corrupt,
                    LossReason::Untimed,
                ]
                .into_iter()
                .any(|reason| declared(found, reason, &id));
            if !known {
                balance.missing_readings += 1;
                balance.example(|| format!("{id}: a seq that is nowhere"));
            }
        }
    }
}

fn found(lake: &Lake, witness: &Witness) -> Result<Found> {
    let mut found = Found::default();
    let mut names = Names::default();
    lake.each("readings", |row| {
        let id = names.identity(row)?;
        let reading = reading_of(row, "time")?;
        found.readings.entry(id).or_default().push(reading);
        Ok(())
    })?;
    lake.each("untimed", |row| {
        let id = names.identity(row)?;
        let boot = row.need("boot")?.to_owned();
        found.boots.entry(id.clone()).or_default().insert(boot);
        let reading = reading_of(row, "since_boot_us")?;
        found.untimed.entry(id).or_default().push(reading);
        Ok(())
    })?;
    lake.each("late", |row| {
        let index = row.need_int("index")? as u32;
        let id = names.identity(row)?;
        found.late.entry(id).or_default().push(index);
        Ok(())
    })?;
    lake.each("batches", |row| {
        found.log_time = found.log_time.max(row.need_int("log_time")?);
        let kind = row.need("kind")?;
        if !matches!(kind, "batch" | "open" | "gap" | "seal" | "untimed") {
            return Ok(());
        }
        let bytes = row.bytes("bytes")?.context("a record without bytes")?;
        let record = wire::decode(bytes)?;
        let id = record.header.id;
        *found.times_logged.entry(id.clone()).or_default() += 1;
        if !witness.records.contains_key(&id) && !witness.perhaps.contains_key(&id) {
            found.unseen.entry(id.clone()).or_insert(bytes.to_vec());
        }
        if let Body::Gap(gap) = record.body {
            found.gaps.push((id.turbine, gap));
        }
        Ok(())
    })?;
    lake.each("dead_letter", |row| {
        let known = row.text("turbine")?.is_some()
            && row.text("epoch")?.is_some()
            && row.int("seq")?.is_some();
        if known {
            found.refused.insert(names.identity(row)?);
        }
        Ok(())
    })?;
    Ok(found)
}

/// A row of `readings` or of `untimed`, with the name of its column of times.
fn reading_of(row: &lake::Row<'_>, time: &str) -> Result<Reading> {
    let float = row.float("value")?;
    let raw = row.int("raw")?;
    let name = row.need("quality")?;
    Ok(Reading {
        index: row.need_int("index")? as u32,
        channel: row.need_int("channel_id")? as u16,
        time: row.need_int(time)?,
        value: raw.or(float.map(|f| f.to_bits() as i64)),
        float: raw.is_none() && float.is_some(),
        quality: reading::quality(name).with_context(|| format!("quality {name}"))?,
        late: row.flag("late")?,
        suspect: row.flag("suspect")?,
    })
}

/// Identities as the rows spell them, parsed once.
#[derive(Default)]
struct Names {
    turbines: BTreeMap<String, TurbineId>,
    epochs: BTreeMap<String, Epoch>,
}

impl Names {
    fn identity(&mut self, row: &lake::Row<'_>) -> Result<RecordId> {
        let turbine = row.need("turbine")?;
        if !self.turbines.contains_key(turbine) {
            self.turbines.insert(turbine.to_owned(), turbine.parse()?);
        }
        let epoch = row.need("epoch")?;
        if !self.epochs.contains_key(epoch) {
            self.epochs.insert(epoch.to_owned(), epoch.parse()?);
        }
        Ok(RecordId {
            turbine: self.turbines[turbine].clone(),
            epoch: self.epochs[epoch],
            seq: Seq(row.need_int("seq")? as u64),
        })
    }
}

#[cfg(test)]
mod tests;
