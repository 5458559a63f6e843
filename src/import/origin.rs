//! Where a record comes from, for reports.

use std::fmt;

use domain::UserId;

/// Where a record comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordOrigin {
    /// The line of a file on which it begins, from 1.
    Line(u64),
    /// A document of a collection.
    Document {
        /// The `_id` as text, which may be personal data, such as an e-mail address.
        id: String,
        /// Which one it is in the order of their ids, from 1.
        number: u64,
    },
}

/// Without personal data and control characters: an `_id` is shown if it can be that of a user.
impl fmt::Display for RecordOrigin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(out, "line {line}"),
            Self::Document { id, number } => match UserId::parse(id) {
                Ok(id) => write!(out, "_id {id}"),
                Err(_) => write!(out, "document {number}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_of_users_are_shown() {
        for (id, shown) in [
            ("65A1B2C3D4E5F60718293A4B", "_id 65a1b2c3d4e5f60718293a4b"),
            ("01930000-0000-7000-8000-00000000002a", "_id 01930000-0000-7000-8000-00000000002a"),
            ("ada@example.com", "document 7"),
            ("\u{1b}]0;title\u{7}", "document 7"),
            ("", "document 7"),
        ] {
            assert_eq!(RecordOrigin::Document { id: id.to_owned(), number: 7 }.to_string(), shown);
        }
    }
}
