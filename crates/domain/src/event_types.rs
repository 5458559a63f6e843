//! The event types of all aggregates, as stored.

use crate::login::LoginEvent;
use crate::system::SystemEvent;
use crate::token::TokenEvent;
use crate::upcast::UPCASTERS;
use crate::user::UserEvent;
use crate::webhook::WebhookEvent;

/// Every event type and schema that this release can decode, previous names included. New events are stored
/// with the highest schema of their type.
pub fn known_schemas() -> impl Iterator<Item = (&'static str, u32)> {
    newest_schemas().flat_map(|(event_type, last)| (1..=last).map(move |schema| (event_type, schema)))
}

/// Every event type that this release can decode, previous names included.
pub fn known_event_types() -> impl Iterator<Item = &'static str> {
    newest_schemas().map(|(event_type, _)| event_type)
}

fn newest_schemas() -> impl Iterator<Item = (&'static str, u32)> {
    let types =
        [UserEvent::TYPES, WebhookEvent::TYPES, SystemEvent::TYPES, LoginEvent::TYPES, TokenEvent::TYPES]
            .into_iter()
            .flatten();
    let current = types.map(|event_type| (*event_type, UPCASTERS.newest(event_type)));
    current.chain(UPCASTERS.renamed.iter().map(|renamed| (renamed.stored, renamed.last_schema)))
}

/// The current name of a stored event type, which differs only if the type was renamed.
#[must_use]
pub fn current_event_type(stored: &str) -> &str {
    UPCASTERS.renamed(stored).map_or(stored, |renamed| renamed.current)
}

/// The names under which events of these types are stored: a filter by any name of a renamed type selects the
/// events of all its names.
#[must_use]
pub fn stored_event_types(types: &[String]) -> Vec<String> {
    let mut names = types.to_vec();
    for event_type in types {
        let current = current_event_type(event_type);
        let previous = UPCASTERS.renamed.iter().filter(|renamed| renamed.current == current);
        names.extend(previous.flat_map(|renamed| [renamed.current, renamed.stored]).map(str::to_owned));
    }
    names.sort_unstable();
    names.dedup();
    names
}

/// Whether events of this stored type erase a stream: their own, and those that share its data key.
#[must_use]
pub fn is_erasing_event_type(stored: &str) -> bool {
    let current = current_event_type(stored);
    current == UserEvent::ERASED || current == WebhookEvent::DELETED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_a_renamed_type_selects_all_its_events() {
        let stored = |types: &[&str]| {
            stored_event_types(&types.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(stored(&["WebhookSuspended"]), ["WebhookParked", "WebhookSuspended"]);
        assert_eq!(stored(&["WebhookParked", "X"]), ["WebhookParked", "WebhookSuspended", "X"]);
        assert_eq!(stored(&["UserRegistered"]), ["UserRegistered"]);
        assert_eq!(stored(&[]), [""; 0]);
    }

    #[test]
    fn upcasters_belong_to_known_types_once() {
        let mut types: Vec<_> = known_schemas().map(|(event_type, _)| event_type).collect();
        types.dedup();
        let current =
            [UserEvent::TYPES, WebhookEvent::TYPES, SystemEvent::TYPES, LoginEvent::TYPES, TokenEvent::TYPES]
                .concat();
        let renamed: Vec<_> = UPCASTERS.renamed.iter().map(|renamed| renamed.stored).collect();
        assert_eq!(types, [current.clone(), renamed].concat());
        assert!(UPCASTERS.renamed.iter().all(|renamed| current.contains(&renamed.current)));
        let mut listed: Vec<_> = UPCASTERS.layouts.iter().map(|(event_type, _)| *event_type).collect();
        assert!(listed.iter().all(|event_type| types.contains(event_type)), "{listed:?}");
        listed.dedup();
        assert_eq!(listed.len(), UPCASTERS.layouts.len());
    }
}
