//! Any order, duplication, loss, crash, late reading or gap gives the same coverage, windows, verdicts and aggregates as
//! a naive recomputation that sees everything at once; and `Exact` is never said too early.
//!
//! A failure names its seed; `WINDLASS_SEED=n cargo test -p windlass-shared --test completeness` runs that one alone,
//! `WINDLASS_SEEDS=n` runs more than the usual number.

#![allow(clippy::unwrap_used)] // a test: a failure to unwrap is a failed test

mod oracle;
mod weak;
mod world;

use std::collections::BTreeMap;

use oracle::{Rule, Says, Seen};
use windlass_shared::catalogue::Catalogue;
use windlass_shared::coverage::{Coverage, Receipt, Verdict};
use windlass_shared::id::Epoch;
use windlass_shared::pane::{Aggregate, Sources};
use windlass_shared::record::{Body, Record, RecordHash};
use windlass_shared::time::{EventTime, LogTime, MINUTE_US, SECOND_US};
use windlass_shared::window::{Status, WindowKind, WindowResult, WindowSettings, Windows};
use world::{Committed, Dice, Gateway, HOURS, START, on_time};

/// Gateway steps of one history (10 s each).
const STEPS: u64 = 240;
const SEEDS: u64 = 200;

fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    match number("WINDLASS_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("WINDLASS_SEEDS").unwrap_or(SEEDS)).collect(),
    }
}

/// The code under test, with everything that it has said.
struct Cloud {
    coverage: Coverage,
    windows: Windows,
    settings: WindowSettings,
    now: LogTime,
    /// Per window: what a reader makes of all emissions, and whether partials are in it.
    read: BTreeMap<(WindowKind, EventTime), (WindowResult, bool)>,
    emissions: usize,
}

impl Cloud {
    fn new(settings: WindowSettings) -> Self {
        Self {
            coverage: Coverage::default(),
            windows: Windows::default(),
            settings,
            now: LogTime(START),
            read: BTreeMap::new(),
            emissions: 0,
        }
    }

    fn receive(&mut self, catalogue: &Catalogue, record: &Record, hash: &RecordHash) -> Receipt {
        let receipt = self.coverage.receive(record, hash);
        if receipt == Receipt::New
            && let Body::Batch(batch) = &record.body
        {
            let id = &record.header.id;
            self.windows
                .add(catalogue, id.epoch, id.seq, batch, self.now);
        }
        receipt
    }

    /// Polls and reads; returns what was emitted.
    fn poll(&mut self, catalogue: &Catalogue, seed: u64) -> Vec<WindowResult> {
        let mut out = Vec::new();
        self.windows.poll(
            &self.settings,
            catalogue,
            &self.coverage,
            self.now,
            &mut out,
        );
        for result in &out {
            let key = (result.kind, result.start);
            assert_eq!(result.partial, result.revision == 0, "seed {seed}");
            let start = result.start.0;
            assert_eq!(
                result.start.floor_to(result.kind.hop_us()).0,
                start,
                "seed {seed}"
            );
            self.emissions += 1;
            match self.read.get_mut(&key) {
                None => {
                    assert!(
                        result.partial || result.revision == 1,
                        "seed {seed}: first {result:?}"
                    );
                    self.read.insert(key, (result.clone(), result.partial));
                }
                Some((read, partials)) => {
                    if result.partial {
                        *partials = true;
                    } else {
                        assert!(!*partials, "seed {seed}: full after a partial {result:?}");
                        assert_eq!(
                            result.revision,
                            read.revision + 1,
                            "seed {seed}: {result:?}"
                        );
                    }
                    if result.partial && !result.channels.is_empty() {
                        for (epoch, ranges) in &result.sources.0 {
                            assert!(!ranges.is_empty(), "seed {seed}: {epoch}");
                        }
                    }
                    read.absorb(result.clone(), catalogue);
                }
            }
        }
        out
    }
}

fn says(verdict: &Verdict) -> Says {
    match verdict {
        Verdict::Open => Says::Open,
        Verdict::Exact => Says::Exact,
        Verdict::WithLoss(losses) => {
            assert!(!losses.is_empty());
            Says::WithLoss
        }
    }
}

