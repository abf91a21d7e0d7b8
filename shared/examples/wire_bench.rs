//! Time and size of the wire format on the realistic profile, as JSON: `cargo run --release -p windlass-shared --example
//! wire_bench`. Nothing is asserted; `docs/decisions/0004-encoding.md` quotes its figures.

#[path = "../tests/wire/signal.rs"]
mod signal;

use std::hint::black_box;
use std::time::Instant;

use windlass_shared::catalogue::{RateGroup, parse};
use windlass_shared::record::{Body, Record};
use windlass_shared::wire::{decode, encode};

/// Each measurement is repeated, and the least time counts: what else runs on the machine only adds.
const ROUNDS: usize = 15;

fn readings(records: &[Record]) -> usize {
    records
        .iter()
        .map(|r| match &r.body {
            Body::Batch(b) => b.raw.len(),
            _ => 0,
        })
        .sum()
}

fn least_ns(mut work: impl FnMut()) -> f64 {
    (0..ROUNDS)
        .map(|_| {
            #[allow(clippy::disallowed_methods)] // a benchmark measures time
            let start = Instant::now();
            work();
            start.elapsed().as_nanos() as f64
        })
        .fold(f64::INFINITY, f64::min)
}

#[allow(clippy::print_stdout)] // its output is the point
fn measure(name: &str, records: &[Record]) {
    let n = readings(records) as f64;
    let encoded: Vec<Vec<u8>> = records.iter().map(encode).collect();
    let payload: usize = encoded.iter().map(Vec::len).sum();
    let wire: usize = records
        .iter()
        .zip(&encoded)
        .map(|(r, e)| signal::mqtt_bytes(r, e.len()))
        .sum();
    let encode_ns = least_ns(|| {
        for record in records {
            black_box(encode(black_box(record)));
        }
    });
    let decode_ns = least_ns(|| {
        for bytes in &encoded {
            black_box(decode(black_box(bytes)).is_ok());
        }
    });
    println!(
        "{{\"set\":\"{name}\",\"records\":{},\"readings\":{n},\"bytes_per_reading_payload\":{:.3},\"bytes_per_reading_mqtt\":{:.3},\"encode_ns_per_reading\":{:.2},\"decode_ns_per_reading\":{:.2}}}",
        records.len(),
        payload as f64 / n,
        wire as f64 / n,
        encode_ns / n,
        decode_ns / n,
    );
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../hardware/profiles/onshore-3mw.toml"
    );
    let mut turbine = signal::Turbine::new(parse(path, &std::fs::read_to_string(path)?)?, 1);
    let records: Vec<Record> = (0..60).flat_map(|_| turbine.ten_seconds()).collect();
    measure("all", &records);
    let (fast, slow): (Vec<Record>, Vec<Record>) = records
        .into_iter()
        .partition(|r| matches!(&r.body, Body::Batch(b) if b.rate_group == RateGroup::Fast));
    measure("fast, 1 sample a column", &fast);
    measure("slow, 10 samples a column", &slow);
    Ok(())
}
