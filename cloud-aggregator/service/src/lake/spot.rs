//! Whether the original bytes behind a range of event time are what they were, and what they say of the gateway's clock.
//!
//! Invariant: no record with a reading of the range is passed over, because a file's marker bounds the event times in it;
//! files that were written before markers said so are all read.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use windlass_shared::id::Epoch;
use windlass_shared::record::{Body, Open, Record};
use windlass_shared::time::{EventTime, SECOND_US, WallTime};

use super::chain::Chain;
use super::evidence::{EvidenceColumns, EvidenceRow, RECEIPT_NEW};
use super::marker::FileEntry;
use super::read::{Filter, View};
use super::{LakeError, Table};

/// A gateway's clock is ahead when a record is committed by so much later than it was appended, microseconds.
const AHEAD_US: i64 = 2 * SECOND_US;
/// Spans of a clock that is ahead are one when they lie nearer to each other, microseconds.
const SAME_SPAN_US: i64 = 60 * SECOND_US;
/// Clock facts that are kept.
const CLOCK_FACTS_MAX: usize = 1_000;

/// What a gateway's clock did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClockFact {
    /// An epoch began at this time of the gateway's clock although the one before it had readings that are later by `by_us`.
    SetBack {
        /// By the new clock.
        at: WallTime,
        /// At least so much, microseconds.
        by_us: i64,
    },
    /// Records were committed later than they were appended to the log.
    Ahead {
        /// First, by the gateway's clock.
        from: WallTime,
        /// Last.
        to: WallTime,
        /// By up to so much, microseconds.
        by_us: i64,
    },
}

/// The bytes of one turbine behind a range.
#[derive(Debug, Default)]
pub struct Spot {
    /// Records that were read.
    pub records: u64,
    damaged: u64,
    chains: BTreeMap<Epoch, Chain>,
    /// In the order of the log.
    pub clock: Vec<ClockFact>,
}

impl Spot {
    /// Reads the original bytes of `turbine` behind `[from, to)`; `None`: their files have more than `bytes_max`.
    pub async fn read(
        view: &View,
        turbine: &str,
        from: EventTime,
        to: EventTime,
        bytes_max: u64,
    ) -> Result<Option<Self>, LakeError> {
        let filter = Filter::turbine(turbine);
        let mut files = view.files(Table::Batches, &filter);
        files.retain(|f| f.may_tell_of(from.0, to.0));
        if files.iter().map(|f| f.bytes).sum::<u64>() > bytes_max {
            return Ok(None);
        }
        let mut spot = Self::default();
        for file in files {
            let mut each = |batch: &RecordBatch| spot.take_all(batch, file);
            view.scan(file, &filter, &[], &mut each).await?;
        }
        Ok(Some(spot))
    }

    /// Do all bytes hash as they should, and join?
    pub fn holds(&self) -> bool {
        self.damaged == 0 && self.chains.values().all(Chain::holds)
    }

    fn take_all(&mut self, batch: &RecordBatch, file: &FileEntry) -> Result<(), LakeError> {
        let columns = EvidenceColumns::new(batch, &file.path)?;
        for i in 0..columns.len() {
            self.take(&columns.get(i)?);
        }
        Ok(())
    }

    fn take(&mut self, row: &EvidenceRow) {
        if row.receipt != RECEIPT_NEW {
            return;
        }
        self.records += 1;
        let Some((record, hash)) = row.record() else {
            self.damaged += 1;
            return;
        };
        if row.sha256 != Some(hash.0.as_slice()) {
            self.damaged += 1;
        }
        let header = &record.header;
        let chain = self.chains.entry(header.id.epoch).or_default();
        chain.add(header.id.seq, header.prev_head, &hash);
        self.hear_clock(&record, row.append_time);
    }

    /// Notes what a record says of its gateway's clock.
    pub fn hear_clock(&mut self, record: &Record, appended: WallTime) {
        let at = record.header.committed_at;
        if let Body::Open(open) = &record.body
            && let Some(by_us) = set_back(open, at)
        {
            self.fact(ClockFact::SetBack { at, by_us });
        }
        let ahead = at.0.saturating_sub(appended.0);
        if ahead < AHEAD_US {
            return;
        }
        if let Some(ClockFact::Ahead { from, to, by_us }) = self.clock.last_mut()
            && from.0 <= at.0
            && at.0 - to.0 <= SAME_SPAN_US
        {
            *to = at.max(*to);
            *by_us = ahead.max(*by_us);
            return;
        }
        self.fact(ClockFact::Ahead {
            from: at,
            to: at,
            by_us: ahead,
        });
    }

