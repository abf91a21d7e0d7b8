//! Rows of `dead_letter` as they are read back, without their bytes.

use arrow_array::types::UInt64Type;
use arrow_array::{Array, RecordBatch, UInt64Array};
use windlass_shared::time::LogTime;

use super::LakeError;
use super::file::{Columns, Names};
use super::marker::FileEntry;
use super::read::{Filter, View};

/// What of a dead letter is read back: all but its bytes.
const READ_BACK: [&str; 11] = [
    "turbine",
    "gateway",
    "epoch",
    "seq",
    "stage",
    "reason",
    "detail",
    "readings",
    "sha256",
    "log_time",
    "log_offset",
];

/// A row of `dead_letter` as it was read back, without the bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeadRow {
    /// Whose, if known.
    pub turbine: Option<String>,
    /// Who sent it, if known.
    pub gateway: Option<String>,
    /// Which run, if known.
    pub epoch: Option<String>,
    /// Which record, if known.
    pub seq: Option<u64>,
    /// Who could not accept it.
    pub stage: String,
    /// Code.
    pub reason: String,
    /// For people.
    pub detail: String,
    /// How many readings it held, if known.
    pub readings: Option<u64>,
    /// Of the bytes.
    pub sha256: String,
    /// When it was appended.
    pub log_time: LogTime,
    /// Offset in the dead-letter topic.
    pub offset: u64,
}

/// The dead letters of a file, those of one turbine if it is named.
pub async fn dead_rows(
    view: &View,
    file: &FileEntry,
    turbine: Option<&str>,
) -> Result<Vec<DeadRow>, LakeError> {
    let filter = Filter {
        turbine: turbine.map(str::to_owned),
        time: None,
    };
    let mut rows = Vec::new();
    let mut each = |batch: &RecordBatch| {
        let c = Columns::new(batch, &file.path);
        let (turbine, gateway, epoch) =
            (c.names("turbine")?, c.names("gateway")?, c.names("epoch")?);
        let (stage, reason, sha256) = (c.names("stage")?, c.names("reason")?, c.names("sha256")?);
        let (seq, readings) = (
            c.numbers::<UInt64Type>("seq")?,
            c.numbers::<UInt64Type>("readings")?,
        );
        let (detail, time) = (c.texts("detail")?, c.times("log_time")?);
        let offset = c.numbers::<UInt64Type>("log_offset")?;
        let name = |names: &Names, i| names.get(i).map(str::to_owned);
        let count = |a: &UInt64Array, i| (!a.is_null(i)).then(|| a.value(i));
        rows.extend((0..batch.num_rows()).map(|i| DeadRow {
            turbine: name(&turbine, i),
            gateway: name(&gateway, i),
            epoch: name(&epoch, i),
            seq: count(seq, i),
            stage: name(&stage, i).unwrap_or_default(),
            reason: name(&reason, i).unwrap_or_default(),
            detail: detail.value(i).to_owned(),
            readings: count(readings, i),
            sha256: name(&sha256, i).unwrap_or_default(),
            log_time: LogTime(time.value(i)),
            offset: offset.value(i),
        }));
        Ok(())
    };
    view.scan(file, &filter, &READ_BACK, &mut each).await?;
    Ok(rows)
}
