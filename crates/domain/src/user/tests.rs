//! What a user's account allows: given a past, when a command comes, then these events or that refusal.

use super::*;
use crate::samples::{ada, ada_by_name, because, hash, import, imported, long_ago, register, registered};
use crate::value::{ErasureReason, Personal, Role};

/// A user with this past.
fn given(past: &[UserEvent]) -> Given {
    Given { user: fold(past) }
}

struct Given {
    user: User,
}

impl Given {
    fn when(self, command: Command) -> When {
        When { outcome: decide(&self.user, command) }
    }
}

struct When {
    outcome: Result<Vec<UserEvent>, Refusal>,
}

impl When {
    #[track_caller]
    fn then(self, expected: &[UserEvent]) {
        assert_eq!(self.outcome.as_deref(), Ok(expected));
    }

    #[track_caller]
    fn then_nothing_changes(self) {
        self.then(&[]);
    }

    #[track_caller]
    fn then_it_is_refused(self, refusal: Refusal) {
        assert_eq!(self.outcome, Err(refusal));
    }
}

const DEACTIVATED: UserEvent = UserEvent::UserDeactivated { reason: None };
const REACTIVATED: UserEvent = UserEvent::UserReactivated { reason: None };
const MADE_ADMIN: UserEvent = UserEvent::RoleGranted { role: Role::Admin };
const UNMADE_ADMIN: UserEvent = UserEvent::RoleRevoked { role: Role::Admin };
const ERASED: UserEvent = UserEvent::UserErased { reason: ErasureReason::Request };
const ERASE: Command = Command::Erase { reason: ErasureReason::Request };

#[test]
fn a_user_registers_once() {
    given(&[]).when(register()).then(&[registered()]);
    given(&[registered()]).when(register()).then_it_is_refused(Refusal::AlreadyRegistered);
    given(&[registered(), DEACTIVATED]).when(register()).then_it_is_refused(Refusal::AlreadyRegistered);
}

#[test]
fn a_user_is_imported_once_and_under_an_id_that_nobody_has() {
    given(&[]).when(import(true)).then(&[imported(true)]);
    given(&[]).when(import(false)).then(&[imported(false)]);
    for past in [imported(true), imported(false), registered()] {
        given(std::slice::from_ref(&past)).when(import(true)).then_it_is_refused(Refusal::AlreadyRegistered);
        given(&[past]).when(register()).then_it_is_refused(Refusal::AlreadyRegistered);
    }
}

#[test]
fn an_imported_account_is_as_it_was_where_it_came_from() {
    for is_active in [true, false] {
        let User::Present(account) = fold(&[imported(is_active)]) else {
            panic!("the import leaves the user absent");
        };
        assert_eq!(account.email, Personal::Known(ada()));
        assert_eq!(account.username, Personal::Known(ada_by_name()));
        assert_eq!(account.password_hash, Personal::Known(hash()));
        assert_eq!((account.is_active, account.created_at), (is_active, Some(long_ago())));
        assert!(account.roles.is_empty());
    }
    given(&[imported(false)]).when(Command::Reactivate { reason: None }).then(&[REACTIVATED]);
}

#[test]
fn an_active_user_is_deactivated_before_they_are_erased() {
    for past in [&[registered()][..], &[imported(true)], &[registered(), MADE_ADMIN]] {
        given(past).when(ERASE).then(&[DEACTIVATED, ERASED]);
    }
    for past in [&[registered(), DEACTIVATED][..], &[imported(false)]] {
        given(past).when(ERASE).then(&[ERASED]);
    }
}

#[test]
fn of_an_erased_user_nothing_is_left_to_act_on() {
    let past = [registered(), MADE_ADMIN, DEACTIVATED, ERASED];
    assert_eq!(fold(&past), User::Erased);
    let role = Role::Admin;
    for command in [
        register(),
        import(true),
        Command::Deactivate { reason: None },
        Command::Reactivate { reason: Some(because()) },
        Command::GrantRole { role },
        Command::RevokeRole { role },
        ERASE,
    ] {
        given(&past).when(command).then_it_is_refused(Refusal::Erased);
    }
}

#[test]
fn no_event_brings_an_erased_user_back() {
    for event in [registered(), imported(true), REACTIVATED, MADE_ADMIN, ERASED] {
        assert_eq!(fold(&[registered(), ERASED, event]), User::Erased);
    }
}

#[test]
fn one_event_alone_destroys_what_is_personal() {
    assert!(ERASED.erases());
    for event in [registered(), imported(true), DEACTIVATED, REACTIVATED, MADE_ADMIN, UNMADE_ADMIN] {
        assert!(!event.erases(), "{event:?}");
    }
}

