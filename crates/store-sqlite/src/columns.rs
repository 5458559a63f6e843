//! Converts column values: SQLite stores every integer as a signed 64-bit number.

use jiff::Timestamp;
use store::{Corruption, StreamId};

use crate::error::SqliteError;

/// A stored number that cannot be negative.
pub(crate) fn unsigned(number: i64, what: &str) -> Result<u64, SqliteError> {
    u64::try_from(number).map_err(|_| Corruption::invalid(what, format!("{number} is negative")).into())
}

/// A number as SQLite stores it. Positions and versions never come near `i64::MAX`.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The value of a `LIMIT` clause.
pub(crate) fn row_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A stored timestamp.
pub(crate) fn timestamp(milliseconds: i64) -> Result<Timestamp, SqliteError> {
    Timestamp::from_millisecond(milliseconds)
        .map_err(|error| Corruption::invalid("a stored time", error).into())
}

/// A stored stream name.
pub(crate) fn stream_id(name: String) -> Result<StreamId, SqliteError> {
    StreamId::new(name).map_err(|error| Corruption::invalid("a stream name", error).into())
}
