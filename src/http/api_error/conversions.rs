//! Maps the errors of inner layers to error answers. The matches are exhaustive, so that a new error cannot
//! be forgotten.

use std::error::Error;
use std::time::Duration;

use domain::{Rejection, TokenRejection, WebhookRejection, WebhookSlot};
use projections::ChangeError;
use store::{AppendError, Corruption, StoreError, VersionError};

use super::{ApiError, Loc};
use crate::app::NotStarted;
use crate::command::{CommandError, MAIL_REQUEST_WINDOW, MAX_MAIL_REQUESTS, SkipError};
use crate::crypto::{HashingError, InvalidToken};
use crate::limits::{LimitExceeded, Policy};
use crate::query::QueryError;

/// When to try again for a place in the password-hashing queue.
const HASHING_QUEUE_RETRY: Duration = Duration::from_secs(1);

impl ApiError {
    /// A bug, or damaged data.
    pub(crate) fn internal(error: &dyn Error) -> Self {
        Self::Internal(chain(error))
    }
}

impl From<LimitExceeded> for ApiError {
    fn from(exceeded: LimitExceeded) -> Self {
        Self::RateLimited(exceeded)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match &error {
            // Another node may have the key, and an operator can add it to this one.
            StoreError::Unavailable { .. } | StoreError::KeyMissing(_) => {
                Self::Unavailable(error.to_string())
            }
            StoreError::Corrupt(Corruption::RowTampered { .. } | Corruption::RowMissing { .. }) => {
                Self::RowTampered(error.to_string())
            }
            StoreError::Corrupt(_) | StoreError::Refused(_) | StoreError::Internal(_) => {
                Self::internal(&error)
            }
        }
    }
}

impl From<NotStarted> for ApiError {
    fn from(error: NotStarted) -> Self {
        match &error {
            NotStarted::Opening => Self::Starting,
            NotStarted::Unavailable(_) => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<AppendError> for ApiError {
    fn from(error: AppendError) -> Self {
        match &error {
            AppendError::ClaimTaken { kind: "email" } => Self::EmailTaken,
            AppendError::ClaimTaken { kind: "username" } => Self::UsernameTaken,
            AppendError::ClaimTaken { kind: "username_skeleton" } => Self::UsernameConfusable,
            AppendError::Erased { .. } => Self::UserNotFound,
            AppendError::DuplicateRequest => Self::RequestInProgress,
            AppendError::TooLarge { .. } => Self::BodyTooLarge,
            AppendError::Conflict { .. } | AppendError::WrappingKeyRotated { .. } | AppendError::Busy => {
                Self::Busy(error.to_string())
            }
            AppendError::Unknown(_) => Self::OutcomeUnknown(error.to_string()),
            AppendError::ClockJumped(_) => Self::ClockJumped(error.to_string()),
            AppendError::Store(store) => store.clone().into(),
            AppendError::ClaimTaken { .. } | AppendError::Invalid(_) => Self::internal(&error),
        }
    }
}

impl From<CommandError> for ApiError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Rejected(Rejection::Unknown | Rejection::Erased) => Self::UserNotFound,
            CommandError::WebhookRejected(WebhookRejection::Unknown) => Self::WebhookNotFound,
            CommandError::TokenRejected(TokenRejection::Unknown) => Self::TokenNotFound,
            CommandError::WebhookRejected(WebhookRejection::TooMany) => {
                let detail = format!("You have {} webhooks; delete one of those first", WebhookSlot::LIMIT);
                Self::Conflict { code: "too_many_webhooks", detail }
            }
            CommandError::WebhookRejected(rejection @ WebhookRejection::TooManyReplays) => {
                Self::Conflict { code: "too_many_replays", detail: rejection.to_string() }
            }
            CommandError::Rejected(rejection @ Rejection::PasswordChanged) => {
                Self::Conflict { code: "password_changed", detail: rejection.to_string() }
            }
            CommandError::Rejected(Rejection::InvalidMailToken) => Self::InvalidMailToken,
            CommandError::TooManyMailRequests { retry_after } => {
                let quota = u32::try_from(MAX_MAIL_REQUESTS).unwrap_or(u32::MAX);
                let policy = Policy::bucket("mails", quota, MAIL_REQUEST_WINDOW);
                Self::RateLimited(policy.exceeded(retry_after))
            }
            CommandError::LastAdministrator(_) => Self::LastAdministrator,
            CommandError::Unauthorized { .. } => Self::Forbidden,
            CommandError::VersionMismatch { .. } => Self::VersionMismatch,
            CommandError::Contended(_) => Self::Busy(error.to_string()),
            CommandError::Append(error) => error.into(),
            CommandError::Store(error) => error.into(),
            CommandError::Rejected(Rejection::AlreadyRegistered)
            | CommandError::WebhookRejected(WebhookRejection::AlreadyRegistered)
            | CommandError::TokenRejected(TokenRejection::AlreadyIssued)
            | CommandError::Decode(_) => Self::internal(&error),
        }
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Behind { .. } => Self::ProjectionBehind(error.to_string()),
            QueryError::BeyondHead { wanted, head } => {
                Self::beyond_head(Loc::Header("aegis-min-position"), wanted, head)
            }
            QueryError::ErasedMeanwhile => Self::UserNotFound,
            QueryError::Store(error) => error.into(),
        }
    }
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        let code = match &error {
            ChangeError::Behind(..) => return Self::ProjectionBehind(error.to_string()),
            ChangeError::Store(store) => return store.clone().into(),
            ChangeError::Refused(_, VersionError::AlreadyBuilding(_)) => "already_rebuilding",
            ChangeError::Refused(_, VersionError::NotBuilding) => "not_rebuilding",
            ChangeError::Unknown(..)
            | ChangeError::Refused(_, VersionError::NotReady(..) | VersionError::NothingBefore(_)) => {
                "no_such_version"
            }
            ChangeError::Refused(_, VersionError::IsLive(_)) => "version_is_live",
        };
        Self::Conflict { code, detail: error.to_string() }
    }
}

impl From<SkipError> for ApiError {
    fn from(error: SkipError) -> Self {
        match error {
            SkipError::NoEvent(..) => Self::EventNotFound,
            SkipError::NotPoison(..) => Self::Conflict { code: "nothing_to_skip", detail: error.to_string() },
            SkipError::Command(error) => error.into(),
        }
    }
}

impl From<HashingError> for ApiError {
    fn from(error: HashingError) -> Self {
        match &error {
            HashingError::Busy { share } => {
                let share = u32::try_from(*share).unwrap_or(u32::MAX);
                let policy = Policy::concurrent("hashing-queue", share);
                Self::HashingQueueFull(policy.exceeded(HASHING_QUEUE_RETRY))
            }
            HashingError::Hash(_) => Self::internal(&error),
        }
    }
}

impl From<InvalidToken> for ApiError {
    fn from(_: InvalidToken) -> Self {
        Self::InvalidToken
    }
}

/// The error and its sources, for the log.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let inner = error.to_string();
        // Many messages already quote their source.
        if !text.contains(&inner) {
            text = format!("{text}: {inner}");
        }
        source = error.source();
    }
    text
}
