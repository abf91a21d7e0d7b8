//! Real records, chained as the core chains them, for tests of the store.
#![allow(dead_code)] // each test file uses its part
#![allow(clippy::unwrap_used)] // a test that cannot go on shall panic

use std::collections::BTreeMap;
use std::path::Path;

use windlass_edge::outbox::{Inspector, Outbox};
use windlass_edge_core::{
    CommitBatch, CommitId, Eviction, LoadRequest, NewRow, RowKind, RowMeta, SourceId,
};
use windlass_shared::catalogue::{CatalogueHash, Class, RateGroup};
use windlass_shared::id::{ChannelId, Epoch, RecordId, Seq, SeqRange, TurbineId};
use windlass_shared::record::{
    Batch, Block, Body, Column, Flags, Head, Header, Open, Record, Stamps, Times,
};
use windlass_shared::time::{EventTime, WallTime};
use windlass_shared::wire;

pub fn turbine(n: u8) -> TurbineId {
    TurbineId::new(&format!("T{n}")).unwrap()
}

pub fn epoch(turbine: u8, n: u8) -> Epoch {
    Epoch([turbine * 16 + n; 16])
}

/// Makes the rows of several epochs.
#[derive(Clone, Default)]
pub struct Maker {
    pub heads: BTreeMap<(TurbineId, Epoch), (Seq, Head)>,
}

impl Maker {
    /// The next row of an epoch: its `Open`, then batches of `size` readings.
    pub fn row(&mut self, turbine: TurbineId, epoch: Epoch, class: Class, size: usize) -> NewRow {
        let key = (turbine.clone(), epoch);
        let start = (Seq(0), Head::default());
        let (last, prev_head) = self.heads.get(&key).copied().unwrap_or(start);
        let seq = last.next();
        let first = seq.0 == 1;
        let t = |n: u64| EventTime(1_700_000_000_000_000 + n as i64 * 1_000_000);
        let latest = t(seq.0).plus_us(10 * (size as i64 - 1));
        let ceiling = if first { EventTime::MIN } else { latest };
        let body = if first {
            Body::Open(Open {
                predecessor: None,
                oldest_held: epoch,
                not_before: t(0),
                agent_version: "test".into(),
            })
        } else {
            batch_body(class, size, t(seq.0))
        };
        let record = Record {
            header: Header {
                id: RecordId {
                    turbine,
                    epoch,
                    seq,
                },
                stamps: Stamps {
                    ceiling,
                    prev_ceiling: if first { EventTime::MIN } else { t(seq.0 - 1) },
                    frontier: t(seq.0),
                },
                committed_at: WallTime(t(seq.0).0),
                prev_head,
            },
            body,
        };
        let payload = wire::encode(&record);
        let head = wire::next_head(&prev_head, &wire::hash(&payload));
        self.heads.insert(key, (seq, head));
        let kind = if first {
            RowKind::Open
        } else {
            RowKind::Batch(class, RateGroup::Fast)
        };
        NewRow {
            meta: RowMeta {
                id: record.header.id,
                kind,
                readings: if first { 0 } else { size as u64 },
                bounds: (!first).then_some((t(seq.0), latest)),
                ceiling,
                frontier: t(seq.0),
                prev_head,
                head,
                committed_at: WallTime(t(seq.0).0),
                bytes: payload.len() as u64,
            },
            payload: payload.into(),
        }
    }

    /// A transaction with the next `n` rows of the first epoch of the first turbine.
    pub fn batch(&mut self, n: usize, size: usize) -> CommitBatch {
        let rows = (0..n).map(|_| self.row(turbine(1), epoch(1, 1), Class::Condition, size));
        CommitBatch {
            rows: rows.collect(),
            ..nothing()
        }
    }
}

/// Readings that do not compress.
fn batch_body(class: Class, size: usize, start: EventTime) -> Body {
    let mut x = start.0;
    let raw = std::iter::repeat_with(|| {
        x = x
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        x >> 16
    });
    Body::Batch(Batch {
        catalogue: CatalogueHash(7),
        class,
        rate_group: RateGroup::Fast,
        blocks: vec![Block {
            flags: Flags::default(),
            times: Times::Regular {
                start,
                period_us: i64::from(size > 1) * 10,
                n: size as u32,
            },
            columns: vec![Column {
                channel: ChannelId(1),
                float: false,
                at: 0,
            }],
            quality: Vec::new(),
        }],
        raw: raw.take(size).collect(),
    })
}

/// A transaction without content.
pub fn nothing() -> CommitBatch {
    CommitBatch {
        id: CommitId(1),
        evictions: Vec::new(),
        levels: Vec::new(),
        rows: Vec::new(),
        waiting: Vec::new(),
        placed: Vec::new(),
        positions: Vec::new(),
        clean_stop: false,
    }
}

/// Seqs of the first epoch leave.
pub fn eviction(first: u64, last: u64) -> Eviction {
    Eviction {
        turbine: turbine(1),
        epoch: epoch(1, 1),
        seqs: SeqRange::new(first, last).unwrap(),
    }
}

/// The whole backlog of the first turbine.
pub fn everything() -> LoadRequest {
    LoadRequest::Backlog {
        turbine: turbine(1),
        after: None,
        rows_max: 10_000,
        bytes_max: 1 << 30,
    }
}

/// Rows that an inspection sees.
pub fn count(path: &Path) -> u64 {
    let mut n = 0;
    let inspector = Inspector::open(path).unwrap();
    inspector.rows(false, |_| n += 1).unwrap();
    n
}

/// Fills an outbox with `n` rows and the position of a source, and closes it.
pub fn filled(path: &Path, n: usize) -> Vec<NewRow> {
    let mut maker = Maker::default();
    let (mut outbox, _, _) = Outbox::open(path, 0).unwrap();
    let mut all = Vec::new();
    for _ in 0..n / 20 {
        let next = maker.batch(20, 60);
        outbox.apply(&next).unwrap();
        all.extend(next.rows);
    }
    let positions = vec![(SourceId::new("file"), vec![1, 2, 3])];
    outbox
        .apply(&CommitBatch {
            positions,
            ..nothing()
        })
        .unwrap();
    all
}
