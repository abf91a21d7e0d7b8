//! One turbine's gateway with a random history: rate groups, crashes, lost disks, evictions, late and suspect readings.
//! After `models/completeness.py`, with real records of every kind.

use windlass_shared::catalogue::{Catalogue, Channel, Class, Kind, RateGroup, Raw};
use windlass_shared::id::{ChannelId, Epoch, RecordId, Seq, SeqRange, TurbineId};
use windlass_shared::record::{
    Batch, Block, Body, Column, Flags, Gap, GapRange, Head, Header, LossReason, Open, Predecessor,
    Quality, QualityMark, Record, RecordHash, Seal, Stamps, Times,
};
use windlass_shared::time::{EventTime, SECOND_US, WallTime};
use windlass_shared::wire;

/// The `SplitMix64` generator: a seed is a history.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1) as usize);
        }
    }
}

/// Start of every history: a full ten minutes.
pub const START: i64 = 1_700_000_400 * SECOND_US;
/// A step of the gateway.
pub const STEP: i64 = 10 * SECOND_US;

const POWER: u16 = 1;
const WIND_DIRECTION: u16 = 2;
const STATE: u16 = 3;
const VIBRATION: u16 = 5;
const TEMPERATURE: u16 = 6;
const SETPOINT: u16 = 8;
pub const ENERGY: u16 = 9;
pub const HOURS: u16 = 12;
const ALARM: u16 = 13;
/// Energy counts up to here.
const ENERGY_MODULUS: i64 = 1_000;

pub fn catalogue() -> Catalogue {
    let channel = |id: u16, name: &str, kind: Kind, group: RateGroup| Channel {
        id: ChannelId(id),
        name: name.to_owned(),
        unit: if kind == Kind::Angle { "deg" } else { "" }.to_owned(),
        kind,
        raw: Raw::Int,
        scale_num: 1,
        scale_den: 10,
        offset_num: 0,
        period_us: if kind == Kind::State {
            5 * SECOND_US
        } else {
            0
        },
        class: Class::Condition,
        rate_group: group,
        modulus: None,
    };
    let channels = vec![
        channel(POWER, "power", Kind::Analogue, RateGroup::Fast),
        channel(
            WIND_DIRECTION,
            "wind_direction",
            Kind::Angle,
            RateGroup::Fast,
        ),
        channel(STATE, "state", Kind::State, RateGroup::Fast),
        Channel {
            offset_num: -400,
            ..channel(VIBRATION, "vibration", Kind::Rms, RateGroup::Slow)
        },
        Channel {
            raw: Raw::Float,
            ..channel(TEMPERATURE, "temperature", Kind::Analogue, RateGroup::Slow)
        },
        channel(SETPOINT, "setpoint", Kind::Setpoint, RateGroup::Slow),
        Channel {
            modulus: Some(ENERGY_MODULUS),
            ..channel(ENERGY, "energy", Kind::Counter, RateGroup::Slow)
        },
        channel(HOURS, "hours", Kind::Counter, RateGroup::Slow),
        channel(ALARM, "alarm", Kind::Event, RateGroup::Event),
    ];
    Catalogue::new("test", 1, channels).unwrap()
}

/// A record that the gateway has committed.
#[derive(Clone)]
pub struct Committed {
    pub record: Record,
    pub hash: RecordHash,
    /// Evicted, or gone with its disk.
    pub gone: bool,
}

pub struct EpochLog {
    pub id: Epoch,
    pub records: Vec<Committed>,
    ceiling: EventTime,
    frontier: EventTime,
    head: Head,
}

pub struct Gateway {
    pub dice: Dice,
    /// The gateway's clock.
    pub now: i64,
    pub epochs: Vec<EpochLog>,
    catalogue: Catalogue,
    /// Index of the oldest epoch on this disk.
    held: usize,
    /// No reading before these times waits for its number, per rate group.
    fast_from: i64,
    slow_from: i64,
    slow: Vec<i64>,
    slow_every: i64,
}

impl Gateway {
    pub fn new(seed: u64, catalogue: &Catalogue) -> Self {
        let mut gateway = Self {
            dice: Dice(seed),
            now: START + 7 * SECOND_US,
            epochs: Vec::new(),
            catalogue: catalogue.clone(),
            held: 0,
            fast_from: 0,
            slow_from: 0,
            slow: Vec::new(),
            slow_every: 3,
        };
        gateway.open(None);
        gateway
    }

    fn open(&mut self, predecessor: Option<Predecessor>) {
        let (a, b) = (self.dice.next(), self.dice.next());
        let mut id = [0; 16];
        id[..8].copy_from_slice(&a.to_le_bytes());
        id[8..].copy_from_slice(&b.to_le_bytes());
        self.epochs.push(EpochLog {
            id: Epoch(id),
            records: Vec::new(),
            ceiling: EventTime::MIN,
            frontier: EventTime(self.now),
            head: Head::default(),
        });
        (self.fast_from, self.slow_from) = (self.now, self.now);
        self.slow.clear();
        let oldest_held = self.epochs[self.held].id;
        self.commit(Body::Open(Open {
            predecessor,
            oldest_held,
            not_before: EventTime(self.now),
            agent_version: "test".to_owned(),
        }));
    }

