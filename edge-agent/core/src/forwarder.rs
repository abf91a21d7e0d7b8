//! Sends committed records and holds on to them until the cloud has acknowledged them.
//!
//! A state machine: Offline, Connecting, Online. While online there are two lanes under one byte budget. The live lane
//! holds what was committed since the connection came up, the current epochs' `Open`s before all else; the backlog lane
//! reads older rows page by page. Live goes first; the backlog gets what is left, and a small share in any case.
//!
//! Invariants: while online, every unacknowledged row is queued, in flight, or will be met by a scan (one that goes on, or
//! a turbine marked for another one); a PUBACK frees a slot and nothing else; losing the link forgets everything but the
//! rows on disk; memory is bounded by the settings.

mod lanes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use windlass_shared::id::{Epoch, GatewayId, RecordId, Seq, SeqRange, TurbineId};
use windlass_shared::time::MonoTime;
use windlass_shared::wire;

use crate::backoff::Backoff;
use crate::bucket::Bucket;
use crate::input::{Now, PublishId};
use crate::output::{AgentEvent, LoadRequest, Output};
use crate::settings::UplinkSettings;
use crate::store::{NewRow, RowKind, StoredRow};
use lanes::{Flight, Lane, Queued, Scan, Window};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Link {
    Offline { retry_at: MonoTime },
    Connecting { since: MonoTime },
    Online { since: MonoTime },
}

/// Sends what is committed.
#[derive(Debug)]
pub(crate) struct Forwarder {
    settings: UplinkSettings,
    gateway: GatewayId,
    link: Link,
    backoff: Backoff,
    budget: Bucket,
    backlog_share: Bucket,
    opens: BTreeMap<TurbineId, Queued>,
    live: VecDeque<Queued>,
    live_bytes: u64,
    backlog: VecDeque<Queued>,
    backlog_bytes: u64,
    scans: BTreeMap<TurbineId, Scan>,
    scan_next: Option<TurbineId>,
    loading: bool,
    load_is_stale: bool,
    /// Everything queued or in flight. A queue entry whose id is no longer here is skipped.
    here: BTreeSet<RecordId>,
    flight: BTreeMap<RecordId, Flight>,
    deadlines: BTreeSet<(MonoTime, RecordId)>,
    all: Window,
    of_backlog: Window,
    slots: BTreeSet<PublishId>,
    next_publish: u64,
    waits_for_clock: bool,
}

impl Forwarder {
    pub fn new(settings: UplinkSettings, gateway: GatewayId, seed: [u8; 32]) -> Self {
        Self {
            budget: Bucket::new(settings.budget_bytes_per_s, settings.burst_bytes),
            backlog_share: Bucket::new(
                settings.budget_bytes_per_s * settings.backlog_share_permille / 1000,
                settings.burst_bytes * settings.backlog_share_permille / 1000,
            ),
            backoff: Backoff::new(seed, settings.retry_delay_us, settings.retry_delay_max_us),
            settings,
            gateway,
            link: Link::Offline {
                retry_at: MonoTime(0),
            },
            opens: BTreeMap::new(),
            live: VecDeque::new(),
            live_bytes: 0,
            backlog: VecDeque::new(),
            backlog_bytes: 0,
            scans: BTreeMap::new(),
            scan_next: None,
            loading: false,
            load_is_stale: false,
            here: BTreeSet::new(),
            flight: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            all: Window::default(),
            of_backlog: Window::default(),
            slots: BTreeSet::new(),
            next_publish: 1,
            waits_for_clock: false,
        }
    }

    /// Begins to connect, at a moment of its own.
    pub fn start(&mut self, now: Now, turbines: impl Iterator<Item = TurbineId>) {
        self.scans = turbines.map(|t| (t, Scan::default())).collect();
        let wait = self.backoff.at_start_us();
        self.link = Link::Offline {
            retry_at: now.mono.plus_us(wait),
        };
    }

    pub fn is_online(&self) -> bool {
        matches!(self.link, Link::Online { .. })
    }

    pub fn in_flight(&self) -> usize {
        self.flight.len()
    }

    pub fn live_queued(&self) -> usize {
        self.live.len()
    }

