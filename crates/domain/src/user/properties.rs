//! What holds of a user whatever happens to them.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::encoded::Encoded;
use crate::samples;
use crate::value::Personal;

proptest! {
    #![proptest_config(samples::config())]

    #[test]
    fn replay_is_deterministic(events in vec(samples::user_event(), 0..12)) {
        prop_assert_eq!(fold(&events), fold(&events));
    }

    #[test]
    fn replay_may_stop_and_go_on_anywhere(
        events in vec(samples::user_event(), 0..12),
        at in any::<prop::sample::Index>(),
    ) {
        let (early, late) = events.split_at(at.index(events.len() + 1));
        let resumed = late.iter().fold(fold(early), evolve);
        prop_assert_eq!(resumed, fold(&events));
    }

    #[test]
    fn a_stored_event_is_read_back_as_it_was(event in samples::user_event()) {
        let Encoded { event_type, schema, data, personal } = event.encode();
        let read = UserEvent::decode(event_type, schema, &data, Personal::Known(&personal));
        prop_assert_eq!(read, Ok(event));
    }

    #[test]
    fn an_erased_event_is_read_and_leaves_the_same_account_but_for_what_is_personal(
        event in samples::user_event(),
    ) {
        let Encoded { event_type, schema, data, .. } = event.encode();
        let erased = UserEvent::decode(event_type, schema, &data, Personal::Erased).unwrap();
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
    fn who_is_erased_was_inactive_before(commands in vec(samples::command(), 0..20)) {
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
    fn what_decide_emits_makes_a_difference_and_a_repeat_makes_none(
        past in vec(samples::command(), 0..12),
        command in samples::command(),
    ) {
        let before = past.into_iter().fold(User::Absent, obey);
        if let Ok(events) = decide(&before, command.clone()) {
            let after = events.iter().fold(before.clone(), evolve);
            prop_assert_eq!(after == before, events.is_empty());
            prop_assert_eq!(obey(after.clone(), command), after);
        }
    }
}

/// The user after `command`, whether or not it was refused.
fn obey(user: User, command: Command) -> User {
    let events = decide(&user, command).unwrap_or_default();
    events.iter().fold(user, evolve)
}
