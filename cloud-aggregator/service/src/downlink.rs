//! The downlink: from the log to the gateways.
//!
//! Invariant: at least once. What is asked of a gateway is asked again by the partition task when nothing happens, so a
//! message that a broker loses costs time only.

use std::sync::Arc;
use std::time::Duration;

use rumqttc::{AsyncClient, QoS};
use tokio::runtime::Handle;
use tokio::sync::watch;
use windlass_shared::id::GatewayId;
use windlass_shared::wire::down_topic;

use crate::clock::Clock;
use crate::log::{Commit, Group, Log, LogError, Offset, ReadLimits, StoredEntry, Topic};
use crate::log::{PartitionId, TopicPartition};
use crate::mqtt::{Link, LinkEvent, LinkRole, MqttError, MqttSettings};
use crate::stop::Stop;

const LIMITS: ReadLimits = ReadLimits {
    entries_max: 256,
    bytes_max: 1024 * 1024,
};
/// How long a read may wait: how soon a stop is seen.
const READ_WAIT: Duration = Duration::from_millis(200);
/// Between two position commits, µs.
const COMMIT_EVERY_US: u64 = 1_000_000;

/// Why the downlink ends. Fatal.
#[derive(Debug, thiserror::Error)]
pub enum DownlinkError {
    /// No client.
    #[error(transparent)]
    Mqtt(#[from] MqttError),
    /// The log failed.
    #[error("the downlink cannot read its topic")]
    Log(#[from] LogError),
}

/// The publisher of what the partition tasks ask for.
pub struct Publisher {
    /// Where from.
    pub log: Arc<dyn Log>,
    /// Which broker.
    pub mqtt: MqttSettings,
    /// Published messages.
    pub published: prometheus_client::metrics::counter::Counter,
    /// For the position commits.
    pub clock: Clock,
}

impl Publisher {
    /// Runs on a thread until told to stop.
    pub fn run(&self, runtime: &Handle, stop: &Stop) -> Result<(), DownlinkError> {
        let (client, connected) = {
            let _entered = runtime.enter();
            let Link { client, events, .. } = Link::start(&self.mqtt, LinkRole::Downlink)?;
            let (tx, connected) = watch::channel(false);
            runtime.spawn(follow(events, tx, stop.clone()));
            (client, connected)
        };
        let mut next = self.positions()?;
        let mut committed = next.clone();
        let mut reader = self.log.reader(next.clone())?;
        let mut committed_at = self.clock.mono();
        while !stop.is_set() {
            let connected_now = *connected.borrow();
            let entries = if connected_now {
                reader.poll(LIMITS, READ_WAIT)?
            } else {
                wait_for_connection(runtime, connected.clone());
                continue;
            };
            for entry in &entries {
                self.publish(runtime, &client, entry, stop);
                if let Some(n) = next.iter_mut().find(|(at, _)| *at == entry.at) {
                    n.1 = Offset(entry.offset.0 + 1);
                }
            }
            if self.clock.mono().since_us(committed_at) >= COMMIT_EVERY_US {
                self.commit(&next, &mut committed)?;
                committed_at = self.clock.mono();
            }
        }
        self.commit(&next, &mut committed)?;
        Ok(())
    }

    fn positions(&self) -> Result<Vec<(TopicPartition, Offset)>, LogError> {
        (0..self.log.partitions())
            .map(|p| {
                let at = TopicPartition::new(Topic::Downlink, PartitionId(p));
                let committed = self.log.committed(Group::Downlink, at)?;
                let first = self.log.bounds(at)?.0;
                Ok((at, committed.map_or(first, |c| c.next)))
            })
            .collect()
    }

    fn publish(&self, runtime: &Handle, client: &AsyncClient, entry: &StoredEntry, stop: &Stop) {
        let Ok(gateway) = GatewayId::new(&entry.key) else {
            tracing::error!(
                key = entry.key,
                offset = entry.offset.0,
                "a downlink entry without a gateway"
            );
            return;
        };
        let mut stop = stop.clone();
        let topic = down_topic(&gateway);
        runtime.block_on(async {
            tokio::select! {
                () = stop.raised() => {}
                sent = client.publish(topic, QoS::AtLeastOnce, false, entry.value.clone()) => {
                    if sent.is_ok() {
                        self.published.inc();
                    }
                }
            }
        });
    }

    fn commit(
        &self,
        next: &[(TopicPartition, Offset)],
        committed: &mut Vec<(TopicPartition, Offset)>,
    ) -> Result<(), LogError> {
        for ((at, next), (_, done)) in next.iter().zip(committed.iter()) {
            if next != done {
                self.log
                    .commit(Commit {
                        group: Group::Downlink,
                        input: *at,
                        next: *next,
                        meta: String::new(),
                        outputs: Vec::new(),
                    })
                    .wait()?;
            }
        }
        next.clone_into(committed);
        Ok(())
    }
}

/// Keeps the events flowing, and says whether there is a connection.
async fn follow(
    mut events: tokio::sync::mpsc::Receiver<LinkEvent>,
    connected: watch::Sender<bool>,
    mut stop: Stop,
) {
    loop {
        let event = tokio::select! {
            () = stop.raised() => return,
            event = events.recv() => event,
        };
        match event {
            Some(LinkEvent::Up) => connected.send_replace(true),
            Some(LinkEvent::Down(_)) => connected.send_replace(false),
            Some(LinkEvent::Message(_)) => continue,
            None => return,
        };
    }
}

fn wait_for_connection(runtime: &Handle, mut connected: watch::Receiver<bool>) {
    runtime.block_on(async {
        // over time: the caller looks at the stop flag and waits again
        drop(tokio::time::timeout(READ_WAIT, connected.wait_for(|v| *v)).await);
    });
}
