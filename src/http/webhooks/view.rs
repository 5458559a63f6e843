//! Webhooks in HTTP answers.

use serde::Serialize;
use utoipa::ToSchema;

use crate::app::Services;
use crate::command::WebhookState;
use crate::http::api_error::ApiError;
use crate::webhooks::encode_secret;
use crate::webhooks::{FailingDelivery, WebhookStatus};

/// A webhook.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhook)]
pub(crate) struct WebhookView {
    /// A UUID.
    id: String,
    /// The id of the user who owns it.
    owner: String,
    /// Where events are delivered.
    #[schema(examples("https://example.com/events"))]
    url: String,
    /// The event types that are delivered; empty: all.
    types: Vec<String>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    description: Option<String>,
    /// `active`; `failing`: an event could not be delivered and is retried; or `suspended`: nothing is
    /// delivered until the webhook is resumed.
    #[schema(examples("active"))]
    state: &'static str,
    /// Why it is suspended: `failing` for three days, `gone` (the receiver answered 410), or `owner` (the
    /// owner lost the right to read events).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    suspended: Option<&'static str>,
    /// The event that could not be delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    failing: Option<FailingView>,
    /// The delivery cursor: matching events up to this position are delivered.
    position: u64,
    /// The position of the last delivered event.
    previous: u64,
    /// The number of pending replays.
    replays: usize,
    /// When it was registered: RFC 3339, UTC.
    #[schema(format = DateTime, examples("2026-11-22T08:03:14.680Z"))]
    created_at: String,
}

/// An event that could not be delivered.
#[derive(Serialize, ToSchema)]
#[schema(as = FailingDelivery)]
pub(crate) struct FailingView {
    /// The event's position in the log.
    position: u64,
    /// When the first attempt failed.
    #[schema(format = DateTime)]
    since: String,
    /// The number of failed attempts.
    attempts: u32,
    /// When the next attempt is due.
    #[schema(format = DateTime)]
    next_attempt_at: String,
    /// Why the last attempt failed.
    error: String,
}

impl WebhookView {
    /// A webhook that was just changed. The write is durable even if its delivery progress cannot be read.
    pub(super) async fn after_write(services: &Services, state: &WebhookState) -> Result<Self, ApiError> {
        let status = WebhookStatus::after_change(&*services.deliveries, state).await;
        status.map(Into::into).ok_or(ApiError::WebhookNotFound)
    }
}

impl From<WebhookStatus> for WebhookView {
    fn from(status: WebhookStatus) -> Self {
        Self {
            id: status.id,
            owner: status.owner,
            url: status.url,
            types: status.types,
            description: status.description,
            state: status.state,
            suspended: status.suspended,
            failing: status.failing.map(Into::into),
            position: status.position,
            previous: status.previous,
            replays: status.replays,
            created_at: status.created_at,
        }
    }
}

impl From<FailingDelivery> for FailingView {
    fn from(failing: FailingDelivery) -> Self {
        Self {
            position: failing.position,
            since: failing.since,
            attempts: failing.attempts,
            next_attempt_at: failing.next_attempt_at,
            error: failing.error,
        }
    }
}

/// A webhook and its secret, which is shown only in this answer.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookWithSecret)]
pub(crate) struct WebhookWithSecret {
    #[serde(flatten)]
    webhook: WebhookView,
    /// The key that deliveries are signed with (Standard Webhooks). Store it: it is not shown again.
    #[schema(examples("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="))]
    secret: String,
}

impl WebhookWithSecret {
    pub(super) async fn after_write(services: &Services, state: &WebhookState) -> Result<Self, ApiError> {
        let webhook = state.webhook.as_ref().ok_or(ApiError::WebhookNotFound)?;
        let secret = webhook.secret.known().ok_or(ApiError::WebhookNotFound)?;
        Ok(Self { secret: encode_secret(secret), webhook: WebhookView::after_write(services, state).await? })
    }
}
