//! Fixtures for tests with faults: simulated processes on a MongoDB, and the invariants of every log.

mod log;
mod process;

pub(crate) use log::assert_log_consistent;
pub(crate) use process::{MongoFixture, Process};
