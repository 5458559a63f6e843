//! The HTTP API: requests become commands and queries, what they come to becomes answers, and nothing is decided here.
//!
//! One file per endpoint, in folders that follow the URLs: `auth`, `users`, `events`, `webhooks`, `projections`, `stats`, `health`,
//! `metrics`. Around them, in the order in which a request meets it: `serve` takes connections, `router` finds the
//! endpoint, `edge` does what every answer needs, `client` says who is at the other end, `extract` turns the request into
//! checked values and into authority, `repeat` knows writes that were sent before, `problem` is every answer that is no
//! success.

mod api_error;
mod auth;
mod client;
mod cors;
mod docs;
mod events;
mod extract;
mod headers;
mod health;
mod idempotency;
mod log;
mod metrics;
mod middleware;
mod openapi;
mod projections;
mod root;
mod router;
mod serve;
mod state;
mod stats;
mod time_limit;
mod users;
mod webhooks;

pub use openapi::openapi;
pub use router::router;
pub use serve::{DRAIN_TIMEOUT, serve};
