//! Tests of user decisions: given events, when a command, then events or a rejection.

use super::*;
use crate::samples::{
    ada, ada_username, change_password, hash, identity_changed, import, imported, long_ago, new_hash,
    new_identity, register, registered, sample_reason, session,
};
use crate::value::{Erasable, ErasureReason, RevocationReason, Role, Username};

/// A user with these events.
fn given(past: &[UserEvent]) -> Given {
    Given { user: fold(past) }
}

struct Given {
    user: User,
}

impl Given {
    fn when(self, command: UserCommand) -> When {
        When { outcome: decide(&self.user, command) }
    }
}

struct When {
    outcome: Result<Vec<UserEvent>, Rejection>,
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
    fn then_it_is_refused(self, refusal: Rejection) {
        assert_eq!(self.outcome, Err(refusal));
    }
}

const DEACTIVATED: UserEvent = UserEvent::UserDeactivated { reason: None };
const REACTIVATED: UserEvent = UserEvent::UserReactivated { reason: None };
const MADE_ADMIN: UserEvent = UserEvent::RoleGranted { role: Role::Admin };
const UNMADE_ADMIN: UserEvent = UserEvent::RoleRevoked { role: Role::Admin };
const ERASED: UserEvent = UserEvent::UserErased { reason: ErasureReason::Request };
const ERASE: UserCommand = UserCommand::Erase { reason: ErasureReason::Request };

#[test]
fn a_user_registers_once() {
    given(&[]).when(register()).then(&[registered()]);
    given(&[registered()]).when(register()).then_it_is_refused(Rejection::AlreadyRegistered);
    given(&[registered(), DEACTIVATED]).when(register()).then_it_is_refused(Rejection::AlreadyRegistered);
}

#[test]
fn user_is_imported_once_under_an_unused_id() {
    given(&[]).when(import(true)).then(&[imported(true)]);
    given(&[]).when(import(false)).then(&[imported(false)]);
    for past in [imported(true), imported(false), registered()] {
        given(std::slice::from_ref(&past))
            .when(import(true))
            .then_it_is_refused(Rejection::AlreadyRegistered);
        given(&[past]).when(register()).then_it_is_refused(Rejection::AlreadyRegistered);
    }
}

#[test]
fn imported_account_keeps_its_state() {
    for is_active in [true, false] {
        let User::Present(account) = fold(&[imported(is_active)]) else {
            panic!("the import leaves the user absent");
        };
        assert_eq!(account.email, Erasable::Known(ada()));
        assert_eq!(account.username, Erasable::Known(ada_username()));
        assert_eq!(account.password_hash, Some(Erasable::Known(hash())));
        assert_eq!((account.is_active, account.created_at), (is_active, Some(long_ago())));
        assert!(account.roles.is_empty());
    }
    given(&[imported(false)]).when(UserCommand::Reactivate { reason: None }).then(&[REACTIVATED]);
}

#[test]
fn user_is_locked_and_unlocked_once_per_spell() {
    let (locked, unlocked) = (UserEvent::UserLocked, UserEvent::UserUnlocked);
    given(&[registered()]).when(UserCommand::Unlock).then(&[]);
    given(&[registered()]).when(UserCommand::Lock).then(std::slice::from_ref(&locked));
    given(&[registered(), locked.clone()]).when(UserCommand::Lock).then(&[]);
    given(&[registered(), locked.clone()]).when(UserCommand::Unlock).then(std::slice::from_ref(&unlocked));
    given(&[registered(), locked.clone(), unlocked]).when(UserCommand::Lock).then(&[locked]);
}

#[test]
fn rehash_replaces_only_the_hash_that_was_verified() {
    let rehash = || UserCommand::RehashPassword { previous: hash(), password_hash: new_hash() };
    let rehashed = UserEvent::PasswordRehashed { password_hash: Erasable::Known(new_hash()) };
    given(&[registered()]).when(rehash()).then(std::slice::from_ref(&rehashed));
    given(&[registered(), rehashed.clone()]).when(rehash()).then(&[]);
    let User::Present(account) = fold(&[registered(), rehashed]) else { panic!("the user is absent") };
    assert_eq!(account.password_hash, Some(Erasable::Known(new_hash())));
}