    /// What must not be evicted while there is anything else.
    pub fn on_its_way(&self) -> Vec<RecordId> {
        self.here.iter().cloned().collect()
    }

    pub fn link_up(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.is_online() {
            self.forget();
        }
        self.link = Link::Online { since: now.mono };
        out.push(Output::Event(AgentEvent::Online));
        for open in self.opens.values() {
            if self.here.insert(open.id.clone()) {
                self.live_bytes += open.payload.len() as u64;
                self.live.push_back(open.clone());
            }
        }
    }

    pub fn link_down(&mut self, now: Now, out: &mut Vec<Output>) {
        match self.link {
            Link::Offline { .. } => return,
            Link::Online { since } if now.mono.since_us(since) >= self.settings.stable_after_us => {
                self.backoff.reset();
            }
            _ => {}
        }
        self.forget();
        let wait = self.backoff.next_us();
        self.link = Link::Offline {
            retry_at: now.mono.plus_us(wait),
        };
        out.push(Output::Event(AgentEvent::Offline { retry_in_us: wait }));
    }

    /// The session is gone, and with it everything that was on its way. The rows on disk are what is left.
    fn forget(&mut self) {
        self.live.clear();
        self.live_bytes = 0;
        self.backlog.clear();
        self.backlog_bytes = 0;
        self.here.clear();
        self.flight.clear();
        self.deadlines.clear();
        self.all = Window::default();
        self.of_backlog = Window::default();
        self.slots.clear();
        self.load_is_stale = self.loading;
        for scan in self.scans.values_mut() {
            *scan = Scan::default();
        }
    }

    /// Rows that are durable now; `placed` of them waited in a journal: backlog.
    pub fn committed(&mut self, rows: &[NewRow], placed: &BTreeSet<RecordId>) {
        for row in rows {
            if placed.contains(&row.meta.id) {
                self.scan_again(&row.meta.id.turbine);
                continue;
            }
            let queued = Queued {
                id: row.meta.id.clone(),
                payload: row.payload.clone(),
                attempts: 0,
            };
            let turbine = &queued.id.turbine;
            self.scans.entry(turbine.clone()).or_default();
            if row.meta.kind == RowKind::Open {
                self.opens.insert(turbine.clone(), queued.clone());
            }
            if self.is_online() && self.here.insert(queued.id.clone()) {
                self.live_bytes += queued.payload.len() as u64;
                self.live.push_back(queued);
            }
        }
        while self.live.len() > self.settings.live_queue_max
            || self.live_bytes > self.settings.live_queue_bytes_max && self.live.len() > 1
        {
            let Some(oldest) = self.live.pop_front() else {
                break;
            };
            self.live_bytes -= oldest.payload.len() as u64;
            self.here.remove(&oldest.id);
            self.scan_again(&oldest.id.turbine);
        }
    }

    /// Rows of this turbine that a scan may have passed are to be sent.
    pub fn scan_again(&mut self, turbine: &TurbineId) {
        self.scans.entry(turbine.clone()).or_default().again = true;
    }

    /// Rows that the cloud has, or that left the disk. Returns how many were queued or in flight.
    pub fn gone(&mut self, turbine: &TurbineId, epoch: Epoch, seqs: SeqRange) -> u64 {
        let id = |seq| RecordId {
            turbine: turbine.clone(),
            epoch,
            seq,
        };
        let range = id(seqs.first)..=id(seqs.last);
        let ids: Vec<_> = self.here.range(range).cloned().collect();
        for id in &ids {
            self.here.remove(id);
            self.land(id);
        }
        if let Some(open) = self.opens.get(turbine)
            && open.id.epoch == epoch
            && seqs.contains(open.id.seq)
        {
            self.opens.remove(turbine);
        }
        ids.len() as u64
    }

    fn land(&mut self, id: &RecordId) -> Option<Flight> {
        let flight = self.flight.remove(id)?;
        self.deadlines.remove(&(flight.deadline, id.clone()));
        let bytes = flight.queued.payload.len() as u64;
        self.all.records -= 1;
        self.all.bytes -= bytes;
        if flight.lane == Lane::Backlog {
            self.of_backlog.records -= 1;
            self.of_backlog.bytes -= bytes;
        }
        Some(flight)
    }

