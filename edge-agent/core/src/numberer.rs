//! Gives records their identity: epoch, seq, stamps, chain.
//!
//! Invariants (docs/ARCHITECTURE.md, "Completeness"): seq counts 1, 2, 3, ... in an epoch and seq 1 is the `Open`;
//! ceiling and frontier never go back; the frontier of a record never passes a reading that has no number yet; only
//! readings that are neither late nor suspect count. A record is encoded once.

use std::sync::Arc;

use windlass_shared::id::{BootId, Epoch, RecordId, Seq, TurbineId};
use windlass_shared::record::{
    Batch, Body, Gap, Head, Header, Open, Predecessor, Record, Seal, Stamps, Untimed,
};
use windlass_shared::time::{EventTime, MonoTime, WallTime};
use windlass_shared::wire;

use crate::input::Now;
use crate::store::{HeldEpoch, HeldJournal, NewRow, RowKind, RowMeta};

/// Where an epoch stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Position {
    pub epoch: Epoch,
    pub last_seq: Seq,
    pub ceiling: EventTime,
    pub frontier: EventTime,
    pub head: Head,
}

/// Numbers the records of one turbine.
#[derive(Debug)]
pub(crate) struct Numberer {
    turbine: TurbineId,
    before: Option<Predecessor>,
    current: Option<Position>,
    records_since_seal: u64,
    sealed_at: MonoTime,
}

/// What a record holds besides its number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contents {
    pub kind: RowKind,
    pub readings: u64,
    /// First and last event time that is not suspect.
    pub bounds: Option<(EventTime, EventTime)>,
    /// Greatest event time on time; [`EventTime::MIN`]: none.
    pub latest_on_time: EventTime,
}

impl Contents {
    fn mark(kind: RowKind) -> Self {
        Self {
            kind,
            readings: 0,
            bounds: None,
            latest_on_time: EventTime::MIN,
        }
    }
}

impl Numberer {
    /// Continues behind what the store holds.
    pub fn new(turbine: TurbineId, last: Option<&HeldEpoch>) -> Self {
        Self {
            turbine,
            before: last.map(|e| Predecessor {
                epoch: e.epoch,
                last_seq: Some(e.last_seq),
                ceiling: e.whole.then_some(e.ceiling),
                head: if e.whole { e.head } else { Head::default() },
            }),
            current: None,
            records_since_seal: 0,
            sealed_at: MonoTime(0),
        }
    }

    /// Continues a boot's journal: its rows are records whose numbers never leave the gateway. They begin at 2, because 1
    /// is an `Open`'s.
    /// Those up to `placed` are never given again.
    pub fn journal(
        turbine: TurbineId,
        boot: BootId,
        held: Option<&HeldJournal>,
        placed: Option<Seq>,
    ) -> Self {
        let root = wire::next_head(&Head::default(), &wire::hash(&boot.0));
        Self {
            turbine,
            before: None,
            current: Some(Position {
                epoch: Epoch(boot.0),
                last_seq: held.map(|h| h.last_seq).max(placed).unwrap_or(Seq(1)),
                ceiling: EventTime::MIN,
                frontier: EventTime(0),
                head: held.map_or(root, |h| h.head),
            }),
            records_since_seal: 0,
            sealed_at: MonoTime(0),
        }
    }

    /// The epoch that is written, once it has begun.
    pub fn position(&self) -> Option<Position> {
        self.current
    }

    /// The last stamped frontier: earlier readings are late.
    pub fn frontier(&self) -> EventTime {
        self.current.map_or(EventTime::MIN, |c| c.frontier)
    }

