//! What an operator sees when the file is wrong, and that the shipped example is right.

use std::collections::HashMap;

use super::*;

/// A directory with a small profile in it.
fn dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let profile = r#"
        name = "tiny"
        version = 3
        defaults = { period = "1s", class = "condition", rate_group = "slow" }
        channels = [
            { id = 1, name = "active_power", unit = "kW", scale = 0.1 },
            { id = 2, name = "gear_oil_temperature", unit = "°C", scale = 0.1 },
        ]
    "#;
    std::fs::write(dir.path().join("tiny.toml"), profile).unwrap();
    dir
}

fn load(dir: &tempfile::TempDir, text: &str, env: &[(&str, &str)]) -> Result<Config, String> {
    let path = dir.path().join("edge.toml");
    std::fs::write(&path, text).unwrap();
    let env: HashMap<String, String> = env
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    Config::load_with(&path, env).map_err(|e| {
        e.to_string()
            .replace(&dir.path().display().to_string(), "DIR")
    })
}

const GOOD: &str = r#"
[gateway]
id = "gw-1"
[[turbine]]
id = "T001"
profile = "tiny.toml"
[outbox]
path = "outbox.db"
[uplink]
url = "mqtt://127.0.0.1"
[[source]]
kind = "simulator"
name = "sim"
turbine = "T001"
"#;

#[test]
fn the_shipped_example_is_a_valid_configuration() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../windlass-edge.example.toml");
    let config = Config::load_with(&path, HashMap::new()).unwrap();
    assert_eq!(config.gateway.as_str(), "gw-0001");
    assert_eq!(config.turbines[0].catalogue.channels.len(), 300);
    assert_eq!(config.turbines[0].thresholds.len(), 2);
    assert_eq!(
        config.uplink.address.to_string(),
        "mqtts://broker.example.com:8883"
    );
    assert!(config.uplink.tls.unwrap().client.is_some());
    assert_eq!(config.outbox.bytes_max, 2_000_000_000);
}

#[test]
fn what_is_left_out_has_a_default() {
    let dir = dir();
    let config = load(&dir, GOOD, &[]).unwrap();
    assert_eq!(config.uplink.address.port, 1_883);
    assert_eq!(config.uplink.inflight_max, 512);
    assert_eq!(config.outbox.bytes_max, 2 << 30);
    assert_eq!(config.outbox.path, dir.path().join("outbox.db"));
    assert_eq!(config.seal_every_s, 60);
    assert_eq!(config.status_socket, Path::new(DEFAULT_SOCKET));
    assert_eq!(config.http_listen, None);
    assert_eq!(config.log.level, "info");
}

#[test]
fn the_environment_overrides_the_file() {
    let env = [
        ("WINDLASS_EDGE__UPLINK__URL", "mqtt://10.0.0.1:2883"),
        ("WINDLASS_EDGE__UPLINK__INFLIGHT_MAX", "9"),
        ("WINDLASS_EDGE__GATEWAY__ID", "gw-9"),
        ("HOME", "/root"),
    ];
    let config = load(&dir(), GOOD, &env).unwrap();
    assert_eq!(config.uplink.address.to_string(), "mqtt://10.0.0.1:2883");
    assert_eq!(config.uplink.inflight_max, 9);
    assert_eq!(config.gateway.as_str(), "gw-9");
}

