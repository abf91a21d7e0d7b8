//! The HTTP API over a real socket: what it answers, what it refuses, and what live clients get.

mod dead;
mod http;
mod past;
#[path = "../rig/mod.rs"]
mod rig;
mod site;
mod windows;

use http::{Events, ask, get, no_more_than};
use rig::{Site, wait_for};
use serde_json::{Value, json};
use site::{Service, T0, alert, append, doc, now, site};
use windlass_cloud::log::Topic;
use windlass_cloud::run::Role;
use windlass_cloud_core::output::{AlertState, Level};
use windlass_shared::time::SECOND_US;

const ROLES: [Role; 2] = [Role::Serve, Role::Console];

/// T1 speaks, T2 fell silent in 2023, T3 never spoke; five alerts.
fn written() -> (Site, u16) {
    let (site, port) = site();
    // from the future, so that it stays live while the test runs
    let live = doc("T1", 10, now().0 + 3_600 * SECOND_US, 1_900.0);
    let silent = doc("T2", 11, T0, 0.0);
    let mut entries = vec![
        (Topic::Status, "T1", live.encode()),
        (Topic::Status, "T2", silent.encode()),
    ];
    let states = [
        (1, "T1", 1, AlertState::Provisional, Level::Warning),
        (2, "T1", 2, AlertState::Confirmed, Level::Alarm),
        (3, "T2", 1, AlertState::Withdrawn, Level::Warning),
        (4, "T2", 3, AlertState::Cleared, Level::Alarm),
        (5, "T2", 1, AlertState::Confirmed, Level::Warning),
    ];
    for (n, name, revision, state, level) in states {
        let event = alert(n, name, revision, state, level);
        entries.push((Topic::Alerts, name, event.encode()));
    }
    append(&site, entries);
    (site, port)
}

fn ids(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().expect("a list");
    items
        .iter()
        .map(|i| i["id"].as_str().expect("an id").to_owned())
        .collect()
}

#[test]
fn farms_turbines_alerts_and_pipeline() {
    let (site, port) = written();
    let service = Service::start(&site, port, &ROLES, 2);
    wait_for("the alerts", || {
        get(port, "/api/v1/farms").json()["items"][0]["alerts_open"] == 3
    });
    fleet(port);
    turbines(port);
    alerts(port);
    pipeline(port);
    service.stop();
}

fn fleet(port: u16) {
    let answer = get(port, "/api/v1/farms");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let expected = json!({"items": [{
        "id": "F1", "name": "One", "zone": "Europe/Berlin",
        "turbines": 3, "live": 1, "stale": 1, "never": 1,
        "power_kw": 1900.0, "available_kw": 2000.0, "alerts_open": 3,
        "link": {"state": "up", "since": null, "gateways_down": [], "waiting_bytes_estimate": null},
    }], "next": null});
    assert_eq!(answer.json(), expected);
    let alarms = get(port, "/api/v1/alarms").json();
    let expected = json!({"items": [{
        "id": "turbine-T2", "kind": "turbine_silent", "farm": "F1", "gateway": "GW1", "turbine": "T2",
        "since": "2023-11-14T22:00:00.000000Z", "turbines": 1, "waiting_bytes_estimate": null,
        "text": "turbine T2 is silent, others of gateway GW1 are not",
    }], "next": null});
    assert_eq!(alarms, expected);
}

