//! Records and their Protobuf messages.
//!
//! Invariant: times are written relative to the frontier with wrapping arithmetic, so that "none" and every extreme come
//! back; what is out of range is refused by [`super::check`], after the conversion.

use std::cell::RefCell;

use prost::Message;

use super::{
    COLUMNS_BYTES_MAX, GAP_RANGES_MAX, RECORD_BYTES_MAX, VERSION, WireError, check, columns, limit,
};
use crate::catalogue::{CatalogueHash, Class, RateGroup};
use crate::id::{BootId, Epoch, RecordId, Seq, SeqRange, TurbineId};
use crate::proto;
use crate::record::{
    Batch, Body, Gap, GapRange, Head, Header, LossReason, Open, Predecessor, Record, Seal, Stamps,
    Untimed,
};
use crate::time::{EventTime, WallTime};

/// The compressor's level: higher ones cost more and gain little on packed columns.
const ZSTD_LEVEL: i32 = 3;
/// Columns shorter than this never shrink.
const ZSTD_BYTES_MIN: usize = 96;

/// What the times of an untimed batch are written against: they count from a boot, not from a frontier.
const UNTIMED_BASE: EventTime = EventTime(0);

thread_local! {
    // Working memory only (instead of making it anew for each record): results do not depend on it.
    static ZSTD: RefCell<Zstd> = RefCell::new(Zstd::default());
}

#[derive(Default)]
struct Zstd {
    compressor: Option<zstd::bulk::Compressor<'static>>,
    decompressor: Option<zstd::bulk::Decompressor<'static>>,
}

/// A record's bytes. Deterministic for one version of this code; the gateway calls it once for a record.
///
/// It writes what it is given, so that tests can make records that [`check`] refuses; the caller compares the length with
/// [`RECORD_BYTES_MAX`].
///
/// # Panics
/// When a batch breaks the layout that [`crate::record::Block`] describes: a bug of the caller.
pub fn encode(record: &Record) -> Vec<u8> {
    let Header {
        id,
        stamps,
        committed_at,
        prev_head,
    } = &record.header;
    let frontier = stamps.frontier.0;
    let relative = |t: EventTime| (t != EventTime::MIN).then(|| frontier.wrapping_sub(t.0));
    proto::Record {
        version: VERSION,
        turbine: id.turbine.to_string(),
        epoch: id.epoch.0.to_vec(),
        seq: id.seq.0,
        frontier,
        ceiling: relative(stamps.ceiling),
        prev_ceiling: relative(stamps.prev_ceiling),
        committed_at: committed_at.0.wrapping_sub(frontier),
        prev_head: head_bytes(prev_head),
        body: Some(match &record.body {
            Body::Batch(batch) => proto::record::Body::Batch(batch_message(batch, stamps.frontier)),
            Body::Open(open) => proto::record::Body::Open(open_message(open)),
            Body::Gap(gap) => proto::record::Body::Gap(gap_message(gap)),
            Body::Seal(seal) => proto::record::Body::Seal(proto::Seal {
                upto: seal.upto.0,
                head: head_bytes(&seal.head),
                signature: seal.signature.clone(),
                signature_algorithm: String::new(),
            }),
            Body::Untimed(untimed) => proto::record::Body::Untimed(proto::Untimed {
                boot: untimed.boot.0.to_vec(),
                batch: Some(batch_message(&untimed.batch, UNTIMED_BASE)),
            }),
        }),
    }
    .encode_to_vec()
}

/// Decodes and checks everything that can be checked without history or catalogue.
pub fn decode(bytes: &[u8]) -> Result<Record, WireError> {
    limit("record, in bytes", bytes.len(), RECORD_BYTES_MAX)?;
    let message = proto::Record::decode(bytes);
    // a later version may not even parse: say "version" where the first field says so
    let version = match (&message, bytes) {
        (Ok(message), _) => message.version,
        (Err(_), [0x08, version, ..]) if *version < 0x80 => u32::from(*version),
        (Err(_), _) => VERSION,
    };
    if version != VERSION {
        return Err(WireError::Version {
            found: version,
            expected: VERSION,
        });
    }
    let message = message.map_err(|e| WireError::malformed("record", e.to_string()))?;
    let record = record_of(message)?;
    check(&record)?;
    Ok(record)
}

