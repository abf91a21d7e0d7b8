//! Tests of the derived topics and of `verify`.

use arrow_array::RecordBatch;
use arrow_array::types::{Float64Type, UInt32Type, UInt64Type};
use windlass_cloud_core::output::{
    AlertEvent, AlertState, AlertWindow, DeadLetter, DeadLetterMeta, Direction, FeatureRow, Level,
    Reason,
};
use windlass_cloud_core::topic::Topic;
use windlass_shared::coverage::Loss;
use windlass_shared::id::{ChannelId, Epoch, FarmId, GatewayId, Seq, SeqRange, TurbineId};
use windlass_shared::pane::{Aggregate, ChannelAggregate, Sources};
use windlass_shared::record::LossReason;
use windlass_shared::time::{EventTime, LogTime, SECOND_US};
use windlass_shared::window::{Status, WindowKind, WindowResult};

use super::feature_row::{FeatureColumns, of_entry};
use super::file::Columns;
use super::fixture::{Edge, Entry, Failures, Rig, T0, catalogue, entry, fleet};
use super::read::Filter;
use super::verify::verify;
use super::writer::Hook;
use super::{FileEntry, LakeError, Table};

async fn rows(
    rig: &Rig,
    table: Table,
    mut each: impl FnMut(&Columns, usize) -> Result<(), LakeError>,
) -> usize {
    let view = rig.lake().view().await.unwrap();
    let mut n = 0;
    view.scan_all(
        table,
        &Filter::default(),
        &mut |batch: &RecordBatch, file| {
            let columns = Columns::new(batch, &file.path);
            for i in 0..batch.num_rows() {
                each(&columns, i)?;
                n += 1;
            }
            Ok(())
        },
    )
    .await
    .unwrap();
    n
}

pub fn log_of(values: Vec<Vec<u8>>) -> Vec<Entry> {
    let entry = |(i, value)| Entry {
        time: T0 + i as i64 * SECOND_US,
        key: "T1".to_owned(),
        value,
    };
    values.into_iter().enumerate().map(entry).collect()
}

fn feature(revision: u32, status: Status) -> FeatureRow {
    let fleet = fleet();
    let sums = Aggregate::Sums {
        sum: 60,
        sum_sq: 1_400,
        min: 10,
        max: 30,
    };
    let aggregate = |channel, value| ChannelAggregate {
        channel: ChannelId(channel),
        n: 3,
        bad: 1,
        value,
    };
    FeatureRow {
        turbine: TurbineId::new("T1").unwrap(),
        farm: Some(FarmId::new("north").unwrap()),
        position: 77,
        log_time: LogTime(T0),
        catalogue: catalogue(&fleet).hash.0,
        result: WindowResult {
            kind: WindowKind::FiveMinutes,
            start: EventTime(T0 - 300 * SECOND_US),
            revision,
            partial: false,
            status,
            sources: Sources(vec![(Epoch([1; 16]), vec![SeqRange::new(2, 9).unwrap()])]),
            late: 2,
            channels: vec![
                aggregate(1, sums),
                aggregate(2, Aggregate::States(vec![(4, 3)])),
            ],
        },
    }
}

