//! A link between gateways and their broker that can be cut and degraded: TCP through here, bytes counted.
//!
//! Invariants: a cut link loses nothing by itself that TCP had acknowledged on the near side only (that is the point: the
//! sender believes it is on its way); at most [`CONNECTIONS_MAX`] connections; all threads end when the link is dropped.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::clock::{self, Stopwatch};

mod quality;

pub use quality::{Fate, Fates, Quality};

/// Connections at a time; more are refused.
pub const CONNECTIONS_MAX: usize = 64;
/// How often a thread that has nothing to read looks at the link's state.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How the link is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum State {
    /// Bytes flow.
    Up = 0,
    /// Connections are closed, new ones refused.
    Refused = 1,
    /// Connections stay, nothing flows: what a lost radio link looks like.
    Silent = 2,
    /// The link's end.
    Closed = 3,
}

struct Shared {
    state: AtomicU8,
    up_bytes: AtomicU64,
    down_bytes: AtomicU64,
    stalls: AtomicU64,
    breaks: AtomicU64,
    quality: Mutex<Quality>,
    open: Mutex<Vec<TcpStream>>,
}

/// A link to one address.
pub struct Link {
    shared: Arc<Shared>,
    port: u16,
    acceptor: Option<JoinHandle<()>>,
}

impl Link {
    /// Listens on a free loopback port, and leads to `target` port.
    pub fn new(target: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
        let port = listener.local_addr()?.port();
        listener.set_nonblocking(true)?;
        let shared = Arc::new(Shared {
            state: AtomicU8::new(State::Up as u8),
            up_bytes: AtomicU64::new(0),
            down_bytes: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
            breaks: AtomicU64::new(0),
            quality: Mutex::new(Quality::default()),
            open: Mutex::new(Vec::new()),
        });
        let acceptor = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || accept(&listener, target, &shared))
        };
        Ok(Self {
            shared,
            port,
            acceptor: Some(acceptor),
        })
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes how the link is.
    pub fn set(&self, state: State) {
        self.shared.set(state);
    }

    /// Changes how well the link carries, from the next piece on.
    pub fn degrade(&self, quality: Quality) {
        *self
            .shared
            .quality
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = quality;
    }

    /// Pieces that were lost so far: those that made the stream stall, and those that broke a connection.
    pub fn losses(&self) -> (u64, u64) {
        (
            self.shared.stalls.load(Ordering::Relaxed),
            self.shared.breaks.load(Ordering::Relaxed),
        )
    }

    /// Payload bytes of TCP so far: to the broker, and from it.
    pub fn bytes(&self) -> (u64, u64) {
        (
            self.shared.up_bytes.load(Ordering::Relaxed),
            self.shared.down_bytes.load(Ordering::Relaxed),
        )
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.set(State::Closed);
        if let Some(acceptor) = self.acceptor.take()
            && acceptor.join().is_err()
        {
            eprintln!("the link's thread panicked");
        }
    }
}

impl Shared {
    fn state(&self) -> u8 {
        self.state.load(Ordering::Acquire)
    }

    fn quality(&self) -> Quality {
        *self.quality.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self) -> bool {
        self.is(State::Refused) || self.is(State::Closed)
    }

    /// Waits so long, and while the link is silent. Less when the link ends.
    fn hold(&self, time: Duration) {
        let watch = Stopwatch::start();
        while !self.ended() {
            let left = time.saturating_sub(watch.elapsed());
            if left.is_zero() && !self.is(State::Silent) {
                return;
            }
            clock::pause(if left.is_zero() {
                LOOK_EVERY
            } else {
                left.min(LOOK_EVERY)
            });
        }
    }

    fn is(&self, state: State) -> bool {
        self.state() == state as u8
    }

    fn set(&self, state: State) {
        self.state.store(state as u8, Ordering::Release);
        if matches!(state, State::Refused | State::Closed) {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            for stream in open.drain(..) {
                close(&stream);
            }
        }
    }
}

/// Ends a connection; that it has ended already is as good.
fn close(stream: &TcpStream) {
    stream.shutdown(Shutdown::Both).ok();
}

fn accept(listener: &TcpListener, target: u16, shared: &Arc<Shared>) {
    let mut pumps: Vec<JoinHandle<()>> = Vec::new();
    let mut connections = 0;
    while !shared.is(State::Closed) {
        pumps.retain(|p| !p.is_finished());
        match listener.accept() {
            Ok((near, _)) if shared.is(State::Refused) || pumps.len() >= 2 * CONNECTIONS_MAX => {
                close(&near);
            }
            Ok((near, _)) => {
                connections += 1;
                match connect(&near, target, connections, shared) {
                    Ok(pair) => pumps.extend(pair),
                    Err(_) => close(&near),
                }
            }
            Err(_) => clock::pause(LOOK_EVERY),
        }
    }
    for pump in pumps {
        if pump.join().is_err() {
            eprintln!("a pump of the link panicked");
        }
    }
}

