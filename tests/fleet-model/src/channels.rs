//! From signals to raw integers: which channel shows what, and how well.
//!
//! Invariants: a [`Plan`] is made for a catalogue once and shared by all turbines; a channel for which no signal is known
//! is refused by name, never filled with something; raws lie within the sensor's range. A name that is none, but one of
//! them and `_mean`, `_min`, `_max` or `_sd`, is a statistic of what that one reads.

use windlass_shared::catalogue::{Catalogue, Channel, Kind, Raw};
use windlass_shared::settings::{Problem, nearest};
use windlass_shared::time::SECOND_US;

use crate::fleet::Pace;
use crate::noise::{Normals, key_of, mix};
use crate::signal::{Signal, Signals};
use crate::statistic::Statistic;

mod interval;
mod onshore;
mod sensor;

pub use interval::{Interval, Intervals};
use sensor::Sensor;

/// Adding it to a double rounds to an integer, ties to even, and puts that integer into the lowest bits: 1.5 * 2^52.
const ROUNDER: f64 = 6_755_399_441_055_744.0;
/// On-change channels are looked at this often.
const ON_CHANGE_US: i64 = SECOND_US;
/// For records of ten minutes, channels are read at least this often.
const RECORD_STEP_MAX_US: i64 = 10 * SECOND_US;

/// What a channel shows.
#[derive(Clone, Copy, Debug)]
struct Row {
    name: &'static str,
    signal: Signal,
    gain: f64,
    offset: f64,
    sensor: Sensor,
    /// It is this of an interval, and nothing of a moment.
    statistic: Option<Statistic>,
}

impl Row {
    const fn new(name: &'static str, signal: Signal, sensor: Sensor) -> Self {
        Self {
            name,
            signal,
            gain: 1.0,
            offset: 0.0,
            sensor,
            statistic: None,
        }
    }

    const fn gain(mut self, gain: f64) -> Self {
        self.gain = gain;
        self
    }

    const fn offset(mut self, offset: f64) -> Self {
        self.offset = offset;
        self
    }

    const fn over(mut self, statistic: Statistic) -> Self {
        self.statistic = Some(statistic);
        self
    }
}

/// What a channel of this name shows, and what of an interval, if it is not of a moment.
fn row(name: &str) -> Option<(&'static Row, Option<Statistic>)> {
    let known = |name: &str| {
        let mut rows = onshore::ROWS.iter().chain(onshore::OTHERS);
        rows.find(|r| r.name == name)
    };
    if let Some(row) = known(name) {
        return Some((row, row.statistic));
    }
    let (stem, statistic) = Statistic::of(name)?;
    let row = known(stem).filter(|r| r.statistic.is_none())?;
    Some((row, Some(statistic)))
}

/// What a channel of this name tells of an interval; `None`: it tells moments.
pub fn statistic(name: &str) -> Option<Statistic> {
    row(name)?.1
}

/// Channels with one period, as columns of numbers.
#[derive(Debug)]
struct Beat {
    period_us: i64,
    on_change: bool,
    /// Positions in the catalogue.
    channels: Vec<u16>,
    signal: Vec<u16>,
    gain: Vec<f64>,
    noise: Vec<f64>,
    relative: Vec<f64>,
    low: Vec<f64>,
    high: Vec<f64>,
    /// Raws of a unit, and the raw of 0.
    per_unit: Vec<f64>,
    zero: Vec<f64>,
    /// Places of counters, with their moduli; of angles that wrap, with raws of a turn; of floats.
    counters: Vec<(usize, i64)>,
    wraps: Vec<(usize, i64)>,
    floats: Vec<usize>,
    /// Which are events: no code at the beginning is no news.
    events: Vec<bool>,
}

/// How the channels of one catalogue are driven.
#[derive(Debug)]
pub struct Plan {
    beats: Vec<Beat>,
    /// Statistics, by the length of their intervals: read at every step, told when an interval ends.
    pub intervals: Vec<Interval>,
}

