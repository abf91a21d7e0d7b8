//! The console role: an HTTP API over what the other roles have stored, the live wall, and the pages.
//!
//! Invariants: it reads, over connections of its own, and appends operators' marks to the log; it never holds back the
//! pipeline: queries run on a bounded number of threads, within a named time, and what is too much is refused with 503.

// a problem is the answer itself, made once a request; a match of two arms reads as the two cases that it is
#![allow(clippy::result_large_err, clippy::single_match_else)]

mod alerts;
mod ask;
mod assets;
mod board;
mod csv;
mod deadletters;
mod heavy;
mod history;
mod live;
mod marks;
mod model;
mod pipeline;
mod poller;
mod problem;
mod proof;
mod readings;
mod refusals;
pub mod server;
mod timeline;
mod turbines;
mod windows;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, middleware};
use tokio::sync::{Semaphore, watch};
use utoipa::openapi::{Components, ComponentsBuilder, Info, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use windlass_cloud_core::fleet::Fleet;
use windlass_shared::catalogue::Catalogue;
use windlass_shared::id::{FarmId, TurbineId};

use crate::clock::Clock;
use crate::log::Log;
use crate::serve::store::{StatusStore, StoreError};
use crate::stop::Stop;
use board::{Board, Card};
use heavy::Heavy;
use problem::Problem;

pub use history::Places;
pub use poller::Poller;

/// Reads of the status store at once.
const STORE_READS_MAX: usize = 4;
/// How long such a read may wait and take.
const STORE_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Exports at once; the next ones wait.
const EXPORTS_MAX: usize = 2;
/// Largest body of a request, bytes.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// What the handlers share.
pub struct Api {
    /// Who stands where.
    pub fleet: Arc<Fleet>,
    /// The status store's file.
    pub store: PathBuf,
    /// The newest picture.
    pub boards: watch::Receiver<Arc<Board>>,
    /// Places for live clients.
    pub live_room: Arc<Semaphore>,
    /// Places for reads of the status store.
    pub store_room: Arc<Semaphore>,
    /// Where the past is.
    pub places: Places,
    /// Places for queries over the lake.
    pub heavy: Heavy,
    /// Places for exports.
    pub export_room: Arc<Semaphore>,
    /// Where operators' marks go.
    pub log: Arc<dyn Log>,
    /// What time it is.
    pub clock: Clock,
    /// When to end.
    pub stop: Stop,
}

impl Api {
    /// Over these files.
    pub fn new(
        store: PathBuf,
        places: Places,
        log: Arc<dyn Log>,
        boards: watch::Receiver<Arc<Board>>,
        (clock, stop): (Clock, Stop),
    ) -> Self {
        Self {
            fleet: Arc::clone(&places.fleet),
            store,
            boards,
            live_room: Arc::new(Semaphore::new(live::CLIENTS_MAX)),
            store_room: Arc::new(Semaphore::new(STORE_READS_MAX)),
            places,
            heavy: Heavy::default(),
            export_room: Arc::new(Semaphore::new(EXPORTS_MAX)),
            log,
            clock,
            stop,
        }
    }

    fn board(&self) -> Arc<Board> {
        Arc::clone(&self.boards.borrow())
    }

    /// The farm, or a problem that names it.
    fn farm(&self, id: &str) -> Result<FarmId, Problem> {
        let known = self.fleet.farms().find(|f| f.id.as_str() == id);
        known
            .map(|f| f.id.clone())
            .ok_or_else(|| Problem::not_found("farm", id))
    }

    /// The turbine, or a problem that names it.
    fn card(&self, id: &str) -> Result<Arc<Card>, Problem> {
        let found = self.board().turbines.get(id).cloned();
        found.ok_or_else(|| {
            let registered = TurbineId::new(id).is_ok_and(|t| self.fleet.binding(&t).is_some());
            if registered {
                Problem::busy("the service has just started: nothing has been read yet")
            } else {
                Problem::not_found("turbine", id)
            }
        })
    }

    /// The catalogue that has most of the turbine's newest values.
    fn catalogue(&self, card: &Card) -> Option<&Arc<Catalogue>> {
        let values = card.doc.iter().flat_map(|d| &d.values);
        let known = |c: &&Arc<Catalogue>| {
            let mine = values.clone().filter(|v| c.by_name(&v.channel).is_some());
            (mine.count(), c.version)
        };
        self.fleet.catalogues().max_by_key(known)
    }

    /// Reads the status store on a thread of its own.
    async fn store_read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&StatusStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Problem> {
        let path = self.store.clone();
        if !path.exists() {
            return Err(Problem::busy("nothing has been stored yet"));
        }
        let late = || Problem::busy("the status store is busy with other requests");
        let room = Arc::clone(&self.store_room);
        let work = async {
            let permit = room.acquire_owned().await.map_err(|_| late())?;
            tokio::task::spawn_blocking(move || {
                let read = StatusStore::open_read_only(&path).and_then(|s| read(&s));
                drop(permit);
                read
            })
            .await
            .map_err(|e| Problem::failed("reading the status store", &e))?
            .map_err(|e| Problem::failed("reading the status store", &e))
        };
        tokio::time::timeout(STORE_READ_TIMEOUT, work)
            .await
            .map_err(|_| late())?
    }
}

/// The pipeline's health.
#[utoipa::path(get, path = "/pipeline", tag = "pipeline", responses(
    (status = 200, body = pipeline::Pipeline),
))]
async fn pipeline_health(State(api): State<Arc<Api>>) -> Json<pipeline::Pipeline> {
    Json(api.board().pipeline.clone())
}

