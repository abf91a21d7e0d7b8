//! The cloud's side of the world: the log and its mirror, owners of partitions, sinks.

use sha2::Digest;
use windlass_cloud_core::output::{FeatureRow, hex};
use windlass_cloud_core::topic::Topic;
use windlass_shared::id::{GatewayId, RecordId, Seq, SeqRange};
use windlass_shared::window::Status;
use windlass_shared::wire::{self, Ack, AckLevel, Control, Downlink, Logged};

use super::{Check, Event, World};
use crate::cloud::recover;
use crate::faults::Fault;

impl World {
    /// The mirror catches up; what it has is safe. Sometimes the log fails over to it.
    pub(super) fn mirror(&mut self) -> Check {
        self.heap.after(20_000_000, Event::Mirror);
        if !self.mirrored {
            return Ok(());
        }
        for p in 0..self.logs.len() {
            if self.rates.strikes(Fault::LogTailLost, 0.002) {
                self.logs[p].lose_tail();
                self.tasks[p] = None;
                self.zombies[p] = None;
                self.downlinked[p] = self.downlinked[p].min(self.logs[p].outputs.len());
                self.sinks.reset(p);
                self.heap.after(2_000_000, Event::Owner(p));
                continue;
            }
            let from = self.logs[p].mirrored;
            // the mirror lags a little
            let lag = self.rates.below(20) as usize;
            let to = self.logs[p].entries.len().saturating_sub(lag).max(from);
            self.logs[p].mirrored = to;
            let mut safe: Vec<(GatewayId, RecordId)> = Vec::new();
            for entry in &self.logs[p].entries[from..to] {
                if let (Ok(Logged::Telemetry { gateway, .. }), Some((id, _))) =
                    (wire::decode_logged(&entry.value), entry.record())
                {
                    safe.push((gateway, id));
                }
            }
            for (gateway, id) in safe {
                let ack = Ack {
                    turbine: id.turbine,
                    epoch: id.epoch,
                    ranges: vec![SeqRange::one(id.seq)],
                    level: AckLevel::Safe,
                    verdicts: Vec::new(),
                };
                let message = Downlink {
                    acks: vec![ack],
                    ..Downlink::default()
                };
                self.acknowledge(&gateway, &message)?;
            }
        }
        Ok(())
    }

    pub(super) fn tick(&mut self) {
        self.heap.after(1_000_000, Event::Tick);
        for p in 0..self.logs.len() {
            self.append(p, "", wire::encode_control(&Control::Tick));
        }
    }

    pub(super) fn take_over(&mut self, p: usize) -> Check {
        let was_idle = self.tasks[p].is_none();
        if self.rates.strikes(Fault::LogicChanged, 0.1) {
            self.logic[p] += 1;
        }
        let piece = 1 + self.rates.below(700) as usize;
        let now = self.mono();
        let task = recover(
            &mut self.logs[p],
            self.logic[p],
            &self.settings,
            &self.fleet,
            now,
            piece,
        )
        .map_err(|e| format!("partition {p}: {e}"))?;
        self.tasks[p] = Some(task);
        if was_idle {
            self.heap.after(1_000, Event::Work(p));
        }
        Ok(())
    }

    pub(super) fn work(&mut self, p: usize) -> Check {
        let Some(mut task) = self.tasks[p].take() else {
            return Ok(());
        };
        let max = 1 + self.rates.below(400) as usize;
        task.step(&self.logs[p], max);
        let now = self.mono();
        let killed = self.rates.strikes(Fault::TaskKilled, 0.000_5);
        if killed && self.rates.below(2) == 0 {
            self.owner_later(p);
            return Ok(());
        }
        if self.rates.strikes(Fault::Zombie, 0.000_5) {
            // it sleeps through a change of owner and wakes up
            self.zombies[p] = Some(task);
            self.heap.after(1_000_000, Event::Owner(p));
            return Ok(());
        }
        let mut rows = Vec::new();
        if task.worker.is_due(now) {
            rows = task
                .commit(&mut self.logs[p], now)
                .map_err(|_| format!("the newest owner of partition {p} was fenced"))?;
        }
        for row in &rows {
            // a result stands or falls with what was there when it was made
            self.logs[p].advance(row.position as usize + 1);
            self.visible(p, row)?;
        }
        let position = self.logs[p].position() as usize;
        self.logs[p].advance(position);
        if killed {
            // the log has it, but the process never learns it
            self.owner_later(p);
            return self.downlink(p);
        }
        self.tasks[p] = Some(task);
        self.downlink(p)?;
        self.zombie(p)?;
        let delay = 20_000 + self.rates.below(1_500_000);
        self.heap.after(delay, Event::Work(p));
        Ok(())
    }

