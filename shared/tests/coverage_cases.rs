//! Coverage against broken, hostile and restored gateways: what is refused, what is alarmed, and what the limits do.

#![allow(clippy::unwrap_used)] // a test: a failure to unwrap is a failed test

use windlass_shared::catalogue::Class;
use windlass_shared::coverage::{Coverage, LinkFault, Loss, Receipt, SEGMENTS_MAX, Verdict};
use windlass_shared::id::{Epoch, RecordId, Seq, SeqRange, TurbineId};
use windlass_shared::record::{
    Body, Gap, GapRange, Head, Header, LossReason, Open, Predecessor, Record, RecordHash, Seal,
    Stamps,
};
use windlass_shared::time::{EventTime, WallTime};
use windlass_shared::wire;

/// A gateway's epoch; record k is committed at time `start + 10 k`, and its frontier is that time.
#[derive(Clone)]
struct Chain {
    epoch: Epoch,
    start: i64,
    records: Vec<(Record, RecordHash)>,
    heads: Vec<Head>,
}

fn epoch(n: u8) -> Epoch {
    Epoch([n; 16])
}

impl Chain {
    fn new(n: u8, start: i64, predecessor: Option<Predecessor>, oldest_held: u8) -> Self {
        let mut chain = Self {
            epoch: epoch(n),
            start,
            records: Vec::new(),
            heads: vec![Head::default()],
        };
        chain.commit(Body::Open(Open {
            predecessor,
            oldest_held: epoch(oldest_held),
            not_before: EventTime(start),
            agent_version: String::new(),
        }));
        chain
    }

    /// An epoch of `n` records.
    fn of(id: u8, start: i64, n: usize) -> Self {
        let mut chain = Self::new(id, start, None, id);
        chain.grow(n - 1);
        chain
    }

    fn commit(&mut self, body: Body) {
        let k = self.records.len() as i64 + 1;
        let ceiling = |k: i64| {
            EventTime(if k <= 1 {
                i64::MIN
            } else {
                self.start + 10 * k - 5
            })
        };
        let record = Record {
            header: Header {
                id: RecordId {
                    turbine: TurbineId::new("T1").unwrap(),
                    epoch: self.epoch,
                    seq: Seq(k as u64),
                },
                stamps: Stamps {
                    ceiling: ceiling(k),
                    prev_ceiling: ceiling(k - 1),
                    frontier: EventTime(self.start + 10 * k),
                },
                committed_at: WallTime(0),
                prev_head: self.heads[self.heads.len() - 1],
            },
            body,
        };
        let hash = wire::hash(&[self.epoch.0[0], k as u8, (k >> 8) as u8, (k >> 16) as u8]);
        self.heads
            .push(wire::next_head(&record.header.prev_head, &hash));
        self.records.push((record, hash));
    }

    /// Seals stand for any record here: they have stamps and a place in the chain.
    fn grow(&mut self, n: usize) {
        for _ in 0..n {
            self.commit(Body::Seal(Seal {
                upto: Seq(self.records.len() as u64),
                head: self.heads[self.heads.len() - 1],
                signature: Vec::new(),
            }));
        }
    }

    fn end(&self) -> Predecessor {
        self.end_at(self.records.len())
    }

    fn end_at(&self, n: usize) -> Predecessor {
        Predecessor {
            epoch: self.epoch,
            last_seq: Some(Seq(n as u64)),
            ceiling: Some(self.records[n - 1].0.header.stamps.ceiling),
            head: self.heads[n],
        }
    }

    fn give(&self, to: &mut Coverage, seqs: impl IntoIterator<Item = usize>) {
        for seq in seqs {
            let (record, hash) = &self.records[seq - 1];
            assert_eq!(
                to.receive(record, hash),
                Receipt::New,
                "{} {seq}",
                self.epoch
            );
        }
    }

    fn gap(&self, of: u8, first: u64, last: u64) -> Body {
        assert!(!self.records.is_empty());
        Body::Gap(Gap {
            epoch: epoch(of),
            class: Class::Condition,
            reason: LossReason::Evicted,
            ranges: vec![GapRange {
                seqs: SeqRange::new(first, last).unwrap(),
                readings: None,
                bounds: None,
                end: None,
                heads: None,
            }],
        })
    }
}

fn at(t: i64) -> EventTime {
    EventTime(t)
}

