//! Tests of the event store on real databases: the conformance suite on every backend, and fault injection.
#![cfg(test)]

mod causal_consistency;
mod concurrent_processes;
mod conformance;
mod fail_points;
mod foreign_objects;
mod query_plans;
mod regressions;
mod support;
