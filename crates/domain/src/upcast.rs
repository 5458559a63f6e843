//! Upcasting: an event that an earlier version has stored is brought to the layout of today before it is read.
//!
//! What is stored never changes. When the layout of an event has to, its schema goes up by one, and one entry in
//! [`UPCASTERS`] says how the fields of the schema before become those of the new one; everything else, `decode`
//! included, knows the newest layout alone. An upcaster invents nothing: what an old event does not say is said to be
//! unknown, by an `Option` in the event.
//!
//! Adding a field that old events lack, and that is an `Option` anyway, needs no new schema.

use serde_json::{Map, Value};

use crate::encoded::{DecodeError, DecodeProblem};
use crate::fields::Fields;
use crate::system::SystemEvent;
use crate::user::UserEvent;
use crate::value::Personal;
use crate::webhook::WebhookEvent;

/// The fields of a stored event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parts {
    pub(crate) data: Map<String, Value>,
    /// Erased, it stays so, whatever an upcaster does.
    pub(crate) personal: Personal<Map<String, Value>>,
}

/// From the fields of one schema to those of the next: pure and total. What it does not find it leaves; the reader
/// names what is missing.
pub(crate) type Upcaster = fn(Parts) -> Parts;

/// For each type that has changed its layout, what leads from schema 1 to 2, from 2 to 3, and so on.
#[derive(Clone, Copy)]
pub(crate) struct Upcasters(pub(crate) &'static [(&'static str, &'static [Upcaster])]);

/// Those of all events. None has changed its layout so far.
pub(crate) const UPCASTERS: Upcasters = Upcasters(&[]);

/// Every type and schema that can be read, of users, of webhooks and of the installation. New events are stored with
/// the highest schema of their type.
pub fn known_schemas() -> impl Iterator<Item = (&'static str, u32)> {
    let types = UserEvent::TYPES.iter().chain(WebhookEvent::TYPES).chain(SystemEvent::TYPES);
    types.flat_map(|event_type| (1..=UPCASTERS.newest(event_type)).map(move |schema| (*event_type, schema)))
}

impl Upcasters {
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
        if !types.contains(&stored.event_type) {
            return Err(stored.error(DecodeProblem::UnknownType));
        }
        let since = |schema: u32| usize::try_from(schema.checked_sub(1)?).ok();
        match since(stored.schema).and_then(|first| self.of(stored.event_type).get(first..)) {
            None => Err(stored.error(DecodeProblem::UnknownSchema)),
            // The usual case copies nothing.
            Some([]) => read(stored),
            Some(upcasters) => {
                let parts = Parts { data: stored.data.clone(), personal: stored.personal.map(Clone::clone) };
                let erased = parts.personal == Personal::Erased;
                let Parts { data, personal } = upcasters.iter().fold(parts, |parts, upcast| upcast(parts));
                let personal = if erased { Personal::Erased } else { personal.as_ref() };
                read(Fields { data: &data, personal, ..stored })
            }
        }
    }

    fn of(self, event_type: &str) -> &'static [Upcaster] {
        let of_type = self.0.iter().find(|(name, _)| *name == event_type);
        of_type.map_or(&[], |(_, upcasters)| upcasters)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// An event that exists in these tests alone, and has changed twice: its fields got better names, then the painter's
    /// was found to be personal.
    const PAINTED: Upcasters = Upcasters(&[("Painted", &[rename, conceal])]);
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

    type Painted = (String, Personal<String>);

    fn read(
        event_type: &str,
        schema: u32,
        data: &Value,
        personal: Personal<&Value>,
    ) -> Result<Painted, DecodeError> {
        let personal = personal.map(|personal| personal.as_object().unwrap());
        let stored = Fields { event_type, schema, data: data.as_object().unwrap(), personal };
        PAINTED.read(TYPES, stored, |fields| {
            let paint = fields.parsed("paint", |text| Ok::<_, ()>(text.to_owned()))?;
            Ok((paint, fields.personal("painter", ToOwned::to_owned)?))
        })
    }

    #[test]
    fn an_event_of_each_schema_is_read_as_one_of_today() {
        let ada = || Ok(("red".to_owned(), Personal::Known("Ada".to_owned())));
        let nothing = json!({});
        for (schema, data, personal) in [
            (1, json!({"colour": "red", "by": "Ada"}), &nothing),
            (2, json!({"paint": "red", "painter": "Ada"}), &nothing),
            (3, json!({"paint": "red"}), &json!({"painter": "Ada"})),
        ] {
            assert_eq!(read("Painted", schema, &data, Personal::Known(personal)), ada(), "schema {schema}");
        }
    }

    #[test]
    fn an_erased_part_stays_erased_through_every_upcaster() {
        for (schema, data) in [
            (1, json!({"colour": "red", "by": "Ada"})),
            (2, json!({"paint": "red"})),
            (3, json!({"paint": "red"})),
        ] {
            let erased = read("Painted", schema, &data, Personal::Erased);
            assert_eq!(erased, Ok(("red".to_owned(), Personal::Erased)), "schema {schema}");
        }
        // Even one that gives a personal part to every event.
        let careless =
            Upcasters(&[("Painted", &[|parts| Parts { personal: Personal::Known(Map::new()), ..parts }])]);
        let stored =
            Fields { event_type: "Painted", schema: 1, data: &Map::new(), personal: Personal::Erased };
        let read = careless.read(TYPES, stored, |fields| fields.personal("painter", ToOwned::to_owned));
        assert_eq!(read, Ok(Personal::<String>::Erased));
    }

    #[test]
    fn a_field_that_an_old_event_lacks_is_named_with_the_schema_that_was_stored() {
        let error = read("Painted", 1, &json!({"paint": "red"}), Personal::Known(&json!({}))).unwrap_err();
        assert_eq!((error.schema, error.problem), (1, DecodeProblem::Missing { field: "painter" }));
    }

    #[test]
    fn a_schema_that_never_was_and_one_from_the_future_are_not_guessed_at() {
        for (event_type, schema, problem) in [
            ("Painted", 0, DecodeProblem::UnknownSchema),
            ("Painted", 4, DecodeProblem::UnknownSchema),
            ("Painted", u32::MAX, DecodeProblem::UnknownSchema),
            ("Framed", 2, DecodeProblem::UnknownSchema),
            ("Sold", 1, DecodeProblem::UnknownType),
        ] {
            let data = json!({"paint": "red"});
            let error = read(event_type, schema, &data, Personal::Erased).unwrap_err();
            assert_eq!((error.schema, error.problem), (schema, problem), "{event_type}");
        }
    }

    #[test]
    fn new_events_have_the_schema_that_the_last_upcaster_leads_to() {
        assert_eq!((PAINTED.newest("Painted"), PAINTED.newest("Framed")), (3, 1));
    }

    #[test]
    fn upcasters_are_of_types_that_exist_and_are_listed_once() {
        let mut types: Vec<_> = known_schemas().map(|(event_type, _)| event_type).collect();
        types.dedup();
        assert_eq!(types, [UserEvent::TYPES, WebhookEvent::TYPES, SystemEvent::TYPES].concat());
        let mut listed: Vec<_> = UPCASTERS.0.iter().map(|(event_type, _)| *event_type).collect();
        assert!(listed.iter().all(|event_type| types.contains(event_type)), "{listed:?}");
        listed.dedup();
        assert_eq!(listed.len(), UPCASTERS.0.len());
    }
}