fn refused(coverage: &mut Coverage, record: &Record, hash: &RecordHash, why: &str) {
    match coverage.receive(record, hash) {
        Receipt::Refused(text) => assert!(text.contains(why), "{text}"),
        other => panic!("{other:?} instead of a refusal: {why}"),
    }
}

#[test]
fn other_bytes_under_a_seq_quarantine_the_epoch() {
    let a = Chain::of(1, 0, 12);
    let mut c = Coverage::default();
    a.give(&mut c, 1..=10);
    assert_eq!(c.verdict(at(20), at(30)), Verdict::Exact);
    let (record, hash) = &a.records[4];
    assert_eq!(c.receive(record, hash), Receipt::Duplicate);
    assert_eq!(c.receive(record, &RecordHash([9; 32])), Receipt::Conflict);
    assert_eq!(c.receive(record, hash), Receipt::Duplicate);
    let (next, hash) = &a.records[10];
    assert_eq!(c.receive(next, hash), Receipt::Quarantined);
    assert!(c.epochs()[0].quarantined);
    let loss = Loss {
        epoch: epoch(1),
        seqs: None,
        reason: Some(LossReason::Refused),
    };
    assert_eq!(c.verdict(at(20), at(30)), Verdict::WithLoss(vec![loss]));
    // a new epoch goes on from there
    let b = Chain::new(2, 200, Some(a.end()), 1);
    b.give(&mut c, [1]);
    assert_eq!(c.newest(), Some(epoch(2)));
    assert!(matches!(c.verdict(at(20), at(30)), Verdict::WithLoss(_)));
}

#[test]
fn contradictions_are_refused_and_become_lost() {
    let a = Chain::of(1, 0, 12);
    let mut c = Coverage::default();
    a.give(&mut c, (1..=4).chain(8..=10));
    let change = |seq: usize, f: fn(&mut Record)| {
        let (mut record, hash) = a.records[seq - 1].clone();
        f(&mut record);
        (record, hash)
    };
    let cases: [(Record, RecordHash, &str); 6] = [
        {
            let (r, h) = change(5, |r| r.header.stamps.prev_ceiling = EventTime(0));
            (r, h, "prev_ceiling 0 of seq 5 does not fit")
        },
        {
            let (r, h) = change(5, |r| r.header.stamps.frontier = EventTime(1));
            (r, h, "frontier goes back from 40 of seq 4 to 1 of seq 5")
        },
        {
            let (r, h) = change(5, |r| {
                r.header.prev_head = Head([3; 32]);
                r.body = Body::Gap(Gap {
                    epoch: Epoch([1; 16]),
                    class: Class::Condition,
                    reason: LossReason::Evicted,
                    ranges: Vec::new(),
                });
            });
            (r, h, "the chain does not join between seq 4 and seq 5")
        },
        {
            let (r, _) = change(7, |_| ());
            (
                r,
                RecordHash([5; 32]),
                "the chain does not join between seq 7 and seq 8",
            )
        },
        {
            let (r, h) = change(6, |r| r.header.stamps.ceiling = EventTime(500));
            (
                r,
                h,
                "ceiling 500 of seq 6 does not fit prev_ceiling 65 of seq 8",
            )
        },
        {
            let (r, h) = change(6, |r| {
                if let Body::Seal(seal) = &mut r.body {
                    seal.head = Head([1; 32]);
                }
            });
            (r, h, "the Seal's head")
        },
    ];
    for (record, hash, why) in &cases {
        refused(&mut c, record, hash, why);
    }
    let view = &c.epochs()[0];
    assert_eq!(view.runs.len(), 1);
    let lost = vec![(SeqRange::new(5, 7).unwrap(), LossReason::Refused)];
    assert_eq!(view.runs[0].lost, lost);
    assert!(matches!(c.verdict(at(50), at(60)), Verdict::WithLoss(_)));
    // the right bytes are welcome all the same
    a.give(&mut c, 5..=7);
    assert_eq!(c.verdict(at(50), at(60)), Verdict::Exact);
    assert!(c.epochs()[0].runs[0].lost.is_empty());
}

#[test]
fn beyond_the_declared_end_is_refused() {
    let a = Chain::of(1, 0, 12);
    let b = Chain::new(2, 200, Some(a.end_at(10)), 1);
    let mut c = Coverage::default();
    b.give(&mut c, [1]);
    assert_eq!(c.holes(9), vec![(epoch(1), SeqRange::new(1, 10).unwrap())]);
    assert_eq!(c.verdict(at(20), at(30)), Verdict::Open);
    a.give(&mut c, 1..=10);
    assert_eq!(c.verdict(at(20), at(30)), Verdict::Exact);
    let (record, hash) = &a.records[10];
    refused(&mut c, record, hash, "seq 11 lies beyond 10");
    assert_eq!(c.link_faults(), []);
}