    fn owner_later(&mut self, p: usize) {
        let delay = 500_000 + self.rates.below(30_000_000);
        self.heap.after(delay, Event::Owner(p));
    }

    pub(super) fn zombie(&mut self, p: usize) -> Check {
        let Some(mut zombie) = self.zombies[p].take() else {
            return Ok(());
        };
        zombie.step(&self.logs[p], 300);
        let state = zombie.worker.task();
        let position = state.position();
        let same = |c: &&crate::cloud::Committed| {
            c.position == position && c.progress.logic == zombie.logic
        };
        let same = self.logs[p].commits.iter().find(same);
        if same.is_some_and(|c| c.progress.outputs != hex(&state.output_hash())) {
            return Err(format!(
                "two owners of partition {p} made different outputs up to {position}"
            ));
        }
        let now = self.mono();
        match zombie.commit(&mut self.logs[p], now) {
            Err(_) => Ok(()),
            Ok(_) => Err(format!("a fenced owner of partition {p} could commit")),
        }
    }

    pub(super) fn visible(&mut self, p: usize, row: &FeatureRow) -> Check {
        self.outcome.results += 1;
        self.trace.update(row.encode());
        let r = &row.result;
        if r.status == Status::Exact {
            self.outcome.exact += 1;
            let t1 = r.start.plus_us(r.kind.len_us());
            if let Some(id) = self.ledger.missing_on_time(
                &row.turbine,
                r.start,
                t1,
                &self.logs[p].applied,
                |id| self.unforeseeable(p, row, id),
            ) {
                return Err(format!(
                    "{} window {} at {:?} was called exact without {id}; {}",
                    row.turbine,
                    r.kind.as_str(),
                    r.start,
                    self.ledger.epochs(&row.turbine, &self.logs[p].applied)
                ));
            }
        }
        Ok(())
    }

    /// The record is of an epoch whose clock was set back, and its Open had not been applied when the row was made.
    fn unforeseeable(&self, p: usize, row: &FeatureRow, id: &RecordId) -> bool {
        let open = RecordId {
            seq: Seq::FIRST,
            ..id.clone()
        };
        let until = (row.position as usize).min(self.logs[p].entries.len());
        self.ledger.set_back(&id.turbine, id.epoch)
            && !self.logs[p].entries[..until]
                .iter()
                .filter(|e| e.key == id.turbine.as_str())
                .any(|e| e.record().is_some_and(|(seen, _)| seen == open))
    }

    pub(super) fn downlink(&mut self, p: usize) -> Check {
        let new: Vec<(String, Vec<u8>)> = self.logs[p].outputs[self.downlinked[p]..]
            .iter()
            .filter(|o| o.topic == Topic::Downlink)
            .map(|o| (o.key.clone(), o.bytes.clone()))
            .collect();
        self.downlinked[p] = self.logs[p].outputs.len();
        for (gateway, bytes) in new {
            let gateway =
                GatewayId::new(&gateway).map_err(|e| format!("downlink for nobody: {e}"))?;
            let message = wire::decode_downlink(&bytes)
                .map_err(|e| format!("a downlink does not decode: {e}"))?;
            self.send_down(&gateway, &message);
        }
        Ok(())
    }

    pub(super) fn snapshot(&mut self, p: usize) {
        let delay = 60_000_000 + self.rates.below(600_000_000);
        self.heap.after(delay, Event::Snapshot(p));
        let Some(task) = &mut self.tasks[p] else {
            return;
        };
        let Some(state) = task.worker.snapshot() else {
            return;
        };
        let (at, mut bytes) = (state.position(), state.snapshot());
        task.worker.snapshotted();
        if self.rates.strikes(Fault::SnapshotLost, 0.05) {
            match self.rates.below(4) {
                0 => return,
                1 => bytes.truncate(bytes.len() / 2),
                // of another layout
                2 => bytes[4] ^= 0x7f,
                _ => {
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 1;
                }
            }
        }
        self.logs[p].snapshots.push((at, bytes));
        if self.logs[p].snapshots.len() > 4 {
            self.logs[p].snapshots.remove(0);
        }
    }

    pub(super) fn sink(&mut self) -> Check {
        let delay = 1_000_000 + self.rates.below(20_000_000);
        self.heap.after(delay, Event::Sink);
        for p in 0..self.logs.len() {
            let killed = self.rates.strikes(Fault::SinkKilled, 0.02);
            self.sinks.step(p, &self.logs[p], killed)?;
        }
        Ok(())
    }
}