    pub fn puback(&mut self, id: PublishId) {
        self.slots.remove(&id);
    }

    /// A page of backlog. `skip`: acknowledged meanwhile.
    pub fn loaded(
        &mut self,
        turbine: &TurbineId,
        rows: Vec<StoredRow>,
        last: Option<(Epoch, Seq)>,
        end: bool,
        skip: impl Fn(&RecordId) -> bool,
    ) {
        self.loading = false;
        if std::mem::take(&mut self.load_is_stale) || !self.is_online() {
            return;
        }
        let scan = self.scans.entry(turbine.clone()).or_default();
        scan.after = last.or(scan.after);
        scan.ended = end;
        for row in rows {
            let id = row.meta.id;
            if !skip(&id) && self.here.insert(id.clone()) {
                self.backlog_bytes += row.payload.len() as u64;
                self.backlog.push_back(Queued {
                    id,
                    payload: row.payload,
                    attempts: 0,
                });
            }
        }
    }

    /// Does what the time has come for, and sends what may be sent.
    pub fn advance(&mut self, now: Now, out: &mut Vec<Output>) {
        self.waits_for_clock = self.settings.needs_clock && !now.is_set();
        match self.link {
            Link::Offline { retry_at } if now.mono >= retry_at && !self.waits_for_clock => {
                self.link = Link::Connecting { since: now.mono };
                out.push(Output::Connect);
            }
            Link::Connecting { since }
                if now.mono.since_us(since) >= self.settings.connect_timeout_us =>
            {
                out.push(Output::Disconnect);
                self.link_down(now, out);
            }
            Link::Online { .. } => {
                self.expire(now, out);
                self.budget.fill(now.mono);
                self.backlog_share.fill(now.mono);
                while self.slots.len() < self.settings.slots_max && self.send_next(now, out) {}
                self.load_next(out);
            }
            _ => {}
        }
    }

    fn expire(&mut self, now: Now, out: &mut Vec<Output>) {
        let mut records = 0;
        while let Some((deadline, id)) = self.deadlines.first().cloned() {
            if deadline > now.mono {
                break;
            }
            let Some(flight) = self.land(&id) else { break };
            records += 1;
            let bytes = flight.queued.payload.len() as u64;
            match flight.lane {
                Lane::Live => {
                    self.live_bytes += bytes;
                    self.live.push_front(flight.queued);
                }
                Lane::Backlog => {
                    self.backlog_bytes += bytes;
                    self.backlog.push_front(flight.queued);
                }
            }
        }
        if records > 0 {
            out.push(Output::Event(AgentEvent::AckTimeout { records }));
        }
    }

    fn send_next(&mut self, now: Now, out: &mut Vec<Output>) -> bool {
        self.drop_skipped();
        if self.live_next().is_some() && self.budget.is_open() {
            self.send(now, Lane::Live, out)
        } else if self.backlog_next().is_some()
            && (self.budget.is_open() || self.backlog_share.is_open())
        {
            self.send(now, Lane::Backlog, out)
        } else {
            false
        }
    }

    /// The next live record, if the window has room for it.
    fn live_next(&self) -> Option<&Queued> {
        self.live.front().filter(|q| self.fits(q, 1000, &self.all))
    }

    /// The next record of the backlog, if the window and the part of it that the backlog may fill have room for it.
    fn backlog_next(&self) -> Option<&Queued> {
        let permille = self.settings.backlog_window_permille;
        let next = self.backlog.front();
        next.filter(|q| self.fits(q, 1000, &self.all) && self.fits(q, permille, &self.of_backlog))
    }

    /// Queue entries that were acknowledged or evicted while they waited.
    fn drop_skipped(&mut self) {
        while let Some(q) = self.live.front()
            && (!self.here.contains(&q.id) || self.flight.contains_key(&q.id))
        {
            self.live_bytes -= q.payload.len() as u64;
            self.live.pop_front();
        }
        while let Some(q) = self.backlog.front()
            && (!self.here.contains(&q.id) || self.flight.contains_key(&q.id))
        {
            self.backlog_bytes -= q.payload.len() as u64;
            self.backlog.pop_front();
        }
    }