fn turbines(port: u16) {
    let mut t2 = get(port, "/api/v1/turbines/T2").json();
    let age = t2["age_ms"].take();
    let open = t2["open_alerts"].take();
    assert_eq!(
        (open[0]["id"].as_str(), open[1].as_str()),
        (Some(format!("{:032x}", 5).as_str()), None)
    );
    assert!(age.as_i64().is_some_and(|ms| ms > 30_000), "{age}");
    let value = |channel: &str, value: f64, unit: &str| json!({"channel": channel, "value": value, "unit": unit, "time": "2023-11-14T22:00:00.000000Z", "quality": "good"});
    let expected = json!({
        "id": "T2", "farm": "F1", "gateway": "GW1", "fresh": "stale", "age_ms": null,
        "event_time": "2023-11-14T22:00:00.000000Z", "log_time": "2023-11-14T22:00:05.000000Z",
        "iec_state": {"code": 1, "name": "full performance"},
        "power_kw": 0.0, "available_kw": 2000.0, "setpoint_kw": 3000.0, "setpoint_source": "farm_controller",
        "limit": "none", "wind_ms": 9.25, "need": 60.0,
        "alerts": {"open": 1, "critical": 0, "provisional": 0, "unacknowledged": 1},
        "link": {"down_since": "2023-11-14T22:00:00.000000Z", "waiting_records": 7, "waiting_bytes_estimate": null},
        "frontier": "2023-11-14T22:00:00.000000Z",
        "coverage": {"epochs": 1, "holes": 1, "missing_seqs": 7, "lost_seqs": 2, "quarantined_epochs": 0},
        "values": [
            value("active_power", 0.0, "kW"),
            value("available_power", 2000.0, "kW"),
            value("active_power_setpoint", 3000.0, "kW"),
            value("active_power_setpoint_source", 2.0, ""),
            value("wind_speed", 9.25, "m/s"),
        ],
        "counts": {
            "records": 10, "accepted_readings": 100, "counted_readings": 99, "late_readings": 0,
            "suspect_readings": 0, "rejected_readings": 0, "lost_readings": 0, "duplicate_records": 0,
            "unverified_records": 0, "refused_records": 0, "conflict_records": 0, "quarantined_records": 0,
        },
        "windows": {"settled": 3, "exact": 2, "provisional": 0, "revised": 0, "partials": 0},
        "open_alerts": null,
    });
    assert_eq!(t2, expected);
    let never = get(port, "/api/v1/turbines/T3").json();
    assert_eq!(
        (&never["fresh"], &never["power_kw"]),
        (&json!("never"), &Value::Null)
    );

    let list = |query: &str| get(port, &format!("/api/v1/turbines{query}")).json();
    assert_eq!(ids(&list("")), ["T1", "T2", "T3"]);
    assert_eq!(ids(&list("?sort=need")), ["T1", "T2", "T3"]);
    let first = list("?limit=2");
    let next = first["next"].as_str().expect("a cursor");
    let second = list(&format!("?limit=2&cursor={next}"));
    assert_eq!(
        (ids(&first), ids(&second)),
        (vec!["T1".into(), "T2".into()], vec!["T3".into()])
    );
    assert_eq!(second["next"], Value::Null);

    let channels = get(port, "/api/v1/turbines/T1/channels?limit=10").json();
    let expected = json!({"id": 1, "name": "active_power", "unit": "kW", "kind": "analogue",
        "class": "compliance", "rate_group": "fast", "period_ms": 1000.0});
    assert_eq!(channels["items"][0], expected);
    assert_eq!(channels["items"][9]["states"]["9"], "forced outage");
}

fn alerts(port: u16) {
    let list = |query: &str| {
        let list = get(port, &format!("/api/v1/alerts{query}")).json();
        let n = |id: String| u8::from_str_radix(&id, 16).expect("a number");
        ids(&list).into_iter().map(n).collect::<Vec<_>>()
    };
    assert_eq!(list(""), [5, 2, 1]);
    assert_eq!(list("?state=all"), [5, 4, 3, 2, 1]);
    assert_eq!(list("?state=closed"), [4]);
    assert_eq!(list("?state=withdrawn&turbine=T2&farm=F1"), [3]);
    assert_eq!(
        list("?state=confirmed&acknowledged=false&shelved=false"),
        [5, 2]
    );
    assert!(list("?acknowledged=true").is_empty());
    let first = get(port, "/api/v1/alerts?state=all&limit=3").json();
    let next = first["next"].as_str().expect("a cursor");
    assert_eq!(list(&format!("?state=all&limit=3&cursor={next}")), [2, 1]);

    let one = get(port, &format!("/api/v1/alerts/{:032x}", 2)).json();
    let expected = json!({
        "id": format!("{:032x}", 2), "episode": format!("{:032x}", 0xe02), "turbine": "T1", "farm": "F1",
        "rule": "gear-oil", "cause": "gearbox", "level": "critical", "state": "confirmed", "revision": 2,
        "first": "2023-11-14T22:00:02.000000Z", "last": "2023-11-14T22:00:03.000000Z",
        "value": 81.5, "limit": 80.0, "unit": "°C", "channel": "gearbox_oil_temperature", "direction": "high",
        "operating_state": {"code": 1, "name": "full performance"},
        "window": {"start": "2023-11-14T22:00:00.000000Z", "end": "2023-11-14T22:01:00.000000Z", "kind": "1m"},
        "seqs": [{"epoch": "00112233445566778899aabbccddeeff", "first": 3, "last": 9}],
        "detail": "gear oil is hot", "acknowledged": null, "shelved": null,
    });
    assert_eq!(one, expected);

    let episodes = get(port, "/api/v1/episodes?turbine=T1").json();
    let expected = json!({
        "id": format!("{:032x}", 0xe02), "turbine": "T1", "first": "2023-11-14T22:00:02.000000Z",
        "last": "2023-11-14T22:00:03.000000Z", "open": true, "alerts": 1, "worst": "critical", "merged_into": null,
    });
    assert_eq!(episodes["items"][0], expected);
    assert_eq!(episodes["items"].as_array().map(Vec::len), Some(2));
}

