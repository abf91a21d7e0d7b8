//! Lines that a program pushes through a real agent: each value arrives once, what is none is kept aside.

#![allow(clippy::unwrap_used)] // a test ends where it cannot go on

mod common;

use std::io::Write as _;
use std::os::unix::net::UnixStream;

use common::{Agent, Cloud, broker, wait_for};
use windlass_shared::record::Body;
use windlass_shared::wire;

const PROFILE: &str = r#"
name = "tiny"
version = 1
defaults = { period = "1s", class = "condition", rate_group = "fast" }
channels = [{ id = 1, name = "power", unit = "kW", scale = 0.1 }, { id = 2, name = "oil", unit = "°C", scale = 0.1 }]
"#;

fn agent(port: u16) -> Agent {
    let text = format!(
        "[gateway]\nid = \"gw-1\"\n[[turbine]]\nid = \"T1\"\nprofile = \"tiny.toml\"\n\
         [uplink]\nurl = \"mqtt://127.0.0.1:{port}\"\nack_timeout_s = 3\nretry_delay_max_s = 1\n\
         [[source]]\nkind = \"push\"\nname = \"plc\"\npath = \"plc.sock\"\nturbine = \"T1\"\n"
    );
    let agent = Agent::new(&text);
    std::fs::write(agent.path("tiny.toml"), PROFILE).unwrap();
    agent
}

fn connect(agent: &Agent) -> UnixStream {
    wait_for("the socket", || {
        UnixStream::connect(agent.path("plc.sock")).ok()
    })
}

/// (channel, raw) of every reading that the cloud has, ascending.
fn raws(cloud: &Cloud) -> Vec<(u16, i64)> {
    let mut all = Vec::new();
    for bytes in cloud.seen.lock().unwrap().records.values() {
        let Body::Batch(batch) = wire::decode(bytes).unwrap().body else {
            continue;
        };
        for block in &batch.blocks {
            for column in &block.columns {
                for row in 0..block.times.len() {
                    all.push((column.channel.0, batch.raw[column.at as usize + row]));
                }
            }
        }
    }
    all.sort_unstable();
    all
}

#[test]
fn lines_arrive_once_over_a_kill_and_what_is_no_line_ends_nothing() {
    let port = broker();
    let cloud = Cloud::on(port, "cloud", true);
    let mut agent = agent(port);
    agent.start();
    let mut plc = connect(&agent);
    plc.write_all(b"{\"power\": 1523.4, \"oil\": 61.2}\n{\"power\": 1}\nwhat?\n\n")
        .unwrap();
    plc.write_all(b"{\"power\": 2, \"pover\": 3, \"oil\": \"hot\"}\n{\"po")
        .unwrap();
    agent.wait_status("four readings and three mistakes", |s| {
        (s.sources[0].readings, s.sources[0].rejected) == (4, 3)
    });
    // a second program waits for the first one to go, which leaves half a line
    let mut second = connect(&agent);
    second.write_all(b"{\"power\": 4}\n").unwrap();
    drop(plc);
    agent.wait_status("the second program's reading", |s| {
        (s.sources[0].readings, s.sources[0].rejected) == (5, 4) && s.counters.records_acked > 0
    });
    wait_for("all of it in the cloud", || {
        (raws(&cloud).len() == 5).then_some(())
    });
    agent.kill();
    agent.start();
    // the socket of the killed one is replaced
    let mut third = connect(&agent);
    third
        .write_all(b"{\"oil\": null}\n{\"oil\": -0.5}\n")
        .unwrap();
    wait_for("all of it in the cloud", || {
        (raws(&cloud).len() == 7).then_some(())
    });
    assert!(agent.terminate().success());
    let expected = [
        (1, 10),
        (1, 20),
        (1, 40),
        (1, 15_234),
        (2, -5),
        (2, 0),
        (2, 612),
    ];
    assert_eq!(raws(&cloud), expected);
    let letters = std::fs::read_to_string(agent.path("outbox.dead-letter.jsonl")).unwrap();
    assert_eq!(letters.lines().count(), 4, "{letters}");
    for told in [
        "what?",
        "pover",
        "found \\\"hot\\\"",
        "ended within the line",
    ] {
        assert!(letters.contains(told), "{told} in {letters}");
    }
}

#[test]
fn a_line_without_an_end_ends_its_connection_only() {
    let port = broker();
    let cloud = Cloud::on(port, "cloud", true);
    let mut agent = agent(port);
    agent.start();
    let mut plc = connect(&agent);
    // the agent hangs up on the way
    let endless = vec![b' '; 1 << 20];
    assert!((0..16).any(|_| plc.write_all(&endless).is_err()));
    connect(&agent).write_all(b"{\"power\": 7}\n").unwrap();
    wait_for("the next program's reading", || {
        (raws(&cloud) == [(1, 70)]).then_some(())
    });
    let doc = agent.status().unwrap();
    assert_eq!((doc.sources[0].readings, doc.sources[0].rejected), (1, 1));
    assert!(agent.terminate().success());
}
