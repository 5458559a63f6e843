//! How each sample reads today, and how once its person is erased.

use std::collections::BTreeSet;

use domain::{
    DecodeError, EmailAddress, Erasable, ErasureReason, EventPayload, LoginClient, LoginEvent, LoginFailure,
    Moment, PasswordHash, Reason, RevocationReason, Role, SYSTEM_STREAM, SessionId, SuspensionReason,
    SystemEvent, TokenEvent, TokenId, TokenName, TokenSecretHash, UserAgent, UserEvent, UserId, Username,
    WebhookEvent, WebhookId, WebhookSecret, WebhookSlot, WebhookUrl,
};
use store::StoredEvent;

/// A sample by the name of its file, without the ending.
pub(crate) struct ExpectedEvent {
    /// Type and schema as stored, and what else sets it apart.
    pub(crate) name: &'static str,
    pub(crate) known: DomainEvent,
    pub(crate) erased: DomainEvent,
}

/// An event of either kind of stream.
#[derive(Debug, PartialEq)]
pub(crate) enum DomainEvent {
    User(UserEvent),
    System(SystemEvent),
    Webhook(WebhookEvent),
    Login(LoginEvent),
    Token(TokenEvent),
}

impl DomainEvent {
    pub(crate) fn decode(event: &StoredEvent) -> Result<Self, DecodeError> {
        if event.envelope.stream.as_str() == SYSTEM_STREAM {
            event_codec::decode_system_event(event).map(Self::System)
        } else if WebhookId::from_stream(event.envelope.stream.as_str()).is_some() {
            event_codec::decode_webhook_event(event).map(Self::Webhook)
        } else if UserId::from_logins_stream(event.envelope.stream.as_str()).is_some() {
            event_codec::decode_login_event(event).map(Self::Login)
        } else if TokenId::from_stream(event.envelope.stream.as_str()).is_some() {
            event_codec::decode_token_event(event).map(Self::Token)
        } else {
            event_codec::decode_user_event(event).map(Self::User)
        }
    }

    pub(crate) fn encode(&self) -> EventPayload {
        match self {
            Self::User(event) => event.encode(),
            Self::System(event) => event.encode(),
            Self::Webhook(event) => event.encode(),
            Self::Login(event) => event.encode(),
            Self::Token(event) => event.encode(),
        }
    }

    /// The stream it belongs to; none if any user's will do.
    pub(crate) fn stream(&self) -> Option<String> {
        match self {
            Self::User(_) => None,
            Self::System(_) => Some(SYSTEM_STREAM.to_owned()),
            Self::Webhook(_) => Some("webhook-0193e2b4-0000-7000-8000-000000000009".to_owned()),
            Self::Token(_) => Some("token-0193e2b4-0000-7000-8000-000000000005".to_owned()),
            Self::Login(_) => Some("logins-0193e2b4-0000-7000-8000-000000000009".to_owned()),
        }
    }
}

/// Every sample there is.
pub(crate) fn all() -> Vec<ExpectedEvent> {
    let others =
        system_events().into_iter().chain(webhook_events()).chain(login_events()).chain(token_events());
    user_events().into_iter().chain(others).collect()
}

fn token_events() -> [ExpectedEvent; 4] {
    let issued = |expires_at, secret_hash| TokenEvent::TokenIssued {
        name: TokenName::parse("billing").unwrap(),
        roles: BTreeSet::from([Role::Operator, Role::Service]),
        expires_at,
        secret_hash,
    };
    let token = |name, known, erased| ExpectedEvent {
        name,
        known: DomainEvent::Token(known),
        erased: DomainEvent::Token(erased),
    };
    let hash = || Erasable::Known(TokenSecretHash::new([7; 32]));
    let end = Moment::parse("2027-01-01T00:00:00.000Z").unwrap();
    [
        token("TokenIssued-1", issued(Some(end), hash()), issued(Some(end), Erasable::Erased)),
        token("TokenIssued-1-without-expiry", issued(None, hash()), issued(None, Erasable::Erased)),
        token("TokenUsed-1", TokenEvent::TokenUsed, TokenEvent::TokenUsed),
        token("TokenRevoked-1", TokenEvent::TokenRevoked, TokenEvent::TokenRevoked),
    ]
}

fn login_events() -> [ExpectedEvent; 3] {
    let known = || LoginClient {
        address: Some(Erasable::Known("2001:db8::7".parse().unwrap())),
        user_agent: Some(Erasable::Known(UserAgent::from_stored("curl/8.5.0"))),
    };
    let erased = || LoginClient { address: Some(Erasable::Erased), user_agent: Some(Erasable::Erased) };
    let login = |name, event: fn(LoginClient) -> LoginEvent| ExpectedEvent {
        name,
        known: DomainEvent::Login(event(known())),
        erased: DomainEvent::Login(event(erased())),
    };
    [
        login("LoginSucceeded-1", |client| LoginEvent::LoginSucceeded { failures: 2, client }),
        login("LoginFailed-1", |client| LoginEvent::LoginFailed {
            reason: LoginFailure::WrongPassword,
            count: None,
            client,
        }),
        login("LoginFailed-1-with-count", |client| LoginEvent::LoginFailed {
            reason: LoginFailure::InactiveUser,
            count: Some(12),
            client,
        }),
    ]
}

