//! What the main loop notes for the status, the metrics and the log. Decides nothing.

mod document;

use std::collections::BTreeMap;

use windlass_edge_core::{AgentEvent, CommitBatch, Input, Now, RowLevel, SourceId};
use windlass_shared::id::{RecordId, TurbineId};
use windlass_shared::record::LossReason;
use windlass_shared::time::{MonoTime, WallTime};
use windlass_shared::wire::{self, Downlink};

use crate::config::{Config, SourceKind};
use crate::deadletter::{DeadLetter, Letter};
use crate::source::Note;
use crate::status::{Counters, SourceDoc};
use crate::tls;

/// Records whose times are kept for the lag figures.
const TIMED_MAX: usize = 4_096;

/// Why there is no connection while nobody has set the clock.
const WAITS_FOR_CLOCK: &str =
    "the clock is not set: no certificate can be checked; it connects when the clock is set";

/// The notes.
pub struct Books {
    /// What happened so far.
    pub counters: Counters,
    started: MonoTime,
    link: &'static str,
    link_since: MonoTime,
    link_error: Option<String>,
    last_error: Option<String>,
    certificate: Option<(String, Result<tls::Certificate, String>)>,
    sources: Vec<(SourceId, SourceDoc)>,
    oldest: BTreeMap<TurbineId, Option<WallTime>>,
    committed: BTreeMap<RecordId, MonoTime>,
    published: BTreeMap<RecordId, MonoTime>,
    live_lag_ms: Option<u64>,
    ack_latency_ms: Option<u64>,
    /// The connection needs certificates, and those a clock.
    needs_clock: bool,
}

impl Books {
    /// Empty, at the start of the process.
    pub fn new(config: &Config, now: Now) -> Self {
        let sources = config.sources.iter().map(|s| {
            let kind = match s.kind {
                SourceKind::Simulator(_) => "simulator",
                SourceKind::Csv(_) => "csv",
                SourceKind::Push(_) => "push",
            };
            let doc = SourceDoc {
                name: s.name.clone(),
                kind: kind.to_owned(),
                state: "running".to_owned(),
                ..SourceDoc::default()
            };
            (SourceId::new(&s.name), doc)
        });
        let mut books = Self {
            counters: Counters::default(),
            started: now.mono,
            link: "offline",
            link_since: now.mono,
            link_error: None,
            last_error: None,
            certificate: None,
            sources: sources.collect(),
            oldest: BTreeMap::new(),
            committed: BTreeMap::new(),
            published: BTreeMap::new(),
            live_lag_ms: None,
            ack_latency_ms: None,
            needs_clock: config.uplink.tls.is_some(),
        };
        books.look_at_certificate(config);
        books
    }

    fn look_at_certificate(&mut self, config: &Config) {
        let files = config.uplink.tls.as_ref().and_then(|t| t.client.as_ref());
        self.certificate = files.map(|files| {
            let seen = tls::inspect(files).map_err(|e| e.to_string());
            (files.cert.display().to_string(), seen)
        });
    }

    fn set_link(&mut self, state: &'static str, now: Now) {
        if self.link != state {
            self.link = state;
            self.link_since = now.mono;
        }
    }

    /// A connection attempt begins.
    pub fn connecting(&mut self, config: &Config, now: Now) {
        self.set_link("connecting", now);
        self.look_at_certificate(config);
    }

    /// The link is up.
    pub fn link_up(&mut self, now: Now) {
        self.counters.link_ups += 1;
        self.set_link("online", now);
        tracing::info!("link up");
    }

    /// The link is down. The same reason is told once.
    pub fn link_down(&mut self, now: Now, why: &str) {
        self.counters.link_downs += 1;
        if self.link == "online" || self.link_error.as_deref() != Some(why) {
            tracing::warn!(why, "link down; recording goes on");
        }
        self.set_link("offline", now);
        self.link_error = Some(why.to_owned());
        self.last_error = Some(why.to_owned());
        self.committed.clear();
        self.published.clear();
        self.live_lag_ms = None;
    }

    /// A transaction goes to the disk.
    pub fn commit(&mut self, batch: &CommitBatch, now: Now) {
        if self.link != "online" {
            return;
        }
        for row in &batch.rows {
            if self.committed.len() < TIMED_MAX {
                self.committed.insert(row.meta.id.clone(), now.mono);
            }
        }
    }

