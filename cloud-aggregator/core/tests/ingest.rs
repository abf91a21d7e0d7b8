//! What ingest lets through and what it refuses, with the reason, the bytes and the identity kept.

#![allow(clippy::unwrap_used)] // a test that has not what it expects fails

mod world;

use windlass_cloud_core::bench::Feed;
use windlass_cloud_core::fleet::Fleet;
use windlass_cloud_core::ingest::{Checked, Refusal, check};
use windlass_cloud_core::output::{DeadLetter, Reason};
use windlass_shared::catalogue::CatalogueHash;
use windlass_shared::id::{ChannelId, GatewayId, TurbineId};
use windlass_shared::record::{Body, Record};
use windlass_shared::wire::{self, Control, Logged};
use world::*;

fn a_batch(feed: &mut Feed) -> Record {
    feed.open(epoch(1), at(0));
    second(feed, 0, |_, _| 7).remove(0)
}

fn topic(feed: &Feed, record: &Record) -> String {
    wire::up_topic(&feed.gateway, &record.header.id)
}

fn refused(fleet: &Fleet, topic: &str, payload: &[u8]) -> Refusal {
    match check(fleet, topic, payload) {
        Checked::Refuse(refusal) => *refusal,
        Checked::Accept(a) => panic!("accepted {:?}", a.id),
    }
}

/// Refused with this reason, acknowledged, kept whole, and the partition is told.
fn refused_and_told(fleet: &Fleet, feed: &Feed, record: &Record, payload: &[u8], reason: Reason) {
    let refusal = refused(fleet, &topic(feed, record), payload);
    assert_eq!(refusal.reason, reason, "{}", refusal.detail);
    assert_eq!(refusal.id.as_ref(), Some(&record.header.id));
    assert_eq!(refusal.key(), record.header.id.turbine.as_str());
    let back = DeadLetter::decode(&refusal.dead_letter.encode()).unwrap();
    assert_eq!(back, refusal.dead_letter);
    assert_eq!(
        back.bytes,
        payload[..payload.len().min(wire::RECORD_BYTES_MAX)]
    );
    assert_eq!(back.id(), Some(record.header.id.clone()));
    let control = wire::decode_logged(&refusal.control.unwrap()).unwrap();
    let Logged::Control(Control::Refused(told)) = control else {
        panic!("{control:?}");
    };
    assert_eq!(told.id, record.header.id);
    assert_eq!(told.sha256, wire::hash(payload));
    assert!(told.reason.starts_with(reason.as_str()), "{}", told.reason);
}

#[test]
fn a_good_record_is_logged_unchanged() {
    let fleet = fleet();
    let mut feed = feed(&fleet, "T1", "small");
    let record = a_batch(&mut feed);
    let bytes = wire::encode(&record);
    let Checked::Accept(accepted) = check(&fleet, &topic(&feed, &record), &bytes) else {
        panic!("refused");
    };
    assert_eq!(accepted.id, record.header.id);
    assert_eq!(accepted.readings, 2);
    let gateway = feed.gateway.clone();
    let logged = wire::decode_logged(&accepted.logged).unwrap();
    assert_eq!(
        logged,
        Logged::Telemetry {
            gateway,
            record: bytes
        }
    );
}

#[test]
fn bytes_that_are_no_record_are_refused() {
    let fleet = fleet();
    let mut feed = feed(&fleet, "T1", "small");
    let record = a_batch(&mut feed);
    let bytes = wire::encode(&record);
    for payload in [&bytes[..bytes.len() / 2], &[0xff; 100]] {
        refused_and_told(&fleet, &feed, &record, payload, Reason::Malformed);
    }
    for payload in [&b""[..], &[8, 2]] {
        refused_and_told(&fleet, &feed, &record, payload, Reason::Version);
    }
    let large = vec![0; wire::RECORD_BYTES_MAX + 1];
    refused_and_told(&fleet, &feed, &record, &large, Reason::Oversized);
}

#[test]
fn every_cut_and_every_flipped_byte_is_refused_or_the_same_identity() {
    let fleet = fleet();
    let mut feed = feed(&fleet, "T1", "small");
    let record = a_batch(&mut feed);
    let bytes = wire::encode(&record);
    for i in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[i] ^= 0x55;
        if let Checked::Accept(a) = check(&fleet, &topic(&feed, &record), &flipped) {
            assert_eq!(a.id, record.header.id);
        }
    }
}

