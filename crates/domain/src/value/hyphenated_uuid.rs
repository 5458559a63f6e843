//! The spelling of UUIDs that ids have in the API and in stream names.

use uuid::Uuid;

/// Parses a hyphenated UUID, in either case.
pub(super) fn parse_hyphenated(text: &str) -> Option<Uuid> {
    // Of the spellings that the parser accepts, only the hyphenated one has this length.
    (text.len() == uuid::fmt::Hyphenated::LENGTH).then(|| Uuid::try_parse(text).ok()).flatten()
}
