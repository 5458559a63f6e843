//! Commands: load the stream, let the domain decide, append, and try again if somebody else was quicker. One file per
//! aggregate. Who may give a command is for `http/` and `cli/` to say; what it means is for the domain.

mod error;
mod loaded;
mod projections;
mod user;
mod webhook;
mod writing;

pub use error::CommandError;
pub use projections::{RecordedSkip, SkipError, skip};
use store::IdempotencyKey;

pub use user::{SignUp, UserCommands, UserState};
pub use webhook::{NewWebhook, WebhookCommands, WebhookState};

/// How often a command is judged anew because somebody else was quicker.
const ATTEMPTS: usize = 8;

/// Who gives a command, and under which request.
#[derive(Clone, Debug)]
pub struct CommandContext {
    /// `user-…`, `token-…`, `operator:…` or `system`.
    pub actor: String,
    /// As in the logs and in the answer's `X-Request-Id`.
    pub request_id: String,
    /// Under which it happens at most once.
    pub idempotency: Option<IdempotencyKey>,
}

impl CommandContext {
    /// A context without an idempotency key.
    #[must_use]
    pub fn new(actor: impl Into<String>, request_id: impl Into<String>) -> Self {
        Self { actor: actor.into(), request_id: request_id.into(), idempotency: None }
    }
}
