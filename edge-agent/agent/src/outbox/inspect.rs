//! Reading an outbox from outside, while its agent runs or not: `windlass-edge outbox inspect`, and tests that ask what
//! was committed.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use windlass_edge_core::{RowLevel, RowMeta};
use windlass_shared::id::{Epoch, TurbineId};

use super::row::{META, ids, meta};
use super::{OutboxError, schema};

/// A row as an inspection sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectedRow {
    /// Everything about it.
    pub meta: RowMeta,
    /// How far it is acknowledged.
    pub level: RowLevel,
    /// The record, if it was asked for.
    pub payload: Option<Vec<u8>>,
}

/// An outbox opened for reading.
#[derive(Debug)]
pub struct Inspector {
    db: Connection,
    path: PathBuf,
}

impl Inspector {
    /// Opens an existing outbox. It need not be stopped.
    pub fn open(path: &Path) -> Result<Self, OutboxError> {
        if !path.is_file() {
            return Err(OutboxError::Unusable {
                path: path.into(),
                what: "no such file; expected the outbox of an agent (its configuration names it)"
                    .into(),
            });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let sqlite = |source| OutboxError::Sqlite {
            path: path.into(),
            source,
        };
        let db = Connection::open_with_flags(path, flags).map_err(sqlite)?;
        schema::check_version(&db, path)?;
        Ok(Self {
            db,
            path: path.into(),
        })
    }

    /// Visits every row: by epoch in the order of their beginning, then by seq. All from one moment.
    pub fn rows(
        &self,
        with_payload: bool,
        mut visit: impl FnMut(InspectedRow),
    ) -> Result<(), OutboxError> {
        let mut walk = || -> rusqlite::Result<()> {
            let moment = self.db.unchecked_transaction()?;
            let mut epochs =
                moment.prepare("SELECT key, turbine, epoch FROM epoch ORDER BY key")?;
            let mut epochs = epochs.query([])?;
            while let Some(row) = epochs.next()? {
                let (low, high) = ids(row.get(0)?);
                let Ok(turbine) = TurbineId::new(&row.get::<_, String>(1)?) else {
                    continue;
                };
                let epoch = Epoch(row.get(2)?);
                let bytes = if with_payload { "bytes" } else { "NULL" };
                let mut rows = moment.prepare_cached(&format!(
                    "SELECT {META}, {bytes} FROM record WHERE id BETWEEN ?1 AND ?2 ORDER BY id"
                ))?;
                let mut rows = rows.query([low, high])?;
                while let Some(row) = rows.next()? {
                    let (meta, level) = meta(row, &turbine, epoch)?;
                    let payload = row.get(12)?;
                    visit(InspectedRow {
                        meta,
                        level,
                        payload,
                    });
                }
            }
            Ok(())
        };
        walk().map_err(|source| OutboxError::Sqlite {
            path: self.path.clone(),
            source,
        })
    }
}