#[test]
fn a_restored_backup_is_seen_and_does_not_complete_anything() {
    // the disk is restored to when the epoch had 6 records; the log has 10
    let a = Chain::of(1, 0, 12);
    let b = Chain::new(2, 200, Some(a.end_at(6)), 1);
    let mut c = Coverage::default();
    a.give(&mut c, 1..=10);
    b.give(&mut c, [1]);
    let fault = LinkFault::EndContradicted {
        epoch: epoch(1),
        successor: epoch(2),
    };
    assert_eq!(c.link_faults(), [fault]);
    // the end of the first epoch is unknown: what lies behind its last frontier settles, since the disk has no more of it,
    // and never becomes exact
    assert_eq!(c.verdict(at(60), at(70)), Verdict::Exact);
    let end = Loss {
        epoch: epoch(1),
        seqs: None,
        reason: None,
    };
    assert_eq!(c.verdict(at(120), at(130)), Verdict::WithLoss(vec![end]));
}

#[test]
fn a_fork_is_alarmed_and_ordered_by_start() {
    let a = Chain::of(1, 0, 10);
    let b = Chain::new(2, 200, Some(a.end()), 1);
    let clone = Chain::new(3, 300, Some(a.end()), 1);
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
        let mut c = Coverage::default();
        for chain in order.map(|i| [&a, &b, &clone][i]) {
            chain.give(&mut c, 1..=chain.records.len());
        }
        assert_eq!(c.newest(), Some(epoch(3)));
        let fork = LinkFault::Fork {
            predecessor: epoch(1),
            successors: vec![epoch(2), epoch(3)],
        };
        assert!(
            c.link_faults().contains(&fork),
            "{order:?}: {:?}",
            c.link_faults()
        );
        let order: Vec<Epoch> = c.epochs().iter().map(|e| e.epoch).collect();
        assert_eq!(order, [epoch(1), epoch(2), epoch(3)]);
        assert_eq!(c.verdict(at(20), at(30)), Verdict::Exact);
        // the first of the two has an unknown end, and is not on the disk of the newest
        let end = Loss {
            epoch: epoch(2),
            seqs: None,
            reason: None,
        };
        assert_eq!(c.verdict(at(250), at(260)), Verdict::WithLoss(vec![end]));
    }
}

#[test]
fn a_replaced_disk_leaves_an_unknown_end() {
    let a = Chain::of(1, 0, 10);
    let b = Chain::of(2, 200, 5);
    let mut c = Coverage::default();
    a.give(&mut c, (1..=4).chain(6..=10));
    b.give(&mut c, 1..=5);
    let fault = LinkFault::Unlinked {
        epoch: epoch(2),
        follows: epoch(1),
    };
    assert_eq!(c.link_faults(), [fault]);
    assert_eq!(c.verdict(at(10), at(20)), Verdict::Exact);
    let hole = Loss {
        epoch: epoch(1),
        seqs: SeqRange::new(5, 5),
        reason: None,
    };
    assert_eq!(c.verdict(at(40), at(50)), Verdict::WithLoss(vec![hole]));
    let end = Loss {
        epoch: epoch(1),
        seqs: None,
        reason: None,
    };
    assert_eq!(c.verdict(at(150), at(160)), Verdict::WithLoss(vec![end]));
}

#[test]
fn a_gap_is_not_a_receipt() {
    let mut a = Chain::of(1, 0, 9);
    let gap = a.gap(1, 4, 7);
    a.commit(gap); // seq 10
    let mut c = Coverage::default();
    a.give(&mut c, (1..=4).chain([8, 9, 10]));
    let lost = |first, last| Loss {
        epoch: epoch(1),
        seqs: SeqRange::new(first, last),
        reason: Some(LossReason::Evicted),
    };
    assert_eq!(
        c.verdict(at(50), at(60)),
        Verdict::WithLoss(vec![lost(5, 7)])
    );
    assert_eq!(c.verdict(at(10), at(20)), Verdict::Exact);
    assert_eq!(c.verdict(at(80), at(90)), Verdict::Exact);
    assert!(c.holes(9).is_empty());
    // a queued copy turns up
    a.give(&mut c, [6]);
    assert_eq!(
        c.verdict(at(45), at(75)),
        Verdict::WithLoss(vec![lost(5, 5), lost(7, 7)])
    );
    a.give(&mut c, [7, 5]);
    assert_eq!(c.verdict(at(45), at(75)), Verdict::Exact);
    // what ingest refused is lost, unless it was received
    c.refuse(epoch(1), Seq(5));
    c.refuse(epoch(1), Seq(11));
    assert_eq!(c.epochs()[0].runs[0].seqs, SeqRange::new(1, 11).unwrap());
    assert_eq!(c.verdict(at(45), at(75)), Verdict::Exact);
}

