//! Points in the log, by position or by time.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use store::Position;

/// A point in the log. The time of events never decreases with their position, so that every moment is such a
/// point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsOf {
    /// After the event at this position.
    Position(Position),
    /// After the events up to this moment, inclusive.
    Time(Timestamp),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is neither a position nor a time like 2026-11-22T08:03:14Z")]
pub struct ParseAsOfError;

impl FromStr for AsOf {
    type Err = ParseAsOfError;

    fn from_str(text: &str) -> Result<Self, ParseAsOfError> {
        match text.parse() {
            Ok(position) => Ok(Self::Position(Position::new(position))),
            Err(_) => text.parse().map(Self::Time).map_err(|_| ParseAsOfError),
        }
    }
}

impl fmt::Display for AsOf {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Position(position) => write!(out, "position {position}"),
            Self::Time(time) => time.fmt(out),
        }
    }
}