    /// Begins an epoch: the row of its `Open`.
    pub fn open(
        &mut self,
        now: Now,
        epoch: Epoch,
        oldest_held: Option<Epoch>,
        not_before: EventTime,
        agent_version: &str,
    ) -> NewRow {
        let predecessor = match self.current.take() {
            Some(c) => Some(Predecessor {
                epoch: c.epoch,
                last_seq: Some(c.last_seq),
                ceiling: Some(c.ceiling),
                head: c.head,
            }),
            None => self.before.take(),
        };
        self.current = Some(Position {
            epoch,
            last_seq: Seq(0),
            ceiling: EventTime::MIN,
            frontier: not_before,
            head: Head::default(),
        });
        self.sealed_at = now.mono;
        self.records_since_seal = 0;
        let open = Open {
            predecessor,
            oldest_held: oldest_held.unwrap_or(epoch),
            not_before,
            agent_version: agent_version.into(),
        };
        self.record(
            now,
            not_before,
            Body::Open(open),
            Contents::mark(RowKind::Open),
        )
    }

    /// A batch; `bound`: how far the frontier may go behind it.
    pub fn batch(
        &mut self,
        now: Now,
        bound: EventTime,
        batch: Batch,
        contents: Contents,
    ) -> NewRow {
        self.record(now, bound, Body::Batch(batch), contents)
    }

    /// Readings without a time.
    pub fn untimed(
        &mut self,
        now: Now,
        bound: EventTime,
        untimed: Untimed,
        contents: Contents,
    ) -> NewRow {
        self.record(now, bound, Body::Untimed(untimed), contents)
    }

    /// Gives a seq to readings that have no record, the latest of which may be at `latest`: a Gap must say so. Returns the
    /// seq and its ceiling and frontier.
    pub fn hole(&mut self, latest: EventTime) -> (Seq, (EventTime, EventTime)) {
        let at = self.running();
        let hole = Position {
            last_seq: at.last_seq.next(),
            ceiling: at.ceiling.max(latest),
            ..at
        };
        self.current = Some(hole);
        (hole.last_seq, (hole.ceiling, hole.frontier))
    }

    /// A Gap.
    pub fn gap(&mut self, now: Now, bound: EventTime, gap: Gap) -> NewRow {
        self.record(now, bound, Body::Gap(gap), Contents::mark(RowKind::Gap))
    }

    /// A Seal over everything before it.
    pub fn seal(&mut self, now: Now, bound: EventTime) -> NewRow {
        let at = self.running();
        let seal = Seal {
            upto: at.last_seq,
            head: at.head,
            signature: Vec::new(),
        };
        let row = self.record(now, bound, Body::Seal(seal), Contents::mark(RowKind::Seal));
        self.records_since_seal = 0;
        self.sealed_at = now.mono;
        row
    }

    /// Records since the last Seal, and when that was.
    pub fn since_seal(&self) -> (u64, MonoTime) {
        (self.records_since_seal, self.sealed_at)
    }

    fn running(&self) -> Position {
        // the caller opens an epoch first: a record without one would have no identity
        #[allow(clippy::expect_used)] // a broken invariant stops the agent
        self.current.expect("an epoch is open")
    }

    fn record(&mut self, now: Now, bound: EventTime, body: Body, contents: Contents) -> NewRow {
        let at = self.running();
        let stamps = Stamps {
            prev_ceiling: at.ceiling,
            ceiling: at.ceiling.max(contents.latest_on_time),
            frontier: at.frontier.max(bound),
        };
        let id = RecordId {
            turbine: self.turbine.clone(),
            epoch: at.epoch,
            seq: at.last_seq.next(),
        };
        let record = Record {
            header: Header {
                id: id.clone(),
                stamps,
                committed_at: WallTime(now.wall.0.max(0)),
                prev_head: at.head,
            },
            body,
        };
        let payload: Arc<[u8]> = wire::encode(&record).into();
        let head = wire::next_head(&at.head, &wire::hash(&payload));
        self.current = Some(Position {
            epoch: at.epoch,
            last_seq: id.seq,
            ceiling: stamps.ceiling,
            frontier: stamps.frontier,
            head,
        });
        self.records_since_seal += 1;
        NewRow {
            meta: RowMeta {
                id,
                kind: contents.kind,
                readings: contents.readings,
                bounds: contents.bounds,
                ceiling: stamps.ceiling,
                frontier: stamps.frontier,
                prev_head: at.head,
                head,
                committed_at: now.wall,
                bytes: payload.len() as u64,
            },
            payload,
        }
    }
}
