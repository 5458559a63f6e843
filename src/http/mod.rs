//! The HTTP API: maps requests to commands and queries, and their results to answers. It decides nothing
//! itself.
//!
//! One file per endpoint or group of endpoints, in folders that follow the URLs: `auth`, `users`, `events`,
//! `webhooks`, `tokens`, `introspect`, `log`, `projections`, `stats`, `health`, `metrics`. A request passes through `serve`
//! (connections, whose limits are in `connections`), `middleware` (request id, span, errors), `router` (route
//! table) and `extract` (validation and authority). `idempotency` replays repeated writes, `event_feed` serves subscribers, `api_error` is
//! every error answer, `openapi` the API's document and `schemas` what it says of shared JSON.

mod answer_tick;
mod api_error;
mod auth;
mod client;
mod conditional;
mod connections;
mod console;
mod cors;
mod credentials;
mod docs;
mod event_feed;
mod events;
mod extract;
mod headers;
mod health;
mod html_text;
mod idempotency;
mod introspect;
mod jwks;
mod log;
mod mail_tokens;
mod metrics;
mod middleware;
mod normalize_path;
mod openapi;
mod password_client;
mod projections;
mod request_id;
mod router;
mod schemas;
mod serve;
mod sessions;
mod start_page;
mod state;
mod stats;
mod time_limit;
mod token_view;
mod tokens;
mod users;
mod webhooks;

pub use router::{router, routes};
pub use serve::{DRAIN_TIMEOUT, Listeners, serve};
