//! Windows as they were emitted: the newest revision, all of them, page by page, as a table; from the log and from the lake.

use serde_json::{Value, json};
use windlass_cloud::log::Topic;
use windlass_cloud::run::Role;
use windlass_cloud_core::output::FeatureRow;
use windlass_shared::coverage::Loss;
use windlass_shared::id::{ChannelId, Epoch, FarmId, Seq, SeqRange};
use windlass_shared::pane::{Aggregate, ChannelAggregate, Sources};
use windlass_shared::record::LossReason;
use windlass_shared::time::{EventTime, LogTime, SECOND_US};
use windlass_shared::window::{Status, WindowKind, WindowResult};

use super::http::get;
use super::rig::{Site, turbine};
use super::site::{Service, T0, append, doc, now, site, wait_for_lake};

const FROM_LOG: [Role; 2] = [Role::Serve, Role::Console];
/// The task writes the ticks by which the lake sees that a cut is over.
const WITH_LAKE: [Role; 4] = [Role::Process, Role::Serve, Role::Lake, Role::Console];
const RANGE: &str = "from=2023-11-14T22:00:00Z&to=2023-11-14T23:00:00Z";

/// Two readings of the power in tenths of kW, and one of the wind in hundredths of m/s.
fn emission(start_s: i64, kind: WindowKind, revision: u32, status: Status) -> FeatureRow {
    let catalogue = windlass_cloud::bench::profile().expect("the profile");
    let sums = |sum, sum_sq, min, max| Aggregate::Sums {
        sum,
        sum_sq,
        min,
        max,
    };
    let aggregate = |channel, n, bad, value| ChannelAggregate {
        channel: ChannelId(channel),
        n,
        bad,
        value,
    };
    FeatureRow {
        turbine: turbine("T1"),
        farm: Some(FarmId::new("F1").expect("a name")),
        position: 1,
        log_time: LogTime(T0),
        catalogue: catalogue.hash.0,
        result: WindowResult {
            kind,
            start: EventTime(T0 + start_s * SECOND_US),
            revision,
            partial: revision == 0,
            status,
            sources: Sources(vec![(
                Epoch([7; 16]),
                vec![SeqRange {
                    first: Seq(2),
                    last: Seq(9),
                }],
            )]),
            late: 3,
            channels: vec![
                aggregate(1, 2, 1, sums(40_000, 1_000_000_000, 10_000, 30_000)),
                aggregate(6, 1, 0, sums(900, 810_000, 900, 900)),
            ],
        },
    }
}

/// Three ten-minute windows: one that was settled, one with loss and something that came after it had left, one open.
fn written(site: &Site) {
    let ten = WindowKind::TenMinutes;
    let loss = Loss {
        epoch: Epoch([7; 16]),
        seqs: SeqRange::new(5, 6),
        reason: Some(LossReason::Evicted),
    };
    let emissions = [
        emission(0, ten, 1, Status::Provisional),
        emission(0, ten, 2, Status::Exact),
        emission(0, WindowKind::Minute, 1, Status::Exact),
        emission(600, ten, 1, Status::WithLoss(vec![loss])),
        emission(600, ten, 0, Status::Exact),
        emission(1_200, ten, 1, Status::Provisional),
    ];
    let live = doc("T1", 10, now().0 + 3_600 * SECOND_US, 1_900.0);
    let mut entries = vec![(Topic::Status, "T1", live.encode())];
    entries.extend(emissions.map(|e| (Topic::Features, "T1", e.encode())));
    append(site, entries);
}

fn items(port: u16, query: &str) -> Vec<Value> {
    let mut out = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/api/v1/turbines/T1/windows?{query}&{RANGE}{cursor}");
        let page = get(port, &path).json();
        let items = page["items"].as_array();
        out.extend(items.unwrap_or_else(|| panic!("{page}")).iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return out,
        }
    }
}

/// Channel, start, revision, verdict.
fn heads(items: &[Value]) -> Vec<(String, String, u64, String)> {
    let text = |v: &Value| v.as_str().expect("a text").to_owned();
    let head = |i: &Value| {
        let revision = i["revision"].as_u64().expect("a number");
        let from = text(&i["from"])[11..16].to_owned();
        (text(&i["channel"]), from, revision, text(&i["verdict"]))
    };
    items.iter().map(head).collect()
}