fn record_of(message: proto::Record) -> Result<Record, WireError> {
    let frontier = message.frontier;
    let absolute =
        |r: Option<i64>| r.map_or(EventTime::MIN, |r| EventTime(frontier.wrapping_sub(r)));
    let header = Header {
        id: RecordId {
            turbine: turbine_of(&message.turbine)?,
            epoch: epoch_of("epoch", &message.epoch)?,
            seq: Seq(message.seq),
        },
        stamps: Stamps {
            ceiling: absolute(message.ceiling),
            prev_ceiling: absolute(message.prev_ceiling),
            frontier: EventTime(frontier),
        },
        committed_at: WallTime(frontier.wrapping_add(message.committed_at)),
        prev_head: head_of("prev_head", &message.prev_head)?,
    };
    let body = match message.body {
        Some(proto::record::Body::Batch(batch)) => {
            Body::Batch(batch_of(&batch, header.stamps.frontier)?)
        }
        Some(proto::record::Body::Open(open)) => Body::Open(open_of(open)?),
        Some(proto::record::Body::Gap(gap)) => Body::Gap(gap_of(&gap)?),
        Some(proto::record::Body::Seal(seal)) => Body::Seal(Seal {
            upto: Seq(seal.upto),
            head: head_of("head", &seal.head)?,
            signature: seal.signature,
        }),
        Some(proto::record::Body::Untimed(untimed)) => Body::Untimed(untimed_of(&untimed)?),
        None => {
            return Err(WireError::field(
                "body",
                "none that this version knows",
                "a Batch, Open, Gap, Seal or Untimed",
            ));
        }
    };
    Ok(Record { header, body })
}

pub(super) fn turbine_of(name: &str) -> Result<TurbineId, WireError> {
    TurbineId::new(name).map_err(|e| WireError::malformed("turbine", e.to_string()))
}

pub(super) fn epoch_of(field: &'static str, bytes: &[u8]) -> Result<Epoch, WireError> {
    bytes
        .try_into()
        .map(Epoch)
        .map_err(|_| WireError::field(field, format!("{} bytes", bytes.len()), "16 bytes"))
}

/// No head is written as no bytes.
fn head_bytes(head: &Head) -> Vec<u8> {
    if *head == Head::default() {
        Vec::new()
    } else {
        head.0.to_vec()
    }
}

fn head_of(field: &'static str, bytes: &[u8]) -> Result<Head, WireError> {
    if bytes.is_empty() {
        return Ok(Head::default());
    }
    bytes
        .try_into()
        .map(Head)
        .map_err(|_| WireError::field(field, format!("{} bytes", bytes.len()), "32 bytes, or none"))
}

fn batch_message(batch: &Batch, frontier: EventTime) -> proto::Batch {
    let plain = columns::encode(batch, frontier);
    let plain_len = plain.len();
    let (codec, plain_len, columns) = match compress(&plain) {
        Some(shorter) => (proto::Codec::Zstd, plain_len as u32, shorter),
        None => (proto::Codec::Plain, 0, plain),
    };
    proto::Batch {
        catalogue: batch.catalogue.0,
        class: class_message(batch.class).into(),
        rate_group: match batch.rate_group {
            RateGroup::Fast => proto::RateGroup::Fast,
            RateGroup::Slow => proto::RateGroup::Slow,
            RateGroup::Event => proto::RateGroup::Event,
        }
        .into(),
        readings: batch.raw.len() as u32,
        codec: codec.into(),
        plain_len,
        columns,
    }
}

/// Compressed bytes, where they are shorter.
fn compress(plain: &[u8]) -> Option<Vec<u8>> {
    if plain.len() < ZSTD_BYTES_MIN {
        return None;
    }
    ZSTD.with_borrow_mut(|zstd| {
        if zstd.compressor.is_none() {
            zstd.compressor = compressor();
        }
        let shorter = zstd.compressor.as_mut()?.compress(plain).ok()?;
        (shorter.len() + 4 < plain.len()).then_some(shorter)
    })
}

/// Without checksum and length: the record's hash and `plain_len` say them.
fn compressor() -> Option<zstd::bulk::Compressor<'static>> {
    let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL).ok()?;
    compressor.include_checksum(false).ok()?;
    compressor.include_dictid(false).ok()?;
    compressor.include_contentsize(false).ok()?;
    Some(compressor)
}

