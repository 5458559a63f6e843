//! Which roles an actor needs to append an event, and which roles users and machine tokens hold, as the log says. A
//! command checks it when it appends, and verification checks it again for every event.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::login::LoginEvent;
use crate::system::{SYSTEM_STREAM, SystemEvent};
use crate::token::TokenEvent;
use crate::user::UserEvent;
use crate::value::{Role, TokenId, UserId, WebhookId};
use crate::webhook::WebhookEvent;

/// The roles whose holders may own webhooks.
pub const WEBHOOK_OWNER_ROLES: &[Role] = &[Role::Admin, Role::Subscriber];
/// The actor of what no person does.
pub const SYSTEM_ACTOR: &str = "system";
const ADMIN: &[Role] = &[Role::Admin];
const OPERATOR: &[Role] = &[Role::Admin, Role::Operator];
const NONE: &[Role] = &[];

/// An actor that holds roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Principal {
    /// A user.
    User(UserId),
    /// A machine token.
    Token(TokenId),
}

impl Principal {
    /// Parses an actor; `None` for the command line and the service, whose authority is not in the log.
    #[must_use]
    pub fn from_actor(actor: &str) -> Option<Self> {
        UserId::from_stream(actor).map(Self::User).or_else(|| TokenId::from_stream(actor).map(Self::Token))
    }

    /// The actor, which is also the name of its stream.
    #[must_use]
    pub fn stream(&self) -> String {
        match self {
            Self::User(id) => id.stream(),
            Self::Token(id) => id.stream(),
        }
    }

    fn user(self) -> Option<UserId> {
        match self {
            Self::User(id) => Some(id),
            Self::Token(_) => None,
        }
    }
}

/// The roles of which an actor needs one to append an event of that type to a stream; none are needed for
/// one's own account. `webhook_owner` is the owner of the webhook if the stream is one.
#[must_use]
pub fn required_roles(
    actor: Principal,
    stream: &str,
    event_type: &str,
    webhook_owner: Option<UserId>,
) -> &'static [Role] {
    let only_by_administrators =
        [UserEvent::ROLE_GRANTED, UserEvent::ROLE_REVOKED, UserEvent::REACTIVATED, UserEvent::IMPORTED];
    let user = actor.user();
    if user.is_some() && UserId::from_stream(stream) == user && !only_by_administrators.contains(&event_type)
    {
        return NONE;
    }
    if user.is_some() && UserId::from_logins_stream(stream) == user && event_type == LoginEvent::SUCCEEDED {
        return NONE;
    }
    if TokenId::from_stream(stream).map(Principal::Token) == Some(actor) && event_type == TokenEvent::USED {
        return NONE;
    }
    if stream == SYSTEM_STREAM && event_type == SystemEvent::PROJECTION_EVENT_SKIPPED {
        return OPERATOR;
    }
    match webhook_owner {
        // Erasing an account deletes its webhooks, whatever roles the owner has left.
        Some(owner) if Some(owner) == user && event_type == WebhookEvent::DELETED => NONE,
        Some(owner) if Some(owner) == user => WEBHOOK_OWNER_ROLES,
        _ => ADMIN,
    }
}

/// Whether an actor of any kind may append an event of that type to a stream of logins: users log in, and the
/// service records failures. No role permits to write down the logins of others.
#[must_use]
pub fn may_record_login(actor: &str, user: UserId, event_type: &str) -> bool {
    actor == SYSTEM_ACTOR && event_type == LoginEvent::FAILED
        || event_type == LoginEvent::SUCCEEDED && UserId::from_stream(actor) == Some(user)
}

/// Whether an actor who holds these roles may append an event of that type to a stream.
#[must_use]
pub fn is_permitted(
    held: &BTreeSet<Role>,
    actor: Principal,
    stream: &str,
    event_type: &str,
    webhook_owner: Option<UserId>,
) -> bool {
    let required = required_roles(actor, stream, event_type, webhook_owner);
    required.is_empty() || required.iter().any(|role| held.contains(role))
}

/// The roles of all users and machine tokens, and the owners of all webhooks, after the events applied so far.
#[derive(Clone, Debug, Default)]
pub struct Authority {
    /// Only of users who hold one.
    roles: HashMap<UserId, BTreeSet<Role>>,
    /// Deactivated and not erased.
    inactive: HashSet<UserId>,
    owners: HashMap<WebhookId, UserId>,
    /// Only of tokens that are not revoked.
    tokens: HashMap<TokenId, BTreeSet<Role>>,
}

