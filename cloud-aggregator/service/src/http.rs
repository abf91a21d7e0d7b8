//! `/metrics` and `/healthz` on a loopback address.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use crate::stop::Stop;

/// Why nothing listens. Fatal.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Not for other machines.
    #[error("http.listen = \"{0}\": expected a loopback address, for example \"127.0.0.1:9464\"")]
    NotLoopback(SocketAddr),
    /// Somebody else listens there.
    #[error("http.listen = \"{listen}\": cannot listen there; is the port taken?")]
    Listen {
        /// Where.
        listen: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The server ended.
    #[error("the metrics server on {listen} ended")]
    Serve {
        /// Where.
        listen: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Takes the port.
pub async fn bind(listen: SocketAddr) -> Result<TcpListener, HttpError> {
    if !listen.ip().is_loopback() {
        return Err(HttpError::NotLoopback(listen));
    }
    TcpListener::bind(listen)
        .await
        .map_err(|source| HttpError::Listen { listen, source })
}

/// Serves until told to stop.
pub async fn serve(
    listener: TcpListener,
    listen: SocketAddr,
    registry: Arc<Registry>,
    mut stop: Stop,
) -> Result<(), HttpError> {
    const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let metrics = move || {
        let registry = Arc::clone(&registry);
        async move {
            let mut text = String::new();
            // writing to a String cannot fail; an empty page would show as a failed scrape
            if prometheus_client::encoding::text::encode(&mut text, &registry).is_err() {
                text.clear();
            }
            ([(CONTENT_TYPE, OPENMETRICS)], text)
        }
    };
    let app = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }));
    axum::serve(listener, app)
        .with_graceful_shutdown(async move { stop.raised().await })
        .await
        .map_err(|source| HttpError::Serve { listen, source })
}
