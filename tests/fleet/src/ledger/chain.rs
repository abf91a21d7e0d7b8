//! Records that left a small disk before anyone looked, vouched for by the hash chain.
//!
//! A record of the lake that no one saw in an outbox may have been committed, acknowledged and evicted between two looks.
//! It counts as committed if the chain says so: a head that a seen record carries was made from exactly its bytes. Inside
//! a declared loss the chain has no heads; there the Gap itself says that the gateway had numbered it, and a copy that was
//! on its way is welcome.
//!
//! Invariant: starting from what was seen, every step backwards is checked by SHA-256.

use std::collections::BTreeMap;

use windlass_shared::id::{Epoch, RecordId, Seq, TurbineId};
use windlass_shared::record::{Body, Head, Record};
use windlass_shared::wire;

use super::outbox::Witness;

/// Chain heads that seen records name, by the seq up to which they hold.
type Heads = BTreeMap<(TurbineId, Epoch, Seq), Head>;

/// Adds to the witness what the chain vouches for; gives how many records that were. `logged` is every record of the log.
pub fn vouch(witness: &mut Witness, logged: &BTreeMap<RecordId, Vec<u8>>) -> anyhow::Result<u64> {
    let mut heads = Heads::new();
    for (id, committed) in &witness.records {
        let body = committed.mark.as_ref();
        name_heads(&mut heads, id, committed.header.prev_head, body);
    }
    let mut vouched = 0;
    // From the end, so that a record that is vouched for can vouch for the one before.
    for (id, bytes) in logged.iter().rev() {
        if witness.records.contains_key(id) {
            continue;
        }
        let record: Record = wire::decode(bytes)?;
        let head = wire::next_head(&record.header.prev_head, &wire::hash(bytes));
        let key = (id.turbine.clone(), id.epoch, id.seq);
        if heads.get(&key) == Some(&head) || witness.declared_lost(id) {
            let mark = match &record.body {
                Body::Batch(_) => None,
                other => Some(other),
            };
            name_heads(&mut heads, id, record.header.prev_head, mark);
            witness.take(record, bytes.clone())?;
            vouched += 1;
        }
    }
    Ok(vouched)
}

/// The heads that a record names: before itself, around what a Gap declares lost, up to a Seal, at a predecessor's end.
fn name_heads(heads: &mut Heads, id: &RecordId, prev: Head, mark: Option<&Body>) {
    let mut name = |epoch: Epoch, seq: u64, head: Head| {
        if seq > 0 {
            heads.insert((id.turbine.clone(), epoch, Seq(seq)), head);
        }
    };
    name(id.epoch, id.seq.0 - 1, prev);
    match mark {
        Some(Body::Gap(gap)) => {
            for range in &gap.ranges {
                if let Some((before, after)) = range.heads {
                    name(gap.epoch, range.seqs.first.0 - 1, before);
                    name(gap.epoch, range.seqs.last.0, after);
                }
            }
        }
        Some(Body::Seal(seal)) => name(id.epoch, seal.upto.0, seal.head),
        Some(Body::Open(open)) => {
            if let Some(predecessor) = &open.predecessor
                && let Some(last) = predecessor.last_seq
            {
                name(predecessor.epoch, last.0, predecessor.head);
            }
        }
        Some(Body::Batch(_) | Body::Untimed(_)) | None => {}
    }
}
