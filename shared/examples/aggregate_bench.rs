//! What dedupe, coverage, panes and windows cost per reading, and how large a turbine's state is, on the 300-channel
//! profile: `cargo run --release -p windlass-shared --example aggregate_bench`. Prints JSON.
//!
//! Decoding and hashing are not in it; `windlass-cloud bench --json` measures the whole.

use std::time::Instant;

use windlass_shared::catalogue::{self, Catalogue, Class, Kind, RateGroup, Raw};
use windlass_shared::coverage::{Coverage, Receipt};
use windlass_shared::id::{Epoch, RecordId, Seq, TurbineId};
use windlass_shared::record::{
    Batch, Block, Body, Column, Flags, Head, Header, Open, Record, RecordHash, Stamps, Times,
};
use windlass_shared::time::{EventTime, LogTime, SECOND_US, WallTime};
use windlass_shared::window::{WindowSettings, Windows};
use windlass_shared::wire;

const PROFILE: &str = include_str!("../../hardware/profiles/onshore-3mw.toml");
const START: i64 = 1_700_000_400 * SECOND_US;
/// Event time that is generated.
const MINUTES: i64 = 30;

struct Gateway {
    records: Vec<(Record, RecordHash, LogTime)>,
    head: Head,
    ceiling: EventTime,
    readings: u64,
}

impl Gateway {
    fn commit(&mut self, body: Body, latest: EventTime, frontier: i64, now: i64) {
        let seq = self.records.len() as u64 + 1;
        let prev_ceiling = self.ceiling;
        self.ceiling = self.ceiling.max(latest);
        let record = Record {
            header: Header {
                id: RecordId {
                    turbine: TurbineId::new("T1").expect("a name"),
                    epoch: Epoch([7; 16]),
                    seq: Seq(seq),
                },
                stamps: Stamps {
                    ceiling: self.ceiling,
                    prev_ceiling,
                    frontier: EventTime(frontier),
                },
                committed_at: WallTime(now),
                prev_head: self.head,
            },
            body,
        };
        // any hash will do
        let hash = wire::hash(&seq.to_le_bytes());
        self.head = wire::next_head(&self.head, &hash);
        self.records.push((record, hash, LogTime(now + 200_000)));
    }

    /// One slice of a class and rate group.
    fn slice(
        &mut self,
        catalogue: &Catalogue,
        class: Class,
        group: RateGroup,
        end: i64,
        frontier: i64,
    ) {
        let mut by_period: Vec<(i64, Vec<&catalogue::Channel>)> = Vec::new();
        for c in &catalogue.channels {
            if c.class != class || c.rate_group != group || c.period_us == 0 {
                continue;
            }
            match by_period.iter_mut().find(|(p, _)| *p == c.period_us) {
                Some((_, list)) => list.push(c),
                None => by_period.push((c.period_us, vec![c])),
            }
        }
        let from = end - group.slice_us();
        let (mut raw, mut blocks, mut latest) = (Vec::new(), Vec::new(), EventTime::MIN);
        for (period_us, channels) in by_period {
            let first = from + (period_us - from.rem_euclid(period_us)) % period_us;
            let n = (end - first + period_us - 1) / period_us;
            if n <= 0 {
                continue;
            }
            let mut columns = Vec::new();
            for c in channels {
                columns.push(Column {
                    channel: c.id,
                    float: c.raw == Raw::Float,
                    at: raw.len() as u32,
                });
                for i in 0..n {
                    let t = (first + i * period_us) / 1_000;
                    let v = match c.kind {
                        Kind::State => 3,
                        Kind::Counter => t / 10_000,
                        _ => 1_000 + (t / 10 + i64::from(c.id.0) * 37) % 977,
                    };
                    raw.push(if c.raw == Raw::Float {
                        (v as f64 / 10.0).to_bits() as i64
                    } else {
                        v
                    });
                }
            }
            let times = Times::Regular {
                start: EventTime(first),
                period_us,
                n: n as u32,
            };
            latest = latest.max(times.at(n as usize - 1));
            blocks.push(Block {
                flags: Flags::default(),
                times,
                columns,
                quality: Vec::new(),
            });
        }
        if !raw.is_empty() {
            self.readings += raw.len() as u64;
            let batch = Batch {
                catalogue: catalogue.hash,
                class,
                rate_group: group,
                blocks,
                raw,
            };
            self.commit(Body::Batch(batch), latest, frontier, end);
        }
    }
}

