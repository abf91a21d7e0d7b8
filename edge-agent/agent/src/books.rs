//! What the main loop notes for the status, the metrics and the log. Decides nothing.

use std::collections::BTreeMap;

use windlass_edge_core::{AgentEvent, AgentView, CommitBatch, Input, Now, RowLevel, SourceId};
use windlass_shared::id::{RecordId, TurbineId};
use windlass_shared::record::LossReason;
use windlass_shared::time::{EventTime, MonoTime, WallTime};
use windlass_shared::wire::{self, Downlink};

use crate::clock;
use crate::config::{Config, SourceKind};
use crate::deadletter::{DeadLetter, Letter};
use crate::procfs;
use crate::source::Note;
use crate::status::{
    CertificateDoc, ClockDoc, Counters, DiskDoc, LinkDoc, SourceDoc, StatusDoc, TurbineDoc, VERSION,
};
use crate::tls;

/// Records whose times are kept for the lag figures.
const TIMED_MAX: usize = 4_096;

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
                if *level == RowLevel::Unacked {
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

    /// The status document of this moment.
    pub fn document(&self, config: &Config, view: &AgentView, now: Now) -> StatusDoc {
        StatusDoc {
            version: VERSION,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            gateway: config.gateway.to_string(),
            running: true,
            at_us: now.wall.0,
            uptime_s: now.mono.since_us(self.started) / 1_000_000,
            link: LinkDoc {
                state: self.link.to_owned(),
                for_s: now.mono.since_us(self.link_since) / 1_000_000,
                peer: config.uplink.address.to_string(),
                in_flight: view.in_flight as u64,
                live_queued: view.live_queued as u64,
                ack_latency_ms: self.ack_latency_ms,
                live_lag_ms: self.live_lag_ms,
                last_error: self.link_error.clone(),
            },
            turbines: self.turbines(view, now),
            sources: self.sources.iter().map(|(_, d)| d.clone()).collect(),
            disk: DiskDoc {
                path: config.outbox.path.display().to_string(),
                used_bytes: view.usage.used,
                budget_bytes: config.outbox.bytes_max,
                free_bytes: view.usage.disk_free,
                free_min_bytes: config.outbox.free_min_bytes,
                full: view.disk_full,
            },
            clock: ClockDoc {
                set: clock::is_set(now.wall),
                synchronised: clock::synchronised(),
            },
            process: procfs::process_figures(),
            certificate: self.certificate_doc(config, now),
            counters: self.counters,
            last_error: self.last_error.clone(),
        }
    }

    fn certificate_doc(&self, config: &Config, now: Now) -> Option<CertificateDoc> {
        let files = config.uplink.tls.as_ref()?.client.as_ref()?;
        let (_, seen) = self.certificate.as_ref()?;
        Some(match seen {
            Ok(certificate) => CertificateDoc {
                common_name: certificate.common_name.clone(),
                days_left: Some(certificate.days_left(now.wall)),
                problem: tls::judge(files, certificate, &config.gateway, now.wall)
                    .err()
                    .map(|e| e.to_string()),
            },
            Err(problem) => CertificateDoc {
                problem: Some(problem.clone()),
                ..CertificateDoc::default()
            },
        })
    }

    fn turbines(&self, view: &AgentView, now: Now) -> Vec<TurbineDoc> {
        let doc = |t: &windlass_edge_core::TurbineView| {
            let tallies = view.usage.turbines.iter().find(|(id, _)| *id == t.turbine);
            let level = |level| tallies.map(|(_, x)| x.level(level)).unwrap_or_default();
            let backlog = level(RowLevel::Unacked);
            let (logged, safe) = (level(RowLevel::Logged), level(RowLevel::Safe));
            let oldest = self.oldest.get(&t.turbine).copied().flatten();
            TurbineDoc {
                turbine: t.turbine.to_string(),
                epoch: t.epoch.map(|e| e.to_string()),
                last_seq: t.last_seq.0,
                frontier_us: (t.frontier > EventTime::MIN).then_some(t.frontier.0),
                backlog_records: backlog.rows,
                backlog_bytes: backlog.bytes,
                oldest_unacked_s: oldest
                    .filter(|_| backlog.rows > 0)
                    .map(|at| (now.wall.0 - at.0).max(0) as u64 / 1_000_000),
                ring_records: logged.rows + safe.rows,
                ring_bytes: logged.bytes + safe.bytes,
            }
        };
        view.turbines.iter().map(doc).collect()
    }
}
