//! What an agent is told at its start. Every queue, window and retry has its limit here.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_shared::catalogue::Catalogue;
use windlass_shared::id::{BootId, ChannelId, GatewayId, Seq, TurbineId};
use windlass_shared::time::SECOND_US;

use crate::input::SourceId;

/// All of it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who we are; part of every topic.
    pub gateway: GatewayId,
    /// Written into every `Open`.
    pub agent_version: String,
    /// Which boot of the system this is: what waits for a clock can be placed in the boot that recorded it.
    pub boot: BootId,
    /// How far each turbine's journal of this boot was placed by processes before this one: what of it is there again
    /// was put back by a restored copy.
    pub placed: BTreeMap<TurbineId, Seq>,
    /// The turbines that we serve.
    pub turbines: Vec<TurbineSettings>,
    /// Where readings come from.
    pub sources: Vec<SourceSettings>,
    /// Slices, commits, seals.
    pub recording: RecordingSettings,
    /// Disk budget.
    pub disk: DiskSettings,
    /// Link and lanes.
    pub uplink: UplinkSettings,
}

impl Settings {
    /// Defaults for a gateway without turbines and sources.
    pub fn new(gateway: GatewayId) -> Self {
        Self {
            gateway,
            agent_version: env!("CARGO_PKG_VERSION").into(),
            boot: BootId::default(),
            placed: BTreeMap::new(),
            turbines: Vec::new(),
            sources: Vec::new(),
            recording: RecordingSettings::default(),
            disk: DiskSettings::default(),
            uplink: UplinkSettings::default(),
        }
    }
}

/// A turbine of this gateway.
#[derive(Clone, Debug)]
pub struct TurbineSettings {
    /// Which.
    pub id: TurbineId,
    /// Its channels.
    pub catalogue: Arc<Catalogue>,
    /// Crossing one of them flushes the slice at once.
    pub thresholds: Vec<Threshold>,
}

/// A live limit, in the channel's unit.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Threshold {
    /// Of which channel.
    pub channel: ChannelId,
    /// Below it is a breach.
    pub low: Option<f64>,
    /// Above it is a breach.
    pub high: Option<f64>,
}

/// How a source's readings become records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SourceKind {
    /// Samples now: slices by the rate group's length.
    Live,
    /// Reads what was recorded elsewhere and has a position: all that was delivered up to a position is cut into
    /// records together, and committed with that position, so that each row is read exactly once.
    File {
        /// Longest time that a delivered reading waits for its record, microseconds.
        hold_us: u64,
    },
}

/// A source of this gateway.
#[derive(Clone, Debug)]
pub struct SourceSettings {
    /// Its name.
    pub id: SourceId,
    /// Live or file.
    pub kind: SourceKind,
    /// The turbines that it feeds.
    pub turbines: Vec<TurbineId>,
}

/// Slices, commits, seals.
#[derive(Clone, Debug)]
pub struct RecordingSettings {
    /// Least time between two group commits, microseconds. A little below the fast slice, so that each slice is
    /// committed as it closes, without a beat between the two.
    pub commit_interval_us: u64,
    /// A commit waits so long for slices of other turbines and groups that close at the same moment, microseconds.
    pub commit_gather_us: u64,
    /// Least time between two commits that events or breaches ask for, microseconds.
    pub urgent_interval_us: u64,
    /// Acknowledgements without rows wait so long for a commit to ride on, microseconds.
    pub ack_commit_max_us: u64,
    /// A slice that its source does not complete is closed after so long, microseconds.
    pub slice_wait_max_us: u64,
    /// An `Open` waits so long for the remaining sources of its turbine, microseconds.
    pub open_wait_max_us: u64,
    /// Most readings in one record (16 bytes each at worst: far below the largest record).
    pub record_readings_max: usize,
    /// A file source is cut when so many of its readings wait (never between two positions).
    pub file_cut_readings: usize,
    /// Readings that wait for a commit: above it, file sources are asked to pause ([`crate::AgentCore::is_busy`]).
    pub waiting_readings_pause: usize,
    /// Readings that wait for a commit: above it, further ones are refused and counted.
    pub waiting_readings_max: usize,
    /// A reading further ahead of the wall clock is suspect, microseconds.
    pub suspect_ahead_us: i64,
    /// The wall clock falling behind the monotonic one by more begins a new epoch, microseconds.
    pub clock_back_max_us: i64,
    /// A Seal after so many records.
    pub seal_every_records: u64,
    /// A Seal after so long if there were records since the last one, microseconds.
    pub seal_every_us: u64,
    /// Most ranges in one Gap record.
    pub gap_ranges_max: usize,
    /// Rows of a journal that one commit places.
    pub place_rows_max: usize,
    /// Bytes of them.
    pub place_bytes_max: u64,
}