fn decompress(bytes: &[u8], plain_len: usize) -> Result<Vec<u8>, WireError> {
    let fault = |e: std::io::Error| WireError::malformed("compressed columns", e.to_string());
    ZSTD.with_borrow_mut(|zstd| {
        let decompressor = match &mut zstd.decompressor {
            Some(d) => d,
            none => none.insert(zstd::bulk::Decompressor::new().map_err(fault)?),
        };
        decompressor.decompress(bytes, plain_len).map_err(fault)
    })
}

fn batch_of(message: &proto::Batch, frontier: EventTime) -> Result<Batch, WireError> {
    let readings = message.readings as usize;
    let plain;
    let columns = match message.codec() {
        _ if message.codec == proto::Codec::Plain as i32 => &message.columns[..],
        proto::Codec::Zstd => {
            let expected = message.plain_len as usize;
            limit(
                "batch, in bytes before compression",
                expected,
                COLUMNS_BYTES_MAX,
            )?;
            plain = decompress(&message.columns, expected)?;
            if plain.len() != expected {
                return Err(WireError::field(
                    "plain_len",
                    expected,
                    "the length of the columns before compression",
                ));
            }
            &plain[..]
        }
        proto::Codec::Plain => {
            return Err(WireError::field("codec", message.codec, "PLAIN or ZSTD"));
        }
    };
    let (blocks, raw) = columns::decode(columns, frontier, readings)?;
    Ok(Batch {
        catalogue: CatalogueHash(message.catalogue),
        class: class_of(message.class)?,
        rate_group: match proto::RateGroup::try_from(message.rate_group) {
            Ok(proto::RateGroup::Fast) => RateGroup::Fast,
            Ok(proto::RateGroup::Slow) => RateGroup::Slow,
            Ok(proto::RateGroup::Event) => RateGroup::Event,
            Ok(proto::RateGroup::Unspecified) | Err(_) => {
                return Err(WireError::field(
                    "rate_group",
                    message.rate_group,
                    "FAST, SLOW or EVENT",
                ));
            }
        },
        blocks,
        raw,
    })
}

fn untimed_of(message: &proto::Untimed) -> Result<Untimed, WireError> {
    let Some(batch) = &message.batch else {
        return Err(WireError::field("untimed batch", "none", "a Batch"));
    };
    Ok(Untimed {
        boot: BootId(epoch_of("boot", &message.boot)?.0),
        batch: batch_of(batch, UNTIMED_BASE)?,
    })
}

fn class_message(class: Class) -> proto::Class {
    match class {
        Class::Compliance => proto::Class::Compliance,
        Class::Condition => proto::Class::Condition,
        Class::Diagnostic => proto::Class::Diagnostic,
    }
}

fn class_of(class: i32) -> Result<Class, WireError> {
    match proto::Class::try_from(class) {
        Ok(proto::Class::Compliance) => Ok(Class::Compliance),
        Ok(proto::Class::Condition) => Ok(Class::Condition),
        Ok(proto::Class::Diagnostic) => Ok(Class::Diagnostic),
        Ok(proto::Class::Unspecified) | Err(_) => Err(WireError::field(
            "class",
            class,
            "COMPLIANCE, CONDITION or DIAGNOSTIC",
        )),
    }
}

/// A time as a field that is absent where there is none.
fn some_time(t: EventTime) -> Option<i64> {
    (t != EventTime::MIN).then_some(t.0)
}

fn open_message(open: &Open) -> proto::Open {
    let before = open.predecessor.as_ref();
    let ceiling = before.and_then(|p| p.ceiling);
    proto::Open {
        predecessor: before.map_or_else(Vec::new, |p| p.epoch.0.to_vec()),
        predecessor_last_seq: before.and_then(|p| p.last_seq).map_or(0, |s| s.0),
        predecessor_ceiling: ceiling.and_then(some_time),
        predecessor_head: before.map_or_else(Vec::new, |p| head_bytes(&p.head)),
        oldest_held: open.oldest_held.0.to_vec(),
        not_before: some_time(open.not_before),
        agent_version: open.agent_version.clone(),
        predecessor_ceiling_known: ceiling.is_some(),
    }
}

fn open_of(message: proto::Open) -> Result<Open, WireError> {
    let predecessor = if message.predecessor.is_empty() {
        None
    } else {
        Some(Predecessor {
            epoch: epoch_of("predecessor", &message.predecessor)?,
            last_seq: (message.predecessor_last_seq != 0)
                .then_some(Seq(message.predecessor_last_seq)),
            ceiling: message.predecessor_ceiling_known.then_some(
                message
                    .predecessor_ceiling
                    .map_or(EventTime::MIN, EventTime),
            ),
            head: head_of("predecessor_head", &message.predecessor_head)?,
        })
    };
    Ok(Open {
        predecessor,
        oldest_held: epoch_of("oldest_held", &message.oldest_held)?,
        not_before: message.not_before.map_or(EventTime::MIN, EventTime),
        agent_version: message.agent_version,
    })
}

