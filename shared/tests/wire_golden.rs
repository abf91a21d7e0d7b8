//! Golden bytes: version 1 of the wire format, as the first release wrote it. A change that fails here needs a new version,
//! because records of version 1 lie in outboxes and lakes.
//!
//! `golden/*.hex` are read by other implementations too: `docs/protocol.md` says what each holds.

#![allow(clippy::unwrap_used)] // a test may; the lint only knows the functions marked as tests

use std::path::Path;

use windlass_shared::catalogue::{CatalogueHash, Class, RateGroup};
use windlass_shared::id::{
    BootId, ChannelId, Epoch, GatewayId, RecordId, Seq, SeqRange, TurbineId,
};
use windlass_shared::record::{
    Batch, Block, Body, Column, Flags, Gap, GapRange, Head, Header, LossReason, Open, Predecessor,
    Quality, QualityMark, Record, RecordHash, Seal, Stamps, Times, Untimed,
};
use windlass_shared::time::{EventTime, LogTime, WallTime};
use windlass_shared::wire::{self, check, decode, encode};

/// 2026-06-01T00:00:00Z.
const T: i64 = 1_780_272_000_000_000;
const S: i64 = 1_000_000;

fn golden(name: &str, found: &[u8]) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.hex"));
    let hex = |bytes: &[u8]| -> String {
        bytes
            .chunks(32)
            .map(|line| {
                line.iter()
                    .fold(String::new(), |s, b| format!("{s}{b:02x}"))
                    + "\n"
            })
            .collect()
    };
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(hex(found), text, "{} differs", path.display());
    let digits: String = text.split_whitespace().collect();
    (0..digits.len() / 2)
        .map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

fn epoch(first: u8) -> Epoch {
    let mut bytes = [0xa5; 16];
    bytes[0] = first;
    Epoch(bytes)
}

fn head(fill: u8) -> Head {
    Head([fill; 32])
}

fn record(seq: u64, stamps: (Option<i64>, Option<i64>, i64), body: Body) -> Record {
    let time = |t: Option<i64>| t.map_or(EventTime::MIN, EventTime);
    Record {
        header: Header {
            id: RecordId {
                turbine: TurbineId::new("T042").unwrap(),
                epoch: epoch(1),
                seq: Seq(seq),
            },
            stamps: Stamps {
                prev_ceiling: time(stamps.0),
                ceiling: time(stamps.1),
                frontier: EventTime(stamps.2),
            },
            committed_at: WallTime(T + 12 * S + 34_567),
            prev_head: if seq == 1 {
                Head::default()
            } else {
                head(0x11)
            },
        },
        body,
    }
}

/// Blocks from (flags, times, columns of (channel, float, values), quality marks).
type Part = (
    Flags,
    Times,
    Vec<(u16, bool, Vec<i64>)>,
    Vec<(u16, u32, Quality)>,
);

fn batch(class: Class, rate_group: RateGroup, parts: Vec<Part>) -> Body {
    let mut raw = Vec::new();
    let mut blocks = Vec::new();
    for (flags, times, columns, marks) in parts {
        blocks.push(Block {
            flags,
            times,
            columns: columns
                .into_iter()
                .map(|(channel, float, values)| {
                    let at = raw.len() as u32;
                    raw.extend(values);
                    Column {
                        channel: ChannelId(channel),
                        float,
                        at,
                    }
                })
                .collect(),
            quality: marks
                .into_iter()
                .map(|(column, row, quality)| QualityMark {
                    column,
                    row,
                    quality,
                })
                .collect(),
        });
    }
    Body::Batch(Batch {
        catalogue: CatalogueHash(0x0123_4567_89ab_cdef),
        class,
        rate_group,
        blocks,
        raw,
    })
}

fn regular(start: i64, n: u32) -> Times {
    Times::Regular {
        start: EventTime(start),
        period_us: S,
        n,
    }
}

fn bits(values: &[f64]) -> Vec<i64> {
    values.iter().map(|v| v.to_bits() as i64).collect()
}

fn pinned(name: &str, record: &Record) {
    assert_eq!(check(record), Ok(()), "{name}");
    let bytes = golden(name, &encode(record));
    assert_eq!(decode(&bytes).as_ref(), Ok(record), "{name}");
}

#[test]
fn open() {
    let first = Open {
        predecessor: None,
        oldest_held: epoch(1),
        not_before: EventTime(T),
        agent_version: "0.1.0".into(),
    };
    pinned(
        "open_first",
        &record(1, (None, None, T), Body::Open(first.clone())),
    );
    let next = Open {
        predecessor: Some(Predecessor {
            epoch: epoch(9),
            last_seq: Some(Seq(77)),
            ceiling: Some(EventTime(T - S)),
            head: head(0x22),
        }),
        oldest_held: epoch(9),
        ..first.clone()
    };
    pinned("open_next", &record(1, (None, None, T), Body::Open(next)));
    let unknown = Open {
        predecessor: Some(Predecessor {
            epoch: epoch(9),
            last_seq: None,
            ceiling: Some(EventTime::MIN),
            head: Head::default(),
        }),
        not_before: EventTime::MIN,
        ..first
    };
    pinned(
        "open_promises_nothing",
        &record(1, (None, None, i64::MIN), Body::Open(unknown)),
    );
}