#[tokio::test]
async fn a_window_is_a_row_for_each_channel() {
    let loss = Loss {
        epoch: Epoch([1; 16]),
        seqs: SeqRange::new(5, 6),
        reason: Some(LossReason::Evicted),
    };
    let log = log_of(vec![
        feature(1, Status::Provisional).encode(),
        feature(2, Status::WithLoss(vec![loss])).encode(),
    ]);
    let mut rig = Rig::new(60);
    rig.drive(Topic::Features, &log, Failures::none()).await;
    let mut seen = Vec::new();
    let n = rows(&rig, Table::Features, |c, i| {
        let text = |name: &str| Ok::<_, LakeError>(c.names(name)?.get(i).map(str::to_owned));
        let float = |name: &str| {
            let column = c.numbers::<Float64Type>(name)?;
            Ok::<_, LakeError>(column.iter().nth(i).flatten())
        };
        assert_eq!(text("turbine")?.as_deref(), Some("T1"));
        assert_eq!(text("window")?.as_deref(), Some("5m"));
        assert_eq!(c.times("start")?.value(i), T0 - 300 * SECOND_US);
        assert_eq!(c.times("end")?.value(i), T0);
        assert_eq!(c.numbers::<UInt64Type>("n")?.value(i), 3);
        assert_eq!(c.numbers::<UInt64Type>("position")?.value(i), 77);
        let sources = text("sources")?.unwrap_or_default();
        assert!(sources.contains("\"first\":2"), "{sources}");
        seen.push((
            text("channel")?.unwrap_or_default(),
            c.numbers::<UInt32Type>("revision")?.value(i),
            text("status")?.unwrap_or_default(),
            text("losses")?.is_some(),
            float("mean")?,
            float("min")?,
            float("max")?,
            float("std")?.map(|v| (v * 1e6).round()),
        ));
        Ok(())
    })
    .await;
    assert_eq!(n, 4);
    let std = Some(816_497.0); // sqrt(200 / 3) / 10
    let name = |s: &str| s.to_owned();
    let (mean, min, max) = (Some(2.0), Some(1.0), Some(3.0));
    assert_eq!(
        seen,
        [
            (
                name("active_power"),
                1,
                name("provisional"),
                false,
                mean,
                min,
                max,
                std
            ),
            (
                name("active_power"),
                2,
                name("with_loss"),
                true,
                mean,
                min,
                max,
                std
            ),
            (
                name("oil_temperature"),
                1,
                name("provisional"),
                false,
                None,
                None,
                None,
                None
            ),
            (
                name("oil_temperature"),
                2,
                name("with_loss"),
                true,
                None,
                None,
                None,
                None
            ),
        ]
    );
}

#[tokio::test]
async fn a_feature_is_the_same_from_the_log_and_from_the_lake() {
    let loss = Loss {
        epoch: Epoch([1; 16]),
        seqs: SeqRange::new(5, 6),
        reason: Some(LossReason::Evicted),
    };
    let emissions = [
        feature(1, Status::Provisional),
        feature(2, Status::Exact),
        feature(3, Status::WithLoss(vec![loss])),
    ];
    let log = log_of(emissions.iter().map(FeatureRow::encode).collect());
    let mut rig = Rig::new(60);
    rig.drive(Topic::Features, &log, Failures::none()).await;
    let mut found = Vec::new();
    let view = rig.lake().view().await.unwrap();
    let mut each = |batch: &RecordBatch, file: &FileEntry| {
        let rows = FeatureColumns::new(batch, &file.path)?;
        for i in 0..rows.len() {
            found.push(rows.get(i)?);
        }
        Ok(())
    };
    view.scan_all(Table::Features, &Filter::turbine("T1"), &mut each)
        .await
        .unwrap();
    let fleet = fleet();
    let mut expected = Vec::new();
    for (i, row) in emissions.into_iter().enumerate() {
        let log_time = LogTime(T0 + i as i64 * SECOND_US);
        expected.extend(of_entry(&fleet, i as u64, log_time, row));
    }
    expected.sort_by_key(|f| (f.channel, f.offset));
    assert_eq!(found, expected);
    assert_eq!(found.len(), 6);
}

pub fn alert(revision: u32) -> AlertEvent {
    AlertEvent {
        v: 1,
        alert: "a1".to_owned(),
        episode: "e1".to_owned(),
        merged_into: None,
        revision,
        state: AlertState::Confirmed,
        turbine: TurbineId::new("T1").unwrap(),
        farm: None,
        rule: "hot".to_owned(),
        cause: "bearing".to_owned(),
        level: Level::Alarm,
        direction: Direction::High,
        channel: "oil_temperature".to_owned(),
        unit: "degC".to_owned(),
        value: 81.5,
        limit: 80.0,
        score: None,
        operating_state: Some(3),
        first: EventTime(T0),
        last: EventTime(T0 + 5),
        window: AlertWindow {
            kind: "live".to_owned(),
            start: EventTime(T0),
            end: EventTime(T0 + 9),
            revision: 0,
        },
        sources: Vec::new(),
        config_version: 3,
        position: 12,
        log_time: LogTime(T0),
        detail: "too hot".to_owned(),
        acknowledged: None,
        shelved: None,
    }
}

