//! Time and size of the wire format on the realistic profile, as JSON: `cargo run --release -p windlass-shared --example
//! wire_bench`. Nothing is asserted; `docs/decisions/0004-encoding.md` quotes its figures.

#[path = "../tests/wire/signal.rs"]
mod signal;

use std::hint::black_box;
use std::time::Instant;

use prost::Message;
use windlass_shared::catalogue::{Catalogue, RateGroup, parse};
use windlass_shared::proto;
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
    let columns: usize = encoded
        .iter()
        .filter_map(|bytes| proto::Record::decode(&bytes[..]).ok()?.body)
        .map(|body| match body {
            proto::record::Body::Batch(batch) => batch.columns.len(),
            _ => 0,
        })
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
        "{{\"set\":\"{name}\",\"records\":{},\"readings\":{n},\"bytes_per_reading_columns\":{:.3},\"bytes_per_reading_payload\":{:.3},\"bytes_per_reading_mqtt\":{:.3},\"encode_ns_per_reading\":{:.2},\"decode_ns_per_reading\":{:.2}}}",
        records.len(),
        columns as f64 / n,
        payload as f64 / n,
        wire as f64 / n,
        encode_ns / n,
        decode_ns / n,
    );
}

/// What other layouts take for the same readings, records' overhead left out: bytes per reading.
#[allow(clippy::print_stdout)] // its output is the point
fn others(records: &[Record], catalogue: &Catalogue) {
    let packed = |plain: &[u8]| zstd::bulk::compress(plain, 3).map_or(plain.len(), |z| z.len());
    let (mut rows, mut floats, mut varints) = (0, 0, 0);
    for record in records {
        let Body::Batch(batch) = &record.body else {
            continue;
        };
        let (mut row, mut float, mut varint) = (Vec::new(), Vec::new(), Vec::new());
        for block in &batch.blocks {
            let n = block.times.len();
            for column in &block.columns {
                let mut last = 0;
                for (i, raw) in batch.raw[column.at as usize..][..n].iter().enumerate() {
                    let value = catalogue
                        .channel(column.channel)
                        .map_or(0.0, |c| c.value(*raw)) as f32;
                    // message Reading { uint32 channel = 1; sint64 time_ms = 2; float value = 3; }
                    let at = row.len();
                    prost::encoding::uint32::encode(1, &u32::from(column.channel.0), &mut row);
                    prost::encoding::sint64::encode(2, &(i as i64 * 1_000), &mut row);
                    prost::encoding::float::encode(3, &value, &mut row);
                    let len = (row.len() - at) as u8;
                    row.splice(at..at, [0x0a, len]);
                    float.extend(value.to_le_bytes());
                    let d = raw - last;
                    prost::encoding::encode_varint(((d << 1) ^ (d >> 63)) as u64, &mut varint);
                    last = *raw;
                }
            }
        }
        rows += packed(&row);
        floats += packed(&float);
        varints += packed(&varint);
    }
    let n = readings(records) as f64;
    println!(
        "{{\"set\":\"slow, other layouts\",\"protobuf_rows_zstd\":{:.3},\"f32_columns_zstd\":{:.3},\"varint_deltas_zstd\":{:.3}}}",
        rows as f64 / n,
        floats as f64 / n,
        varints as f64 / n
    );
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../hardware/profiles/onshore-3mw.toml"
    );
    let catalogue = parse(path, &std::fs::read_to_string(path)?)?;
    let mut turbine = signal::Turbine::new(catalogue.clone(), 1);
    let records: Vec<Record> = (0..60).flat_map(|_| turbine.ten_seconds()).collect();
    measure("all", &records);
    let (fast, slow): (Vec<Record>, Vec<Record>) = records
        .into_iter()
        .partition(|r| matches!(&r.body, Body::Batch(b) if b.rate_group == RateGroup::Fast));
    measure("fast, 1 sample a column", &fast);
    measure("slow, 10 samples a column", &slow);
    others(&slow, &catalogue);
    Ok(())
}
