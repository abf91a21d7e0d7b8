//! Generated files are what the product reads: CSV through the agent's parser, records through the wire format's checks.

mod rig;

use std::collections::BTreeMap;

use rig::{BEGINS, HOUR_US, fleet, scenario};
use windlass_edge_core::Value;
use windlass_edge_core::csv_replay::{
    CsvLayout, CsvReplay, DstRule, IntervalLabel, Pace, TimeText, TurbineColumn, ValueColumns, Zone,
};
use windlass_fleet_model::csv::{CsvText, TIME_COLUMN, TIME_FORMAT};
use windlass_fleet_model::numbering::Numbering;
use windlass_fleet_model::record::{Period, Recorder};
use windlass_shared::catalogue::Kind;
use windlass_shared::record::{Body, Head, Quality};
use windlass_shared::time::{EventTime, MonoTime};
use windlass_shared::wire;

/// A reading: channel, time, raw, is it a number.
type Reading = (u16, i64, i64, bool);

const DEAD: &str = "[[fault]]\nkind = \"sensor_dead\"\nturbine = \"T01\"\nchannel = \"hub_temperature\"\nfrom = \"30min\"\nuntil = \"50min\"";

fn rows(period: Period, hours: i64, mut take: impl FnMut(&windlass_fleet_model::Due)) {
    let turbine = fleet(&scenario(DEAD), period.pace()).turbine(0);
    let to = BEGINS.plus_us(hours * HOUR_US);
    let mut recorder = Recorder::new(turbine, BEGINS, to, period);
    while let Some(due) = recorder.row() {
        take(&due);
    }
}

fn readings(due: &windlass_fleet_model::Due, ids: &[u16]) -> Vec<Reading> {
    let bad: Vec<usize> = due.bad.iter().map(|b| usize::from(b.0)).collect();
    due.channels
        .iter()
        .zip(due.raw)
        .enumerate()
        .map(|(i, (c, raw))| (ids[usize::from(*c)], due.at.0, *raw, !bad.contains(&i)))
        .collect()
}

#[test]
fn the_agent_s_parser_reads_back_every_raw_integer() {
    let catalogue = rig::profile("onshore-3mw");
    let ids: Vec<u16> = catalogue.channels.iter().map(|c| c.id.0).collect();
    for (period, hours) in [(Period::Second, 1), (Period::TenMinutes, 30)] {
        let mut csv = CsvText::new(catalogue.clone(), period);
        let mut text = csv.header();
        let mut written = Vec::new();
        rows(period, hours, |due| {
            csv.row(due, &mut text);
            written.extend(readings(due, &ids));
        });
        assert_eq!(
            text.lines().count() as i64,
            1 + hours * HOUR_US / period.us()
        );
        let columns = catalogue
            .channels
            .iter()
            .map(|c| (c.name.clone(), c.id))
            .collect();
        let layout = CsvLayout {
            delimiter: b',',
            decimal_comma: false,
            turbines: TurbineColumn::All("T01".parse().unwrap()),
            values: ValueColumns::Wide(columns),
            time_column: TIME_COLUMN.into(),
            time: TimeText {
                format: TIME_FORMAT.into(),
                zone: Zone::local("UTC", DstRule::Reject).unwrap(),
            },
            interval_us: if period == Period::Second {
                0
            } else {
                period.us()
            },
            label: IntervalLabel::Start,
            absent: Vec::new(),
        };
        let mut replay =
            CsvReplay::begin(layout, text.as_bytes(), None, Pace::unbounded()).unwrap();
        let body = &text.as_bytes()[replay.offset() as usize..];
        let taken = replay.take(MonoTime(0), body, true, usize::MAX);
        assert_eq!(taken.bad, []);
        let mut read: Vec<Reading> = taken.parts[0]
            .readings
            .iter()
            .map(|r| {
                let Value::Float(x) = r.value else {
                    panic!("the file has decimals")
                };
                let number = r.quality == Quality::Good;
                let channel = catalogue.channel(r.channel).unwrap();
                let raw = if number {
                    channel.raw_exact(x).unwrap()
                } else {
                    0
                };
                (r.channel.0, r.time.0, raw, number)
            })
            .collect();
        written.sort_unstable();
        read.sort_unstable();
        assert_eq!(read, written);
        let dead = written.iter().filter(|r| !r.3).count();
        assert_eq!(dead, if period == Period::Second { 1_200 } else { 2 });
    }
}

