//! Upcasting: an event that an earlier version has stored is brought to the layout of today before it is read.
//!
//! What is stored never changes. When the layout of an event has to, its schema goes up by one, and one entry in
//! [`UPCASTERS`] says how the fields of the schema before become those of the new one; everything else, `decode`
//! included, knows the newest layout alone. An upcaster invents nothing: what an old event does not say is said to be
//! unknown, by an `Option` in the event.
//!
//! Adding a field that old events lack, and that is an `Option` anyway, needs no new schema.

use serde_json::{Map, Value};

use crate::fields::Fields;
use crate::payload::{DecodeError, DecodeProblem};
use crate::system::SystemEvent;
use crate::user::UserEvent;
use crate::value::Erasable;
use crate::webhook::WebhookEvent;

/// The fields of a stored event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parts {
    pub(crate) data: Map<String, Value>,
    /// Erased, it stays so, whatever an upcaster does.
    pub(crate) personal: Erasable<Map<String, Value>>,
}

/// From the fields of one schema to those of the next: pure and total. What it does not find it leaves; the reader
/// names what is missing.
pub(crate) type Upcaster = fn(Parts) -> Parts;

/// How stored events of earlier versions are read.
#[derive(Clone, Copy)]
pub(crate) struct Upcasters {
    /// For each type that has changed its layout, what leads from schema 1 to 2, from 2 to 3, and so on.
    pub(crate) layouts: &'static [(&'static str, &'static [Upcaster])],
    /// The types that have another name now.
    pub(crate) renamed: &'static [RenamedType],
}

/// An event type that was stored under another name. Its schemas count on under the new name.
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
    renamed: &[RenamedType { stored: "WebhookParked", last_schema: 1, current: WebhookEvent::SUSPENDED }],
};

/// Every type and schema that can be read, of users, of webhooks and of the installation. New events are stored with
/// the highest schema of their type.
pub fn known_schemas() -> impl Iterator<Item = (&'static str, u32)> {
    let types = UserEvent::TYPES.iter().chain(WebhookEvent::TYPES).chain(SystemEvent::TYPES);
    let current = types.map(|event_type| (*event_type, UPCASTERS.newest(event_type)));
    let renamed = UPCASTERS.renamed.iter().map(|renamed| (renamed.stored, renamed.last_schema));
    current.chain(renamed).flat_map(|(event_type, last)| (1..=last).map(move |schema| (event_type, schema)))
}

/// The name that events of a stored type have today: the same one unless the type was renamed.
#[must_use]
pub fn current_event_type(stored: &str) -> &str {
    UPCASTERS.renamed(stored).map_or(stored, |renamed| renamed.current)
}

impl Upcasters {
    fn renamed(self, stored: &str) -> Option<&'static RenamedType> {
        self.renamed.iter().find(|renamed| renamed.stored == stored)
    }

    /// The schema that new events of this type have.
    pub(crate) fn newest(self, event_type: &str) -> u32 {
        u32::try_from(self.of(event_type).len()).map_or(u32::MAX, |changes| changes.saturating_add(1))
    }

    /// Reads a stored event of one of these types with `read`, which knows the newest layout alone.
    ///
    /// # Errors
    /// [`DecodeProblem::UnknownType`], [`DecodeProblem::UnknownSchema`], or what `read` has to say.
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
            // The usual case copies nothing.
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

    /// An event that exists in these tests alone, and has changed twice: its fields got better names, then the painter's
    /// was found to be personal.
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
        // Even one that gives a personal part to every event.
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

    #[test]
    fn upcasters_belong_to_known_types_once() {
        let mut types: Vec<_> = known_schemas().map(|(event_type, _)| event_type).collect();
        types.dedup();
        let current = [UserEvent::TYPES, WebhookEvent::TYPES, SystemEvent::TYPES].concat();
        let renamed: Vec<_> = UPCASTERS.renamed.iter().map(|renamed| renamed.stored).collect();
        assert_eq!(types, [current.clone(), renamed].concat());
        assert!(UPCASTERS.renamed.iter().all(|renamed| current.contains(&renamed.current)));
        let mut listed: Vec<_> = UPCASTERS.layouts.iter().map(|(event_type, _)| *event_type).collect();
        assert!(listed.iter().all(|event_type| types.contains(event_type)), "{listed:?}");
        listed.dedup();
        assert_eq!(listed.len(), UPCASTERS.layouts.len());
    }
}