#[test]
fn a_record_under_another_identity_is_refused() {
    let fleet = fleet();
    let mut feed = feed(&fleet, "T1", "small");
    let record = a_batch(&mut feed);
    let other = a_batch(&mut self::feed(&fleet, "T2", "small"));
    refused_and_told(
        &fleet,
        &feed,
        &record,
        &wire::encode(&other),
        Reason::Identity,
    );
}

#[test]
fn stamps_that_contradict_the_readings_are_refused() {
    let fleet = fleet();
    let mut feed = feed(&fleet, "T1", "small");
    let mut record = a_batch(&mut feed);
    record.header.stamps.ceiling.0 += 1;
    refused_and_told(
        &fleet,
        &feed,
        &record,
        &wire::encode(&record),
        Reason::Stamps,
    );
}

#[test]
fn what_the_catalogue_does_not_have_is_refused() {
    let fleet = fleet();
    let mut feed = feed(&fleet, "T1", "small");
    let good = a_batch(&mut feed);
    let with = |change: &dyn Fn(&mut windlass_shared::record::Batch)| {
        let mut record = good.clone();
        if let Body::Batch(batch) = &mut record.body {
            change(batch);
        }
        record
    };
    let unknown = with(&|b| b.catalogue = CatalogueHash(1));
    refused_and_told(
        &fleet,
        &feed,
        &unknown,
        &wire::encode(&unknown),
        Reason::Catalogue,
    );
    let channel = with(&|b| b.blocks[0].columns[1].channel = ChannelId(99));
    refused_and_told(
        &fleet,
        &feed,
        &channel,
        &wire::encode(&channel),
        Reason::Channel,
    );
    let float = with(&|b| b.blocks[0].columns[1].float = true);
    refused_and_told(
        &fleet,
        &feed,
        &float,
        &wire::encode(&float),
        Reason::Channel,
    );
}

#[test]
fn a_gateway_writes_only_its_own_turbines() {
    let fleet = fleet();
    let mut feed = feed(&fleet, "T1", "small");
    let record = a_batch(&mut feed);
    feed.gateway = GatewayId::new("G2").unwrap();
    let refusal = refused(&fleet, &topic(&feed, &record), &wire::encode(&record));
    assert_eq!(refusal.reason, Reason::Unbound);
    assert_eq!(
        refusal.detail,
        "turbine T1 is bound to gateway G1, not to G2"
    );
    // it may not even lose a seq of a turbine that is not its own
    assert_eq!((refusal.id, refusal.control), (None, None));

    let mut stranger = record;
    stranger.header.id.turbine = TurbineId::new("T9").unwrap();
    let refusal = refused(&fleet, &topic(&feed, &stranger), &wire::encode(&stranger));
    assert_eq!(refusal.reason, Reason::Unbound);
}

#[test]
fn a_topic_that_names_nobody_is_kept_and_not_acknowledged() {
    let fleet = fleet();
    let refusal = refused(&fleet, "wl1/up/../x", b"bytes");
    assert_eq!(refusal.reason, Reason::Topic);
    assert_eq!((&refusal.gateway, &refusal.id), (&None, &None));
    assert_eq!(refusal.key(), "unknown");
    assert_eq!(refusal.dead_letter.bytes, b"bytes");
}

#[test]
fn a_registry_tells_all_its_mistakes_at_once() {
    let text = r#"
profiles = ["small.toml"]
colour = "red"
[[farm]]
id = "F1"
name = "North"
timezone = "UTC"
[[gateway]]
id = "G1"
farm = "F2"
turbines = ["T1", "T 2"]
[[gateway]]
id = "G2"
farm = "F1"
turbines = ["T1"]
"#;
    let bad = ("bad.toml".to_owned(), "name = 1".to_owned());
    let errors = Fleet::parse("fleet.toml", text, &[bad])
        .unwrap_err()
        .to_string();
    for part in [
        "bad.toml",
        "colour",
        "\"F2\"",
        "T 2",
        "which gateway G1 has",
    ] {
        assert!(errors.contains(part), "{part} in {errors}");
    }
    assert_eq!(
        Fleet::profile_paths("fleet.toml", text).unwrap(),
        ["small.toml"]
    );
}
