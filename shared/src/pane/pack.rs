//! A pane that is not being added to, as bytes: variable-length integers, about 20 bytes for an analogue channel.
//!
//! Invariant: unpacking gives back a pane that says the same. The bytes live in memory and in snapshots of one logic
//! version only; they are no wire format.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::slot::{Latest, Points, Slot, States, Wide};
use super::{Pane, Point, Sources};
use crate::id::{ChannelId, Epoch, Seq, SeqRange};
use crate::time::EventTime;

/// A packed pane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Arc<[u8]>", into = "Arc<[u8]>")]
pub(crate) struct Packed(Arc<[u8]>);

impl From<Packed> for Arc<[u8]> {
    fn from(packed: Packed) -> Self {
        packed.0
    }
}

impl TryFrom<Arc<[u8]>> for Packed {
    type Error = &'static str;
    fn try_from(bytes: Arc<[u8]>) -> Result<Self, Self::Error> {
        match read(&bytes) {
            Some(_) => Ok(Self(bytes)),
            None => Err("a packed pane is damaged"),
        }
    }
}

impl Packed {
    pub(crate) fn new(pane: &Pane) -> Self {
        let mut out = Writer(Vec::with_capacity(32 + pane.slots.len() * 24));
        out.signed(pane.start.0);
        out.unsigned(pane.late);
        out.unsigned(pane.sources.0.len() as u64);
        for (epoch, ranges) in &pane.sources.0 {
            out.0.extend(epoch.0);
            out.unsigned(ranges.len() as u64);
            let mut from = 0;
            for range in ranges {
                out.unsigned(range.first.0 - from);
                out.unsigned(range.last.0 - range.first.0);
                from = range.last.0;
            }
        }
        let mut from = 0;
        for (id, slot) in pane.ids.iter().zip(&pane.slots) {
            if !matches!(slot, Slot::Empty) {
                out.unsigned(u64::from(id.0 - from) + 1);
                from = id.0;
                out.slot(slot, pane);
            }
        }
        out.unsigned(0);
        Self(out.0.into())
    }