#[tokio::test]
async fn alerts_and_dead_letters_are_kept_whole() {
    let log = log_of(vec![alert(1).encode(), alert(2).encode()]);
    let mut rig = Rig::new(60);
    rig.drive(Topic::Alerts, &log, Failures::none()).await;
    let n = rows(&rig, Table::Alerts, |c, i| {
        assert_eq!(c.names("state")?.get(i), Some("confirmed"));
        assert_eq!(c.names("level")?.get(i), Some("alarm"));
        assert_eq!(c.names("merged_into")?.get(i), None);
        assert_eq!(c.numbers::<Float64Type>("value")?.value(i), 81.5);
        assert_eq!(c.numbers::<UInt32Type>("revision")?.value(i), i as u32 + 1);
        assert_eq!(c.times("last")?.value(i), T0 + 5);
        Ok(())
    })
    .await;
    assert_eq!(n, 2);
    let letter = DeadLetter {
        meta: DeadLetterMeta {
            stage: "ingest".to_owned(),
            reason: Reason::Malformed,
            detail: "no record".to_owned(),
            gateway: Some(GatewayId::new("GW1").unwrap()),
            turbine: None,
            epoch: Some(Epoch([4; 16])),
            seq: Some(Seq(6)),
            readings: None,
            sha256: "00".to_owned(),
            mqtt_topic: Some("wl1/up/x".to_owned()),
            position: None,
            log_time: None,
        },
        bytes: vec![0, 255, 7],
    };
    rig.committed = None;
    rig.drive(
        Topic::DeadLetter,
        &log_of(vec![letter.encode()]),
        Failures::none(),
    )
    .await;
    let n = rows(&rig, Table::DeadLetter, |c, i| {
        assert_eq!(c.names("reason")?.get(i), Some("malformed"));
        assert_eq!(c.names("gateway")?.get(i), Some("GW1"));
        assert_eq!(c.names("turbine")?.get(i), None);
        assert_eq!(c.numbers::<UInt64Type>("seq")?.value(i), 6);
        assert_eq!(c.bytes("bytes")?.value(i), [0, 255, 7]);
        Ok(())
    })
    .await;
    assert_eq!(n, 1);
}

#[tokio::test]
async fn an_entry_of_another_kind_stops_the_lake() {
    let log = log_of(vec![b"?".to_vec()]);
    for topic in [Topic::Features, Topic::Alerts, Topic::DeadLetter] {
        let mut rig = Rig::new(60);
        let e = rig
            .run_once(topic, &log, Hook::default())
            .await
            .unwrap_err();
        assert!(
            matches!(
                &e,
                LakeError::Damaged {
                    what: "its form",
                    ..
                }
            ),
            "{e}"
        );
    }
}

#[tokio::test]
async fn verify_names_all_that_is_wrong() {
    let fleet = fleet();
    let (mut edge, open) = Edge::open(&fleet, "T1", 1, None);
    let mut log = vec![entry(T0, &edge, &open)];
    for i in 0..20 {
        let record = edge.slice(10);
        log.push(entry(T0 + (i + 1) * 10 * SECOND_US, &edge, &record));
    }
    let record = edge.seal();
    log.push(entry(T0 + 210 * SECOND_US, &edge, &record));
    let mut rig = Rig::new(60);
    rig.drive(Topic::Telemetry, &log, Failures::none()).await;
    let report = verify(&rig.lake(), None).await.unwrap();
    assert!(report.holds(), "{report:?}");
    assert_eq!((report.cuts, report.files), (4, 8));
    assert_eq!((report.turbines, report.records, report.seals), (1, 22, 1));
    assert_eq!(report.rows, 22 + 600);
    let mut out = Vec::new();
    report.print(&mut out).unwrap();
    assert!(
        String::from_utf8(out)
            .unwrap()
            .ends_with("1 seals: all holds\n")
    );
    let view = rig.lake().view().await.unwrap();
    for file in view
        .files(Table::Readings, &Filter::default())
        .iter()
        .take(2)
    {
        std::fs::write(rig.dir.path().join(&file.path), b"PAR1").unwrap();
    }
    let report = verify(&rig.lake(), Some("T1")).await.unwrap();
    assert_eq!(report.wrong.len(), 2);
    assert!(report.wrong[0].contains("length: expected"), "{report:?}");
}
