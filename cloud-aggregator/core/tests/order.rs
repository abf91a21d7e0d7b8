//! Ingest says nothing of a message before the log has answered for it, and nothing at all when the log failed.

#![allow(clippy::unwrap_used)] // a test that has not what it expects fails

mod world;

use windlass_cloud_core::ingest::order::{Answer, BATCH_MESSAGES_MAX, Ingest, Output, Taken};
use windlass_cloud_core::topic::{Topic, partition_of};
use windlass_shared::id::{Seq, SeqRange};
use windlass_shared::record::Record;
use windlass_shared::wire::{self, AckLevel};
use world::*;

const PARTITIONS: u32 = 4;

/// An Open and some seconds of a turbine, with the topic of each.
fn messages(seconds: i64) -> Vec<(String, Vec<u8>, Record)> {
    let fleet = fleet();
    let mut feed = feed(&fleet, "T1", "small");
    let mut records = vec![feed.open(epoch(1), at(0))];
    for s in 0..seconds {
        records.extend(second(&mut feed, s, |_, _| 7));
    }
    let up = |r: Record| {
        (
            wire::up_topic(&feed.gateway, &r.header.id),
            wire::encode(&r),
            r,
        )
    };
    records.into_iter().map(up).collect()
}

fn ingest() -> Ingest<usize> {
    Ingest::new(fleet(), PARTITIONS, AckLevel::Logged)
}

#[test]
fn acknowledgements_wait_for_the_log() {
    let mut ingest = ingest();
    let messages = messages(3);
    for (i, (topic, payload, _)) in messages.iter().enumerate() {
        let damaged = &payload[..payload.len() / 2];
        let refused = i == 2;
        let taken = ingest.take(i, topic, if refused { damaged } else { payload });
        assert_eq!(matches!(taken, Taken::Refused { .. }), refused);
    }
    let mut out = Vec::new();
    ingest.close(&mut out);
    let [Output::Append(entries)] = &out[..] else {
        panic!("before the log's answer there is only the append: {out:?}");
    };
    let p = partition_of("T1", PARTITIONS);
    assert!(entries.iter().all(|e| e.key == "T1" && e.partition == p));
    let telemetry = entries.iter().filter(|e| e.topic == Topic::Telemetry);
    assert_eq!(
        telemetry.count(),
        messages.len(),
        "a refusal is told as well"
    );
    let dead = entries.iter().filter(|e| e.topic == Topic::DeadLetter);
    assert_eq!(dead.count(), 1);
    assert!(ingest.waits());
    out.clear();
    ingest.answered(Answer::Appended, &mut out);
    let (acks, downlinks) = out.split_at(messages.len());
    let said: Vec<usize> = acks
        .iter()
        .map(|o| match o {
            Output::Acknowledge(i) => *i,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(said, (0..messages.len()).collect::<Vec<_>>());
    let [Output::Downlink(gateway, message)] = downlinks else {
        panic!("{downlinks:?}");
    };
    assert_eq!(gateway.as_str(), "G1");
    let ack = &message.acks[0];
    assert_eq!(ack.level, AckLevel::Logged);
    let last = messages.len() as u64;
    assert_eq!(ack.ranges, [SeqRange::new(1, last).unwrap()]);
    assert_eq!(ack.verdicts.len(), 1);
    assert_eq!(ack.verdicts[0].0, Seq(3));
}

#[test]
fn when_the_log_fails_nobody_hears_of_anything_and_nothing_more_is_taken() {
    let mut ingest = ingest();
    let messages = messages(2);
    ingest.take(0, &messages[0].0, &messages[0].1);
    let mut out = Vec::new();
    ingest.close(&mut out);
    // what came meanwhile has no answer either
    ingest.take(1, &messages[1].0, &messages[1].1);
    out.clear();
    ingest.answered(Answer::Failed, &mut out);
    assert_eq!(out, [Output::Halt]);
    assert!(!ingest.has_room());
    out.clear();
    ingest.close(&mut out);
    ingest.answered(Answer::Appended, &mut out);
    assert_eq!(out, []);
}

#[test]
fn one_append_is_under_way_at_a_time_and_a_batch_has_a_limit() {
    let mut ingest = ingest();
    let messages = messages(2);
    let mut out = Vec::new();
    ingest.close(&mut out);
    assert_eq!(out, [], "nothing to append");
    ingest.take(0, &messages[0].0, &messages[0].1);
    ingest.close(&mut out);
    ingest.take(1, &messages[1].0, &messages[1].1);
    ingest.close(&mut out);
    assert_eq!(
        out.len(),
        1,
        "the second batch waits for the first one's answer"
    );
    out.clear();
    ingest.answered(Answer::Appended, &mut out);
    assert_eq!(out[0], Output::Acknowledge(0));
    assert_eq!(out.len(), 2, "one message, one gateway");
    out.clear();
    ingest.close(&mut out);
    ingest.answered(Answer::Appended, &mut out);
    assert_eq!(out[1], Output::Acknowledge(1));
    for i in 0..BATCH_MESSAGES_MAX {
        assert!(ingest.has_room(), "{i}");
        ingest.take(i, "nonsense", b"");
    }
    assert!(!ingest.has_room());
    out.clear();
    ingest.close(&mut out);
    ingest.answered(Answer::Appended, &mut out);
    assert_eq!(out.len(), 1 + BATCH_MESSAGES_MAX, "no gateway to tell");
    assert!(ingest.has_room());
}
