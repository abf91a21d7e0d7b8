//! Starts the roles: each gets what it needs, by value, and is watched from then on.

use std::fs;
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use windlass_cloud_core::cut::CutSettings;
use windlass_cloud_core::task::LOGIC_VERSION;

use super::{Context, Event, Role, RunError, Running};
use crate::broker;
use crate::console::server::{self, Patience};
use crate::console::{self, Api, Places, Poller};
use crate::downlink::Publisher;
use crate::http;
use crate::ingest::Ingest;
use crate::lake::Store;
use crate::lake::role::LakeRole;
use crate::lake::views::Views;
use crate::log::PartitionId;
use crate::process::snapshot::{SnapshotStore, queue};
use crate::process::{self, Processor};
use crate::serve::Serve;

/// Nice value of threads whose work nobody waits for.
const BULK_NICE: i32 = 5;

/// Starts all of them; what was started before one fails is in `running`.
pub(super) fn start(
    context: &Context,
    roles: &[Role],
    (listener, console): (TcpListener, Option<TcpListener>),
    registry: Registry,
    running: &mut Running,
) -> Result<(), RunError> {
    let config = &context.config;
    context.task(running, "http", {
        let (listen, stop) = (config.http, context.stop.clone());
        let registry = Arc::new(registry);
        async move { Ok(http::serve(listener, listen, registry, stop).await?) }
    });
    if roles.contains(&Role::Broker)
        && let Some(listen) = config.broker
    {
        let ended = context.ended.clone();
        broker::start(listen, move |e| {
            // nobody listens any more: the process is ending
            drop(ended.try_send(Event::Ended {
                name: Role::Broker.as_str().into(),
                result: Err(e.into()),
            }));
        })?;
    }
    if roles.contains(&Role::Process) {
        start_process(context, running)?;
    }
    if roles.contains(&Role::Serve) {
        let serve = Serve {
            log: Arc::clone(&context.log),
            path: config.status_path(),
            metrics: context.metrics.serve.clone(),
            clock: context.clock,
        };
        let stop = context.stop.clone();
        context.thread(running, "serve".into(), move || Ok(serve.run(&stop)?))?;
    }
    if roles.contains(&Role::Lake) {
        start_lake(context, running)?;
    }
    if roles.contains(&Role::Ingest) {
        start_ingest(context, running)?;
    }
    if let Some(listener) = console {
        start_console(context, roles, listener, running)?;
    }
    tracing::info!(
        roles = roles.iter().map(|r| r.as_str()).collect::<Vec<_>>().join(","),
        partitions = context.log.partitions(),
        turbines = config.fleet.turbines().count(),
        data = %config.data_dir.display(),
        "running"
    );
    Ok(())
}

fn start_process(context: &Context, running: &mut Running) -> Result<(), RunError> {
    let config = &context.config;
    let dir = config.snapshots_dir();
    let unusable = |source| RunError::Snapshots {
        path: dir.clone(),
        source,
    };
    fs::create_dir_all(&dir).map_err(|source| RunError::DataDir {
        path: dir.clone(),
        source,
    })?;
    let store = LocalFileSystem::new_with_prefix(&dir)
        .map_err(unusable)?
        .with_fsync(true);
    let snapshots = Arc::new(SnapshotStore::new(
        Arc::new(store),
        context.runtime.clone(),
        context.log.generation(),
        context.metrics.process.clone(),
    ));
    let (snapshot_queue, writer) = queue(Arc::clone(&snapshots), Arc::clone(&context.log));
    let processor = Arc::new(Processor {
        log: Arc::clone(&context.log),
        snapshots,
        snapshot_queue,
        settings: Arc::new(config.task.clone()),
        fleet: Arc::clone(&config.fleet),
        detectors: config.detectors.clone(),
        snapshot_every: config.snapshot_every,
        limits: process::LIMITS,
        logic: LOGIC_VERSION,
        metrics: context.metrics.process.clone(),
        clock: context.clock,
    });
    for p in 0..context.log.partitions() {
        let processor = Arc::clone(&processor);
        let stop = context.stop.clone();
        context.thread(running, format!("process-{p}"), move || {
            Ok(processor.run(PartitionId(p), &stop)?)
        })?;
    }
    context.thread(running, "snapshots".into(), move || {
        yield_to_live();
        writer.run();
        Ok(())
    })
}

