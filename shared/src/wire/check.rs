//! What a record must hold to be accepted: everything that can be checked without history and without the catalogue.
//!
//! Invariant: what passes here can be added to coverage and panes without overflow: times lie between 1970 and 2200, seqs
//! fit [`SEQ_MAX`], and a float that is not finite never counts.

use super::{
    BATCH_READINGS_MAX, EVENT_TIME_END_US, EVENT_TIME_MIN_US, GAP_RANGES_MAX, SEQ_MAX,
    TEXT_BYTES_MAX, WireError, limit,
};
use crate::record::{Batch, Block, Body, Gap, GapRange, Head, Open, Record, Seal, Times, Untimed};
use crate::time::EventTime;

/// Longest period of a regular column: a leap year, microseconds.
const PERIOD_US_MAX: i64 = 366 * 86_400 * 1_000_000;

/// Checks the record by itself: identity, stamps against the body, limits, order.
pub fn check(record: &Record) -> Result<(), WireError> {
    let header = &record.header;
    seq("seq", header.id.seq.0)?;
    time_or_none("frontier", header.stamps.frontier)?;
    time_or_none("ceiling", header.stamps.ceiling)?;
    time_or_none("prev_ceiling", header.stamps.prev_ceiling)?;
    time("committed_at", header.committed_at.0)?;
    let first = header.id.seq.0 == 1;
    if first != (header.prev_head == Head::default()) {
        return Err(WireError::field(
            "prev_head",
            if first { "a head" } else { "none" },
            "none for seq 1, a head for every other",
        ));
    }
    if first != matches!(record.body, Body::Open(_)) {
        return Err(WireError::field(
            "body",
            format!("{} at seq {}", kind(&record.body), header.id.seq),
            "an Open at seq 1 and nowhere else",
        ));
    }
    if first && header.stamps.prev_ceiling != EventTime::MIN {
        return Err(WireError::Stamps(
            "seq 1 has a prev_ceiling, and nothing was before it".into(),
        ));
    }
    let latest = match &record.body {
        Body::Batch(batch) => check_batch(batch)?,
        Body::Open(open) => check_open(record, open).map(|()| EventTime::MIN)?,
        Body::Gap(gap) => check_gap(record, gap).map(|()| EventTime::MIN)?,
        Body::Seal(seal) => check_seal(record, seal).map(|()| EventTime::MIN)?,
        Body::Untimed(untimed) => check_untimed(untimed).map(|()| EventTime::MIN)?,
    };
    let expected = header.stamps.prev_ceiling.max(latest);
    if header.stamps.ceiling != expected {
        return Err(WireError::Stamps(format!(
            "ceiling is {}, expected {}: the later of prev_ceiling and the latest on-time reading",
            show(header.stamps.ceiling),
            show(expected)
        )));
    }
    Ok(())
}

fn kind(body: &Body) -> &'static str {
    match body {
        Body::Batch(_) => "Batch",
        Body::Open(_) => "Open",
        Body::Gap(_) => "Gap",
        Body::Seal(_) => "Seal",
        Body::Untimed(_) => "Untimed",
    }
}

fn show(t: EventTime) -> String {
    if t == EventTime::MIN {
        "none".into()
    } else {
        format!("{} us", t.0)
    }
}

pub(super) fn seq(field: &'static str, seq: u64) -> Result<(), WireError> {
    if seq == 0 || seq > SEQ_MAX {
        return Err(WireError::field(field, seq, "1 to 2^53"));
    }
    Ok(())
}

fn time(field: &'static str, us: i64) -> Result<(), WireError> {
    if !(EVENT_TIME_MIN_US..EVENT_TIME_END_US).contains(&us) {
        return Err(WireError::field(
            field,
            format!("{us} us"),
            "a time from 1970 to 2199",
        ));
    }
    Ok(())
}

fn time_or_none(field: &'static str, t: EventTime) -> Result<(), WireError> {
    if t == EventTime::MIN {
        return Ok(());
    }
    time(field, t.0)
}

/// Checks the readings and returns the latest on-time event time.
fn check_batch(batch: &Batch) -> Result<EventTime, WireError> {
    limit("batch, in readings", batch.raw.len(), BATCH_READINGS_MAX)?;
    if batch.raw.is_empty() {
        return Err(WireError::field("readings", 0, "at least one"));
    }
    let mut latest = EventTime::MIN;
    for block in &batch.blocks {
        let last = check_times(&block.times)?;
        if !block.flags.late && !block.flags.suspect {
            latest = latest.max(last);
        }
        check_floats(block, &batch.raw)?;
    }
    Ok(latest)
}

