//! The console's routes on a port of a test, over a board that the test writes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use windlass_shared::time::WallTime;

use super::board::{Board, Sources};
use super::pipeline::Pipeline;
use super::server::{Limits, bind, serve};
use super::{Api, Places, router};
use crate::clock::Clock;
use crate::lake::fixture::fleet;
use crate::lake::views::Views;
use crate::log::sqlite::{SqliteLog, SqliteLogSettings};
use crate::stop::Stopper;

/// A test that waits longer than this has failed.
pub const DEADLINE: Duration = Duration::from_mins(1);

/// A console.
pub struct World {
    _dir: tempfile::TempDir,
    pub runtime: Runtime,
    boards: watch::Sender<Arc<Board>>,
    pub api: Arc<Api>,
    stopper: Stopper,
    served: JoinHandle<()>,
    port: u16,
}

impl World {
    /// With these limits.
    pub fn start(limits: Limits) -> Self {
        Self::with(limits, |_| {}, |_| Router::new())
    }

    /// With another API, and routes of the test's own.
    pub fn with(
        limits: Limits,
        change: impl FnOnce(&mut Api),
        more: impl FnOnce(&Arc<Api>) -> Router,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let (stopper, stop) = Stopper::new();
        let (boards, seen) = watch::channel(Arc::new(board()));
        let settings = SqliteLogSettings {
            path: dir.path().join("log.db"),
            partitions: 1,
            writer: 1,
            bytes_max: None,
            pace: Duration::ZERO,
        };
        let places = Places {
            lake: Arc::new(Views::new("file:///nowhere")),
            log: settings.path.clone(),
            fleet: fleet(),
        };
        let log = SqliteLog::open(&settings, Box::new(|| WallTime(0))).unwrap();
        let store = dir.path().join("status.db");
        let clock = (Clock::start(), stop.clone());
        let mut api = Api::new(store, places, Arc::new(log), seen, clock);
        change(&mut api);
        let api = Arc::new(api);
        let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = runtime.block_on(bind(any)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let app = router(Arc::clone(&api)).0.merge(more(&api));
        let served = runtime.spawn(serve(listener, app, limits, stop));
        Self {
            _dir: dir,
            runtime,
            boards,
            api,
            stopper,
            served,
            port,
        }
    }

    /// A connection on which nothing was said yet.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// A connection that asks for this, and has not read anything.
    pub fn ask(&self, path: &str) -> TcpStream {
        let mut stream = self.connect();
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    /// Head and body of an answer, as they came.
    pub fn get(&self, path: &str) -> (String, String) {
        let mut text = String::new();
        self.ask(path).read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    /// A new picture, so large.
    pub fn say(&self, n: usize, bytes: usize) {
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

    pub fn stop(self) {
        self.stopper.stop();
        self.runtime.block_on(self.served).unwrap();
    }
}

/// A board with every turbine of the registry, of which none ever spoke.
fn board() -> Board {
    Board::of(Sources {
        fleet: &fleet(),
        docs: &std::collections::BTreeMap::new(),
        alerts: &std::collections::BTreeMap::new(),
        rates: &|_| (None, None),
        pipeline: Pipeline::default(),
        now: WallTime(0),
        stale_after_us: 1,
    })
}

pub fn wait_for(what: &str, done: impl Fn() -> bool) {
    let clock = Clock::start();
    let begun = clock.mono();
    while !done() {
        let waited = Duration::from_micros(clock.mono().since_us(begun));
        assert!(waited < DEADLINE, "waited in vain for: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Reads until this text has come.
pub fn read_until(stream: &mut TcpStream, text: &str) {
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
