//! Decides a command against the state of a webhook.

use super::{Webhook, WebhookCommand, WebhookEvent};
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
}

/// Decides `command` against the current state. No events: nothing would change.
///
/// # Errors
/// [`WebhookRejection`] if the state does not allow the command.
pub fn decide(webhook: &Webhook, command: WebhookCommand) -> Result<Vec<WebhookEvent>, WebhookRejection> {
    match (webhook, command) {
        (Webhook::Absent, WebhookCommand::Register { owner, url, secret, types, description, after }) => {
            Ok(vec![WebhookEvent::WebhookRegistered {
                owner,
                url: Erasable::Known(url),
                secret: Erasable::Known(secret),
                types,
                description: description.map(Erasable::Known),
                after,
            }])
        }
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
        (Webhook::Present(_), WebhookCommand::Replay { from, to }) => {
            Ok(vec![WebhookEvent::WebhookReplayRequested { from, to }])
        }
        (Webhook::Present(_), WebhookCommand::Delete) => Ok(vec![WebhookEvent::WebhookDeleted]),
    }
}