fn user_events() -> [ExpectedEvent; 26] {
    use UserEvent as E;
    let user = |name, known, erased| ExpectedEvent {
        name,
        known: DomainEvent::User(known),
        erased: DomainEvent::User(erased),
    };
    let open = |name, event: UserEvent| user(name, event.clone(), event);
    [
        user(
            "UserRegistered-1",
            E::UserRegistered { email: email(), username: username(), password_hash: Some(password_hash()) },
            E::UserRegistered {
                email: Erasable::Erased,
                username: Erasable::Erased,
                password_hash: Some(Erasable::Erased),
            },
        ),
        user(
            "UserRegistered-1-without-a-password",
            E::UserRegistered { email: email(), username: username(), password_hash: None },
            E::UserRegistered { email: Erasable::Erased, username: Erasable::Erased, password_hash: None },
        ),
        imported("UserImported-1", Some(password_hash()), false),
        imported("UserImported-1-without-a-password", None, true),
        user(
            "UserDeactivated-1",
            E::UserDeactivated { reason: Some(reason()) },
            E::UserDeactivated { reason: Some(Erasable::Erased) },
        ),
        open("UserDeactivated-1-without-a-reason", E::UserDeactivated { reason: None }),
        user(
            "UserReactivated-1",
            E::UserReactivated { reason: Some(reason()) },
            E::UserReactivated { reason: Some(Erasable::Erased) },
        ),
        open("UserReactivated-1-without-a-reason", E::UserReactivated { reason: None }),
        open("RoleGranted-1", E::RoleGranted { role: Role::Admin }),
        open("RoleGranted-1-operator", E::RoleGranted { role: Role::Operator }),
        open("RoleRevoked-1", E::RoleRevoked { role: Role::Auditor }),
        open("RoleRevoked-1-subscriber", E::RoleRevoked { role: Role::Subscriber }),
        open("UserLocked-1", E::UserLocked),
        open("UserUnlocked-1", E::UserUnlocked),
        user(
            "PasswordRehashed-1",
            E::PasswordRehashed { password_hash: password_hash() },
            E::PasswordRehashed { password_hash: Erasable::Erased },
        ),
        user(
            "EmailChanged-1",
            E::EmailChanged {
                previous: email(),
                email: Erasable::Known(EmailAddress::parse("countess@example.com").unwrap()),
            },
            E::EmailChanged { previous: Erasable::Erased, email: Erasable::Erased },
        ),
        user(
            "UsernameChanged-1",
            E::UsernameChanged {
                previous: username(),
                username: Erasable::Known(Username::parse("Countess").unwrap()),
            },
            E::UsernameChanged { previous: Erasable::Erased, username: Erasable::Erased },
        ),
        user(
            "PasswordChanged-1",
            E::PasswordChanged { password_hash: password_hash() },
            E::PasswordChanged { password_hash: Erasable::Erased },
        ),
        open("TokensRevoked-1", E::TokensRevoked),
        open("SessionRevoked-1", session_revoked(RevocationReason::Logout)),
        open("SessionRevoked-1-reuse", session_revoked(RevocationReason::Reuse)),
        open("EmailVerificationRequested-1", E::EmailVerificationRequested),
        open("EmailVerified-1", E::EmailVerified),
        open("PasswordResetRequested-1", E::PasswordResetRequested),
        open("UserErased-1", E::UserErased { reason: ErasureReason::Request }),
        open("UserErased-1-policy", E::UserErased { reason: ErasureReason::Policy }),
    ]
}

fn imported(
    name: &'static str,
    password_hash: Option<Erasable<PasswordHash>>,
    is_active: bool,
) -> ExpectedEvent {
    let created_at = Moment::parse("2019-05-04T03:02:01.007Z").unwrap();
    let erased_hash = password_hash.as_ref().map(|_| Erasable::Erased);
    let event = |email, username, password_hash| {
        DomainEvent::User(UserEvent::UserImported { email, username, password_hash, is_active, created_at })
    };
    ExpectedEvent {
        name,
        known: event(email(), username(), password_hash),
        erased: event(Erasable::Erased, Erasable::Erased, erased_hash),
    }
}

fn session_revoked(reason: RevocationReason) -> UserEvent {
    UserEvent::SessionRevoked {
        session: SessionId::parse("01930000-0000-7000-8000-00000000002a").unwrap(),
        reason,
    }
}

