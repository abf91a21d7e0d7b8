//! One turbine: coverage, windows, detectors, what is asked for again, and its status.
//!
//! Invariant: everything here is reached through the turbine's own entries and the partition's ticks, in log order.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use windlass_shared::catalogue::{Catalogue, CatalogueHash, RateGroup};
use windlass_shared::coverage::{Coverage, LinkFault};
use windlass_shared::id::{Epoch, FarmId, GatewayId, TurbineId};
use windlass_shared::record::{Batch, Body, Record, RecordHash};
use windlass_shared::time::{EventTime, LogTime, MINUTE_US};
use windlass_shared::window::{Status, WindowKind, WindowResult, Windows};
use windlass_shared::wire::{self, Command, Downlink};

use super::order::Orders;
use super::resend::Holes;
use super::status::{Live, Pace};
use super::view::{fault_text, summary};
use super::{TaskOutput, TaskSettings, dead};
use crate::admit::{Admission, admit};
use crate::detect::alert::AlertEvent;
use crate::detect::{Chain, Detectors, Plan, Plans, Scene};
use crate::fleet::Fleet;
use crate::ingest::readings_of;
use crate::output::{Counts, CoverageSummary, FeatureRow, Reason, WindowCounts};
use crate::topic::Topic;

/// Windows of a turbine that are remembered as provisional.
const UNSETTLED_MAX: usize = 16_384;

/// What a turbine may look at while it takes an entry.
pub(super) struct Moment<'a> {
    pub offset: u64,
    pub now: LogTime,
    pub stamps_max: EventTime,
    pub settings: &'a TaskSettings,
    pub fleet: &'a Fleet,
    pub plans: &'a Plans,
    pub config_version: u64,
}

/// The state of one turbine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Turbine {
    pub gateway: GatewayId,
    pub farm: Option<FarmId>,
    pub speaks: Option<CatalogueHash>,
    coverage: Coverage,
    windows: Windows,
    pub chain: Chain,
    pub counts: Counts,
    pub window_counts: WindowCounts,
    /// Windows that were emitted as provisional and have not settled yet.
    unsettled: BTreeSet<(EventTime, WindowKind)>,
    pub summary: CoverageSummary,
    summary_stale: bool,
    pub live: Live,
    pub pace: Pace,
    holes: Holes,
    /// Windows were polled since the last record.
    polled: bool,
    /// Faults of coverage that were alarmed.
    faults: Vec<LinkFault>,
    /// Orders to end quarantined epochs.
    orders: Orders,
}

impl Turbine {
    pub(super) fn new(gateway: GatewayId, farm: Option<FarmId>, detectors: &Detectors) -> Self {
        Self {
            gateway,
            farm,
            speaks: None,
            coverage: Coverage::default(),
            windows: Windows::default(),
            chain: Chain::new(detectors),
            counts: Counts::default(),
            window_counts: WindowCounts::default(),
            unsettled: BTreeSet::new(),
            summary: CoverageSummary::default(),
            summary_stale: false,
            live: Live::default(),
            pace: Pace::default(),
            holes: Holes::default(),
            polled: true,
            faults: Vec::new(),
            orders: Orders::default(),
        }
    }

