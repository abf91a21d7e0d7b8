//! The ledger itself on trial: a small lake, right and then wrong in every way that the ledger must notice.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt32Array, UInt64Array,
};
use parquet::arrow::ArrowWriter;
use windlass_shared::catalogue::{CatalogueHash, Class, RateGroup};
use windlass_shared::id::{ChannelId, SeqRange};
use windlass_shared::record::{
    Batch, Block, Column, Flags, Gap, GapRange, Head, Header, Open, Record, Stamps, Times,
};
use windlass_shared::time::{MINUTE_US, WallTime};

use super::*;

const T0: i64 = 1_700_000_040_000_000;
const EPOCH: Epoch = Epoch([7; 16]);
/// The log's time: long after every window of the test.
const LATER: i64 = T0 + 60 * MINUTE_US;

fn id(seq: u64) -> RecordId {
    RecordId {
        turbine: TurbineId::new("T1").unwrap(),
        epoch: EPOCH,
        seq: Seq(seq),
    }
}

fn record(seq: u64, body: Body) -> Record {
    let until = EventTime(T0 + seq as i64 * SECOND_US);
    let prev_ceiling = until.plus_us(-1 - SECOND_US);
    let on_time = matches!(&body, Body::Batch(b) if !b.blocks[0].flags.late);
    let ceiling = if on_time {
        until.plus_us(-1)
    } else {
        prev_ceiling
    };
    Record {
        header: Header {
            id: id(seq),
            stamps: Stamps {
                ceiling,
                prev_ceiling,
                frontier: until,
            },
            committed_at: WallTime(until.0),
            prev_head: Head([u8::from(seq > 1); 32]),
        },
        body,
    }
}

/// Two readings of channel 1 in the second before `seq`'s frontier; marked late if `late`.
fn batch(seq: u64, late: bool) -> Record {
    let at = T0 + seq as i64 * SECOND_US - 2;
    let block = Block {
        flags: Flags {
            late,
            suspect: false,
        },
        times: Times::Listed(vec![EventTime(at), EventTime(at + 1)]),
        columns: vec![Column {
            channel: ChannelId(1),
            float: false,
            at: 0,
        }],
        quality: Vec::new(),
    };
    let body = Body::Batch(Batch {
        catalogue: CatalogueHash(1),
        class: Class::Condition,
        rate_group: RateGroup::Fast,
        blocks: vec![block],
        raw: vec![10 * seq as i64, 10 * seq as i64 + 1],
    });
    record(seq, body)
}

fn open() -> Record {
    let mut record = record(
        1,
        Body::Open(Open {
            predecessor: None,
            oldest_held: EPOCH,
            not_before: EventTime(T0),
            agent_version: "test".into(),
        }),
    );
    record.header.stamps = Stamps {
        ceiling: EventTime::MIN,
        prev_ceiling: EventTime::MIN,
        frontier: EventTime(T0),
    };
    record
}

fn gap(seq: u64, lost: u64) -> Record {
    let range = GapRange {
        seqs: SeqRange::one(Seq(lost)),
        readings: Some(2),
        bounds: None,
        end: None,
        heads: None,
    };
    let body = Body::Gap(Gap {
        epoch: EPOCH,
        class: Class::Condition,
        reason: LossReason::Evicted,
        ranges: vec![range],
    });
    record(seq, body)
}

