//! One gateway: the agent's core, its MQTT client, and a store in memory where the agent has its disk.
//!
//! Invariant: nothing is decided here. What to send, keep, send again or evict is the core's to say.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Result, bail};
use tokio::sync::{mpsc, watch};
use windlass_edge::clock::Clock;
use windlass_edge::config::{Uplink as UplinkConfig, UplinkAddress};
use windlass_edge::mqtt::{Generation, LinkEvent, LinkNews, Uplink};
use windlass_edge_core::{
    AgentCore, AgentEvent, DiskSettings, Input, MemoryStore, Output, Reading, RowLevel, Settings,
    SourceId, SourceKind, SourceSettings, TurbineSettings, UplinkSettings, Value,
};
use windlass_fleet_model::noise::{key_of, mix};
use windlass_fleet_model::{Fleet, Turbine};
use windlass_shared::catalogue::Raw;
use windlass_shared::id::{GatewayId, TurbineId};
use windlass_shared::record::Quality;
use windlass_shared::time::{EventTime, MonoTime, SECOND_US};
use windlass_shared::wire;

use super::counters::Counters;

/// Reports of the connection that wait.
const LINK_EVENTS_MAX: usize = 64;
/// As the agent's defaults.
const INFLIGHT_MAX: u16 = 512;
const BUDGET_BYTES_PER_S: u64 = 256 * 1_024;
const ACK_TIMEOUT_S: u32 = 30;
const KEEP_ALIVE_S: u16 = 60;
const RETRY_DELAY_MAX_S: u32 = 60;

/// What all gateways have in common.
pub struct Plan {
    pub broker: SocketAddr,
    /// Event time of the first samples, on the second.
    pub begins: EventTime,
    pub clock: Clock,
    pub gateways: usize,
    /// The connections begin within so many seconds.
    pub connects_s: i64,
    pub in_step: bool,
    pub outbox_bytes: u64,
    pub seed: u64,
    /// False: no more samples.
    pub sampling: watch::Receiver<bool>,
    /// True: end.
    pub stop: watch::Receiver<bool>,
    pub counters: Arc<Counters>,
}

/// See the module.
pub struct Gateway {
    core: AgentCore,
    store: MemoryStore,
    uplink: Uplink,
    links: mpsc::Receiver<(Generation, LinkEvent)>,
    turbine: Turbine,
    id: TurbineId,
    source: SourceId,
    clock: Clock,
    /// Time of the next sample as the model counts, on the second.
    next: EventTime,
    /// What lies between the model's seconds and this gateway's samples, microseconds.
    phase_us: i64,
    starts: EventTime,
    sampling: watch::Receiver<bool>,
    stop: watch::Receiver<bool>,
    counters: Arc<Counters>,
    inputs: VecDeque<Input>,
    unacknowledged: u64,
    ended: bool,
    closed: bool,
    online: bool,
}

impl Gateway {
    /// The gateway of one turbine; it starts when it runs.
    pub fn new(fleet: &Fleet, seat: usize, plan: &Plan) -> Result<Self> {
        let turbine = fleet.turbine(seat);
        let id = turbine.id().clone();
        let gateway = gateway_of(&id)?;
        let source = SourceId::new("load");
        let settings = Settings {
            agent_version: concat!("windlass-fleet ", env!("CARGO_PKG_VERSION")).to_owned(),
            turbines: vec![TurbineSettings {
                id: id.clone(),
                catalogue: Arc::clone(turbine.catalogue()),
                thresholds: Vec::new(),
            }],
            sources: vec![SourceSettings {
                id: source.clone(),
                kind: SourceKind::Live,
                turbines: vec![id.clone()],
            }],
            disk: DiskSettings {
                budget_bytes: plan.outbox_bytes,
                disk_free_min_bytes: 0,
                ..DiskSettings::default()
            },
            uplink: UplinkSettings {
                budget_bytes_per_s: BUDGET_BYTES_PER_S,
                ..UplinkSettings::default()
            },
            ..Settings::new(gateway.clone())
        };
        let uplink = UplinkConfig {
            address: UplinkAddress {
                host: plan.broker.ip().to_string(),
                port: plan.broker.port(),
                tls: false,
            },
            tls: None,
            budget_bytes_per_s: BUDGET_BYTES_PER_S,
            inflight_max: INFLIGHT_MAX,
            ack_timeout_s: ACK_TIMEOUT_S,
            keep_alive_s: KEEP_ALIVE_S,
            retry_delay_max_s: RETRY_DELAY_MAX_S,
        };
        let (events, links) = mpsc::channel(LINK_EVENTS_MAX);
        // neighbours are apart: a farm does not sample together
        let slot = seat * 7_919 % plan.gateways;
        let share = |us: i64| us * slot as i64 / plan.gateways as i64;
        let phase_us = if plan.in_step { 0 } else { share(SECOND_US) };
        Ok(Self {
            core: AgentCore::new(settings, epoch_seed(plan, &id)),
            store: MemoryStore::new(),
            uplink: Uplink::new(gateway, uplink, events),
            links,
            next: plan.begins,
            phase_us,
            starts: plan
                .begins
                .plus_us(share(plan.connects_s * SECOND_US) - (plan.connects_s + 1) * SECOND_US),
            turbine,
            id,
            source,
            clock: plan.clock,
            sampling: plan.sampling.clone(),
            stop: plan.stop.clone(),
            counters: Arc::clone(&plan.counters),
            inputs: VecDeque::new(),
            unacknowledged: 0,
            ended: false,
            closed: false,
            online: false,
        })
    }