    pub(super) fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// Takes a record.
    pub(super) fn record(
        &mut self,
        moment: &Moment,
        record: &Record,
        hash: &RecordHash,
        bytes: &[u8],
        out: &mut Vec<TaskOutput>,
    ) {
        let next = self.coverage.is_next(&record.header);
        let frontier = self.coverage.frontier();
        let spoke = self.speaks;
        let admission = admit(
            &mut self.coverage,
            &mut self.speaks,
            moment.fleet,
            record,
            hash,
            moment.stamps_max,
        );
        if spoke != self.speaks {
            self.live.forget();
        }
        let turbine = &record.header.id.turbine;
        let plain = match admission {
            Admission::Counts => {
                let late = self.counted(moment, record, out);
                let minute = |t: EventTime| t.floor_to(MINUTE_US);
                let same_minute = minute(frontier) == minute(self.coverage.frontier());
                next && same_minute && !late && matches!(record.body, Body::Batch(_))
            }
            Admission::Duplicate => {
                self.counts.duplicate_records += 1;
                self.pace.mark();
                true
            }
            Admission::Dead(reason, detail) => {
                self.dead(moment, record, hash, reason, detail, bytes, out);
                false
            }
        };
        if !plain || self.summary.holes > 0 {
            self.holes.changed();
            self.summary_stale = true;
        }
        if !plain {
            self.link_faults(turbine, record, moment, out);
            self.poll(turbine, moment, out);
        }
        self.status(turbine, moment, out);
    }

    /// Alarms what is newly wrong with how the epochs hang together.
    fn link_faults(
        &mut self,
        id: &TurbineId,
        record: &Record,
        moment: &Moment,
        out: &mut Vec<TaskOutput>,
    ) {
        if self.coverage.link_faults() == self.faults {
            return;
        }
        let before = std::mem::replace(&mut self.faults, self.coverage.link_faults().to_vec());
        let mut happened = Vec::new();
        let scene = scene(moment, id, self.farm.as_ref());
        for fault in self.faults.iter().filter(|f| !before.contains(f)) {
            let (rule, level, detail) = fault_text(fault);
            let at = EventTime(record.header.committed_at.0);
            let id = Some(&record.header.id);
            self.chain
                .fact(&scene, rule, level, at, id, &detail, &mut happened);
        }
        self.alerts(id, happened, out);
    }

    /// Takes in what a new record says; true when it holds late readings.
    fn counted(&mut self, moment: &Moment, record: &Record, out: &mut Vec<TaskOutput>) -> bool {
        self.counts.records += 1;
        match &record.body {
            Body::Batch(batch) => {
                let (Some(catalogue), Some(plan)) = (
                    moment.fleet.catalogue(batch.catalogue),
                    self.plan(moment.plans),
                ) else {
                    return false; // admission checked it
                };
                let id = &record.header.id;
                self.polled = false;
                self.windows
                    .add(catalogue, id.epoch, id.seq, batch, moment.now);
                let late = self.count_readings(batch);
                self.live.take(plan, batch, &record.header);
                let mut happened = Vec::new();
                let scene = scene(moment, &id.turbine, self.farm.as_ref());
                self.chain.live(
                    &scene,
                    plan,
                    catalogue,
                    &self.live,
                    id,
                    batch,
                    &mut happened,
                );
                self.alerts(&id.turbine, happened, out);
                if batch.rate_group == RateGroup::Slow {
                    self.pace.mark();
                } else {
                    self.pace.mark_urgent();
                }
                late
            }
            Body::Gap(gap) => {
                let lost = gap.ranges.iter().filter_map(|r| r.readings).sum::<u64>();
                self.counts.lost_readings = self.counts.lost_readings.saturating_add(lost);
                self.pace.mark();
                false
            }
            Body::Open(_) | Body::Seal(_) | Body::Untimed(_) => {
                self.pace.mark();
                false
            }
        }
    }

    fn count_readings(&mut self, batch: &Batch) -> bool {
        let all = batch.raw.len() as u64;
        let (mut late, mut suspect) = (0, 0);
        for block in &batch.blocks {
            let n = (block.columns.len() * block.times.len()) as u64;
            if block.flags.suspect {
                suspect += n;
            } else if block.flags.late {
                late += n;
            }
        }
        self.counts.accepted_readings += all;
        self.counts.counted_readings += all - suspect;
        self.counts.late_readings += late;
        self.counts.suspect_readings += suspect;
        late > 0
    }

