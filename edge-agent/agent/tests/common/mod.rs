//! A broker, a link to it that can be cut, a cloud that acknowledges, and agents as processes.
#![allow(dead_code)] // each test binary uses a part of it
#![allow(clippy::unwrap_used)] // a test ends where it cannot go on

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rumqttc::{Client, Event, MqttOptions, Packet, QoS};
use windlass_edge::socket;
use windlass_edge::status::StatusDoc;
use windlass_shared::id::{RecordId, SeqRange};
use windlass_shared::wire::{self, Ack, AckLevel, Downlink};

/// Generous: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until `done` gives something.
#[allow(clippy::disallowed_methods)] // polls a condition with a deadline
pub fn wait_for<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(Instant::now() < end, "still waiting for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// An embedded broker with nothing in it, on a port of its own; it lives until the process ends.
pub fn broker() -> u16 {
    let port = free_port();
    let settings = rumqttd::ServerSettings {
        name: "v4".to_owned(),
        listen: SocketAddr::from(([127, 0, 0, 1], port)),
        tls: None,
        next_connection_delay_ms: 1,
        connections: rumqttd::ConnectionSettings {
            connection_timeout_ms: 5_000,
            max_payload_size: 300 * 1024,
            max_inflight_count: 500,
            auth: None,
            external_auth: None,
            dynamic_filters: true,
        },
    };
    let config = rumqttd::Config {
        id: 0,
        router: rumqttd::RouterConfig {
            max_connections: 20,
            max_outgoing_packet_count: 1_000,
            max_segment_size: 50 * 1024 * 1024,
            max_segment_count: 10,
            custom_segment: None,
            initialized_filters: None,
            ..Default::default()
        },
        v4: Some([("v4".to_owned(), settings)].into_iter().collect()),
        ..Default::default()
    };
    std::thread::spawn(move || rumqttd::Broker::new(config).start().unwrap());
    wait_for("the broker's port", || {
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
    port
}

/// A TCP link that can be cut, and led to another broker.
pub struct Link {
    /// Where the agent connects to.
    pub port: u16,
    target: Arc<AtomicU16>,
    up: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Link {
    /// Leads to `target`.
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let link = Self {
            port: listener.local_addr().unwrap().port(),
            target: Arc::new(AtomicU16::new(target)),
            up: Arc::new(AtomicBool::new(true)),
            open: Arc::default(),
        };
        let (target, up, open) = (link.target.clone(), link.up.clone(), link.open.clone());
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if !up.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(far) = TcpStream::connect(("127.0.0.1", target.load(Ordering::SeqCst)))
                else {
                    continue;
                };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    std::thread::spawn(move || {
                        let _copied = std::io::copy(&mut from, &mut to);
                        let _closed = to.shutdown(std::net::Shutdown::Both);
                    });
                }
                open.lock().unwrap().extend([near, far]);
            }
        });
        link
    }

    /// Cuts every connection and refuses new ones.
    pub fn cut(&self) {
        self.up.store(false, Ordering::SeqCst);
        for stream in self.open.lock().unwrap().drain(..) {
            let _closed = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Lets new connections through, to `target`.
    pub fn mend(&self, target: u16) {
        self.target.store(target, Ordering::SeqCst);
        self.up.store(true, Ordering::SeqCst);
    }
}

/// What the cloud has seen.
#[derive(Default)]
pub struct Seen {
    /// Bytes by identity.
    pub records: BTreeMap<RecordId, Vec<u8>>,
    /// How often each came.
    pub times: BTreeMap<RecordId, usize>,
    /// Bytes of topics and payloads.
    pub bytes: u64,
    /// Messages.
    pub messages: u64,
}

/// A subscriber that plays ingest: keeps records, and acknowledges them when told to.
pub struct Cloud {
    /// What it has seen.
    pub seen: Arc<Mutex<Seen>>,
    acks: Arc<AtomicBool>,
    client: Client,
}

impl Cloud {
    /// Listens on the broker behind `port`.
    pub fn on(port: u16, name: &str, acks: bool) -> Self {
        let mut options = MqttOptions::new(name, "127.0.0.1", port);
        options.set_max_packet_size(300 * 1024, 300 * 1024);
        let (client, mut connection) = Client::new(options, 1_000);
        client.subscribe("wl1/up/#", QoS::AtLeastOnce).unwrap();
        let cloud = Self {
            seen: Arc::default(),
            acks: Arc::new(AtomicBool::new(acks)),
            client,
        };
        let (seen, acks, client) = (cloud.seen.clone(), cloud.acks.clone(), cloud.client.clone());
        let subscribed = Arc::new(AtomicBool::new(false));
        let ready = subscribed.clone();
        std::thread::spawn(move || {
            for event in connection.iter() {
                match event {
                    Ok(Event::Incoming(Packet::SubAck(_))) => ready.store(true, Ordering::SeqCst),
                    Ok(Event::Incoming(Packet::Publish(p))) => {
                        let (gateway, id) = wire::parse_up_topic(&p.topic).unwrap();
                        let mut seen = seen.lock().unwrap();
                        seen.messages += 1;
                        seen.bytes += (p.topic.len() + p.payload.len()) as u64;
                        *seen.times.entry(id.clone()).or_default() += 1;
                        seen.records.insert(id.clone(), p.payload.to_vec());
                        if acks.load(Ordering::SeqCst) {
                            ack(&client, gateway.as_str(), &id);
                        }
                    }
                    Ok(_) => {}
                    Err(_) => return,
                }
            }
        });
        wait_for("the subscription", || {
            subscribed.load(Ordering::SeqCst).then_some(())
        });
        cloud
    }

    /// From now on every record is acknowledged as it comes.
    pub fn acknowledge(&self) {
        self.acks.store(true, Ordering::SeqCst);
    }

    /// How many records of `turbine` are there.
    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().records.len()
    }
}

