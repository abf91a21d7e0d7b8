//! A row of the table `record` and the core's view of it.

use rusqlite::types::Type;
use rusqlite::{Error, Row};
use windlass_edge_core::{RowClass, RowKind, RowLevel, RowMeta};
use windlass_shared::catalogue::{Class, RateGroup};
use windlass_shared::id::{Epoch, RecordId, Seq, TurbineId};
use windlass_shared::record::Head;
use windlass_shared::time::{EventTime, WallTime};

/// Bits of an id that are the seq.
const SEQ_BITS: u32 = 40;
/// Columns of a row without its bytes, in the order that [`meta`] reads.
pub(super) const META: &str = "id, level, kind, readings, first, last, ceiling, frontier, committed_at, prev_head, head, length(bytes)";

/// The id of a row. A seq beyond 40 bits does not happen: at a record a millisecond that is 35 years of one epoch.
pub(super) fn id(key: i64, seq: Seq) -> i64 {
    (key << SEQ_BITS) | (seq.0.min((1 << SEQ_BITS) - 1) as i64)
}

/// The ids of an epoch.
pub(super) fn ids(key: i64) -> (i64, i64) {
    (key << SEQ_BITS, ((key + 1) << SEQ_BITS) - 1)
}

pub(super) fn key_of(id: i64) -> i64 {
    id >> SEQ_BITS
}

pub(super) fn seq_of(id: i64) -> Seq {
    Seq((id & ((1 << SEQ_BITS) - 1)) as u64)
}

pub(super) fn level_code(level: RowLevel) -> i64 {
    9 + level as i64
}

pub(super) fn level_of(code: i64) -> Option<RowLevel> {
    RowLevel::ALL.into_iter().find(|l| level_code(*l) == code)
}

pub(super) fn kind_code(kind: RowKind) -> i64 {
    match kind {
        RowKind::Open => 0,
        RowKind::Gap => 1,
        RowKind::Seal => 2,
        RowKind::Batch(class, group) => 10 + 4 * class as i64 + group as i64,
    }
}

pub(super) fn kind_of(code: i64) -> Option<RowKind> {
    let classes = [Class::Compliance, Class::Condition, Class::Diagnostic];
    let groups = [RateGroup::Fast, RateGroup::Slow, RateGroup::Event];
    match code {
        0 => Some(RowKind::Open),
        1 => Some(RowKind::Gap),
        2 => Some(RowKind::Seal),
        10.. => {
            let (class, group) = ((code - 10) / 4, (code - 10) % 4);
            Some(RowKind::Batch(
                *classes.get(usize::try_from(class).ok()?)?,
                *groups.get(usize::try_from(group).ok()?)?,
            ))
        }
        _ => None,
    }
}

/// The kinds of a class: a range of codes.
pub(super) fn kinds_of(class: RowClass) -> (i64, i64) {
    let of = |class: Class| (10 + 4 * class as i64, 13 + 4 * class as i64);
    match class {
        RowClass::Mark => (0, 9),
        RowClass::Compliance => of(Class::Compliance),
        RowClass::Condition => of(Class::Condition),
        RowClass::Diagnostic => of(Class::Diagnostic),
    }
}

pub(super) fn some_time(t: EventTime) -> Option<i64> {
    (t != EventTime::MIN).then_some(t.0)
}

fn garbled(column: usize) -> Error {
    let what = "not a value that the outbox writes";
    Error::FromSqlConversionFailure(column, Type::Integer, what.into())
}

fn head(row: &Row<'_>, column: usize) -> rusqlite::Result<Head> {
    Ok(Head(row.get(column)?))
}

/// Reads the columns of [`META`].
pub(super) fn meta(
    row: &Row<'_>,
    turbine: &TurbineId,
    epoch: Epoch,
) -> rusqlite::Result<(RowMeta, RowLevel)> {
    let time = |column| -> rusqlite::Result<EventTime> {
        let t: Option<i64> = row.get(column)?;
        Ok(t.map_or(EventTime::MIN, EventTime))
    };
    let bound = |column| -> rusqlite::Result<Option<EventTime>> {
        Ok(row.get::<_, Option<i64>>(column)?.map(EventTime))
    };
    let meta = RowMeta {
        id: RecordId {
            turbine: turbine.clone(),
            epoch,
            seq: seq_of(row.get(0)?),
        },
        kind: kind_of(row.get(2)?).ok_or_else(|| garbled(2))?,
        readings: row.get::<_, i64>(3)? as u64,
        bounds: bound(4)?.zip(bound(5)?),
        ceiling: time(6)?,
        frontier: time(7)?,
        committed_at: WallTime(row.get(8)?),
        prev_head: head(row, 9)?,
        head: head(row, 10)?,
        bytes: row.get::<_, i64>(11)? as u64,
    };
    let level = level_of(row.get(1)?).ok_or_else(|| garbled(1))?;
    Ok((meta, level))
}