    #[allow(clippy::too_many_arguments)] // all of it is evidence
    fn dead(
        &mut self,
        moment: &Moment,
        record: &Record,
        hash: &RecordHash,
        reason: Reason,
        detail: String,
        bytes: &[u8],
        out: &mut Vec<TaskOutput>,
    ) {
        let id = &record.header.id;
        match reason {
            Reason::Unverified => self.counts.unverified_records += 1,
            Reason::Conflict => self.counts.conflict_records += 1,
            Reason::Quarantined => self.counts.quarantined_records += 1,
            _ => {
                self.counts.refused_records += 1;
                self.counts.rejected_readings += readings_of(record);
            }
        }
        let known = self.orders.knows(id.epoch);
        if matches!(reason, Reason::Conflict | Reason::Quarantined) {
            self.command_new_epoch(moment, &id.turbine, id.epoch, &detail, out);
        }
        if reason == Reason::Conflict && !known {
            let mut happened = Vec::new();
            let scene = scene(moment, &id.turbine, self.farm.as_ref());
            self.chain.conflict(&scene, record, &detail, &mut happened);
            self.alerts(&id.turbine, happened, out);
        }
        self.pace.mark();
        let gateway = &self.gateway;
        out.push(dead::record(
            moment, gateway, record, hash, reason, detail, bytes,
        ));
    }

    /// Orders a new epoch instead of this one.
    fn command_new_epoch(
        &mut self,
        moment: &Moment,
        turbine: &TurbineId,
        epoch: Epoch,
        reason: &str,
        out: &mut Vec<TaskOutput>,
    ) {
        let of = (turbine, epoch);
        let (settings, now) = (moment.settings, moment.now);
        let command = self.orders.give(&self.coverage, settings, now, of, reason);
        if let Some(command) = command {
            self.command(vec![command], out);
        }
    }

    fn command(&self, commands: Vec<Command>, out: &mut Vec<TaskOutput>) {
        let message = Downlink {
            commands,
            ..Downlink::default()
        };
        out.push(downlink(&self.gateway, &message));
    }

    /// Ingest refused bytes under this identity.
    pub(super) fn refused(
        &mut self,
        moment: &Moment,
        refused: &wire::Refused,
        out: &mut Vec<TaskOutput>,
    ) {
        self.coverage.refuse(refused.id.epoch, refused.id.seq);
        self.counts.refused_records += 1;
        self.pace.mark();
        self.holes.changed();
        self.summary_stale = true;
        self.poll(&refused.id.turbine, moment, out);
        self.status(&refused.id.turbine, moment, out);
    }

    /// Would a tick change nothing? Asked first, so that a turbine that a clone shares is not copied for nothing.
    pub(super) fn rests(&self, moment: &Moment) -> bool {
        self.polled
            && self.windows.next_deadline() > moment.now
            && self.holes.rests(moment.now)
            && self.orders.rests(moment.now)
            && self.pace.rests()
            && self.chain.next_shelf() > moment.now
    }

    /// Once a second of log time, more or less.
    pub(super) fn tick(&mut self, id: &TurbineId, moment: &Moment, out: &mut Vec<TaskOutput>) {
        self.poll(id, moment, out);
        self.unshelve(id, moment, out);
        let asks = self
            .holes
            .poll(&self.coverage, moment.settings, moment.now, id);
        if !asks.is_empty() {
            let message = Downlink {
                resends: asks,
                ..Downlink::default()
            };
            out.push(downlink(&self.gateway, &message));
        }
        let orders = self
            .orders
            .poll(&self.coverage, moment.settings, moment.now, id);
        if !orders.is_empty() {
            self.command(orders, out);
        }
        self.pace.tick();
        self.status(id, moment, out);
    }

    /// Other detectors from here on.
    pub(super) fn reconfigure(
        &mut self,
        id: &TurbineId,
        moment: &Moment,
        before: &Detectors,
        out: &mut Vec<TaskOutput>,
    ) {
        let mut happened = Vec::new();
        let scene = scene(moment, id, self.farm.as_ref());
        let after = moment.plans.detectors();
        self.chain.reconfigure(&scene, before, after, &mut happened);
        self.alerts(id, happened, out);
    }

