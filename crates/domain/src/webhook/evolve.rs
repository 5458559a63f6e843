//! From a webhook and what happened to it, to the webhook after.

use super::{ActiveWebhook, Replay, Webhook, WebhookEvent};

/// The webhook after one more event. Total: what makes no sense changes nothing.
#[must_use]
pub fn evolve(webhook: Webhook, event: &WebhookEvent) -> Webhook {
    match (webhook, event) {
        (
            Webhook::Absent,
            WebhookEvent::WebhookRegistered { owner, url, secret, types, description, after },
        ) => Webhook::Present(Box::new(ActiveWebhook {
            owner: *owner,
            url: url.clone(),
            secret: secret.clone(),
            previous_secret: None,
            types: types.clone(),
            description: description.clone(),
            after: *after,
            suspended: None,
            resumed: 0,
            replays: Vec::new(),
        })),
        (Webhook::Present(webhook), event) => changed(*webhook, event),
        (webhook @ (Webhook::Absent | Webhook::Deleted { .. }), _) => webhook,
    }
}

fn changed(webhook: ActiveWebhook, event: &WebhookEvent) -> Webhook {
    Webhook::Present(Box::new(match event {
        WebhookEvent::WebhookRegistered { .. } => webhook,
        WebhookEvent::WebhookSecretRotated { secret, previous_until } => ActiveWebhook {
            previous_secret: Some((webhook.secret, *previous_until)),
            secret: secret.clone(),
            ..webhook
        },
        WebhookEvent::WebhookSuspended { reason, .. } => {
            ActiveWebhook { suspended: Some(*reason), ..webhook }
        }
        WebhookEvent::WebhookResumed => {
            ActiveWebhook { suspended: None, resumed: webhook.resumed + 1, ..webhook }
        }
        WebhookEvent::WebhookReplayRequested { from, to } => {
            let mut webhook = webhook;
            webhook.replays.push(Replay { from: *from, to: *to });
            webhook
        }
        WebhookEvent::WebhookDeleted => return Webhook::Deleted { owner: webhook.owner },
    }))
}

/// The webhook that these events, its whole stream, have made.
pub fn fold<'a>(events: impl IntoIterator<Item = &'a WebhookEvent>) -> Webhook {
    events.into_iter().fold(Webhook::default(), evolve)
}
