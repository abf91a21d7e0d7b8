//! A small site whose log holds what the test wrote, and the roles that serve it.

use std::sync::Arc;
use std::thread::JoinHandle;

use windlass_cloud::clock::Clock;
use windlass_cloud::log::sqlite::{SqliteLog, SqliteView};
use windlass_cloud::log::{Group, Log, NewEntry, PartitionId, Topic, TopicPartition};
use windlass_cloud::run::{Role, RunError, run};
use windlass_cloud::stop::Stopper;
use windlass_cloud_core::output::{
    AlertEvent, AlertState, AlertWindow, Counts, CoverageSummary, Direction, Level, LiveValue,
    StatusDoc, WindowCounts,
};
use windlass_cloud_core::topic::partition_of;
use windlass_shared::id::{FarmId, GatewayId};
use windlass_shared::record::Quality;
use windlass_shared::time::{EventTime, LogTime, SECOND_US, WallTime};

use super::http::get;
use super::rig::{Site, free_port, turbine, wait_for};

/// 2023-11-14T22:00:00Z.
pub const T0: i64 = 1_699_999_200 * SECOND_US;

/// Partitions of the site's log.
const PARTITIONS: u32 = 2;

/// The service on threads of its own.
pub struct Service {
    stopper: Stopper,
    thread: JoinHandle<Result<(), RunError>>,
}

/// A site with a console.
pub fn site() -> (Site, u16) {
    let port = free_port();
    let site = Site::with(&format!("console = {{ listen = \"127.0.0.1:{port}\" }}\n"));
    (site, port)
}