#[test]
fn a_whole_epoch_is_a_few_dozen_bytes() {
    let mut c = Coverage::default();
    let mut chain = Chain::of(1, 0, 100);
    let mut sizes = Vec::new();
    for n in 2..40u8 {
        chain.give(&mut c, 1..=100);
        chain = Chain::new(n, i64::from(n) * 100_000, Some(chain.end()), n - 1);
        chain.grow(99);
        sizes.push(postcard::to_stdvec(&c).unwrap().len());
    }
    let growth = sizes[37] - sizes[17];
    assert!(growth / 20 < 110, "{growth} bytes for 20 epochs");
    let last = c.epochs().len();
    assert_eq!(
        c.epochs()[last - 1].runs[0].seqs,
        SeqRange::new(1, 100).unwrap()
    );
    assert_eq!(c.verdict(at(1_000), at(1_010)), Verdict::Exact);
    // a record of a whole epoch is still known
    let first = Chain::of(1, 0, 100);
    let (record, hash) = &first.records[50];
    assert_eq!(c.receive(record, hash), Receipt::DuplicateUnverified);
}

#[test]
fn too_many_holes_are_folded_or_refused_but_never_claimed() {
    let n = 3 * SEGMENTS_MAX;
    let a = Chain::of(1, 0, n);
    let mut c = Coverage::default();
    // every other record is lost
    a.give(&mut c, [1]);
    for seq in 2..=n {
        if seq % 2 == 0 {
            c.refuse(epoch(1), Seq(seq as u64));
        } else {
            a.give(&mut c, [seq]);
        }
    }
    assert_eq!(c.overflow(), 0);
    assert!(postcard::to_stdvec(&c).unwrap().len() < 800_000);
    assert!(matches!(
        c.verdict(at(10 * 1_000), at(10 * 1_000 + 10)),
        Verdict::WithLoss(_)
    ));
    assert!(matches!(
        c.verdict(at(10 * 20_000), at(10 * 20_000 + 10)),
        Verdict::WithLoss(_)
    ));
    // every other record is unknown: nothing can be folded
    let mut c = Coverage::default();
    a.give(&mut c, (1..2 * SEGMENTS_MAX).step_by(2));
    let (record, hash) = &a.records[2 * SEGMENTS_MAX];
    refused(&mut c, record, hash, "stays unknown");
    assert_eq!(c.overflow(), 1);
    assert_eq!(
        c.verdict(at(10 * 1_000), at(10 * 1_000 + 20)),
        Verdict::Open
    );
    // what joins on to something needs no room, and filling a hole makes some
    a.give(&mut c, [2]);
    let (record, hash) = &a.records[2 * SEGMENTS_MAX];
    assert_eq!(c.receive(record, hash), Receipt::New);
}

#[test]
fn old_duplicates_are_unverified() {
    let a = Chain::of(1, 0, 3_000);
    let mut c = Coverage::default();
    a.give(&mut c, 1..=3_000);
    let again = |c: &mut Coverage, seq: usize| {
        let (record, hash) = &a.records[seq - 1];
        c.receive(record, hash)
    };
    assert_eq!(again(&mut c, 2_000), Receipt::Duplicate);
    assert_eq!(again(&mut c, 1_900), Receipt::DuplicateUnverified);
    // the backlog lane has a memory of its own
    let mut c = Coverage::default();
    a.give(&mut c, 2_001..=3_000);
    a.give(&mut c, 1..=900);
    assert_eq!(again(&mut c, 2_500), Receipt::Duplicate);
    assert_eq!(again(&mut c, 800), Receipt::Duplicate);
    assert_eq!(again(&mut c, 500), Receipt::DuplicateUnverified);
}
