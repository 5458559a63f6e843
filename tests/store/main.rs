//! The event store on real databases: its promises on every backend, and that they hold when the database fails.
#![cfg(test)]

mod conformance;
mod elections;
mod fail_points;
mod query_plans;
mod regressions;
mod support;
mod two_processes;