#[test]
fn nothing_can_be_asked_of_a_user_who_never_registered() {
    let role = Role::Admin;
    for command in [
        Command::Deactivate { reason: None },
        Command::Reactivate { reason: None },
        Command::GrantRole { role },
        Command::RevokeRole { role },
        ERASE,
    ] {
        given(&[]).when(command).then_it_is_refused(Refusal::Unknown);
    }
}

#[test]
fn an_active_user_can_be_deactivated_with_a_reason_or_without() {
    given(&[registered()]).when(Command::Deactivate { reason: None }).then(&[DEACTIVATED]);
    given(&[registered()])
        .when(Command::Deactivate { reason: Some(because()) })
        .then(&[UserEvent::UserDeactivated { reason: Some(Personal::Known(because())) }]);
}

#[test]
fn deactivating_twice_changes_nothing() {
    given(&[registered(), DEACTIVATED])
        .when(Command::Deactivate { reason: Some(because()) })
        .then_nothing_changes();
}

#[test]
fn a_deactivated_user_can_be_reactivated() {
    given(&[registered(), DEACTIVATED])
        .when(Command::Reactivate { reason: Some(because()) })
        .then(&[UserEvent::UserReactivated { reason: Some(Personal::Known(because())) }]);
}

#[test]
fn reactivating_an_active_user_changes_nothing() {
    given(&[registered()]).when(Command::Reactivate { reason: None }).then_nothing_changes();
    given(&[registered(), DEACTIVATED, REACTIVATED])
        .when(Command::Reactivate { reason: None })
        .then_nothing_changes();
}

#[test]
fn a_role_is_granted_once_and_revoked_once() {
    let role = Role::Admin;
    given(&[registered()]).when(Command::GrantRole { role }).then(&[MADE_ADMIN]);
    given(&[registered(), MADE_ADMIN]).when(Command::GrantRole { role }).then_nothing_changes();
    given(&[registered(), MADE_ADMIN]).when(Command::RevokeRole { role }).then(&[UNMADE_ADMIN]);
    given(&[registered(), MADE_ADMIN, UNMADE_ADMIN])
        .when(Command::RevokeRole { role })
        .then_nothing_changes();
}

#[test]
fn a_deactivated_user_keeps_and_changes_roles() {
    given(&[registered(), MADE_ADMIN, DEACTIVATED])
        .when(Command::GrantRole { role: Role::Auditor })
        .then(&[UserEvent::RoleGranted { role: Role::Auditor }]);
}

#[test]
fn a_new_account_is_active_and_holds_no_role() {
    let User::Present(account) = fold(&[registered()]) else {
        panic!("registration leaves the user absent");
    };
    assert_eq!(account.email, Personal::Known(ada()));
    assert_eq!(account.username, Personal::Known(ada_by_name()));
    assert!(account.is_active);
    assert_eq!(account.created_at, None);
    assert!(account.roles.is_empty());
}

#[test]
fn only_an_active_holder_of_the_role_is_an_active_administrator() {
    for (past, expected) in [
        (vec![], false),
        (vec![registered()], false),
        (vec![registered(), MADE_ADMIN], true),
        (vec![registered(), MADE_ADMIN, DEACTIVATED], false),
        (vec![registered(), MADE_ADMIN, DEACTIVATED, REACTIVATED], true),
        (vec![registered(), MADE_ADMIN, UNMADE_ADMIN], false),
        (vec![imported(true), MADE_ADMIN], true),
        (vec![imported(false), MADE_ADMIN], false),
        (vec![registered(), MADE_ADMIN, ERASED], false),
    ] {
        assert_eq!(fold(&past).is_active_administrator(), expected, "{past:?}");
    }
}

#[test]
fn losing_a_right_revokes_tokens_and_gaining_one_does_not() {
    for event in [DEACTIVATED, UNMADE_ADMIN, ERASED] {
        assert!(event.revokes_tokens(), "{event:?}");
    }
    for event in [registered(), imported(false), REACTIVATED, MADE_ADMIN] {
        assert!(!event.revokes_tokens(), "{event:?}");
    }
}

#[test]
fn who_comes_claims_the_address_and_the_name_by_their_keys() {
    let claims = registered().claims_taken();
    assert_eq!(imported(false).claims_taken(), claims);
    assert_eq!(
        claims,
        [(ClaimKind::Email, "ada@example.com".to_owned()), (ClaimKind::Username, "ada lovelace".to_owned()),]
    );
    assert_eq!(claims[0].0.as_str(), "email");
    assert_eq!(claims[1].0.as_str(), "username");
}

#[test]
fn nothing_else_claims_anything() {
    let erased = UserEvent::UserRegistered {
        email: Personal::Erased,
        username: Personal::Erased,
        password_hash: Personal::Erased,
    };
    for event in [erased, DEACTIVATED, REACTIVATED, MADE_ADMIN, UNMADE_ADMIN, ERASED] {
        assert_eq!(event.claims_taken(), [], "{event:?}");
    }
}
