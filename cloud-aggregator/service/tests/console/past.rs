//! Readings and marks through the real roles: the same readings from the log's tail and from the lake, and an
//! acknowledgement that outlives a restart.

use serde_json::{Value, json};
use windlass_cloud::bench::load::Sent;
use windlass_cloud::log::Topic;
use windlass_cloud::run::Role;
use windlass_shared::catalogue::Catalogue;
use windlass_shared::record::Body;
use windlass_shared::time::{EventTime, SECOND_US};
use windlass_shared::wire::{Control, encode_control, encode_telemetry};

use super::http::{ask, get, post};
use super::rig::{Site, load, wait_for};
use super::site::{Service, T0, append, now, site};

const ROLES: [Role; 3] = [Role::Process, Role::Serve, Role::Console];
const WITH_LAKE: [Role; 4] = [Role::Process, Role::Serve, Role::Lake, Role::Console];

/// Whatever the power is, it is too high.
const ALWAYS: &str = "version = 1\n[[threshold]]\nid = \"any\"\ncause = \"test\"\nchannel = \"active_power\"\n\
                      on = \"readings\"\npersistence = 1\nwarning_high = -100000.0\n";

/// Twenty seconds of T1.
fn written(site: &Site) -> Vec<Sent> {
    let mut load = load("T1", 7, EventTime(T0));
    let mut sent = vec![load.open(None)];
    for _ in 0..20 {
        sent.extend(load.next_second());
    }
    let gateway = windlass_shared::id::GatewayId::new("GW1").expect("a name");
    let detectors = Control::DetectorConfig {
        version: 1,
        toml: ALWAYS.to_owned(),
    };
    let mut entries = vec![(Topic::Telemetry, "T1", encode_control(&detectors))];
    let records = sent.iter().map(|s| encode_telemetry(&gateway, &s.bytes));
    entries.extend(records.map(|r| (Topic::Telemetry, "T1", r)));
    append(site, entries);
    sent
}

/// Readings of a channel as they were sent: time in microseconds, raw value, seq and index.
fn sent_of(sent: &[Sent], catalogue: &Catalogue, name: &str) -> Vec<(i64, i64, u64, u32)> {
    let id = catalogue.by_name(name).expect("a channel").id;
    let mut out = Vec::new();
    for s in sent {
        let Body::Batch(batch) = &s.record.body else {
            continue;
        };
        for block in &batch.blocks {
            for column in block.columns.iter().filter(|c| c.channel == id) {
                for (i, time) in block.times.iter().enumerate() {
                    let index = column.at + i as u32;
                    out.push((
                        time.0,
                        batch.raw[index as usize],
                        s.record.header.id.seq.0,
                        index,
                    ));
                }
            }
        }
    }
    out.sort_unstable();
    out
}

fn items(port: u16, path: &str) -> Vec<Value> {
    let mut out = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = get(port, &format!("{path}{cursor}")).json();
        out.extend(
            page["items"]
                .as_array()
                .unwrap_or_else(|| panic!("{page}"))
                .iter()
                .cloned(),
        );
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return out,
        }
    }
}

#[test]
fn readings_are_the_same_from_the_log_and_from_the_lake_and_marks_outlive_a_restart() {
    let (site, port) = site();
    let config = std::fs::read_to_string(site.path()).expect("a file");
    let config = format!("{config}lake = {{ cut_every_s = 0.1 }}\n");
    std::fs::write(site.path(), config).expect("write");
    let sent = written(&site);
    let catalogue = windlass_cloud::bench::profile().expect("the profile");

    let service = Service::start(&site, port, &ROLES, 1);
    let from_log = exact(port, &sent, &catalogue);
    buckets(port, &sent, &catalogue);
    exported(port, from_log.len());
    refused(port);
    proven(port);
    let id = acknowledged(port);
    service.stop();

    let service = Service::start(&site, port, &WITH_LAKE, 1);
    wait_for("a cut", || {
        let p = get(port, "/api/v1/pipeline").json();
        p["lake"]["last_cut"]
            .as_str()
            .is_some_and(|t| t >= "2023-11-14T22:00:00")
    });
    assert_eq!(exact(port, &sent, &catalogue), from_log);
    buckets(port, &sent, &catalogue);
    proven(port);
    let alert = get(port, &format!("/api/v1/alerts/{id}")).json();
    assert_eq!(alert["acknowledged"]["by"], "Kim <b>");
    service.stop();
}

const RANGE: &str = "from=2023-11-14T22:00:00Z&to=2023-11-14T22:01:00Z";

