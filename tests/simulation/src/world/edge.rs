//! The gateways' side of the world: agents, disks, clocks, and the network to ingest and back.

use std::sync::Arc;

use sha2::Digest;
use windlass_edge_core::{
    AgentEvent, CommitBatch, Input, MemoryStore, Output, PublishId, RowLevel, StoreFault,
};
use windlass_shared::id::{GatewayId, RecordId};
use windlass_shared::time::{EventTime, SECOND_US};
use windlass_shared::wire::{self, Downlink};

use super::{Check, Event, World};
use crate::faults::Fault;
use crate::gateway::{Gateway, SAMPLE_US};

impl World {
    pub(super) fn start(&mut self, g: usize) -> Check {
        if self.gateways[g].core.is_some() {
            return Ok(());
        }
        let dark = self.rates.strikes(Fault::ClockUnset, 0.5);
        let unset_us = self.rates.below(2_400_000_000);
        if dark {
            self.gateways[g].reboot(self.heap.now(), unset_us);
        }
        self.gateways[g].boot();
        self.outcome.epochs += self.gateways[g].turbines.len();
        let recovered = self.gateways[g].disk.recovered();
        self.hand(g, Input::Start(recovered))?;
        let not_before = EventTime(self.gateways[g].now(self.heap.now()).wall.0);
        for turbine in self.gateways[g].turbines.clone() {
            self.hand(
                g,
                Input::SourceStarted {
                    turbine,
                    source: Gateway::source(),
                    not_before,
                },
            )?;
        }
        Ok(())
    }

    pub(super) fn kill(&mut self, g: usize) {
        self.gateways[g].core = None;
        self.gateways[g].connected = false;
        self.gateways[g].session += 1;
        let delay = 1_000_000 + self.rates.below(120_000_000);
        self.heap.after(delay, Event::Start(g));
    }

    pub(super) fn hand(&mut self, g: usize, input: Input) -> Check {
        let now = self.gateways[g].now(self.heap.now());
        if now.is_set() {
            self.gateways[g].offsets.insert(now.offset_us());
        }
        let life = self.gateways[g].life;
        let Some(core) = self.gateways[g].core.as_mut() else {
            return Ok(());
        };
        let mut out = Vec::new();
        core.handle(now, input, &mut out);
        let deadline = core.next_deadline();
        for output in out {
            self.output(g, life, output)?;
        }
        if let Some(at) = deadline {
            let at = (self.gateways[g].booted_at.saturating_add(at.0)).max(self.heap.now() + 1);
            if self.gateways[g].timer_at.is_none_or(|t| t > at) {
                self.gateways[g].timer_at = Some(at);
                self.heap.at(at, Event::Timer(g, life));
            }
        }
        Ok(())
    }

    pub(super) fn output(&mut self, g: usize, life: u64, output: Output) -> Check {
        match output {
            Output::Commit(batch) => {
                let delay = 300 + self.rates.below(30_000);
                self.heap.after(delay, Event::Commit(g, life, batch));
            }
            Output::Load(request) => self.heap.after(500, Event::Load(g, life, request)),
            Output::Publish { id, topic, payload } => self.publish(g, id, &topic, &payload),
            Output::Connect => {
                let delay = 20_000 + self.rates.below(2_000_000);
                self.heap.after(delay, Event::Connected(g, life));
            }
            Output::Disconnect => {
                self.gateways[g].connected = false;
                self.gateways[g].session += 1;
            }
            Output::Event(AgentEvent::Evicted { level, .. }) if level != RowLevel::Safe => {
                self.rates.counts.add(Fault::Evicted);
            }
            Output::Event(AgentEvent::Placed {
                readings, untimed, ..
            }) => {
                self.outcome.placed += readings;
                self.outcome.untimed += untimed;
            }
            Output::Event(_) | Output::Stopped => {}
            Output::Fatal(fault) => {
                return Err(format!("{} gave up: {fault}", self.gateways[g].id));
            }
        }
        Ok(())
    }

    pub(super) fn commit(&mut self, g: usize, life: u64, batch: &CommitBatch) -> Check {
        if !self.alive(g, life) {
            return Ok(());
        }
        let noted = &mut self.gateways[g].placed;
        for (turbine, seq) in &batch.placed {
            let upto = noted.entry(turbine.clone()).or_insert(*seq);
            *upto = (*upto).max(*seq);
        }
        let full = self.rates.strikes(Fault::CommitFailed, 0.002);
        let applied = if full {
            Err(StoreFault::DiskFull)
        } else {
            let gateway = &mut self.gateways[g];
            (self.waited).leaves(&gateway.disk, batch, &gateway.offsets)?;
            gateway.disk.apply(batch)
        };
        let usage = match applied {
            Ok(usage) => usage,
            Err(fault) => {
                return self.hand(
                    g,
                    Input::CommitFailed {
                        id: batch.id,
                        fault,
                    },
                );
            }
        };
        for row in &batch.rows {
            self.ledger.committed(&row.meta.id, &row.payload)?;
            self.trace.update(&row.payload);
        }
        self.waited.committed(batch)?;
        for row in &batch.waiting {
            self.trace.update(&row.payload);
        }
        if self.rates.strikes(Fault::AgentKilled, 0.000_4) {
            // durable, but the process never learns it
            self.kill(g);
            return Ok(());
        }
        self.hand(
            g,
            Input::Committed {
                id: batch.id,
                usage,
            },
        )
    }

