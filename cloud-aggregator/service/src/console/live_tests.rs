//! Live clients that do what they should not, over real sockets: too many of them, and some that stop reading.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use super::*;
use crate::console::server::Limits;
use crate::console::world::{World, read_until, wait_for};

/// An event that no socket's buffers hold many of.
const EVENT_BYTES: usize = 500_000;

impl World {
    /// A client of `/live`, with what the head of its answer begins with.
    fn client(&self) -> (TcpStream, String) {
        let mut stream = self.ask("/api/v1/live?topics=pipeline");
        let mut head = vec![0; 1_000];
        let n = stream.read(&mut head).unwrap();
        let text = String::from_utf8_lossy(&head[..n]).into_owned();
        (stream, text)
    }

    fn clients(&self) -> usize {
        CLIENTS_MAX - self.api.live_room.available_permits()
    }
}

#[test]
fn one_client_more_than_there_is_room_for_is_told_to_come_again() {
    let world = World::start(Limits::default());
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
    let world = World::start(Limits {
        unread: Duration::from_secs(5),
        ..Limits::default()
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
