//! Snapshots: the state of a partition as bytes, named by the position in it.
//!
//! Layout: `WLSN`, layout version (u16), logic version (u32), SHA-256 of the payload, payload (postcard). Numbers are
//! little-endian. A snapshot that is damaged or of another layout is never taken. The logic version is for the operator:
//! a state of an older version is good, what must match is the version that committed the outputs replayed after it.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{LOGIC_VERSION, Partition, State};
use crate::detect::{Detectors, Plans};
use crate::fleet::Fleet;

const MAGIC: [u8; 4] = *b"WLSN";
/// Changes with the layout of the state.
const LAYOUT_VERSION: u16 = 3;
const HEADER_LEN: usize = 4 + 2 + 4 + 32;

/// Why a snapshot is not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RestoreError {
    /// Not a snapshot, or cut short, or damaged: use an older one.
    #[error("the snapshot is damaged ({0}): an older one and the log give the same state")]
    Damaged(String),
    /// Made by another layout of the state.
    #[error(
        "the snapshot has layout {found}, this version reads {expected}: start from an older position or from 0"
    )]
    Layout {
        /// In the snapshot.
        found: u16,
        /// What this code reads.
        expected: u16,
    },
}

impl Partition {
    /// The state as bytes. A clone is cheap: clone, and serialise the clone off-thread.
    pub fn snapshot(&self) -> Vec<u8> {
        // plain structs, maps and numbers always serialise; an empty payload would fail its check on the way back
        let payload = postcard::to_stdvec(&self.state).unwrap_or_default();
        let mut out = Vec::with_capacity(HEADER_LEN + payload.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&LAYOUT_VERSION.to_le_bytes());
        out.extend_from_slice(&LOGIC_VERSION.to_le_bytes());
        out.extend_from_slice(&Sha256::digest(&payload));
        out.extend_from_slice(&payload);
        out
    }

    /// The state from [`Partition::snapshot`]'s bytes.
    pub fn restore(bytes: &[u8], fleet: Arc<Fleet>) -> Result<Self, RestoreError> {
        let damaged = |why: &str| RestoreError::Damaged(why.to_owned());
        let rest = bytes
            .strip_prefix(&MAGIC)
            .ok_or_else(|| damaged("it does not begin with WLSN"))?;
        let cut = || damaged("cut short");
        let (layout, rest) = rest.split_first_chunk::<2>().ok_or_else(cut)?;
        let (_logic, rest) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let (sha256, payload) = rest.split_first_chunk::<32>().ok_or_else(cut)?;
        let found = u16::from_le_bytes(*layout);
        if found != LAYOUT_VERSION {
            let expected = LAYOUT_VERSION;
            return Err(RestoreError::Layout { found, expected });
        }
        if Sha256::digest(payload).as_slice() != sha256 {
            return Err(damaged("its checksum does not match"));
        }
        let state: State =
            postcard::from_bytes(payload).map_err(|e| RestoreError::Damaged(e.to_string()))?;
        let detectors = match &state.config {
            None => Detectors::default(),
            Some(config) => Detectors::parse("detectors", &config.toml)
                .map_err(|e| RestoreError::Damaged(e.to_string()))?,
        };
        Ok(Self {
            plans: Plans::new(Arc::new(detectors), &fleet),
            state,
            fleet,
        })
    }
}
