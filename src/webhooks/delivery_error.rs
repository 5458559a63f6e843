//! Errors of delivering: those of this node or its database. What a receiver answers is no error, but a failed
//! attempt.

use store::{StoreError, WriteError};

use super::delivery_state::DeliveryState;
use super::send_error::SendError;
use crate::command::CommandError;
use crate::query::QueryError;

/// An error of this node or its database, not of the receiver.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeliveryError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error("the webhook cannot be decrypted, and gets no deliveries: {0}")]
    Unreadable(StoreError),
    #[error("the owner is not in the read model `users` although not erased; rebuild `users`")]
    OwnerMissing,
    #[error("event cannot be serialized: {0}")]
    Message(#[from] serde_json::Error),
}

impl DeliveryError {
    /// Whether what is stored has to be repaired first.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Store(error) | Self::Unreadable(error) | Self::Command(CommandError::Store(error)) => {
                !error.is_transient()
            }
            _ => false,
        }
    }

    pub(super) fn delivery_state(&self) -> DeliveryState {
        match self {
            Self::Query(QueryError::Behind { .. }) => DeliveryState::Waiting,
            error if error.is_damage() => DeliveryState::Unreadable,
            _ => DeliveryState::Active,
        }
    }
}