fn records(catalogue: &Catalogue) -> Gateway {
    let mut gateway = Gateway {
        records: Vec::new(),
        head: Head::default(),
        ceiling: EventTime::MIN,
        readings: 0,
    };
    let open = Open {
        predecessor: None,
        oldest_held: Epoch([7; 16]),
        not_before: EventTime(START),
        agent_version: "bench".to_owned(),
    };
    gateway.commit(Body::Open(open), EventTime::MIN, START, START);
    let classes = [Class::Compliance, Class::Condition, Class::Diagnostic];
    for second in 1..=MINUTES * 60 {
        let now = START + second * SECOND_US;
        let slow = START + second / 10 * 10 * SECOND_US;
        let before = START + (second - 1) / 10 * 10 * SECOND_US;
        for class in classes {
            gateway.slice(catalogue, class, RateGroup::Fast, now, before);
        }
        if slow == now {
            for class in classes {
                gateway.slice(catalogue, class, RateGroup::Slow, now, before);
            }
            // the last slice of the moment moves the frontier
            if let Some((last, _, _)) = gateway.records.last_mut() {
                last.header.stamps.frontier = EventTime(now);
            }
        }
    }
    gateway
}

#[allow(clippy::disallowed_methods)] // a benchmark reads the clock
fn timed(ns: &mut u128, f: impl FnOnce()) {
    let start = Instant::now();
    f();
    *ns += start.elapsed().as_nanos();
}

#[allow(clippy::print_stdout)] // its output
fn main() {
    let catalogue = catalogue::parse("onshore-3mw.toml", PROFILE).expect("the profile is valid");
    let gateway = records(&catalogue);
    let settings = WindowSettings::default();
    let rounds = 5;
    let mut best = [u128::MAX; 3];
    let (mut results, mut state_max, mut panes_max) = (0, 0, 0);
    for _ in 0..rounds {
        let mut coverage = Coverage::default();
        let mut windows = Windows::default();
        let mut out = Vec::new();
        let mut ns = [0; 3];
        results = 0;
        for (i, (record, hash, now)) in gateway.records.iter().enumerate() {
            timed(&mut ns[0], || {
                assert_eq!(coverage.receive(record, hash), Receipt::New);
            });
            if let Body::Batch(batch) = &record.body {
                let id = &record.header.id;
                timed(&mut ns[1], || {
                    windows.add(&catalogue, id.epoch, id.seq, batch, *now);
                });
            }
            timed(&mut ns[2], || {
                windows.poll(&settings, &catalogue, &coverage, *now, &mut out);
            });
            results += out.len();
            out.clear();
            if i % 50 == 0 {
                let state = postcard::to_stdvec(&(&coverage, &windows)).map_or(0, |b| b.len());
                state_max = state_max.max(state);
                panes_max = panes_max.max(windows.pane_bytes());
            }
        }
        for (best, ns) in best.iter_mut().zip(ns) {
            *best = (*best).min(ns);
        }
    }
    let per = |ns: u128| ns as f64 / gateway.readings as f64;
    println!(
        "{{\"readings\": {}, \"records\": {}, \"windows_emitted\": {results}, \
         \"ns_per_reading\": {{\"coverage\": {:.2}, \"panes\": {:.2}, \"windows\": {:.2}, \"total\": {:.2}}}, \
         \"state_bytes_serialised_max\": {state_max}, \"pane_bytes_in_memory_max\": {panes_max}, \
         \"method\": \"best of {rounds} over {MINUTES} minutes of one turbine, one core, wall clock around each call\"}}",
        gateway.readings,
        gateway.records.len(),
        per(best[0]),
        per(best[1]),
        per(best[2]),
        per(best.iter().sum::<u128>()),
    );
}