impl Default for RecordingSettings {
    fn default() -> Self {
        let second = SECOND_US as u64;
        Self {
            commit_interval_us: 900_000,
            commit_gather_us: 20_000,
            urgent_interval_us: 50_000,
            ack_commit_max_us: 2 * second,
            slice_wait_max_us: 15 * second,
            open_wait_max_us: 2 * second,
            record_readings_max: 8192,
            file_cut_readings: 16_384,
            waiting_readings_pause: 65_536,
            waiting_readings_max: 1_048_576,
            suspect_ahead_us: 2 * SECOND_US,
            clock_back_max_us: 2 * SECOND_US,
            seal_every_records: 512,
            seal_every_us: 60 * second,
            gap_ranges_max: 256,
            place_rows_max: 256,
            place_bytes_max: 256 * 1024,
        }
    }
}

/// Disk budget.
#[derive(Clone, Debug)]
pub struct DiskSettings {
    /// Bytes that the outbox may use.
    pub budget_bytes: u64,
    /// When it is exceeded, evict down to so many thousandths of it.
    pub low_water_permille: u64,
    /// Bytes of the disk that stay free for others: below, the outbox no longer grows.
    pub disk_free_min_bytes: u64,
    /// Room to make at once when the outbox may not grow, bytes.
    pub room_bytes: u64,
    /// A transaction that met a full disk is tried again after so long, microseconds; twice as long each time.
    pub full_retry_us: u64,
    /// Longest such wait, microseconds: so much later than there is room again does recording go on at worst.
    pub full_retry_max_us: u64,
    /// Most rows that one commit evicts.
    pub evict_rows_max: usize,
}

impl Default for DiskSettings {
    fn default() -> Self {
        Self {
            budget_bytes: 2 << 30,
            low_water_permille: 970,
            disk_free_min_bytes: 64 << 20,
            room_bytes: 1 << 20,
            full_retry_us: SECOND_US as u64,
            full_retry_max_us: 15 * SECOND_US as u64,
            evict_rows_max: 2048,
        }
    }
}

impl DiskSettings {
    /// How long to wait for room after so many tries in a row before this one, microseconds.
    pub(crate) fn full_wait_us(&self, tries: u32) -> u64 {
        let doubled = self.full_retry_us.saturating_mul(1 << tries.min(20));
        doubled.min(self.full_retry_max_us)
    }
}

/// Link and lanes.
#[derive(Clone, Debug)]
pub struct UplinkSettings {
    /// Do not connect while the clock is not set: no certificate would be valid.
    pub needs_clock: bool,
    /// Bytes a second that may go up, both lanes together.
    pub budget_bytes_per_s: u64,
    /// Bytes that may go at once after a pause.
    pub burst_bytes: u64,
    /// Thousandths of the budget that the backlog gets even when the live lane could use all of it.
    pub backlog_share_permille: u64,
    /// Bytes that a publish costs besides topic and payload (MQTT, TLS and TCP headers).
    pub overhead_bytes: u64,
    /// Publishes without PUBACK.
    pub slots_max: usize,
    /// Records sent and not yet acknowledged by the cloud.
    pub inflight_max: usize,
    /// Bytes of them.
    pub inflight_bytes_max: u64,
    /// Thousandths of the two windows above that the backlog may fill: the live lane always finds room.
    pub backlog_window_permille: u64,
    /// Records in the live queue; above it the oldest go back to the backlog.
    pub live_queue_max: usize,
    /// Bytes of them.
    pub live_queue_bytes_max: u64,
    /// Rows in one page of backlog.
    pub page_rows_max: usize,
    /// Bytes of one page of backlog.
    pub page_bytes_max: u64,
    /// A record is sent again when the cloud has not acknowledged it for so long, microseconds; doubles each time.
    pub ack_timeout_us: u64,
    /// Longest such wait, microseconds.
    pub ack_timeout_max_us: u64,
    /// First delay before a reconnect, microseconds; doubles each time.
    pub retry_delay_us: u64,
    /// Longest such delay, microseconds.
    pub retry_delay_max_us: u64,
    /// A connection attempt is given up after so long, microseconds.
    pub connect_timeout_us: u64,
    /// A connection that held so long resets the delay, microseconds.
    pub stable_after_us: u64,
    /// Ranges that wait for an answer to a Resend; what is above is ignored (the cloud asks again).
    pub resend_ranges_max: usize,
}

impl Default for UplinkSettings {
    fn default() -> Self {
        let second = SECOND_US as u64;
        Self {
            needs_clock: false,
            budget_bytes_per_s: 256 * 1024,
            burst_bytes: 256 * 1024,
            backlog_share_permille: 100,
            overhead_bytes: 40,
            slots_max: 64,
            inflight_max: 512,
            inflight_bytes_max: 1 << 20,
            backlog_window_permille: 750,
            live_queue_max: 256,
            live_queue_bytes_max: 512 * 1024,
            page_rows_max: 256,
            page_bytes_max: 256 * 1024,
            ack_timeout_us: 30 * second,
            ack_timeout_max_us: 600 * second,
            retry_delay_us: second,
            retry_delay_max_us: 60 * second,
            connect_timeout_us: 20 * second,
            stable_after_us: 30 * second,
            resend_ranges_max: 256,
        }
    }
}