/// Lowers the calling thread's priority: where the processor is short, bulk work waits for what an operator watches.
fn yield_to_live() {
    // on Linux it is the thread's, not the process's
    if let Err(error) = rustix::process::setpriority_process(None, BULK_NICE) {
        tracing::debug!(%error, "bulk work keeps its priority");
    }
}

fn start_lake(context: &Context, running: &mut Running) -> Result<(), RunError> {
    let config = &context.config;
    let lake = LakeRole {
        log: Arc::clone(&context.log),
        store: Store::open(&config.lake.url)?,
        fleet: Arc::clone(&config.fleet),
        cuts: CutSettings {
            every_us: config.lake.cut_every.as_micros() as i64,
            ..CutSettings::default()
        },
        skew_max_us: config.task.skew_max_us,
        metrics: context.metrics.lake.clone(),
    };
    let (stop, runtime) = (context.stop.clone(), context.runtime.clone());
    context.thread(running, "lake".into(), move || {
        yield_to_live();
        Ok(lake.run(&runtime, &stop)?)
    })
}

fn start_console(
    context: &Context,
    roles: &[Role],
    listener: TcpListener,
    running: &mut Running,
) -> Result<(), RunError> {
    let config = &context.config;
    let Some(console) = &config.console else {
        return Ok(());
    };
    let poller = Poller {
        fleet: Arc::clone(&config.fleet),
        store: config.status_path(),
        log: config.log.path.clone(),
        snapshots: config.snapshots_dir(),
        stale_after: console.stale_after,
        ingest: roles
            .contains(&Role::Ingest)
            .then(|| context.metrics.ingest.clone()),
        clock: context.clock,
        started: context.clock.wall(),
    };
    let (boards, seen) = watch::channel(Arc::default());
    let stop = context.stop.clone();
    context.thread(running, "console-poller".into(), move || {
        poller.run(&boards, &stop);
        Ok(())
    })?;
    let places = Places {
        lake: Arc::new(Views::new(&config.lake.url)),
        log: config.log.path.clone(),
        fleet: Arc::clone(&config.fleet),
    };
    let api = Api::new(
        config.status_path(),
        places,
        Arc::clone(&context.log),
        seen,
        (context.clock, context.stop.clone()),
    );
    let (app, _) = console::router(Arc::new(api));
    let stop = context.stop.clone();
    // the address as it is: the configuration may have asked for any free port
    let address = listener.local_addr().unwrap_or(console.listen);
    tracing::info!("console at http://{address}/");
    context.task(running, "console", async move {
        server::serve(listener, app, Patience::default(), stop).await;
        Ok(())
    });
    Ok(())
}

fn start_ingest(context: &Context, running: &mut Running) -> Result<(), RunError> {
    let config = &context.config;
    let ingest = Ingest {
        log: Arc::clone(&context.log),
        fleet: Arc::clone(&config.fleet),
        mqtt: config.mqtt.clone(),
        metrics: context.metrics.ingest.clone(),
        clock: context.clock,
    };
    let stop = context.stop.clone();
    context.task(
        running,
        "ingest",
        async move { Ok(ingest.run(stop).await?) },
    );
    let publisher = Publisher {
        log: Arc::clone(&context.log),
        mqtt: config.mqtt.clone(),
        published: context.metrics.downlinks.clone(),
        clock: context.clock,
    };
    let (stop, runtime) = (context.stop.clone(), context.runtime.clone());
    context.thread(running, "downlink".into(), move || {
        Ok(publisher.run(&runtime, &stop)?)
    })
}