    pub(super) fn sample(&mut self, g: usize) -> Check {
        self.heap.after(SAMPLE_US, Event::Sample(g));
        if self.gateways[g].core.is_none() {
            return Ok(());
        }
        for turbine in self.gateways[g].turbines.clone() {
            let late = self
                .rates
                .strikes(Fault::LateReading, 0.01)
                .then(|| self.rates.below(600_000_000) as i64);
            let ahead = self.rates.strikes(Fault::SuspectReading, 0.005);
            let ahead = ahead.then(|| 10 * SECOND_US + self.rates.below(1 << 40) as i64);
            let now = self.heap.now();
            let readings = self.gateways[g].sample(now, late, ahead);
            let wall = self.gateways[g].now(now).wall.0;
            self.hand(
                g,
                Input::Readings {
                    turbine,
                    source: Gateway::source(),
                    readings,
                    position: None,
                    // the next interval's readings are up to half a sampling period old
                    complete_until: EventTime(wall),
                },
            )?;
        }
        if self.rates.strikes(Fault::AgentKilled, 0.003) {
            self.kill(g);
        }
        Ok(())
    }

    pub(super) fn publish(&mut self, g: usize, id: PublishId, topic: &str, payload: &Arc<[u8]>) {
        if !self.gateways[g].connected || !self.gateways[g].link {
            return;
        }
        let life = self.gateways[g].life;
        let trip = 5_000 + self.rates.below(60_000);
        self.heap
            .after(trip, Event::Input(g, life, Input::PubAck(id)));
        if self.rates.strikes(Fault::UplinkDropped, 0.01) {
            return;
        }
        let mut copies = 1;
        if self.rates.strikes(Fault::UplinkDuplicated, 0.03) {
            copies += 1 + self.rates.below(3);
        }
        for copy in 0..copies {
            let mut delay = 5_000 + self.rates.below(100_000) * (copy + 1);
            if self.rates.strikes(Fault::UplinkReordered, 0.05) {
                delay += self.rates.below(90_000_000);
            }
            let payload = if self.rates.strikes(Fault::Corrupted, 0.000_5) {
                payload[..payload.len() / 2].into()
            } else {
                payload.clone()
            };
            self.heap.after(
                delay,
                Event::Up {
                    topic: topic.to_owned(),
                    payload,
                },
            );
        }
    }

    pub(super) fn connected(&mut self, g: usize, life: u64) -> Check {
        if !self.alive(g, life) {
            return Ok(());
        }
        if !self.gateways[g].link {
            return self.hand(g, Input::LinkDown);
        }
        self.gateways[g].connected = true;
        self.gateways[g].session += 1;
        self.hand(g, Input::LinkUp)
    }

    pub(super) fn down(&mut self, g: usize, session: u64, bytes: &[u8]) -> Check {
        if self.gateways[g].session != session || !self.gateways[g].connected {
            return Ok(());
        }
        let message =
            wire::decode_downlink(bytes).map_err(|e| format!("a downlink does not decode: {e}"))?;
        self.hand(g, Input::Downlink(message))
    }

    pub(super) fn send_down(&mut self, gateway: &GatewayId, message: &Downlink) {
        let Some(g) = self.gateways.iter().position(|g| g.id == *gateway) else {
            return;
        };
        if self.rates.strikes(Fault::AckDropped, 0.01) {
            return;
        }
        let delay = 2_000 + self.rates.below(50_000);
        let session = self.gateways[g].session;
        self.heap.after(
            delay,
            Event::Down(g, session, wire::encode_downlink(message)),
        );
    }

    /// Link cuts, clocks, disks.
    pub(super) fn weather(&mut self) -> Check {
        self.heap.after(10_000_000, Event::Weather);
        for g in 0..self.gateways.len() {
            if self.gateways[g].link && self.rates.strikes(Fault::LinkCut, 0.004) {
                self.gateways[g].link = false;
                self.gateways[g].connected = false;
                self.gateways[g].session += 1;
                let back = 1_000_000 + self.rates.below(3_600_000_000);
                self.heap.after(back, Event::LinkBack(g));
                self.hand(g, Input::LinkDown)?;
            }
            if self.rates.strikes(Fault::ClockForward, 0.000_7) {
                // further ahead than the skew that the cloud accepts would be refused
                let ahead = self.gateways[g].wall_offset + self.rates.below(120_000_000) as i64;
                self.gateways[g].wall_offset = ahead.min(200 * SECOND_US);
            }
            if self.rates.strikes(Fault::ClockBack, 0.000_7) {
                self.gateways[g].wall_offset -= self.rates.below(900_000_000) as i64;
            }
            if self.rates.strikes(Fault::ClockLost, 0.002) {
                self.gateways[g].unset_until = self.heap.now() + self.rates.below(600_000_000);
            }
            if self.rates.below(40) == 0 {
                self.gateways[g].backup = Some(self.gateways[g].disk.clone());
            }
            if self.rates.strikes(Fault::DiskReplaced, 0.000_3) {
                self.swap_disk(g, MemoryStore::new());
            }
            if let Some(old) = self.gateways[g].backup.clone()
                && self.rates.strikes(Fault::BackupRestored, 0.000_5)
            {
                self.swap_disk(g, old);
            }
        }
        if self.rates.strikes(Fault::LogClockJump, 0.002) {
            self.log_jump_until = self.heap.now() + 3_000_000;
        }
        Ok(())
    }

    pub(super) fn swap_disk(&mut self, g: usize, disk: MemoryStore) {
        self.kill(g);
        let kept: std::collections::BTreeSet<RecordId> =
            disk.rows().map(|r| r.meta.id.clone()).collect();
        let gone: Vec<RecordId> = self.gateways[g]
            .disk
            .rows()
            .map(|r| r.meta.id.clone())
            .filter(|id| !kept.contains(id))
            .collect();
        self.ledger.erased(gone.iter());
        self.gateways[g].disk = disk;
        self.gateways[g].erased = true;
    }
}
