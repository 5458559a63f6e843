//! Sample values for the tests of this crate, and strategies for property tests.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::Config;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::login::{LoginClient, LoginEvent, LoginFailure};
use crate::payload::EventPayload;
use crate::token::TokenEvent;
use crate::user::{UserCommand, UserEvent};
use crate::value::{
    EmailAddress, Erasable, ErasureReason, Moment, PasswordHash, Reason, RevocationReason, Role, SessionId,
    TokenName, TokenSecretHash, UserAgent, UserId, Username,
};

/// Failing cases are printed, not written into the source tree; each becomes a separate test.
pub(crate) fn config() -> Config {
    Config { failure_persistence: None, ..Config::default() }
}

pub(crate) fn ada() -> EmailAddress {
    EmailAddress::parse("Ada@Example.com").unwrap()
}

pub(crate) fn ada_username() -> Username {
    Username::parse("Ada Lovelace").unwrap()
}

pub(crate) fn hash() -> PasswordHash {
    PasswordHash::new("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA".to_owned()).unwrap()
}

/// The hash of the same password with other costs.
pub(crate) fn new_hash() -> PasswordHash {
    PasswordHash::new("$argon2id$v=19$m=65536,t=3,p=1$c2FsdA$aGFzaA".to_owned()).unwrap()
}

/// The command that changes Ada's first password.
pub(crate) fn change_password() -> UserCommand {
    UserCommand::ChangePassword { confirmed: Some(hash()), password_hash: new_hash() }
}

/// Ada's e-mail address and username after changes.
pub(crate) fn new_identity() -> (EmailAddress, Username) {
    (EmailAddress::parse("countess@example.com").unwrap(), Username::parse("Countess").unwrap())
}

/// The events of the changes to them.
pub(crate) fn identity_changed() -> [UserEvent; 2] {
    let (email, username) = new_identity();
    [
        UserEvent::EmailChanged { previous: Erasable::Known(ada()), email: Erasable::Known(email) },
        UserEvent::UsernameChanged {
            previous: Erasable::Known(ada_username()),
            username: Erasable::Known(username),
        },
    ]
}

pub(crate) fn session() -> SessionId {
    SessionId::parse("01930000-0000-7000-8000-00000000002a").unwrap()
}

fn revocation() -> impl Strategy<Value = (SessionId, RevocationReason)> {
    let id = any::<u128>().prop_map(|number| SessionId::from_uuid(Uuid::from_u128(number)));
    (id, select(RevocationReason::ALL.to_vec()))
}

pub(crate) fn sample_reason() -> Reason {
    Reason::parse("asked by mail").unwrap()
}

/// A user id derived from a number.
pub(crate) fn nth_user(number: u8) -> UserId {
    UserId::from_uuid(Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0000 | u128::from(number)))
}

/// The event of Ada's registration.
pub(crate) fn registered() -> UserEvent {
    UserEvent::UserRegistered {
        email: Erasable::Known(ada()),
        username: Erasable::Known(ada_username()),
        password_hash: Some(Erasable::Known(hash())),
    }
}

/// The command that registers Ada.
pub(crate) fn register() -> UserCommand {
    UserCommand::Register { email: ada(), username: ada_username(), password_hash: Some(hash()) }
}

/// The time of Ada's registration in another system.
pub(crate) fn long_ago() -> Moment {
    Moment::parse("2019-05-04T03:02:01.007Z").unwrap()
}

/// The event of Ada's import from another system.
pub(crate) fn imported(is_active: bool) -> UserEvent {
    UserEvent::UserImported {
        email: Erasable::Known(ada()),
        username: Erasable::Known(ada_username()),
        password_hash: Some(Erasable::Known(hash())),
        is_active,
        created_at: long_ago(),
    }
}

/// The command that imports Ada.
pub(crate) fn import(is_active: bool) -> UserCommand {
    UserCommand::Import {
        email: ada(),
        username: ada_username(),
        password_hash: Some(hash()),
        is_active,
        created_at: long_ago(),
    }
}

/// The stored form of an event, with fields in alphabetical order independently of the features of
/// `serde_json`.
pub(crate) fn stored(encoded: EventPayload) -> String {
    let sorted = |fields: Map<String, Value>| {
        let fields: BTreeMap<String, Value> = fields.into_iter().collect();
        serde_json::to_string_pretty(&fields).unwrap()
    };
    format!(
        "{} {}\ndata {}\npersonal {}",
        encoded.event_type,
        encoded.schema,
        sorted(encoded.data),
        sorted(encoded.personal)
    )
}

