//! The event types of all aggregates, as stored.

use crate::system::SystemEvent;
use crate::upcast::UPCASTERS;
use crate::user::UserEvent;
use crate::webhook::WebhookEvent;

/// Every event type and schema that this release can decode, previous names included. New events are stored
/// with the highest schema of their type.
pub fn known_schemas() -> impl Iterator<Item = (&'static str, u32)> {
    let types = UserEvent::TYPES.iter().chain(WebhookEvent::TYPES).chain(SystemEvent::TYPES);
    let current = types.map(|event_type| (*event_type, UPCASTERS.newest(event_type)));
    let renamed = UPCASTERS.renamed.iter().map(|renamed| (renamed.stored, renamed.last_schema));
    current.chain(renamed).flat_map(|(event_type, last)| (1..=last).map(move |schema| (event_type, schema)))
}

/// The current name of a stored event type, which differs only if the type was renamed.
#[must_use]
pub fn current_event_type(stored: &str) -> &str {
    UPCASTERS.renamed(stored).map_or(stored, |renamed| renamed.current)
}

#[cfg(test)]
mod tests {
    use super::*;

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
