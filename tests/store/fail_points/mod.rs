//! Fault injection with MongoDB's fail points: every command of an append or of a row write fails in every
//! way, and the caller must get the true outcome (done, not done, or unknown). Afterwards the log must accept
//! appends.
//!
//! `injected_fault` defines the faults; `appends` and `rows` list the commands and the expected outcomes, one
//! line per case; `runner` runs the cases on several servers in parallel; `retry_metrics` checks the retry
//! counters.

mod appends;
mod injected_fault;
mod retry_metrics;
mod rows;
mod runner;