#[test]
fn batch_of_one_row() {
    let columns = vec![
        (1, false, vec![17_234]),
        (2, false, vec![-5]),
        (3, false, vec![0]),
        (9, false, vec![i64::MIN]),
    ];
    let body = batch(
        Class::Compliance,
        RateGroup::Fast,
        vec![(Flags::default(), regular(T + 11 * S, 1), columns, vec![])],
    );
    pinned(
        "batch_one_row",
        &record(2, (None, Some(T + 11 * S), T + 10 * S), body),
    );
}

#[test]
fn batch_of_every_mode() {
    let columns = vec![
        (20, false, vec![650; 5]),
        (21, false, vec![650, 652, 651, 650, 653]),
        (
            22,
            false,
            vec![1_000_000, 1_000_101, 1_000_200, 1_000_301, 1_000_400],
        ),
        (
            23,
            false,
            vec![1_000_000, 1_000_007, 1_000_000, 1_000_007, 1_000_000],
        ),
        (24, false, vec![i64::MIN, i64::MAX, 0, -1, 1]),
        (30, true, bits(&[73.967_322_07, 74.9, 74.5, 76.0, -1.25])),
        (
            31,
            true,
            bits(&[0.1 + 0.2, 1e300, -0.0, f64::NAN, f64::INFINITY]),
        ),
    ];
    let marks = vec![
        (0, 1, Quality::Uncertain),
        (1, 4, Quality::Bad),
        (6, 3, Quality::NotANumber),
        (6, 4, Quality::OutOfRange),
    ];
    let body = batch(
        Class::Condition,
        RateGroup::Slow,
        vec![(Flags::default(), regular(T, 5), columns, marks)],
    );
    pinned(
        "batch_every_mode",
        &record(3, (Some(T + 11 * S), Some(T + 11 * S), T + 10 * S), body),
    );
}

#[test]
fn batch_late_suspect_and_listed() {
    let listed = |times: &[i64]| Times::Listed(times.iter().map(|t| EventTime(*t)).collect());
    let late = Flags {
        late: true,
        suspect: false,
    };
    let suspect = Flags {
        late: false,
        suspect: true,
    };
    let body = batch(
        Class::Compliance,
        RateGroup::Event,
        vec![
            (
                late,
                listed(&[T - 3_300 * S, T - 3_299 * S - 1]),
                vec![(13, false, vec![101, 102])],
                vec![],
            ),
            (
                suspect,
                listed(&[T + 86_400 * S]),
                vec![(13, false, vec![103])],
                vec![],
            ),
            (
                Flags::default(),
                listed(&[T + 12 * S, T + 12 * S + 250_000]),
                vec![(13, false, vec![104, -104])],
                vec![],
            ),
        ],
    );
    pinned(
        "batch_late_suspect",
        &record(
            4,
            (Some(T + 11 * S), Some(T + 12 * S + 250_000), T + 12 * S),
            body,
        ),
    );
}

#[test]
fn batch_compressed() {
    let columns = (0..120u16)
        .map(|i| {
            (
                40 + i,
                false,
                (0..10).map(|j| 650 + i64::from(i % 3) * j).collect(),
            )
        })
        .collect();
    let body = batch(
        Class::Diagnostic,
        RateGroup::Slow,
        vec![(Flags::default(), regular(T, 10), columns, vec![])],
    );
    pinned(
        "batch_zstd",
        &record(5, (Some(T + 12 * S), Some(T + 12 * S), T + 12 * S), body),
    );
}

#[test]
fn gap() {
    let body = Body::Gap(Gap {
        epoch: epoch(9),
        class: Class::Condition,
        reason: LossReason::Evicted,
        ranges: vec![
            GapRange {
                seqs: SeqRange::new(5, 9).unwrap(),
                readings: Some(13_000),
                bounds: Some((EventTime(T - 60 * S), EventTime(T - 50 * S))),
                end: Some((EventTime(T - 50 * S), EventTime(T - 51 * S))),
                heads: Some((head(0x33), head(0x44))),
            },
            GapRange {
                seqs: SeqRange::new(12, 12).unwrap(),
                readings: None,
                bounds: None,
                end: None,
                heads: None,
            },
            GapRange {
                seqs: SeqRange::new(20, 21).unwrap(),
                readings: Some(0),
                bounds: None,
                end: Some((EventTime::MIN, EventTime::MIN)),
                heads: Some((Head::default(), head(0x55))),
            },
        ],
    });
    pinned("gap", &record(6, (Some(T), Some(T), T + S), body));
}