/// Another request with the same token came first.
#[test]
fn token_that_was_revoked_meanwhile_revokes_nothing() {
    let revoke = |version| UserCommand::RevokeTokens { presented: Some(version) };
    let revoked = || UserEvent::TokensRevoked;
    given(&[registered()]).when(revoke(1)).then(&[revoked()]);
    given(&[registered(), revoked()]).when(revoke(1)).then_nothing_changes();
    given(&[registered(), revoked(), DEACTIVATED]).when(revoke(1)).then_nothing_changes();
    given(&[registered(), revoked()]).when(revoke(2)).then(&[revoked()]);
    given(&[registered(), revoked()]).when(REVOKE_TOKENS).then(&[revoked()]);
    // A change of the password keeps a session, which there is to end.
    let changed = UserEvent::PasswordChanged { password_hash: Erasable::Known(new_hash()) };
    given(&[registered(), revoked(), changed]).when(revoke(2)).then(&[revoked()]);
}

const REVOKE_TOKENS: UserCommand = UserCommand::RevokeTokens { presented: None };

#[test]
fn revocations_are_recorded_for_users_who_exist() {
    let revoke = || UserCommand::RevokeSession { session: session(), reason: RevocationReason::Reuse };
    let revoked = UserEvent::SessionRevoked { session: session(), reason: RevocationReason::Reuse };
    assert!(!revoked.revokes_tokens(), "other sessions go on");
    given(&[registered(), DEACTIVATED]).when(revoke()).then(&[revoked]);
    given(&[registered()]).when(REVOKE_TOKENS).then(&[UserEvent::TokensRevoked]);
    for command in [revoke(), REVOKE_TOKENS] {
        given(&[]).when(command.clone()).then_it_is_refused(Rejection::Unknown);
        given(&[registered(), ERASED]).when(command).then_it_is_refused(Rejection::Erased);
    }
}

#[test]
fn identity_changes_to_what_differs() {
    let change = |email, username| UserCommand::ChangeIdentity { email, username, confirmed: Some(hash()) };
    let (email, username) = new_identity();
    let events = identity_changed();
    let [email_changed, username_changed] = events.clone();
    given(&[registered()]).when(change(Some(email.clone()), Some(username.clone()))).then(&events);
    let same = || (Some(ada()), Some(ada_username()));
    given(&[registered()]).when(change(Some(email.clone()), same().1)).then(&[email_changed]);
    given(&[registered()]).when(change(None, Some(username.clone()))).then(&[username_changed]);
    given(&[registered()]).when(change(same().0, same().1)).then_nothing_changes();
    given(&[registered()]).when(change(None, None)).then_nothing_changes();
    let User::Present(account) = fold([&registered()].into_iter().chain(&events)) else {
        panic!("the user is absent");
    };
    assert_eq!((account.email, account.username), (Erasable::Known(email), Erasable::Known(username)));
    let other_case = Username::parse("ADA lovelace").unwrap();
    given(&[registered()]).when(change(None, Some(other_case.clone()))).then(&[UserEvent::UsernameChanged {
        previous: Erasable::Known(ada_username()),
        username: Erasable::Known(other_case),
    }]);
}

#[test]
fn password_changes_and_only_the_confirmed_one() {
    let changed = UserEvent::PasswordChanged { password_hash: Erasable::Known(new_hash()) };
    given(&[registered()]).when(change_password()).then(std::slice::from_ref(&changed));
    given(&[registered(), changed.clone()])
        .when(change_password())
        .then_it_is_refused(Rejection::PasswordChanged);
    let email = UserCommand::ChangeIdentity {
        email: Some(new_identity().0),
        username: None,
        confirmed: Some(hash()),
    };
    given(&[registered(), changed.clone()]).when(email).then_it_is_refused(Rejection::PasswordChanged);
    let set = || UserCommand::ChangePassword { confirmed: None, password_hash: new_hash() };
    given(&[registered()]).when(set()).then(std::slice::from_ref(&changed));
    given(&[registered(), changed.clone()]).when(set()).then_nothing_changes();
    let User::Present(account) = fold(&[registered(), changed]) else { panic!("the user is absent") };
    assert_eq!(account.password_hash, Some(Erasable::Known(new_hash())));
}

