//! Profiles and lookups.

use super::*;

/// An analogue channel with scale 0.1.
pub(crate) fn channel(id: u16, name: &str) -> Channel {
    Channel {
        id: ChannelId(id),
        name: name.into(),
        unit: "kW".into(),
        kind: Kind::Analogue,
        raw: Raw::Int,
        scale_num: 1,
        scale_den: 10,
        offset_num: 0,
        period_us: 1_000_000,
        class: Class::Condition,
        rate_group: RateGroup::Slow,
        modulus: None,
    }
}

#[test]
fn channels_are_found_by_id_and_name() {
    let c = Catalogue::new(
        "x",
        3,
        vec![channel(7, "b"), channel(2, "c"), channel(9, "a")],
    )
    .unwrap();
    assert_eq!(c.position(ChannelId(2)), Some(0));
    assert_eq!(c.position(ChannelId(9)), Some(2));
    for id in [0, 1, 3, 8, 10, u16::MAX] {
        assert_eq!(c.position(ChannelId(id)), None);
    }
    assert_eq!(c.channel(ChannelId(7)).unwrap().name, "b");
    assert_eq!(c.by_name("a").unwrap().id, ChannelId(9));
    assert_eq!(c.by_name("d"), None);
    assert_eq!(c.readings_per_s(), 3.0);
}

#[test]
fn the_hash_names_the_content_and_not_its_order() {
    let make = |channels| Catalogue::new("x", 1, channels).unwrap().hash;
    let one = make(vec![channel(1, "a"), channel(2, "b")]);
    assert_eq!(make(vec![channel(2, "b"), channel(1, "a")]), one);
    let other = Channel {
        scale_den: 100,
        ..channel(2, "b")
    };
    assert_ne!(make(vec![channel(1, "a"), other]), one);
    // printf 'windlass-catalogue 1\tx\t1\n1\ta\tkW\tanalogue\tint\t1\t10\t0\t1000000\tcondition\tslow\t-\n...' | sha256sum
    assert_eq!(one.to_string(), "d248584a4fed72a0");
}

#[test]
fn several_versions_live_side_by_side() {
    let old = Catalogue::new("x", 1, vec![channel(1, "a")]).unwrap();
    let new = Catalogue::new("x", 2, vec![channel(1, "a")]).unwrap();
    let (old_hash, new_hash) = (old.hash, new.hash);
    let set: CatalogueSet = [new, old].into_iter().collect();
    assert_eq!(set.get(old_hash).unwrap().version, 1);
    assert_eq!(set.get(new_hash).unwrap().version, 2);
    assert_eq!(set.latest("x").unwrap().version, 2);
    assert!(set.latest("y").is_none());
    assert!(set.get(CatalogueHash(0)).is_none());
    assert_eq!(set.iter().count(), 2);
}

#[test]
fn a_profile_reads_as_written() {
    let text = r#"
        name = "example"
        version = 2
        defaults = { period = "1s", class = "condition", rate_group = "slow" }
        channels = [
            { id = 1, name = "power", unit = "kW", scale = 0.1, rate_group = "fast", class = "compliance" },
            { id = 2, name = "direction", unit = "deg", kind = "angle", scale = "360/4096" },
            { id = 3, name = "temperature", unit = "°C", scale = 0.05, offset = -40, period = "100ms" },
            { id = 4, name = "energy", unit = "kWh", kind = "counter", modulus = 4294967296, period = "10s" },
            { id = 5, name = "alarm", unit = "", kind = "event", period = "on change", rate_group = "event" },
            { id = 6, name = "level", unit = "mm", raw = "float", scale = 0.001, period = "10min" },
        ]
    "#;
    let c = parse("example.toml", text).unwrap();
    assert_eq!((c.name.as_str(), c.version), ("example", 2));
    let scales: Vec<_> = c
        .channels
        .iter()
        .map(|c| (c.scale_num, c.scale_den, c.offset_num, c.period_us))
        .collect();
    assert_eq!(
        scales,
        [
            (1, 10, 0, 1_000_000),
            (45, 512, 0, 1_000_000),
            (1, 20, -800, 100_000),
            (1, 1, 0, 10_000_000),
            (1, 1, 0, 0),
            (1, 1000, 0, 600_000_000),
        ]
    );
    assert_eq!(c.channels[2].value(1000), 10.0);
    assert_eq!(c.channels[3].modulus, Some(1 << 32));
    assert_eq!(c.channels[5].raw, Raw::Float);
    assert_eq!(c.channels[0].rate_group, RateGroup::Fast);
    assert_eq!(c.channels[4].kind, Kind::Event);
}