#[test]
fn seal() {
    let body = Body::Seal(Seal {
        upto: Seq(6),
        head: head(0x11),
        signature: vec![],
    });
    pinned("seal", &record(7, (Some(T), Some(T), T + S), body));
}

#[test]
fn untimed() {
    let columns = vec![(1, false, vec![17_234, 17_235]), (3, false, vec![0, -7])];
    let marks = vec![(1, 1, Quality::Bad)];
    let body = batch(
        Class::Compliance,
        RateGroup::Fast,
        vec![(Flags::default(), regular(40 * S, 2), columns, marks)],
    );
    let Body::Batch(batch) = body else {
        panic!("a batch")
    };
    let body = Body::Untimed(Untimed {
        boot: BootId([0x77; 16]),
        batch: batch.clone(),
    });
    pinned("untimed", &record(4, (Some(T), Some(T), T + S), body));
    // it stands for what it is wherever the frontier is, and has no flags
    let mut flagged = batch;
    flagged.blocks[0].flags.late = true;
    let body = Body::Untimed(Untimed {
        boot: BootId([0x77; 16]),
        batch: flagged,
    });
    let refused = check(&record(4, (Some(T), Some(T), T + S), body)).unwrap_err();
    assert!(refused.to_string().contains("field flags"), "{refused}");
}

#[test]
fn a_gap_for_what_has_no_time() {
    let body = Body::Gap(Gap {
        epoch: epoch(1),
        class: Class::Compliance,
        reason: LossReason::Untimed,
        ranges: vec![GapRange {
            seqs: SeqRange::new(2, 2).unwrap(),
            readings: Some(0),
            bounds: None,
            end: Some((EventTime(T + 600 * S), EventTime(T))),
            heads: None,
        }],
    });
    let later = Some(T + 600 * S);
    pinned("gap_untimed", &record(3, (later, later, T), body));
}

#[test]
fn downlink() {
    let turbine = TurbineId::new("T042").unwrap();
    let ranges = vec![SeqRange::new(1, 5).unwrap(), SeqRange::new(8, 8).unwrap()];
    let message = wire::Downlink {
        acks: vec![wire::Ack {
            turbine: turbine.clone(),
            epoch: epoch(1),
            ranges: ranges.clone(),
            level: wire::AckLevel::Safe,
            verdicts: vec![(Seq(3), "stamps".into())],
        }],
        resends: vec![wire::Resend {
            turbine: turbine.clone(),
            epoch: epoch(9),
            ranges,
        }],
        commands: vec![wire::Command::NewEpoch {
            turbine,
            instead_of: epoch(1),
            reason: "same seq, other bytes".into(),
        }],
    };
    let bytes = golden("downlink", &wire::encode_downlink(&message));
    assert_eq!(wire::decode_downlink(&bytes), Ok(message));
}

fn mark(action: wire::MarkAction) -> wire::Control {
    wire::Control::Mark(wire::Mark {
        turbine: TurbineId::new("T042").unwrap(),
        alert: "00112233445566778899aabbccddeeff".into(),
        by: "Kim".into(),
        note: "seen, \"crew\" is on its way".into(),
        action,
    })
}

#[test]
fn log_entries() {
    let gateway = GatewayId::new("GW01").unwrap();
    let bytes = golden(
        "logged_telemetry",
        &wire::encode_telemetry(&gateway, b"the bytes of a record"),
    );
    assert_eq!(
        wire::decode_logged(&bytes),
        Ok(wire::Logged::Telemetry {
            gateway: gateway.clone(),
            record: b"the bytes of a record".to_vec()
        })
    );
    let refused = wire::Refused {
        gateway,
        id: record(
            6,
            (None, None, T),
            batch(Class::Compliance, RateGroup::Fast, vec![]),
        )
        .header
        .id,
        reason: "stamps".into(),
        sha256: RecordHash([0x66; 32]),
    };
    for (name, control) in [
        ("logged_tick", wire::Control::Tick),
        ("logged_refused", wire::Control::Refused(refused)),
        (
            "logged_detectors",
            wire::Control::DetectorConfig {
                version: 3,
                toml: "[[band]]\n".into(),
            },
        ),
        ("logged_acknowledge", mark(wire::MarkAction::Acknowledge)),
        (
            "logged_shelve",
            mark(wire::MarkAction::Shelve { until: LogTime(T) }),
        ),
        ("logged_unshelve", mark(wire::MarkAction::Unshelve)),
    ] {
        let bytes = golden(name, &wire::encode_control(&control));
        assert_eq!(
            wire::decode_logged(&bytes),
            Ok(wire::Logged::Control(control))
        );
    }
}