#[test]
fn every_mistake_is_told_at_once() {
    let text = r#"
        [gateway]
        id = "gw 1"
        [[turbine]]
        id = "T001"
        profile = "tiny.toml"
        threshold = [{ channel = "gear_oil_temprature", high = 75.0 }, { channel = "active_power" }]
        [[turbine]]
        id = "T001"
        profile = "absent.toml"
        [outbox]
        path = "outbox.db"
        bytes_mx = 5
        [uplink]
        url = "http://broker"
        inflight_max = 0
        keep_alive_s = "long"
        [[source]]
        kind = "simulator"
        name = "sim"
        turbine = "T001"
        fault = [{ channel = "active_power", at_s = 5, kind = "offset" }, { channel = "x", at_s = -1, kind = "odd" }]
        [[source]]
        kind = "modbus"
        name = "m"
        [http]
        listen = "0.0.0.0:9464"
        [log]
        format = "xml"
    "#;
    let error = load(&dir(), text, &[]).unwrap_err();
    let expected = "\
DIR/edge.toml: 16 mistakes
  gateway.id: found \"gw 1\", expected a name of 1 to 32 of A-Z a-z 0-9 _ - with a letter or digit first
  outbox.bytes_mx: found an unknown key, expected one of path, bytes_max, free_min_bytes (did you mean `bytes_max`?)
  uplink.url: found \"http://broker\", expected mqtt://host[:1883] or mqtts://host[:8883]
  uplink.inflight_max: found 0, expected an integer from 1 to 8192
  uplink.keep_alive_s: found \"long\", expected an integer from 5 to 1177
  source[0].fault[1].at_s: found -1, expected a number from 0 to 1000000000
  source[0].fault[1].kind: found \"odd\", expected one of offset, ramp, stuck, dead
  source[1].kind: found \"modbus\", expected one of simulator, csv, push
  http.listen: found \"0.0.0.0:9464\", expected a loopback address and port such as 127.0.0.1:9464 (metrics carry no authentication)
  log.format: found \"xml\", expected one of text, json
  turbine[0].threshold[0].channel: found \"gear_oil_temprature\", expected a channel of profile tiny version 3 (did you mean `gear_oil_temperature`?)
  turbine[0].threshold[1]: found no limit, expected low or high, or both
  turbine[1].id: found \"T001\" again, expected each turbine once
  turbine[1].profile: found DIR/absent.toml (No such file or directory (os error 2)), expected a readable channel catalogue (TOML), relative to this file
  source[0].fault[0].amount: found nothing, expected how much, in the channel's unit (per minute for a ramp)
  source[0].fault[1].channel: found \"x\", expected a channel of profile tiny version 3";
    assert_eq!(error, expected);
}

#[test]
fn what_is_missing_is_told_at_once() {
    let error = load(&dir(), "", &[]).unwrap_err();
    assert_eq!(
        error,
        "DIR/edge.toml: 5 mistakes\n  \
         gateway: found nothing, expected a table\n  \
         turbine: found nothing, expected an array of at least 1\n  \
         outbox: found nothing, expected a table\n  \
         uplink: found nothing, expected a table\n  \
         source: found nothing, expected an array"
    );
}

#[test]
fn certificates_belong_to_mqtts_and_come_in_pairs() {
    let plain = GOOD.replace("mqtt://127.0.0.1\"", "mqtt://127.0.0.1\"\nca = \"ca.pem\"");
    assert_eq!(
        load(&dir(), &plain, &[]).unwrap_err(),
        "DIR/edge.toml: 1 mistake\n  uplink.ca: found \"ca.pem\", expected nothing, as uplink.url is mqtt:// (mqtts:// for TLS)"
    );
    let half = GOOD.replace(
        "mqtt://127.0.0.1\"",
        "mqtts://127.0.0.1\"\nca = \"ca.pem\"\ncert = \"c.pem\"",
    );
    assert_eq!(
        load(&dir(), &half, &[]).unwrap_err(),
        "DIR/edge.toml: 1 mistake\n  uplink.key: found nothing, expected the private key of uplink.cert (PEM)"
    );
}