/// A lake's rows before they are written.
#[derive(Clone, Default)]
struct Rows {
    readings: Vec<(u64, Reading)>,
    late: Vec<(u64, u32)>,
    logged: Vec<Record>,
    refused: Vec<u64>,
    /// Window, start, revision, n, sum, min, max.
    features: Vec<(&'static str, i64, u32, u64, i128, i64, i64)>,
}

impl Rows {
    /// All that a right lake holds of these records; those that are only `logged` left no reading.
    fn of(records: &[Record]) -> Self {
        let mut rows = Self::default();
        for record in records {
            rows.logged.push(record.clone());
            let Body::Batch(batch) = &record.body else {
                continue;
            };
            let seq = record.header.id.seq.0;
            for reading in Reading::of(batch) {
                rows.readings.push((seq, reading));
                if reading.late {
                    rows.late.push((seq, reading.index));
                }
            }
        }
        let values = rows.readings.iter().filter_map(|(_, r)| r.value);
        let (n, sum) = (values.clone().count() as u64, values.clone().sum::<i64>());
        let (min, max) = (values.clone().min().unwrap(), values.max().unwrap());
        let start = EventTime(T0).floor_to(MINUTE_US).0;
        let ten = EventTime(T0).floor_to(10 * MINUTE_US).0;
        let mut window = |kind, at| {
            rows.features
                .push((kind, at, 1, n, i128::from(sum), min, max));
        };
        window("1m", start);
        window("10m", ten);
        (0..5).for_each(|k| window("5m", start - k * MINUTE_US));
        rows
    }
    fn write(&self, root: &Path) {
        let mut files = Vec::new();
        let mut put = |table: &str, columns: Vec<(&str, ArrayRef)>| {
            let path = format!("{table}/x.parquet");
            let batch = RecordBatch::try_from_iter(columns).unwrap();
            let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
            writer.write(&batch).unwrap();
            let bytes = writer.into_inner().unwrap();
            std::fs::create_dir_all(root.join(table)).unwrap();
            std::fs::write(root.join(&path), &bytes).unwrap();
            let sha256 = lake::hex(&<sha2::Sha256 as sha2::Digest>::digest(&bytes));
            files.push(serde_json::json!({
                "table": table, "path": path, "rows": batch.num_rows(), "sha256": sha256
            }));
        };
        put("readings", self.reading_columns());
        put("late", self.late_columns());
        put("batches", self.batch_columns());
        put("dead_letter", identity(self.refused.iter().copied()));
        put("features", self.feature_columns());
        let cuts = root.join("_cuts/telemetry-0");
        std::fs::create_dir_all(&cuts).unwrap();
        let commit = serde_json::json!({"first": 0, "last": 9, "files": files});
        let name = format!("{:020}-{:020}.commit.json", 0, 9);
        std::fs::write(cuts.join(name), commit.to_string()).unwrap();
    }
    fn reading_columns(&self) -> Vec<(&'static str, ArrayRef)> {
        let ints = |f: fn(&Reading) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(
                self.readings.iter().map(|r| f(&r.1)),
            ))
        };
        let flags = |f: fn(&Reading) -> bool| -> ArrayRef {
            Arc::new(
                self.readings
                    .iter()
                    .map(|r| Some(f(&r.1)))
                    .collect::<BooleanArray>(),
            )
        };
        let mut columns = identity(self.readings.iter().map(|r| r.0));
        columns.extend([
            ("index", ints(|r| i64::from(r.index))),
            ("channel_id", ints(|r| i64::from(r.channel))),
            ("time", ints(|r| r.time)),
            ("raw", ints(|r| r.value.unwrap())),
            (
                "value",
                Arc::new(Float64Array::from(vec![0.5; self.readings.len()])) as ArrayRef,
            ),
            ("quality", texts(self.readings.iter().map(|_| "good"))),
            ("late", flags(|r| r.late)),
            ("suspect", flags(|r| r.suspect)),
        ]);
        columns
    }
    fn late_columns(&self) -> Vec<(&'static str, ArrayRef)> {
        let mut columns = identity(self.late.iter().map(|l| l.0));
        let index = UInt32Array::from_iter_values(self.late.iter().map(|l| l.1));
        columns.push(("index", Arc::new(index)));
        columns
    }
    fn batch_columns(&self) -> Vec<(&'static str, ArrayRef)> {
        let kind = |r: &Record| match r.body {
            Body::Gap(_) => "gap",
            Body::Open(_) => "open",
            _ => "batch",
        };
        let bytes: Vec<Vec<u8>> = self.logged.iter().map(wire::encode).collect();
        let times = TimestampMicrosecondArray::from(vec![LATER; self.logged.len()]);
        vec![
            ("kind", texts(self.logged.iter().map(kind))),
            (
                "bytes",
                Arc::new(BinaryArray::from_iter_values(bytes)) as ArrayRef,
            ),
            ("log_time", Arc::new(times)),
        ]
    }

    fn feature_columns(&self) -> Vec<(&'static str, ArrayRef)> {
        let rows = &self.features;
        let zero = || -> ArrayRef { Arc::new(UInt64Array::from(vec![0; rows.len()])) };
        let aggregates: Vec<String> = rows
            .iter()
            .map(|f| {
                format!(
                    "{{\"Sums\":{{\"sum\":{},\"sum_sq\":0,\"min\":{},\"max\":{}}}}}",
                    f.4, f.5, f.6
                )
            })
            .collect();
        let revisions = UInt32Array::from_iter_values(rows.iter().map(|f| f.2));
        let ns = UInt64Array::from_iter_values(rows.iter().map(|f| f.3));
        vec![
            ("turbine", texts(rows.iter().map(|_| "T1"))),
            (
                "channel_id",
                Arc::new(Int64Array::from(vec![1; rows.len()])) as ArrayRef,
            ),
            ("window", texts(rows.iter().map(|f| f.0))),
            (
                "start",
                Arc::new(Int64Array::from_iter_values(rows.iter().map(|f| f.1))),
            ),
            ("revision", Arc::new(revisions)),
            (
                "partial",
                Arc::new(BooleanArray::from(vec![false; rows.len()])),
            ),
            ("status", texts(rows.iter().map(|_| "exact"))),
            ("n", Arc::new(ns)),
            ("bad", zero()),
            ("log_offset", zero()),
            ("aggregate", texts(aggregates.iter().map(String::as_str))),
        ]
    }
}

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn identity(seqs: impl Iterator<Item = u64> + Clone) -> Vec<(&'static str, ArrayRef)> {
    let epoch = EPOCH.to_string();
    vec![
        ("turbine", texts(seqs.clone().map(|_| "T1"))),
        ("epoch", texts(seqs.clone().map(|_| epoch.as_str()))),
        ("seq", Arc::new(UInt64Array::from_iter_values(seqs))),
    ]
}

