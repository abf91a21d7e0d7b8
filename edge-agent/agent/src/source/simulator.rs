//! A turbine that does not exist: seeded, realistic signals for every channel of a profile, for demos and load.
//!
//! Invariants: the readings are a function of (catalogue, seed, start, faults) alone, however `advance` is chunked; they
//! come in the order of event time; a channel's readings lie on its period's grid, which is aligned to 1970-01-01.
//! A fault changes only its own channel.

pub mod live;
mod plant;
mod signal;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use windlass_edge_core::{Reading, Value};
use windlass_shared::catalogue::{Catalogue, Channel, Raw};
use windlass_shared::id::{ChannelId, TurbineId};
use windlass_shared::record::Quality;
use windlass_shared::time::{EventTime, MINUTE_US, SECOND_US};

use plant::Plant;
use signal::Signal;

/// On-change channels are looked at this often.
const ON_CHANGE_US: i64 = SECOND_US;

/// How an injected fault shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultKind {
    /// `amount` (in the channel's unit) is added.
    Offset,
    /// `amount` per minute is added, growing.
    Ramp,
    /// The value of the moment the fault begins stays.
    Stuck,
    /// The sensor gives no number any more.
    Dead,
}

/// A fault of one channel, in event time from the simulator's start.
#[derive(Clone, PartialEq, Debug)]
pub struct Fault {
    /// Which channel.
    pub channel: ChannelId,
    /// When it begins, microseconds after the start.
    pub at_us: i64,
    /// How long it lasts, microseconds; `None`: it stays.
    pub lasts_us: Option<i64>,
    /// How it shows.
    pub kind: FaultKind,
    /// How strong, in the channel's unit (per minute for a ramp).
    pub amount: f64,
}

/// Channels that are sampled together.
struct Beat {
    period_us: i64,
    next: EventTime,
    channels: Vec<usize>,
}

struct Simulated {
    channel: Channel,
    signal: Signal,
    faults: Vec<Fault>,
    /// What an on-change channel said last, or what a stuck sensor holds.
    last: Option<i64>,
    stuck: Option<f64>,
}

/// One simulated turbine.
pub struct Simulator {
    start: EventTime,
    plant: Plant,
    rng: ChaCha8Rng,
    beats: Vec<Beat>,
    channels: Vec<Simulated>,
}

impl Simulator {
    /// A turbine whose first readings are at or after `start`. The same `seed` gives another turbine other weather.
    pub fn new(
        catalogue: &Catalogue,
        turbine: &TurbineId,
        seed: u64,
        start: EventTime,
        faults: &[Fault],
    ) -> Self {
        let mut rng = ChaCha8Rng::from_seed(seed_of(turbine, seed));
        let plant = Plant::new(start, &mut rng);
        let mut beats: Vec<Beat> = Vec::new();
        let mut channels = Vec::with_capacity(catalogue.channels.len());
        for (i, channel) in catalogue.channels.iter().enumerate() {
            let period_us = if channel.period_us > 0 {
                channel.period_us
            } else {
                ON_CHANGE_US
            };
            match beats.iter_mut().find(|b| b.period_us == period_us) {
                Some(beat) => beat.channels.push(i),
                None => beats.push(Beat {
                    period_us,
                    next: ceil_to(start, period_us),
                    channels: vec![i],
                }),
            }
            channels.push(Simulated {
                signal: Signal::of(channel, &mut rng),
                faults: faults
                    .iter()
                    .filter(|f| f.channel == channel.id)
                    .cloned()
                    .collect(),
                channel: channel.clone(),
                last: None,
                stuck: None,
            });
        }
        beats.sort_by_key(|b| b.period_us);
        Self {
            start,
            plant,
            rng,
            beats,
            channels,
        }
    }

    /// When the next reading is due: nothing earlier will come.
    pub fn next_due(&self) -> EventTime {
        self.beats
            .iter()
            .map(|b| b.next)
            .min()
            .unwrap_or(EventTime::MAX)
    }

