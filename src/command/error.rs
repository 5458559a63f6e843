//! Why a command was not carried out.

use domain::{DecodeError, LastAdministrator, Rejection, WebhookRejection};
use store::{AppendError, StoreError};

/// Why a command was not carried out.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommandError {
    /// The domain refuses it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The domain refuses it to a webhook.
    #[error(transparent)]
    WebhookRejected(#[from] WebhookRejection),
    /// It would leave nobody who can administer the service.
    #[error(transparent)]
    LastAdministrator(#[from] LastAdministrator),
    /// The caller asked for a version that is no longer the user's.
    #[error("the user is at version {actual}, not at {expected}")]
    VersionMismatch {
        /// What the caller expected.
        expected: u64,
        /// What it is.
        actual: u64,
    },
    /// Others kept changing the same user; nothing was done.
    #[error("the user kept changing meanwhile; nothing was done, try again")]
    Contended,
    /// The stored history cannot be understood by this version.
    #[error("the stored history cannot be read: {0}")]
    Decode(#[from] DecodeError),
    /// The event store refused or failed.
    #[error(transparent)]
    Append(AppendError),
    /// The history could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<AppendError> for CommandError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Store(error) => Self::Store(error),
            other => Self::Append(other),
        }
    }
}