/// Records: an Open, plain, late, refused, evicted, and the Gap that says so. Witness and lake.
fn world() -> (Witness, Rows) {
    let records = [
        open(),
        batch(2, false),
        batch(3, true),
        batch(4, false),
        batch(5, false),
        gap(6, 5),
    ];
    let mut witness = Witness::default();
    for record in &records {
        witness.take(record.clone(), wire::encode(record)).unwrap();
    }
    let mut rows = Rows::of(&records[..3]);
    rows.logged.push(records[5].clone());
    rows.refused.push(4);
    (witness, rows)
}

fn struck(witness: &mut Witness, rows: &Rows) -> Balance {
    let dir = tempfile::tempdir().unwrap();
    rows.write(dir.path());
    balance(witness, dir.path(), 0).unwrap()
}

#[test]
fn a_right_lake_balances() {
    let (mut witness, mut rows) = world();
    rows.logged.push(batch(2, false));
    let balance = struck(&mut witness, &rows);
    assert!(balance.is_right(), "{balance:#?}");
    let expected = Balance {
        accepted_records: 6,
        accepted_readings: 8,
        counted_readings: 4,
        late_readings: 2,
        rejected_readings: 2,
        evicted_readings: 2,
        duplicate_records_suppressed: 1,
        windows_settled: 7,
        windows_exact: 7,
        ..Balance::default()
    };
    assert_eq!(balance, expected);
}