/// What the description refers to by name and its macros do not collect.
fn components() -> Components {
    ComponentsBuilder::new()
        .schema_from::<Problem>()
        .schema_from::<alerts::StateFilter>()
        .schema_from::<turbines::SortKey>()
        .schema_from::<ask::Format>()
        .schema_from::<windows::Length>()
        .build()
}

/// Everything that the role answers, and the description of its API.
pub fn router(api: Arc<Api>) -> (Router, OpenApi) {
    let description = OpenApiBuilder::new()
        .info(Info::new("Windlass", env!("CARGO_PKG_VERSION")))
        .components(Some(components()))
        .build();
    let (routes, mut description) = OpenApiRouter::with_openapi(description)
        .nest(
            "/api/v1",
            OpenApiRouter::new()
                .routes(routes!(turbines::farms))
                .routes(routes!(turbines::turbines))
                .routes(routes!(turbines::turbine))
                .routes(routes!(turbines::channels))
                .routes(routes!(readings::readings))
                .routes(routes!(windows::windows))
                .routes(routes!(proof::coverage))
                .routes(routes!(proof::at))
                .routes(routes!(timeline::timeline))
                .routes(routes!(deadletters::dead_letters))
                .routes(routes!(alerts::alerts))
                .routes(routes!(alerts::alert))
                .routes(routes!(marks::acknowledge))
                .routes(routes!(marks::shelve))
                .routes(routes!(marks::unshelve))
                .routes(routes!(alerts::alarms))
                .routes(routes!(alerts::episodes))
                .routes(routes!(pipeline_health))
                .routes(routes!(live::live)),
        )
        .split_for_parts();
    description.info.description = Some(
        "What the turbines report, what is complete, and what was raised. Times are RFC 3339 in UTC.".to_owned(),
    );
    let json = description.to_json().unwrap_or_default();
    let openapi = move || {
        let json = json.clone();
        async move { ([("content-type", "application/json")], json) }
    };
    let app = routes
        .route("/api/v1/openapi.json", get(openapi))
        .fallback(assets::page)
        .method_not_allowed_fallback(|| async { Problem::method() })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::map_response(no_store))
        .with_state(api);
    (app, description)
}

/// What the API says is of this moment.
async fn no_store(response: Response) -> Response {
    use axum::http::HeaderValue;
    use axum::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
    let mut response = response.into_response();
    let headers = response.headers_mut();
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
