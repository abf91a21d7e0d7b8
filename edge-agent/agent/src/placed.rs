//! How far the journals of this boot have been placed, written down beside the status socket: a folder of this boot, which
//! no copy of the outbox brings back.
//!
//! ```text
//! 0f5a3c1e9b7d4e218c660123456789ab
//! T001 311
//! ```
//! The boot, then for each turbine the greatest number of its journal that was placed.
//!
//! Invariants: it is written before the transaction that places, so that what a restored outbox brings back of a journal is
//! never taken for new; what another boot wrote says nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use windlass_shared::id::{BootId, Seq, TurbineId};

/// The note of one boot.
#[derive(Debug)]
pub struct PlacedNote {
    path: PathBuf,
    boot: BootId,
    upto: BTreeMap<TurbineId, Seq>,
}

impl PlacedNote {
    /// Reads what processes of this boot wrote beside this socket. A file that cannot be read is as good as none, but said.
    pub fn beside(socket: &Path, boot: BootId) -> Self {
        let path = socket.with_extension("placed");
        let upto = match std::fs::read_to_string(&path) {
            Ok(text) => parse(&text, boot),
            Err(e) if e.kind() == ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "what this boot has placed cannot be read");
                BTreeMap::new()
            }
        };
        Self { path, boot, upto }
    }

    /// How far each turbine's journal was placed.
    pub fn upto(&self) -> &BTreeMap<TurbineId, Seq> {
        &self.upto
    }

    /// Writes down how far a transaction will place. It need not reach the disk: with this boot it is void.
    pub fn note(&mut self, placed: &[(TurbineId, Seq)]) -> Result<(), Error> {
        for (turbine, seq) in placed {
            let upto = self.upto.entry(turbine.clone()).or_insert(*seq);
            *upto = (*upto).max(*seq);
        }
        let mut text = format!("{}\n", self.boot);
        for (turbine, seq) in &self.upto {
            // writing to a String does not fail
            writeln!(text, "{turbine} {}", seq.0).ok();
        }
        let part = self.path.with_extension("placed.part");
        let failed = |e: Error| Error::new(e.kind(), format!("{}: {e}", self.path.display()));
        std::fs::write(&part, text).map_err(failed)?;
        std::fs::rename(&part, &self.path).map_err(failed)
    }
}

fn parse(text: &str, boot: BootId) -> BTreeMap<TurbineId, Seq> {
    let mut lines = text.lines();
    if lines.next() != Some(&boot.to_string()) {
        return BTreeMap::new();
    }
    let line = |line: &str| {
        let (turbine, seq) = line.split_once(' ')?;
        Some((TurbineId::new(turbine).ok()?, Seq(seq.parse().ok()?)))
    };
    lines.filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_process_of_the_boot_knows_and_the_next_boot_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("edge.sock");
        let (one, two) = (BootId([1; 16]), BootId([2; 16]));
        let turbine = |n: &str| TurbineId::new(n).unwrap();
        let mut note = PlacedNote::beside(&socket, one);
        assert!(note.upto().is_empty());
        note.note(&[(turbine("T1"), Seq(40)), (turbine("T2"), Seq(7))])
            .unwrap();
        note.note(&[(turbine("T1"), Seq(90)), (turbine("T2"), Seq(3))])
            .unwrap();
        let expected = BTreeMap::from([(turbine("T1"), Seq(90)), (turbine("T2"), Seq(7))]);
        assert_eq!(*PlacedNote::beside(&socket, one).upto(), expected);
        assert!(PlacedNote::beside(&socket, two).upto().is_empty());
        std::fs::write(dir.path().join("edge.placed"), b"\xff\xfe").unwrap();
        assert!(PlacedNote::beside(&socket, one).upto().is_empty());
    }

    #[test]
    fn a_folder_that_is_gone_is_named() {
        let mut note = PlacedNote::beside(Path::new("/nowhere/edge.sock"), BootId([1; 16]));
        let failed = note.note(&[(TurbineId::new("T1").unwrap(), Seq(2))]);
        let why = failed.unwrap_err().to_string();
        assert!(why.contains("/nowhere/edge.placed"), "{why}");
    }
}
