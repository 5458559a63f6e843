//! The stored form of an event, and the errors of decoding one.
//!
//! Names of types and fields are part of the log permanently. They are chosen by hand, never derived from
//! Rust names, and pinned by snapshots in each aggregate's tests.

use std::fmt;

use serde_json::{Map, Value};

use crate::value::Erasable;

/// The payload of an event, with personal data separated, since only that part is encrypted.
#[derive(Clone, PartialEq)]
pub struct EventPayload {
    /// The event type, such as `UserRegistered`.
    pub event_type: &'static str,
    /// The schema of the fields below, from 1.
    pub schema: u32,
    /// Unencrypted data: strings, booleans, and integers below 2^53.
    pub data: Map<String, Value>,
    /// Personal data, which can be erased. Empty if the event has none.
    pub personal: Map<String, Value>,
}

impl EventPayload {
    pub(crate) fn new(event_type: &'static str, schema: u32) -> Self {
        Self { event_type, schema, data: Map::new(), personal: Map::new() }
    }

    pub(crate) fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.data.insert(field.to_owned(), value.into());
        self
    }

    /// Omits an erased value; a new event has none.
    pub(crate) fn with_personal(mut self, field: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            self.personal.insert(field.to_owned(), value.into());
        }
        self
    }

    /// An optional personal value. The unencrypted `has_<field>` distinguishes an erased value from an absent
    /// one.
    pub(crate) fn with_optional_personal<T>(
        self,
        field: &str,
        value: Option<&Erasable<T>>,
        text: impl FnOnce(&T) -> &str,
    ) -> Self {
        match value {
            None => self,
            Some(value) => {
                self.with(&format!("has_{field}"), true).with_personal(field, value.known().map(text))
            }
        }
    }
}

impl fmt::Debug for EventPayload {
    /// Prints the names of the personal fields without their values, which must not appear in logs.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let personal: Vec<&String> = self.personal.keys().collect();
        formatter
            .debug_struct("EventPayload")
            .field("event_type", &self.event_type)
            .field("schema", &self.schema)
            .field("data", &self.data)
            .field("personal", &personal)
            .finish()
    }
}

/// A stored event that this version cannot decode.
///
/// It names the event type, the schema and the field, never a value: the value may be personal, and the text
/// appears in logs and in `status`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read event `{event_type}` of schema {schema}: {problem}")]
pub struct DecodeError {
    /// The stored event type.
    pub event_type: String,
    /// The stored schema.
    pub schema: u32,
    /// The problem.
    pub problem: DecodeProblem,
}

/// Why a stored event cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeProblem {
    /// The aggregate has no such event type.
    #[error("its type is unknown here; a newer version of the program may have written it")]
    UnknownType,
    /// The type is known, the schema is not.
    #[error("its schema is unknown here; a newer version of the program may have written it")]
    UnknownSchema,
    /// A required field is missing.
    #[error("its field `{field}` is missing")]
    Missing {
        /// The field's name.
        field: &'static str,
    },
    /// A field has a malformed value.
    #[error("its field `{field}` has a malformed value")]
    IllTyped {
        /// The field's name.
        field: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_personal_values() {
        let encoded = EventPayload::new("Tested", 1)
            .with("role", "admin")
            .with_personal("email", Some("ada@example.com"));
        let debug = format!("{encoded:?}");
        assert!(debug.contains("email") && debug.contains("admin"), "{debug}");
        assert!(!debug.contains("ada@"), "{debug}");
    }

    #[test]
    fn decode_error_names_event_and_problem() {
        let error = DecodeError {
            event_type: "UserRegistered".to_owned(),
            schema: 1,
            problem: DecodeProblem::Missing { field: "email" },
        };
        assert_eq!(
            error.to_string(),
            "cannot read event `UserRegistered` of schema 1: its field `email` is missing"
        );
    }
}
