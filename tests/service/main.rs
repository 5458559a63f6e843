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
mod bodies;
mod browsers;
mod common_answers;
mod erasure;
mod events;
mod export;
mod feed;
mod full_queue;
mod history;
mod hostile;
mod idempotency;
mod keys;
mod log;
mod login;
mod login_faults;
mod me;
mod metrics;
mod migration;
mod myself;
mod outage;
mod privacy;
mod projections;
mod projector;
mod races;
mod regressions;
mod roles;
mod shutdown;
mod signup;
mod signup_faults;
mod standby;
mod stats;
mod surface;
mod webhooks;

mod binary;
