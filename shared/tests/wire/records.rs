//! Strategies for every record that the format can carry.

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use windlass_shared::catalogue::{CatalogueHash, Class, RateGroup};
use windlass_shared::id::{BootId, ChannelId, Epoch, RecordId, Seq, SeqRange, TurbineId};
use windlass_shared::record::{
    Batch, Block, Body, Column, Flags, Gap, GapRange, Head, Header, LossReason, Open, Predecessor,
    Quality, QualityMark, Record, Seal, Stamps, Times, Untimed,
};
use windlass_shared::time::{EventTime, WallTime};
use windlass_shared::wire::{EVENT_TIME_END_US, SEQ_MAX};

pub fn time() -> impl Strategy<Value = EventTime> {
    prop_oneof![
        4 => (1_780_000_000_000_000..1_780_000_100_000_000i64).prop_map(EventTime),
        1 => (0..EVENT_TIME_END_US).prop_map(EventTime),
    ]
}

fn time_or_none() -> impl Strategy<Value = EventTime> {
    prop_oneof![4 => time(), 1 => Just(EventTime::MIN)]
}

fn epoch() -> impl Strategy<Value = Epoch> {
    any::<[u8; 16]>().prop_map(Epoch)
}

fn head() -> impl Strategy<Value = Head> {
    any::<[u8; 32]>()
        .prop_filter("not none", |h| *h != [0; 32])
        .prop_map(Head)
}

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![
        Just(Class::Compliance),
        Just(Class::Condition),
        Just(Class::Diagnostic)
    ]
}

fn rate_group() -> impl Strategy<Value = RateGroup> {
    prop_oneof![
        Just(RateGroup::Fast),
        Just(RateGroup::Slow),
        Just(RateGroup::Event)
    ]
}

fn times() -> impl Strategy<Value = Times> {
    prop_oneof![
        (0..1_780_000_000_000_000i64, 1..600_000_000i64, 1u32..40).prop_map(
            |(start, period_us, n)| Times::Regular {
                start: EventTime(start),
                period_us,
                n
            }
        ),
        time().prop_map(|start| Times::Regular {
            start,
            period_us: 0,
            n: 1
        }),
        vec(time(), 1..20).prop_map(Times::Listed),
    ]
}

/// A column's values: constant, slow, noisy or wild.
fn integers(rows: usize) -> impl Strategy<Value = Vec<i64>> {
    prop_oneof![
        any::<i64>().prop_map(move |v| vec![v; rows]),
        (any::<i32>(), 0u32..40, vec(any::<i64>(), rows)).prop_map(|(base, shift, noise)| noise
            .iter()
            .map(|n| i64::from(base).wrapping_add(n >> (24 + shift)))
            .collect()),
        (any::<i32>(), -1000..1000i64, vec(-3..3i64, rows)).prop_map(|(base, slope, noise)| noise
            .iter()
            .enumerate()
            .map(|(i, n)| i64::from(base) + slope * i as i64 + n)
            .collect()),
        vec(
            prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX)],
            rows
        ),
    ]
}

/// Bits of floats: decimals, wild ones, and such as are no numbers.
fn floats(rows: usize) -> impl Strategy<Value = Vec<i64>> {
    prop_oneof![
        (vec(-1_000_000_000..1_000_000_000i64, rows), 0..12i32).prop_map(|(v, decimals)| v
            .iter()
            .map(|v| (*v as f64 / 10f64.powi(decimals)).to_bits() as i64)
            .collect()),
        vec(
            prop_oneof![
                4 => any::<f64>(),
                1 => Just(-0.0),
                1 => Just(f64::NAN),
                1 => Just(f64::INFINITY)
            ],
            rows
        )
        .prop_map(|v| v.iter().map(|v| v.to_bits() as i64).collect()),
    ]
}

fn quality() -> impl Strategy<Value = Quality> {
    prop_oneof![
        Just(Quality::Uncertain),
        Just(Quality::Bad),
        Just(Quality::NotANumber),
        Just(Quality::OutOfRange)
    ]
}

struct Part {
    block: Block,
    raw: Vec<i64>,
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?}", self.block, self.raw)
    }
}

/// A block with its values; the columns' places are filled in later.
fn part() -> impl Strategy<Value = Part> {
    (
        times(),
        btree_set(prop_oneof![0u16..20, any::<u16>()], 1..8),
        any::<(bool, bool)>(),
    )
        .prop_flat_map(|(times, channels, (late, suspect))| {
            let rows = times.len();
            let columns = channels.len();
            let column = prop_oneof![
                3 => integers(rows).prop_map(|v| (false, v)),
                1 => floats(rows).prop_map(|v| (true, v)),
            ];
            let marks = btree_map((0..columns as u16, 0..rows as u32), quality(), 0..4);
            (
                Just(times),
                Just(channels),
                vec(column, columns),
                marks,
                Just(Flags { late, suspect }),
            )
        })
        .prop_map(|(times, channels, values, mut marks, flags)| {
            for (index, (float, values)) in values.iter().enumerate() {
                for (row, v) in values.iter().enumerate() {
                    if *float && !f64::from_bits(*v as u64).is_finite() {
                        marks.insert((index as u16, row as u32), Quality::NotANumber);
                    }
                }
            }
            Part {
                block: Block {
                    flags,
                    times,
                    columns: channels
                        .iter()
                        .zip(&values)
                        .map(|(id, (float, _))| Column {
                            channel: ChannelId(*id),
                            float: *float,
                            at: 0,
                        })
                        .collect(),
                    quality: marks
                        .into_iter()
                        .map(|((column, row), quality)| QualityMark {
                            column,
                            row,
                            quality,
                        })
                        .collect(),
                },
                raw: values.into_iter().flat_map(|(_, v)| v).collect(),
            }
        })
}