/// Every reading of two channels, over several pages, against what was sent.
fn exact(port: u16, sent: &[Sent], catalogue: &Catalogue) -> Vec<Value> {
    let path = format!(
        "/api/v1/turbines/T1/readings?exact=true&limit=7&channels=active_power,wind_speed&{RANGE}"
    );
    let found = items(port, &path);
    for name in ["active_power", "wind_speed"] {
        let channel = catalogue.by_name(name).expect("a channel");
        let expected: Vec<Value> = sent_of(sent, catalogue, name)
            .into_iter()
            .map(|(time, raw, seq, index)| {
                let second = (time - T0) / SECOND_US;
                json!({
                    "channel": name, "time": format!("2023-11-14T22:00:{second:02}.000000Z"),
                    "value": channel.value(raw), "raw": raw, "quality": "good", "late": false, "suspect": false,
                    "epoch": "07".repeat(16), "seq": seq, "index": index,
                })
            })
            .collect();
        let of: Vec<Value> = found
            .iter()
            .filter(|i| i["channel"] == name)
            .cloned()
            .collect();
        assert_eq!(of, expected);
        assert_eq!(of.len(), 20);
    }
    found
}

fn buckets(port: u16, sent: &[Sent], catalogue: &Catalogue) {
    let path = format!("/api/v1/turbines/T1/readings?channels=active_power&points=6&{RANGE}");
    let display = get(port, &path).json();
    assert_eq!(display["bucket_ms"], 10_000.0);
    let series = &display["channels"][0];
    assert_eq!(
        (&series["channel"], &series["unit"]),
        (&json!("active_power"), &json!("kW"))
    );
    let channel = catalogue.by_name("active_power").expect("a channel");
    let readings = sent_of(sent, catalogue, "active_power");
    let expected: Vec<Value> = readings
        .chunks(10)
        .map(|part| {
            let values: Vec<f64> = part.iter().map(|r| channel.value(r.1)).collect();
            let (min, max) = values
                .iter()
                .fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
            json!([
                (part[0].0 / 1_000) as f64,
                min,
                values.iter().sum::<f64>() / 10.0,
                max,
                10
            ])
        })
        .collect();
    let found = series["points"].as_array().expect("points");
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        // the mean to within what reading JSON back may cost
        let near = |i: usize| {
            (found[i].as_f64().expect("a number") - expected[i].as_f64().expect("a number")).abs()
                < 1e-9
        };
        assert!((0..5).all(near), "{found} {expected}");
    }
    let start = (T0 / 1_000) as f64;
    assert_eq!(
        series["gaps"],
        json!([[start + 20_000.0, start + 60_000.0]])
    );
}

fn exported(port: u16, readings: usize) {
    let path = format!("/api/v1/turbines/T1/readings?channels=active_power,wind_speed&{RANGE}");
    let by_format = get(port, &format!("{path}&format=csv"));
    assert_eq!(
        by_format.header("content-type"),
        Some("text/csv; charset=utf-8")
    );
    let lines: Vec<String> = by_format.text().lines().map(str::to_owned).collect();
    assert_eq!(
        lines[0],
        "time,channel,value,raw,quality,late,suspect,epoch,seq,index"
    );
    assert_eq!(lines.len(), readings + 1);
    assert!(
        lines[1].starts_with("2023-11-14T22:00:00.000000Z,active_power,"),
        "{}",
        lines[1]
    );
    let by_header = ask(port, "GET", &path, &[("accept", "text/csv")], "");
    assert_eq!(by_header.body, by_format.body);
}

fn refused(port: u16) {
    for (query, status, field) in [
        (
            format!("channels=active_power&points=1000000&{RANGE}"),
            400,
            Some("points"),
        ),
        (format!("channels=colour&{RANGE}"), 404, None),
        (RANGE.to_owned(), 400, Some("channels")),
        (
            "channels=active_power&from=yesterday&to=2023-11-14T22:01:00Z".to_owned(),
            400,
            Some("from"),
        ),
        (
            "channels=active_power&from=2023-11-14T22:01:00Z&to=2023-11-14T22:00:00Z".to_owned(),
            422,
            Some("to"),
        ),
        (
            "channels=active_power&from=2020-01-01T00:00:00Z&to=2023-11-14T22:00:00Z".to_owned(),
            422,
            Some("to"),
        ),
        (
            "exact=true&channels=active_power&from=2023-01-01T00:00:00Z&to=2023-11-14T22:00:00Z"
                .to_owned(),
            422,
            Some("to"),
        ),
        (
            format!("exact=true&cursor=6162&channels=active_power&{RANGE}"),
            422,
            Some("cursor"),
        ),
        (
            format!("format=xml&channels=active_power&{RANGE}"),
            400,
            Some("format"),
        ),
    ] {
        let answer = get(port, &format!("/api/v1/turbines/T1/readings?{query}"));
        let problem = answer.json();
        let found = problem.get("field").and_then(Value::as_str);
        assert_eq!(
            (answer.status, found),
            (status, field),
            "{query}: {problem}"
        );
    }
}

