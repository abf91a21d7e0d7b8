//! Corrupt and hostile bytes: each has its own clear error, and none does harm.

#![allow(clippy::unwrap_used)] // a test may; the lint only knows the functions marked as tests

use std::path::Path;

use prost::Message;
use windlass_shared::proto;
use windlass_shared::wire::{
    self, BATCH_READINGS_MAX, COLUMNS_BYTES_MAX, RECORD_BYTES_MAX, WireError, decode,
};

fn golden(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.hex"));
    let digits: String = std::fs::read_to_string(path)
        .unwrap()
        .split_whitespace()
        .collect();
    (0..digits.len() / 2)
        .map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

const RECORDS: [&str; 9] = [
    "open_first",
    "open_next",
    "open_promises_nothing",
    "batch_one_row",
    "batch_every_mode",
    "batch_late_suspect",
    "batch_zstd",
    "gap",
    "seal",
];

/// A golden record with one thing changed.
fn altered(name: &str, change: impl FnOnce(&mut proto::Record)) -> Result<(), WireError> {
    let mut message = proto::Record::decode(&golden(name)[..]).unwrap();
    change(&mut message);
    decode(&message.encode_to_vec()).map(|_| ())
}

fn batch(message: &mut proto::Record) -> &mut proto::Batch {
    match &mut message.body {
        Some(proto::record::Body::Batch(batch)) => batch,
        other => panic!("{other:?}"),
    }
}

/// A batch of these columns, uncompressed.
fn with_columns(readings: u32, columns: &[u8]) -> Result<(), WireError> {
    altered("batch_one_row", |r| {
        let batch = batch(r);
        batch.readings = readings;
        batch.columns = columns.to_vec();
    })
}

/// The error says all of `words`.
fn refused(result: Result<(), WireError>, words: &[&str]) {
    let text = result.expect_err(words[0]).to_string();
    for word in words {
        assert!(text.contains(word), "`{text}` does not say `{word}`");
    }
}

#[test]
fn a_field_of_a_later_version_changes_nothing() {
    for name in RECORDS {
        let mut bytes = golden(name);
        let before = decode(&bytes).unwrap();
        // field 1000, a varint; field 1001, a text
        bytes.extend([0xc0, 0x3e, 0x07, 0xca, 0x3e, 0x02, b'h', b'i']);
        assert_eq!(decode(&bytes), Ok(before), "{name}");
        // evidence is the bytes as they came: they travel and are hashed with the unknown field in them
        let gateway = windlass_shared::id::GatewayId::new("GW01").unwrap();
        let logged = wire::encode_telemetry(&gateway, &bytes);
        let expected = wire::Logged::Telemetry {
            gateway,
            record: bytes.clone(),
        };
        assert_eq!(wire::decode_logged(&logged), Ok(expected));
        assert_ne!(wire::hash(&bytes), wire::hash(&golden(name)));
    }
}

#[test]
fn another_version_is_named() {
    let version = |found| WireError::Version { found, expected: 1 };
    assert_eq!(altered("seal", |r| r.version = 2), Err(version(2)));
    assert_eq!(altered("seal", |r| r.version = 0), Err(version(0)));
    // a later version whose fields have other types still says which it is
    assert_eq!(
        decode(&[0x08, 0x03, 0x10, 0x01]).map(|_| ()),
        Err(version(3))
    );
    refused(
        decode(&[0x08, 0x01, 0x10, 0x01]).map(|_| ()),
        &["malformed record"],
    );
    assert_eq!(decode(&[]).map(|_| ()), Err(version(0)));
}

#[test]
fn every_byte_of_every_golden_record_may_be_anything() {
    for name in RECORDS {
        let bytes = golden(name);
        for i in 0..bytes.len() {
            assert_ne!(decode(&bytes[..i]), decode(&bytes), "{name} cut to {i}");
            let mut damaged = bytes.clone();
            for value in 0..=255 {
                damaged[i] = value;
                if let Ok(read) = decode(&damaged) {
                    assert_eq!(wire::check(&read), Ok(()));
                }
            }
        }
    }
}

#[test]
fn what_is_too_large_is_refused_before_it_is_read() {
    let large = vec![8; RECORD_BYTES_MAX + 1];
    refused(decode(&large).map(|_| ()), &["record", "204801", "204800"]);
    refused(
        with_columns(u32::MAX, &[]),
        &["batch, in readings", "65536"],
    );
    let bomb = zstd::bulk::compress(&vec![0; 16 << 20], 3).unwrap();
    assert!(bomb.len() < 2_000);
    let with_bomb = |plain_len| {
        altered("batch_zstd", |r| {
            let batch = batch(r);
            batch.plain_len = plain_len;
            batch.columns.clone_from(&bomb);
        })
    };
    refused(with_bomb(u32::MAX), &["before compression", "4294967295"]);
    refused(with_bomb(COLUMNS_BYTES_MAX as u32), &["compressed columns"]);
    refused(with_bomb(100), &["compressed columns"]);
    refused(
        altered("batch_zstd", |r| batch(r).plain_len += 1),
        &["plain_len"],
    );
    refused(
        wire::decode_downlink(&vec![0; wire::DOWNLINK_BYTES_MAX + 1]).map(|_| ()),
        &["downlink"],
    );
    refused(
        wire::decode_logged(&vec![0; wire::LOGGED_BYTES_MAX + 1]).map(|_| ()),
        &["log entry"],
    );
}

#[test]
fn absurd_counts_are_bounded_by_the_readings_declared() {
    const MANY: [u8; 5] = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let columns = |parts: &[&[u8]]| parts.concat();
    refused(with_columns(4, &MANY), &["blocks", "at most 4"]);
    refused(
        with_columns(4, &columns(&[&[1, 0], &MANY])),
        &["rows", "at most 4"],
    );
    refused(with_columns(4, &[1, 0, 0]), &["without rows"]);
    refused(with_columns(4, &[1, 0xf0, 1]), &["block flags 0xf0"]);
    // regular, one row, start, period, then the runs of channels
    let block = [1, 0, 1, 0, 2];
    refused(
        with_columns(4, &columns(&[&block, &MANY])),
        &["runs", "at most 4"],
    );
    refused(
        with_columns(4, &columns(&[&block, &[0]])),
        &["without columns"],
    );
    refused(
        with_columns(4, &columns(&[&block, &[1, 0], &MANY])),
        &["a run of", "at most 4"],
    );
    refused(
        with_columns(4, &columns(&[&block, &[1, 0xff, 0xff, 3, 2]])),
        &["channel 65536"],
    );
    // the last id, then a run of one more
    refused(
        with_columns(4, &columns(&[&block, &[2, 0xff, 0xff, 3, 0, 0, 0]])),
        &["channel 65536"],
    );
    refused(
        with_columns(4, &columns(&[&block, &[1, 1, 2 << 1]])),
        &["3 readings", "expected 4"],
    );
    // quality marks: as many as readings, and none twice
    let marked = [1, 8, 1, 0, 2, 1, 1, 0];
    refused(
        with_columns(1, &columns(&[&marked, &MANY])),
        &["quality marks", "at most 1"],
    );
    refused(
        with_columns(1, &columns(&[&marked, &[0]])),
        &["there are none"],
    );
    refused(
        with_columns(1, &columns(&[&marked, &[1, 4]])),
        &["reading 1 of its block"],
    );
    // too few and too many bytes of values
    let good = [1, 0, 1, 0, 2, 1, 1, 0, 1, 10];
    refused(with_columns(1, &good[..8]), &["ends too early"]);
    refused(
        with_columns(1, &good[..9]),
        &["expected 1 more bytes, found 0"],
    );
    refused(
        with_columns(1, &columns(&[&good, &[0]])),
        &["1 bytes after"],
    );
    refused(
        with_columns(1, &[1, 0, 1, 0, 2, 1, 1, 0, 2, 10, 10]),
        &["1 bytes after"],
    );
    refused(with_columns(0, &[0, 0]), &["readings", "at least one"]);
    // two rows of 7 bits without a bit
    refused(
        with_columns(2, &[1, 0, 2, 0, 2, 1, 1, 0, 7, 1, 0]),
        &["column bits", "too few"],
    );
    refused(
        with_columns(2, &[1, 0, 2, 0, 2, 1, 1, 0, 0xc1, 0]),
        &["plain column of width 1"],
    );
    refused(
        with_columns(1, &[1, 0, 1, 0, 2, 1, 1, 1, 16, 1, 0]),
        &["16 decimals"],
    );
}

#[test]
fn the_largest_batch_that_may_be_declared_is_read() {
    // one block, 32768 rows of two constant channels, 1 us apart: 65536 readings in 15 bytes
    let start = [0x80, 0x80, 2, 0, 2];
    let columns = [&[1, 0][..], &start, &[1, 1, 2, 0, 0, 2, 14, 16]].concat();
    let readings = BATCH_READINGS_MAX as u32;
    // its ceiling is the last row's time
    let result = altered("batch_one_row", |r| {
        r.ceiling = Some(-32_767);
        let batch = batch(r);
        batch.readings = readings;
        batch.columns.clone_from(&columns);
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn stamps_that_contradict_their_record_are_refused() {
    let late = "batch_late_suspect";
    refused(altered("seal", |r| r.ceiling = None), &["ceiling is none"]);
    refused(
        altered("seal", |r| r.ceiling = r.ceiling.map(|c| c - 1)),
        &["stamps", "ceiling is"],
    );
    refused(
        altered(late, |r| r.ceiling = r.ceiling.map(|c| c + 1)),
        &["latest on-time reading"],
    );
    // prev_ceiling beyond ceiling
    refused(
        altered(late, |r| r.prev_ceiling = r.ceiling.map(|c| c - 1)),
        &["stamps", "ceiling"],
    );
    refused(
        altered("open_first", |r| {
            r.prev_ceiling = Some(0);
            r.ceiling = Some(0);
        }),
        &["seq 1 has a prev_ceiling"],
    );
    for absurd in [i64::MAX, -1, wire::EVENT_TIME_END_US] {
        refused(
            altered("seal", |r| r.frontier = absurd),
            &["frontier", "1970"],
        );
    }
    refused(
        altered("seal", |r| r.committed_at = i64::MAX),
        &["committed_at"],
    );
    refused(
        altered("seal", |r| r.ceiling = Some(i64::MIN)),
        &["ceiling", "1970"],
    );
}

#[test]
fn event_times_beyond_reason_are_refused() {
    let at = |start: &[u8], more: &[u8]| {
        let columns = [&[1, 0, 2][..], start, more, &[1, 1, 0, 0, 1, 14]].concat();
        with_columns(2, &columns)
    };
    let far = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    refused(at(&far, &[2]), &["event time", "1970"]);
    let further = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    refused(at(&further, &[2]), &["event time", "2199"]);
    refused(at(&[0], &[0]), &["period", "0 us"]);
    refused(at(&[0], &[1]), &["period", "-1 us"]);
    refused(
        at(
            &[0],
            &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        ),
        &["period"],
    );
}

#[test]
fn records_in_the_wrong_place_are_refused() {
    refused(altered("open_first", |r| r.seq = 2), &["prev_head"]);
    refused(
        altered("open_first", |r| {
            r.seq = 2;
            r.prev_head = vec![1; 32];
        }),
        &["Open at seq 2"],
    );
    refused(
        altered("batch_one_row", |r| {
            r.seq = 1;
            r.prev_head.clear();
        }),
        &["Batch at seq 1"],
    );
    refused(altered("seal", |r| r.seq = 0), &["seq", "1 to 2^53"]);
    refused(altered("seal", |r| r.seq = u64::MAX), &["seq"]);
    refused(altered("seal", |r| r.seq += 1), &["upto"]);
    refused(altered("seal", |r| r.prev_head = vec![2; 32]), &["head"]);
    refused(
        altered("seal", |r| r.prev_head = vec![2; 31]),
        &["31 bytes"],
    );
    refused(altered("seal", |r| r.prev_head.clear()), &["prev_head"]);
    refused(
        altered("seal", |r| r.epoch = vec![2; 15]),
        &["epoch", "15 bytes"],
    );
    refused(
        altered("seal", |r| r.turbine = "a/b".into()),
        &["turbine", "a/b"],
    );
    refused(altered("seal", |r| r.body = None), &["body"]);
    refused(
        altered("batch_one_row", |r| batch(r).class = 9),
        &["class", "9"],
    );
    refused(
        altered("batch_one_row", |r| batch(r).rate_group = 0),
        &["rate_group"],
    );
    refused(altered("batch_one_row", |r| batch(r).codec = 7), &["codec"]);
}

#[test]
fn gaps_and_opens_that_contradict_themselves_are_refused() {
    let gap = |change: &dyn Fn(&mut proto::Gap)| {
        altered("gap", |r| match &mut r.body {
            Some(proto::record::Body::Gap(gap)) => change(gap),
            other => panic!("{other:?}"),
        })
    };
    refused(gap(&|g| g.ranges.clear()), &["ranges"]);
    refused(gap(&|g| g.ranges.reverse()), &["in order"]);
    refused(gap(&|g| g.ranges[1].first = 9), &["in order"]);
    refused(gap(&|g| g.ranges[1].last = 11), &["12-11"]);
    refused(gap(&|g| g.ranges[2].last = u64::MAX), &["ranges.last"]);
    refused(gap(&|g| g.ranges[0].latest = None), &["both or none"]);
    refused(gap(&|g| g.ranges[0].latest = Some(0)), &["ranges.latest"]);
    refused(gap(&|g| g.ranges[0].head_after.clear()), &["head_after"]);
    refused(gap(&|g| g.reason = 0), &["reason"]);
    let own = proto::Record::decode(&golden("gap")[..]).unwrap().epoch;
    refused(gap(&|g| g.epoch.clone_from(&own)), &["before the record"]);
    refused(
        gap(&|g| g.ranges = vec![proto::GapRange::default(); wire::GAP_RANGES_MAX + 1]),
        &["Gap, in ranges"],
    );
    refused(
        altered("open_next", |r| match &mut r.body {
            Some(proto::record::Body::Open(open)) => open.predecessor.clone_from(&r.epoch),
            other => panic!("{other:?}"),
        }),
        &["predecessor", "another epoch"],
    );
}

#[test]
fn a_float_that_is_no_number_needs_its_quality() {
    // one float column of bits, one row: zigzag of the bits of infinity
    let infinity = 0x7ff0_0000_0000_0000u64 << 1;
    let mut bits = Vec::new();
    prost::encoding::encode_varint(infinity, &mut bits);
    let columns = |flags, marks: &[u8]| {
        let value = [&[bits.len() as u8][..], &bits].concat();
        [&[1, flags, 1, 0, 2, 1, 1, 1][..], marks, &[255], &value].concat()
    };
    let read = |columns: Vec<u8>| {
        altered("batch_one_row", |r| {
            r.ceiling = Some(0);
            let batch = batch(r);
            batch.readings = 1;
            batch.columns = columns;
        })
    };
    refused(read(columns(0, &[])), &["channel 1, row 0: not finite"]);
    refused(read(columns(8, &[1, 0])), &["not finite"]); // uncertain counts
    assert_eq!(read(columns(8, &[1, 3])), Ok(()));
}
