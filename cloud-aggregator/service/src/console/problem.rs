//! Errors as RFC 9457 problems: which field, what was found, what was expected.
//!
//! Invariant: a problem names what the asker can change; what failed inside is logged, and the problem says no more than
//! that it failed.

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::causes::Causes;

/// Seconds after which a refused client may ask again.
const RETRY_AFTER_S: &str = "2";
/// Longest text of a request that a problem repeats, characters.
const FOUND_CHARS_MAX: usize = 100;

/// An error, as `application/problem+json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: the status says what kind it is.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The status in words.
    pub title: &'static str,
    /// HTTP status.
    pub status: u16,
    /// What is wrong, for people.
    pub detail: String,
    /// Which parameter or member of the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

impl Problem {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            field: None,
            expected: None,
            found: None,
        }
    }
    /// 400: a field that does not parse or makes no sense.
    pub fn field(field: &str, found: impl Into<String>, expected: impl Into<String>) -> Self {
        let (found, expected) = (short(&found.into()), expected.into());
        Self {
            field: Some(field.to_owned()),
            detail: format!("{field}: found {found}, expected {expected}"),
            expected: Some(expected),
            found: Some(found),
            ..Self::new(StatusCode::BAD_REQUEST, "")
        }
    }
    /// 422: each field reads well, but together, or now, they make no sense.
    pub fn cannot(field: &str, found: impl Into<String>, expected: impl Into<String>) -> Self {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Self {
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            ..Self::field(field, found, expected)
        }
    }
    /// 422: a cursor that is of no answer to this request.
    pub fn cursor(found: &str) -> Self {
        Self::cannot("cursor", found, "`next` of an answer to the same request")
    }
    /// 404.
    pub fn not_found(what: &str, name: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            format!("there is no {what} `{}`", short(name)),
        )
    }
    /// 405.
    pub fn method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "this address does not know that method; see /api/v1/openapi.json",
        )
    }
    /// 408.
    pub fn late() -> Self {
        let detail = "the body did not come in time";
        Self::new(StatusCode::REQUEST_TIMEOUT, detail)
    }
    /// 409.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }
    /// 503 with Retry-After.
    pub fn busy(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }
    /// 500: logged here, not told.
    pub fn failed(what: &'static str, error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(what, error = %Causes(error), "a request could not be answered");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("{what} failed; the service's log says why"),
        )
    }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(FOUND_CHARS_MAX) {
        Some((cut, _)) => format!("{}...", &text[..cut]),
        None => text.to_owned(),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // plain texts always serialise
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (status, kind, body).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let after = HeaderValue::from_static(RETRY_AFTER_S);
            response.headers_mut().insert(header::RETRY_AFTER, after);
        }
        response
    }
}

impl From<QueryRejection> for Problem {
    fn from(e: QueryRejection) -> Self {
        Self::new(StatusCode::BAD_REQUEST, short(&e.body_text()))
    }
}

impl From<PathRejection> for Problem {
    fn from(e: PathRejection) -> Self {
        Self::new(StatusCode::BAD_REQUEST, short(&e.body_text()))
    }
}

impl From<JsonRejection> for Problem {
    fn from(e: JsonRejection) -> Self {
        Self::new(e.status(), short(&e.body_text()))
    }
}
