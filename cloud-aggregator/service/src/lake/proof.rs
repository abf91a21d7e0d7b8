//! What the evidence of one turbine proves, recomputed from the original bytes alone.
//!
//! Invariant: nothing that the partition task or the lake's writer concluded is believed, with one exception: of records
//! that they refused for what only the log's time or the fleet registry can tell (`skew`, `catalogue`, ...) the refusal
//! itself, which is quoted in the verdict.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};
use windlass_shared::coverage::{Coverage, Receipt};
use windlass_shared::id::{ChannelId, Epoch, Seq};
use windlass_shared::record::{Batch, Body, Head, Open, Record};
use windlass_shared::time::EventTime;

use super::chain::Chain;
use super::evidence::{EvidenceColumns, EvidenceRow, RECEIPT_NEW};
use super::marker::FileEntry;
use super::read::{Filter, View};
use super::reading::has_number;
use super::{LakeError, Table};

/// A sum over readings that does not depend on their order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReadingSum {
    /// How many.
    pub n: u64,
    sum: u128,
}

impl ReadingSum {
    /// Adds one reading by its identity and content.
    pub fn add(&mut self, reading: &Counted) {
        let mut hash = Sha256::new();
        hash.update(reading.epoch.0);
        hash.update(reading.seq.0.to_le_bytes());
        hash.update(reading.index.to_le_bytes());
        hash.update(reading.channel.0.to_le_bytes());
        hash.update(reading.time.0.to_le_bytes());
        hash.update([u8::from(reading.late), u8::from(reading.suspect)]);
        hash.update([u8::from(reading.content.is_some())]);
        hash.update(reading.content.unwrap_or_default().to_le_bytes());
        let digest = hash.finalize();
        let mut low = [0; 16];
        low.copy_from_slice(&digest[..16]);
        self.n += 1;
        self.sum = self.sum.wrapping_add(u128::from_le_bytes(low));
    }
}

/// A reading as [`ReadingSum`] counts it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counted {
    /// Which run.
    pub epoch: Epoch,
    /// Which record.
    pub seq: Seq,
    /// Place in the record.
    pub index: u32,
    /// Which channel.
    pub channel: ChannelId,
    /// Event time.
    pub time: EventTime,
    /// Marked late.
    pub late: bool,
    /// Ahead of the gateway's clock.
    pub suspect: bool,
    /// The raw integer, or the bits of the float; `None` when there is no number.
    pub content: Option<i64>,
}

/// A statement of an epoch about the one before it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Link {
    epoch: Epoch,
    last: Option<Seq>,
    head: Head,
}

/// The evidence of one turbine.
#[derive(Debug, Default)]
pub struct Proof {
    /// Recomputed.
    pub coverage: Coverage,
    /// Recomputed, by epoch.
    pub chains: BTreeMap<Epoch, Chain>,
    links: Vec<Link>,
    /// Records, repeats included.
    pub records: u64,
    /// Records that had come before.
    pub duplicates: u64,
    /// Records that did not count, by code.
    pub refused: BTreeMap<String, u64>,
    /// Records whose receipt in the lake is not what the bytes give.
    pub disagreements: u64,
    /// Bytes that hash otherwise than their row says.
    pub damaged: u64,
    /// Readings in the range, from the original bytes.
    pub readings: ReadingSum,
    /// Seqs of readings in the range, by epoch.
    pub sources: BTreeMap<Epoch, Vec<(u64, u64)>>,
}

/// Codes of refusals that need more than the turbine's own records to decide.
const BELIEVED: [&str; 5] = ["skew", "catalogue", "incompatible", "channel", "identity"];

impl Proof {
    /// Reads all evidence of `turbine`; readings are counted in `[from, to)`.
    pub async fn read(
        view: &View,
        turbine: &str,
        from: EventTime,
        to: EventTime,
    ) -> Result<Self, LakeError> {
        let mut proof = Self::default();
        let mut each = |batch: &arrow_array::RecordBatch, file: &FileEntry| {
            let columns = EvidenceColumns::new(batch, &file.path)?;
            for i in 0..columns.len() {
                proof.take(&columns.get(i)?, from, to);
            }
            Ok(())
        };
        view.scan_all(Table::Batches, &Filter::turbine(turbine), &mut each)
            .await?;
        Ok(proof)
    }