#[test]
fn a_syntax_error_names_its_line() {
    let error = load(&dir(), "[gateway]\nid = \n", &[]).unwrap_err();
    assert!(
        error.starts_with("DIR/edge.toml: 1 mistake\n  line 2: found "),
        "{error}"
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load_with(Path::new("/nowhere/edge.toml"), HashMap::new());
    assert_eq!(
        error.unwrap_err().to_string(),
        "cannot read the configuration /nowhere/edge.toml: No such file or directory (os error 2)"
    );
}

#[test]
fn urls_are_read_strictly() {
    let parsed = |url| UplinkAddress::parse(url).map(|a| a.to_string());
    assert_eq!(parsed("mqtt://h").unwrap(), "mqtt://h:1883");
    assert_eq!(
        parsed("mqtts://h.example/").unwrap(),
        "mqtts://h.example:8883"
    );
    assert_eq!(parsed("mqtts://10.1.2.3:1").unwrap(), "mqtts://10.1.2.3:1");
    for bad in [
        "h:1883",
        "mqtt://",
        "mqtt://h:x",
        "mqtt://u@h",
        "mqtt://h/path",
        "mqtt://h:1:2",
    ] {
        assert_eq!(parsed(bad), None, "{bad}");
    }
}

/// [`GOOD`] with a file source that has these keys.
fn with_csv(keys: &str) -> String {
    format!("{GOOD}\n[[source]]\nkind = \"csv\"\nname = \"file\"\n{keys}")
}

#[test]
fn a_file_source_is_read_with_its_mapping() {
    let keys = r#"
        path = "a.csv"
        turbine_column = "who"
        turbine_names = { "WTG 1" = "T001" }
        time_column = "at"
        time_format = "%d.%m.%Y %H:%M"
        time_zone = "Europe/Berlin"
        dst = "reject"
        interval_s = 600
        label = "end"
        delimiter = ";"
        decimal_comma = true
        absent = ["n/a"]
        speed = 60
        column = [{ name = "Leistung", channel = "active_power" }]
    "#;
    let dir = dir();
    let config = load(&dir, &with_csv(keys), &[]).unwrap();
    let SourceKind::Csv(file) = &config.sources[1].kind else {
        panic!("a csv source");
    };
    assert_eq!(file.path, dir.path().join("a.csv"));
    assert_eq!(file.turbines(), [TurbineId::new("T001").unwrap()]);
    assert_eq!((file.speed, file.layout.interval_us), (60.0, 600_000_000));
    assert_eq!(
        (file.layout.delimiter, file.layout.decimal_comma),
        (b';', true)
    );
    assert_eq!(file.layout.absent, ["n/a"]);
}

#[test]
fn the_mistakes_of_a_file_source_are_told_at_once() {
    let keys = r#"
        path = "a.csv"
        turbine = "T001"
        turbine_column = "who"
        time_column = "at"
        time_format = "%Y"
        time_zone = "Europe/Berlyn"
        label = "middle"
        value_column = "value"
        column = [{ name = "P", channel = "active_powr" }, { channel = "active_power" }]
    "#;
    let error = load(&dir(), &with_csv(keys), &[]).unwrap_err();
    let lines: Vec<&str> = error.lines().map(str::trim).collect();
    let format = lines[5];
    assert!(
        format.starts_with("source[1].time_format: found \"%Y\" (")
            && format.ends_with(
                "expected strftime directives that make a whole time, such as %Y-%m-%d %H:%M:%S"
            ),
        "{format}"
    );
    let expected = "\
DIR/edge.toml: 7 mistakes
source[1].time_zone: found \"Europe/Berlyn\", expected an IANA time zone such as Europe/Berlin
source[1].label: found \"middle\", expected one of start, end
source[1].column[1].name: found nothing, expected a text
source[1].turbine: found both of turbine and turbine_column, expected turbine (all rows are its) or turbine_column (each row says whose it is)
source[1].column[0].channel: found \"active_powr\", expected a channel of profile tiny version 3 (did you mean `active_power`?)
source[1].channel_column: found nothing, expected channel_column and value_column together (long file), or neither (wide file)";
    let others: Vec<&str> = lines.iter().copied().filter(|l| *l != format).collect();
    assert_eq!(others.join("\n"), expected);
}
