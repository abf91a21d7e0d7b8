//! Dead letters of the task: bytes that did not count, with the position that they stand at in the log.

use windlass_shared::id::{GatewayId, TurbineId};
use windlass_shared::record::{Record, RecordHash};
use windlass_shared::time::LogTime;
use windlass_shared::wire;

use super::turbine::Moment;
use super::{LogInput, TaskOutput};
use crate::ingest::readings_of;
use crate::output::{DeadLetter, DeadLetterMeta, LogicChange, Reason, hex};
use crate::topic::Topic;

/// Bytes of a detail text.
const DETAIL_CHARS_MAX: usize = 500;

/// An entry of the log that cannot be taken as a record.
pub(super) fn entry(
    input: &LogInput,
    now: LogTime,
    gateway: Option<&GatewayId>,
    reason: Reason,
    detail: String,
    bytes: &[u8],
) -> TaskOutput {
    let meta = DeadLetterMeta {
        stage: "task".to_owned(),
        reason,
        detail,
        gateway: gateway.cloned(),
        turbine: TurbineId::new(input.key).ok(),
        epoch: None,
        seq: None,
        readings: None,
        sha256: hex(&wire::hash(bytes).0),
        mqtt_topic: None,
        position: Some(input.offset),
        log_time: Some(now),
    };
    output(input.key.to_owned(), meta, bytes)
}

/// A record that does not count.
pub(super) fn record(
    moment: &Moment,
    gateway: &GatewayId,
    record: &Record,
    hash: &RecordHash,
    reason: Reason,
    detail: String,
    bytes: &[u8],
) -> TaskOutput {
    let id = &record.header.id;
    let meta = DeadLetterMeta {
        stage: "task".to_owned(),
        reason,
        detail,
        gateway: Some(gateway.clone()),
        turbine: Some(id.turbine.clone()),
        epoch: Some(id.epoch),
        seq: Some(id.seq),
        readings: Some(readings_of(record)),
        sha256: hex(&hash.0),
        mqtt_topic: None,
        position: Some(moment.offset),
        log_time: Some(moment.now),
    };
    output(id.turbine.to_string(), meta, bytes)
}

/// Another version of the logic has taken over.
pub(super) fn logic(change: &LogicChange, now: LogTime) -> TaskOutput {
    let bytes = change.encode();
    let meta = DeadLetterMeta {
        stage: "task".to_owned(),
        reason: Reason::Logic,
        detail: format!(
            "logic version {} takes over from version {} at position {}: results before it stay as they are",
            change.to, change.from, change.position
        ),
        gateway: None,
        turbine: None,
        epoch: None,
        seq: None,
        readings: None,
        sha256: hex(&wire::hash(&bytes).0),
        mqtt_topic: None,
        position: Some(change.position),
        log_time: (now != LogTime::MIN).then_some(now),
    };
    output(String::new(), meta, &bytes)
}

fn output(key: String, mut meta: DeadLetterMeta, bytes: &[u8]) -> TaskOutput {
    if let Some((cut, _)) = meta.detail.char_indices().nth(DETAIL_CHARS_MAX) {
        meta.detail.truncate(cut);
    }
    let bytes = bytes.to_vec();
    TaskOutput {
        topic: Topic::DeadLetter,
        key,
        bytes: DeadLetter { meta, bytes }.encode(),
    }
}
