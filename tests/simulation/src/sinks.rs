//! The sinks: a status store that must never go back, and a lake that must take each record once, both killed between
//! writing and committing.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_cloud_core::cut::{CutSettings, Cutter, Dedupe, Taken};
use windlass_cloud_core::fleet::Fleet;
use windlass_cloud_core::output::StatusDoc;
use windlass_cloud_core::topic::Topic;
use windlass_shared::id::{RecordId, TurbineId};
use windlass_shared::time::SECOND_US;

use crate::cloud::Log;

/// What the lake has committed of one partition.
#[derive(Clone, Debug)]
struct Lake {
    cutter: Cutter,
    dedupe: Dedupe,
    /// How often each record's readings were written.
    written: BTreeMap<RecordId, u32>,
}

impl Lake {
    fn new() -> Self {
        let cuts = CutSettings {
            entries_max: 700,
            every_us: 120 * SECOND_US,
            ..CutSettings::default()
        };
        Self {
            cutter: Cutter::new(cuts),
            dedupe: Dedupe::default(),
            written: BTreeMap::new(),
        }
    }
}

/// The sinks of all partitions.
#[derive(Debug)]
pub struct Sinks {
    fleet: Arc<Fleet>,
    skew_max_us: i64,
    lakes: Vec<Lake>,
    /// Outputs consumed, by partition.
    served: Vec<usize>,
    status: BTreeMap<TurbineId, (usize, StatusDoc)>,
}

impl Sinks {
    /// Empty sinks.
    pub fn new(partitions: usize, fleet: Arc<Fleet>, skew_max_us: i64) -> Self {
        Self {
            fleet,
            skew_max_us,
            lakes: vec![Lake::new(); partitions],
            served: vec![0; partitions],
            status: BTreeMap::new(),
        }
    }

    /// The log failed over: a new generation, and the sinks of this partition are built again.
    pub fn reset(&mut self, p: usize) {
        self.lakes[p] = Lake::new();
        self.served[p] = 0;
        self.status.retain(|_, (of, _)| *of != p);
    }

    /// Works on what is new. A sink that is killed has written, but not committed.
    pub fn step(&mut self, p: usize, log: &Log, killed: bool) -> Result<(), String> {
        self.serve(p, log, killed)?;
        let mut lake = self.lakes[p].clone();
        for offset in lake.cutter.position()..log.position() {
            let input = log.entries[offset as usize].input(offset);
            if lake.cutter.ends_before(&input) {
                lake.cutter.close();
                if killed {
                    return Ok(());
                }
                self.lakes[p] = lake.clone();
            }
            self.take(&mut lake, &input);
        }
        Ok(())
    }

    fn take(&self, lake: &mut Lake, input: &windlass_cloud_core::task::LogInput) {
        let log_time = lake.cutter.take(input);
        if let Taken::Fresh { record, .. } =
            lake.dedupe
                .take(&self.fleet, self.skew_max_us, input, log_time)
        {
            *lake.written.entry(record.header.id).or_default() += 1;
        }
    }

    fn serve(&mut self, p: usize, log: &Log, killed: bool) -> Result<(), String> {
        for output in log.outputs[self.served[p]..]
            .iter()
            .filter(|o| o.topic == Topic::Status)
        {
            let doc = StatusDoc::decode(&output.bytes).map_err(|e| e.to_string())?;
            match self.status.get(&doc.turbine) {
                Some((_, old)) if old.position > doc.position => {}
                Some((_, old)) if old.counts.records > doc.counts.records => {
                    return Err(format!(
                        "status of {} went back: {old:?} then {doc:?}",
                        doc.turbine
                    ));
                }
                _ => {
                    self.status.insert(doc.turbine.clone(), (p, doc));
                }
            }
        }
        if !killed {
            self.served[p] = log.outputs.len();
        }
        Ok(())
    }

    /// A turbine with seqs that are neither received nor declared lost, and how many.
    pub fn holes(&self) -> Option<(TurbineId, u64)> {
        let holes = |(_, d): &&(usize, StatusDoc)| d.coverage.missing_seqs > 24;
        self.status
            .values()
            .find(holes)
            .map(|(_, d)| (d.turbine.clone(), d.coverage.missing_seqs))
    }

    /// Takes everything that is left, the open cut included.
    pub fn drain(&mut self, p: usize, log: &Log) -> Result<(), String> {
        self.step(p, log, false)?;
        let mut lake = self.lakes[p].clone();
        for offset in lake.cutter.position()..log.position() {
            self.take(&mut lake, &log.entries[offset as usize].input(offset));
        }
        self.lakes[p] = lake;
        Ok(())
    }

    /// The status of a turbine.
    pub fn status(&self, turbine: &TurbineId) -> Option<&StatusDoc> {
        self.status.get(turbine).map(|(_, d)| d)
    }

    /// How often the lake has written each record of a partition.
    pub fn written(&self, p: usize) -> &BTreeMap<RecordId, u32> {
        &self.lakes[p].written
    }
}