fn proven(port: u16) {
    // the gateway's time has come to second 19 or 20: up to there it is exact
    let coverage = get(
        port,
        "/api/v1/turbines/T1/coverage?from=2023-11-14T22:00:00Z&to=2023-11-14T22:00:10Z",
    )
    .json();
    assert_eq!(
        (
            &coverage["verdict"],
            &coverage["missing"],
            &coverage["bytes"]
        ),
        (&json!("exact"), &json!([]), &json!("verified"))
    );
    let epoch = &coverage["epochs"][0];
    assert_eq!(
        (
            &epoch["open"],
            &epoch["runs"][0]["kind"],
            &epoch["runs"][0]["first"]
        ),
        (&json!(true), &json!("received"), &json!(1))
    );
    let later = get(port, &format!("/api/v1/turbines/T1/coverage?{RANGE}")).json();
    assert_eq!(later["verdict"], "incomplete");
    let at = get(port, "/api/v1/turbines/T1/at?time=2023-11-14T22:00:05.5Z").json();
    assert_eq!((&at["verdict"], &at["why"]), (&json!("exact"), &json!([])));
    let values = at["values"].as_array().expect("values");
    let power = values
        .iter()
        .find(|v| v["channel"] == "active_power")
        .expect("the power");
    assert_eq!(power["time"], "2023-11-14T22:00:05.000000Z");
    let timeline = get(port, &format!("/api/v1/turbines/T1/timeline?{RANGE}")).json();
    let lanes: Vec<&str> = timeline["items"]
        .as_array()
        .expect("items")
        .iter()
        .filter_map(|i| i["lane"].as_str())
        .collect();
    assert!(
        lanes.contains(&"state") && lanes.contains(&"setpoint") && lanes.contains(&"coverage"),
        "{lanes:?}"
    );
    let letters = get(port, "/api/v1/dead-letters").json();
    assert_eq!(letters, json!({"items": [], "next": null}));
}

/// Acknowledges the alert and puts it aside, and waits until the task has said so. Answers its id.
fn acknowledged(port: u16) -> String {
    let list = || get(port, "/api/v1/alerts").json();
    wait_for("the alert", || list()["items"][0]["id"].is_string());
    let id = list()["items"][0]["id"].as_str().expect("an id").to_owned();
    let path = |what: &str| format!("/api/v1/alerts/{id}/{what}");
    for (what, body, status) in [
        ("acknowledge", json!({"note": "x"}), 422),
        ("acknowledge", json!({"by": "", "note": "x"}), 422),
        (
            "acknowledge",
            json!({"by": "x".repeat(65), "note": "x"}),
            422,
        ),
        (
            "acknowledge",
            json!({"by": "Kim", "note": "x".repeat(1_001)}),
            422,
        ),
        (
            "acknowledge",
            json!({"by": "Kim", "note": "x".repeat(20_000)}),
            413,
        ),
        (
            "shelve",
            json!({"by": "Kim", "note": "", "until": "2020-01-01T00:00:00Z"}),
            422,
        ),
        (
            "shelve",
            json!({"by": "Kim", "note": "", "until": "2120-01-01T00:00:00Z"}),
            422,
        ),
        (
            "shelve",
            json!({"by": "Kim", "note": "", "until": "soon"}),
            400,
        ),
    ] {
        let answer = post(port, &path(what), &body);
        assert_eq!(answer.status, status, "{what} {}", answer.text());
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
    }
    let nobody = post(
        port,
        &format!("/api/v1/alerts/{:032x}/acknowledge", 9),
        &json!({"by": "Kim", "note": ""}),
    );
    assert_eq!(nobody.status, 404);

    let answer = post(
        port,
        &path("acknowledge"),
        &json!({"by": "Kim <b>", "note": "a \"note\""}),
    );
    assert_eq!(answer.status, 202);
    assert_eq!(answer.json()["alert"], id);
    let alert = || get(port, &format!("/api/v1/alerts/{id}")).json();
    wait_for("the acknowledgement", || {
        alert()["acknowledged"].is_object()
    });
    let said = alert();
    assert_eq!(
        (&said["acknowledged"]["by"], &said["acknowledged"]["note"]),
        (&json!("Kim <b>"), &json!("a \"note\""))
    );
    assert_eq!(said["seqs"][0]["epoch"], "07".repeat(16));

    let until = jiff::Timestamp::from_microsecond(now().0 + 3_600 * SECOND_US)
        .expect("a time")
        .to_string();
    let answer = post(
        port,
        &path("shelve"),
        &json!({"by": "Kim", "note": "", "until": until}),
    );
    assert_eq!(answer.status, 202);
    wait_for("the shelf", || alert()["shelved"].is_object());
    let answer = post(port, &path("unshelve"), &json!({"by": "Kim"}));
    assert_eq!(answer.status, 202);
    wait_for("its return", || alert()["shelved"].is_null());
    id
}
