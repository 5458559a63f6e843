//! Whole-service tests: the contract (`docs/`), asked of a real service over HTTP on both stores, and of the real
//! binary. They assert what clients, scripts and operators may rely on, never how it comes about.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "these are tests: a broken promise has to panic"
)]

mod support;

mod administration;
mod backpressure;
mod bodies;
mod concurrency;
mod cors;
mod current_user;
mod erasure;
mod events;
mod export;
mod feed;
mod history;
mod idempotency;
mod keys;
mod leader_election;
mod log;
mod login;
mod login_errors;
mod malformed_requests;
mod metrics;
mod migration;
mod outage;
mod own_account;
mod privacy;
mod projections;
mod projector;
mod regressions;
mod response_headers;
mod roles;
mod routes;
mod shutdown;
mod signup;
mod signup_errors;
mod stats;
mod webhooks;

mod binary;