    fn fact(&mut self, fact: ClockFact) {
        if self.clock.len() < CLOCK_FACTS_MAX {
            self.clock.push(fact);
        }
    }
}

/// By how much the clock was set back before this epoch began, if it was.
fn set_back(open: &Open, at: WallTime) -> Option<i64> {
    let ceiling = open.predecessor.as_ref()?.ceiling?;
    let by_us = ceiling.0.saturating_sub(at.0);
    (by_us > 0).then_some(by_us)
}

#[cfg(test)]
mod tests {
    use windlass_cloud_core::topic::Topic;

    use super::super::fixture::{Edge, Failures, Rig, T0, entry, fleet};
    use super::*;

    /// Less than a jump of the log's clock, and a whole part of T0.
    const SLICE: i64 = 50 * SECOND_US;

    async fn spot(rig: &Rig, from: i64, to: i64) -> Spot {
        let view = rig.lake().view().await.unwrap();
        let range = (EventTime(from), EventTime(to));
        let read = Spot::read(&view, "T1", range.0, range.1, u64::MAX).await;
        read.unwrap().unwrap()
    }

    /// Sixty slices, a cut each, and behind them a reading that is late by most of an hour.
    async fn sixty_slices() -> Rig {
        let (mut edge, open) = Edge::open(&fleet(), "T1", 1, None);
        let mut log = vec![entry(T0, &edge, &open)];
        for n in 1..=60 {
            let bytes = edge.slice((SLICE / SECOND_US) as u32);
            log.push(entry(T0 + n * SLICE, &edge, &bytes));
        }
        let late = windlass_shared::record::Flags {
            late: true,
            suspect: false,
        };
        let bytes = edge.flagged(T0 + 3 * SLICE / 2, late);
        log.push(entry(T0 + 61 * SLICE, &edge, &bytes));
        let mut rig = Rig::new(SLICE / SECOND_US);
        rig.drive(Topic::Telemetry, &log, Failures::none()).await;
        rig
    }

    #[tokio::test]
    async fn only_what_may_tell_of_the_range_is_read_however_late_it_came() {
        let rig = sixty_slices().await;
        let all = spot(&rig, T0, T0 + 61 * SLICE).await;
        assert_eq!((all.records, all.holds()), (62, true));
        // the slice of that time
        let one = spot(&rig, T0 + 30 * SLICE, T0 + 31 * SLICE).await;
        assert_eq!((one.records, one.holds()), (1, true));
        // the slice of that time and the late reading, far behind it in the log
        let two = spot(&rig, T0 + SLICE, T0 + 2 * SLICE).await;
        assert_eq!((two.records, two.holds()), (2, true));
        let none = spot(&rig, T0 + 70 * SLICE, T0 + 80 * SLICE).await;
        assert_eq!((none.records, none.holds()), (0, true));
    }

    #[tokio::test]
    async fn too_many_bytes_are_not_read() {
        let rig = sixty_slices().await;
        let view = rig.lake().view().await.unwrap();
        let range = (EventTime(T0), EventTime(T0 + 61 * SLICE));
        let read = Spot::read(&view, "T1", range.0, range.1, 1_000).await;
        assert!(read.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_clock_that_was_set_back_or_is_ahead_shows_in_the_records() {
        let (mut edge, open) = Edge::open(&fleet(), "T1", 1, None);
        let mut log = vec![entry(T0, &edge, &open)];
        let mut push = |at: i64, edge: &Edge, bytes: &[u8]| log.push(entry(at, edge, bytes));
        let bytes = edge.slice(60);
        // committed at the end of its slice, appended 40 s before
        push(T0 + 20 * SECOND_US, &edge, &bytes);
        let bytes = edge.slice(10);
        push(T0 + 40 * SECOND_US, &edge, &bytes);
        let (second, open) = edge.set_back(&fleet(), 2, 30 * SECOND_US);
        push(T0 + 41 * SECOND_US, &second, &open);
        let mut rig = Rig::new(60);
        rig.drive(Topic::Telemetry, &log, Failures::none()).await;
        let found = spot(&rig, T0, T0 + 5 * SLICE).await;
        assert!(found.holds());
        let at = |s: i64| WallTime(T0 + s * SECOND_US);
        let expected = [
            ClockFact::Ahead {
                from: at(60),
                to: at(70),
                by_us: 40 * SECOND_US,
            },
            // its last reading was of second 69, its clock stood at 70
            ClockFact::SetBack {
                at: at(40),
                by_us: 29 * SECOND_US,
            },
        ];
        assert_eq!(found.clock, expected);
    }
}