    /// A record goes to the broker.
    pub fn published(&mut self, topic: &str, payload_bytes: usize, now: Now) {
        self.counters.publishes += 1;
        self.counters.publish_bytes += (topic.len() + payload_bytes) as u64;
        if self.published.len() < TIMED_MAX
            && let Ok((_, id)) = wire::parse_up_topic(topic)
        {
            self.published.insert(id, now.mono);
        }
    }

    /// The cloud acknowledged.
    pub fn downlink(&mut self, downlink: &Downlink, now: Now) {
        for ack in &downlink.acks {
            for range in &ack.ranges {
                let id = |seq| RecordId {
                    turbine: ack.turbine.clone(),
                    epoch: ack.epoch,
                    seq,
                };
                let bounds = id(range.first)..=id(range.last);
                let ms = |times: &mut BTreeMap<RecordId, MonoTime>| {
                    let ids: Vec<RecordId> = times
                        .range(bounds.clone())
                        .map(|(i, _)| i.clone())
                        .collect();
                    let mut last = None;
                    for id in ids {
                        last = times.remove(&id).map(|at| now.mono.since_us(at) / 1_000);
                    }
                    last
                };
                self.live_lag_ms = ms(&mut self.committed).or(self.live_lag_ms);
                self.ack_latency_ms = ms(&mut self.published).or(self.ack_latency_ms);
            }
        }
    }

    /// Bytes came down that are no message.
    pub fn bad_downlink(&mut self, why: &str) {
        self.counters.downlinks_bad += 1;
        self.note_error(format!("downlink: {why}"));
        tracing::warn!(why, "a downlink message makes no sense; ignored");
    }

    /// When each turbine's oldest unacknowledged record was committed.
    pub fn oldest(&mut self, oldest: Vec<(TurbineId, Option<WallTime>)>) {
        self.oldest = oldest.into_iter().collect();
    }

    /// A source gave readings.
    pub fn source_input(&mut self, input: &Input) {
        if let Input::Readings {
            source, readings, ..
        } = input
            && let Some((_, doc)) = self.sources.iter_mut().find(|(s, _)| s == source)
        {
            doc.readings += readings.len() as u64;
        }
    }

    /// A source said something of itself.
    pub fn source_note(&mut self, index: usize, note: &Note, dead: &mut DeadLetter) {
        let Some((_, doc)) = self.sources.get_mut(index) else {
            return;
        };
        match note {
            Note::Position(position) => doc.position = Some(position.clone()),
            Note::Ended => {
                "ended".clone_into(&mut doc.state);
                tracing::info!(source = doc.name, "the file is read to its end");
            }
            Note::Failed(why) => {
                doc.state = format!("failed: {why}");
                let error = format!("source {}: {why}", doc.name);
                tracing::error!(
                    source = doc.name,
                    why,
                    "the source cannot go on; the others do"
                );
                self.last_error = Some(error);
            }
            Note::Rejected {
                what,
                reason,
                count,
            } => {
                doc.rejected += count;
                dead.keep(&Letter {
                    source: &doc.name,
                    reason,
                    what: what.clone(),
                    count: *count,
                });
            }
        }
    }

    fn note_error(&mut self, error: String) {
        self.last_error = Some(error);
    }