    /// Runs until told to stop.
    pub async fn run(mut self) -> Result<()> {
        tokio::time::sleep_until(self.instant(self.starts)).await;
        self.inputs.push_back(Input::Start(self.store.recovered()));
        self.inputs.push_back(Input::SourceStarted {
            turbine: self.id.clone(),
            source: self.source.clone(),
            not_before: self.sample_time(),
        });
        self.turn()?;
        loop {
            let sample_at = self.instant(self.sample_time());
            let core_at = self.core.next_deadline().unwrap_or(MonoTime(u64::MAX));
            let core_at = self.clock.instant(core_at);
            tokio::select! {
                biased;
                () = told_to(&mut self.stop) => break,
                Some((generation, event)) = self.links.recv() => self.link(generation, event),
                () = tokio::time::sleep_until(core_at) => self.inputs.push_back(Input::Timer),
                () = tokio::time::sleep_until(sample_at), if !self.ended => self.sample(),
            }
            self.turn()?;
        }
        self.uplink.say_goodbye();
        Ok(())
    }

    /// The moment, on the runtime's clock, at which the wall clock shows a time.
    fn instant(&self, at: EventTime) -> tokio::time::Instant {
        let now = self.clock.now();
        let ahead = u64::try_from(at.0 - now.wall.0).unwrap_or(0);
        self.clock.instant(now.mono.plus_us(ahead))
    }

    fn sample_time(&self) -> EventTime {
        self.next.plus_us(self.phase_us)
    }

    fn sample(&mut self) {
        if !*self.sampling.borrow() {
            self.ended = true;
            return self.inputs.push_back(Input::SourceEnded {
                turbine: self.id.clone(),
                source: self.source.clone(),
            });
        }
        let time = self.sample_time();
        let late_ms = (self.clock.now().wall.0 - time.0).max(0) as u64 / 1_000;
        (self.counters.late_ms_max).fetch_max(late_ms, Ordering::Relaxed);
        let catalogue = Arc::clone(self.turbine.catalogue());
        let due = self.turbine.step(self.next);
        let mut bad = due.bad.iter().peekable();
        let mut readings = Vec::with_capacity(due.raw.len());
        for (i, (position, raw)) in due.channels.iter().zip(due.raw).enumerate() {
            let channel = &catalogue.channels[usize::from(*position)];
            let quality = bad
                .next_if(|(at, _)| usize::from(*at) == i)
                .map_or(Quality::Good, |(_, quality)| *quality);
            let value = match channel.raw {
                Raw::Int => Value::Int(*raw),
                Raw::Float => Value::Float(f64::from_bits(*raw as u64)),
            };
            readings.push(Reading {
                channel: channel.id,
                time,
                value,
                quality,
            });
        }
        Counters::add(&self.counters.readings, readings.len() as u64);
        self.next = self.next.plus_us(SECOND_US);
        self.inputs.push_back(Input::Readings {
            turbine: self.id.clone(),
            source: self.source.clone(),
            readings,
            position: None,
            // the next sample's time is known
            complete_until: self.sample_time(),
        });
    }

    fn link(&mut self, generation: Generation, event: LinkEvent) {
        let Some(news) = self.uplink.interpret(generation, event) else {
            return;
        };
        let input = match news {
            LinkNews::Up => {
                self.set_online(true);
                Input::LinkUp
            }
            LinkNews::Down(_) => {
                self.set_online(false);
                Input::LinkDown
            }
            LinkNews::Acked(id) => Input::PubAck(id),
            LinkNews::Message(bytes) => match wire::decode_downlink(&bytes) {
                Ok(message) => Input::Downlink(message),
                Err(_) => return Counters::add(&self.counters.refused, 1),
            },
        };
        self.inputs.push_back(input);
    }