    fn take(&mut self, row: &EvidenceRow, from: EventTime, to: EventTime) {
        if row.kind == "refused" {
            if let (Some(epoch), Some(seq)) = (row.epoch, row.seq) {
                self.coverage.refuse(epoch, seq);
                *self.refused.entry("ingest".to_owned()).or_default() += 1;
            }
            return;
        }
        let Some((record, hash)) = row.record() else {
            return;
        };
        self.records += 1;
        if row.sha256 != Some(hash.0.as_slice()) {
            self.damaged += 1;
        }
        let id = &record.header.id;
        if BELIEVED.contains(&row.receipt) {
            self.coverage.refuse(id.epoch, id.seq);
            *self.refused.entry(row.receipt.to_owned()).or_default() += 1;
            return;
        }
        let receipt = self.coverage.receive(&record, &hash);
        if (receipt == Receipt::New) != (row.receipt == RECEIPT_NEW) {
            self.disagreements += 1;
        }
        match receipt {
            Receipt::New => {
                self.link(&record, &hash);
                if let Body::Batch(batch) = &record.body {
                    self.count(id.epoch, id.seq, batch, from, to);
                }
            }
            Receipt::Duplicate | Receipt::DuplicateUnverified => self.duplicates += 1,
            Receipt::Conflict | Receipt::Quarantined | Receipt::Refused(_) => {
                *self.refused.entry(row.receipt.to_owned()).or_default() += 1;
            }
        }
    }

    fn link(&mut self, record: &Record, hash: &windlass_shared::record::RecordHash) {
        let header = &record.header;
        let (epoch, seq) = (header.id.epoch, header.id.seq);
        let chain = self.chains.entry(epoch).or_default();
        chain.add(seq, header.prev_head, hash);
        match &record.body {
            Body::Seal(seal) => chain.add_seal(seq, seal.upto, &seal.head, &header.prev_head),
            Body::Gap(gap) => {
                let of = self.chains.entry(gap.epoch).or_default();
                for range in &gap.ranges {
                    if let Some((before, after)) = range.heads {
                        of.add_lost(range.seqs, before, after);
                    }
                }
            }
            Body::Open(Open {
                predecessor: Some(p),
                ..
            }) => self.links.push(Link {
                epoch: p.epoch,
                last: p.last_seq,
                head: p.head,
            }),
            Body::Open(_) | Body::Batch(_) | Body::Untimed(_) => {}
        }
    }

    fn count(&mut self, epoch: Epoch, seq: Seq, batch: &Batch, from: EventTime, to: EventTime) {
        let before = self.readings.n;
        for block in &batch.blocks {
            for (c, column) in block.columns.iter().enumerate() {
                let marks = block.quality.iter();
                let no_number: BTreeSet<u32> = marks
                    .filter(|m| usize::from(m.column) == c && !has_number(m.quality))
                    .map(|m| m.row)
                    .collect();
                for (i, time) in block.times.iter().enumerate() {
                    if time < from || to <= time {
                        continue;
                    }
                    let index = column.at + i as u32;
                    let content =
                        (!no_number.contains(&(i as u32))).then(|| batch.raw[index as usize]);
                    self.readings.add(&Counted {
                        epoch,
                        seq,
                        index,
                        channel: column.channel,
                        time,
                        late: block.flags.late,
                        suspect: block.flags.suspect,
                        content,
                    });
                }
            }
        }
        if self.readings.n > before {
            self.source(epoch, seq.0);
        }
    }

    /// Notes a source; ranges stay sorted and merged.
    fn source(&mut self, epoch: Epoch, seq: u64) {
        let ranges = self.sources.entry(epoch).or_default();
        let i = ranges.partition_point(|r| r.1 < seq);
        let joins_left = i > 0 && ranges[i - 1].1 + 1 == seq;
        let joins_right = i < ranges.len() && ranges[i].0 == seq + 1;
        match (joins_left, joins_right) {
            (true, true) => {
                ranges[i - 1].1 = ranges[i].1;
                ranges.remove(i);
            }
            (true, false) => ranges[i - 1].1 = seq,
            (false, true) => ranges[i].0 = seq,
            (false, false) => ranges.insert(i, (seq, seq)),
        }
    }

    /// Epochs whose successor names another end of their chain than the records give.
    pub fn broken_links(&self) -> Vec<Epoch> {
        let broken = |l: &&Link| {
            let chain = l
                .last
                .and_then(|last| Some((last, self.chains.get(&l.epoch)?)));
            chain.is_some_and(|(last, c)| c.ends_with(last, &l.head) == Some(false))
        };
        self.links.iter().filter(broken).map(|l| l.epoch).collect()
    }

    /// Do all hashes, seals and links hold?
    pub fn chain_holds(&self) -> bool {
        self.damaged == 0
            && self.chains.values().all(Chain::holds)
            && self.broken_links().is_empty()
    }
}
