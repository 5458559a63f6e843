//! Service tests: they check the contract (`docs/`) against the real router on both databases, and against
//! the real binary. They assert what clients, scripts and operators may rely on, not how it is implemented.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod support;

mod administration;
mod api_description;
mod attackers;
mod backpressure;
mod bodies;
mod clocks;
mod command_counts;
mod concurrency;
mod conditional;
mod console;
mod cors;
mod current_user;
mod erasure;
mod events;
mod export;
mod feed;
mod forged_rows;
mod freshness;
mod history;
mod idempotency;
mod keys;
mod leader_election;
mod least_privileges;
mod limits;
mod locked_database;
mod log;
mod login;
mod login_errors;
mod logins;
mod mail;
mod mail_tokens;
mod malformed_requests;
mod metrics;
mod migration;
mod outage;
mod own_account;
mod own_identity;
mod privacy;
mod projections;
mod projector;
mod query_parameters;
mod regressions;
mod rehashing;
mod response_headers;
mod roles;
mod routes;
mod sessions;
mod shutdown;
mod signing_keys;
mod signup;
mod signup_errors;
mod stats;
mod support_desk;
mod tokens;
mod webhooks;

mod binary;
