//! Does a record contradict what is known of its epoch? Its seq then becomes lost and its stamps are ignored.
//!
//! Invariant: what passes keeps the stamps of the epoch's received records from going back, and the chain whole.

use super::segments::{Received, Runs, tag};
use super::{EpochState, Seqs, time_bounds};
use crate::id::Seq;
use crate::record::{Batch, Body, Head, Header, Record, RecordHash, Stamps};
use crate::time::EventTime;
use crate::wire;

impl EpochState {
    /// Does the record contradict what is known of its epoch?
    pub(super) fn check(&self, record: &Record, hash: &RecordHash) -> Result<(), String> {
        let header = &record.header;
        let seq = header.id.seq;
        if let Some(last) = self.end.as_ref().and_then(|end| end.last)
            && seq > last
        {
            return Err(format!(
                "seq {seq} lies beyond {last}, the last of its epoch by the Open of the next"
            ));
        }
        match (&record.body, seq == Seq::FIRST) {
            (Body::Open(_), false) => return Err(format!("an Open as seq {seq}, expected seq 1")),
            (Body::Open(open), true) => {
                if open.predecessor.as_ref().map(|p| p.epoch) == Some(self.epoch) {
                    return Err("an Open that names its own epoch as predecessor".to_owned());
                }
            }
            (_, true) => return Err("seq 1 is no Open".to_owned()),
            (Body::Seal(seal), false) => {
                if seal.upto.next() == seq && seal.head != header.prev_head {
                    return Err(format!(
                        "the Seal's head at seq {} is not the chain head before seq {seq}",
                        seal.upto
                    ));
                }
            }
            (Body::Batch(_) | Body::Gap(_) | Body::Untimed(_), false) => {}
        }
        if let Body::Batch(batch) = &record.body {
            self.check_times(batch, &header.stamps)?;
        }
        match &self.seqs {
            Seqs::Whole(_) => Ok(()),
            Seqs::Runs(runs) => runs.check(record, hash),
        }
    }

    /// On-time readings lie in `[not_before, ceiling]`.
    fn check_times(&self, batch: &Batch, stamps: &Stamps) -> Result<(), String> {
        let Some((min, max)) = on_time_bounds(batch) else {
            return Ok(());
        };
        if max > stamps.ceiling {
            return Err(format!(
                "an on-time reading at {} lies above the record's ceiling {}",
                max.0, stamps.ceiling.0
            ));
        }
        match &self.open {
            Some(open) if min < open.not_before => Err(format!(
                "an on-time reading at {} lies before {}, the not_before of its epoch's Open",
                min.0, open.not_before.0
            )),
            _ => Ok(()),
        }
    }
}

impl Runs {
    /// Do the stamps or the chain of a record contradict its neighbours?
    fn check(&self, record: &Record, hash: &RecordHash) -> Result<(), String> {
        let Header {
            id,
            stamps,
            prev_head,
            ..
        } = &record.header;
        let seq = id.seq.0;
        if stamps.prev_ceiling > stamps.ceiling {
            return Err(format!(
                "prev_ceiling {} is greater than ceiling {}",
                stamps.prev_ceiling.0, stamps.ceiling.0
            ));
        }
        if seq == 1 && (stamps.prev_ceiling != EventTime::MIN || *prev_head != Head::default()) {
            return Err("seq 1 has a prev_ceiling or a chain head before it".to_owned());
        }
        let (before, after) = self.around(seq);
        if let Some(before) = before {
            check_after(before, record)?;
        }
        if let Some(after) = after {
            check_before(stamps, seq, after)?;
            if seq + 1 == after.first && tag(&wire::next_head(prev_head, hash)) != after.head_before
            {
                return Err(format!(
                    "the chain does not join between seq {seq} and seq {}",
                    after.first
                ));
            }
        }
        Ok(())
    }
}

fn check_after(before: &Received, record: &Record) -> Result<(), String> {
    let Header {
        id,
        stamps,
        prev_head,
        ..
    } = &record.header;
    let (k, j) = (id.seq.0, before.last);
    let adjacent = j + 1 == k;
    if stamps.prev_ceiling < before.ceiling || (adjacent && stamps.prev_ceiling != before.ceiling) {
        return Err(format!(
            "prev_ceiling {} of seq {k} does not fit ceiling {} of seq {j}",
            stamps.prev_ceiling.0, before.ceiling.0
        ));
    }
    if stamps.frontier < before.frontier {
        return Err(format!(
            "frontier goes back from {} of seq {j} to {} of seq {k}",
            before.frontier.0, stamps.frontier.0
        ));
    }
    if adjacent && tag(prev_head) != before.head_after {
        return Err(format!(
            "the chain does not join between seq {j} and seq {k}"
        ));
    }
    if let Body::Batch(batch) = &record.body
        && let Some((min, _)) = on_time_bounds(batch)
        && min < before.frontier
    {
        return Err(format!(
            "an on-time reading at {} of seq {k} lies below frontier {} of seq {j}",
            min.0, before.frontier.0
        ));
    }
    Ok(())
}

fn check_before(stamps: &Stamps, k: u64, after: &Received) -> Result<(), String> {
    let j = after.first;
    let adjacent = k + 1 == j;
    if stamps.ceiling > after.prev_ceiling || (adjacent && stamps.ceiling != after.prev_ceiling) {
        return Err(format!(
            "ceiling {} of seq {k} does not fit prev_ceiling {} of seq {j}",
            stamps.ceiling.0, after.prev_ceiling.0
        ));
    }
    if stamps.frontier > after.frontier_first {
        return Err(format!(
            "frontier goes back from {} of seq {k} to {} of seq {j}",
            stamps.frontier.0, after.frontier_first.0
        ));
    }
    Ok(())
}

/// First and last event time of the readings that are neither late nor suspect.
fn on_time_bounds(batch: &Batch) -> Option<(EventTime, EventTime)> {
    let mut bounds: Option<(EventTime, EventTime)> = None;
    for block in &batch.blocks {
        if block.flags.late || block.flags.suspect || block.times.len() == 0 {
            continue;
        }
        let (min, max) = time_bounds(&block.times);
        bounds = Some(bounds.map_or((min, max), |(a, b)| (a.min(min), b.max(max))));
    }
    bounds
}