impl Service {
    /// Starts the roles and waits for the first picture.
    pub fn start(site: &Site, port: u16, roles: &'static [Role], turbines: usize) -> Self {
        let (stopper, stop) = Stopper::new();
        let config = site.config();
        let thread = std::thread::spawn(move || {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("a runtime")
                .block_on(run(config, roles, Some(stop)))
        });
        let service = Self { stopper, thread };
        wait_for("the console", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        wait_for("a picture with documents", || {
            let list = get(port, "/api/v1/turbines").json();
            let items = list["items"].as_array().expect("a list");
            items.iter().filter(|t| !t["log_time"].is_null()).count() >= turbines
        });
        service
    }

    pub fn stop(self) {
        self.stopper.stop();
        self.thread.join().expect("no panic").expect("a clean stop");
    }
}

/// Appends entries to the log of a site that does not run.
pub fn append(site: &Site, entries: Vec<(Topic, &str, Vec<u8>)>) {
    let config = site.config();
    std::fs::create_dir_all(&config.data_dir).expect("a directory");
    let log = SqliteLog::open(&config.log, Box::new(|| WallTime(T0))).expect("a log");
    let log: Arc<dyn Log> = Arc::new(log);
    append_to(&log, entries);
}

pub fn append_to(log: &Arc<dyn Log>, entries: Vec<(Topic, &str, Vec<u8>)>) {
    let entry = |(topic, key, value): (Topic, &str, Vec<u8>)| NewEntry {
        to: TopicPartition::new(topic, PartitionId(partition_of(key, PARTITIONS) as u16)),
        key: key.to_owned(),
        value,
    };
    log.append(entries.into_iter().map(entry).collect())
        .wait()
        .expect("appended");
}

/// Waits until the lake has everything of a topic in these turbines' partitions.
pub fn wait_for_lake(site: &Site, topic: Topic, turbines: &[&str]) {
    let view = SqliteView::open(&site.data().join("log.db")).expect("the log");
    wait_for("the lake to have all of it", || {
        turbines.iter().all(|turbine| {
            let partition = PartitionId(partition_of(turbine, PARTITIONS) as u16);
            let at = TopicPartition::new(topic, partition);
            let end = view.bounds(at).expect("bounds").1;
            let done = view.committed(Group::Lake, at).expect("a position");
            done.is_some_and(|c| c.next == end)
        })
    });
}

pub fn now() -> WallTime {
    Clock::start().wall()
}

fn live(channel: &str, value: f64, time: i64) -> LiveValue {
    LiveValue {
        channel: channel.to_owned(),
        value: Some(value),
        time: EventTime(time),
        quality: Quality::Good,
    }
}

/// A document of a turbine whose newest reading is of `time`.
pub fn doc(name: &str, position: u64, time: i64, power: f64) -> StatusDoc {
    StatusDoc {
        v: 1,
        turbine: turbine(name),
        farm: Some(FarmId::new("F1").expect("a name")),
        gateway: GatewayId::new(if name == "T3" { "GW2" } else { "GW1" }).expect("a name"),
        position,
        log_time: LogTime(T0 + 5 * SECOND_US),
        event_time: Some(EventTime(time)),
        fast_event_time: Some(EventTime(time)),
        slice_committed_at: Some(WallTime(time)),
        frontier: Some(EventTime(T0)),
        iec_state: Some(1),
        values: vec![
            live("active_power", power, time),
            live("available_power", 2_000.0, time),
            live("active_power_setpoint", 3_000.0, time),
            live("active_power_setpoint_source", 2.0, time),
            live("wind_speed", 9.25, time),
        ],
        coverage: CoverageSummary {
            epochs: 1,
            holes: 1,
            missing_seqs: 7,
            lost_seqs: 2,
            quarantined_epochs: 0,
        },
        counts: Counts {
            records: 10,
            accepted_readings: 100,
            counted_readings: 99,
            ..Counts::default()
        },
        windows: WindowCounts {
            settled: 3,
            exact: 2,
            ..WindowCounts::default()
        },
        alerts: Vec::new(),
    }
}

/// An alert's event; the id is made of `n`.
pub fn alert(n: u8, name: &str, revision: u32, state: AlertState, level: Level) -> AlertEvent {
    let second = SECOND_US * i64::from(n);
    AlertEvent {
        v: 1,
        alert: format!("{n:032x}"),
        episode: format!("{:032x}", 0xe00 + u32::from(n)),
        merged_into: None,
        revision,
        state,
        turbine: turbine(name),
        farm: Some(FarmId::new("F1").expect("a name")),
        rule: "gear-oil".to_owned(),
        cause: "gearbox".to_owned(),
        level,
        direction: Direction::High,
        channel: "gearbox_oil_temperature".to_owned(),
        unit: "°C".to_owned(),
        value: 81.5,
        limit: 80.0,
        score: None,
        operating_state: Some(1),
        first: EventTime(T0 + second),
        last: EventTime(T0 + second + SECOND_US),
        window: AlertWindow {
            kind: "1m".to_owned(),
            start: EventTime(T0),
            end: EventTime(T0 + 60 * SECOND_US),
            revision: 1,
        },
        sources: vec![windlass_cloud_core::detect::alert::Evidence {
            epoch: "00112233445566778899aabbccddeeff".to_owned(),
            seqs: vec![(3, 9)],
        }],
        config_version: 1,
        position: u64::from(n),
        log_time: LogTime(T0),
        detail: "gear oil is hot".to_owned(),
        acknowledged: None,
        shelved: None,
    }
}

impl Service {
    /// Writes a document of T1 into the status store, as the serve role would.
    pub fn write(site: &Site, position: u64, power: f64) {
        use windlass_cloud::serve::store::StatusStore;
        let path = site.data().join("status.db");
        let log = windlass_cloud::log::sqlite::SqliteView::open(&site.data().join("log.db"));
        let generation = log.and_then(|l| l.generation()).expect("the log");
        let mut store = StatusStore::open(&path, generation).expect("the store");
        let doc = doc("T1", position, now().0 + 3_600 * SECOND_US, power);
        let mut change = store.begin().expect("begin");
        assert!(change.status(&doc, &doc.encode()).expect("stored"));
        change.commit().expect("commit");
    }
}
