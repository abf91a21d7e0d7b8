//! Live clients that do what they should not, over real sockets: too many of them, and some that stop reading.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use windlass_shared::time::WallTime;

use super::*;
use crate::clock::Clock;
use crate::console::pipeline::Pipeline;
use crate::console::server::{Patience, bind, serve};
use crate::console::{Places, router};
use crate::lake::fixture::fleet;
use crate::lake::views::Views;
use crate::log::sqlite::{SqliteLog, SqliteLogSettings};
use crate::stop::Stopper;

/// A test that waits longer than this has failed.
const DEADLINE: Duration = Duration::from_mins(1);
/// An event that no socket's buffers hold many of.
const EVENT_BYTES: usize = 500_000;

/// The console's routes on a port, over a board that the test writes.
struct World {
    _dir: tempfile::TempDir,
    runtime: Runtime,
    boards: watch::Sender<Arc<Board>>,
    room: Arc<tokio::sync::Semaphore>,
    stopper: Stopper,
    served: JoinHandle<()>,
    port: u16,
}

impl World {
    fn start(patience: Patience) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let (stopper, stop) = Stopper::new();
        let (boards, seen) = watch::channel(Arc::default());
        let settings = SqliteLogSettings {
            path: dir.path().join("log.db"),
            partitions: 1,
            writer: 1,
            bytes_max: None,
        };
        let places = Places {
            lake: Arc::new(Views::new("file:///nowhere")),
            log: settings.path.clone(),
            fleet: fleet(),
        };
        let log = SqliteLog::open(&settings, Box::new(|| WallTime(0))).unwrap();
        let store = dir.path().join("status.db");
        let clock = (Clock::start(), stop.clone());
        let api = Arc::new(Api::new(store, places, Arc::new(log), seen, clock));
        let room = Arc::clone(&api.live_room);
        let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = runtime.block_on(bind(any)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (app, _) = router(api);
        let served = runtime.spawn(serve(listener, app, patience, stop));
        Self {
            _dir: dir,
            runtime,
            boards,
            room,
            stopper,
            served,
            port,
        }
    }

    /// A client of `/live`, with what the head of its answer begins with.
    fn client(&self) -> (TcpStream, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let request = b"GET /api/v1/live?topics=pipeline HTTP/1.1\r\nhost: test\r\n\r\n";
        stream.write_all(request).unwrap();
        let mut head = vec![0; 1_000];
        let n = stream.read(&mut head).unwrap();
        let text = String::from_utf8_lossy(&head[..n]).into_owned();
        (stream, text)
    }

    /// A new picture, so large.
    fn say(&self, n: usize, bytes: usize) {
        let pipeline = Pipeline {
            started: Some(format!("{n}:{}", "x".repeat(bytes))),
            ..Pipeline::default()
        };
        let board = Board {
            pipeline,
            ..Board::default()
        };
        self.boards.send_replace(Arc::new(board));
    }

    fn clients(&self) -> usize {
        CLIENTS_MAX - self.room.available_permits()
    }

    fn stop(self) {
        self.stopper.stop();
        self.runtime.block_on(self.served).unwrap();
    }
}

fn wait_for(what: &str, done: impl Fn() -> bool) {
    let clock = Clock::start();
    let begun = clock.mono();
    while !done() {
        let waited = Duration::from_micros(clock.mono().since_us(begun));
        assert!(waited < DEADLINE, "waited in vain for: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Reads until this text has come.
fn read_until(stream: &mut TcpStream, text: &str) {
    let mut seen = Vec::new();
    let mut piece = vec![0; 65_536];
    while !String::from_utf8_lossy(&seen).contains(text) {
        let n = stream.read(&mut piece).unwrap();
        assert!(n > 0, "the stream ended before {text}");
        let keep = seen.len().saturating_sub(text.len());
        seen.drain(..keep);
        seen.extend_from_slice(&piece[..n]);
    }
}

#[test]
fn one_client_more_than_there_is_room_for_is_told_to_come_again() {
    let world = World::start(Patience::default());
    let mut clients = Vec::new();
    for n in 0..CLIENTS_MAX {
        let (stream, said) = world.client();
        assert!(said.starts_with("HTTP/1.1 200"), "{n}: {said}");
        clients.push(stream);
    }
    let (_refused, said) = world.client();
    assert!(said.starts_with("HTTP/1.1 503"), "{said}");
    assert!(said.contains("retry-after: 2"), "{said}");
    assert!(
        said.contains("256 live clients are connected already"),
        "{said}"
    );
    // one that goes away makes room, once there is something to tell it
    drop(clients.pop());
    world.say(1, 10);
    wait_for("room", || world.clients() < CLIENTS_MAX);
    let (_next, said) = world.client();
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    world.stop();
}

#[test]
fn a_client_that_stops_reading_is_let_go_and_holds_nobody_back() {
    let world = World::start(Patience {
        unread: Duration::from_secs(5),
        ..Patience::default()
    });
    let (slow, said) = world.client();
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    let (mut quick, _) = world.client();
    assert_eq!(world.clients(), 2);
    // the quick one reads every picture, whatever the slow one does
    let mut n = 0;
    let mut next = || {
        n += 1;
        world.say(n, EVENT_BYTES);
        read_until(&mut quick, &format!("\"started\":\"{n}:"));
    };
    for _ in 0..60 {
        next();
    }
    wait_for("the slow client's end", || world.clients() == 1);
    next();
    drop(slow);
    world.stop();
}
