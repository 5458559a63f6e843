//! Decides a command against the state of a webhook.

use super::state::MAX_QUEUED_REPLAYS;
use super::{Webhook, WebhookCommand, WebhookEvent, WebhookSlot};
use crate::value::Erasable;

/// Why a command is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookRejection {
    /// The id is in use, or belonged to a deleted webhook.
    #[error("a webhook is already registered under this id")]
    AlreadyRegistered,
    /// The webhook does not exist or was deleted.
    #[error("no webhook is registered under this id")]
    Unknown,
    /// The owner has no free slot.
    #[error("the owner has {} webhooks, the maximum: delete one of them first", WebhookSlot::LIMIT)]
    TooMany,
    /// The queue of replays is full.
    #[error("{MAX_QUEUED_REPLAYS} replays are queued, the maximum: wait for one to complete, or cancel them")]
    TooManyReplays,
}

/// Decides `command` against the current state. No events: nothing would change.
///
/// # Errors
/// [`WebhookRejection`] if the state does not allow the command.
pub fn decide(webhook: &Webhook, command: WebhookCommand) -> Result<Vec<WebhookEvent>, WebhookRejection> {
    match (webhook, command) {
        (Webhook::Absent, WebhookCommand::Register { slot: None, .. }) => Err(WebhookRejection::TooMany),
        (
            Webhook::Absent,
            WebhookCommand::Register { owner, url, secret, types, description, after, batch, slot },
        ) => Ok(vec![WebhookEvent::WebhookRegistered {
            owner,
            url: Erasable::Known(url),
            secret: Erasable::Known(secret),
            types,
            description: description.map(Erasable::Known),
            after,
            batch,
            slot,
        }]),
        (Webhook::Present(_) | Webhook::Deleted { .. }, WebhookCommand::Register { .. }) => {
            Err(WebhookRejection::AlreadyRegistered)
        }
        (Webhook::Absent | Webhook::Deleted { .. }, _) => Err(WebhookRejection::Unknown),
        (Webhook::Present(_), WebhookCommand::RotateSecret { secret, previous_until }) => {
            Ok(vec![WebhookEvent::WebhookSecretRotated { secret: Erasable::Known(secret), previous_until }])
        }
        (Webhook::Present(webhook), WebhookCommand::Suspend { reason, position, resumed }) => {
            if webhook.suspended.is_some() || webhook.resumed != resumed {
                return Ok(vec![]);
            }
            Ok(vec![WebhookEvent::WebhookSuspended { reason, position }])
        }
        (Webhook::Present(webhook), WebhookCommand::Resume { is_stalled }) => {
            let has_effect = webhook.suspended.is_some() || is_stalled;
            Ok(if has_effect { vec![WebhookEvent::WebhookResumed] } else { vec![] })
        }
        (Webhook::Present(webhook), WebhookCommand::Replay { completed, .. })
            if webhook.queued_replays(completed) >= MAX_QUEUED_REPLAYS =>
        {
            Err(WebhookRejection::TooManyReplays)
        }
        (Webhook::Present(_), WebhookCommand::Replay { from, to, completed: _ }) => {
            Ok(vec![WebhookEvent::WebhookReplayRequested { from, to }])
        }
        (Webhook::Present(webhook), WebhookCommand::CancelReplays { completed }) => {
            let has_queued = webhook.queued_replays(completed) > 0;
            Ok(has_queued.then_some(WebhookEvent::WebhookReplaysCancelled).into_iter().collect())
        }
        (Webhook::Present(_), WebhookCommand::Delete) => Ok(vec![WebhookEvent::WebhookDeleted]),
    }
}
