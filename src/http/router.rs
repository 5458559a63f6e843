//! Which endpoint answers what.

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post, put};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use super::middleware::{finish_response, panic_response};
use super::state::HttpState;
use super::{
    auth, cors, docs, events, health, log, metrics, openapi, projections, root, stats, users, webhooks,
};
use crate::app::App;

/// Everything that the service answers over HTTP.
pub fn router(app: Arc<App>) -> Router {
    router_with_shutdown(app, CancellationToken::new())
}

/// The same; answers without an end are ended by `shutdown`.
pub(super) fn router_with_shutdown(app: Arc<App>, shutdown: CancellationToken) -> Router {
    let settings = app.settings.http.clone();
    let state = HttpState::new(app, shutdown);
    let prefix = settings.api_prefix.trim_end_matches('/');
    let description = openapi::openapi(&settings);
    let describe = move || {
        let description = description.clone();
        async move {
            ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], description)
        }
    };
    let mut router = docs::routes(&settings).route("/", get(root::root));
    let endpoints = endpoints().into_iter().map(|(path, methods)| (format!("{prefix}{path}"), methods));
    let described = (openapi::path(&settings), get(describe));
    // Where Prometheus looks unless told otherwise; without a prefix it is there already.
    let at_root = (!prefix.is_empty()).then(|| ("/metrics".to_owned(), get(metrics::metrics)));
    for (path, methods) in endpoints.chain([described]).chain(at_root) {
        // With a slash at the end as well, and without a redirect: clients do not send a body twice. A path with an open
        // end has it anyhow.
        if !path.contains("{*") {
            router = router.route(&format!("{path}/"), methods.clone());
        }
        router = router.route(&path, methods);
    }
    router = router.layer(CatchPanicLayer::custom(panic_response));
    if let Some(cors) = cors::layer(&settings.cors_origins) {
        router = router.layer(cors);
    }
    router.layer(from_fn_with_state(state.clone(), finish_response)).with_state(state)
}

fn endpoints() -> [(&'static str, MethodRouter<HttpState>); 36] {
    [
        ("/auth/signup", post(auth::signup::sign_up)),
        ("/auth/login/access-token", post(auth::login::log_in)),
        ("/users/me", get(users::me::me).delete(users::me::erase::erase)),
        ("/users/me/export", get(users::me::export::export)),
        ("/users/me/deactivate", post(users::me::deactivate::deactivate)),
        ("/users/{id}", get(users::show::show)),
        ("/users/{id}/events", get(users::history::history)),
        ("/users/{id}/deactivate", post(users::deactivate::deactivate)),
        ("/users/{id}/reactivate", post(users::reactivate::reactivate)),
        ("/users/{id}/erase", post(users::erase::erase)),
        ("/users/{id}/roles/{role}", put(users::roles::grant).delete(users::roles::revoke)),
        ("/events", get(events::list::list)),
        ("/events/stream", get(events::stream::stream)),
        ("/webhooks", get(webhooks::list::list).post(webhooks::register::register)),
        ("/webhooks/{id}", get(webhooks::show::show).delete(webhooks::delete::delete)),
        ("/webhooks/{id}/deliveries", get(webhooks::deliveries::deliveries)),
        ("/webhooks/{id}/test", post(webhooks::test::test)),
        ("/webhooks/{id}/rotate-secret", post(webhooks::rotate_secret::rotate_secret)),
        ("/webhooks/{id}/replay", post(webhooks::replay::replay)),
        ("/webhooks/{id}/resume", post(webhooks::resume::resume)),
        ("/log/checkpoint", get(log::checkpoint::checkpoint)),
        ("/log/key", get(log::key::key)),
        ("/log/tile/{*path}", get(log::tile::tile)),
        ("/log/proof/{position}", get(log::proof::proof)),
        ("/log/consistency", get(log::consistency::consistency)),
        ("/projections", get(projections::list::list)),
        ("/projections/{name}", get(projections::show::show)),
        ("/projections/{name}/rebuild", post(projections::rebuild::rebuild)),
        ("/projections/{name}/cancel", post(projections::cancel::cancel)),
        ("/projections/{name}/rollback", post(projections::rollback::roll_back)),
        ("/projections/{name}/drop", post(projections::drop::drop)),
        ("/projections/{name}/skip", post(projections::skip::skip)),
        ("/stats", get(stats::stats)),
        ("/health", get(health::health)),
        ("/health/ready", get(health::ready::ready)),
        ("/metrics", get(metrics::metrics)),
    ]
}
