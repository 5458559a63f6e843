//! What the database does to a client, in the middle of an append or of writing rows, and what the caller is told: that
//! it is done, that it is not, or that nobody can tell. Whatever the answer, it is true, and the log goes on.
//!
//! `fault` says what befalls a command, `appends` and `rows` which commands there are and what comes of it, one line per
//! case; `run` tries them one after the other, several servers at a time. `counted` is what is counted of it.

mod appends;
mod injected_fault;
mod retry_metrics;
mod rows;
mod runner;
