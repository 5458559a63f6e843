//! The event store on real databases: its promises on every backend, and that they hold when the database fails.
#![cfg(test)]

mod causal_consistency;
mod concurrent_processes;
mod conformance;
mod fail_points;
mod query_plans;
mod regressions;
mod support;
