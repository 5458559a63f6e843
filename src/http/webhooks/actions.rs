//! `POST /webhooks/{id}/test`, `/rotate-secret`, `/replay` and `/resume`, `DELETE /webhooks/{id}/replays`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use domain::WebhookCommand;
use serde::Serialize;
use store::Position;
use utoipa::ToSchema;

use super::managed_webhook::{ManagedWebhook, WebhookWithSecret, status};
use crate::app::App;
use crate::config::Settings;
use crate::http::api_error::{ApiError, Loc, ValidationError};
use crate::http::conditional::{IfMatch, entity_tag_of};
use crate::http::extract::{FieldReader, FromFields, JsonBody, MAX_POSITION, NoBody, WebhookPath};
use crate::http::headers::position_header;
use crate::http::idempotency::{Idempotent, WriteAttempt};
use crate::webhooks::{WebhookStatus, completed_replays, previous_secret_expiry};

/// The result of a test delivery.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookTest)]
pub(crate) struct TestView {
    /// Whether the receiver accepted the event.
    delivered: bool,
    /// The HTTP status of the receiver's answer; null if there was none.
    #[schema(required)]
    status: Option<u16>,
    /// Why the delivery failed; null if it succeeded.
    #[schema(required)]
    error: Option<String>,
    /// The duration of the delivery in milliseconds.
    latency_ms: u64,
}

/// Sends a signed event of type `WebhookTest` immediately and once, independently of other deliveries. The
/// event is not part of the log. One test of each webhook at a time; ten of each owner at once, then one every
/// six seconds.
#[utoipa::path(
    post, path = "/webhooks/{id}/test",
    params(WebhookPath),
    responses(
        (status = 200, description = "The result of the delivery", body = TestView),
        ManagedWebhook,
        (status = 429, description = "`too_many_requests`, with `Retry-After`"),
        (status = 503, description = "`busy`: 32 webhook addresses are being checked already"),
    ),
)]
pub(crate) async fn test_webhook(
    State(app): State<Arc<App>>,
    webhook: ManagedWebhook,
) -> Result<Json<TestView>, ApiError> {
    if webhook.state.webhook.is_none() {
        return Err(ApiError::WebhookNotFound);
    }
    let _test = app
        .webhook_limits
        .begin_test(webhook.state.owner, webhook.state.id)
        .map_err(ApiError::TooManyWebhookRequests)?;
    let _permit = app.sender.try_lookup_permit().ok_or_else(ApiError::too_many_address_checks)?;
    let tested = app.services()?.delivery_context.test(&app.sender, &webhook.state).await;
    let delivered = tested.error.is_none();
    let (status, error, latency_ms) = (tested.status, tested.error, tested.latency_ms);
    Ok(Json(TestView { delivered, status, error, latency_ms }))
}

/// Replaces the secret of a webhook. Deliveries are signed with both secrets for 24 hours, or until the next
/// rotation.
#[utoipa::path(
    post, path = "/webhooks/{id}/rotate-secret",
    params(WebhookPath, IfMatch, WriteAttempt),
    responses(
        (status = 200, description = "The webhook and its new secret", body = WebhookWithSecret,
            headers(("ETag" = String), ("Aegis-Position" = u64))),
        ManagedWebhook,
        IfMatch,
        (status = 429, description = "`too_many_requests`, with `Retry-After`"),
        (status = 503, description = "`unavailable` or `outcome_unknown`"),
    ),
)]
pub(crate) async fn rotate_webhook_secret(
    webhook: ManagedWebhook,
    Idempotent { attempt, body: NoBody }: Idempotent<NoBody>,
) -> Result<impl IntoResponse, ApiError> {
    let services = attempt.state.app.services()?;
    let previous_until =
        previous_secret_expiry(attempt.state.app.env.now()).map_err(|error| ApiError::internal(&error))?;
    let command = WebhookCommand::RotateSecret { secret: services.webhooks.new_secret(), previous_until };
    let rotated = webhook.execute(&attempt, &command).await?;
    let view = WebhookWithSecret::after_write(services, &rotated).await?;
    Ok((view.entity_tag(rotated.version), position_header(rotated.position), Json(view)))
}

/// The range of events to deliver again.
#[derive(ToSchema)]
#[schema(as = Replay)]
pub(crate) struct ReplayBody {
    /// The first position.
    #[schema(minimum = 1)]
    from: u64,
    /// The last position.
    #[schema(minimum = 1)]
    to: u64,
}