/// Flags compare a time with a clock, and there was none.
fn check_untimed(untimed: &Untimed) -> Result<(), WireError> {
    check_batch(&untimed.batch)?;
    let flagged = |b: &Block| b.flags.late || b.flags.suspect;
    if untimed.batch.blocks.iter().any(flagged) {
        return Err(WireError::field(
            "flags",
            "late or suspect",
            "none on untimed readings",
        ));
    }
    Ok(())
}

/// Returns the latest of a block's times.
fn check_times(times: &Times) -> Result<EventTime, WireError> {
    match times {
        Times::Regular {
            start,
            period_us,
            n,
        } => {
            if !(0..=PERIOD_US_MAX).contains(period_us) || (*period_us == 0 && *n > 1) {
                return Err(WireError::field(
                    "period",
                    format!("{period_us} us"),
                    "above 0 (0 for a single row) and at most 366 days",
                ));
            }
            time("event time", start.0)?;
            let last = times.at(*n as usize - 1);
            time("event time", last.0)?;
            Ok(last)
        }
        Times::Listed(listed) => {
            let mut latest = EventTime::MIN;
            for t in listed {
                time("event time", t.0)?;
                latest = latest.max(*t);
            }
            Ok(latest)
        }
    }
}

/// A float that is not finite has a quality that does not count.
fn check_floats(block: &Block, raw: &[i64]) -> Result<(), WireError> {
    let rows = block.times.len();
    for (index, column) in block.columns.iter().enumerate() {
        if !column.float {
            continue;
        }
        for row in 0..rows {
            if f64::from_bits(raw[column.at as usize + row] as u64).is_finite() {
                continue;
            }
            // marks ascend by (column, row)
            let marked = block
                .quality
                .binary_search_by_key(&(index, row), |q| (usize::from(q.column), q.row as usize))
                .is_ok_and(|at| !block.quality[at].quality.counts());
            if !marked {
                return Err(WireError::field(
                    "value",
                    format!("channel {}, row {row}: not finite", column.channel.0),
                    "a quality that does not count where a value is not finite",
                ));
            }
        }
    }
    Ok(())
}

fn check_open(record: &Record, open: &Open) -> Result<(), WireError> {
    time_or_none("not_before", open.not_before)?;
    limit("agent_version", open.agent_version.len(), TEXT_BYTES_MAX)?;
    let Some(before) = &open.predecessor else {
        return Ok(());
    };
    if before.epoch == record.header.id.epoch {
        return Err(WireError::field(
            "predecessor",
            before.epoch,
            "another epoch than the record's own",
        ));
    }
    if let Some(last) = before.last_seq {
        seq("predecessor_last_seq", last.0)?;
    }
    if let Some(ceiling) = before.ceiling {
        time_or_none("predecessor_ceiling", ceiling)?;
    }
    Ok(())
}

fn check_gap(record: &Record, gap: &Gap) -> Result<(), WireError> {
    limit("Gap, in ranges", gap.ranges.len(), GAP_RANGES_MAX)?;
    if gap.ranges.is_empty() {
        return Err(WireError::field("ranges", 0, "at least one"));
    }
    let mut last = 0;
    for range in &gap.ranges {
        seq("ranges.first", range.seqs.first.0)?;
        seq("ranges.last", range.seqs.last.0)?;
        if range.seqs.first.0 <= last || range.seqs.last < range.seqs.first {
            return Err(WireError::field(
                "ranges",
                range.seqs,
                "ranges in order, apart from each other",
            ));
        }
        last = range.seqs.last.0;
        check_gap_range(range)?;
    }
    if gap.epoch == record.header.id.epoch && last >= record.header.id.seq.0 {
        return Err(WireError::field(
            "ranges",
            last,
            "seqs before the record that declares them lost",
        ));
    }
    Ok(())
}

fn check_gap_range(range: &GapRange) -> Result<(), WireError> {
    if let Some((earliest, latest)) = range.bounds {
        time("ranges.earliest", earliest.0)?;
        time("ranges.latest", latest.0)?;
        if latest < earliest {
            return Err(WireError::field(
                "ranges.latest",
                latest.0,
                "not before ranges.earliest",
            ));
        }
    }
    if let Some((ceiling, frontier)) = range.end {
        time_or_none("ranges.end_ceiling", ceiling)?;
        time_or_none("ranges.end_frontier", frontier)?;
    }
    Ok(())
}

fn check_seal(record: &Record, seal: &Seal) -> Result<(), WireError> {
    limit("signature", seal.signature.len(), TEXT_BYTES_MAX)?;
    if seal.upto.0 + 1 != record.header.id.seq.0 {
        return Err(WireError::field(
            "upto",
            seal.upto,
            "the seq before the Seal's own",
        ));
    }
    if seal.head != record.header.prev_head {
        return Err(WireError::field(
            "head",
            "another",
            "the chain head that the record carries as prev_head",
        ));
    }
    Ok(())
}
