//! Bytes that nobody should send, on the topics of a running fleet: refused with a reason, kept, and nothing else is hurt.

use std::collections::BTreeMap;
use std::time::Duration;

use windlass_fleet::ledger::lake::Lake;
use windlass_fleet::mqtt::Peer;
use windlass_fleet::rig::{BrokerKind, Rig};
use windlass_fleet::spec::{Cloud, Gateway, Turbine};
use windlass_fleet::{clock, closing};
use windlass_shared::id::{Epoch, GatewayId, RecordId, Seq, TurbineId};
use windlass_shared::wire;

/// How long traffic may take to bring what a test waits for.
const TRAFFIC_BOUND: Duration = Duration::from_secs(30);

/// A running fleet of one gateway with one turbine.
fn small_fleet() -> Rig {
    let gateway =
        Gateway::new("GW1", "north", vec![Turbine::new("T001", "onshore-3mw")]).with_simulators(1);
    let mut rig = Rig::new(vec![gateway], &Cloud::default(), BrokerKind::Embedded).expect("a rig");
    rig.start().expect("started");
    rig.all_seen().expect("seen");
    rig
}

/// Waits until so many records were seen committed.
fn traffic(rig: &mut Rig, records: usize) {
    clock::until("records are committed", TRAFFIC_BOUND, || {
        rig.check()?;
        rig.look()?;
        Ok((rig.witness.records.len() >= records).then_some(()))
    })
    .expect("traffic");
}

/// Dead letters in the lake, by reason.
fn dead_letters(rig: &Rig) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut reasons = BTreeMap::new();
    if rig.lake().exists() {
        Lake::open(&rig.lake())?.each("dead_letter", |row| {
            *reasons.entry(row.need("reason")?.to_owned()).or_default() += 1;
            Ok(())
        })?;
    }
    Ok(reasons)
}

fn topic(gateway: &str, turbine: &str, epoch: Epoch, seq: u64) -> String {
    let id = RecordId {
        turbine: TurbineId::new(turbine).expect("a name"),
        epoch,
        seq: Seq(seq),
    };
    wire::up_topic(&GatewayId::new(gateway).expect("a name"), &id)
}

#[test]
fn hostile_bytes_are_refused_with_a_reason_and_kept() {
    let mut rig = small_fleet();
    traffic(&mut rig, 5);
    let committed = rig.witness.records.values().nth(1).expect("a record");
    let good = committed.bytes.clone();
    let cut = good[..good.len() / 2].to_vec();
    let mut other_version = good.clone();
    other_version[1] = 9;
    let strange = Epoch([0xEE; 16]);
    let messages = [
        (
            topic("GW1", "T001", strange, 7),
            b"\xff\xfe hostile".to_vec(),
        ),
        (topic("GW1", "T001", strange, 8), cut),
        (topic("GW1", "T001", strange, 9), other_version),
        (topic("GW1", "T999", strange, 1), good.clone()),
        (topic("GW1", "T001", strange, 10), good.clone()),
        ("wl1/up/GW1/nonsense".to_owned(), good),
    ];
    let mut peer = Peer::connect(rig.broker_port(), "stranger", None).unwrap();
    peer.publish_all(messages).unwrap();
    let before = rig.witness.records.len();
    traffic(&mut rig, before + 5);
    closing::drain(&mut rig).unwrap();
    let expected = BTreeMap::from([
        ("malformed".to_owned(), 2),
        ("version".to_owned(), 1),
        ("unbound".to_owned(), 1),
        ("identity".to_owned(), 1),
        ("topic".to_owned(), 1),
    ]);
    let balance = closing::settle(&mut rig, |rig, _| Ok(dead_letters(rig)? == expected)).unwrap();
    assert_eq!(dead_letters(&rig).unwrap(), expected);
    assert!(balance.is_right(), "{balance:#?}");
    assert_eq!(balance.rejected_readings, 0);
    let mut ids = rig.witness.records.keys();
    assert!(ids.all(|r| r.epoch != strange));
}

#[test]
fn a_message_that_is_too_large_hurts_nobody() {
    let mut rig = small_fleet();
    traffic(&mut rig, 3);
    let huge = vec![7; 2 * wire::RECORD_BYTES_MAX];
    let mut peer = Peer::connect(rig.broker_port(), "stranger", None).unwrap();
    // The broker may close the connection on it, or pass it on for ingest to refuse: both are fine.
    let passed_on = peer
        .publish_all([(topic("GW1", "T001", Epoch([0xEE; 16]), 1), huge)])
        .is_ok();
    let before = rig.witness.records.len();
    traffic(&mut rig, before + 5);
    closing::drain(&mut rig).unwrap();
    let refused = |rig: &Rig| -> anyhow::Result<bool> {
        let oversized = dead_letters(rig)?.contains_key("oversized");
        Ok(oversized || !passed_on)
    };
    let balance = closing::settle(&mut rig, |rig, _| refused(rig)).unwrap();
    assert!(refused(&rig).unwrap(), "{:?}", dead_letters(&rig));
    assert!(balance.is_right(), "{balance:#?}");
}

#[test]
fn other_bytes_under_a_known_identity_are_evidence_and_the_gateway_begins_anew() {
    let mut rig = small_fleet();
    traffic(&mut rig, 8);
    rig.caught_up(TRAFFIC_BOUND).unwrap();
    // Two batches of the same shape: the later one's bytes under the earlier one's name would be an identity fault, so
    // the forger decodes, changes a value and encodes.
    let mut batches = rig
        .witness
        .records
        .iter()
        .filter(|(_, c)| !c.readings.is_empty());
    let (id, committed) = batches.next_back().expect("a batch");
    let mut forged = wire::decode(&committed.bytes).unwrap();
    let windlass_shared::record::Body::Batch(batch) = &mut forged.body else {
        panic!("a batch has readings");
    };
    batch.raw[0] ^= 1;
    let first_epoch = id.epoch;
    let message = (
        topic("GW1", "T001", id.epoch, id.seq.0),
        wire::encode(&forged),
    );
    let mut peer = Peer::connect(rig.broker_port(), "forger", None).unwrap();
    peer.publish_all([message]).unwrap();
    clock::until("the gateway begins a new epoch", TRAFFIC_BOUND, || {
        rig.check()?;
        rig.look()?;
        let anew = rig.witness.records.keys().any(|r| r.epoch != first_epoch);
        Ok(anew.then_some(()))
    })
    .unwrap();
    let before = rig.witness.records.len();
    traffic(&mut rig, before + 5);
    closing::drain(&mut rig).unwrap();
    let conflict =
        |rig: &Rig| -> anyhow::Result<bool> { Ok(dead_letters(rig)?.contains_key("conflict")) };
    let balance = closing::settle(&mut rig, |rig, _| conflict(rig)).unwrap();
    assert!(conflict(&rig).unwrap(), "{:?}", dead_letters(&rig));
    assert!(balance.is_right(), "{balance:#?}");
}
