//! Property tests of the user aggregate.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::payload::EventPayload;
use crate::samples;
use crate::value::Erasable;

proptest! {
    #![proptest_config(samples::config())]

    #[test]
    fn replay_is_deterministic(events in vec(samples::user_event(), 0..12)) {
        prop_assert_eq!(fold(&events), fold(&events));
    }

    #[test]
    fn replay_can_resume_at_any_event(
        events in vec(samples::user_event(), 0..12),
        at in any::<prop::sample::Index>(),
    ) {
        let (early, late) = events.split_at(at.index(events.len() + 1));
        let resumed = late.iter().fold(fold(early), evolve);
        prop_assert_eq!(resumed, fold(&events));
    }

    #[test]
    fn stored_event_round_trips(event in samples::user_event()) {
        let EventPayload { event_type, schema, data, personal } = event.encode();
        let read = UserEvent::decode(event_type, schema, &data, Erasable::Known(&personal));
        prop_assert_eq!(read, Ok(event));
    }

    #[test]
    fn erased_event_folds_to_the_same_account_without_personal_data(
        event in samples::user_event(),
    ) {
        let EventPayload { event_type, schema, data, .. } = event.encode();
        let erased = UserEvent::decode(event_type, schema, &data, Erasable::Erased).unwrap();
        prop_assert_eq!(erased.revokes_tokens(), event.revokes_tokens());
        prop_assert_eq!(erased.erases(), event.erases());
        let [read, written] = [erased, event].map(|event| {
            match evolve(fold(&[samples::registered()]), &event) {
                User::Present(Account { is_active, created_at, roles, .. }) => {
                    Some((is_active, created_at, roles))
                }
                User::Erased if event.erases() => None,
                other => panic!("{event:?} made the user {other:?}"),
            }
        });
        prop_assert_eq!(read, written);
    }

    #[test]
    fn erased_user_was_inactive_before(commands in vec(samples::command(), 0..20)) {
        let mut user = User::Absent;
        for command in commands {
            for event in decide(&user, command).unwrap_or_default() {
                if event.erases() {
                    let User::Present(account) = &user else { panic!("{user:?} was erased") };
                    prop_assert!(!account.is_active);
                }
                user = evolve(user, &event);
            }
        }
    }

    #[test]
    fn decide_is_idempotent(
        past in vec(samples::command(), 0..12),
        command in samples::command(),
    ) {
        // Tokens, sessions and mails are no part of the state: each revocation and each request is recorded.
        prop_assume!(!matches!(
            command,
            UserCommand::RevokeTokens { .. }
                | UserCommand::RevokeSession { .. }
                | UserCommand::RequestEmailVerification
                | UserCommand::RequestPasswordReset
        ));
        let before = past.into_iter().fold(User::Absent, apply_command);
        if let Ok(events) = decide(&before, command.clone()) {
            let after = events.iter().fold(before.clone(), evolve);
            prop_assert_eq!(after == before, events.is_empty());
            prop_assert_eq!(apply_command(after.clone(), command), after);
        }
    }
}

/// The user after `command`; unchanged if it was rejected.
fn apply_command(user: User, command: UserCommand) -> User {
    let events = decide(&user, command).unwrap_or_default();
    events.iter().fold(user, evolve)
}