    /// The core reports.
    pub fn event(&mut self, event: &AgentEvent, dead: &mut DeadLetter) {
        let c = &mut self.counters;
        match event {
            AgentEvent::EpochOpened {
                turbine,
                epoch,
                reason,
            } => {
                c.epochs_opened += 1;
                tracing::info!(%turbine, %epoch, reason, "epoch begins");
            }
            AgentEvent::Committed {
                records,
                readings,
                late,
                suspect,
                bytes,
            } => {
                c.commits += 1;
                c.records_committed += records;
                c.readings_committed += readings;
                c.readings_late += late;
                c.readings_suspect += suspect;
                c.record_bytes_committed += bytes;
            }
            AgentEvent::Waiting {
                records,
                readings,
                bytes,
            } => {
                c.commits += u64::from(*records > 0);
                c.readings_without_clock += readings;
                c.record_bytes_committed += bytes;
            }
            AgentEvent::Placed {
                turbine,
                readings,
                untimed,
            } => {
                c.readings_placed += readings;
                c.readings_sent_untimed += untimed;
                tracing::info!(%turbine, readings, untimed, "numbered what had waited for the clock");
            }
            AgentEvent::DiskFull => {
                c.commits_disk_full += 1;
                self.note_error("the disk is full: evicting by class, readings wait".to_owned());
                tracing::error!(
                    "the disk is full: evicting by class, readings wait; free space on it"
                );
            }
            AgentEvent::Acked { records } => c.records_acked += records,
            AgentEvent::AckTimeout { records } => {
                c.records_ack_timeout += records;
                tracing::warn!(records, "no acknowledgement in time; sending again");
            }
            AgentEvent::Resent {
                turbine,
                records,
                lost,
            } => {
                c.records_resent += records;
                c.seqs_resend_lost += lost;
                tracing::warn!(%turbine, records, lost, "the cloud asked for records again");
            }
            AgentEvent::Refused { id, reason } => {
                c.records_refused += 1;
                self.note_error(format!("the cloud refused {id}: {reason}"));
                tracing::error!(%id, reason, "the cloud refused a record; it is in its dead-letter");
            }
            AgentEvent::BadDownlink { what } => self.bad_downlink(what),
            AgentEvent::ClockSet { .. } | AgentEvent::ClockUnset => self.clock(event),
            AgentEvent::ClockSetBack { by_us } => {
                c.clock_set_back += 1;
                tracing::warn!(by_us, "the wall clock was set back; a new epoch begins");
            }
            AgentEvent::Online => {}
            AgentEvent::Offline { retry_in_us } => {
                tracing::debug!(retry_in_ms = retry_in_us / 1_000, "next attempt");
            }
            _ => self.loss(event, dead),
        }
    }

    fn clock(&mut self, event: &AgentEvent) {
        if let AgentEvent::ClockSet { boot_at_us } = event {
            tracing::info!(
                boot_at_us,
                "the clock is set: what waits gets its time and number"
            );
            if self.link_error.as_deref() == Some(WAITS_FOR_CLOCK) {
                self.link_error = None;
            }
            return;
        }
        tracing::warn!(
            "the clock is not set: recording goes on with the boot's time; numbers come when it is set"
        );
        if self.needs_clock {
            self.link_error = Some(WAITS_FOR_CLOCK.to_owned());
        }
    }

    /// Reports about readings that will not reach the cloud.
    fn loss(&mut self, event: &AgentEvent, dead: &mut DeadLetter) {
        let c = &mut self.counters;
        match event {
            AgentEvent::UnknownChannel {
                turbine,
                source,
                channel,
                example,
                count,
            } => {
                c.readings_unknown_channel += count;
                tracing::error!(%turbine, source = &*source.0, channel = channel.0, count, "the profile has no such channel");
                dead.keep(&Letter {
                    source: &source.0,
                    reason: "unknown channel",
                    what: format!("{turbine} {example:?}"),
                    count: *count,
                });
            }
            AgentEvent::Untimed {
                turbine,
                source,
                example,
                count,
            } => {
                c.readings_untimed += count;
                tracing::error!(%turbine, source = &*source.0, count, "readings outside 1970 to 2199");
                dead.keep(&Letter {
                    source: &source.0,
                    reason: "event time outside 1970 to 2199",
                    what: format!("{turbine} {example:?}"),
                    count: *count,
                });
            }
            AgentEvent::Unassigned {
                turbine,
                source,
                count,
            } => {
                c.readings_unassigned += count;
                tracing::error!(%turbine, source = &*source.0, count, "readings of a turbine that is not configured");
                dead.keep(&Letter {
                    source: &source.0,
                    reason: "turbine is not configured",
                    what: turbine.to_string(),
                    count: *count,
                });
            }
            AgentEvent::Overrun { turbine, count } => {
                c.readings_overrun += count;
                self.last_error =
                    Some(format!("{turbine}: the disk is too slow, readings refused"));
                tracing::error!(%turbine, count, "the disk is too slow: readings refused");
            }
            AgentEvent::Evicted {
                turbine,
                epoch,
                seqs,
                class,
                level,
                readings,
                reason,
            } => {
                if *reason == LossReason::Corrupt {
                    c.records_corrupt += seqs.len();
                }
                if *level <= RowLevel::Unacked {
                    c.records_evicted_unacked += seqs.len();
                    c.readings_evicted_unacked += readings;
                    self.last_error =
                        Some(format!("{turbine}: {readings} readings lost ({reason:?})"));
                    tracing::error!(%turbine, %epoch, %seqs, ?class, readings, ?reason, "records lost; a Gap says so");
                } else {
                    c.records_evicted_acked += seqs.len();
                }
            }
            _ => {}
        }
    }
}