impl Authority {
    /// Applies an event of a user.
    pub fn apply_user_event(&mut self, user: UserId, event: &UserEvent) {
        match event {
            UserEvent::UserDeactivated { .. } | UserEvent::UserImported { is_active: false, .. } => {
                self.inactive.insert(user);
            }
            UserEvent::UserReactivated { .. } => {
                self.inactive.remove(&user);
            }
            UserEvent::RoleGranted { role } => {
                self.roles.entry(user).or_default().insert(*role);
            }
            UserEvent::RoleRevoked { role } => {
                if let Some(roles) = self.roles.get_mut(&user) {
                    roles.remove(role);
                }
            }
            UserEvent::UserErased { .. } => {
                self.roles.remove(&user);
                self.inactive.remove(&user);
            }
            UserEvent::UserRegistered { .. }
            | UserEvent::UserImported { .. }
            | UserEvent::UserLocked
            | UserEvent::UserUnlocked
            | UserEvent::PasswordRehashed { .. }
            | UserEvent::EmailChanged { .. }
            | UserEvent::UsernameChanged { .. }
            | UserEvent::PasswordChanged { .. }
            | UserEvent::TokensRevoked
            | UserEvent::SessionRevoked { .. }
            | UserEvent::EmailVerificationRequested
            | UserEvent::EmailVerified
            | UserEvent::PasswordResetRequested => {}
        }
    }

    /// Applies an event of a webhook.
    pub fn apply_webhook_event(&mut self, webhook: WebhookId, event: &WebhookEvent) {
        match event {
            WebhookEvent::WebhookRegistered { owner, .. } => {
                self.owners.insert(webhook, *owner);
            }
            WebhookEvent::WebhookDeleted => {
                self.owners.remove(&webhook);
            }
            WebhookEvent::WebhookSecretRotated { .. }
            | WebhookEvent::WebhookSuspended { .. }
            | WebhookEvent::WebhookResumed
            | WebhookEvent::WebhookReplayRequested { .. }
            | WebhookEvent::WebhookReplaysCancelled => {}
        }
    }

    /// Applies an event of a machine token.
    pub fn apply_token_event(&mut self, token: TokenId, event: &TokenEvent) {
        match event {
            TokenEvent::TokenIssued { roles, .. } => {
                self.tokens.insert(token, roles.clone());
            }
            TokenEvent::TokenRevoked => {
                self.tokens.remove(&token);
            }
            TokenEvent::TokenUsed => {}
        }
    }

    /// The owner of a webhook that exists.
    #[must_use]
    pub fn webhook_owner(&self, webhook: WebhookId) -> Option<UserId> {
        self.owners.get(&webhook).copied()
    }

    /// The roles that an actor may use: none if the account is deactivated, or the token is revoked. Expiry is not
    /// an event: it is checked when a token is presented.
    #[must_use]
    pub fn roles(&self, actor: Principal) -> BTreeSet<Role> {
        let held = match actor {
            Principal::User(user) if self.inactive.contains(&user) => None,
            Principal::User(user) => self.roles.get(&user),
            Principal::Token(token) => self.tokens.get(&token),
        };
        held.cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: u128) -> UserId {
        UserId::from_uuid(uuid::Uuid::from_u128(number))
    }

    impl Authority {
        fn permits(&self, actor: UserId, stream: &str, event_type: &str, owner: Option<UserId>) -> bool {
            let actor = Principal::User(actor);
            is_permitted(&self.roles(actor), actor, stream, event_type, owner)
        }
    }

    fn granted(user: UserId, role: Role) -> Authority {
        let mut authority = Authority::default();
        authority.apply_user_event(user, &UserEvent::RoleGranted { role });
        authority
    }

    #[test]
    fn own_account_needs_no_role_except_for_what_administrators_do() {
        let (ada, nothing) = (user(1), Authority::default());
        for (event_type, permitted) in [
            ("UserRegistered", true),
            ("UserDeactivated", true),
            ("UserErased", true),
            ("EmailChanged", true),
            ("UsernameChanged", true),
            ("PasswordChanged", true),
            ("TokensRevoked", true),
            ("SessionRevoked", true),
            ("EmailVerificationRequested", true),
            ("EmailVerified", true),
            ("PasswordResetRequested", true),
            ("RoleGranted", false),
            ("RoleRevoked", false),
            ("UserReactivated", false),
        ] {
            assert_eq!(nothing.permits(ada, &ada.stream(), event_type, None), permitted, "{event_type}");
            assert!(
                !nothing.permits(ada, &user(2).stream(), event_type, None),
                "{event_type} of another user"
            );
            let admin = granted(ada, Role::Admin);
            assert!(
                admin.permits(ada, &user(2).stream(), event_type, None),
                "{event_type} by an administrator"
            );
        }
    }