/// Text for usernames: letters of several scripts and special characters.
pub(crate) fn name_text() -> impl Strategy<Value = String> {
    "[ a-zA-ZßİÉ´ﬁǅｆ\u{301}\u{345}\u{200D}\u{3164}\u{FDFA}\u{A0}あ🦀\t\u{202E}\\PC]{0,24}"
}

/// Text for e-mail addresses, mostly valid.
pub(crate) fn address_text() -> impl Strategy<Value = String> {
    let local = "[a-zA-Z0-9.+_éſKＡ\u{301}\u{37E}\u{FE0F}\"<> ]{0,12}|[a-z]{1,8}";
    let at = select(vec!["@", "@", "@", "@", "", "@@", "＠"]);
    let domain = "[a-zA-Z0-9éßüÜ例。.-]{0,12}(\\.(com|de|Example|xn--p1ai|рф|test))?";
    (local, at, domain).prop_map(|(local, at, domain)| format!("{local}{at}{domain}"))
}

pub(crate) fn email() -> impl Strategy<Value = EmailAddress> {
    "[a-zA-Zéß0-9]{1,12}@[a-zü]{1,10}\\.(com|de|example)"
        .prop_filter_map("no address", |text| EmailAddress::parse(&text).ok())
}

pub(crate) fn username() -> impl Strategy<Value = Username> {
    name_text().prop_filter_map("no name", |text| Username::parse(&text).ok())
}

pub(crate) fn user_id() -> impl Strategy<Value = UserId> {
    prop_oneof![
        any::<[u8; 16]>().prop_map(|bytes| UserId::from_uuid(Uuid::from_bytes(bytes))),
        any::<[u8; 12]>().prop_map(UserId::from_object_id),
    ]
}

pub(crate) fn role() -> impl Strategy<Value = Role> {
    select(Role::ALL.to_vec())
}

pub(crate) fn reason() -> impl Strategy<Value = Option<Reason>> {
    proptest::option::of("[a-z]{1,9}( [a-zé]{1,9}\n){0,3}")
        .prop_map(|text| text.and_then(|text| Reason::parse(&text).ok()))
}

pub(crate) fn password_hash() -> impl Strategy<Value = PasswordHash> {
    "\\PC{1,64}".prop_filter_map("no hash", |text| PasswordHash::new(text).ok())
}

pub(crate) fn erasure_reason() -> impl Strategy<Value = ErasureReason> {
    select(ErasureReason::ALL.to_vec())
}

pub(crate) fn moment() -> impl Strategy<Value = Moment> {
    any::<i64>().prop_filter_map("no moment", |milliseconds| {
        Moment::from_millisecond(milliseconds % 253_370_764_800_000).ok()
    })
}

/// Any new event of a user.
pub(crate) fn user_event() -> impl Strategy<Value = UserEvent> {
    let hash = proptest::option::of(password_hash());
    let registered =
        (email(), username(), hash).prop_map(|(email, username, hash)| UserEvent::UserRegistered {
            email: Erasable::Known(email),
            username: Erasable::Known(username),
            password_hash: hash.map(Erasable::Known),
        });
    let imported = (email(), username(), proptest::option::of(password_hash()), any::<bool>(), moment())
        .prop_map(|(email, username, hash, is_active, created_at)| UserEvent::UserImported {
            email: Erasable::Known(email),
            username: Erasable::Known(username),
            password_hash: hash.map(Erasable::Known),
            is_active,
            created_at,
        });
    prop_oneof![
        registered,
        imported,
        reason().prop_map(|reason| UserEvent::UserDeactivated { reason: reason.map(Erasable::Known) }),
        reason().prop_map(|reason| UserEvent::UserReactivated { reason: reason.map(Erasable::Known) }),
        role().prop_map(|role| UserEvent::RoleGranted { role }),
        role().prop_map(|role| UserEvent::RoleRevoked { role }),
        Just(UserEvent::UserLocked),
        Just(UserEvent::UserUnlocked),
        password_hash().prop_map(|hash| UserEvent::PasswordRehashed { password_hash: Erasable::Known(hash) }),
        (email(), email()).prop_map(|(previous, email)| UserEvent::EmailChanged {
            previous: Erasable::Known(previous),
            email: Erasable::Known(email),
        }),
        (username(), username()).prop_map(|(previous, username)| UserEvent::UsernameChanged {
            previous: Erasable::Known(previous),
            username: Erasable::Known(username),
        }),
        password_hash().prop_map(|hash| UserEvent::PasswordChanged { password_hash: Erasable::Known(hash) }),
        Just(UserEvent::TokensRevoked),
        revocation().prop_map(|(session, reason)| UserEvent::SessionRevoked { session, reason }),
        Just(UserEvent::EmailVerificationRequested),
        Just(UserEvent::EmailVerified),
        Just(UserEvent::PasswordResetRequested),
        erasure_reason().prop_map(|reason| UserEvent::UserErased { reason }),
    ]
}

