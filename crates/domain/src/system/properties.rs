//! Property tests of the system aggregate together with users.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::payload::EventPayload;
use crate::samples;
use crate::user::{self, User, UserCommand};
use crate::value::{Erasable, UserId};

/// Some users and the system aggregate; every command is decided by both.
#[derive(Default)]
struct World {
    users: BTreeMap<UserId, User>,
    system: System,
}

impl World {
    /// Applies `command` entirely, or not at all if either aggregate rejects it.
    fn obey(&mut self, id: UserId, command: UserCommand) {
        let before = self.users.get(&id).cloned().unwrap_or_default();
        let Ok(events) = user::decide(&before, command) else {
            return;
        };
        let after = events.iter().fold(before.clone(), user::evolve);
        let Ok(events) = administrator_change(id, &before, &after)
            .map_or(Ok(vec![]), |change| decide(&self.system, change))
        else {
            return;
        };
        self.system = events.iter().fold(self.system.clone(), evolve);
        self.users.insert(id, after);
    }

    fn active_administrators(&self) -> BTreeSet<UserId> {
        let administrators = self.users.iter().filter(|(_, user)| user.is_active_administrator());
        administrators.map(|(id, _)| *id).collect()
    }
}

fn change() -> impl Strategy<Value = AdministratorChange> {
    (0_u8..4, any::<bool>()).prop_map(|(number, added)| {
        let user = samples::nth_user(number);
        if added { AdministratorChange::Added(user) } else { AdministratorChange::Removed(user) }
    })
}

fn skip_of() -> impl Strategy<Value = Skip> {
    (select(vec!["users", "daily"]), 1_u64..4, samples::reason().prop_filter_map("none", |reason| reason))
        .prop_map(|(projection, position, reason)| Skip {
            projection: projection.to_owned(),
            position,
            reason,
        })
}

fn event() -> impl Strategy<Value = SystemEvent> {
    prop_oneof![
        samples::user_id().prop_map(|user| SystemEvent::AdministratorAdded { user }),
        samples::user_id().prop_map(|user| SystemEvent::AdministratorRemoved { user }),
        skip_of().prop_map(|Skip { projection, position, reason }| SystemEvent::ProjectionEventSkipped {
            projection,
            position,
            reason: Erasable::Known(reason),
        }),
        Just(SystemEvent::PasswordHashesExported),
    ]
}

proptest! {
    #![proptest_config(samples::config())]

    #[test]
    fn once_there_is_an_administrator_there_always_is_one(
        commands in vec((0_u8..3, samples::command()), 0..60),
    ) {
        let mut world = World::default();
        let mut had_one = false;
        for (number, command) in commands {
            world.obey(samples::nth_user(number), command);
            let administrators = world.active_administrators();
            prop_assert!(!(had_one && administrators.is_empty()));
            prop_assert_eq!(&administrators, &world.system.administrators);
            had_one = !administrators.is_empty();
        }
    }

    #[test]
    fn decide_is_idempotent(
        past in vec(event(), 0..6),
        change in change(),
    ) {
        let before = fold(&past);
        if let Ok(events) = decide(&before, change) {
            let after = events.iter().fold(before.clone(), evolve);
            prop_assert_eq!(after == before, events.is_empty());
            prop_assert_eq!(decide(&after, change), Ok(vec![]));
        }
    }

    #[test]
    fn skip_is_idempotent(past in vec(event(), 0..6), asked in skip_of()) {
        let before = fold(&past);
        let events = decide_skip(&before, asked.clone());
        let after = events.iter().fold(before.clone(), evolve);
        prop_assert_eq!(after == before, events.is_empty());
        prop_assert!(after.is_skipped(&asked.projection, asked.position));
        prop_assert_eq!(decide_skip(&after, asked), vec![]);
    }

    #[test]
    fn stored_event_round_trips(event in event()) {
        let EventPayload { event_type, schema, data, personal } = event.encode();
        let read = SystemEvent::decode(event_type, schema, &data, Erasable::Known(&personal));
        prop_assert_eq!(read, Ok(event));
    }
}
