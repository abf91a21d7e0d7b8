//! What a turbine costs on the uplink: the realistic profile, cut as the gateway cuts it, topic and MQTT included.

#![allow(clippy::unwrap_used)] // a test may; the lint only knows the functions marked as tests

#[path = "wire/signal.rs"]
mod signal;

use std::path::Path;

use windlass_shared::catalogue::{RateGroup, parse};
use windlass_shared::record::Body;
use windlass_shared::wire::{decode, encode};

#[test]
fn a_turbine_costs_at_most_1_8_bytes_a_reading() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hardware/profiles/onshore-3mw.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let mut turbine = signal::Turbine::new(parse("onshore-3mw", &text).unwrap(), 1);
    let (mut readings, mut bytes, mut payload) = (0, 0, 0);
    let mut by_group = [(0, 0), (0, 0)];
    for _ in 0..30 {
        for record in turbine.ten_seconds() {
            let encoded = encode(&record);
            assert_eq!(decode(&encoded).as_ref(), Ok(&record));
            let Body::Batch(batch) = &record.body else {
                panic!("only batches");
            };
            let on_the_wire = signal::mqtt_bytes(&record, encoded.len());
            readings += batch.raw.len();
            payload += encoded.len();
            bytes += on_the_wire;
            let group = &mut by_group[usize::from(batch.rate_group == RateGroup::Slow)];
            group.0 += batch.raw.len();
            group.1 += on_the_wire;
        }
    }
    let per = |bytes: usize, readings: usize| bytes as f64 / readings as f64;
    println!(
        "{readings} readings: {:.3} bytes each on the wire, {:.3} in records; fast {:.2}, slow {:.3}",
        per(bytes, readings),
        per(payload, readings),
        per(by_group[0].1, by_group[0].0),
        per(by_group[1].1, by_group[1].0)
    );
    assert!(per(bytes, readings) <= 1.8);
}
