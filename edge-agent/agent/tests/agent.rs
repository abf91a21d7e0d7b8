//! The agent as a process against a real broker: every committed record arrives, whatever ends in between.

#![allow(clippy::unwrap_used)] // a test ends where it cannot go on

mod common;

use std::collections::BTreeSet;

use common::{Agent, Cloud, Link, broker, wait_for};
use windlass_shared::id::RecordId;
use windlass_shared::record::Body;
use windlass_shared::wire;

/// Seqs of each epoch that the cloud has must be 1, 2, 3, ... without a hole; the record says who it is.
fn assert_whole(cloud: &Cloud) {
    let seen = cloud.seen.lock().unwrap();
    let mut next = None;
    for (id, bytes) in &seen.records {
        let record = wire::decode(bytes).unwrap();
        assert_eq!(&record.header.id, id);
        let expected = match &next {
            Some((epoch, seq)) if *epoch == id.epoch => *seq,
            _ => 1,
        };
        assert_eq!(id.seq.0, expected, "a hole before {id}");
        assert_eq!(id.seq.0 == 1, matches!(record.body, Body::Open(_)));
        next = Some((id.epoch, expected + 1));
    }
}

#[test]
fn a_simulated_turbines_records_arrive_and_are_acknowledged() {
    let port = broker();
    let cloud = Cloud::on(port, "cloud", true);
    let mut agent = Agent::simulated(port, "");
    agent.start();
    let doc = agent.wait_status("three seconds of readings, acknowledged", |s| {
        s.counters.readings_committed >= 900 && s.counters.records_acked >= 4
    });
    assert_eq!(doc.link.state, "online");
    assert_eq!(doc.turbines[0].turbine, "T001");
    assert!(doc.link.ack_latency_ms.is_some() && doc.link.live_lag_ms.is_some());
    assert!(doc.process.rss_bytes > 0 && doc.disk.free_bytes > 0);
    assert_whole(&cloud);
    assert!(agent.terminate().success());
    assert_whole(&cloud);
}

#[test]
fn after_a_broker_died_every_committed_record_is_published_again_until_acknowledged() {
    let first = broker();
    let deaf = Cloud::on(first, "deaf", false);
    let link = Link::to(first);
    let mut agent = Agent::simulated(link.port, "");
    agent.start();
    wait_for("records at the first broker", || {
        (deaf.count() >= 6).then_some(())
    });
    link.cut();
    agent.wait_status("the cut", |s| s.link.state != "online");
    let before: BTreeSet<RecordId> = deaf.seen.lock().unwrap().records.keys().cloned().collect();
    agent.wait_status("recording without a link", |s| {
        s.turbines[0].last_seq > before.len() as u64 + 3
    });

    // another broker, which knows nothing of the first one's promises
    let second = broker();
    let cloud = Cloud::on(second, "cloud", true);
    link.mend(second);
    agent.wait_status("everything acknowledged", |s| {
        s.link.state == "online" && s.turbines[0].backlog_records <= 3
    });
    wait_for("the records of the first broker", || {
        let seen = cloud.seen.lock().unwrap();
        before
            .iter()
            .all(|id| seen.records.contains_key(id))
            .then_some(())
    });
    assert!(agent.terminate().success());
    assert_whole(&cloud);
    let (deaf, seen) = (deaf.seen.lock().unwrap(), cloud.seen.lock().unwrap());
    for (id, bytes) in &deaf.records {
        assert_eq!(Some(bytes), seen.records.get(id), "other bytes for {id}");
    }
}

#[test]
fn without_acknowledgements_records_are_sent_again() {
    let port = broker();
    let cloud = Cloud::on(port, "cloud", false);
    let mut agent = Agent::simulated(port, "");
    agent.start();
    let again = wait_for("a record that came twice", || {
        let seen = cloud.seen.lock().unwrap();
        seen.times
            .iter()
            .find(|(_, n)| **n >= 2)
            .map(|(id, _)| id.clone())
    });
    assert_eq!(again.seq.0, 1, "the oldest first");
    cloud.acknowledge();
    agent.wait_status("everything acknowledged", |s| {
        s.turbines[0].backlog_records <= 3
    });
    assert!(agent.terminate().success());
    assert_whole(&cloud);
}