#[test]
fn ten_minutes_are_means_of_what_was_read() {
    let catalogue = rig::profile("onshore-3mw");
    let mut sums: BTreeMap<u16, (i64, i64, i64)> = BTreeMap::new();
    let mut turbine = fleet(&scenario(DEAD), Period::TenMinutes.pace()).turbine(0);
    for i in 0..60 {
        let due = turbine.step(BEGINS.plus_us(i * 10_000_000));
        for (channel, raw) in due.channels.iter().zip(due.raw) {
            let sum = sums.entry(*channel).or_default();
            *sum = (sum.0 + raw, sum.1 + raw * raw, *raw);
        }
    }
    let mut first = true;
    rows(Period::TenMinutes, 1, |due| {
        if !std::mem::take(&mut first) {
            return;
        }
        assert_eq!(due.at, BEGINS);
        for (channel, raw) in due.channels.iter().zip(due.raw) {
            let (sum, squares, last) = sums[channel];
            let channel = &catalogue.channels[usize::from(*channel)];
            let exact = match channel.kind {
                Kind::Analogue => sum as f64 / 60.0,
                Kind::Rms => (squares as f64 / 60.0).sqrt(),
                Kind::Angle => continue,
                _ => last as f64,
            };
            assert!(
                (*raw as f64 - exact).abs() <= 0.5,
                "{}: {raw}, {exact}",
                channel.name
            );
        }
    });
    assert!(!first);
}

#[test]
fn records_are_numbered_chained_and_complete() {
    let catalogue = rig::profile("onshore-3mw");
    let ids: Vec<u16> = catalogue.channels.iter().map(|c| c.id.0).collect();
    for (period, hours) in [(Period::Second, 1), (Period::TenMinutes, 12)] {
        let mut out = Vec::new();
        let turbine = "T01".parse().unwrap();
        let mut numbering = Numbering::new(turbine, catalogue.clone(), 7, BEGINS, &mut out);
        let mut written = Vec::new();
        rows(period, hours, |due| {
            written.extend(readings(due, &ids));
            numbering.add(due, period.us(), &mut out);
        });
        let ends = BEGINS.plus_us(hours * HOUR_US);
        numbering.finish(ends, &mut out);
        let mut head = Head::default();
        let mut read: Vec<Reading> = Vec::new();
        // the frontier of a record is no later than any reading behind it
        let mut frontier = EventTime::MIN;
        for (i, bytes) in out.iter().enumerate() {
            let record = wire::decode(bytes).unwrap();
            wire::check(&record).unwrap();
            assert_eq!(record.header.id.seq.0, i as u64 + 1);
            assert_eq!(record.header.prev_head, head);
            head = wire::next_head(&head, &wire::hash(bytes));
            assert!(record.header.stamps.frontier >= frontier);
            if let Body::Batch(batch) = &record.body {
                for block in &batch.blocks {
                    for (c, column) in block.columns.iter().enumerate() {
                        for (row, time) in block.times.iter().enumerate() {
                            assert!(time >= frontier);
                            let bad = block
                                .quality
                                .iter()
                                .any(|q| usize::from(q.column) == c && q.row as usize == row);
                            let raw = batch.raw[column.at as usize + row];
                            read.push((column.channel.0, time.0, raw, !bad));
                        }
                    }
                }
            }
            frontier = record.header.stamps.frontier;
        }
        assert_eq!(frontier, ends);
        assert!(matches!(wire::decode(&out[0]).unwrap().body, Body::Open(_)));
        written.sort_unstable();
        read.sort_unstable();
        assert_eq!(read, written);
    }
}
