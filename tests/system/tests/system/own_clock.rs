//! A gateway whose wall clock is another one than everybody's, and is set and stepped while the agent runs.

use std::collections::BTreeSet;
use std::time::Duration;

use windlass_fleet::clock;
use windlass_fleet::closing;
use windlass_fleet::rig::{BrokerKind, Rig};
use windlass_fleet::spec::{Cloud, Gateway, Turbine};
use windlass_shared::id::RecordId;

/// How long the agent may take to commit by its new clock.
const BOUND: Duration = Duration::from_mins(1);
const HOUR_US: i64 = 3_600_000_000;

/// Waits until another record is committed when the gateway's clock shows what it shows now, to a few seconds.
fn committed_by_its_clock(rig: &mut Rig) {
    rig.look().expect("a look");
    let before: BTreeSet<RecordId> = rig.witness.records.keys().cloned().collect();
    clock::until("a record is committed by this clock", BOUND, || {
        rig.check()?;
        rig.look()?;
        let shown = rig.clock(0)?.now().0;
        let near = |at: i64| (shown - at).abs() < 10_000_000;
        let mut fresh = rig.witness.records.iter();
        Ok(fresh
            .any(|(id, committed)| !before.contains(id) && near(committed.header.committed_at.0))
            .then_some(()))
    })
    .unwrap_or_else(|e| panic!("{e:#}\n{}", rig.gateways[0].log_tail()));
}

#[test]
fn an_agent_lives_by_a_clock_of_its_own() {
    let turbine = Turbine::new("T001", "onshore-3mw");
    let gateway = Gateway::new("GW1", "north", vec![turbine]);
    let gateway = gateway.with_simulators(1).with_own_clock();
    let mut rig = Rig::new(vec![gateway], &Cloud::default(), BrokerKind::Embedded).expect("a rig");
    rig.clock(0)
        .expect("its clock")
        .step(-HOUR_US)
        .expect("set");
    rig.start().expect("started");
    committed_by_its_clock(&mut rig);
    rig.clock(0).expect("its clock").set_right().expect("set");
    committed_by_its_clock(&mut rig);
    rig.kill_gateway(0).expect("killed");
    rig.start_gateway(0).expect("started again");
    rig.clock(0)
        .expect("its clock")
        .step(-HOUR_US / 4)
        .expect("set");
    committed_by_its_clock(&mut rig);
    rig.clock(0).expect("its clock").set_right().expect("set");
    committed_by_its_clock(&mut rig);
    closing::drain(&mut rig).expect("drained");
    let balance = closing::settle(&mut rig, |_, _| Ok(true)).expect("settled");
    assert!(balance.is_right(), "{balance:#?}");
    assert!(balance.accepted_readings > 0, "{balance:#?}");
}
