//! Cuts and silences: what is one alarm, and what waits behind it.

use super::*;

const S: i64 = 1_000_000;
const NOW: WallTime = WallTime(10_000 * S);

/// A turbine that fell silent at that second; `None`: it speaks.
fn turbine(farm: &str, gateway: usize, n: usize, silent: Option<i64>) -> Silence {
    Silence {
        turbine: TurbineId::new(&format!("T{gateway}-{n}")).unwrap(),
        farm: Some(FarmId::new(farm).unwrap()),
        gateway: GatewayId::new(&format!("GW{gateway}")).unwrap(),
        fresh: if silent.is_some() {
            Fresh::Stale
        } else {
            Fresh::Live
        },
        newest: Some(EventTime(silent.unwrap_or(10_000) * S)),
        recorded: Some(WallTime(silent.unwrap_or(10_000) * S + S)),
        backlog: Backlog {
            missing_seqs: 0,
            record_bytes: Some(1_000.0),
            bytes_per_s: Some(100.0),
        },
    }
}

fn farm(gateways: usize, silent: impl Fn(usize) -> Option<i64>) -> Vec<Silence> {
    (0..gateways)
        .flat_map(|g| (0..3).map(move |n| (g, n)))
        .map(|(g, n)| turbine("north", g, n, silent(g)))
        .collect()
}

#[test]
fn a_farms_link_cut_is_one_alarm_not_150() {
    let all = farm(50, |g| Some(9_000 + g as i64 % 7));
    let found = alarms(&all, NOW);
    assert_eq!(found.len(), 1, "{found:?}");
    let alarm = &found[0];
    assert_eq!((alarm.kind, alarm.turbines), (LinkKind::Farm, 150));
    assert_eq!(alarm.since, EventTime(9_000 * S));
    // 150 turbines, about 1,000 s, 100 B/s
    let bytes: u64 = (0..50_u64).map(|g| 3 * (1_000 - g % 7) * 100).sum();
    assert_eq!(alarm.waiting_bytes, Some(bytes));
    let link = farm_link(&all, NOW);
    assert_eq!(
        (link.state, link.gateways_down.len()),
        (LinkState::Down, 50)
    );
}

#[test]
fn a_cut_that_spares_a_gateway_is_still_one_alarm_and_the_other_silence_another() {
    let mut all = farm(20, |g| match g {
        0 => None,
        1 => Some(2_000),
        _ => Some(9_000),
    });
    let found = alarms(&all, NOW);
    let kinds: Vec<_> = found.iter().map(|a| (a.kind, a.turbines)).collect();
    assert_eq!(kinds, [(LinkKind::Farm, 54), (LinkKind::Gateway, 3)]);
    assert_eq!(farm_link(&all, NOW).state, LinkState::Degraded);
    // of the gateway that speaks, one turbine does not
    all[0] = turbine("north", 0, 0, Some(9_500));
    let kinds: Vec<_> = alarms(&all, NOW).iter().map(|a| a.kind).collect();
    assert_eq!(
        kinds,
        [LinkKind::Farm, LinkKind::Turbine, LinkKind::Gateway]
    );
}

#[test]
fn gateways_that_fall_silent_by_themselves_are_alarms_of_their_own() {
    let all = farm(10, |g| [Some(1_000), Some(5_000)].get(g).copied().flatten());
    let found = alarms(&all, NOW);
    let since: Vec<_> = found.iter().map(|a| (a.kind, a.since.0 / S)).collect();
    assert_eq!(
        since,
        [(LinkKind::Gateway, 1_000), (LinkKind::Gateway, 5_000)]
    );
}

#[test]
fn another_farms_cut_is_another_alarm() {
    let mut all = farm(4, |_| Some(9_000));
    all.extend((10..14).map(|g| turbine("south", g, 0, Some(9_000))));
    all.extend((20..24).map(|g| turbine("west", g, 0, None)));
    let farms: Vec<_> = alarms(&all, NOW)
        .into_iter()
        .map(|a| a.farm.unwrap())
        .collect();
    assert_eq!(
        farms,
        [FarmId::new("north").unwrap(), FarmId::new("south").unwrap()]
    );
}

#[test]
fn what_never_spoke_is_no_silence() {
    let mut all = farm(2, |_| None);
    all[0].fresh = Fresh::Never;
    all[0].newest = None;
    assert_eq!(alarms(&all, NOW), []);
    assert_eq!(farm_link(&all, NOW).state, LinkState::Up);
    assert_eq!(farm_link(&[], NOW).state, LinkState::Up);
}

#[test]
fn what_waits_is_estimated_by_time_while_down_and_by_records_while_draining() {
    let b = Backlog {
        missing_seqs: 20,
        record_bytes: Some(500.0),
        bytes_per_s: Some(250.0),
    };
    assert_eq!(b.bytes(None, NOW), Some(10_000));
    assert_eq!(b.bytes(Some(EventTime(9_600 * S)), NOW), Some(110_000));
    let unknown = Backlog {
        missing_seqs: 3,
        ..Backlog::default()
    };
    assert_eq!(unknown.bytes(None, NOW), None);
    assert_eq!(unknown.bytes(Some(EventTime(0)), NOW), None);
    assert_eq!(Backlog::default().bytes(None, NOW), Some(0));
}

#[test]
fn who_has_only_history_has_not_spoken_and_no_link_of_it_is_down() {
    let history = |n: usize, behind_s: i64| Silence {
        recorded: Some(WallTime((1_000 + behind_s) * S)),
        ..turbine("north", 7, n, Some(1_000))
    };
    // recorded five minutes after its time it is late, and one second more makes it history
    assert_eq!(history(0, 300).since(), Some(EventTime(1_000 * S)));
    assert!(history(0, 301).history_only());
    assert_eq!(history(0, 301).since(), None);
    let all = [history(0, 301), history(1, 5_000)];
    assert_eq!(alarms(&all, NOW), []);
    assert_eq!(farm_link(&all, NOW).state, LinkState::Up);
    // beside one that speaks, a cut is told of that one only
    let cut = [history(0, 301), turbine("north", 7, 1, Some(9_000))];
    let found = alarms(&cut, NOW);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (found[0].kind, found[0].turbines, found[0].since),
        (LinkKind::Gateway, 1, EventTime(9_000 * S))
    );
}