fn connect(
    near: &TcpStream,
    target: u16,
    number: u64,
    shared: &Arc<Shared>,
) -> Result<[JoinHandle<()>; 2]> {
    near.set_nonblocking(false)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, target));
    let far = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    for stream in [near, &far] {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LOOK_EVERY))?;
        let mut open = shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|s| s.peer_addr().is_ok());
        open.push(stream.try_clone()?);
    }
    let spawn = |from: TcpStream, to: TcpStream, up: bool| {
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            pump(&from, &to, (number, up), &shared);
            close(&from);
            close(&to);
        })
    };
    Ok([
        spawn(near.try_clone()?, far.try_clone()?, true),
        spawn(far, near.try_clone()?, false),
    ])
}

/// Moves bytes one way until an end closes or the link does.
fn pump(mut from: &TcpStream, mut to: &TcpStream, (number, up): (u64, bool), shared: &Shared) {
    let mut buffer = [0; 16 * 1024];
    let mut draws: Option<(u64, Fates)> = None;
    loop {
        shared.hold(Duration::ZERO);
        if !shared.is(State::Up) {
            return;
        }
        let quality = shared.quality();
        let most = quality.piece_bytes(buffer.len());
        match from.read(&mut buffer[..most]) {
            Ok(0) => return,
            Ok(n) => {
                if draws.as_ref().is_none_or(|(seed, _)| *seed != quality.seed) {
                    draws = Some((quality.seed, Fates::new(quality.seed, number, up)));
                }
                let fate = draws.as_mut().map(|(_, f)| f.draw(quality.loss_percent));
                let stall = match fate {
                    Some(Fate::Breaks) => {
                        shared.breaks.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                    Some(Fate::Stalls(time)) => {
                        shared.stalls.fetch_add(1, Ordering::Relaxed);
                        time
                    }
                    Some(Fate::Passes) | None => Duration::ZERO,
                };
                // What was read while the link fell silent waits here, as it would in a modem.
                shared.hold(quality.delay + stall + quality.time_of(n));
                // counted before it is sent: who has received it sees it counted
                let counter = if up {
                    &shared.up_bytes
                } else {
                    &shared.down_bytes
                };
                counter.fetch_add(n as u64, Ordering::Relaxed);
                if to.write_all(&buffer[..n]).is_err() {
                    return;
                }
            }
            Err(error) if is_time_out(&error) => {}
            Err(_) => return,
        }
    }
}

fn is_time_out(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An echo server for one connection after the other, on its own thread until the process ends.
    fn echo() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (mut from, mut to) = (stream.try_clone().unwrap(), stream);
                std::io::copy(&mut from, &mut to).ok();
            }
        });
        port
    }

    fn dial(link: &Link) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, link.port())).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        stream
    }

    #[test]
    fn a_link_carries_holds_back_and_cuts() {
        let link = Link::new(echo()).unwrap();
        let mut stream = dial(&link);
        let mut four = [0; 4];
        stream.write_all(b"ping").unwrap();
        stream.read_exact(&mut four).unwrap();
        assert_eq!((&four, link.bytes()), (b"ping", (4, 4)));

        link.set(State::Silent);
        stream.write_all(b"late").unwrap();
        assert!(is_time_out(&stream.read_exact(&mut four).unwrap_err()));
        link.set(State::Up);
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream.read_exact(&mut four).unwrap();
        assert_eq!(&four, b"late");

        link.set(State::Refused);
        assert_eq!(stream.read(&mut four).unwrap_or(0), 0);
        assert_eq!(dial(&link).read(&mut four).unwrap_or(0), 0);
        link.set(State::Up);
        let mut stream = dial(&link);
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream.write_all(b"back").unwrap();
        stream.read_exact(&mut four).unwrap();
        assert_eq!(&four, b"back");
    }
    #[test]
    fn a_degraded_link_is_slow_late_and_lossy_and_carries_every_byte_of_a_connection() {
        let link = Link::new(echo()).unwrap();
        let ask = |link: &Link, bytes: usize| -> (Duration, bool) {
            let mut stream = dial(link);
            stream
                .set_read_timeout(Some(Duration::from_secs(30)))
                .unwrap();
            let watch = Stopwatch::start();
            let sent = vec![7; bytes];
            let mut back = vec![0; bytes];
            let whole = stream.write_all(&sent).is_ok() && stream.read_exact(&mut back).is_ok();
            assert!(!whole || back == sent);
            (watch.elapsed(), whole)
        };
        link.degrade(Quality {
            bytes_per_s: Some(2_000),
            delay: Duration::from_millis(20),
            ..Quality::default()
        });
        // at least 1,000 bytes at 2,000 bytes a second
        let (time, whole) = ask(&link, 1_000);
        assert!(whole && time >= Duration::from_millis(500), "{time:?}");
        link.degrade(Quality {
            loss_percent: 100.0,
            seed: 5,
            ..Quality::default()
        });
        while link.losses().0 == 0 || link.losses().1 == 0 {
            ask(&link, 10);
        }
        link.degrade(Quality::default());
        assert!(ask(&link, 100_000).1);
    }
}
