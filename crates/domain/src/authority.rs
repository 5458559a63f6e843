//! Which roles an actor needs to append an event, and which roles users hold, as the log says. A command
//! checks it when it appends, and verification checks it again for every event.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::login::LoginEvent;
use crate::system::{SYSTEM_STREAM, SystemEvent};
use crate::user::UserEvent;
use crate::value::{Role, UserId, WebhookId};
use crate::webhook::WebhookEvent;

/// The roles whose holders may own webhooks.
pub const WEBHOOK_OWNER_ROLES: &[Role] = &[Role::Admin, Role::Subscriber];
/// The actor of what no person does.
pub const SYSTEM_ACTOR: &str = "system";
const ADMIN: &[Role] = &[Role::Admin];
const OPERATOR: &[Role] = &[Role::Admin, Role::Operator];
const NONE: &[Role] = &[];

/// The roles of which an actor needs one to append an event of that type to a stream; none are needed for
/// one's own account. `webhook_owner` is the owner of the webhook if the stream is one.
#[must_use]
pub fn required_roles(
    actor: UserId,
    stream: &str,
    event_type: &str,
    webhook_owner: Option<UserId>,
) -> &'static [Role] {
    let only_by_administrators =
        [UserEvent::ROLE_GRANTED, UserEvent::ROLE_REVOKED, UserEvent::REACTIVATED, UserEvent::IMPORTED];
    if UserId::from_stream(stream) == Some(actor) && !only_by_administrators.contains(&event_type) {
        return NONE;
    }
    if UserId::from_logins_stream(stream) == Some(actor) && event_type == LoginEvent::SUCCEEDED {
        return NONE;
    }
    if stream == SYSTEM_STREAM && event_type == SystemEvent::PROJECTION_EVENT_SKIPPED {
        return OPERATOR;
    }
    match webhook_owner {
        // Erasing an account deletes its webhooks, whatever roles the owner has left.
        Some(owner) if owner == actor && event_type == WebhookEvent::DELETED => NONE,
        Some(owner) if owner == actor => WEBHOOK_OWNER_ROLES,
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
    actor: UserId,
    stream: &str,
    event_type: &str,
    webhook_owner: Option<UserId>,
) -> bool {
    let required = required_roles(actor, stream, event_type, webhook_owner);
    required.is_empty() || required.iter().any(|role| held.contains(role))
}

/// The roles of all users, and the owners of all webhooks, after the events applied so far.
#[derive(Clone, Debug, Default)]
pub struct Authority {
    /// Only of users who hold one.
    roles: HashMap<UserId, BTreeSet<Role>>,
    /// Deactivated and not erased.
    inactive: HashSet<UserId>,
    owners: HashMap<WebhookId, UserId>,
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
            | UserEvent::SessionRevoked { .. } => {}
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

    /// The owner of a webhook that exists.
    #[must_use]
    pub fn webhook_owner(&self, webhook: WebhookId) -> Option<UserId> {
        self.owners.get(&webhook).copied()
    }

    /// The roles that a user may use: none if the account is deactivated.
    #[must_use]
    pub fn roles(&self, user: UserId) -> BTreeSet<Role> {
        if self.inactive.contains(&user) {
            return BTreeSet::new();
        }
        self.roles.get(&user).cloned().unwrap_or_default()
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
}