    fn commit(&mut self, body: Body) {
        let frontier = self.fast_from.min(self.slow_from);
        let Some(e) = self.epochs.last_mut() else {
            return;
        };
        let latest = on_time(&body).into_iter().max().unwrap_or(EventTime::MIN);
        let prev_ceiling = e.ceiling;
        e.ceiling = e.ceiling.max(latest);
        e.frontier = e.frontier.max(EventTime(frontier));
        let record = Record {
            header: Header {
                id: RecordId {
                    turbine: TurbineId::new("T1").unwrap(),
                    epoch: e.id,
                    seq: Seq(e.records.len() as u64 + 1),
                },
                stamps: Stamps {
                    ceiling: e.ceiling,
                    prev_ceiling,
                    frontier: e.frontier,
                },
                committed_at: WallTime(self.now),
                prev_head: e.head,
            },
            body,
        };
        let bytes = wire::encode(&record);
        let hash = wire::hash(&bytes);
        e.head = wire::next_head(&e.head, &hash);
        e.records.push(Committed {
            record: wire::decode(&bytes).expect("a record of the generator is well formed"),
            hash,
            gone: false,
        });
    }

    /// Ten seconds of the gateway's life.
    pub fn step(&mut self) {
        let from = self.now;
        self.now += STEP;
        if self.dice.chance(10) {
            let at = EventTime(from + self.dice.below(STEP as u64) as i64);
            let times = vec![at; 1 + self.dice.below(2) as usize];
            let body = self.batch(
                RateGroup::Event,
                vec![(Flags::default(), Times::Listed(times), vec![ALARM])],
            );
            self.commit(body);
        }
        self.fast(from);
        for _ in 0..self.dice.below(3) {
            self.slow.push(from + self.dice.below(STEP as u64) as i64);
        }
        if self.now - self.slow_from >= self.slow_every * STEP {
            self.slow();
        }
        if self.dice.chance(6) {
            self.late_or_suspect();
        }
        if self.dice.chance(2) {
            self.evict();
        }
        if self.dice.chance(2) {
            let e = &self.epochs[self.epochs.len() - 1];
            let (upto, head) = (Seq(e.records.len() as u64), e.head);
            self.commit(Body::Seal(Seal {
                upto,
                head,
                signature: Vec::new(),
            }));
        }
        if self.dice.chance(1) {
            self.restart();
        } else if self.dice.below(1_000) < 6 {
            self.lose_disk();
        }
    }

    fn fast(&mut self, from: i64) {
        self.fast_from = self.now;
        let mut blocks = Vec::new();
        if self.dice.chance(80) {
            let times = Times::Regular {
                start: EventTime(from + self.dice.below(5_000_000) as i64),
                period_us: 5 * SECOND_US,
                n: 1 + self.dice.below(2) as u32,
            };
            blocks.push((Flags::default(), times, vec![POWER, WIND_DIRECTION, STATE]));
        }
        if self.dice.chance(30) {
            let n = 1 + self.dice.below(4);
            let times = (0..n)
                .map(|_| EventTime(from + self.dice.below(STEP as u64) as i64))
                .collect();
            blocks.push((Flags::default(), Times::Listed(times), vec![POWER]));
        }
        if !blocks.is_empty() {
            let body = self.batch(RateGroup::Fast, blocks);
            self.commit(body);
        }
    }

    fn slow(&mut self) {
        self.slow_from = self.now;
        self.slow_every = [3, 5, 10][self.dice.below(3) as usize];
        let times: Vec<EventTime> = self.slow.drain(..).map(EventTime).collect();
        if times.is_empty() {
            return;
        }
        let columns = vec![VIBRATION, TEMPERATURE, SETPOINT, ENERGY, HOURS];
        let body = self.batch(
            RateGroup::Slow,
            vec![(Flags::default(), Times::Listed(times), columns)],
        );
        self.commit(body);
    }

    fn late_or_suspect(&mut self) {
        let suspect = self.dice.chance(30);
        let e = &self.epochs[self.epochs.len() - 1];
        let at = if suspect {
            self.now + 400 * SECOND_US
        } else {
            e.frontier.0 - 1 - (self.dice.below(900 * SECOND_US as u64) as i64)
        };
        let flags = Flags {
            late: !suspect,
            suspect,
        };
        let columns = match self.dice.below(4) {
            0 => vec![POWER, WIND_DIRECTION, STATE],
            1 => vec![VIBRATION, TEMPERATURE, SETPOINT],
            2 => vec![ENERGY],
            _ => vec![ALARM],
        };
        let times = Times::Listed(vec![EventTime(at)]);
        let body = self.batch(RateGroup::Slow, vec![(flags, times, columns)]);
        self.commit(body);
    }

