//! Agents, aggregator and broker are killed at random moments under traffic; nothing that was committed is lost, and
//! nothing counts twice.
//!
//! The oracle reads the outboxes on one side, and the lake and the windows in it on the other. The seed is printed; the
//! moments of the kills follow from it, what the processes were doing then does not.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use windlass_fleet::clock::{self, Stopwatch};
use windlass_fleet::closing;
use windlass_fleet::ledger::Balance;
use windlass_fleet::rig::{BrokerKind, Rig};
use windlass_fleet::spec::{Cloud, Gateway, Turbine};

/// SIGKILLs in all.
const KILLS: usize = 54;
/// Traffic between two kills, milliseconds.
const TRAFFIC_MS: std::ops::Range<u64> = 150..1_400;
/// How long a killed process may stay down, milliseconds.
const DOWN_MS: std::ops::Range<u64> = 0..400;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Target {
    Agent(usize),
    Aggregator,
    Broker,
}

fn pass(time: Duration) {
    let watch = Stopwatch::start();
    clock::until("traffic", 2 * time + Duration::from_secs(1), || {
        Ok((watch.elapsed() >= time).then_some(()))
    })
    .expect("time passes");
}

/// Kills one process and gives how many records were committed and not acknowledged at that moment.
fn kill(rig: &mut Rig, target: Target) -> anyhow::Result<usize> {
    match target {
        Target::Agent(i) => {
            let own = rig.kill_gateway(i)?.unacknowledged.len();
            rig.look()?;
            Ok(own)
        }
        Target::Aggregator => {
            rig.kill_cloud()?;
            Ok(rig.look()?.len())
        }
        Target::Broker => {
            let broker = rig.mosquitto.as_mut().expect("an external broker");
            broker.kill()?;
            Ok(rig.look()?.len())
        }
    }
}

fn restart(rig: &mut Rig, target: Target) -> anyhow::Result<()> {
    match target {
        Target::Agent(i) => rig.start_gateway(i),
        Target::Aggregator => rig.start_cloud(),
        Target::Broker => rig
            .mosquitto
            .as_mut()
            .expect("an external broker")
            .restart(),
    }
}

#[test]
fn what_was_committed_is_counted_once_whoever_is_killed() {
    let seed = 20_261_120;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let gateway = |n: usize| {
        let turbine = Turbine::new(&format!("T{n:03}"), "onshore-3mw");
        let farm = if n == 1 { "north" } else { "south" };
        Gateway::new(&format!("GW{n}"), farm, vec![turbine]).with_simulators(n as u64)
    };
    let gateways = (1..=3).map(gateway).collect();
    let mut rig = Rig::new(gateways, &Cloud::default(), BrokerKind::Mosquitto).unwrap();
    rig.start().unwrap();
    rig.all_seen().unwrap();

    let mut in_flight = Vec::new();
    for round in 0..KILLS {
        pass(Duration::from_millis(rng.random_range(TRAFFIC_MS)));
        rig.check().unwrap();
        let target = match rng.random_range(0..6) {
            0..3 => Target::Agent(rng.random_range(0..3)),
            3..5 => Target::Aggregator,
            _ => Target::Broker,
        };
        let waiting = kill(&mut rig, target).unwrap();
        println!("kill {round:2}: {target:?} with {waiting} records in flight");
        in_flight.push((target, waiting));
        pass(Duration::from_millis(rng.random_range(DOWN_MS)));
        restart(&mut rig, target).unwrap();
    }
    closing::drain(&mut rig).unwrap();
    let every_minute = |_: &Rig, b: &Balance| Ok(b.minutes_not_due == 0);
    let balance = closing::settle(&mut rig, every_minute).unwrap();

    let of = |wanted: fn(&Target) -> bool| in_flight.iter().filter(|k| wanted(&k.0)).count();
    let agents = of(|t| matches!(t, Target::Agent(_)));
    let aggregators = of(|t| *t == Target::Aggregator);
    let brokers = of(|t| *t == Target::Broker);
    let all: usize = in_flight.iter().map(|k| k.1).sum();
    let with_some = in_flight.iter().filter(|k| k.1 > 0).count();
    println!(
        "seed {seed}: {agents} agents, {aggregators} aggregators, {brokers} brokers killed, {all} records in flight at {with_some} kills\n{balance:#?}"
    );
    assert!(agents > 0 && aggregators > 0 && brokers > 0);
    assert!(
        with_some * 2 > KILLS,
        "most kills must hit records in flight"
    );
    assert!(balance.is_right(), "{balance:#?}");
    assert_eq!(
        (balance.evicted_readings, balance.rejected_readings),
        (0, 0)
    );
    assert!(balance.accepted_readings > 10_000 && balance.windows_exact > 0);
}