    /// The pane again.
    pub(crate) fn unpack(&self) -> Pane {
        // `new` wrote the bytes, or `try_from` has read them once
        read(&self.0).unwrap_or_else(|| Pane::new(EventTime::MIN))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn unsigned(&mut self, mut v: u64) {
        while v >= 0x80 {
            self.0.push(v as u8 | 0x80);
            v >>= 7;
        }
        self.0.push(v as u8);
    }

    fn signed(&mut self, v: i64) {
        self.unsigned(((v << 1) ^ (v >> 63)) as u64);
    }

    fn wide(&mut self, v: i128) {
        let z = ((v << 1) ^ (v >> 127)) as u128;
        if z >> 63 == 0 {
            self.unsigned((z as u64) << 1);
        } else {
            self.unsigned(1);
            self.0.extend(v.to_le_bytes());
        }
    }

    fn point(&mut self, p: &Point, before: Option<&Point>, pane: &Pane) {
        let (at, seq, raw) = before.map_or((pane.start, 0, 0), |b| (b.at, b.seq.0, b.raw));
        self.signed(p.at.0.wrapping_sub(at.0));
        let epoch = pane.sources.0.iter().position(|(e, _)| *e == p.epoch);
        self.unsigned(epoch.unwrap_or_default() as u64);
        self.signed((p.seq.0 as i64).wrapping_sub(seq as i64));
        self.unsigned(u64::from(p.index));
        self.signed(p.raw.wrapping_sub(raw));
    }

    fn points(&mut self, points: &Points, pane: &Pane) {
        self.unsigned(points.bad);
        self.unsigned(points.points.len() as u64);
        let mut before = None;
        for p in &points.points {
            self.point(p, before, pane);
            before = Some(p);
        }
    }

    fn slot(&mut self, slot: &Slot, pane: &Pane) {
        match slot {
            Slot::Empty => {}
            Slot::Narrow {
                bad,
                n,
                min,
                max,
                sum,
                sum_sq,
            } => {
                self.0.push(0);
                self.unsigned(u64::from(*n));
                self.unsigned(u64::from(*bad));
                self.signed(*sum);
                self.unsigned(*sum_sq);
                self.signed(i64::from(*min));
                self.unsigned(i64::from(*max).wrapping_sub(i64::from(*min)) as u64);
            }
            Slot::Wide(w) => {
                self.0.push(1);
                self.unsigned(w.n);
                self.unsigned(w.bad);
                self.wide(w.sum);
                self.wide(w.sum_sq);
                self.signed(w.min);
                self.signed(w.max);
            }
            Slot::Circular { bad, n, cos, sin } => {
                self.0.push(2);
                self.unsigned(u64::from(*n));
                self.unsigned(u64::from(*bad));
                self.signed(*cos);
                self.signed(*sin);
            }
            Slot::States(s) => {
                self.0.push(3);
                self.unsigned(s.bad);
                self.unsigned(s.counts.len() as u64);
                for (state, n) in &s.counts {
                    self.signed(*state);
                    self.unsigned(*n);
                }
            }
            Slot::Latest(l) => {
                self.0.push(4);
                self.unsigned(l.n);
                self.unsigned(l.bad);
                self.signed(l.min);
                self.signed(l.max);
                self.unsigned(u64::from(l.last.is_some()));
                if let Some(last) = &l.last {
                    self.point(last, None, pane);
                }
            }
            Slot::Counter(p) => {
                self.0.push(5);
                self.points(p, pane);
            }
            Slot::Codes(p) => {
                self.0.push(6);
                self.points(p, pane);
            }
        }
    }
}

fn read(bytes: &[u8]) -> Option<Pane> {
    let mut r = Reader(bytes);
    let mut pane = Pane::new(EventTime(r.signed()?));
    pane.late = r.unsigned()?;
    for _ in 0..r.unsigned()? {
        let epoch = Epoch(*r.take::<16>()?);
        let mut ranges = Vec::new();
        let mut from = 0u64;
        for _ in 0..r.unsigned()? {
            let first = from.checked_add(r.unsigned()?)?;
            from = first.checked_add(r.unsigned()?)?;
            ranges.push(SeqRange::new(first, from)?);
        }
        pane.sources.0.push((epoch, ranges));
    }
    let mut id = 0;
    loop {
        let step = r.unsigned()?;
        if step == 0 {
            return r.0.is_empty().then_some(pane);
        }
        id = u16::try_from(u64::from(id) + (step - 1)).ok()?;
        let slot = r.slot(pane.start, &pane.sources)?;
        pane.ids.push(ChannelId(id));
        pane.slots.push(slot);
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn take<const N: usize>(&mut self) -> Option<&[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(taken)
    }

    fn unsigned(&mut self) -> Option<u64> {
        let mut v = 0;
        for shift in (0..64).step_by(7) {
            let b = self.byte()?;
            v |= u64::from(b & 0x7f) << shift;
            if b < 0x80 {
                return Some(v);
            }
        }
        None
    }

    fn signed(&mut self) -> Option<i64> {
        let z = self.unsigned()?;
        Some((z >> 1) as i64 ^ -((z & 1) as i64))
    }

    fn wide(&mut self) -> Option<i128> {
        let v = self.unsigned()?;
        if v == 1 {
            return self.take::<16>().map(|b| i128::from_le_bytes(*b));
        }
        let z = v >> 1;
        Some(i128::from((z >> 1) as i64 ^ -((z & 1) as i64)))
    }

    fn point(&mut self, start: EventTime, before: Option<&Point>, from: &Sources) -> Option<Point> {
        let (at, seq, raw) = before.map_or((start, 0, 0), |b| (b.at, b.seq.0, b.raw));
        Some(Point {
            at: EventTime(at.0.wrapping_add(self.signed()?)),
            epoch: from.0.get(usize::try_from(self.unsigned()?).ok()?)?.0,
            seq: Seq((seq as i64).wrapping_add(self.signed()?) as u64),
            index: u32::try_from(self.unsigned()?).ok()?,
            raw: raw.wrapping_add(self.signed()?),
        })
    }

    fn points(&mut self, start: EventTime, from: &Sources) -> Option<Box<Points>> {
        let bad = self.unsigned()?;
        let mut points: Vec<Point> = Vec::new();
        for _ in 0..self.unsigned()? {
            points.push(self.point(start, points.last(), from)?);
        }
        Some(Box::new(Points { bad, points }))
    }

    fn slot(&mut self, start: EventTime, from: &Sources) -> Option<Slot> {
        Some(match self.byte()? {
            0 => {
                let n = u32::try_from(self.unsigned()?).ok()?;
                let bad = u16::try_from(self.unsigned()?).ok()?;
                let sum = self.signed()?;
                let sum_sq = self.unsigned()?;
                let min = self.signed()?;
                let max = min.wrapping_add(self.unsigned()? as i64);
                Slot::Narrow {
                    bad,
                    n,
                    min: i32::try_from(min).ok()?,
                    max: i32::try_from(max).ok()?,
                    sum,
                    sum_sq,
                }
            }
            1 => Slot::Wide(Box::new(Wide {
                n: self.unsigned()?,
                bad: self.unsigned()?,
                sum: self.wide()?,
                sum_sq: self.wide()?,
                min: self.signed()?,
                max: self.signed()?,
            })),
            2 => Slot::Circular {
                n: u32::try_from(self.unsigned()?).ok()?,
                bad: u32::try_from(self.unsigned()?).ok()?,
                cos: self.signed()?,
                sin: self.signed()?,
            },
            3 => {
                let bad = self.unsigned()?;
                let mut counts = Vec::new();
                for _ in 0..self.unsigned()? {
                    counts.push((self.signed()?, self.unsigned()?));
                }
                Slot::States(Box::new(States { bad, counts }))
            }
            4 => Slot::Latest(Box::new(Latest {
                n: self.unsigned()?,
                bad: self.unsigned()?,
                min: self.signed()?,
                max: self.signed()?,
                last: match self.unsigned()? {
                    0 => None,
                    _ => Some(self.point(start, None, from)?),
                },
            })),
            5 => Slot::Counter(self.points(start, from)?),
            6 => Slot::Codes(self.points(start, from)?),
            _ => return None,
        })
    }
}