    fn plan<'a>(&self, plans: &'a Plans) -> Option<&'a Plan> {
        plans.of(self.speaks?)
    }

    fn catalogue<'a>(&self, fleet: &'a Fleet) -> Option<&'a Catalogue> {
        fleet.catalogue(self.speaks?).map(AsRef::as_ref)
    }

    /// Emits the windows that have become due and runs the detectors on them.
    fn poll(&mut self, id: &TurbineId, moment: &Moment, out: &mut Vec<TaskOutput>) {
        let (Some(catalogue), Some(plan)) = (self.catalogue(moment.fleet), self.plan(moment.plans))
        else {
            return;
        };
        self.polled = true;
        let mut results = Vec::new();
        self.windows.poll(
            &moment.settings.windows,
            catalogue,
            &self.coverage,
            moment.now,
            &mut results,
        );
        if results.is_empty() && !self.chain.waits() {
            return;
        }
        let mut happened = Vec::new();
        for result in &results {
            self.count_window(result);
        }
        let scene = scene(moment, id, self.farm.as_ref());
        self.chain.windows(
            &scene,
            plan,
            catalogue,
            &results,
            self.coverage.settled_until(),
            &mut happened,
        );
        if !results.is_empty() {
            self.pace.mark();
        }
        for result in results {
            let row = FeatureRow {
                turbine: id.clone(),
                farm: self.farm.clone(),
                position: moment.offset,
                log_time: moment.now,
                catalogue: catalogue.hash.0,
                result,
            };
            out.push(TaskOutput {
                topic: Topic::Features,
                key: id.to_string(),
                bytes: row.encode(),
            });
        }
        self.alerts(id, happened, out);
    }

    fn count_window(&mut self, result: &WindowResult) {
        let counts = &mut self.window_counts;
        counts.partials += u64::from(result.partial);
        let key = (result.start, result.kind);
        if result.status == Status::Provisional {
            if result.revision == 1 {
                counts.provisional += 1;
                self.unsettled.insert(key);
                // windows come to their end; a bound all the same, against a gateway that never lets them
                if self.unsettled.len() > UNSETTLED_MAX {
                    self.unsettled.pop_first();
                }
            }
            return;
        }
        if self.unsettled.remove(&key) || result.revision == 1 {
            counts.settled += 1;
            counts.exact += u64::from(result.status == Status::Exact);
        } else if !result.partial {
            counts.revised += 1;
        }
    }

    pub(super) fn alerts(
        &mut self,
        id: &TurbineId,
        happened: Vec<AlertEvent>,
        out: &mut Vec<TaskOutput>,
    ) {
        for event in happened {
            self.pace.mark_urgent();
            out.push(TaskOutput {
                topic: Topic::Alerts,
                key: id.to_string(),
                bytes: event.encode(),
            });
        }
    }

    pub(super) fn status(&mut self, id: &TurbineId, moment: &Moment, out: &mut Vec<TaskOutput>) {
        if self.pace.due(moment.now, moment.settings.status_every_us) {
            if std::mem::take(&mut self.summary_stale) {
                self.summary = summary(&self.coverage);
            }
            out.push(TaskOutput {
                topic: Topic::Status,
                key: id.to_string(),
                bytes: self.document(id, moment).encode(),
            });
        }
    }
}

pub(super) fn scene<'a>(
    moment: &Moment,
    turbine: &'a TurbineId,
    farm: Option<&'a FarmId>,
) -> Scene<'a> {
    Scene {
        turbine,
        farm,
        config_version: moment.config_version,
        position: moment.offset,
        now: moment.now,
    }
}

fn downlink(gateway: &GatewayId, message: &Downlink) -> TaskOutput {
    TaskOutput {
        topic: Topic::Downlink,
        key: gateway.to_string(),
        bytes: wire::encode_downlink(message),
    }
}
