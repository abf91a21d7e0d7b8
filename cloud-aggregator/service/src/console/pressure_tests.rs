//! Too much at once, over real sockets: exports that nobody reads, queries without end, connections that say nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use serde_json::Value;
use tokio::sync::watch;

use super::Api;
use super::csv::Exports;
use super::heavy::Heavy;
use super::problem::Problem;
use super::room::{Bounds, Room};
use super::server::Limits;
use super::world::{World, read_until, wait_for};

/// More than all buffers between the service and a client hold.
const EXPORT_LINES: usize = 1_000_000;
const LINE: &str = "2026-11-21T10:00:00.000000Z,active_power,1\n";
const EXPORT_BYTES: usize = "head\n".len() + EXPORT_LINES * LINE.len();
const READINGS: &str = "/api/v1/turbines/T1/readings?channels=active_power&\
                        from=2026-11-21T00:00:00Z&to=2026-11-22T00:00:00Z";
const RUNNING: usize = 2;
const WAITING: usize = 3;

/// A console that exports a long table at `/export`, once the gate is open.
fn exporter(unread: Duration, whole: Duration, wait: Duration) -> (World, watch::Sender<bool>) {
    let bounds = Bounds {
        running: RUNNING,
        waiting: WAITING,
        wait,
        what: "exports",
        instead: "ask for a page at a time as JSON",
        retry_after_s: 10,
    };
    let exports = Exports {
        room: Room::new(bounds),
        unread,
        whole,
    };
    let (gate, opened) = watch::channel(false);
    let export = |api: &Arc<Api>| {
        let api = Arc::clone(api);
        let handler = move || {
            let (api, opened) = (Arc::clone(&api), opened.clone());
            async move { table(&api, opened).await }
        };
        Router::new().route("/export", get(handler))
    };
    let world = World::with(Limits::default(), |api| api.exports = exports, export);
    (world, gate)
}

async fn table(api: &Api, mut opened: watch::Receiver<bool>) -> Result<Response, Problem> {
    let answer = api.exports.answer("T1", "head\n", async move |out| {
        opened.wait_for(|o| *o).await.ok();
        for _ in 0..EXPORT_LINES {
            out.line(LINE).await?;
        }
        Ok(())
    });
    answer.await
}

/// Status and Retry-After of a refusal, and its problem.
fn refused((head, body): &(String, String)) -> (u16, Option<u32>, Value) {
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let header = |name: &str| head.lines().find_map(|l| l.strip_prefix(name));
    let after = header("retry-after: ").map(|s| s.parse().unwrap());
    assert_eq!(header("content-type: "), Some("application/problem+json"));
    (status, after, serde_json::from_str(body).unwrap())
}

/// Everything that comes until the connection ends, however it ends.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut seen = Vec::new();
    // a connection that is broken off may end in an error: what came before it counts
    stream.read_to_end(&mut seen).ok();
    seen
}

/// The bytes of a body in chunks, and whether it says that it is whole.
fn body(answer: &[u8]) -> (usize, bool) {
    let at = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let mut rest = &answer[at + 4..];
    let mut len = 0;
    while let Some(end) = rest.windows(2).position(|w| w == b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return (len, true);
        }
        let there = size.min(rest.len() - end - 2);
        len += there;
        rest = &rest[(end + 4 + size).min(rest.len())..];
    }
    (len, false)
}

#[test]
fn an_export_that_nobody_reads_loses_its_place_to_one_that_is_read() {
    let second = Duration::from_secs(1);
    let (world, gate) = exporter(3 * second, 600 * second, 60 * second);
    let mut silent: Vec<TcpStream> = (0..RUNNING).map(|_| world.ask("/export")).collect();
    let room = &world.api.exports.room;
    wait_for("two exports", || room.free() == WAITING);
    // the next ones wait, and read as soon as it is their turn
    let readers: Vec<_> = (0..WAITING)
        .map(|_| {
            let mut stream = world.ask("/export");
            std::thread::spawn(move || body(&rest(&mut stream)))
        })
        .collect();
    wait_for("three that wait", || room.free() == 0);
    // one more is refused at once, by any address that exports, and everything else is answered
    for path in ["/export", &format!("{READINGS}&format=csv")] {
        let (status, after, problem) = refused(&world.get(path));
        assert_eq!((status, after), (503, Some(10)), "{path}");
        assert_eq!(problem["status"], 503);
        assert_eq!(
            problem["detail"],
            "2 exports are running, which is as many as there may be, and others wait: \
             ask again in 10 s, or ask for a page at a time as JSON"
        );
        assert_eq!(problem.as_object().unwrap().len(), 4, "{problem}");
    }
    assert!(world.get(READINGS).0.starts_with("HTTP/1.1 200"));
    gate.send_replace(true);
    for reader in readers {
        assert_eq!(reader.join().unwrap(), (EXPORT_BYTES, true));
    }
    // those that did not read were broken off: what they got does not look whole
    for one in &mut silent {
        let (len, whole) = body(&rest(one));
        assert!(len < EXPORT_BYTES && !whole, "{len}");
    }
    wait_for("free places", || room.free() == RUNNING + WAITING);
    world.stop();
}