fn pipeline(port: u16) {
    let p = get(port, "/api/v1/pipeline").json();
    assert_eq!(p["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(p["partitions"].as_array().map(Vec::len), Some(2));
    assert_eq!(p["counts"]["accepted_readings"], 200);
    assert_eq!(p["ingest"], json!({"connected": null, "rate": null}));
    let missing = json!({"turbine": "T1", "holes": 1, "missing_seqs": 7, "lost_seqs": 2});
    assert_eq!(p["incomplete"][0], missing);
    assert_eq!(
        p["freshness"],
        json!([{"farm": "F1", "p50_ms": 0, "p99_ms": 0, "stale": 1}])
    );
}

#[test]
fn what_makes_no_sense_is_a_problem() {
    let (site, port) = written();
    let service = Service::start(&site, port, &ROLES, 2);
    for (path, status, field) in [
        ("/turbines/T9", 404, None),
        ("/turbines/%ff", 400, None),
        ("/turbines?farm=nowhere", 404, None),
        ("/turbines?limit=0", 400, Some("limit")),
        ("/turbines?limit=1000000", 400, Some("limit")),
        ("/turbines?cursor=xyz", 400, Some("cursor")),
        ("/turbines?cursor=6162", 422, Some("cursor")),
        ("/turbines?sort=colour", 400, Some("sort")),
        ("/turbines?colour=red", 400, None),
        ("/turbines?limit=1&limit=2", 400, None),
        ("/alerts?state=odd", 400, Some("state")),
        ("/alerts?acknowledged=maybe", 400, Some("acknowledged")),
        ("/alerts?turbine=T9", 404, None),
        ("/alerts?cursor=6162", 422, Some("cursor")),
        ("/alerts/none", 404, None),
        ("/live?topics=weather", 400, Some("topics")),
        ("/live?turbine=T9", 404, None),
        ("/nothing", 404, None),
    ] {
        let answer = get(port, &format!("/api/v1{path}"));
        let kind = answer.header("content-type");
        assert_eq!(
            (answer.status, kind),
            (status, Some("application/problem+json")),
            "{path}"
        );
        let problem = answer.json();
        assert_eq!(problem["status"], status, "{path}");
        assert_eq!(
            problem.get("field").and_then(Value::as_str),
            field,
            "{path}: {problem}"
        );
    }
    let problem = get(port, "/api/v1/turbines/T9").json();
    let expected = json!({"type": "about:blank", "title": "Not Found", "status": 404, "detail": "there is no turbine `T9`"});
    assert_eq!(problem, expected);
    let wrong = ask(port, "DELETE", "/api/v1/farms", &[], "");
    assert_eq!(
        (wrong.status, wrong.header("content-type")),
        (405, Some("application/problem+json"))
    );
    service.stop();
}

#[test]
fn live_clients_get_all_once_and_then_what_changes() {
    let (site, port) = written();
    let service = Service::start(&site, port, &ROLES, 2);
    let mut events = Events::open(port, "/api/v1/live?turbine=T1");
    assert_eq!(events.status, 200);
    let wall = events.next("wall").expect("an event");
    assert_eq!(wall["full"], true);
    let t = wall["t"].as_array().expect("rows");
    assert_eq!(t.len(), 1);
    assert_eq!(
        t[0].as_array()
            .map(|c| [&c[0], &c[1], &c[4]].map(Clone::clone)),
        Some([json!("T1"), json!("live"), json!(1900.0)])
    );
    let values = events.next("turbine").expect("an event");
    assert_eq!(values["values"][0]["value"], 1_900.0);
    // a client that does not read holds nobody back
    let mut slow = Events::open(port, "/api/v1/live?topics=wall");
    Service::write(&site, 20, 1_000.0);
    let wall = events.next("wall").expect("a change");
    assert_eq!(
        (&wall["full"], &wall["t"][0][4]),
        (&json!(false), &json!(1000.0))
    );
    for (position, power) in [(30, 900.0), (31, 800.0), (32, 700.0)] {
        Service::write(&site, position, power);
        let wall = events.next("wall").expect("a change");
        assert_eq!(wall["t"][0][4], power);
    }
    let full = slow.next("wall").expect("an event");
    assert_eq!(full["t"].as_array().map(Vec::len), Some(3));
    // one that slept and comes again gets all of it, as it is now
    let mut again = Events::open(port, "/api/v1/live?topics=wall&turbine=T1");
    let wall = again.next("wall").expect("an event");
    assert_eq!(
        (&wall["full"], &wall["t"][0][4]),
        (&json!(true), &json!(700.0))
    );
    // a stop ends the streams
    let thread = std::thread::spawn(move || while slow.next("wall").is_some() {});
    service.stop();
    thread.join().expect("the stream ended");
    assert!(std::iter::from_fn(|| events.next("wall")).count() < 10);
}

#[test]
fn pages_and_the_description() {
    let (site, port) = written();
    let service = Service::start(&site, port, &ROLES, 2);
    let description = get(port, "/api/v1/openapi.json").json();
    let paths = description["paths"].as_object().expect("paths");
    for path in ["/farms", "/turbines/{id}", "/alerts", "/pipeline", "/live"] {
        assert!(paths.contains_key(&format!("/api/v1{path}")), "{path}");
    }
    for path in ["/", "/alerts", "/turbine/T1", "/proof/T1", "/platform"] {
        let page = get(port, path);
        assert!([200, 503].contains(&page.status), "{path}: {}", page.status);
        let policy = page.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'self'"), "{policy}");
    }
    assert_eq!(get(port, "/../../etc/passwd").status, 404);
    assert_eq!(get(port, "/assets/none.js").status, 404);
    service.stop();
}

#[test]
fn a_request_that_never_ends_is_let_go() {
    use windlass_cloud::console::server::{Patience, bind, serve};
    use windlass_cloud::stop::Stopper;
    let (stopper, stop) = Stopper::new();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = runtime.block_on(bind(any)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let patience = Patience {
        header: std::time::Duration::from_millis(100),
        ..Patience::default()
    };
    let served = runtime.spawn(serve(listener, axum::Router::new(), patience, stop));
    // half-open: one that says nothing, and one that says half of it
    for half in ["", "GET /api/v1/farms HT"] {
        no_more_than(port, half);
    }
    stopper.stop();
    runtime.block_on(served).expect("an end");
}

#[test]
fn a_body_that_never_comes_is_a_problem() {
    let (site, port) = written();
    let service = Service::start(&site, port, &ROLES, 2);
    let head = format!(
        "POST /api/v1/alerts/{:032x}/acknowledge HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: 50\r\n\r\n{{\"by\": ",
        1
    );
    let said = no_more_than(port, &head);
    assert!(said.starts_with("HTTP/1.1 408"), "{said}");
    assert!(said.contains("application/problem+json"), "{said}");
    service.stop();
}

#[test]
fn a_taken_port_is_named() {
    let (site, port) = site();
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).expect("a port");
    let run = windlass_cloud::run::run(site.config(), &ROLES, None);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let e = runtime.block_on(run).expect_err("the port is taken");
    assert_eq!(
        e.to_string(),
        format!("console.listen = \"127.0.0.1:{port}\": cannot listen there; is the port taken?")
    );
    drop(taken);
}