    fn fits(&self, queued: &Queued, permille: u64, window: &Window) -> bool {
        let records_max = self.settings.inflight_max as u64 * permille / 1000;
        let bytes_max = self.settings.inflight_bytes_max * permille / 1000;
        let bytes = window.bytes + queued.payload.len() as u64;
        window.records == 0 || (window.records as u64) < records_max && bytes <= bytes_max
    }

    fn send(&mut self, now: Now, lane: Lane, out: &mut Vec<Output>) -> bool {
        let queue = match lane {
            Lane::Live => &mut self.live,
            Lane::Backlog => &mut self.backlog,
        };
        let Some(queued) = queue.pop_front() else {
            return false;
        };
        let bytes = queued.payload.len() as u64;
        let topic = wire::up_topic(&self.gateway, &queued.id);
        let cost = bytes + topic.len() as u64 + self.settings.overhead_bytes;
        self.budget.pay(cost);
        self.all.records += 1;
        self.all.bytes += bytes;
        match lane {
            Lane::Live => self.live_bytes -= bytes,
            Lane::Backlog => {
                self.backlog_bytes -= bytes;
                self.backlog_share.pay_spare(cost);
                self.of_backlog.records += 1;
                self.of_backlog.bytes += bytes;
            }
        }
        let id = PublishId(self.next_publish);
        self.next_publish += 1;
        self.slots.insert(id);
        out.push(Output::Publish {
            id,
            topic,
            payload: queued.payload.clone(),
        });
        let wait = (self.settings.ack_timeout_us << queued.attempts.min(20))
            .min(self.settings.ack_timeout_max_us);
        let deadline = now.mono.plus_us(wait);
        self.deadlines.insert((deadline, queued.id.clone()));
        let record = queued.id.clone();
        let queued = Queued {
            attempts: queued.attempts + 1,
            ..queued
        };
        let flight = Flight {
            queued,
            lane,
            deadline,
        };
        self.flight.insert(record, flight);
        true
    }

    fn load_next(&mut self, out: &mut Vec<Output>) {
        if self.loading || self.backlog_bytes > self.settings.page_bytes_max / 2 {
            return;
        }
        for scan in self.scans.values_mut() {
            if scan.ended && scan.again {
                *scan = Scan::default();
            }
        }
        let open = |(_, scan): &(&TurbineId, &Scan)| !scan.ended;
        let next = self.scan_next.clone();
        let behind = self
            .scans
            .iter()
            .filter(|(t, _)| next.as_ref().is_none_or(|n| *t > n))
            .find(open);
        let Some((turbine, scan)) = behind.or_else(|| self.scans.iter().find(open)) else {
            return;
        };
        self.scan_next = Some(turbine.clone());
        self.loading = true;
        out.push(Output::Load(LoadRequest::Backlog {
            turbine: turbine.clone(),
            after: scan.after,
            rows_max: self.settings.page_rows_max,
            bytes_max: self.settings.page_bytes_max,
        }));
    }

    /// When [`Forwarder::advance`] has something to do.
    pub fn deadline(&self) -> Option<MonoTime> {
        match self.link {
            // whatever brings the clock in comes as another input
            Link::Offline { .. } if self.waits_for_clock => None,
            Link::Offline { retry_at } => Some(retry_at),
            Link::Connecting { since } => Some(since.plus_us(self.settings.connect_timeout_us)),
            Link::Online { .. } => {
                let expiry = self.deadlines.first().map(|(at, _)| *at);
                expiry.into_iter().chain(self.tokens_at()).min()
            }
        }
    }

    /// When the budget lets the next record go, if it is the budget that holds it.
    fn tokens_at(&self) -> Option<MonoTime> {
        if self.slots.len() >= self.settings.slots_max {
            return None;
        }
        let any = self.live_next().or(self.backlog_next());
        let main = any.and_then(|_| self.budget.opens_at());
        let own = self
            .backlog_next()
            .and_then(|_| self.backlog_share.opens_at());
        main.into_iter().chain(own).min()
    }
}