#[test]
fn user_without_a_password_gets_one() {
    let without = UserCommand::Register { email: ada(), username: ada_username(), password_hash: None };
    let registered = UserEvent::UserRegistered {
        email: Erasable::Known(ada()),
        username: Erasable::Known(ada_username()),
        password_hash: None,
    };
    given(&[]).when(without).then(std::slice::from_ref(&registered));
    let rehash = UserCommand::RehashPassword { previous: hash(), password_hash: new_hash() };
    given(std::slice::from_ref(&registered)).when(rehash).then_nothing_changes();
    given(std::slice::from_ref(&registered))
        .when(change_password())
        .then_it_is_refused(Rejection::PasswordChanged);
    let set = UserCommand::ChangePassword { confirmed: None, password_hash: hash() };
    let changed = UserEvent::PasswordChanged { password_hash: Erasable::Known(hash()) };
    given(std::slice::from_ref(&registered)).when(set).then(std::slice::from_ref(&changed));
    let User::Present(account) = fold(&[registered, changed]) else { panic!("the user is absent") };
    assert!(account.has_password(&hash()));
}

#[test]
fn erasing_an_active_user_deactivates_first() {
    for past in [&[registered()][..], &[imported(true)], &[registered(), MADE_ADMIN]] {
        given(past).when(ERASE).then(&[DEACTIVATED, ERASED]);
    }
    for past in [&[registered(), DEACTIVATED][..], &[imported(false)]] {
        given(past).when(ERASE).then(&[ERASED]);
    }
}

#[test]
fn commands_on_an_erased_user_are_rejected() {
    let past = [registered(), MADE_ADMIN, DEACTIVATED, ERASED];
    assert_eq!(fold(&past), User::Erased);
    let role = Role::Admin;
    for command in [
        register(),
        import(true),
        UserCommand::Deactivate { reason: None },
        UserCommand::Reactivate { reason: Some(sample_reason()) },
        UserCommand::GrantRole { role },
        UserCommand::RevokeRole { role },
        UserCommand::Lock,
        UserCommand::Unlock,
        UserCommand::RehashPassword { previous: hash(), password_hash: new_hash() },
        UserCommand::ChangeIdentity { email: Some(ada()), username: None, confirmed: None },
        change_password(),
        ERASE,
    ] {
        given(&past).when(command).then_it_is_refused(Rejection::Erased);
    }
}

#[test]
fn no_event_revives_an_erased_user() {
    for event in [registered(), imported(true), REACTIVATED, MADE_ADMIN, ERASED] {
        assert_eq!(fold(&[registered(), ERASED, event]), User::Erased);
    }
}

#[test]
fn only_user_erased_erases() {
    assert!(ERASED.erases());
    for event in [registered(), imported(true), DEACTIVATED, REACTIVATED, MADE_ADMIN, UNMADE_ADMIN] {
        assert!(!event.erases(), "{event:?}");
    }
}

#[test]
fn commands_on_an_absent_user_are_rejected() {
    let role = Role::Admin;
    for command in [
        UserCommand::Deactivate { reason: None },
        UserCommand::Reactivate { reason: None },
        UserCommand::GrantRole { role },
        UserCommand::RevokeRole { role },
        ERASE,
    ] {
        given(&[]).when(command).then_it_is_refused(Rejection::Unknown);
    }
}

#[test]
fn an_active_user_can_be_deactivated_with_a_reason_or_without() {
    given(&[registered()]).when(UserCommand::Deactivate { reason: None }).then(&[DEACTIVATED]);
    given(&[registered()])
        .when(UserCommand::Deactivate { reason: Some(sample_reason()) })
        .then(&[UserEvent::UserDeactivated { reason: Some(Erasable::Known(sample_reason())) }]);
}

#[test]
fn deactivating_twice_changes_nothing() {
    given(&[registered(), DEACTIVATED])
        .when(UserCommand::Deactivate { reason: Some(sample_reason()) })
        .then_nothing_changes();
}