    /// Appends every reading with event time up to and including `until`.
    pub fn advance(&mut self, until: EventTime, out: &mut Vec<Reading>) {
        loop {
            let at = self.next_due();
            if at > until {
                return;
            }
            self.plant.advance(at, &mut self.rng);
            for b in 0..self.beats.len() {
                if self.beats[b].next != at {
                    continue;
                }
                self.beats[b].next = at.plus_us(self.beats[b].period_us);
                for c in 0..self.beats[b].channels.len() {
                    let i = self.beats[b].channels[c];
                    if let Some(reading) =
                        self.channels[i].read(at, self.start, &self.plant, &mut self.rng)
                    {
                        out.push(reading);
                    }
                }
            }
        }
    }

    /// Forgets what would have been read before `at`: a process that was suspended did not sample.
    pub fn skip_to(&mut self, at: EventTime) {
        for beat in &mut self.beats {
            if beat.next < at {
                beat.next = ceil_to(at, beat.period_us);
            }
        }
        self.plant.skip_to(at);
    }
}

impl Simulated {
    fn read(
        &mut self,
        at: EventTime,
        start: EventTime,
        plant: &Plant,
        rng: &mut ChaCha8Rng,
    ) -> Option<Reading> {
        let mut value = self.signal.value(at, plant, rng);
        let mut quality = Quality::Good;
        let since_start = at.0.saturating_sub(start.0);
        let mut held = false;
        for fault in &self.faults {
            let since = since_start - fault.at_us;
            if since < 0 || fault.lasts_us.is_some_and(|l| since >= l) {
                continue;
            }
            match fault.kind {
                FaultKind::Offset => value += fault.amount,
                FaultKind::Ramp => value += fault.amount * since as f64 / MINUTE_US as f64,
                FaultKind::Stuck => {
                    value = *self.stuck.get_or_insert(value);
                    held = true;
                }
                FaultKind::Dead => quality = Quality::NotANumber,
            }
        }
        if !held {
            self.stuck = None;
        }
        let raw = to_raw(&self.channel, value);
        if self.channel.period_us == 0 {
            // on change: the first value is no change for an event, but it is for everything else
            let before = self.last.replace(raw);
            let event = self.channel.kind == windlass_shared::catalogue::Kind::Event;
            if before == Some(raw) || (before.is_none() && event) {
                return None;
            }
        }
        let value = match (quality, self.channel.raw) {
            (Quality::NotANumber, Raw::Int) => Value::Int(0),
            (Quality::NotANumber, Raw::Float) => Value::Float(f64::NAN),
            (_, Raw::Int) => Value::Int(raw),
            (_, Raw::Float) => Value::Float(value),
        };
        Some(Reading {
            channel: self.channel.id,
            time: at,
            value,
            quality,
        })
    }
}

/// The scaled integer nearest to a physical value.
fn to_raw(channel: &Channel, value: f64) -> i64 {
    let scaled =
        (value * channel.scale_den as f64 - channel.offset_num as f64) / channel.scale_num as f64;
    let raw = libm::rint(scaled) as i64;
    match channel.modulus {
        Some(m) if m > 0 => raw.rem_euclid(m),
        _ => raw,
    }
}

fn ceil_to(at: EventTime, period_us: i64) -> EventTime {
    let floor = at.floor_to(period_us);
    if floor == at {
        at
    } else {
        floor.plus_us(period_us)
    }
}

/// Turbine name and seed, spread over the generator's 32 bytes (FNV-1a, four lanes).
fn seed_of(turbine: &TurbineId, seed: u64) -> [u8; 32] {
    let mut out = [0; 32];
    for lane in 0..4_u64 {
        let mut h = 0xcbf2_9ce4_8422_2325_u64 ^ lane.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for byte in turbine.as_str().bytes().chain(seed.to_le_bytes()) {
            h = (h ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let at = lane as usize * 8;
        out[at..at + 8].copy_from_slice(&h.to_le_bytes());
    }
    out
}

#[cfg(test)]
mod tests;