#[test]
fn an_export_has_no_turn_for_ever_and_nobody_waits_for_ever() {
    let hour = Duration::from_hours(1);
    let (world, gate) = exporter(hour, Duration::from_secs(5), Duration::from_millis(100));
    gate.send_replace(true);
    let mut silent: Vec<TcpStream> = (0..RUNNING).map(|_| world.ask("/export")).collect();
    let room = &world.api.exports.room;
    wait_for("two exports", || room.free() == WAITING);
    let (status, after, _) = refused(&world.get("/export"));
    assert_eq!((status, after), (503, Some(10)), "waited for its turn");
    wait_for("the end of both", || room.free() == RUNNING + WAITING);
    for one in &mut silent {
        assert!(!body(&rest(one)).1);
    }
    world.stop();
}

#[test]
fn queries_beyond_those_that_may_wait_are_refused_over_a_socket_and_all_else_is_answered() {
    let patient = Heavy::within(Duration::from_hours(1));
    let world = World::with(
        Limits::default(),
        |api| api.heavy = patient,
        |_| Router::new(),
    );
    let (open, opened) = watch::channel(false);
    let room = world.api.heavy.free();
    let held: Vec<_> = (0..room)
        .map(|n| {
            let (api, mut opened) = (Arc::clone(&world.api), opened.clone());
            world.runtime.spawn(async move {
                let query = move || async move {
                    opened.wait_for(|o| *o).await.ok();
                    Ok::<_, Problem>(n)
                };
                api.heavy.run(query).await
            })
        })
        .collect();
    wait_for("a full room", || world.api.heavy.free() == 0);
    let day = "from=2026-11-21T00:00:00Z&to=2026-11-22T00:00:00Z";
    for path in [
        READINGS,
        &format!("{READINGS}&exact=true"),
        &format!("/api/v1/turbines/T1/windows?channels=active_power&{day}"),
        &format!("/api/v1/turbines/T1/coverage?{day}"),
        "/api/v1/turbines/T1/at?time=2026-11-21T00:00:00Z",
        &format!("/api/v1/turbines/T1/timeline?{day}"),
        "/api/v1/dead-letters",
    ] {
        let (status, after, problem) = refused(&world.get(path));
        assert_eq!((status, after), (503, Some(2)), "{path}");
        let detail = problem["detail"].as_str().unwrap();
        let expected = "2 large queries are running, which is as many as there may be, and others \
                        wait: ask again in 2 s, or for a shorter range or fewer channels";
        assert_eq!(detail, expected);
    }
    for path in [
        "/farms",
        "/turbines",
        "/turbines/T1",
        "/alarms",
        "/pipeline",
    ] {
        let (answer, _) = world.get(&format!("/api/v1{path}"));
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }
    open.send_replace(true);
    for (n, one) in held.into_iter().enumerate() {
        assert_eq!(world.runtime.block_on(one).unwrap().unwrap(), n);
    }
    assert!(world.get(READINGS).0.starts_with("HTTP/1.1 200"));
    world.stop();
}

/// Did the service end the connection without a word?
fn ended(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(n) => n == 0,
        Err(e) => e.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn connections_that_say_nothing_keep_nobody_out() {
    const CONNECTIONS: usize = 16;
    let world = World::start(Limits {
        connections: CONNECTIONS,
        header: Duration::from_hours(1),
        ..Limits::default()
    });
    // one that is being answered is never the one that makes room
    let mut live = world.ask("/api/v1/live?topics=pipeline");
    read_until(&mut live, "event: pipeline");
    let mut silent = Vec::new();
    for n in 0..500 {
        let mut one = world.connect();
        if n % 2 == 0 {
            one.write_all(b"GET /api/v1/farms HT").unwrap();
        }
        silent.push(one);
        if n % 50 == 0 {
            let (head, _) = world.get("/api/v1/farms");
            assert!(head.starts_with("HTTP/1.1 200"), "{n}: {head}");
        }
    }
    assert!(world.get("/api/v1/farms").0.starts_with("HTTP/1.1 200"));
    // those for which there is room beside the live one are left
    let over = silent.len() - (CONNECTIONS - 1);
    for (n, one) in silent[..over].iter_mut().enumerate() {
        assert!(ended(one), "{n}");
    }
    world.say(7, 1);
    read_until(&mut live, "\"started\":\"7:");
    world.stop();
}