/// An on-time reading of the window that was committed and has not arrived. An epoch that nothing told of, and that is
/// gone with its disk, cannot be missed by anyone.
fn missing(gateway: &Gateway, known: &Seen, t0: EventTime, t1: EventTime) -> Option<(Epoch, u64)> {
    gateway
        .epochs
        .iter()
        .filter(|e| known.knows(e.id) || e.records.iter().any(|c| !c.gone))
        .flat_map(|e| &e.records)
        .filter(|c| {
            let id = &c.record.header.id;
            !known.records.contains_key(&(id.epoch, id.seq.0))
        })
        .find(|c| on_time(&c.record.body).iter().any(|t| (t0..t1).contains(t)))
        .map(|c| (c.record.header.id.epoch, c.record.header.id.seq.0))
}

fn minutes(from: i64, to: i64) -> impl Iterator<Item = EventTime> {
    (0..(to - from) / MINUTE_US).map(move |i| EventTime(from + i * MINUTE_US))
}

/// What arrives: everything committed that is not gone, in the order of `lane`.
struct Network {
    pool: Vec<Committed>,
    taken: Vec<usize>,
    live_first: bool,
}

impl Network {
    fn new(seed: u64) -> Self {
        Self {
            pool: Vec::new(),
            taken: Vec::new(),
            live_first: seed % 2 == 1,
        }
    }

    fn refill(&mut self, gateway: &mut Gateway) {
        self.taken.resize(gateway.epochs.len(), 0);
        for (e, taken) in gateway.epochs.iter().zip(&mut self.taken) {
            self.pool.extend_from_slice(&e.records[*taken..]);
            *taken = e.records.len();
        }
        let gone = |c: &Committed| {
            let id = &c.record.header.id;
            gateway
                .epochs
                .iter()
                .find(|e| e.id == id.epoch)
                .is_some_and(|e| e.records[id.seq.0 as usize - 1].gone)
        };
        self.pool.retain(|c| !gone(c));
        let place = |epoch: Epoch| gateway.epochs.iter().position(|e| e.id == epoch);
        if self.live_first {
            // the newest epoch's Open, then its newest records
            self.pool.sort_by_key(|c| {
                let id = &c.record.header.id;
                (place(id.epoch), id.seq.0 == 1, id.seq)
            });
        } else {
            gateway.dice.shuffle(&mut self.pool);
        }
    }
}

fn settings(dice: &mut Dice) -> WindowSettings {
    WindowSettings {
        settle_wait_us: 30 * SECOND_US,
        open_panes_max: [1_500, 25, 8][dice.below(3) as usize],
        open_bytes_max: 0,
        settled_panes_kept: dice.below(4) as usize,
    }
}

/// Checks one emission against what the gateway knows.
fn check_emission(seed: u64, gateway: &Gateway, known: &Seen, result: &WindowResult) {
    let t1 = result.start.plus_us(result.kind.len_us());
    if result.status == Status::Exact
        && let Some(missing) = missing(gateway, known, result.start, t1)
    {
        panic!("seed {seed}: {result:?} is called exact, {missing:?} is missing");
    }
}

