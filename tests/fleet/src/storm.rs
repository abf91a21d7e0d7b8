//! Records sent again over MQTT, as they were: what a broker's retries, a restored session or a confused gateway do.
//!
//! Invariant: topic and bytes are those of the committed record; only order and number are other.

use anyhow::{Context, Result};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use windlass_shared::id::GatewayId;
use windlass_shared::wire::up_topic;

use crate::ledger::outbox::Witness;
use crate::mqtt::Peer;
use crate::spec::Gateway;

/// Most records that one storm sends.
const RECORDS_MAX: usize = 20_000;

/// Sends up to so many of the newest records of each gateway `times` over, in a random order. Gives how many were sent.
pub fn rage(
    witness: &Witness,
    gateways: &[&Gateway],
    newest: usize,
    times: usize,
    port: u16,
    seed: u64,
) -> Result<usize> {
    let mut messages = Vec::new();
    for gateway in gateways {
        let id = GatewayId::new(&gateway.id)?;
        for turbine in &gateway.turbines {
            // What a gateway has declared lost stays lost: a storm would bring it back.
            let own = witness.records.iter().filter(|(record, _)| {
                record.turbine.as_str() == turbine.id && !witness.declared_lost(record)
            });
            let mut own: Vec<_> = own.collect();
            own.sort_by_key(|(_, committed)| committed.header.committed_at);
            for (record, committed) in own.iter().rev().take(newest) {
                for _ in 0..times {
                    messages.push((up_topic(&id, record), committed.bytes.clone()));
                }
            }
        }
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    messages.shuffle(&mut rng);
    messages.truncate(RECORDS_MAX);
    let mut peer = Peer::connect(port, &format!("storm-{seed}"), None)?;
    peer.publish_all(messages).context("the storm")
}
