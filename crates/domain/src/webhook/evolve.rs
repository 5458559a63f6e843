//! Folds a webhook's events into its state.

use super::{ActiveWebhook, Replay, Webhook, WebhookEvent};

/// Applies one event. Total: an event that does not fit the state changes nothing.
#[must_use]
pub fn evolve(webhook: Webhook, event: &WebhookEvent) -> Webhook {
    match (webhook, event) {
        (
            Webhook::Absent,
            WebhookEvent::WebhookRegistered { owner, url, secret, types, description, after, batch, slot: _ },
        ) => Webhook::Present(Box::new(ActiveWebhook {
            owner: *owner,
            url: url.clone(),
            secret: secret.clone(),
            previous_secret: None,
            types: types.clone(),
            description: description.clone(),
            after: *after,
            batch: *batch,
            suspended: None,
            resumed: 0,
            replays: Vec::new(),
            cancelled_replays: 0,
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
        WebhookEvent::WebhookReplaysCancelled => {
            ActiveWebhook { cancelled_replays: webhook.replays.len(), ..webhook }
        }
        WebhookEvent::WebhookDeleted => return Webhook::Deleted { owner: webhook.owner },
    }))
}

/// Folds the whole stream of a webhook.
pub fn fold<'a>(events: impl IntoIterator<Item = &'a WebhookEvent>) -> Webhook {
    events.into_iter().fold(Webhook::default(), evolve)
}