impl Plan {
    /// For a catalogue; names every channel for which there is no signal. For records of ten minutes (`pace`), channels with
    /// longer periods than ten seconds are read at every step, and statistics are the recorder's to make.
    pub fn new(catalogue: &Catalogue, pace: Pace) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut beats: Vec<Beat> = Vec::new();
        let mut intervals: Vec<Interval> = Vec::new();
        let known = || onshore::ROWS.iter().chain(onshore::OTHERS);
        for (position, channel) in catalogue.channels.iter().enumerate() {
            let Some((row, statistic)) = row(&channel.name) else {
                let mut problem = Problem::new(
                    format!("channel {}", channel.name),
                    "no signal of that name",
                    "a channel that the machine has",
                );
                let names: Vec<&str> = known().map(|r| r.name).collect();
                let stem = Statistic::of(&channel.name).map(|(stem, _)| stem);
                let near = nearest(&channel.name, &names);
                let near = near.or_else(|| nearest(stem?, &names));
                problem.hint = near.map(|n| format!("like `{n}`?"));
                problems.push(problem);
                continue;
            };
            let on_change = channel.period_us == 0;
            if let (Some(statistic), false, false) = (statistic, on_change, pace.records()) {
                Interval::add(&mut intervals, position as u16, channel, (row, statistic));
                continue;
            }
            let period_us = match channel.period_us {
                0 => ON_CHANGE_US,
                long if pace.records() && long > RECORD_STEP_MAX_US => pace.step_us(),
                period_us => period_us,
            };
            let found = beats
                .iter_mut()
                .find(|b| b.period_us == period_us && b.on_change == on_change);
            if let Some(beat) = found {
                beat.add(position as u16, channel, row);
            } else {
                let mut beat = Beat::new(period_us, on_change);
                beat.add(position as u16, channel, row);
                beats.push(beat);
            }
        }
        // short periods first, on-change channels last: a list of due channels is the same whenever the same are due
        beats.sort_by_key(|b| (b.on_change, b.period_us));
        if problems.is_empty() {
            Ok(Self { beats, intervals })
        } else {
            Err(problems)
        }
    }

    /// The first time at or after `at_us` at which something is due.
    pub fn next_due(&self, at_us: i64) -> i64 {
        let intervals = self.intervals.iter().map(|i| &i.beat);
        self.beats
            .iter()
            .chain(intervals)
            .map(|b| at_us + (b.period_us - at_us.rem_euclid(b.period_us)) % b.period_us)
            .min()
            .unwrap_or(i64::MAX)
    }
}

impl Beat {
    fn new(period_us: i64, on_change: bool) -> Self {
        Self {
            period_us,
            on_change,
            channels: Vec::new(),
            signal: Vec::new(),
            gain: Vec::new(),
            noise: Vec::new(),
            relative: Vec::new(),
            low: Vec::new(),
            high: Vec::new(),
            per_unit: Vec::new(),
            zero: Vec::new(),
            counters: Vec::new(),
            wraps: Vec::new(),
            floats: Vec::new(),
            events: Vec::new(),
        }
    }

    fn add(&mut self, position: u16, channel: &Channel, row: &Row) {
        let at = self.channels.len();
        let float = channel.raw == Raw::Float;
        let per_unit = if float {
            1.0
        } else {
            channel.scale_den as f64 / channel.scale_num as f64
        };
        self.channels.push(position);
        self.signal.push(row.signal as u16);
        self.gain.push(row.gain);
        self.events.push(channel.kind == Kind::Event);
        self.noise.push(row.sensor.noise);
        self.relative.push(row.sensor.relative);
        self.low.push(row.sensor.range.0);
        self.high.push(row.sensor.range.1);
        self.per_unit.push(per_unit);
        self.zero.push(if float {
            0.0
        } else {
            -channel.offset_num as f64 / channel.scale_num as f64
        });
        if float {
            self.floats.push(at);
        } else if let (Kind::Counter, Some(modulus)) = (channel.kind, channel.modulus) {
            self.counters.push((at, modulus));
        } else if channel.kind == Kind::Angle && row.sensor.range == (0.0, 360.0) {
            self.wraps.push((at, libm::rint(360.0 * per_unit) as i64));
        }
    }
}

/// How one turbine's sensors are off: columns for each beat.
#[derive(Clone, Debug)]
pub struct Errors {
    beats: Vec<BeatErrors>,
    intervals: Vec<BeatErrors>,
}

#[derive(Clone, Debug)]
struct BeatErrors {
    gain: Vec<f64>,
    bias: Vec<f64>,
    key: Vec<u64>,
}

impl Errors {
    /// Of the turbine with this key. A channel's sensor is the same whatever else is in the catalogue.
    pub fn new(plan: &Plan, catalogue: &Catalogue, key: u64, normals: &Normals) -> Self {
        let beat = |beat: &Beat| {
            let keys: Vec<u64> = beat
                .channels
                .iter()
                .map(|p| key_of(key, &catalogue.channels[usize::from(*p)].name))
                .collect();
            let sensor = |p: &u16| {
                let row = row(&catalogue.channels[usize::from(*p)].name);
                row.map_or((0.0, 0.0, 0.0), |(r, _)| {
                    (r.sensor.spread, r.sensor.bias, r.offset)
                })
            };
            let off: Vec<(f64, f64, f64)> = beat.channels.iter().map(sensor).collect();
            BeatErrors {
                gain: (0..keys.len())
                    .map(|i| beat.gain[i] * (1.0 + off[i].0 * normals.at(mix(keys[i], 1))))
                    .collect(),
                bias: (0..keys.len())
                    .map(|i| off[i].2 + off[i].1 * normals.at(mix(keys[i], 2)))
                    .collect(),
                key: keys,
            }
        };
        Self {
            beats: plan.beats.iter().map(beat).collect(),
            intervals: plan.intervals.iter().map(|i| beat(&i.beat)).collect(),
        }
    }
}

