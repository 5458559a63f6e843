//! Composes the mail of an event from the log: who gets it, and with which token. Which events have a mail at all is
//! decided here.

use std::sync::Arc;
use std::time::Duration;

use domain::{Account, DecodeError, EmailAddress, User, UserEvent, UserId, user};
use jiff::Timestamp;
use store::{Env, Envelope, EventQuery, EventStore, Position, StoreError, StoredEvent};

use super::content::{Link, Mail, MailKind};
use super::progress::after;
use crate::crypto::{InvalidToken, MailToken, Tokens};

/// How long a mail without a token is retried, from its event on.
pub(super) const NOTICE_LIFETIME: Duration = Duration::from_hours(72);

/// The mail of an event.
pub(super) enum Composed {
    Mail(Box<Mail>),
    /// This event has none.
    None,
    /// Later events have voided it, or its recipient was erased.
    Void,
    /// Its token has expired.
    Expired,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ComposeError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("an event of the user cannot be decoded: {0}")]
    Decode(#[from] DecodeError),
    #[error("no mail token can be issued")]
    Token(#[from] InvalidToken),
}

/// Composes mails.
#[derive(Clone)]
pub(super) struct Composer {
    pub(super) store: EventStore,
    pub(super) tokens: Arc<Tokens>,
    pub(super) env: Env,
    pub(super) public_url: String,
}

/// An event, and the account before it, right after it, and now.
struct Change {
    version: u64,
    at: Timestamp,
    event: UserEvent,
    before: UserAddress,
    then: AccountAddress,
    now: AccountAddress,
}

/// A user, and whether the e-mail address is known to be theirs.
#[derive(Clone, Default)]
struct UserAddress {
    user: User,
    is_known: bool,
}

/// The same of a user who exists.
struct AccountAddress {
    account: Account,
    is_known: bool,
}

/// Whether an event may have a mail, as far as its envelope shows it. Users who sign up are the actors of their own
/// registration; those created by an administrator are not.
pub(super) fn may_have_mail(event: &Envelope) -> bool {
    event.event_type != UserEvent::REGISTERED_TYPE || event.actor != event.stream.as_str()
}

impl Composer {
    pub(super) async fn compose(&self, position: u64) -> Result<Composed, ComposeError> {
        let found = self.store.read_sealed(&EventQuery::at(Position::new(position))).await?;
        let Some(event) = found.first() else { return Ok(Composed::None) };
        let Some(user) = UserId::from_stream(event.stream.as_str()) else { return Ok(Composed::None) };
        let events = self.store.read_stream(&event.stream).await?;
        let Some(change) = Change::of(event, &events)? else { return Ok(Composed::Void) };
        let Some(kind) = change.kind() else { return Ok(Composed::None) };
        let (to, is_known) = change.recipient(kind);
        let (Some(to), Some(username)) = (to, change.now.account.username.known()) else {
            return Ok(Composed::Void);
        };
        let username = is_known.then(|| username.clone());
        let mut mail = Mail { kind, to: to.clone(), username, at: change.at, link: None };
        if let Some(purpose) = kind.purpose() {
            if !change.is_token_valid(kind) {
                return Ok(Composed::Void);
            }
            let expires_at = after(change.at, purpose.lifetime());
            if self.env.now() >= expires_at {
                return Ok(Composed::Expired);
            }
            let epoch = self.store.identity().epoch;
            let token = MailToken { purpose, user, version: change.version, epoch };
            let token = token.issue(&self.tokens, expires_at)?;
            let url = format!("{}/{}#token={token}", self.public_url, MailKind::page(purpose));
            mail.link = Some(Link { url, expires_at });
        }
        Ok(Composed::Mail(Box::new(mail)))
    }
}

impl Change {
    /// `None` if the user was erased.
    fn of(at: &Envelope, events: &[StoredEvent]) -> Result<Option<Self>, DecodeError> {
        let (mut state, mut found) = (UserAddress::default(), None);
        for stored in events {
            let event = event_codec::decode_user_event(stored)?;
            let before = state.clone();
            state = state.after(&event, &stored.envelope);
            if stored.envelope.version == at.version {
                found = Some((event, before, state.clone()));
            }
        }
        let Some((event, before, then)) = found else { return Ok(None) };
        let (Some(then), Some(now)) = (then.present(), state.present()) else { return Ok(None) };
        Ok(Some(Self { version: at.version, at: at.at, event, before, then, now }))
    }

    fn kind(&self) -> Option<MailKind> {
        match &self.event {
            UserEvent::EmailVerificationRequested => Some(MailKind::VerifyEmail),
            UserEvent::PasswordResetRequested => Some(MailKind::ResetPassword),
            UserEvent::UserRegistered { password_hash: None, .. } => Some(MailKind::Invitation),
            // Otherwise anyone could make this service write to others: by a sign-up with their address, and a change.
            UserEvent::EmailChanged { .. } => self.before.is_known.then_some(MailKind::EmailChanged),
            // An invited user who sets the first password changes none.
            UserEvent::PasswordChanged { .. } if self.had_password() => Some(MailKind::PasswordChanged),
            _ => None,
        }
    }

    fn had_password(&self) -> bool {
        matches!(&self.before.user, User::Present(account) if account.password_hash.is_some())
    }

    /// A token goes to the current address only; a notice to the one that the user had at the time: it may report
    /// what an intruder did who has changed the address since. With it, whether it is known to be the user's.
    fn recipient(&self, kind: MailKind) -> (Option<&EmailAddress>, bool) {
        match (&self.event, kind.purpose()) {
            (UserEvent::EmailChanged { previous, .. }, _) => (previous.known(), self.before.is_known),
            (_, Some(_)) => self.now.address(),
            (_, None) => self.then.address(),
        }
    }

    fn is_token_valid(&self, kind: MailKind) -> bool {
        let (version, now) = (self.version, &self.now.account);
        match kind {
            MailKind::VerifyEmail => now.accepts_verification_token(version),
            MailKind::ResetPassword => now.accepts_reset_token(version),
            MailKind::Invitation => now.accepts_reset_token(version) && now.password_hash.is_none(),
            MailKind::EmailChanged | MailKind::PasswordChanged => false,
        }
    }
}

impl UserAddress {
    /// An address is known if its user has received mail there, or if it was not the user who gave it: that of an
    /// import, of an administrator or of an operator.
    fn after(self, event: &UserEvent, envelope: &Envelope) -> Self {
        let is_known = match event {
            UserEvent::UserRegistered { .. } | UserEvent::EmailChanged { .. } => {
                envelope.actor != envelope.stream.as_str()
            }
            UserEvent::UserImported { .. } | UserEvent::EmailVerified => true,
            UserEvent::UserDeactivated { .. }
            | UserEvent::UserReactivated { .. }
            | UserEvent::RoleGranted { .. }
            | UserEvent::RoleRevoked { .. }
            | UserEvent::UserLocked
            | UserEvent::UserUnlocked
            | UserEvent::PasswordRehashed { .. }
            | UserEvent::UsernameChanged { .. }
            | UserEvent::PasswordChanged { .. }
            | UserEvent::TokensRevoked
            | UserEvent::SessionRevoked { .. }
            | UserEvent::EmailVerificationRequested
            | UserEvent::PasswordResetRequested
            | UserEvent::UserErased { .. } => self.is_known,
        };
        Self { user: user::evolve(self.user, event), is_known }
    }

    fn present(self) -> Option<AccountAddress> {
        match self.user {
            User::Present(account) => Some(AccountAddress { account, is_known: self.is_known }),
            User::Absent | User::Erased => None,
        }
    }
}

impl AccountAddress {
    fn address(&self) -> (Option<&EmailAddress>, bool) {
        (self.account.email.known(), self.is_known)
    }
}