fn check(port: u16) {
    let newest = items(port, "channels=active_power");
    let expected = json!({
        "channel": "active_power", "unit": "kW", "window": "10m",
        "from": "2023-11-14T22:00:00.000000Z", "to": "2023-11-14T22:10:00.000000Z",
        "revision": 2, "partial": false, "verdict": "exact", "missing": [],
        "n": 2, "bad": 1, "late": 3, "value": 2000.0, "mean": 2000.0, "sd": 1000.0, "min": 1000.0, "max": 3000.0,
        "sources": [{"epoch": "07".repeat(16), "first": 2, "last": 9}],
        "log_time": "2023-11-14T22:00:00.000000Z",
    });
    assert_eq!(newest[0], expected);
    let lost = json!([{"epoch": "07".repeat(16), "first": 5, "last": 6, "why": "evicted"}]);
    assert_eq!(newest[1]["missing"], lost);
    let head = |channel: &str, from: &str, revision, verdict: &str| {
        (
            channel.to_owned(),
            from.to_owned(),
            revision,
            verdict.to_owned(),
        )
    };
    let power = |from, revision, verdict| head("active_power", from, revision, verdict);
    let expected = [
        power("22:00", 2, "exact"),
        power("22:10", 1, "recorded_loss"),
        // what came for a window that had left stands beside its last revision
        power("22:10", 0, "exact"),
        power("22:20", 1, "provisional"),
    ];
    assert_eq!(heads(&newest), expected);
    assert_eq!(newest[2]["partial"], true);
    let all = items(port, "channels=active_power&revisions=true&limit=2");
    let mut with_first = vec![power("22:00", 1, "provisional")];
    with_first.extend(expected);
    assert_eq!(heads(&all), with_first);
    let minute = items(port, "channels=wind_speed,active_power&window=1m&limit=1");
    let expected = [
        power("22:00", 1, "exact"),
        head("wind_speed", "22:00", 1, "exact"),
    ];
    assert_eq!(heads(&minute), expected);
    assert_eq!(minute[1]["mean"], 9.0);

    let path = format!("/api/v1/turbines/T1/windows?channels=active_power&format=csv&{RANGE}");
    let table = get(port, &path).text();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 5);
    assert_eq!(
        lines[..2],
        [
            "from,to,channel,unit,window,revision,partial,verdict,n,bad,late,value,mean,sd,min,max",
            "2023-11-14T22:00:00.000000Z,2023-11-14T22:10:00.000000Z,active_power,kW,10m,2,false,exact,2,1,3,\
             2000,2000,1000,1000,3000",
        ]
    );
}

#[test]
fn windows_are_the_same_from_the_log_and_from_the_lake() {
    let (site, port) = site();
    let config = std::fs::read_to_string(site.path()).expect("a file");
    let config = format!("{config}lake = {{ cut_every_s = 0.1 }}\n");
    std::fs::write(site.path(), config).expect("write");
    written(&site);

    let service = Service::start(&site, port, &FROM_LOG, 1);
    check(port);
    let cannot = "channels=active_power&from=2020-01-01T00:00:00Z&to=2023-01-01T00:00:00Z";
    for (query, status, field) in [
        (RANGE.to_owned(), 400, "channels"),
        (
            format!("channels=active_power&window=2m&{RANGE}"),
            400,
            "window",
        ),
        (
            format!("channels=active_power&revisions=2&{RANGE}"),
            400,
            "revisions",
        ),
        (
            format!("channels=active_power&limit=0&{RANGE}"),
            400,
            "limit",
        ),
        (
            format!("channels=active_power&cursor=6162&{RANGE}"),
            422,
            "cursor",
        ),
        (
            format!("channels=active_power&format=xml&{RANGE}"),
            400,
            "format",
        ),
        (cannot.to_owned(), 422, "to"),
    ] {
        let answer = get(port, &format!("/api/v1/turbines/T1/windows?{query}"));
        let found = (answer.status, answer.json()["field"].clone());
        assert_eq!(found, (status, json!(field)), "{query}");
    }
    let none = get(
        port,
        &format!("/api/v1/turbines/T9/windows?channels=active_power&{RANGE}"),
    );
    assert_eq!(none.status, 404);
    service.stop();

    let service = Service::start(&site, port, &WITH_LAKE, 1);
    wait_for_lake(&site, Topic::Features, &["T1"]);
    check(port);
    service.stop();
}