    #[test]
    fn roles_end_with_revocation_deactivation_and_erasure() {
        let (ada, stream) = (user(1), user(2).stream());
        let ends = [
            UserEvent::RoleRevoked { role: Role::Admin },
            UserEvent::UserDeactivated { reason: None },
            UserEvent::UserErased { reason: crate::ErasureReason::Other },
        ];
        for end in ends {
            let mut authority = granted(ada, Role::Admin);
            assert!(authority.permits(ada, &stream, "RoleGranted", None));
            authority.apply_user_event(ada, &end);
            assert!(!authority.permits(ada, &stream, "RoleGranted", None), "{end:?}");
        }
        let mut authority = granted(ada, Role::Admin);
        authority.apply_user_event(ada, &UserEvent::UserDeactivated { reason: None });
        authority.apply_user_event(ada, &UserEvent::UserReactivated { reason: None });
        assert!(authority.permits(ada, &stream, "RoleGranted", None));
    }

    #[test]
    fn webhooks_belong_to_their_owner_and_to_administrators() {
        let (ada, eve) = (user(1), user(2));
        let subscriber = granted(ada, Role::Subscriber);
        assert!(subscriber.permits(ada, "webhook-1", "WebhookResumed", Some(ada)));
        assert!(!subscriber.permits(ada, "webhook-1", "WebhookResumed", Some(eve)));
        assert!(!Authority::default().permits(ada, "webhook-1", "WebhookResumed", Some(ada)));
        assert!(Authority::default().permits(ada, "webhook-1", "WebhookDeleted", Some(ada)));
        assert!(granted(eve, Role::Admin).permits(eve, "webhook-1", "WebhookDeleted", Some(ada)));
    }

    #[test]
    fn logins_are_recorded_by_the_user_and_the_service() {
        let (ada, eve) = (user(1), user(2));
        for (actor, event_type, permitted) in [
            (ada.stream(), "LoginSucceeded", true),
            (ada.stream(), "LoginFailed", false),
            (eve.stream(), "LoginSucceeded", false),
            (eve.stream(), "LoginFailed", false),
            ("system".to_owned(), "LoginSucceeded", false),
            ("system".to_owned(), "LoginFailed", true),
            ("operator:eve".to_owned(), "LoginFailed", false),
        ] {
            assert_eq!(may_record_login(&actor, ada, event_type), permitted, "{actor} {event_type}");
        }
        let nothing = Authority::default();
        assert!(nothing.permits(ada, &ada.logins_stream(), "LoginSucceeded", None));
        assert!(!nothing.permits(ada, &eve.logins_stream(), "LoginSucceeded", None));
        assert!(!nothing.permits(ada, &ada.logins_stream(), "LoginFailed", None));
    }

    #[test]
    fn operators_skip_events_and_do_nothing_else() {
        let operator = granted(user(1), Role::Operator);
        assert!(operator.permits(user(1), SYSTEM_STREAM, "ProjectionEventSkipped", None));
        assert!(!operator.permits(user(1), SYSTEM_STREAM, "AdministratorAdded", None));
        assert!(!operator.permits(user(1), &user(2).stream(), "UserErased", None));
    }

    #[test]
    fn machine_tokens_do_what_their_roles_permit_until_they_are_revoked() {
        let token = |number: u128| TokenId::from_uuid(uuid::Uuid::from_u128(number));
        let issued = |role| TokenEvent::TokenIssued {
            name: crate::TokenName::parse("billing").unwrap(),
            roles: BTreeSet::from([role]),
            expires_at: None,
            secret_hash: crate::Erasable::Erased,
        };
        let mut authority = Authority::default();
        authority.apply_token_event(token(1), &issued(Role::Admin));
        authority.apply_token_event(token(2), &issued(Role::Operator));
        let permits = |authority: &Authority, number, stream: &str, event_type: &str| {
            let actor = Principal::Token(token(number));
            is_permitted(&authority.roles(actor), actor, stream, event_type, None)
        };
        let (ada, other) = (user(1).stream(), token(3).stream());
        assert!(permits(&authority, 1, &ada, "RoleGranted"));
        assert!(permits(&authority, 1, &other, "TokenIssued"));
        assert!(permits(&authority, 2, SYSTEM_STREAM, "ProjectionEventSkipped"));
        assert!(permits(&authority, 3, &other, "TokenUsed"));
        for (stream, event_type) in [(&ada, "UserErased"), (&other, "TokenIssued"), (&other, "TokenUsed")] {
            assert!(!permits(&authority, 2, stream, event_type), "{stream} {event_type}");
        }
        assert!(!permits(&authority, 3, &other, "TokenRevoked"));
        authority.apply_token_event(token(1), &TokenEvent::TokenRevoked);
        assert!(!permits(&authority, 1, &ada, "RoleGranted"));
        assert!(granted(user(1), Role::Admin).permits(user(1), &other, "TokenRevoked", None));
    }
}
