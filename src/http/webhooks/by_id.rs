//! `GET` and `DELETE /webhooks/{id}`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use domain::WebhookCommand;
use store::StreamId;

use super::managed_webhook::ManagedWebhook;
use crate::app::App;
use crate::http::api_error::ApiError;
use crate::http::extract::{NoBody, WebhookPath};
use crate::http::headers::PositionHeader;
use crate::http::idempotency::{Idempotent, WriteAttempt};
use crate::webhooks::WebhookStatus;

/// Shows a webhook and its delivery progress.
#[utoipa::path(
    get, path = "/webhooks/{id}",
    params(WebhookPath),
    responses((status = 200, description = "The webhook", body = WebhookStatus), ManagedWebhook),
)]
pub(crate) async fn show_webhook(
    State(app): State<Arc<App>>,
    webhook: ManagedWebhook,
) -> Result<Json<WebhookStatus>, ApiError> {
    let status = WebhookStatus::of(&*app.services()?.deliveries, &webhook.state).await?;
    status.map(Json).ok_or(ApiError::WebhookNotFound)
}

/// Deletes a webhook: deliveries stop, and its URL and its secrets are destroyed.
#[utoipa::path(
    delete, path = "/webhooks/{id}",
    params(WebhookPath, WriteAttempt),
    responses(
        (status = 204, description = "The webhook is deleted", headers(("Aegis-Position" = u64))),
        ManagedWebhook,
        (status = 503, description = "`unavailable` or `outcome_unknown`"),
    ),
)]
pub(crate) async fn delete_webhook(
    webhook: ManagedWebhook,
    Idempotent { attempt, body: NoBody }: Idempotent<NoBody>,
) -> Result<impl IntoResponse, ApiError> {
    let deleted = webhook.execute(&attempt, &WebhookCommand::Delete).await?;
    let stream = StreamId::from_trusted(deleted.id.stream())?;
    // The delivery worker removes the attempts too; this covers the case that none is running.
    if let Err(error) = attempt.state.app.services()?.deliveries.forget(&stream).await {
        tracing::warn!(webhook = %deleted.id, %error, "delivery attempts of a deleted webhook not removed yet");
    }
    Ok((StatusCode::NO_CONTENT, PositionHeader(deleted.position), ()))
}
