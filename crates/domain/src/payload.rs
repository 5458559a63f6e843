//! The stored form of an event, and the errors of decoding one.
//!
//! Names of types and fields are part of the log permanently. They are chosen by hand, never derived from
//! Rust names, and pinned by snapshots in each aggregate's tests.

use std::fmt;

use serde_json::{Map, Value};

use crate::value::Erasable;

/// An event on its way to the event store: what is personal is kept apart, because only that part is sealed.
#[derive(Clone, PartialEq)]
pub struct EventPayload {
    /// The event's name, such as `UserRegistered`.
    pub event_type: &'static str,
    /// Which layout of that event the fields below have, from 1.
    pub schema: u32,
    /// What anyone who may read the log may see: strings, booleans, and integers below 2^53.
    pub data: Map<String, Value>,
    /// What can be erased together with the person. Empty if the event says nothing personal.
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

    /// Leaves an erased value out: it cannot be written down again, and a new event has none.
    pub(crate) fn with_personal(mut self, field: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            self.personal.insert(field.to_owned(), value.into());
        }
        self
    }

    /// A personal value that not everybody has. `has_<field>` says in the open that there is one, so that an
    /// erased value is not taken for one that was never given.
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
    /// Names the personal fields without their values: an e-mail address or a password hash has no place in a
    /// log.
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

/// A stored event that this version of the program cannot read.
///
/// Names the event's type, its schema and the field at fault, never a value: the value may be personal, and
/// this text goes to logs and to `status`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read event `{event_type}` of schema {schema}: {problem}")]
pub struct DecodeError {
    /// The name the event was stored under.
    pub event_type: String,
    /// The schema it was stored with.
    pub schema: u32,
    /// What is wrong with it.
    pub problem: DecodeProblem,
}

/// What is wrong with a stored event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeProblem {
    /// No event of this aggregate has that name.
    #[error("its type is unknown here; a newer version of the program may have written it")]
    UnknownType,
    /// The name is known, the layout is not.
    #[error("its schema is unknown here; a newer version of the program may have written it")]
    UnknownSchema,
    /// A field that must be there is not.
    #[error("its field `{field}` is missing")]
    Missing {
        /// The field's name.
        field: &'static str,
    },
    /// A field holds something that it cannot mean.
    #[error("its field `{field}` holds a value that cannot be understood")]
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
