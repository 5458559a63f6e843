//! Upcasters (schema evolution): convert an event of an earlier schema, or under a previous name, to the
//! current layout before it is decoded.
//!
//! Stored events never change. When the layout of an event type does, its schema number increases by one, and
//! an entry in [`UPCASTERS`] converts the fields of the previous schema to the new one; everything else,
//! `decode` included, knows only the newest layout. An upcaster invents nothing: a value that an old event
//! lacks becomes an `Option` in the event.
//!
//! Adding a field that old events lack, and that is an `Option` anyway, needs no new schema.

use serde_json::{Map, Value};

use crate::fields::Fields;
use crate::payload::{DecodeError, DecodeProblem, EventPayload};
use crate::value::Erasable;

/// The fields of a stored event, as upcasters see them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parts {
    pub(crate) data: Map<String, Value>,
    /// Erased data stays erased, whatever an upcaster does.
    pub(crate) personal: Erasable<Map<String, Value>>,
}

/// Converts the fields of one schema to the next: pure and total. It ignores missing fields; decoding reports
/// them.
pub(crate) type Upcaster = fn(Parts) -> Parts;

/// A table of upcasters.
#[derive(Clone, Copy)]
pub(crate) struct Upcasters {
    /// For each type whose layout has changed: the upcasters from schema 1 to 2, from 2 to 3, and so on.
    pub(crate) layouts: &'static [(&'static str, &'static [Upcaster])],
    /// The types that were stored under another name.
    pub(crate) renamed: &'static [RenamedType],
}

/// An event type that was stored under another name. Schema numbers continue under the new name.
#[derive(Clone, Copy)]
pub(crate) struct RenamedType {
    pub(crate) stored: &'static str,
    /// The newest schema that was stored under that name.
    pub(crate) last_schema: u32,
    pub(crate) current: &'static str,
}

/// The upcasters of all events. No layout has changed so far.
pub(crate) const UPCASTERS: Upcasters = Upcasters {
    layouts: &[],
    renamed: &[RenamedType { stored: "WebhookParked", last_schema: 1, current: "WebhookSuspended" }],
};

