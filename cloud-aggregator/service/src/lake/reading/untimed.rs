//! The table `untimed`: readings of boots that never saw a clock, by log time. Its columns are those of `readings`, but the
//! time is one since the boot's start; the boot, log time and offset of the record follow.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, UInt64Array};
use arrow_schema::{DataType, Schema};
use windlass_shared::catalogue::Catalogue;
use windlass_shared::id::BootId;
use windlass_shared::record::Untimed;
use windlass_shared::time::LogTime;

use super::{Origin, Readings, Row, SORTED_BY_BOOT, bounds, fields, order};
use crate::lake::file::{
    DataFile, Slot, encode, field, name_field, names_by_key, time_field, times,
};
use crate::lake::{LakeError, Table};

/// Where `time` stands among the columns of `readings`.
const TIME: usize = 3;

impl Readings {
    /// Takes readings that have no event time.
    pub fn add_untimed(
        &mut self,
        from: &Origin,
        catalogue: Option<&Arc<Catalogue>>,
        untimed: &Untimed,
    ) {
        let mut rows = Vec::with_capacity(untimed.batch.raw.len());
        self.decode(from, catalogue, &untimed.batch, &mut rows);
        let rows = rows.into_iter();
        self.untimed
            .extend(rows.map(|r| (r, untimed.boot, from.log_time, from.offset)));
    }

    pub(super) fn untimed_files(&mut self, file_name: &str) -> Result<Vec<DataFile>, LakeError> {
        let mut groups: BTreeMap<(String, Slot), Vec<_>> = BTreeMap::new();
        for untimed in std::mem::take(&mut self.untimed) {
            let farm = self.farm(untimed.0.turbine).to_owned();
            let slot = Slot::of(untimed.2.0);
            groups.entry((farm, slot)).or_default().push(untimed);
        }
        let ranks = self.turbines.ranks();
        let mut files = Vec::new();
        for ((farm, slot), mut untimed) in groups {
            untimed.sort_unstable_by_key(|(r, ..)| order(r, &ranks));
            let rows: Vec<Row> = untimed.iter().map(|u| u.0).collect();
            let path = format!("untimed/farm={farm}/{}/{file_name}", slot.folder());
            let bounds = bounds(untimed.iter().map(|u| u.2.0));
            let place = self.place(Table::Untimed, path, bounds, &rows);
            let mut columns = self.columns(&place.path, &rows)?;
            let since_boot = Int64Array::from_iter_values(rows.iter().map(|r| r.time));
            columns[TIME] = Arc::new(since_boot);
            columns.extend(origin(&place.path, &untimed)?);
            files.push(encode(place, schema(), columns, SORTED_BY_BOOT)?);
        }
        Ok(files)
    }
}

/// Which boot, and which entry of the log.
fn origin(path: &str, untimed: &[(Row, BootId, LogTime, u64)]) -> Result<Vec<ArrayRef>, LakeError> {
    let mut names: Vec<String> = untimed.iter().map(|u| u.1.to_string()).collect();
    names.sort_unstable();
    names.dedup();
    let key = |boot: String| names.binary_search(&boot).unwrap_or_default() as i32;
    let keys: Vec<i32> = untimed.iter().map(|u| key(u.1.to_string())).collect();
    Ok(vec![
        names_by_key(path, keys.into_iter(), &names)?,
        times(untimed.iter().map(|u| Some(u.2.0))),
        Arc::new(UInt64Array::from_iter_values(untimed.iter().map(|u| u.3))),
    ])
}

fn schema() -> Schema {
    let mut fields = fields();
    fields[TIME] = field("since_boot_us", DataType::Int64, false);
    fields.push(name_field("boot", false));
    fields.push(time_field("log_time", false));
    fields.push(field("log_offset", DataType::UInt64, false));
    Schema::new(fields)
}

#[cfg(test)]
mod tests {
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
}
