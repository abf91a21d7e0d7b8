//! The console's pages: the files that the build embedded, with one page for all its routes.
//!
//! Invariant: nothing is read from the disk, so no path can lead out of the folder.

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use super::problem::Problem;

include!(concat!(env!("OUT_DIR"), "/console_files.rs"));

/// Only what comes from here.
const POLICY: &str = "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'";
/// Files under assets/ have the hash of their content in their names.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
const MISSING: &str = "The console's pages are not in this build: `cargo xtask console` builds them, then build again.\n\
                       The API is at /api/v1/openapi.json.\n";
/// Routes of the single page.
const ROUTES: [&str; 6] = [
    "/",
    "/index.html",
    "/alerts",
    "/platform",
    "/turbine/",
    "/proof/",
];

fn is_route(path: &str) -> bool {
    ROUTES.iter().any(|r| match r.strip_suffix('/') {
        Some(folder) if !folder.is_empty() => path.starts_with(r),
        _ => path == *r,
    })
}

fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, e)| e) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("json" | "map" | "webmanifest") => "application/json",
        Some("woff2") => "font/woff2",
        Some("wasm") => "application/wasm",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

fn find(path: &str) -> Option<(&'static str, &'static [u8])> {
    let at = FILES.binary_search_by(|(name, _)| (*name).cmp(path)).ok()?;
    Some(FILES[at])
}

/// Whatever is not the API.
pub(super) async fn page(method: Method, uri: Uri) -> Response {
    let path = uri.path();
    if path.starts_with("/api/") {
        return Problem::not_found("address", path).into_response();
    }
    if method != Method::GET && method != Method::HEAD {
        return Problem::method().into_response();
    }
    let file = find(path.trim_start_matches('/'));
    let file = file.or_else(|| is_route(path).then(|| find("index.html")).flatten());
    let mut response = match file {
        Some((name, bytes)) => {
            let cache = if name.starts_with("assets/") {
                FOR_EVER
            } else {
                "no-cache"
            };
            let headers = [
                (header::CONTENT_TYPE, kind(name)),
                (header::CACHE_CONTROL, cache),
            ];
            (headers, bytes).into_response()
        }
        None if FILES.is_empty() && is_route(path) => {
            (StatusCode::SERVICE_UNAVAILABLE, MISSING).into_response()
        }
        None => Problem::not_found("page", path).into_response(),
    };
    guard(response.headers_mut());
    response
}

fn guard(headers: &mut HeaderMap) {
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_of_the_single_page() {
        for path in ["/", "/alerts", "/turbine/T1", "/proof/T1", "/platform"] {
            assert!(is_route(path), "{path}");
        }
        for path in ["/alerts/x", "/turbine", "/etc/passwd", "/../x", "//"] {
            assert!(!is_route(path), "{path}");
        }
    }

    #[test]
    fn files_are_sorted_for_the_search() {
        assert!(FILES.is_sorted_by(|a, b| a.0 < b.0));
    }
}
