//! A load of gateways in memory against a real aggregator that dies meanwhile.

use std::time::Duration;

use windlass_fleet::clock;
use windlass_fleet::ledger::lake::Lake;
use windlass_fleet::load::{FleetOptions, Load, Registry, Totals};
use windlass_fleet::rig::{BrokerKind, Rig};
use windlass_fleet::spec::Cloud;

const BOUND: Duration = Duration::from_mins(3);

fn until(what: &str, load: &Load, reached: impl Fn(&Totals) -> bool) {
    clock::until(what, BOUND, || {
        load.check()?;
        Ok(reached(&load.totals()).then_some(()))
    })
    .unwrap_or_else(|e| panic!("{e:#}: {:?}", load.totals()));
}

#[test]
fn what_a_load_makes_while_the_aggregator_is_dead_arrives_once() {
    let options = FleetOptions {
        scenario: None,
        profiles: None,
        turbines: 20,
        seed: Some(7),
        channels: Some(40),
        every_second: true,
        in_step: false,
        outbox_kb: 1_024,
    };
    let registry = Registry::new(&options).expect("a fleet");
    let mut rig = Rig::new(Vec::new(), &Cloud::default(), BrokerKind::Embedded).expect("a rig");
    registry.write(&rig.root().join("cloud")).expect("files");
    rig.start_cloud().expect("it starts");
    let broker = ([127, 0, 0, 1], rig.broker_port()).into();
    let load = Load::start(&registry, &options, broker).expect("it starts");
    until("the fleet sends", &load, |t| {
        t.online == 20 && t.readings > 4_000
    });
    rig.kill_cloud().expect("it ran");
    until("records wait", &load, |t| {
        t.online == 0 && t.unacknowledged_records >= 100
    });
    rig.start_cloud().expect("it starts again");
    until("the fleet is back", &load, |t| t.online == 20);
    load.stop_sampling();
    load.drained(BOUND).expect("everything is acknowledged");
    let totals = load.totals();
    assert_eq!(totals.evicted_records, 0);
    assert_eq!(totals.refused_records, 0);
    assert_eq!(totals.committed_readings, totals.readings);
    assert!(totals.publishes >= totals.records);
    let lake = rig.lake();
    clock::until("the lake holds it", BOUND, || {
        rig.check()?;
        let rows = Lake::counted(&lake)?.get("readings").copied();
        Ok((rows.unwrap_or(0) >= totals.readings).then_some(()))
    })
    .expect("the lake holds it");
    load.end();
    rig.stop_cloud().expect("it ends");
    // every table of readings, so that none is counted twice as something else
    let found = Lake::open(&lake).expect("a lake");
    assert_eq!(found.rows("readings"), totals.readings);
}