impl FromFields for ReplayBody {
    fn from_fields(fields: &mut FieldReader, _: &Settings) -> Option<Self> {
        let (from, to) = (fields.number("from", 1..=MAX_POSITION), fields.number("to", 1..=MAX_POSITION));
        Some(Self { from: from?, to: to? })
    }
}

/// Delivers the events of a range again, up to the webhook's current position, marked with `replay`. Normal
/// delivery resumes afterwards. Ten replays may be queued.
#[utoipa::path(
    post, path = "/webhooks/{id}/replay",
    params(WebhookPath, IfMatch, WriteAttempt),
    request_body = ReplayBody,
    responses(
        (status = 202, description = "The replay is scheduled",
            body = WebhookStatus, headers(("ETag" = String), ("Aegis-Position" = u64))),
        ManagedWebhook,
        (status = 409, description = "`too_many_replays`: ten are queued"),
        IfMatch,
        (status = 429, description = "`too_many_requests`, with `Retry-After`"),
        (status = 422, description = "Not a range of the log"),
        (status = 503, description = "`unavailable` or `outcome_unknown`"),
    ),
)]
pub(crate) async fn replay_webhook(
    webhook: ManagedWebhook,
    Idempotent { attempt, body: JsonBody(ReplayBody { from, to }) }: Idempotent<JsonBody<ReplayBody>>,
) -> Result<impl IntoResponse, ApiError> {
    let services = attempt.state.app.services()?;
    let head = services.store.head().await?.position;
    if to > head.get() {
        return Err(ApiError::beyond_head(Loc::Field("to"), Position::new(to), head));
    }
    if from > to {
        return Err(ApiError::invalid(ValidationError::too_large(Loc::Field("from"), to, &from.to_string())));
    }
    let completed = completed_replays(&*services.deliveries, &webhook.state).await?;
    let command = WebhookCommand::Replay { from, to, completed };
    let scheduled = webhook.execute(&attempt, &command).await?;
    let view = status(services, &scheduled).await?;
    let tag = entity_tag_of(scheduled.version, &view);
    Ok((StatusCode::ACCEPTED, tag, position_header(scheduled.position), Json(view)))
}

/// Cancels the replays that are queued, the one in progress included. Without one nothing changes.
#[utoipa::path(
    delete, path = "/webhooks/{id}/replays",
    params(WebhookPath, IfMatch, WriteAttempt),
    responses(
        (status = 200, description = "The webhook", body = WebhookStatus, headers(("ETag" = String), ("Aegis-Position" = u64))),
        ManagedWebhook,
        IfMatch,
        (status = 429, description = "`too_many_requests`, with `Retry-After`"),
        (status = 503, description = "`unavailable` or `outcome_unknown`"),
    ),
)]
pub(crate) async fn cancel_webhook_replays(
    webhook: ManagedWebhook,
    Idempotent { attempt, body: NoBody }: Idempotent<NoBody>,
) -> Result<impl IntoResponse, ApiError> {
    let services = attempt.state.app.services()?;
    let completed = completed_replays(&*services.deliveries, &webhook.state).await?;
    let cancelled = webhook.execute(&attempt, &WebhookCommand::CancelReplays { completed }).await?;
    let view = status(services, &cancelled).await?;
    Ok((entity_tag_of(cancelled.version, &view), position_header(cancelled.position), Json(view)))
}

/// Resumes delivery immediately, for a webhook that is suspended or waiting for its next attempt. Otherwise
/// nothing changes.
#[utoipa::path(
    post, path = "/webhooks/{id}/resume",
    params(WebhookPath, IfMatch, WriteAttempt),
    responses(
        (status = 200, description = "The webhook", body = WebhookStatus, headers(("ETag" = String), ("Aegis-Position" = u64))),
        ManagedWebhook,
        IfMatch,
        (status = 429, description = "`too_many_requests`, with `Retry-After`"),
        (status = 503, description = "`unavailable` or `outcome_unknown`"),
    ),
)]
pub(crate) async fn resume_webhook(
    webhook: ManagedWebhook,
    Idempotent { attempt, body: NoBody }: Idempotent<NoBody>,
) -> Result<impl IntoResponse, ApiError> {
    let services = attempt.state.app.services()?;
    let is_stalled = services.delivery_context.is_stalled(&webhook.state).await;
    let resumed = webhook.execute(&attempt, &WebhookCommand::Resume { is_stalled }).await?;
    let view = status(services, &resumed).await?;
    Ok((entity_tag_of(resumed.version, &view), position_header(resumed.position), Json(view)))
}