#[test]
fn a_deactivated_user_can_be_reactivated() {
    given(&[registered(), DEACTIVATED])
        .when(UserCommand::Reactivate { reason: Some(sample_reason()) })
        .then(&[UserEvent::UserReactivated { reason: Some(Erasable::Known(sample_reason())) }]);
}

#[test]
fn reactivating_an_active_user_changes_nothing() {
    given(&[registered()]).when(UserCommand::Reactivate { reason: None }).then_nothing_changes();
    given(&[registered(), DEACTIVATED, REACTIVATED])
        .when(UserCommand::Reactivate { reason: None })
        .then_nothing_changes();
}

#[test]
fn a_role_is_granted_once_and_revoked_once() {
    let role = Role::Admin;
    given(&[registered()]).when(UserCommand::GrantRole { role }).then(&[MADE_ADMIN]);
    given(&[registered(), MADE_ADMIN]).when(UserCommand::GrantRole { role }).then_nothing_changes();
    given(&[registered(), MADE_ADMIN]).when(UserCommand::RevokeRole { role }).then(&[UNMADE_ADMIN]);
    given(&[registered(), MADE_ADMIN, UNMADE_ADMIN])
        .when(UserCommand::RevokeRole { role })
        .then_nothing_changes();
}

#[test]
fn a_deactivated_user_keeps_and_changes_roles() {
    given(&[registered(), MADE_ADMIN, DEACTIVATED])
        .when(UserCommand::GrantRole { role: Role::Auditor })
        .then(&[UserEvent::RoleGranted { role: Role::Auditor }]);
}

#[test]
fn a_new_account_is_active_and_holds_no_role() {
    let User::Present(account) = fold(&[registered()]) else {
        panic!("registration leaves the user absent");
    };
    assert_eq!(account.email, Erasable::Known(ada()));
    assert_eq!(account.username, Erasable::Known(ada_username()));
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
    let password_changed = UserEvent::PasswordChanged { password_hash: Erasable::Known(new_hash()) };
    for event in [DEACTIVATED, UNMADE_ADMIN, password_changed, UserEvent::TokensRevoked, ERASED] {
        assert!(event.revokes_tokens(), "{event:?}");
    }
    let [email_changed, username_changed] = identity_changed();
    for event in [registered(), imported(false), REACTIVATED, MADE_ADMIN, email_changed, username_changed] {
        assert!(!event.revokes_tokens(), "{event:?}");
    }
}

#[test]
fn registration_claims_email_username_and_skeleton() {
    let claims = registered().claims_taken();
    assert_eq!(imported(false).claims_taken(), claims);
    assert_eq!(
        claims,
        [
            (ClaimKind::Email, "ada@example.com".to_owned()),
            (ClaimKind::Username, "ada lovelace".to_owned()),
            (ClaimKind::UsernameSkeleton, "ada lovelace".to_owned()),
        ]
    );
    let kinds: Vec<_> = claims.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["email", "username", "username_skeleton"]);
}

#[test]
fn identity_changes_move_claims() {
    let [email, username] = identity_changed();
    assert_eq!(email.claims_released(), [(ClaimKind::Email, "ada@example.com".to_owned())]);
    assert_eq!(email.claims_taken(), [(ClaimKind::Email, "countess@example.com".to_owned())]);
    let names =
        |name: &str| [ClaimKind::Username, ClaimKind::UsernameSkeleton].map(|kind| (kind, name.to_owned()));
    assert_eq!(username.claims_released(), names("ada lovelace"));
    assert_eq!(username.claims_taken(), names("countess"));
}

#[test]
fn other_events_claim_nothing() {
    let erased = UserEvent::UserRegistered {
        email: Erasable::Erased,
        username: Erasable::Erased,
        password_hash: Some(Erasable::Erased),
    };
    let email_erased = UserEvent::EmailChanged { previous: Erasable::Erased, email: Erasable::Erased };
    let password_changed = UserEvent::PasswordChanged { password_hash: Erasable::Known(new_hash()) };
    assert_eq!(registered().claims_released(), []);
    for event in
        [erased, email_erased, password_changed, DEACTIVATED, REACTIVATED, MADE_ADMIN, UNMADE_ADMIN, ERASED]
    {
        assert_eq!((event.claims_taken(), event.claims_released()), (vec![], vec![]), "{event:?}");
    }
}