fn history(seed: u64, catalogue: &Catalogue) -> (usize, usize) {
    let mut gateway = Gateway::new(seed, catalogue);
    let mut cloud = Cloud::new(settings(&mut gateway.dice));
    let mut known = Seen::default();
    let mut arrived: Vec<Committed> = Vec::new();
    let mut network = Network::new(seed);
    let mut exact = 0;
    for step in 0..STEPS {
        gateway.step();
        network.refill(&mut gateway);
        cloud.now = cloud
            .now
            .max(LogTime(gateway.now + gateway.dice.below(3_000_000) as i64));
        for _ in 0..gateway.dice.below(4) {
            let Some(c) = network.pool.pop() else { break };
            let duplicates = 1 + u64::from(gateway.dice.chance(10));
            for i in 0..duplicates {
                let receipt = cloud.receive(catalogue, &c.record, &c.hash);
                let expected = if i == 0 {
                    Receipt::New
                } else {
                    Receipt::Duplicate
                };
                assert_eq!(receipt, expected, "seed {seed}: {:?}", c.record.header);
            }
            known.take(&c.record);
            arrived.push(c);
            for result in cloud.poll(catalogue, seed) {
                check_emission(seed, &gateway, &known, &result);
            }
        }
        for result in cloud.poll(catalogue, seed) {
            check_emission(seed, &gateway, &known, &result);
        }
        if step % 60 == 33 {
            let bytes = postcard::to_stdvec(&(&cloud.coverage, &cloud.windows)).unwrap();
            let (coverage, windows): (Coverage, Windows) = postcard::from_bytes(&bytes).unwrap();
            assert_eq!(
                (&coverage, &windows),
                (&cloud.coverage, &cloud.windows),
                "seed {seed}"
            );
            (cloud.coverage, cloud.windows) = (coverage, windows);
        }
        if step % 5 == 0 {
            for t0 in minutes(START - 5 * MINUTE_US, gateway.now) {
                let t1 = t0.plus_us(MINUTE_US);
                let verdict = cloud.coverage.verdict(t0, t1);
                let expected = known.verdict(Rule::Right, t0, t1);
                assert_eq!(
                    says(&verdict),
                    expected,
                    "seed {seed}: window {t0:?}: {verdict:?}"
                );
                if expected == Says::Exact {
                    exact += 1;
                    assert_eq!(
                        missing(&gateway, &known, t0, t1),
                        None,
                        "seed {seed}: {t0:?}"
                    );
                }
                if t1 <= cloud.coverage.settled_until() {
                    assert_ne!(
                        verdict,
                        Verdict::Open,
                        "seed {seed}: {t0:?} by settled_until"
                    );
                }
            }
        }
    }
    for c in std::mem::take(&mut network.pool) {
        assert_eq!(
            cloud.receive(catalogue, &c.record, &c.hash),
            Receipt::New,
            "seed {seed}"
        );
        known.take(&c.record);
        for result in cloud.poll(catalogue, seed) {
            check_emission(seed, &gateway, &known, &result);
        }
        arrived.push(c);
    }
    for _ in 0..3 {
        cloud.now = LogTime(cloud.now.0 + 7_200 * SECOND_US);
        cloud.poll(catalogue, seed);
    }
    check_end(seed, catalogue, &gateway, &known, &cloud);
    check_other_order(seed, catalogue, &mut gateway.dice, &cloud, &arrived);
    (exact, cloud.emissions)
}

/// Everything that exists has arrived: all is settled, and all is as if computed at once.
fn check_end(seed: u64, catalogue: &Catalogue, gateway: &Gateway, known: &Seen, cloud: &Cloud) {
    let frontier = known.newest_frontier();
    assert_eq!(cloud.coverage.frontier(), frontier, "seed {seed}");
    check_epochs(seed, known, &cloud.coverage);
    for kind in WindowKind::ALL {
        let from = START - 30 * MINUTE_US;
        for t0 in (from..gateway.now + 20 * MINUTE_US)
            .step_by(kind.hop_us() as usize)
            .map(EventTime)
        {
            let t1 = t0.plus_us(kind.len_us());
            let expected = known.verdict(Rule::Right, t0, t1);
            if t1 <= frontier {
                assert_ne!(expected, Says::Open, "seed {seed}: {t0:?} never settles");
            }
            let naive = known.window(catalogue, t0, t1);
            let Some((read, partials)) = cloud.read.get(&(kind, t0)) else {
                assert!(
                    naive.sources.is_empty(),
                    "seed {seed}: {kind:?} {t0:?} was never emitted"
                );
                continue;
            };
            if t1 <= frontier {
                assert_ne!(
                    read.status,
                    Status::Provisional,
                    "seed {seed}: {kind:?} {t0:?}"
                );
            }
            if !partials {
                let status = match read.status {
                    Status::Provisional => Says::Open,
                    Status::Exact => Says::Exact,
                    Status::WithLoss(_) => Says::WithLoss,
                };
                if t0 >= cloud.windows.horizon() {
                    assert_eq!(status, expected, "seed {seed}: {kind:?} {t0:?}");
                }
            }
            let mut sources = Sources::default();
            for (epoch, seq) in &naive.sources {
                sources.add(*epoch, windlass_shared::id::Seq(*seq));
            }
            assert_eq!(read.sources, sources, "seed {seed}: {kind:?} {t0:?}");
            assert_eq!(read.late, naive.late, "seed {seed}: {kind:?} {t0:?}");
            assert_eq!(
                read.channels.len(),
                naive.channels.len(),
                "seed {seed}: {kind:?} {t0:?}"
            );
            for (a, b) in read.channels.iter().zip(&naive.channels) {
                // resets inside of what a partial overlaps are the documented exception
                if *partials && a.channel.0 == HOURS {
                    assert_eq!((a.n, a.bad), (b.n, b.bad), "seed {seed}: {kind:?} {t0:?}");
                    continue;
                }
                assert_eq!(a, b, "seed {seed}: {kind:?} {t0:?}");
                if a.value != Aggregate::Nothing {
                    assert!(
                        a.headline(catalogue).is_some() || a.channel.0 == 2,
                        "seed {seed}"
                    );
                }
            }
        }
    }
}

