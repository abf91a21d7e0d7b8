//! Whether a record counts: the checks that need history, the same for the partition task and for the lake.
//!
//! Invariants: a record that does not count leaves its stamps nowhere; a refused seq becomes lost, not a hole; whoever
//! applies the same entries to an empty history admits the same records.

use windlass_shared::catalogue::{Catalogue, CatalogueHash};
use windlass_shared::coverage::{Coverage, Receipt};
use windlass_shared::record::{Body, Record, RecordHash};
use windlass_shared::time::{EventTime, LogTime, WallTime};

use crate::fleet::Fleet;
use crate::output::Reason;

/// What became of a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Admission {
    /// It counts, for the first time.
    Counts,
    /// It came before, with the same bytes.
    Duplicate,
    /// It does not count, and its bytes are kept with this reason.
    Dead(Reason, String),
}

/// How far ahead stamps may be: log time, or the entry's own append time while a jump of it waits for confirmation,
/// plus `skew_max`.
pub fn stamps_max(now: LogTime, raw: WallTime, skew_max_us: i64) -> EventTime {
    EventTime(now.0.max(raw.0).saturating_add(skew_max_us))
}

/// Takes a decoded record into `coverage` if it may. `speaks` is the catalogue of the turbine so far, kept beside it.
pub fn admit(
    coverage: &mut Coverage,
    speaks: &mut Option<CatalogueHash>,
    fleet: &Fleet,
    record: &Record,
    hash: &RecordHash,
    stamps_max: EventTime,
) -> Admission {
    let id = &record.header.id;
    let newer = match check_history(*speaks, fleet, record, stamps_max) {
        Ok(newer) => newer,
        Err((reason, detail)) => {
            coverage.refuse(id.epoch, id.seq);
            return Admission::Dead(reason, detail);
        }
    };
    match coverage.receive(record, hash) {
        Receipt::New => {
            if newer.is_some() {
                *speaks = newer;
            }
            Admission::Counts
        }
        Receipt::Duplicate => Admission::Duplicate,
        Receipt::DuplicateUnverified => Admission::Dead(
            Reason::Unverified,
            "this seq was received before, too long ago to compare the bytes in memory".to_owned(),
        ),
        Receipt::Conflict => Admission::Dead(
            Reason::Conflict,
            "this seq was received before with other bytes".to_owned(),
        ),
        Receipt::Quarantined => Admission::Dead(
            Reason::Quarantined,
            "the epoch holds a seq that came with two contents".to_owned(),
        ),
        Receipt::Refused(detail) => Admission::Dead(Reason::Stamps, detail),
    }
}

/// The catalogue to go on with when the record brings a newer one.
fn check_history(
    speaks: Option<CatalogueHash>,
    fleet: &Fleet,
    record: &Record,
    stamps_max: EventTime,
) -> Result<Option<CatalogueHash>, (Reason, String)> {
    let (what, at) = furthest(record);
    if at > stamps_max {
        let ahead_s = at.0.saturating_sub(stamps_max.0) / 1_000_000;
        return Err((
            Reason::Skew,
            format!(
                "{what} is {} us, {ahead_s} s beyond what the log's time allows",
                at.0
            ),
        ));
    }
    let Body::Batch(batch) = &record.body else {
        return Ok(None);
    };
    if speaks == Some(batch.catalogue) {
        return Ok(None);
    }
    let Some(new) = fleet.catalogue(batch.catalogue) else {
        return Err((
            Reason::Catalogue,
            format!("catalogue {:016x} is not known", batch.catalogue.0),
        ));
    };
    let Some(old) = speaks.and_then(|hash| fleet.catalogue(hash)) else {
        return Ok(Some(batch.catalogue));
    };
    if extends(new, old) {
        Ok(Some(new.hash))
    } else if extends(old, new) {
        Ok(None)
    } else {
        Err((
            Reason::Incompatible,
            format!(
                "the turbine speaks {} version {}, the record {} version {}, and neither only adds channels to the other",
                old.name, old.version, new.name, new.version
            ),
        ))
    }
}

/// Does `new` only add channels behind those of `old`?
fn extends(new: &Catalogue, old: &Catalogue) -> bool {
    new.name == old.name
        && new
            .channels
            .get(..old.channels.len())
            .is_some_and(|head| head == old.channels)
}

/// The stamp of a record that lies furthest ahead, with its name.
fn furthest(record: &Record) -> (&'static str, EventTime) {
    let stamps = &record.header.stamps;
    let mut furthest = ("ceiling", stamps.ceiling);
    let mut see = |what, at| {
        if at > furthest.1 {
            furthest = (what, at);
        }
    };
    see("frontier", stamps.frontier);
    match &record.body {
        Body::Open(open) => {
            see("not_before", open.not_before);
            if let Some(at) = open.predecessor.as_ref().and_then(|p| p.ceiling) {
                see("the predecessor's ceiling", at);
            }
        }
        Body::Gap(gap) => {
            for (ceiling, frontier) in gap.ranges.iter().filter_map(|r| r.end) {
                see("a lost record's ceiling", ceiling);
                see("a lost record's frontier", frontier);
            }
        }
        Body::Batch(_) | Body::Seal(_) | Body::Untimed(_) => {}
    }
    furthest
}