fn gap_message(gap: &Gap) -> proto::Gap {
    proto::Gap {
        epoch: gap.epoch.0.to_vec(),
        class: class_message(gap.class).into(),
        reason: match gap.reason {
            LossReason::Evicted => proto::LossReason::Evicted,
            LossReason::Corrupt => proto::LossReason::Corrupt,
            LossReason::NeverHeld => proto::LossReason::NeverHeld,
            LossReason::Refused => proto::LossReason::Refused,
            LossReason::Untimed => proto::LossReason::Untimed,
        }
        .into(),
        ranges: gap
            .ranges
            .iter()
            .map(|range| proto::GapRange {
                first: range.seqs.first.0,
                last: range.seqs.last.0,
                readings: range.readings.unwrap_or(0),
                readings_unknown: range.readings.is_none(),
                earliest: range.bounds.map(|(earliest, _)| earliest.0),
                latest: range.bounds.map(|(_, latest)| latest.0),
                end_ceiling: range.end.and_then(|(ceiling, _)| some_time(ceiling)),
                end_frontier: range.end.and_then(|(_, frontier)| some_time(frontier)),
                end_known: range.end.is_some(),
                head_before: range.heads.map_or_else(Vec::new, |(b, _)| b.0.to_vec()),
                head_after: range.heads.map_or_else(Vec::new, |(_, a)| a.0.to_vec()),
            })
            .collect(),
    }
}

fn gap_of(message: &proto::Gap) -> Result<Gap, WireError> {
    limit("Gap, in ranges", message.ranges.len(), GAP_RANGES_MAX)?;
    Ok(Gap {
        epoch: epoch_of("gap epoch", &message.epoch)?,
        class: class_of(message.class)?,
        reason: match proto::LossReason::try_from(message.reason) {
            Ok(proto::LossReason::Evicted) => LossReason::Evicted,
            Ok(proto::LossReason::Corrupt) => LossReason::Corrupt,
            Ok(proto::LossReason::NeverHeld) => LossReason::NeverHeld,
            Ok(proto::LossReason::Refused) => LossReason::Refused,
            Ok(proto::LossReason::Untimed) => LossReason::Untimed,
            Ok(proto::LossReason::LossUnspecified) | Err(_) => {
                return Err(WireError::field(
                    "reason",
                    message.reason,
                    "EVICTED, CORRUPT, NEVER_HELD, REFUSED or UNTIMED",
                ));
            }
        },
        ranges: message
            .ranges
            .iter()
            .map(gap_range_of)
            .collect::<Result<_, _>>()?,
    })
}

fn gap_range_of(message: &proto::GapRange) -> Result<GapRange, WireError> {
    let seqs = SeqRange::new(message.first, message.last).ok_or_else(|| {
        WireError::field(
            "ranges",
            format!("{}-{}", message.first, message.last),
            "first at least 1 and at most last",
        )
    })?;
    let heads = if message.head_before.is_empty() && message.head_after.is_empty() {
        None
    } else {
        let known = |field, bytes: &[u8]| {
            bytes
                .try_into()
                .map(Head)
                .map_err(|_| WireError::field(field, format!("{} bytes", bytes.len()), "32 bytes"))
        };
        Some((
            known("ranges.head_before", &message.head_before)?,
            known("ranges.head_after", &message.head_after)?,
        ))
    };
    let bounds = match (message.earliest, message.latest) {
        (Some(earliest), Some(latest)) => Some((EventTime(earliest), EventTime(latest))),
        (None, None) => None,
        _ => {
            return Err(WireError::field(
                "ranges.earliest, ranges.latest",
                "one of them",
                "both or none",
            ));
        }
    };
    let or_none = |t: Option<i64>| t.map_or(EventTime::MIN, EventTime);
    Ok(GapRange {
        seqs,
        readings: (!message.readings_unknown).then_some(message.readings),
        bounds,
        end: message
            .end_known
            .then_some((or_none(message.end_ceiling), or_none(message.end_frontier))),
        heads,
    })
}
