//! The hashes of recent records, to tell a resent record from other bytes under the same seq.
//!
//! Only a memory aid: what is forgotten here is still a duplicate, only an unverified one. The live lane and the
//! backlog lane run at the same time and at very different seqs, so each has its own ring.

use serde::{Deserialize, Serialize};

use crate::id::{Epoch, Seq};
use crate::record::RecordHash;

/// Records at the front of an epoch whose hashes are kept.
pub const FRONT: u64 = 1_024;
/// Records behind them, by arrival.
const BACK: u64 = 256;
/// Epochs whose hashes are kept, by last use.
const EPOCHS: usize = 3;

/// Rings of the epochs that records came from last; the most recent one is last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Rings(Vec<Ring>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Ring {
    epoch: Epoch,
    /// Greatest seq seen.
    top: u64,
    /// First 8 bytes of the hash of each seq in `top - FRONT + 1 ..= top`, at `seq % FRONT`; 0: not there.
    front: Vec<u64>,
    /// (seq, hash) of older ones, at `seq % BACK`; seq 0: none.
    back: Vec<(u64, u64)>,
}

/// Never 0.
fn short(hash: &RecordHash) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.0[..8]);
    u64::from_le_bytes(bytes).max(1)
}

impl Rings {
    /// Is `hash` the one that `seq` had? `None`: forgotten.
    pub(super) fn same(&self, epoch: Epoch, seq: Seq, hash: &RecordHash) -> Option<bool> {
        let ring = self.0.iter().find(|r| r.epoch == epoch)?;
        ring.get(seq.0).map(|known| known == short(hash))
    }

    /// Remembers the hash of a new record.
    pub(super) fn put(&mut self, epoch: Epoch, seq: Seq, hash: &RecordHash) {
        if self.0.last().is_none_or(|r| r.epoch != epoch) {
            let ring = match self.0.iter().position(|r| r.epoch == epoch) {
                Some(i) => self.0.remove(i),
                None => Ring {
                    epoch,
                    top: 0,
                    front: Vec::new(),
                    back: Vec::new(),
                },
            };
            if self.0.len() == EPOCHS {
                self.0.remove(0);
            }
            self.0.push(ring);
        }
        if let Some(ring) = self.0.last_mut() {
            ring.put(seq.0, short(hash));
        }
    }
}

impl Ring {
    fn get(&self, seq: u64) -> Option<u64> {
        if seq + FRONT > self.top {
            let hash = *self.front.get((seq % FRONT) as usize)?;
            return (hash != 0 && seq <= self.top).then_some(hash);
        }
        let (s, hash) = *self.back.get((seq % BACK) as usize)?;
        (s == seq).then_some(hash)
    }

    fn put(&mut self, seq: u64, hash: u64) {
        if seq > self.top {
            // forget those that fall out of the window, and those skipped
            if seq - self.top >= FRONT {
                self.front.clear();
            } else {
                for s in self.top + 1..seq {
                    if let Some(slot) = self.front.get_mut((s % FRONT) as usize) {
                        *slot = 0;
                    }
                }
            }
            self.top = seq;
        }
        if seq + FRONT > self.top {
            let i = (seq % FRONT) as usize;
            if i >= self.front.len() {
                self.front.resize(i + 1, 0);
            }
            self.front[i] = hash;
        } else {
            let i = (seq % BACK) as usize;
            if i >= self.back.len() {
                self.back.resize(i + 1, (0, 0));
            }
            self.back[i] = (seq, hash);
        }
    }
}
