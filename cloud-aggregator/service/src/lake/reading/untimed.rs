//! Readings of boots that never saw a clock, in their own table.

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, UInt64Type};
use windlass_cloud_core::topic::Topic;
use windlass_shared::id::BootId;

use crate::lake::Table;
use crate::lake::fixture::{Edge, Failures, Rig, T0, entry, fleet};
use crate::lake::read::Filter;

#[tokio::test]
async fn untimed_readings_stand_once_in_their_own_table_and_in_no_other() {
    let fleet = fleet();
    let (mut edge, open) = Edge::open(&fleet, "T1", 1, None);
    let untimed = edge.untimed(BootId([7; 16]));
    let slice = edge.slice(10);
    let mut log = Vec::new();
    // resent, and resent again
    for bytes in [&open, &untimed, &slice, &untimed, &untimed] {
        log.push(entry(T0 + 1_000_000 * log.len() as i64, &edge, bytes));
    }
    let mut rig = Rig::new(60);
    rig.drive(Topic::Telemetry, &log, Failures::none()).await;
    let view = rig.lake().view().await.unwrap();
    let mut found = Vec::new();
    let mut readings = 0;
    let all = Filter::default();
    view.scan_all(Table::Untimed, &all, &mut |batch, file| {
        assert!(file.path.starts_with("untimed/farm="), "{}", file.path);
        let ints = |name: &str| {
            let column = batch.column_by_name(name).unwrap();
            column.as_primitive::<Int64Type>().values().to_vec()
        };
        let seqs = batch.column_by_name("seq").unwrap();
        let seqs = seqs.as_primitive::<UInt64Type>().values().to_vec();
        let rows = ints("since_boot_us").into_iter().zip(ints("raw"));
        found.extend(rows.zip(seqs));
        assert!(batch.column_by_name("time").is_none());
        assert!(batch.column_by_name("boot").is_some());
        Ok(())
    })
    .await
    .unwrap();
    view.scan_all(Table::Readings, &all, &mut |batch, _| {
        readings += batch.num_rows();
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(found, [((40_000_000, 4_711), 2), ((41_000_000, 4_712), 2)]);
    assert_eq!(readings, 30);
}