fn check_epochs(seed: u64, known: &Seen, coverage: &Coverage) {
    for view in coverage.epochs() {
        let runs: Vec<(u64, u64)> = view
            .runs
            .iter()
            .map(|r| (r.seqs.first.0, r.seqs.last.0))
            .collect();
        let expected: Vec<(u64, u64)> = known
            .runs(view.epoch)
            .iter()
            .map(|run| (run[0], run[run.len() - 1]))
            .collect();
        assert_eq!(runs, expected, "seed {seed}: {}", view.epoch);
        let lost: u64 = view
            .runs
            .iter()
            .flat_map(|r| &r.lost)
            .map(|(range, _)| range.len())
            .sum();
        let expected = known
            .runs(view.epoch)
            .concat()
            .iter()
            .filter(|seq| known.is_lost(view.epoch, **seq))
            .count();
        assert_eq!(lost, expected as u64, "seed {seed}: {}", view.epoch);
        assert!(!view.quarantined, "seed {seed}");
    }
    for (epoch, hole) in coverage.holes(usize::MAX) {
        for seq in hole.first.0..=hole.last.0 {
            assert!(!known.records.contains_key(&(epoch, seq)), "seed {seed}");
            assert!(!known.is_lost(epoch, seq), "seed {seed}");
        }
    }
}

/// The same records in another order, with duplicates, give the same coverage.
fn check_other_order(
    seed: u64,
    catalogue: &Catalogue,
    dice: &mut Dice,
    cloud: &Cloud,
    arrived: &[Committed],
) {
    let mut other = Cloud::new(settings(dice));
    let mut order: Vec<&Committed> = arrived.iter().collect();
    dice.shuffle(&mut order);
    for (i, c) in order.iter().enumerate() {
        assert_eq!(
            other.receive(catalogue, &c.record, &c.hash),
            Receipt::New,
            "seed {seed}"
        );
        if dice.chance(10) {
            let again = order[dice.below(i as u64 + 1) as usize];
            assert!(matches!(
                other.receive(catalogue, &again.record, &again.hash),
                Receipt::Duplicate | Receipt::DuplicateUnverified
            ));
        }
        other.now = LogTime(other.now.0 + dice.below(20_000_000) as i64);
        other.poll(catalogue, seed);
    }
    for _ in 0..3 {
        other.now = LogTime(other.now.0 + 7_200 * SECOND_US);
        other.poll(catalogue, seed);
    }
    let (a, b) = (&cloud.coverage, &other.coverage);
    assert_eq!(a.epochs(), b.epochs(), "seed {seed}");
    assert_eq!(a.holes(1_000), b.holes(1_000), "seed {seed}");
    assert_eq!(a.link_faults(), b.link_faults(), "seed {seed}");
    assert_eq!(
        (a.frontier(), a.settled_until()),
        (b.frontier(), b.settled_until()),
        "seed {seed}"
    );
    for t0 in minutes(START - 10 * MINUTE_US, START + 90 * MINUTE_US) {
        let t1 = t0.plus_us(MINUTE_US);
        assert_eq!(a.verdict(t0, t1), b.verdict(t0, t1), "seed {seed}: {t0:?}");
    }
    assert_eq!(
        cloud.read.keys().collect::<Vec<_>>(),
        other.read.keys().collect::<Vec<_>>(),
        "seed {seed}"
    );
    for (key, (x, x_partials)) in &cloud.read {
        let (y, y_partials) = &other.read[key];
        assert_eq!(
            (&x.sources, x.late),
            (&y.sources, y.late),
            "seed {seed}: {key:?}"
        );
        for (a, b) in x.channels.iter().zip(&y.channels) {
            if !(a.channel.0 == HOURS && (*x_partials || *y_partials)) {
                assert_eq!(a, b, "seed {seed}: {key:?}");
            }
        }
    }
}

#[test]
fn any_history_in_any_order_is_as_if_seen_at_once() {
    let catalogue = world::catalogue();
    let (mut exact, mut emissions) = (0, 0);
    for seed in seeds() {
        let (a, b) = history(seed, &catalogue);
        exact += a;
        emissions += b;
    }
    assert!(exact > 0 && emissions > 0);
}
