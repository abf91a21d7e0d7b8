//! The checks have teeth: each weakening of the rule is caught by them.

use windlass_shared::time::{EventTime, MINUTE_US};

use crate::oracle::{Rule, Says, Seen};
use crate::world::{self, Gateway, START};
use crate::{Network, STEPS, minutes, missing};

/// Histories in which a weakening must show.
const SEEDS: u64 = 600;

/// Does the rule call a window exact while a reading of it is missing, or leave one unsettled for ever?
fn caught(rule: Rule, seed: u64) -> bool {
    let mut gateway = Gateway::new(seed, &world::catalogue());
    let mut network = Network::new(seed);
    let mut known = Seen::default();
    let wrong = |known: &Seen, gateway: &Gateway, t0: EventTime| {
        let t1 = t0.plus_us(MINUTE_US);
        known.verdict(rule, t0, t1) == Says::Exact && missing(gateway, known, t0, t1).is_some()
    };
    for step in 0..STEPS {
        gateway.step();
        network.refill(&mut gateway);
        for _ in 0..gateway.dice.below(4) {
            if let Some(c) = network.pool.pop() {
                known.take(&c.record);
            }
        }
        if step % 8 == 0 && minutes(START, gateway.now).any(|t0| wrong(&known, &gateway, t0)) {
            return true;
        }
    }
    for c in &network.pool {
        known.take(&c.record);
    }
    minutes(START, known.newest_frontier().0)
        .any(|t0| known.verdict(rule, t0, t0.plus_us(MINUTE_US)) == Says::Open)
}

#[test]
fn each_weakening_of_the_rule_is_caught() {
    for rule in [
        Rule::NoLeft,
        Rule::LostIsEmpty,
        Rule::CeilingForFrontier,
        Rule::OldDoNotCount,
        Rule::OldEndWhereSeen,
        Rule::NewestCoversAll,
        Rule::GoneIsExact,
        Rule::NeedsSuccessor,
    ] {
        assert!(
            (0..SEEDS).any(|seed| caught(rule, seed)),
            "{rule:?} was not caught"
        );
    }
    assert!(!(0..SEEDS / 40).any(|seed| caught(Rule::Right, seed)));
}