pub fn batch() -> impl Strategy<Value = Batch> {
    (any::<u64>(), class(), rate_group(), vec(part(), 1..5)).prop_map(
        |(catalogue, class, rate_group, parts)| {
            let mut raw = Vec::new();
            let mut blocks = Vec::new();
            for mut part in parts {
                let rows = part.block.times.len();
                for (i, column) in part.block.columns.iter_mut().enumerate() {
                    column.at = (raw.len() + i * rows) as u32;
                }
                raw.extend(part.raw);
                blocks.push(part.block);
            }
            Batch {
                catalogue: CatalogueHash(catalogue),
                class,
                rate_group,
                blocks,
                raw,
            }
        },
    )
}

/// The latest reading that is neither late nor suspect.
pub fn latest_on_time(batch: &Batch) -> EventTime {
    batch
        .blocks
        .iter()
        .filter(|b| b.flags == Flags::default())
        .flat_map(|b| b.times.iter())
        .max()
        .unwrap_or(EventTime::MIN)
}

fn open() -> impl Strategy<Value = Open> {
    let predecessor = (
        epoch(),
        option::of((1..=SEQ_MAX).prop_map(Seq)),
        option::of(time_or_none()),
        prop_oneof![Just(Head::default()), head()],
    )
        .prop_map(|(epoch, last_seq, ceiling, head)| Predecessor {
            epoch,
            last_seq,
            ceiling,
            head,
        });
    (
        option::of(predecessor),
        epoch(),
        time_or_none(),
        "[ -~]{0,20}",
    )
        .prop_map(
            |(predecessor, oldest_held, not_before, agent_version)| Open {
                predecessor,
                oldest_held,
                not_before,
                agent_version,
            },
        )
}

fn gap() -> impl Strategy<Value = Gap> {
    let reason = prop_oneof![
        Just(LossReason::Evicted),
        Just(LossReason::Corrupt),
        Just(LossReason::NeverHeld),
        Just(LossReason::Refused),
        Just(LossReason::Untimed)
    ];
    let range = (
        (0..1_000_000u64, 0..1_000_000u64),
        option::of(any::<u64>()),
        option::of((time(), time())),
        option::of((time_or_none(), time_or_none())),
        option::of((prop_oneof![Just(Head::default()), head()], head())),
    );
    (epoch(), class(), reason, vec(range, 1..6)).prop_map(|(epoch, class, reason, ranges)| {
        let mut next = 1;
        Gap {
            epoch,
            class,
            reason,
            ranges: ranges
                .into_iter()
                .map(|((skip, more), readings, bounds, end, heads)| {
                    let first = next + skip;
                    next = first + more + 1;
                    GapRange {
                        seqs: SeqRange::new(first, first + more).unwrap(),
                        readings,
                        bounds: bounds.map(|(a, b)| (a.min(b), a.max(b))),
                        end,
                        heads,
                    }
                })
                .collect(),
        }
    })
}

/// Any record that the format accepts.
pub fn record() -> impl Strategy<Value = Record> {
    let body = prop_oneof![
        6 => batch().prop_map(Body::Batch),
        1 => open().prop_map(Body::Open),
        1 => gap().prop_map(Body::Gap),
        1 => (any::<[u8; 16]>(), batch()).prop_map(|(boot, mut batch)| {
            batch.blocks.iter_mut().for_each(|b| b.flags = Flags::default());
            Body::Untimed(Untimed { boot: BootId(boot), batch })
        }),
        1 => vec(any::<u8>(), 0..80).prop_map(|signature| Body::Seal(Seal {
            upto: Seq(1), head: Head::default(), signature
        })),
    ];
    (
        ("[A-Za-z0-9][A-Za-z0-9_-]{0,31}", epoch(), 2..=SEQ_MAX),
        (time_or_none(), time_or_none()),
        time(),
        head(),
        body,
    )
        .prop_map(
            |((turbine, epoch, seq), (frontier, prev), committed, head, mut body)| {
                let opens = matches!(body, Body::Open(_));
                let (seq, prev, prev_head) = if opens {
                    (1, EventTime::MIN, Head::default())
                } else {
                    (seq, prev, head)
                };
                if let Body::Seal(seal) = &mut body {
                    (seal.upto, seal.head) = (Seq(seq - 1), prev_head);
                }
                let ceiling = match &body {
                    Body::Batch(batch) => prev.max(latest_on_time(batch)),
                    _ => prev,
                };
                Record {
                    header: Header {
                        id: RecordId {
                            turbine: TurbineId::new(&turbine).unwrap(),
                            epoch,
                            seq: Seq(seq),
                        },
                        stamps: Stamps {
                            ceiling,
                            prev_ceiling: prev,
                            frontier,
                        },
                        committed_at: WallTime(committed.0),
                        prev_head,
                    },
                    body,
                }
            },
        )
}
