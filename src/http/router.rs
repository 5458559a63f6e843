//! Route table: registers every endpoint once, for the router and for the OpenAPI document.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::header;
use axum::middleware::{from_fn_with_state, map_request};
use axum::routing::get;
use axum::{Extension, Router};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::Paths;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use super::connections::memory::SharedAnswer;
use super::extract::DocumentedParameters;
use super::middleware::{finish_response, panic_response};
use super::normalize_path::normalize_path;
use super::state::HttpState;
use super::{
    auth, cors, docs, events, health, log, metrics, openapi, projections, schemas, stats, users, webhooks,
};
use crate::app::App;
use crate::config::HttpSettings;

/// The router of the HTTP API.
pub fn router(app: Arc<App>) -> Router {
    router_with_state(HttpState::new(app, CancellationToken::new()))
}

/// As [`router`].
pub(super) fn router_with_state(state: HttpState) -> Router {
    let settings = state.app.settings.http.clone();
    let (router, document) = documented_routes(&settings, state.app.settings.passwords.min_length);
    // Strings and maps of strings always serialise.
    let document = Bytes::from(document.to_pretty_json().unwrap_or_default());
    let serve_document = get(move || {
        let document = document.clone();
        let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")];
        async move { (headers, Extension(SharedAnswer), document) }
    });
    let path = openapi::path(&settings);
    let mut router = router
        .merge(docs::routes(&settings))
        .route(&format!("{path}/"), serve_document.clone())
        .route(&path, serve_document);
    // Prometheus scrapes `/metrics` by default; without a prefix the documented route is already there.
    if !settings.api_prefix.trim_end_matches('/').is_empty() {
        router = router.route("/metrics/", get(metrics::metrics)).route("/metrics", get(metrics::metrics));
    }
    router = router.layer(CatchPanicLayer::custom(panic_response));
    if let Some(cors) = cors::layer(&settings.cors_origins) {
        router = router.layer(cors);
    }
    let router = router.layer(from_fn_with_state(state.clone(), finish_response)).with_state(state);
    // The layers of a router run after the path is matched.
    Router::new().fallback_service(router).layer(map_request(normalize_path))
}

/// The router of the listener for metrics, which only those reach who may read them.
pub(super) fn metrics_router(state: HttpState) -> Router {
    let route = get(metrics::metrics_without_authorization);
    let router = Router::new().route("/metrics/", route.clone()).route("/metrics", route);
    let router = router.layer(CatchPanicLayer::custom(panic_response));
    router.layer(from_fn_with_state(state.clone(), finish_response)).with_state(state)
}

fn documented_routes(settings: &HttpSettings, min_password_length: usize) -> (Router<HttpState>, OpenApi) {
    let prefix = settings.api_prefix.trim_end_matches('/');
    let service = vec![
        routes!(stats::stats),
        routes!(health::health),
        routes!(health::ready),
        routes!(metrics::metrics),
    ];
    let modules = [
        auth::routes(),
        users::routes(),
        events::routes(),
        webhooks::routes(),
        log::routes(),
        projections::routes(),
        service,
    ];
    let document = openapi::document(settings, schemas::errors());
    let router = OpenApiRouter::with_openapi(document).routes(routes!(docs::root));
    let router = modules.into_iter().flatten().fold(router, |router, route| register(router, prefix, route));
    let (router, mut document) = router.split_for_parts();
    openapi::complete(&mut document, prefix, min_password_length);
    (router, document)
}

/// Registers a route below the prefix, with and without a trailing slash: a redirect would make clients send
/// their body twice, or drop it. `Router::nest` is not used because handlers would then see paths without the
/// prefix, and idempotency keys are scoped to the whole path.
fn register(
    mut router: OpenApiRouter<HttpState>,
    prefix: &str,
    (schemas, paths, methods): UtoipaMethodRouter<HttpState>,
) -> OpenApiRouter<HttpState> {
    let mut prefixed = Paths::new();
    let mut methods = methods;
    for (path, item) in paths.paths {
        methods = methods.layer(Extension(DocumentedParameters::of(&path, &item)));
        let path = format!("{prefix}{path}");
        // A wildcard at the end matches the trailing slash as well.
        if !path.contains("{*") {
            router = router.route(&format!("{path}/"), methods.clone());
        }
        prefixed.paths.insert(path, item);
    }
    router.routes((schemas, prefixed, methods))
}

#[cfg(test)]
mod tests;
