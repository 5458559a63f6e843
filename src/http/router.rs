//! Route table: registers every endpoint once, for the router and for the OpenAPI document.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{Method, header};
use axum::middleware::{from_fn_with_state, map_request};
use axum::routing::{MethodRouter, get};
use axum::{Extension, Router};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::{PathItem, Paths};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use super::connections::memory::SharedAnswer;
use super::extract::DocumentedParameters;
use super::middleware::{finish_response, panic_response};
use super::normalize_path::normalize_path;
use super::state::HttpState;
use super::{
    auth, console, cors, docs, events, health, introspect, jwks, log, metrics, openapi, projections, schemas,
    start_page, stats, tokens, users, webhooks,
};
use crate::app::App;
use crate::config::HttpSettings;

/// The router of the HTTP API.
pub fn router(app: Arc<App>) -> Router {
    router_with_state(HttpState::new(app, CancellationToken::new()))
}

/// The method and the path of every route: the operations of the OpenAPI document, then the routes that it does
/// not describe. Each is also served with a trailing slash, and those of `GET` to `HEAD`.
#[must_use]
pub fn routes(settings: &HttpSettings) -> Vec<(Method, String)> {
    let (_, document) = documented_routes(settings);
    let undocumented = undocumented_routes(settings, &document);
    let described = document
        .paths
        .paths
        .iter()
        .flat_map(|(path, item)| methods_of(item).into_iter().map(move |method| (method, path.clone())));
    described.chain(undocumented.into_iter().map(|(method, path, _)| (method, path))).collect()
}

fn methods_of(item: &PathItem) -> Vec<Method> {
    let operations = [
        (Method::GET, &item.get),
        (Method::PUT, &item.put),
        (Method::POST, &item.post),
        (Method::DELETE, &item.delete),
        (Method::PATCH, &item.patch),
        (Method::HEAD, &item.head),
        (Method::OPTIONS, &item.options),
        (Method::TRACE, &item.trace),
    ];
    operations.into_iter().filter(|(_, operation)| operation.is_some()).map(|(method, _)| method).collect()
}

/// As [`router`].
pub(super) fn router_with_state(state: HttpState) -> Router {
    let settings = state.app.settings.http.clone();
    let (router, mut document) = documented_routes(&settings);
    openapi::set_min_password_length(&mut document, state.app.settings.passwords.min_length);
    let undocumented = undocumented_routes(&settings, &document);
    let router = undocumented.into_iter().fold(router, register_undocumented);
    let mut router = router.layer(CatchPanicLayer::custom(panic_response));
    if let Some(cors) = cors::layer(&settings.cors_origins) {
        router = router.layer(cors);
    }
    let router = router.layer(from_fn_with_state(state.clone(), finish_response)).with_state(state);
    // The layers of a router run after the path is matched.
    Router::new().fallback_service(router).layer(map_request(normalize_path))
}

/// The router of the listener for metrics, which only those reach who may read them.
#[expect(clippy::disallowed_methods, reason = "the only route of another listener")]
pub(super) fn metrics_router(state: HttpState) -> Router {
    let route = get(metrics::metrics_without_authorization);
    let router = Router::new().route("/metrics/", route.clone()).route("/metrics", route);
    let router = router.layer(CatchPanicLayer::custom(panic_response));
    router.layer(from_fn_with_state(state.clone(), finish_response)).with_state(state)
}

fn documented_routes(settings: &HttpSettings) -> (Router<HttpState>, OpenApi) {
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
        tokens::routes(),
        introspect::routes(),
        log::routes(),
        projections::routes(),
        service,
    ];
    let document = openapi::document(settings, schemas::errors());
    let router = OpenApiRouter::with_openapi(document).routes(routes!(start_page::root));
    let router = modules.into_iter().flatten().fold(router, |router, route| register(router, prefix, route));
    let router = register(router, "", routes!(jwks::jwks));
    let (router, mut document) = router.split_for_parts();
    openapi::complete(&mut document, prefix);
    (router, document)
}

/// The routes that the OpenAPI document does not describe, and the method of each.
fn undocumented_routes(
    settings: &HttpSettings,
    document: &OpenApi,
) -> Vec<(Method, String, MethodRouter<HttpState>)> {
    // Strings and maps of strings always serialise.
    let document = Bytes::from(document.to_pretty_json().unwrap_or_default());
    let serve_document = get(move || {
        let document = document.clone();
        let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")];
        async move { (headers, Extension(SharedAnswer), document) }
    });
    let mut routes = docs::routes(settings);
    routes.extend(console::routes(settings));
    routes.push((Method::GET, openapi::path(settings), serve_document));
    // Prometheus scrapes `/metrics` by default; without a prefix the documented route is already there. A proxy may
    // pass on only what is below the prefix.
    if !settings.api_prefix.trim_end_matches('/').is_empty() {
        routes.push((Method::GET, "/metrics".to_owned(), get(metrics::metrics)));
        routes.push((Method::GET, settings.path(jwks::PATH), get(jwks::jwks)));
    }
    routes
}

/// Registers a route with and without a trailing slash; a wildcard at the end matches the slash as well.
#[expect(clippy::disallowed_methods, reason = "the place where undocumented routes are registered")]
fn register_undocumented(
    router: Router<HttpState>,
    (_, path, methods): (Method, String, MethodRouter<HttpState>),
) -> Router<HttpState> {
    let router =
        if path.contains("{*") { router } else { router.route(&format!("{path}/"), methods.clone()) };
    router.route(&path, methods)
}

/// Registers a route below the prefix, with and without a trailing slash: a redirect would make clients send
/// their body twice, or drop it. `Router::nest` is not used because handlers would then see paths without the
/// prefix, and idempotency keys are scoped to the whole path.
#[expect(clippy::disallowed_methods, reason = "the place where documented routes are registered")]
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
