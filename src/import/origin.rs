//! Where a record comes from, for reports.

use std::fmt;

/// Where a record comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordOrigin {
    /// The line of a file on which it begins, from 1.
    Line(u64),
    /// The `_id` of a document.
    Id(String),
}

impl fmt::Display for RecordOrigin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(out, "line {line}"),
            Self::Id(id) => write!(out, "_id {id}"),
        }
    }
}