/// Where a login came from.
pub(crate) fn login_client() -> LoginClient {
    LoginClient {
        address: Some(Erasable::Known("2001:db8::7".parse().unwrap())),
        user_agent: UserAgent::from_untrusted("curl/8.5.0").map(Erasable::Known),
    }
}

/// Any new event of a user's logins.
pub(crate) fn login_event() -> impl Strategy<Value = LoginEvent> {
    let client =
        (proptest::option::of(any::<std::net::IpAddr>()), "\\PC{0,300}").prop_map(|(address, text)| {
            let user_agent = UserAgent::from_untrusted(&text).map(Erasable::Known);
            LoginClient { address: address.map(Erasable::Known), user_agent }
        });
    let reason = select(vec![LoginFailure::WrongPassword, LoginFailure::InactiveUser]);
    (client, reason, proptest::option::of(0..1_u64 << 53), any::<bool>()).prop_map(
        |(client, reason, count, succeeded)| match count {
            Some(failures) if succeeded => LoginEvent::LoginSucceeded { failures, client },
            count => LoginEvent::LoginFailed { reason, count, client },
        },
    )
}

/// Any new event of a machine token.
pub(crate) fn token_event() -> impl Strategy<Value = TokenEvent> {
    let name = "[a-z é]{1,64}".prop_filter_map("no name", |text| TokenName::parse(&text).ok());
    let roles = proptest::collection::btree_set(role(), 0..5);
    let issued = (name, roles, proptest::option::of(moment()), any::<[u8; 32]>()).prop_map(
        |(name, roles, expires_at, hash)| TokenEvent::TokenIssued {
            name,
            roles,
            expires_at,
            secret_hash: Erasable::Known(TokenSecretHash::new(hash)),
        },
    );
    prop_oneof![issued, Just(TokenEvent::TokenUsed), Just(TokenEvent::TokenRevoked)]
}

/// Any command; those that add or remove administrators are more frequent.
pub(crate) fn command() -> impl Strategy<Value = UserCommand> {
    let role = || prop_oneof![Just(Role::Admin), role()];
    prop_oneof![
        Just(register()),
        Just(UserCommand::Register { email: ada(), username: ada_username(), password_hash: None }),
        any::<bool>().prop_map(import),
        reason().prop_map(|reason| UserCommand::Deactivate { reason }),
        reason().prop_map(|reason| UserCommand::Reactivate { reason }),
        role().prop_map(|role| UserCommand::GrantRole { role }),
        role().prop_map(|role| UserCommand::RevokeRole { role }),
        Just(UserCommand::Lock),
        Just(UserCommand::Unlock),
        Just(UserCommand::RehashPassword { previous: hash(), password_hash: new_hash() }),
        (proptest::option::of(email()), proptest::option::of(username())).prop_map(|(email, username)| {
            UserCommand::ChangeIdentity { email, username, confirmed: None }
        }),
        Just(change_password()),
        password_hash()
            .prop_map(|password_hash| { UserCommand::ChangePassword { confirmed: None, password_hash } }),
        proptest::option::of(any::<u64>()).prop_map(|presented| UserCommand::RevokeTokens { presented }),
        revocation().prop_map(|(session, reason)| UserCommand::RevokeSession { session, reason }),
        Just(UserCommand::RequestEmailVerification),
        (0..12_u64).prop_map(|token_version| UserCommand::VerifyEmail { token_version }),
        Just(UserCommand::RequestPasswordReset),
        (0..12_u64).prop_map(|token_version| UserCommand::ResetPassword {
            token_version,
            password_hash: new_hash()
        }),
        erasure_reason().prop_map(|reason| UserCommand::Erase { reason }),
    ]
}