fn ack(client: &Client, gateway: &str, id: &RecordId) {
    let downlink = Downlink {
        acks: vec![Ack {
            turbine: id.turbine.clone(),
            epoch: id.epoch,
            ranges: vec![SeqRange::one(id.seq)],
            level: AckLevel::Safe,
            verdicts: vec![],
        }],
        ..Downlink::default()
    };
    let topic = format!("wl1/down/{gateway}");
    client
        .publish(
            topic,
            QoS::AtLeastOnce,
            false,
            wire::encode_downlink(&downlink),
        )
        .unwrap();
}

/// A gateway's directory, configuration and agent process.
pub struct Agent {
    /// Everything it has.
    pub dir: tempfile::TempDir,
    child: Option<Child>,
}

impl Agent {
    /// Not started yet; `text` is its configuration without `[outbox]` and `[status]`.
    pub fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            "[outbox]\npath = \"outbox.db\"\nfree_min_bytes = 0\n[status]\nsocket = \"edge.sock\"\n{text}"
        );
        std::fs::write(dir.path().join("edge.toml"), config).unwrap();
        Self { dir, child: None }
    }

    /// A gateway with one simulated 300-channel turbine behind the broker on `port`.
    pub fn simulated(port: u16, more: &str) -> Self {
        Self::new(&simulated(port, more))
    }

    /// A file of it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The program with `args` and its configuration.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_windlass-edge"));
        command
            .args(args)
            .arg("--config")
            .arg(self.path("edge.toml"));
        command
    }

    /// Starts the agent; its log goes to `agent.log`.
    pub fn start(&mut self) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("agent.log"))
            .unwrap();
        let child = self
            .command(&["run"])
            .stderr(log)
            .stdin(Stdio::null())
            .spawn();
        let mut child = child.unwrap();
        wait_for("the agent's status", || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "the agent ended: {}", self.log());
            self.status()
        });
        self.child = Some(child);
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// What it says of itself.
    pub fn status(&self) -> Option<StatusDoc> {
        socket::ask(&self.path("edge.sock")).ok()
    }

    /// Waits until its status satisfies `done`.
    pub fn wait_status(&self, what: &str, done: impl Fn(&StatusDoc) -> bool) -> StatusDoc {
        wait_for(what, || self.status().filter(|s| done(s)))
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM, and how it ended.
    pub fn terminate(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        signal(child.id(), "-TERM");
        wait_for("the agent's end", || child.try_wait().unwrap())
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("agent.log")).unwrap_or_default()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _gone = child.kill();
            let _reaped = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- agent.log\n{}", self.log());
        }
    }
}

fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([name, &pid.to_string()]).status();
    assert!(status.unwrap().success());
}

/// The shipped 300-channel profile.
pub fn profile() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../hardware/profiles/onshore-3mw.toml")
}

/// Configuration of a gateway with one simulated turbine.
pub fn simulated(port: u16, more: &str) -> String {
    format!(
        r#"
[gateway]
id = "gw-1"
[[turbine]]
id = "T001"
profile = "{}"
[uplink]
url = "mqtt://127.0.0.1:{port}"
ack_timeout_s = 3
retry_delay_max_s = 1
[[source]]
kind = "simulator"
name = "sim"
turbine = "T001"
{more}"#,
        profile().display()
    )
}
