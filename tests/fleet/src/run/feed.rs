//! The model's readings at wall time, pushed into the agents' sockets: a thread for each gateway, as a driver of its
//! controllers would be.
//!
//! Invariants: what a turbine is at a time is the model's, whoever listens; a sample is delivered whole or not at all, and
//! what nobody took was not sampled. A thread ends when the feed is stopped.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow};
use windlass_fleet_model::{Due, Fleet, Turbine};
use windlass_shared::catalogue::{Catalogue, Raw};
use windlass_shared::record::Quality;
use windlass_shared::time::{EventTime, SECOND_US};

use crate::clock;

/// Between two looks at the clock while nothing is due.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// An agent that takes nothing for so long loses its connection.
const WRITE_BOUND: Duration = Duration::from_secs(5);
/// A thread that is so far behind skips what it missed.
const CATCH_UP_MAX_US: i64 = 5 * SECOND_US;

/// What was handed over.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Delivered {
    /// Samples that an agent's socket took.
    pub samples: u64,
    /// Readings in them.
    pub readings: u64,
    /// Samples that nobody took: the agent was down.
    pub untaken: u64,
}

/// The threads.
pub struct Feed {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Delivered>>,
}

/// A turbine and the socket of its source.
struct Tap {
    turbine: Turbine,
    socket: PathBuf,
    stream: Option<UnixStream>,
}

impl Feed {
    /// Starts at the fleet's beginning. For each gateway: seats and their sockets.
    pub fn start(fleet: &Fleet, gateways: Vec<Vec<(usize, PathBuf)>>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = gateways.into_iter().map(|seats| {
            let taps: Vec<Tap> = seats
                .into_iter()
                .map(|(seat, socket)| Tap {
                    turbine: fleet.turbine(seat),
                    socket,
                    stream: None,
                })
                .collect();
            let (stop, begins) = (Arc::clone(&stop), fleet.begins());
            std::thread::spawn(move || feed(taps, begins, &stop))
        });
        let threads = threads.collect();
        Self { stop, threads }
    }

    /// Ends it; gives what was delivered.
    pub fn finish(mut self) -> Result<Delivered> {
        self.stop.store(true, Ordering::Release);
        let mut all = Delivered::default();
        for thread in std::mem::take(&mut self.threads) {
            let one = thread
                .join()
                .map_err(|_| anyhow!("a thread that feeds an agent panicked"))?;
            all.samples += one.samples;
            all.readings += one.readings;
            all.untaken += one.untaken;
        }
        Ok(all)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

fn feed(mut taps: Vec<Tap>, begins: EventTime, stop: &AtomicBool) -> Delivered {
    let mut delivered = Delivered::default();
    let mut line = String::new();
    let mut last = begins.plus_us(-1);
    while !stop.load(Ordering::Acquire) {
        let dues = taps.iter().map(|t| t.turbine.next_due(last.plus_us(1)));
        let Some(due) = dues.min() else { break };
        let now = EventTime(clock::wall().0);
        if now < due {
            clock::pause(LOOK_EVERY);
            continue;
        }
        last = due;
        if now.0 - due.0 > CATCH_UP_MAX_US {
            delivered.untaken += taps.len() as u64;
            last = now.plus_us(-SECOND_US);
            continue;
        }
        for tap in &mut taps {
            tap.sample(due, &mut line, &mut delivered);
        }
    }
    delivered
}

impl Tap {
    fn sample(&mut self, at: EventTime, line: &mut String, delivered: &mut Delivered) {
        if self.stream.is_none() {
            self.stream = UnixStream::connect(&self.socket)
                .and_then(|s| s.set_write_timeout(Some(WRITE_BOUND)).map(|()| s))
                .ok();
        }
        let Some(stream) = &mut self.stream else {
            // on-change channels must not notice what nobody was told
            self.turbine.skip_to(at);
            delivered.untaken += 1;
            return;
        };
        line.clear();
        let catalogue = Arc::clone(self.turbine.catalogue());
        let due = self.turbine.step(at);
        let readings = due.channels.len() as u64;
        if readings == 0 {
            return;
        }
        write_line(&due, &catalogue, line);
        if stream.write_all(line.as_bytes()).is_ok() {
            delivered.samples += 1;
            delivered.readings += readings;
        } else {
            self.stream = None;
            delivered.untaken += 1;
        }
    }
}

/// A sample as the agent's push source reads it.
pub fn write_line(due: &Due, catalogue: &Catalogue, out: &mut String) {
    let mut bad = due.bad.iter().peekable();
    out.push('{');
    for (i, (position, raw)) in due.channels.iter().zip(due.raw).enumerate() {
        let channel = &catalogue.channels[usize::from(*position)];
        let quality = bad.next_if(|(at, _)| usize::from(*at) == i).map(|b| b.1);
        let value = match channel.raw {
            Raw::Int => channel.value(*raw),
            Raw::Float => f64::from_bits(*raw as u64),
        };
        let number = value.is_finite() && quality.is_none_or(|q| q == Quality::Good);
        let comma = if i > 0 { "," } else { "" };
        // writing to a String does not fail
        if number {
            write!(out, "{comma}\"{}\":{value}", channel.name).ok();
        } else {
            write!(out, "{comma}\"{}\":null", channel.name).ok();
        }
    }
    out.push_str("}\n");
}

#[cfg(test)]
mod tests {
    use windlass_fleet_model::{Pace, Scenario};

    use super::*;

    #[test]
    fn a_line_brings_every_raw_value_back() {
        let text = "name = \"x\"\nseed = 1\n[[farm]]\nid = \"N\"\nzone = \"UTC\"\nprofile = \"onshore-3mw\"\nturbines = 1\n\
            [[fault]]\nkind = \"sensor_dead\"\nchannel = \"hub_temperature\"\nfrom = \"3s\"";
        let scenario = Scenario::parse("x.toml", text).unwrap();
        let path = crate::spec::profiles().join("onshore-3mw.toml");
        let profile = std::fs::read_to_string(path).unwrap();
        let profile = Arc::new(windlass_shared::catalogue::parse("p.toml", &profile).unwrap());
        let begins = EventTime(1_767_225_600_000_000);
        let fleet = Fleet::new(
            &scenario,
            1,
            std::slice::from_ref(&profile),
            begins,
            Pace::Second,
        )
        .unwrap();
        let mut turbine = fleet.turbine(0);
        let (mut values, mut nulls) = (0, 0);
        for second in 0..30 {
            let due = turbine.step(begins.plus_us(second * SECOND_US));
            let mut line = String::new();
            write_line(&due, &profile, &mut line);
            assert!(line.ends_with("}\n") && line.lines().count() == 1);
            let read: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(&line).unwrap();
            assert_eq!(read.len(), due.channels.len());
            for (position, raw) in due.channels.iter().zip(due.raw) {
                let channel = &profile.channels[usize::from(*position)];
                let Some(value) = read[&channel.name].as_f64() else {
                    assert_eq!(channel.name, "hub_temperature");
                    nulls += 1;
                    continue;
                };
                values += 1;
                let back = match channel.raw {
                    Raw::Int => channel.raw_nearest(value),
                    Raw::Float => Some(value.to_bits() as i64),
                };
                assert_eq!(back, Some(*raw), "{}", channel.name);
            }
        }
        assert!(values > 3_000 && nulls > 0, "{values} {nulls}");
    }
}
