//! What the tests of the store under faults are written with: processes on a MongoDB of a test's own, and what every log
//! must be, whatever has befallen it.

mod log;
mod process;

pub(crate) use log::assert_log_consistent;
pub(crate) use process::{MongoFixture, Process};