    fn set_online(&mut self, online: bool) {
        if online && !self.online {
            Counters::add(&self.counters.online, 1);
        } else if !online && self.online {
            self.counters.online.fetch_sub(1, Ordering::Relaxed);
            Counters::add(&self.counters.connections_lost, 1);
        }
        self.online = online;
    }

    /// Feeds the core all inputs, does all it says.
    fn turn(&mut self) -> Result<()> {
        let mut outputs = Vec::new();
        while let Some(input) = self.inputs.pop_front() {
            self.core.handle(self.clock.now(), input, &mut outputs);
            for output in outputs.drain(..) {
                self.execute(output)?;
            }
        }
        if self.ended && !self.closed && self.core.view().waiting_readings == 0 {
            self.closed = true;
            self.counters.closed.fetch_add(1, Ordering::Release);
        }
        Ok(())
    }

    fn execute(&mut self, output: Output) -> Result<()> {
        match output {
            Output::Commit(batch) => {
                let records = batch.rows.len() as u64;
                let bytes = batch.rows.iter().map(|r| r.meta.bytes).sum();
                let answer = match self.store.apply(&batch) {
                    Ok(usage) => {
                        Counters::add(&self.counters.records, records);
                        Counters::add(&self.counters.bytes, bytes);
                        self.count_unacknowledged(&usage);
                        Input::Committed {
                            id: batch.id,
                            usage,
                        }
                    }
                    Err(fault) => Input::CommitFailed {
                        id: batch.id,
                        fault,
                    },
                };
                self.inputs.push_back(answer);
            }
            Output::Load(request) => {
                let loaded = self.store.load(&request);
                self.inputs.push_back(Input::Loaded(loaded));
            }
            Output::Publish { id, topic, payload } => {
                Counters::add(&self.counters.published, 1);
                if self.uplink.publish(id, &topic, &payload).is_err() {
                    self.set_online(false);
                    self.inputs.push_back(Input::LinkDown);
                }
            }
            Output::Connect => self.uplink.connect(self.clock.now().wall),
            Output::Disconnect => {
                self.uplink.disconnect();
                self.set_online(false);
            }
            Output::Event(event) => self.note(&event),
            Output::Stopped => {}
            Output::Fatal(fault) => bail!("gateway of {}: {fault}", self.id),
        }
        Ok(())
    }

    fn count_unacknowledged(&mut self, usage: &windlass_edge_core::Usage) {
        let now = usage
            .turbines
            .iter()
            .map(|(_, t)| t.level(RowLevel::Unacked).rows);
        let now: u64 = now.sum();
        let counter = &self.counters.unacknowledged;
        counter.fetch_add(now.wrapping_sub(self.unacknowledged), Ordering::AcqRel);
        self.unacknowledged = now;
    }

    fn note(&self, event: &AgentEvent) {
        let counters = &self.counters;
        match event {
            AgentEvent::Committed { readings, .. } => {
                Counters::add(&counters.committed_readings, *readings);
            }
            AgentEvent::Evicted {
                level: RowLevel::Unacked,
                seqs,
                readings,
                ..
            } => {
                Counters::add(&counters.evicted_records, seqs.last.0 - seqs.first.0 + 1);
                Counters::add(&counters.evicted_readings, *readings);
            }
            AgentEvent::Refused { .. } => Counters::add(&counters.refused, 1),
            AgentEvent::Overrun { count, .. } => Counters::add(&counters.overrun, *count),
            _ => {}
        }
    }
}

/// Waits for the end, which also comes when nobody is left to tell.
async fn told_to(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

/// The name of a turbine's gateway: no two turbines share one.
pub fn gateway_of(turbine: &TurbineId) -> Result<GatewayId> {
    Ok(GatewayId::new(turbine.as_str())?)
}

/// Another run of the same seed has other epochs: the moment of the start is part of it.
fn epoch_seed(plan: &Plan, turbine: &TurbineId) -> [u8; 32] {
    let mut key = mix(key_of(plan.seed, turbine.as_str()), plan.begins.0 as u64);
    let mut seed = [0; 32];
    for chunk in seed.chunks_exact_mut(8) {
        key = mix(key, 1);
        chunk.copy_from_slice(&key.to_be_bytes());
    }
    seed
}