fn system_events() -> [ExpectedEvent; 4] {
    use SystemEvent as E;
    let system = |name, known, erased| ExpectedEvent {
        name,
        known: DomainEvent::System(known),
        erased: DomainEvent::System(erased),
    };
    let open = |name, event: SystemEvent| system(name, event.clone(), event);
    let skipped =
        |reason| E::ProjectionEventSkipped { projection: "users".to_owned(), position: 4711, reason };
    [
        open(
            "AdministratorAdded-1",
            E::AdministratorAdded { user: UserId::parse("0193e2b4-0000-7000-8000-000000000001").unwrap() },
        ),
        // An imported user: in the open as the 24 digits that clients know them by.
        open(
            "AdministratorRemoved-1",
            E::AdministratorRemoved { user: UserId::parse("507f1f77bcf86cd799439011").unwrap() },
        ),
        system("ProjectionEventSkipped-1", skipped(reason()), skipped(Erasable::Erased)),
        open("PasswordHashesExported-1", E::PasswordHashesExported),
    ]
}

fn webhook_events() -> [ExpectedEvent; 15] {
    use WebhookEvent as E;
    let webhook = |name, known, erased| ExpectedEvent {
        name,
        known: DomainEvent::Webhook(known),
        erased: DomainEvent::Webhook(erased),
    };
    let open = |name, event: WebhookEvent| webhook(name, event.clone(), event);
    let owner = UserId::parse("0193e2b4-0000-7000-8000-000000000001").unwrap();
    let some = |types: &[&str]| types.iter().map(ToString::to_string).collect::<Vec<_>>();
    let registered = |url, secret, types: &[&str], description, slot| E::WebhookRegistered {
        owner,
        url,
        secret,
        types: some(types),
        description,
        after: 4711,
        batch: None,
        slot,
    };
    let slot = WebhookSlot::new(100);
    let types = ["UserRegistered", "UserErased"];
    let previous_until = Moment::parse("2026-11-25T03:02:01.007Z").unwrap();
    let suspended = |reason| E::WebhookSuspended { reason, position: 4712 };
    [
        webhook(
            "WebhookRegistered-1",
            registered(url(), secret(1), &types, Some(reason()), None),
            registered(Erasable::Erased, Erasable::Erased, &types, Some(Erasable::Erased), None),
        ),
        webhook(
            "WebhookRegistered-1-with-a-slot",
            registered(url(), secret(1), &types, Some(reason()), slot),
            registered(Erasable::Erased, Erasable::Erased, &types, Some(Erasable::Erased), slot),
        ),
        webhook(
            "WebhookRegistered-1-for-all-types-without-words",
            registered(url(), secret(1), &[], None, None),
            registered(Erasable::Erased, Erasable::Erased, &[], None, None),
        ),
        webhook(
            "WebhookSecretRotated-1",
            E::WebhookSecretRotated { secret: secret(2), previous_until },
            E::WebhookSecretRotated { secret: Erasable::Erased, previous_until },
        ),
        open("WebhookSuspended-1", suspended(SuspensionReason::Failing)),
        open("WebhookSuspended-1-gone", suspended(SuspensionReason::Gone)),
        open("WebhookSuspended-1-owner", suspended(SuspensionReason::Owner)),
        // Stored under its previous name.
        open("WebhookParked-1", suspended(SuspensionReason::Failing)),
        open("WebhookParked-1-gone", suspended(SuspensionReason::Gone)),
        open("WebhookParked-1-owner", suspended(SuspensionReason::Owner)),
        open("WebhookResumed-1", E::WebhookResumed),
        open("WebhookReplayRequested-1", E::WebhookReplayRequested { from: 7, to: 4711 }),
        open("WebhookReplayRequested-1-of-one", E::WebhookReplayRequested { from: 7, to: 7 }),
        open("WebhookReplaysCancelled-1", E::WebhookReplaysCancelled),
        open("WebhookDeleted-1", E::WebhookDeleted),
    ]
}

fn url() -> Erasable<WebhookUrl> {
    Erasable::Known(WebhookUrl::parse("https://example.com/events?token=1").unwrap())
}

fn secret(octet: u8) -> Erasable<WebhookSecret> {
    Erasable::Known(WebhookSecret::new([octet; 32]))
}

fn email() -> Erasable<EmailAddress> {
    Erasable::Known(EmailAddress::parse("Ada@example.com").unwrap())
}

fn username() -> Erasable<Username> {
    Erasable::Known(Username::parse("Ada Lovelace").unwrap())
}

fn password_hash() -> Erasable<PasswordHash> {
    let hash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA".to_owned();
    Erasable::Known(PasswordHash::new(hash).unwrap())
}

fn reason() -> Erasable<Reason> {
    Erasable::Known(Reason::parse("asked by mail,\nticket 7 – „übel“").unwrap())
}