/// Adds every channel that is due at `at_us`; `last` holds, by position, what on-change channels said last.
#[inline]
pub fn sample(
    plan: &Plan,
    errors: &Errors,
    normals: &Normals,
    signals: &Signals,
    (at_us, key): (i64, u64),
    last: &mut Option<Box<[i64]>>,
    (channels, raw): (&mut Vec<u16>, &mut Vec<i64>),
) {
    let moment = mix(key, at_us as u64);
    for (beat, errors) in plan.beats.iter().zip(&errors.beats) {
        if at_us % beat.period_us != 0 {
            continue;
        }
        let begins = raw.len();
        channels.extend_from_slice(&beat.channels);
        beat.read(errors, normals, signals, moment, raw);
        beat.mend(errors, signals, &mut raw[begins..]);
        if beat.on_change {
            keep_changes(beat, begins, last, channels, raw);
        }
    }
}

impl Beat {
    /// The loop that costs: a few nanoseconds a channel.
    #[inline]
    fn read(
        &self,
        errors: &BeatErrors,
        normals: &Normals,
        signals: &Signals,
        moment: u64,
        raw: &mut Vec<i64>,
    ) {
        let n = self.channels.len();
        let x = signals.all();
        let (signal, noise, relative) = (&self.signal[..n], &self.noise[..n], &self.relative[..n]);
        let (low, high) = (&self.low[..n], &self.high[..n]);
        let (per_unit, zero) = (&self.per_unit[..n], &self.zero[..n]);
        let (gain, bias, key) = (&errors.gain[..n], &errors.bias[..n], &errors.key[..n]);
        raw.extend((0..n).map(|i| {
            let ideal = x[usize::from(signal[i])] * gain[i] + bias[i];
            let mut drawn = (moment ^ key[i]).wrapping_mul(0xd6e8_feb8_6659_fd93);
            drawn = (drawn ^ (drawn >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let sigma = noise[i] + relative[i] * ideal.abs();
            let shown = (ideal + sigma * normals.at(drawn)).max(low[i]).min(high[i]);
            rounded(shown * per_unit[i] + zero[i])
        }));
    }

    /// Counters roll over, angles wrap, floats keep their bits.
    fn mend(&self, errors: &BeatErrors, signals: &Signals, raw: &mut [i64]) {
        let ideal = |i: usize| {
            signals.all()[usize::from(self.signal[i])] * errors.gain[i] * self.per_unit[i]
        };
        for (i, modulus) in &self.counters {
            raw[*i] = (libm::floor(ideal(*i)) as i64).rem_euclid(*modulus);
        }
        for (i, turn) in &self.wraps {
            if raw[*i] >= *turn {
                raw[*i] -= turn;
            }
        }
        for i in &self.floats {
            let value =
                signals.all()[usize::from(self.signal[*i])] * errors.gain[*i] + errors.bias[*i];
            raw[*i] = value.clamp(self.low[*i], self.high[*i]).to_bits() as i64;
        }
    }
}

/// The nearest integer, for magnitudes below 2^51.
#[inline]
pub fn rounded(x: f64) -> i64 {
    (x + ROUNDER).to_bits() as i64 - ROUNDER.to_bits() as i64
}

/// Drops what says the same as before. The first value of an on-change channel is told, but for an event that is none.
fn keep_changes(
    beat: &Beat,
    begins: usize,
    last: &mut Option<Box<[i64]>>,
    channels: &mut Vec<u16>,
    raw: &mut Vec<i64>,
) {
    let now: Box<[i64]> = raw[begins..].into();
    let mut kept = begins;
    for (i, value) in now.iter().enumerate() {
        let same = match last {
            Some(before) => before[i] == *value,
            None => beat.events[i] && *value == 0,
        };
        if !same {
            channels[kept] = beat.channels[i];
            raw[kept] = *value;
            kept += 1;
        }
    }
    channels.truncate(kept);
    raw.truncate(kept);
    *last = Some(now);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_to_the_nearest() {
        for (x, n) in [
            (0.4, 0),
            (0.6, 1),
            (-0.6, -1),
            (-1.4, -1),
            (2.5, 2),
            (3.5, 4),
            (1e12, 1_000_000_000_000),
        ] {
            assert_eq!(rounded(x), n, "{x}");
        }
    }

    #[test]
    fn a_channel_that_nobody_knows_is_named() {
        let text = "name = \"x\"\nversion = 1\ndefaults = { period = \"1s\", class = \"condition\", rate_group = \"slow\" }\n\
                    channels = [{ id = 1, name = \"active_powr\", unit = \"kW\" }, { id = 2, name = \"rotor_speed_sd\", unit = \"rpm\" },\
                    { id = 3, name = \"wind_sped_max\", unit = \"m/s\" }]";
        let catalogue = windlass_shared::catalogue::parse("x.toml", text).unwrap();
        let problems = Plan::new(&catalogue, Pace::Second).unwrap_err();
        assert_eq!(problems.len(), 2);
        let statistic = problems[1].to_string();
        assert!(
            statistic.contains("wind_sped_max") && statistic.contains("like `wind_speed`?"),
            "{statistic}"
        );
        let text = problems[0].to_string();
        assert!(
            text.contains("active_powr") && text.contains("like `active_power`?"),
            "{text}"
        );
    }
}