#[test]
fn every_kind_of_mistake_is_seen() {
    type Break = fn(&mut Rows);
    type Seen = fn(&Balance) -> u64;
    let cases: [(&str, Break, Seen); 9] = [
        (
            "a reading is gone",
            |r| {
                r.readings.pop();
            },
            |b| b.missing_readings,
        ),
        (
            "a record is gone",
            |r| r.readings.retain(|x| x.0 != 2),
            |b| b.missing_readings,
        ),
        (
            "a reading stands twice",
            |r| r.readings.push(r.readings[0]),
            |b| b.double_counted_readings,
        ),
        (
            "a value changed",
            |r| r.readings[0].1.value = Some(99),
            |b| b.altered_readings,
        ),
        (
            "a flag is gone",
            |r| r.readings[2].1.late = false,
            |b| b.altered_readings,
        ),
        (
            "nobody committed it",
            |r| r.readings.push((77, r.readings[0].1)),
            |b| b.foreign_readings,
        ),
        (
            "late in one table only",
            |r| {
                r.late.pop();
            },
            |b| b.examples.len() as u64,
        ),
        (
            "no one declared it lost",
            |r| {
                r.logged.pop();
            },
            |b| b.missing_readings,
        ),
        (
            "a window counts twice",
            |r| r.features[0].3 += 4,
            |b| b.double_counted_readings,
        ),
    ];
    for (what, break_it, seen) in cases {
        let (mut witness, mut rows) = world();
        break_it(&mut rows);
        let balance = struck(&mut witness, &rows);
        assert!(
            !balance.is_right() && seen(&balance) > 0,
            "{what}: {balance:#?}"
        );
    }
}

#[test]
fn windows_must_be_there_once_with_the_right_sum() {
    let cases: [fn(&mut Rows); 4] = [
        |r| r.features[0].4 += 1,
        |r| {
            r.features.remove(0);
        },
        |r| r.features.push(r.features[0]),
        |r| r.features[0].1 -= MINUTE_US,
    ];
    for break_it in cases {
        let (mut witness, mut rows) = world();
        break_it(&mut rows);
        assert!(struck(&mut witness, &rows).windows_wrong > 0);
    }
}

#[test]
fn a_file_that_is_not_what_its_marker_says_is_refused() {
    let (mut witness, rows) = world();
    let dir = tempfile::tempdir().unwrap();
    rows.write(dir.path());
    let path = dir.path().join("readings/x.parquet");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = balance(&mut witness, dir.path(), 0)
        .unwrap_err()
        .to_string();
    assert!(error.contains("SHA-256"), "{error}");
}

#[test]
fn a_record_with_other_bytes_than_before_is_noticed() {
    let (mut witness, _) = world();
    let mut bytes = wire::encode(&batch(2, false));
    bytes.push(0);
    let error = witness
        .take(batch(1, false), bytes)
        .unwrap_err()
        .to_string();
    assert!(error.contains("other bytes"), "{error}");
}

#[test]
fn a_record_that_nobody_saw_counts_if_the_chain_vouches_for_it() {
    let (_, rows) = world();
    let bytes = wire::encode(&batch(2, false));
    let true_head = wire::next_head(&Head([1; 32]), &wire::hash(&bytes));
    for (head, vouched, foreign) in [(true_head, 1, 0), (Head([2; 32]), 0, 2)] {
        let mut witness = Witness::default();
        let mut records = vec![
            open(),
            batch(3, true),
            batch(4, false),
            batch(5, false),
            gap(6, 5),
        ];
        records[1].header.prev_head = head;
        for record in records {
            let bytes = wire::encode(&record);
            witness.take(record, bytes).unwrap();
        }
        let balance = struck(&mut witness, &rows);
        assert_eq!(
            (balance.vouched_records, balance.foreign_readings),
            (vouched, foreign)
        );
    }
}

#[test]
fn what_was_evicted_before_anyone_looked_counts_by_its_gap() {
    let (_, rows) = world();
    let mut witness = Witness::default();
    for record in [
        open(),
        batch(2, false),
        batch(3, true),
        batch(4, false),
        gap(6, 5),
    ] {
        let bytes = wire::encode(&record);
        witness.take(record, bytes).unwrap();
    }
    let balance = struck(&mut witness, &rows);
    assert!(balance.is_right(), "{balance:#?}");
    assert_eq!(
        (balance.accepted_readings, balance.evicted_readings),
        (8, 2)
    );
}
