//! The status document, out of the notes and the core's view.

use windlass_edge_core::{AgentView, Now, RowLevel};
use windlass_shared::time::EventTime;

use super::Books;
use crate::clock;
use crate::config::Config;
use crate::procfs;
use crate::status::{CertificateDoc, ClockDoc, DiskDoc, LinkDoc, StatusDoc, TurbineDoc, VERSION};
use crate::tls;

impl Books {
    /// The status document of this moment.
    pub fn document(&self, config: &Config, view: &AgentView, now: Now) -> StatusDoc {
        let waiting = || view.turbines.iter().map(|t| t.waiting);
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
                waiting_records: waiting().map(|w| w.records).sum(),
                waiting_readings: waiting().map(|w| w.readings).sum(),
                waiting_for_s: waiting()
                    .filter_map(|w| w.since)
                    .min()
                    .map(|since| now.mono.since_us(since) / 1_000_000),
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
