//! The broker over real sockets, with a real client library or with bytes of our own.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use rumqttc::{Client, Connection, Event, MqttOptions, Packet, QoS};

use super::*;

const BOUND: Duration = Duration::from_secs(20);

fn broker() -> SocketAddr {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = free.local_addr().unwrap();
    drop(free);
    start(listen, |why| panic!("{why}")).unwrap();
    listen
}

fn client(broker: SocketAddr, id: &str) -> (Client, Connection) {
    let mut options = MqttOptions::new(id, broker.ip().to_string(), broker.port());
    options
        .set_keep_alive(Duration::from_secs(30))
        .set_inflight(500)
        .set_max_packet_size(2 << 20, 2 << 20);
    Client::new(options, 4_096)
}

/// Looks at what comes until `found` has something.
fn await_packet<T>(connection: &mut Connection, found: impl Fn(&Packet) -> Option<T>) -> T {
    loop {
        match connection.recv_timeout(BOUND).expect("in time") {
            Ok(Event::Incoming(packet)) => {
                if let Some(t) = found(&packet) {
                    return t;
                }
            }
            Ok(Event::Outgoing(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn subscribed(client: &Client, connection: &mut Connection, filter: &str) {
    client.subscribe(filter, QoS::AtLeastOnce).unwrap();
    await_packet(connection, |p| matches!(p, Packet::SubAck(_)).then_some(()));
}

fn message(packet: &Packet) -> Option<(String, Vec<u8>)> {
    match packet {
        Packet::Publish(p) => Some((p.topic.clone(), p.payload.to_vec())),
        _ => None,
    }
}

#[test]
fn it_listens_on_loopback_only() {
    for listen in ["0.0.0.0:1883", "192.0.2.1:1883", "[::]:1883"] {
        let e = start(listen.parse().unwrap(), |_| ()).unwrap_err();
        assert!(
            e.to_string()
                .starts_with(&format!("broker.listen = \"{listen}\"")),
            "{e}"
        );
        assert!(matches!(e, BrokerError::NotLoopback(_)));
    }
    check_listen("[::1]:1883".parse().unwrap()).unwrap();
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap();
    let e = start(listen, |_| ()).unwrap_err();
    assert!(e.to_string().contains(&listen.to_string()), "{e}");
    assert!(matches!(e, BrokerError::Listen { .. }));
}

#[test]
fn messages_reach_those_who_subscribed_in_order_and_once() {
    let broker = broker();
    let (ingest, mut up) = client(broker, "ingest");
    subscribed(&ingest, &mut up, "wl1/up/#");
    let (gateway, mut down) = client(broker, "gateway");
    subscribed(&gateway, &mut down, "wl1/down/gateway");
    // more than a window, each to a topic of its own
    let n = 3_000;
    let sender = std::thread::spawn(move || {
        for i in 0..n {
            let topic = format!("wl1/up/gateway/T1/{i}");
            gateway
                .publish(topic, QoS::AtLeastOnce, false, vec![7; 100])
                .unwrap();
        }
        gateway
    });
    let acks = std::thread::spawn(move || {
        for _ in 0..n {
            await_packet(&mut down, |p| matches!(p, Packet::PubAck(_)).then_some(()));
        }
        down
    });
    for i in 0..n {
        let (topic, payload) = await_packet(&mut up, message);
        assert_eq!(topic, format!("wl1/up/gateway/T1/{i}"));
        assert_eq!(payload, [7; 100]);
    }
    let _gateway = sender.join().unwrap();
    let mut down = acks.join().unwrap();
    for topic in ["wl1/down/another", "wl1/down/gateway"] {
        ingest
            .publish(topic, QoS::AtLeastOnce, false, topic)
            .unwrap();
    }
    await_packet(&mut up, |p| matches!(p, Packet::PubAck(_)).then_some(()));
    let (topic, _) = await_packet(&mut down, message);
    assert_eq!(topic, "wl1/down/gateway", "and not the other one");
}

#[test]
fn publishers_wait_for_a_subscriber_with_a_wildcard_and_nothing_is_dropped() {
    let broker = broker();
    let (ingest, mut up) = client(broker, "ingest");
    subscribed(&ingest, &mut up, "up/#");
    // twice what may wait, while the subscriber does not read
    let (n, bytes) = (300, 240 * 1024);
    let (gateway, mut connection) = client(broker, "gateway");
    let sender = std::thread::spawn(move || {
        for i in 0..n {
            let topic = format!("up/{i}");
            gateway
                .publish(topic, QoS::AtLeastOnce, false, vec![1; bytes])
                .unwrap();
        }
        for _ in 0..n {
            await_packet(&mut connection, |p| {
                matches!(p, Packet::PubAck(_)).then_some(())
            });
        }
    });
    for i in 0..n {
        let (topic, payload) = await_packet(&mut up, message);
        assert_eq!((topic, payload.len()), (format!("up/{i}"), bytes));
    }
    sender.join().unwrap();
}

#[test]
fn a_client_of_the_same_name_takes_the_place_of_the_one_before() {
    let broker = broker();
    let (first, mut old) = client(broker, "gateway");
    subscribed(&first, &mut old, "down");
    let (second, mut new) = client(broker, "gateway");
    subscribed(&second, &mut new, "down");
    let gone = loop {
        match old.recv_timeout(BOUND).expect("in time") {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(gone.to_string().contains("closed"), "{gone}");
    second
        .publish("down", QoS::AtLeastOnce, false, "x")
        .unwrap();
    assert_eq!(
        await_packet(&mut new, message),
        ("down".into(), b"x".to_vec())
    );
}

#[test]
fn a_client_hears_so_many_filters_and_no_more_over_all_its_subscriptions() {
    let broker = broker();
    let (client, mut connection) = client(broker, "greedy");
    let granted = |client: &Client, connection: &mut Connection, filter: &str| {
        client.subscribe(filter, QoS::AtLeastOnce).unwrap();
        await_packet(connection, |p| match p {
            Packet::SubAck(ack) => Some(
                !ack.return_codes
                    .contains(&rumqttc::SubscribeReasonCode::Failure),
            ),
            _ => None,
        })
    };
    for i in 0..64 {
        assert!(granted(&client, &mut connection, &format!("down/{i}")));
    }
    assert!(
        !granted(&client, &mut connection, "down/64"),
        "one too many"
    );
    assert!(
        granted(&client, &mut connection, "down/7"),
        "again is none more"
    );
}

/// What the broker answers to these bytes before it closes the connection.
fn answer_to(broker: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(broker).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        // it closed while we were still sending
        Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::ConnectionReset, "{e}"),
    }
    answer
}

const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01g";
const CONNACK: &[u8] = b"\x20\x02\x00\x00";

#[test]
fn what_is_no_mqtt_ends_the_connection_and_no_other() {
    let broker = broker();
    let (ingest, mut up) = client(broker, "ingest");
    subscribed(&ingest, &mut up, "up/#");
    let publish_qos2 = b"\x34\x08\x00\x04up/a\x00\x01";
    let publish_wild = b"\x32\x08\x00\x04up/#\x00\x01";
    let no_client_id = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00";
    for (bytes, expected) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], &b""[..]),
        (b"\xff\xff\xff\xff\xff\xff", b""),
        (b"\x30\x03\x00\x01a", b""),
        (&no_client_id[..], b"\x20\x02\x00\x02"),
        (&[CONNECT, publish_qos2].concat(), CONNACK),
        (&[CONNECT, publish_wild].concat(), CONNACK),
        (&[CONNECT, CONNECT].concat(), CONNACK),
        // five megabytes announced
        (&[CONNECT, b"\x32\x80\x80\xc0\x02"].concat(), CONNACK),
        (&[CONNECT, b"\xe0\x00"].concat(), CONNACK),
    ] {
        assert_eq!(answer_to(broker, bytes), expected, "{bytes:?}");
    }
    ingest
        .publish("up/still", QoS::AtLeastOnce, false, "here")
        .unwrap();
    assert_eq!(await_packet(&mut up, message).0, "up/still");
}

#[test]
fn random_bytes_are_survived() {
    let broker = broker();
    let mut seed = 1_u64;
    for round in 0..300 {
        let mut bytes = if round % 2 == 0 {
            CONNECT.to_vec()
        } else {
            Vec::new()
        };
        for _ in 0..40 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            bytes.push((seed >> 33) as u8);
        }
        let mut stream = TcpStream::connect(broker).unwrap();
        // it may have closed already
        drop(stream.write_all(&bytes));
    }
    let (gateway, mut connection) = client(broker, "gateway");
    subscribed(&gateway, &mut connection, "a/b");
}