#[test]
fn all_mistakes_of_a_profile_come_at_once() {
    let keys = r#"
        nme = "x"
        version = 0
        channels = [
            { id = 70000, name = "a", unit = 1, kind = "analog", period = "1h" },
        ]
    "#;
    assert_eq!(
        parse("x.toml", keys).unwrap_err().to_string(),
        "x.toml: 6 mistakes
  name: found nothing, expected a text
  version: found 0, expected an integer from 1 to 4294967295
  channels[0].id: found 70000, expected an integer from 0 to 65535
  channels[0].kind: found \"analog\", expected one of analogue, angle, counter, state, event, setpoint, rms (did you mean `analogue`?)
  channels[0].period: found \"1h\", expected a period such as \"1s\", \"100ms\", \"10min\", or \"on change\"
  nme: found an unknown key, expected one of name, version, defaults, channels (did you mean `name`?)"
    );
    let values = r#"
        name = "x"
        version = 1
        channels = [
            { id = 1, name = "a", unit = 1, scale = "x", period = "1s", class = "condition" },
            { id = 2, name = "b", unit = "", offset = "1/0", period = "1s", class = "condition", rate_group = "slow" },
        ]
    "#;
    assert_eq!(
        parse("x.toml", values).unwrap_err().to_string(),
        "x.toml: 4 mistakes
  channels[0] (a).rate_group: found nothing, expected a rate_group, here or under [defaults]
  channels[0] (a).scale: found \"x\", expected a decimal such as 0.1, or a fraction such as \"360/4096\"
  channels[0] (a).unit: found 1, expected a text, empty for a number without unit
  channels[1] (b).offset: found \"1/0\", expected a decimal such as 0.1, or a fraction such as \"360/4096\""
    );
    let rules = r#"
        name = "X"
        version = 1
        defaults = { period = "1s", class = "condition", rate_group = "slow" }
        channels = [
            { id = 1, name = "a", unit = "", kind = "state", period = "on change" },
            { id = 1, name = "a", unit = "", kind = "event", raw = "float" },
            { id = 2, name = "B", unit = "rad", kind = "angle", scale = -1, modulus = 5 },
            { id = 3, name = "c", unit = "", rate_group = "event" },
        ]
    "#;
    assert_eq!(
        parse("x.toml", rules).unwrap_err().to_string(),
        "x.toml: 12 mistakes
  name: found `X`, expected 1 to 64 of a-z 0-9 _ - with a letter first
  channel 1 (a).period: found on change, expected a period for a state: each reading stands for one
  channel 1 (a).id: found 1, which `a` has too, expected an id of its own
  channel 1 (a).name: found `a`, which channel 1 has too, expected a name of its own
  channel 1 (a).raw: found float, expected int for a counter, a state or an event
  channel 1 (a).period: found 1000 ms, expected \"on change\" for an event
  channel 1 (a).rate_group: found slow, expected event for an event
  channel 2 (B).name: found `B`, expected 1 to 64 of a-z 0-9 _ with a letter first
  channel 2 (B).scale: found -1/1, expected a positive fraction of parts up to 10^12
  channel 2 (B).modulus: found 5, expected a positive integer, on a counter only
  channel 2 (B).unit: found `rad`, expected deg for an angle
  channel 3 (c).rate_group: found event with a period of 1000 ms, expected period \"on change\" in rate group event"
    );
}
