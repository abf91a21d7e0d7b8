//! `/metrics` and `/healthz` on a loopback address.
//!
//! Metrics are made from the status document at each scrape, so that the two never disagree.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::metrics;
use crate::socket::Asked;

/// Why metrics are not served.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address is taken or not ours.
    #[error(
        "http.listen: cannot listen on {address}: {source}; choose another port or stop what uses it"
    )]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// Takes the port.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, HttpError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| HttpError::Bind { address, source })
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, asked: mpsc::Sender<Asked>) {
    let app = Router::new()
        .route("/metrics", get(metrics_page))
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(asked);
    if let Err(e) = axum::serve(listener, app).await {
        tracing::warn!(error = %e, "metrics are no longer served; recording goes on");
    }
}

async fn metrics_page(State(asked): State<mpsc::Sender<Asked>>) -> Response {
    let (sender, receiver) = oneshot::channel();
    let doc = match asked.send(sender).await {
        Ok(()) => receiver.await.ok(),
        Err(_) => None,
    };
    match doc.map(|d| metrics::encode(&d)) {
        Some(Ok(text)) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        _ => (StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping\n").into_response(),
    }
}