impl Upcasters {
    pub(crate) fn renamed(self, stored: &str) -> Option<&'static RenamedType> {
        self.renamed.iter().find(|renamed| renamed.stored == stored)
    }

    /// An empty payload of a new event, in the newest schema of its type.
    pub(crate) fn new_payload(self, event_type: &'static str) -> EventPayload {
        EventPayload::new(event_type, self.newest(event_type))
    }

    /// The schema of new events of this type.
    pub(crate) fn newest(self, event_type: &str) -> u32 {
        u32::try_from(self.of(event_type).len()).map_or(u32::MAX, |changes| changes.saturating_add(1))
    }

    /// Upcasts a stored event of one of these types and passes it to `read`, which knows only the newest
    /// layout.
    ///
    /// # Errors
    /// [`DecodeProblem::UnknownType`], [`DecodeProblem::UnknownSchema`], or an error of `read`.
    pub(crate) fn read<T>(
        self,
        types: &[&str],
        stored: Fields<'_>,
        read: impl FnOnce(Fields<'_>) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let renamed = self.renamed(stored.event_type);
        let event_type = renamed.map_or(stored.event_type, |renamed| renamed.current);
        if !types.contains(&event_type) {
            return Err(stored.error(DecodeProblem::UnknownType));
        }
        if renamed.is_some_and(|renamed| stored.schema > renamed.last_schema) {
            return Err(stored.error(DecodeProblem::UnknownSchema));
        }
        let stored_name = |error| DecodeError { event_type: stored.event_type.to_owned(), ..error };
        let since = |schema: u32| usize::try_from(schema.checked_sub(1)?).ok();
        match since(stored.schema).and_then(|first| self.of(event_type).get(first..)) {
            None => Err(stored.error(DecodeProblem::UnknownSchema)),
            // The newest schema, which nearly all events have, is read without a copy.
            Some([]) => read(Fields { event_type, ..stored }).map_err(stored_name),
            Some(upcasters) => {
                let parts = Parts { data: stored.data.clone(), personal: stored.personal.map(Clone::clone) };
                let erased = parts.personal == Erasable::Erased;
                let Parts { data, personal } = upcasters.iter().fold(parts, |parts, upcast| upcast(parts));
                let personal = if erased { Erasable::Erased } else { personal.as_ref() };
                read(Fields { event_type, data: &data, personal, ..stored }).map_err(stored_name)
            }
        }
    }

    fn of(self, event_type: &str) -> &'static [Upcaster] {
        let of_type = self.layouts.iter().find(|(name, _)| *name == event_type);
        of_type.map_or(&[], |(_, upcasters)| upcasters)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// An event of these tests whose layout has changed twice: fields were renamed, then `painter` became
    /// personal.
    const PAINTED: Upcasters = Upcasters {
        layouts: &[("Painted", &[rename, conceal])],
        renamed: &[RenamedType { stored: "Coloured", last_schema: 2, current: "Painted" }],
    };
    const TYPES: &[&str] = &["Painted", "Framed"];

    fn rename(mut parts: Parts) -> Parts {
        for (old, new) in [("colour", "paint"), ("by", "painter")] {
            let value = parts.data.remove(old);
            parts.data.extend(value.map(|value| (new.to_owned(), value)));
        }
        parts
    }

    fn conceal(mut parts: Parts) -> Parts {
        let painter = parts.data.remove("painter");
        let personal = parts.personal.map(|mut personal| {
            personal.extend(painter.map(|painter| ("painter".to_owned(), painter)));
            personal
        });
        Parts { personal, ..parts }
    }

    type Painted = (String, Erasable<String>);

    fn read(
        event_type: &str,
        schema: u32,
        data: &Value,
        personal: Erasable<&Value>,
    ) -> Result<Painted, DecodeError> {
        let personal = personal.map(|personal| personal.as_object().unwrap());
        let stored = Fields { event_type, schema, data: data.as_object().unwrap(), personal };
        PAINTED.read(TYPES, stored, |fields| {
            let paint = fields.parsed("paint", |text| Ok::<_, ()>(text.to_owned()))?;
            Ok((paint, fields.personal("painter", ToOwned::to_owned)?))
        })
    }

    #[test]
    fn every_schema_upcasts_to_the_current_layout() {
        let ada = || Ok(("red".to_owned(), Erasable::Known("Ada".to_owned())));
        let nothing = json!({});
        for (schema, data, personal) in [
            (1, json!({"colour": "red", "by": "Ada"}), &nothing),
            (2, json!({"paint": "red", "painter": "Ada"}), &nothing),
            (3, json!({"paint": "red"}), &json!({"painter": "Ada"})),
        ] {
            assert_eq!(read("Painted", schema, &data, Erasable::Known(personal)), ada(), "schema {schema}");
        }
    }

    #[test]
    fn erased_data_stays_erased_through_upcasters() {
        for (schema, data) in [
            (1, json!({"colour": "red", "by": "Ada"})),
            (2, json!({"paint": "red"})),
            (3, json!({"paint": "red"})),
        ] {
            let erased = read("Painted", schema, &data, Erasable::Erased);
            assert_eq!(erased, Ok(("red".to_owned(), Erasable::Erased)), "schema {schema}");
        }
        // Even through an upcaster that adds personal data to every event.
        let careless = Upcasters {
            layouts: &[("Painted", &[|parts| Parts { personal: Erasable::Known(Map::new()), ..parts }])],
            renamed: &[],
        };
        let stored =
            Fields { event_type: "Painted", schema: 1, data: &Map::new(), personal: Erasable::Erased };
        let read = careless.read(TYPES, stored, |fields| fields.personal("painter", ToOwned::to_owned));
        assert_eq!(read, Ok(Erasable::<String>::Erased));
    }

    #[test]
    fn missing_field_is_reported_with_the_stored_schema() {
        for event_type in ["Painted", "Coloured"] {
            let data = json!({"paint": "red"});
            let error = read(event_type, 1, &data, Erasable::Known(&json!({}))).unwrap_err();
            assert_eq!((error.schema, error.problem), (1, DecodeProblem::Missing { field: "painter" }));
            assert_eq!(error.event_type, event_type);
        }
    }

    #[test]
    fn renamed_event_type_decodes_as_its_current_type() {
        let data = json!({"colour": "red", "by": "Ada"});
        let painted = ("red".to_owned(), Erasable::Known("Ada".to_owned()));
        assert_eq!(read("Coloured", 1, &data, Erasable::Known(&json!({}))), Ok(painted));
        let data = json!({"paint": "red", "painter": "Ada"});
        let painted = ("red".to_owned(), Erasable::Erased);
        assert_eq!(read("Coloured", 2, &data, Erasable::Erased), Ok(painted));
    }

    #[test]
    fn unknown_schemas_and_types_are_rejected() {
        for (event_type, schema, problem) in [
            ("Painted", 0, DecodeProblem::UnknownSchema),
            ("Painted", 4, DecodeProblem::UnknownSchema),
            ("Painted", u32::MAX, DecodeProblem::UnknownSchema),
            ("Framed", 2, DecodeProblem::UnknownSchema),
            ("Sold", 1, DecodeProblem::UnknownType),
            ("Coloured", 0, DecodeProblem::UnknownSchema),
            ("Coloured", 3, DecodeProblem::UnknownSchema),
        ] {
            let data = json!({"paint": "red"});
            let error = read(event_type, schema, &data, Erasable::Erased).unwrap_err();
            assert_eq!((error.schema, error.problem), (schema, problem), "{event_type}");
        }
    }

    #[test]
    fn new_events_have_the_newest_schema() {
        assert_eq!((PAINTED.newest("Painted"), PAINTED.newest("Framed")), (3, 1));
    }
}
