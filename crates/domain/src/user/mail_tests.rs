//! Tests of the decisions about mails: what voids a mail token, and what does not.

use super::*;
use crate::samples::{hash, identity_changed, imported, new_hash, registered, session};
use crate::value::{Erasable, ErasureReason, RevocationReason, Role};

const DEACTIVATED: UserEvent = UserEvent::UserDeactivated { reason: None };
const REACTIVATED: UserEvent = UserEvent::UserReactivated { reason: None };
const RESET: UserEvent = UserEvent::PasswordResetRequested;
const VERIFICATION: UserEvent = UserEvent::EmailVerificationRequested;

fn password_changed() -> UserEvent {
    UserEvent::PasswordChanged { password_hash: Erasable::Known(new_hash()) }
}

fn invited() -> UserEvent {
    let UserEvent::UserRegistered { email, username, .. } = registered() else { unreachable!() };
    UserEvent::UserRegistered { email, username, password_hash: None }
}

fn reset(past: &[UserEvent], token_version: u64) -> Result<Vec<UserEvent>, Rejection> {
    decide(&fold(past), UserCommand::ResetPassword { token_version, password_hash: new_hash() })
}

fn verify(past: &[UserEvent], token_version: u64) -> Result<Vec<UserEvent>, Rejection> {
    decide(&fold(past), UserCommand::VerifyEmail { token_version })
}

fn account(past: &[UserEvent]) -> Account {
    let User::Present(account) = fold(past) else { panic!("the user is not there") };
    account
}

/// Events after which a token is as valid as before.
fn harmless() -> Vec<UserEvent> {
    let [_, username_changed] = identity_changed();
    vec![
        UserEvent::RoleGranted { role: Role::Auditor },
        UserEvent::RoleRevoked { role: Role::Auditor },
        UserEvent::UserLocked,
        UserEvent::UserUnlocked,
        UserEvent::PasswordRehashed { password_hash: Erasable::Known(hash()) },
        username_changed,
        UserEvent::TokensRevoked,
        UserEvent::SessionRevoked { session: session(), reason: RevocationReason::Logout },
        RESET,
        VERIFICATION,
    ]
}

#[test]
fn reset_changes_the_password_and_verifies_the_address() {
    assert_eq!(reset(&[registered(), RESET], 2), Ok(vec![password_changed(), UserEvent::EmailVerified]));
    let verified = [registered(), UserEvent::EmailVerified, RESET];
    assert_eq!(reset(&verified, 3), Ok(vec![password_changed()]));
    assert_eq!(reset(&[invited()], 1), Ok(vec![password_changed(), UserEvent::EmailVerified]));
    let imported = [imported(true), RESET];
    assert_eq!(reset(&imported, 2), Ok(vec![password_changed(), UserEvent::EmailVerified]));
}

#[test]
fn harmless_events_leave_tokens_valid() {
    for event in harmless() {
        assert!(reset(&[registered(), RESET, event.clone()], 2).is_ok(), "{event:?}");
        assert!(reset(&[invited(), event.clone()], 1).is_ok(), "{event:?}");
        assert!(verify(&[registered(), VERIFICATION, event.clone()], 2).is_ok(), "{event:?}");
    }
    let verified = UserEvent::EmailVerified;
    assert!(reset(&[registered(), RESET, verified], 2).is_ok());
    assert!(verify(&[registered(), VERIFICATION, password_changed()], 2).is_ok());
}

#[test]
fn later_events_void_tokens() {
    let [email_changed, _] = identity_changed();
    for event in [password_changed(), email_changed.clone(), DEACTIVATED] {
        for past in [[registered(), RESET], [invited(), RESET]] {
            for version in [1, 2] {
                let past = [past.as_slice(), &[event.clone(), REACTIVATED]].concat();
                assert_eq!(reset(&past, version), Err(Rejection::InvalidMailToken), "{event:?}");
                let again = [past.as_slice(), &[RESET]].concat();
                assert_eq!(reset(&again, version), Err(Rejection::InvalidMailToken), "{event:?}");
                assert!(reset(&again, 5).is_ok(), "{event:?}");
            }
        }
    }
    for event in [UserEvent::EmailVerified, email_changed, DEACTIVATED] {
        let past = [registered(), VERIFICATION, event.clone(), REACTIVATED];
        assert_eq!(verify(&past, 2), Err(Rejection::InvalidMailToken), "{event:?}");
    }
    let erased = UserEvent::UserErased { reason: ErasureReason::Request };
    assert_eq!(reset(&[registered(), RESET, DEACTIVATED, erased], 2), Err(Rejection::Erased));
}

#[test]
fn token_of_an_event_that_is_not_in_the_stream_is_invalid() {
    assert_eq!(reset(&[registered(), RESET], 3), Err(Rejection::InvalidMailToken));
    assert_eq!(reset(&[registered(), RESET], 0), Err(Rejection::InvalidMailToken));
    assert_eq!(verify(&[registered(), VERIFICATION], 3), Err(Rejection::InvalidMailToken));
    assert_eq!(reset(&[], 1), Err(Rejection::Unknown));
}

#[test]
fn requests_of_deactivated_users_and_for_verified_addresses_are_not_recorded() {
    let decided = |past: &[UserEvent], command| decide(&fold(past), command).unwrap();
    let (ask_reset, ask_verification) =
        (|| UserCommand::RequestPasswordReset, || UserCommand::RequestEmailVerification);
    assert_eq!(decided(&[registered()], ask_reset()), [RESET]);
    assert_eq!(decided(&[registered(), RESET], ask_reset()), [RESET]);
    assert_eq!(decided(&[invited()], ask_reset()), [RESET]);
    assert_eq!(decided(&[registered()], ask_verification()), [VERIFICATION]);
    assert_eq!(decided(&[registered(), UserEvent::EmailVerified], ask_verification()), []);
    for past in [&[registered(), DEACTIVATED][..], &[imported(false)]] {
        assert_eq!(decided(past, ask_reset()), []);
        assert_eq!(decided(past, ask_verification()), []);
    }
}

#[test]
fn verification_ends_with_the_address() {
    let [email_changed, username_changed] = identity_changed();
    let verified = [registered(), VERIFICATION, UserEvent::EmailVerified];
    assert!(account(&verified).is_email_verified);
    assert!(account(&[verified.as_slice(), &[username_changed, DEACTIVATED]].concat()).is_email_verified);
    assert!(!account(&[verified.as_slice(), &[email_changed]].concat()).is_email_verified);
    assert!(!account(&[registered()]).is_email_verified);
    assert!(!account(&[imported(true)]).is_email_verified);
}

#[test]
fn version_is_the_number_of_events() {
    let past = [vec![registered()], harmless(), vec![DEACTIVATED, REACTIVATED]].concat();
    for count in 1..=past.len() {
        assert_eq!(account(&past[..count]).version, u64::try_from(count).unwrap());
    }
}
