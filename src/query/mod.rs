//! Queries: rows of read models, and how fresh they are. Never events, except to ask where the log's head is, and how old
//! what is not projected yet.

pub mod projections;
mod stats;
mod users;

pub use stats::{DayStats, Stats, StatsQueries};
pub use users::{FRESHNESS_BOUND, QueryError, UserQueries};
