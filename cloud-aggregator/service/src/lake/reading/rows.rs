//! A turbine's readings as rows, made from the records of a cut.
//!
//! Invariant: rows of a channel are sorted by event time and then by identity. They mostly come so, and are sorted only
//! where they do not.

use std::sync::Arc;

use windlass_cloud_core::fleet::Fleet;
use windlass_shared::catalogue::{Catalogue, CatalogueHash};
use windlass_shared::id::{BootId, ChannelId, Epoch, Seq};
use windlass_shared::record::{Block, Body, Flags, Quality};
use windlass_shared::time::LogTime;
use windlass_shared::wire;

use super::{LakeError, Piece};

/// A reading.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Event time, microseconds.
    pub time: i64,
    /// Scaled integer, or the bits of a float.
    pub raw: i64,
    /// Place in its record.
    pub index: u32,
    /// Its record, among the turbine's.
    pub piece: u32,
    /// How good.
    pub quality: Quality,
    /// `raw` holds the bits of a float.
    pub float: bool,
    /// The gateway's marks.
    pub flags: Flags,
    /// `time` counts from the start of its record's boot.
    pub untimed: bool,
}

/// The record that a row is from.
#[derive(Debug)]
pub struct PieceOf {
    /// Which run.
    pub epoch: Epoch,
    /// Order of the runs' first records in the log.
    rank: u32,
    /// Which record.
    pub seq: Seq,
    /// Log time of its entry.
    pub log_time: LogTime,
    /// Offset of its entry.
    pub offset: u64,
    /// The boot that the times of its readings count from, if they are no event times.
    pub boot: Option<BootId>,
    /// Its catalogue's name.
    pub hash: CatalogueHash,
    /// Its catalogue, if known.
    pub catalogue: Option<Arc<Catalogue>>,
}

/// All readings of one turbine in a cut; its memory serves one turbine after the other.
#[derive(Debug, Default)]
pub struct TurbineRows {
    pieces: Vec<PieceOf>,
    /// By channel number.
    channels: Vec<Vec<Row>>,
}

impl TurbineRows {
    /// Makes the rows of `pieces` in place of those it held; `of` names the cut in an error.
    pub fn fill(&mut self, fleet: &Fleet, pieces: &[Piece], of: &str) -> Result<(), LakeError> {
        self.pieces.clear();
        self.channels.iter_mut().for_each(Vec::clear);
        let mut epochs: Vec<Epoch> = Vec::new();
        for piece in pieces {
            let rank = epochs.iter().position(|e| *e == piece.epoch);
            let rank = rank.unwrap_or_else(|| {
                epochs.push(piece.epoch);
                epochs.len() - 1
            });
            self.pieces.push(PieceOf {
                epoch: piece.epoch,
                rank: rank as u32,
                seq: piece.seq,
                log_time: piece.log_time,
                offset: piece.offset,
                boot: piece.boot,
                hash: piece.catalogue,
                catalogue: fleet.catalogue(piece.catalogue).cloned(),
            });
            self.push(&piece.bytes)
                .map_err(|found| LakeError::Damaged {
                    path: format!("log entry {} of {of}", piece.offset),
                    what: "a record",
                    expected: "the readings that it held when it was taken".to_owned(),
                    found,
                })?;
        }
        let (pieces, channels) = (&self.pieces, &mut self.channels);
        let key = |r: &Row| {
            let p = &pieces[r.piece as usize];
            (r.time, p.rank, p.seq, r.index)
        };
        for rows in channels {
            if !rows.is_sorted_by_key(key) {
                rows.sort_unstable_by_key(key);
            }
        }
        Ok(())
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), String> {
        let record = wire::decode(bytes).map_err(|e| e.to_string())?;
        let (batch, untimed) = match record.body {
            Body::Batch(batch) => (batch, false),
            Body::Untimed(untimed) => (untimed.batch, true),
            _ => return Err("a record without readings".to_owned()),
        };
        let piece = self.pieces.len() as u32 - 1;
        for block in &batch.blocks {
            for (c, column) in block.columns.iter().enumerate() {
                let at = usize::from(column.channel.0);
                if self.channels.len() <= at {
                    self.channels.resize_with(at + 1, Vec::new);
                }
                let rows = &mut self.channels[at];
                let start = rows.len();
                rows.extend(block.times.iter().enumerate().map(|(i, time)| {
                    let index = column.at + i as u32;
                    Row {
                        time: time.0,
                        raw: batch.raw[index as usize],
                        index,
                        piece,
                        quality: Quality::Good,
                        float: column.float,
                        flags: block.flags,
                        untimed,
                    }
                }));
                mark_quality(&mut rows[start..], block, c);
            }
        }
        Ok(())
    }

    /// Rows of each channel that has some, ascending by channel.
    pub fn by_channel(&self) -> impl Iterator<Item = (ChannelId, &[Row])> {
        let channels = self.channels.iter().enumerate();
        channels
            .filter(|(_, rows)| !rows.is_empty())
            .map(|(channel, rows)| (ChannelId(channel as u16), rows.as_slice()))
    }

    /// The record that a row is from.
    pub fn piece(&self, row: &Row) -> &PieceOf {
        &self.pieces[row.piece as usize]
    }
}

fn mark_quality(rows: &mut [Row], block: &Block, column: usize) {
    for mark in &block.quality {
        if usize::from(mark.column) == column
            && let Some(row) = rows.get_mut(mark.row as usize)
        {
            row.quality = mark.quality;
        }
    }
}
