//! Commands: one executor (load, decide, append, retry on conflict) and a decider for each aggregate.
//! Authorization belongs to `http/` and `cli/`, the rules to the domain.

mod executor;
mod hash_export;
mod login;
mod machine_token;
mod mail_request;
mod owned_webhooks;
mod projection_skip;
mod token;
mod token_status;
mod user;
mod user_import;
mod version_condition;
mod webhook;
mod webhook_registration;
mod webhook_state;

pub use hash_export::record_hash_export;
pub use login::LoginCommands;
pub use machine_token::MachineToken;
pub use mail_request::{MAIL_REQUEST_WINDOW, MAX_MAIL_REQUESTS, MailRequest};
pub use owned_webhooks::WebhookIndex;
pub use projection_skip::{RecordedSkip, SkipError, skip};
pub use token::{Authentication, NewToken, TokenCommands, TokenState};
pub use token_status::TokenStatus;
pub use user::{UserCommands, UserState};
pub use user_import::{ImportKeys, ImportResult, UserToImport, UsernameNumbers};
pub use version_condition::{VersionCondition, Versions};
pub use webhook::WebhookCommands;
pub use webhook_registration::NewWebhook;
pub use webhook_state::WebhookState;

use std::fmt;
use std::time::Duration;

use domain::{
    DecodeError, LastAdministrator, Rejection, SessionId, TokenId, TokenRejection, UserId, WebhookId,
    WebhookRejection,
};
use store::{AppendError, IdempotencyKey, StoreError, StreamId};

/// On whose behalf and in which request a command is executed.
#[derive(Clone, Debug)]
pub struct CommandContext {
    /// `user-…`, `token-…`, `operator:…` or `system`.
    pub actor: String,
    /// As in the logs and in the response header `X-Request-Id`.
    pub request_id: String,
    /// Makes the append happen at most once.
    pub idempotency: Option<IdempotencyKey>,
    /// What the version of the aggregate must be, if it exists.
    pub condition: VersionCondition,
    /// The session that a change of the password keeps.
    pub kept_session: Option<SessionId>,
}

impl CommandContext {
    /// A context without an idempotency key and without a condition.
    #[must_use]
    pub fn new(actor: impl Into<String>, request_id: impl Into<String>) -> Self {
        Self {
            actor: actor.into(),
            request_id: request_id.into(),
            idempotency: None,
            condition: VersionCondition::default(),
            kept_session: None,
        }
    }

    /// The actor without its identity, which is personal: `user`, `token`, `operator` or `system`.
    #[must_use]
    pub fn actor_kind(&self) -> &str {
        self.actor.split(['-', ':']).next().unwrap_or_default()
    }
}

/// The aggregate a command is given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    User(UserId),
    Webhook(WebhookId),
    Token(TokenId),
    /// The logins of a user.
    Logins(UserId),
    /// The installation: the stream `system`.
    System,
    /// The users of an import.
    Import,
}

impl fmt::Display for Aggregate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(out, "user {id}"),
            Self::Webhook(id) => write!(out, "webhook {id}"),
            Self::Token(id) => write!(out, "token {id}"),
            Self::Logins(id) => write!(out, "the logins of user {id}"),
            Self::System => out.write_str("the stream `system`"),
            Self::Import => out.write_str("a user of the import"),
        }
    }
}

/// Why a command was not executed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommandError {
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error(transparent)]
    WebhookRejected(#[from] WebhookRejection),
    #[error(transparent)]
    TokenRejected(#[from] TokenRejection),
    #[error(transparent)]
    LastAdministrator(#[from] LastAdministrator),
    /// The log does not say that the actor holds the role: the row of the actor is out of date, or forged.
    #[error("{actor} does not hold a role for {event_type} of {stream} according to the log")]
    Unauthorized { actor: String, stream: StreamId, event_type: String },
    /// The condition of the command excludes the current version.
    #[error("{aggregate} is at version {actual}, which the condition of the request excludes")]
    VersionMismatch { aggregate: Aggregate, actual: u64 },
    /// The user was sent as many mails of this kind as permitted.
    #[error(
        "the user has requested as many mails of this kind as permitted; nothing was appended, try again in {} s",
        .retry_after.as_secs()
    )]
    TooManyMailRequests { retry_after: Duration },
    /// Every attempt conflicted with another writer; nothing was appended.
    #[error("{0} is being changed by other requests; nothing was appended, try again")]
    Contended(Aggregate),
    /// A stored event that this version does not know.
    #[error("the stored history cannot be decoded: {0}")]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Append(AppendError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CommandError {
    /// Whether nothing was appended because a stream was erased meanwhile.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        matches!(self, Self::Append(AppendError::Erased { .. }))
    }
}

impl From<AppendError> for CommandError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Store(error) => Self::Store(error),
            other => Self::Append(other),
        }
    }
}

#[cfg(test)]
mod tests;