    /// Some committed records leave the disk, and a Gap says so.
    fn evict(&mut self) {
        let last = self.epochs.len() - 1;
        let span = (last + 1 - self.held) as u64;
        let which = self.held + self.dice.below(span) as usize;
        let (epoch, n) = (
            self.epochs[which].id,
            self.epochs[which].records.len() as u64,
        );
        let first = 2 + self.dice.below(n);
        let until = first + self.dice.below(4);
        let mut ranges = Vec::new();
        for seq in first..=until.min(n) {
            let r = &mut self.epochs[which].records[seq as usize - 1];
            if matches!(r.record.body, Body::Batch(_)) && !r.gone {
                r.gone = true;
                ranges.push(GapRange {
                    seqs: SeqRange::one(Seq(seq)),
                    readings: None,
                    bounds: None,
                    end: None,
                    heads: None,
                });
            }
        }
        if !ranges.is_empty() {
            self.commit(Body::Gap(Gap {
                epoch,
                class: Class::Condition,
                reason: LossReason::Evicted,
                ranges,
            }));
        }
    }

    /// What had no number is gone.
    fn restart(&mut self) {
        let e = &self.epochs[self.epochs.len() - 1];
        let predecessor = Predecessor {
            epoch: e.id,
            last_seq: Some(Seq(e.records.len() as u64)),
            ceiling: Some(e.ceiling),
            head: e.head,
        };
        self.now += self.dice.below(120 * SECOND_US as u64) as i64;
        self.open(Some(predecessor));
    }

    /// A new disk knows no predecessor, or only its name.
    fn lose_disk(&mut self) {
        for e in &mut self.epochs {
            for r in &mut e.records {
                r.gone = true;
            }
        }
        let epoch = self.epochs[self.epochs.len() - 1].id;
        self.held = self.epochs.len();
        self.now += 1 + self.dice.below(120 * SECOND_US as u64) as i64;
        let named = self.dice.chance(50).then_some(Predecessor {
            epoch,
            last_seq: None,
            ceiling: None,
            head: Head::default(),
        });
        self.open(named);
    }

    /// Values for blocks of (flags, times, channels).
    fn batch(&mut self, rate_group: RateGroup, layout: Vec<(Flags, Times, Vec<u16>)>) -> Body {
        let mut raw = Vec::new();
        let mut blocks = Vec::new();
        for (flags, times, channels) in layout {
            let mut columns = Vec::new();
            let mut quality = Vec::new();
            for (c, id) in channels.iter().enumerate() {
                let float = *id == TEMPERATURE;
                columns.push(Column {
                    channel: ChannelId(*id),
                    float,
                    at: raw.len() as u32,
                });
                for (row, at) in times.iter().enumerate() {
                    let mut value = self.value(*id, at.0);
                    let mark = match self.dice.below(40) {
                        0 => Some(Quality::Bad),
                        1 => Some(Quality::Uncertain),
                        2 if float => {
                            value = f64::NAN.to_bits() as i64;
                            Some(Quality::NotANumber)
                        }
                        _ => None,
                    };
                    raw.push(value);
                    quality.extend(mark.map(|quality| QualityMark {
                        column: c as u16,
                        row: row as u32,
                        quality,
                    }));
                }
            }
            blocks.push(Block {
                flags,
                times,
                columns,
                quality,
            });
        }
        Body::Batch(Batch {
            catalogue: self.catalogue.hash,
            class: Class::Condition,
            rate_group,
            blocks,
            raw,
        })
    }

    fn value(&mut self, id: u16, at: i64) -> i64 {
        let d = &mut self.dice;
        match id {
            POWER => match d.below(20) {
                0 => i64::MAX - d.below(3) as i64,
                1 => i64::MIN + d.below(3) as i64,
                2 => -(d.below(1 << 40) as i64),
                _ => d.below(30_000) as i64 - 500,
            },
            WIND_DIRECTION => d.below(7_300) as i64 - 3_600,
            STATE => d.below(3) as i64,
            VIBRATION => d.below(1_000) as i64,
            TEMPERATURE => {
                let v = match d.below(15) {
                    0 => 1e300,
                    1 => -0.05,
                    _ => d.below(1_000_000) as f64 / 777.0,
                };
                v.to_bits() as i64
            }
            // a monotone function of time, so that late readings tell the same story
            ENERGY => (at - START + 9_000 * SECOND_US) / (3 * SECOND_US) % ENERGY_MODULUS,
            HOURS => d.below(50) as i64,
            _ => d.below(5) as i64,
        }
    }
}

/// Event times of the on-time readings of a body.
pub fn on_time(body: &Body) -> Vec<EventTime> {
    let Body::Batch(batch) = body else {
        return Vec::new();
    };
    batch
        .blocks
        .iter()
        .filter(|b| !b.flags.late && !b.flags.suspect)
        .flat_map(|b| b.times.iter().collect::<Vec<_>>())
        .collect()
}
