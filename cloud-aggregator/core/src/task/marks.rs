//! Operators' marks on the alerts of one turbine.
//!
//! Invariant: a mark comes through the partition's log like everything else, and a shelf ends on a tick, by log time.

use windlass_shared::id::TurbineId;
use windlass_shared::wire;

use super::TaskOutput;
use super::turbine::{Moment, Turbine, scene};

impl Turbine {
    /// Takes what an operator says of an alert; false: no such alert is open.
    pub(super) fn mark(
        &mut self,
        moment: &Moment,
        mark: &wire::Mark,
        out: &mut Vec<TaskOutput>,
    ) -> bool {
        let mut happened = Vec::new();
        let scene = scene(moment, &mark.turbine, self.farm.as_ref());
        let taken = self.chain.mark(&scene, mark, &mut happened);
        self.alerts(&mark.turbine, happened, out);
        self.status(&mark.turbine, moment, out);
        taken
    }

    /// Alerts whose shelf has ended come back.
    pub(super) fn unshelve(&mut self, id: &TurbineId, moment: &Moment, out: &mut Vec<TaskOutput>) {
        if self.chain.next_shelf() > moment.now {
            return;
        }
        let mut happened = Vec::new();
        let farm = self.farm.clone();
        let scene = scene(moment, id, farm.as_ref());
        self.chain.unshelve(&scene, &mut happened);
        self.alerts(id, happened, out);
    }
}
